"""The majority of the voters is destroyed; a survivor goes on alone, by `raft recover`: two of three are gone, or three
of five, where the other survivor runs on with its log.

Promise (issue 3): loud, confirmed by the cluster's name, refused while the daemon runs; the recovery is in the audit
log; all acknowledged writes that the survivor had are there; the cluster serves, and takes new members.
"""
import shutil
import sys

from story import check, run, wait_for


def names(node):
    events = node.cli("audit", "list", "--from", "1")["events"]
    return [e["reason"] for e in events if e["action"] == "token.add"], [e["action"] for e in events]


def write(s, nodes, count):
    for i in range(count):
        nodes[i % len(nodes)].cli("token", "create", "--name", f"w-{i}", "--role", "reader", "--reason", f"w-{i}")


def check_written(node, count):
    written = [n for n in names(node)[0] if n.startswith("w-")]
    check(sorted(written, key=lambda n: int(n[2:])) == [f"w-{i}" for i in range(count)], f"there are {written}")


def destroy(nodes):
    for node in nodes:
        node.kill()
        shutil.rmtree(node.folder)


def recover(node):
    command = ("raft", "recover", "--state", str(node.state))
    done = node.cli_raw(*command, "--confirm", "scenario")
    check(done.returncode != 0, "recovered under a running daemon")
    node.kill()
    done = node.cli_raw(*command)
    check(done.returncode == 8, f"without the name: exit {done.returncode}: {done.stderr.decode()}")
    check("IS LOST" in done.stdout.decode(), f"not loud: {done.stdout.decode()}")
    done = node.cli_raw(*command, "--confirm", "other")
    check(done.returncode == 8, f"with another name: exit {done.returncode}")
    done = node.cli_raw(*command, "--confirm", "scenario")
    check(done.returncode == 0, f"recover: exit {done.returncode}: {done.stderr.decode()}")
    check("rm -r" in done.stdout.decode() and "systemctl stop evertaped" in done.stdout.decode(),
          f"no next commands: {done.stdout.decode()}")
    node.start()
    wait_for("the survivor to lead", lambda: node.status()["leader"] == node.name, 30)
    wait_for("the recovery in the audit log", lambda: "raft.recover" in names(node)[1], 30)


def remove_dead(survivor, node):
    """Who has just started cannot say yet who is dead."""
    wait_for(f"{node.name} to be removed", lambda: survivor.cli_raw(
        "node", "remove", node.name, "--reason", "dead", "--confirm", "scenario", timeout=130).returncode == 0, 30)


def two_of_three(s):
    cluster = s.make_cluster()
    survivor, lost = cluster.nodes[0], cluster.nodes[1:]
    write(s, cluster.nodes, 20)
    wait_for("the survivor to have all of it", lambda: all(f"w-{i}" in names(survivor)[0] for i in range(20)), 30)
    destroy(lost)
    cluster.nodes = [survivor]
    s.say("20 writes were acknowledged; two of three voters are destroyed")
    recover(survivor)
    check_written(survivor, 20)
    for node in lost:
        remove_dead(survivor, node)
    survivor.cli("token", "create", "--name", "after", "--role", "reader", "--reason", "after")
    events = survivor.cli("audit", "verify")["events"]
    s.say(f"{survivor.name} goes on alone: 20 of 20 writes are there, {events} audit events verify, the dead are removed")
    cluster.stop()
    cluster.remove()


def three_of_five(s):
    cluster = s.make_cluster((("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq"), ("brq-2", "brq"), ("ost-1", "ost")))
    left, lost = [cluster.node("brq-2"), cluster.node("ost-1")], cluster.nodes[:3]
    write(s, cluster.nodes, 30)
    wait_for("both survivors to have all of it",
             lambda: all(f"w-{i}" in names(n)[0] for n in left for i in range(30)), 30)
    destroy(lost)
    cluster.nodes = left
    for node in left:
        wait_for(f"{node.name} to claim nothing", lambda n=node: not any(x["survives"] for x in n.status()["survives"]), 30)
        done = node.cli_raw("token", "create", "--name", "no", "--role", "reader", "--reason", "no", timeout=60)
        check(done.returncode == 3, f"{node.name} took a write with two of five voters: exit {done.returncode}")
    s.say("30 writes were acknowledged; three of five voters are destroyed: the two that are left take no writes")

    survivor, other = left
    recover(survivor)  # The other runs all the time, with a log of before: it had heard no more than this one.
    check_written(survivor, 30)
    survivor.cli("token", "create", "--name", "after", "--role", "reader", "--reason", "after")
    wait_for("the other survivor to vote again", lambda: {n["name"] for n in survivor.status()["nodes"] if n["role"] == "voter"}
             == {survivor.name, other.name}, 60)
    for node in lost:
        remove_dead(survivor, node)
    wait_for("it to have all of it", lambda: "after" in names(other)[0], 60)
    check_written(other, 30)
    for node in (survivor, other):
        node.cli("audit", "verify")
    other.cli("token", "create", "--name", "both", "--role", "reader", "--reason", "both")
    s.say(f"{survivor.name} goes on alone; {other.name}, which ran all the time, is up to date and votes again: "
          "30 of 30 writes on both")


def tell(s):
    two_of_three(s)
    three_of_five(s)


if __name__ == "__main__":
    sys.exit(run("recover", tell))
