"""Every kind of partition, one after the other, with clients on both sides of each.

Promise (issue 3, must show 5): leader isolated; one-way cut; minority; ring; majority lost and back: acknowledged is
read, nothing twice, digests equal; without a majority every answer says so within its time.
"""
import json
import signal
import sys
import time

from siege import run
from story import check
from lab.cluster import wait_for
from lab.workload import now_us


def others(s, *nodes):
    return [n for n in s.cluster.nodes if n not in nodes]


def names(nodes):
    return [n.name for n in nodes]


def leader_isolated(s):
    leader = s.leader()
    rest = others(s, leader)

    def during():
        wait_for(f"{leader.name} to know that it leads nobody",
                 lambda: not leader.status()["quorum"]["has_quorum"], 15)
        return f"{leader.name} knows that it has no quorum"
    s.strike(f"leader {leader.name} isolated", lambda: s.net.isolate(leader.name), rest, s.rng.choice(rest),
             during=during)


def leader_wakes_alone(s):
    """A leader is stopped, another is elected meanwhile, and it wakes isolated: for a moment it believes that it leads.
    What its clients read then must not be what was so before."""
    leader = s.leader()
    rest = others(s, leader)
    began = now_us()

    def apply():
        leader.process.send_signal(signal.SIGSTOP)
        s.net.isolate(leader.name)

    def during():
        leader.process.send_signal(signal.SIGCONT)
        woke = now_us()
        s.workload.excuse(leader.name, began, woke)
        wait_for(f"{leader.name} to know that it leads nobody",
                 lambda: not leader.status()["quorum"]["has_quorum"], 15)
        return f"{leader.name} knew {(now_us() - woke) / 1e6:.1f} s after it woke"
    s.strike(f"leader {leader.name} stopped, isolated, woken", apply, rest, during=during, hold=3)


def one_way(s, deaf):
    """The leader hears nobody (deaf), or nobody hears it."""
    leader = s.leader()
    rest = others(s, leader)
    one, other = (names(rest), [leader.name]) if deaf else ([leader.name], names(rest))
    what = f"leader {leader.name} hears nobody" if deaf else f"nobody hears leader {leader.name}"
    s.strike(what, lambda: s.net.cut_oneway(one, other), rest, s.rng.choice(rest))


def one_link_one_way(s):
    """The asymmetric cut between two nodes only: the one that does not hear the leader must not disturb the rest."""
    leader = s.leader()
    victim = s.rng.choice(others(s, leader))
    rest = others(s, victim)
    term = s.look(leader)["term"]

    def during():
        after = s.look(leader)
        check(after["leader"] == leader.name and after["term"] == term,
              f"{victim.name} unseated {leader.name} in term {term}: {after['leader']} leads in term {after['term']}")
        return f"{leader.name} still leads in term {term}"
    s.strike(f"{victim.name} does not hear leader {leader.name}",
             lambda: s.net.cut_oneway([leader.name], [victim.name]), rest, during=during)


def minority(s):
    cut = s.rng.sample(s.cluster.nodes, 2)
    rest = others(s, *cut)
    s.strike(f"minority {' '.join(names(cut))} cut off", lambda: s.net.cut(names(cut), names(rest)), rest,
             s.rng.choice(rest))


def ring(s):
    order = names(s.cluster.nodes)
    s.rng.shuffle(order)
    at = {name: i for i, name in enumerate(order)}

    def serving():
        leader = next(n for n in s.cluster.nodes if (s.look(n) or {}).get("leader") == n.name)
        i = at[leader.name]
        near = {order[i], order[i - 1], order[(i + 1) % len(order)]}
        took = s.serve([s.cluster.node(n) for n in near], 30)
        return f"{leader.name} and its neighbours served after {took:.1f} s"
    s.strike("ring " + " ".join(order), lambda: s.net.ring(order), watch=s.rng.choice(s.cluster.nodes), during=serving)


def exits_3(node):
    """A command without a quorum ends in its time with exit 3, and says why."""
    began = time.monotonic()
    done = node.cli_raw("site", "set", "nowhere", "--description", "x", "--reason", "x", "-o", "json",
                        timeout=30)
    took = time.monotonic() - began
    error = json.loads(done.stderr)
    check(done.returncode == 3 and error["code"] == "ET_ENOQUORUM",
          f"{node.name}: a write without quorum exits {done.returncode}: {error}")
    check(took < 13, f"{node.name}: a write without quorum was answered after {took:.1f} s")
    return took


def majority_lost(s):
    """The leader and one more on one side, nobody hears a majority on the other either."""
    leader = s.leader()
    rest = others(s, leader)
    s.rng.shuffle(rest)
    parts = [[leader, rest[0]], [rest[1], rest[2]], [rest[3]]]

    def cut():
        for i, part in enumerate(parts):
            for other in parts[i + 1:]:
                s.net.cut(names(part), names(other))

    def during():
        longest = max(exits_3(part[-1]) for part in parts[:2])
        node = leader
        first = s.ask(node, "/v1/sites")
        check(s.ask(node, "/v1/sites?read=linearizable") is None, "a linearizable read without a majority was answered")
        second = s.ask(node, "/v1/sites")
        check(first["read"]["mode"] == "local" and second["read"]["age_ms"] > first["read"]["age_ms"] > 1000,
              f"local reads without a majority do not say how old they are: {first['read']}, {second['read']}")
        return f"writes exit 3 after {longest:.1f} s; local reads are {second['read']['age_ms']} ms old and say so"
    s.strike("majority lost: " + " | ".join(" ".join(names(p)) for p in parts), cut, watch=parts[2][0], during=during)


def flapping(s):
    """A node's links go and come faster than an election."""
    victim = s.rng.choice(s.cluster.nodes)
    rest = others(s, victim)

    def during():
        for _ in range(8):
            s.net.isolate(victim.name)
            time.sleep(s.rng.uniform(0.1, 1.2))
            s.net.heal()
            time.sleep(s.rng.uniform(0.05, 0.4))
        return f"the rest served within {s.serve(rest, 30):.1f} s"
    s.strike(f"{victim.name} comes and goes, 8 times", lambda: None, during=during, hold=0)


def tell(s):
    s.make()
    for _ in range(3 if s.long else 1):
        steps = [leader_isolated, leader_wakes_alone, lambda s: one_way(s, True), lambda s: one_way(s, False), one_link_one_way, minority, ring,
                 majority_lost, flapping]
        s.rng.shuffle(steps)
        for step in steps:
            step(s)


if __name__ == "__main__":
    sys.exit(run("partitions", tell, {"prg": 2, "brq": 2, "wit": 1}))
