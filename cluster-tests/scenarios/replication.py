"""What waits to be copied, and why; limits of transfers; scrub and repair.

Three nodes in two sites. A limit is in force on every node within seconds, survives kill -9, and is in the audit log;
while a site is paused its queue says so and since when, a listener there hears the call all the same, and nothing is
lost when the pause ends. A node that does not answer, or a cut link, is named as the reason.

A scrub finds a bit that turned on a disk, goes on where it was after kill -9, marks the copy bad, and has it fetched anew
from the other site; `replication repair` says from where it comes, and what cannot be repaired at all.
"""
import datetime
import json
import sys
import time

from story import check, export_exact, run, wait_committed, wait_for


def queue(node, *more):
    """The rows of `replication queue`, and its exit code."""
    done = node.cli_raw("replication", "queue", *more, "-o", "json")
    return json.loads(done.stdout), done.returncode


def rows(node, **fits):
    answer, _code = queue(node)
    return [r for r in answer["queue"] if all(r[k] == v for k, v in fits.items())]


def limit(node, *words):
    began = time.monotonic()
    answer = node.cli("replication", "limit", *words, "--reason", "scenario")
    check(answer["in_force"] == 3, f"not in force on three nodes: {answer}")
    return time.monotonic() - began


def exit_of(node, *words):
    return node.cli_raw("replication", *words).returncode


def limits(s, cluster):
    prg, brq = cluster.node("prg-1"), cluster.node("brq-1")
    check(exit_of(prg, "limit", "--to", "brq", "1MiB") == 2, "a limit without a reason")
    check(exit_of(prg, "limit", "--to", "brq", "fast", "--reason", "x") == 2, "a rate that is none")
    check(exit_of(prg, "limit", "--to", "vie", "1MiB", "--reason", "x") == 5, "a site that is none")
    check(exit_of(prg, "limit", "--to", "brq", "1MiB", "--window", "mon 08:00-18:00 Mars/Base", "--reason", "x") == 5,
          "a time zone that is none")
    check(exit_of(prg, "limit", "--to", "brq", "--remove", "--reason", "x") == 5, "no such limit")

    seconds = limit(prg, "--to", "brq", "pause")
    s.say(f"brq is paused: in force on three nodes after {seconds:.1f} s")
    calls = s.place(["prg-1"] * 2, 4)
    s.hang_up(calls)
    wait_committed(prg, calls, ["prg"])
    for node in cluster.nodes:
        wait_for(f"the queue as {node.name} tells it",
                 lambda n=node: [(r["node"], r["class"], r["segments"]) for r in rows(n, to="brq", why="paused")] ==
                 [("brq-1", "new", 2)], 20)
    answer, code = queue(prg, "--site", "brq")
    check(code == 0 and answer["complete"] and {i["recording"] for i in answer["items"]} == {c.id for c in calls},
          f"the oldest of the queue: exit {code}, {answer}")
    s.say("every node says that two new segments wait for brq-1, paused, and which")
    samples = export_exact(s, brq, calls, "brq-paused")
    check(rows(prg, to="brq", why="paused"), "they are copied though paused")
    s.say(f"a listener at brq does not wait for that: {samples} samples equal what was sent")

    brq.kill()
    _answer, code = queue(prg)
    wait_for("the queue to name the node that does not answer",
             lambda: [x["node"] for x in queue(prg)[0]["silent"]] == ["brq-1"] and queue(prg)[1] == 6, 20)
    brq.start()
    wait_for("the limit to be in force after kill -9", lambda: rows(prg, to="brq", why="paused"), 30)
    s.say("kill -9 of brq-1: the queue said that it does not answer (exit 6); afterwards the pause holds again")

    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)
    window = f"daily {soon:%H:%M}-{soon + datetime.timedelta(hours=1):%H:%M} UTC"
    limit(brq, "--to", "brq", "none", "--window", window)
    found = wait_for("the pause to be a window", lambda: rows(prg, to="brq", why="window"), 10)
    check(found[0]["changes"][:16] == f"{soon:%Y-%m-%dT%H:%M}", f"it opens at {found[0]['changes']}, want {soon}")
    s.say(f"with a window that opens later the reason is `window`, until {found[0]['changes']}")

    limit(prg, "--to", "brq", "64KiB")
    wait_committed(prg, calls, ["prg", "brq"])
    wait_for("the queue to be empty", lambda: not rows(prg), 10)
    shown = prg.cli("replication", "limit", "--show")
    check([(x["rate"], x["decides"]) for x in shown["limits"]] == [("64KiB", ["new", "repair", "rebalance"]), ("none", [])],
          f"what decides: {shown['limits']}")
    check({n["sync_rate_bytes"] for n in shown["nodes"]} == {0}, f"the base: {shown['nodes']}")
    limit(prg, "--to", "brq", "--remove")
    limit(prg, "--to", "brq", "--remove", "--window", window)
    check(prg.cli("replication", "limit", "--show")["limits"] == [], "limits are left")
    told = [e for e in prg.cli("audit", "list", "--from", "1")["events"]
            if e["action"] == "policy.set" and e["target"] == "replication" and e["outcome"] == "ok"]
    check(len(told) == 5 and {e["reason"] for e in told} == {"scenario"}, f"in the audit log: {told}")
    s.say("a rate instead of the pause: both arrived; five changes are in the audit log")


