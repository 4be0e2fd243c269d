#!/usr/bin/env python3
"""Real telephones, recorded live: what is exported equals what was sent, in one table.

    cluster-tests/scenarios/clients.py [--json FILE] [ROW...]

Each row is a real call of Debian's sipp or baresip, telephones that are machines (network namespaces) on one switch, captured
by a real evertaped on that switch, or a session of a SIPREC client. Every two values of transport, IP version, codec and
protection stand together in some row; further rows are of what happens in a call. What a row claims of the wire (transport,
addresses, codec, protection) is read from the recording; no packet may be lost. Then the audio:

  G.711          every sample is that of the file which the telephone was given (values that the codec keeps exactly)
  sipp, G.722    the payload is that of the file, byte for byte
  else           correlation with what was given over every quarter of a second, and length; and the other party's sound,
                 taken for the control, does not pass
And the tape: what of it can be seen without a key is the same for every opus call of one length.

SIP over TLS and DTLS-SRTP are opened with a key log, which libkeylogshim.so writes for baresip. What baresip sends in the clear
before DTLS has a key is kept and not played (decision 0098). Exit codes as of any scenario.
"""
import concurrent.futures
import dataclasses
import itertools
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import time

from story import Broken, Cluster, audio, check, run, skip, wait_for

from lab import clients as phones
from lab.clients import Baresip, Party, Sipp, Steps
from lab.siprec import Client, Srtp, Stream, metadata

TALK = 4.0
SLACK = 0.7  # between what is asked of a telephone and what it does
LEAST = {"G722": 0.95, "opus": 0.90, "GSM": 0.80}  # of the correlation of each quarter of a second
OTHER = {"PCMA": "PCMU", "PCMU": "PCMA"}
BESIDE = 10  # calls at a time: telephones need the processor too


@dataclasses.dataclass
class Row:
    number: int
    client: str
    transport: str
    family: int
    codec: str
    protection: str  # "", sdes, dtls
    feature: str = ""
    result: dict = dataclasses.field(default_factory=lambda: {"ok": True})

    def ip(self, party):
        return f"10.77.{self.number}.{party}" if self.family == 4 else f"fd77::{self.number:x}:{party}"

    def name(self, party):
        return f"{self.number}0{party}"


def table():
    rows = [
        ("sipp", "udp", 4, "PCMU", ""), ("sipp", "tcp", 6, "PCMA", ""), ("sipp", "udp", 6, "G722", ""),
        ("sipp", "tcp", 4, "PCMU", "", "INFO digits"), ("sipp", "udp", 4, "PCMA", "", "re-INVITE, other codec"),
        ("sipp", "tcp", 4, "G722", "", "hold"), ("sipp", "udp", 4, "PCMU", "", "attended transfer"),
        ("baresip", "udp", 4, "PCMU", "sdes"), ("baresip", "tcp", 6, "PCMA", "dtls"), ("baresip", "tls", 4, "PCMA", "sdes"),
        ("baresip", "tls", 6, "PCMU", "dtls"), ("baresip", "udp", 6, "G722", "sdes"), ("baresip", "tls", 4, "G722", "dtls"),
        ("baresip", "tls", 6, "opus", "sdes"), ("baresip", "udp", 4, "opus", "dtls"), ("baresip", "tcp", 4, "opus", ""),
        ("baresip", "tcp", 4, "GSM", "sdes"), ("baresip", "tls", 6, "GSM", ""), ("baresip", "udp", 4, "GSM", "dtls"),
        ("baresip", "udp", 6, "PCMU", "", "hold"), ("baresip", "tls", 4, "PCMA", "sdes", "hold"),
        ("baresip", "tcp", 4, "PCMA", "dtls", "hold"),
        ("baresip", "tcp", 4, "PCMU", "", "blind transfer"), ("baresip", "udp", 6, "PCMA", "", "RFC 4733 digits"),
        ("baresip", "tls", 4, "PCMU", "sdes", "RFC 4733 digits"),
        ("siprec", "udp", 4, "PCMU", "", "two parties"), ("siprec", "tls", 4, "PCMA", "sdes", "two parties"),
    ]
    for i, j in itertools.combinations(range(1, 5), 2):
        missing = set(itertools.product({r[i] for r in rows}, {r[j] for r in rows})) - {(r[i], r[j]) for r in rows}
        check(not missing, f"no row has {missing}")
    return [Row(i + 1, *values) for i, values in enumerate(rows)]


