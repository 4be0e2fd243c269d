"""Machines as network namespaces, grouped in sites, with a WAN between the sites (wanemu) and cuts between machines
(nftables in each namespace).

    with Net({"prg": 2, "brq": 2, "wit": 1}, seed=7) as net:
        net.wan("prg", "brq", delay=50, loss=2)            # both directions; ms, percent, kbit
        subprocess.run(net.exec("prg-1") + ["ping", "-c1", net.address("brq-1")])
        net.cut(["prg-1"], ["brq-1", "brq-2"]); net.heal()

Machine N of site S is "S-N"; its card is eth0. Namespaces are called etlab<pid>-<machine>: runs beside each other do not
meet (each may use the same addresses), and what a killed run left behind is removed by the next. Leaving the `with`
kills what still runs in the namespaces and removes them.
"""
import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[3]
CLONE_NEWNET = 0x40000000
PREFIX = "etlab"


def missing():
    """What this machine lacks for namespaces, in words, or ""."""
    if os.geteuid() != 0:
        return "root (network namespaces)"
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            return f"{program}: run ops/packages"
    if not os.path.exists("/dev/net/tun"):
        return "/dev/net/tun"
    if not _wanemu().exists():
        return f"{_wanemu()}: build it"
    return ""


def _wanemu():
    return pathlib.Path(os.environ.get("EVERTAPE_BIN", TOP / "build" / "release" / "bin")) / "wanemu"


