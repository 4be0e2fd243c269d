"""Keys of SRTP that come when the call is over, when its recorder has forgotten it and its tapes lie in the archive.

Promise (issue 5): a stream whose key is missing is kept as received and says so. A key that comes later is tried on what
was kept: one that fits opens the recording on every node, and goes where the recording goes (sites, archive, newer
generations, erasure); one that does not is refused and named. No key is in any file, log, or answer.
"""
import base64
import json
import socket
import subprocess
import sys

from story import binaries, check, export_exact, read_if_there, run, wait_committed, wait_for

from lab.phones import Phones

TALK = 5
SITES = ["prg", "brq"]


def place(s, node, number, protect):
    node.rows += 1
    call = Phones(s.folder / "calls" / f"{number:03d}", f"127.{node.phones}.{node.rows}.1", f"127.{node.phones}.{node.rows}.2",
                  f"+42060{number:07d}", f"+42080{number:07d}", TALK, protect)
    s.calls.append(call)
    return call.start()


def keys_add(node, call, kind, path, *more):
    done = node.cli_raw("recording", "keys", "add", call.id, f"--{kind}", str(path), "--reason", "case 118", "-o", "json", *more,
                        timeout=120)
    return done.returncode, json.loads(done.stdout or done.stderr or b"{}"), done.stderr.decode()


def silent(s, node, call, label):
    out = s.folder / f"{label}.wav"
    done = node.cli_raw("recording", "export", call.id, "--format", "wav", "--out", str(out), "--reason", "scenario")
    check(done.returncode == 6 and b"SRTP" in done.stderr, f"{label}: exit {done.returncode}: {done.stderr.decode()}")
    done = node.cli_raw("recording", "export", call.id, "--format", "flac", "--out", "-", "--reason", "scenario")
    check(done.returncode == 6 and done.stdout[:4] == b"fLaC" and b"INCOMPLETE=" in done.stdout, f"{label}: FLAC: exit {done.returncode}")


def archive(s, first, folder, expect_state):
    policy = s.folder / "archive.yaml"
    policy.write_text(f"targets:\n  cold: {{type: dir, path: {folder}}}\nrules:\n  - name: all\n    after: 0s\n    to: cold\n"
                      "    local: {keep: 0s}\n")
    folder.mkdir(exist_ok=True)
    done = first.cli_raw("archive", "policy", "show", "-o", "json")
    if b"cold" not in done.stdout:
        first.cli("archive", "policy", "apply", str(policy), "--reason", "scenario")
    actions = []

    def gone():
        plan = json.loads(first.cli_raw("archive", "plan", "-o", "json").stdout)
        if plan.get("plan"):  # else what it lists waits for something
            actions.extend(a["action"] for a in plan["actions"])
            first.cli("archive", "apply", plan["plan"], "--reason", "scenario", timeout=120)
        left = [c for call in s.calls for c in first.recording(call.id)["copies"] if c.get("node") and c["state"] == "verified"]
        if left:
            raise ValueError(f"left {left}, the plan says {plan}")
        return True
    wait_for("all tapes to be in the archive only", gone, 90, every=1)
    states = {first.recording(c.id)["state"] for c in s.calls}
    check(states == {expect_state}, f"states {states}, want {expect_state}")
    return actions


def nowhere(s, cluster, folders, calls, keylog):
    """No key of any call in any file, but those of the telephones."""
    needles = {}
    for call in calls:
        for side, srtp in call.srtp.items():
            m = srtp.master
            for form in (m[:16], m[:16].hex().encode(), m[:16].hex().upper().encode(), base64.b64encode(m)[:20]):
                needles[form] = f"{call.caller} {side}"
    for line in keylog.read_text().splitlines():
        if line.startswith("CLIENT_RANDOM "):
            secret = line.split()[2]
            needles[bytes.fromhex(secret)] = needles[secret.encode()] = "the secret of DTLS"
    searched = 0
    for folder in folders + [n.folder for n in cluster.nodes]:
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "reserve":
                data = read_if_there(path)
                searched += 1
                for needle, what in needles.items():
                    check(needle not in data, f"{what} lies open in {path}")
    return searched


