"""Every kind of bad certificate, at every port of a real daemon: refused, logged once, counted.

Promise (issue 4): whoever is no active member with its recorded key gets no word out of a member, whatever its
certificate says, even one that the cluster's own CA has signed; an expired certificate of a member is good. The
attacker here has the CA's key (from escrow shares) and a removed node's disk.
"""
import datetime
import json
import socket
import ssl
import subprocess
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from story import binaries, check, run, wait_for

PROTOCOLS = ("evertape-raft/1", "evertape-rpc/1", "evertape-sync/1")
TRIES = 3  # of each case, at each protocol: the log says so once
CAUSES = ("untrusted", "member", "protocol", "busy", "timeout", "broken")


class Forge:
    """Makes certificates as the cluster does, with any content and any issuer."""

    def __init__(self, s, first, cluster):
        answer = json.loads(first.cli_raw("cert", "rotate-ca", "--status", "-o", "json").stdout)
        self.folder = s.folder / "forged"
        self.folder.mkdir()
        self.ca = x509.load_pem_x509_certificate(answer["trusted"][0]["pem"].encode())
        shares = "\n".join(cluster.init_answer["escrow_shares"][:3])
        self.ca_key = self.keys_of(first, shares)["ca"]
        self.other_key = ec.generate_private_key(ec.SECP256R1())

    @staticmethod
    def keys_of(node, shares=""):
        """What a disk image and its root open, as a thief has them."""
        done = subprocess.run([str(binaries() / "labkeys"), str(node.folder / "root.key"), str(node.state)],
                              input=shares.encode(), capture_output=True, check=True)
        lines = [line.split() for line in done.stdout.decode().splitlines()]
        return {name: serialization.load_der_private_key(bytes.fromhex(value), None)
                for name, value in lines if name in ("tls", "ca")}

    def make(self, name, key, uri, days=(-1, 1), issuer="ca", dns=None):
        """Files of a certificate and its key."""
        now = datetime.datetime.now(datetime.timezone.utc)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = ([x509.UniformResourceIdentifier(uri)] if uri else []) + ([x509.DNSName(dns)] if dns else [])
        made = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key()) \
            .serial_number(x509.random_serial_number()) \
            .issuer_name(subject if issuer == "self" else self.ca.subject) \
            .not_valid_before(now + datetime.timedelta(days=days[0])).not_valid_after(now + datetime.timedelta(days=days[1])) \
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True) \
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), True)
        signer = {"ca": self.ca_key, "other": self.other_key, "self": key}[issuer]
        made = made.sign(signer, hashes.SHA256())
        path = self.folder / f"{name.replace(' ', '-')}.pem"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return path


def shake(source, address, pem, alpn, version=ssl.TLSVersion.TLSv1_3):
    """How the port answers: "let in", "refused: WHY"; to join, where no certificate is asked for, and to HTTPS, that
    the handshake is over."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols([alpn])
    if pem:
        context.load_cert_chain(str(pem))
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10, source_address=(source, 0)) as raw:
        try:
            with context.wrap_socket(raw) as tls:
                if alpn == "http/1.1":
                    return "let in"
                byte = tls.recv(1)
                return "let in" if byte == b"\x01" else "refused: after the handshake" if byte == b"\x02" else "refused: closed"
        except ssl.SSLError as error:
            return f"refused: {(error.reason or 'alert').lower()}"
        except (ConnectionResetError, BrokenPipeError):
            return "refused: reset"


def counts(node):
    now = node.metrics()
    return {c: int(now[f'cluster_refused_total{{cause="{c}"}}']) for c in CAUSES}


def log_lines(node, source):
    return [line for line in node.log.read_text(errors="replace").splitlines() if "tls.refused" in line and f"peer={source}:" in line]


def api_status(source, address, pem):
    """Of a request with the certificate and without a token."""
    done = subprocess.run(["curl", "-sk", "--interface", source, "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10",
                           *(["--cert", str(pem)] if pem else []), f"https://{address}/v1/recordings"],
                          capture_output=True, check=False)
    return done.stdout.decode()


def cases(forge, cluster, first, second, gone):
    def uri(number, site="prg", name="scenario"):
        return f"spiffe://{name}/site/{site}/node/{number}"
    fresh = ec.generate_private_key(ec.SECP256R1())
    own = forge.keys_of(second)["tls"]
    revoked = forge.keys_of(gone)["tls"]
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
    logged = log_lines(first, source)
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
        logged = log_lines(first, source)
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
    forge = Forge(s, first, cluster)
    rows = cases(forge, cluster, first, second, gone)
    s.say(f"brq-1, no vault, was stolen; {len(rows)} certificates at prg-1, {TRIES} times at each of {', '.join(PROTOCOLS)}")
    print(f"   {'CERTIFICATE':36} {'CLUSTER PORT':45} {'API PORT (no token)':34} {'NO.':3} {'COUNTED':10} LOGGED")
    for number, case in enumerate(rows):
        print(try_case(number + 1, first, case), flush=True)
    print("\n".join(other_protocols(first)))
    check(first.status()["leader"], "the cluster leads no more")
    s.say("every bad one was refused at every protocol, logged once for each address, and counted under its cause")


if __name__ == "__main__":
    sys.exit(run("bad-certificates", tell))
