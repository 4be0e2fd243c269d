"""Wrong clocks: one node a year ahead (also as the leader), one that jumps to and fro, and no two that agree.

Promise (issue 3, must show 8): nothing is destroyed or decided early, the health code names the node, service goes on.
A preloaded library (harness/fault/shim/clock.c) gives each daemon a real-time clock of its own; its monotonic clock is left
alone, as it is when a clock is wrong.
"""
import datetime
import ssl
import struct
import sys
import threading
import time
import urllib.error
import urllib.request

from story import Cluster, binaries, check, free_net, run, wait_for

LIBRARY = binaries() / "libclockshim.so"
YEAR = 365 * 86400
CERTIFICATE_LIFE = "1h"


class Clock:
    """The real-time clock of one daemon; set() works while it runs."""

    def __init__(self, folder, name):
        self.file = folder / f"{name}.clock"
        self.file.write_bytes(bytes(8))

    def set(self, ahead_seconds):
        with open(self.file, "r+b") as file:  # in place: it is mapped
            file.write(struct.pack("=q", ahead_seconds))

    def wrapper(self):
        return ["env", f"LD_PRELOAD={LIBRARY}", f"ET_CLOCK_FILE={self.file}"]


def cluster_time(node):
    text = node.cli("cluster", "show")["cluster_time"]
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def skewed(node):
    return {c.get("node") for c in node.status()["codes"] if c["code"] == "CLOCK_SKEW"}


def is_now(stamp, what, slack=90):
    check(abs(stamp - time.time()) < slack, f"{what} is {stamp - time.time():+.0f} s off")


def write(node, name):
    wait_for(f"a write through {node.name}",
             lambda: node.cli("site", "set", name, "--description", "x", "--reason", "clock") is not None, 40)