# -- The place -----------------------------------------------------------------------------------------


def alone():
    """Run in a network namespace of our own; it goes when we do."""
    if os.environ.get("ET_CLIENTS_ALONE") != str(os.getpid()):
        os.environ["ET_CLIENTS_ALONE"] = str(os.getpid())  # exec keeps the number
        os.execvp("unshare", ["unshare", "--net", sys.executable, __file__, *sys.argv[1:]])


def make_node(s, rows):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for row in (r for r in rows if r.client == "siprec"):  # no telephone, but a socket of ours
        subprocess.run(["ip", "addr", "add", f"{row.ip(1)}/32", "dev", "lo"], check=True)
    s.switch = phones.Switch()
    s.outside.append(s.switch.close)
    s.certificate, s.keylog = s.folder / "phone.pem", s.folder / "tls.keys"
    s.keylog.touch(mode=0o600)
    for name in ("phone", "srs"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                        "-out", s.folder / f"{name}.crt", "-keyout", s.folder / f"{name}.key"], check=True, capture_output=True)
    s.certificate.write_text((s.folder / "phone.key").read_text() + (s.folder / "phone.crt").read_text())
    s.sounds = {}
    s.cluster = Cluster(s.folder / "cluster", name="scenario", net=77)
    node = s.cluster.add("prg-1", "prg", extra=(
        f'capture: [{{interface: br0, filter: "not port 4444 and not port 5555", sip-ports: [5060], key-log: {s.keylog}}}]\n'
        'siprec: {listen: ["udp://127.77.1.1:5060", "tls://127.77.1.1:5061"], media-ports: 21000-21099, '
        f'certificate: {s.folder}/srs.crt, key: {s.folder}/srs.key}}\n'))
    s.cluster.create()
    return node


# -- Sounds --------------------------------------------------------------------------------------------


def sounds_for(s, row):
    """Made before the first call: it takes the processor that telephones need."""
    if row.client != "siprec":
        for party in (1, 2, 3) if "transfer" in row.feature else (1, 2):
            for other in {False, row.feature.startswith("re-INVITE")}:
                s.sounds[(row.number, party, other)] = make_sound(s, row, party, OTHER[row.codec] if other else row.codec)


def sound_of(s, row, party, other=False):
    """What a party of a row says: (file for the telephone, samples at 8,000 Hz to compare with, or its bytes)."""
    return s.sounds[(row.number, party, other)]


