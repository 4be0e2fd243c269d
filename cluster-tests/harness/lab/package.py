"""The Debian package: build it, and make a newer one of the same content."""
import pathlib
import re
import shutil
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[3]


def build():
    """The path of the package, built by ops/package."""
    done = subprocess.run([str(TOP / "ops/package")], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ops/package: {done.stderr}")
    return pathlib.Path(TOP / done.stdout.strip().splitlines()[-1])


def bumped(deb, revision, folder):
    """The same package with another Debian revision, in `folder`."""
    tree = pathlib.Path(folder) / "bumped"
    subprocess.run(["dpkg-deb", "-R", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    text, count = re.subn(r"^(Version: .*)-\d+$", rf"\g<1>-{revision}", control.read_text(), flags=re.M)
    if count != 1:
        raise RuntimeError(f"{deb}: its version has no Debian revision")
    control.write_text(text)
    newer = pathlib.Path(folder) / re.sub(r"-\d+_", f"-{revision}_", deb.name)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(newer)], check=True, capture_output=True)
    shutil.rmtree(tree)
    return newer
