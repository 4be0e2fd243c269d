"""Members come, change their roles and go, while calls are recorded and clients write.

Promise (issue 3): one change at a time, any step safe to repeat, any node can be asked; what was acknowledged is
read afterwards, once, and the states of all nodes are equal. A node joins as a spare, becomes standby, then voter; a
voter is demoted and promoted; leadership is handed over; a follower is drained and removed; the leader is removed;
a dead node is replaced; a node moves to another address; what would cost the quorum is refused.
"""
import sys
import threading
import time

from story import CliError, check, digests_equal, export_exact, run, wait_committed, wait_for

TALK = 40


class Writer(threading.Thread):
    """A client that makes tokens, one after another, at any node that lives; it remembers what was acknowledged."""

    def __init__(self, story):
        super().__init__(daemon=True)
        self.story, self.acknowledged, self.unknown, self.tried, self.longest = story, [], [], 0, 0.0
        self.ending = threading.Event()

    def run(self):
        while not self.ending.is_set():
            nodes = [n for n in self.story.cluster.nodes if n.is_running() and n.serves]
            if not nodes:
                return
            node = nodes[self.tried % len(nodes)]
            name = f"w-{self.tried}"
            self.tried += 1
            began = time.monotonic()
            try:
                node.cli("token", "create", "--name", name, "--role", "reader", "--reason", name, timeout=40)
                self.acknowledged.append(name)
            except (CliError, OSError):
                self.unknown.append(name)
            self.longest = max(self.longest, time.monotonic() - began)

    def end(self):
        self.ending.set()
        self.join(timeout=60)


def members(node):
    return {n["name"]: n for n in node.status()["nodes"]}


def role_is(node, name, role):
    return members(node).get(name, {"role": "none"})["role"] == role


def wait_role(node, name, role):
    wait_for(f"{name} to be {role} as {node.name} sees it", lambda: role_is(node, name, role), 60, every=0.2)


def refused(code, node, *args):
    done = node.cli_raw(*args, timeout=120)
    check(done.returncode == code, f"evertape {' '.join(args)}: exit {done.returncode}, want {code}: "
          f"{done.stderr.decode()}")
    return done.stderr.decode()


def newcomer(s, name, site, raft_role, roles=("vault", "capture", "api")):
    cluster = s.cluster
    node = cluster.add(name, site, roles=(raft_role, *roles))
    node.serves = False
    node.write_config()
    node.start()
    helper = next(n for n in cluster.nodes if n.is_running() and n.serves)
    cluster.join(helper, node)
    if raft_role != "spare":  # which hears nothing of the catalogue
        wait_for(f"{name} to know the cluster", lambda: node.status()["leader"], 60)
        node.serves = True
    return node


def leave(s, node):
    """It is no member any more: stop it, and forget it."""
    node.serves = False
    node.stop()
    s.cluster.nodes.remove(node)


def check_history(s, node, writer):
    """Acknowledged is contained in what is read, and nothing is there twice."""
    seen = {}
    number = 1
    while True:
        page = node.cli("audit", "list", "--from", str(number))
        for event in page["events"]:
            if event["action"] == "token.add" and event["reason"].startswith("w-") and event["outcome"] == "ok":
                seen[event["reason"]] = seen.get(event["reason"], 0) + 1
        if not page["more"]:
            break
        number = page["next_number"]
    lost = [name for name in writer.acknowledged if name not in seen]
    twice = [name for name, count in seen.items() if count > 1]
    check(not lost, f"acknowledged and lost: {lost}")
    check(not twice, f"there twice: {twice}")
    s.say(f"{len(writer.acknowledged)} writes were acknowledged, {len(writer.unknown)} not; {len(seen)} are there, each "
          f"once, none of the acknowledged is missing; the slowest took {writer.longest:.1f} s")


def check_digests(s):
    nodes = [n for n in s.cluster.nodes if n.is_running()]

    def equal():
        states = {}
        for node in nodes:
            for n in node.status()["nodes"]:
                if n.get("digest"):
                    states.setdefault(n["digest_index"], set()).add(n["digest"])
        check(all(len(d) == 1 for d in states.values()), f"digests differ: {states}")
        return any(sum(1 for n in nodes[0].status()["nodes"] if n.get("digest_index") == i) > 1 for i in states)
    wait_for("two nodes at one index", equal, 30, every=0.2)
    heads = wait_for("one audit chain everywhere", lambda: len(h := digests_equal(nodes)) == 1 and h, 30, every=0.5)
    s.say(f"the digests of {len(nodes)} nodes are equal, and their audit chains: {next(iter(heads))[0]} events")


