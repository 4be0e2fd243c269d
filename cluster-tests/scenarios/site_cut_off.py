"""A site is cut off: it records on, says so honestly, destroys nothing, and after healing all is one again.

Promise (issue 2, must show 4): the minority site records 20 calls while cut off, `recording list` there shows them
as pending, a destructive command there exits 8 with the reason; after healing all are committed once and play at the
other site; the audit chain verifies on all nodes and state digests are equal. Facts and notes that are told of its
calls meanwhile are kept, and found from the other site after healing.
"""
import json
import sys

from story import by_caller, check, digests_compared, digests_equal, export_exact, lost_packets, run, wait_committed, wait_for

CALLS = 20
TALK = 6


def survives(node):
    """{loss: what it lacks, [] when it is survived}"""
    return {row["loss"]: [] if row["survives"] else row["lacks"] or ["?"] for row in node.status()["survives"]}


def tell(s):
    cluster = s.make_cluster()
    prg, brq = cluster.node("prg-1"), cluster.node("brq-1")
    policy = s.folder / "archive.yaml"
    policy.write_text(f"targets:\n  cold: {{type: dir, path: {s.folder}/archive}}\nrules:\n  - {{name: all, to: cold}}\n")
    before = s.place(["prg-1", "brq-1"], 3)
    s.hang_up(before)
    wait_committed(prg, before, ["prg", "brq"])
    want = {"any one node": [], "any one site": ["votes"], "site prg": ["votes"], "site brq": []}
    wait_for(f"status to say what is survived: {want}", lambda: survives(prg) == want and survives(brq) == want, 30)

    cluster.cut("brq")
    want = {"any one node": ["votes"], "any one site": ["votes", "keys"], "site prg": ["votes", "keys"], "site brq": []}
    wait_for(f"status to say what is still survived: {want}",
             lambda: {k: [x for x in v if x != "copies"] for k, v in survives(prg).items()} == want, 20)
    wait_for("the cut-off site to claim nothing", lambda: all(survives(brq).values()), 20)
    s.say("status says which losses are survived: all but that of prg at first; with brq cut off nothing more")
    wait_for("brq-1 to know that it has no quorum",
             lambda: not brq.status()["leader"] or any(c["code"] == "NO_QUORUM" for c in brq.status()["codes"]), 20)
    s.say("site brq is cut off, and knows it")
    calls = s.place(["brq-1"] * CALLS, TALK)
    s.hang_up(calls)

    def all_pending():
        listed = by_caller(brq)
        return all(len(listed.get(c.caller, [])) == 1 and listed[c.caller][0]["pending"] for c in calls)
    wait_for(f"brq-1 to list {CALLS} calls as pending", all_pending, 20, every=0.2)
    s.say(f"{CALLS} calls were recorded there while cut off; its list shows every one as pending")
    check(not any(c.caller in by_caller(prg) for c in calls), "prg-1 lists calls that it cannot know")

    done = brq.cli_raw("archive", "policy", "apply", str(policy), "--reason", "scenario", "-o", "json", timeout=40)
    text = done.stderr.decode()
    check(done.returncode == 8, f"a destructive command at the cut-off site exits {done.returncode}, want 8: {text}")
    check("quorum" in text, f"it does not say why: {text}")
    s.say("a destructive command there exits 8: " + (json.loads(text).get("what", "") if text.startswith("{") else
                                                     text.strip().splitlines()[0]))

    subject = by_caller(brq)[calls[0].caller][0]
    told = brq.cli("recording", "fact", "sip:" + subject["sip_call_id"], "order=A-17")
    check(told["pending"] and told["survives"] == "local", f"a fact told while cut off: {told}")
    noted = brq.cli("recording", "note", subject["id"], "asks for a refund")
    check(noted["pending"], f"a note told while cut off: {noted}")
    s.say("a fact and a note that are told there are taken, as pending")

    cluster.heal()
    s.say("healed")
    wait_committed(prg, calls, ["prg", "brq"], 75)
    lost = sum(lost_packets(prg, c) for c in calls)
    check(lost == 0, f"{lost} packets lost")
    samples = export_exact(s, prg, calls, "prg")
    s.say(f"{CALLS} calls are committed, each once, and play at prg: {samples} samples equal what was sent")
    wait_for("what was told to be found at prg",
             lambda: [r["id"] for r in prg.recordings("--fact", "order=A-17", "--text", "refund")] == [subject["id"]], 30)
    s.say("the fact and the note are committed, and found at prg")
    check(len(prg.recordings()) == CALLS + 2, f"{len(prg.recordings())} recordings, want {CALLS + 2}")

    wait_for("the audit chains to be equal", lambda: len(digests_equal(cluster.nodes)) == 1, 20)
    for node in cluster.nodes:
        wait_for(f"{node.name} to compare the state digests", lambda n=node: digests_compared(n), 40, every=0.3)
    events, _head = next(iter(digests_equal(cluster.nodes)))
    s.say(f"the audit chain of {events} events verifies on every node; state digests are equal")


if __name__ == "__main__":
    sys.exit(run("site cut off", tell, "nft"))
