"""Recording clients (SIPREC, RFC 7866) send their sessions to a node: what they sent is on the tape, sample for sample,
with who said it; sessions change while they run; a recorder that is killed keeps what it had; one without room says so.

Clients are sipp (UDP and TCP, one mixed stream) and a small one of our own (two streams, re-INVITE, UPDATE, TLS, SRTP). The node
also captures the interface that the clients use: nothing is recorded twice.
"""
import signal
import subprocess
import sys

from story import Cluster, Broken, audio, check, free_net, run, socket, wait_for

from lab.siprec import Client, Sipp, Srtp, Stream, metadata

TALK = 5
ANN = ("YW5u", "sip:+420111@example.com", "Ann", ["1"])
BOB = ("Ym9i", "sip:222@example.com", "Bob", ["2"])
EVE = ("ZXZl", "tel:+333", "Eve", ["3"])


def make_node(s):
    phones = free_net(socket.SOCK_DGRAM, 5070)
    s.cluster = Cluster(s.folder / "cluster", name="scenario", net=free_net())
    node = s.cluster.add("prg-1", "prg", capture_filter=f"net 127.{phones}.0.0/16")
    node.phones = f"127.{phones}.1"
    node.rings = 3
    node.srs = (node.address, 5060)
    node.folder.mkdir(parents=True)
    certificate, key = node.folder / "srs.pem", node.folder / "srs.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                    "-subj", "/CN=srs", "-out", certificate, "-keyout", key], check=True, capture_output=True)
    node.siprec = (f'siprec: {{listen: ["udp://{node.address}:5060", "tcp://{node.address}:5060", '
                   f'"tls://{node.address}:5061"], media-ports: 21000-21099, sessions: 8, '
                   f"certificate: {certificate}, key: {key}}}\n")
    node.extra = node.siprec
    s.cluster.create()
    return node


def by_call_id(node, call_id):
    found = node.recordings("--call-id", call_id)
    if len(found) != 1:
        raise ValueError(f"{len(found)} recordings of {call_id}, want 1")
    return found[0]


def closed(node, probe, what):
    def ready():
        rec = node.recording(probe()["id"])
        return rec if rec["state"] not in ("capturing",) and not rec["pending"] else None
    return wait_for(f"{what} to be closed and committed", ready, 20, every=0.2)


def exported(s, node, rec, label):
    path = s.folder / f"{label}.wav"
    node.export(rec["id"], path)
    channels, rate = audio.read_wav(path)
    check(rate == audio.RATE, f"{label}: {rate} Hz")
    return channels


def exact(channel, sent, label):
    try:
        return audio.compare(channel, sent, len(sent) - 1)[1]
    except ValueError as error:
        raise Broken(f"{label}: {error}") from error


def sipp_clients(s, node):
    """One over UDP and one over TCP, at once."""
    xml = metadata([("YW5u", "sip:+420111@example.com", "Ann", ["1"]), ("Ym9i", "sip:222@example.com", "Bob", ["1"])])
    clients = {t: Sipp(s.folder / f"sipp-{t}", f"{node.phones}.{10 + i}", node.srs, t, xml, TALK)
               for i, t in enumerate(("udp", "tcp"))}
    s.outside += [c.stop for c in clients.values()]
    for client in clients.values():
        client.wait()

    def found():
        recs = [r for r in node.recordings() if r["from"] == "+420111" and r["state"] != "capturing"]
        return recs if len(recs) == 2 else None
    recs = wait_for("two recordings of sipp", found, 20, every=0.2)
    ways = {t: audio.to_pcm(c.sound, "PCMU") for t, c in clients.items()}
    samples = 0
    for i, rec in enumerate(recs):
        check(rec["to"] == "222", f"to is {rec['to']}")
        channels = exported(s, node, rec, f"sipp-{i}")
        good = 0
        for way in list(ways):
            try:
                samples += audio.compare(channels[0], ways[way], int((TALK - 0.5) * audio.RATE))[1]
                del ways[way]
                good = 1
                break
            except ValueError as error:
                last = error
        check(good == 1, f"recording {rec['id']} is neither of what sipp sent: {last if not good else ''}")
    s.say(f"sipp over UDP and TCP: both recordings equal what was sent, {samples} samples")


