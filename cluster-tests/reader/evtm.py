#!/usr/bin/env python3
"""A second reader of EVTM/1 and EVTP/1, written from ops/doc/formats/tape.md and proof.md alone: it shares no line with
node/tape.

  evtm.py verify FILE [--root HEX] [--signer HEX] [--seal HEX] [--object HEX]   without a key; exit 9: it does not verify
  evtm.py prefix FILE                                              the longest prefix of whole records
  evtm.py proof FILE                                               a proof of an excerpt; exit 9 likewise
  evtm.py open FILE --dek HEX                                      records, packets and facts as JSON lines
  evtm.py seek FILE --dek HEX --at MS                              the same from the checkpoint before MS on, the rest unread
  evtm.py file FILE --dek HEX --out PATH                           the file that the tape was made of, byte for byte

Needs Debian's python3-cryptography. For checking and for tapes of kilobytes: its CRC is a loop in Python.
"""
import argparse
import copy
import hashlib
import json
import struct
import sys

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HEADER, RECORD_HEAD, TRAILER, TAG = 160, 20, 192, 16
MEDIA, META, KEYS, CHECKPOINT, INDEX, END, FILE, BLOCK = range(1, 9)
KINDS = {MEDIA: "MEDIA", META: "META", KEYS: "KEYS", CHECKPOINT: "CHECKPOINT", INDEX: "INDEX", END: "END", FILE: "FILE",
         BLOCK: "BLOCK"}
PADDED = 1


class Bad(Exception):
    """The tape is not what it claims to be; `at` is the byte where that shows."""

    def __init__(self, text, at=None):
        super().__init__(text if at is None else f"{text} at byte {at}")
        self.at = at


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_TABLE = _crc_table()


def crc32c(*parts):
    crc = 0xFFFFFFFF
    for part in parts:
        for byte in part:
            crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def sha256(*parts):
    h = hashlib.sha256()
    for part in parts:
        h.update(part)
    return h.digest()


def hkdf(dek, salt, info, size=32):
    return HKDF(hashes.SHA256(), size, salt, info).derive(dek)


