"""The only vault node is joined by another one that was a recorder until then, and goes.

Promise (issue 3): a node that gets the role `vault` later gets the keys, from a vault node that has them, and says how
many it has; what was recorded before plays there, and everywhere, when the first vault is gone; losing the role needs
another vault that holds everything.
"""
import sys

from story import check, export_exact, run, wait_committed, wait_for

RECORDER = ("voter", "capture", "api")


def survives(node):
    return {row["loss"]: [] if row["survives"] else row["lacks"] or ["?"] for row in node.status()["survives"]}


def codes(node):
    return {c["code"] for c in node.status()["codes"]}


def tell(s):
    cluster = s.make_cluster((("prg-1", "prg"), ("prg-2", "prg", RECORDER), ("brq-1", "brq", RECORDER)))
    first, second, third = cluster.nodes
    calls = s.place(["prg-1", "prg-2", "brq-1"], 4)
    s.hang_up(calls)
    wait_committed(first, calls, ["prg", "brq"], 60)
    check("VAULT_SINGLE" in codes(third), f"one vault, and status says {codes(third)}")
    wait_for("status to say that the keys are at one node", lambda: survives(third)["any one node"] == ["keys"], 30)

    refused = first.cli_raw("node", "demote", "prg-1", "--role", "vault", "--reason", "CHG-1")
    check(refused.returncode == 8 and b"no other vault node" in refused.stderr,
          f"the only vault gave its role up: {refused.returncode} {refused.stderr.decode()}")

    # Asked at a node that can open nothing itself.
    done = third.cli_raw("node", "promote", "prg-2", "--role", "vault", "--reason", "CHG-2", timeout=130)
    check(done.returncode == 0, f"promote: exit {done.returncode}: {done.stderr.decode()}")
    check("can open 2 of 2 keys" in done.stdout.decode(), f"it does not say what it can open: {done.stdout.decode()}")
    node = third.cli("node", "show", "prg-2")
    check(node["keys"] == 2 and node["keys_missing"] == 0, f"want two keys: {node}")
    wait_for("no complaint about a single vault", lambda: not codes(third) & {"VAULT_SINGLE", "VAULT_NO_GRANT"}, 30)
    wait_for("any one node to be survived", lambda: survives(third)["any one node"] == [], 30)
    granted = [e for e in third.cli("audit", "list", "--from", "1")["events"] if e["action"] == "grant.add"]
    check(len(granted) == 1, f"keys were granted {len(granted)} times")
    s.say("prg-2 became a vault: it was granted both keys, once, and says so")

    first.kill()
    wait_for("another leader", lambda: (n := second.status()["leader"]) and n != "prg-1", 30)
    samples = export_exact(s, second, calls, "second")
    samples += export_exact(s, third, calls, "third")
    s.say(f"the first vault is dead: {len(calls)} calls play at prg-2, and at brq-1 through it: {samples} samples equal")

    done = second.cli("node", "remove", "prg-1", "--reason", "dead: stolen disk, no", "--confirm", "scenario", timeout=130)
    check(done["state"] == "removed", f"removed: {done}")
    refused = second.cli_raw("node", "demote", "prg-2", "--role", "vault", "--reason", "CHG-3")
    check(refused.returncode == 8, f"the vault that is left gave its role up: {refused.returncode}")
    second.cli("node", "promote", "brq-1", "--role", "vault", "--reason", "CHG-4", timeout=130)
    second.cli("node", "demote", "prg-2", "--role", "vault", "--reason", "CHG-5", timeout=130)
    samples = export_exact(s, third, calls, "moved")
    s.say(f"the first is removed; the role moved on to brq-1, which plays what was recorded before: {samples} samples equal")


if __name__ == "__main__":
    sys.exit(run("vaults", tell))
