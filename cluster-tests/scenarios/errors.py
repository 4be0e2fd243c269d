"""What goes wrong is said: where, why and what to do next; nothing is lost and nothing crashes.

Promise (issue 2, must show 7): unknown or duplicate keys in config and policy, wrong key-file modes, a wrong or used-up
join token, a certificate of another CA or another member, a full disk, a capture file cut in the middle.
"""
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys

from story import binaries, by_caller, check, export_exact, run, wait_committed, wait_for


def tool(*args, **more):
    return subprocess.run([str(binaries() / "evertape"), *args], capture_output=True, timeout=60, check=False, **more)


def expect(done, codes, *patterns, what):
    """It failed as it should, and its message says all of this."""
    text = done.stderr.decode() + done.stdout.decode()
    check(done.returncode in codes, f"{what}: exit {done.returncode}, want {codes}: {text}")
    for pattern in patterns:
        check(re.search(pattern, text), f"{what}: its message does not match /{pattern}/: {text}")
    return text


# -- Files that a person writes --------------------------------------------------------------------------------

def bad_files(s, node):
    good = node.config.read_text()
    bad = s.folder / "bad.yaml"
    cases = [
        ("an unknown key", good.replace("listen:", "lissten:"), r"bad\.yaml:3:1: .*lissten", r"listen"),
        ("a key twice", good + "cluster: other\n", r"bad\.yaml:\d+:1: .*(duplicate|twice|already)", r"cluster"),
        ("a wrong unit", good.replace("8MiB", "5 bananas"), r"bad\.yaml:\d+:\d+: ", r"disk-reserve|bananas"),
    ]
    for what, text, *patterns in cases:
        bad.write_text(text)
        expect(tool("config", "check", str(bad)), (1, 2), *patterns, what=f"config check of {what}")
        done = subprocess.run([str(binaries() / "evertaped"), str(bad)], capture_output=True, timeout=20, check=False)
        expect(done, (1, 2, 78), patterns[0], what=f"evertaped with {what}")
    policies = [
        ("an unknown key", "targets:\n  cold: {type: dir, path: /srv/x}\nrules:\n  - {name: all, tow: cold}\n",
         r"policy\.yaml:4:\d+: .*tow", r"\bto\b"),
        ("a target that is not there", "targets:\n  cold: {type: dir, path: /srv/x}\nrules:\n  - {name: a, to: hot}\n",
         r"policy\.yaml:4:\d+: .*hot"),
        ("a key twice", "targets:\n  cold: {type: dir, path: /srv/x}\n  cold: {type: dir, path: /srv/y}\n"
         "rules:\n  - {name: a, to: cold}\n", r"policy\.yaml:3:\d+: .*cold"),
    ]
    path = s.folder / "policy.yaml"
    for what, text, *patterns in policies:
        path.write_text(text)
        expect(tool("archive", "policy", "validate", str(path)), (1, 2), *patterns, what=f"policy with {what}")
        done = node.cli_raw("archive", "policy", "apply", str(path), "--reason", "scenario")
        expect(done, (1, 2), patterns[0], what=f"applying a policy with {what}")
    s.say(f"{len(cases)} broken configurations and {len(policies)} broken policies: each refused with file, line and word")


def key_modes(s, node):
    check(node.stop() == 0, f"{node.name} did not end well")
    root = node.folder / "root.key"
    mode = root.stat().st_mode & 0o777
    root.chmod(0o644)
    done = subprocess.run([str(binaries() / "evertaped"), str(node.config)], capture_output=True, timeout=20, check=False)
    expect(done, range(1, 128), re.escape(str(root)), r"chmod|mode|other users", what="a key that others may read")
    root.chmod(mode)
    secret = root.read_bytes()
    root.chmod(0o600)
    root.write_bytes(bytes(b ^ 1 for b in secret))
    root.chmod(mode)
    done = subprocess.run([str(binaries() / "evertaped"), str(node.config)], capture_output=True, timeout=20, check=False)
    expect(done, range(1, 128), r"root|key|identity", what="a wrong root key")
    root.chmod(0o600)
    root.write_bytes(secret)
    root.chmod(mode)
    node.start()
    s.say("a root key that others may read, and a wrong one: the node refuses to start and says why; with the right one "
          "it starts as if nothing had been")


# -- Strangers -----------------------------------------------------------------------------------------------------