def merkle_root(leaves):
    """RFC 6962, section 2.1."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\1", merkle_root(leaves[:k]), merkle_root(leaves[k:]))


class Header:
    def __init__(self, data):
        if len(data) < HEADER:
            raise Bad("no whole header", len(data))
        b = data[:HEADER]
        if b[:4] != b"EVTM":
            raise Bad("not a tape", 0)
        if b[4] != 1 or b[5] != 1:
            raise Bad(f"version {b[4]}, suite {b[5]}", 4)
        if sha256(b[:128]) != b[128:]:
            raise Bad("the header's hash does not fit", 128)
        (flags,) = struct.unpack_from(">H", b, 6)
        if flags:
            raise Bad(f"flags {flags:#x} of a newer version", 6)
        self.recording = b[8:24]
        self.generation, self.segment = struct.unpack_from(">II", b, 24)
        self.salt, self.commitment = b[32:64], b[64:96]
        self.kek, self.kek_version, self.dek_id, self.node, self.t0_us = struct.unpack_from(">IIQQq", b, 96)
        self.hash = b[128:160]
        if not self.generation or not self.segment:
            raise Bad("generation and segment count from 1", 24)


class Trailer:
    """The last 192 bytes, or None when there are none (`find`)."""

    @staticmethod
    def find(data, header):
        b = data[-TRAILER:]
        if len(data) < HEADER + 8 + TRAILER or (b[:4] != b"EVTF" and b[188:] != b"EVTE"):
            return None
        return Trailer(b, len(data), header)

    def __init__(self, b, size, header):
        at = size - TRAILER
        if b[:4] != b"EVTF" or b[188:] != b"EVTE" or struct.unpack_from(">I", b, 184)[0] != crc32c(b[:184]):
            raise Bad("the trailer is damaged", at)
        if b[4] != 1 or b[5] != 1:
            raise Bad(f"trailer of version {b[4]}, suite {b[5]}", at)
        self.flags, self.records, self.last_ms, self.body = struct.unpack_from(">HIIQ", b, 6)
        self.root = b[24:56]
        self.signed_us, self.signer = struct.unpack_from(">qQ", b, 56)
        self.public, self.signature = b[72:104], b[104:168]
        self.seal = sha256(b"evtm/1 seal\0", header.hash, b)
        length, zero = struct.unpack_from(">QQ", b, 168)
        if self.flags & ~3 or zero:
            raise Bad("trailer of a newer version", at)
        if length != size or self.body + 8 + 32 * self.records + TRAILER != size or self.body < HEADER:
            raise Bad("lengths do not fit", at)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(
                self.signature, b"evtm/1 footer\0" + header.hash + b[:104])
        except (InvalidSignature, ValueError):
            raise Bad("the signature does not fit", at) from None


class Record:
    def __init__(self, data, at, limit, number, header):
        if limit - at < RECORD_HEAD:
            raise Bad("no whole record head", at)
        magic, kind, flags, n, seq, t_ms, crc = struct.unpack_from(">HBBIIII", data, at)
        if magic != 0xE7C4 or seq != number or not 17 <= n <= 131088:
            raise Bad(f"no record {number}", at)
        if limit - at < RECORD_HEAD + n:
            raise Bad(f"record {number} is cut", at)
        self.at, self.end = at, at + RECORD_HEAD + n
        self.bytes = data[at:self.end]
        if crc32c(header.hash, self.bytes[:16], self.bytes[20:]) != crc:
            raise Bad(f"the CRC of record {number} does not fit", at)
        self.kind, self.flags, self.seq, self.t_ms = kind, flags, seq, t_ms
        self.leaf = sha256(b"\0", self.bytes)


def walk(data, header, limit):
    """Records in order; the last item is the Bad that ended it, or None at the limit."""
    at, number, last_ms = HEADER, 0, 0
    while at < limit:
        try:
            record = Record(data, at, limit, number, header)
            if record.t_ms < last_ms:
                raise Bad(f"record {number} goes back in time", at)
        except Bad as bad:
            yield bad
            return
        yield record
        at, number, last_ms = record.end, number + 1, record.t_ms
    yield None


def verify(data, root=None, signer=None, seal=None, obj=None):
    """The seven steps of the page. Returns (header, trailer, records), or raises Bad."""
    header = Header(data)
    trailer = Trailer.find(data, header)
    if trailer is None:
        raise Bad("no footer: the tape is open", len(data))
    *records, end = walk(data, header, trailer.body)
    if end is not None:
        raise end
    at = trailer.body
    if len(records) != trailer.records or (records[-1].end if records else HEADER) != at:
        raise Bad("another number of records than the trailer says", at)
    if (records[-1].t_ms if records else 0) != trailer.last_ms:
        raise Bad("another last time than the trailer says", at)
    leaves = [r.leaf for r in records]
    if data[at:at + 8] != struct.pack(">4sI", b"EVTL", len(records)) or data[at + 8:-TRAILER] != b"".join(leaves):
        raise Bad("the list of leaves is not that of the records", at)
    if merkle_root(leaves) != trailer.root:
        raise Bad("the root is not that of the records", at)
    for name, known, found in (("root", root, trailer.root), ("signer", signer, trailer.public),
                               ("seal", seal, trailer.seal), ("object", obj, obj and sha256(data))):
        if known is not None and known != found:
            raise Bad(f"another {name} than expected", at)
    return header, trailer, records


def prefix(data):
    """(records, their end): what is authentic of a tape without a whole trailer."""
    header = Header(data)
    *records, _ = walk(data, header, len(data))
    return records, records[-1].end if records else HEADER


class Part:
    """One segment's part of a proof (ops/doc/formats/proof.md)."""

    def __init__(self, data, at):
        if len(data) - at < 16 + HEADER + TRAILER:
            raise Bad("the proof is cut", at)
        magic, version, flags, h, self.first, self.count = struct.unpack_from(">4sBBHII", data, at)
        if magic != b"EVTX" or version != 1 or flags & ~1:
            raise Bad("no part of a proof", at)
        self.leaves_only = bool(flags)
        self.header = Header(data[at + 16:])
        b = data[at + 16 + HEADER:at + 16 + HEADER + TRAILER]
        self.trailer = Trailer(b, struct.unpack_from(">Q", b, 168)[0], self.header)
        if not self.count or self.first + self.count > self.trailer.records:
            raise Bad("numbers of records", at)
        at += 16 + HEADER + TRAILER
        hashes = [data[at + 32 * i:at + 32 * (i + 1)] for i in range(h)]
        at += 32 * h
        if self.leaves_only:
            leaves = [data[at + 32 * i:at + 32 * (i + 1)] for i in range(self.count)]
            at += 32 * self.count
        else:
            leaves, last_ms = [], 0
            for number in range(self.first, self.first + self.count):
                record = Record(data, at, len(data), number, self.header)
                if record.t_ms < last_ms:
                    raise Bad(f"record {number} goes back in time", at)
                leaves.append(record.leaf)
                at, last_ms = record.end, record.t_ms
        if at > len(data):
            raise Bad("the proof is cut", len(data))
        self.end = at
        if self._root(0, self.trailer.records, leaves, hashes) != self.trailer.root or hashes:
            raise Bad("not the records under the signed root", at)

    def _root(self, low, size, leaves, hashes):
        if low + size <= self.first or self.first + self.count <= low:
            if not hashes:
                raise Bad("a hash is missing")
            return hashes.pop(0)
        if self.first <= low and low + size <= self.first + self.count:
            return merkle_root(leaves[low - self.first:low - self.first + size])
        k = 1
        while k * 2 < size:
            k *= 2
        left = self._root(low, k, leaves, hashes)
        return sha256(b"\1", left, self._root(low + k, size - k, leaves, hashes))