def two_parties(s, node):
    client = Client(f"{node.phones}.20", node.srs)
    s.outside.append(client.close)
    check(client.simple("OPTIONS") == 200 and "siprec" in client.last, f"OPTIONS: {client.last}")
    streams = [Stream(client.ip, i + 1, f"two-{i}", 60, c) for i, c in enumerate(("PCMU", "PCMA"))]
    check(client.invite(streams, metadata([ANN, BOB])) == 200, client.last)
    client.talk()
    rec = wait_for("the session in the catalogue",
                   lambda: node.recording(by_call_id(node, client.call_id)["id"]).get("session") and
                   node.recording(by_call_id(node, client.call_id)["id"]), 10)
    check(rec["state"] == "capturing", rec["state"])
    check(len(rec["participants"]) == 2, f"participants: {rec['participants']}")
    s.say("a client with two streams is being recorded; `recording show` names Ann and Bob")

    # Somebody joins: metadata first, then a stream more; the others go on.
    check(client.update(metadata([EVE], "partial")) == 200, "UPDATE with metadata only")
    client.streams.append(Stream(client.ip, 3, "two-2", 60))
    client.request("INVITE", client.offer(), None, "Require: siprec\r\n")
    status, text = client.answer("INVITE")
    check(status == 200, text)
    client.learn(text)
    client.request("ACK", cseq=client.cseq)
    wait_for("a second of the third stream", lambda: client.streams[2].sent > 50, 10)
    check(client.update(metadata([], "partial", left=["Ym9i"])) == 200, "UPDATE: Bob left")
    client.quiet()
    check(client.simple("BYE") == 200, client.last)
    rec = closed(node, lambda: by_call_id(node, client.call_id), "the session")
    check(rec["call_state"] == "answered" and rec["from"] == "+420111" and rec["to"] == "222",
          f"{rec['from']} to {rec['to']}: {rec['call_state']}")
    check([x["lost"] for x in rec["streams"]] == [0, 0, 0], f"streams: {rec['streams']}")
    who = {p["name"]: p for p in rec["participants"]}
    check(sorted(who) == ["Ann", "Bob", "Eve"] and who["Bob"]["gone"] and who["Bob"]["left"] and not who["Ann"]["gone"],
          f"participants: {who}")
    check(who["Eve"]["number"] == "+333" and who["Eve"]["labels"] == "3", f"Eve: {who['Eve']}")
    hits = node.cli("recording", "search", "Eve")["recordings"]
    check([h["id"] for h in hits] == [rec["id"]], f"a search for Eve finds {[h['id'] for h in hits]}")
    hits = node.recordings("--number", "222")
    check(rec["id"] in [h["id"] for h in hits], "a search by number does not find it")

    channels = exported(s, node, rec, "two")
    samples = exact(channels[0], client.streams[0].pcm(), "Ann")
    check(sum(x["packets"] for x in rec["streams"]) == sum(x.sent for x in client.streams), "packets are missing")
    s.say(f"re-INVITE and UPDATE: three streams without loss; Ann is exact in {samples} samples; "
          "Bob left, Eve is found by her name")
    return client


