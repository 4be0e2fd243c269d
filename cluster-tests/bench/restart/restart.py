#!/usr/bin/env python3
"""bench-restart: a node with many calls is killed and started; how long until it serves, and what it needs.

    restart.py [--calls N] [--calls-per-segment N] [--folder DIR] [--from DATABASE] [--runs N] [--watch SECONDS]
               [--keep | --there]

A node of its own is made with `cluster init` and stopped; its catalogue gets N calls (10,000,000), each (or one in so
many) with a sealed segment and a copy, through apply (bench-fill). --from takes the calls from what `bench-search --calls N --keep` has left
(DIR/evertape), so that only segments and copies are applied. Then, --runs times warm and as often with the page cache
dropped: kill -9, start, and every 20 ms the questions, by the API's Unix socket: a search for the last 50 of a site,
and a linearizable read. Told: seconds from the start of the process to the first good answer of each, resident memory then and
a minute later, and the CPU of that minute. As root (it drops the page cache). JSON on standard output.
"""
import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "cluster-tests" / "harness"))

from lab.cluster import Cluster, binaries, wait_for  # noqa: E402


def tell(text):
    print(f"restart: {text}", file=sys.stderr, flush=True)


def get(node, path):
    """One GET by the Unix socket: its JSON. OSError or ValueError when there is none, or no 200."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(str(node.socket))
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while part := s.recv(65536):
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise OSError(head.split(b"\r\n")[0].decode())
    if b"chunked" in head.lower():
        whole, rest = b"", body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            whole, rest = whole + rest[:int(size, 16)], rest[int(size, 16) + 2:]
        body = whole
    return json.loads(body)


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def caches_drop():
    subprocess.run(["sync"], check=True)
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def fill(node, calls, every, source):
    program = str(binaries() / "bench-fill")
    live = node.state / "db" / "live-1"
    grafted = []
    if source:
        copy = node.state / "db" / "calls"
        copy.mkdir()
        for file in pathlib.Path(source).iterdir():
            if file.suffix == ".sst":
                os.link(file, copy / file.name)
            elif file.is_file():
                shutil.copy(file, copy / file.name)
        subprocess.run([program, "graft", str(live), str(copy)], check=True)
        shutil.rmtree(live)
        copy.rename(live)
        grafted = ["grafted"]
    shutil.rmtree(node.state / "raft")
    done = subprocess.run([program, str(node.state), node.cluster_address, str(calls), str(every), *grafted], check=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout)


QUESTIONS = {"search": "/v1/recordings?site=prg&limit=50",
             "linearizable": "/v1/recordings?site=prg&limit=1&read=linearizable"}


def run(node, calls, cold, watch):
    node.kill()
    if cold:
        caches_drop()
    begun = time.monotonic()
    with open(node.log, "ab") as log:
        node.process = subprocess.Popen([str(binaries() / "evertaped"), str(node.config)], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, start_new_session=True)
    took, left = {}, dict(QUESTIONS)
    while left:
        for name, path in list(left.items()):
            try:
                answer = get(node, path)
            except (OSError, ValueError):
                continue
            if answer["recordings"] and answer["complete"]:
                took[name] = round(time.monotonic() - begun, 3)
                del left[name]
        if time.monotonic() - begun > 120 or node.process.poll() is not None:
            raise RuntimeError(f"it does not serve: {node.tail()}")
        time.sleep(0.02)
    pid = node.process.pid
    result = {"page_cache": "cold" if cold else "warm", "seconds": took, "resident_bytes": resident(pid),
              "cpu_seconds": cpu_seconds(pid)}
    most = result["resident_bytes"]
    for _ in range(watch):
        time.sleep(1)
        most = max(most, resident(pid))
    result["after"] = {"seconds": watch, "resident_bytes": resident(pid), "most_resident_bytes": most,
                       "cpu_seconds": cpu_seconds(pid)}
    tell(json.dumps(result))
    return result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--calls", type=int, default=10_000_000)
    p.add_argument("--folder", default="/var/tmp/bench-restart")
    p.add_argument("--calls-per-segment", dest="every", type=int, default=1)
    p.add_argument("--from", dest="source")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--watch", type=int, default=60)
    p.add_argument("--keep", action="store_true")
    p.add_argument("--there", action="store_true")
    o = p.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("restart: run it as root")
    cluster = Cluster(o.folder, "restart", net=59)
    node = cluster.add("prg-1", "prg", roles=("voter", "vault", "api"))
    filled = {}
    if o.there:
        node.start()
    else:
        cluster.create()
        node.stop()
        filled = fill(node, o.calls, o.every, o.source)
        tell(json.dumps(filled))
        node.start()
    try:
        wait_for("a leader", lambda: node.status()["leader"], 120)
        runs = [run(node, o.calls, cold, o.watch if i == o.runs - 1 else 0)
                for cold in (False, True) for i in range(o.runs)]
        print(json.dumps({"bench": "restart", "calls": o.calls, "filled": filled, "runs": runs}, indent=1))
    finally:
        node.stop()
        if not o.keep and not o.there:
            cluster.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
