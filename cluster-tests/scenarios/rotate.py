"""The key version is rotated while calls are live, and the leader is killed twice while recordings' keys move to it.

Promise (issue 4): new recordings are sealed to the new version at once, calls under way go on; the move completes
whoever dies, nothing is left on the old version, and the old version is destroyed: its grants are gone, the keys that
opened them are wiped on every node, and recordings from before and after play. Shares of the escrow are issued anew.
"""
import os
import sys

from story import check, export_exact, run, wait_committed, wait_for

CALLS = int(os.environ.get("ET_SCENARIO_CALLS", "12"))


def keys(node):
    return node.cli("key", "status")


def version(node, number):
    return next(k for k in keys(node)["keys"] if k["version"] == number)


def codes(node):
    return {c["code"] for c in node.status()["codes"]}


def any_of(nodes):
    return next(n for n in nodes if n.is_running())


def kill_leader(s, cluster, old):
    """Kill whoever leads, wait for another one and for progress by the others, bring it back."""
    leader = cluster.leader()
    before = version(leader, old)["wraps"]
    leader.kill()
    others = [n for n in cluster.nodes if n is not leader]
    wait_for("another leader", lambda: (n := others[0].status()["leader"]) and n != leader.name, 30)
    now = wait_for("the others to go on", lambda: (w := version(others[0], old)["wraps"]) < before and w + 1, 40) - 1
    s.say(f"kill -9 of {leader.name}, the leader, at {before} keys on version {old}: the others went on, {now} are left")
    leader.start()
    return now


def tell(s):
    cluster = s.make_cluster()
    first = cluster.nodes[0]
    names = [n.name for n in cluster.nodes]
    first.cli("key", "schedule", "--rate", "1", "--destroy-after", "0s", "--reason", "slow enough to watch")
    before = s.place([names[i % 3] for i in range(CALLS)], 3)
    s.hang_up(before)
    wait_committed(first, before, ["prg", "brq"], 75)
    live = s.place(names, 12)
    wait_for("the live calls to be in the catalogue", lambda: version(first, 1)["wraps"] >= CALLS + len(live), 30)
    on_old = version(first, 1)["wraps"]

    asked = first.cli("key", "rotate", "--reason", "CHG-7", "--wait", timeout=60)
    check(asked["version"] == 2, f"rotate: {asked}")
    state = version(first, 2)
    check(len(state["grants"]) == 3, f"version 2 is not granted to every vault: {state}")
    s.say(f"version 2 is active, granted to 3 vaults, while {len(live)} calls are live; {on_old} keys were on version 1")
    left = kill_leader(s, cluster, 1)
    check(left > 1, "everything was moved before the second kill: the rate is too high for this machine")
    kill_leader(s, cluster, 1)

    after = s.place(names, 3)
    check("ESCROW_STALE" in codes(first), f"no word of the escrow: {codes(first)}")
    shares = first.cli("key", "escrow", "--escrow", "2/3")
    check(len(shares["escrow_shares"]) == 3, "three shares were asked for")
    wait_for("the escrow to be fresh", lambda: "ESCROW_STALE" not in codes(first), 20)
    s.hang_up(live + after)

    watch = any_of(cluster.nodes)
    wait_for("nothing on version 1", lambda: version(watch, 1)["wraps"] == 0, 60, every=0.2)
    gone = wait_for("version 1 to be destroyed", lambda: (k := version(watch, 1))["state"] == "destroyed" and k, 60, every=0.2)
    check(gone["grants"] == [], f"grants are left of it: {gone}")
    wait_for("the keys of version 1 to be wiped", lambda: version(watch, 1)["keys_on"] == [], 30, every=0.2)
    for node in cluster.nodes:
        left = sorted(os.listdir(os.path.join(node.folder, "state", "keys")))
        check("seal-1.key" not in left and "seal-2.key" in left, f"{node.name}: its key folder holds {left}")
    s.say("version 1 is destroyed; its grants are gone, and the key for it is wiped on all three nodes")

    wait_committed(watch, live + after, ["prg", "brq"], 75)
    fresh = [s2["kek_version"] for c in after for s2 in watch.recording(c.id)["segments"]]
    check(set(fresh) == {2}, f"recordings made after the rotation are on {fresh}")
    samples = export_exact(s, cluster.nodes[0], before, "before")
    samples += export_exact(s, cluster.nodes[2], before[:3] + after[:1], "other")
    s.say(f"recordings from before and after play: {samples} samples equal what was sent")


if __name__ == "__main__":
    sys.exit(run("rotate", tell))