def roles_change(s):
    a = s.cluster.nodes[0]
    dave = newcomer(s, "brq-2", "brq", "spare")
    wait_role(a, "brq-2", "spare")
    a.cli("node", "promote", "brq-2", "--to", "standby", "--reason", "CHG-1", timeout=130)
    check(role_is(a, "brq-2", "standby"), "promote --to standby came back before it was so")
    a.cli("node", "promote", "brq-2", "--reason", "CHG-2", timeout=130)
    a.cli("node", "promote", "brq-2", "--reason", "CHG-2 again", timeout=130)
    wait_for("brq-2 to know the cluster", lambda: dave.status()["leader"], 30)
    wait_role(dave, "brq-2", "voter")
    dave.serves = True
    codes = {c["code"] for c in a.status()["codes"]}
    check("VOTERS_EVEN" in codes, f"four voters, and status says {codes}")
    s.say("brq-2 joined as a spare, became standby, caught up, votes")
    dave.cli("node", "demote", "brq-2", "--reason", "CHG-3", timeout=130)
    wait_role(a, "brq-2", "standby")
    refused(1, a, "raft", "transfer", "brq-2")
    refused(8, a, "node", "demote", "brq-2", "--to", "spare", "--reason", "CHG-4")  # it stores media
    dave.cli("node", "promote", "brq-2", "--reason", "CHG-5", timeout=130)
    wait_role(a, "brq-2", "voter")
    s.say("demoted to standby, and back")


def leadership_moves(s):
    for name in ("brq-1", "brq-2", "prg-1"):
        asked = next(n for n in s.cluster.nodes if n.name != name)
        answer = asked.cli("raft", "transfer", name, "--reason", "drill", timeout=130)
        check(answer["leader"] == name, f"asked for {name}, got {answer}")
        peers = asked.cli_raw("raft", "peers")  # at once: it waits for the new leader's word
        check(peers.returncode == 0, f"raft peers after {name} took over: {peers.returncode} {peers.stderr.decode()}")

    def peers():
        by_name = {p["name"]: p for p in s.cluster.nodes[1].cli("raft", "peers")["peers"]}
        return len(by_name) == 4 and by_name["prg-1"]["leader"] and \
            all(p["match"] > 0 and p["contact_ms"] < 5000 for p in by_name.values())
    wait_for("raft peers to show four, in touch", peers, 20)
    s.say("leadership went to brq-1, brq-2, prg-1, asked for at other nodes; raft peers sees all four")


def drained_and_removed(s, calls):
    a = s.cluster.nodes[0]
    node = s.cluster.node("prg-2")
    refused(8, a, "node", "remove", "prg-2", "--reason", "CHG-6")
    refused(8, a, "node", "drain", "prg-2", "--reason", "CHG-6", "--no-wait")
    refused(6, a, "node", "drain", "prg-2", "--stop-capture", "--reason", "CHG-6", "--no-wait")
    refused(8, a, "node", "remove", "prg-2", "--reason", "CHG-6")
    held = a.cli_raw("node", "drain", "prg-2", "--reason", "CHG-6", "-o", "json", "--wait", "150s", timeout=170)
    check(held.returncode == 0, f"drain: exit {held.returncode}: {held.stderr.decode()}")
    s.hang_up([c for c in calls if c.home == "prg-2"])
    node.cli("node", "remove", "prg-2", "--reason", "CHG-7", timeout=130)  # asked of the one that goes
    wait_role(a, "prg-2", "none")
    codes = wait_for("prg-2 to know that it was removed", lambda: {c["code"] for c in node.status()["codes"]}
                     & {"NODE_REMOVED"}, 20)
    check(codes, "prg-2 does not know that it was removed")
    a.cli("node", "remove", "prg-2", "--reason", "CHG-7 again")
    leave(s, node)
    s.say("prg-2 was drained with live calls on it, and removed; it knows")


def leader_is_removed(s):
    old = s.cluster.leader()
    others = [n for n in s.cluster.nodes if n is not old]
    others[0].cli("node", "drain", old.name, "--stop-capture", "--reason", "CHG-8", "--wait", "90s", timeout=100)
    began = time.monotonic()
    others[0].cli("node", "remove", old.name, "--reason", "CHG-8", timeout=130)
    leader = wait_for("a leader that is not removed", lambda: (n := others[0].status()["leader"]) and n != old.name and n, 30)
    wait_role(others[0], old.name, "none")
    leave(s, old)
    s.say(f"{old.name}, the leader, was removed through {others[0].name}: it handed over, {leader} leads; "
          f"{time.monotonic() - began:.1f} s in all")


