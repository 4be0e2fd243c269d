"""What every scenario shares: a cluster of real processes in a temporary folder, telephones, steps that are
told as they happen, and an end that always cleans up.

Exit code 0: every promise held. 1: one did not; what went wrong and the ends of the logs are printed.
77: this machine lacks something that the scenario needs; it says what.
"""
import concurrent.futures
import datetime
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

from lab import audio  # noqa: E402
from lab.calls import Call  # noqa: E402
from lab.cluster import CliError, Cluster, binaries, wait_for  # noqa: E402,F401

ELECTION_SECONDS = 1.0  # the default of raft.election


class Broken(AssertionError):
    """A promise did not hold."""


def check(holds, text):
    if not holds:
        raise Broken(text)


def skip(why):
    print(f"SKIPPED: {why}", flush=True)
    sys.exit(77)


def need(*programs, root=True):
    """Skip, loudly, when the machine lacks something."""
    if root and os.geteuid() != 0:
        skip("needs root (it captures packets on lo, and cuts sites with nftables)")
    for program in ("sipp", "ss", *programs):
        if shutil.which(program) is None:
            skip(f"needs {program}: run ops/packages")
    for program in ("evertaped", "evertape"):
        if not (binaries() / program).exists():
            raise SystemExit(f"{binaries() / program} is not built")


def free_net(kind=socket.SOCK_STREAM, port=7400):
    """A number n so that nobody listens on 127.n.1.1: each run has addresses of its own."""
    numbers = list(range(64, 250))
    random.SystemRandom().shuffle(numbers)
    for n in numbers:
        with socket.socket(socket.AF_INET, kind) as s:
            try:
                s.bind((f"127.{n}.1.1", port))
                return n
            except OSError:
                continue
    raise RuntimeError("no free network in 127.0.0.0/8")


class Story:
    """with Story("title") as s: ... The exit code is in s.code afterwards; main() below uses it."""

    def __init__(self, title):
        self.title, self.t0, self.cluster, self.calls = title, time.monotonic(), None, []
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="evertape-", dir=os.environ.get("TMPDIR")))
        self.outside = []  # what else to undo, newest last

    def say(self, text):
        print(f"== {time.monotonic() - self.t0:5.1f} s  {text}", flush=True)

    def make_cluster(self, nodes=(("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq")), extra="", program=None, folder="cluster"):
        """Start and join the nodes (name, site, and roles if not the usual); each that records captures the telephones
        of its own network. `extra` is more of the configuration, or a function of a node's folder that makes it;
        `program` another evertaped than the one that is tested; `folder` of a story's second cluster."""
        self.cluster = Cluster(self.folder / folder, name="scenario", net=free_net())
        self.cluster.program = program or self.cluster.program
        used = {self.cluster.net}
        for name, site, *roles in nodes:
            phones = free_net(socket.SOCK_DGRAM, 5060)
            while phones in used:
                phones = free_net(socket.SOCK_DGRAM, 5060)
            used.add(phones)
            given = {"roles": roles[0]} if roles else {}
            records = not roles or "capture" in roles[0]
            node = self.cluster.add(name, site, capture_filter=f"net 127.{phones}.0.0/16" if records else "", **given)
            node.extra = extra(node.folder) if callable(extra) else extra
            node.phones, node.rows = phones, 0
        self.cluster.create()
        self.say(f"{len(nodes)} nodes are up and vote: " + ", ".join(f"{n[0]} ({n[1]})" for n in nodes))
        return self.cluster

    def place(self, homes, seconds):
        """One call for each node named in `homes`, all at once; returns when all of them are under way."""
        made = []
        for home in homes:
            node = self.cluster.node(home)
            node.rows += 1
            number = len(self.calls) + len(made)
            call = Call(self.folder / "calls" / f"{number:03d}", f"127.{node.phones}.{node.rows}.1",
                        f"127.{node.phones}.{node.rows}.2", f"+42060{number:07d}", f"+42080{number:07d}", seconds,
                        "PCMA" if number % 4 == 3 else "PCMU")
            call.home = home
            made.append(call)
        for home in set(homes):
            self.cluster.node(home).wait_capture()
        self.calls += made
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda c: c.start(), made))
        return made

    @staticmethod
    def hang_up(calls):
        for call in calls:
            call.wait()

    def close(self):
        for call in self.calls:
            call.stop()
        if self.cluster is not None:
            self.cluster.stop()
        for undo in reversed(self.outside):
            undo()
        if os.environ.get("ET_KEEP"):
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def sleep_until(began, at):
    """Telephones talk by the clock: there is nothing to wait for but time."""
    time.sleep(max(0.0, began + at - time.monotonic()))


