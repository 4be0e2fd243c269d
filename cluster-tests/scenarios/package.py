"""The Debian package: built, checked by lintian, installed on a fresh Debian, started by a real systemd with its sandbox,
upgraded, removed, purged."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

from lab.machine import CannotBuild, Image, Machine, missing  # noqa: E402
from lab.package import TOP, build, bumped  # noqa: E402

EXPOSURE_MAX = 2.0
UNIT = "evertaped.service"
CONFIG = """\
cluster: acme-voice
node: {name: prg-1, site: prg, roles: [voter, vault, capture, api]}
listen: {cluster: "127.0.0.1:7400", api: "127.0.0.1:7443"}
data:
  state: /var/lib/evertape/state
  media: /var/lib/evertape/media
  root: file:/etc/evertape/private/root.key
capture:
  - {interface: lo, filter: "", sip-ports: [5060]}
limits: {disk-reserve: 64MiB}
"""
T0 = time.monotonic()


def say(text):
    print(f"== {time.monotonic() - T0:5.1f} s  {text}", flush=True)


def check(holds, text):
    if not holds:
        raise AssertionError(text)


def lintian(deb):
    done = subprocess.run(["lintian", "--allow-root", str(deb)], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    errors = [line for line in lines if line.startswith("E:")]
    check(done.returncode == 0 and not errors, "lintian: " + "\n".join(errors or [done.stderr]))
    say(f"lintian: no error, {sum(line.startswith('W:') for line in lines)} warnings")


def install_fresh(sh, deb):
    """From Debian 12 alone: neither backports nor libraft0."""
    shutil.copy(deb, sh.root / "root")
    sh("apt-get -qq update")
    sh(f"apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends /root/{deb.name}")
    depends = sh("dpkg-query -W -f '${Depends}' evertape").stdout
    check("libraft" not in depends, f"it depends on {depends}")


def stat(sh, path):
    return sh(f"stat -c '%a %U:%G' {path}").stdout.strip()


def files(sh):
    for path, want in {"/etc/evertape": "750 root:evertape", "/etc/evertape/private": "700 evertape:evertape",
                       "/etc/evertape/evertape.yaml": "640 root:evertape", "/var/lib/evertape": "700 evertape:evertape",
                       "/var/lib/evertape/state": "700 evertape:evertape",
                       "/var/lib/evertape/media": "700 evertape:evertape", "/usr/sbin/evertaped": "755 root:root",
                       "/usr/bin/evertape": "755 root:root", f"/lib/systemd/system/{UNIT}": "644 root:root"}.items():
        check(stat(sh, path) == want, f"{path} is {stat(sh, path)}, want {want}")
    check("/usr/sbin/nologin" in sh("getent passwd evertape").stdout, "the user evertape may log in")
    conffiles = sh("dpkg-query -W -f '${Conffiles}' evertape").stdout.split()
    check(conffiles[::2] == ["/etc/evertape/evertape.yaml"], f"conffiles: {conffiles}")
    lines = sh("evertape config check /etc/evertape/evertape.yaml; wc -l < /etc/evertape/evertape.yaml").stdout
    check(int(lines.split()[-1]) <= 12, f"the shipped configuration has {lines} lines")
    for page in ("man1/evertape.1.gz", "man5/evertape.yaml.5.gz", "man8/evertaped.8.gz"):
        check(".SH NAME" in sh(f"zcat /usr/share/man/{page}").stdout, f"{page} is no manual page")
    words = sh("source /usr/share/bash-completion/completions/evertape; COMP_WORDS=(evertape clus); COMP_CWORD=1; _evertape; "
               "echo ${COMPREPLY[@]}").stdout.strip()
    check(words == "cluster", f"completion of 'evertape clus' says '{words}'")
    for path in ("/usr/share/zsh/vendor-completions/_evertape", "/usr/share/fish/vendor_completions.d/evertape.fish",
                 "/usr/share/doc/evertape/copyright", "/usr/share/doc/evertape/changelog.Debian.gz"):
        sh(f"test -s {path}")


def unit_is_hardened(sh):
    done = sh(f"systemd-analyze verify --man=no /lib/systemd/system/{UNIT}", check=False)
    check(done.returncode == 0 and not (done.stdout + done.stderr).strip(),
          f"systemd-analyze verify: {done.stdout}{done.stderr}")
    done = sh(f"systemd-analyze security --no-pager --offline=true --threshold={int(EXPOSURE_MAX * 10)} "
              f"/lib/systemd/system/{UNIT}", check=False)
    match = re.search(r"Overall exposure level.*: ([0-9.]+)", done.stdout)
    check(match and done.returncode == 0 and float(match.group(1)) <= EXPOSURE_MAX,
          f"systemd-analyze security: {done.stdout[-300:]}{done.stderr}")
    say(f"systemd-analyze verify is clean; exposure {match.group(1)} (at most {EXPOSURE_MAX})")


def show(m, *keys):
    out = m.run("systemctl", "show", UNIT, *(f"-p{k}" for k in keys)).stdout
    return dict(line.split("=", 1) for line in out.splitlines())


def wait_for(m, what, probe, deadline=60):
    until = time.monotonic() + deadline
    while not probe():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {deadline} s for {what}\n{m.journal()}")
        time.sleep(0.1)


def serves(m, not_pid=None):
    def probe():
        now = show(m, "ActiveState", "SubState", "MainPID")
        return now["ActiveState"] == "active" and now["SubState"] == "running" and now["MainPID"] != not_pid
    wait_for(m, "evertaped to serve", probe)
    return show(m, "MainPID")["MainPID"]


def is_member(m):
    """`status` answers with one member that leads; what it finds unwell is not the question here."""
    def probe():
        done = m.sh("evertape status -o json", check=False)
        return done.returncode in (0, 6) and '"leader":"prg-1"' in re.sub(r"\s", "", done.stdout)
    wait_for(m, "the node to lead its cluster", probe)


def first_start(m):
    check(show(m, "ActiveState")["ActiveState"] == "inactive", "the installation started a daemon that nobody configured")
    check(m.run("systemctl", "is-enabled", UNIT, check=False).stdout.strip() == "disabled", "the unit is enabled at once")
    m.path("/etc/evertape/evertape.yaml").write_text(CONFIG)
    m.sh("evertape config check /etc/evertape/evertape.yaml")
    m.sh("systemctl enable --now evertaped")  # returns at READY
    pid = serves(m)
    check("in no cluster yet" in show(m, "StatusText")["StatusText"], "the status line does not say what is next")
    status = m.sh(f"cat /proc/{pid}/status").stdout
    for line in ("CapEff:\t0000000000002000", "CapBnd:\t0000000000002000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        check(line in status, f"/proc/PID/status lacks '{line}'")
    uid = m.sh("id -u evertape").stdout.strip()
    check(re.search(rf"^Uid:\t{uid}\t{uid}\t", status, re.M), "evertaped does not run as evertape")
    init = m.sh("evertape cluster init").stdout
    check(len(re.findall(r"^  evs1-", init, re.M)) == 5, "cluster init shows no five escrow shares")
    is_member(m)
    wait_for(m, "the recorder", lambda: "capture.started" in m.journal())
    check(m.sh("stat -c '%a %U' /etc/evertape/private/root.key").stdout.strip() == "400 evertape", "mode of the node root")
    bad = [line for line in m.journal(200).splitlines() if re.search(r" (error|warn) ", line)]
    check(not bad, "the journal has errors:\n" + "\n".join(bad))
    other = m.run("setpriv", "--reuid=nobody", "--clear-groups", "evertape", "status", check=False)
    check(other.returncode == 4, f"nobody may use the node's socket: exit {other.returncode}")
    say("a fresh node starts as evertape with CAP_NET_RAW only, is made a cluster, leads, and records")
    return pid


def supervision(m):
    pid = serves(m)
    m.sh(f"kill -9 {pid}")
    pid = serves(m, not_pid=pid)
    is_member(m)
    drop_in = "/run/systemd/system/evertaped.service.d"
    m.sh(f"mkdir -p {drop_in}; printf '[Service]\\nWatchdogSec=2s\\nTimeoutAbortSec=2s\\n' > {drop_in}/test.conf; "
         "systemctl daemon-reload; systemctl restart evertaped")
    pid = serves(m, not_pid=pid)
    is_member(m)
    # It lives on with a short watchdog: signs of life do come.
    before = show(m, "WatchdogTimestampMonotonic")["WatchdogTimestampMonotonic"]
    wait_for(m, "a sign of life", lambda: show(m, "WatchdogTimestampMonotonic")["WatchdogTimestampMonotonic"] != before)
    m.sh(f"kill -STOP {pid}")  # a main loop that does not turn
    serves(m, not_pid=pid)
    check(int(show(m, "NRestarts")["NRestarts"]) >= 1, "the watchdog did not restart the stuck daemon")
    is_member(m)
    m.sh(f"rm -r {drop_in}; systemctl daemon-reload; systemctl restart evertaped")
    pid = serves(m)
    m.sh("sed -i 's/^cluster:/clutser:/' /etc/evertape/evertape.yaml; systemctl restart evertaped", check=False)
    wait_for(m, "a wrong configuration to end it", lambda: show(m, "ActiveState")["ActiveState"] == "failed")
    check("evertape.yaml:1:1" in m.journal(), "the journal does not say where the configuration is wrong")
    m.sh("sed -i 's/^clutser:/cluster:/' /etc/evertape/evertape.yaml; systemctl restart evertaped")
    is_member(m)
    say("kill -9 and a stuck loop are started again; a wrong configuration is told and not tried for ever")


def upgrade(m, newer, pid):
    config = m.path("/etc/evertape/evertape.yaml")
    before = config.read_text()
    m.sh("chmod 0600 /etc/evertape/evertape.yaml; chown evertape /etc/evertape/evertape.yaml")
    shutil.copy(newer, m.path("/root"))
    for _again in range(2):  # the second is a reinstallation
        m.sh(f"dpkg -i /root/{newer.name}")
        pid = serves(m, not_pid=pid)
        is_member(m)
    check(m.sh("dpkg-query -W -f '${Version}' evertape").stdout.endswith("-2"), "the version is not the newer one")
    check(config.read_text() == before, "the upgrade changed the configuration")
    check(m.sh("stat -c '%a %U' /etc/evertape/evertape.yaml").stdout.strip() == "600 evertape",
          "the upgrade changed a mode that the administrator had set")
    check(m.run("systemctl", "is-enabled", UNIT).stdout.strip() == "enabled", "the upgrade disabled the unit")
    say("upgraded and reinstalled: restarted, same member, configuration and modes kept")


def removal(m, newer):
    m.sh("dpkg -r evertape")
    check(m.run("pgrep", "evertaped", check=False).returncode != 0, "the daemon outlives its package")
    said = m.sh("dpkg -P evertape")
    check("recordings and keys stay" in said.stderr + said.stdout, "the purge does not say what it left")
    m.sh("test ! -e /etc/evertape/evertape.yaml -a -e /etc/evertape/private/root.key -a -e /var/lib/evertape/media/store.uuid")
    m.sh(f"dpkg -i /root/{newer.name}")
    m.path("/etc/evertape/evertape.yaml").write_text(CONFIG)
    m.sh("systemctl enable --now evertaped")
    is_member(m)
    m.sh("dpkg -P evertape", env={"EVERTAPE_PURGE_RECORDINGS": "yes"})
    m.sh("test ! -e /etc/evertape -a ! -e /var/lib/evertape/state -a ! -e /var/lib/evertape/media")
    say("purge keeps recordings and keys (a reinstallation finds them) unless it is told otherwise")


def tell(folder):
    deb = build()
    lintian(deb)
    newer = bumped(deb, 2, folder)
    image = Image.debian()
    say(f"{deb.name} is built; a fresh Debian is there")
    with image.workshop(folder / "installed", folder / "workshop") as sh:
        install_fresh(sh, deb)
        files(sh)
        unit_is_hardened(sh)
        sh("dpkg -i /root/" + deb.name)
        check(stat(sh, "/etc/evertape/evertape.yaml") == "640 root:evertape", "the mode after a reinstallation")
    say("installed on it, without backports; files, modes, owners, manual pages, completion are right")
    with Machine(image.layer(folder / "installed"), folder / "machine", "prg-1") as m:
        pid = first_start(m)
        supervision(m)
        upgrade(m, newer, pid)
        removal(m, newer)


def main():
    lacks = missing() or ("" if shutil.which("lintian") else "lintian: run ops/packages deploy")
    if lacks:
        print(f"SKIPPED: needs {lacks}")
        return 77
    folder = pathlib.Path(tempfile.mkdtemp(prefix="evertape-package-"))
    print("-- the Debian package", flush=True)
    try:
        tell(folder)
        say("every promise held")
        return 0
    except CannotBuild as error:
        print(f"SKIPPED: a fresh Debian cannot be had: {error}")
        return 77
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        print(f"BROKEN: {error}", flush=True)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
