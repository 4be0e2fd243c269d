"""No secret and no plaintext media on any disk, in any log, in any argument or environment.

Promise (issue 2, must show 8). What is searched for is what this scenario sent, was shown, or opened with the keys that
it holds: 64 bytes out of every second of every party's sound (as sent, and as PCM, alone and between the other
party's), the join and API tokens (their text and the secret inside), the escrow shares, the node roots, every private
key, the KEK, every DEK. Each raw, in hexadecimal and in base64, and by halves, so that a line break does not hide it.

Searched is every byte of every file of every node (state with Raft log, catalogue and journals, media with tapes and
caches, logs), and of the archive: in the midst of a call, after the end, and again while recordings are played.
"""
import base64
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile

from story import audio, binaries, by_caller, check, export_exact, files_below, run, wait_committed, wait_for

WINDOW = 64


def is_reserve(path):
    """Room that a node keeps: zeros, which need no search. Every byte is looked at, so that nothing hides in it."""
    if path.name != "reserve" or path.stat().st_size == 0:
        return False
    done = subprocess.run(["cmp", "-n", str(path.stat().st_size), str(path), "/dev/zero"], check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode == 0


class Needles:
    """What must not be found: {bytes: what it is}."""

    def __init__(self):
        self.by_bytes = {}

    def add(self, what, needle):
        check(len(needle) >= 12, f"{what}: {len(needle)} bytes are too few to search for")
        self.by_bytes.setdefault(bytes(needle), what)

    def add_secret(self, what, secret):
        """Raw, hexadecimal and base64 (at any of its three places in a longer text), whole halves of it."""
        half = len(secret) // 2
        for part in (secret[:half], secret[half:]):
            self.add(what, part)
            self.add(f"{what} in hexadecimal", part.hex().encode())
            self.add(f"{what} in hexadecimal", part.hex().upper().encode())
            for lead in range(3):
                text = base64.b64encode(b"\0" * lead + part)
                core = text[(lead * 8 + 5) // 6:(lead + len(part)) * 8 // 6]
                self.add(f"{what} in base64", core)
                self.add(f"{what} in base64", core.replace(b"+", b"-").replace(b"/", b"_"))

    def add_text(self, what, text):
        """A token as it was shown, and the middle of it."""
        self.add(what, text.encode())
        self.add(what, text[len(text) // 3:2 * len(text) // 3].encode())

    def search(self, folders, exempt=()):
        """([(file, what)], files, bytes). `exempt`: {(file, what)}. grep finds the files, all needles at once; it
        cannot take those with a line break."""
        lines = [n for n in self.by_bytes if b"\n" not in n]
        others = [n for n in self.by_bytes if b"\n" in n]
        files = [p for folder in folders for p in files_below(folder)
                 if p.is_file() and not p.is_symlink() and not is_reserve(p)]
        with tempfile.NamedTemporaryFile() as patterns:
            patterns.write(b"\n".join(lines) + b"\n")
            patterns.flush()
            done = subprocess.run(["grep", "-lZUaF", "-f", patterns.name, "--", *map(str, files)], check=False,
                                  capture_output=True, env={**os.environ, "LC_ALL": "C"})
        gone = [x for x in done.stderr.splitlines() if b"No such file" not in x]
        check(done.returncode in (0, 1, 2) and not gone, f"grep: exit {done.returncode}: {done.stderr[:500]!r}")
        marked = {pathlib.Path(os.fsdecode(x)) for x in done.stdout.split(b"\0") if x}
        hits, size = [], 0
        for path in files:
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # a file that came and went while a node runs
            size += len(data)
            for needle in [*others, *(lines if path in marked else [])]:
                what = self.by_bytes[needle]
                if needle in data and (path, what.split(" in ")[0]) not in exempt:
                    hits.append((str(path), what))
        return hits, len(files), size


def add_sound(needles, call):
    """Of each second of each party: bytes of one packet, and the samples they are."""
    for side, sound in call.sound.items():
        for at in range(audio.RATE // 2, int(call.seconds * audio.RATE), audio.RATE):
            at += -at % audio.FRAME + 40  # inside one packet
            payload = sound[at:at + WINDOW]
            needles.add(f"sound of {call.caller}, {side}, byte {at}", payload)
            pcm = b"".join(x.to_bytes(2, "little", signed=True) for x in audio.to_pcm(payload, call.codec))
            needles.add(f"PCM of {call.caller}, {side}, sample {at}", pcm[:WINDOW])
            needles.add(f"PCM of {call.caller}, {side}, sample {at + WINDOW // 2}", pcm[WINDOW:])


def add_wav(needles, path):
    """The samples of an export as they lie in it: both parties by turns."""
    data = path.read_bytes()
    for at in range(8044, len(data) - 8000, 4 * audio.RATE):
        window = data[at:at + WINDOW]
        if len(set(window)) > 16:  # sound, not silence
            needles.add(f"WAV {path.name}, byte {at}", window)


def add_tokens(needles, first):
    """Tokens of both kinds, with the secret that is in them. Returns a join token for one node, and an API token."""
    def unbase64(text):
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    joins = [first.cli("node", "token", "--site", "brq", "--role", "standby", "--reason", "scenario")["token"]
             for _ in range(2)]
    for token in joins:
        needles.add_text("a join token", token)
        needles.add_secret("a join token's seed", unbase64(token.removeprefix("evt1."))[17:49])
    api = first.cli("token", "create", "--name", "scenario", "--role", "admin", "--reason", "scenario")["token"]
    for token in (api, first.cluster.init_answer["token"]):
        needles.add_text("an API token", token)
        needles.add_secret("an API token's secret", unbase64(token.removeprefix("evapi1."))[16:48])
    return joins[0], api


def add_shares(needles, shares):
    check(len(shares) >= 3, f"cluster init showed {len(shares)} escrow shares")
    for share in shares:
        needles.add_text("an escrow share", share)
        plain = share.removeprefix("evs1-").replace("-", "")
        needles.add("an escrow share without dashes", plain[len(plain) // 2:].encode())
        raw = base64.b32decode(plain.upper() + "=" * (-len(plain) % 8))
        needles.add_secret("an escrow share's bytes", raw[-48:-4])


def open_keys(s, needles, cluster):
    """With the roots and the shares, as a custodian would: every private key. Returns {name: how many}."""
    counts = {}
    for node in cluster.nodes:
        copy = s.folder / "database"
        current = (node.state / "db" / "CURRENT").read_text().strip()  # the name of the folder in use
        shutil.copytree(node.state / "db" / current, copy)
        shares = "\n".join(cluster.init_answer["escrow_shares"][:3]) if node is cluster.nodes[0] else ""
        done = subprocess.run([str(binaries() / "labkeys"), str(node.folder / "root.key"), str(node.state), str(copy)],
                              input=shares.encode(), capture_output=True, check=False)
        shutil.rmtree(copy)
        check(done.returncode == 0, f"labkeys of {node.name}: {done.stderr.decode()}")
        for line in done.stdout.decode().splitlines():
            name, value = line.split()
            counts[name] = counts.get(name, 0) + 1
            if name not in ("tls", "ca"):  # PKCS#8: half of it is the same for every key; its number is here too
                what = f"the root of {node.name}" if name == "root" else f"{name} of {node.name}"
                needles.add_secret(what, bytes.fromhex(value))
    for name in ("root", "tls", "ed25519", "x25519"):
        check(counts.get(name) == len(cluster.nodes), f"{counts.get(name)} keys {name}")
    check(counts.get("kek") == 1 and counts.get("ca") == 1 and counts.get("dek", 0) >= 3, f"keys: {counts}")
    return counts


def clean(needles, cluster, archive, when):
    exempt = {(n.folder / "root.key", f"the root of {n.name}") for n in cluster.nodes}
    hits, files, size = needles.search([cluster.folder, archive], exempt)
    check(not hits, f"found {when}: " + "; ".join(f"{what} in {path}" for path, what in hits[:8]))
    return f"{files} files, {size >> 20} MiB"


def archive_all(s, node, calls, archive):
    policy = s.folder / "archive.yaml"
    policy.write_text(f"targets:\n  cold: {{type: dir, path: {archive}}}\nrules:\n  - {{name: all, after: 0s, to: cold}}\n")
    node.cli("archive", "policy", "apply", str(policy), "--reason", "scenario")

    def planned():
        done = node.cli_raw("archive", "plan", "-o", "json")
        return done.returncode == 7 and json.loads(done.stdout)
    plan = wait_for("a plan", planned, 30)
    node.cli("archive", "apply", plan["plan"], "--reason", "scenario", "--yes")
    wait_for("every call to be archived", lambda: all(
        any(c.get("target") and c["state"] == "verified" for c in node.recording(call.id)["copies"]) for call in calls), 60)


def processes(needles, cluster):
    """Neither arguments nor environment hold a secret, and no core would be written."""
    for node in cluster.nodes:
        proc = pathlib.Path(f"/proc/{node.process.pid}")
        for name in ("cmdline", "environ"):
            data = (proc / name).read_bytes()
            for needle, what in needles.by_bytes.items():
                check(needle not in data, f"{what} in /proc/PID/{name} of {node.name}")
        limit = next(x for x in (proc / "limits").read_text().splitlines() if x.startswith("Max core file size"))
        check(limit.split()[4:6] == ["0", "0"], f"{node.name}: {limit}")


def not_dumpable(s):
    """Of a process that is not dumpable the kernel gives /proc/PID to root, whoever runs it (proc(5))."""
    nobody = pwd.getpwnam("nobody")
    base = pathlib.Path(tempfile.mkdtemp(prefix="evertape-", dir="/tmp"))
    s.outside.append(lambda: shutil.rmtree(base, ignore_errors=True))
    os.chown(base, nobody.pw_uid, nobody.pw_gid)
    for name in ("evertaped",):  # the build folder may be closed to others
        shutil.copy2(binaries() / name, base / name)
    config = base / "evertape.yaml"
    config.write_text(f"cluster: scenario\nnode: {{name: own-1, site: own, roles: [standby]}}\n"
                      f'listen: {{cluster: "127.0.0.1:7", api: "127.0.0.1:9"}}\n'
                      f"data: {{state: {base}/state, media: {base}/media, root: file:{base}/root.key}}\n")
    as_nobody = ["setpriv", "--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups"]
    with open(base / "log", "wb") as log:
        daemon = subprocess.Popen([*as_nobody, str(base / "evertaped"), str(config)], stdout=log, stderr=log)
        control = subprocess.Popen([*as_nobody, "sleep", "300"])
    try:
        wait_for("a daemon of nobody's", lambda: (base / "state" / "run" / "api.sock").exists(), 20)
        wait_for("the control", lambda: b"sleep" == pathlib.Path(f"/proc/{control.pid}/cmdline").read_bytes()[:5], 20)

        def owner(process):
            return pathlib.Path(f"/proc/{process.pid}/environ").stat().st_uid
        check(owner(control) == nobody.pw_uid, "the control does not tell dumpable processes apart")
        check(owner(daemon) == 0, "evertaped can be dumped and traced by its own user")
    finally:
        for process in (daemon, control):
            process.terminate()
            process.wait(timeout=30)


def closed_to_others(cluster):
    """No file or folder in state or media is for group or others. Returns how many were looked at."""
    count = 0
    for node in cluster.nodes:
        for top in (node.state, node.media):
            for path in [top, *(pathlib.Path(at) / name for at, folders, names in os.walk(top) for name in (*folders, *names))]:
                try:
                    mode = path.lstat().st_mode & 0o777
                except FileNotFoundError:
                    continue
                check(mode & 0o077 == 0, f"{path} has mode {mode:o}")
                count += 1
        root = node.folder / "root.key"
        check(root.stat().st_mode & 0o777 == 0o400, f"{root} has mode {root.stat().st_mode & 0o777:o}")
    return count


def controls(s, needles, cluster, calls, wav):
    """The search does find: what was sent, an export, and a secret that was put into a file of a node."""
    hits, _files, _size = needles.search([s.folder / "calls"])
    check(len(hits) >= 2 * len(calls), "the search does not find the sound in the files that were sent")
    hits, _files, _size = needles.search([wav.parent])
    check(any(what.startswith("WAV") for _path, what in hits), "the search does not find an export")
    # The two parties' samples alternate there: PCM alone is found in a file of one party.
    mono = s.folder / "mono"
    mono.mkdir()
    call = calls[0]
    (mono / "pcm").write_bytes(b"".join(x.to_bytes(2, "little", signed=True)
                                        for x in audio.to_pcm(call.sound["caller"], call.codec)))
    hits, _files, _size = needles.search([mono])
    check(any(what.startswith("PCM") for _path, what in hits), "the search does not find PCM")
    planted = cluster.nodes[0].media / "cache" / "planted"
    for needle, what in needles.by_bytes.items():
        planted.write_bytes(b"x" * 1001 + needle + b"y" * 100)
        break
    hits, _files, _size = needles.search([cluster.folder])
    check((str(planted), what) in hits, f"the search does not find {what} that was planted")
    everything = b"".join(b"\xfe" * 7 + n for n in needles.by_bytes)
    planted.write_bytes(everything)
    hits, _files, _size = needles.search([planted.parent])
    planted.unlink()
    check({what for _path, what in hits} == set(needles.by_bytes.values()), "the search does not find all that was planted")


def tell(s):
    cluster = s.make_cluster()
    prg, brq = cluster.node("prg-1"), cluster.node("brq-1")
    archive = s.folder / "archive"
    archive.mkdir(mode=0o700)
    needles = Needles()
    for node in cluster.nodes:
        needles.add_secret(f"the root of {node.name}", (node.folder / "root.key").read_bytes())
    join, api = add_tokens(needles, prg)
    add_shares(needles, cluster.init_answer["escrow_shares"])
    late = cluster.add("brq-2", "brq", roles=("standby",))
    late.write_config()
    late.start()
    late.cli("node", "join", "-", prg.cluster_address, input=join.encode())
    needles.add_secret("the root of brq-2", (late.folder / "root.key").read_bytes())

    calls = s.place(["prg-1", "prg-2", "brq-1"], 10)
    for call in calls:
        add_sound(needles, call)
    wait_for("the calls to be on tape", lambda: all(c.caller in by_caller(prg) for c in calls) and all(
        any(p.stat().st_size > 32768 for p in n.media.glob("tapes/**/*.evtm")) for n in cluster.nodes[:3]), 20)
    check(all(p.poll() is None for c in calls for p in c.processes), "the calls ended before the search began")
    live = clean(needles, cluster, archive, "in the midst of the calls")
    processes(needles, cluster)
    s.hang_up(calls)
    wait_committed(prg, calls, ["prg", "brq"])
    s.say(f"{len(needles.by_bytes)} needles in the midst of three calls: {live}, no hit; arguments, environment: none")

    archive_all(s, prg, calls, archive)
    export_exact(s, brq, calls, "exported")
    wav = s.folder / "export" / "exported" / f"{calls[0].id}.wav"
    add_wav(needles, wav)
    ca, token = s.folder / "ca.pem", s.folder / "api-token"
    ca.write_text(prg.cli("cluster", "show")["ca_pem"])
    token.touch(mode=0o600)
    token.write_text(api + "\n")
    done = subprocess.run([str(binaries() / "evertape"), "--node", prg.api_address, "--token-file", str(token),
                           "--cluster-ca", str(ca), "recording", "show", calls[0].id], capture_output=True, check=False)
    check(done.returncode == 0, f"over HTTPS with the token: {done.stderr.decode()}")
    looked = closed_to_others(cluster)
    s.say(f"archived, exported at the other site, asked over HTTPS; {looked} files and folders, none for group or others")

    for node in cluster.nodes:
        check(node.stop() == 0, f"{node.name} did not end well:\n{node.tail()}")
    counts = open_keys(s, needles, cluster)
    told = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    ended = clean(needles, cluster, archive, "after the end")
    s.say(f"opened with roots and shares: {told}; {len(needles.by_bytes)} needles after the end: {ended}, no hit")
    controls(s, needles, cluster, calls, wav)
    s.say("and the search does find: what was sent, an export, every needle that is planted in a node's folder")

    for node in cluster.nodes:
        node.start()
    wait_for("a leader", lambda: prg.status()["leader"])
    for node in (prg, brq):
        export_exact(s, node, calls, f"again-{node.name}")
    processes(needles, cluster)
    again = clean(needles, cluster, archive, "while recordings are played")
    closed_to_others(cluster)
    not_dumpable(s)
    s.say(f"started and played again: {again}, no hit; no core file, and no trace by the daemon's own user")
    for node in cluster.nodes:
        check(node.stop() == 0, f"{node.name} did not end well:\n{node.tail()}")


if __name__ == "__main__":
    sys.exit(run("no secrets on any disk or in any log", tell, "setpriv"))
