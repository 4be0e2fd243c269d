"""Clients of a cluster, and the history of what they asked and were answered.

Each client talks HTTPS to one node, from that node's machine (so that a cut isolates client and node together), one
operation after the other on a connection that is kept:
  registers   the descriptions of sites that are no real ones: PUT /v1/sites/NAME, GET /v1/sites?read=linearizable
  one CAS     the archive policy: PUT /v1/archive/policy with expect_revision
  a set       every write carries its own number as reason; the audit log is the set
Values are written once. Times are of one clock. An operation ends ok, refused (it did not happen) or open (nobody knows).

check() hands the history to etcheck (harness/check): linearizable, nothing lost, nothing twice, numbers in order.
"""
import http.client
import json
import random
import re
import socket
import ssl
import subprocess
import threading
import time

from .cluster import binaries

OPS_OF_A_KEY = 390  # the search of the checker grows with the length of a history
POLICY_OF_AN_EPOCH = 45
ANSWER_SECONDS = 13.0  # a node answers within 10 s, with or without a quorum
POLICY = "# v{}\ntargets:\n  cold: {{type: dir, path: /nowhere}}\nrules:\n  - {{name: all, after: 3650d, to: cold}}\n"


def now_us():
    return time.monotonic_ns() // 1000


class Answer:
    def __init__(self, status, body):
        self.status, self.json = status, json.loads(body) if body else {}
        self.code = self.json.get("code", "")


class Unsent(OSError):
    """The request did not reach the node."""


