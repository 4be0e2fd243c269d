"""A recorder is killed in the midst of its calls: what it had sealed is there, and can be heard.

Promise (issue 2, must show 5): after a restart every tape holds its authentic prefix (at most 1 s lost), has its
footer as recovered, verifies and plays (no recording whose key died with the process).
"""
import sys
import time

from story import by_caller, check, export_with_gap, recorder_started, run, wait_committed, wait_for

CALLS = 8
TALK = 16
SLACK_SECONDS = 0.75  # a busy machine seals and starts a little late


def tell(s):
    cluster = s.make_cluster()
    victim, other = cluster.node("brq-1"), cluster.node("prg-1")
    calls = s.place(["brq-1"] * CALLS, TALK)
    began = time.monotonic()
    wait_for("all calls to be in the catalogue", lambda: len(by_caller(other)) == CALLS, 15, every=0.1)
    while time.monotonic() - began < 5:  # some seconds of sound, so that there is something to lose
        time.sleep(0.05)
    killed = time.time()
    victim.kill()
    unsealed = sorted((victim.media / "tapes").rglob("*.evtm"))
    s.say(f"kill -9 of brq-1 during {CALLS} calls; {len(unsealed)} tapes stand open")
    check(len(unsealed) == CALLS, f"{len(unsealed)} tapes, want {CALLS}")
    victim.start()
    down = recorder_started(victim, killed) - killed
    s.hang_up(calls)
    s.say(f"brq-1 recorded again after {down:.2f} s; all calls have ended")

    wait_committed(other, calls, ["prg", "brq"], 60)
    recovered = 0
    for call in calls:
        rec = other.recording(call.id)
        first = rec["segments"][0]
        check(first["state"].startswith("recovered"), f"{call.caller}: its first segment is {first['state']}")
        check(len(rec["segments"]) >= 2, f"{call.caller}: was not continued")
        check(rec["gaps"], f"{call.caller}: states no gap")
        recovered += first["records"]
        holders = {c["node"] for c in rec["copies"] if c["state"] == "verified"}
        check(len(holders) == 2, f"{call.caller}: copies at {sorted(holders)}, want one node of each site")
        for name in holders:
            s.cluster.node(name).cli("recording", "verify", call.id)
    s.say(f"{CALLS} tapes closed as recovered with {recovered} records, and they verify at both sites")

    worst = least = None
    for call in calls:
        for side, (sound, holes) in export_with_gap(s, other, call, "recovered").items():
            check(len(holes) == 1, f"{call.caller}, {side}: holes of {holes} s, want one")
            check(sound + holes[0] >= TALK - 0.5, f"{call.caller}, {side}: only {sound:.1f} s of sound")
            worst, least = max(worst or 0, holes[0]), min(least or 99, holes[0])
    s.say(f"all {CALLS} play at the other site, exact but for one hole each of {least:.2f} to {worst:.2f} s: "
          f"{down:.2f} s of downtime, and the unsealed second")
    check(worst <= down + 1.0 + SLACK_SECONDS, "more is missing than the downtime and the unsealed second")


if __name__ == "__main__":
    sys.exit(run("recorder dies", tell))
