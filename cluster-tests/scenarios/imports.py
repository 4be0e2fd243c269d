"""Plain files become encrypted recordings: audio, captures, with what is known of them; twice, after kill -9, on a full disk.

Promise (issue 4, encrypt): what is imported is a recording like any other: in the hash chain, at both sites, playable, and
erasable. It sounds as the file does, sample for sample, and the file comes back byte for byte, at every node and by the
second reader. The same file makes no second recording. A bad file stops no other. A plain file is removed when what was
promised holds, not before; a process that is killed in the middle leaves nothing, and the next run ends right.
"""
import hashlib
import json
import os
import pathlib
import random
import resource
import signal
import struct
import subprocess
import sys
import threading
import time

from story import binaries, check, files_below, run, wait_for, with_token

from lab import formats, tapes

SITES = {"prg", "brq"}
ROOT = pathlib.Path(__file__).resolve().parents[2]
TONE = ROOT / "node" / "audio" / "test" / "fixtures" / "tone-440.mp3"
VOICES = ROOT / "node" / "import" / "test" / "fixtures"  # made by flac, opusenc, oggenc
ORIGINALS = ("mono.wav", "2024/stereo.wav", "2024/law.wav", "2024/march/tune.mp3", "2024/march/loss.m4a", "2024/stereo8.flac",
             "2024/stereo48.opus", "2024/stereo16.ogg")


def wav(tag, channels, bits, rate, data, extra=b""):
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + extra + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def mp3(frames):
    """Frames of 128 kbit/s at 44.1 kHz; what is in them is no music."""
    r = random.Random(5)
    tag = b"ID3\4\0\0\0\0\0\x20" + bytes(32)
    return tag + b"".join(b"\xff\xfb\x90\x44" + bytes(r.randrange(255) for _ in range(413)) for _ in range(frames)) \
        + b"TAG" + b" " * 125


def triangle(i, period, high):
    x = i % period * 4 * high // period
    return x if x <= high else 2 * high - x if x <= 3 * high else x - 4 * high