class Connection:
    def __init__(self, net, machine, port, context, token):
        self.net, self.machine, self.port, self.context, self.token = net, machine, port, context, token
        self.http = None

    def ask(self, method, path, body=None, timeout=ANSWER_SECONDS):
        """An Answer. Unsent, or another OSError or HTTPException when nobody knows."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        if self.http is None:
            try:
                self._connect()
            except OSError as error:
                raise Unsent(str(error)) from error
        try:
            self.http.sock.settimeout(timeout)
            self.http.request(method, path, data, headers)
            answer = self.http.getresponse()
            result = Answer(answer.status, answer.read())
            if answer.will_close:
                self.close()
            return result
        except BaseException:
            self.close()
            raise

    def _connect(self):
        address = self.net.address(self.machine)
        raw = self.net.connect(self.machine, address, self.port, 5.0)
        try:
            tls = self.context.wrap_socket(raw, server_hostname=None)
        except OSError:
            raw.close()
            raise
        self.http = http.client.HTTPConnection(address, self.port)
        self.http.sock = tls
        self.http.auto_open = False

    def close(self):
        if self.http is not None:
            self.http.close()
        self.http = None


class Workload:
    def __init__(self, cluster, seed, readers=1, think=(0.03, 0.12)):
        self.cluster, self.net, self.seed, self.think = cluster, cluster.lab, seed, think
        self.readers = readers  # of a node, beside the client that does everything: a write that waits stops no read
        self.lock = threading.Lock()
        self.ops = []        # (kind, key, call, ret or None, value, from, swapped)
        self.adds = {}       # number of a write: "added", "refused", "maybe"
        self.times = {}      # number of a write that is known to have happened: (call, ret)
        self.indexes = []    # (call, ret, index) of reads and writes
        self.late = []       # (node, call, ret): no answer in time
        self.counts = {"ok": 0, "refused": 0, "open": 0, "stale": 0, "unreachable": 0}
        self.served = {}     # node: operations that went well
        self.keys = {}
        self.epoch, self.policy_left = 0, POLICY_OF_AN_EPOCH
        self.last_number = 0
        self.slowest = 0
        self.excused = {}    # node: [(begin, end)]: when it need not answer
        self.threads, self.stopping = {}, threading.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.token = self.ca = None

    # -- Running ---------------------------------------------------------------------------------------------------

    def prepare(self, node):
        """A token and the CA, from a node that leads somewhere."""
        self.token = node.cli("token", "create", "--name", f"workload{self.seed}", "--role", "admin", "--reason",
                              "scenario")["token"]
        self.context.load_verify_locations(cadata=node.cli("cluster", "show")["ca_pem"])
        return self

    def join_in(self, node):
        """Clients of a node that is new, or was replaced."""
        stop = threading.Event()
        self.threads[node.name] = (stop, [])
        for i in range(1 + self.readers):
            client = Client(self, node, random.Random(f"{self.seed}-{node.name}-{i}"), stop, i > 0)
            thread = threading.Thread(target=client.run, daemon=True)
            self.threads[node.name][1].append(thread)
            thread.start()

    def leave(self, node):
        """The clients of a node end (with their present operation)."""
        stop, threads = self.threads.pop(node.name, (threading.Event(), []))
        stop.set()
        for thread in threads:
            thread.join()

    def stop(self):
        self.stopping.set()
        for _stop, threads in self.threads.values():
            for thread in threads:
                thread.join()
        self.threads = {}

    def next_epoch(self):
        """New registers: histories stay short."""
        with self.lock:
            self.epoch += 1
            self.policy_left = POLICY_OF_AN_EPOCH

    def excuse(self, name, begin, end):
        """A node that was stopped, or dead, between these times need not have answered."""
        self.excused.setdefault(name, []).append((begin, end))

    # -- What clients note -----------------------------------------------------------------------------------------

    def key_for(self, rng):
        """The name of a register whose history has room."""
        with self.lock:
            pick = rng.randrange(4)
            key = f"r{self.seed % 10000}-{self.epoch}-{pick}"
            if self.keys.get(key, 0) >= OPS_OF_A_KEY:
                self.epoch += 1
                key = f"r{self.seed % 10000}-{self.epoch}-{pick}"
            self.keys[key] = self.keys.get(key, 0) + 1
            return key

    def policy_turn(self):
        with self.lock:
            self.policy_left -= 1
            return self.policy_left >= 0

    def number(self):
        with self.lock:
            self.last_number += 1
            return self.last_number

    def note(self, kind, key, call, ret, value, from_=None, swapped=None):
        with self.lock:
            self.ops.append((kind, key, call, ret, value, from_, swapped))

    def note_write(self, number, outcome, call, ret):
        with self.lock:
            self.adds[number] = outcome
            if outcome == "added":
                self.times[number] = (call, ret)

    def note_index(self, call, ret, index):
        with self.lock:
            self.indexes.append((call, ret, index))

    def count(self, what, seconds=0.0):
        with self.lock:
            self.counts[what] += 1
            self.slowest = max(self.slowest, seconds)

    def note_served(self, name):
        with self.lock:
            self.served[name] = self.served.get(name, 0) + 1

    def served_by(self, names):
        """How many operations these nodes have answered well, each."""
        with self.lock:
            return {name: self.served.get(name, 0) for name in names}

    def note_late(self, name, call, ret):
        with self.lock:
            self.late.append((name, call, ret))

    # -- Verdicts --------------------------------------------------------------------------------------------------

    @staticmethod
    def _etcheck(what, lines):
        done = subprocess.run([str(binaries() / "etcheck"), what], input="".join(lines), capture_output=True,
                              text=True, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def register_lines(self):
        lines = []
        for kind, key, call, ret, value, from_, swapped in self.ops:
            end = "-" if ret is None else str(max(ret, call + 1))
            if kind == "c":
                lines.append(f"c {key} {call} {end} {from_} {value} {'yes' if swapped else 'no'}\n")
            else:
                lines.append(f"{kind} {key} {call} {end} {value}\n")
        return lines

    def check(self, events):
        """`events`: the whole audit log, read linearizably after the last operation. ([faults], [what was looked at])."""
        faults, seen = [], []

        def verdict(name, result):
            code, text = result
            (faults if code else seen).append(f"{name}: {text}")
        mine = [(int(m.group(1)), e["number"]) for e in events if e["outcome"] == "ok"
                for m in [re.fullmatch(rf"op{self.seed}-(\d+)", e["reason"])] if m]
        verdict("registers", self._etcheck("register", self.register_lines()))
        verdict("set", self._etcheck("set", [f"{o} {n}\n" for n, o in self.adds.items()] +
                                     [f"final {n}\n" for n, _number in mine]))
        verdict("audit numbers", self._etcheck("unique", [
            f"{self.times[n][0]} {self.times[n][1]} {number}\n" for n, number in mine if n in self.times]))
        verdict("indexes", self._etcheck("monotone", [f"{c} {r} {i}\n" for c, r, i in self.indexes]))
        for name, call, ret in self.late:
            if not any(begin <= ret and call <= end for begin, end in self.excused.get(name, [])):
                faults.append(f"{name} did not answer within {ANSWER_SECONDS} s")
        return faults, seen


class Client:
    def __init__(self, workload, node, rng, stop, only_reads):
        self.w, self.node, self.rng, self.stop, self.only_reads = workload, node, rng, stop, only_reads
        self.connection = Connection(workload.net, node.machine, workload.cluster.api_port, workload.context,
                                     workload.token)

    def run(self):
        while not self.stop.is_set() and not self.w.stopping.is_set():
            well = self._one()
            self.stop.wait(self.rng.uniform(*self.w.think) if well else 0.25)
        self.connection.close()

    def _one(self):
        dice = 0.5 if self.only_reads else self.rng.random()
        if dice < 0.12 and self.w.policy_turn():
            return self._swap_policy()
        key = self.w.key_for(self.rng)
        return self._read(key) if dice < 0.55 else self._write(key)

    def _ask(self, method, path, body=None):
        """(call, ret, Answer); the Answer is None when nobody knows, False when it was not sent."""
        call = now_us()
        try:
            answer = self.connection.ask(method, path, body)
        except Unsent:
            answer = False
            self.w.count("unreachable")
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer = None
            if isinstance(error, socket.timeout):
                self.w.note_late(self.node.name, call, now_us())
        ret = now_us()
        if answer and answer.status == 200:
            self.w.note_served(self.node.name)
        if answer:
            self.w.count("ok" if answer.status == 200 else "refused" if answer.status < 500 else "open",
                         (ret - call) / 1e6)
        elif answer is None:
            self.w.count("open")
        return call, ret, answer

    def _read(self, key):
        call, ret, answer = self._ask("GET", "/v1/sites?read=linearizable")
        if not answer or answer.status != 200:
            return False
        if answer.json["read"]["mode"] != "linearizable":
            raise AssertionError("a linearizable read was asked for, another given")
        value = next((s.get("description", "") for s in answer.json["sites"] if s["name"] == key), "")
        self.w.note("r", key, call, ret, int(value or 0))
        self.w.note_index(call, ret, answer.json["read"]["index"])
        return True

    def _write(self, key):
        number = self.w.number()
        body = {"description": str(number), "reason": f"op{self.w.seed}-{number}"}
        call, ret, answer = self._ask("PUT", f"/v1/sites/{key}", body)
        return self._note_write("w", key, call, ret, number, answer)

    def _note_write(self, kind, key, call, ret, number, answer, from_=None):
        w = self.w
        if answer and answer.status == 200:
            w.note(kind, key, call, ret, number, from_, True)
            w.note_write(number, "added", call, ret)
            if "index" in answer.json:
                w.note_index(call, ret, answer.json["index"])
            return True
        if answer is False or (answer and answer.status < 500):
            w.note_write(number, "refused", call, ret)
            return False
        w.note(kind, key, call, None, number, from_, False)
        w.note_write(number, "maybe", call, ret)
        return False

    def _swap_policy(self):
        call, ret, answer = self._ask("GET", "/v1/archive/policy?read=linearizable")
        if not answer or answer.status not in (200, 404):
            return False
        text = answer.json.get("text", "# v0\n") if answer.status == 200 else "# v0\n"
        revision = answer.json.get("revision", 0)
        value = int(re.match(r"# v(\d+)\n", text).group(1))
        self.w.note("r", "policy", call, ret, value)
        number = self.w.number()
        body = {"text": POLICY.format(number), "reason": f"op{self.w.seed}-{number}", "expect_revision": revision}
        call, ret, answer = self._ask("PUT", "/v1/archive/policy", body)
        if answer and answer.status == 409 and answer.code == "ET_ESTALE":
            self.w.count("stale")
            self.w.note("c", "policy", call, ret, number, value, False)
            self.w.note_write(number, "refused", call, ret)
            return True
        return self._note_write("c", "policy", call, ret, number, answer, value)
