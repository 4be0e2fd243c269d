"""The majority of the voters is destroyed; the survivor goes on alone, by `raft recover`.

Promise (issue 3): loud, confirmed by the cluster's name, refused while the daemon runs; the recovery is in the audit
log; all acknowledged writes that the survivor had are there; the cluster serves, and takes new members.
"""
import shutil
import sys

from story import check, run, wait_for


def names(node):
    events = node.cli("audit", "list", "--from", "1")["events"]
    return [e["reason"] for e in events if e["action"] == "token.add"], [e["action"] for e in events]


def tell(s):
    cluster = s.make_cluster()
    survivor, lost = cluster.nodes[0], cluster.nodes[1:]
    for i in range(20):
        cluster.nodes[i % 3].cli("token", "create", "--name", f"w-{i}", "--role", "reader", "--reason", f"w-{i}")
    wait_for("the survivor to have all of it", lambda: all(f"w-{i}" in names(survivor)[0] for i in range(20)), 30)
    for node in lost:
        node.kill()
        shutil.rmtree(node.folder)
    cluster.nodes = [survivor]
    s.say("20 writes were acknowledged; two of three voters are destroyed")
    recover = ("raft", "recover", "--state", str(survivor.state))
    done = survivor.cli_raw(*recover, "--confirm", "scenario")
    check(done.returncode != 0, "recovered under a running daemon")
    survivor.kill()
    done = survivor.cli_raw(*recover)
    check(done.returncode == 8, f"without the name: exit {done.returncode}: {done.stderr.decode()}")
    check("IS LOST" in done.stdout.decode(), f"not loud: {done.stdout.decode()}")
    done = survivor.cli_raw(*recover, "--confirm", "other")
    check(done.returncode == 8, f"with another name: exit {done.returncode}")
    done = survivor.cli_raw(*recover, "--confirm", "scenario")
    check(done.returncode == 0, f"recover: exit {done.returncode}: {done.stderr.decode()}")
    check("rm -r" in done.stdout.decode(), f"no next commands: {done.stdout.decode()}")
    survivor.start()
    wait_for("the survivor to lead", lambda: survivor.status()["leader"] == survivor.name, 30)
    wait_for("the recovery in the audit log", lambda: "raft.recover" in names(survivor)[1], 30)
    written = [n for n in names(survivor)[0] if n.startswith("w-")]
    check(sorted(written, key=lambda n: int(n[2:])) == [f"w-{i}" for i in range(20)], f"there are {written}")
    for node in lost:
        survivor.cli("node", "remove", node.name, "--reason", "dead", "--confirm", "scenario", timeout=130)
    survivor.cli("token", "create", "--name", "after", "--role", "reader", "--reason", "after")
    events = survivor.cli("audit", "verify")["events"]
    s.say(f"{survivor.name} goes on alone: 20 of 20 writes are there, {events} audit events verify, the dead are removed")


if __name__ == "__main__":
    sys.exit(run("recover", tell))
