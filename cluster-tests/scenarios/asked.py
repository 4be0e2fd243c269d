"""What an operator asks of one node while he is at another: its settings, its capture, its certificate; and a site given up.

Promise: every value in force has its source, a file's changes are told before they are made, and whatever of them waits for a
restart waits visibly; no secret is shown. What capture does is told in full, while it does it, and the counts add up. A
certificate is renewed when somebody asks, with a trace; a node that cannot says why. A site stays while anything needs it,
with all reasons, and goes only with a quorum.
"""
import json
import signal
import ssl
import subprocess
import sys

from story import binaries, check, run, wait_for


def certificate(folder, name, *kind):
    """An operator's own for HTTPS, with a key of the kind; the names of its files."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "9", "-keyout", str(folder / "api.key"),
                    "-out", str(folder / "api.pem"), "-subj", f"/CN={name}"], check=True, capture_output=True)
    return f"tls: {{api-certificate: {folder}/api.pem, api-key: {folder}/api.key}}\n"


def more(folder):
    text = ("recording:\n  max-pause: 10m\n  rules:\n    - {name: works-council, from: \"1900-1919\", action: skip}\n"
            "key-socket: {path: " + str(folder) + "/keys.sock}\n")
    if folder.name == "brq-1":
        return text + "limits: {live-calls: 100}\n" + certificate(folder, "first", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    return text


def asked(node, *args, code=0):
    """A command's JSON, and that it ended with `code`."""
    done = node.cli_raw(*args, "-o", "json", timeout=120)
    check(done.returncode == code, f"{' '.join(args)}: exit {done.returncode}, want {code}: {done.stdout} {done.stderr.decode()}")
    return json.loads(done.stdout or done.stderr)


def capture(s, first, second, last):
    calls = s.place(["prg-1", "prg-1", "brq-1"], 12)
    live = wait_for("two calls in progress at prg-1", lambda: (c := asked(second, "capture", "show", "--node", "prg-1", "--calls", "1"))
                    and c["calls"]["recording"] == 2 and c["calls"]["answered"] == 2 and c["packets"]["rtp"] > 100 and c, 20)
    check(live["node"] == "prg-1" and live["running"] and len(live["in_progress"]) == 1 and live["more"] == 1, f"{live}")
    one = live["in_progress"][0]
    check(one["from"] in (calls[0].caller, calls[1].caller) and one["rule"] == "default" and one["keys"] == "untold"
          and not one["paused"], f"{one}")
    packets = live["packets"]
    parts = packets["sip"] + packets["rtp"] + packets["rtcp"] + packets["pending"] + sum(packets["other"].values()) \
        + sum(packets["unclaimed"].values())
    check(packets["total"] == parts, f"the counts do not add up: {packets}")
    lo = live["interfaces"][0]
    check(lo["name"] == "lo" and lo["open"] and lo["packets"] > 100 and lo["dropped"] == 0, f"{lo}")
    check(live["writer"]["acknowledging"] and live["writer"]["queue_limit_bytes"] > 31 << 20, f"{live['writer']}")
    check(live["calls"]["oldest"] <= one["start"] and live["keys"]["socket"], f"{live['calls']}")

    first.cli("recording", "pause", one["id"], "--reason", "card")
    paused = wait_for("the pause to show", lambda: (c := asked(last, "capture", "show", "--node", "prg-1", "--calls", "9"))
                      and c["calls"]["paused"] == 1 and c, 10)
    check([c["paused"] for c in paused["in_progress"] if c["id"] == one["id"]] == [True], f"{paused['in_progress']}")
    text = second.cli_raw("capture", "show", "--node", "prg-1", "--calls", "5").stdout.decode()
    print(text, flush=True)
    for words in ("capture runs", "2 in progress of 8192", "1 paused", "answered, paused", "works-council (skip) 0", "WAITING"):
        check(words in text, f"no \"{words}\" in {text}")
    check(asked(second, "capture", "show")["node"] == "prg-2", "without --node: the one that is asked")
    check(second.cli_raw("capture", "show", "--node", "nobody").returncode == 5, "a node that is not there")
    first.cli("recording", "resume", one["id"], "--reason", "taken")
    s.hang_up(calls)
    wait_for("the calls to be over", lambda: asked(second, "capture", "show", "--node", "prg-1")["calls"]["live"] == 0, 20)
    s.say("what capture of another node does: calls, a pause, packets that add up, queue and interfaces")


