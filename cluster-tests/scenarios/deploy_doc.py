"""ops/doc/deploy.md and the runbooks, run as they are written: five machines with systemd and the packaged files, each on a
network of its own, a WAN between the sites, real calls.

Environment: EVERTAPE_DEB=FILE tests that package and builds none; ET_IMAGE=FOLDER keeps what the image blocks install there, and uses it the
next time; ET_KEEP=1 keeps the machines' files."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

from lab import net as lab_net  # noqa: E402
from lab import runbook  # noqa: E402
from lab.calls import Call  # noqa: E402
from lab.machine import CannotBuild, Image, Machine, missing  # noqa: E402
from lab.package import TOP, build, bumped  # noqa: E402

DOC = TOP / "ops/doc"
SITES = {"prg": 2, "brq": 2, "wit": 1}
PAGES = ("site-lost.md", "rolling-upgrade.md", "replace-node.md", "remove-node.md")
DISK_BYTES = 256 << 20
T0 = time.monotonic()


def say(text):
    print(f"== {time.monotonic() - T0:5.1f} s  {text}", flush=True)


def check(holds, text):
    if not holds:
        raise AssertionError(text)


class Lab:
    """Machines of the page, their networks and telephones."""

    def __init__(self, folder):
        self.folder, self.machines, self.calls, self.fresh, self.phones = folder, {}, [], [], []
        self.net = lab_net.Net(SITES)
        self.image = None
        self.recorders = []

    # -- Machines ----------------------------------------------------------------------------------------------------

    def make_image(self, steps, deb):
        """Debian and what the page's `image` blocks install: one tree that every machine starts from."""
        image = Image.debian()
        kept = pathlib.Path(os.environ.get("ET_IMAGE", self.folder / "installed"))
        self.image = image.layer(kept)
        if (kept / "usr/sbin/evertaped").exists():
            return
        with image.workshop(kept, self.folder / "workshop") as sh:
            shutil.copy(deb, sh.root / "root")
            for step in steps:
                sh("cd /root\n" + step.text)
                say(f"{step.where} in the image")
            (sh.root / "etc/resolv.conf").write_text("")

    def disk(self, name):
        """A disk of its own, as /dev/vdb."""
        path = self.folder / f"{name}.disk"
        if not path.exists():
            with open(path, "wb") as f:
                f.truncate(DISK_BYTES)
        done = subprocess.run(["losetup", "-f", "--show", str(path)], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def boot(self, name, on=None):
        """Machine `name`, on the network of `on` (default: its own)."""
        m = Machine(self.image, self.folder / "machines" / name, name, self.net.ns(on or name))
        self.machines[name] = m
        m.loop = self.disk(name)
        m.start()
        number = os.stat(m.loop).st_rdev
        m.sh(f"mknod -m 660 /dev/vdb b {os.major(number)} {os.minor(number)}")
        return m

    def tell(self):
        """What each machine says: for a failure."""
        return "\n".join(f"-- {name}\n{m.run('evertape', 'recording', 'list', check=False).stdout}"
                         f"{m.run('evertape', 'status', check=False).stdout}{m.journal(20)}"
                         for name, m in self.machines.items())

    def destroy(self, name):
        m = self.machines.pop(name)
        m.stop()
        subprocess.run(["losetup", "-d", m.loop], check=False)
        (self.folder / f"{name}.disk").unlink()
        shutil.rmtree(m.folder)

    def boot_all(self, names):
        self.recorders = [name for name in names if not name.startswith("wit")]
        for name in self.recorders:
            self.wire(name)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(self.boot, names))

    def wire(self, name):
        """eth1 of a recorder: a port of a switch that shows every frame to all ports, with two telephones on others."""
        switch, caller, callee = (f"{self.net.prefix}{kind}-{name}" for kind in ("switch", "caller", "callee"))
        lines = ["link add br0 type bridge ageing_time 0", "link set br0 up"]
        ports = (("mirror", self.net.ns(name), "eth1", None), ("one", caller, "eth0", "10.99.0.1/24"),
                 ("two", callee, "eth0", "10.99.0.2/24"))
        for ns in (switch, caller, callee):
            subprocess.run(["ip", "netns", "add", ns], check=True)
            self.phones.append(ns)
        for port, ns, card, _address in ports:
            lines += [f"link add {port} type veth peer name {card} netns {ns}", f"link set {port} master br0 up"]
        self._ip(switch, lines)
        for _port, ns, card, address in ports:
            self._ip(ns, ([f"addr add {address} dev {card}"] if address else []) + ["link set lo up", f"link set {card} up"])

    @staticmethod
    def _ip(ns, lines):
        subprocess.run(["ip", "-n", ns, "-batch", "-"], text=True, input="\n".join(lines) + "\n", check=True)

    # -- Calls -------------------------------------------------------------------------------------------------------

    def call(self, name, seconds):
        """A call that the recorder `name` sees; returns when it is under way."""
        number = len(self.calls) + 1
        call = Call(self.folder / "calls" / f"{number:03d}", "10.99.0.1", "10.99.0.2", f"+42060{number:07d}",
                    f"+42080{number:07d}", seconds, netns=f"{self.net.prefix}caller-{name}",
                    callee_netns=f"{self.net.prefix}callee-{name}")
        self.calls.append(call)
        self.fresh.append(call)
        return call.start()

    def close(self):
        for call in self.calls:
            call.stop()
        for m in self.machines.values():
            m.stop()
            if getattr(m, "loop", None):
                subprocess.run(["losetup", "-d", m.loop], check=False)
        for phones in self.phones:
            lab_net._remove_namespace(phones)  # pylint: disable=protected-access
        self.net.close()


