"""Recordings that are opened by keys which came late are redacted, and encrypted again after a compromise.

Promise (issues 4 and 5): a redaction leaves the span out and nothing else, whichever tape the keys are in; keys may come after it,
too; after a compromise the keys that came late are under the new version as all else, and everything still plays, everywhere.
"""
import sys

from story import check, export_with_gap, run, wait_committed, wait_for
import late_keys
from late_keys import SITES, keys_add, nowhere, place
from redact import EDGE, FROM, TO, done

TALK = 8


def segments(node, call, late=None):
    """Of one recording; those of late keys, the others, or all."""
    found = [(*map(int, g["segment"].lstrip("g").split("-s")), g) for g in node.recording(call.id)["segments"]]
    return [(generation, number, g) for generation, number, g in found if late is None or late == (number >= 1 << 30)]


def at_both(node, call):
    """A verified copy of each segment that is not erased, at each site."""
    copies = node.recording(call.id)["copies"]
    return all(set(SITES) <= {c.get("site") for c in copies if c["segment"] == g["segment"] and c["state"] == "verified"}
               for _, _, g in segments(node, call) if not g["erased"])


def plays_without(s, node, call, label, to=TO):
    """Exact outside of the span, silent in it."""
    for side, (exact, holes) in export_with_gap(s, node, call, f"{label}-{node.name}").items():
        want = [TO - FROM] if to == TO else []
        check(len(holes) == len(want) and all(abs(h - w) <= 2 * EDGE for h, w in zip(holes, want)),
              f"{label}, {side} of {call.caller} at {node.name}: holes of {holes} s, want {want}")
        least = TALK - (TO - FROM) - 1 if to == TO else 1  # a handshake goes before it
        check(least <= exact <= (TALK if to == TO else FROM + EDGE), f"{label}, {side} of {call.caller}: {exact} s of sound")


def redact(node, call, to):
    asked = node.cli_raw("recording", "redact", call.id, "--from", f"{FROM * 1000:.0f}ms", "--to", f"{to * 1000:.0f}ms", "--reason",
                         "PCI 4711", "--confirm", "scenario")
    check(asked.returncode == 0, f"{asked}")


def add(s, node, call, name):
    if call.dtls is not None:
        return keys_add(node, call, "keylog", call.dtls.keylog)
    path = s.folder / f"{name}.tsv"
    path.write_text(call.table("caller") + call.table("callee"))
    return keys_add(node, call, "srtp-keys", path)


def compromised(s, first, calls):
    # Slow, so that the rewrap of a rotation has not moved all of it before the compromise is told.
    first.cli("key", "schedule", "--rate", "1", "--destroy-after", "0s", "--reason", "slow enough")
    first.cli("key", "rotate", "--reason", "CHG-7", "--wait", timeout=60)
    first.cli("key", "compromise", "1", "--reason", "a laptop was stolen")

    def version():
        return next(k for k in first.cli("key", "status")["keys"] if k["version"] == 1)
    wait_for("nothing on version 1", lambda: version()["wraps"] == 0, 120, every=0.3)
    anew = 0
    for call in calls:
        rows = segments(first, call)
        newest = {number: max(g for g, n, _ in rows if n == number) for _, number, _ in rows}
        for generation, number, g in rows:
            live = generation == newest[number]
            check(g["erased"] != live and (not live or g["kek_version"] == 2), f"{call.caller}: {g}")
            anew += live and generation > 1 and number >= 1 << 30
    wait_for("version 1 to be destroyed", lambda: version()["state"] == "destroyed", 60, every=0.3)
    return anew


def tell(s):
    late_keys.TALK = TALK
    cluster = s.make_cluster()
    first, second, recorder = cluster.nodes
    table, dtls, after, sdes = (place(s, recorder, n, p) for n, p in ((1, "secret"), (2, "dtls"), (3, "secret"), (4, "sdes")))
    calls = list(s.calls)
    s.hang_up(calls)
    wait_committed(first, calls, SITES, 60)
    for call, name in ((table, "table"), (dtls, "dtls")):
        code, answer, problem = add(s, first, call, name)
        check(code == 0 and answer["keys"] == "complete", f"{name}: {code} {answer} {problem}")
    wait_committed(first, calls, SITES, 60)
    s.say("four calls with SRTP: two are opened by keys that came late, one by keys in its tape, of one they are not there yet")

    # One span reaches behind the end, over the segment with the keys.
    for call in calls:
        redact(second, call, 3600 if call is dtls else TO)
    for call in calls:
        wait_for(f"the old keys of {call.caller} to be destroyed", lambda c=call: done(first, c.id), 60, every=0.2)
    check(max(g for g, _, _ in segments(first, dtls, True)) == 2, f"the keys were not in the span: {segments(first, dtls, True)}")
    check([g for g, _, _ in segments(first, table, True)] == [1], f"keys beside the span were made anew: {segments(first, table, True)}")
    code, answer, problem = add(s, second, after, "after")
    check(code == 0 and answer["keys"] == "complete", f"keys after the redaction: {code} {answer} {problem}")
    wait_for("what is left to be at both sites", lambda: all(at_both(first, c) for c in calls), 60, every=0.25)
    for node in cluster.nodes:
        for call in calls:
            plays_without(s, node, call, "redacted", 3600 if call is dtls else TO)
    s.say("redacted: each plays at each node, exact but for the span; so does the one whose keys came after that")

    anew = compromised(s, first, calls)
    check(anew >= 1, "no segment of keys was encrypted again: nothing was tested")
    for node in cluster.nodes:
        for call in calls:
            plays_without(s, node, call, "compromised", 3600 if call is dtls else TO)
            check(node.recording(call.id)["keys"] == "complete", f"{call.caller} at {node.name}: {node.recording(call.id)['keys']}")
    for call in calls:
        verified = [n.cli_raw("recording", "verify", call.id, timeout=60) for n in cluster.nodes]  # 6: no copy is there
        check({v.returncode for v in verified} in ({0}, {0, 6}), f"verify: {verified}")
    s.say(f"version 1 is destroyed; {anew} segments of late keys were encrypted again; all play as before, and verify")
    checked = nowhere(s, cluster, [], calls, dtls.dtls.keylog)
    s.say(f"{checked} files hold none of the SRTP keys")


if __name__ == "__main__":
    sys.exit(run("late keys anew", tell, "openssl"))
