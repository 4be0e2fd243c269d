"""A rolling upgrade with two builds of different schema in one cluster (ops/doc/runbooks/upgrade.md).

Promise (issue 3): old, old, old -> each replaced by a new binary under writes -> plan and apply -> the new command
works; before that an old binary may come back, after it an old binary neither starts nor joins.
"""
import json
import os
import pathlib
import subprocess
import sys
import threading

from story import CliError, binaries, check, run, wait_for

NEXT = pathlib.Path(os.environ.get("EVERTAPE_NEXT", binaries().parent / "bin-next"))


class Writer(threading.Thread):
    """Writes on and on through whichever node answers."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes, self.done, self.failed, self.stopped = nodes, 0, 0, threading.Event()

    def run(self):
        while not self.stopped.is_set():
            for node in self.nodes:
                name = f"w{self.done}"
                if node.is_running() and node.cli_raw("token", "create", "--name", name, "--role", "reader",
                                                      "--reason", "writes").returncode == 0:
                    self.done += 1
                    break
            else:
                self.failed += 1

    def wait_more(self, count):
        target = self.done + count
        wait_for(f"{count} more writes", lambda: self.done >= target, 60)


def plan(node):
    done = node.cli_raw("cluster", "upgrade", "plan", "-o", "json")
    return done.returncode, json.loads(done.stdout)


def probe(node):
    """The command that only schema 2 has, over the node's socket."""
    done = subprocess.run(["curl", "-s", "--unix-socket", str(node.socket), "-X", "POST",
                           "http://node/v1/cluster/probe", "-d", '{"text": "hello"}'],
                          capture_output=True, timeout=30, check=False)
    return json.loads(done.stdout)


def start_next(node):
    node.start(program=NEXT / "evertaped")


def tell(s):
    check((NEXT / "evertaped").exists(), f"{NEXT}/evertaped is not built")
    cluster = s.make_cluster()
    nodes = cluster.nodes
    first = nodes[0]
    code, p = plan(first)
    check(code == 0 and not p["possible"] and p["schema_version"] == 1, f"a plan where there is nothing to do: {p}")
    check(first.cli("cluster", "show")["schema_version"] == 1, "a new cluster of old builds follows schema 1")
    writer = Writer(nodes)
    writer.start()
    writer.wait_more(3)

    for i, node in enumerate(nodes):
        check(node.stop() == 0, "an orderly stop")
        start_next(node)
        wait_for(f"{node.name} to report schema 2",
                 lambda n=node: any(m["name"] == n.name and m["schema"] == 2 for m in plan(first)[1]["members"]), 60)
        writer.wait_more(2)
        code, p = plan(first)
        if i < 2:
            check(code == 6 and p["blockers"] and not p["possible"], f"with old builds left: {code} {p['blockers']}")
            check(first.cli_raw("cluster", "upgrade", "apply", "--reason", "too early").returncode not in (0, 7),
                  "an upgrade with old builds left")
        if i == 0:
            answer = probe(node)
            check(answer.get("code") == "ET_EVERSION", f"the new command before the upgrade: {answer}")
            check("upgrade plan" in answer["next"], f"it does not say what to do: {answer}")
            # There is a way back.
            check(node.stop() == 0, "an orderly stop")
            node.start()
            wait_for("the old build to be back",
                     lambda n=node: any(m["name"] == n.name and m["schema"] == 1 for m in plan(nodes[1])[1]["members"]),
                     60)
            writer.wait_more(2)
            s.say(f"{node.name}: new build, and back to the old one")
            node.stop()
            start_next(node)
            wait_for(f"{node.name} to report schema 2",
                     lambda n=node: any(m["name"] == n.name and m["schema"] == 2 for m in plan(nodes[1])[1]["members"]),
                     60)
        s.say(f"{node.name} runs the new build; {writer.done} writes so far")

    code, p = plan(first)
    check(code == 7 and p["possible"] and p["to"] == 2, f"all are new: {code} {p}")
    first.cli("cluster", "upgrade", "apply", "--reason", "all nodes run the new build")
    check(first.cli("cluster", "show")["schema_version"] == 2, "the cluster follows schema 2")
    writer.wait_more(2)
    for node in nodes:
        wait_for(f"the new command at {node.name}", lambda n=node: "index" in probe(n), 30)
    s.say("upgraded to schema 2; the new command works on every node")

    old = nodes[2]
    check(old.stop() == 0, "an orderly stop")
    done = subprocess.run([str(binaries() / "evertaped"), str(old.config)], capture_output=True, timeout=60, check=False)
    text = done.stderr.decode()
    check(done.returncode != 0 and "schema 2" in text, f"an old build on the upgraded state: {done.returncode} {text}")
    start_next(old)
    joiner = cluster.add("prg-9", "prg", roles=("voter", "api"))
    joiner.write_config()
    joiner.start()
    try:
        cluster.join(first, joiner)
        raise AssertionError("an old build joined")
    except (CliError, TimeoutError) as error:
        check("schema" in str(error), f"an old build is refused, but: {error}")
    joiner.stop()
    cluster.nodes.remove(joiner)
    s.say("an old build neither starts nor joins any more")
    writer.stopped.set()
    writer.join(60)
    wait_for("all three to agree", lambda: json.loads(first.cli_raw("doctor", "--deep", "-o", "json", timeout=60).stdout)
             and True, 60)
    heads = {(n.cli("audit", "verify")["events"], n.cli("audit", "verify").get("head")) for n in nodes}
    check(len(heads) == 1, f"audit chains differ: {heads}")
    s.say(f"{writer.done} writes in all; one audit chain")


if __name__ == "__main__":
    sys.exit(run("upgrade", tell, "curl"))