def setting(answer, key):
    return next(o for o in answer["settings"] if o["key"] == key)


def changed(s, node, old, new):
    """The node's file with a change, as another file."""
    text = node.config.read_text()
    check(old in text, f"no {old} in {text}")
    path = s.folder / "changed.yaml"
    path.write_text(text.replace(old, new))
    return str(path)


def settings(s, first, last):
    shown = asked(first, "config", "show", "--node", "brq-1")
    line = setting(shown, "limits.live-calls")
    check(line["value"] == 100 and line["source"] == "file" and line["at"].startswith(f"{last.config}:"), f"{line}")
    check(setting(shown, "limits.ring")["source"] == "default" and setting(shown, "limits.ring")["value"] == "64MiB", "ring")
    root = setting(shown, "data.root")
    check(root["secret"] and root["value"] == f"file:{last.folder}/root.key", f"{root}")
    key = (last.folder / "root.key").read_bytes()
    pem = (last.folder / "api.key").read_text().splitlines()[1]
    yaml = first.cli_raw("config", "show", "--node", "brq-1", "--defaults", "-o", "yaml").stdout
    table = first.cli_raw("config", "show", "--node", "brq-1").stdout.decode()
    for text in (yaml.decode(), table, json.dumps(shown)):
        check(key.hex() not in text and pem not in text and "PRIVATE" not in text, "a secret is shown")
    check("(set, in " in table and "limits.ring" not in table, f"{table}")
    again = s.folder / "again.yaml"
    again.write_bytes(yaml)
    check(asked(first, "config", "diff", str(again), "--node", "brq-1")["changes"] == [], "its own yaml means something else")
    print(table, flush=True)

    # A file, before it is one of the node's.
    check(asked(first, "config", "diff", str(first.config))["changes"] == [], "its own file differs")
    for old, new, want in (("live-calls: 100", "live-calls: 200", ("limits.live-calls", "restart", 100, 200)),
                           ("live-calls: 100", "live-calls: 100, sync-rate: 2MiB", ("limits.sync-rate", "reload", "0B", "2MiB")),
                           ("site: brq", "site: prg", ("node.site", "never", "brq", "prg"))):
        diff = asked(first, "config", "diff", changed(s, last, old, new), "--node", "brq-1", code=7)
        got = [(c["key"], c["applies"], c["before"], c["after"]) for c in diff["changes"]]
        check(got == [want] and diff["restart"] == (want[1] == "restart") and diff["possible"] == (want[1] != "never"), f"{diff}")
    error = asked(first, "config", "diff", changed(s, last, "live-calls", "life-calls"), code=1)
    check(error["code"] == "ET_EMALFORMED" and "changed.yaml:" in error["where"] and "live-calls" in error["why"], f"{error}")

    # Nodes among each other.
    check(asked(first, "config", "diff", "--node", "prg-1", "--node", "prg-2")["changes"] == [], "prg-1 and prg-2 differ")
    odd = asked(first, "config", "diff", "--node", "prg-1", "--node", "brq-1", code=6)
    check([c["key"] for c in odd["changes"]] == ["limits.live-calls"], f"{odd}")
    s.say("each setting with its source, no secret; a file's changes before they are made; what nodes should have in common")


