"""What is archived comes back to a disk, but never into its reserve.

Promise: `archive restore` of what does not fit above limits.disk-reserve is refused with DISK_FULL and the next command; when the
disk fills up after that, the job waits with DISK_FULL, the reserve stays, calls go on, and with room it ends by itself.
"""
import json
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

from fault import disk  # noqa: E402
from story import Cluster, check, export_exact, free_net, run, skip, wait_committed, wait_for  # noqa: E402

DISK_BYTES = 192 << 20
RESERVE = 64 << 20
POLICY = """targets:
  cold: {{type: dir, path: {folder}/archive}}
rules:
  - name: all
    after: 0s
    to: cold
    local: {{keep: 0s}}
"""


def archived_only(s, first, calls):
    """Uploaded, and no copy at any node is left."""
    (s.folder / "archive").mkdir(mode=0o700)
    policy = s.folder / "archive.yaml"
    policy.write_text(POLICY.format(folder=s.folder))
    first.cli("archive", "policy", "apply", str(policy), "--reason", "scenario")

    def places(call):
        return {c["place"].split(":")[0] for c in first.recording(call.id)["copies"] if c["state"] == "verified"}

    def run_archive():
        first.cli_raw("archive", "run", "--reason", "scenario", "--yes")
        return all(places(c) == {"target"} for c in calls)
    wait_for("all to be in the archive only", run_archive, 60, every=0.5)


def jobs(node):
    return [j for j in node.cli("archive", "status")["jobs"] if j["kind"] == "archive-restore"]


def full(node, who):
    return ("DISK_FULL", who.name) in {(c["code"], c.get("node")) for c in node.status()["codes"]}


def tell(s):
    s.cluster = cluster = Cluster(s.folder / "cluster", name="scenario", net=free_net())
    for name, site in (("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq")):
        phones = free_net(2, 5060)
        node = cluster.add(name, site, capture_filter=f"net 127.{phones}.0.0/16", extra=f"limits: {{disk-reserve: {RESERVE >> 20}MiB}}\n")
        node.phones, node.rows = phones, 0
    first, _second, far = cluster.nodes
    media = disk.Disk(s.folder / "media.image", far.media).make(DISK_BYTES).up()
    s.outside.append(media.remove)
    cluster.create()
    calls = s.place(["brq-1", "prg-1"], 3)
    s.hang_up(calls)
    wait_committed(first, calls, ["prg", "brq"], 60)
    archived_only(s, first, calls)
    s.say(f"{len(calls)} calls are in the archive only; brq-1 has {DISK_BYTES >> 20} MiB for media, {RESERVE >> 20} of them kept")

    # It is asked for while there is room, and begun when there is none.
    os.kill(far.process.pid, signal.SIGSTOP)
    leader = wait_for("a leader without brq-1", lambda: (n := cluster.leader()) and n is not far and n, 30) \
        if first.status()["leader"] == "brq-1" else first
    asked = leader.cli("archive", "restore", calls[0].id, "--site", "brq", "--reason", "case 118")
    check(asked["jobs"] == 1, f"{asked}")
    ballast = media.fill(RESERVE)
    os.kill(far.process.pid, signal.SIGCONT)
    job = wait_for("the job to say what it waits for", lambda: (j := jobs(first)) and "DISK_FULL" in j[0]["error"] and j[0], 40)
    check(job["state"] == "running" and job["node"] == "brq-1", f"{job}")
    wait_for("DISK_FULL to name brq-1", lambda: full(first, far), 20)
    check(not list(far.media.rglob("*.evtm*")), "something came into the reserve")
    stat = os.statvfs(far.media)
    check(stat.f_bavail * stat.f_frsize <= RESERVE, "the disk is not full")
    s.say(f"the disk filled up before the job began: {job['error']}")

    done = first.cli_raw("archive", "restore", calls[1].id, "--site", "brq", "--reason", "case 119", "-o", "json")
    error = json.loads(done.stderr)
    check(done.returncode == 1 and error["code"] == "ENOSPC" and "DISK_FULL" in error["why"] and "--site" in error["next"],
          f"a restore that does not fit: exit {done.returncode}: {error}")
    check(len(jobs(first)) == 1, "it made a job all the same")
    s.say(f"another one is refused at once: {error['why']}; next: {error['next']}")

    ballast.unlink()
    wait_for("the job to be done", lambda: not jobs(first), 40)
    wait_for("DISK_FULL to be over", lambda: not full(first, far), 20)
    wait_for("the copy at brq", lambda: [c for c in first.recording(calls[0].id)["copies"] if c.get("node") == "brq-1" and
                                         c["state"] == "verified"], 20)
    samples = export_exact(s, far, [calls[0]], "restored")
    s.say(f"room again: it came back by itself, and plays ({samples} samples equal)")


if __name__ == "__main__":
    if disk.lacks():
        skip(disk.lacks())
    disk.own_mounts()
    sys.exit(run("restore full", tell, "unshare"))
