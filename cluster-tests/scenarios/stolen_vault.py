"""A vault node's whole disk is stolen, root and all, and the CA's private key with it.

Promise (issue 4, must show 4): until `node remove --reason stolen` the thief is what the node was, and more: he reads the
catalogue and media, and makes himself an administrator. From then on every certificate that he can forge (his own, a
member's, a new member's, a site's, an API client's, that of a CA of his own making, the CA itself) is refused at every
protocol of every node, logged and counted; in a dead member's place he hears nothing; none of his keys opens a recording
that is made after, nor one from before that the cluster still has. What he opened before stays open to him: SECURITY.md.
"""
import json
import os
import signal
import sys
import uuid

from story import check, export_exact, run, wait_committed, wait_for
from lab import tapes  # story knows where it is
from lab.forge import PROTOCOLS, api_status, counts, refusals, shake
from lab.thief import Impostor, Refused, Thief


def source_of(number, node=0):
    """Each certificate is tried from an address of its own: the log says a refusal once a minute for each."""
    return f"127.{9 + node}.{number + 1}.1"


def table(title, rows):
    names = [p.removeprefix("evertape-").removesuffix("/1") for p in PROTOCOLS]
    print(f"   {title:31} " + " ".join(f"{n:20}" for n in names) + " api", flush=True)
    for name, row in rows.items():
        words = [row[p].removeprefix("refused: ").removeprefix("tlsv1_alert_").removeprefix("sslv3_alert_")[:20] for p in PROTOCOLS]
        print(f"   {name:31} " + " ".join(f"{w:20}" for w in words) + f" {row['api']}", flush=True)


def try_all(certificates, node, net=0):
    rows = {}
    for number, (name, pem) in enumerate(certificates.items()):
        rows[name] = {p: shake(source_of(number, net), node.cluster_address, pem, p) for p in PROTOCOLS}
        rows[name]["api"] = api_status(source_of(number, net), node.api_address, pem)
    return rows


def attempt(what, act):
    try:
        act()
    except Refused as refused:
        return f"{what}: {refused}"
    raise AssertionError(f"the thief may still {what}")


def hexes(calls):
    return {uuid.UUID(c.id).hex for c in calls}


def opened_tape(data, keys, call, folder):
    """A pulled tape, opened with pulled keys, is what was said."""
    path = folder / "pulled.evtm"
    path.write_bytes(data)
    found = tapes.streams(path, keys)
    return len(found) == 2 and all(call.sound["caller" if party == 0 else "callee"].startswith(tapes.payload(packets))
                                   for (party, _ssrc), packets in found.items())


def before(s, thief, certificates, first, leader, calls, later):
    """The thief is real."""
    rows = try_all(certificates, first)
    table("BEFORE THE REMOVAL", rows)
    inside = {name for name, row in rows.items() if "let in" in row.values()}
    check(inside == {"its own number and key", "the next number", "a number to come"}, f"let in: {inside}")
    pulled = thief.pull_catalogue(first, certificates["a number to come"], thief.folder / "catalogue")
    opens, shut, deks, _grants = thief.opens(pulled)
    check(opens == hexes(calls + later) and not shut, f"opens {len(opens)}, not {len(shut)}, of {len(calls + later)}")
    token = thief.make_admin(leader, certificates["a number to come"], first.number)
    wait_for("his token to be one", lambda: api_status(thief.source, first.api_address, None, token) == "200", 10)
    rec = first.recording(later[0].id)
    data = thief.pull_media(first, certificates["its own number and key"], rec["id"], rec["segments"][0])
    check(opened_tape(data, deks, later[0], thief.folder), "the pulled tape does not open")
    s.say(f"the thief is real: the forged number to come reads the catalogue and makes itself an administrator; the image's own "
          f"key pulls media that came after the theft; all {len(opens)} recordings open")
    return token, rec


def after(s, thief, certificates, others, token, rec):
    check(api_status(thief.source, others[0].api_address, None, token) == "200", "his token went by itself: tell it in SECURITY.md")
    made = [e for e in others[0].cli("audit", "list", "--from", "1")["events"] if e["action"] == "token.add"]
    listed = [t for t in others[0].cli("token", "list")["tokens"] if t["name"] == "monitoring"]
    check(len(listed) == 1 and made[-1]["reason"] == "monitoring", f"his token is not to be seen: {listed}, {made}")
    others[0].cli("token", "revoke", listed[0]["id"], "--reason", "made by the thief")
    for number, node in enumerate(others, 1):
        denied = node.metrics()["api_denied_total"]
        wait_for(f"{node.name} to refuse his token", lambda n=node: api_status(thief.source, n.api_address, None, token) == "401", 10)
        was = counts(node)
        rows = try_all(certificates, node, number)
        if node is others[0]:
            table("AFTER THE REMOVAL, at " + node.name, rows)
        tried = len(rows) * len(PROTOCOLS)
        check(all(row[p].startswith("refused") for row in rows.values() for p in PROTOCOLS), f"{node.name}: {rows}")
        check(all(row["api"] == "401" for row in rows.values()), f"{node.name}: {rows}")
        now = wait_for("the counters", lambda n=node, w=was: (c := counts(n)) and sum(c.values()) - sum(w.values()) >= tried and c, 15)
        check(sum(now.values()) - sum(was.values()) == tried, f"{node.name}: {tried} refusals, counted {was} {now}")
        check(node.metrics()["api_denied_total"] - denied >= len(rows), f"{node.name}: requests without a token are not counted")
        logged = [len(refusals(node, source_of(i, number))) for i in range(len(rows))]
        check(logged == [1] * len(rows), f"{node.name}: logged {logged}")
    said = []
    for name, pem in certificates.items():
        said.append(attempt("pull the catalogue", lambda p=pem: thief.pull_catalogue(others[0], p, thief.folder / "no")))
        said.append(attempt("command", lambda p=pem: thief.make_admin(others[0], p, others[0].number)))
        said.append(attempt("pull media", lambda p=pem: thief.pull_media(others[0], p, rec["id"], rec["segments"][0])))
    s.say(f"after: {len(certificates)} certificates at {len(PROTOCOLS)} protocols of {len(others)} nodes refused, each counted and "
          f"logged; {len(said)} tries to pull catalogue or media, or to command, failed; his token was in the log, and is revoked")


