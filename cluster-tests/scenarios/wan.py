"""Three sites 100 ms apart, with jitter and 2 % loss: the cluster works, loses its leader, a site, and heals.

Promise (issue 3, must show 5): at 100 ms RTT with 2 % loss acknowledged is read, nothing twice, digests equal; live calls
are recorded and copied to the other site meanwhile. Raft is set as the manual says for such links: election 3s,
heartbeat 300ms.
"""
import shutil
import statistics
import sys

from siege import run
from story import by_caller, check, lost_packets, wait_committed
from lab.calls import Call

RAFT = "raft: {election: 3s, heartbeat: 300ms}\n"
CALLS = 4


def others(s, *nodes):
    return [n for n in s.cluster.nodes if n not in nodes]


def place_calls(s, node, seconds):
    """Live calls on a machine's own loopback, where its recorder listens."""
    if shutil.which("sipp") is None:
        s.say("no live calls: sipp is missing (run ops/packages)")
        return []
    node.wait_capture()
    calls = []
    for i in range(CALLS):
        call = Call(s.folder / "calls" / f"{node.name}-{i}", f"127.0.1.{i + 1}", f"127.0.2.{i + 1}",
                    f"+4206000{node.number:02d}{i:02d}", f"+4208000{node.number:02d}{i:02d}", seconds,
                    netns=s.net.ns(node.machine))
        calls.append(call.start())
    return calls


def latency(s, seconds):
    """Median and largest time of writes and linearizable reads from now on."""
    begin = len(s.workload.ops)
    s.serve(s.cluster.nodes, seconds, count=15)
    took = {"r": [], "w": []}
    for kind, _key, call, ret, *_rest in s.workload.ops[begin:]:
        if ret is not None and kind in took:
            took[kind].append((ret - call) / 1e3)
    return ", ".join(f"{word} {statistics.median(took[kind]):.0f} ms (median of {len(took[kind])})"
                     for kind, word in (("w", "writes"), ("r", "linearizable reads")))


def tell(s):
    s.net.wan(delay=50, jitter=5, loss=1)  # each way: 100 ms and 2 % there and back
    s.make(extra=RAFT, capture=("prg-1", "brq-1"))
    calls = [c for name in ("prg-1", "brq-1") for c in place_calls(s, s.cluster.node(name), 25)]
    s.say(f"100 ms RTT, 10 ms jitter, 2 % loss; {len(calls)} calls are live; {latency(s, 90)}")
    term = s.look(s.leader())["term"]

    leader = s.leader()
    rest = others(s, leader)
    s.strike(f"leader {leader.name} isolated", lambda: s.net.isolate(leader.name), rest, s.rng.choice(rest), hold=8)

    site = s.rng.choice(["prg", "brq"])
    rest = [n for n in s.cluster.nodes if n.site != site]

    def cut_site():
        s.net.isolate_site(site)
    s.strike(f"site {site} cut off", cut_site, rest, s.rng.choice(rest), hold=8)

    victim = s.leader()
    rest = others(s, victim)
    s.strike(f"leader {victim.name} killed", victim.kill, rest, s.rng.choice(rest), hold=4, heal=victim.start)

    if s.long:
        s.net.wan(delay=50, jitter=20, loss=3, reorder=2, dup=1)
        s.say(f"100 ms RTT, 40 ms jitter, 6 % loss, reordered and doubled; {latency(s, 180)}")
        s.strike("nothing but the bad links", lambda: None, s.cluster.nodes, hold=60)
    for call in calls:
        call.wait()
    killed = {c for c in calls if victim.name in str(c.folder)}
    wait_committed(s.leader(), calls, ["prg", "brq"], 90)
    lost = sum(lost_packets(s.leader(), c) for c in calls if c not in killed)
    check(lost == 0, f"{lost} packets lost on nodes that lived")
    check(all(len(by_caller(s.leader())[c.caller]) == 1 for c in calls), "a call is there twice")
    s.say(f"{len(calls)} calls are committed once, with copies at both sites; 0 packets lost on nodes that lived; leaders "
          f"rose from term {term} to {s.look(s.leader())['term']}")


if __name__ == "__main__":
    sys.exit(run("wan", tell, {"prg": 2, "brq": 2, "wit": 1}))
