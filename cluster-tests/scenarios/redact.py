"""A span of a recording is destroyed: a card number that was spoken.

Promise (issue 4): a new generation without the span takes the place of the old one on every site, audio outside of it
is what was sent, sample for sample, and the old key is destroyed when the new tape has the copies that the old one
had. The node that makes it is killed at once, and comes back: it is done all the same, and nothing is left behind.
"""
import json
import subprocess
import sys
import time

from story import audio, binaries, check, export_exact, export_with_gap, files_below, read_if_there, recorder_started, run, wait_committed, wait_for

FROM, TO = 3.0, 5.0  # seconds of the recording
EDGE = 0.06          # whole packets are left out, and what plays between is up to the receiver's buffer


def redact(node, ident, *args):
    return node.cli_raw("recording", "redact", ident, "--from", f"{FROM * 1000:.0f}ms", "--to", f"{TO * 1000:.0f}ms", *args)


def segments(node, ident):
    return {g["segment"]: g for g in node.recording(ident)["segments"]}


def done(node, ident):
    r = node.recording(ident)["redactions"]
    return r and r[0]["done"]


def files(cluster, ident, generation):
    return [p for n in cluster.nodes for p in n.media.rglob(f"{ident}-g{generation}-*")]


def silent_in_span(path):
    """Nothing but silence in the span, in both channels; sound before and behind it."""
    channels, rate = audio.read_wav(path)
    for channel in channels:
        inside = channel[int((FROM + EDGE) * rate):int((TO - EDGE) * rate)]
        check(all(-8 <= v <= 8 for v in inside), f"{path}: there is sound in the span")
        for at in (FROM - 1, TO + 0.5):
            beside = channel[int(at * rate):int((at + 0.4) * rate)]
            check(any(abs(v) > 500 for v in beside), f"{path}: no sound at {at} s")


def plays_without(s, node, call, label):
    for side, (exact, holes) in export_with_gap(s, node, call, label).items():
        check(len(holes) == 1 and abs(holes[0] - (TO - FROM)) <= 2 * EDGE,
              f"{side} at {node.name}: holes of {holes} s, want one of {TO - FROM}")
        check(exact > 3, f"{side}: {exact} s of exact sound")
    silent_in_span(s.folder / "export" / label / f"{call.id}.wav")


def needles(call):
    """Payload of the span, as it went over the wire."""
    at = int(4 * audio.RATE)
    return [bytes(call.sound[side][at:at + 160]) for side in ("caller", "callee")]


def tell(s):
    cluster = s.make_cluster()
    first, second, far = cluster.nodes
    calls = s.place(["prg-1", "prg-1"], 8)
    s.hang_up(calls)
    wait_committed(first, calls, ["prg", "brq"], 60)
    call, other = calls
    export_exact(s, first, calls, "before")

    plan = redact(second, call.id, "--plan", "-o", "json")
    check(plan.returncode == 7 and len(json.loads(plan.stdout)["segments"]) == 1, f"plan: {plan}")
    check(redact(second, call.id, "--reason", "x", "--confirm", "another").returncode == 2, "without the cluster's name")
    old_root = segments(first, call.id)["g1-s1"]["root"]
    s.say("refused without the cluster's name")

    asked = redact(second, call.id, "--reason", "PCI 4711", "--confirm", "scenario", "-o", "json")
    check(asked.returncode == 0, f"{asked}")
    killed = time.time()
    first.kill()
    s.say("asked for; prg-1, whose turn it is, was killed at once")
    wait_for("a generation without it", lambda: "g2-s1" in segments(far, call.id), 30, every=0.2)
    first.start()
    recorder_started(first, killed)
    for node in cluster.nodes:
        wait_for(f"{node.name} to have the old key destroyed", lambda n=node: done(n, call.id), 40, every=0.2)
        g = segments(node, call.id)
        check(g["g1-s1"]["erased"] and not g["g2-s1"]["erased"], f"{node.name}: {g}")
        check(g["g1-s1"]["replaced_by"] == 2 and old_root in g["g2-s1"]["link"], f"{node.name}: the link: {g}")
    wait_for("the old files to go", lambda: not files(cluster, call.id, 1), 30, every=0.2)
    wait_for("nothing under way", lambda: not [p for n in cluster.nodes for p in (n.media / "generations").glob("*")]
             if all(n.media.is_dir() for n in cluster.nodes) else True, 90, every=0.5)
    new = [c for c in first.recording(call.id)["copies"] if c["segment"] == "g2-s1" and c["state"] == "verified"]
    sites, holders = {c["site"] for c in new}, {c["node"] for c in new}
    check(sites == {"prg", "brq"}, f"the new generation is at {sites}")
    s.say("old key destroyed on all three nodes, old files gone, the new generation in both sites, linked to the old root")

    for node in cluster.nodes:
        plays_without(s, node, call, f"after-{node.name}")
        if node.name in holders:
            verified = node.cli_raw("recording", "verify", call.id, timeout=60)
            check(verified.returncode == 0, f"{node.name}: verify: {verified}")
    proof = s.folder / "excerpt.evtp"
    far.cli_raw("proof", call.id, "--out", str(proof), "--reason", "scenario")
    checked = subprocess.run([str(binaries() / "evertape"), "verify-proof", str(proof), "--root",
                              segments(far, call.id)["g2-s1"]["root"]], capture_output=True, check=False)
    check(checked.returncode == 0, f"verify-proof: {checked}")
    export_exact(s, far, [other], "other")
    for node in cluster.nodes:
        for path in files_below(node.folder):
            if path.is_file():
                data = read_if_there(path)
                check(not any(n in data for n in needles(call)), f"the span lies open in {path}")
    events = [e for e in first.cli("audit", "list")["events"] if e["action"].startswith(("recording.redact", "generation"))]
    outcomes = [(e["action"], e["outcome"]) for e in events]
    check(("recording.redact", "ok") in outcomes and ("generation.put", "ok") in outcomes and
          ("generation.finish", "ok") in outcomes, f"audit: {outcomes}")
    s.say("every node plays, verifies and proves the new one; the other recording is as it was; all of it is in the audit")


if __name__ == "__main__":
    sys.exit(run("redact", tell))