def voices(rate, frames):
    """What the two say in VOICES (the file make beside them)."""
    return ([triangle(i, rate // 250, 9000) for i in range(frames)],
            [triangle(i, rate // 800, 5000) if i * 4 // rate % 2 else 0 for i in range(frames)])


def likeness(a, b):
    return sum(x * y for x, y in zip(a, b)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


def udp(sport, dport, side, payload, at_us, size=None):
    """A frame of a capture file: Ethernet, IPv4, UDP between 192.0.2.1 and .2."""
    a, b = (b"\xc0\0\2\1", b"\xc0\0\2\2") if side == 0 else (b"\xc0\0\2\2", b"\xc0\0\2\1")
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0) + a + b
    frame = b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + struct.pack(">HHHH", sport, dport, size or 8 + len(payload), 0) + payload
    return struct.pack("<IIII", at_us // 1000000, at_us % 1000000, len(frame), len(frame)) + frame


def sip(first, cseq, call, body=b""):
    lines = [first, "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK" + call, f"From: <sip:+4930{call}@a>;tag=1",
             "To: <sip:1234@b>" + (";tag=2" if cseq != "1 INVITE" or first.startswith("SIP") else ""),
             f"Call-ID: {call}@import", f"CSeq: {cseq}", f"Content-Length: {len(body)}"]
    if body:
        lines.insert(-1, "Content-Type: application/sdp")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sdp(side, port):
    host = f"192.0.2.{side + 1}"
    return (f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n").encode()


def capture(calls, packets, stray=0):
    """A capture of calls one after the other, and what each party said; `stray`: datagrams that nobody can read."""
    t, said = 1700000000_000000, []
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for n in range(calls):
        call, ports = f"{7000 + n}", (20000 + 4 * n, 30000 + 4 * n)
        out += udp(5060, 5060, 0, sip("INVITE sip:1234@b SIP/2.0", "1 INVITE", call, sdp(0, ports[0])), t)
        out += udp(5060, 5060, 1, sip("SIP/2.0 200 OK", "1 INVITE", call, sdp(1, ports[1])), t + 100000)
        out += udp(5060, 5060, 0, sip("ACK sip:1234@b SIP/2.0", "1 ACK", call), t + 110000)
        sound = [noise(100 + 2 * n + side, 160 * packets) for side in (0, 1)]
        for i in range(packets):
            for side in (0, 1):
                rtp = struct.pack(">BBHII", 0x80, 0, i, i * 160, 1000 * n + side) + sound[side][160 * i:160 * (i + 1)]
                out += udp(ports[side], ports[1 - side], side, rtp, t + 120000 + i * 20000 + side)
        t += 200000 + packets * 20000
        out += udp(5060, 5060, 0, sip("BYE sip:1234@b SIP/2.0", "2 BYE", call), t)
        out += udp(5060, 5060, 1, sip("SIP/2.0 200 OK", "2 BYE", call), t + 1000)
        t += 1000000
        said.append((call, sound))
    for i in range(stray):
        out += udp(40000, 40002, 0, bytes(160), t + i * 20000, size=3)
    return out, said


def imported(node, *args, timeout=300):
    """(exit code, the rows by file name, what was noted)."""
    done = node.cli_raw("recording", "import", *map(str, args), "-o", "json", timeout=timeout)
    rows = json.loads(done.stdout or b"{}").get("files", [])
    return done.returncode, {os.path.basename(r["path"]): r for r in rows}, done.stderr.decode()


def original(s, node, ident, label):
    out = s.folder / "original" / label
    out.parent.mkdir(exist_ok=True)
    done = node.cli_raw("recording", "export", ident, "--format", "original", "--out", str(out), "--reason", "x", timeout=120)
    check(done.returncode == 0, f"{label}: {done.stderr.decode()}")
    manifest = json.loads((out / "manifest.json").read_text())
    return {f["name"]: (out / f["name"]).read_bytes() for f in manifest["files"]}


def exported(s, node, ident, label):
    """(rate, the 16-bit samples of both channels) as exported."""
    out = s.folder / f"{label}.wav"
    done = node.cli_raw("recording", "export", ident, "--out", str(out), "--reason", "x", timeout=120)
    check(done.returncode == 0, f"{label}: exit {done.returncode}: {done.stderr.decode()}")
    data = out.read_bytes()
    samples = struct.unpack(f"<{(len(data) - 44) // 2}h", data[44:])
    return struct.unpack_from("<I", data, 24)[0], samples[0::2], samples[1::2]


def export_as(s, node, ident, format_, *more, out=None, **run_with):
    out = out or s.folder / f"export.{format_}"
    done = node.cli_raw("recording", "export", ident, "--format", format_, "--out", str(out), "--reason", "x", *more, timeout=120,
                        **run_with)
    return done, out


def in_every_format(s, node, ident, rate, frames):
    """As the programs of others read it; twice the same bytes; a span of it; no half file."""
    wav_ = exported(s, node, ident, "as-wav")
    for format_ in ("flac", "opus", "mp3"):
        done, out = export_as(s, node, ident, format_)
        check(done.returncode == 0, f"{format_}: exit {done.returncode}: {done.stderr.decode()}")
        once = out.read_bytes()
        check(ident.encode() in once and b"The original is evidence" in once, f"{format_}: no word of what it is")
        check(export_as(s, node, ident, format_)[1].read_bytes() == once, f"{format_}: other bytes the second time")
        heard = formats.decoded(out)
        if heard is None:
            s.say(f"SKIPPED: no program of others reads {format_} here (ops/packages test)")
            continue
        check(heard[0] == rate and abs(len(heard[1]) - frames) <= (rate // 1000 if format_ == "opus" else 0),
              f"{format_}: {heard[0]} Hz, {len(heard[1])} samples")
        for side, want in zip(heard[1:], wav_[1:]):
            check(side == want if format_ == "flac" else likeness(side, want) > 0.95, f"{format_} sounds otherwise")
        code = export_as(s, node, ident, format_, out=s.folder / f"full.{format_}", restore_signals=False,  # EFBIG, and no signal
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (len(once) // 2, len(once) // 2)))[0].returncode
        check(code not in (0, 6) and not list(s.folder.glob(f"full.{format_}*")), f"{format_}: exit {code}, no room: half a file")
    done, out = export_as(s, node, ident, "flac", "--from", "100ms", "--to", "400ms")
    heard = formats.decoded(out)
    check(done.returncode == 0 and (heard is None or heard[1:] == tuple(x[rate // 10:rate * 4 // 10] for x in wav_[1:])), "a span is another")
    s.say("as FLAC sample for sample, as Opus and MP3 alike, and each as long, by flac, opusdec and mpg123")


def wait_copied(node, ids):
    def ready():
        for ident in ids:
            rec = node.recording(ident)
            have = {c.get("site") for c in rec["copies"] if c["state"] == "verified"}
            if rec["pending"] or not SITES <= have:
                raise ValueError(f"{ident}: {rec['state']}, copies at {have}")
        return True
    wait_for(f"{len(ids)} recordings at both sites", ready, 60, every=0.25)


def left_in_import(node):
    return files_below(node.media / "import")


def come_back(s, first, other, files, ids, sounds, said):
    """As it sounds, at the other site; as it was, at both."""
    mono, stereo = sounds
    rate, left, right = exported(s, other, ids["mono.wav"][0], "mono")
    check(rate == 8000 and left == struct.unpack(f"<{len(mono) // 2}h", mono) and not any(right), "mono.wav sounds otherwise")
    rate, left, right = exported(s, other, ids["stereo.wav"][0], "stereo")
    both = struct.unpack(f"<{len(stereo) // 2}h", stereo)
    check(rate == 16000 and (left, right) == (both[0::2], both[1::2]), "stereo.wav sounds otherwise")
    rate, left, right = exported(s, other, ids["tone.mp3"][0], "tone")
    loud = [abs(x) for x in left[4 * 576:]]
    check(rate == 8000 and len(left) == 30 * 576 and 9000 < max(loud) < 16000 and sum(loud) > 5000 * len(loud) and not any(right),
          f"tone.mp3 is heard otherwise: {rate} Hz, {len(left)} samples, {max(loud)}")
    for name, rate, frames, least in (("stereo8.flac", 8000, 5321, 1), ("stereo48.opus", 48000, 24011, 0.99),
                                      ("stereo16.ogg", 16000, 16007, 0.99)):
        heard = exported(s, other, ids[name][0], name)
        check(heard[0] == rate and len(heard[1]) == frames, f"{name}: {heard[0]} Hz, {len(heard[1])} samples")
        for side, want in zip(heard[1:], voices(rate, frames)):
            check(likeness(side, want) > least if least < 1 else list(side) == want, f"{name} sounds otherwise")
    in_every_format(s, other, ids["stereo8.flac"][0], 8000, 5321)
    for name in ORIGINALS:
        base = os.path.basename(name)
        for node in (first, other):
            back = original(s, node, ids[base][0], f"{base}-{node.name}")
            check(list(back.values()) == [files[name]], f"{name} does not come back at {node.name}")
    for (call, sound), ident in zip(said, ids["trace.pcap"]):
        rec = first.recording(ident)
        check(rec["from"] == f"+4930{call}" and rec["call_state"] == "answered" and rec["imported"]["format"] == "pcap", str(rec))
        raw = [v for n, v in sorted(original(s, other, ident, f"call-{call}").items()) if n.endswith(".raw")]
        check(sorted(raw) == sorted(sound), f"call {call}: another payload than the capture has")
    s.say("exports at the other site equal the sources, sample for sample; the files come back byte for byte, payloads too")


def are_told(s, first, other, files, ids):
    every = [i for list_ in ids.values() for i in list_]
    rec = first.recording(ids["mono.wav"][0])
    want = {"start": "2024-03-01T08:15:00", "from": "+4930111222", "to": "1234", "site": "brq", "sip_call_id": "PBX-2024-118",
            "direction": "inbound", "rule": "import", "duration_ms": 40000}
    check(all(str(rec[k]).startswith(str(v)) for k, v in want.items()), f"metadata: {rec}")
    for args in (("--fact", "order=A-17"), ("--fact", "amount:integer=12"), ("--tag", "complaint"), ("--agent", "jana")):
        found = [r["id"] for r in other.recordings(*args)]
        check(found == ids["mono.wav"], f"{args}: {found}")
    events = [e for e in first.cli("audit", "list", "--from", "1")["events"] if e["action"] == "recording.import"]
    sums = {hashlib.sha256(files[n]).hexdigest() for n in files if os.path.basename(n) in ids}
    check(len(events) == len(every) and {e["detail"].split()[-1] for e in events} == sums and
          {e["reason"] for e in events} == {"CHG-9"}, f"the audit log: {events}")
    for node in (first, other):
        node.cli("audit", "verify")
        for ident in every:
            node.cli("recording", "verify", ident)
    s.say("what was told is found by fact, tag and agent; each import stands in the audit chain with name and SHA-256")


def kinds(s, first, other):
    """Every kind of file, good and bad, in one folder."""
    box = s.folder / "old"
    (box / "2024" / "march").mkdir(parents=True)
    mono, stereo = noise(1, 2 * 8000 * 40), noise(2, 4 * 16000 * 12)
    pcap, said = capture(3, 200)
    files = {
        "mono.wav": wav(1, 1, 16, 8000, mono, b"LIST\3\0\0\0abc\0"), "2024/stereo.wav": wav(1, 2, 16, 16000, stereo),
        "2024/law.wav": wav(7, 2, 8, 8000, noise(3, 160000)), "2024/march/tune.mp3": mp3(300),
        "2024/march/tone.mp3": TONE.read_bytes(), "2024/march/loss.m4a": b"\0\0\0\x20ftypM4A " + noise(4, 70000), "2024/trace.pcap": pcap,
        **{f"2024/{n}": (VOICES / n).read_bytes() for n in ("stereo8.flac", "stereo48.opus", "stereo16.ogg")},
        "note.txt": b"no audio at all", "empty.wav": b"", "2024/cut.pcap": pcap[:-700],
        "bad-told.wav": wav(1, 1, 16, 8000, noise(9, 4000)),
    }
    for name, data in files.items():
        (box / name).write_bytes(data)
    (box / "mono.json").write_text(json.dumps({
        "start": "2024-03-01T09:15:00+01:00", "from": "+4930111222", "to": "1234", "agent": "jana", "site": "brq",
        "call": "PBX-2024-118", "direction": "inbound", "facts": {"order": "A-17", "amount": 12}, "tags": ["complaint"]}))
    (box / "bad-told.wav.json").write_text('{"form": "x"}')
    code, rows, _notes = imported(first, box, "--reason", "CHG-9")
    check(code == 6, f"exit {code} with bad files among good ones")
    bad = {n: r["code"] for n, r in rows.items() if r["state"] == "refused"}
    check(bad == {"note.txt": "ET_EUNSUPPORTED", "empty.wav": "ET_EUNSUPPORTED", "cut.pcap": "ET_ETRUNCATED",
                  "bad-told.wav": "ET_EMALFORMED"}, f"refused: {bad}")
    check("from" in rows["bad-told.wav"]["why"], f"no suggestion: {rows['bad-told.wav']['why']}")
    ids = {n: [x["id"] for x in r["recordings"]] for n, r in rows.items() if r["state"] == "imported"}
    check({n: len(i) for n, i in ids.items()} == {"mono.wav": 1, "stereo.wav": 1, "law.wav": 1, "tune.mp3": 1, "tone.mp3": 1,
                                                  "loss.m4a": 1, "trace.pcap": 3, "stereo8.flac": 1, "stereo48.opus": 1,
                                                  "stereo16.ogg": 1}, f"recordings: {ids}")
    every = [i for list_ in ids.values() for i in list_]
    wait_copied(first, every)
    check(len(first.recordings()) == len(every), "other recordings than those of the files")
    s.say(f"a folder: {len(ids)} good files are {len(every)} recordings at both sites, 4 bad ones are named with their reasons")

    come_back(s, first, other, files, ids, (mono, stereo), said)
    are_told(s, first, other, files, ids)
    return box, files, ids


def twice(first, other, box, ids):
    before = len(first.recordings())
    for node in (first, other):
        code, rows, _notes = imported(node, box / "mono.wav", box / "2024" / "trace.pcap")
        check(code == 0 and {r["state"] for r in rows.values()} == {"known"}, f"again at {node.name}: {rows}")
        check({n: [x["id"] for x in r["recordings"]] for n, r in rows.items()} ==
              {n: ids[n] for n in rows}, "another recording is named")
    check(len(first.recordings()) == before, "a second recording")


def read_by_python(s, cluster, files, ids):
    """The second reader: without a key on every node's disk, and the files out of the tapes."""
    paths = {}
    for _node, path in tapes.of(cluster):
        paths[tapes.verify(path).recording.hex()] = path
    keys = tapes.deks(cluster.node("prg-2"), cluster.init_answer["escrow_shares"][:3], s.folder)
    for name in ORIGINALS:
        data = paths[ids[os.path.basename(name)][0].replace("-", "")].read_bytes()
        header = tapes.evtm.Header(data)
        key = next(k for k in keys if tapes.evtm.hkdf(k, header.salt, b"evtm/1 commit") == header.commitment)
        medium, whole = tapes.evtm.weave(data, key)
        check(whole == files[name] and medium["name"] == os.path.basename(name), f"{name}: {medium}")
    s.say("the second reader (Python) gets the files out of the tapes, byte for byte")


def killed(s, first, other):
    """kill -9 of the daemon in the middle of a file, and of the command."""
    big = s.folder / "big.wav"
    big.write_bytes(wav(1, 2, 16, 48000, noise(7, 96 << 20)))
    answer = {}

    def on_disk():
        return sum(p.stat().st_size for p in first.media.rglob("*.evtm"))
    before = on_disk()

    def send():
        answer["it"] = imported(first, big)
    for how in ("the daemon", "the command"):
        thread = threading.Thread(target=send)
        if how == "the daemon":
            thread.start()
        else:
            command = subprocess.Popen([str(binaries() / "evertape"), "--socket", str(first.socket), "recording", "import", str(big)],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("a tape to grow", lambda: sum(p.stat().st_size for p in left_in_import(first)) > 4 << 20, 60, every=0.01)
        if how == "the daemon":
            first.kill(signal.SIGKILL)
            thread.join(60)
            code, rows, _notes = answer["it"]
            check(code == 6 and rows["big.wav"]["state"] == "refused", f"a dead daemon: {code} {rows}")
            first.start()
            nothing = s.folder / "nothing.wav"
            nothing.write_bytes(b"no audio")
            wait_for("a majority, for what was left", lambda: imported(first, nothing)[1]["nothing.wav"]["code"] == "ET_EUNSUPPORTED", 60)
        else:
            command.kill()
            command.wait()
        wait_for(f"nothing to be left when {how} was killed", lambda: not left_in_import(first), 30)
    check(on_disk() == before, f"{on_disk() - before} bytes of the big file are left")
    code, rows, _notes = imported(first, big, "--ack", "protected")
    check(code == 0 and rows["big.wav"]["state"] == "imported" and rows["big.wav"]["ack"] == "protected", f"{code} {rows}")
    back = original(s, other, rows["big.wav"]["recordings"][0]["id"], "big")
    check(list(back.values()) == [big.read_bytes()], "big.wav does not come back")
    s.say("kill -9 of the daemon, then of the command, in the middle of 96 MiB: nothing is left; once more, and it is whole")


def removed(s, cluster, first):
    """A plain file goes when what was promised holds."""
    box = s.folder / "plain"
    box.mkdir()
    sound = box / "call.wav"
    sound.write_bytes(wav(1, 1, 16, 8000, noise(11, 32000)))
    (box / "call.json").write_text('{"from": "+4930999"}')
    dirty = box / "dirty.pcap"
    dirty.write_bytes(capture(1, 50, stray=9)[0].replace(b"7000", b"7100"))
    clean = box / "clean.pcap"
    clean.write_bytes(capture(1, 50)[0].replace(b"7000", b"7200"))
    brq = cluster.node("brq-1")
    brq.stop()
    code, rows, notes = imported(first, box, "--remove-plain", "--wait", "2s")
    check(code == 6 and {r["code"] for r in rows.values()} == {"ETIMEDOUT"} and len(list(box.iterdir())) == 4,
          f"without the second site: {code} {rows}")
    brq.start()
    code, rows, notes = imported(first, box, "--remove-plain")
    check(code == 6 and {r["state"] for r in rows.values()} == {"known"}, f"{code} {rows}")
    check(sorted(p.name for p in box.iterdir()) == ["dirty.pcap"], f"left: {list(box.iterdir())}")
    check("9 packets" in rows["dirty.pcap"]["why"] and rows["call.wav"]["removed"] is True, f"{rows}")
    check("snapshots" in notes and "SSD" in notes and "page cache" in notes, f"what may remain: {notes}")
    s.say("with one site away nothing is removed; when both have it the files go, but the capture of which packets were left out")
    return sound


def from_afar(s, first, other):
    """Over HTTPS, by role: who may not is told so before all of it is sent."""
    big = s.folder / "afar.wav"
    big.write_bytes(wav(1, 2, 16, 48000, noise(13, 40 << 20)))
    for role, want in (("teller", "ET_EDENIED"), ("importer", "")):
        began = time.monotonic()
        done = with_token(s, first, role, "recording", "import", str(big), "-o", "json", asked=other)
        row = json.loads(done.stdout)["files"][0]
        check(row["code"] == want and done.returncode == (6 if want else 0), f"{role}: {done.returncode} {row} {done.stderr}")
        check(want == "" or time.monotonic() - began < 20, f"{role}: refused after {time.monotonic() - began:.1f} s")
    check(first.recording(row["recordings"][0]["id"])["node"] == "brq-1", "imported at another node than was asked")
    wait_copied(first, [row["recordings"][0]["id"]])
    s.say("over HTTPS: a token of the role importer may, a teller is refused while it sends")


def told_with_a_card(first, s):
    """Card digits never enter the catalogue, by no way."""
    path = s.folder / "4111111111111111.wav"
    path.write_bytes(wav(1, 1, 16, 8000, noise(12, 3200)))
    told = s.folder / "card.json"
    told.write_text('{"facts": {"card": "4111 1111 1111 1111"}}')
    code, rows, _notes = imported(first, path, "--metadata", told)
    check(code == 6 and "card number" in rows[path.name]["why"], f"{code} {rows}")
    code, rows, _notes = imported(first, path)
    check(code == 0, f"{code} {rows}")
    rec = first.recording(rows[path.name]["recordings"][0]["id"])
    check(rec["imported"]["name"] == "################.wav", f"{rec['imported']}")


def erased(first, files, box, ids, s):
    ident = ids["loss.m4a"][0]
    refused = first.cli_raw("recording", "redact", ident, "--from", "0s", "--to", "5s", "--reason", "x", "--confirm", "scenario")
    check(refused.returncode != 0 and b"erase it instead" in refused.stderr, f"a span of what nobody reads: {refused.stderr}")
    first.cli("recording", "erase", ident, "--reason", "gone", "--confirm", "scenario")
    code, rows, _notes = imported(first, box / "2024" / "march" / "loss.m4a")
    check(code == 6 and rows["loss.m4a"]["code"] == "ET_EREFUSED" and "erased" in rows["loss.m4a"]["why"], f"{code} {rows}")
    s.say("an import is erased like any other recording, and does not come back by itself")


def tell(s):
    cluster = s.make_cluster()
    first, second, other = cluster.nodes
    box, files, ids = kinds(s, first, other)
    twice(first, other, box, ids)
    s.say("the same files again, at two nodes: known, and named")
    told_with_a_card(second, s)
    read_by_python(s, cluster, files, ids)
    from_afar(s, first, other)
    removed(s, cluster, first)
    killed(s, first, other)
    erased(first, files, box, ids, s)
    check(not any(left_in_import(n) for n in cluster.nodes), "something is left in an import folder")


if __name__ == "__main__":
    sys.exit(run("files become recordings", tell))