def cut_link(s, cluster):
    prg, brq = cluster.node("prg-1"), cluster.node("brq-1")
    cluster.cut("brq")
    calls = s.place(["prg-1"], 3)
    s.hang_up(calls)
    wait_committed(prg, calls, ["prg"])
    wait_for("prg to say that brq-1 does not answer", lambda: [x["node"] for x in queue(prg)[0]["silent"]] == ["brq-1"], 30)
    wait_for("prg to know what brq lacks",
             lambda: [x["segments"] for x in queue(prg)[0]["sites"] if x["site"] == "brq"] == [1], 10)
    cluster.heal()
    wait_committed(prg, calls, ["prg", "brq"])
    s.say("a cut link: prg names the silent node and what its site lacks; after healing it arrives")
    wait_for("the queue to be empty", lambda: not rows(brq), 10)


def rot(s, node, ident, what):
    """One bit of the middle of a recording's first tape turns, in place, as a disk does it."""
    tape = node.media / node.recording(ident)["segments"][0]["file"]
    with open(tape, "r+b") as file:
        at = tape.stat().st_size // 2
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))
    s.say(f"one bit of byte {at} of a tape at {node.name} was flipped: {what}")


def scrub_of(node, name):
    """How a node's scrub goes; KeyError while `node` does not know that one (its catalogue is just being opened)."""
    scrubs = json.loads(node.cli_raw("replication", "scrub", "--status", "-o", "json").stdout)["scrubs"]
    return {x["node"]: x for x in scrubs}[name]


def states(node, ident):
    """{node: [state of each copy]}"""
    result = {}
    for c in node.recording(ident)["copies"]:
        result.setdefault(c.get("node"), []).append(c["state"])
    return result


def scrub(s, cluster):
    prg, brq = cluster.node("prg-1"), cluster.node("brq-1")
    calls = s.place(["prg-1"] * 12, 6)
    s.hang_up(calls)
    wait_committed(prg, calls, ["prg", "brq"])

    def saved():
        return json.loads((brq.media / "scrub.json").read_text())
    idle = scrub_of(brq, "brq-1")
    check(idle["state"] == "idle" and idle["next"] and not idle["ended"], f"before any: {idle}")
    check(exit_of(prg, "scrub") == 2 and exit_of(prg, "scrub", "--on", "nobody", "--reason", "x") == 5, "what is refused")

    rot(s, brq, calls[-1].id, "the last one that a scrub comes to")
    prg.cli("replication", "scrub", "--on", "brq-1", "--rate", "64KiB", "--reason", "scenario")
    wait_for("a cursor that is not at the beginning", lambda: saved()["copies"] >= 2, 30)
    brq.kill()
    before = saved()
    check(before["running"] and before["bad"] == 0, f"killed too late: {before}")
    brq.start()
    wait_for("the scrub to go on", lambda: scrub_of(brq, "brq-1")["state"] == "running", 30)
    after = scrub_of(brq, "brq-1")  # prg may still know what it was before
    check(after["pass"] == before["pass"] == 1 and after["copies"] >= before["copies"], f"it began anew: {before} {after}")
    prg.cli("replication", "scrub", "--on", "brq-1", "--rate", "50MiB", "--reason", "faster")
    done = wait_for("the scrub to end", lambda: x if (x := scrub_of(brq, "brq-1"))["state"] == "idle" else None, 30)
    check(done["bad"] == 1 and done["pass"] == 1, f"what it found: {done}")
    wait_for("a status with a bad copy to exit 9 at prg", lambda: exit_of(prg, "scrub", "--status") == 9, 10)
    wait_for("COPY_BAD of brq-1", lambda: any(c["code"] == "COPY_BAD" and c["node"] == "brq-1" for c in prg.status()["codes"]), 10)
    wait_committed(prg, calls, ["prg", "brq"])
    check(any((brq.media / "quarantine").iterdir()), "the bad file is not in quarantine")
    export_exact(s, brq, calls[-1:], "brq-scrubbed")
    s.say(f"kill -9 in the middle of a pass: it went on at {before['copies']} copies, found the bad one of "
          f"{done['copies']}, and a good one is there again, and plays")


