"""Certificates that live for seconds, calls live all the time, and one node cut off until long past its certificate's end.

Promise (issue 4): 90 renewals, as many as a certificate of 60 s needs in an hour (time is compressed by
tls.certificate-life), go by without a call losing a packet; a node that is cut off past expiry records on, and comes
back by itself: expiry alone never strands a member.
"""
import http.client
import json
import socket
import sys
import threading
import time

from story import check, export_exact, run, wait_committed, wait_for

LIFE = 3
RENEWALS = 90
CALL = 45


def metric(node, name):
    return int(node.metrics()[name])


class Busy(threading.Thread):
    """Commits something small all the time: the cluster's time, by which certificates are renewed, goes on each second
    while something is committed, and every five seconds else."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.ends = node, threading.Event()

    def run(self):
        while not self.ends.wait(0.4):
            connection = http.client.HTTPConnection("localhost", timeout=10)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.node.socket))
            connection.request("PUT", "/v1/sites/prg", json.dumps({"description": "x"}),
                               {"Content-Type": "application/json", "X-Evertape-Reason": "x"})
            connection.getresponse().read()
            connection.close()


def codes(node):
    return {c["code"] for c in node.status()["codes"]}


def renewals(cluster):
    return sum(metric(n, "certificate_renewals_total") for n in cluster.nodes)


def tell(s):
    cluster = s.make_cluster(extra=f"tls: {{certificate-life: {LIFE}s}}\n")
    first, _, last = cluster.nodes
    names = [n.name for n in cluster.nodes]
    began = time.monotonic()
    busy = Busy(first)
    busy.start()
    live = s.place(names * 2, CALL)
    wait_for("a few renewals", lambda: renewals(cluster) >= 6, 30)
    s.say(f"{len(live)} calls are live; certificates live for {LIFE} s, and are renewed")

    cluster.cut("brq")
    end = metric(last, "certificate_expires_seconds")
    wait_for("brq-1 to be far past the end of its certificate", lambda: time.time() > end + 5 * LIFE, 60)
    check(metric(last, "certificate_expires_seconds") == end, "brq-1 renewed while it was cut off")
    check({"NO_QUORUM"} <= codes(last), f"brq-1 says {codes(last)}")
    alone = s.place(["brq-1"], 8)
    s.hang_up(alone)
    before = metric(last, "certificate_renewals_total")
    cluster.heal()
    healed = time.monotonic()
    wait_for("brq-1 to have a certificate again", lambda: metric(last, "certificate_renewals_total") > before, 40)
    wait_for("brq-1 to be one of them", lambda: "VOTER_DOWN" not in codes(first) and last.status()["leader"], 30)
    s.say(f"brq-1 was cut off {5 * LIFE} s past the end of its certificate; back by itself {time.monotonic() - healed:.1f} s "
          f"after healing")

    s.hang_up(live)
    wait_for(f"{RENEWALS} renewals", lambda: renewals(cluster) >= RENEWALS, 60)
    s.say(f"{renewals(cluster)} renewals in {time.monotonic() - began:.0f} s; failed and tried again: "
          f"{', '.join(str(metric(n, 'certificate_renewal_failures_total')) for n in cluster.nodes)}")
    busy.ends.set()
    busy.join()
    wait_committed(first, live + alone, ["prg", "brq"], 60)
    samples = export_exact(s, first, live + alone, "all")
    for call in live + alone:
        rec = first.recording(call.id)
        check(sum(x["lost"] for x in rec["streams"]) == 0 and not rec["gaps"], f"{call.caller}: {rec['streams']} {rec['gaps']}")
    s.say(f"all {len(live + alone)} calls were recorded whole: {samples} samples are what was sent, nothing lost, no gap")
    check(all(c["state"] in ("ok", "expiring") for c in first.cli("cert", "list")["certs"]), "a certificate is not good")
    first.cli("audit", "verify")


if __name__ == "__main__":
    sys.exit(run("short-certificates", tell, "nft"))
