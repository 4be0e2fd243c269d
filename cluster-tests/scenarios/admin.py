"""What an administrator asks and sets, command by command, against a real cluster and a real S3 (Ceph).

Promise: a target of the archive is tried out before a recording depends on it, from a node and from a file without a
cluster; whatever is wrong with it (secret, bucket, trust, clock, lock, permissions of the file) is named by the step that
found it, with the next command, and nothing is left in the bucket. Policies have a history; what drops copies is said first.
Each statement on a recording has its source. Feeds follow, and an exported audit log verifies elsewhere.
"""
import contextlib
import json
import pathlib
import subprocess
import sys

from story import binaries, check, export_exact, run, skip, wait_committed, wait_for

from lab import s3  # story says where lab is

FAULTD = pathlib.Path(__file__).resolve().parents[1] / "harness/faultd.py"


def evertape(*args):
    """Without a cluster."""
    return subprocess.run([str(binaries() / "evertape"), *args], capture_output=True, timeout=120, check=False)


@contextlib.contextmanager
def fault_server(*options):
    """An S3 that does not do as it should; its port."""
    with subprocess.Popen([str(FAULTD), *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip().removeprefix("port=")
        finally:
            server.stdin.close()
            server.wait(timeout=20)


def policy_file(s, name, target, rule="after: 0s"):
    path = s.folder / f"{name}.yaml"
    path.write_text(f"targets:\n  cold: {target}\nrules:\n  - {{name: all, to: cold, {rule}}}\n")
    return str(path)


def s3_target(endpoint, credentials, bucket="evertape", more=""):
    return (f"{{type: s3, endpoint: '{endpoint}', region: default, bucket: {bucket}, credentials: 'file:{credentials}'{more}}}")


def tried(s, title, path, step, code, exit_code):
    """`targets test` of a bad target names the step; the table and the error say what to do."""
    done = evertape("archive", "targets", "test", "--file", path, "-o", "json")
    test = json.loads(done.stdout)["tests"][0]
    check(done.returncode == exit_code and not test["ok"] and test["failed"] == step and test["code"] == code,
          f"{title}: exit {done.returncode}, {test['failed']} {test['code']}: {test['why']} {done.stderr.decode()}")
    error = json.loads(done.stderr)
    check(error["code"] == code and step in error["why"] and error["next"], f"{title}: {error}")
    table = evertape("archive", "targets", "test", "cold", "--file", path).stdout.decode()
    line = next(row for row in table.splitlines() if row.split()[1:2] == ["failed"])
    check(line.split()[0] == step, f"{title}: {table}")
    s.say(f"{title}: {' '.join(line.split())}")
    check(test["left"] == "", f"{title}: something was left: {test['left']}")


def bad_targets(s, gateway):
    good, wrong, seen = gateway.credentials, s.folder / "wrong.cred", s.folder / "seen.cred"
    for path, mode in ((wrong, 0o600), (seen, 0o644)):
        path.touch(mode=0o600)
        path.write_text(f"{gateway.secrets[0]}\nnotthesecretatall\n")
        path.chmod(mode)
    at = gateway.endpoint
    tried(s, "wrong secret", policy_file(s, "secret", s3_target(at, wrong)), "access", "ET_EDENIED", 4)
    tried(s, "no such bucket", policy_file(s, "bucket", s3_target(at, good, "nobody-made-it")), "bucket", "ET_ENOTFOUND", 5)
    tried(s, "secret that others read", policy_file(s, "seen", s3_target(at, seen)), "credentials", "ET_EKEYPERM", 4)
    tried(s, "nobody listens", policy_file(s, "dead", s3_target("http://127.0.0.1:1", good)), "endpoint", "ET_EUNREACHABLE", 3)
    tried(s, "a lock that the bucket cannot give",
          policy_file(s, "lock", s3_target(at, good), "lock: {mode: compliance, until: 7y}"), "lock", "ET_EREFUSED", 1)
    tried(s, "a class that is not there",
          policy_file(s, "class", s3_target(at, good, more=", storage-class: NOT_THERE")), "put", "ET_EREFUSED", 1)
    key, certificate = s.folder / "s3.key", s.folder / "s3.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=s3", "-addext", "subjectAltName=IP:127.0.0.1"],
                   check=True, capture_output=True)
    with fault_server("--cert", str(certificate), "--key", str(key)) as port:
        endpoint = f"https://127.0.0.1:{port}"
        tried(s, "a certificate of nobody we trust", policy_file(s, "tls", s3_target(endpoint, good)), "tls", "ET_EUNTRUSTED", 4)
        done = evertape("archive", "targets", "test", "--file",
                        policy_file(s, "trusted", s3_target(endpoint, good, more=f", ca-file: {certificate}")))
        check(done.returncode == 0 and b"trusted" in done.stdout, f"with its ca-file: {done}")
    with fault_server("--skew", "-90000") as port:
        tried(s, "a clock that is wrong by 25 hours", policy_file(s, "clock", s3_target(f"http://127.0.0.1:{port}", good)),
              "clock", "ET_EREFUSED", 1)
    check(evertape("archive", "targets", "test", "warm", "--file", policy_file(s, "none", gateway.target())).returncode == 5,
          "a target that the file does not name")


