"""A member that is no vault and has no key of the CA puts a KEK version of its own into the catalogue, as the active one.

Promise (DESIGN 6, decision 0119): nothing is ever sealed to a version that no CA of the cluster has signed. Recorders go on under
the last one that is signed, also one that starts meanwhile; they say KEK_UNTRUSTED; vault nodes make another version by themselves.
"""
import os
import shutil
import ssl
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from story import check, export_exact, run, wait_committed, wait_for
from lab.forge import connect, private_key, secrets_of
from lab.thief import field, propose


def own_pem(folder, node):
    """The member's certificate, as its port shows it, and its key, as its disk has it."""
    image = folder / "image"
    shutil.copytree(node.state, image, ignore=shutil.ignore_patterns("*.sock"))
    keys = dict(secrets_of(node.folder / "root.key", image))
    with connect("127.9.250.1", node.cluster_address, None, "evertape-join/1") as tls:
        shown = ssl.DER_cert_to_PEM_cert(tls.getpeercert(True))
    path = folder / "member.pem"
    path.write_bytes(shown.encode() + private_key(keys["tls"]).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


def kek_of_its_own(version, vaults):
    """KekAdd: active, signed by a CA of its own, with something that looks like grants for the vault nodes."""
    public = X25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    signed = (b"evertape kek" + version.to_bytes(4, "big") + public).ljust(48, b"\0")
    signature = ec.generate_private_key(ec.SECP256R1()).sign(signed, ec.ECDSA(ec.hashes.SHA256()))
    kek = field(1, version) + field(2, public) + field(3, signature) + field(4, 1)
    grants = b"".join(field(2, field(1, f"kek:{version}") + field(2, v.number) + field(3, os.urandom(32)) + field(4, os.urandom(48)) +
                            field(5, os.urandom(32))) for v in vaults)
    return field(27, field(1, kek) + grants)


def codes(node):
    return {c["code"] for c in node.status()["codes"]}


def versions_of(node, calls):
    """KEK versions that the recordings of these calls are sealed to."""
    mine = {c.id for c in calls}
    found = [node.recording(r["id"]) for r in node.recordings() if r["id"] in mine]
    return {g["kek_version"] for r in found for g in r["segments"]}


def tell(s):
    cluster = s.make_cluster((("prg-1", "prg"), ("prg-2", "prg"), ("prg-3", "prg", ("voter", "api")),
                              ("brq-1", "brq", ("standby", "capture", "api"))))
    first, second, _third, recorder = cluster.nodes
    before = s.place(["brq-1", "prg-1"], 2)
    s.hang_up(before)
    wait_committed(first, before, ["prg", "brq"], 60)
    pem = own_pem(s.folder, recorder)
    second.kill()  # a version is made without its vault node's key after 20 s only: so long the foreign one stays active
    leader = wait_for("a leader", lambda: (n := cluster.leader()) and n is not second and n, 30)
    mark = recorder.log.stat().st_size
    propose("127.9.250.1", leader, pem, first.number, "rotation", kek_of_its_own(2, [first, second]))
    wait_for("it to be active", lambda: first.cli("key", "status")["active"] == 2, 20)
    for node in (first, recorder):
        wait_for(f"{node.name} to say so", lambda n=node: "KEK_UNTRUSTED" in codes(n), 20)
    check(b"keys.untrusted kek=2" in recorder.log.read_bytes()[mark:] and b"seals-to=1" in recorder.log.read_bytes()[mark:],
          f"its log does not say so:\n{recorder.tail()}")
    during = s.place(["brq-1", "prg-1"], 2)
    s.hang_up(during)
    check(recorder.stop() == 0, "an orderly stop")
    mark = recorder.log.stat().st_size
    recorder.start()
    wait_for("it to record", lambda: b"capture.started" in recorder.log.read_bytes()[mark:], 20)
    check(b"capture.started sources=1 siprec=0 kek=1" in recorder.log.read_bytes()[mark:], f"under another version:\n{recorder.tail()}")
    during += s.place(["brq-1"], 2)
    s.hang_up(during[-1:])
    refused = first.cli_raw("key", "escrow", "--escrow", "2/3")
    check(refused.returncode != 0 and b"not signed" in refused.stderr, f"shares of it: {refused}")
    check(first.cli("key", "status")["active"] == 2, "the foreign version was replaced too early for this to say anything")
    s.say("version 2 is a recorder's own, and active: nobody seals to it. Recorders went on under version 1, one over a restart")

    second.start()
    wait_for("version 3 to be active", lambda: first.cli("key", "status")["active"] == 3, 60)
    for node in (first, recorder):
        wait_for(f"{node.name} to be content", lambda n=node: "KEK_UNTRUSTED" not in codes(n), 20)
    after = s.place(["brq-1", "prg-2"], 2)
    s.hang_up(after)
    wait_committed(first, before + during + after, ["prg", "brq"], 60)
    wait_for("all keys to be on version 3", lambda: versions_of(first, before + during + after) == {3}, 60)
    export_exact(s, first, before + during + after, "after")
    s.say(f"vault nodes made version 3 by themselves; {len(before + during + after)} recordings are sealed to it, and play")


if __name__ == "__main__":
    sys.exit(run("foreign kek", tell))
