"""One bit of one node's catalogue changes while it is stopped: it is named, it stops, the others go on; without its
database it takes theirs.

Promise (issue 3): `doctor --deep` compares state digests; divergence stops the node that is wrong.
"""
import shutil
import subprocess
import sys

from story import binaries, check, run, wait_for


def deep(node):
    done = node.cli_raw("doctor", "--deep", "-o", "json", timeout=60)
    return done.returncode, node_json(done)


def node_json(done):
    import json
    return json.loads(done.stdout) if done.stdout else {}


def agreed(node, members):
    code, report = deep(node)
    found = [c for c in report["checks"] if c["check"] == "state digest"]
    return code != 9 and any(c["result"] == "ok" and f"{members} of {members} members" in c["detail"] for c in found)


def codes(node):
    return {c["code"] for c in node.status()["codes"]}


def tell(s):
    cluster = s.make_cluster()
    first, wrong, last = cluster.nodes
    wait_for("all three to agree", lambda: agreed(first, 3), 60)
    s.say("doctor --deep: 3 of 3 members have the same state at one index")

    for key in ("applied", "cluster"):
        check(wrong.stop() == 0, "an orderly stop")
        done = subprocess.run([str(binaries() / "labdamage"), str(wrong.state), key], check=False)
        check(done.returncode == 0, "labdamage could not change the database")
        wrong.start()
        s.say(f"one bit of '{key}' of {wrong.name} was changed while it was stopped; it is started again")

        def ended():
            if not wrong.is_running():
                return True
            first.cli_raw("doctor", "--deep", timeout=60)
            return not wrong.is_running()
        wait_for(f"{wrong.name} to stop", ended, 90)
        code = wrong.process.wait(timeout=30)
        check(code == 9, f"it ended with {code}, want 9 (integrity)")
        check("STATE_DIVERGED" in wrong.tail(40) and "rm -r" in wrong.tail(40), "it does not say what to do")
        for other in (first, last):
            check(other.is_running(), f"{other.name} stopped too")
        leader = wait_for("a leader", lambda: first.status()["leader"], 30)
        check(leader != wrong.name, "the wrong one leads")
        first.cli("token", "create", "--name", f"after-{key}", "--role", "reader", "--reason", "scenario")
        s.say(f"{wrong.name} ended with 9 and says what to type; the others go on, {leader} leads")

        done = subprocess.run([str(binaries() / "evertaped"), str(wrong.config)], capture_output=True, timeout=60,
                              check=False)
        check(done.returncode == 9, f"it starts again with the wrong database: exit {done.returncode}")
        shutil.rmtree(wrong.state / "db")
        wrong.start()
        wait_for("all three to agree again", lambda: agreed(first, 3), 90)
        wait_for("nobody to be called odd", lambda: "STATE_DIVERGED" not in codes(first), 60)
        s.say("without its database it took the others' state: 3 of 3 agree again")


if __name__ == "__main__":
    sys.exit(run("diverged", tell))
