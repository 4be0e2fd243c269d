"""What the scenarios in namespaces share: a cluster on machines of its own, clients that never stop asking, faults one
after the other, and at the end the whole history before the checkers.

During a fault: whoever can reach a majority goes on serving; `status` names what is wrong; who cannot answers so, in
bounded time. After each: every node serves, `status` names nothing, the journals are empty. At the end: the registers
are linearizable, what was acknowledged is in the audit log once and what was refused is not, numbers never go back, the
audit chains are equal and verify, the state digests are equal.

A scenario takes --seed N (printed; a run is repeated with it) and --long (also ET_LONG=1).
"""
import argparse
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
import traceback

from story import Broken, check, digests_compared, digests_equal, skip

from lab import net as lab_net
from lab.cluster import CliError, NetCluster, binaries, wait_for
from lab.net import Net
from lab.workload import Connection, Workload, now_us

class Siege:
    def __init__(self, options, net, folder):
        self.seed, self.long = options.seed, options.long
        self.rng = random.Random(options.seed)
        self.net, self.folder = net, folder
        self.t0 = time.monotonic()
        self.cluster = NetCluster(folder / "cluster", net)
        self.workload = None
        self.faults = 0
        self.asked_not = []

    def say(self, text):
        print(f"== {time.monotonic() - self.t0:5.1f} s  {text}", flush=True)

    # -- Begin and end ---------------------------------------------------------------------------------------------

    def make(self, roles=None, extra="", capture=()):
        """Every machine becomes a node; all but those named in `roles` are voters; those named in `capture` record the
        calls on their own loopback."""
        for machine in self.net.machines:
            self.cluster.add(machine, machine.rsplit("-", 1)[0],
                             (roles or {}).get(machine, ("voter", "vault", "api")) + ("capture",) * (machine in capture),
                             capture_filter="net 127.0.0.0/8" if machine in capture else "", extra=extra)
        self.cluster.create()
        self.workload = Workload(self.cluster, self.seed).prepare(self.cluster.nodes[0])
        for node in self.asked:
            self.workload.join_in(node)
        self.say(f"{len(self.cluster.nodes)} nodes are up: " +
                 ", ".join(f"{n.name} ({n.roles[0]})" for n in self.cluster.nodes) + f"; clients ask, seed {self.seed}")
        self.all_serve(20)

    def leader(self):
        return wait_for("a leader that a majority knows", self._leader, 40)

    def _leader(self):
        said = {}
        for node in self.cluster.nodes:
            if node.is_running():
                status = self.look(node)
                if status and status["leader"] and status["quorum"]["has_quorum"]:
                    said[status["leader"]] = said.get(status["leader"], 0) + 1
        name = max(said, key=said.get, default=None)
        return self.cluster.node(name) if name and said[name] > len(self.cluster.nodes) // 2 else None

    def look(self, node):
        """The node's status, or None: it does not answer now."""
        try:
            return node.status()
        except (CliError, ValueError, OSError):
            return None

    @property
    def asked(self):
        """The nodes that hold the catalogue (a spare does not, nor one that is just joining), so that clients ask them."""
        return [n for n in self.cluster.nodes if "spare" not in n.roles and n not in self.asked_not]

    # -- What must hold --------------------------------------------------------------------------------------------

    def serve(self, nodes, seconds, count=3):
        """Each of these answers well again, some times, within `seconds`."""
        names = [n.name for n in nodes]
        before = self.workload.served_by(names)

        def probe():
            now = self.workload.served_by(names)
            slow = [n for n in names if now[n] < before[n] + count]
            if slow:
                raise ValueError(f"{', '.join(slow)} served nothing")
            return True
        began = time.monotonic()
        wait_for(f"{', '.join(names)} to serve", probe, seconds)
        return time.monotonic() - began

    def all_serve(self, seconds=60):
        return self.serve(self.asked, seconds)

    def named(self, node, seconds=20):
        """`status` at a node says that something is wrong; the codes it names."""
        def probe():
            status = node.status()
            codes = sorted({c["code"] for c in status["codes"] if c["level"] != "note"})
            return codes if status["health"] != "ok" and codes else None
        return wait_for(f"status at {node.name} to name the fault", probe, seconds, every=0.2)

    def well(self, seconds=60):
        """`status` at every node names nothing, nothing is pending anywhere."""
        def probe():
            for node in self.asked:
                status = node.status()
                codes = [(c["code"], c.get("node"), c.get("detail")) for c in status["codes"] if c["level"] != "note"]
                if status["health"] != "ok" or codes:
                    raise ValueError(f"{node.name} says {status['health']}: {codes}")
                for other in status["nodes"]:
                    if other["pending"]:
                        raise ValueError(f"{other['name']} has {other['pending']} pending")
            return True
        wait_for("status to name nothing, and journals to be empty", probe, seconds, every=0.3)

    def strike(self, name, apply, serving=(), watch=None, hold=5.0, during=None, heal=None):
        """One fault: `apply` it; who is in `serving` goes on serving; `watch` names it; then `heal`, and all is well."""
        self.workload.next_epoch()
        began = now_us()
        apply()
        until = time.monotonic() + hold
        words = [name]
        if serving:
            words.append(f"{' '.join(n.name for n in serving)} served after {self.serve(serving, 30):.1f} s")
        if watch is not None:
            words.append(f"{watch.name} says {' '.join(self.named(watch))}")
        if during is not None:
            words.append(during())
        wait_for("the fault to last", lambda: time.monotonic() > until, hold + 1)
        (heal or self.net.heal)()
        healed = time.monotonic()
        self.all_serve()
        served = time.monotonic() - healed
        self.well()
        self.faults += 1
        words.append(f"healed: all serve after {served:.1f} s, well after {time.monotonic() - healed:.1f} s")
        self.say("; ".join(w for w in words if w))
        return began

    def verdict(self):
        """All is over: the history before the checkers."""
        self.workload.stop()
        node = self.asked[0]
        events = self.audit_events(node)
        faults, seen = self.workload.check(events)
        for text in seen:
            self.say(text)
        if faults:
            kept = self.folder.parent / f"evertape-history-{self.seed}"
            kept.write_text("".join(self.workload.register_lines()))
            raise Broken("; ".join(faults) + f"; the history of the registers: {kept}")
        self.well()
        wait_for("the audit chains to be equal", lambda: len(digests_equal(self.asked)) == 1, 40)
        for each in self.asked:
            wait_for(f"{each.name} to compare the state digests", lambda n=each: digests_compared(n), 60, every=0.3)
        counts = self.workload.counts
        self.say(f"{self.faults} faults; {counts['ok']} operations answered, {counts['refused']} refused, "
                 f"{counts['open']} open, slowest {self.workload.slowest:.1f} s; audit chains of {len(events)} events "
                 "verify and are equal, digests are equal")

    def audit_events(self, node):
        events, first = [], 1
        while True:
            page = wait_for("the audit log", lambda: self.ask(node, f"/v1/audit?from={first}&read=linearizable"), 30)
            events += page["events"]
            if not page["more"]:
                return events
            first = page["next_number"]

    def ask(self, node, path):
        connection = Connection(self.net, node.machine, self.cluster.api_port, self.workload.context,
                                self.workload.token)
        try:
            answer = connection.ask("GET", path)
            return answer.json if answer.status == 200 else None
        finally:
            connection.close()


