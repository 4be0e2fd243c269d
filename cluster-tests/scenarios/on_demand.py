"""Calls on demand: kept by request, by keys, and after their end; lost when nobody keeps them; and kill -9 in the middle.

Promise (issue 5): what is kept equals what was sent, sample for sample, from the ring's begin on. Of a call that nobody kept
nothing readable is left: no tape, no key in the memory of its recorder, nothing in the catalogue or anywhere on a disk but
the count under its rule's name. kill -9 loses what nobody had kept, and says so; what was kept loses at most a second.
"""
import sys
import time

from memory import Memory, hkdf
from story import (audio, by_caller, check, files_below, read_if_there, recorder_started, refused, run, sleep_until,
                   wait_committed, wait_for, with_token)

from lab.phones import Phones

RING, KEEP_FOR = 10, 8
RULES = f"""recording:
  rules:
    - {{name: wanted, action: on-demand, ring: {RING}s, keep-for: {KEEP_FOR}s, keep: "*9", keep-by: callee}}
"""
KEYS = [(1.0, "caller", "*"), (1.4, "caller", "9"), (4.0, "callee", "*"), (4.4, "callee", "9")]


def place(s, node, number, seconds, presses=()):
    node.rows += 1
    call = Phones(s.folder / "calls" / f"{number:03d}", f"127.{node.phones}.{node.rows}.1", f"127.{node.phones}.{node.rows}.2",
                  f"+42060{number:07d}", f"+42080{number:07d}", seconds, None, presses)
    s.calls.append(call)
    return call.start()


def on_demand(node, call):
    """What its recorder shows of a call on demand."""
    return next(c for c in node.cli("capture", "list", "--on-demand")["calls"] if c["from"] == call.caller)


