"""What a running evertaped has in its memory, and what a core of it would hold.

Promise (issue 4, memory hygiene): a finished call's key is nowhere in the memory of any node: neither its DEK nor the
key that opens its tape, after it was recorded, and after it was played at a vault node and at one without keys; a
capture-only node never holds a KEK's secret, the CA's key, or another node's keys; a vault node holds them while it uses
them, and does not keep the escrow shares that it made; and the kernel writes no core.

What is searched for is known because the test has what a custodian has: the node roots and the escrow shares open the
keys of the stopped cluster afterwards. What is searched is every readable byte of each process, copied while it stood
still: in the midst of the calls (there the keys of these calls must be found: the search can fail), after the calls, and
after playing them.
"""
import hashlib
import hmac
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys

from story import binaries, by_caller, check, export_exact, run, wait_committed, wait_for


def hkdf(secret, salt, info):
    """HKDF-SHA256 (RFC 5869) of 32 bytes."""
    return hmac.new(hmac.new(salt, secret, hashlib.sha256).digest(), info + b"\1", hashlib.sha256).digest()


class Memory:
    """A copy of all that a process can read: [(mapping, is in cores, bytes)]."""

    def __init__(self, node):
        self.areas, self.unread = [], []
        pid = node.process.pid
        os.kill(pid, signal.SIGSTOP)  # it stands still: nothing moves from where it is not read yet to where it was
        try:
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
                for name, start, end, flags in self.mappings(pid):
                    try:
                        mem.seek(start)
                        data = b""
                        while len(data) < end - start:
                            more = mem.read(end - start - len(data))
                            data += more
                            if not more:
                                break
                        self.areas.append((name, "dd" not in flags, data))
                    except OSError:
                        self.unread.append(name)
        finally:
            os.kill(pid, signal.SIGCONT)
        check(all(n in ("[vvar]", "[vsyscall]") or "socket" in n for n in self.unread), f"unread: {self.unread}")
        check(self.size > 4 << 20, f"only {self.size} bytes of {node.name} were read")

    @staticmethod
    def mappings(pid):
        """(name, start, end, flags) of what is readable and has a page in memory."""
        found, now = [], None
        for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
            head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\S*|-\S*) \S+ \S+ \S+\s*(.*)", line)
            if head:
                now = [head[4] or "anonymous", int(head[1], 16), int(head[2], 16), head[3][0] == "r", 0]
            elif line.startswith("Rss:"):
                now[4] = int(line.split()[1])
            elif line.startswith("VmFlags:") and now[3] and now[4] > 0:
                found.append((*now[:3], line.split()[1:]))
        return found

    @property
    def size(self):
        return sum(len(data) for _name, _dumped, data in self.areas)

    def find(self, needle):
        """[(mapping, would be in a core)]"""
        return [(name, dumped) for name, dumped, data in self.areas if needle in data]


def copies(cluster):
    return {node.name: Memory(node) for node in cluster.nodes}


def open_keys(s, node, shares):
    """{name: [secret]} that the stopped node's disk and the shares open."""
    copy = s.folder / f"database-{node.name}"
    current = (node.state / "db" / "CURRENT").read_text().strip()
    shutil.copytree(node.state / "db" / current, copy)
    done = subprocess.run([str(binaries() / "labkeys"), str(node.folder / "root.key"), str(node.state), str(copy)],
                          input="\n".join(shares).encode(), capture_output=True, check=False)
    check(done.returncode == 0, f"labkeys of {node.name}: {done.stderr.decode()}")
    keys = {}
    for line in done.stdout.decode().splitlines():
        name, value = line.split()
        keys.setdefault(name, []).append(bytes.fromhex(value))
    return keys


def tape_keys(deks, nodes):
    """{recording: [("DEK" or "tape key", secret)]}: which DEK is whose says the commitment in the tape's header."""
    result = {}
    for node in nodes:
        for path in node.media.glob("tapes/**/*.evtm"):
            head = path.read_bytes()[:160]
            for dek in deks:
                if hkdf(dek, head[32:64], b"evtm/1 commit") == head[64:96]:
                    recording = head[8:24].hex()
                    result.setdefault(recording, set()).update(
                        {("DEK", dek), ("tape key", hkdf(dek, head[32:64], b"evtm/1 chunk"))})
    return result


def finds(memories, secrets, when):
    """What of it is in these memories, in words."""
    hits = []
    for name, memory in memories.items():
        for what, secret in secrets:
            for mapping, dumped in memory.find(secret):
                hits.append(f"{what} in {mapping}{'' if dumped else ' (never in a core)'} of {name} {when}")
    return hits


