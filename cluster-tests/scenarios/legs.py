"""Legs of a B2BUA are one call: by a header, though two sites captured them, and by their numbers at one recorder.

Promise (issue 5): every leg is a recording of its own; what joins them is a rule, and is told. `recording show` of one leg
names the others on every node, `recording list --call` finds them all; a call of its own stays one.
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
    s.say("two sites captured a leg each and made one call of them, by X-Call-ID; two legs of one recorder by their numbers; all "
          "three nodes show and find them")


if __name__ == "__main__":
    sys.exit(run("legs", tell))
