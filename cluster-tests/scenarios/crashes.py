"""Every role of node is killed, paused and replaced, then all nodes die at once, again and again, while clients ask.

Promise (issue 3, must show 5): leader, follower, witness, standby and spare killed, paused (6 s; 30 s with --long), and
replaced by a new machine (one of them; each with --long); all nodes killed at once (6 rounds; 20 with --long):
acknowledged is read, nothing twice, digests equal.
"""
import concurrent.futures
import signal
import sys

from churn import no_fault, replace_node
from siege import run
from story import check
from lab.workload import now_us

ROLES = {"brq-2": ("standby", "vault", "api"), "prg-2": ("spare", "api"), "wit-1": ("witness", "api")}


def victims(s):
    """(role, which node has it now)."""
    def of(role):
        return lambda: next(n for n in s.cluster.nodes if n.roles[0] == role)
    return [("leader", s.leader),
            ("follower", lambda: s.rng.choice([n for n in s.cluster.nodes if "voter" in n.roles and n is not s.leader()])),
            ("witness", of("witness")), ("standby", of("standby")), ("spare", of("spare"))]


def rest_of(s, node):
    return [n for n in s.asked if n is not node]


def kill(s, role, node):
    def apply():
        node.kill()

    def heal():
        node.start()
    s.strike(f"{role} {node.name} killed", apply, rest_of(s, node), s.rng.choice(rest_of(s, node)), heal=heal)


def pause(s, role, node):
    """SIGSTOP: its connections stay, nothing answers; when it wakes, the world has moved on."""
    began = now_us()
    hold = 30 if s.long else 6

    def heal():
        node.process.send_signal(signal.SIGCONT)
        s.workload.excuse(node.name, began, now_us() + 2_000_000)
    s.strike(f"{role} {node.name} paused for {hold} s", lambda: node.process.send_signal(signal.SIGSTOP), rest_of(s, node),
             s.rng.choice(rest_of(s, node)), hold=hold, heal=heal)


def all_killed(s, rounds):
    nodes = s.cluster.nodes
    longest = 0.0
    for i in range(rounds):
        s.workload.next_epoch()
        s.serve(s.asked, 60, count=8)
        for node in nodes:
            node.process.kill()  # all are dead before the first is waited for
        for node in nodes:
            node.process.wait()
        with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(lambda n: n.start(), nodes))
        took = s.serve(s.asked, 90)
        longest = max(longest, took)
        s.faults += 1
        s.say(f"round {i + 1}: all {len(nodes)} killed at once; all serve {took:.1f} s after the last started")
    s.well(90)
    s.say(f"{rounds} rounds; the longest until all served again: {longest:.1f} s")


def tell(s):
    s.make(ROLES)
    check(s.leader().roles[0] in ("voter", "witness"), "a node without a vote leads")
    order = victims(s)
    s.rng.shuffle(order)
    for role, choose in order:
        for fault in s.rng.sample([kill, pause], 2):
            fault(s, role, choose())
    for role, choose in order if s.long else order[:1]:
        s.say(f"a {role} is lost for good")
        replace_node(s, choose(), no_fault)
    all_killed(s, 20 if s.long else 6)


if __name__ == "__main__":
    sys.exit(run("crashes", tell, {"prg": 2, "brq": 2, "wit": 1}))
