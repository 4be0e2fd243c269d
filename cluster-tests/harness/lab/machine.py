"""Machines with Debian and a real systemd on them: a file system tree of their own (overlay over one image), PID, mount,
UTS, IPC and cgroup namespaces, and a network namespace (net.Net's, or one of their own).

    image = Image.debian()                         # debootstrap, once; kept in build/package
    with Machine(image, folder, "prg-1", netns=net.ns("prg-1")) as m:
        m.sh("systemctl start evertaped")

What runs there is what runs on a server: the unit with its sandbox, its user and its capability. `missing()` says what this
machine lacks for it.
"""
import contextlib
import os
import pathlib
import shutil
import subprocess
import time
import uuid

TOP = pathlib.Path(__file__).resolve().parents[3]
CACHE = TOP / "build" / "package"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
# What a machine of the test does without: a faster boot.
MASKED = """apt-daily-upgrade.timer apt-daily.timer console-getty.service dev-hugepages.mount dev-mqueue.mount
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer getty.target modprobe@.service
    sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount
    systemd-ask-password-console.path systemd-ask-password-wall.path systemd-boot-update.service
    systemd-firstboot.service systemd-journal-flush.service systemd-journald-audit.socket systemd-logind.service
    systemd-machine-id-commit.service systemd-modules-load.service systemd-networkd.service
    systemd-pcrphase-sysinit.service systemd-pcrphase.service systemd-pstore.service systemd-random-seed.service
    systemd-remount-fs.service systemd-resolved.service systemd-sysctl.service systemd-sysusers.service
    systemd-timesyncd.service systemd-tmpfiles-clean.timer systemd-tmpfiles-setup-dev.service systemd-udev-trigger.service
    systemd-udevd.service systemd-update-utmp-runlevel.service systemd-update-utmp.service""".split()

# Becomes PID 1 of a machine: ROOT is its tree, CGROUP its folder in each hierarchy that systemd needs.
BOOT = r"""
set -e
for h in $HIERARCHIES; do mkdir -p /sys/fs/cgroup$h/$CGROUP; echo 0 > /sys/fs/cgroup$h/$CGROUP/cgroup.procs; done
exec unshare --pid --fork --kill-child=SIGKILL --mount --uts --ipc --cgroup bash -c '
set -e
hostname "$NAME"
cd "$ROOT"
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
if [ -n "$HIERARCHIES" ] && [ "$HIERARCHIES" != "/." ]; then
	mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
	mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
	mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
	mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
else
	mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for n in null zero full random urandom tty; do touch dev/$n; mount --bind /dev/$n dev/$n; done
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
exec env -i container=evertape PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd \
	--log-target=journal --show-status=no --unit=multi-user.target
'
"""


class CannotBuild(RuntimeError):
    """The image cannot be had here: the mirror does not answer, or a program is not installed."""