def recorded(m, caller):
    """The recording of that caller once it is closed and committed, as machine `m` lists it; else None."""
    done = m.run("evertape", "recording", "list", "-o", "json", check=False)
    if done.returncode != 0:
        return None
    for rec in json.loads(done.stdout)["recordings"]:
        if rec["from"] == caller and rec["state"] not in ("capturing", "lost") and not rec["pending"]:
            return rec
    return None


def exact(lab, name, deadline=90):
    """Every call since the last time is exported on `name` exactly as it was spoken, nothing lost."""
    m = lab.machines[name]
    check(lab.fresh, "there was no call to compare")
    for call in lab.fresh:
        call.wait()
        until = time.monotonic() + deadline
        while (rec := recorded(m, call.caller)) is None:
            if time.monotonic() > until:
                raise AssertionError(f"{name} does not list the call of {call.caller} as closed after {deadline} s\n"
                                     f"{lab.tell()}")
            time.sleep(0.2)
        m.run("evertape", "recording", "export", rec["id"], "--out", "/root/exact.wav", "--reason", "runbook")
        compare(lab, name, "/root/exact.wav", call)
    lab.fresh = []


def compare(lab, name, path, call):
    wav = lab.folder / "compared.wav"
    shutil.copyfile(lab.machines[name].path(path), wav)
    samples = sum(n for _at, n in call.check_wav(wav).values())
    check(samples > 0, "nothing was compared")
    say(f"what {name} exported equals what was said: {samples} samples")


def hint(lab, words):
    """What a page asks of the test, in the lab's words."""
    verb, *rest = words.split()
    if verb == "call":  # MACHINE SECONDS: a call that its recorder sees, to its end
        lab.call(rest[0], float(rest[1])).wait()
    elif verb == "compare":  # MACHINE WAV: that file is the last call
        compare(lab, rest[0], rest[1], lab.calls[-1])
        lab.fresh = []
    elif verb == "begin":  # MACHINE SECONDS: a call that goes on while the next blocks run
        lab.call(rest[0], float(rest[1]))
    elif verb == "ended":
        for call in lab.fresh:
            call.wait()
    elif verb == "exact":  # MACHINE: the calls since then are exported there as they were spoken
        exact(lab, rest[0])
    elif verb == "isolate":
        lab.net.isolate_site(rest[0])
    elif verb == "heal":
        lab.net.heal()
    elif verb == "newer":  # the package with a higher version lies in /root/new
        for m in lab.machines.values():
            m.path("/root/new").mkdir(exist_ok=True)
            shutil.copy(lab.newer, m.path("/root/new"))
    elif verb == "dead":  # the machine and its disks are gone
        lab.destroy(rest[0])
    elif verb == "boot":  # a new machine
        lab.net.add(rest[0].split("-")[0])
        lab.wire(rest[0])
        lab.boot(rest[0])
    else:
        raise ValueError(f"no such hint: {words}")


def follow(lab, steps):
    for step in steps:
        if step.kind == "test":
            hint(lab, step.text)
        elif step.kind != "image":
            runbook.run(step, lab.machines, say)


def tell(lab):
    deb = pathlib.Path(os.environ["EVERTAPE_DEB"]) if "EVERTAPE_DEB" in os.environ else build()
    lab.newer = bumped(deb, 2, lab.folder)
    steps = runbook.read(DOC / "deploy.md")
    lab.make_image([s for s in steps if s.kind == "image"], deb)
    lab.net.__enter__()
    lab.boot_all([f"{site}-{n}" for site, count in SITES.items() for n in range(1, count + 1)])
    say(f"{len(lab.machines)} machines are up")
    follow(lab, steps)
    say("deploy.md: from nothing to the first recorded call, as written")
    for page in PAGES:
        follow(lab, runbook.read(DOC / "runbooks" / page))
        say(f"{page}: as written")


def main():
    lacks = missing() or lab_net.missing() or ("" if shutil.which("sipp") else "sipp: run ops/packages")
    if lacks:
        print(f"SKIPPED: needs {lacks}")
        return 77
    lab = Lab(pathlib.Path(tempfile.mkdtemp(prefix="evertape-deploy-")))
    print("-- deploy.md and the runbooks", flush=True)
    try:
        tell(lab)
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
        lab.close()
        if not os.environ.get("ET_KEEP"):
            shutil.rmtree(lab.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