def _run(*args, text=None, check=True):
    done = subprocess.run(args, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(args)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _remove_namespace(name):
    for pid in _run("ip", "netns", "pids", name, check=False).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _run("ip", "netns", "del", name, check=False)


def sweep():
    """Remove namespaces of runs that are no more."""
    for line in _run("ip", "netns", "list").splitlines():
        match = re.match(rf"{PREFIX}(\d+)-", line)
        if match and not os.path.exists(f"/proc/{match.group(1)}"):
            _remove_namespace(line.split()[0])


class Net:
    def __init__(self, sites, seed=1):
        """`sites`: {name: number of machines}."""
        self.sites, self.seed = list(sites), seed
        self.prefix = f"{PREFIX}{os.getpid()}-"
        self.wan_ns = self.prefix + "wan"
        self.machines = {}  # name: (site number, number in the site)
        self.counts = dict(sites)
        self.cuts = set()  # (from, to): what `to` does not hear
        self.folder = self.emulator = self.control = None
        self.lock = threading.Lock()

    # -- Coming and going ----------------------------------------------------------------------------------------

    def __enter__(self):
        lacks = missing()
        if lacks:
            raise RuntimeError(f"this needs {lacks}")
        sweep()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="etlab-"))
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def _build(self):
        _run("ip", "netns", "add", self.wan_ns)
        lines = ["link set lo up"]
        for i, _site in enumerate(self.sites):
            lines += [f"link add br{i} type bridge", f"link set br{i} addrgenmode none", f"link set br{i} up",
                      f"tuntap add dev wan{i} mode tap", f"link set wan{i} addrgenmode none",
                      f"link set wan{i} master br{i} up"]
        self._ip(self.wan_ns, lines)
        for site, count in self.counts.items():
            for n in range(1, count + 1):
                self._add(site, n)
        self._neighbours()
        path = self.folder / "wan"
        self.emulator = subprocess.Popen(
            ["ip", "netns", "exec", self.wan_ns, str(_wanemu()), str(path), str(self.seed),
             *(f"wan{i}" for i in range(len(self.sites)))], stdin=subprocess.DEVNULL, start_new_session=True)
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(10)
        until = time.monotonic() + 20
        while True:
            try:
                self.control.connect(str(path))
                return
            except OSError as error:
                if self.emulator.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"wanemu did not start: {error}") from error
                time.sleep(0.01)

    def close(self):
        if self.control is not None:
            self.control.close()
        if self.emulator is not None and self.emulator.poll() is None:
            self.emulator.terminate()
            self.emulator.wait()
        for machine in list(self.machines):
            _remove_namespace(self.ns(machine))
        _remove_namespace(self.wan_ns)
        self.machines = {}
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _ip(namespace, lines):
        _run("ip", "-n", namespace, "-batch", "-", text="\n".join(lines) + "\n")

    def _add(self, site, n):
        s = self.sites.index(site)
        machine = f"{site}-{n}"
        self.machines[machine] = (s, n)
        _run("ip", "netns", "add", self.ns(machine))
        port = f"p{s}-{n}"
        self._ip(self.wan_ns, [f"link add {port} type veth peer name eth0 netns {self.ns(machine)}",
                               f"link set {port} addrgenmode none", f"link set {port} master br{s} up"])
        self._ip(self.ns(machine), ["link set lo up", f"link set eth0 address {self._mac(machine)}",
                                    "link set eth0 addrgenmode none",
                                    f"addr add {self.address(machine)}/16 dev eth0", "link set eth0 up"])
        return machine

    def add(self, site):
        """One more machine of a site; its name."""
        self.counts[site] += 1
        machine = self._add(site, self.counts[site])
        self._neighbours()
        return machine

    def _mac(self, machine):
        s, n = self.machines[machine]
        return f"02:45:54:00:{s:02x}:{n:02x}"

    def _neighbours(self):
        """No ARP: a lost request would cost a second that no fault of ours explains."""
        for machine in self.machines:
            others = [m for m in self.machines if m != machine]
            if others:
                self._ip(self.ns(machine), [f"neigh replace {self.address(m)} lladdr {self._mac(m)} dev eth0 nud "
                                            "permanent" for m in others])

    # -- Machines ------------------------------------------------------------------------------------------------

    def ns(self, machine):
        return self.prefix + machine

    def address(self, machine):
        s, n = self.machines[machine]
        return f"10.77.{s + 1}.{n}"

    def exec(self, machine):
        """What to put before a command so that it runs there."""
        return ["ip", "netns", "exec", self.ns(machine)]

    @contextlib.contextmanager
    def inside(self, machine):
        """This thread is on that machine's network meanwhile: sockets made here belong there."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(fd):
            if libc.setns(fd, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"setns {machine}")
        with open(f"/proc/self/task/{threading.get_native_id()}/ns/net", "rb") as home, \
                open(f"/run/netns/{self.ns(machine)}", "rb") as there:
            enter(there.fileno())
            try:
                yield
            finally:
                enter(home.fileno())

    def connect(self, machine, address, port, timeout):
        """A TCP connection made from that machine."""
        with self.inside(machine):
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            s.settimeout(timeout)
            s.connect((address, port))
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            s.close()
            raise
        return s

    # -- The WAN: between sites ----------------------------------------------------------------------------------

    def command(self, line):
        """A line for wanemu (see harness/net/wan.h); its answer."""
        with self.lock:
            self.control.send(line.encode())
            answer = self.control.recv(65536).decode()
        if answer.startswith("ERR"):
            raise ValueError(f"wanemu: {line}: {answer.strip()}")
        return answer

    def _site(self, site):
        return "*" if site == "*" else self.sites.index(site)

    def wan1(self, a, b, **values):
        """One direction: delay, jitter (ms), loss, dup, reorder (percent), kbit, limit (frames), up (0, 1)."""
        self.command(f"set {self._site(a)} {self._site(b)} " + " ".join(f"{k} {v}" for k, v in values.items()))

    def wan(self, a="*", b="*", **values):
        self.wan1(a, b, **values)
        self.wan1(b, a, **values)

    def partition(self, a, b):
        self.wan(a, b, up=0)

    def oneway(self, a, b):
        """Nothing goes from site a to site b."""
        self.wan1(a, b, up=0)

    def isolate_site(self, site):
        self.wan(site, "*", up=0)

    def stats(self):
        return self.command("stats")

    # -- Cuts between machines, in a site or between sites -------------------------------------------------------

    def _apply(self, cuts):
        changed = {to for _from, to in cuts ^ self.cuts}
        self.cuts = set(cuts)
        for to in sorted(changed):
            deaf = sorted(self.address(a) for a, b in self.cuts if b == to)
            rules = "table ip etcut\ndelete table ip etcut\n"
            if deaf:
                rules += ("table ip etcut { chain in { type filter hook input priority 0; "
                          f"ip saddr {{ {', '.join(deaf)} }} drop; }} ; }}\n")
            _run(*self.exec(to), "nft", "-f", "-", text=rules)

    def cut_oneway(self, from_, to):
        """No machine of `to` hears one of `from_` (lists)."""
        self._apply(self.cuts | {(a, b) for a in from_ for b in to if a != b})

    def cut(self, one, other):
        self._apply(self.cuts | {(a, b) for a in one for b in other if a != b} |
                    {(b, a) for a in one for b in other if a != b})

    def isolate(self, machine):
        self.cut([machine], list(self.machines))

    def ring(self, machines):
        """Each of these hears its two neighbours only."""
        n = len(machines)
        self._apply(self.cuts | {(machines[i], machines[j]) for i in range(n) for j in range(n)
                                 if i != j and (i - j) % n not in (1, n - 1)})

    def heal(self):
        """No cut, every site's link up; delay and loss stay."""
        self._apply(set())
        self.command("set * * up 1")