def reload(s, first, last):
    """What can change while it runs does, the rest waits visibly."""
    last.config.write_text(last.config.read_text().replace("limits: {live-calls: 100}",
                                                           "limits: {live-calls: 200, sync-rate: 8MiB}\nlog: {level: debug}"))
    before = wait_for("the change of the file to be seen", lambda: (a := asked(first, "config", "show", "--node", "brq-1"))
                      and a["file_changed"] and a, 5)
    last.process.send_signal(signal.SIGHUP)
    shown = wait_for("the reload", lambda: (a := asked(first, "config", "show", "--node", "brq-1"))
                     and setting(a, "log.level")["value"] == "debug" and a, 10)
    check(setting(shown, "limits.sync-rate")["value"] == "8MiB" and setting(shown, "limits.live-calls")["value"] == 100, f"{shown}")
    check(shown["read_at"] > before["read_at"] and not shown["file_changed"], f"read at {before['read_at']}, then {shown['read_at']}")
    diff = asked(first, "config", "diff", str(last.config), "--node", "brq-1", code=7)
    check([(c["key"], c["applies"]) for c in diff["changes"]] == [("limits.live-calls", "restart")], f"{diff}")
    good = last.config.read_text()
    last.config.write_text(good.replace("live-calls", "life-calls"))
    last.process.send_signal(signal.SIGHUP)
    wait_for("the refusal", lambda: "config.refused" in last.tail(60), 10)
    check(last.is_running() and setting(asked(first, "config", "show", "--node", "brq-1"), "log.level")["value"] == "debug", "it went on")
    last.config.write_text(good)
    first.cli("node", "demote", "brq-1", "--to", "standby", "--reason", "CHG-1")
    roles = wait_for("the roles of the catalogue", lambda: (r := setting(asked(first, "config", "show", "--node", "brq-1"), "node.roles"))
                     and r["source"] == "cluster" and r, 20)
    check("standby" in roles["value"] and "voter" in roles["said"], f"{roles}")
    first.cli("node", "promote", "brq-1", "--reason", "CHG-2")
    wait_for("three voters", lambda: sum(n["role"] == "voter" for n in first.status()["nodes"]) == 3, 60)
    s.say("SIGHUP brings into force what can be, a broken file changes nothing, roles are the cluster's")


def served(node):
    return ssl.get_server_certificate((node.address, node.cluster.api_port))


def certificates(s, first, last):
    def end():
        return next(c for c in first.cli("cert", "list")["certs"] if c["name"] == "brq-1")["not_after"]
    before, shown = end(), served(last)
    check(shown.strip() == (last.folder / "api.pem").read_text().strip(), "HTTPS shows another certificate")
    certificate(last.folder, "second", "rsa:2048")
    done = asked(first, "cert", "renew", "--node", "brq-1", "--reason", "CHG-3")
    check(done["node"] == "brq-1" and done["old_not_after"][:19] == before[:19] and done["new_not_after"] > done["old_not_after"], f"{done}")
    check(done["api_certificate"]["reloaded"], f"{done}")
    check(wait_for("the list to have it", lambda: end()[:19] == done["new_not_after"][:19], 10), "")
    wait_for("HTTPS to show the new one", lambda: served(last).strip() == (last.folder / "api.pem").read_text().strip(), 10)
    key = last.folder / "api.key"
    good = key.read_bytes()
    closed = subprocess.run(["openssl", "pkey", "-aes256", "-passout", "pass:x", "-in", str(key)], check=True, stdout=subprocess.PIPE)
    key.write_bytes(closed.stdout)
    last.process.send_signal(signal.SIGHUP)
    wait_for("the refusal of a key with a passphrase", lambda: "the one before stays" in last.tail(60), 10)
    key.write_bytes(good)
    check(served(last).strip() == (last.folder / "api.pem").read_text().strip(), "what cannot be used is in use")
    events = [(e["action"], e["target"], e["reason"]) for e in first.cli("audit", "list")["events"]]
    check(("certificate.renew", "brq-1", "CHG-3") in events and any(a == "certificate.add" for a, _, _ in events), f"{events}")
    error = asked(first, "cert", "renew", "--node", "brq-1", "--reason", "again", code=1)
    check(error["code"] == "ET_EBUSY" and "once a minute" in error["why"], f"{error}")
    check(first.cli_raw("cert", "renew").returncode == 2, "without a reason")
    own = asked(first, "cert", "renew", "--reason", "CHG-4")
    check(own["node"] == "prg-1" and own["api_certificate"] is None, f"{own}")
    s.say(f"a certificate is renewed when asked: {done['old_not_after']} -> {done['new_not_after']}; the operator's is read again")


