"""A key version is known to somebody: what was recorded under it is encrypted again.

Promise (issue 4): `key compromise V --plan` lists what it touches; then every segment that is on it gets a new DEK and a
new generation, and the old key goes only when the new tape has the copies that the old one had. The leader is killed
in the middle; recordings play before, meanwhile and after.
"""
import sys
import time

from story import check, export_exact, recorder_started, run, wait_committed, wait_for


def version(node, number):
    return next(k for k in node.cli("key", "status")["keys"] if k["version"] == number)


def tell(s):
    cluster = s.make_cluster()
    first, far = cluster.nodes[0], cluster.nodes[2]
    calls = s.place(["prg-1", "prg-2", "brq-1"] * 2, 3)
    s.hang_up(calls)
    wait_committed(first, calls, ["prg", "brq"], 60)
    # Slow, so that the rewrap of a rotation has not moved all of it before the compromise is told.
    first.cli("key", "schedule", "--rate", "1", "--destroy-after", "0s", "--reason", "slow enough to watch")
    first.cli("key", "rotate", "--reason", "CHG-7", "--wait", timeout=60)
    plan = first.cli("key", "compromise", "1", "--plan")
    check(plan["recordings"] > 0 and plan["copies_at_nodes"] >= 2 * plan["segments"], f"plan: {plan}")
    leader = cluster.leader()
    watch = next(n for n in cluster.nodes if n is not leader)
    watch.cli("key", "compromise", "1", "--reason", "a laptop was stolen")
    left = version(watch, 1)["wraps"]
    killed = time.time()
    leader.kill()
    s.say(f"compromised with {left} keys on it; {leader.name}, the leader, was killed at once")
    wait_for("another leader", lambda: (n := watch.status()["leader"]) and n != leader.name, 30)
    leader.start()
    recorder_started(leader, killed)
    wait_for("nothing on version 1", lambda: version(watch, 1)["wraps"] == 0, 120, every=0.3)
    made = [g for c in calls for g in watch.recording(c.id)["segments"] if g["segment"].startswith("g2-")]
    check(made and all(g["kek_version"] == 2 and g["link"] for g in made), f"no second generation: {made}")
    old = [g for c in calls for g in watch.recording(c.id)["segments"] if g["replaced_by"]]
    check(len(old) == len(made) and all(g["erased"] for g in old), f"old keys: {old}")
    wait_for("version 1 to be destroyed", lambda: version(watch, 1)["state"] == "destroyed", 60, every=0.3)
    s.say(f"{len(made)} segments were encrypted again, the others were rewrapped before; version 1 is destroyed")
    samples = export_exact(s, first, calls, "first") + export_exact(s, far, calls, "far")
    s.say(f"all play at both sites: {samples} samples equal what was sent")


if __name__ == "__main__":
    sys.exit(run("compromise", tell))
