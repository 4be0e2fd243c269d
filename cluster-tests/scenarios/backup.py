"""Backup, disaster, restore (ops/doc/runbooks/backup.md and restore.md): every vault node's identity is lost, k escrow
shares and a backup are left, and the media folders.

Promise (issue 3): a restore replays erasures done since, so nothing erased comes back.
"""
import json
import random
import shutil
import signal
import subprocess
import sys

from story import binaries, check, export_exact, run, wait_committed, wait_for

SITES = ["prg", "brq"]


def evertape(*args, **more):
    return subprocess.run([str(binaries() / "evertape"), *args], capture_output=True, timeout=120, check=False, **more)


def verify(path):
    return evertape("cluster", "backup", "verify", str(path)).returncode


def damaged(s, whole):
    """Flipped bytes at random places and cuts: found without a key. raft/backup's tests do 400 of them."""
    data = whole.read_bytes()
    dice = random.Random(4711)
    path = s.folder / "damaged.evbk"
    for at in [0, 44, *(dice.randrange(len(data)) for _ in range(8))]:
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1:])
        check(verify(path) != 0, f"a changed byte at {at} was not found")
    for cut in [0, len(data) - 1, dice.randrange(len(data))]:
        path.write_bytes(data[:cut])
        check(verify(path) != 0, f"a file cut at {cut} was not found")
    path.unlink()


def restore(node, backup, *args, shares=None):
    more = {"input": "\n".join(shares).encode()} if shares else {}
    if shares:
        args = (*args, "--shares", "-")
    return evertape("cluster", "restore", str(backup), "--confirm", "scenario", "--config", str(node.config), *args,
                    **more)


def wipe(node, media_ledger=True):
    """The machine is lost but for its media disk."""
    shutil.rmtree(node.state)
    (node.folder / "root.key").unlink()
    if media_ledger:
        shutil.rmtree(node.media / "ledger", ignore_errors=True)


def state_of(node):
    """An index of the past, and the running digest that the state had there."""
    def probe():
        own = next(n for n in node.status()["nodes"] if n["name"] == node.name)
        return own["digest_index"], own["digest"]
    return wait_for("a digest", probe)


def copies(node, ident):
    return {c["node"] for c in node.recording(ident)["copies"] if c["state"] == "verified" and c.get("node")}