def proof(data):
    """The parts of a proof, or Bad."""
    if len(data) < 16 or data[:4] != b"EVTP" or data[4:8] != b"\1\0\0\0":
        raise Bad("no proof", 0)
    count, crc = struct.unpack_from(">II", data, 8)
    if crc != crc32c(data[:12]):
        raise Bad("the proof's head", 0)
    parts, at = [], 16
    for _ in range(count):
        parts.append(Part(data, at))
        at = parts[-1].end
        if parts[-1].header.recording != parts[0].header.recording:
            raise Bad("parts of several recordings", at)
    if not parts or at != len(data):
        raise Bad("longer or shorter than it says", at)
    return parts


def unlock(header, dek):
    if len(dek) != 32 or hkdf(dek, header.salt, b"evtm/1 commit") != header.commitment:
        raise Bad("the key is not that of this tape", 64)
    return AESGCM(hkdf(dek, header.salt, b"evtm/1 chunk"))


def plain_of(record, header, cipher):
    try:
        plain = cipher.decrypt(bytes(8) + struct.pack(">I", record.seq), record.bytes[20:],
                               header.hash + record.bytes[:16])
    except InvalidTag:
        raise Bad(f"the tag of record {record.seq} does not fit", record.at) from None
    if record.flags != (PADDED if record.kind == BLOCK else 0):
        raise Bad(f"record {record.seq} has flags {record.flags:#x} of a newer version", record.at)
    return plain


