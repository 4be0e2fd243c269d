"""What goes wrong is said: what, where, why and what to do next; nothing is lost and nothing crashes.

Promise (issue 2, must show 7): unknown or duplicate keys in config and policy, wrong key-file modes, a wrong or used-up
join token, a certificate of another CA or another member, a full disk, a capture file cut in the middle. And the doors:
the API, the cluster port, the command line.

Every refusal is looked at twice, as a person sees it and as -o json: the exit code, the cause, the place, the next
command. What falls short is gathered, so that one run tells all of it.
"""
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time

from story import Broken, Cluster, binaries, by_caller, check, export_exact, free_net, run, wait_committed, wait_for

DISK_BYTES = 48 << 20  # of the small disk
RESERVE = "8MiB"  # limits.disk-reserve of every node
NOBODY = "01a201f2-afb3-7c1e-8000-0123456789ab"  # a well-formed id of nothing
UNIX = "unix"


class Faults:
    """What falls short, told together at the end."""

    def __init__(self):
        self.list, self.looked = [], 0

    def want(self, holds, text):
        self.looked += 1
        if not holds:
            print(f"   falls short: {text}", flush=True)
            self.list.append(text)
        return holds


def tool(node, *args, **more):
    """Run the CLI; `node` None: without one."""
    if node is not None:
        return node.cli_raw(*args, **more)
    return subprocess.run([str(binaries() / "evertape"), *args], capture_output=True, timeout=60, check=False, **more)


def refused(f, what, node, args, code, name, why, after=r"\w", at=None, **more):
    """`args` is refused: with exit code `code`, the error `name`, a cause that matches `why`, a next command that
    matches `after`, and the place `at`. Returns the cause."""
    done = tool(node, *args, "-o", "json", **more)
    try:
        error = json.loads(done.stderr)
    except ValueError:
        f.want(False, f"{what}: exit {done.returncode}, and its error is not JSON: {done.stderr!r}")
        return ""
    f.want(done.returncode == code, f"{what}: exit {done.returncode}, want {code}: {error}")
    f.want(done.stdout == b"", f"{what}: something on standard output: {done.stdout[:200]!r}")
    f.want(error.get("schema") == "evertape/v1" and error.get("what"), f"{what}: no schema or what: {error}")
    f.want(error.get("code") == name, f"{what}: code {error.get('code')}, want {name}: {error}")
    f.want(re.search(why, error.get("why", "")), f"{what}: why does not match /{why}/: {error}")
    f.want(re.search(after, error.get("next", "")), f"{what}: next does not match /{after}/: {error}")
    if at is not None:
        f.want(error.get("where") == at, f"{what}: where is not {at}: {error}")

    done = tool(node, *args, **more)
    text = done.stderr.decode()
    f.want(done.returncode == code, f"{what}: exit {done.returncode} as text, want {code}: {text}")
    f.want(f"evertape: {error.get('why')}\n" in text, f"{what}: the text does not say why: {text}")
    f.want(f"next: {error.get('next')}\n" in text, f"{what}: the text does not say what to do: {text}")
    return error.get("why", "")


def daemon_refuses(f, what, config, code, why, after=r"\w"):
    """evertaped ends by itself, at once, and its last line says why and what next."""
    done = subprocess.run([str(binaries() / "evertaped"), str(config)], capture_output=True, timeout=30, check=False)
    line = next((x for x in done.stderr.decode().splitlines() if "daemon.failed" in x), "")
    f.want(done.returncode == code, f"{what}: evertaped exit {done.returncode}, want {code}: {line}")
    f.want(re.search(why, line), f"{what}: evertaped does not say /{why}/: {done.stderr.decode()[-600:]}")
    found = re.search(r'next="(.*)"', line)
    f.want(found and re.search(after, found[1]), f"{what}: evertaped's next does not match /{after}/: {line}")


def still_records(s, nodes=("prg-1", "prg-2", "brq-1"), seconds=2):
    """All daemons run, and a call at each of them is recorded, copied and exact."""
    for node in s.cluster.nodes:
        check(node.is_running(), f"{node.name} is dead:\n{node.tail(30)}")
    calls = s.place(list(nodes), seconds)
    s.hang_up(calls)
    wait_committed(s.cluster.nodes[0], calls, ["prg", "brq"])
    export_exact(s, s.cluster.nodes[0], calls, "after")
    s.kept += calls


# -- Files that a person writes ------------------------------------------------------------------------------------