def repair(s, cluster):
    prg, prg2, brq = (cluster.node(n) for n in ("prg-1", "prg-2", "brq-1"))
    calls = s.place(["prg-1"] * 2, 3)
    s.hang_up(calls)
    wait_committed(prg, calls, ["prg", "brq"])
    check(exit_of(prg, "repair", "--plan") == 0, "nothing lacks copies, and repair --plan does not exit 0")

    # One that can come from the other site, while that is paused; one that is bad everywhere.
    limit(prg, "--to", "prg", "pause")
    limit(prg, "--to", "brq", "pause")
    rot(s, prg, calls[0].id, "a good copy is at brq")
    rot(s, prg, calls[1].id, "and this one ...")
    rot(s, brq, calls[1].id, "... is bad at brq, too")
    prg.cli("replication", "scrub", "--reason", "scenario")
    wait_for("all scrubs to end", lambda: all(x["state"] == "idle" and x["pass"] > 0
                                              for x in (scrub_of(n, n.name) for n in cluster.nodes)), 60)
    wait_for("COPIES_GONE", lambda: any(c["code"] == "COPIES_GONE" for c in prg.status()["codes"]), 20)
    done = prg.cli_raw("replication", "repair", "--plan", "-o", "json")
    plan = {i["recording"]: i for i in json.loads(done.stdout)["items"]}
    check(done.returncode == 9 and set(plan) == {c.id for c in calls}, f"the plan: exit {done.returncode}, {plan}")
    can, cannot = plan[calls[0].id], plan[calls[1].id]
    check((can["lacks"], can["from"], can["bad_at"], can["repairable"]) == (["prg"], ["brq-1"], ["prg-1"], True), f"{can}")
    check((sorted(cannot["lacks"]), cannot["from"], cannot["repairable"]) == (["brq", "prg"], [], False) and
          set(cannot["bad_at"]) == {"prg-1", "brq-1"}, f"{cannot}")
    check(exit_of(prg, "repair", calls[0].id) == 7, "a plan of what can be repaired exits 7")
    s.say("repair --plan: one can come from brq-1, one has no good copy anywhere (exit 9, COPIES_GONE)")

    limit(prg, "--to", "prg", "--remove")
    limit(prg, "--to", "brq", "--remove")
    answer = json.loads(prg.cli_raw("replication", "repair", "--apply", "--reason", "scenario", "-o", "json").stdout)
    check(len(answer["asked"]) == 3 and not answer["not_reached"] and answer["cannot"] == 1, f"{answer}")
    wait_committed(prg, calls[:1], ["prg", "brq"])
    export_exact(s, prg, calls[:1], "prg-repaired")
    check("verified" not in sum(states(prg, calls[1].id).values(), []), "what nobody holds is called verified")

    # The bytes are as they were: what is in quarantine verifies again.
    for file in (brq.media / "quarantine").iterdir():
        if calls[1].id in file.name:
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 0x10
            file.write_bytes(data)
    prg.cli_raw("replication", "repair", "--apply", calls[1].id, "--reason", "the disk reads again")
    wait_committed(prg, calls[1:], ["prg", "brq"])
    export_exact(s, prg, calls[1:], "prg-from-quarantine")
    check(exit_of(prg, "repair") == 0, "something lacks copies still")
    wait_for("COPIES_GONE to go", lambda: not any(c["code"] == "COPIES_GONE" for c in prg.status()["codes"]), 20)
    told = {e["action"] for e in prg.cli("audit", "list", "--from", "1")["events"]}
    check({"replication.scrub", "replication.repair"} <= told, f"in the audit log: {told}")
    check(prg2.cli("audit", "verify")["events"] > 0, "the audit chain")
    s.say("--apply: the one came from brq-1; of the other a file in quarantine verified again, and it is everywhere")


def tell(s):
    cluster = s.make_cluster()
    limits(s, cluster)
    cut_link(s, cluster)
    scrub(s, cluster)
    repair(s, cluster)


if __name__ == "__main__":
    sys.exit(run("replication", tell))