def sites(s, first):
    first.cli("site", "set", "lon", "--description", "London", "--reason", "CHG-5")
    token = first.cli("node", "token", "--site", "lon", "--reason", "CHG-5")
    check(token["token"], "a token")
    plan = asked(first, "site", "remove", "brq", "--plan", code=8)
    check(not plan["removable"] and [r["why"] for r in plan["refused"]] [:1] == ["the node brq-1 is there"], f"{plan}")
    check("evertape node drain brq-1" in plan["refused"][0]["next"], f"{plan}")
    policy = s.folder / "archive.yaml"
    policy.write_text(f"targets:\n  cold: {{type: dir, path: {s.folder}/cold}}\nrules:\n"
                      "  - {name: england, select: {site: [lon]}, to: cold, after: 30d}\n")
    (s.folder / "cold").mkdir()
    first.cli("archive", "policy", "apply", str(policy), "--reason", "CHG-6")
    kept = s.folder / "retention.yaml"
    kept.write_text("rules:\n  - {name: mifid, select: {site: [lon, prg]}, keep: 7y}\n")
    first.cli("retention", "policy", "apply", str(kept), "--reason", "CHG-6")
    error = asked(first, "site", "remove", "lon", "--reason", "CHG-7", code=8)
    check("rule mifid of the retention policy" in error["why"] and "rule england of the archive policy" in error["why"], f"{error}")
    print(first.cli_raw("site", "remove", "lon", "--plan").stdout.decode(), flush=True)
    policy.write_text(policy.read_text().replace("[lon]", "[prg]"))
    kept.write_text(kept.read_text().replace("[lon, prg]", "[prg]"))
    first.cli("archive", "policy", "apply", str(policy), "--reason", "CHG-8")
    first.cli("retention", "policy", "apply", str(kept), "--reason", "CHG-8")
    plan = asked(first, "site", "remove", "lon", "--plan", code=7)
    check(plan["removable"] and plan["refused"] == [] and plan["open_join_tokens"] == 1, f"{plan}")
    check(first.cli_raw("site", "remove", "lon").returncode == 2, "without a reason")


def quorum_and_end(s, cluster, first):
    """Two of three are gone: nothing is destroyed, and nobody is left to ask. Then it goes."""
    others = cluster.nodes[1:]
    for node in others:
        node.kill()
    wait_for("the quorum to be lost", lambda: not first.status()["quorum"]["has_quorum"], 20)
    done = first.cli_raw("site", "remove", "lon", "--reason", "CHG-9", timeout=60)
    check(done.returncode in (3, 8), f"without a quorum: {done}")
    done = first.cli_raw("capture", "show", "--node", "brq-1", timeout=30)
    check(done.returncode == 3 and b"does not answer" in done.stderr, f"{done}")
    check(asked(first, "config", "show")["node"] == "prg-1" and asked(first, "capture", "show")["running"], "its own it tells")
    done = first.cli_raw("cert", "renew", "--reason", "CHG-9", timeout=60)
    check(done.returncode == 3, f"without a quorum: {done}")
    for node in others:
        node.start()
    wait_for("the quorum to be back", lambda: first.status()["quorum"]["has_quorum"], 30)
    check("lon" in [x["name"] for x in first.cli("site", "list")["sites"]], "it went without a quorum")
    done = wait_for("a leader", lambda: first.cli("site", "remove", "lon", "--reason", "CHG-10"), 20)
    check(done["removed"] and done["revoked_join_tokens"] == 1, f"{done}")
    check("lon" not in [x["name"] for x in first.cli("site", "list")["sites"]], "it is still there")
    check(first.cli_raw("site", "remove", "lon", "--reason", "again").returncode == 5, "twice")
    event = [e for e in first.cli("audit", "list")["events"] if e["action"] == "site.remove"][-1]
    check(event["target"] == "lon" and event["reason"] == "CHG-10", f"{event}")
    deep = subprocess.run([str(binaries() / "evertape"), "--socket", str(first.socket), "audit", "verify"], check=False)
    check(deep.returncode == 0, "the audit chain")
    s.say("a site stays while policies or nodes need it and without a quorum; then it goes, with its open tokens")


def tell(s):
    cluster = s.make_cluster(extra=more)
    first, second, last = cluster.nodes
    capture(s, first, second, last)
    settings(s, first, last)
    reload(s, first, last)
    certificates(s, first, last)
    sites(s, first)
    quorum_and_end(s, cluster, first)


if __name__ == "__main__":
    sys.exit(run("asked", tell, "openssl"))