def give(node, text):
    """Through the recorder's socket; what it answers."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(node.folder / "keys.sock"))
        s.sendall(text.encode())
        answer = b""
        while answer.count(b"\n") < text.count("\n"):
            piece = s.recv(4096)
            check(piece, f"the socket was closed after {answer}")
            answer += piece
        return answer.decode().splitlines()


def through_the_socket(s, first, recorder):
    """A table while the call runs; a secret of DTLS when it is over. Nobody asks for either."""
    live, after = place(s, recorder, 4, "secret"), place(s, recorder, 5, "dtls")
    check(give(recorder, live.table("caller") + live.table("callee") + "0x1\tAES_CM_128_HMAC_SHA1_80\tS3CRET\n") ==
          ["ok", "ok", "line 3: its third field is no key and salt in base64"], "the answers of the socket")
    s.hang_up([live, after])
    wait_committed(first, [live, after], SITES, 60)
    words = [first.recording(c.id)["keys"] for c in (live, after)]
    check(words == ["complete", "missing"], f"keys given while one call ran: {words}")
    check(give(recorder, after.dtls.keylog.read_text().splitlines()[-1] + "\n") == ["ok"], "a secret after the call")
    wait_for("the recorder to open what is over", lambda: first.recording(after.id)["keys"] == "complete", 20)
    wait_committed(first, [live, after], SITES, 60)
    export_exact(s, first, [live, after], "socket")
    s.say("through the recorder's socket: a table of keys opens a call that runs, a secret opens one that is over, by itself")


def at_once(s, node, call):
    """The two sides of a call by two people at the same time."""
    def begin(side):
        path = s.folder / f"{side}.tsv"
        path.write_text(call.table(side))
        return subprocess.Popen([str(binaries() / "evertape"), "--socket", str(node.socket), "recording", "keys", "add", call.id,
                                 "--srtp-keys", str(path), "--reason", "case 118", "-o", "json"], stdout=subprocess.PIPE)
    answers = []
    for one in [begin("caller"), begin("callee")]:
        out, _ = one.communicate(timeout=120)
        check(one.returncode == 0, f"one of two at once: exit {one.returncode}")
        answers.append(json.loads(out))
    check(sorted(a["keys"] for a in answers) == ["complete", "partly"], f"each knows of the one before it: {answers}")
    check(len({a["segment"] for a in answers}) == 2 and node.recording(call.id)["keys"] == "complete", f"{answers}")
    s.say("two that add keys to one recording at the same time: both are kept, one after the other, and it is complete")


def tell(s):
    cluster = s.make_cluster(extra=lambda folder: f"key-socket: {{path: {folder}/keys.sock}}\n")
    first, second, recorder = cluster.nodes
    dtls, table = place(s, recorder, 1, "dtls"), place(s, recorder, 2, "secret")
    sdes, both = place(s, recorder, 3, "sdes"), place(s, recorder, 6, "secret")
    calls = list(s.calls)
    s.hang_up(calls)
    wait_committed(first, calls, SITES, 60)
    words = [first.recording(c.id)["keys"] for c in calls]
    check(words == ["missing", "missing", "complete", "missing"], f"keys: {words}")
    check("no key" in first.recording(dtls.id)["problem"], "recording show does not say what is missing")
    silent(s, first, dtls, "before")
    export_exact(s, second, [sdes], "sdes")
    s.say("four calls with SRTP: keys in SDP open one, of three they are missing, and everybody is told so")

    # Wrong ones first.
    wrong = s.folder / "wrong.tsv"
    wrong.write_text("# from the SBC\n" + table.table("caller", wrong=True))
    code, answer, problem = keys_add(second, table, "srtp-keys", wrong)
    check(code == 1 and "line 2" in problem, f"a wrong key: {code} {problem}")
    wrong.write_text("0x12\tAES_CM_128_HMAC_SHA1_80\tno base64\n")
    code, answer, problem = keys_add(second, table, "srtp-keys", wrong)
    check(code != 0 and "line 1" in problem and "base64" in problem and "no base64" not in problem, f"no table: {problem}")
    code, answer, problem = keys_add(second, table, "keylog", dtls.dtls.keylog)
    check(code == 1 and "no DTLS handshake" in problem, f"a key log for a call without a handshake: {code} {problem}")
    other = s.folder / "other.keylog"
    other.write_text("CLIENT_RANDOM " + "ab" * 32 + " " + "cd" * 48 + "\n")
    code, answer, problem = keys_add(second, dtls, "keylog", other)
    check(code == 1 and "none of its 1 DTLS handshakes" in problem, f"another's key log: {code} {problem}")
    check([len(first.recording(c.id)["segments"]) for c in calls] == [1, 1, 1, 1], "a refused key left a segment")
    s.say("wrong keys, a table that is none, key logs of others: refused and named, nothing kept")

    through_the_socket(s, first, recorder)
    at_once(s, second, both)

    # One side, then the other; with a line that fits nothing between.
    half = s.folder / "half.tsv"
    half.write_text(table.table("caller") + table.table("callee", wrong=True))
    code, answer, _ = keys_add(second, table, "srtp-keys", half)
    check(code == 6 and answer["keys"] == "partly" and answer["refused"] == [2] and answer["keys_added"] == 1, f"{code} {answer}")
    check(first.recording(table.id)["keys"] == "partly", "recording show does not say partly")

    # The tapes go away; then the rest comes, at a node that never had them.
    wait_committed(first, s.calls, SITES, 60)
    cold = s.folder / "cold"
    archive(s, first, cold, "archived")
    half.write_text(table.table("callee"))
    code, answer, _ = keys_add(first, table, "srtp-keys", half)
    check(code == 0 and answer["keys"] == "complete" and answer["streams_opened_before"] == 1, f"{code} {answer}")
    code, answer, problem = keys_add(recorder, dtls, "keylog", dtls.dtls.keylog)
    check(code == 0 and answer["keys"] == "complete" and answer["streams_opened_now"] == 2, f"{code} {answer} {problem}")
    code, _, problem = keys_add(recorder, dtls, "keylog", dtls.dtls.keylog)
    check(code == 1 and "already" in problem, f"the same keys again: {code} {problem}")
    for node in cluster.nodes:
        for call in (dtls, table):
            rec = wait_for(f"{node.name} to know", lambda n=node, c=call: (r := n.recording(c.id))["keys"] == "complete" and r, 20)
            check(rec["problem"] == "", f"its problem is over: {rec['problem']}")
    samples = sum(export_exact(s, node, [dtls, table], f"late-{node.name}") for node in cluster.nodes)
    s.say(f"keys added when the tapes were in the archive only: each node plays both calls, {samples} samples exact")

    # The new segments go where the recordings are.
    def copied():
        for call in (dtls, table):
            rec = first.recording(call.id)
            late = [g["segment"] for g in rec["segments"] if int(g["segment"].split("-s")[1]) >= 1 << 30]
            for name in late:
                sites = {c.get("site") for c in rec["copies"] if c["segment"] == name and c["state"] == "verified" and c.get("node")}
                places = {c.get("target") for c in rec["copies"] if c["segment"] == name and c["state"] == "verified"}
                if not (set(SITES) <= sites or "cold" in places):
                    return False
        return True
    wait_for("the segments of keys to be at both sites", copied, 60, every=0.25)
    actions = archive(s, first, cold, "archived")
    check("upload" in actions, f"the archive took no segment of keys: {actions}")
    wait_for("the caches to be of no use", lambda: [p.unlink() for n in cluster.nodes for p in (n.media / "cache").glob("*")] or True, 5)
    export_exact(s, second, [dtls, table], "archived")
    s.say("the segments of keys were replicated and archived; from the archive alone both calls play")

    checked = nowhere(s, cluster, [cold], s.calls, dtls.dtls.keylog)
    events = [e for e in first.cli("audit", "list", "--from", "1")["events"] if e["action"].startswith("recording.keys")]
    check(sum(e["action"] == "recording.keys-added" for e in events) == 5 and
          sum(e["action"] == "recording.keys" for e in events) >= 9, f"audit: {[(e['action'], e['detail']) for e in events]}")
    first.cli("audit", "verify")
    s.say(f"{checked} files hold none of the keys; each try and each addition is in the audit chain")

    first.cli("recording", "erase", table.id, "--reason", "GDPR", "--confirm", "scenario")
    rec = first.recording(table.id)
    check(all(g["erased"] for g in rec["segments"]) and len(rec["segments"]) == 3, f"a key is left: {rec['segments']}")
    code, _, problem = keys_add(first, table, "srtp-keys", half)
    check(code not in (0, 6) and "erased" in problem, f"keys for what was erased: {code} {problem}")
    s.say("erasing the recording destroyed the keys of its late segments, too")


if __name__ == "__main__":
    sys.exit(run("late keys", tell, "openssl"))
