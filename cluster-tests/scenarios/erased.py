"""Holds, retention, erasure by plan, and that nothing comes back (issue 4, must show 5).

Promise: what is held or must be kept is not erased; a plan erases all that it says or nothing; of what is erased no
number is left in the catalogue, and no key: not after a key rotation and the return of a node that was off, not in the
archived object, not by last week's backup with a disk of today or with the escrow shares: a restore finds the ledgers of
erasures in the archive by itself. The audit log says why, and a certificate proves it without a cluster.

The archive is a real S3 (Ceph) where that is installed, else a folder, which is said.
"""
import json
import shutil
import sys

from backup import evertape, restore, wipe
from lab import s3
from story import check, export_exact, run, wait_committed, wait_for

SITES = ["prg", "brq"]


def refused(node, call, label, s):
    """Nobody hears it here: exporting fails, and leaves no file."""
    out = s.folder / f"{label}.wav"
    done = node.cli_raw("recording", "export", call.id, "--format", "wav", "--out", str(out), "--reason", "scenario")
    check(done.returncode not in (0, 6) and not out.exists(), f"{label}: it was exported: {done.returncode}")
    check(b"erased" in done.stderr, f"{label}: it does not say why: {done.stderr.decode()}")


def plan_of(node, *args, **more):
    done = node.cli_raw("recording", "erase", "--plan", "-o", "json", *args, **more)
    return done.returncode, json.loads(done.stdout or b"{}"), done.stderr.decode()


def holds_and_retention(s, first, held, kept, gone, short):
    number = gone.caller[:-1] + "*"  # all four callers
    first.cli("hold", "add", "case-118", "--number", held.caller, "--until", "2100-01-01", "--reason", "court order 7")
    check(first.recording(held.id)["holds"][0]["name"] == "case-118", "recording show does not say that it is held")
    done = first.cli_raw("recording", "erase", held.id, "--reason", "no", "--confirm", "scenario")
    check(done.returncode == 8 and b"case-118" in done.stderr, f"what is held was erased: {done}")
    policy = s.folder / "retention.yaml"
    policy.write_text(f"rules:\n  - name: mifid\n    select: {{number: '{kept.caller}'}}\n    keep: 5y\n")
    first.cli("retention", "policy", "apply", str(policy), "--reason", "scenario")
    done = first.cli_raw("recording", "erase", kept.id, "--reason", "no", "--confirm", "scenario")
    check(done.returncode == 8 and b"mifid" in done.stderr, f"what must be kept was erased: {done}")

    code, plan, _ = plan_of(first, "--number", number)
    why = {e["recording"]: e["why"] for e in plan["exempt"]}
    check(code == 7 and set(plan["erase"]) == {gone.id, short.id}, f"plan: {code} {plan}")
    check("case-118" in why[held.id] and "mifid" in why[kept.id], f"exemptions: {why}")
    check(first.cli_raw("recording", "erase", "--plan").returncode == 2, "a plan to erase all there is")
    listed = first.cli_raw("recording", "list", "--number", gone.caller, "-o", "ndjson").stdout
    code, piped, problem = plan_of(first, "-", input=listed)
    check(code == 7 and piped["erase"] == [gone.id], f"a plan of what list printed: {code} {piped} {problem}")

    code, plan, _ = plan_of(first, held.id, kept.id, gone.id)
    check(code == 7 and plan["erase"] == [gone.id] and len(plan["exempt"]) == 2, f"a plan of ids: {code} {plan}")

    # The world moves: the plan erases nothing.
    first.cli("hold", "add", "case-119", "--recording", gone.id, "--reason", "a mistake")
    done = first.cli_raw("recording", "erase", "--apply", plan["plan"], "--reason", "no", "--confirm", "scenario")
    check(done.returncode not in (0, 7) and b"case-119" in done.stderr, f"a stale plan was applied: {done}")
    check(first.recording(gone.id)["state"] != "erased", "a stale plan erased")
    first.cli("hold", "release", "case-119", "--reason", "it was one")
    s.say("a hold of a number and a retention rule are obeyed; a plan lists both as exempt, and is stale after a hold")
    return plan["plan"]


