"""Key presses in the audio are silence for who hears a recording, where its rule says so, and for nobody else.

Promise (issue 5): with `tones: mask` whatever is heard of a recording has silence over each press, with a guard on both
sides, and is else what was sent, sample for sample; of SRTP, too. Who has the right, and gives a reason, hears them; the audit
log says so. The original payload, which cannot be masked, is refused without that. Concealment of losses (issue 5: on request)
makes up what was lost, and no press.

With `tones: drop` they are silence on the tape, of G.711 that is not protected: nobody hears them, whatever right he has, also
when the recorder was killed in the midst of them. Where it cannot, the recording says so; with `strict` nothing of it is written.
"""
import http.client
import json
import math
import ssl
import sys
import time
import urllib.parse

from story import Broken, check, recorder_started, run, wait_committed, wait_for

from lab import audio
from lab.phones import Phones

TALK = 6
RULES = """recording:
  rules:
    - {name: card, to: "+4208*", tones: mask, action: record}
    - {name: never, to: "+4207*", tones: drop, action: record}
    - {name: strict, to: "+4206*", tones: strict, action: record}
"""
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
KEYS = "123A456B789C*0#D"
PRESSED = [(2.0, "4"), (2.3, "7"), (3.503, "#")]  # seconds, by the caller, 80 ms each
LENGTH, GUARD, MOST = 0.08, 0.02, 0.09
EVENT = (4.61, "callee", "5")  # a telephone event: the sound before its first packet is masked, too
EVENT_AT, EVENT_LENGTH = 4.6, 0.12  # as it is sent, in whole frames

DECODED = audio.DECODE["PCMU"]
ENCODED = sorted((DECODED[b], b) for b in range(256) if b not in (0x7F, 0xFF))  # silence is never said


def encode(v):
    return min(ENCODED, key=lambda e: abs(e[0] - v))[1]