def contents(record, plain):
    """(record, plaintext) of what is in a record: of a BLOCK its items, each as if it were a record there."""
    if record.kind != BLOCK:
        yield record, plain
        return
    b = Bytes(plain)
    if b.number(1) != 1:
        raise Bad(f"record {record.seq} is a BLOCK of a newer version", record.at)
    while b.left():
        kind = b.number(1)
        if kind == 0:
            return
        item = copy.copy(record)
        item.kind, item.t_ms, data = kind, b.number(4), b.take(b.number(4))
        if kind in (CHECKPOINT, INDEX, END, BLOCK) or not data:
            raise Bad(f"an item of the BLOCK that is record {record.seq}", record.at)
        yield item, data


# ---- Plaintexts --------------------------------------------------------------------------------------------


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if n > len(self.data) - self.at:
            raise Bad("a plaintext ends too early", self.at)
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, n, signed=False):
        return int.from_bytes(self.take(n), "big", signed=signed)

    def varint(self):
        value, shift = 0, 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def zigzag(self):
        v = self.varint()
        return v >> 1 if v % 2 == 0 else -(v >> 1) - 1

    def text(self):
        return self.take(self.varint()).decode("utf-8", "backslashreplace")

    def left(self):
        return len(self.data) - self.at


def media(plain):
    """The packets of a MEDIA record."""
    b = Bytes(plain)
    if b.number(1) != 1:
        raise Bad("MEDIA of a newer version")
    arrival = b.number(8, signed=True)
    streams = {}
    while b.left():
        stream, flags = b.varint(), b.number(1)
        arrival += b.zigzag()
        p = {"stream": stream, "arrival_us": arrival}
        if flags & 0x04:
            p.update(rtcp=True, payload=b.take(b.varint() if flags & 0x80 else streams[stream]["size"]))
            yield p
            continue
        s = streams.get(stream)
        if flags & 0x08:
            s = streams[stream] = {"pt": b.number(1), "seq": b.number(2), "ts": b.number(4), "step": 0}
        else:
            if s is None:
                raise Bad(f"stream {stream} has no first packet")
            if flags & 0x10:
                s["pt"] = b.number(1)
            s["seq"] = (s["seq"] + 1 + (b.zigzag() if flags & 0x20 else 0)) % 65536
            if flags & 0x40:
                s["step"] = b.zigzag()
            s["ts"] = (s["ts"] + s["step"]) % 2**32
        if flags & 0x80:
            s["size"] = b.varint()
        p.update(pt=s["pt"], seq=s["seq"], ts=s["ts"], marker=bool(flags & 1), whole=bool(flags & 2),
                 payload=b.take(s["size"]))
        yield p


def meta(plain):
    """The items of a META record; of an unknown type only its number."""
    b = Bytes(plain)
    if b.number(1) != 1:
        raise Bad("META of a newer version")
    while b.left():
        kind, i = b.varint(), Bytes(b.take(b.varint()))
        if kind == 1:
            yield {"item": "stream", "stream": i.number(1), "ssrc": i.number(4), "party": i.number(1),
                   "pt": i.number(1), "channels": i.number(1), "clock_rate": i.number(4), "codec": i.text(),
                   "src": i.text(), "dst": i.text(), "srtp": i.text() if i.left() else None}
        elif kind == 2:
            yield {"item": "codec", "stream": i.number(1), "pt": i.number(1), "channels": i.number(1),
                   "clock_rate": i.number(4), "codec": i.text(), "fmtp": i.text()}
        elif kind == 3:
            yield {"item": "sdp", "time_us": i.number(8, signed=True), "party": i.number(1), "text": i.text()}
        elif kind == 4:
            yield {"item": "sip", "time_us": i.number(8, signed=True), "src": i.text(), "dst": i.text(),
                   "text": i.text()}
        elif kind == 5:
            yield {"item": "fact", "time_us": i.number(8, signed=True), "party": i.number(1), "key": i.text(),
                   "value": i.text()}
        elif kind == 6:
            yield {"item": "mark", "what": i.number(1), "from_us": i.number(8, signed=True),
                   "to_us": i.number(8, signed=True), "cause": i.text()}
        else:
            yield {"item": kind}


