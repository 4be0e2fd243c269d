"""The story that ops/demo tells; see there. Everything lies under .demo/ in the checkout."""
import argparse
import json
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lab import s3, tapes  # noqa: E402
from lab.calls import Call  # noqa: E402
from lab.cluster import TOP, CliError, Cluster, wait_for  # noqa: E402

FOLDER = TOP / ".demo"
NODES = (("prg-1", "prg", 11), ("prg-2", "prg", 12), ("brq-1", "brq", 13))
TALK_SECONDS = 8
T0 = time.monotonic()


def say(text):
    print(f"== {time.monotonic() - T0:4.0f} s  {text}", flush=True)


def build_cluster():
    """Each node captures the addresses of its own telephones and nothing else."""
    cluster = Cluster(FOLDER / "cluster", name="demo", net=60)
    for name, site, net in NODES:
        cluster.add(name, site, capture_filter=f"net 127.{net}.0.0/16")
    return cluster


def attach(cluster):
    """Find the nodes that an earlier run left; False if there are none."""
    found = False
    for node in cluster.nodes:
        try:
            pid = int((node.folder / "pid").read_text())
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if b"evertaped" in command and str(node.config).encode() in command:
            node.process = Attached(pid)
            found = True
    return found


class Attached:
    """A process that another run started: what Popen offers of it."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        try:
            state = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            state = "X"
        if state in "XZ":
            self.returncode = 0
        return self.returncode

    def send_signal(self, number):
        import os
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def terminate(self):
        self.send_signal(15)

    def wait(self, timeout=None):
        until = time.monotonic() + (timeout or 3600)
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("evertaped", timeout)
            time.sleep(0.02)
        return self.returncode


def calls_file():
    return FOLDER / "calls.json"


def place_calls(count, offset=0):
    """`count` calls, spread over the nodes' telephones, all at once."""
    calls = []
    for i in range(offset, offset + count):
        name, _site, net = NODES[i % len(NODES)]
        row = i // len(NODES) + 1
        codec = "PCMA" if i % 4 == 3 else "PCMU"
        call = Call(FOLDER / "calls" / f"{i:03d}", f"127.{net}.{row}.1", f"127.{net}.{row}.2",
                    f"+42060{i:07d}", f"+42080{i:07d}", TALK_SECONDS, codec)
        call.home = name
        calls.append(call)
    say(f"placing {count} SIP calls of {TALK_SECONDS} s (sipp; each party with its own noise)")
    for call in calls:
        call.start()
    for call in calls:
        call.wait()
    return calls


def recording_of(node, call):
    hits = [r for r in node.recordings() if r["from"] == call.caller and r["to"] == call.callee]
    if len(hits) != 1:
        raise ValueError(f"{len(hits)} recordings of {call.caller} -> {call.callee}, want 1")
    return hits[0]


def copies_of(node, ident):
    return [c for c in node.recording(ident)["copies"] if c["state"] == "verified"]


def wait_two_sites(node, calls):
    """Every call is closed, and has a verified copy at both sites."""
    def ready():
        for call in calls:
            rec = recording_of(node, call)
            call.id = rec["id"]
            if rec["state"] == "capturing" or {"prg", "brq"} - {c.get("site") for c in copies_of(node, call.id)}:
                return False
        return True
    wait_for("every call to be sealed and copied to both sites", ready, 60)


def wait_archived(node, calls, evicted=False):
    def ready():
        for call in calls:
            copies = copies_of(node, call.id)
            if not any(c.get("target") for c in copies):
                return False
            if evicted and any(c.get("node") for c in copies):
                return False
        return True
    wait_for("every call to be " + ("in the archive only" if evicted else "archived"), ready, 90)


def tape_files(cluster):
    return [p for n in cluster.nodes for p in (n.media / "tapes").rglob("*.evtm")]


def export_and_compare(node, calls, label):
    folder = FOLDER / "export" / label
    folder.mkdir(parents=True, exist_ok=True)
    good = 0
    for call in calls:
        path = folder / f"{call.id}.wav"
        path.unlink(missing_ok=True)
        try:
            node.export(call.id, path)
            sides = call.check_wav(path)
            good += 1
            call.exact[label] = {side: samples for side, (_at, samples) in sides.items()}
        except (CliError, ValueError) as error:
            call.exact[label] = str(error)
            print(f"   {call.caller}: {error}", file=sys.stderr)
    say(f"exported at {node.name} ({label}): {good} of {len(calls)} equal what was sent, sample for sample")
    return good == len(calls)


