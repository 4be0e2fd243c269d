"""Small file systems in files: made, mounted, filled, and robbed of what was not synced (power loss)."""
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32); the same as FS_IOC_SHUTDOWN
NOLOGFLUSH = 2  # the journal in memory is lost too: what a power cut does


def lacks():
    """What is missing here to use this; "" when nothing is."""
    if os.geteuid() != 0:
        return "needs root (it mounts file systems)"
    for program in ("mkfs.ext4", "mount", "umount", "unshare"):
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin") is None:
            return f"needs {program}"
    return ""


def own_mounts():
    """Start this program again in a mount namespace of its own. Else whoever makes a namespace meanwhile (`ip netns
    exec` does) would keep our file systems mounted after we have unmounted them."""
    if os.environ.get("ET_OWN_MOUNTS") != "1":
        os.environ["ET_OWN_MOUNTS"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def run(*args):
    env = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    done = subprocess.run(args, capture_output=True, check=False, env=env)
    if done.returncode != 0:
        raise OSError(f"{' '.join(args)}: {done.stderr.decode().strip()}")


class Disk:
    """An ext4 in the file `image`, at the folder `mount`."""

    def __init__(self, image, mount):
        self.image, self.mount = pathlib.Path(image), pathlib.Path(mount)
        self.mounted = False

    def make(self, size_bytes):
        with open(self.image, "wb") as file:
            file.truncate(size_bytes)
        # No reserve for root: evertaped runs as root here, and must meet the same disk as a user would.
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=4", "-E", "lazy_itable_init=1", str(self.image))
        return self

    def copy_of(self, image):
        run("cp", "--sparse=always", str(image), str(self.image))
        return self

    def up(self):
        self.mount.mkdir(parents=True, exist_ok=True)
        run("mount", "-o", "loop", str(self.image), str(self.mount))
        self.mounted = True
        return self

    def down(self):
        """A child that is being started by another thread holds our descriptors for a moment: so, again."""
        until = time.monotonic() + 10
        while self.mounted:
            try:
                run("umount", str(self.mount))
                self.mounted = False
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def lose_power(self):
        """What was not synced is gone; then the power is back."""
        fd = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(fd)
        self.down()
        self.up()

    def free_bytes(self):
        stat = os.statvfs(self.mount)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave_bytes):
        """A ballast file that leaves `leave_bytes` free. Its path."""
        ballast = self.mount / "ballast"
        with open(ballast, "ab") as file:
            size = self.free_bytes() - leave_bytes
            if size > 0:
                os.posix_fallocate(file.fileno(), ballast.stat().st_size, size)
        return ballast

    def remove(self):
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.mount)], check=False, capture_output=True)
            self.mounted = False
        self.image.unlink(missing_ok=True)
        if self.mount.is_dir():
            self.mount.rmdir()