def by_streams(s, node):
    """Two streams to the end, over TCP, and over TLS with SRTP, at once: each party is a channel."""
    made = []
    for transport, port in (("tcp", 5060), ("tls", 5061)):
        client = Client(f"{node.phones}.{21 + len(made)}", (node.address, port), transport)
        s.outside.append(client.close)
        streams = [Stream(client.ip, i + 1, f"{transport}-{i}", 60, c, Srtp() if transport == "tls" else None)
                   for i, c in enumerate(("PCMU", "PCMA"))]
        check(client.invite(streams, metadata([ANN, BOB])) == 200, client.last)
        client.talk()
        made.append(client)
    check(f"a=crypto:1 {Srtp.SUITE} inline:" in made[1].last and "RTP/SAVP" in made[1].last, made[1].last)
    wait_for("two seconds of sound", lambda: all(x.sent > 100 for c in made for x in c.streams), 10)
    samples = []
    for client in made:
        client.quiet()
        check(client.simple("BYE") == 200, client.last)
    for client in made:
        rec = closed(node, lambda c=client: by_call_id(node, c.call_id), f"the session over {client.transport}")
        check(rec["problem"] == "", rec["problem"])
        channels = exported(s, node, rec, client.transport)
        check(len(channels) == 2, f"{len(channels)} channels")
        samples.append(sum(exact(channels[i], x.pcm(), x.label) for i, x in enumerate(client.streams)))
    s.say(f"over TCP, and over TLS with SRTP: both parties are exact, each in its channel, {samples} samples")


def killed(s, node):
    client = Client(f"{node.phones}.22", node.srs)
    s.outside.append(client.close)
    check(client.invite([Stream(client.ip, 1, "killed", 60)], metadata([ANN])) == 200, client.last)
    client.talk()
    wait_for("some seconds of sound", lambda: client.streams[0].sent > 150, 10)
    node.kill()
    client.quiet()
    node.start()
    wait_for("the recording server", lambda: client.update(metadata([ANN])) in (481,) , 20)
    rec = wait_for("what was sealed to be recovered",
                   lambda: (r := node.recording(by_call_id(node, client.call_id)["id"]))["segments"][0]["state"]
                   .startswith("recovered") and r, 20, every=0.2)
    check(rec["participants"][0]["name"] == "Ann", "the session is forgotten")
    # The client begins anew under the same name: the recording goes on, with the gap stated.
    client.to_tag = ""
    check(client.invite([], metadata([ANN])) == 200, client.last)
    check(client.simple("BYE") == 200, client.last)
    rec = closed(node, lambda: by_call_id(node, client.call_id), "the continued session")
    check(rec["gaps"], "no gap is stated")
    path = s.folder / "killed.wav"
    done = node.cli_raw("recording", "export", rec["id"], "--format", "wav", "--out", str(path), "--reason", "test")
    check(done.returncode in (0, 6), done.stderr.decode())
    channels, _rate = audio.read_wav(path)
    good, _before, behind, holes = audio.holes(channels[0], client.streams[0].pcm())
    check(not holes and good >= 100, f"{good} frames are exact, {behind} are missing, holes {holes}")
    s.say(f"kill -9: {good} frames before it are exact; the client began anew, and its recording went on")


def denied(node):
    return node.metrics()["siprec_denied_total"]