def bad_configs(s, f, node):
    good = "".join(line for line in node.config.read_text().splitlines(True) if not line.startswith("limits"))
    last = len(good.splitlines()) + 1
    bad = s.folder / "bad.yaml"
    cases = [
        ("an unknown key", good.replace("listen:", "lissten:"), "3:1", r'"lissten" \(did you mean "listen"'),
        ("an unknown key inside", good.replace("roles:", "rolls:"), None, r'"rolls" \(did you mean "roles"'),
        ("a key twice", good + "cluster: other\n", f"{last}:1", r'duplicate key "cluster" \(first on line 1\)'),
        ("a key twice inside", good + "limits: {disk-reserve: 5GiB, disk-reserve: 6GiB}\n", f"{last}:30",
         r'duplicate key "disk-reserve"'),
        ("a wrong unit", good + "limits: {disk-reserve: 5 bananas}\n", f"{last}:24", r"disk-reserve .*MiB.*bananas"),
        ("an unclosed bracket", good + "limits: {disk-reserve: 5MiB\n", None, r"\S"),
    ]
    for what, text, place, why in cases:
        bad.write_text(text)
        pattern = rf"^{re.escape(str(bad))}:{place or '[0-9]+:[0-9]+'}: .*{why}"
        at = f"{bad}:{place}" if place else None
        refused(f, f"config check of {what}", None, ["config", "check", str(bad)], 1, "ET_EMALFORMED", pattern,
                r"evertape config", at)
        daemon_refuses(f, what, bad, 2, pattern[1:].replace('"', '.?"'), r"evertape config check")
    refused(f, "a config that is not there", None, ["config", "check", str(s.folder / "none.yaml")], 5, "ENOENT",
            r"none\.yaml.*No such file")
    s.say(f"{len(cases)} broken configurations: check and daemon refuse each with file, line, word and what to do")


def bad_policies(s, f, node):
    target = "targets:\n  cold: {type: dir, path: /srv/x}\n"
    path = s.folder / "policy.yaml"
    cases = [
        ("an unknown key", target + "rules:\n  - {name: all, tow: cold}\n", "4:17", r'"tow" \(did you mean "to"'),
        ("an unknown key of a target", "targets:\n  cold: {type: dir, paht: /srv/x}\nrules: []\n", "2:21",
         r'"paht" \(did you mean "path"'),
        ("a target that is not there", target + "rules:\n  - {name: a, to: hot}\n", "4:19", r'no target "hot"'),
        ("a target twice", target + "  cold: {type: dir, path: /srv/y}\nrules:\n  - {name: a, to: cold}\n", "3:3",
         r'duplicate key "cold" \(first on line 2\)'),
        ("a key twice", target + "rules:\n  - {name: a, to: cold, to: cold}\n", "4:25", r'duplicate key "to"'),
        ("a relative path", "targets:\n  cold: {type: dir, path: srv}\nrules:\n  - {name: a, to: cold}\n", "2:3",
         r'target "cold": path must be absolute'),
    ]
    for what, text, place, why in cases:
        path.write_text(text)
        pattern = rf"^{re.escape(str(path))}:{place}: .*{why}"
        for verb, asked in ((["archive", "policy", "validate", str(path)], None),
                            (["archive", "policy", "apply", str(path), "--reason", "scenario"], node)):
            refused(f, f"{verb[2]} of a policy with {what}", asked, verb, 1, "ET_EMALFORMED", pattern,
                    r"evertape archive policy validate", f"{path}:{place}")
    refused(f, "the policy in force", node, ["archive", "policy", "show"], 5, "ET_ENOTFOUND", r"no archive policy",
            r"archive policy apply")
    s.say(f"{len(cases)} broken policies: validate and apply refuse each with file, line and word; none is in force")


def key_modes(s, f, node):
    check(node.stop() == 0, f"{node.name} did not end well:\n{node.tail()}")
    root = node.folder / "root.key"
    mode = root.stat().st_mode & 0o777
    for wrong in (0o644, 0o440, 0o602):
        root.chmod(wrong)
        daemon_refuses(f, f"a root key of mode {wrong:o}", node.config, 4,
                       rf"{re.escape(str(root))}.*mode 0{wrong:o}; it must be 0400", rf"chmod 0400 .?.?{re.escape(str(root))}")
    secret = root.read_bytes()
    root.chmod(0o600)
    for what, data, why in (("a wrong root key", bytes(b ^ 1 for b in secret), r"identity.*do not open with this node root"),
                            ("half a root key", secret[:16], rf"{re.escape(str(root))}")):
        root.write_bytes(data)
        daemon_refuses(f, what, node.config, 9, why)
    moved = root.rename(root.with_name("moved"))
    daemon_refuses(f, "no root key", node.config, 5, rf"{re.escape(str(root))}.*No such file")
    moved.rename(root)
    root.write_bytes(secret)
    root.chmod(mode)
    node.start()
    s.say("a root key that others may read or write, a wrong one, half of one, none: the node refuses to start and says "
          "why; with the right one it starts as if nothing had been")