def refused(node, *args):
    """The error of a command that must not succeed."""
    try:
        node.cli(*args)
    except CliError as error:
        return error
    raise Broken(f"{' '.join(args)}: was not refused")


def with_token(s, node, role, *args, asked=None):
    """A command over HTTPS with a new token of that role, as it ended. `asked`: another node than the one that made it."""
    ca, token = s.folder / "ca.pem", s.folder / f"{role}.token"
    ca.write_text(node.cli("cluster", "show")["ca_pem"])
    token.touch(mode=0o600)
    token.write_text(node.cli("token", "create", "--name", role, "--role", role, "--reason", "test")["token"] + "\n")
    return subprocess.run([str(binaries() / "evertape"), "--node", (asked or node).api_address, "--token-file", str(token),
                           "--cluster-ca", str(ca), *args], capture_output=True, check=False, timeout=60)


def recording_of(node, call):
    """The one recording of a call; ValueError when there is none or more than one."""
    hits = [r for r in node.recordings() if r["from"] == call.caller and r["to"] == call.callee]
    if len(hits) != 1:
        raise ValueError(f"{len(hits)} recordings of {call.caller}, want 1")
    return hits[0]


def by_caller(node):
    """{caller: [recordings]} of what a node lists."""
    result = {}
    for rec in node.recordings():
        result.setdefault(rec["from"], []).append(rec)
    return result


def wait_committed(node, calls, sites, deadline=60):
    """Every call is there exactly once, is closed and committed, and every segment of it has a verified copy at
    each of the sites. Sets call.id."""
    def ready():
        listed = by_caller(node)
        for call in calls:
            recs = listed.get(call.caller, [])
            if len(recs) != 1:
                raise ValueError(f"{len(recs)} recordings of {call.caller}, want 1")
            call.id = recs[0]["id"]
            if recs[0]["state"] == "capturing" or recs[0]["pending"]:
                raise ValueError(f"{call.caller}: {recs[0]['state']}, pending {recs[0]['pending']}")
        for call in calls:
            rec = node.recording(call.id)
            for segment in rec["segments"]:
                have = {c.get("site") for c in rec["copies"]
                        if c["state"] == "verified" and c["segment"] == segment["segment"]}
                if segment["state"] in ("open", "lost") or not set(sites) <= have:
                    raise ValueError(f"{call.caller}: segment {segment['segment']} is {segment['state']}, "
                                     f"copies at {sorted(filter(None, have))}")
        return True
    wait_for(f"{len(calls)} calls to be committed and copied to {', '.join(sites)}", ready, deadline, every=0.25)


def what_is_missing(node, call, path):
    """Words for a call whose audio is not what was sent."""
    channels, _rate = audio.read_wav(path)
    words = []
    for side, channel in zip(("caller", "callee"), channels):
        try:
            _exact, before, behind, runs = audio.holes(channel, audio.to_pcm(call.sound[side], call.codec))
            words.append(f"{side}: {before} frames are missing before, {behind} behind, holes {runs}")
        except ValueError as error:
            words.append(f"{side}: {error}")
    rec = node.recording(call.id)
    streams = [(x["party"], x["packets"], x["lost"], x["duplicate"], x["late"]) for x in rec["streams"]]
    return "; ".join(words) + f"; streams (party, packets, lost, duplicate, late) {streams}, " \
        f"capture drops {rec.get('capture_drops')}, gaps {rec.get('gaps')}"


