"""Keys pause a recording and let it go on, by its rule; with SRTP, too; and where no key opens them it is said.

Promise (issue 5): between the keys `start` and `stop` of its rule nothing of a call is written, neither sound nor the keys
of a card number; what is outside is there, sample for sample. Protected keys are opened for it, and nothing else. A call
whose keys cannot be seen is recorded or paused, as its rule says, and says `cannot_fire`.
"""
import datetime
import sys

from story import check, export_with_gap, run, wait_committed, wait_for

from lab.phones import Phones

TALK = 9
RULES = """recording:
  rules:
    - {name: safe, to: "+4208*9", pause: {start: "*7", stop: "*8", without-key: pause}, action: record}
    - {name: card, pause: {start: "*7", stop: "*8", by: caller}, action: record}
"""
CARD = [(3.6, "caller", "4"), (4.0, "caller", "7"), (4.4, "caller", "1"), (4.8, "caller", "1")]
PRESSES = [(1.0, "callee", "*"), (1.4, "callee", "7"), (2.6, "caller", "*"), (3.0, "caller", "7"), *CARD,
           (6.0, "caller", "*"), (6.4, "caller", "8")]


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def place(s, node, number, protect, callee=None):
    node.rows += 1
    call = Phones(s.folder / "calls" / f"{number:03d}", f"127.{node.phones}.{node.rows}.1", f"127.{node.phones}.{node.rows}.2",
                  f"+42060{number:07d}", callee or f"+42080{number:07d}", TALK, protect, PRESSES)
    s.calls.append(call)
    return call.start()


def pauses(node, call):
    return [g for g in node.recording(call.id)["gaps"] if g["cause"] == "paused"]


def events_kept(s, node, call):
    """The keys that the recording holds, by party, as an original export has them."""
    folder = s.folder / "original" / call.id
    folder.parent.mkdir(exist_ok=True)
    done = node.cli_raw("recording", "export", call.id, "--format", "original", "--out", str(folder), "--reason", "test")
    check(done.returncode in (0, 6), f"export: {done.stderr.decode()}")
    found = set()
    for rows in folder.rglob("*.csv"):
        raw = rows.with_suffix(".raw").read_bytes()
        for line in rows.read_text().splitlines()[1:]:
            _seq, stamp, _at, kind, _marker, offset, _length, _what = line.split(",")
            if kind == "101":
                found.add((int(stamp), "0123456789*#ABCD"[raw[int(offset)]]))
    return [key for _stamp, key in sorted(found)]


def tell(s):
    cluster = s.make_cluster([("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq")], extra=RULES)
    recorder, other = cluster.node("brq-1"), cluster.node("prg-1")
    plain, sdes = place(s, recorder, 1, None), place(s, recorder, 2, "sdes")
    blind, safe = place(s, recorder, 3, "secret"), place(s, recorder, 4, "secret", "+42080000009")
    s.hang_up(s.calls)
    wait_committed(other, s.calls, ["prg", "brq"], 60)

    for call, name in ((plain, "plain"), (sdes, "SRTP")):
        rec = other.recording(call.id)
        gaps = pauses(other, call)
        check(rec["rule"] == "card" and len(gaps) == 1 and rec["problem"] == "", f"{name}: {rec['rule']} {rec['gaps']} {rec['problem']}")
        length = seconds(gaps[0]["to"]) - seconds(gaps[0]["from"])
        check(abs(length - 3.4) < 0.3, f"{name}: paused for {length:.2f} s, the keys were 3.4 s apart")
        for side, (sound, holes) in export_with_gap(s, other, call, name).items():
            long = [h for h in holes if h > 1]
            check(len(long) == 1 and abs(long[0] - length) <= 0.25, f"{name} {side}: holes of {holes} s, want one of {length:.2f} s")
            check(sound > TALK - length - 2, f"{name} {side}: only {sound:.1f} s of sound")
    keys = events_kept(s, recorder, plain)
    # The callee's two, the caller's first; the last of `start` and what follows is in the pause, which `8` ends.
    check(keys == ["*", "7", "*", "8"], f"keys kept: {keys}")
    s.say(f"keys of the caller paused both calls for what was between them; of the keys only {''.join(keys)} are kept; the "
          "callee's paused nothing")

    rec = other.recording(blind.id)
    check(not pauses(other, blind) and "cannot_fire" in rec["problem"] and rec["keys"] == "missing", f"blind: {rec['gaps']} {rec['problem']}")
    rec = other.recording(safe.id)
    check(rec["rule"] == "safe" and len(pauses(other, safe)) == 1, f"safe: {rec['rule']} {rec['gaps']}")
    gap = pauses(other, safe)[0]
    check(seconds(gap["to"]) - seconds(gap["from"]) > TALK - 1, f"safe: it was paused only for {gap}")
    s.say("without a key: one is recorded and says cannot_fire, one is paused from its first packet, as its rule says")
    for call in s.calls[:2]:
        wait_for("it to verify", lambda c=call: recorder.cli("recording", "verify", c.id), 20)


if __name__ == "__main__":
    sys.exit(run("pause by keys", tell))
