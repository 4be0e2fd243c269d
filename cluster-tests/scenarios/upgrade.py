"""A rolling upgrade with two builds of different schema in one cluster (ops/doc/runbooks/upgrade.md).

Promise (issue 3): old, old, old -> each replaced by a new binary under writes -> plan and apply -> the new command
works; before that an old binary may come back, after it an old binary neither starts nor joins. What apply keeps anew (revisions of
policies, from schema 2 on) is kept by no node before all of them do: their digests are equal throughout. A tape that is sealed
meanwhile is known by the SHA-256 of its file, as the old builds know it, and by its seal hash from the upgrade on; both verify.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import threading

from story import CliError, binaries, check, digests_compared, run, wait_committed, wait_for

from lab.tapes import evtm

NEXT = pathlib.Path(os.environ.get("EVERTAPE_NEXT", binaries().parent / "bin-next"))
PREV = pathlib.Path(os.environ.get("EVERTAPE_PREV", binaries().parent / "bin-prev"))
OLD, NEW = 3, 4  # schemas of the released build and of the one behind it


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
    """The command that only schema 4 has, over the node's socket."""
    done = subprocess.run(["curl", "-s", "--unix-socket", str(node.socket), "-X", "POST",
                           "http://node/v1/cluster/probe", "-d", '{"text": "hello"}'],
                          capture_output=True, timeout=30, check=False)
    return json.loads(done.stdout)


def start_next(node):
    node.start(program=NEXT / "evertaped")


def revisions(node):
    return [p["revision"] for p in node.cli("archive", "policy", "list")["revisions"]]


def policy(s, node, days):
    path = s.folder / "archive.yaml"
    path.write_text(f"targets:\n  cold: {{type: dir, path: {s.folder}/archive}}\nrules:\n  - name: all\n    after: {days}d\n    to: cold\n")
    node.cli("archive", "policy", "apply", str(path), "--reason", f"{days} days")


def record(s, node):
    """A call at the node, sealed and at both sites."""
    calls = s.place([node.name], 2)
    s.hang_up(calls)
    wait_committed(node, calls, ["prg", "brq"])
    return calls[0]


def hashed(cluster, call, name, of):
    """The hash `name`, and no other one, is known of each segment of the call, on every node; it is that of their files, which verify.
    Padded, as their recorder is told to, are those of schema 3 only (they have seal hashes)."""
    for node in cluster.nodes:
        segments = node.recording(call.id)["segments"]
        for g in segments:
            check({"sha256", "seal_hash"} & set(g) == {name}, f"{node.name} knows {sorted(g)} of {call.id}")
            check((g["block_bytes"] is not None) == (name == "seal_hash"), f"{node.name}: {g['block_bytes']} in a block of {call.id}")
        files = [(node.media / g["file"], g[name]) for g in segments if (node.media / g["file"]).exists()]
        for path, known in files:
            check(of(path.read_bytes()) == known, f"{node.name}: {name} of {path}")
        if files:
            check(node.cli_raw("recording", "verify", call.id).returncode == 0, f"{node.name} does not verify {call.id}")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def seal_hash(data):
    return evtm.verify(data)[1].seal.hex()


