"""Audio that cannot repeat: so that a lost, doubled or misplaced packet is always seen.

A party's sound is noise: a seeded generator, a new sample value every 125 microseconds. (A tone whose
period divides 20 ms looks whole even where packets are missing.)
"""
import random
import struct
import wave

RATE = 8000
FRAME = 160  # samples in 20 ms


def ulaw_decode(byte):
    """G.711 (11/88), mu-law, to 16-bit linear."""
    byte = ~byte & 0xFF
    magnitude = ((byte & 0x0F) << 3) + 0x84
    magnitude <<= (byte & 0x70) >> 4
    return 0x84 - magnitude if byte & 0x80 else magnitude - 0x84


def alaw_decode(byte):
    """G.711 (11/88), A-law, to 16-bit linear."""
    byte ^= 0x55
    magnitude = (byte & 0x0F) << 4
    segment = (byte & 0x70) >> 4
    if segment == 0:
        magnitude += 8
    else:
        magnitude = (magnitude + 0x108) << (segment - 1)
    return magnitude if byte & 0x80 else -magnitude


DECODE = {"PCMU": [ulaw_decode(b) for b in range(256)], "PCMA": [alaw_decode(b) for b in range(256)]}


def noise(seed, seconds):
    """`seconds` of encoded noise, a whole number of 20 ms frames; the same for the same seed."""
    frames = int(seconds * 1000) // 20
    return random.Random(seed).randbytes(frames * FRAME)


def to_pcm(encoded, codec):
    table = DECODE[codec]
    return [table[b] for b in encoded]


def read_wav(path):
    """The channels of a 16-bit WAV file, each a list of samples, and its rate."""
    with wave.open(str(path), "rb") as wav:
        if wav.getsampwidth() != 2:
            raise ValueError(f"{path}: {8 * wav.getsampwidth()} bits, want 16")
        data = wav.readframes(wav.getnframes())
        count = wav.getnchannels()
        samples = struct.unpack(f"<{len(data) // 2}h", data)
        return [samples[i::count] for i in range(count)], wav.getframerate()


def compare(channel, sent, minimum):
    """Equal audio: `channel` is silence, then an exact prefix of `sent` of at least `minimum` samples,
    then silence. Returns (offset, samples); raises ValueError that says where it differs."""
    first = next((i for i, s in enumerate(channel) if s != 0), None)
    if first is None:
        raise ValueError("the channel is silent")
    # What was sent may itself begin with samples that decode to zero.
    zeros = next(i for i, s in enumerate(sent) if s != 0)
    start = first - zeros
    if start < 0:
        raise ValueError(f"sound begins at sample {first}, before what was sent can begin")
    last = max(i for i, s in enumerate(channel) if s != 0)
    length = last + 1 - start
    if length > len(sent):
        raise ValueError(f"{length} samples of sound, but only {len(sent)} were sent")
    if list(channel[start:last + 1]) != list(sent[:length]):
        at = next(i for i in range(length) if channel[start + i] != sent[i])
        raise ValueError(f"differs from what was sent at sample {at} of {length}"
                         f" ({channel[start + at]} instead of {sent[at]})")
    if length < minimum:
        raise ValueError(f"only {length} samples of sound, want {minimum}")
    return start, length


def compare_with_gaps(channel, sent, codec_frame=FRAME):
    """As compare(), where packets may be missing: every 20 ms frame is exact at one constant offset or
    silent. Returns (offset, exact frames, silent frames)."""
    sent = list(sent)
    index = {}
    for i in range(0, len(sent) - codec_frame + 1, codec_frame):
        index.setdefault(tuple(sent[i:i + 16]), i)
    channel = list(channel)
    offset = None
    for i in range(len(channel) - 16):
        at = index.get(tuple(channel[i:i + 16]))
        if at is not None and channel[i:i + codec_frame] == sent[at:at + codec_frame]:
            offset = i - at
            break
    if offset is None:
        raise ValueError("no frame of what was sent is in the channel")
    exact = silent = 0
    for at in range(0, len(sent), codec_frame):
        frame = channel[offset + at:offset + at + codec_frame] if offset + at >= 0 else []
        if frame == sent[at:at + codec_frame]:
            exact += 1
        elif not any(frame):
            silent += 1
        else:
            raise ValueError(f"frame {at // codec_frame} is neither what was sent nor silence")
    outside = channel[:max(offset, 0)] + channel[max(offset + len(sent), 0):]
    if any(outside):
        raise ValueError("there is sound outside of what was sent")
    return offset, exact, silent


def holes(channel, sent, codec_frame=FRAME):
    """Where packets are missing: as compare_with_gaps(), and then the runs of silent frames between the first and
    the last exact one, as [(frame, frames)]. What is missing before and behind is not in it: see the two numbers."""
    offset, exact, _silent = compare_with_gaps(channel, sent, codec_frame)
    frames = []
    for at in range(0, len(sent), codec_frame):
        here = channel[offset + at:offset + at + codec_frame] if offset + at >= 0 else []
        frames.append(list(here) == list(sent[at:at + codec_frame]))
    first, last = frames.index(True), len(frames) - 1 - frames[::-1].index(True)
    runs, begin = [], None
    for i in range(first, last + 1):
        if not frames[i] and begin is None:
            begin = i
        if frames[i] and begin is not None:
            runs.append((begin, i - begin))
            begin = None
    return exact, first, len(frames) - 1 - last, runs
