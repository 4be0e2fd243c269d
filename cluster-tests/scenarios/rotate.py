"""The key version is rotated while calls are live, and the leader is killed twice while recordings' keys move to it.

Promise (issue 4): new recordings are sealed to the new version at once, calls under way go on; the move completes
whoever dies, nothing is left on the old version, and the old version is destroyed: its grants are gone, the keys that
opened them are wiped on every node, and recordings from before and after play. Shares of the escrow are issued anew.

ET_SCENARIO_WRAPS=1000000 ET_SCENARIO_RATE=20000 is the million of the issue: rate of the move, and how long commits
take before and meanwhile.
"""
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time

from story import binaries, check, export_exact, recorder_started, run, wait_committed, wait_for

WRAPS = int(os.environ.get("ET_SCENARIO_WRAPS", "2000"))
RATE = int(os.environ.get("ET_SCENARIO_RATE", "250"))
LONG = 60 + WRAPS / 500


def keys(node):
    return node.cli("key", "status")


def version(node, number):
    return next(k for k in keys(node)["keys"] if k["version"] == number)


def codes(node):
    return {c["code"] for c in node.status()["codes"]}


class Commits(threading.Thread):
    """Commits small entries at a node, one after the other, and takes the time of each."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.ms, self.ends = node, [], False

    def one(self):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.node.socket))
        began = time.monotonic()
        connection.request("PUT", "/v1/sites/prg", json.dumps({"description": "x"}),
                           {"Content-Type": "application/json", "X-Evertape-Reason": "x"})
        good = connection.getresponse().status < 300
        connection.close()
        return (time.monotonic() - began) * 1000 if good else None

    def run(self):
        while not self.ends:
            try:
                took = self.one()
            except OSError:
                took = None
            if took is not None:
                self.ms.append(took)
            time.sleep(0.02)  # the pace of the probe, not a wait for anything

    def summary(self, first=0):
        ms = sorted(self.ms[first:])
        return f"p50 {ms[len(ms) // 2]:.1f} ms, p99 {ms[len(ms) * 99 // 100]:.1f} ms of {len(ms)}" if ms else "none"


def put_wraps(s, node, watch):
    """Recordings without media, into the journal of a node that does not run: it proposes them when it starts."""
    killed = time.time()
    node.stop()
    public = next(k["public_key"] for k in keys(watch)["keys"] if k["version"] == 1)
    subprocess.run([str(binaries() / "labwraps"), str(node.media / "journal"), str(node.number), "1", public, str(WRAPS)],
                   check=True)
    node.start()
    recorder_started(node, killed)
    wait_for("the journal to be committed", lambda: version(watch, 1)["wraps"] >= WRAPS, LONG, every=0.2)
    s.say(f"{WRAPS} recordings without media are in the catalogue, their keys on version 1")


def kill_leader(s, cluster, old):
    """Kill whoever leads, wait for another one and for progress by the others, bring it back."""
    leader = cluster.leader()
    before = version(leader, old)["wraps"]
    killed = time.time()
    leader.kill()
    others = [n for n in cluster.nodes if n is not leader]
    wait_for("another leader", lambda: (n := others[0].status()["leader"]) and n != leader.name, 30)
    left = wait_for("the others to go on", lambda: (w := version(others[0], old)["wraps"]) < before and w + 1, 40) - 1
    s.say(f"kill -9 of {leader.name}, the leader, at {before} keys on version {old}: the others went on, {left} are left")
    leader.start()
    recorder_started(leader, killed)
    return leader, left


def tell(s):
    cluster = s.make_cluster()
    first, last = cluster.nodes[0], cluster.nodes[2]
    names = [n.name for n in cluster.nodes]
    first.cli("key", "schedule", "--rate", str(RATE), "--destroy-after", "0s", "--reason", "slow enough to watch")
    put_wraps(s, last, first)
    before = s.place(names, 3)
    s.hang_up(before)
    wait_committed(first, before, ["prg", "brq"], 75)
    on_old = version(first, 1)["wraps"]
    live = s.place(names, 20)
    wait_for("the live calls to be in the catalogue", lambda: version(first, 1)["wraps"] >= on_old + len(live), 30)
    commits = Commits(last)
    commits.start()
    wait_for("some commits", lambda: len(commits.ms) >= 30, 30)
    s.say(f"{len(live)} calls are live; a commit takes {commits.summary()}")

    asked = first.cli("key", "rotate", "--reason", "CHG-7", "--wait", timeout=60)
    quiet = len(commits.ms)
    began, on_old = time.monotonic(), version(first, 1)["wraps"]
    check(asked["version"] == 2, f"rotate: {asked}")
    state = version(first, 2)
    check(len(state["grants"]) == 3, f"version 2 is not granted to every vault: {state}")
    wait_for("a third of it", lambda: version(first, 1)["wraps"] < on_old * 2 / 3, LONG, every=0.1)
    s.say(f"version 2 is active, granted to 3 vaults; {on_old} keys move from version 1, "
          f"{(on_old - version(first, 1)['wraps']) / (time.monotonic() - began):.0f} a second; meanwhile a commit takes "
          f"{commits.summary(quiet)}")
    commits.ends = True
    commits.join()
    killed = []
    for _ in range(2):
        leader, left = kill_leader(s, cluster, 1)
        killed.append(leader.name)
        check(left > 0, "everything was moved before the leader was killed: the rate is too high for this machine")

    watch = first
    wait_for("nothing on version 1", lambda: version(watch, 1)["wraps"] == 0, LONG, every=0.2)
    s.say(f"nothing is left on version 1 after {time.monotonic() - began:.1f} s")
    gone = wait_for("version 1 to be destroyed", lambda: (k := version(watch, 1))["state"] == "destroyed" and k, 60, every=0.2)
    check(gone["grants"] == [], f"grants are left of it: {gone}")
    wait_for("the keys of version 1 to be wiped", lambda: version(watch, 1)["keys_on"] == [], 30, every=0.2)
    for node in cluster.nodes:
        folder = sorted(os.listdir(node.state / "keys"))
        check("seal-1.key" not in folder and "seal-2.key" in folder, f"{node.name}: its key folder holds {folder}")
    s.say("version 1 is destroyed; its grants are gone, and the key for it is wiped on all three nodes")

    check("ESCROW_STALE" in codes(first), f"no word of the escrow: {codes(first)}")
    shares = first.cli("key", "escrow", "--escrow", "2/3")
    check(len(shares["escrow_shares"]) == 3, "three shares were asked for")
    wait_for("the escrow to be fresh", lambda: "ESCROW_STALE" not in codes(first), 20)

    after = s.place(names, 3)
    s.hang_up(live + after)
    lived = [c for c in live if c.home not in killed]  # a BYE may have fallen into the downtime of the others
    wait_committed(watch, after + lived, ["prg", "brq"], 75)
    fresh = {g["kek_version"] for c in after for g in watch.recording(c.id)["segments"]}
    check(fresh == {2}, f"recordings made after the rotation are on {fresh}")
    samples = export_exact(s, first, before + after + lived, "first")
    samples += export_exact(s, last, before[:2] + after[:1], "last")
    s.say(f"recordings from before, from during and after it play: {samples} samples equal what was sent")


if __name__ == "__main__":
    sys.exit(run("rotate", tell))