def s3_credentials(s, f, node):
    """Credentials that others may read are not used."""
    path, policy = s.folder / "s3.cred", s.folder / "s3.yaml"
    path.write_text("AKIAEXAMPLE\nnot-a-real-secret\n")
    path.chmod(0o644)
    policy.write_text(f'targets:\n  worm: {{type: s3, endpoint: "https://127.0.0.1:1", region: x, bucket: tapes, '
                      f'style: path, credentials: "file:{path}"}}\nrules:\n  - {{name: all, after: 0s, to: worm}}\n')
    node.cli("archive", "policy", "apply", str(policy), "--reason", "scenario")

    def planned():
        done = node.cli_raw("archive", "plan", "-o", "json")
        plan = json.loads(done.stdout)
        return plan if done.returncode == 7 and plan["actions"] else None
    plan = wait_for("a plan", planned, 30)
    node.cli("archive", "apply", plan["plan"], "--reason", "scenario", "--yes")

    def told():
        """Some node's status says it: the one that has the job."""
        return next((e for n in s.cluster.nodes
                     for e in [json.dumps(n.cli("archive", "status"))] if str(path) in e), None)
    text = wait_for("archive status to tell of the credentials", told, 30)
    f.want("readable by other users" in text, f"credentials of mode 644: {text}")
    f.want(any(c["code"].startswith("ARCHIVE_") for n in s.cluster.nodes for c in n.status()["codes"]),
           f"status has no ARCHIVE_ code: {node.status()['codes']}")
    s.say("S3 credentials that others may read: no upload; archive status names the file and the cause")


