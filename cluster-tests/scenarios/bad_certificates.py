"""Every kind of bad certificate, at every port of a real daemon: refused, logged once, counted.

Promise (issue 4): whoever is no active member with its recorded key gets no word out of a member, whatever its
certificate says, even one that the cluster's own CA has signed; an expired certificate of a member is good. The
attacker here has the CA's key (from escrow shares) and a removed node's disk.
"""
import json
import ssl
import sys

from cryptography.hazmat.primitives.asymmetric import ec

from story import check, run, wait_for
from lab.forge import CAUSES, PROTOCOLS, Forge, api_status, counts, private_key, refusals, secrets_of, shake

TRIES = 3  # of each case, at each protocol: the log says so once


def keys_of(node, shares=""):
    """What a disk image and its root open, as a thief has them."""
    lines = secrets_of(node.folder / "root.key", node.state, shares=shares)
    return {name: private_key(value) for name, value in lines if name in ("tls", "ca")}


def forge_of(s, first, cluster):
    """With the CA's key, from escrow shares."""
    answer = json.loads(first.cli_raw("cert", "rotate-ca", "--status", "-o", "json").stdout)
    shares = "\n".join(cluster.init_answer["escrow_shares"][:3])
    return Forge(s.folder / "forged", answer["trusted"][0]["pem"], keys_of(first, shares)["ca"])


def cases(forge, second, gone):
    def uri(number, site="prg", name="scenario"):
        return f"spiffe://{name}/site/{site}/node/{number}"
    fresh = ec.generate_private_key(ec.SECP256R1())
    own = keys_of(second)["tls"]
    revoked = keys_of(gone)["tls"]
    tls12, good = {"version": ssl.TLSVersion.TLSv1_2}, forge.make("a member", own, uri(second.number))
    return [
        ("a member", good, {}, None, False),
        ("a member, expired", forge.make("a member expired", own, uri(second.number), (-9, -3)), {}, None, False),
        ("a member, by its recorded key alone", forge.make("a member of no CA", own, uri(second.number), issuer="self"), {}, None,
         False),
        ("no member, expired", forge.make("no member", fresh, uri(99), (-9, -3)), {}, "member", True),
        ("a member's number, another key", forge.make("another key", fresh, uri(second.number)), {}, "member", True),
        ("other CA", forge.make("other CA", fresh, uri(second.number), issuer="other"), {}, "untrusted", True),
        ("self-signed", forge.make("self-signed", fresh, uri(second.number), issuer="self"), {}, "untrusted", True),
        ("wrong SAN: other cluster", forge.make("other cluster", own, uri(second.number, name="other")), {}, "untrusted", True),
        ("wrong SAN: no URI", forge.make("no URI", own, None, dns="prg-2"), {}, "untrusted", True),
        ("other site", forge.make("other site", own, uri(second.number, "brq")), {}, "member", True),
        ("revoked", forge.make("revoked", revoked, uri(gone.number, "brq")), {}, "member", True),
        ("none", None, {}, "untrusted", True),
        ("TLS 1.2", good, tls12, "protocol", True),
    ]


def try_case(number, first, case):
    """One row: what each protocol answered, how often it was logged, what was counted."""
    title, pem, more, cause, bad = case
    source = f"127.9.{number}.1"
    before = counts(first)
    row = {}
    for alpn in PROTOCOLS:
        row[alpn] = {shake(source, first.cluster_address, pem, alpn, **more) for _ in range(TRIES)}
    after = wait_for("the counters", lambda: (a := counts(first)) and
                     (not bad or sum(a.values()) - sum(before.values()) >= TRIES * len(PROTOCOLS)) and a, 15)
    row["api"] = api_status(source, first.api_address, pem) if not more else \
        shake(source, first.api_address, pem, "http/1.1", **more)
    counted = {c: after[c] - before[c] for c in CAUSES if after[c] != before[c]}
    logged = refusals(first, source)
    if bad:
        check(all(a.startswith("refused") for alpn in PROTOCOLS for a in row[alpn]), f"{title}: {row}")
        check(counted == {cause: TRIES * len(PROTOCOLS)}, f"{title}: counted {counted}")
        check(len(logged) == 1 and f"cause={cause}" in logged[0], f"{title}: logged {logged}")
    else:
        check(all(row[alpn] == {"let in"} for alpn in PROTOCOLS), f"{title}: {row}")
        check(not counted and not logged, f"{title}: counted {counted}, logged {logged}")
    check(row["api"] == "401" or row["api"].startswith("refused"), f"{title}: the API says {row['api']}")
    words = ", ".join(sorted(set().union(*(row[a] for a in PROTOCOLS))))
    return f"   {title:36} {words:45} {row['api']:34} {sum(counted.values()):3} {cause or '-':10} {len(logged)}"


def other_protocols(first):
    """Protocols that nobody speaks, and joining, which asks for no certificate."""
    lines = []
    for number, (title, alpn) in enumerate((("other ALPN: h2", "h2"), ("other ALPN: evertape-raft/2", "evertape-raft/2"),
                                            ("no ALPN", None))):
        source = f"127.9.{100 + number}.1"
        before = counts(first)
        answers = {shake(source, first.cluster_address, None, alpn) for _ in range(TRIES)}
        after = wait_for("the counters", lambda b=before: (a := counts(first)) and sum(a.values()) - sum(b.values()) >= TRIES
                         and a, 15)
        logged = refusals(first, source)
        check(all(a.startswith("refused") for a in answers), f"{title}: {answers}")
        check(after["protocol"] + after["untrusted"] - before["protocol"] - before["untrusted"] == TRIES and len(logged) == 1,
              f"{title}: {before} {after} {logged}")
        lines.append(f"   {title:36} {', '.join(sorted(answers)):45} {'':34} {TRIES:3} {'protocol':10} {len(logged)}")
    return lines


def tell(s):
    cluster = s.make_cluster((("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq", ("voter", "capture", "api"))))
    first, second, gone = cluster.nodes
    gone.kill()
    wait_for("brq-1 to be seen as down", lambda: "VOTER_DOWN" in {c["code"] for c in first.status()["codes"]}, 30)
    done = first.cli_raw("node", "remove", "brq-1", "--reason", "stolen", "--confirm", "scenario", timeout=130)
    check(done.returncode == 0 and b"CA and KEK versions stay" in done.stderr, f"remove: {done.returncode}: {done.stderr.decode()}")
    forge = forge_of(s, first, cluster)
    rows = cases(forge, second, gone)
    s.say(f"brq-1, no vault, was stolen; {len(rows)} certificates at prg-1, {TRIES} times at each of {', '.join(PROTOCOLS)}")
    print(f"   {'CERTIFICATE':36} {'CLUSTER PORT':45} {'API PORT (no token)':34} {'NO.':3} {'COUNTED':10} LOGGED")
    for number, case in enumerate(rows):
        print(try_case(number + 1, first, case), flush=True)
    print("\n".join(other_protocols(first)))
    check(first.status()["leader"], "the cluster leads no more")
    s.say("every bad one was refused at every protocol, logged once for each address, and counted under its cause")


if __name__ == "__main__":
    sys.exit(run("bad-certificates", tell))