def missing():
    """What this machine lacks for machines, in words, or ""."""
    if os.geteuid() != 0:
        return "root (namespaces, mounts)"
    for program in ("debootstrap", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"{program}: run ops/packages build test deploy"
    if " overlay" not in pathlib.Path("/proc/filesystems").read_text().replace("\t", " "):
        return "overlayfs in the kernel"
    if _hierarchies() is None:
        return "cgroups for systemd (cgroup v2, or v1 with name=systemd)"
    return ""


def _hierarchies():
    if (CGROUPS / "cgroup.controllers").exists():
        return "/."
    if (CGROUPS / "systemd" / "cgroup.procs").exists() and (CGROUPS / "unified" / "cgroup.procs").exists():
        return "/systemd /unified"
    return None


def _run(*args, timeout=600, **more):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=timeout, check=False, **more)
    if done.returncode != 0:
        raise CannotBuild(f"{' '.join(str(a) for a in args)}: exit {done.returncode}: "
                          f"{(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout


class Image:
    """Layers of files, the newest first; never written to by machines."""

    def __init__(self, layers):
        self.layers = [pathlib.Path(layer) for layer in layers]

    @staticmethod
    def debian(suite="bookworm", mirror=None):
        """A minimal Debian. Debootstrapped once, then kept as a tar file and a tree in build/package."""
        tree, tar = CACHE / f"{suite}.tree", CACHE / f"{suite}.tar"
        if not tree.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            fresh = CACHE / f"{suite}.{os.getpid()}"
            shutil.rmtree(fresh, ignore_errors=True)
            if tar.exists():
                fresh.mkdir()
                _run("tar", "-C", fresh, "-xpf", tar, "--numeric-owner")
            else:
                mirror = mirror or mirror_of(suite)
                try:
                    _run("debootstrap", "--variant=minbase", suite, fresh, mirror, timeout=900)
                except (CannotBuild, subprocess.TimeoutExpired) as error:
                    shutil.rmtree(fresh, ignore_errors=True)
                    raise CannotBuild(f"debootstrap of {suite} from {mirror}: {error}") from error
                _run("chroot", fresh, "apt-get", "clean")
                (fresh / "etc/apt/sources.list").write_text(f"deb {mirror} {suite} main\n")
            try:
                fresh.rename(tree)
            except OSError:
                shutil.rmtree(fresh)  # another run was faster
        return Image([tree])

    @contextlib.contextmanager
    def mounted(self, upper, at):
        """The image at `at`, with what changes kept in `upper`."""
        upper, at = pathlib.Path(upper), pathlib.Path(at)
        work = upper.with_name(upper.name + ".work")
        for folder in (upper, work, at):
            folder.mkdir(parents=True, exist_ok=True)
        layers = ":".join(str(layer) for layer in self.layers)
        _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={layers},upperdir={upper},workdir={work}", at)
        try:
            yield at
        finally:
            _run("umount", "-R", "-l", at)

    @contextlib.contextmanager
    def workshop(self, upper, at):
        """A chroot with the host's network, to install in; apt keeps its downloads in build/package. Yields a function
        that runs a shell command there."""
        archives = CACHE / "archives"
        (archives / "partial").mkdir(parents=True, exist_ok=True)
        with self.mounted(upper, at) as root:
            _run("mount", "-t", "proc", "proc", root / "proc")
            _run("mount", "--bind", "/dev", root / "dev")
            _run("mount", "--bind", archives, root / "var/cache/apt/archives")
            (root / "etc/apt/apt.conf.d/90lab").write_text('Binary::apt-get::APT::Keep-Downloaded-Packages "true";\n'
                                                           'APT::Keep-Downloaded-Packages "true";\n'
                                                           'APT::Sandbox::User "root";\n')
            (root / "etc/dpkg/dpkg.cfg.d/lab").write_text("force-unsafe-io\n")
            shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
            shutil.copyfile("/etc/hosts", root / "etc/hosts")

            def sh(command, timeout=300, check=True):
                done = subprocess.run(["chroot", str(root), "/bin/bash", "-ec", command], capture_output=True, text=True,
                                      timeout=timeout, check=False, stdin=subprocess.DEVNULL,
                                      env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                           "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "HOME": "/root",
                                           **{k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}})
                if check and done.returncode != 0:
                    raise RuntimeError(f"{command}\nexit {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-3000:]}")
                return done
            sh.root = root
            yield sh

    def layer(self, upper):
        """This image with one more layer on top."""
        return Image([upper, *self.layers])


def mirror_of(suite):
    """The mirror that apt uses here for Debian's `suite`."""
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(CODENAME)|$(REPO_URI)"],
                          capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        origin, codename, uri = line.split("|", 2)
        if origin == "Debian" and codename == suite:
            return uri.rstrip("/")
    raise CannotBuild(f"apt knows no source of Origin: Debian, Codename: {suite}")


