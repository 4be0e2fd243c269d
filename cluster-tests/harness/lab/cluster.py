"""Real evertaped processes on loopback addresses, driven through the evertape CLI as an operator would."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[3]


class CliError(RuntimeError):
    """The CLI ended with something else than 0. `code` is its exit code, `error` its JSON (or {})."""

    def __init__(self, args, code, out, err):
        super().__init__(f"evertape {' '.join(args)}: exit {code}\n{err.strip()}")
        self.code, self.out = code, out
        try:
            self.error = json.loads(err)
        except ValueError:
            self.error = {}


def binaries():
    """The folder of evertaped and evertape: $EVERTAPE_BIN, or the release build."""
    return pathlib.Path(os.environ.get("EVERTAPE_BIN", TOP / "build" / "release" / "bin"))


def wait_for(what, probe, deadline=30.0, every=0.05):
    """Poll until probe() is true; its value. A probe that raises is not true yet. TimeoutError says what
    was waited for and the last error."""
    until = time.monotonic() + deadline
    last = None
    while True:
        try:
            value = probe()
            if value:
                return value
        except (CliError, OSError, ValueError, KeyError) as error:
            last = error
        if time.monotonic() > until:
            raise TimeoutError(f"waited {deadline:.0f} s for {what}" + (f"; last: {last}" if last else ""))
        time.sleep(every)


class Node:
    def __init__(self, cluster, name, site, number, roles, address, capture_filter, extra=""):
        self.cluster, self.name, self.site, self.roles = cluster, name, site, roles
        self.address, self.number = address, number
        self.folder = cluster.folder / name
        self.config = self.folder / "evertape.yaml"
        self.state, self.media = self.folder / "state", self.folder / "media"
        self.socket = self.state / "run" / "api.sock"
        self.log = self.folder / "log"
        self.capture_filter, self.extra = capture_filter, extra
        self.rings = 1
        self.machine = None  # of a lab.net.Net
        self.process = None

    @property
    def cluster_address(self):
        return f"{self.address}:{self.cluster.port}"

    @property
    def api_address(self):
        return f"{self.address}:{self.cluster.api_port}"

    def write_config(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        capture = ""
        if self.capture_filter:
            rings = f", rings: {self.rings}" if self.rings > 1 else ""
            capture = f'capture: [{{interface: lo, filter: "{self.capture_filter}", sip-ports: [5060]{rings}}}]\n'
        self.config.write_text(
            f"cluster: {self.cluster.name}\n"
            f"node: {{name: {self.name}, site: {self.site}, roles: [{', '.join(self.roles)}]}}\n"
            f'listen: {{cluster: "{self.cluster_address}", api: "{self.api_address}"}}\n'
            f"data: {{state: {self.state}, media: {self.media}, root: file:{self.folder}/root.key}}\n"
            + capture + self.extra)

    def start(self, wrapper=(), program=None):
        assert self.process is None or self.process.poll() is not None
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.cluster.where(self), *wrapper, str(program or self.cluster.program or binaries() / "evertaped"),
                                             str(self.config)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        (self.folder / "pid").write_text(str(self.process.pid))

        def up():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(self.socket))
            return True
        wait_for(f"the API socket of {self.name}", up, 20)
        return self

    def tail(self, lines=15):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(timeout=60)

    def stop(self):
        """Orderly; its exit code."""
        if not self.is_running():
            return self.process.returncode if self.process else 0
        self.process.terminate()
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} did not stop in 30 s:\n{self.tail()}") from None

    def cli_raw(self, *args, timeout=60, **more):
        return subprocess.run([str(binaries() / "evertape"), "--socket", str(self.socket), *args],
                              capture_output=True, timeout=timeout, check=False, **more)

    def cli(self, *args, timeout=60, **more):
        """Run a command with -o json; its object. CliError when it does not exit 0."""
        done = self.cli_raw(*args, "-o", "json", timeout=timeout, **more)
        out = done.stdout.decode()
        if done.returncode != 0:
            raise CliError(args, done.returncode, out, done.stderr.decode())
        return json.loads(out) if out.strip() else {}

    def status(self):
        """`status`, also when it says degraded (exit 6)."""
        done = self.cli_raw("status", "-o", "json")
        if done.returncode not in (0, 6):
            raise CliError(("status",), done.returncode, "", done.stderr.decode())
        return json.loads(done.stdout)

    def wait_capture(self):
        """Until it sees its telephones: a call that begins before is a call seen from the middle, without its numbers."""
        def captures():
            told = self.status()
            if any(c["code"] == "ROOT_LOCKED" for c in told["codes"]):
                return True  # it says so when it captures, and nothing of members
            return any(n["capture"]["running"] for n in told["nodes"] if n["name"] == self.name)
        wait_for(f"{self.name} to capture", captures)

    def metrics(self):
        """{name, with its labels: value} of /metrics."""
        connection = http.client.HTTPConnection("localhost", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name.removeprefix("evertape_"): float(value) for name, value in lines}

    def recordings(self, *args):
        return self.cli("recording", "list", "--limit", "1000", *args)["recordings"]

    def recording(self, ident):
        return self.cli("recording", "show", ident)

    def export(self, ident, path):
        done = self.cli_raw("recording", "export", ident, "--format", "wav", "--out", str(path),
                            "--reason", "test", timeout=120)
        if done.returncode != 0:
            raise CliError(("recording", "export", ident), done.returncode, "", done.stderr.decode())
        return path


class Cluster:
    """Nodes under one folder. Addresses are 127.<net>.<site>.<node>, so that clusters do not meet."""

    def __init__(self, folder, name="demo", net=60, port=7400, api_port=7443):
        self.folder = pathlib.Path(folder)
        self.name, self.net, self.port, self.api_port = name, net, port, api_port
        self.nodes = []
        self.sites = []
        self.table = f"evertape_lab_{net}"
        self.init_answer = None
        self.program = None  # evertaped, if not the one that is tested

    def add(self, name, site, roles=("voter", "vault", "capture", "api"), capture_filter="", extra=""):
        if site not in self.sites:
            self.sites.append(site)
        number = 1 + sum(n.site == site for n in self.nodes)
        address = f"127.{self.net}.{self.sites.index(site) + 1}.{number}"
        node = Node(self, name, site, len(self.nodes) + 1, list(roles), address, capture_filter, extra)
        self.nodes.append(node)
        return node

    def where(self, node):  # pylint: disable=unused-argument
        """What to put before a command so that it runs on a node's machine."""
        return []

    def node(self, name):
        return next(n for n in self.nodes if n.name == name)

    def create(self):
        """Start all, make the cluster on the first node, let the others join, wait until all vote."""
        for node in self.nodes:
            node.write_config()
        first = self.nodes[0].start()
        self.init_answer = first.cli("cluster", "init")
        wait_for("a leader", lambda: first.status()["leader"])
        for node in self.nodes[1:]:
            node.start()
            self.join(first, node)
        voters = [n for n in self.nodes if "voter" in n.roles or "witness" in n.roles]
        wait_for(f"{len(voters)} voters",
                 lambda: sum(n["role"] in ("voter", "witness") for n in first.status()["nodes"]) == len(voters), 60)
        return self

    def join(self, helper, node):
        roles = [a for role in node.roles for a in ("--role", role)]
        token = helper.cli("node", "token", "--site", node.site, *roles, "--ttl", "1h", "--uses", "1",
                           "--reason", "lab")["token"]
        node.cli("node", "join", "-", helper.cluster_address, input=token.encode())
        wait_for(f"{node.name} to be a member",
                 lambda: any(n["name"] == node.name for n in helper.status()["nodes"]))

    def leader(self):
        for node in self.nodes:
            if node.is_running():
                try:
                    name = node.status()["leader"]
                except (CliError, ValueError, KeyError):
                    continue
                if name:
                    return self.node(name)
        return None

    def stop(self):
        for node in self.nodes:
            if node.is_running():
                node.process.terminate()
        for node in self.nodes:
            if node.process is not None:
                try:
                    node.process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    node.kill()
        self.heal()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- The link between sites: an nftables table of our own drops what crosses it ------------------

    def cut(self, site):
        """No packet between the cluster addresses of `site` and those of the others."""
        net = self.sites.index(site) + 1
        here, all_ = f"127.{self.net}.{net}.0/24", f"127.{self.net}.0.0/16"
        rules = (f"table ip {self.table} {{\n chain in {{ type filter hook input priority 0;\n"
                 f"  ip saddr {here} ip daddr {all_} ip daddr != {here} drop\n"
                 f"  ip daddr {here} ip saddr {all_} ip saddr != {here} drop\n }}\n}}\n")
        self.heal()
        subprocess.run(["nft", "-f", "-"], input=rules.encode(), check=True)

    def heal(self):
        subprocess.run(["nft", "delete", "table", "ip", self.table], stderr=subprocess.DEVNULL, check=False)


class NetCluster(Cluster):
    """Nodes on the machines of a lab.net.Net: one node each, named like it."""

    def __init__(self, folder, lab, name="scenario"):
        super().__init__(folder, name)
        self.lab = lab

    def where(self, node):
        return self.lab.exec(node.machine)

    def add(self, name, site, roles=("voter", "vault", "api"), capture_filter="", extra="", machine=None):
        if site not in self.sites:
            self.sites.append(site)
        machine = machine or name
        node = Node(self, name, site, len(self.nodes) + 1, list(roles), self.lab.address(machine), capture_filter, extra)
        node.machine = machine
        self.nodes.append(node)
        return node

    def cut(self, site):
        self.lab.isolate_site(site)

    def heal(self):
        if self.lab.control is not None and self.lab.machines:
            self.lab.heal()
