"""Where node roots are kept, and what happens when one does not open.

Promise (issue 4, node root providers): the root of a running node moves under a passphrase and onto a token (SoftHSM2)
without a pause; after a restart all is as before. A wrong passphrase or a token that is not there is named, with the next
command; the node records on all the same, does nothing else, and destroys nothing: the calls of that time are the
cluster's, sample for sample, after a start that opens the root. No passphrase and no PIN is in an argument, in the
environment, in a log or in the state folder.
"""
import os
import pathlib
import subprocess
import sys

from story import audio, binaries, check, export_exact, files_below, read_if_there, run, skip, wait_committed, wait_for  # noqa: F401

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
PASSPHRASE, PIN = "correct horse battery staple", "48151623"


def put(path, text):
    path.unlink(missing_ok=True)
    path.touch(mode=0o400)
    path.chmod(0o600)
    path.write_text(text + "\n")
    path.chmod(0o400)


def change(node, *args):
    done = subprocess.run([str(binaries() / "evertape"), "key", "root", "change", "--config", str(node.config), *args],
                          capture_output=True, check=False, timeout=60)
    check(done.returncode == 0, f"key root change: exit {done.returncode}: {done.stderr.decode()}")
    return done.stderr.decode()


def codes(node):
    return {c["code"]: c for c in node.status()["codes"]}


def restart(node):
    check(node.stop() == 0, f"{node.name} did not end well:\n{node.tail()}")
    node.start()


def locked(s, node, name, why):
    """Start a node whose root does not open; a call that it records then."""
    check(node.stop() == 0, f"{node.name} did not end well:\n{node.tail()}")
    before = {p for p in node.media.rglob("*.evtm")}
    node.start()
    wait_for(f"{node.name} to say that its root does not open", lambda: "ROOT_LOCKED" in codes(node), 20)
    code = codes(node)["ROOT_LOCKED"]
    check(why in code["detail"] and code["next"], f"{code}")
    done = node.cli_raw("recording", "list")
    check(done.returncode != 0 and why.encode() in done.stderr, f"recording list: {done.returncode}: {done.stderr}")
    done = node.cli_raw("cluster", "init")
    check(done.returncode != 0, "a locked member makes another cluster")
    calls = s.place([name], 4)
    wait_for("the call to be on tape", lambda: any(p.stat().st_size > 16384 for p in set(node.media.rglob("*.evtm")) - before),
             20)
    s.hang_up(calls)
    new = set(node.media.rglob("*.evtm")) - before
    check(before <= set(node.media.rglob("*.evtm")), "a tape of before is gone")
    check(len(new) == 1, f"{len(new)} tapes")
    return calls


def no_secret(s, nodes):
    """Where a passphrase or a PIN must not be."""
    for node in nodes:
        proc = pathlib.Path(f"/proc/{node.process.pid}")
        places = [proc / "cmdline", proc / "environ", node.log, node.config,
                  *(p for p in files_below(node.state) if p.is_file() and p.name != "reserve")]
        for path in places:
            data = read_if_there(path)
            for secret in (PASSPHRASE, PIN):
                check(secret.encode() not in data, f"a passphrase or PIN is in {path}")


def tell(s):
    if not os.path.exists(SOFTHSM):
        skip("needs softhsm2: run ops/packages test")
    tokens = s.folder / "tokens"
    tokens.mkdir()
    (s.folder / "softhsm.conf").write_text(f"directories.tokendir = {tokens}\n")
    os.environ["SOFTHSM2_CONF"] = str(s.folder / "softhsm.conf")
    subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "hsm one", "--pin", PIN, "--so-pin", "12345678"],
                   check=True, stdout=subprocess.DEVNULL)
    secrets = s.folder / "secrets"
    secrets.mkdir(mode=0o700)
    put(secrets / "pass", PASSPHRASE)
    put(secrets / "pin", PIN)

    cluster = s.make_cluster((("prg-1", "prg"), ("cap-1", "prg", ("standby", "capture", "api"))))
    vault, capture = cluster.nodes
    check("ROOT_ON_DISK" in codes(vault), "a root in a file is not told")
    calls = s.place(["prg-1", "cap-1"], 6)
    told = change(capture, f"passphrase:file:{secrets}/pass", "--memory", "8MiB", "--passes", "1")
    check("may remain" in told and not (capture.folder / "root.key").exists(), told)
    change(vault, f"pkcs11:token=hsm%20one;object=evertape-root?module-path={SOFTHSM}&pin-source=file:{secrets}/pin")
    check(not (vault.folder / "root.key").exists(), "the old root file is still there")
    s.hang_up(calls)
    wait_committed(vault, calls, ["prg"])
    s.say("both roots moved in the midst of two calls: under a passphrase, and onto a token; the calls were recorded")

    for node in cluster.nodes:
        restart(node)
    wait_for("a leader", lambda: vault.status()["leader"])
    wait_for("no root on a disk", lambda: "ROOT_ON_DISK" not in codes(vault), 20)
    for node in cluster.nodes:
        export_exact(s, node, calls, f"after-{node.name}")
    no_secret(s, cluster.nodes)
    s.say("restarted: the passphrase and the token open them; both calls play at both nodes; no secret lies about")

    put(secrets / "pass", "correct horse battery stable")
    blind = locked(s, capture, "cap-1", "the passphrase is wrong")
    s.say("cap-1 with a wrong passphrase: ROOT_LOCKED says why; it recorded a call all the same")
    put(secrets / "pass", PASSPHRASE)
    restart(capture)
    wait_committed(vault, blind, ["prg"])
    export_exact(s, vault, blind, "blind-1")
    s.say("with the right one: that call is the cluster's, sample for sample")

    tokens.rename(s.folder / "away")
    tokens.mkdir()
    blind2 = locked(s, vault, "prg-1", "token 'hsm one' is not there")
    tokens.rmdir()
    (s.folder / "away").rename(tokens)
    s.say("prg-1 without its token: ROOT_LOCKED says which is missing; it recorded a call all the same")
    restart(vault)
    wait_for("a leader", lambda: vault.status()["leader"])
    wait_committed(vault, blind2, ["prg"])
    for node in cluster.nodes:
        export_exact(s, node, calls + blind + blind2, f"end-{node.name}")
    no_secret(s, cluster.nodes)
    s.say("with its token: all four calls play at both nodes, sample for sample")


if __name__ == "__main__":
    sys.exit(run("roots", tell))
