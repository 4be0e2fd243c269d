"""A witness joins, a machine is stolen, and votes are taken away by force.

Promise (issue 3): a witness votes and holds nothing; a stolen node is cut off by every other node as each applies its
removal, it is let in nowhere again, and neither are machines with join tokens of its site; what costs the majority is
refused until --force and the cluster's name, and then goes.
"""
import json
import os
import signal
import sys

from story import check, export_exact, run, wait_committed, wait_for


def member(node, name):
    return next((n for n in node.status()["nodes"] if n["name"] == name), None)


def refused(code, node, *args, say=""):
    done = node.cli_raw(*args, timeout=120)
    text = done.stderr.decode()
    check(done.returncode == code and say in text, f"evertape {' '.join(args)}: exit {done.returncode}, want {code} and "
          f"\"{say}\": {text}")


def witness_joins(s, first):
    node = s.cluster.add("wit-1", "wit", roles=("witness",))
    node.write_config()
    node.start()
    s.cluster.join(first, node)
    wait_for("the witness to vote", lambda: (m := member(first, "wit-1")) and m["role"] == "voter" and m["witness"], 60)
    refused(1, first, "node", "promote", "wit-1", "--role", "vault", "--reason", "no", say="neither media nor keys")
    refused(1, first, "node", "promote", "wit-1", "--role", "capture", "--reason", "no", say="neither media nor keys")
    check(member(first, "wit-1")["keys"] == 0, "a witness holds keys")
    check(not list(node.media.rglob("*.evtm")), "a witness holds tapes")
    s.say("wit-1 joined as a witness: it votes, and is given neither media nor keys")
    return node


def cut_off(s, stolen, others):
    """What the stolen machine says from now on is heard by nobody, though it does not know why."""
    for node in others:
        wait_for(f"{node.name} to know of it", lambda n=node: "revoked" in {
            c["state"] for c in n.cli("cert", "list")["certs"] if c.get("name") == stolen.name}, 20)
    os.kill(stolen.process.pid, signal.SIGCONT)
    wait_for("the stolen node to hear nobody", lambda: (t := stolen.status()) and "NO_QUORUM" in {c["code"] for c in t["codes"]},
             40)
    refused(3, stolen, "token", "create", "--name", "thief", "--role", "admin", "--reason", "thief")
    for node in others:
        wait_for(f"{node.name} to refuse it", lambda n=node: "tls.refused" in n.log.read_text(errors="replace") or
                 "tls.cut" in n.log.read_text(errors="replace"), 30)
        check(member(node, stolen.name) is None, f"{node.name} still lists it")


def keys_follow(s, first, others, calls):
    """It was a vault: another CA at once, another key version, and what it could open is encrypted again."""
    def ca(node):
        return json.loads(node.cli_raw("cert", "rotate-ca", "--status", "-o", "json").stdout)
    wait_for("CA 2 to be the only one", lambda: [c["ca"] for c in ca(first)["trusted"]] == [2], 30)
    check(ca(first)["rotation"]["forced"], f"not forced: {ca(first)}")
    back = first.cli_raw("cert", "rotate-ca", "--abort", "--reason", "no")
    check(back.returncode != 0, "a forced rotation was aborted")
    wait_for("every member to have a certificate of CA 2", lambda: ca(first)["rotation"]["phase"] == "settled", 60)
    certs = {c["name"]: (c["ca"], c["state"]) for c in first.cli("cert", "list")["certs"]}
    check(all(certs[n.name] == (2, "ok") for n in others) and certs["wit-1"][0] == 2, f"certificates: {certs}")
    kek = wait_for("KEK version 2 to seal", lambda: (k := first.cli("key", "status")) and k["active"] == 2 and k["keys"], 60)
    old = next(k for k in kek if k["version"] == 1)
    check(old["state"] in ("compromised", "destroy-scheduled") and old["compromised"], f"version 1: {old}")
    wait_for("what it could open to be encrypted again", lambda: next(
        k for k in first.cli("key", "status")["keys"] if k["version"] == 1)["wraps"] == 0, 90, every=0.5)
    codes = {c["code"] for c in first.status()["codes"]}
    check("ESCROW_STALE" in codes and "CA_STOLEN" not in codes, f"codes: {codes}")
    export_exact(s, first, calls, "again")
    s.say("it was a vault: CA 2 is the only one that is trusted, KEK version 1 is compromised, version 2 seals, and its "
          "recordings are encrypted again, and play")