def options_of(title):
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("ET_SEED", random.SystemRandom().randrange(1, 10**6))))
    parser.add_argument("--long", action="store_true", default=os.environ.get("ET_LONG") == "1")
    return parser.parse_args()


def need():
    lacks = lab_net.missing()
    if lacks:
        skip(f"needs {lacks}")
    for program in ("evertaped", "evertape", "etcheck"):
        if not (binaries() / program).exists():
            raise SystemExit(f"{binaries() / program} is not built")


def run(title, tell, sites):
    """The main() of a scenario in namespaces. `sites`: {name: machines}."""
    options = options_of(title)
    need()
    print(f"-- {title}; seed {options.seed}" + (", long" if options.long else ""), flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="evertape-"))
    code, siege = 1, None
    with Net(sites, seed=options.seed) as net:
        try:
            siege = Siege(options, net, folder)
            tell(siege)
            siege.verdict()
            siege.say("every promise held")
            code = 0
        except Exception as error:  # pylint: disable=broad-except
            if not isinstance(error, Broken):
                traceback.print_exc()
            print(f"BROKEN (seed {options.seed}): {error}", flush=True)
            for node in siege.cluster.nodes if siege else []:
                if node.log.exists():
                    print(f"-- the end of {node.name}'s log\n{node.tail(25)}", flush=True)
        finally:
            if siege and siege.workload:
                siege.workload.stopping.set()
            if siege:
                siege.cluster.stop()
            if os.environ.get("ET_KEEP"):
                print(f"kept: {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
    return code