def second_reader(cluster, calls):
    """Every copy of every tape verifies without a key in another program, and what it opens is what was sent."""
    copies = tapes.of(cluster)
    recordings = {}
    for _node, path in copies:
        recordings[tapes.verify(path).recording.hex()] = path
    keys = tapes.deks(cluster.node("prg-2"), cluster.init_answer["escrow_shares"][:3], FOLDER)
    good = packets = 0
    for call in calls:
        found = tapes.streams(recordings[call.id.replace("-", "")], keys)
        packets += sum(map(len, found.values()))
        sent = [(0, call.sound["caller"]), (1, call.sound["callee"])]
        good += len(found) == 2 and all(
            sound.startswith(tapes.payload(p)) for side, sound in sent for (party, _ssrc), p in found.items() if party == side)
    say(f"the second reader (Python, from the format's page alone): {len(copies)} tapes on three nodes verify without a key")
    say(f"... and opened with their keys (a node's root and 3 escrow shares) {good} of {len(calls)} calls, {packets} packets, "
        "are what was sent")
    return good == len(calls) and len(copies) >= 2 * len(calls)


def archive_policy(store):
    if store is None:
        (FOLDER / "archive").mkdir(mode=0o700, exist_ok=True)
        target = f"{{type: dir, path: {FOLDER}/archive}}"
    else:
        target = store.target()
    return (f"targets:\n  cold: {target}\nrules:\n  - name: all\n    after: 0s\n    to: cold\n"
            "    pack: {target-size: 16MiB}\n    local: {keep: 0s}\n")


def apply_plan(node, what):
    """plan and apply; the plan's actions."""
    def made():
        done = node.cli_raw("archive", "plan", "-o", "json")
        if done.returncode not in (0, 7):
            raise CliError(("archive", "plan"), done.returncode, "", done.stderr.decode())
        plan = json.loads(done.stdout)
        return plan if any(a["action"] == what and a["recordings"] > 0 for a in plan["actions"]) else None
    plan = wait_for(f"a plan with something to {what}", made, 30)
    for action in plan["actions"]:
        print(f"   {action['action']:7} {action['recordings']:4} recordings {action['bytes']:9} bytes  {action['why']}")
    node.cli("archive", "apply", plan["plan"], "--reason", "demo", "--yes")
    return plan


def print_calls(node, calls):
    print(f"\n   {'CALL':38} {'FROM':13} {'PACKETS':>7} {'LOST':>4}  {'STATE':10} {'COPIES':24} EXACT SAMPLES (site, archive)")
    for call in calls:
        rec = node.recording(call.id)
        packets = sum(s["packets"] for s in rec["streams"])
        lost = sum(s["lost"] for s in rec["streams"])
        places = ",".join(sorted(c.get("node") or c.get("target") for c in copies_of(node, call.id)))
        exact = " ".join(str(sum(v.values())) if isinstance(v, dict) else "DIFFERENT" for v in call.exact.values())
        print(f"   {call.id:38} {rec['from']:13} {packets:7} {lost:4}  {rec['state']:10} {places:24} {exact}")
    print(flush=True)


def start_s3():
    """A real Ceph RGW below .demo/ceph."""
    say("starting a Ceph RGW (about 20 s)")
    return s3.Gateway(FOLDER / "ceph")


def up(cluster):
    down(cluster)
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    say("starting prg-1, prg-2 (site prg) and brq-1 (site brq); cluster init, join tokens, three voters")
    cluster.create()
    for node in cluster.nodes:
        node.wait_capture()
    shares = cluster.init_answer["escrow_shares"]
    say(f"cluster 'demo' is up; {len(shares)} escrow shares were shown once (an operator stores them apart)")


def down(cluster):
    attach(cluster)
    cluster.stop()
    s3.stop(FOLDER / "ceph")
    import shutil
    shutil.rmtree(FOLDER, ignore_errors=True)