def token_answer(node, token):
    """What the node answers to a request with this token, over HTTPS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # this is about the token
    request = urllib.request.Request(f"https://{node.api_address}/v1/sites", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def service(s, cluster, label):
    for node in cluster.nodes:
        write(node, f"{label}-{node.name}")
    names = {f"{label}-{n.name}" for n in cluster.nodes}
    for node in cluster.nodes:
        wait_for(f"the writes at {node.name}",
                 lambda n=node: names <= {x["name"] for x in n.cli("site", "list")["sites"]}, 20)


def nothing_early(s, cluster, label):
    """Cluster time, audit times, certificates, tokens: all of the present."""
    for node in cluster.nodes:
        is_now(cluster_time(node), f"{label}: cluster time at {node.name}")
        code, why = token_answer(node, s.token)
        check(code == 200, f"{label}: a token of an hour is refused at {node.name}: {code} {why}")
    events = cluster.nodes[0].cli("audit", "list")["events"]
    for event in events[-20:]:
        stamp = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
        is_now(stamp, f"{label}: audit event {event['number']}", 600)
    for cert in cluster.nodes[0].cli("cert", "list")["certs"]:
        end = datetime.datetime.fromisoformat(cert["not_after"].replace("Z", "+00:00")).timestamp()
        check(end < time.time() + 4 * 86400, f"{label}: the certificate of {cert.get('name', cert['node'])} ends {cert['not_after']}")
    plan = cluster.nodes[0].cli_raw("archive", "plan", "-o", "json")
    check(plan.returncode != 7, f"{label}: the plan would move something: {plan.stdout.decode()[:400]}")


def lead(cluster, name):
    """Have that node lead, by restarting whoever else leads."""
    for _ in range(12):
        leader = wait_for("a leader", cluster.leader, 30)
        if leader.name == name:
            return True
        leader.stop()
        leader.start(cluster.clocks[leader.name].wrapper())
        wait_for("a leader again", lambda: all(n.status()["leader"] for n in cluster.nodes), 40)
    return False


def ahead(s, cluster):
    odd = cluster.node("brq-1")
    cluster.clocks[odd.name].set(YEAR)
    wait_for("CLOCK_SKEW to name it", lambda: skewed(cluster.nodes[0]) == {odd.name}, 40)
    service(s, cluster, "year")
    nothing_early(s, cluster, "a year ahead")
    s.say(f"{odd.name} is a year ahead: CLOCK_SKEW names it, writes go on through all, cluster and audit time are the "
          "majority's, tokens and certificates hold")
    odd.stop()
    odd.start(cluster.clocks[odd.name].wrapper())
    wait_for("it to follow again", lambda: odd.status()["leader"], 40)
    led = lead(cluster, odd.name)
    service(s, cluster, "led")
    nothing_early(s, cluster, "the leader a year ahead")
    check(led, f"{odd.name} did not come to lead in 12 tries")
    check(skewed(cluster.nodes[0]) == {odd.name}, f"named are {skewed(cluster.nodes[0])}")
    s.say(f"restarted with that clock, and leading: the same; its certificate was not renewed, nor anybody's refused")


def strobe(s, cluster):
    odd = cluster.node("prg-2")
    over = threading.Event()

    def shake():
        n = 0
        while not over.wait(0.2):
            n += 1
            cluster.clocks[odd.name].set((YEAR, -YEAR, 3600, 0)[n % 4])
    thread = threading.Thread(target=shake, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 15
        stamps = []
        while time.monotonic() < until:
            stamps.append(cluster_time(cluster.nodes[0]))
            write(cluster.nodes[0], "strobe")
        check(stamps == sorted(stamps), "cluster time went back")
        nothing_early(s, cluster, "a clock that jumps")
        service(s, cluster, "strobe")
    finally:
        over.set()
        thread.join()
        cluster.clocks[odd.name].set(0)
    s.say(f"{odd.name}'s clock jumped five times a second by a year to and fro: {len(stamps)} writes meanwhile, cluster time "
          "only went on, nothing expired")


def disagree(s, cluster):
    cluster.clocks["prg-2"].set(3600)
    cluster.clocks["brq-1"].set(YEAR)
    wait_for("CLOCK_SKEW to name the leader, as no two agree",
             lambda: cluster.leader().name in skewed(cluster.nodes[0]), 60)
    before = cluster_time(cluster.nodes[0])
    service(s, cluster, "three")
    until = time.monotonic() + 8
    while time.monotonic() < until:
        write(cluster.nodes[0], "still")
    after = cluster_time(cluster.nodes[0])
    check(after == before, f"cluster time went on by {after - before:.1f} s while no two clocks agree")
    nothing_early(s, cluster, "three clocks that differ")
    for clock in cluster.clocks.values():
        clock.set(0)
    wait_for("CLOCK_SKEW to be over", lambda: not skewed(cluster.nodes[0]), 60)
    wait_for("cluster time to go on", lambda: cluster_time(cluster.nodes[0]) > after, 40)
    s.say("no two clocks agree: CLOCK_SKEW, cluster time stands still, writes go on; with good clocks it goes on by itself")


def tell(s):
    s.cluster = cluster = Cluster(s.folder / "cluster", name="scenario", net=free_net())
    cluster.clocks = {}
    for name, site in (("prg-1", "prg"), ("prg-2", "prg"), ("brq-1", "brq")):
        node = cluster.add(name, site, roles=("voter", "vault", "api"), extra=f"tls: {{certificate-life: {CERTIFICATE_LIFE}}}\n")
        clock = cluster.clocks[name] = Clock(s.folder, name)
        plain = node.start
        node.start = lambda wrapper=(), p=plain, c=clock: p(wrapper or c.wrapper())
    cluster.create()
    first = cluster.nodes[0]
    s.token = first.cli("token", "create", "--name", "clock", "--role", "auditor", "--ttl", "1h", "--reason", "clock")["token"]
    check(token_answer(first, s.token)[0] == 200 and token_answer(first, "et-wrong")[0] == 401, "tokens do not work")
    wait_for("cluster time", lambda: cluster_time(first) > 0, 30)
    s.say("three nodes are up, each with a clock of its own")
    ahead(s, cluster)
    cluster.clocks["brq-1"].set(0)
    wait_for("CLOCK_SKEW to be over", lambda: not skewed(first), 60)
    strobe(s, cluster)
    wait_for("CLOCK_SKEW to be over", lambda: not skewed(first), 60)
    disagree(s, cluster)
    for node in cluster.nodes:
        node.cli("audit", "verify")
        check(node.stop() == 0, f"{node.name} did not end well:\n{node.tail(30)}")


if __name__ == "__main__":
    if not LIBRARY.exists():
        raise SystemExit(f"{LIBRARY} is not built")
    sys.exit(run("clock", tell))
