"""Power loss at durability calls. A scripted workload runs on a small ext4; a preloaded library ends it at the N-th
call that changes or syncs a file; then everything that was not synced is dropped, the file system is mounted again, the
nodes open by themselves, and every acknowledgement must hold.

    power_loss.py                  a sample that takes about a minute
    power_loss.py --points 300     that many points, spread evenly over all workloads
    power_loss.py --points all     every point of every workload
    power_loss.py --only three --kind torn --at 517      one of them again

Workloads (cluster-tests/harness/fault): `one`, a voter with its journal; `three`, three voters that lose power at the
same time, one of which is installing a snapshot; `tail`, three voters, one of which is a former leader whose log has
a conflicting tail of several segments, which is cut off; `journal`, the journal alone. `one` and `three` take snapshots,
cut the log's beginning, flush and compact RocksDB. Kinds: the process ends before the call (kill), in the middle of it (torn), or the call fails once with
EIO or ENOSPC (eio, nospc), and the power goes at the end.

A control runs the same with syncs that do nothing: it must lose acknowledgements, else the rig would be blind.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import queue
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

from fault import disk  # noqa: E402
from lab.cluster import binaries  # noqa: E402
from story import free_net, skip  # noqa: E402

SIZE = {"one": 256 << 20, "three": 384 << 20, "tail": 448 << 20, "journal": 64 << 20}
NODES = {"one": 1, "three": 3, "tail": 3, "journal": 0}
SHARE = {"one": 3, "three": 4, "tail": 3, "journal": 2}  # of the points
ONLY = {"tail": "1/raft"}  # where the calls are counted: the log that is cut
KINDS = ("kill", "torn", "kill", "eio", "kill", "nospc")
SAMPLE = 36  # of kills and torn writes: what ops/test runs
DEADLINE = 180  # seconds for one run


class Lost(AssertionError):
    """An acknowledgement did not hold, or a node did not open."""


class Rig:
    """A folder, addresses and a disk for one run at a time."""

    def __init__(self, folder, number, net):
        self.folder, self.net = folder / f"rig{number}", net
        self.folder.mkdir()
        self.number = number
        self.disk = disk.Disk(self.folder / "image", self.folder / "mnt")
        self.board = self.folder / "board"

    def command(self, mode, name):
        base = [str(binaries() / "powerloss")]
        data = str(self.disk.mount / "data")
        if name == "journal":
            return [*base, f"journal-{mode}", data]
        mode = f"tail-{mode}" if name == "tail" and mode != "check" else mode
        addresses = [f"127.{self.net}.{self.number + 1}.{i + 1}:7400" for i in range(NODES[name])]
        return [*base, mode, data, str(NODES[name]), *addresses]

    def form(self, name, image):
        """The clean image that every run of this workload on this rig begins with."""
        self.disk.make(SIZE[name]).up()
        (self.disk.mount / "data").mkdir()
        if name != "journal":
            done = subprocess.run(self.command("form", name), capture_output=True, timeout=DEADLINE, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"{name}: the cluster was not formed: {done.stdout.decode()} {done.stderr.decode()}")
        self.disk.down()
        run = subprocess.run(["cp", "--sparse=always", str(self.disk.image), str(image)], check=True)
        assert run.returncode == 0

    def work(self, name, fault, nosync=False):
        """Run the workload; what it said, its exit code, and how many points it had or reached."""
        env = dict(os.environ, LD_PRELOAD=str(binaries() / "libfaultshim.so"), ET_FAULT_UNDER=str(self.disk.mount),
                   ET_FAULT=fault, ET_FAULT_COUNT=str(self.board))
        if nosync:
            env["ET_FAULT_NOSYNC"] = "1"
        if name in ONLY:
            env["ET_FAULT_ONLY"] = str(self.disk.mount / "data" / ONLY[name])
        self.board.unlink(missing_ok=True)
        done = subprocess.run(self.command("work", name), env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=DEADLINE, check=False)
        calls, hits, what = struct.unpack("QQ48s", self.board.read_bytes())
        return done.stdout.decode().splitlines(), done.returncode, calls, hits, what.split(b"\0")[0].decode(), done.stderr

    def check(self, name, lines):
        acks = [line for line in lines if line[:2] in ("J ", "A ")]
        if name == "journal":  # What was told to be committed may be there or not.
            over = {line.split()[1:4][0] + line.split()[2] for line in acks if line[0] == "A"}
            acks = [line for line in acks if line[0] == "J" and line.split()[1] + line.split()[2] not in over]
        done = subprocess.run(self.command("check", name), input="".join(a + "\n" for a in acks).encode(),
                              capture_output=True, timeout=DEADLINE, check=False)
        text = done.stdout.decode().strip()
        if done.returncode != 0 or not text.startswith("OK"):
            raise Lost(f"{text or 'nothing said'} (exit {done.returncode}) {done.stderr.decode()[-1500:]}")
        return len(acks), text

    def tell(self, kind, at, code, lines, err):
        last = [line for line in lines if line[0] in "PXE"]
        print(f"   {kind}:{at} ended with {code}, {len(lines)} lines: {last[-4:]} {err.decode()[-600:]}", flush=True)

    def point(self, name, image, kind, at, nosync=False):
        self.disk.copy_of(image).up()
        try:
            lines, code, calls, hits, what, err = self.work(name, f"{kind}:{at}", nosync)
            said = [line for line in lines if line.startswith("X ")]
            if said and (kind in ("kill", "torn") or "were not enough" in said[0]):
                raise Lost(f"the workload says: {said[0]} (after a fault at {what}: {err.decode()[-300:]})")
            if os.environ.get("ET_TELL"):
                self.tell(kind, at, code, lines, err)
            if hits and kind in ("kill", "torn") and code != -9:
                raise Lost(f"it was not killed, but ended with {code}")
            if not hits and code != 0:
                raise Lost(f"without a fault it ended with {code}: {lines[-1:]} {err.decode()[-1500:]}")
            phase = [line[2:] for line in lines if line.startswith("P ")]
            self.disk.lose_power()
            acks, text = self.check(name, lines)
            return {"phase": phase[-1] if phase else "start", "acks": acks, "call": what, "hit": hits > 0, "text": text,
                    "died": code < 0, "calls": calls}
        finally:
            self.disk.down()


class Points:
    def __init__(self, args):
        self.args = args
        base = "/dev/shm" if shutil.disk_usage("/dev/shm").free > 2 << 30 else os.environ.get("TMPDIR")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="evertape-power-", dir=base))
        net = free_net()
        self.rigs = queue.Queue()
        self.all_rigs = [Rig(self.folder, i, net) for i in range(args.jobs)]
        for rig in self.all_rigs:
            self.rigs.put(rig)
        self.t0 = time.monotonic()
        self.failures = []
        self.totals = collections.Counter()

    def say(self, text):
        print(f"== {time.monotonic() - self.t0:5.1f} s  {text}", flush=True)

    def image(self, rig, name):
        return rig.folder / f"{name}.clean"

    def with_rig(self, fn, *args):
        rig = self.rigs.get()
        try:
            return fn(rig, *args)
        finally:
            self.rigs.put(rig)

    def prepare(self, name):
        """Clean images, and how many points the workload has."""
        def one(rig):
            rig.form(name, self.image(rig, name))
            rig.disk.copy_of(self.image(rig, name)).up()
            try:
                lines, code, calls, _hits, _what, err = rig.work(name, "")
                if code != 0 or lines[-1:] != ["P end"]:
                    raise RuntimeError(f"{name}: the workload ended with {code}: {lines[-2:]} {err.decode()[-2000:]}")
                rig.disk.lose_power()
                rig.check(name, lines)
                return calls
            finally:
                rig.disk.down()
        with concurrent.futures.ThreadPoolExecutor(len(self.all_rigs)) as pool:
            counts = list(pool.map(one, self.all_rigs))
        return min(counts)

    def one_point(self, name, kind, at):
        try:
            return self.with_rig(lambda rig: rig.point(name, self.image(rig, name), kind, at))
        except (Lost, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{name} {kind}:{at}: {error}")
            self.say(f"FAILED  {name} {kind}:{at}: {error}")
            return None

    def run(self, name, picks, points):
        tally, phases, calls = collections.Counter(), collections.Counter(), collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(len(self.all_rigs)) as pool:
            for (kind, _at), result in zip(picks, pool.map(lambda p: self.one_point(name, *p), picks)):
                tally["run"] += 1
                if result is None:
                    continue
                tally["acks"] += result["acks"]
                tally["hit"] += result["hit"]
                tally[kind] += 1
                phases[result["phase"]] += 1
                calls[result["call"] or "(after the last)"] += 1
        self.totals.update(points=tally["run"], acks=tally["acks"])
        self.say(f"{name}: {tally['run']} of {points} points ({', '.join(f'{k} {tally[k]}' for k in sorted(set(KINDS)))}), "
                 f"{tally['acks']} acknowledgements checked; while it did: "
                 + ", ".join(f"{k} {v}" for k, v in phases.most_common()))
        self.say(f"{name}: at " + ", ".join(f"{k} {v}" for k, v in calls.most_common()))

    def control(self, name, points):
        """The same without syncs: something must be lost."""
        lost = 0
        at = [points * k // 8 for k in (5, 6, 7)]

        def one(n):
            try:
                self.with_rig(lambda rig: rig.point(name, self.image(rig, name), "kill", n, True))
                return 0
            except Lost:
                return 1
        with concurrent.futures.ThreadPoolExecutor(len(self.all_rigs)) as pool:
            lost = sum(pool.map(one, at))
        if lost == 0:
            self.failures.append(f"{name}: nothing was lost without syncs: this rig cannot see a loss")
        self.say(f"{name}: control without syncs: {lost} of {len(at)} runs lost something, as they must")

    def close(self):
        for rig in self.all_rigs:
            rig.disk.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


def picks_of(args, share, points):
    if args.at:
        return [(args.kind or "kill", int(at)) for at in args.at.split(",")]
    if args.points == "all":
        return [(args.kind or kind, at) for at in range(1, points + 1) for kind in ("kill", "torn")]
    n = max(1, int(args.points) * share // sum(SHARE[w] for w in args.only))
    n = n if int(args.points) * share % sum(SHARE[w] for w in args.only) == 0 else n + 1
    # From the first to the last; which of the calls in between is a matter of the seed.
    kinds = ("kill", "torn") if args.points == str(SAMPLE) else KINDS
    return [(args.kind or kinds[i % len(kinds)], 1 + (i * points + args.seed % points) // n % points) for i in range(n)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", default=str(SAMPLE), help="how many, or 'all'")
    parser.add_argument("--only", action="append", choices=sorted(SIZE))
    parser.add_argument("--kind", choices=("kill", "after", "torn", "eio", "nospc", "peio", "pnospc"))
    parser.add_argument("--at", help="points by number, with commas")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    args.only = args.only or list(SIZE)
    if disk.lacks():
        skip(disk.lacks())
    for program in ("powerloss", "libfaultshim.so"):
        if not (binaries() / program).exists():
            raise SystemExit(f"{binaries() / program} is not built")
    disk.own_mounts()
    p = Points(args)
    try:
        p.say(f"seed {args.seed}")
        for name in args.only:
            points = p.prepare(name)
            p.run(name, picks_of(args, SHARE[name], points), points)
            if not args.at:
                p.control(name, points)
    finally:
        p.close()
    if p.failures:
        print(f"BROKEN: {len(p.failures)} of {p.totals['points']} points:\n" + "\n".join(f"  - {f}" for f in p.failures))
        return 1
    p.say(f"{p.totals['points']} power losses, {p.totals['acks']} acknowledgements checked, none lost; every node opened by itself")
    return 0


if __name__ == "__main__":
    sys.exit(main())
