"""No secret and no plaintext media on any disk or in any log.

Promise (issue 2, must show 8): a test that searches for known payload, key bytes and tokens. What is searched for is
what this scenario itself put in or was shown: 32 bytes out of every second of every party's sound, the node roots, the
join token, the first API token, the escrow shares; each raw, in hexadecimal and in base64.
"""
import base64
import pathlib
import subprocess
import sys

from story import check, export_exact, run, wait_committed


def forms(secret):
    """How bytes may lie in a file."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for lead in range(3):  # base64 inside a longer text begins at any of three places
        text = base64.b64encode(b"\0" * lead + secret)
        cut = (lead * 8 + 5) // 6
        core = text[cut:-4]
        if len(core) >= 12:
            yield core
            yield core.replace(b"+", b"-").replace(b"/", b"_")


def strings_in(value):
    """Every long string inside what the CLI answered."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, str) and len(value) >= 24:
        yield value


def search(folder, needles, exempt):
    """(file, name of the needle) for every hit under `folder`."""
    hits = []
    files = 0
    size = 0
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if not path.is_file() or path in exempt:
            continue
        data = path.read_bytes()
        files += 1
        size += len(data)
        hits += [(path, name) for name, needle in needles if needle in data]
    return hits, files, size


def tell(s):
    cluster = s.make_cluster()
    prg = cluster.node("prg-1")
    calls = s.place(["prg-1", "prg-2", "brq-1"], 6)
    s.hang_up(calls)
    wait_committed(prg, calls, ["prg", "brq"])
    samples = export_exact(s, cluster.node("brq-1"), calls[:1], "brq")
    s.say(f"three calls recorded and copied; one of them was heard ({samples} samples)")
    done = prg.cli_raw("node", "token", "--site", "prg", "--role", "standby", "--reason", "scenario", "-o", "json")
    check(done.returncode == 0, done.stderr.decode())
    import json
    token = json.loads(done.stdout)["token"]

    needles = []
    for call in calls:
        for side, sound in call.sound.items():
            for at in range(800, len(sound) - 8000, 8000):
                needles.append((f"sound of {call.caller}, {side}, byte {at}", sound[at:at + 32]))
    exempt = set()
    for node in cluster.nodes:
        root = node.folder / "root.key"
        exempt.add(root)
        check(root.stat().st_mode & 0o777 == 0o400, f"{root} has mode {root.stat().st_mode & 0o777:o}")
        secret = root.read_bytes()
        for form in forms(secret[:32]):
            needles.append((f"root of {node.name}", form))
    answer = cluster.init_answer
    shown = [x for key in ("escrow_shares", "token", "admin_token", "api_token") for x in strings_in(answer.get(key, []))]
    check(len(shown) >= 5, f"cluster init showed {sorted(answer)}: where are the shares and the token?")
    for secret in [*shown, token]:
        body = secret.rsplit("-", 1)[-1].rsplit(".", 1)[-1]
        needles.append(("token or share", secret.encode()))
        if len(body) >= 24:
            needles.append(("token or share, its secret part", body.encode()))

    live, files, size = search(cluster.folder, needles, exempt)
    check(not live, f"found while running: {live[:5]}")
    for node in cluster.nodes:
        check(node.stop() == 0, f"{node.name} did not end well")
    hits, files, size = search(cluster.folder, needles, exempt)
    check(not hits, f"found after the end: {hits[:5]}")
    control, _files, _size = search(s.folder / "calls", needles, set())
    check(control, "the search does not even find the sound in the files that were sent")
    s.say(f"{len(needles)} needles, {files} files, {size} bytes (state, media, journal, logs, before and after the end): "
          "0 hits; in the files that were sent, the same search finds them")
    done = subprocess.run(["find", str(cluster.folder), "-perm", "/077", "-path", "*/identity/*"], capture_output=True,
                          check=True)
    check(not done.stdout, f"others may read: {done.stdout.decode()}")


if __name__ == "__main__":
    sys.exit(run("no secrets on any disk or in any log", tell))