def make_sound(s, row, party, codec):
    seed, seconds = f"{row.number}-{party}-{codec}", TALK + 5
    path = s.folder / f"sound-{seed}"
    if row.client == "sipp":
        data = audio.noise(seed, seconds)
        path.write_bytes(data)
        return path, data if codec == "G722" else audio.to_pcm(data, codec)
    path = path.with_suffix(".wav")
    if codec in audio.DECODE:
        # Values that the codec has: coding and decoding them changes nothing.
        pcm = audio.to_pcm(audio.noise(seed, seconds), codec)
        audio.write_wav(path, pcm, 8000)
        return path, pcm
    rate = phones.RATES[codec]
    voice = audio.voice(seed, seconds, rate)
    audio.write_wav(path, voice, rate)
    return path, voice[::rate // audio.RATE]


# -- Calls. Each returns what must be recorded: [(from, to, {party: sound}, least seconds)] --------------


def sipp_pair(s, row, steps_a, steps_b, call_id=None):
    made = []
    for steps, calls in ((steps_b, False), (steps_a, True)):
        made.append(Sipp(s.folder / f"row-{row.number}", s.switch.plug(steps.me.ip), steps, row.transport, calls, call_id))
        s.outside.append(made[-1].stop)
    return made


def two(row, first=1, second=2):
    return (Party(row.name(first), row.ip(first)), Party(row.name(second), row.ip(second)))


def sipp_call(s, row):
    (file_a, a), (file_b, b) = sound_of(s, row, 1), sound_of(s, row, 2)
    me, peer = two(row)
    caller, callee, codec, talk = Steps(me, peer), Steps(peer, me), row.codec, TALK
    caller.invite(codec).play(file_a, codec)
    callee.takes_invite(codec).play(file_b, codec)
    sounds = {me.name: [a], peer.name: [b]}
    if row.feature == "INFO digits":
        for key in "42":
            body = f"Signal={key}\nDuration=160\n"
            caller.wait(0.5).request("INFO", "Content-Type: application/dtmf-relay\n", body).answered()
            callee.takes("INFO")
        row.result["digits"] = "42"
    elif row.feature == "hold":
        caller.wait(1.5).invite(codec, direction="sendonly").quiet().wait(1.5).invite(codec).on()
        callee.takes_invite(codec, "recvonly").quiet().takes_invite(codec).on()
    elif row.feature == "re-INVITE, other codec":
        other = OTHER[codec]
        caller.wait(talk / 2)
        for steps, sound in ((caller, sounds[me.name]), (callee, sounds[peer.name])):
            path, pcm = sound_of(s, row, 1 if steps is caller else 2, other=True)
            sound.append(pcm)
            (steps.invite if steps is caller else steps.takes_invite)(other)
            steps.play(path, other)
        talk /= 2
    caller.wait(talk).bye()
    callee.takes("BYE")
    for process in sipp_pair(s, row, caller, callee):
        process.wait()
    return [(me.name, peer.name, sounds, TALK)]


def attended(s, row):
    """A talks to B and, meanwhile, to C; then refers B to C, whose call from B replaces that from A (RFC 3891)."""
    codec = row.codec
    sounds = {p: sound_of(s, row, p) for p in (1, 2, 3)}
    a, b = two(row)
    a2, c = Party(a.name, row.ip(3), "a2"), Party(row.name(3), row.ip(4), "c2")
    b3, c3 = Party(b.name, row.ip(2), "b3"), Party(c.name, row.ip(4), "c3")
    ids = [f"{row.number}-{n}-transfer" for n in (1, 2, 3)]
    replaces = f"{ids[1]};to-tag={c.tag};from-tag={a2.tag}"
    refer = f"Refer-To: <sip:{c.name}@{c.ip}:5060?Replaces={replaces.replace(';', '%3B').replace('=', '%3D')}>\n"

    first = (Steps(a, b).invite(codec).play(sounds[1][0], codec).wait(TALK).request("REFER", refer).answered(status=202)
             .takes("NOTIFY").bye(),
             Steps(b, a).takes_invite(codec).play(sounds[2][0], codec).takes("REFER", "202 Accepted")
             .request("NOTIFY", "Event: refer\nSubscription-State: active\nContent-Type: message/sipfrag\n", "SIP/2.0 100 Trying\n")
             .answered().takes("BYE"))
    second = (Steps(a2, c).invite(codec).play(sounds[1][0], codec).takes("BYE"),
              Steps(c, a2).takes_invite(codec).play(sounds[3][0], codec).wait(TALK + 1).bye())
    third = (Steps(b3, c3).invite(codec, f"Replaces: {replaces}\n").play(sounds[2][0], codec).wait(TALK).bye(),
             Steps(c3, b3).takes_invite(codec).play(sounds[3][0], codec).takes("BYE"))
    one = sipp_pair(s, row, *first, ids[0])
    two_ = sipp_pair(s, row, *second, ids[1])
    for process in one + two_:
        process.wait()
    for process in sipp_pair(s, row, *third, ids[2]):
        process.wait()
    said = {a.name: [sounds[1][1]], b.name: [sounds[2][1]], c.name: [sounds[3][1]]}
    row.result["same call"] = ((a.name, c.name), (b.name, c.name))
    return [(x, y, {n: said[n] for n in (x, y)}, TALK) for x, y in ((a.name, b.name), (a.name, c.name), (b.name, c.name))]


def baresip_call(s, row):
    parties = 3 if row.feature == "blind transfer" else 2
    sounds = {p: sound_of(s, row, p) for p in range(1, parties + 1)}
    protection = {"": "", "sdes": "srtp-mand", "dtls": "dtls_srtp"}[row.protection]
    made = []
    for p in sounds:
        made.append(Baresip(s.folder / f"row-{row.number}-{p}", s.switch.plug(row.ip(p)), row.name(p), row.ip(p), row.transport,
                            row.codec, protection, sounds[p][0], s.keylog, s.certificate))
        s.outside.append(made[-1].stop)
    for phone in made:
        phone.ready()
    a, b = made[:2]
    a.command("dial", b.uri())
    a.event("CALL_ESTABLISHED")
    for phone in (a, b):
        phone.event("CALL_RTPESTAB")
        if row.protection == "dtls":
            phone.event("CALL_MENC")  # until then baresip talks in the clear
    said = {p.name: [sounds[i + 1][1]] for i, p in enumerate(made)}
    expected = [(a.name, b.name, {n: said[n] for n in (a.name, b.name)}, TALK)]
    if row.feature == "hold":
        time.sleep(TALK / 2)
        a.command("hold")
        a.event("CALL_REMOTE_SDP", 2)
        time.sleep(1.5)
        a.command("resume")
        a.event("CALL_REMOTE_SDP", 3)
        time.sleep(TALK / 2)
    elif row.feature == "RFC 4733 digits":
        time.sleep(1)
        for key in "5#":
            a.digit(key)
            time.sleep(0.6)
        row.result["digits"] = "5#"
        time.sleep(TALK - 2)
    else:
        time.sleep(TALK)
    if row.feature == "blind transfer":
        c = made[2]
        a.command("transfer", c.uri())
        c.event("CALL_ESTABLISHED")
        time.sleep(TALK)
        c.command("hangup")
        c.event("CALL_CLOSED")
        expected.append((b.name, c.name, {n: said[n] for n in (b.name, c.name)}, TALK))
    else:
        a.command("hangup")
        b.event("CALL_CLOSED")
    for phone in made:
        phone.stop()
    return expected


def siprec_session(s, row):
    a, b = row.name(1), row.name(2)
    client = Client(row.ip(1), ("127.77.1.1", 5061 if row.transport == "tls" else 5060), row.transport)
    s.outside.append(client.close)
    streams = [Stream(client.ip, i + 1, f"{row.number}-{i}", 60, row.codec, Srtp() if row.protection else None) for i in range(2)]
    check(client.invite(streams, metadata([("YW5u", f"sip:{a}@example.com", "Ann", ["1"]),
                                           ("Ym9i", f"sip:{b}@example.com", "Bob", ["2"])])) == 200, client.last)
    client.talk()
    time.sleep(TALK)
    client.quiet()
    check(client.simple("BYE") == 200, client.last)
    return [(a, b, {a: [streams[0].pcm()], b: [streams[1].pcm()]}, min(x.sent for x in streams) / 50)]


def place(s, row):
    if row.client == "siprec":
        return siprec_session(s, row)
    if row.client == "baresip":
        return baresip_call(s, row)
    return attended(s, row) if row.feature == "attended transfer" else sipp_call(s, row)


# -- What was recorded ---------------------------------------------------------------------------------


def recorded(node, who, to):
    def ready():
        found = [r for r in node.recordings() if (r["from"], r["to"]) == (who, to)]
        if len(found) != 1:
            raise ValueError(f"{len(found)} recordings of {who} to {to}")
        rec = node.recording(found[0]["id"])
        return rec if rec["state"] != "capturing" and not rec["pending"] else None
    return wait_for(f"the recording of {who} to {to}", ready, 30, every=0.3)


class Original:
    """An original export: payloads by stream, and what the tape says of itself."""

    def __init__(self, s, node, rec):
        folder = s.folder / "original" / rec["id"]
        folder.parent.mkdir(exist_ok=True)
        done = node.cli_raw("recording", "export", rec["id"], "--format", "original", "--out", str(folder), "--reason", "test")
        check(done.returncode == 0, f"original export: {done.stderr.decode()}")
        self.meta = b"".join(p.read_bytes() for p in sorted(folder.glob("*-meta.txt"))).decode(errors="replace")
        self.streams = {}
        for path in sorted(folder.glob("*.csv")):
            raw = path.with_suffix(".raw").read_bytes()
            rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
            number = int(re.search(r"stream(\d+)", path.name).group(1))
            self.streams[number] = [(int(r[0]), int(r[1]), int(r[3]), raw[int(r[5]):int(r[5]) + int(r[6])], int(r[2]))
                                    for r in rows if r[7] != "rtcp"]

    def party_of(self):
        return {int(n): int(p) for n, p in re.findall(r"(?m)^stream number=(\d+) ssrc=\S+ party=(\d+)", self.meta)}

    def packets(self, party):
        """[(sequence, timestamp, payload type, payload, arrival in us)] of a party, as they came."""
        found = [x for n, p in self.party_of().items() if p == party for x in self.streams.get(n, [])]
        return sorted(found, key=lambda x: x[4])

    def payload(self, party, kind):
        """The payloads of a type, in their order, once each."""
        packets = {q: d for q, _t, k, d, _at in self.packets(party) if k == kind}
        return b"".join(packets[q] for q in sorted(packets))

    def longest_silence(self, party):
        times = [x[4] for x in self.packets(party)]
        return max((b - a for a, b in zip(times, times[1:])), default=0) / 1e6


def on_the_wire(row, original):
    """The recording itself says that the row is what it claims."""
    vias = set(re.findall(r"(?mi)^(?:via|v): *SIP/2.0/([A-Z]+)", original.meta))
    check(row.client == "siprec" or vias == {row.transport.upper()}, f"SIP over {vias}")
    streams = re.findall(r"(?m)^stream number=.*$", original.meta)
    for line in streams:
        source = re.search(r" src=(\S+)", line).group(1)
        check((source.count(":") > 1) == (row.family == 6), f"from {source}")
        check(("srtp=" in line) == bool(row.protection), line)
        codec = re.search(r" codec=(\S+)", line).group(1)
        check(codec.lower() in (row.codec.lower(), "telephone-event") or "re-INVITE" in row.feature, line)
    if row.protection == "dtls":
        check("a=fingerprint" in original.meta and "a=crypto" not in original.meta, "no DTLS-SRTP in the description")
    suites = {m for line in streams for m in re.findall(r" srtp=(\S+)", line)}
    row.result["suite"] = ",".join(sorted(suites))


def digits_in(row, original):
    """Keys as the tape has them, once for each press."""
    if row.feature == "INFO digits":
        return "".join(re.findall(r"(?m)^Signal=(.)", original.meta))
    if row.protection:
        return None  # an original export is protected
    events = {}
    for packets in original.streams.values():
        for _sequence, timestamp, kind, data, _at in packets:
            if kind == 101 and len(data) >= 4:
                events[timestamp] = "0123456789*#ABCD"[data[0]]
    return "".join(events[t] for t in sorted(events))


def exact(channel, sounds, least, held, clear):
    """Every sample of the channel is what was sent, from its beginning on (but for `clear` packets): in one piece, unless the
    codec changes or there is a hold."""
    sent = [x for sound in sounds for x in sound]
    found = audio.pieces(channel, sent)
    samples = sum(n for _here, _there, n in found)
    check(found[0][1] == clear * audio.FRAME and (held or len(found) == len(sounds)), f"pieces {found}")
    check(samples >= (least - SLACK) * audio.RATE, f"{samples / audio.RATE:.2f} s of sound, want {least} s: pieces {found}")
    return samples


def packets_in_the_clear(row, original, party, sent):
    """How many packets a telephone sent unprotected before DTLS had a key: kept as received (here: recognised), not played."""
    if row.protection != "dtls":
        return 0
    clear = 0
    for _sequence, _timestamp, kind, data, _at in original.packets(party):
        if audio.to_pcm(data, row.codec) != sent[clear * audio.FRAME:(clear + 1) * audio.FRAME]:
            return clear
        clear += 1
    raise Broken("all of it was sent in the clear")


def audio_of(row, rec, node, original, path, sounds, least):
    """Words for the column `audio`."""
    done = node.cli_raw("recording", "export", rec["id"], "--format", "wav", "--out", str(path), "--reason", "test", timeout=120)
    # Of a stream that is protected nothing is played that is not authentic: what was sent before DTLS had a key is not.
    before_dtls = done.returncode == 6 and row.protection == "dtls" and b"no key that is known opens them" in done.stderr
    check(done.returncode == 0 or before_dtls, f"export: {done.stderr.decode()}")
    channels, rate = audio.read_wav(path)
    check(len(channels) == 2, f"{len(channels)} channels")
    names = [rec["from"], rec["to"]]
    if row.codec == "G722" and row.client == "sipp":
        size = 0
        for i, name in enumerate(names):
            data = original.payload(i, 9)
            check(sounds[name][0].startswith(data), f"the payload of {name} is not what was sent")
            check(len(data) >= (least - SLACK) * 8000, f"{len(data)} bytes of {name}")
            check(any(channels[i]), f"the channel of {name} is silent")
            size += len(data)
        return f"{size} bytes exact", rate
    if row.codec in audio.DECODE:
        clear = [packets_in_the_clear(row, original, i, sounds[n][0]) for i, n in enumerate(names)]
        samples = sum(exact(channels[i], sounds[n], least, row.feature == "hold", clear[i]) for i, n in enumerate(names))
        return f"{samples} samples exact{f', {sum(clear)} packets before DTLS' if sum(clear) else ''}", rate
    medians, worst = [], []
    for i, name in enumerate(names):
        median, low, seconds = audio.resemble(channels[i], rate, sounds[name][0])
        check(low >= LEAST[row.codec], f"{name}: correlation {median:.3f}, least {low:.3f}, want {LEAST[row.codec]}")
        check(abs(seconds - least) <= SLACK + 1, f"{name}: {seconds:.2f} s of sound, want {least} s")
        medians.append(median)
        worst.append(low)
    other = audio.resemble(channels[0], rate, sounds[names[1]][0])[0]
    check(other < 0.5, f"the other party's sound correlates by {other:.3f}, too: this proves nothing")
    return f"r {min(medians):.3f}, least {min(worst):.3f}", rate


def seen_of(node, row, rec):
    """What who has no key sees of the tapes: with opus, whose packets are as long as what is said, a block for each second, of
    one size from where it fits on (decision 0122); nothing is added to those of other codecs."""
    for segment in node.recording(rec["id"])["segments"]:
        size, seconds, sizes, at = segment["block_bytes"], [], [], 160
        check((size is not None) == (row.codec == "opus"), f"blocks of {size} bytes with {row.codec}")
        data = (node.media / segment["file"]).read_bytes()
        while data[at:at + 2] == b"\xe7\xc4":
            _, kind, flags, n, _, t_ms = struct.unpack_from(">HBBIII", data, at)
            at += 20 + n
            check(size is None or kind in (5, 6, 8) or not seconds, f"a record of kind {kind} beside the blocks")
            if kind == 8:
                check(flags == 1, f"a block with flags {flags}")
                seconds.append(t_ms // 1000)
                sizes.append(n - 16)
        check(sizes == sorted(sizes) and len(set(sizes)) < 4 and sizes[-1:] in ([], [size]), f"blocks of {sizes} bytes")
        once = sorted(set(seconds))  # of that in which media begins there may be two
        check(once == list(range(once[0], once[0] + len(once))) and len(once) + 1 >= len(seconds) if once else size is None,
              f"seconds {seconds}")


def judge(s, node, row, expected):
    words, calls, packets, lost = [], {}, 0, 0
    for who, to, sounds, least in expected:
        rec = recorded(node, who, to)
        calls[(who, to)] = rec["call"]
        check(rec["problem"] == "" and rec["call_state"] == "answered", f"{rec['call_state']}: {rec['problem']}")
        packets += sum(x["packets"] for x in rec["streams"])
        lost += sum(x["lost"] for x in rec["streams"])
        seen_of(node, row, rec)
        original = Original(s, node, rec)
        on_the_wire(row, original)
        for party in (0, 1):
            silence = original.longest_silence(party)
            check((silence > 1.2) == (row.feature == "hold"), f"party {party} was silent for {silence:.2f} s")
        if "digits" in row.result:
            found = digits_in(row, original)
            check(found in (None, row.result["digits"]), f"keys {found}, want {row.result['digits']}")
        said, rate = audio_of(row, rec, node, original, s.folder / f"{rec['id']}.wav", sounds, least)
        words.append(said)
    check(lost == 0, f"{lost} packets lost")
    if "same call" in row.result:
        x, y = row.result.pop("same call")
        check(calls[x] == calls[y], "the call that replaces another is not joined with it")
    row.result.update(recordings=len(expected), packets=packets, lost=lost, rate=rate, audio="; ".join(words))


def attempt(row, step, *args):
    """The value of a step of a row, or None: it failed, and the row says why."""
    try:
        return step(*args)
    except Exception as error:  # pylint: disable=broad-except
        row.result.update(ok=False, audio=f"{type(error).__name__}: {error}")
        return None


COLUMNS = (("row", 4), ("client", 8), ("over", 5), ("IP", 3), ("codec", 6), ("protection", 24), ("what happens", 23), ("packets", 8),
           ("lost", 5), ("audio", 0))


def show(rows):
    print("".join(name.upper().ljust(width) for name, width in COLUMNS))
    for row in rows:
        r = row.result
        protection = f"{row.protection} {r.get('suite', '')}".strip() or "-"
        values = (row.number, row.client, row.transport, row.family, row.codec, protection.replace("_HMAC_SHA1", ""), row.feature or "-",
                  r.get("packets", ""), r.get("lost", ""), ("" if r["ok"] else "FAILED ") + r["audio"])
        print("".join(str(v).ljust(width) if width else str(v) for v, (_n, width) in zip(values, COLUMNS)), flush=True)


def tell(s):
    wanted = [int(a) for a in sys.argv[1:] if a.isdigit()]
    rows = [r for r in table() if not wanted or r.number in wanted]
    node = make_node(s, rows)
    for row in rows:
        sounds_for(s, row)
    s.say(f"{node.name} records on br0; {len(rows)} calls, {BESIDE} at a time")
    with concurrent.futures.ThreadPoolExecutor(BESIDE) as pool:
        expected = list(pool.map(lambda r: attempt(r, place, s, r), rows))
    s.say("all have hung up; what was recorded is exported, and compared with what was sent")
    for row, wanted_audio in zip(rows, expected):
        if wanted_audio is not None:
            attempt(row, judge, s, node, row, wanted_audio)
    show(rows)
    if "--json" in sys.argv:
        out = [{k: v for k, v in dataclasses.asdict(r).items() if k != "result"} | r.result for r in rows]
        pathlib.Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps(
            {"schema": "evertape/clients/v1", "rows": out}, indent=1) + "\n")
    failed = [r.number for r in rows if not r.result["ok"]]
    if failed:
        raise Broken(f"rows {failed} of {len(rows)}")
    s.say(f"{len(rows)} of {len(rows)} rows: what is exported is what was sent")


if __name__ == "__main__":
    if os.geteuid() == 0:
        alone()
    for module in ("aufile", "srtp", "dtls_srtp", "opus", "g722", "gsm"):
        if not (phones.MODULES / f"{module}.so").exists():
            skip(f"needs baresip's module {module}: run ops/packages (baresip-core)")
    sys.exit(run("clients", tell, "baresip", "openssl", "ip", "unshare", "nsenter"))