def targets(s, gateway, first):
    """Of the policy in force: test, list, and what the audit log says."""
    done = first.cli_raw("archive", "targets", "list")
    check(done.returncode == 5 and b"archive policy apply" in done.stderr, f"without a policy: {done}")
    first.cli("archive", "policy", "apply", policy_file(s, "archive", gateway.target()), "--reason", "CHG-1")
    test = first.cli("archive", "targets", "test", "cold", timeout=120)["tests"][0]
    check(test["ok"] and test["left"] == "" and gateway.keys("test/") == [], f"{test} {gateway.keys('')}")
    check([e["result"] for e in test["steps"] if e["step"] in ("put", "get", "range", "list", "delete")] == ["ok"] * 5, f"{test}")
    check(first.cli_raw("archive", "targets", "test", "warm").returncode == 5, "a target that is not there was tried")
    event = first.cli("audit", "list")["events"][-1]
    check(event["action"] == "archive.target-test" and event["target"] == "cold", f"the audit log says {event}")
    row = first.cli("archive", "targets", "list")["targets"][0]
    check(row["name"] == "cold" and row["rules"] == ["all"] and row["copies"] == 0 and row["last_success"] is None, f"{row}")
    print(first.cli_raw("archive", "targets", "test").stdout.decode(), flush=True)
    s.say("the good target is tried out by a node, leaves nothing in the bucket, and stands in the audit log")


def revisions(s, gateway, first):
    """Who changed the policy, what changes, what would move."""
    later = policy_file(s, "later", gateway.target(), "after: 30d")
    done = first.cli_raw("archive", "policy", "diff", later, "-o", "json")
    diff = json.loads(done.stdout)
    check(done.returncode == 7 and [(c["name"], c["key"], c["before"], c["after"]) for c in diff["changes"]]
          == [("all", "after", "0s", "30d")], f"{done}")
    check([a["action"] for a in diff["actions"]] == ["skip"], f"nothing is due by it: {diff['actions']}")
    first.cli("archive", "policy", "apply", later, "--reason", "CHG-2")
    first.cli("archive", "policy", "apply", policy_file(s, "archive", gateway.target()), "--reason", "CHG-3")
    rows = first.cli("archive", "policy", "list")["revisions"]
    check([(r["revision"], r["reason"], r["in_force"]) for r in rows]
          == [(3, "CHG-3", True), (2, "CHG-2", False), (1, "CHG-1", False)], f"{rows}")
    check("after: 30d" in first.cli("archive", "policy", "show", "--revision", "2")["text"], "revision 2")
    check(first.cli_raw("archive", "policy", "diff", "1", "3").returncode == 0, "1 and 3 mean the same")
    check(first.cli_raw("archive", "policy", "diff", "2", "3").returncode == 7, "2 and 3 do not")
    check(first.cli_raw("archive", "policy", "show", "--revision", "9").returncode == 5, "revision 9")
    s.say("three revisions with their reasons; a diff says what changes and what would move")


def archive_run(s, gateway, first, calls):
    check(first.cli_raw("archive", "run").returncode == 2, "archive run without a reason")
    done = first.cli("archive", "run", "--reason", "nightly", "--wait", "60s", timeout=90)
    check(done["jobs"] > 0 and done["upload_segments"] >= len(calls) and done["evict_segments"] == 0, f"{done}")
    check(all(first.recording(c.id)["state"] == "archived" for c in calls), "not all are archived")
    row = first.cli("archive", "targets", "list")["targets"][0]
    check(row["copies"] >= len(calls) and row["last_success"] and row["backlog_segments"] == 0, f"{row}")
    check(first.cli("archive", "run", "--reason", "again")["plans"] == 0, "there was something left")

    first.cli("archive", "policy", "apply", policy_file(s, "goes", gateway.target(), "local: {keep: 0s}"), "--reason", "CHG-4")
    done = first.cli_raw("archive", "run", "--reason", "nightly")
    check(done.returncode == 8 and b"nothing of it was done" in done.stderr and b"archive apply" in done.stderr, f"{done}")
    check(any("node" in c and c["state"] == "verified" for c in first.recording(calls[0].id)["copies"]), "copies were dropped")
    first.cli("archive", "run", "--reason", "nightly", "--yes", "--wait", "60s", timeout=90)
    wait_for("local copies to be gone", lambda: all(
        not any("node" in c and c["state"] == "verified" for c in first.recording(call.id)["copies"]) for call in calls), 30)
    s.say("archive run uploads; what drops local copies is refused until --yes")