def tell(s):
    cluster = s.make_cluster((("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq"), ("brq-2", "brq")))
    first = cluster.nodes[0]
    witness = witness_joins(s, first)
    calls = s.place(["prg-1", "brq-2"], 3)
    s.hang_up(calls)
    wait_committed(first, calls, ["prg", "brq"], 60)

    # A token of the thief's site that still has uses.
    token = first.cli("node", "token", "--site", "brq", "--role", "voter", "--uses", "3", "--ttl", "1h", "--reason", "spare")
    stolen = cluster.node("brq-2")
    refused(8, first, "node", "remove", "brq-2", "--reason", "stolen", say="--confirm scenario")
    refused(8, first, "node", "remove", "brq-2", "--reason", "stolen", "--confirm", "brq-2", say="--confirm scenario")
    os.kill(stolen.process.pid, signal.SIGSTOP)  # it is carried away, running
    done = first.cli_raw("node", "remove", "brq-2", "--reason", "stolen from the van", "--confirm", "scenario", timeout=130)
    check(done.returncode == 0, f"remove: exit {done.returncode}: {done.stderr.decode()}")
    told = done.stderr.decode()
    check("it was a vault" in told and "join tokens for its site are revoked" in told, f"it does not say what follows: {told}")
    others = [n for n in cluster.nodes if n is not stolen]
    cut_off(s, stolen, [n for n in others if n is not witness])
    s.say("brq-2 was stolen: revoked, its connections cut by every node; it hears nobody and writes nothing")

    stolen.kill()
    keys_follow(s, first, [n for n in others if n is not witness], calls)
    thief = cluster.add("brq-9", "brq", roles=("voter",))
    thief.write_config()
    thief.start()
    done = thief.cli_raw("node", "join", "-", first.cluster_address, input=token["token"].encode(), timeout=60)
    check(done.returncode != 0 and b"rotated" in done.stderr, f"a token of its site admits: {done.returncode} {done.stderr}")
    thief.stop()
    cluster.nodes.remove(thief)
    cluster.nodes.remove(stolen)
    helper = cluster.add("prg-3", "prg", roles=("standby",))
    helper.write_config()
    helper.start()
    token = first.cli("node", "token", "--site", "prg", "--role", "standby", "--uses", "3", "--ttl", "1h", "--reason", "after")
    helper.cli("node", "join", "-", first.cluster_address, input=token["token"].encode(), timeout=60)
    wait_for("prg-3 to be a standby", lambda: (m := member(first, "prg-3")) and m["role"] == "standby", 60)
    s.say("its site's join token is good for nothing; a new one admits")

    # Four voters: prg-1, prg-2, brq-1, wit-1. With two dead there is no majority; with one dead, three of four are one.
    wait_for("four voters", lambda: first.status()["quorum"]["voters"] == 4, 30)
    dead = cluster.node("brq-1")
    dead.kill()
    wait_for("brq-1 to be seen as down", lambda: "VOTER_DOWN" in {c["code"] for c in first.status()["codes"]}, 30)
    first.cli("node", "demote", "prg-2", "--reason", "CHG-1", timeout=130)
    wait_for("three voters", lambda: first.status()["quorum"]["voters"] == 3, 30)
    refused(8, first, "node", "demote", "wit-1", "--to", "standby", "--reason", "CHG-2", say="no majority")
    refused(8, first, "node", "demote", "wit-1", "--to", "standby", "--force", "--reason", "CHG-2", say="--confirm scenario")
    refused(8, first, "node", "demote", "wit-1", "--to", "standby", "--force", "--confirm", "wit-1", "--reason", "CHG-2",
            say="--confirm scenario")
    done = first.cli_raw("node", "demote", "wit-1", "--to", "standby", "--force", "--confirm", "scenario", "--reason", "CHG-2",
                         "--no-wait", timeout=130)
    check(done.returncode == 0, f"forced: exit {done.returncode}: {done.stderr.decode()}")
    wait_for("two voters, of which one is dead: no majority, as was said", lambda: (q := first.status()["quorum"]) and
             q["voters"] == 2 and not q["has_quorum"], 40)
    refused(3, first, "token", "create", "--name", "no", "--role", "reader", "--reason", "no")
    dead.start()
    wait_for("a leader, with brq-1 back", lambda: first.status()["leader"], 40)
    first.cli("token", "create", "--name", "yes", "--role", "reader", "--reason", "yes")
    forced = [e for e in first.cli("audit", "list", "--from", "1")["events"] if e["action"] == "node.roles"]
    check(forced and forced[-1]["reason"] == "CHG-2", f"the force is not in the audit log: {forced}")
    s.say("demoting by force cost the majority, as it says; with the other voter back, all goes on")


if __name__ == "__main__":
    sys.exit(run("stolen", tell))