def tokens(s, cluster):
    first = cluster.nodes[0]
    answer = first.cli("node", "token", "--site", "ova", "--role", "standby", "--role", "capture", "--uses", "1", "--reason", "scenario")
    late, spare = cluster.add("ova-1", "ova", roles=("standby", "capture")), cluster.add("ova-2", "ova", roles=("standby", "capture"))
    for node in (late, spare):
        node.write_config()
        node.start()
    done = late.cli_raw("node", "join", "-", first.cluster_address, input=b"evertape-join-of-nothing")
    expect(done, (1, 2, 4, 5), r"token", what="a token that is none")
    token = answer["token"]
    turned = token[:-6] + ("aaaaaa" if token[-6:] != "aaaaaa" else "bbbbbb")
    done = late.cli_raw("node", "join", "-", first.cluster_address, input=turned.encode())
    expect(done, (1, 2, 4, 5), r"token|refused|signature|denied", what="a token that was changed")
    late.cli("node", "join", "-", first.cluster_address, input=token.encode())
    done = spare.cli_raw("node", "join", "-", first.cluster_address, input=token.encode())
    text = expect(done, (1, 4, 5, 8), r"token|use", what="a token that is used up")
    s.say("no token, a changed token, a used-up token: refused; the last one says: " + text.strip().splitlines()[0])
    check(spare.stop() == 0 and late.stop() == 0, "a stranger did not end well")


def strangers(s, cluster):
    """A certificate of another CA, with all the right words in it; and none at all."""
    node = cluster.nodes[0]
    folder = s.folder / "stranger"
    folder.mkdir()
    name = f"URI:spiffe://{cluster.name}/site/prg/node/2"

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out",
            "ca.pem", "-days", "1", "-subj", "/CN=other")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "leaf.key", "-out",
            "leaf.csr", "-subj", "/CN=2")
    (folder / "ext").write_text(f"subjectAltName={name}\nextendedKeyUsage=clientAuth,serverAuth\n")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
            "-extfile", "ext", "-out", "leaf.pem")
    refused = 0
    for alpn in ("evertape-raft/1", "evertape-rpc/1", "evertape-sync/1"):
        for with_certificate in (True, False):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols([alpn])
            if with_certificate:
                context.load_cert_chain(folder / "leaf.pem", folder / "leaf.key")
            try:
                with socket.create_connection((node.address, cluster.port), timeout=5) as raw:
                    with context.wrap_socket(raw) as tls:
                        tls.settimeout(5)
                        # In TLS 1.3 the refusal comes after the client has finished.
                        answer = tls.recv(1)
                        check(answer != b"\x01" or tls.recv(1) == b"", f"{alpn}: a stranger was welcomed")
                        refused += 1
            except (ssl.SSLError, ConnectionError):
                refused += 1
    check(refused == 6, f"{refused} of 6 strangers were refused")
    wait_for("the log to tell of the stranger", lambda: "tls.refused" in node.log.read_text(), 10)
    s.say("six strangers (another CA's certificate for node 2, and none at all): refused, and logged with their address")


def stolen_identity(s, cluster):
    """Another member's identity, copied to a machine with another root, opens nothing."""
    thief, victim = cluster.node("brq-1"), cluster.node("prg-2")
    check(thief.stop() == 0, "brq-1 did not end well")
    own, kept = thief.state / "identity", s.folder / "kept"
    shutil.move(own, kept)
    shutil.copytree(victim.state / "identity", own)
    done = subprocess.run([str(binaries() / "evertaped"), str(thief.config)], capture_output=True, timeout=20, check=False)
    expect(done, range(1, 128), r"identity|root", what="the identity of another member")
    shutil.rmtree(own)
    shutil.move(kept, own)
    thief.start()
    s.say("another member's identity folder under this node's root: refused at start")


# -- Disks and files -------------------------------------------------------------------------------------------------

def fill(path, leave):
    """A file that leaves `leave` bytes free."""
    stat = os.statvfs(path.parent)
    size = stat.f_bavail * stat.f_frsize - leave
    if size > 0:
        with open(path, "ab") as file:
            os.posix_fallocate(file.fileno(), path.stat().st_size, size)