def restore(s, first, calls):
    """What is in the archive only comes back to a site, checked, and plays."""
    def at(site, call):
        return [c for c in first.recording(call.id)["copies"] if c.get("site") == site and c["state"] == "verified"]
    check(not at("brq", calls[0]), "it is there already")
    done = first.cli("archive", "restore", calls[0].id, "--site", "brq", "--reason", "case 118", "--wait", "60s", timeout=90)
    check(done["node"] == "brq-1" and done["jobs"] == 1 and done["segments"] >= 1 and done["not_archived"] == 0, f"{done}")
    check(at("brq", calls[0]) and not at("brq", calls[1]), f"{first.recording(calls[0].id)['copies']}")
    files = [p for p in first.cluster.node("brq-1").media.rglob("*.evtm") if calls[0].id in p.name or calls[0].id.replace("-", "") in p.name]
    check(files and all(evertape("recording", "verify", "--ciphertext", str(p)).returncode == 0 for p in files), f"{files}")
    again = first.cli("archive", "restore", calls[0].id, "--site", "brq", "--reason", "again")
    check(again["jobs"] == 0 and again["here_already"] == done["segments"], f"{again}")
    check(first.cli_raw("archive", "restore", calls[0].id, "--site", "nowhere", "--reason", "x").returncode == 5, "to no site")
    done = first.cli_raw("archive", "restore", "01a201f2-afb3-7c1e-8000-0123456789ab", "--reason", "x")
    check(done.returncode == 6 and b"not known" in done.stderr, f"{done}")
    samples = export_exact(s, first, [calls[0]], "restored")
    s.say(f"a recording that was in the archive only is back at brq, its tape verifies, and plays ({samples} samples equal)")


def why(s, first, call):
    first.cli("hold", "add", "case-118", "--recording", call.id, "--reason", "court order 7")
    answer = first.cli("recording", "why", call.id)["statements"]
    about = {}
    for row in answer:
        check(row["what"] and row["source"], f"without a source: {row}")
        about.setdefault(row["about"], []).append(row["what"])
    check(any("default" in text or "rule" in text for text in about["recorded"]), f"{about}")
    check("court order 7" in about["held"][0] and any("cold" in t for t in about["placed"] + about["archived"]), f"{about}")
    explained = first.cli("retention", "explain", call.id)["statements"]
    check({row["about"] for row in explained} == {"held", "kept", "erased"}, f"{explained}")
    print(first.cli_raw("recording", "why", call.id).stdout.decode(), flush=True)
    first.cli("hold", "release", "case-118", "--reason", "over")


def follow(node, *args):
    return subprocess.Popen([str(binaries() / "evertape"), "--socket", str(node.socket), *args], stdout=subprocess.PIPE, text=True)


def feeds(s, cluster, first):
    """The audit log as it grows and as a file; what the cluster tells; metrics."""
    with follow(first, "audit", "tail", "--last", "1", "-o", "ndjson") as tail:
        before = json.loads(tail.stdout.readline())
        first.cli("site", "set", "prg", "--description", "Prague", "--reason", "followed")
        after = json.loads(tail.stdout.readline())
        tail.terminate()
    check(after["number"] == before["number"] + 1 and after["reason"] == "followed", f"{before} {after}")
    out = s.folder / "audit.ndjson"
    done = first.cli("audit", "export", "--out", str(out))
    check(evertape("audit", "verify", str(out)).returncode == 0 and done["events"] == len(out.read_text().splitlines()), f"{done}")
    out.write_text(out.read_text().replace("CHG-2", "CHG-8"))
    check(evertape("audit", "verify", str(out)).returncode == 9, "a changed export verifies")
    check(first.cli_raw("audit", "export", "--out", str(out), "--from", "900000").returncode == 2, "events that are not there")

    last = cluster.nodes[-1]
    with follow(first, "events", "--follow", "--kind", "health", "-o", "ndjson") as events:
        stands = json.loads(events.stdout.readline())
        check(stands["state"] == "stands" and stands["event"], f"{stands}")
        last.kill()
        seen = next(e for e in map(json.loads, events.stdout) if e["event"] == "VOTER_DOWN")
        check(seen["state"] == "came", f"{seen}")
        last.start()
        seen = next(e for e in map(json.loads, events.stdout) if e["event"] == "VOTER_DOWN")
        check(seen["state"] == "went", f"{seen}")
        events.terminate()
    index = first.cli("events")["last"]
    first.cli("site", "set", "prg", "--description", "Prague", "--reason", "told")
    told = first.cli("events", "--kind", "change", "--after", str(index))["events"]
    check(any(e["event"] == "site.set" for e in told), f"{told}")
    check(b"evertape_raft_has_quorum 1" in first.cli_raw("metrics").stdout, "metrics")
    s.say("audit tail follows, an export verifies and a changed one does not; a voter's death comes and goes as an event")


def tell(s):
    if not s3.is_installed():
        skip("needs Ceph: run ops/packages s3")
    gateway = s3.Gateway(s.folder / "ceph")
    s.outside.append(gateway.stop)
    bad_targets(s, gateway)
    cluster = s.make_cluster()
    first = cluster.nodes[0]
    calls = s.place(["prg-1", "prg-2"], 3)
    s.hang_up(calls)
    wait_committed(first, calls, ["prg", "brq"], 60)
    targets(s, gateway, first)
    revisions(s, gateway, first)
    archive_run(s, gateway, first, calls)
    restore(s, first, calls)
    why(s, first, calls[0])
    feeds(s, cluster, first)


if __name__ == "__main__":
    sys.exit(run("admin", tell, "openssl"))