def cut_file(s, f):
    whole, cut = s.folder / "whole.pcap", s.folder / "cut.pcap"
    subprocess.run([str(binaries() / "gencalls"), str(whole), "4", "5"], check=True, capture_output=True)
    data = whole.read_bytes()
    cut.write_bytes(data[:len(data) * 2 // 3 + 7])
    good = tool(None, "capture", "replay", str(whole), "-o", "json")
    check(good.returncode == 0, f"replay of a whole file: exit {good.returncode}: {good.stderr.decode()}")
    done = tool(None, "capture", "replay", str(cut), "-o", "json")
    check(done.returncode == 6, f"replay of a cut file: exit {done.returncode}, want 6: {done.stderr.decode()}")
    f.want(re.search(r"cut\.pcap'?: .*(truncated|too early)", done.stderr.decode()), f"a cut file: {done.stderr.decode()}")
    report = json.loads(done.stdout)
    packets = report["packets"]
    total = packets["sip"] + packets["rtp"] + packets["rtcp"] + packets["other"] + sum(packets["unclaimed"].values())
    f.want(packets["total"] == total > 0, f"packets do not add up: {packets}")
    f.want(len(report["calls"]) == 4, f"{len(report['calls'])} calls of a cut file, want 4")
    f.want([e["code"] for e in report["errors"]] == ["ET_ETRUNCATED"], f"errors: {report['errors']}")
    text = tool(None, "capture", "replay", str(cut))
    f.want(text.returncode == 6 and text.stdout.count(b"\n") == 5, f"as a table: exit {text.returncode}: {text.stdout}")
    cut.write_bytes(b"this is no capture file")
    refused(f, "a file that is none", None, ["capture", "replay", str(cut)], 1, "ET_EMALFORMED", r"cut\.pcap")
    refused(f, "no file", None, ["capture", "replay", str(s.folder / "none.pcap")], 5, "ENOENT", r"none\.pcap.*No such")
    s.say(f"a capture file cut in the middle: exit 6, {packets['total']} packets of {len(report['calls'])} calls all "
          f"accounted for, and the error: {report['errors'][0]['text']}")


# -- The command line and the API ------------------------------------------------------------------------------------

def command_line(s, f, node):
    here = str(node.socket)
    cases = [
        (["recording", "lst"], 2, "ET_EUSAGE", r'did you mean "recording list"', r"--help"),
        (["status", "now"], 2, "ET_EUSAGE", r"one argument too many", r"evertape status --help"),
        (["recording", "list", "--frob"], 2, "ET_EUSAGE", r"unknown option --frob", r"evertape recording list --help"),
        (["recording", "list", "--limit", "0"], 2, "ET_EUSAGE", r"limit is a whole number", r"evertape recording list"),
        (["recording", "show", "nothing"], 2, "ET_EUSAGE", r"no recording id", r"evertape recording show --help"),
        (["archive", "apply", NOBODY, "--yes"], 2, "ET_EUSAGE", r"needs --reason", r"--help"),
        (["recording", "show", NOBODY], 5, "ET_ENOTFOUND", f"no recording {NOBODY}", r"evertape recording list"),
        (["recording", "export", NOBODY, "--out", str(s.folder / "x.wav")], 5, "ET_ENOTFOUND", r"no recording", r"list"),
        (["recording", "verify", NOBODY], 5, "ET_ENOTFOUND", r"no recording", r"list"),
        (["archive", "apply", NOBODY, "--yes", "--reason", "x"], 5, "ET_ENOTFOUND", r"no such plan", r"archive plan"),
        (["explain", "NOTHING"], 5, "ET_ENOTFOUND", r"no code NOTHING", r"evertape explain"),
        (["status", "--cluster", "other"], 1, "ET_EREFUSED", r"cluster scenario, not of other", r"\w"),
    ]
    for args, code, name, why, after in cases:
        refused(f, "evertape " + " ".join(args), node, args, code, name, why, after)
    f.want(not (s.folder / "x.wav").exists(), "an export of nothing left a file")
    gone = ["--socket", "/nonexistent/api.sock", "status"]
    refused(f, "no node", None, gone, 3, "ET_EUNREACHABLE", r"'/nonexistent/api.sock': No such file", r"systemctl",
            "/nonexistent/api.sock")
    refused(f, "an id of nothing", node, ["recording", "show", NOBODY], 5, "ET_ENOTFOUND", r"no recording", r"list", here)
    token = s.folder / "token"
    token.write_text("evapi1.x\n")
    token.chmod(0o644)
    remote = ["--node", node.api_address, "--token-file", str(token), "status"]
    refused(f, "a token file that others may read", None, remote, 4, "ET_EKEYPERM", re.escape(str(token)),
            rf"chmod 600 {re.escape(str(token))}")
    token.chmod(0o600)
    refused(f, "a node that cannot prove who it is", None, remote, 4, "ET_EUNTRUSTED", r"not who it should be",
            r"--cluster-ca")
    s.say(f"{len(cases) + 4} wrong command lines: exit 2 usage, 3 unreachable, 4 denied, 5 not found; each says what next")


class Answer:
    def __init__(self, status, body):
        self.status = status
        try:
            self.json = json.loads(body)
        except ValueError:
            self.json = {}
        self.text = f"{status} {body[:300]!r}"


def ask(node, method, path, body=b"", headers=None, over=UNIX):
    """One request, its path as it is; over the Unix socket or HTTPS."""
    conn = http.client.HTTPConnection("localhost", timeout=20)
    if over == UNIX:
        conn.sock = socket.socket(socket.AF_UNIX)
        conn.sock.settimeout(20)
        conn.sock.connect(str(node.socket))
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        host, port = node.api_address.rsplit(":", 1)
        conn.sock = context.wrap_socket(socket.create_connection((host, int(port)), timeout=20))
    try:
        conn.putrequest(method, path)
        given = {"Content-Length": str(len(body)), **(headers or {})}
        for key, value in given.items():
            conn.putheader(key, value)
        conn.endheaders()
        try:
            conn.send(body)
        except OSError:
            pass  # refused before the body was sent: the answer is there
        response = conn.getresponse()
        return Answer(response.status, response.read())
    finally:
        conn.close()


def api_doors(s, f, node, recording):
    cases = [
        ("bad JSON", "POST", "/v1/tokens", b"{bad", {}, UNIX, 400, "ET_EMALFORMED", r"body:1:\d"),
        ("a key twice", "POST", "/v1/tokens", b'{"name":"a","name":"b"}', {}, UNIX, 400, "ET_EMALFORMED", r"duplicate"),
        ("an unknown key", "POST", "/v1/tokens", b'{"nam":"a"}', {}, UNIX, 400, "ET_EMALFORMED", r'did you mean "name"'),
        ("no object", "POST", "/v1/tokens", b"[]", {}, UNIX, 400, "ET_EMALFORMED", r"object"),
        ("deep JSON", "POST", "/v1/tokens", b"[" * 100000, {}, UNIX, 400, "ET_EMALFORMED", r"deeper"),
        ("no UTF-8", "POST", "/v1/tokens", b'{"name":"\xff\xfe"}', {}, UNIX, 400, "ET_EMALFORMED", r"0xff"),
        ("too large", "POST", "/v1/tokens", b"x" * (3 << 20), {}, UNIX, 413, "ET_ELIMIT", r"longer than \d+ bytes"),
        ("a huge length", "POST", "/v1/tokens", b"", {"Content-Length": "99999999999"}, UNIX, 413, "ET_ELIMIT", r"longer"),
        ("a negative length", "POST", "/v1/tokens", b"", {"Content-Length": "-1"}, UNIX, 413, "ET_ELIMIT", r"longer"),
        ("an unknown parameter", "GET", "/v1/recordings?bogus=1", b"", {}, UNIX, 400, "ET_EUSAGE", r'"bogus"'),
        ("a number too large", "GET", "/v1/recordings?limit=99999999999999999999", b"", {}, UNIX, 400, "ET_EUSAGE", r"1000"),
        ("an id that is none", "GET", "/v1/recordings/xx", b"", {}, UNIX, 400, "ET_EUSAGE", r"no UUID"),
        ("an id of nothing", "GET", f"/v1/recordings/{NOBODY}", b"", {}, UNIX, 404, "ET_ENOTFOUND", r"no recording"),
        ("a path of nothing", "GET", "/v1/nothing", b"", {}, UNIX, 404, "ET_ENOTFOUND", r"/v1/nothing"),
        ("a method of nothing", "DELETE", "/v1/recordings", b"", {}, UNIX, 405, "ET_EUNSUPPORTED", r"DELETE"),
        ("no token", "GET", "/v1/recordings", b"", {}, "https", 401, "ET_EUNTRUSTED", r"needs a token"),
        ("a wrong token", "GET", "/v1/recordings", b"", {"Authorization": "Bearer evapi1." + "A" * 64}, "https", 401,
         "ET_EUNTRUSTED", r"not known"),
        ("half a token", "GET", "/v1/recordings", b"", {"Authorization": "Bearer evapi1.AAAA"}, "https", 401,
         "ET_EUNTRUSTED", r"not an API token"),
        ("a password", "GET", "/v1/recordings", b"", {"Authorization": "Basic Zm9vOmJhcg=="}, "https", 401,
         "ET_EUNTRUSTED", r"not an API token"),
        ("init from afar", "POST", "/v1/cluster/init", b"{}", {}, "https", 403, "ET_EDENIED", r"own socket only"),
        ("sound without a token", "GET", f"/v1/recordings/{recording}/audio", b"", {}, "https", 401, "ET_EUNTRUSTED", r"token"),
    ]
    for path in ("/../../../etc/passwd", "/v1/../../etc/passwd", "/console/../../../etc/passwd", "//etc/passwd",
                 "/%2e%2e/%2e%2e/etc/passwd", "/console/%2e%2e%2f%2e%2e%2fetc/passwd", "/console/..%5c..%5cetc",
                 "/v1/recordings/..%2f..%2fetc", "/v1/recordings/%00", "/console/%00"):
        cases.append((f"the path {path}", "GET", path, b"", {}, UNIX, 404, "ET_ENOTFOUND", r"."))
    for what, method, path, body, headers, over, status, name, why in cases:
        try:
            a = ask(node, method, path, body, headers, over)
        except (OSError, http.client.HTTPException) as error:
            f.want(False, f"API: {what}: no answer: {error!r}")
            continue
        f.want(a.status == status and a.json.get("code") == name and re.search(why, a.json.get("why", "")),
               f"API: {what}: {a.text}, want {status} {name} /{why}/")
        f.want(a.json.get("schema") == "evertape/v1" and {"what", "where", "next"} <= set(a.json), f"API: {what}: {a.text}")
    audio = f"/v1/recordings/{recording}/audio"
    whole = ask(node, "GET", audio)
    f.want(whole.status == 200, f"audio: {whole.text}")
    for given, status in (("bytes=0-3", 206), ("bytes=99999999999-", 416), ("bytes=-0", 416), ("bytes=9-3", 200),
                          ("bytes=a-b", 200), ("bytes=0-1,5-6", 200), ("bananas=0-1", 200),
                          ("bytes=99999999999999999999999-", 200)):
        a = ask(node, "GET", audio, headers={"Range": given})
        f.want(a.status == status, f"API: Range: {given}: {a.text[:120]}, want {status}")
    for junk in (b"\x00\x01\x02 garbage\r\n\r\n", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", b"GET"):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(20)
            raw.connect(str(node.socket))
            raw.sendall(junk)
            raw.shutdown(socket.SHUT_WR)
            try:
                answer = raw.recv(65536)
            except ConnectionError:
                answer = b""
            f.want(not answer.startswith(b"HTTP/1.1 2"), f"API: junk was welcomed: {answer[:100]!r}")
    s.say(f"{len(cases)} bad requests and 11 odd ranges and heads: the right status each, and JSON that says why")


# -- Strangers -------------------------------------------------------------------------------------------------------

def tokens(s, f, cluster):
    first = cluster.nodes[0]
    roles = ("standby", "capture")
    late, spare = cluster.add("ova-1", "ova", roles=roles), cluster.add("ova-2", "ova", roles=roles)
    for node in (late, spare):
        node.write_config()
        node.start()

    def make(ttl="1h", site="ova"):
        return first.cli("node", "token", "--site", site, "--role", "standby", "--role", "capture", "--uses", "1",
                         "--ttl", ttl, "--reason", "scenario")["token"]
    short, made = make("1s"), time.monotonic()
    token = make()
    at = ["node", "join", "-", first.cluster_address]
    middle = len(token) // 2
    turned = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1:]
    cases = [
        ("no token", "something else", 1, "ET_EMALFORMED", r"no join token: one begins with 'evt1\.'"),
        ("nothing", "\n", 1, "ET_EMALFORMED", r"no token"),
        ("half a token", token[:middle], 1, "ET_EMALFORMED", r"token is (damaged|cut short)"),
        ("a changed token", turned, 1, "ET_EMALFORMED", r"damaged \(its check does not fit\)"),
        ("a token of another site", make(site="prg"), 2, "ET_EUSAGE", r"'site' is 'ova', but the token is for site 'prg'"),
    ]
    for what, text, code, name, why in cases:
        refused(f, what, late, at, code, name, why, r"evertape node token", input=text.encode())
    wait_for("a second to pass", lambda: time.monotonic() > made + 1.1)
    refused(f, "an expired token", late, at, 4, "ET_EDENIED", r"expired at \d{4}-", r"evertape node token",
            input=short.encode())
    late.cli(*at, input=token.encode())
    refused(f, "a used-up token", spare, at, 4, "ET_EDENIED", r"used up", r"evertape node token", input=token.encode())
    refused(f, "a member that joins", late, at, 1, "ET_EEXISTS", r"is a member of cluster", r"evertape status",
            input=token.encode())
    refused(f, "nobody there", spare, ["node", "join", "-", f"127.{cluster.net}.250.1:7400"], 3, "ET_EUNREACHABLE",
            rf"127\.{cluster.net}\.250\.1:7400", input=make().encode())
    spare.cli(*at, input=make().encode())
    wait_for("both to be members", lambda: {"ova-1", "ova-2"} <= {n["name"] for n in first.status()["nodes"]})
    s.say(f"{len(cases) + 4} tokens and joins that are refused (wrong, cut, changed, expired, used up, of another site); "
          "with a good one each of the two nodes still joins")


def stranger_certificate(s, cluster):
    """A certificate with all the right words in it, by another CA."""
    folder = s.folder / "stranger"
    folder.mkdir()

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "1", "-subj", "/CN=other")
    openssl("req", *curve, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=2")
    (folder / "ext").write_text(f"subjectAltName=URI:spiffe://{cluster.name}/site/prg/node/2\n"
                                "extendedKeyUsage=clientAuth,serverAuth\n")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
            "-extfile", "ext", "-out", "leaf.pem")
    return folder / "leaf.pem", folder / "leaf.key"


def knock(address, source, context, say=b""):
    """Connect from an address of our own; what comes back, b"" for nothing, or the exception."""
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0)) as raw:
            peer = context.wrap_socket(raw) if context else raw
            peer.settimeout(20)
            if say:
                peer.sendall(say)
            return peer.recv(4096)
    except (ssl.SSLError, OSError) as error:
        return error