def certified(s, first, plan):
    out = s.folder / "erased.json"
    first.cli("recording", "certificate", plan, "--out", str(out))
    log = s.folder / "audit.ndjson"
    log.write_bytes(first.cli_raw("audit", "list", "--from", "1", "-o", "ndjson").stdout)
    check(evertape("verify-proof", str(out), "--audit", str(log)).returncode == 0, "a fresh certificate does not verify")
    text = out.read_text()
    bad = s.folder / "changed.json"
    for before, after in [("GDPR 4711", "GDPR 4712"), ('"site": "', '"site": "x')]:
        check(before in text, f"the certificate has no {before}")
        bad.write_text(text.replace(before, after, 1))
        check(evertape("verify-proof", str(bad)).returncode == 9, f"changed at {before}: not found")
    log.write_bytes(b"\n".join(log.read_bytes().split(b"\n")[:5]))
    check(evertape("verify-proof", str(out), "--audit", str(log)).returncode == 9, "events that are not in the log")
    s.say("the certificate verifies without a cluster, with the log; two changed bytes are found (exit 9)")


class Folder:
    """An archive without S3."""

    def __init__(self, path):
        self.path = path
        path.mkdir(mode=0o700)

    def get(self, key, offset=0, size=None):
        return (self.path / key).read_bytes()[offset:None if size is None else offset + size]

    def keys(self, prefix):
        return [str(p.relative_to(self.path)) for p in (self.path / prefix).rglob("*") if p.is_file()]

    def target(self):
        return f"{{type: dir, path: {self.path}}}"

    def stop(self):
        pass


def archived_object(s, first, archive, gone):
    """The pack still holds the tape, whole and sealed; there is no key in it, and none elsewhere."""
    rec = first.recording(gone.id)
    check(all(g["erased"] for g in rec["segments"]) and rec["segments"], f"a key is left: {rec['segments']}")
    copies = [c for c in rec["copies"] if c.get("target") == "cold"]
    check(copies, f"the catalogue knows no archived copy: {rec['copies']}")
    for i, copy in enumerate(copies):
        data = archive.get(copy["object"], copy["offset"], copy["size_bytes"])
        tape = s.folder / f"archived-{i}.evtm"
        tape.write_bytes(data)
        done = evertape("recording", "verify", "--ciphertext", str(tape))
        check(done.returncode == 0 and data[:4] == b"EVTM", f"the archived tape: {done.returncode} {done.stderr.decode()}")
    s.say(f"{len(copies)} tape of it still lies in the archive, every byte as it was sealed: ciphertext, and no key to it")


def erase_and_return(s, cluster, gone, plan):
    first, _, third = cluster.nodes
    check(third.stop() == 0, "an orderly stop")
    done = first.cli("recording", "erase", "--apply", plan, "--reason", "GDPR 4711", "--confirm", "scenario")
    check(done["erased"] == 1, f"{done}")
    left = json.dumps(first.recording(gone.id)) + json.dumps(first.recordings())
    check(gone.caller not in left and gone.callee not in left, "a number of it is left in the catalogue")
    check(not first.recordings("--number", gone.caller), "it is found by its number")
    refused(first, gone, "first", s)
    certified(s, first, plan)

    first.cli("key", "rotate", "--reason", "after the erasure", "--wait", timeout=60)
    third.start()
    wait_for("the node that was off to know", lambda: third.recording(gone.id)["state"] == "erased", 60)
    refused(third, gone, "returned", s)

    def old_version():
        return next(k for k in first.cli("key", "status")["keys"] if k["version"] == 1)
    wait_for("version 1 to be destroyed", lambda: old_version()["state"] == "destroyed", 60, every=0.2)
    wait_for("its keys to be wiped", lambda: old_version()["keys_on"] == [], 30, every=0.2)
    s.say("erased, rotated once; a node that was off came back: it knows, and the old version's keys are wiped on all")


def timed(s, cluster, call):
    """What a rule says must go, goes by itself, by the cluster's time."""
    first = cluster.nodes[0]
    policy = s.folder / "timed.yaml"
    policy.write_text(f"rules:\n  - name: short\n    select: {{number: '{call.caller}'}}\n    erase-after: 1s\n")
    first.cli("hold", "add", "case-120", "--recording", call.id, "--reason", "wait for it")
    first.cli("retention", "policy", "apply", str(policy), "--reason", "scenario")
    done = wait_for("it to be due", lambda: (p := json.loads(
        first.cli_raw("retention", "plan", "-o", "json").stdout))["exempt"] == 1 and p, 30)
    check(done["erase"] == 0 and "case-120" in done["actions"][0]["why"], f"retention plan: {done}")
    # Another leader goes on where the first one was.
    leader = next(n for n in cluster.nodes if n.name != first.status()["leader"])
    first.cli("raft", "transfer", leader.name, "--reason", "scenario")
    wait_for("another leader", lambda: first.status()["leader"] == leader.name, 30)
    first.cli("hold", "release", "case-120", "--reason", "now")
    wait_for("it to go by itself", lambda: first.recording(call.id)["state"] == "erased", 40, every=0.2)
    events = [e for e in first.cli("audit", "list", "--from", "1")["events"] if e["action"] == "recording.erase"
              and e["target"] == call.id.replace("-", "") and e["outcome"] == "ok"]
    check(len(events) == 1 and "rule short" in events[0]["detail"], f"audited: {events}")
    check(events[0]["principal"] == f"node:{leader.number}", f"not by {leader.name}: {events}")
    s.say("a rule's recording waited for its hold, and went by itself when that was released, by a new leader; one audit event")


