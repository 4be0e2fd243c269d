"""Points in time before, between and behind rotations of the CA and of the KEK.

Promise: the log is shipped with a base backup from each rotation, so that every point can be restored with the keys of its time;
a restore that is told to go over a rotation says where the keys changed and what to give instead.
"""
import json
import re
import shutil
import subprocess
import sys

from story import binaries, check, run, wait_for


def restore(node, folder, *args):
    return subprocess.run([str(binaries() / "evertape"), "cluster", "restore", str(folder), "--config", str(node.config), "--confirm",
                           "scenario", "-o", "json", *args], capture_output=True, timeout=120, check=False)


def bases(folder):
    return sorted(int(p.name.split("-")[1]) for p in folder.glob("base-*.evbk"))


def shipped(folder):
    return sum(p.stat().st_size for p in folder.glob(".log-*.part")) + sum(p.stat().st_size for p in folder.glob("log-*.evbk"))


def token(node, folder, name):
    """A mark in the log, which is shipped; the index that has it."""
    before = shipped(folder)
    node.cli("token", "create", "--name", name, "--role", "reader", "--reason", name)
    at = node.status()["applied"]
    wait_for("it to be shipped", lambda: shipped(folder) > before, 20)
    return at


def tell(s):
    ship = s.folder / "ship"
    cluster = s.make_cluster((("prg-1", "prg", ("voter", "vault", "api")),), extra=f"backup: {{folder: {ship}}}\n")
    node = cluster.nodes[0]
    wait_for("the first base", lambda: bases(ship), 30)
    points = {"first": token(node, ship, "first")}
    node.cli("cert", "rotate-ca", "--reason", "CHG-1", "--wait", timeout=120)
    wait_for("a base under the new CA", lambda: len(bases(ship)) >= 2, 30)
    points["ca"] = token(node, ship, "ca")
    first_new = bases(ship)[1]
    node.cli("key", "rotate", "--reason", "CHG-2", "--wait", timeout=60)
    wait_for("a base under the new KEK", lambda: bases(ship)[-1] > points["ca"], 30)
    points["kek"] = token(node, ship, "kek")
    check(node.stop() == 0, "an orderly stop")
    node.start()  # its ledger of erasures, which it began under the first CA, says how far it goes
    wait_for("the node to lead", lambda: node.status()["leader"], 60)
    wait_for("a base of this start", lambda: bases(ship)[-1] > points["kek"], 30)
    check(node.stop() == 0, "an orderly stop")
    s.say(f"the CA and the KEK were rotated; bases at {bases(ship)}, marks at {points}")

    keys, logs = s.folder / "keys", s.folder / "logs"
    shutil.copytree(node.state / "keys", keys)
    shutil.copytree(ship, logs)

    def fresh():
        shutil.rmtree(node.state)
        shutil.copytree(keys, node.state / "keys")

    def goes_to(name, at, *args):
        fresh()
        done = restore(node, logs, "--at", str(at), *args)
        check(done.returncode == 0, f"{name} at {at}: {done}")
        said = json.loads(done.stdout)
        check(said["restored_index"] == at and said["keys_missing"] == 0, f"{name} at {at}: {said}")
        node.start()
        wait_for("the node to lead", lambda: node.status()["leader"], 60)
        told = [e["reason"] for e in node.cli("audit", "list", "--from", "1")["events"] if e["action"] == "token.add"]
        check(told[-1] == name, f"at {at} the last is {told}")
        codes = {c["code"] for c in node.status()["codes"]}
        check("SEALING_UNTRUSTED" not in codes and "KEK_UNTRUSTED" not in codes, f"after a restore: {codes}")
        check(args or "ERASURES_MISSING" not in codes, f"after a restore: {codes}")
        check(node.stop() == 0, "an orderly stop")
    # The ledger counts, though the CA that its maker was signed by is gone. Each restored node leaves one of its own: a restore
    # from before the CA that signed for it cannot judge that.
    for name, at in reversed(points.items()):
        goes_to(name, at, *([] if name == "kek" else ["--accept-missing-erasures"]))
    ship = logs
    s.say("each mark was restored, with the keys of its time, and nothing from behind it; none of it needs a ledger of a CA that is gone "
          "to be given up")

    # Without the bases from then the log cannot be followed over the rotation.
    for path in ship.glob("base-*.evbk"):
        if int(path.name.split("-")[1]) >= first_new:
            path.rename(s.folder / path.name)
    fresh()
    done = restore(node, ship, "--at", str(points["kek"]), "--accept-missing-erasures")
    text = done.stderr.decode()
    check(done.returncode != 0 and "rotation of keys" in text and "as far as these keys go" in text, f"over both rotations: {done}")
    turn = int(re.search(r"--at ([0-9]+)", text).group(1))
    check(points["first"] <= turn < points["kek"], f"it names {turn}: {text}")
    done = restore(node, ship, "--at", str(turn), "--accept-missing-erasures")
    check(done.returncode == 0 and json.loads(done.stdout)["restored_index"] == turn, f"what it says to do: {done}")
    s.say(f"without a base from after it, it says so and goes to {turn} as it said: {text.strip()[:300]}")
    for path in s.folder.glob("base-*.evbk"):
        path.rename(ship / path.name)
    fresh()
    (ship / f"base-{first_new:020d}-1.evbk").rename(s.folder / "away.evbk")
    done = restore(node, ship, "--at", str(points["ca"]), "--accept-missing-erasures")
    said = re.search(r"--at ([0-9]+) or later", done.stderr.decode())
    check(done.returncode != 0 and said, f"with a later base: {done}")
    later = int(said.group(1))
    check(points["ca"] < bases(ship)[1] <= later, f"it names {later} of {bases(ship)}")  # the name says when it was begun
    done = restore(node, ship, "--at", str(later), "--accept-missing-erasures")
    check(done.returncode == 0 and json.loads(done.stdout)["restored_index"] == later, f"what it says to do: {done}")
    s.say(f"with a later base it names that one, and goes to {later} as it said")


if __name__ == "__main__":
    sys.exit(run("pitr keys", tell))