def full_disk(s, cluster):
    node = cluster.node("brq-1")
    first = s.place(["brq-1"], 3)
    s.hang_up(first)
    wait_committed(cluster.nodes[0], first, ["prg", "brq"])
    filler = node.media / "filler"
    fill(filler, 6 << 20)  # below the reserve of 8 MiB; the recorder looks once a second

    def refuses():
        s.hang_up(s.place(["brq-1"], 1))
        return any(c["code"] == "CALLS_REFUSED" for c in node.status()["codes"])
    wait_for("a call to be refused, and told", refuses, 20)
    check(s.calls[-1].caller not in by_caller(node), "a call was recorded below the reserve")

    filler.unlink()
    live = []

    def accepts():
        live[:] = s.place(["brq-1"], 10)
        wait_for("the call to be live", lambda: live[0].caller in by_caller(node), 3, every=0.1)
        return True
    wait_for("a call to be recorded again", accepts, 20)
    fill(filler, 0)  # and now nothing at all is left
    s.hang_up(live)
    check(node.is_running(), f"brq-1 died of a full disk:\n{node.tail()}")
    filler.unlink()
    wait_for("a call to be recorded after that", accepts, 30)
    after = list(live)
    s.hang_up(after)
    wait_committed(cluster.nodes[0], after, ["prg", "brq"])
    export_exact(s, cluster.nodes[0], first + after, "full-disk")
    s.say("a full disk: new calls are refused and counted, a live one does not bring the node down, and with room again "
          "the next is recorded; what was there before is whole")


def small_disk(s, node):
    """Its media folder on a file system of 48 MiB."""
    node.media.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "evertape-scenario", str(node.media)],
                          capture_output=True, check=False)
    if done.returncode != 0:
        return False
    s.outside.append(lambda: subprocess.run(["umount", "-l", str(node.media)], check=False))
    return True


def cut_file(s):
    gencalls = binaries() / "gencalls"
    whole, cut = s.folder / "whole.pcap", s.folder / "cut.pcap"
    subprocess.run([str(gencalls), str(whole), "4", "5"], check=True, capture_output=True)
    data = whole.read_bytes()
    cut.write_bytes(data[:len(data) * 2 // 3 + 7])
    good = tool("capture", "replay", str(whole), "-o", "json")
    check(good.returncode == 0, f"replay of a whole file: exit {good.returncode}: {good.stderr.decode()}")
    done = tool("capture", "replay", str(cut), "-o", "json")
    text = expect(done, (6,), r"cut\.pcap", what="a capture file cut in the middle")
    report = json.loads(done.stdout)
    packets = report["packets"]
    total = packets["sip"] + packets["rtp"] + packets["rtcp"] + packets["other"] + sum(packets["unclaimed"].values())
    check(packets["total"] == total > 0, f"packets do not add up: {packets}")
    check(report["errors"], f"it states no error: {text[:300]}")
    s.say(f"a capture file cut in the middle: exit 6, {packets['total']} packets of {len(report['calls'])} calls all "
          f"accounted for, and the error: {report['errors'][0]}")


def tell(s):
    from story import Cluster, free_net  # the cluster is made here: one node has a small disk
    s.cluster = Cluster(s.folder / "cluster", name="scenario", net=free_net())
    for name, site in (("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq")):
        phones = free_net(socket.SOCK_DGRAM, 5060)
        while any(getattr(n, "phones", None) == phones for n in s.cluster.nodes) or phones == s.cluster.net:
            phones = free_net(socket.SOCK_DGRAM, 5060)
        node = s.cluster.add(name, site, capture_filter=f"net 127.{phones}.0.0/16",
                             extra="limits: {disk-reserve: 8MiB}\n")
        node.phones, node.rows = phones, 0
    has_small_disk = small_disk(s, s.cluster.node("brq-1"))
    s.cluster.create()
    s.say("three nodes are up; brq-1 has a disk of 48 MiB" if has_small_disk else "three nodes are up")
    cut_file(s)
    bad_files(s, s.cluster.nodes[0])
    strangers(s, s.cluster)
    if has_small_disk:
        full_disk(s, s.cluster)
    else:
        print("SKIPPED in part: no tmpfs can be mounted here, so no disk was filled", flush=True)
    key_modes(s, s.cluster.node("prg-2"))
    stolen_identity(s, s.cluster)
    tokens(s, s.cluster)


if __name__ == "__main__":
    sys.exit(run("errors are told", tell, "openssl"))