def strangers(s, f, cluster):
    """Each comes from an address of its own, as the log of refusals is thinned for each address."""
    node = cluster.nodes[0]
    certificate = stranger_certificate(s, cluster)
    seen = 0

    def context(alpn=None, certified=False, newest=None):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
        if alpn:
            c.set_alpn_protocols([alpn])
        if certified:
            c.load_cert_chain(*certificate)
        if newest:
            c.minimum_version = newest
            c.maximum_version = newest
        return c
    knocks = [(f"{alpn}, {'a certificate of another CA' if certified else 'no certificate'}", context(alpn, certified), b"")
              for alpn in ("evertape-raft/1", "evertape-rpc/1", "evertape-sync/1") for certified in (True, False)]
    knocks += [
        ("another protocol", context("h2", True), b""),
        ("TLS 1.2", context("evertape-raft/1", True, ssl.TLSVersion.TLSv1_2), b""),
        ("plain bytes", None, b"\0" * 64),
        ("HTTP", None, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("a huge TLS record", None, b"\x16\x03\x01\xff\xff" + b"\0" * 64),
    ]
    for what, c, say in knocks:
        seen += 1
        source = f"127.{cluster.net}.240.{seen}"
        answer = knock(node.cluster_address, source, c, say)
        # In TLS 1.3 the refusal comes after the client has finished: one byte that says so, or an alert.
        f.want(isinstance(answer, Exception) or len(answer) < 16, f"cluster port: {what}: {answer!r}")
        line = wait_for(f"the log to tell of {source}", lambda src=source: next(
            (x for x in node.log.read_text().splitlines() if "tls.refused" in x and f"peer={src}:" in x), None), 10)
        f.want(re.search(r'cause=\S+ .*detail="?\S', line), f"cluster port: {what}: the log does not say why: {line}")
    for what, c, say in (("TLS 1.2", context(None, False, ssl.TLSVersion.TLSv1_2), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
                         ("plain HTTP", None, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
                         ("plain bytes", None, b"\0" * 64 + b"\r\n\r\n")):
        answer = knock(node.api_address, f"127.{cluster.net}.241.1", c, say)
        f.want(isinstance(answer, Exception) or b" 200 " not in answer, f"API port: {what}: {answer!r}")
    good = ask(node, "GET", "/healthz", over="https")
    f.want(good.status == 200, f"API port after the strangers: {good.text}")
    s.say(f"{seen} strangers at the cluster port (another CA's certificate for node 2, none, TLS 1.2, plain bytes): "
          "each refused, each logged with its address and the cause; 3 at the API port: refused")


def stolen_identity(s, f, cluster):
    """Another member's identity opens nothing on a machine with another root, nor under another name; and a node with
    the identity of another cluster of the same name is no member."""
    thief, victim = cluster.node("prg-2"), cluster.node("prg-1")
    root = thief.folder / "root.key"
    check(thief.stop() == 0, f"{thief.name} did not end well:\n{thief.tail()}")
    kept = s.folder / "kept"
    kept.mkdir(mode=0o700)
    shutil.move(thief.state / "identity", kept / "identity")
    shutil.copy2(root, kept / "root.key")

    def install(identity, key):
        shutil.rmtree(thief.state / "identity", ignore_errors=True)
        shutil.copytree(identity, thief.state / "identity")
        root.unlink()
        shutil.copy2(key, root)
    install(victim.state / "identity", kept / "root.key")
    daemon_refuses(f, "the identity of another member", thief.config, 9, r"identity.*root of another node\?")
    install(victim.state / "identity", victim.folder / "root.key")
    daemon_refuses(f, "another member's identity and root", thief.config, 2, r"'name' is 'prg-2', but .* 'prg-1'")

    net = free_net()
    other = Cluster(s.folder / "other", name=cluster.name, net=net)
    s.outside.append(other.stop)
    other.add("prg-2", "prg")
    other.create()
    other.stop()
    source = other.nodes[0]
    install(source.state / "identity", source.folder / "root.key")
    before = victim.cli("audit", "verify")["events"]
    done = subprocess.run(["timeout", "-s", "TERM", "4", str(binaries() / "evertaped"), str(thief.config)],
                          capture_output=True, timeout=30, check=False)
    text = done.stderr.decode()
    f.want(0 <= done.returncode < 126, f"the identity of another cluster: exit {done.returncode}:\n{text[-800:]}")
    f.want(re.search(r"tls\.refused|not signed|untrusted|cannot prove|daemon.failed", text),
           f"the identity of another cluster: the log says nothing of it:\n{text[-800:]}")
    f.want(victim.cli("audit", "verify")["events"] >= before and victim.status()["leader"],
           "the cluster was disturbed by the identity of another one")

    install(kept / "identity", kept / "root.key")
    thief.start()
    wait_for("prg-2 to follow again", lambda: thief.status()["leader"])
    s.say("the identity of another member (under this root, and with its own), and of another cluster of the same name: "
          "no entry, and the log says why; with its own the node is a member again")


# -- The disk ----------------------------------------------------------------------------------------------------------

def fill(path, leave):
    """A file that leaves `leave` bytes free."""
    stat = os.statvfs(path.parent)
    size = stat.f_bavail * stat.f_frsize - leave
    if size > 0:
        with open(path, "ab") as file:
            os.posix_fallocate(file.fileno(), path.stat().st_size, size)


def let_in(s, node, seconds):
    """A call that is recorded, under way. The free space is looked at with each sync, once a second: until then calls
    are refused."""
    def placed():
        calls = s.place([node.name], seconds)
        try:
            wait_for("the call to be live", lambda: calls[0].caller in by_caller(node), 2, every=0.1)
            return calls
        except TimeoutError:
            for call in calls:
                call.stop()
            return None
    return wait_for("calls to be let in again", placed, 30)


def full_disk(s, f, cluster):
    node = cluster.node("brq-1")
    filler = node.media / "filler"
    fill(filler, 6 << 20)  # below the reserve of 8 MiB

    def told():
        return {c["code"]: c for c in node.status()["codes"]}.get("CALLS_REFUSED")

    def refuses():
        """Until the node has looked at its free space (each second), a call is still let in."""
        calls = s.place(["brq-1"], 2)
        s.hang_up(calls)
        if told():
            return calls
        s.kept += calls
        return None
    refused_calls = wait_for("a call to be refused", refuses, 30)
    code = told()
    f.want(code["detail"] and code["next"], f"CALLS_REFUSED says too little: {code}")
    check(refused_calls[0].caller not in by_caller(node), "a call was recorded below the reserve")
    wait_for("the log to tell of refused calls", lambda: "calls.refused" in node.log.read_text(), 10)
    filler.unlink()

    live = let_in(s, node, 10)
    tape = wait_for("its tape", lambda: max(node.media.glob("tapes/**/*.evtm"), key=lambda p: p.stat().st_mtime), 10)
    size = wait_for("sealed sound on its tape", lambda: (n := tape.stat().st_size) > 32768 and n, 10)
    fill(filler, 0)  # and now nothing at all is left
    s.hang_up(live)
    check(node.is_running(), f"brq-1 died of a full disk:\n{node.tail(30)}")
    f.want(tape.stat().st_size >= size, f"the live tape lost what it had: {tape.stat().st_size} of {size} bytes")
    filler.unlink()
    again = let_in(s, node, 2)
    s.hang_up(again)
    s.kept += again
    return live[0]


def after_full_disk(s, f, cluster, live):
    """What the live call had on its tape when the disk filled is still there and authentic."""
    node = cluster.node("brq-1")
    rec = wait_for("the live call to be closed", lambda: next(
        (r for r in by_caller(node).get(live.caller, []) if r["state"] != "capturing"), None), 60)
    done = node.cli_raw("recording", "verify", rec["id"], "-o", "json")
    f.want(done.returncode == 0, f"verify of the call that saw the full disk: exit {done.returncode}: {done.stderr.decode()}")
    path = s.folder / "live.wav"
    done = node.cli_raw("recording", "export", rec["id"], "--out", str(path), "--reason", "scenario")
    f.want(done.returncode in (0, 6), f"export of it: exit {done.returncode}: {done.stderr.decode()}")
    from story import audio
    channels, _rate = audio.read_wav(path)
    seconds = []
    for side, channel in zip(("caller", "callee"), channels):
        _offset, exact, _silent = audio.compare_with_gaps(channel, audio.to_pcm(live.sound[side], live.codec))
        seconds.append(exact / 50)
    f.want(min(seconds) >= 1, f"of the live call only {seconds} s are there")
    s.say(f"a full disk: new calls are refused and counted; a live call kept {min(seconds):.1f} s of exact sound and "
          "verifies; with room again the next is recorded")


def small_disk(s, node):
    """Its media folder on a file system of its own."""
    node.media.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "evertape-scenario", str(node.media)],
                          capture_output=True, check=False)
    if done.returncode != 0:
        return False
    s.outside.append(lambda: subprocess.run(["umount", "-l", str(node.media)], check=False))
    return True


def tell(s):
    f = Faults()
    s.kept = []  # calls that were recorded and must stay whole
    s.cluster = cluster = Cluster(s.folder / "cluster", name="scenario", net=free_net())
    used = {cluster.net}
    for name, site in (("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq")):
        phones = free_net(socket.SOCK_DGRAM, 5060)
        while phones in used:
            phones = free_net(socket.SOCK_DGRAM, 5060)
        used.add(phones)
        node = cluster.add(name, site, capture_filter=f"net 127.{phones}.0.0/16",
                           extra=f"limits: {{disk-reserve: {RESERVE}}}\n")
        node.phones, node.rows = phones, 0
    has_small_disk = small_disk(s, cluster.node("brq-1"))
    cluster.create()
    s.say("three nodes are up" + (f"; brq-1 has a disk of {DISK_BYTES >> 20} MiB" if has_small_disk else ""))
    still_records(s)
    first = cluster.nodes[0]

    cut_file(s, f)
    bad_configs(s, f, first)
    bad_policies(s, f, first)
    command_line(s, f, first)
    api_doors(s, f, first, s.kept[0].id)
    strangers(s, f, cluster)
    if has_small_disk:
        live = full_disk(s, f, cluster)
        after_full_disk(s, f, cluster, live)
    else:
        print("SKIPPED in part: no tmpfs can be mounted here, so no disk was filled", flush=True)
    key_modes(s, f, cluster.node("prg-2"))
    stolen_identity(s, f, cluster)
    s3_credentials(s, f, first)
    tokens(s, f, cluster)

    still_records(s)
    wait_committed(first, s.kept, ["prg", "brq"])
    export_exact(s, first, s.kept, "at-the-end")
    for node in cluster.nodes:
        node.cli("audit", "verify")
        check(node.stop() == 0, f"{node.name} did not end well:\n{node.tail(30)}")
    s.say(f"after all of it every daemon runs, {len(s.kept)} calls are whole, the audit chains verify, all end well; "
          f"{f.looked} looks")
    if f.list:
        raise Broken(f"{len(f.list)} of {f.looked} fall short:\n" + "\n".join(f"  - {x}" for x in f.list))


if __name__ == "__main__":
    sys.exit(run("errors are told", tell, "openssl"))
