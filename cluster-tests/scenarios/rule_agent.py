"""Recording rules ask who uses a number, by the catalogue's roster at the time of the call.

Promise (issue 5): what is told of agents on any node reaches the rules of every recorder within seconds, also of one that is
restarted; a call is decided about by who the agent was when it began.
"""
import sys
import time

from story import by_caller, check, logged, recorder_started, run, wait_for

from lab.phones import Phones

TALK = 3
RULES = """recording:
  default: skip
  rules:
    - {name: council, agent: [hana], action: skip}
    - {name: claims, agent: "team:claims", action: record}
"""


def place(s, node, number, caller):
    node.rows += 1
    call = Phones(s.folder / "calls" / f"{number:03d}", f"127.{node.phones}.{node.rows}.1", f"127.{node.phones}.{node.rows}.2",
                  caller, "+420800111222", TALK)
    s.calls.append(call)
    return call.start()


def tell(s):
    cluster = s.make_cluster(extra=RULES)
    first, _, recorder = cluster.nodes
    before = place(s, recorder, 1, "4711")
    told = time.time()
    first.cli("agent", "set", "anna", "--team", "claims", "--number", "4711", "--reason", "scenario")
    first.cli("agent", "set", "hana", "--team", "claims", "--number", "4712", "--reason", "scenario")
    logged(recorder, told, r" agents\.told numbers=2 ", "the recorder to know both")
    anna, hana, other = (place(s, recorder, n, number) for n, number in ((2, "4711"), (3, "4712"), (4, "4713")))
    s.hang_up(s.calls)
    rec = wait_for("anna's call", lambda: (r := by_caller(first).get("4711", [])) and r[0]["state"] != "capturing" and r, 30)
    check(len(rec) == 1 and first.recording(rec[0]["id"])["rule"] == "claims", f"anna's recordings: {rec}")
    check(rec[0]["sip_call_id"] == anna.call_id, "the call before it was told was recorded")
    check(set(by_caller(first)) == {"4711"}, f"recorded: {set(by_caller(first))}; not {hana.caller}, {other.caller}, {before.caller} before")
    s.say("told at one site: anna's call at the other is recorded by her team's rule; hers of before, hana's and a stranger's are not")

    told = time.time()
    first.cli("agent", "set", "anna", "--team", "sales", "--number", "4711", "--reason", "moved")
    first.cli("agent", "set", "eva", "--team", "claims", "--number", "4714", "--reason", "new")
    logged(recorder, told, r" agents\.told numbers=[34] ", "the recorder to know that")
    killed = time.time()
    recorder.kill()
    recorder.start()
    recorder_started(recorder, killed)
    logged(recorder, killed, r" agents\.told ", "the recorder to be told again")
    moved, new = place(s, recorder, 5, "4711"), place(s, recorder, 6, "4714")
    s.hang_up([moved, new])
    wait_for("eva's call", lambda: by_caller(first).get("4714"), 30)
    check(len(by_caller(first)["4711"]) == 1, "anna's call is recorded, though she left the team")
    s.say("a new version ends the old one; a recorder that was killed has the roster again")


if __name__ == "__main__":
    sys.exit(run("rules by agent", tell))
