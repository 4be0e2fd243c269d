"""Calls in progress are kept at the other site as they grow.

Promise: some two seconds after it was spoken (four at most on a busy machine), the ciphertext of a call at one site lies at the other, and
is no copy; killing either side costs nothing; when the call is over only what was missing crosses the line. Of padded tapes, too.
"""
import sys
import time

from story import check, export_exact, export_with_gap, recording_of, run, sleep_until, tails, wait_committed, wait_for

CALLS = 8
TALK = 14


def tapes(node):
    return {p.name[:-len(".evtm")]: p for p in (node.media / "tapes").rglob("*.evtm")}


def is_prefix(tail, tape):
    head = tail.read_bytes()
    return head == tape.read_bytes()[:len(head)]


def site(node, name):
    answer = node.cli("replication", "lag")
    return next((r for r in answer["sites"] if r["site"] == name), {"tails": 0})


def follow(s, source, others, calls):
    """Twice: what the source has of each call now is at the other site within seconds."""
    before = 0
    for _ in range(2):
        wait_for("the tapes to grow", lambda b=before: sum(p.stat().st_size for p in tapes(source).values()) > b + 100000, 10, every=0.1)
        began = time.monotonic()
        sizes = {name: path.stat().st_size for name, path in tapes(source).items()}
        before = sum(sizes.values())
        check(len(sizes) == len(calls), f"{len(sizes)} tapes")
        wait_for("the other site to have what the source had", lambda: all(
            n in tails(*others) and tails(*others)[n].stat().st_size >= size for n, size in sizes.items()), 20, every=0.05)
        took = time.monotonic() - began
        for name, path in tails(*others).items():
            check(is_prefix(path, tapes(source)[name]), f"{name} is not the begin of the tape")
        s.say(f"{len(sizes)} open tapes, {sum(sizes.values())} bytes: all at the other site after {took:.2f} s")
        check(took < 4, f"it took {took:.1f} s")
    for call in calls:
        check(not other_copies(others[0], call), f"{call.caller}: a tail counts as a copy")


def other_copies(node, call):
    return [c for c in node.recording(recording_of(node, call)["id"])["copies"] if c["state"] == "verified"]


def tell(s):
    cluster = s.make_cluster()
    brq, prg = cluster.node("brq-1"), cluster.node("prg-1")
    others = [prg, cluster.node("prg-2")]
    calls = s.place(["brq-1"] * CALLS, TALK)
    began = time.monotonic()
    wait_for("tails at prg", lambda: site(prg, "prg")["tails"] == CALLS, 20, every=0.2)
    check(not tails(brq), "the recorder tails itself")
    check(sum(len(tails(n)) for n in others) == len(tails(*others)) == CALLS, "each is tailed once")
    follow(s, brq, others, calls)
    shown = site(prg, "prg")
    check(shown["tail_lag_ms"] < 5000, f"{shown}")
    s.say(f"`replication lag` says: {shown['tails']} tails at prg, at most {shown['tail_lag_ms']} ms behind")
    holder = max(others, key=lambda n: len(tails(n)))
    holder.kill()
    holder.start()
    wait_for("the tails to go on after kill -9 of who keeps them", lambda: site(prg, "prg")["tails"] == CALLS, 30, every=0.2)
    sleep_until(began, TALK)
    s.hang_up(calls)
    wait_committed(prg, calls, ["prg", "brq"], 60)
    check(not tails(*cluster.nodes), "tails are left")
    samples = export_exact(s, holder, calls, "tails")
    s.say(f"{CALLS} calls ended: copies at both sites, no tails left, {samples} samples play exactly at the other site")

    brq.extra += "tapes: {padding: always}\n"  # blocks grow, die, and are recovered as other records
    brq.write_config()
    brq.kill()
    brq.start()
    calls = s.place(["brq-1"] * CALLS, TALK)
    wait_for("tails at prg", lambda: site(prg, "prg")["tails"] == CALLS, 20, every=0.2)
    wait_for("seconds in them", lambda: min(p.stat().st_size for p in tails(*others).values()) > 60000, 20, every=0.1)
    brq.kill()
    brq.start()
    s.hang_up(calls)
    wait_committed(prg, calls, ["prg", "brq"], 60)
    check(not tails(*cluster.nodes), "tails are left")
    for call in calls:
        export_with_gap(s, holder, call, "recorder-killed")
        shown = prg.recording(call.id)
        check(all(segment["block_bytes"] for segment in shown["segments"]), f"not padded: {shown['segments']}")
        for name in {c["node"] for c in shown["copies"] if c["state"] == "verified"}:
            cluster.node(name).cli("recording", "verify", call.id)
    s.say("kill -9 of the recorder in the midst of its calls: its recovered tapes, which are padded, verify and play at both sites")


if __name__ == "__main__":
    sys.exit(run("tails", tell))
