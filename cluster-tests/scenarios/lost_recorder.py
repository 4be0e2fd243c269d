"""A recorder is lost with its disk in the midst of its calls, and is removed: the other site plays them.

Promise: what the other site had kept of the calls in progress becomes their segments when the node is removed, not before;
all but the last seconds is there, exactly, and verifies.
"""
import shutil
import sys
import time

from story import by_caller, check, export_with_gap, recording_of, run, sleep_until, tails, wait_for

CALLS = 6
TALK = 30
SPOKEN = 10
LOST_SECONDS = 3.0  # a record's second, the question each second, and a busy machine


def tell(s):
    cluster = s.make_cluster()
    brq, prg, prg2 = (cluster.node(n) for n in ("brq-1", "prg-1", "prg-2"))
    calls = s.place(["brq-1"] * CALLS, TALK)
    began = time.monotonic()
    wait_for("a tail of each call", lambda: len(tails(prg, prg2)) == CALLS, 20, every=0.2)
    sleep_until(began, SPOKEN)
    brq.kill()
    spoken = time.monotonic() - began
    shutil.rmtree(brq.media)
    shutil.rmtree(brq.state)
    for call in calls:
        call.stop()
    s.say(f"brq-1 is killed, its disk gone, {spoken:.1f} s into {CALLS} calls; {len(tails(prg, prg2))} tails at prg")
    sleep_until(began, SPOKEN + 3)
    check(all(len(r) == 1 and r[0]["state"] == "capturing" for r in by_caller(prg).values()), "sealed before brq-1 was removed")
    check(len(tails(prg, prg2)) == CALLS, "tails went")
    prg.cli("node", "remove", "brq-1", "--reason", "dead: burnt", "--confirm", "scenario", timeout=130)
    removed = time.monotonic()

    def ended():
        listed = by_caller(prg)
        return len(listed) == CALLS and all(r[0]["state"] != "capturing" for r in listed.values())
    wait_for("the recordings to be closed", ended, 60, every=0.25)
    s.say(f"brq-1 is removed; {time.monotonic() - removed:.1f} s later all recordings are closed over what prg had")
    least = None
    for call in calls:
        call.id = recording_of(prg, call)["id"]
        rec = prg.recording(call.id)
        check(len(rec["segments"]) == 1 and rec["segments"][0]["state"].startswith("recovered"), f"{call.caller}: {rec['segments']}")
        check("lost" in rec["problem"], f"{call.caller}: says {rec['problem']!r}")
        holders = {c["node"] for c in rec["copies"] if c["state"] == "verified"}
        check(len(holders) == 1, f"{call.caller}: copies at {sorted(holders)}")
        cluster.node(holders.pop()).cli("recording", "verify", call.id)
        for side, (sound, holes) in export_with_gap(s, prg, call, "lost").items():
            check(not holes, f"{call.caller}, {side}: holes of {holes} s")
            least = min(least or 99, sound)
    s.say(f"they verify and play at prg: at least {least:.2f} of {spoken:.2f} s are there, exactly")
    check(least >= spoken - LOST_SECONDS, "more than the last seconds is missing")
    check(not tails(prg, prg2), "tails are left")


if __name__ == "__main__":
    sys.exit(run("lost recorder", tell))