def old_backup(s, cluster, backup, shares, keep, gone):
    first = cluster.nodes[0]
    for node in cluster.nodes:
        check(node.stop() == 0, f"{node.name}: an orderly stop")
    keys = s.folder / "keys"
    shutil.copytree(first.state / "keys", keys)
    shutil.rmtree(first.state)
    shutil.copytree(keys, first.state / "keys")
    done = restore(first, backup)
    check(done.returncode != 0, "last week's backup opens with a disk of today")
    wipe(first)  # and its ledgers: those in the archive are left
    done = restore(first, backup, shares=shares[:3])
    check(done.returncode == 0, f"restore with shares: {done.stderr.decode()}")
    first.start()
    wait_for("the restored node to lead", lambda: first.status()["leader"] == first.name, 60)
    check(first.recording(gone.id)["state"] == "erased", "last week's backup brought it back")
    check(gone.caller not in json.dumps(first.recordings()), "the backup brought its number back")
    refused(first, gone, "restored", s)
    events = [e for e in first.cli("audit", "list", "--from", "1")["events"] if e["action"] == "recording.erase"]
    check(any("again: erased" in e["detail"] for e in events), f"the audit log does not say why: {events}")
    samples = export_exact(s, first, [keep], "restored")
    s.say(f"last week's backup: not by a disk of today; by escrow shares it is erased again, the audit log says so, and "
          f"another recording of it plays ({samples} samples equal)")


def ledger_has(archive, calls):
    """Every node's newest ledger in the archive may be the one: it names all of them."""
    ledgers = [archive.get(key) for key in archive.keys("ledger/")]
    return any(all(bytes.fromhex(c.id.replace("-", "")) in data for c in calls) for data in ledgers)


def tell(s):
    archive = s3.Gateway(s.folder / "ceph") if s3.is_installed() else Folder(s.folder / "archive")
    try:
        tell_with(s, archive)
    finally:
        archive.stop()


def tell_with(s, archive):
    s.say(f"the archive is {'a real S3 (Ceph)' if isinstance(archive, s3.Gateway) else 'a FOLDER: Ceph is not installed'}")
    cluster = s.make_cluster()
    first = cluster.nodes[0]
    shares = cluster.init_answer["escrow_shares"]
    first.cli("key", "schedule", "--destroy-after", "0s", "--reason", "soon")
    calls = s.place(["prg-1", "prg-1", "prg-2", "prg-1"], 3)
    s.hang_up(calls)
    wait_committed(first, calls, SITES, 75)
    held, kept, gone, short = calls
    policy = s.folder / "archive.yaml"
    policy.write_text(f"targets:\n  cold: {archive.target()}\nrules:\n  - name: all\n    after: 0s\n"
                      "    to: cold\n")
    first.cli("archive", "policy", "apply", str(policy), "--reason", "scenario")
    planned = json.loads(first.cli_raw("archive", "plan", "-o", "json").stdout)
    first.cli("archive", "apply", planned["plan"], "--reason", "scenario")
    wait_for("all to be archived", lambda: all(first.recording(c.id)["state"] == "archived" for c in calls), 60)
    folder = s.folder / "backups"
    folder.mkdir()
    first.cli("cluster", "backup", "--out", str(folder))
    backup = next(folder.glob("*.evbk"))
    s.say("four calls are archived; a backup is made")

    plan = holds_and_retention(s, first, held, kept, gone, short)
    erase_and_return(s, cluster, gone, plan)
    timed(s, cluster, short)
    archived_object(s, first, archive, gone)
    wait_for("the ledger in the archive", lambda: ledger_has(archive, (gone, short)), 30, every=0.5)
    old_backup(s, cluster, backup, shares, held, gone)


if __name__ == "__main__":
    sys.exit(run("erased", tell))