def tell(s):
    ship = s.folder / "ship"
    cluster = s.make_cluster(extra=f"backup: {{folder: {ship}}}\n")
    first, second, third = cluster.nodes
    shares = cluster.init_answer["escrow_shares"]
    calls = s.place(["prg-1", "prg-2", "brq-1"], 6)
    s.hang_up(calls)
    wait_committed(first, calls, SITES, 90)
    keep, gone = calls[:2], calls[2]

    archive = s.folder / "archive"
    archive.mkdir(mode=0o700)
    policy = s.folder / "archive.yaml"
    policy.write_text(f"targets:\n  cold: {{type: dir, path: {archive}}}\nrules:\n  - name: all\n    after: 1d\n"
                      "    to: cold\n")
    first.cli("archive", "policy", "apply", str(policy), "--reason", "scenario")

    folder = s.folder / "backups"
    folder.mkdir()
    made = first.cli("cluster", "backup", "--out", str(folder))
    backup = next(folder.glob("*.evbk"))
    check(verify(backup) == 0, "a fresh backup verifies")
    s.say(f"backup at index {made['index']}: {backup.stat().st_size} bytes")
    damaged(s, backup)
    s.say("changed bytes and cuts at random places: all found")

    # A full disk at the destination, and a node that is killed in the middle.
    tiny = s.folder / "tiny"
    tiny.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tiny)], check=True)
    s.outside.append(lambda: subprocess.run(["umount", str(tiny)], check=False))
    done = first.cli_raw("cluster", "backup", "--out", str(tiny))
    check(done.returncode != 0 and not list(tiny.iterdir()), "a full disk leaves no file that looks like a backup")
    out = s.folder / "killed.evbk"
    process = subprocess.Popen([str(binaries() / "evertape"), "--socket", str(second.socket), "cluster", "backup", "--out",
                                str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second.kill(signal.SIGKILL)
    process.wait(timeout=60)
    check(process.returncode == 0 and verify(out) == 0 or not out.exists(), "half a backup has the name of a whole one")
    second.start()
    s.say("full disk, node killed during a backup: no half file under the name")

    # A point in time: after "before", and before "after", by the cluster's own clock.
    def cluster_time():
        return first.status()["cluster_time"]
    first.cli("token", "create", "--name", "before", "--role", "reader", "--reason", "before")
    now = cluster_time()
    moment = wait_for("the cluster's clock to move on", lambda: (t := cluster_time()) != now and t, 60, every=0.2)
    wait_for("and on again", lambda: cluster_time() != moment, 60, every=0.2)
    last_before = first.status()["applied"]
    first.cli("token", "create", "--name", "after", "--role", "reader", "--reason", "after")

    at, digest = state_of(first)
    refused = first.cli_raw("recording", "erase", gone.id, "--reason", "GDPR", "--confirm", "another-name")
    check(refused.returncode == 2, "erasing without the cluster's name")
    erased = first.cli("recording", "erase", gone.id, "--reason", "GDPR 4711", "--confirm", "scenario")
    check(erased["index"] > made["index"], "erased after the backup")
    wait_for("the tombstone on every node", lambda: all(n.recording(gone.id)["state"] == "erased" for n in cluster.nodes))
    wait_for("the ledger in the archive", lambda: list((archive / "ledger").rglob("*.evl")), 30)
    wait_for("the newest ledger in the archive", lambda: any(
        p.read_bytes().find(bytes.fromhex(gone.id.replace("-", ""))) > 0 for p in (archive / "ledger").rglob("*.evl")), 30)
    s.say("one recording erased; its tombstone is in the archive's ledger")

    for node in cluster.nodes:
        check(node.stop() == 0, f"{node.name}: an orderly stop")
    listed = json.loads(evertape("cluster", "backup", "list", str(ship), "-o", "json").stdout)["backups"]
    check({"base", "log"} <= {b["kind"] for b in listed} and not any(b.get("problem") for b in listed), f"{listed}")

    # Point in time, with a vault node's own keys: the state is the one that the old cluster had there.
    keys = s.folder / "keys"
    shutil.copytree(second.state / "keys", keys)
    shutil.rmtree(second.state)
    shutil.copytree(keys, second.state / "keys")
    done = restore(second, ship, "--at", str(at))
    check(done.returncode == 0, f"restore to {at}: {done.returncode} {done.stderr.decode()}")
    point = json.loads(done.stdout)
    check(point["restored_index"] == at and point["restored_digest"] == digest, f"want {at} {digest}, got {point}")
    second.start()
    wait_for("the node at that point to lead", lambda: second.status()["leader"] == second.name, 60)
    check(second.recording(gone.id)["state"] == "erased", "the erased recording came back at that point")
    check(second.stop() == 0, "an orderly stop")
    s.say(f"restored to index {at}, before the erasure: digest as the old cluster had it, and still erased")

    # The same by time.
    def with_keys():
        shutil.rmtree(second.state)
        shutil.copytree(keys, second.state / "keys")
    with_keys()
    done = restore(second, ship, "--at", "2001-01-01T00:00:00Z")
    check(done.returncode == 5, f"before every base backup: {done.returncode} {done.stderr.decode()}")
    done = restore(second, ship, "--at", "2101-01-01T00:00:00Z")
    check(done.returncode == 5 and b"without --at" in done.stderr, f"after the logs: {done.returncode} {done.stderr.decode()}")
    done = restore(second, ship, "--at", "yesterday")
    check(done.returncode == 2, f"no time: {done.returncode} {done.stderr.decode()}")
    done = restore(second, ship, "--at", moment)
    check(done.returncode == 0, f"restore to {moment}: {done.returncode} {done.stderr.decode()}")
    point = json.loads(done.stdout)
    check(made["index"] < point["restored_index"] <= last_before, f"{moment} is index {point}, want at most {last_before}")
    check(point["keys_missing"] == 0, f"keys: {point}")
    second.start()
    wait_for("the node at that time to lead", lambda: second.status()["leader"] == second.name, 60)
    told = [e["reason"] for e in second.cli("audit", "list", "--from", "1")["events"] if e["action"] == "token.add"]
    check("before" in told and "after" not in told, f"at {moment} there are {told}")
    check(second.recording(gone.id)["state"] == "erased", "the erased recording came back at that time")
    second.cli("audit", "verify")
    check(second.stop() == 0, "an orderly stop")
    s.say(f"restored to {moment}: index {point['restored_index']}; what came before is there, what came after is not")
    for node in cluster.nodes[:2]:
        wipe(node)
    done = restore(first, backup, "--ledger", str(archive))
    check(done.returncode != 0 and b"--shares" in done.stderr, f"without any key: {done.stderr.decode()}")
    done = restore(first, backup, "--ledger", str(archive), shares=shares[:2])
    check(done.returncode != 0, "two of three shares")
    away = archive.rename(archive.with_name("away"))  # its own target is looked into without being asked
    done = restore(first, backup, shares=shares[1:4])
    check(done.returncode == 8 and b"ledgers of target" in done.stderr and b"Next: make the archive targets" in done.stderr,
          f"without a ledger of erasures: {done.returncode} {done.stderr.decode()}")
    # Accepting that is possible, and never forgotten: not by a restart either.
    done = restore(first, backup, "--accept-missing-erasures", shares=shares[1:4])
    check(done.returncode == 0 and json.loads(done.stdout)["erasures_missing"], f"accepted: {done.stderr.decode()}")
    check(json.loads(done.stdout)["targets_failed"] == 1, "the target that is not there was not counted")
    for _ in range(2):
        first.start()
        wait_for("the restored node to lead", lambda: first.status()["leader"] == first.name, 60)
        codes = {c["code"]: c for c in first.status()["codes"]}
        check(codes.get("ERASURES_MISSING", {}).get("next") == "evertape explain ERASURES_MISSING", f"codes: {codes}")
        check(first.status()["health"] != "ok", "health is ok without the ledgers")
        check(first.stop() == 0, "an orderly stop")
    wipe(first)
    s.say("restored without a ledger: ERASURES_MISSING stands, after a restart too")
    away.rename(archive)
    done = restore(first, backup, shares=shares[1:4])
    check(done.returncode == 0, f"restore: {done.returncode} {done.stderr.decode()}")
    s.say("restored from escrow shares: " + done.stdout.decode().strip())
    check(f'"backup_index":{made["index"]}' in done.stdout.decode(), "restored to the index of the backup")
    check(restore(first, backup, "--ledger", str(archive), shares=shares[1:4]).returncode != 0,
          "a second restore over the first")

    first.start()
    wait_for("the restored node to lead", lambda: first.status()["leader"] == first.name, 60)
    check("ERASURES_MISSING" not in {c["code"] for c in first.status()["codes"]}, "the ledger was there")
    events = first.cli("audit", "list", "--from", "1")["events"]
    begun = [e for e in events if e["action"] == "restore.step"]
    check(begun and "ledgers" in begun[0]["target"], f"the restore is audited: {begun}")
    check(any(e["action"] == "recording.erase" and "again" in e["detail"] for e in events), "and so is the erasure")
    check(first.recording(gone.id)["state"] == "erased", "the erased recording came back")
    here = [c for c in keep if c.home == first.name]  # the other's tape lies on the other's disk
    wait_for("media of the old epoch to be verified", lambda: all(first.name in copies(first, c.id) for c in here), 60)
    samples = export_exact(s, first, here, "restored")
    done = first.cli_raw("recording", "export", gone.id, "--format", "wav", "--out", str(s.folder / "no.wav"), "--reason",
                         "scenario")
    check(done.returncode != 0, "an erased recording was exported")
    s.say(f"{len(here)} recording of before plays ({samples} samples equal what was sent), the erased one does not")

    # A node of the old epoch that knows nothing of it.
    third.start()
    wait_for("the old node to see that it is alone", lambda: third.status()["health"] == "at_risk", 60)
    check(first.status()["leader"] == first.name, "an old node disturbed the new epoch")
    old = {n["name"]: n["state"] for n in first.status()["nodes"]}
    third.stop()
    s.say(f"a node of the old epoch cannot come in ({old})")
    wipe(third)
    for node in (second, third):
        node.start()
        cluster.join(first, node)
    wait_for("three voters", lambda: sum("voter" in n["role"] for n in first.status()["nodes"]) >= 3, 60)
    wait_for("their media to be verified", lambda: all({c.home, "brq-1"} <= copies(first, c.id) for c in keep), 90)
    samples = export_exact(s, third, keep, "joined")
    check(third.recording(gone.id)["state"] == "erased", "the erased recording came back")
    s.say(f"the others joined anew with their media: verified and counted; {samples} samples equal at {third.name}")


if __name__ == "__main__":
    sys.exit(run("backup", tell))
