"""Somebody wrote another key into the file that says what a node seals to.

Promise (decision 0113): a node seals to keys of its cluster's CA, and to nothing else. One that is cut off records on under the
newest version of its own catalogue, says SEALING_UNTRUSTED, and writes the file anew when it hears from a majority. One with a locked
root has no other key, and ends with that reason. A file of an earlier build is not believed either, and is written anew.
"""
import struct
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from story import check, export_exact, run, wait_committed, wait_for
from roots import change, put

PASSPHRASE = "correct horse battery staple"


def sealing(node):
    return node.state / "keys" / "sealing"


def version_of(data):
    return struct.unpack(">I", data[:4])[0]


def forged(data, signed):
    """Version 7 with a key whose secret the forger has; with the old signature, or cut off as earlier builds wrote it."""
    public = X25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return struct.pack(">I", 7) + data[4:8] + public + data[40:44] + (data[44:] if signed else b"")


def codes(node):
    return {c["code"] for c in node.status()["codes"]}


def said(node, text):
    return text in node.log.read_text(errors="replace")


def cut_off(s, cluster, node, signed):
    good = sealing(node).read_bytes()
    check(node.stop() == 0, f"{node.name} did not end well")
    sealing(node).write_bytes(forged(good, signed))
    cluster.cut("brq")
    mark = node.log.stat().st_size
    node.start()
    wait_for(f"{node.name} to record", lambda: b"capture.started" in node.log.read_bytes()[mark:], 20)
    calls = s.place([node.name], 3)
    s.hang_up(calls)
    log = node.log.read_bytes()[mark:].decode(errors="replace")
    check("keys.sealing" in log and "ET_EUNTRUSTED" in log, f"it does not say so:\n{node.tail()}")
    check("capture.started sources=1 siprec=0 kek=1" in log, f"it does not record under version 1:\n{node.tail()}")
    return calls


def locked(s, node, data, words):
    """The node does not record, and says why."""
    check(node.stop() == 0, f"{node.name} did not end well")
    good = sealing(node).read_bytes()
    sealing(node).write_bytes(data(good))
    put(s.folder / "pass", "correct horse battery stable")
    mark = node.log.stat().st_size
    try:
        node.start()
        raise AssertionError(f"{node.name} runs with a key of nobody's")
    except RuntimeError as error:
        log = node.log.read_bytes()[mark:].decode(errors="replace")
        check(words in log and "passphrase is wrong" in log, f"{words} is not said: {error}")
    sealing(node).write_bytes(good)
    node.start()
    wait_for("the root to be locked, and calls recorded", lambda: "ROOT_LOCKED" in codes(node) and said(node, "capture.locked"), 20)
    check(node.stop() == 0, f"{node.name} did not end well")
    put(s.folder / "pass", PASSPHRASE)
    node.start()


def tell(s):
    cluster = s.make_cluster((("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq", ("standby", "capture", "api"))))
    first, _second, node = cluster.nodes
    wait_for("brq-1 to have said what it seals to", lambda: sealing(node).exists() and version_of(sealing(node).read_bytes()) == 1, 20)
    check(len(sealing(node).read_bytes()) > 100, "the file has no signature")
    calls = []
    for signed in (True, False):
        calls += cut_off(s, cluster, node, signed)
        cluster.heal()
        wait_committed(first, calls, ["prg", "brq"], 60)
        wait_for("the file to be written anew", lambda: version_of(sealing(node).read_bytes()) == 1 and
                 "SEALING_UNTRUSTED" not in codes(node), 30)
        export_exact(s, first, calls, f"signed-{signed}")
        s.say(f"a forged key {'with another signature' if signed else 'and no signature'}: cut off, it recorded under version 1 of its own "
              "catalogue; the call plays; the file is the cluster's again")

    # Another CA signs the version: the file follows.
    before = sealing(node).read_bytes()
    first.cli("cert", "rotate-ca", "--reason", "CHG-1", "--wait", timeout=120)
    after = wait_for("the file to have the new signature", lambda: (d := sealing(node).read_bytes()) != before and d, 30)
    check(after[:44] == before[:44], "another key")
    check(node.stop() == 0, f"{node.name} did not end well")
    mark = node.log.stat().st_size
    node.start()
    wait_for("brq-1 to record", lambda: b"capture.started" in node.log.read_bytes()[mark:], 20)
    check(b"keys.sealing" not in node.log.read_bytes()[mark:], "the file is not believed after the rotation of the CA")
    s.say("another CA: the file is signed anew, and believed after a restart")

    put(s.folder / "pass", PASSPHRASE)
    change(node, f"passphrase:file:{s.folder}/pass", "--memory", "8MiB", "--passes", "1")
    locked(s, node, lambda d: forged(d, True), "no CA of this cluster has signed")
    locked(s, node, lambda d: d[:44], "has no signature of the cluster")
    s.say("with a locked root there is no other key: it does not record under a forged or unsigned one, and says why; with the file as it "
          "was, it does")


if __name__ == "__main__":
    sys.exit(run("sealed to", tell))
