"""Members come, go and change while links are cut and nodes die: one change at a time, each safe to repeat.

Promise (issue 3, must show 5): promote, demote, transfer, replace a dead node, remove the leader, each under a fault of
its own (chosen by the seed), with clients asking all the time: acknowledged is read, nothing twice, digests equal, and at
the end the members are who they should be.
"""
import shutil
import sys
import time

from siege import run
from story import check
from lab.cluster import wait_for

SITES = {"prg": 2, "brq": 2, "wit": 1}


def others(s, *nodes):
    return [n for n in s.cluster.nodes if n not in nodes]


def change(s, through, *args, seconds=120):
    """A command that changes members, repeated at any node of `through` until it says that all is done. Returns how often
    it was asked."""
    tries = 0

    def probe():
        nonlocal tries
        tries += 1
        node = s.rng.choice(through())
        why = () if "--reason" in args else ("--reason", "scenario")
        node.cli(*args, *why, timeout=90)
        return True
    wait_for(" ".join(args[:3]), probe, seconds, every=0.5)
    return tries


def role_of(s, name):
    status = s.leader().status()
    return next((n["role"] for n in status["nodes"] if n["name"] == name), "gone")


# -- Faults that go on while a change is asked for: (words, apply, end, who is out of reach) -------------------------

def no_fault(s, _spare_me):
    return "no fault", lambda: None, lambda: None, []


def far_apart(s, _spare_me):
    return ("100 ms and 2 % loss", lambda: s.net.wan(delay=50, loss=1), lambda: s.net.wan(delay=0, loss=0), [])


def follower_cut(s, spare_me):
    node = s.rng.choice([n for n in others(s, s.leader()) if n not in spare_me])
    return f"{node.name} isolated", lambda: s.net.isolate(node.name), s.net.heal, [node]


def leader_cut(s, spare_me):
    node = s.leader()
    if node in spare_me:
        return follower_cut(s, spare_me)
    return f"leader {node.name} isolated", lambda: s.net.isolate(node.name), s.net.heal, [node]


def leader_deaf_to_one(s, spare_me):
    leader = s.leader()
    node = s.rng.choice([n for n in others(s, leader) if n not in spare_me])
    return (f"{leader.name} does not hear {node.name}", lambda: s.net.cut_oneway([node.name], [leader.name]), s.net.heal,
            [node])


def leader_killed(s, spare_me):
    node = s.leader()
    if node in spare_me:
        return follower_cut(s, spare_me)
    return f"leader {node.name} killed", node.kill, node.start, [node]


FAULTS = [no_fault, far_apart, follower_cut, leader_cut, leader_deaf_to_one, leader_killed]


def under_fault(s, fault, what, act, spare_me=()):
    """`act(through)` while the fault goes on; then all is healed, and well."""
    words, apply, end, out = fault(s, list(spare_me))
    began = time.monotonic()
    s.workload.next_epoch()
    apply()
    tries = act(lambda: [n for n in s.asked if n not in out and n.is_running()])
    took = time.monotonic() - began
    end()
    s.all_serve(90)
    s.well(60)
    s.faults += 1
    s.say(f"{what} ({words}): done after {took:.1f} s, asked {tries} times; all is well {time.monotonic() - began:.1f} s "
          "after the fault")


# -- Changes ---------------------------------------------------------------------------------------------------------

def promote_demote(s, fault):
    """The standby of brq becomes a voter, and back at the next turn."""
    node = s.cluster.node("brq-2")
    verb, role = ("demote", "standby") if "voter" in node.roles else ("promote", "voter")
    under_fault(s, fault, f"{verb} {node.name} to {role}",
                lambda through: change(s, through, "node", verb, node.name, "--to", role), [node])
    check(role_of(s, node.name) == role, f"{node.name} is {role_of(s, node.name)}, want {role}")
    node.roles[0] = role


def transfer(s, fault):
    def act(through):
        leader = s.leader().name
        voters = [n for n in through() if n.roles[0] == "voter" and n.name != leader]
        return change(s, through, "raft", "transfer", s.rng.choice(voters).name)
    under_fault(s, fault, "transfer", act)


def replace(s, fault):
    """A voter is dead for good; another machine of its site takes its place."""
    replace_node(s, s.rng.choice([n for n in others(s, s.leader()) if n.name not in ("brq-2", "wit-1")]), fault)


def replace_node(s, dead, fault):
    role = dead.roles[0]
    dead.kill()
    s.workload.leave(dead)
    s.cluster.nodes.remove(dead)
    shutil.rmtree(dead.folder)
    node = s.cluster.add(s.net.add(dead.site), dead.site, dead.roles)
    s.asked_not.append(node)

    def act(through):
        tries = change(s, through, "node", "remove", dead.name, "--reason", "dead: scenario", "--confirm", "scenario")
        node.write_config()
        node.start()
        s.cluster.join(s.rng.choice([n for n in through() if n is not node]), node)
        return tries
    under_fault(s, fault, f"{role} {dead.name} is dead, {node.name} takes its place", act, [node])
    s.asked_not.remove(node)
    wait_for(f"{node.name} to be {role}", lambda: role_of(s, node.name) in (role, "voter" if role == "witness" else role), 60,
             every=0.3)
    if role != "spare":
        s.workload.join_in(node)
    s.all_serve(60)
    s.well(60)


def remove_leader(s, _fault):
    """The leader is drained and removed, and comes back as a new member on the same machine."""
    leader = s.leader()
    s.workload.leave(leader)
    s.cluster.nodes.remove(leader)
    rest = list(s.cluster.nodes)
    for verb in ("drain", "remove"):
        change(s, lambda: rest, "node", verb, leader.name)
    s.say(f"leader {leader.name} was drained and removed; {s.leader().name} leads")
    leader.stop()
    shutil.rmtree(leader.folder)
    node = s.cluster.add(s.net.add(leader.site), leader.site, leader.roles)
    node.write_config()
    node.start()
    s.cluster.join(rest[0], node)
    wait_for(f"{node.name} to vote", lambda: role_of(s, node.name) == leader.roles[0].replace("witness", "voter"), 60,
             every=0.3)
    s.workload.join_in(node)
    s.all_serve(60)
    s.well(60)
    s.faults += 1


def tell(s):
    s.make({"brq-2": ("standby", "vault", "api"), "wit-1": ("witness", "api")})
    faults = list(FAULTS)
    for turn in range(3 if s.long else 1):
        s.rng.shuffle(faults)
        changes = [promote_demote, transfer, replace, promote_demote, transfer]
        for i, step in enumerate(changes):
            step(s, faults[i % len(faults)])
        if s.long or turn == 0:
            remove_leader(s, None)
    members = {n["name"]: n["role"] for n in s.leader().status()["nodes"]}
    want = {n.name: n.roles[0] for n in s.cluster.nodes}
    check(set(members) == set(want), f"members are {members}, want {want}")


if __name__ == "__main__":
    sys.exit(run("churn", tell, SITES))
