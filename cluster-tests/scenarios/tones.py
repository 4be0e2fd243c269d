"""Key presses in the audio are silence for who hears a recording, where its rule says so, and for nobody else.

Promise (issue 5): with `tones: mask` whatever is heard of a recording has silence over each press, with a guard on both
sides, and is else what was sent, sample for sample; of SRTP, too. Who has the right, and gives a reason, hears them; the audit
log says so. The original payload, which cannot be masked, is refused without that.
"""
import http.client
import json
import math
import ssl
import sys
import urllib.parse

from story import Broken, check, run, wait_committed, wait_for

from lab import audio
from lab.phones import Phones

TALK = 6
RULES = """recording:
  rules:
    - {name: card, to: "+4208*", tones: mask, action: record}
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


def place(s, node, number, protect, callee):
    node.rows += 1
    call = Phones(s.folder / "calls" / f"{number:03d}", f"127.{node.phones}.{node.rows}.1", f"127.{node.phones}.{node.rows}.2",
                  f"+42060{number:07d}", callee, TALK, protect, [EVENT])
    for at, key in PRESSED:
        call.sound["caller"] = press(call.sound["caller"], at, key)
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


if __name__ == "__main__":
    sys.exit(run("tones", tell))