def two_builds(s):
    """One node of schema 1 after the other becomes one of this build, under changes of a policy and calls."""
    (s.folder / "archive").mkdir(mode=0o700)
    cluster = s.make_cluster(program=PREV / "evertaped", folder="before", extra="tapes: {padding: always}\n")
    first = cluster.nodes[0]
    before = [record(s, first)]
    check(first.cli("cluster", "show")["schema_version"] == 1, "a cluster of the builds before follows schema 1")
    days = 1
    policy(s, first, days)
    for node in cluster.nodes:
        check(node.stop() == 0, "an orderly stop")
        node.start(program=binaries() / "evertaped")
        wait_for(f"{node.name} to be back", lambda n=node: "VOTER_DOWN" not in {c["code"] for c in n.status()["codes"]} and
                 n.status()["leader"], 40)
        for through in cluster.nodes:
            days += 1
            policy(s, through, days)
        wait_for("equal digests", lambda: digests_compared(first), 30, every=0.5)
        check({c["code"] for n in cluster.nodes for c in n.status()["codes"]}.isdisjoint({"STATE_DIVERGED", "STATE_DISPUTED"}),
              f"diverged: {[n.status()['codes'] for n in cluster.nodes]}")
        check(all(revisions(n) == [days] for n in cluster.nodes), f"kept before all do: {[revisions(n) for n in cluster.nodes]}")
        before.append(record(s, node))
        for call in before:
            hashed(cluster, call, "sha256", sha256)
    wait_for("an upgrade to be possible", lambda: plan(first)[1]["possible"], 30)
    first.cli("cluster", "upgrade", "apply", "--reason", "all run it")
    policy(s, first, days + 1)
    for node in cluster.nodes:
        wait_for(f"{node.name} to keep what is replaced", lambda n=node: revisions(n) == [days + 1, days], 20)
    wait_for("equal digests", lambda: digests_compared(first), 30, every=0.5)
    s.say(f"schema 1 and {OLD} in one cluster: {days} policies, no revision kept, digests equal; after the upgrade they are kept, on each node")
    for call in [record(s, node) for node in cluster.nodes]:
        hashed(cluster, call, "seal_hash", seal_hash)
    for call in before:
        hashed(cluster, call, "sha256", sha256)
    wait_for("equal digests", lambda: digests_compared(first), 30, every=0.5)
    s.say(f"{len(before)} calls before the upgrade are known by SHA-256, those after it by their seal hash, and padded; all verify on each node")
    cluster.stop()


def tell(s):
    two_builds(s)
    check((NEXT / "evertaped").exists(), f"{NEXT}/evertaped is not built")
    cluster = s.make_cluster()
    nodes = cluster.nodes
    first = nodes[0]
    code, p = plan(first)
    check(code == 0 and not p["possible"] and p["schema_version"] == OLD, f"a plan where there is nothing to do: {p}")
    check(first.cli("cluster", "show")["schema_version"] == OLD, "a new cluster of old builds follows their schema")
    writer = Writer(nodes)
    writer.start()
    writer.wait_more(3)

    for i, node in enumerate(nodes):
        check(node.stop() == 0, "an orderly stop")
        start_next(node)
        wait_for(f"{node.name} to report schema {NEW}",
                 lambda n=node: any(m["name"] == n.name and m["schema"] == NEW for m in plan(first)[1]["members"]), 60)
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
                     lambda n=node: any(m["name"] == n.name and m["schema"] == OLD for m in plan(nodes[1])[1]["members"]),
                     60)
            writer.wait_more(2)
            s.say(f"{node.name}: new build, and back to the old one")
            node.stop()
            start_next(node)
            wait_for(f"{node.name} to report schema {NEW}",
                     lambda n=node: any(m["name"] == n.name and m["schema"] == NEW for m in plan(nodes[1])[1]["members"]),
                     60)
        s.say(f"{node.name} runs the new build; {writer.done} writes so far")

    code, p = plan(first)
    check(code == 7 and p["possible"] and p["to"] == NEW, f"all are new: {code} {p}")
    first.cli("cluster", "upgrade", "apply", "--reason", "all nodes run the new build")
    check(first.cli("cluster", "show")["schema_version"] == NEW, "the cluster follows the new schema")
    writer.wait_more(2)
    for node in nodes:
        wait_for(f"the new command at {node.name}", lambda n=node: "index" in probe(n), 30)
    s.say("upgraded to schema 4; the new command works on every node")

    old = nodes[2]
    check(old.stop() == 0, "an orderly stop")
    done = subprocess.run([str(binaries() / "evertaped"), str(old.config)], capture_output=True, timeout=60, check=False)
    text = done.stderr.decode()
    check(done.returncode != 0 and f"schema {NEW}" in text, f"an old build on the upgraded state: {done.returncode} {text}")
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
    sys.exit(run("upgrade", tell, "curl", "sipp"))
