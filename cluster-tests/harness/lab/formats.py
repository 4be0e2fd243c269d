"""Exported audio as programs of others read it: flac, opusinfo and opusdec, mpg123."""
import shutil
import struct
import subprocess
import wave

# What checks a file, and what makes WAV of it.
PROGRAMS = {
    "flac": (["flac", "-s", "-t", "IN"], ["flac", "-s", "-f", "-d", "-o", "OUT", "IN"]),
    "opus": (["opusinfo", "-q", "IN"], ["opusdec", "--quiet", "--no-dither", "--force-wav", "IN", "OUT"]),
    "mp3": (["mpg123", "-q", "-t", "IN"], ["mpg123", "-q", "-w", "OUT", "IN"]),
}


def samples(path):
    """(rate, left, right) of a WAV file."""
    with wave.open(str(path)) as w:
        if (w.getnchannels(), w.getsampwidth()) != (2, 2):
            raise ValueError(f"{path}: {w.getnchannels()} channels of {w.getsampwidth()} bytes")
        data = w.readframes(w.getnframes())
        both = struct.unpack(f"<{len(data) // 2}h", data)
        return w.getframerate(), both[0::2], both[1::2]


def decoded(path):
    """(rate, left, right) of a FLAC, Opus or MP3 file, of which its program has nothing to complain; None: it is not installed."""
    programs = PROGRAMS[path.suffix[1:]]
    if not all(shutil.which(p[0]) for p in programs):
        return None
    out = path.with_suffix(path.suffix + ".wav")
    for program in programs:
        args = [{"IN": str(path), "OUT": str(out)}.get(a, a) for a in program]
        done = subprocess.run(args, capture_output=True, timeout=60, check=False)
        told = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode != 0 or "warning" in told.lower() or "error" in told.lower():
            raise ValueError(f"{' '.join(args)}: exit {done.returncode}: {told}")
    return samples(out)