def in_a_dead_member_s_place(s, certificates, dead, others):
    dead.kill()
    impostor = Impostor(dead.cluster_address, certificates["a member's number"])
    try:
        wait_for("members to call the dead one", lambda: impostor.came >= 5, 30)
    finally:
        impostor.stop()
    check(not impostor.heard, f"the impostor heard {impostor.heard}")
    dead.start()
    wait_for(f"{dead.name} to be back", lambda: "VOTER_DOWN" not in {c["code"] for c in others[0].status()["codes"]}, 40)
    s.say(f"in a dead member's place he was called {impostor.came} times and told nothing")


def tell(s):
    cluster = s.make_cluster((("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq"), ("brq-2", "brq")))
    first, second, far, stolen = cluster.nodes
    calls = s.place(["prg-1", "brq-2"], 3)
    s.hang_up(calls)
    wait_committed(first, calls, ["prg", "brq"], 60)
    ca = json.loads(first.cli_raw("cert", "rotate-ca", "--status", "-o", "json").stdout)["trusted"][0]["pem"]

    stolen.stop()  # what it has in memory only, and in its Raft log, is in its database then: he reads that alone
    stolen.start()
    wait_for("brq-2 to be back", lambda: "VOTER_DOWN" not in {c["code"] for c in first.status()["codes"]}, 30)
    os.kill(stolen.process.pid, signal.SIGSTOP)  # it is carried away
    thief = Thief(s.folder / "thief", stolen, ca, "127.9.250.1")
    stolen.process.send_signal(signal.SIGKILL)
    stolen.process.wait(timeout=30)
    leader = wait_for("a leader", lambda: (n := cluster.leader()) and n is not stolen and n, 30)
    check({"ca", "kek:1", "tls"} <= set(thief.secrets), f"the image opens {sorted(thief.secrets)}")
    s.say(f"brq-2 is stolen; its image opens {', '.join(sorted(thief.secrets))}")
    later = s.place(["prg-1", "brq-1"], 3)
    s.hang_up(later)
    wait_committed(first, later, ["prg", "brq"], 60)
    certificates = thief.certificates(second.number, "prg", 5)
    token, rec = before(s, thief, certificates, first, leader, calls, later)

    done = first.cli_raw("node", "remove", "brq-2", "--reason", "stolen", "--confirm", "scenario", timeout=130)
    check(done.returncode == 0, f"remove: exit {done.returncode}: {done.stderr.decode()}")

    def ca_now(key):
        return json.loads(first.cli_raw("cert", "rotate-ca", "--status", "-o", "json").stdout)[key]
    wait_for("another CA to be settled", lambda: ca_now("rotation")["phase"] == "settled" and
             [c["ca"] for c in ca_now("trusted")] == [2], 60)
    wait_for("KEK version 2 to seal", lambda: first.cli("key", "status")["active"] == 2, 60)
    wait_for("what he could open to be encrypted again", lambda: next(
        k for k in first.cli("key", "status")["keys"] if k["version"] == 1)["wraps"] == 0, 90, every=0.5)
    after(s, thief, certificates, [first, second, far], token, rec)
    in_a_dead_member_s_place(s, certificates, far, [first, second])

    made = s.place(["prg-1", "prg-2", "brq-1"], 3)
    s.hang_up(made)
    wait_committed(first, made, ["prg", "brq"], 60)
    second.stop()
    opens, shut, _deks, grants = thief.opens(second.state / "db" / (second.state / "db" / "CURRENT").read_text().strip())
    second.start()
    check(not opens and not grants and hexes(calls + later + made) <= shut, f"his keys open {opens}, {grants}; shut: {shut}")
    kept, _shut, _deks, _grants = thief.opens(thief.folder / "catalogue")
    check(kept == hexes(calls + later), f"of what he pulled he opens {kept}")
    export_exact(s, first, calls + later + made, "at the end")
    s.say(f"a survivor's whole database: his keys open none of {len(shut)} recordings, and no grant; {len(made)} of them were made "
          f"after. What he pulled before stays open to him: {len(kept)} recordings. All play for those who may")


if __name__ == "__main__":
    sys.exit(run("stolen-vault", tell))
