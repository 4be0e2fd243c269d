"""Legs of a B2BUA are one call: by a header, though two sites captured them, and by their numbers at one recorder.

Promise (issue 5): every leg is a recording of its own; what joins them is a rule, and is told. `recording show` of one leg
names the others on every node, `recording list --call` finds them all; a call of its own stays one. What rules missed is joined by
hand and what they joined is split by hand, on any node; it stays so when more is told, and after a restart of the recorder.
"""
import sys

from story import check, run, wait_committed, wait_for

from lab.phones import Phones

TALK = 3
JOIN = "recording:\n  join:\n    - {header: X-Call-ID}\n    - {numbers: 7, within: 10s}\n"


def place(s, node, number, caller, callee, headers=""):
    node.rows += 1
    call = Phones(s.folder / "calls" / f"{number:03d}", f"127.{node.phones}.{node.rows}.1", f"127.{node.phones}.{node.rows}.2",
                  caller, callee, TALK, headers=headers)
    s.calls.append(call)
    return call.start()


def legs_of(node, call):
    return {leg["id"] for leg in node.recording(call.id)["legs"]}


def by_hand(s, cluster, inner, outer, first, second, alone):
    prg, other, brq = cluster.nodes
    refused = other.cli_raw("recording", "join", alone.id, first.id)
    check(refused.returncode == 2, f"join without a reason: exit {refused.returncode}")
    was = prg.recording(first.id)["call"]
    done = brq.cli("recording", "join", alone.id, first.id, "--reason", "case 118")
    check(done["moved"] == 2 and set(done["legs"]) == {alone.id, first.id, second.id}, f"join: {done}")
    check(brq.cli("recording", "join", first.id, second.id, alone.id, "--reason", "again")["moved"] == 0, "join again changes something")
    for node in cluster.nodes:
        wait_for(f"{node.name} to join by hand", lambda n=node: legs_of(n, second) == {alone.id, first.id}, 20)
        rec = node.recording(first.id)
        check(rec["joined"] == "by hand" and rec["hand"]["reason"] == "case 118" and rec["hand"]["was"] == was, f"{node.name}: {rec['hand']}")
        check(len(node.recordings("--call", rec["call"])) == 3 and len(node.recordings("--call", was)) == 2, f"{node.name}: --call finds others")

    done = other.cli("recording", "split", outer.id, "--reason", "two callers")
    check(done["moved"] == 1 and done["legs"] == [outer.id], f"split: {done}")
    check(other.cli("recording", "split", outer.id, "--reason", "again")["moved"] == 0, "split again changes something")
    for node in cluster.nodes:
        wait_for(f"{node.name} to split", lambda n=node: legs_of(n, inner) == set() and legs_of(n, outer) == set(), 20)

    # What a rule joins later goes where the others went; what was split stays alone.
    brq.kill()
    brq.start()
    wait_for("brq to capture again", lambda: brq.status()["leader"], 30)
    joined = prg.cli("recording", "join", alone.id, inner.id, "--reason", "case 118")
    check(joined["moved"] == 1, f"join: {joined}")
    late = place(s, prg, 6, "+420607000006", "4002", "X-Call-ID: 7f3a\r\n")
    late.wait()
    wait_committed(prg, [late], ["prg", "brq"], 60)
    for node in cluster.nodes:
        wait_for(f"{node.name} to know the late leg", lambda n=node: legs_of(n, late) == {alone.id, first.id, second.id, inner.id}, 20)
        check(legs_of(node, outer) == set(), f"{node.name}: who was split is joined again")
    events = [e for e in prg.cli("audit", "list")["events"] if e["action"] in ("recordings.join", "recording.joined", "recording.split")]
    check(len(events) == 3 + 3 + 2, f"audit: {[(e['action'], e['outcome']) for e in events]}")
    s.say("by hand a call was joined with two legs of another, and one of two legs was split: on all nodes, over a restart, and a leg that "
          "came later went with those that it belongs to")


def tell(s):
    cluster = s.make_cluster(extra=JOIN)
    prg, _, brq = cluster.nodes
    inner = place(s, prg, 1, "+420601000001", "4001", "X-Call-ID: 7f3a\r\n")
    outer = place(s, brq, 2, "+420602000002", "+420800123456", "X-Call-ID: 7f3a\r\n")
    first = place(s, prg, 3, "+420603000003", "+420804000004")
    second = place(s, prg, 4, "00420603000003", "0804000004")
    alone = place(s, prg, 5, "+420605000005", "+420806000006")
    s.hang_up(s.calls)
    wait_committed(prg, s.calls, ["prg", "brq"], 60)
    wait_for("brq to know all", lambda: len(brq.recordings()) == 5, 30)

    for node in cluster.nodes:
        for a, b, why in ((inner, outer, "header X-Call-ID"), (first, second, "numbers")):
            for one, other in ((a, b), (b, a)):
                rec = wait_for(f"{node.name} to join", lambda n=node, o=one: (r := n.recording(o.id))["legs"] and r, 20)
                check([leg["id"] for leg in rec["legs"]] == [other.id] and rec["joined"] == why, f"{node.name}: {rec['legs']} {rec['joined']}")
                found = {r["id"] for r in node.recordings("--call", rec["call"])}
                check(found == {a.id, b.id}, f"{node.name}: --call finds {found}")
        rec = node.recording(alone.id)
        check(rec["legs"] == [] and rec["joined"] == "", f"{node.name}: alone with {rec['legs']}")
    by_hand(s, cluster, inner, outer, first, second, alone)
    s.say("two sites captured a leg each and made one call of them, by X-Call-ID; two legs of one recorder by their numbers; all "
          "three nodes show and find them")


if __name__ == "__main__":
    sys.exit(run("legs", tell))
