"""A recording is paused, its recorder is killed in the pause, starts again paused, and is told to go on.

Promise (issue 5): while a recording is paused nothing of its media is written; an acknowledged pause survives kill -9 of
the recorder; its length is kept, as silence in what is exported; all else is there, sample for sample; and what was
asked for stands in the audit chain. Another node than the recorder says who that is.
"""
import datetime
import sys
import time

from story import (audio, by_caller, check, export_with_gap, recorder_started, refused, run, sleep_until, wait_committed,
                   wait_for, with_token)

TALK = 18
FRAME = 160


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def original_payloads(s, node, call):
    """Everything that the recording holds, as it was received."""
    folder = s.folder / "original" / call.id
    folder.parent.mkdir(exist_ok=True)
    done = node.cli_raw("recording", "export", call.id, "--format", "original", "--out", str(folder), "--reason", "test")
    check(done.returncode in (0, 6), f"export: {done.stderr.decode()}")
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


def tell(s):
    cluster = s.make_cluster()
    recorder, other = cluster.node("brq-1"), cluster.node("prg-1")
    calls = s.place(["brq-1", "brq-1"], TALK)
    began = time.monotonic()
    paused_call, control = calls
    wait_for("both calls to be in the catalogue", lambda: len(by_caller(other)) == 2, 15, every=0.1)
    ident = by_caller(other)[paused_call.caller][0]["id"]
    sleep_until(began, 3)

    error = refused(other, "recording", "pause", ident, "--reason", "card number")
    check(error.code == 1 and "brq-1" in str(error) and recorder.api_address in error.error.get("next", ""),
          f"another node says: {error}")
    error = refused(recorder, "recording", "pause", ident.replace(ident[-4:], "0000"), "--reason", "card number")
    check(error.code == 5, f"a recording that is not there: {error}")
    check(with_token(s, recorder, "reader", "recording", "pause", ident, "--reason", "card number").returncode == 4, "a reader may pause")
    asked = time.monotonic()
    first = recorder.cli("recording", "pause", ident, "--reason", "card number")
    took = time.monotonic() - asked
    check(first["paused"] and first["changed"] and first["survives"] == "local", f"pause says {first}")
    again = recorder.cli("recording", "pause", ident, "--reason", "card number")
    check(again["paused"] and not again["changed"] and again["from"] == first["from"], f"the second pause says {again}")
    s.say(f"paused in {took * 1000:.0f} ms; asked again nothing changes; prg-1 says who records it")

    wait_for("the catalogue to say that it is paused", lambda: other.recording(ident)["paused"], 10, every=0.1)
    live = next(c for c in recorder.cli("capture", "list")["this_node"]["live"] if c["id"] == ident)
    check(live["paused"], f"the live call shows {live}")
    sleep_until(began, 6)
    killed = time.time()
    recorder.kill()
    recorder.start()
    down = recorder_started(recorder, killed) - killed
    state = wait_for("the recorder to answer for the call",
                     lambda: recorder.cli("recording", "pause", ident, "--reason", "still?"), 20)
    check(state["paused"] and not state["changed"] and state["from"] == first["from"],
          f"after kill -9 it is not paused as before: {state}")
    sleep_until(began, 11)
    end = recorder.cli("recording", "resume", ident, "--reason", "card number taken")
    check(not end["paused"] and end["changed"] and end["packets"] > 0, f"resume says {end}")
    check(not recorder.cli("recording", "resume", ident, "--reason", "again")["changed"], "a second resume changes something")
    length = seconds(end["to"]) - seconds(end["from"])
    s.say(f"kill -9 in the pause; it recorded again after {down:.2f} s, still paused; resumed after {length:.2f} s, "
          f"{end['packets']} packets of this process dropped")
    s.hang_up(calls)
    wait_committed(other, calls, ["prg", "brq"], 60)

    rec = other.recording(paused_call.id)
    gaps = {g["cause"]: g for g in rec["gaps"]}
    check(set(gaps) == {"paused", "recorder-restart"} and len(rec["gaps"]) == 2, f"gaps {rec['gaps']}")
    check(gaps["paused"]["from"] == end["from"] and gaps["paused"]["to"] == end["to"], f"the gap is {gaps['paused']}")
    check(not rec["paused"], "it is still said to be paused")
    check([g["cause"] for g in other.recording(control.id)["gaps"]] == ["recorder-restart"], "the other call was paused too")
    for call in calls:
        for node in (recorder, other):
            if any(c.get("node") == node.name for c in node.recording(call.id)["copies"]):
                node.cli("recording", "verify", call.id)

    # The hole is the pause, to the packet; the rest is exact, also what was said in the second before the pause.
    for side, (sound, holes) in export_with_gap(s, other, paused_call, "paused").items():
        check(len(holes) == 1, f"{side}: holes of {holes} s, want one")
        check(abs(holes[0] - length) <= 0.041, f"{side}: a hole of {holes[0]:.2f} s, the pause was {length:.3f} s")
        check(sound + holes[0] >= TALK - 0.5, f"{side}: only {sound:.1f} s of sound beside it")
    kept = original_payloads(s, recorder, paused_call)
    channels, _rate = audio.read_wav(s.folder / "export" / "paused" / f"{paused_call.id}.wav")
    found = missing = 0
    for side, channel in zip(("caller", "callee"), channels):
        sound = paused_call.sound[side]
        _exact, first_frame, behind, runs = audio.holes(channel, audio.to_pcm(sound, paused_call.codec))
        silent = set(range(runs[0][0], sum(runs[0])))
        for i in range(first_frame, len(sound) // FRAME - behind):
            there = sound[i * FRAME:(i + 1) * FRAME] in kept
            check(there != (i in silent), f"{side}: frame {i} is {'' if there else 'not '}kept")
            found, missing = found + there, missing + (not there)
    s.say(f"the export holds {length:.2f} s of silence, exact to the packet, and all else; the original holds {found} payloads "
          f"and none of the {missing} of the pause; both calls verify at both sites")

    events = [e for e in other.cli("audit", "list", "--from", "1")["events"] if e.get("target") == ident]
    actions = [e["action"] for e in events if e["action"].startswith("recording.pause") or e["action"] == "recording.resume"]
    check(actions.count("recording.pause") == 3 and actions.count("recording.resume") == 2, f"audit events {actions}")
    check(any(e.get("reason") == "card number" for e in events), "the reason is not in the audit log")
    other.cli("audit", "verify")
    s.say("5 requests, 5 events of the audit chain, which verifies")


if __name__ == "__main__":
    sys.exit(run("pause", tell))
