"""Tapes of a running cluster, read by the second reader (cluster-tests/reader/evtm.py): without a key, and opened.

The keys come the way that a custodian has when all vault nodes are lost: a node's root and state, and three escrow shares
(`labkeys`, a program of the tests: cluster-tests/harness/keys)."""
import shutil
import subprocess
import sys

from .cluster import TOP, binaries

sys.path.insert(0, str(TOP / "cluster-tests" / "reader"))
import evtm  # noqa: E402

def deks(node, shares, folder):
    """Every DEK that the node's root, its state and the shares open. The node is stopped and started again: what it holds in
    memory only is on its disk then."""
    copy = folder / "database"
    node.stop()
    try:
        shutil.copytree(node.state / "db" / (node.state / "db" / "CURRENT").read_text().strip(), copy)
        node.start()
        done = subprocess.run([str(binaries() / "labkeys"), str(node.folder / "root.key"), str(node.state), str(copy)],
                              input="\n".join(shares).encode(), capture_output=True, check=False)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    if done.returncode != 0:
        raise ValueError(f"labkeys of {node.name}: {done.stderr.decode()}")
    return [bytes.fromhex(value) for name, value in (line.split() for line in done.stdout.decode().splitlines())
            if name == "dek"]


def of(cluster):
    """[(node, path)] of all tapes on the nodes' disks."""
    return [(n, path) for n in cluster.nodes for path in sorted((n.media / "tapes").rglob("*.evtm"))]


def verify(path):
    """Without a key; the header, or evtm.Bad."""
    return evtm.verify(path.read_bytes())[0]


def streams(path, keys):
    """{(party, SSRC): the payload by sequence number}, opened with the one of `keys` that the header commits to."""
    data = path.read_bytes()
    header = evtm.Header(data)
    key = next((k for k in keys if evtm.hkdf(k, header.salt, b"evtm/1 commit") == header.commitment), None)
    if key is None:
        raise ValueError(f"{path.name}: none of {len(keys)} DEKs is its own")
    described, found = {}, {}
    for record, plain in evtm.opened(data, key):
        if record.kind == evtm.META:
            described.update({i["stream"]: i for i in evtm.meta(plain) if i["item"] == "stream"})
        for p in evtm.media(plain) if record.kind == evtm.MEDIA else ():
            if not p.get("rtcp"):
                of_stream = described[p["stream"]]
                found.setdefault((of_stream["party"], of_stream["ssrc"]), {})[p["seq"]] = p["payload"]
    return found


def payload(packets):
    """The payloads of one stream in order, over a wrap of the numbers; ValueError when one is missing."""
    first = min(packets, key=lambda n: ((n - next(iter(packets)) + 2**15) % 2**16))
    numbers = [(first + i) % 2**16 for i in range(len(packets))]
    if set(numbers) != set(packets):
        raise ValueError("there is a packet missing")
    return b"".join(packets[n] for n in numbers)