def only_who_may(s, node):
    """With `allow` and `client-ca`: another address, and over TLS no certificate or one of somebody else, open nothing."""
    pairs = {}
    for name in ("sbc", "stranger"):
        pairs[name] = (s.folder / f"{name}.pem", s.folder / f"{name}.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                        "-subj", f"/CN={name}", "-out", pairs[name][0], "-keyout", pairs[name][1]], check=True, capture_output=True)
    node.stop()
    node.extra = node.siprec.replace("sessions: 8", f"sessions: 8, allow: [{node.phones}.30], client-ca: {pairs['sbc'][0]}")
    node.write_config()
    node.start()
    node.wait_capture()
    count = len(node.recordings())
    for transport in ("udp", "tcp"):
        client = Client(f"{node.phones}.31", node.srs, transport)
        client.socket.settimeout(1)
        try:
            check(False, f"{transport}: another address is answered {client.simple('OPTIONS')}")
        except OSError:
            pass
        client.close()
    wait_for("both to be counted", lambda: denied(node) == 2, 5)
    secure = (node.srs[0], 5061)
    for certificate in (None, pairs["stranger"]):
        try:
            client = Client(f"{node.phones}.30", secure, "tls", certificate=certificate)
            check(False, f"without a certificate of the CA: {client.simple('OPTIONS')}")
        except OSError:
            pass
    wait_for("both to be counted", lambda: denied(node) == 4, 5)
    client = Client(f"{node.phones}.30", secure, "tls", certificate=pairs["sbc"])
    s.outside.append(client.close)
    check(client.invite([Stream(client.ip, 1, "may", 1, srtp=Srtp())], metadata([ANN])) == 200, client.last)
    client.talk()
    wait_for("half a second of sound", lambda: client.streams[0].sent > 25, 10)
    client.quiet()
    check(client.simple("BYE") == 200, client.last)
    closed(node, lambda: by_call_id(node, client.call_id), "the session of who may")
    check(len(node.recordings()) == count + 1, "others were recorded")
    s.say("allow and client-ca: another address, no certificate and one of another CA are counted and open nothing; who may is recorded")
    files_anew(s, node, pairs["sbc"], pairs["stranger"])


def files_anew(s, node, sbc, stranger):
    """The CA's file is another one: after SIGHUP a certificate of that one counts. One that cannot be read changes nothing."""
    def may(certificate):
        try:
            client = Client(f"{node.phones}.30", (node.srs[0], 5061), "tls", certificate=certificate)
            answer = client.simple("OPTIONS")
            client.close()
            return answer == 200
        except OSError:
            return False

    kept = Client(f"{node.phones}.30", (node.srs[0], 5061), "tls", certificate=sbc)
    check(kept.simple("OPTIONS") == 200, kept.last)
    before = sbc[0].read_bytes()
    sbc[0].write_bytes(b"no certificate")
    node.process.send_signal(signal.SIGHUP)
    wait_for("the bad file to be told", lambda: "siprec.certificate" in node.tail(60), 10)
    sbc[0].write_bytes(before)
    check(may(sbc), "a file that cannot be read shut the client out")
    other = s.folder / "sbc-before.pem"
    other.write_bytes(before)
    sbc[0].write_bytes(stranger[0].read_bytes())
    node.process.send_signal(signal.SIGHUP)
    wait_for("the other CA to be in force", lambda: may(stranger), 10)
    check(not may((other, sbc[1])), "a certificate of the CA before still counts")
    check(kept.simple("OPTIONS") == 200, "a connection that was open was cut")
    kept.close()
    s.say("SIGHUP: another client-ca counts for connections from then on; one that cannot be read changes nothing")


def no_room(s, node):
    node.stop()
    node.extra = node.siprec + "limits: {disk-reserve: 16TiB}\n"
    node.write_config()
    node.start()
    client = Client(f"{node.phones}.23", node.srs)
    s.outside.append(client.close)

    def refused():
        client.to_tag = ""
        status = client.invite([], metadata([ANN])) if client.streams else client.invite(
            [Stream(client.ip, 1, "none", 1)], metadata([ANN]))
        return status if status != 200 else None
    status = wait_for("an answer", refused, 10)
    check(status == 503 and "Retry-After: " in client.last, client.last)
    s.say("without room on the disk: 503 with Retry-After, before anything is recorded")


def tell(s):
    node = make_node(s)
    s.say(f"{node.name} takes recording sessions at {node.srs[0]} over UDP, TCP and TLS")
    sipp_clients(s, node)
    two_parties(s, node)
    by_streams(s, node)
    check(len(node.recordings()) == 5, f"{len(node.recordings())} recordings, want 5: something is recorded twice")
    lo = wait_for("the rings to be empty", lambda: (i := node.cli("capture", "show")["interfaces"][0])["waiting"] == 0 and i, 10)
    check(lo["rings"] == 3 and lo["open"] and lo["dropped"] == 0 and lo["packets"] > 1000, f"{lo}")
    killed(s, node)
    only_who_may(s, node)
    no_room(s, node)


if __name__ == "__main__":
    sys.exit(run("siprec", tell, "openssl"))
