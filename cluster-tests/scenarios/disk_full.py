"""The state disk fills up: on the leader, on a follower, on all three. Nobody dies, writes go on where a majority has
room and are refused with DISK_FULL where none has, recording and reading go on, and when there is room again everything
goes on by itself; what was acknowledged is there on every node.

Promise (issue 3, must show 7). Each node's state folder is an ext4 of its own in a file; another program's ballast fills it
to the last 2 MiB while commands are written through all three nodes.
"""
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

from fault import disk  # noqa: E402
from story import (CliError, Cluster, by_caller, check, free_net, run, skip, wait_for)  # noqa: E402

DISK_BYTES = 320 << 20
RESERVE = "64MiB"
LEFT = 2 << 20
BACK_SECONDS = 30  # from room to service, on a busy machine


class Writer(threading.Thread):
    """Writes sites through all nodes, one after the other; knows what was acknowledged, and what was said else."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes, self.number, self.over = nodes, 0, False
        self.gate = threading.Lock()  # whoever holds it looks at a cluster that stands still
        self.acked, self.refused = [], []
        self.last_ack = {n.name: 0.0 for n in nodes}
        self.start()

    def run(self):
        while not self.over:
            for node in self.nodes:
                self.number += 1
                name = f"w-{self.number:05d}"
                try:
                    with self.gate:
                        node.cli("site", "set", name, "--description", "x" * 200, "--reason", "disk full")
                    self.acked.append(name)
                    self.last_ack[node.name] = time.monotonic()
                except CliError as error:
                    self.refused.append((node.name, error.code, error.error, str(error)))

    def acks_everywhere(self, since, but=""):
        return all(at > since for name, at in self.last_ack.items() if name != but)

    def stop(self):
        self.over = True
        self.join(60)
        check(not self.is_alive(), "a write hangs")


def codes(node):
    return {(c["code"], c.get("node")) for c in node.status()["codes"]}


def named(watch, names):
    have = {node for code, node in codes(watch) if code == "DISK_FULL"}
    return set(names) <= have


def sites(node):
    return {site["name"] for site in node.cli("site", "list")["sites"]}


def same_processes(cluster, pids):
    for node in cluster.nodes:
        check(node.is_running() and node.process.pid == pids[node.name], f"{node.name} died:\n{node.tail(30)}")


def room_again(s, cluster, writer, ballasts, who):
    for ballast in ballasts:
        ballast.unlink()
    at = time.monotonic()
    wait_for("writes through every node", lambda: writer.acks_everywhere(at), BACK_SECONDS)
    back = time.monotonic() - at
    wait_for("DISK_FULL to be over", lambda: not any(c == "DISK_FULL" for c, _n in codes(cluster.nodes[0])), BACK_SECONDS)
    s.say(f"{who}: room again; {back:.1f} s later writes through every node are acknowledged, without a restart")


def all_is_there(s, cluster, writer, pids):
    same_processes(cluster, pids)
    acked = set(writer.acked)
    for node in cluster.nodes:
        wait_for(f"all that was acknowledged at {node.name}", lambda n=node: acked <= sites(n), 30)

    def equal():
        node = cluster.nodes[0]
        done = node.cli_raw("doctor", "--deep", "-o", "json")
        return b"DIGEST_DIFFERS" not in done.stdout and b"AUDIT_BROKEN" not in done.stdout and done.returncode in (0, 6)
    wait_for("equal digests", equal, 30)
    with writer.gate:
        applied = wait_for("one applied index", lambda: (lambda a: a.pop() if len(a) == 1 else None)(
            {n["applied"] for n in cluster.nodes[0].status()["nodes"]}), 30)
    s.say(f"{len(acked)} acknowledged writes are there on every node, digests are equal (applied {applied})")


def one_disk(s, cluster, writer, disks, pids, which):
    leader = wait_for("a leader", cluster.leader, 20)
    node = leader if which == "leader" else next(n for n in cluster.nodes if n is not leader)
    others = [n for n in cluster.nodes if n is not node]
    refused = len(writer.refused)
    ballast = disks[node.name].fill(LEFT)
    wait_for(f"DISK_FULL to be named for {node.name}", lambda: named(others[0], [node.name]), 20)
    if which == "leader":
        wait_for("another leader", lambda: (l := cluster.leader()) is not None and l is not node, 20)
    at = time.monotonic()
    wait_for("writes through the others", lambda: writer.acks_everywhere(at, node.name), BACK_SECONDS)
    own = wait_for("the full node to say so", lambda: [r for r in writer.refused[refused:] if r[0] == node.name
                                                      and "another node" in r[2].get("why", "")], 30)
    check(own[0][2]["code"] == "ENOSPC" and "DISK_FULL" in own[0][2]["why"], f"it says too little: {own[0]}")
    same_processes(cluster, pids)
    s.say(f"the {which}'s disk is full ({node.name}): DISK_FULL names it, "
          + (f"{cluster.leader().name} leads, " if which == "leader" else "")
          + "writes go on through the two others; the full node refuses, and names itself")
    if which == "follower":
        wrong = [r for r in writer.refused[refused:] if r[0] != node.name]
        check(not wrong, f"a follower's full disk refused writes elsewhere: {wrong}")
    room_again(s, cluster, writer, [ballast], which)
    all_is_there(s, cluster, writer, pids)


def all_disks(s, cluster, writer, disks, pids):
    refused = len(writer.refused)
    ballasts = [disks[n.name].fill(LEFT) for n in cluster.nodes]
    names = [n.name for n in cluster.nodes]
    wait_for("DISK_FULL to be named for all", lambda: named(cluster.nodes[0], names), 20)

    def told():
        said = [r for r in writer.refused[refused:] if r[2].get("code") == "ENOSPC"]
        return said if {r[0] for r in said} == set(names) else None
    said = wait_for("writes to be refused at every node with the reason", told, 40)
    for _node, code, error, text in said:
        check(code == 1 and "DISK_FULL" in error["why"] and "DISK_FULL" in error["next"], f"it says too little: {text}")
    calls = s.place([n.name for n in cluster.nodes], 4)
    for node in cluster.nodes:
        sites(node)  # reading goes on
        check(node.cli_raw("status").returncode == 6, f"{node.name} says that all is well")
    s.hang_up(calls)
    for call in calls:
        node = cluster.node(call.home)
        recs = wait_for(f"the call of {call.home} to be listed there", lambda n=node, c=call: by_caller(n).get(c.caller), 20)
        check(recs[0]["pending"], f"{call.caller} is not pending, with all disks full: {recs[0]}")
    same_processes(cluster, pids)
    s.say(f"all disks are full: {len(said)} writes refused, at every node, as ENOSPC with DISK_FULL and the next command; "
          "reading goes on; 3 calls are recorded meanwhile, and are pending")
    room_again(s, cluster, writer, ballasts, "all")

    def committed():
        listed = by_caller(cluster.nodes[0])
        return all(len(listed.get(c.caller, [])) == 1 and not listed[c.caller][0]["pending"] for c in calls)
    wait_for("the calls to be committed, each once", committed, 60, every=0.5)
    all_is_there(s, cluster, writer, pids)


def media_disk(s, cluster, disks, pids):
    node = cluster.node("brq-1")
    ballast = disks["media"].fill(32 << 20)
    wait_for("DISK_NEARFULL to be named", lambda: ("DISK_NEARFULL", node.name) in codes(cluster.nodes[0]), 20)
    ballast.unlink()
    wait_for("DISK_NEARFULL to be over", lambda: ("DISK_NEARFULL", node.name) not in codes(cluster.nodes[0]), 20)
    same_processes(cluster, pids)
    s.say("a media disk below its reserve is DISK_NEARFULL, before a call is refused; it ends with the room")


def tell(s):
    s.cluster = cluster = Cluster(s.folder / "cluster", name="scenario", net=free_net())
    disks = {}
    for name, site in (("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq")):
        phones = free_net(2, 5060)
        node = cluster.add(name, site, capture_filter=f"net 127.{phones}.0.0/16",
                           extra=f"limits: {{disk-reserve: {RESERVE}}}\n")
        node.phones, node.rows = phones, 0
        disks[name] = disk.Disk(s.folder / f"{name}.image", node.state).make(DISK_BYTES).up()
        s.outside.append(disks[name].remove)
        os.chmod(node.state, 0o700)
    disks["media"] = disk.Disk(s.folder / "media.image", cluster.node("brq-1").media).make(DISK_BYTES).up()
    s.outside.append(disks["media"].remove)
    cluster.create()
    pids = {n.name: n.process.pid for n in cluster.nodes}
    for node in cluster.nodes:
        wait_for(f"the reserve of {node.name}", (node.state / "reserve").exists, 10)
    s.say(f"three nodes are up, each with {DISK_BYTES >> 20} MiB for its state, {RESERVE} of them kept")
    writer = Writer(cluster.nodes)
    wait_for("the first writes", lambda: writer.acks_everywhere(0.1), 30)
    one_disk(s, cluster, writer, disks, pids, "leader")
    one_disk(s, cluster, writer, disks, pids, "follower")
    all_disks(s, cluster, writer, disks, pids)
    media_disk(s, cluster, disks, pids)
    writer.stop()
    all_is_there(s, cluster, writer, pids)
    for node in cluster.nodes:
        node.cli("audit", "verify")
        check(node.stop() == 0, f"{node.name} did not end well:\n{node.tail(30)}")


if __name__ == "__main__":
    if disk.lacks():
        skip(disk.lacks())
    disk.own_mounts()
    sys.exit(run("disk full", tell, "unshare"))
