"""What an administrator asks and sets, command by command, against a real cluster and a real S3 (Ceph).

Promise: a target of the archive is tried out before a recording depends on it, from a node and from a file without a
cluster; whatever is wrong with it (secret, bucket, trust, clock, lock, permissions of the file) is named by the step that
found it, with the next command, and nothing is left in the bucket.
"""
import contextlib
import json
import pathlib
import subprocess
import sys

from lab import s3
from lab.cluster import binaries
from story import check, run, skip, wait_committed

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
    check(test["ok"] and test["left"] == "" and gateway.keys("") == [], f"{test} {gateway.keys('')}")
    check([e["result"] for e in test["steps"] if e["step"] in ("put", "get", "range", "list", "delete")] == ["ok"] * 5, f"{test}")
    check(first.cli_raw("archive", "targets", "test", "warm").returncode == 5, "a target that is not there was tried")
    event = first.cli("audit", "list")["events"][-1]
    check(event["action"] == "archive.target-test" and event["target"] == "cold", f"the audit log says {event}")
    row = first.cli("archive", "targets", "list")["targets"][0]
    check(row["name"] == "cold" and row["rules"] == ["all"] and row["copies"] == 0 and row["last_success"] is None, f"{row}")
    print(first.cli_raw("archive", "targets", "test").stdout.decode(), flush=True)
    s.say("the good target is tried out by a node, leaves nothing in the bucket, and stands in the audit log")


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


if __name__ == "__main__":
    sys.exit(run("admin", tell, "openssl"))