def export_exact(story, node, calls, label, slack=0.5):
    """Export every call at a node: its audio is what was sent, sample for sample. Returns the samples compared."""
    folder = story.folder / "export" / label
    folder.mkdir(parents=True, exist_ok=True)
    samples = 0
    for call in calls:
        path = folder / f"{call.id}.wav"
        node.export(call.id, path)
        try:
            samples += sum(n for _at, n in call.check_wav(path, slack).values())
        except ValueError as error:
            raise Broken(f"{error}; {what_is_missing(node, call, path)}") from error
    return samples


def export_with_gap(story, node, call, label):
    """Export a call that has a hole: every frame is exact at its place or silent. Returns {side: (seconds of exact
    sound, [seconds of each hole])}; a hole lies between exact frames."""
    folder = story.folder / "export" / label
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{call.id}.wav"
    done = node.cli_raw("recording", "export", call.id, "--format", "wav", "--out", str(path), "--reason", "scenario",
                        timeout=120)
    check(done.returncode in (0, 6), f"export of {call.caller}: exit {done.returncode}: {done.stderr.decode()}")
    channels, rate = audio.read_wav(path)
    check(rate == audio.RATE and len(channels) == 2, f"{path}: {len(channels)} channels at {rate} Hz")
    result = {}
    for side, channel in zip(("caller", "callee"), channels):
        sent = audio.to_pcm(call.sound[side], call.codec)
        try:
            exact, _before, _behind, runs = audio.holes(channel, sent)
        except ValueError as error:
            raise Broken(f"{call.caller}, {side}: {error}") from error
        result[side] = (exact * 0.02, [length * 0.02 for _at, length in runs])
    return result


def logged(node, since, pattern, what):
    """When (seconds since the epoch) a node last said `pattern` in its log, after `since`."""
    def probe():
        for line in reversed(node.log.read_text(errors="replace").splitlines()):
            if re.search(pattern, line):
                at = datetime.datetime.fromisoformat(line.split(" ", 1)[0].replace("Z", "+00:00")).timestamp()
                return at if at > since else None
        return None
    return wait_for(what, probe, 20)


def recorder_started(node, since):
    return logged(node, since, r" capture\.started ", f"{node.name} to record again")


def leader_elected(node, since):
    return logged(node, since, r" catalog\.leader node=(\d+) leader=\1 ", f"{node.name} to say that it leads")


def lost_packets(node, call):
    return sum(s["lost"] for s in node.recording(call.id)["streams"])


def digests_equal(nodes):
    """`doctor --deep` on a node compares the state of all; and every chain verifies. Returns (events, head)."""
    heads = set()
    for node in nodes:
        chain = node.cli("audit", "verify")
        heads.add((chain["events"], chain.get("head")))
    return heads


def digests_compared(node):
    """True when `doctor --deep` found all nodes at one index with one digest; it cannot always look at one moment."""
    done = node.cli_raw("doctor", "--deep", "-o", "json", timeout=60)
    found = next(c for c in json.loads(done.stdout)["checks"] if "digest" in c["check"])
    check(found["result"] in ("ok", "unknown"), f"{node.name}: {found}")
    return found["result"] == "ok"


def tails(*nodes):
    """What these nodes keep of calls in progress elsewhere: {name of the tape: file}."""
    return {p.name[:-len(".tail")]: p for n in nodes for p in (n.media / "tails").glob("*.tail")}


def files_below(folder):
    """The files of a folder in which a running daemon makes and removes others (Path.rglob fails of one that goes)."""
    return sorted(pathlib.Path(at) / name for at, _folders, names in os.walk(folder) for name in names)


def read_if_there(path):
    """What a file holds that a database may have compacted since it was listed: then it is in another."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def run(title, tell, *needs):
    """The main() of a scenario."""
    need(*needs)
    story = Story(title)
    print(f"-- {title}", flush=True)
    try:
        tell(story)
        story.say("every promise held")
        return 0
    except Exception as error:  # pylint: disable=broad-except
        if not isinstance(error, Broken):
            traceback.print_exc()
        print(f"BROKEN: {error}", flush=True)
        for node in story.cluster.nodes if story.cluster else []:
            if node.log.exists():
                print(f"-- the end of {node.name}'s log\n{node.tail(25)}", flush=True)
        return 1
    finally:
        story.close()