def keys(plain):
    """The items of a KEYS record; of an unknown type only its number."""
    b = Bytes(plain)
    if b.number(1) != 1:
        raise Bad("KEYS of a newer version")
    while b.left():
        kind, i = b.varint(), Bytes(b.take(b.varint()))
        if kind == 1:
            k = {"item": "srtp", "time_us": i.number(8, signed=True), "origin": i.number(1), "party": i.number(1),
                 "suite": i.number(1)}
            one_source, ssrc = i.number(1), i.number(4)
            k.update(ssrc=ssrc if one_source else None, tag=i.number(4), mki=i.take(i.number(1)),
                     material=i.take(i.number(1)))
            if one_source > 1 or len(k["mki"]) > 128 or len(k["material"]) > 64:
                raise Bad("an SRTP key that the format does not have")
            yield k
        else:
            yield {"item": kind}


NEVER = -2**53


def checkpoint(plain):
    """The items of a CHECKPOINT or an INDEX; of an unknown type only its number."""
    b = Bytes(plain)
    if b.number(1) != 1:
        raise Bad("CHECKPOINT of a newer version")
    while b.left():
        kind, i = b.varint(), Bytes(b.take(b.varint()))
        if kind == 1:
            yield {"item": "meta", "items": list(meta(i.data))}
        elif kind == 2:
            yield clock(i)
        elif kind == 3:
            yield {"item": "types", "stream": i.number(1), "types": list(i.take(i.left()))}
        elif kind == 4:
            entries, at = [], (0, 0, 0)
            while i.left():
                at = tuple(a + i.varint() for a in at)
                entries.append(at)
            yield {"item": "list", "entries": entries}
        elif kind == 5:
            yield {"item": "keys", "count": i.number(4)}
        elif kind == 6:
            yield {"item": "padding", "bytes": i.left()}
        else:
            yield {"item": kind}


def clock(i):
    def point():
        p = {"anchor_us": i.number(8, True), "ticks": i.number(8, True), "ts": i.number(4), "seq": i.number(2),
             "floor_us": i.number(8, True), "shift_us": i.number(8, True)}
        if not all(NEVER <= p[name] <= 0 for name in ("floor_us", "shift_us")):
            raise Bad("a clock that goes along by what no clock does")
        return p

    stream, flags = i.number(1), i.number(1)
    c = {"item": "clock", "stream": stream, "rate": i.number(4), "now": point(), "anchor_seq": i.number(2),
         "arrival_us": i.number(8, True), "length": i.number(4), "anchors": i.number(4)}
    c["first"] = {"arrival_us": i.number(8, True), "plays_us": i.number(8, True), "ts": i.number(4),
                  "seq": i.number(2), "marker": bool(flags & 2)}
    c["before"] = point() if flags & 1 else None
    if not 1 <= c["rate"] <= 1000000:
        raise Bad("a clock of a rate that there is not")
    return c