def no_core(s, node):
    """A signal that makes cores makes none, though the limit that it was started with allows it; the control's is there."""
    folder = s.folder / "cores"
    folder.mkdir()
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        s.say(f"NOT TESTED: cores go elsewhere on this machine ({pattern})")
        return
    def unlimited():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    control = subprocess.Popen(["sleep", "300"], cwd=folder, preexec_fn=unlimited)
    wait_for("the control", lambda: b"sleep" == pathlib.Path(f"/proc/{control.pid}/cmdline").read_bytes()[:5], 20)
    control.send_signal(signal.SIGABRT)
    control.wait(timeout=30)
    written = list(folder.iterdir())
    check(written and written[0].stat().st_size > 0, "the control wrote no core: this test cannot fail")
    for path in written:
        path.unlink()
    with open(node.log, "ab") as log:
        node.process = subprocess.Popen([str(binaries() / "evertaped"), str(node.config)], cwd=folder, stdout=log, stderr=log,
                                        preexec_fn=unlimited)
    wait_for("the daemon", lambda: node.status(), 20)
    node.process.send_signal(signal.SIGABRT)
    check(node.process.wait(timeout=30) == -signal.SIGABRT, "SIGABRT did not end it")
    check(not list(folder.iterdir()), f"{node.name} wrote a core: {list(folder.iterdir())}")
    s.say("SIGABRT makes a core of another process, and none of evertaped")


def tell(s):
    cluster = s.make_cluster((("prg-1", "prg"), ("cap-1", "prg", ("standby", "capture", "api"))))
    vault, capture = cluster.nodes
    calls = s.place(["prg-1", "cap-1", "cap-1"], 6)
    wait_for("the calls to be on tape", lambda: all(c.caller in by_caller(vault) for c in calls) and all(
        any(p.stat().st_size > 16384 for p in n.media.glob("tapes/**/*.evtm")) for n in cluster.nodes), 20)
    live = copies(cluster)
    check(all(p.poll() is None for c in calls for p in c.processes), "the calls ended before the copies were made")
    s.hang_up(calls)
    wait_committed(vault, calls, ["prg"])
    ended = copies(cluster)
    for node in cluster.nodes:
        export_exact(s, node, calls, f"at-{node.name}")
    played = copies(cluster)
    s.say("memory copied in the midst of three calls, after them, and after playing each at both nodes: " + ", ".join(
        f"{name} {m.size >> 20} MiB" for name, m in played.items()))

    for node in cluster.nodes:
        check(node.stop() == 0, f"{node.name} did not end well:\n{node.tail()}")
    keys = open_keys(s, vault, cluster.init_answer["escrow_shares"][:3])
    own = open_keys(s, capture, [])
    tapes = tape_keys(keys["dek"], cluster.nodes)
    check(set(tapes) == {c.id.replace("-", "") for c in calls}, f"keys of {len(tapes)} recordings, want {len(calls)}")

    # The search can fail: each live call's key is where it is recorded, and nowhere else.
    for call in calls:
        secrets = sorted(tapes[call.id.replace("-", "")])
        here = finds({call.home: live[call.home]}, secrets, "during the call")
        check(here, f"no key of a live call was found on {call.home}: the search finds nothing")
        other = {n: m for n, m in live.items() if n != call.home}
        check(not finds(other, secrets, "during the call"), f"a live call's key elsewhere: {finds(other, secrets, '')}")
    check(finds(played, [("x25519", keys["x25519"][0])], "") and finds(played, [("root", own["root"][0])], ""),
          "a node's own keys are not found in its memory: the search finds nothing")
    s.say("the keys of live calls are found where they are recorded, and only there; each node's own keys, too")

    finished = [x for pairs in tapes.values() for x in sorted(pairs)]
    hits = finds(ended, finished, "after the call") + finds(played, finished, "after playing it")
    check(not hits, "of finished calls: " + "; ".join(hits))
    s.say(f"{len(finished)} keys of finished calls: in no memory, neither after the calls nor after they were played")

    shares = [(f"escrow share {i + 1}", text.encode()) for i, text in enumerate(cluster.init_answer["escrow_shares"])]
    number = keys["ca-number"][0]
    foreign = [("the KEK", keys["kek"][0]), ("the CA's key", keys["ca"][0]), ("the CA's number", number),
               ("the CA's number as OpenSSL has it", number[::-1]), *shares,
               ("the vault's root", keys["root"][0]), ("the vault's TLS key", keys["tls-number"][0]),
               ("the vault's signing key", keys["ed25519"][0])] + [("the vault's X25519 key", k) for k in keys["x25519"]]
    for when, memories in (("during the calls", live), ("after them", ended), ("after playing", played)):
        hits = finds({"cap-1": memories["cap-1"]}, foreign, when)
        check(not hits, "on the capture-only node: " + "; ".join(hits))
    s.say(f"{len(foreign)} secrets of the vault node and the cluster: none in the capture-only node's memory at any time")
    for when, memories in (("during the calls", live), ("after them", ended), ("after playing", played)):
        hits = finds({"prg-1": memories["prg-1"]}, foreign[:4 + len(shares)], when)
        check(not hits, "on the vault node: " + "; ".join(hits))
    s.say("nor, on the vault node at rest, the KEK, the CA's key, or a share: grants are opened for one use at a time")

    dumped = [h for _what, h in [(w, h) for w, secret in [("x25519", keys["x25519"][0]), ("root", keys["root"][0])]
                                 for h in played["prg-1"].find(secret)] if h[1]]
    check(not dumped, f"a key that is kept lies where cores are made of: {dumped}")
    no_core(s, vault)


if __name__ == "__main__":
    sys.exit(run("memory", tell))