def story(cluster, use_s3):
    """The main job, start to end; True when every promise held."""
    up(cluster)
    store = start_s3() if use_s3 else None
    ok = True
    calls = place_calls(6)
    for call in calls:
        call.exact = {}
    prg, brq = cluster.node("prg-1"), cluster.node("brq-1")
    wait_two_sites(prg, calls)
    say("every call is sealed, committed, and has a verified copy at both sites")
    at_prg = [c for c in calls if c.home.startswith("prg")]
    at_brq = [c for c in calls if c.home.startswith("brq")]
    ok &= export_and_compare(brq, at_prg, "at the other site")
    ok &= export_and_compare(prg, at_brq, "at the other site")

    ok &= second_reader(cluster, calls)

    policy = FOLDER / "archive.yaml"
    policy.write_text(archive_policy(store))
    prg.cli("archive", "policy", "validate", str(policy))
    prg.cli("archive", "policy", "apply", str(policy), "--reason", "demo")
    say("archive policy applied; plan to upload:")
    apply_plan(prg, "upload")
    wait_archived(prg, calls)
    print_calls(prg, calls)
    say("archived, read back and verified; plan to drop the local copies:")
    apply_plan(prg, "evict")
    wait_archived(prg, calls, evicted=True)
    wait_for("the files of the evicted copies to go", lambda: not tape_files(cluster), 30)
    say(f"local copies are gone: {len(tape_files(cluster))} tape files left on the three nodes")
    for node in cluster.nodes:
        for cached in (node.media / "cache").glob("*"):
            cached.unlink()
    ok &= export_and_compare(brq, calls, "from the archive")
    print_calls(prg, calls)
    for node in cluster.nodes:
        verified = node.cli("audit", "verify")
        say(f"{node.name}: audit chain of {verified['events']} events verifies")
    health = prg.status()
    codes = {c["code"]: c["detail"] for c in health["codes"]}
    say(f"status: {health['health']}" + "".join(f"; {code}: {detail}" for code, detail in codes.items()))
    return ok


def where_to_look(cluster):
    node = cluster.nodes[0]
    exe = TOP / "build" / "release" / "bin" / "evertape"
    print(f"""
   The cluster is running. Look at it:
     export EVERTAPE_SOCKET={node.socket}
     {exe} status
     {exe} recording list
     {exe} recording export ID --out call.wav --reason "listening"
     ops/demo cut brq; ops/demo call 3; {exe} --socket {cluster.nodes[2].socket} recording list; ops/demo heal
     ops/demo kill prg-1
   Console: https://{node.api_address}/  (its certificate is the cluster's own; log in with a token from
     {exe} token create --name me --role admin --reason demo)
   Stop and remove it: ops/demo down
""")


def main():
    parser = argparse.ArgumentParser(prog="ops/demo")
    parser.add_argument("verb", nargs="?", choices=["up", "down", "call", "cut", "heal", "kill", "status"])
    parser.add_argument("what", nargs="?")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--s3", action="store_true")
    args = parser.parse_args()
    cluster = build_cluster()

    if args.verb is None:
        ok = False
        try:
            ok = story(cluster, args.s3)
        finally:
            if args.once or not ok:
                for node in cluster.nodes:
                    if not ok and node.log.exists():
                        print(f"-- {node.name}\n{node.tail(25)}", file=sys.stderr)
                if args.once:
                    down(cluster)
        say("every call plays, from the other site and from the archive" if ok else "FAILED: see above")
        if not args.once:
            where_to_look(cluster)
        return 0 if ok else 1
    if args.verb == "up":
        up(cluster)
        where_to_look(cluster)
        return 0
    if args.verb == "down":
        down(cluster)
        return 0
    if not attach(cluster):
        print("demo: nothing is running; start it with ops/demo up", file=sys.stderr)
        return 1
    if args.verb == "call":
        count = int(args.what or 3)
        counter = FOLDER / "placed"
        placed = int(counter.read_text()) if counter.exists() else 100
        counter.write_text(str(placed + count))
        place_calls(count, placed)
    elif args.verb == "cut":
        if args.what not in cluster.sites:
            print(f"demo: which site? one of {', '.join(cluster.sites)}", file=sys.stderr)
            return 2
        cluster.cut(args.what)
        say(f"site {args.what} is cut off; it records on. `ops/demo heal` ends it")
    elif args.verb == "heal":
        cluster.heal()
        say("healed")
    elif args.verb == "kill":
        node = next((n for n in cluster.nodes if n.name == args.what), None)
        if node is None:
            print("demo: which node? " + ", ".join(n.name for n in cluster.nodes), file=sys.stderr)
            return 2
        node.kill()
        say(f"{node.name} was killed; starting it again")
        node.start()
    elif args.verb == "status":
        print(cluster.nodes[0].cli_raw("status").stdout.decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