class Clock:
    """When the packets of a stream play, by the rules of the page. For one segment."""

    def __init__(self, begin_us=None):
        self.begin_us, self.rate, self.now, self.before, self.anchors = begin_us, None, None, None, 0

    def _us(self, ticks):
        return -(-ticks * 1000000 // self.rate)

    def _plays(self, point, ts):
        step = (ts - point["ts"] + 2**31) % 2**32 - 2**31
        return point["anchor_us"] + self._us(point["ticks"] + step), point["ticks"] + step

    def _anchor(self, p, at, floor, shift):
        self.now = {"anchor_us": at, "ticks": 0, "ts": p["ts"], "seq": p["seq"], "floor_us": max(floor, NEVER),
                    "shift_us": max(shift, NEVER)}
        self.anchor_seq, self.arrival = p["seq"], p["arrival_us"]

    def add(self, p, rate):
        arrival = p["arrival_us"]
        if self.now is not None and rate != self.rate:
            self.now, self.before, self.anchors = None, None, self.anchors + 1
        if self.now is None:
            self.rate, self.length = rate, 0
            early = self.begin_us is not None and self.begin_us - 10000 <= arrival < self.begin_us
            self._anchor(p, self.begin_us if early else arrival, *((0, NEVER) if self.anchors else (NEVER, 0)))
            if not self.anchors:
                self.first = {"arrival_us": arrival, "plays_us": self.now["anchor_us"], "ts": p["ts"], "seq": p["seq"],
                              "marker": p["marker"]}
            return
        def ahead(seq, of):
            return (seq - of + 2**15) % 2**16 - 2**15
        step = ahead(p["seq"], self.now["seq"])
        plays, ticks = self._plays(self.now, p["ts"])
        moved = ticks - self.now["ticks"]
        if -3000 < step <= 0:
            if self.before is not None and ahead(p["seq"], self.anchor_seq) < 0:
                return
            us = self._us(moved)
            if us <= 0 and (us > -10000000 or us >= step * 250000):
                return
        if self.before is not None and 0 < (p["seq"] - self.before["seq"]) % 2**16 < 3000:
            then, then_ticks = self._plays(self.before, p["ts"])
            if then_ticks > self.before["ticks"] and abs(then - arrival) < 1000000 and abs(plays - arrival) > 5000000:
                self.now, self.before = {**self.before, "ticks": then_ticks, "ts": p["ts"], "seq": p["seq"]}, self.now
                self.anchor_seq, self.arrival = p["seq"], arrival
                return
        gained = self._us(moved) - (arrival - self.arrival)
        if (step <= 0 or moved < 0 or (plays - arrival > 1000000 and gained > 1000000) or plays - arrival < -5000000 or
                (p["marker"] and plays - arrival < -500000 and gained < -500000)):
            end = self.now["anchor_us"] + self._us(self.now["ticks"] + (self.length or self.rate // 50))
            m, old = max(arrival, end), self.now
            def along(us):
                return us + end - m if us > NEVER else NEVER
            self.anchors += 1
            self._anchor(p, m, max(arrival - m, along(old["floor_us"])), along(old["shift_us"]))
            self.before = old
            return
        if step == 1 and 0 < moved and self._us(moved) <= 250000:
            self.length = moved
        self.now = {**self.now, "ticks": ticks, "ts": p["ts"], "seq": p["seq"]}
        self.arrival = arrival

    def item(self, stream):
        return {"item": "clock", "stream": stream, "rate": self.rate, "now": self.now, "anchor_seq": self.anchor_seq,
                "arrival_us": self.arrival, "length": self.length, "anchors": self.anchors, "first": self.first,
                "before": self.before}


class Sought:
    """A sealed tape in an open file, of which only what is asked for is read."""

    def __init__(self, file, dek):
        self.file, self.bytes_read = file, 0
        size = file.seek(0, 2)
        self.header = Header(self.read(0, HEADER))
        self.cipher = unlock(self.header, dek)
        self.trailer = Trailer(self.read(max(size - TRAILER, 0), TRAILER), size, self.header)

    def read(self, at, n):
        self.file.seek(at)
        data = self.file.read(n)
        self.bytes_read += len(data)
        return data

    def record(self, at, number):
        """(record, plaintext) of the record at byte `at`."""
        limit = self.trailer.body
        head = self.read(at, min(RECORD_HEAD, limit - at))
        n = struct.unpack_from(">I", head, 4)[0] if len(head) == RECORD_HEAD else 0
        data = head + self.read(at + len(head), min(n, 131088, max(limit - at - len(head), 0)))
        record = Record(data, 0, len(data), number, self.header)
        record.at, record.end = at, at + record.end
        return record, plain_of(record, self.header, self.cipher)

    def index(self):
        """The items of the INDEX, or None."""
        try:
            end, plain = self.record(self.trailer.body - 52, self.trailer.records - 1)
            if end.kind != END or plain[:4] != b"\1\0\0\0" or len(plain) != 16:
                return None
            number, at = struct.unpack(">IQ", plain[4:])
            index, plain = self.record(at, number)
            return list(checkpoint(plain)) if index.kind == INDEX else None
        except Bad:
            return None

    def _scan(self):
        at, number = HEADER, 0
        while number < self.trailer.records:
            magic, kind, _, n, seq, t_ms, _ = struct.unpack(">HBBIIII", self.read(at, RECORD_HEAD))
            if magic != 0xE7C4 or seq != number:
                raise Bad(f"no record {number}", at)
            if kind == CHECKPOINT:
                yield number, at, t_ms
            at, number = at + RECORD_HEAD + n, number + 1

    def find(self, ms):
        """(number, offset) of the last checkpoint with a t_ms of at most `ms`; of the first record where there is none."""
        items = self.index()
        lists = [i["entries"] for i in items or () if i["item"] == "list"]
        before = [e for e in (lists[0] if lists else self._scan()) if e[2] <= ms]
        return before[-1][:2] if before else (0, HEADER)

    def records(self, number, at):
        while number < self.trailer.records:
            record, plain = self.record(at, number)
            yield from contents(record, plain)
            number, at = number + 1, record.end


def opened(data, dek):
    """(record, plaintext) of every record, or item of a BLOCK. A sealed tape must verify; of an open one, its whole records."""
    header = Header(data)
    cipher = unlock(header, dek)
    records = prefix(data)[0] if Trailer.find(data, header) is None else verify(data)[2]
    for record in records:
        yield from contents(record, plain_of(record, header, cipher))


def file_items(plain):
    """The items of a FILE record; of an unknown type only its number."""
    b = Bytes(plain)
    if b.number(1) != 1:
        raise Bad("FILE of a newer version")
    while b.left():
        kind, i = b.varint(), Bytes(b.take(b.varint()))
        if kind == 1:
            yield {"item": "medium", "size": i.number(8), "sha256": i.take(32), "channels": i.number(1),
                   "sample_bytes": i.number(1), "swapped": bool(i.number(1) & 1),
                   "format": i.take(i.number(1)).decode("utf-8", "backslashreplace"),
                   "name": i.take(i.number(1)).decode("utf-8", "backslashreplace")}
        elif kind in (2, 3):
            yield {"item": "bytes" if kind == 2 else "splice", "offset": i.number(8), "bytes": i.take(i.left())}
        else:
            yield {"item": kind}


def weave(data, dek):
    """(medium, bytes) of the file that the tape was made of, or Bad."""
    medium, out, left, within = None, bytearray(), None, []
    for record, plain in opened(data, dek):
        for i in file_items(plain) if record.kind == FILE else ():
            if i["item"] == "medium":
                medium = medium or i
            elif i["item"] == "bytes":
                if medium is None or left is not None or within or i["offset"] != len(out):
                    raise Bad(f"a part of the file is missing before byte {i['offset']}")
                out += i["bytes"]
            elif i["item"] == "splice":
                within.append(i)
        for p in media(plain) if medium and record.kind == MEDIA else ():
            if medium["channels"] == 2 and p["stream"] == 0:
                if left is not None:
                    raise Bad("a packet of the second channel is missing")
                left = p
                continue
            pair = [left, p] if medium["channels"] == 2 else [p]
            if pair[0] is None or any(q["ts"] != p["ts"] or len(q["payload"]) != len(p["payload"]) for q in pair):
                raise Bad("packets of the two channels that do not fit")
            left, step = None, medium["sample_bytes"]
            places = [i["offset"] for i in within]
            if within and (len(pair) == 2 or step != 1 or places != sorted(places) or places[-1] > len(p["payload"])):
                raise Bad("bytes that do not fit into their packet")
            for i in reversed(within):
                p["payload"] = p["payload"][:i["offset"]] + i["bytes"] + p["payload"][i["offset"]:]
            within = []
            for at in range(0, len(p["payload"]), step):
                for q in pair:
                    sample = q["payload"][at:at + step]
                    out += sample[::-1] if medium["swapped"] else sample
    if medium is None:
        raise Bad("it was not made of a file")
    if left is not None or within or len(out) != medium["size"] or sha256(out) != medium["sha256"]:
        raise Bad("what comes out is not the file")
    return medium, bytes(out)


def tell(record, plain):
    yield {"record": record.seq, "kind": KINDS.get(record.kind, record.kind), "t_ms": record.t_ms,
           "offset": record.at, "bytes": len(plain), "sha256": sha256(plain).hex()}
    if record.kind == MEDIA:
        for p in media(plain):
            yield {**p, "payload": sha256(p["payload"]).hex(), "size": len(p["payload"])}
    elif record.kind == META:
        yield from meta(plain)
    elif record.kind == KEYS:
        for k in keys(plain):  # A secret is not shown.
            yield {**k, **{name: sha256(k[name]).hex() for name in ("mki", "material") if name in k}}
    elif record.kind == FILE:
        for i in file_items(plain):
            yield {**i, **({"sha256": i["sha256"].hex()} if i["item"] == "medium" else
                           {"bytes": sha256(i["bytes"]).hex(), "size": len(i["bytes"])} if "bytes" in i else {})}
    elif record.kind in (CHECKPOINT, INDEX):
        yield from checkpoint(plain)


def seek(path, dek, ms):
    with open(path, "rb") as f:
        tape = Sought(f, dek)
        number, at = tape.find(ms)
        print(json.dumps({"checkpoint": number if at > HEADER else None, "offset": at, "bytes_read": tape.bytes_read,
                          "of": f.seek(0, 2)}))
        for record, plain in tape.records(number, at):
            for line in tell(record, plain):
                print(json.dumps(line))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("verify", "prefix", "proof", "open", "seek", "file"))
    p.add_argument("file")
    for name in ("root", "signer", "seal", "object", "dek"):
        p.add_argument("--" + name, type=bytes.fromhex, default=None)
    p.add_argument("--at", type=int, default=0)
    p.add_argument("--out")
    a = p.parse_args()
    if a.dek is None and a.what in ("open", "seek", "file"):
        p.error(f"{a.what} needs --dek")
    if a.what == "seek":
        try:
            seek(a.file, a.dek, a.at)
        except Bad as bad:
            print(f"evtm.py: {a.file}: {bad}", file=sys.stderr)
            return 9
        return 0
    with open(a.file, "rb") as f:
        data = f.read()
    try:
        if a.what == "verify":
            header, trailer, records = verify(data, a.root, a.signer, a.seal, a.object)
            print(json.dumps({"result": "ok", "recording": header.recording.hex(), "records": len(records),
                              "root": trailer.root.hex(), "signer": trailer.public.hex(),
                              "seal": trailer.seal.hex(), "flags": trailer.flags}))
        elif a.what == "proof":
            for part in proof(data):
                print(json.dumps({"result": "ok", "recording": part.header.recording.hex(), "first": part.first,
                                  "records": part.count, "root": part.trailer.root.hex(),
                                  "signer": part.trailer.public.hex()}))
        elif a.what == "file":
            medium, whole = weave(data, a.dek)
            if a.out:
                with open(a.out, "xb") as f:
                    f.write(whole)
            print(json.dumps({**medium, "sha256": medium["sha256"].hex()}))
        elif a.what == "prefix":
            records, end = prefix(data)
            print(json.dumps({"records": len(records), "bytes": end, "root": merkle_root([r.leaf for r in records]).hex()}))
        else:
            for record, plain in opened(data, a.dek):
                for line in tell(record, plain):
                    print(json.dumps(line))
    except Bad as bad:
        print(f"evtm.py: {a.file}: {bad}", file=sys.stderr)
        return 9
    return 0


if __name__ == "__main__":
    sys.exit(main())