def press(sound, at, key):
    """The sound with a press in it."""
    row, column = ROWS[KEYS.index(key) // 4], COLUMNS[KEYS.index(key) % 4]
    first = int(at * audio.RATE)
    said = bytes(encode(7000 * math.sin(2 * math.pi * row * n / audio.RATE) + 9000 * math.sin(2 * math.pi * column * n / audio.RATE))
                 for n in range(int(LENGTH * audio.RATE)))
    return sound[:first] + said + sound[first + len(said):]


def place(s, node, number, protect, callee, pressed=PRESSED, events=(EVENT,), lost=()):
    node.rows += 1
    call = Phones(s.folder / "calls" / f"{number:03d}", f"127.{node.phones}.{node.rows}.1", f"127.{node.phones}.{node.rows}.2",
                  f"+42060{number:07d}", callee, TALK, protect, events)
    for at, key in pressed:
        call.sound["caller"] = press(call.sound["caller"], at, key)
    call.lost = set(lost)
    s.calls.append(call)
    return call.start()


def heard(s, node, call, label, *options):
    path = s.folder / f"{call.id}-{label}.wav"
    done = node.cli_raw("recording", "export", call.id, "--out", str(path), "--reason", "scenario", *options)
    check(done.returncode == 0, f"{label}: export: exit {done.returncode}: {done.stderr.decode()}")
    return audio.read_wav(path)[0], done.stderr.decode()


def parts(call, side, channel, spans):
    """Is the channel silent within the spans, and what was sent outside of them (with their guards)? An event takes the
    place of eight packets, of which nothing is said here."""
    sent = audio.to_pcm(call.sound[side], "PCMU")
    offset = next((n - 8000 for n in range(len(channel) - 160) if list(channel[n:n + 160]) == sent[8000:8160]), None)
    check(offset is not None, f"{call.caller} {side}: its sound is not there")
    event = range(int(EVENT_AT * 8000), int((EVENT_AT + 0.16) * 8000)) if side == EVENT[1] else range(0)
    for n in range(0, int((TALK - 0.5) * 8000)):
        at, v = n / 8000, channel[n + offset]
        if any(a - GUARD < at < b + GUARD for a, b in spans):
            if v != 0:
                raise Broken(f"{call.caller} {side}: {at:.4f} s is heard")
        elif not any(a - MOST < at < b + MOST for a, b in spans) and n not in event and v != sent[n]:
            raise Broken(f"{call.caller} {side}: {at:.4f} s is {v}, was {sent[n]}")


def concealed(s, node, call, lost):
    """On request, and only then, frames that were lost are made up; a press is not, and all else is as it was."""
    plain, note = heard(s, node, call, "losses")
    made, made_note = heard(s, node, call, "concealed", "--conceal")
    check("concealed" not in note and "no evidence" in made_note, f"the notes: {note} {made_note}")
    filled = {}
    for c, side in enumerate(("caller", "callee")):
        sent = audio.to_pcm(call.sound[side], "PCMU")
        offset = next(n - 8000 for n in range(len(plain[c]) - 160) if list(plain[c][n:n + 160]) == sent[8000:8160])
        for k in lost:
            frame = slice(k * 160 + offset, (k + 1) * 160 + offset)
            check(not any(plain[c][frame]), f"{side}: frame {k} was lost, and is heard")
            filled[side, k] = any(made[c][frame])
        gaps = {n for k in lost for n in range(k * 160 + offset, (k + 1) * 160 + offset)}
        others = [n for n in range(len(plain[c])) if n not in gaps and plain[c][n] != made[c][n]]
        check(len(plain[c]) == len(made[c]) and not others, f"{side}: {len(others)} samples that came are others, from {others[:1]}")
    others = [v for (_side, k), v in filled.items() if k != lost[-1]]  # Of the callee's last one an echo may be thought.
    check(all(others) and not filled["caller", lost[-1]], f"made up: {filled}")
    done = node.cli_raw("recording", "export", call.id, "--format", "original", "--conceal", "--out", str(s.folder / "o"), "--reason", "x")
    check(done.returncode == 2, f"a concealed original: exit {done.returncode}")
    s.say(f"of {2 * len(lost)} frames that were lost {sum(filled.values())} are made up with --conceal, and none without; what lies behind "
          "a masked press is not, and every sample that came is what it was")


def power(samples, hz):
    """Of a tone in samples (Goertzel)."""
    turn, s1, s2 = 2 * math.cos(2 * math.pi * hz / audio.RATE), 0.0, 0.0
    for v in samples:
        s1, s2 = v + turn * s1 - s2, s1
    return s1 * s1 + s2 * s2 - turn * s1 * s2


def keys_in(channel):
    """The keys that somebody finds who looks at each 10 ms: two tones with half of the energy. Another detector than ours."""
    found, size = [], 160
    for n in range(0, len(channel) - size, 80):
        window = channel[n:n + size]
        energy = sum(v * v for v in window)
        if energy < size * 100 ** 2:
            continue
        row, column = (max((power(window, hz), k) for k, hz in enumerate(group)) for group in (ROWS, COLUMNS))
        share = [2 * p / (size * energy) for p, _k in (row, column)]
        key = KEYS[4 * row[1] + column[1]] if sum(share) > 0.5 and min(share) > 0.05 else None
        if key and (not found or found[-1] != (n - 80, key)):
            found.append((n, key))
        elif key:
            found[-1] = (n, key)
    return "".join(key for _n, key in found)


def never_on_disk(s, node, call, label):
    """With every right: what is on the tape has no key, and is else what was sent (or missing). How much of it is not there."""
    channels, _ = heard(s, node, call, label, "--tones", "keep")
    sent = audio.to_pcm(call.sound["caller"], "PCMU")
    check(len(keys_in(sent)) >= 3, f"the test itself finds only {keys_in(sent)} in what was sent")
    check(keys_in(channels[0]) == "", f"{call.caller}: {keys_in(channels[0])} can be heard")
    offset = next((n - 8000 for n in range(len(channels[0]) - 160) if list(channels[0][n:n + 160]) == sent[8000:8160]), None)
    check(offset is not None, f"{call.caller}: its sound is not there")
    others = [n for n in range(TALK * 8000) if 0 <= n + offset < len(channels[0]) and channels[0][n + offset] not in (0, sent[n])]
    check(not others, f"{call.caller}: {len(others)} samples are others, from {others[:1]}")
    return sum(1 for n in range(int((TALK - 0.5) * 8000)) if channels[0][n + offset] == 0) / 8000


def dropped(s, cluster):
    """Two calls of the rule that drops, one of SRTP, one of the strict rule, and one whose recorder is killed meanwhile."""
    recorder, victim, other = cluster.node("prg-1"), cluster.node("brq-1"), cluster.node("prg-2")
    often = [(1.5 + 0.25 * k, KEYS[k % 16]) for k in range(16)]
    plain = place(s, recorder, 4, None, "+420700000004", events=())
    sdes, strict = place(s, recorder, 5, "sdes", "+420700000005"), place(s, recorder, 6, "sdes", "+420600000006")
    killed = place(s, victim, 7, None, "+420700000007", often, ())
    wait_for("its tape", lambda: list((victim.media / "tapes").rglob("*.evtm")), 10, every=0.05)
    size = sum(f.stat().st_size for f in (victim.media / "tapes").rglob("*.evtm"))
    wait_for("presses on it", lambda: sum(f.stat().st_size for f in (victim.media / "tapes").rglob("*.evtm")) > size + 40000, 10,
             every=0.02)
    at = time.time()
    victim.kill()
    victim.start()
    recorder_started(victim, at)
    s.hang_up([plain, sdes, strict, killed])
    wait_committed(other, [plain, sdes, killed], ["prg", "brq"], 60)

    rec = other.recording(plain.id)
    silenced = sum(x["silenced"] for x in rec["streams"])
    check(rec["tones"] == "drop" and rec["problem"] == "" and 3 * 6 <= silenced <= 3 * 12, f"{rec['tones']}, {rec['problem']}, {silenced}")
    check(sum(x["packets"] for x in rec["streams"]) == 2 * 50 * TALK, f"packets: {rec['streams']}")
    silent = never_on_disk(s, other, plain, "dropped")
    channels, _ = heard(s, other, plain, "dropped-parts", "--tones", "keep")
    parts(plain, "caller", channels[0], [(t, t + LENGTH) for t, _key in PRESSED])
    parts(plain, "callee", channels[1], [])
    folder = s.folder / "dropped-original"
    done = other.cli_raw("recording", "export", plain.id, "--format", "original", "--tones", "keep", "--out", str(folder),
                         "--reason", "court")
    check(done.returncode == 0, f"original: {done.returncode} {done.stderr}")
    marks = [line for f in folder.rglob("*") if f.is_file() for line in f.read_bytes().split(b"\n")
             if line.startswith(b"mark what=4 ") and b"cause=tones:?caller" in line]
    spans = [line for line in marks if b"packets" in line]
    check(len(spans) in (2, 3) and len(marks) == 2 * len(spans), f"marks: {marks}")
    raw = next(f for f in folder.rglob("*PCMU.raw") if b"\xff" * 400 in f.read_bytes())
    check(keys_in([DECODED[b] for b in raw.read_bytes()]) == "", "the original payload has keys")
    metric = recorder.metrics()["capture_tones_silenced_packets_total"]
    check(metric == silenced, f"metric {metric}, catalogue {silenced}")
    s.say(f"drop: no key is on the tape, not in the original payload either, {silent:.2f} s in {silenced} packets are silent, all else "
          f"is what was sent; the tape has {len(spans)} marks, and the metric agrees")

    rec = other.recording(sdes.id)
    check("cannot_drop" in rec["problem"] and "SRTP" in rec["problem"], f"problem: {rec['problem']}")
    channels, _ = heard(s, other, sdes, "cannot")
    parts(sdes, "caller", channels[0], [(t, t + LENGTH) for t, _key in PRESSED])
    wait_for("the strict call", lambda: [r for r in other.recordings() if r["to"] == strict.callee and r["state"] != "capturing"], 30)
    rec = other.recording(next(r["id"] for r in other.recordings() if r["to"] == strict.callee))
    check("cannot_drop" in rec["problem"] and "not written" in rec["problem"], f"problem: {rec['problem']}")
    check(sum(x["packets"] for x in rec["streams"]) == 8, f"packets: {rec['streams']}")  # the event: `digits` is not drop
    unclaimed = {name: v for name, v in recorder.metrics().items() if "unclaimed" in name and '"tones"' in name}
    check(sum(unclaimed.values()) == 2 * 50 * TALK - 8, f"unclaimed: {unclaimed}")
    check(recorder.metrics()["capture_tones_cannot_drop_calls_total"] == 2, "two calls cannot")
    s.say("SRTP says cannot_drop, and is masked when heard; under strict its audio is not written, and counted")

    rec = other.recording(killed.id)
    check(len(rec["segments"]) >= 2 and rec["segments"][0]["state"].startswith("recovered"), f"segments: {rec['segments']}")
    silent = never_on_disk(s, other, killed, "killed")
    s.say(f"a recorder that was killed between presses left none on its tapes ({silent:.2f} s are silent or missing)")


def ask(node, token, path, **query):
    context = ssl._create_unverified_context()  # pylint: disable=protected-access
    connection = http.client.HTTPSConnection(node.api_address, timeout=30, context=context)
    connection.request("GET", f"{path}?{urllib.parse.urlencode(query)}", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def tell(s):
    cluster = s.make_cluster(extra=RULES)
    recorder, other = cluster.node("prg-1"), cluster.node("brq-1")
    plain, sdes = place(s, recorder, 1, None, "+420800000001"), place(s, recorder, 2, "sdes", "+420800000002")
    kept = place(s, recorder, 3, None, "+420900000003")
    lost = (30, 31, 200, int((PRESSED[0][0] + LENGTH) * 50))  # the last one right behind a press
    lossy = place(s, recorder, 8, None, "+420800000008", lost=lost)
    s.hang_up(s.calls)
    wait_committed(other, s.calls, ["prg", "brq"], 60)

    presses = [(at, at + LENGTH) for at, _key in PRESSED]
    event = [(EVENT_AT - 0.06, EVENT_AT + EVENT_LENGTH)]
    for call in (plain, sdes):
        rec = other.recording(call.id)
        check(rec["tones"] == "mask" and rec["rule"] == "card", f"{rec['rule']}: tones {rec['tones']}")
        channels, note = heard(s, other, call, "masked")
        check("key presses" in note, f"the note says nothing: {note}")
        parts(call, "caller", channels[0], presses)
        parts(call, "callee", channels[1], event)
        channels, note = heard(s, other, call, "kept", "--tones", "keep")
        check("key presses" not in note, note)
        parts(call, "caller", channels[0], [])
        parts(call, "callee", channels[1], [])
        done = other.cli_raw("recording", "export", call.id, "--format", "original", "--out", str(s.folder / f"o-{call.id}"),
                             "--reason", "scenario")
        check(done.returncode == 8 and b"masks key presses" in done.stderr, f"original: {done.returncode} {done.stderr}")
        done = other.cli_raw("recording", "export", call.id, "--format", "original", "--tones", "keep",
                             "--out", str(s.folder / f"o-{call.id}"), "--reason", "court")
        check(done.returncode == 0, f"original: {done.returncode} {done.stderr}")
    check(other.recording(kept.id)["tones"] == "keep", "a call of no rule is not masked")
    channels, _ = heard(s, other, kept, "kept")
    parts(kept, "caller", channels[0], [])
    s.say("the presses of two calls, one of SRTP, are silence at another site, all else is what was sent; with --tones keep they "
          "are heard, and the original is refused without it")

    concealed(s, other, lossy, lost)

    events = [e for e in other.cli("audit", "list")["events"] if e["action"] == "recording.unmask"]
    check(len(events) == 4 and {e["target"] for e in events} == {plain.id, sdes.id}, f"audit: {events}")
    listener = other.cli("token", "create", "--name", "l", "--role", "listener", "--reason", "scenario")["token"]
    unmasker = other.cli("token", "create", "--name", "u", "--role", "unmasker", "--reason", "scenario")["token"]
    path = f"/v1/recordings/{plain.id}"
    wait_for("the token", lambda: ask(other, listener, f"{path}/audio", reason="x")[0] == 200, 10)
    check(ask(other, listener, f"{path}/audio", reason="x", tones="keep")[0] == 403, "a listener heard key presses")
    check(ask(other, unmasker, f"{path}/audio", tones="keep")[0] == 400, "no reason was needed")
    check(ask(other, unmasker, f"{path}/audio", reason="x", tones="keep")[0] == 200, "an unmasker did not hear key presses")
    status, body = ask(other, unmasker, f"{path}/peaks", reason="x", from_ms=1990, to_ms=2090, count=20)
    peaks = json.loads(body)
    check(status == 200 and peaks["tones"] == "masked" and not any(peaks["channels"][0]) and any(peaks["channels"][1]), f"peaks: {peaks}")
    s.say("a listener hears no press, whatever it asks; who has the role unmasker needs a reason, and leaves an event of its own; "
          "the waveform is flat over them")

    done = other.cli_raw("capture", "explain", "+420601", "+420800000001", "--config", str(recorder.config), "-o", "json")
    check(done.returncode == 0 and json.loads(done.stdout)["tones"] == "mask", f"explain: {done.stdout} {done.stderr}")
    done = other.cli_raw("capture", "explain", "+420601", "+420700000001", "--config", str(recorder.config), "-o", "json")
    check(done.returncode == 0 and json.loads(done.stdout)["tones"] == "drop", f"explain: {done.stdout} {done.stderr}")
    dropped(s, cluster)


if __name__ == "__main__":
    sys.exit(run("tones", tell))
