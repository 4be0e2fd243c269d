"""One byte of a tape turns: it is found, named, and healed; the copy at the other site plays.

Promise (issue 2, must show 6): `recording verify` exits 9 and names record and file; the copy at the other site
still plays.
"""
import json
import sys

from story import check, export_exact, run, wait_committed, wait_for


def tell(s):
    cluster = s.make_cluster()
    prg, brq = cluster.node("prg-1"), cluster.node("brq-1")
    calls = s.place(["prg-1"] * 2, 5)
    s.hang_up(calls)
    wait_committed(prg, calls, ["prg", "brq"])
    prg.cli("recording", "verify", calls[0].id)
    begun = prg.cli("doctor", "--rebuild-index")
    wait_for("the search index to be whole again", lambda: not prg.status()["index"]["rebuilding"])
    check(begun["total"] >= len(calls) and all(c.id in json.dumps(prg.cli("recording", "list")) for c in calls), "found by the new search index")

    rec = prg.recording(calls[0].id)
    name = rec["segments"][0]["file"]
    tape = prg.media / name
    data = bytearray(tape.read_bytes())
    data[len(data) // 2] ^= 0x04
    with open(tape, "r+b") as file:  # in place, as a disk does it
        file.seek(len(data) // 2)
        file.write(data[len(data) // 2:len(data) // 2 + 1])
    s.say(f"one bit of byte {len(data) // 2} of {name} was flipped at prg-1")

    done = prg.cli_raw("recording", "verify", calls[0].id, "-o", "json")
    text = done.stdout.decode() + done.stderr.decode()
    check(done.returncode == 9, f"recording verify exits {done.returncode}, want 9: {text}")
    check(name in text, f"it does not name the file: {text}")
    bad = [x for x in json.loads(done.stdout)["segments"] if x["result"] != "ok"]
    check(len(bad) == 1 and isinstance(bad[0]["record"], int), f"it does not name the record: {bad}")
    s.say(f"recording verify exits 9: record {bad[0]['record']} of {bad[0]['file']}: {bad[0]['why']}")

    samples = export_exact(s, brq, calls, "brq")
    s.say(f"the copy at brq plays: {samples} samples equal what was sent")
    check(any((prg.media / "quarantine").iterdir()), "the bad file is not in quarantine")

    def healed():
        return prg.cli_raw("recording", "verify", calls[0].id).returncode == 0 and tape.exists()
    wait_for("the bad copy to be replaced from the other site",
             lambda: {"prg", "brq"} <= {c.get("site") for c in prg.recording(calls[0].id)["copies"]
                                        if c["state"] == "verified"}, 40, every=0.2)
    holder = next(c["node"] for c in prg.recording(calls[0].id)["copies"]
                  if c["state"] == "verified" and c.get("site") == "prg")
    check(cluster.node(holder).cli_raw("recording", "verify", calls[0].id).returncode == 0 or healed(),
          f"the new copy at {holder} does not verify")
    export_exact(s, prg, calls, "prg")
    s.say(f"the bad file is in quarantine, a good copy is at prg again ({holder}), and plays there")


if __name__ == "__main__":
    sys.exit(run("bit rot", tell))