def heard(s, node, call, label):
    """{side: (frames before the first, behind the last, [frames that are missing between])} of what was sent, in an export: all
    else of it is there, in its order and sample for sample, and nothing that was not sent."""
    folder = s.folder / "export" / label
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{call.id}.wav"
    done = node.cli_raw("recording", "export", call.id, "--format", "wav", "--out", str(path), "--reason", "test", timeout=120)
    check(done.returncode in (0, 6), f"export of {label}: exit {done.returncode}: {done.stderr.decode()}")
    channels, _rate = audio.read_wav(path)
    result = {}
    for side, channel in zip(("caller", "callee"), channels):
        sent = audio.to_pcm(call.sound[side], call.codec)
        found = audio.pieces(channel, sent)
        check(found, f"{label} {side}: silence")
        edges = [(at, at + n) for _where, at, n in found]
        check(all(x[1] <= y[0] for x, y in zip(edges, edges[1:])), f"{label} {side}: out of order: {found}")
        holes = [(y[0] - x[1]) // 160 for x, y in zip(edges, edges[1:]) if y[0] - x[1] >= 160]
        result[side] = (edges[0][0] // 160, call.seconds * 50 - (edges[-1][1] + 1) // 160, holes)  # the last sample may be cut
    return result


def ring_keys(memory, tapes):
    """The DEKs of tapes, found where they live: in pages that no core has. Their headers say which they are."""
    found = {}
    for _name, dumped, data in memory.areas:
        for page in range(0, 0 if dumped else len(data), 4096):
            for at in range(page + 8, page + 8 + 512, 32):
                dek = data[at:at + 32]
                if len(dek) < 32 or not any(dek):
                    continue
                for path, head in tapes.items():
                    if hkdf(dek, head[32:64], b"evtm/1 commit") == head[64:96]:
                        found[path] = dek
    return found


def files(cluster):
    for node in cluster.nodes:
        for path in files_below(node.folder):
            if path.is_file():
                yield path, read_if_there(path)


def on_disk(cluster, needles):
    return [f"{what} in {path}" for path, data in files(cluster) for what, needle in needles if needle in data]


def counters(node):
    return node.cli("capture", "list")["this_node"]["counters"]


def keys_in_the_ring(s, memory, tapes, nobody):
    """They were where only its recorder has them. The search can fail."""
    deks = ring_keys(memory, tapes)
    check(len(deks) >= len(tapes) - 1, f"{len(deks)} keys of {len(tapes)} tapes were found: the search finds nothing")
    in_cores = [path for path, dek in deks.items() for _where, dumped in memory.find(dek) if dumped]
    check(not in_cores, f"keys of {in_cores} where cores are made of")
    check(not any(nobody.caller.encode() in data or nobody.sound["caller"][:160] in data for data in tapes.values()),
          "a tape of the ring can be read")
    s.say(f"four calls on demand, one kept by the callee's *9; {len(deks)} keys of another's ring were in its recorder's memory, "
          "in pages that no core has")
    return deks


def kept_are_heard(s, recorder, other, calls, kept, done):
    asked, keyed, late = calls
    for call, name, who in ((asked, "asked", None), (keyed, "keyed", "keys of callee"), (late, "late", None)):
        rec = other.recording(call.id)
        gaps = [g["cause"] for g in rec["gaps"]]
        check(rec["rule"] == "wanted" and rec["kept"] and (who is None or rec["kept"] == who), f"{name}: kept by {rec['kept']}")
        check(gaps == ([] if call is keyed else ["before-ring"]), f"{name}: gaps {rec['gaps']}")
        for node in (recorder, other):
            if any(c.get("node") == node.name for c in rec["copies"]):
                node.cli("recording", "verify", call.id)
        for side, (before, behind, runs) in heard(s, other, call, name).items():
            check(behind <= 25, f"{name} {side}: {behind} frames are missing behind")
            if call is keyed:  # in the place of sound it has the keys
                check(before == 0 and all(length <= 9 for length in runs), f"{name} {side}: {before} missing, holes {runs}")
                continue
            missing = kept["missing_ms"] if call is asked else done["missing_ms"]
            check(not runs and abs(before * 20 - missing) <= 300,
                  f"{name} {side}: {before} frames are missing before, {missing} ms are said to be; holes {runs}")
    check(other.cli("recording", "why", asked.id), "why says nothing")
    s.say(f"exports at the other site are what was sent, sample for sample, from the ring's begin on ({kept['missing_ms']} ms "
          "of the call are its stated gap); the calls verify")


def nothing_is_left(s, cluster, recorder, asked, nobody, ident, deks, tapes):
    """Of a call that nobody kept."""
    wait_for("the ring to be gone", lambda: not list((recorder.media / "ring").iterdir()), 20)
    wait_for("the call to be forgotten", lambda: not recorder.cli("capture", "list", "--on-demand")["calls"], 10)
    error = refused(recorder, "recording", "keep", ident, "--reason", "too late")
    check(error.code == 5, f"kept too late: {error}")
    c = counters(recorder)
    rule = next(r for r in c["rules"] if r["name"] == "wanted")
    check(rule["calls"] == 4 and c["on_demand_dropped"] == 1 and c["on_demand_kept"] == 3 and c["on_demand_bytes"] == 0,
          f"counters {c}")
    check(all(nobody.caller not in by_caller(n) for n in cluster.nodes), "a call that nobody kept is listed")
    frames = [("sound", nobody.sound[side][n * 160:(n + 1) * 160]) for side in ("caller", "callee") for n in range(0, 700, 70)]
    keys = [x for p, dek in deks.items() for x in (("a DEK", dek), ("a tape key", hkdf(dek, tapes[p][32:64], b"evtm/1 chunk")))]
    names = [("its number", nobody.caller.encode()), ("its Call-ID", nobody.call_id.encode()),
             ("its id", ident.encode()), ("its id", bytes.fromhex(ident.replace("-", "")))]
    control = on_disk(cluster, [("number", asked.caller.encode()), ("id", asked.id.encode())])
    check(control, "not even a kept call is found on a disk: the search finds nothing")
    hits = on_disk(cluster, frames + keys + names + [("ciphertext", data[200:264]) for data in tapes.values()])
    check(not hits, f"of the call that nobody kept: {hits}")
    after = {n.name: Memory(n) for n in cluster.nodes}
    hits = [f"{what} in {where} of {name}" for name, m in after.items() for what, key in keys for where, _dumped in m.find(key)]
    check(not hits, f"of the call that nobody kept, in memory: {hits}")
    s.say(f"of the call that nobody kept: nothing in {sum(1 for _ in files(cluster))} files of three nodes (sound, numbers, ids, "
          f"keys, ciphertext), none of its {len(keys)} keys in any memory, and 1 call under its rule's name")


def tell_kept_and_lost(s, cluster, recorder, other):
    asked = place(s, recorder, 1, 26)
    keyed, late, nobody = place(s, recorder, 2, 12, KEYS), place(s, recorder, 3, 12), place(s, recorder, 4, 14)
    began = time.monotonic()
    wait_for("four calls on demand", lambda: len(recorder.cli("capture", "list", "--on-demand")["calls"]) == 4, 10)
    ident = {c: on_demand(recorder, c)["id"] for c in (asked, nobody)}

    # Of a call in a ring: its tapes, and the memory of its recorder; looked into below.
    sleep_until(began, 11)
    tapes = {p: p.read_bytes() for p in (recorder.media / "ring").glob(f"{ident[nobody]}-*.evtm")}
    memory = Memory(recorder)
    check(len(tapes) >= 3, f"{len(tapes)} tapes of the call in the ring")
    check(all(c.caller not in by_caller(n) for c in (asked, nobody) for n in cluster.nodes), "a call in a ring is listed")
    check(keyed.caller in by_caller(recorder), "the callee's keys did not keep the call")

    sleep_until(began, 17)
    done = recorder.cli("recording", "keep", f"sip:{late.call_id}", "--reason", "asked for after its end")
    check(done["kept"] and done["changed"] and done["end"], f"keep says {done}")
    sleep_until(began, 20)
    error = refused(other, "recording", "keep", ident[asked], "--reason", "complaint")
    check(error.code == 5 and "brq-1" in str(error), f"another node says: {error}")
    check(with_token(s, recorder, "reader", "recording", "keep", ident[asked], "--reason", "x").returncode == 4, "a reader may keep")
    at = time.monotonic()
    kept = recorder.cli("recording", "keep", ident[asked], "--reason", "complaint")
    took = time.monotonic() - at
    check(kept["changed"] and kept["end"] is None and kept["survives"] == "local" and kept["node"] == "brq-1"
          and set(kept["other_recorders"]) == {"prg-1", "prg-2"}, f"keep says {kept}")
    check(6000 < kept["missing_ms"] < 11500, f"of a ring of {RING} s after 20 s {kept['missing_ms']} ms are missing")
    again = recorder.cli("recording", "keep", ident[asked], "--reason", "complaint")
    check(not again["changed"] and again["from"] == kept["from"], f"the second keep says {again}")
    s.say(f"kept by request in {took * 1000:.0f} ms, and another after its end; asked again nothing changes; other nodes know "
          "nothing of it and name the recorder")
    s.hang_up(s.calls)
    deks = keys_in_the_ring(s, memory, tapes, nobody)
    calls = [asked, keyed, late]
    wait_committed(other, calls, ["prg", "brq"], 60)

    kept_are_heard(s, recorder, other, calls, kept, done)
    nothing_is_left(s, cluster, recorder, asked, nobody, ident[nobody], deks, tapes)


def tell_killed(s, recorder, other):
    kept, waiting = place(s, recorder, 5, 20), place(s, recorder, 6, 20)
    began = time.monotonic()
    wait_for("two calls on demand", lambda: len(recorder.cli("capture", "list", "--on-demand")["calls"]) == 2, 10)
    sleep_until(began, 5)
    done = recorder.cli("recording", "keep", on_demand(recorder, kept)["id"], "--reason", "before the fall")
    check(done["changed"] and done["missing_ms"] == 0, f"keep says {done}")
    lost = counters(recorder)["on_demand_lost"]
    killed = time.time()
    recorder.kill()
    recorder.start()
    down = recorder_started(recorder, killed) - killed
    check("on demand that nobody had kept are lost" in recorder.log.read_text(), "what was lost is not said")
    row = wait_for("the other call to be in a ring again", lambda: on_demand(recorder, waiting), 10)
    check(row["on_demand"] == "waiting", f"it shows {row}")
    check(counters(recorder)["on_demand_lost"] == lost + 1, f"counters {counters(recorder)}")
    sleep_until(began, 12)
    late = recorder.cli("recording", "keep", row["id"], "--reason", "after the fall")
    check(late["changed"] and late["missing_ms"] >= 4500, f"keep says {late}")
    s.hang_up([kept, waiting])
    wait_committed(other, [kept, waiting], ["prg", "brq"], 60)
    check([g["cause"] for g in other.recording(kept.id)["gaps"]] == ["recorder-restart"], f"{other.recording(kept.id)['gaps']}")
    check([g["cause"] for g in other.recording(waiting.id)["gaps"]] == ["before-ring"], f"{other.recording(waiting.id)['gaps']}")
    for side, (before, _behind, runs) in heard(s, other, kept, "killed-kept").items():
        check(before == 0 and len(runs) == 1 and runs[0] * 0.02 <= down + 1.5, f"kept {side}: {before} before, holes {runs}")
        hole = runs[0] * 0.02
    for side, (before, _behind, runs) in heard(s, other, waiting, "killed-waiting").items():
        check(not runs and abs(before * 20 - late["missing_ms"]) <= 300, f"waiting {side}: {before} before, holes {runs}")
    s.say(f"kill -9 ({down:.2f} s down): what was kept before has one hole of {hole:.2f} s; what nobody had kept is lost and "
          f"said so, and was kept afterwards but for its first {late['missing_ms'] / 1000:.1f} s")


def tell(s):
    cluster = s.make_cluster([("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq")], extra=RULES)
    recorder, other = cluster.node("brq-1"), cluster.node("prg-1")
    tell_kept_and_lost(s, cluster, recorder, other)
    tell_killed(s, recorder, other)
    events = [e["action"] for e in other.cli("audit", "list", "--from", "1")["events"]]
    check(events.count("recording.keep") == 5, f"{events.count('recording.keep')} events of keeping, want 5")
    other.cli("audit", "verify")
    s.say("5 requests, 5 events of the audit chain, which verifies")


if __name__ == "__main__":
    sys.exit(run("calls on demand", tell))