class Machine:
    """One machine; between start() and stop() its systemd runs. Stopping keeps its disk (`folder`); start() boots again."""

    def __init__(self, image, folder, name, netns=None):
        self.image, self.folder, self.name, self.netns = image, pathlib.Path(folder), name, netns
        self.root = self.folder / "root"
        self.process = self.pid = None
        self.stack = None
        self.cgroup = f"evertape-lab-{os.getpid()}-{name}"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self, deadline=60):
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(self.image.mounted(self.folder / "upper", self.root))
        # The data lies on a file system of the machine, not on the overlay.
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        os.chmod(data, 0o755)
        (self.root / "var/lib/evertape").mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", data, self.root / "var/lib/evertape")
        (self.root / "etc/hostname").write_text(self.name + "\n")
        (self.root / "etc/machine-id").write_text(uuid.uuid5(uuid.NAMESPACE_DNS, self.name).hex + "\n")
        system = self.root / "etc/systemd/system"
        system.mkdir(parents=True, exist_ok=True)
        for unit in MASKED:
            with contextlib.suppress(FileExistsError):
                (system / unit).symlink_to("/dev/null")
        wrapper = ["nsenter", f"--net=/run/netns/{self.netns}"] if self.netns else ["unshare", "--net"]
        log = open(self.folder / "boot.log", "ab")
        self.process = subprocess.Popen(
            [*wrapper, "bash", "-c", BOOT], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={"PATH": os.environ["PATH"], "ROOT": str(self.root), "NAME": self.name, "CGROUP": self.cgroup,
                 "HIERARCHIES": _hierarchies()})
        log.close()
        try:
            self._wait_up(deadline)
        except BaseException:
            self.stop()
            raise
        return self

    def _child(self):
        """PID 1 of the machine, as seen from here: the child of unshare."""
        path = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        children = path.read_text().split()
        return int(children[0]) if children else None

    def _wait_up(self, deadline):
        until = time.monotonic() + deadline
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} did not boot: {(self.folder / 'boot.log').read_text()[-2000:]}")
            with contextlib.suppress(OSError, IndexError):
                self.pid = self._child()
                if self.pid and os.path.exists(f"/proc/{self.pid}/root/run/systemd/private"):
                    state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                    if state in ("running", "degraded"):
                        return
            if time.monotonic() > until:
                raise TimeoutError(f"{self.name} is not up after {deadline} s: {(self.folder / 'boot.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def _enter(self):
        return ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w"]

    def popen(self, *args, **more):
        return subprocess.Popen([*self._enter(), *[str(a) for a in args]], **more)

    def run(self, *args, check=True, timeout=120, env=None, **more):
        """A command on the machine; raises RuntimeError when it fails and `check`."""
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                       "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "NO_COLOR": "1", **(env or {})}
        done = subprocess.run([*self._enter(), "env", "-i", *(f"{k}={v}" for k, v in environment.items()),
                               *[str(a) for a in args]], capture_output=True, text=True, timeout=timeout, check=False,
                              **{"stdin": subprocess.DEVNULL, **({} if "input" not in more else {"stdin": None}), **more})
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(str(a) for a in args)}\nexit {done.returncode}\n"
                               f"{done.stdout[-1500:]}{done.stderr[-3000:]}")
        return done

    def sh(self, command, **more):
        return self.run("/bin/bash", "-ec", "cd /root\n" + command, **more)

    def journal(self, lines=30):
        return self.run("journalctl", "--no-pager", "-q", "-o", "cat", "-u", "evertaped", "-n", str(lines), check=False).stdout

    def path(self, inside):
        """A file of the machine, as seen from here."""
        return pathlib.Path(f"/proc/{self.pid}/root") / str(inside).lstrip("/")

    def power_off(self):
        """Everything on it ends at once."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid or self.process.pid, 9)
            self.process.kill()
            self.process.wait()
        self.process = self.pid = None

    def stop(self):
        self.power_off()
        if self.stack is not None:
            with contextlib.suppress(CannotBuild):
                _run("umount", "-R", "-l", self.root / "var/lib/evertape")
            self.stack.close()
            self.stack = None
        self._remove_cgroups()

    def _remove_cgroups(self):
        until = time.monotonic() + 10
        for hierarchy in _hierarchies().split():
            top = CGROUPS / hierarchy.strip("/") / self.cgroup
            while top.exists():
                for folder, _names, _files in os.walk(top, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)
                if time.monotonic() > until:
                    break
                time.sleep(0.02)
