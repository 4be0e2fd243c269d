#!/usr/bin/env python3
"""The second reader against the page's vector and against tapes of the real writer, whole and damaged.

Needs the program labtape in LABTAPE."""
import io
import os
import re
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import evtm  # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
LABTAPE = os.environ.get("LABTAPE", os.path.join(ROOT, "build/release/bin/labtape"))


def page():
    with open(os.path.join(ROOT, "ops/doc/formats/tape.md"), encoding="utf-8") as f:
        return f.read()


def page_vectors():
    """The blocks of hexadecimal digits on the format's page, in order."""
    blocks = re.findall(r"```\n([0-9a-f\n]+)```", page())
    return [bytes.fromhex(b.replace("\n", "")) for b in blocks]


def made(*args):
    """A tape of the real writer: (its bytes, {name: [words of each line]})."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tape.evtm")
        out = subprocess.run([LABTAPE, args[0], path, *args[1:]], check=True, capture_output=True, text=True).stdout
        facts = {}
        for line in out.splitlines():
            name, _, rest = line.partition(" ")
            facts.setdefault(name, []).append(rest.split())
        with open(path, "rb") as f:
            return f.read(), facts


def fact(facts, name):
    return bytes.fromhex(facts[name][0][0])


class Vector(unittest.TestCase):
    def setUp(self):
        self.meta, self.media, self.checkpoint, self.list, self.end, self.tape = page_vectors()[:6]
        self.dek = bytes(range(32))

    def test_it_verifies_and_opens(self):
        header, trailer, records = evtm.verify(self.tape)
        self.assertEqual((header.generation, header.segment, header.node), (1, 2, 7))
        self.assertEqual((trailer.signed_us, len(records)), (1700000060000000, 2))
        self.assertIn(f"seal hash `{trailer.seal.hex()}`", page())
        self.assertIn(f"SHA-256 `{evtm.sha256(self.tape).hex()}`", page())
        self.assertEqual([p for _, p in evtm.opened(self.tape, self.dek)], [self.meta, self.media])

    def test_a_file_record_is_that_of_the_page(self):
        medium, beside = evtm.file_items(page_vectors()[6])
        self.assertEqual((medium["size"], medium["sha256"], medium["channels"], medium["sample_bytes"], medium["swapped"],
                          medium["format"], medium["name"]),
                         (1234567890123, bytes([1, 2]) + bytes(29) + bytes([9]), 2, 2, True, "WAV", "a.wav"))
        self.assertEqual(beside, {"item": "bytes", "offset": 77, "bytes": b"RIFF"})

    def test_a_block_is_that_of_the_page(self):
        block = types.SimpleNamespace(kind=evtm.BLOCK, seq=7, at=160, t_ms=0)
        plain = page_vectors()[7]
        found = [(r.kind, r.seq, r.t_ms, p) for r, p in evtm.contents(block, plain + bytes(1024 - len(plain)))]
        self.assertEqual(found, [(evtm.META, 7, 0, self.meta), (evtm.MEDIA, 7, 250, self.media)])
        for bad in (plain[:-1], plain[:1] + b"\x08" + plain[2:], b"\2", b"\1\1" + bytes(8)):
            with self.assertRaises(evtm.Bad):
                list(evtm.contents(block, bad))

    def woven(self, channels, sample_bytes, places):
        """The page's packets as a file, with bytes at these places of the first one's payload, which has 4."""
        whole, at = bytearray.fromhex("ff7f0102030405060708"), 0
        splices = b""
        for n, place in enumerate(places):
            whole[place + at:place + at] = b"<%d>" % n
            at += 3
            splices += bytes([3, 8 + 3]) + place.to_bytes(8, "big") + b"<%d>" % n
        medium = (len(whole).to_bytes(8, "big") + evtm.sha256(whole) + bytes([channels, sample_bytes, 0, 3]) + b"Ogg" +
                  bytes(1))
        records = [(types.SimpleNamespace(kind=kind), plain) for kind, plain in (
            (evtm.FILE, bytes([1, 1, len(medium)]) + medium), (evtm.FILE, b"\1" + splices), (evtm.MEDIA, self.media))]
        with unittest.mock.patch.object(evtm, "opened", lambda data, dek: iter(records)):
            return evtm.weave(b"", b"")[1] == bytes(whole)

    def test_bytes_are_spliced_into_their_packet(self):
        for places in ([], [0], [4], [2, 2], [0, 1, 1, 4]):
            self.assertTrue(self.woven(1, 1, places), places)
        for channels, sample_bytes, places in ((1, 1, [5]), (1, 1, [3, 1]), (2, 1, [1]), (1, 2, [1])):
            with self.assertRaises(evtm.Bad):
                self.woven(channels, sample_bytes, places)

    def test_its_packets_are_those_that_the_page_names(self):
        t0 = 1700000000123456
        found = [(p["seq"], p["ts"], p["arrival_us"], p["marker"], p["payload"].hex()) for p in evtm.media(self.media)]
        self.assertEqual(found, [(65535, 1000, t0, True, "ff7f0102"), (0, 1004, t0 + 20000, False, "03040506"),
                                 (2, 1008, t0 + 19995, False, "0708")])

    def test_its_checkpoint_is_what_the_packets_make(self):
        described, types, clock = evtm.checkpoint(self.checkpoint)
        self.assertEqual(described["items"], list(evtm.meta(self.meta)))
        self.assertEqual((types["stream"], types["types"]), (0, [0]))
        mine = evtm.Clock(begin_us=1700000000123456)
        for p in evtm.media(self.media):
            mine.add(p, 8000)
        self.assertEqual(clock, mine.item(0))
        (entries,) = evtm.checkpoint(b"\1" + self.list)
        self.assertEqual(entries["entries"], [(2, 323, 250), (35, 1000, 30250)])
        self.assertEqual(self.end, b"\1\0\0\0" + (40).to_bytes(4, "big") + (1234).to_bytes(8, "big"))


class Written(unittest.TestCase):
    """Tapes of the real writer."""

    def test_records_come_back(self):
        tape, facts = made("write", "--records", "40", "--bytes", "300", "--seed", "3")
        _, trailer, _ = evtm.verify(tape, fact(facts, "root"), fact(facts, "signer"), fact(facts, "seal"))
        self.assertEqual(trailer.flags, 0)
        plains = [[evtm.sha256(p).hex()] for r, p in evtm.opened(tape, fact(facts, "dek"))
                  if r.kind in (evtm.MEDIA, evtm.META)]
        self.assertEqual(plains, facts["plain"])

    def test_packets_and_items_of_a_call_come_back(self):
        for padded in ([], ["--padded"]):
            with self.subTest(padded=padded):
                self.call_comes_back(*made("call", "--seed", "5", *padded))

    def test_a_padded_tape_has_blocks_and_checkpoints_of_few_sizes(self):
        tape, facts = made("call", "--seed", "5", "--padded")
        _, _, records = evtm.verify(tape, fact(facts, "root"))
        self.assertEqual({r.kind for r in records}, {evtm.BLOCK, evtm.CHECKPOINT, evtm.INDEX, evtm.END})
        sizes = [len(r.bytes) - 36 for r in records if r.kind == evtm.BLOCK]
        self.assertEqual(sizes, sorted(sizes))
        self.assertLessEqual(set(sizes), {2**n for n in range(10, 18)} | {3 * 2**n for n in range(9, 16)})
        self.assertEqual({(len(r.bytes) - 36) % 2048 for r in records if r.kind in (evtm.CHECKPOINT, evtm.INDEX)}, {0})
        self.assertGreater(len(sizes), 2)

    def call_comes_back(self, tape, facts):
        packets, items, keys = [], [], []
        for record, plain in evtm.opened(tape, fact(facts, "dek")):
            if record.kind == evtm.MEDIA:
                packets += [[str(int(v)) for v in (
                    p["stream"], p.get("rtcp", 0), p.get("whole", 0), p.get("marker", 0), p.get("pt", 0),
                    p.get("seq", 0), p.get("ts", 0), p["arrival_us"], len(p["payload"]))] +
                    [evtm.sha256(p["payload"]).hex()] for p in evtm.media(plain)]
            elif record.kind == evtm.META:
                items += list(evtm.meta(plain))
            elif record.kind == evtm.KEYS:
                keys += list(evtm.keys(plain))
        self.assertEqual(packets, facts["packet"])
        self.assertEqual([i["item"] for i in items], ["stream", "codec", "sdp", "sip", "fact", "mark"])
        self.assertEqual((items[0]["ssrc"], items[0]["codec"], items[0]["dst"]), (0xCAFEBABE, "PCMU", "192.0.2.2:5000"))
        self.assertEqual(items[0]["srtp"], "AES_CM_128_HMAC_SHA1_80")
        self.assertEqual((items[1]["fmtp"], items[3]["time_us"]), ("0-15", 1700000000000000 - 1))
        self.assertEqual((items[4]["key"], items[4]["value"], items[5]["to_us"]), ("from", "alice", 0))

        t0 = 1700000000000000
        self.assertEqual(keys, [
            {"item": "srtp", "time_us": t0, "origin": 1, "party": 0, "suite": 1, "ssrc": None, "tag": 7, "mki": b"",
             "material": bytes(range(30))},
            {"item": "srtp", "time_us": t0 - 1, "origin": 2, "party": 255, "suite": 6, "ssrc": 0xCAFEBABE, "tag": 0,
             "mki": bytes(range(4)), "material": bytes(range(44))}])

    def test_checkpoints_say_what_the_packets_before_them_make(self):
        for padded in ([], ["--padded"]):
            with self.subTest(padded=padded):
                self.checkpoints_say_it(*made("call", "--seed", "5", *padded))

    def checkpoints_say_it(self, tape, facts):
        rates, clocks, types, described, seen = {}, {}, {}, [], 0
        for record, plain in evtm.opened(tape, fact(facts, "dek")):
            if record.kind == evtm.META:
                described += [i for i in evtm.meta(plain) if i["item"] in ("stream", "codec")]
                described += [i for i in evtm.meta(plain) if i["item"] == "mark"]  # a pause that goes on
                for i in described[:2]:
                    rates[i["stream"], i["pt"]] = 0 if i["codec"] == "telephone-event" else i["clock_rate"]
            for p in evtm.media(plain) if record.kind == evtm.MEDIA else ():
                if p.get("rtcp"):
                    continue
                types.setdefault(p["stream"], set()).add(p["pt"])
                rate = rates.get((p["stream"], p["pt"]), {0: 8000, 8: 8000}.get(p["pt"], 0))
                if rate and not (p["whole"] and p["payload"][0] >> 6 != 2):
                    clocks.setdefault(p["stream"], evtm.Clock(1700000000000000)).add(p, rate)
            if record.kind in (evtm.CHECKPOINT, evtm.INDEX):
                items = list(evtm.checkpoint(plain))
                seen += 1
                self.assertEqual([i["items"] for i in items if i["item"] == "meta"], [described])
                self.assertEqual([i["count"] for i in items if i["item"] == "keys"], [1])
                self.assertEqual({i["stream"]: set(i["types"]) for i in items if i["item"] == "types"}, types)
                self.assertEqual([i for i in items if i["item"] == "clock"],
                                 [clocks[s].item(s) for s in types if s in clocks])
        self.assertGreater(seen, 2)
        self.assertTrue(any(c.anchors for c in clocks.values()))

    def test_seeking_reads_from_the_checkpoint_on_and_little_else(self):
        for ends in (["--ends"], []):
            tape, facts = made("write", "--records", "400", "--bytes", "300", "--seed", "3", *ends)
            dek = fact(facts, "dek")
            whole = list(evtm.opened(tape, dek))
            for ms in range(0, 420000, 7654):
                sought = evtm.Sought(io.BytesIO(tape), dek)
                number, at = sought.find(ms)
                before = [r.seq for r, _ in whole if r.kind == evtm.CHECKPOINT and r.t_ms <= ms]
                self.assertEqual(number, before[-1] if before else 0)
                if ends:
                    self.assertLess(sought.bytes_read, len(tape) // 40)
                record, plain = next(sought.records(number, at))
                self.assertEqual((record.seq, plain), (whole[number][0].seq, whole[number][1]))

    def test_another_key_or_root_is_refused(self):
        tape, facts = made("write", "--seed", "8")
        for bad in (bytes(32), fact(facts, "dek")[:31], bytes(33)):
            with self.assertRaises(evtm.Bad):
                list(evtm.opened(tape, bad))
        for name in ("root", "signer", "seal", "obj"):
            with self.assertRaises(evtm.Bad):
                evtm.verify(tape, **{name: bytes(32)})


class Damaged(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tape, cls.facts = made("write", "--records", "6", "--bytes", "50", "--seed", "9")
        cls.records = evtm.verify(cls.tape)[2]

    def whole(self, size):
        return sum(r.end <= size for r in self.records)

    def test_every_truncation_gives_the_whole_records(self):
        for size in range(len(self.tape)):
            cut = self.tape[:size]
            with self.assertRaises(evtm.Bad):
                evtm.verify(cut)
            if size >= evtm.HEADER:
                self.assertEqual(len(evtm.prefix(cut)[0]), self.whole(size), size)

    def test_every_flip_is_found_without_a_key(self):
        for at in range(len(self.tape)):
            flipped = bytearray(self.tape)
            flipped[at] ^= 1 << at % 8
            with self.assertRaises(evtm.Bad, msg=at) as found:
                evtm.verify(bytes(flipped))
            if evtm.HEADER <= at < self.records[-1].end:
                self.assertEqual(found.exception.at, self.records[self.whole(at)].at)

    def test_a_flip_whose_crc_was_made_to_fit_is_found(self):
        header = evtm.Header(self.tape)
        record = self.records[3]
        flipped = bytearray(self.tape)
        flipped[record.at + 25] ^= 1
        crc = evtm.crc32c(header.hash, flipped[record.at:record.at + 16], flipped[record.at + 20:record.end])
        flipped[record.at + 16:record.at + 20] = crc.to_bytes(4, "big")
        with self.assertRaisesRegex(evtm.Bad, "leaves"):
            evtm.verify(bytes(flipped))
        with self.assertRaisesRegex(evtm.Bad, "tag of record 3"):
            body = bytes(flipped[:self.records[-1].end])
            list(evtm.opened(body, fact(self.facts, "dek")))

    def test_records_of_another_tape_are_refused(self):
        other, _ = made("write", "--records", "6", "--bytes", "50", "--seed", "9")
        record = self.records[2]
        mixed = self.tape[:record.at] + other[record.at:record.end] + self.tape[record.end:]
        with self.assertRaisesRegex(evtm.Bad, "record 2"):
            evtm.verify(mixed)


class Proved(unittest.TestCase):
    """Proofs of the real maker (`labtape prove`)."""

    def test_excerpts_are_proved_and_every_flip_is_found(self):
        for words in (("--from", "3000", "--to", "6000"), ("--from", "3000", "--to", "6000", "--leaves"),
                      ("--from", "1", "--to", "99999")):
            data, facts = made("prove", "--records", "9", "--bytes", "40", "--seed", "4", *words)
            (part,) = evtm.proof(data)
            self.assertEqual(part.trailer.root, fact(facts, "root"))
            self.assertEqual((part.first, part.count), (0, 9) if words[1] == "1" else (3, 3))
            for at in range(0, len(data), 1 if "--leaves" in words else 3):
                flipped = bytearray(data)
                flipped[at] ^= 1 << at % 8
                with self.assertRaises(evtm.Bad, msg=at):
                    evtm.proof(bytes(flipped))
            for size in range(0, len(data), 7):
                with self.assertRaises(evtm.Bad):
                    evtm.proof(data[:size])


if __name__ == "__main__":
    unittest.main()
