"""Audio that cannot repeat: so that a lost, doubled or misplaced packet is always seen.

A party's sound is noise: a seeded generator, a new sample value every 125 microseconds. (A tone whose
period divides 20 ms looks whole even where packets are missing.)
"""
import math
import operator
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


def pieces(channel, sent, codec_frame=FRAME):
    """What of `sent` is in `channel`: [(sample in channel, sample in sent, samples)], each exact and as long as it can be, with
    nothing but silence between them. For telephones that pause, or begin their sound again. Each begins with a frame of
    `sent`. ValueError: there is sound that was not sent."""
    channel, sent = list(channel), list(sent)
    key = 16
    index = {tuple(sent[i:i + key]): i for i in range(len(sent) - codec_frame, -1, -codec_frame)}
    found, i = [], 0
    while True:
        i = next((k for k in range(i, len(channel)) if channel[k] != 0), None)
        if i is None:
            return found
        # What was sent may begin with samples that decode to zero.
        at = next(((i - k, index[tuple(channel[i - k:i - k + key])]) for k in range(min(key, i + 1))
                   if tuple(channel[i - k:i - k + key]) in index), None)
        if at is None:
            raise ValueError(f"at sample {i} of {len(channel)} is sound that was not sent")
        here, there = at
        n = next((k for k in range(min(len(channel) - here, len(sent) - there))
                  if channel[here + k] != sent[there + k]), min(len(channel) - here, len(sent) - there))
        found.append((here, there, n))
        i = here + n


def voice(seed, seconds, rate=RATE):
    """16-bit samples that never repeat, and that codecs for speech can follow: six partials over a pitch that wanders
    between 100 and 240 Hz, louder and softer all the time. At twice the rate every second sample is the
    same. All of it is below 1.5 kHz."""
    chance = random.Random(f"voice {seed}")
    steps = int(seconds * 20) + 2  # 50 ms each
    pitch = [chance.uniform(100, 240) for _ in range(steps)]
    loud = [chance.uniform(0.15, 1) for _ in range(steps)]
    partials = [(k, chance.uniform(0.4, 1) / k ** 0.5, chance.uniform(0, 6.28)) for k in range(1, 7)]
    size = 9000 / sum(a for _k, a, _p in partials)
    per_step, out, turns, base = rate // 20, [], 0.0, RATE // 20
    for step in range(steps - 2):
        # The phase is that of the lowest rate's steps, exactly: an integral of the line between two pitches.
        f0, slope = pitch[step], pitch[step + 1] - pitch[step]
        for k in range(per_step):
            x = k / per_step
            phase = 2 * math.pi * (turns + (f0 + slope * x / 2) * x * base / RATE)
            level = size * (loud[step] + (loud[step + 1] - loud[step]) * x)
            out.append(int(level * sum(a * math.sin(n * phase + p) for n, a, p in partials)))
        turns += (f0 + slope / 2) * base / RATE
    return out


def _likeness(a, b):
    """The correlation coefficient of two lists, as far as the shorter reaches."""
    n = min(len(a), len(b))
    a, b = a[:n], b[:n]
    ab, aa, bb = (sum(map(operator.mul, x, y)) for x, y in ((a, b), (a, a), (b, b)))
    return ab / math.sqrt(aa * bb) if aa and bb else 0.0


def resemble(channel, rate, sent):
    """How much a channel at `rate` that went through a lossy codec is like what was sent (at 8,000 Hz, a voice()). Returns
    (median, least, seconds): correlation over spans of 250 ms, from where the sound begins to its end, in one alignment."""
    step, span = rate // RATE, RATE // 4
    level = [[math.sqrt(sum(map(operator.mul, x, x))) for x in (s[i:i + 80] for i in range(0, len(s) - 79, 80))]
             for s in (channel[::step], sent)]
    heard = [i for i, x in enumerate(level[0]) if x > 1000]
    if not heard:
        raise ValueError("the channel is silent")
    first, last = heard[0], heard[-1] + 1
    shape = [[x - sum(v) / len(v) for x in v] for v in level]
    # Coarse, by loudness: frame `first` of the channel is which of `sent`? Then fine, by the waveform.
    coarse = max(range(len(level[1])), key=lambda lag: _likeness(shape[0][first:last], shape[1][lag:]) if
                 len(level[1]) - lag >= (last - first) // 2 else -1)
    probe = first * 80 + min(40, (last - first) // 3) * 80
    want = sent[coarse * 80 + probe - first * 80:][:span]
    fine = max(range(-160 * step, 161 * step), key=lambda lag: _likeness(
        channel[max(0, probe * step + lag)::step][:len(want)], want) if probe * step + lag >= 0 else -1)
    begin = first * 80 * step + fine
    likes = []
    for at in range(0, (last - first) * 80 - span, span):
        piece = sent[coarse * 80 + at:][:span]
        if len(piece) == span and begin + at * step >= 0:
            likes.append(_likeness(channel[begin + at * step:begin + (at + span) * step:step], piece))
    likes = likes[1:-1] or likes  # codecs swing in and out
    return sorted(likes)[len(likes) // 2], min(likes), (last - first) / 100


def write_wav(path, samples, rate):
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(struct.pack(f"<{len(samples)}h", *samples))