def copies_at(node, name):
    """{state} of the copies of all recordings at the node of that name"""
    return {c["state"] for r in node.recordings() for c in node.recording(r["id"])["copies"] if c.get("node") == name}


def dead_is_replaced(s):
    a, dead = s.cluster.nodes[0], s.cluster.nodes[-1]
    if s.cluster.leader() is a:
        a, dead = s.cluster.nodes[-1], s.cluster.nodes[0]
    rest = next(n for n in s.cluster.nodes if n is not dead and n is not a)

    def it_answers():  # before that, it was not asked for long enough
        done = a.cli_raw("node", "remove", dead.name, "--reason", "dead", "--confirm", "scenario", timeout=130)
        check(done.returncode != 0, f"{dead.name} answers, and was removed as dead")
        return done.returncode == 8
    wait_for(f"{a.name} to say that {dead.name} answers", it_answers, 20)
    dead.serves = False
    dead.kill()
    wait_for(f"{dead.name} to be seen as down", lambda: "VOTER_DOWN" in {c["code"] for c in a.status()["codes"]}, 30)
    told = refused(8, a, "node", "demote", rest.name, "--reason", "CHG-9")
    check("majority" in told, f"demoting one of the last two: {told}")
    newcomer(s, "prg-9", "prg", "voter")
    wait_role(a, "prg-9", "voter")
    before = copies_at(a, dead.name)
    told = refused(8, a, "node", "remove", dead.name, "--reason", "dead: board burnt")
    check("--confirm" in told and "lost with it" in told, f"a loss is to be said and confirmed: {told}")
    done = a.cli("node", "remove", dead.name, "--reason", "dead: board burnt", "--confirm", "scenario", timeout=130)
    check(done["loss"] is not None, f"no loss was stated: {done}")
    wait_role(a, dead.name, "none")
    s.cluster.nodes.remove(dead)
    check(copies_at(a, dead.name) == {"lost" if c == "verified" else c for c in before},
          f"copies at {dead.name} were {before}, and are {copies_at(a, dead.name)}")
    s.say(f"{dead.name} was killed, prg-9 took its place, and {dead.name} was removed with its loss stated: "
          f"{done['loss']['alone_segments']} segments")


def address_moves(s):
    node = next(n for n in s.cluster.nodes if n is not s.cluster.leader())
    watch = next(n for n in s.cluster.nodes if n is not node)
    before = node.cluster_address
    node.serves = False
    node.stop()
    node.address = node.address.rsplit(".", 1)[0] + ".77"
    node.write_config()
    node.start()
    wait_for(f"{node.name} to be known at {node.cluster_address}",
             lambda: members(watch)[node.name]["address"] == node.cluster_address, 60, every=0.2)
    node.serves = True
    wait_for("the leader to hear it there", lambda: (p := {p["name"]: p for p in watch.cli("raft", "peers")["peers"]}) and
             p[node.name]["reachable"] and p[node.name]["lag"] < 10 and p[node.name]["contact_ms"] < 2000, 60, every=0.2)
    watch.cli("raft", "transfer", node.name, "--reason", "does it lead from there?", timeout=130)
    s.say(f"{node.name} moved from {before} to {node.cluster_address}; it votes and leads there")


def tell(s):
    cluster = s.make_cluster()
    for node in cluster.nodes:
        node.serves = True
    writer = Writer(s)
    writer.start()
    calls = s.place(["prg-1", "prg-2", "brq-1"] * 2, TALK)
    s.say(f"{len(calls)} calls are live, a client writes")
    roles_change(s)
    leadership_moves(s)
    drained_and_removed(s, calls)
    s.hang_up(calls)
    leader_is_removed(s)
    wait_committed(s.cluster.nodes[0], calls, ["brq"], 90)
    samples = export_exact(s, s.cluster.nodes[0], calls, "all")
    s.say(f"all {len(calls)} calls play, {samples} samples equal what was sent, though two recorders are gone")
    newcomer(s, "brq-3", "brq", "voter")
    wait_role(s.cluster.nodes[0], "brq-3", "voter")
    dead_is_replaced(s)
    address_moves(s)
    writer.end()
    check_history(s, s.cluster.nodes[0], writer)
    check_digests(s)


if __name__ == "__main__":
    sys.exit(run("membership", tell))
