"""Telephones of Debian, each a machine of its own on one switch: baresip, driven by its control socket, and sipp with scenarios
that are put together here. Over UDP, TCP, TLS (baresip), IPv4 and IPv6; plain, SDES and DTLS-SRTP (baresip)."""
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

from .cluster import binaries, wait_for

MODULES = pathlib.Path("/usr/lib/baresip/modules")
CODECS = {"PCMU": "PCMU/8000/1", "PCMA": "PCMA/8000/1", "G722": "G722/16000/1", "opus": "opus/48000/2", "GSM": "GSM/8000/1"}
RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16000, "opus": 48000, "GSM": 8000}  # of the sound that a telephone is given


def bracketed(ip):
    return f"[{ip}]" if ":" in ip else ip


class Switch:
    """A bridge `br0` in the present network namespace, which must be our own, and a network namespace for each address that is
    plugged in. (Telephones that share an address send from the wrong one: they bind to none.) Who captures br0 sees all frames."""

    def __init__(self):
        self.plugged, self.lock = {}, threading.Lock()
        # With an address of its own: else it takes that of a port, another one with each that is plugged in.
        _ip(["link add br0 address 02:00:00:00:00:01 type bridge mcast_snooping 0", "addr add 10.77.255.254/16 dev br0",
             "addr add fd77::ffff:1/64 dev br0 nodad", "link set br0 up"])

    def plug(self, ip):
        """A machine with this address, on 10.77.0.0/16 or fd77::/64; what to put before a command that runs there."""
        with self.lock:
            if ip not in self.plugged:
                holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdin=subprocess.DEVNULL,
                                          stdout=subprocess.PIPE)
                jack = f"jack{len(self.plugged)}"
                self.plugged[ip] = holder
                holder.stdout.readline()  # now it is in its namespace
                _ip([f"link add {jack} type veth peer name eth0 netns {holder.pid}", f"link set {jack} master br0 up"])
                _ip(["link set lo up", f"addr add {ip}/{'64 dev eth0 nodad' if ':' in ip else '16 dev eth0'}",
                     "link set eth0 up"], self.where(ip))
        return self.where(ip)

    def where(self, ip):
        return ["nsenter", "-t", str(self.plugged[ip].pid), "-n"]

    def close(self):
        for holder in self.plugged.values():
            _end(holder)


def _ip(commands, where=()):
    subprocess.run([*where, "ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


def _end(process):
    if process.poll() is None:
        process.kill()
        process.wait()


class Baresip:
    """One baresip, at `where`. It answers by itself; `sound` is a WAV file at the codec's rate, from whose beginning it talks in
    each call. Its control socket is TCP port 4444 of its address, where keys are pressed UDP port 5555: not for recorders."""

    def __init__(self, folder, where, name, ip, transport, codec, protection, sound, keylog, certificate):
        self.folder, self.name, self.ip, self.transport = pathlib.Path(folder), name, ip, transport
        self.buffer, self.events, self.socket = b"", [], None
        self.folder.mkdir(parents=True)
        rate = RATES[codec]
        modules = ["g711", "g722", "gsm", "opus", "aufile", "srtp", "dtls_srtp", "cons"]
        (self.folder / "config").write_text(
            f"poll_method epoll\nnet_interface {ip}\nsip_listen {bracketed(ip)}:5060\nsip_certificate {certificate}\n"
            f"call_local_timeout 120\ncall_max_calls 4\naudio_player aufile,{self.folder}/heard.wav\n"
            f"audio_source aufile,{sound}\naudio_alert aufile,{self.folder}/alert.wav\nausrc_srate {rate}\n"
            f"auplay_srate {rate}\nausrc_channels 1\nauplay_channels 1\naudio_txmode thread\naudio_level no\n"
            f"ausrc_format s16\nauplay_format s16\nrtp_ports 30000-30100\nrtcp_mux no\njitter_buffer_delay 5-10\n"
            f"opus_bitrate 64000\nmodule_path {MODULES}\n" + "".join(f"module {m}.so\n" for m in modules) +
            "module_tmp uuid.so\nmodule_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n"
            f"cons_listen {bracketed(ip)}:5555\nctrl_tcp_listen {bracketed(ip)}:4444\n")
        protection = f";mediaenc={protection}" if protection else ""
        (self.folder / "accounts").write_text(f"<sip:{name}@{bracketed(ip)};transport={transport}>;regint=0;answermode=auto;"
                                              f"audio_codecs={CODECS[codec]}{protection}\n")
        (self.folder / "contacts").write_text("")
        environment = dict(os.environ, LD_PRELOAD=str(binaries() / "libkeylogshim.so"), ET_KEYLOG_FILE=str(keylog))
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen([*where, "nice", "-n", "5", "baresip", "-6" if ":" in ip else "-4", "-f",
                                             str(self.folder)], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment)

    def ready(self):
        def connect():
            if self.process.poll() is not None:
                raise RuntimeError(f"baresip {self.name} ended with {self.process.returncode}: {self.folder}/log")
            self.socket = socket.create_connection((self.ip, 4444), timeout=5)
            return True
        wait_for(f"baresip {self.name}", connect, 30)
        return self

    def uri(self):
        port = ":5061" if self.transport == "tls" else ""
        return f"sip:{self.name}@{bracketed(self.ip)}{port};transport={self.transport}"

    def command(self, name, params=None):
        text = json.dumps({"command": name, "token": name, **({"params": params} if params else {})})
        self.socket.sendall(f"{len(text)}:{text},".encode())

    def event(self, kind, count=1, deadline=20.0):
        """Wait until the `count`-th event of this kind was told."""
        until = time.monotonic() + deadline
        while sum(e.get("type") == kind for e in self.events) < count:
            size, colon, rest = self.buffer.partition(b":")
            if colon and len(rest) > int(size):
                self.events.append(json.loads(rest[:int(size)]))
                self.buffer = rest[int(size) + 1:]
                continue
            if time.monotonic() > until:
                raise TimeoutError(f"{self.name}: no {kind} in {deadline:.0f} s; told: {[e.get('type') for e in self.events]}")
            self.socket.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                more = self.socket.recv(65536)
                if not more:
                    raise RuntimeError(f"baresip {self.name} closed its control socket: {self.folder}/log")
                self.buffer += more

    def digit(self, key, seconds=0.2):
        """A key is pressed for so long: telephone events (RFC 4733)."""
        with socket.socket(socket.AF_INET6 if ":" in self.ip else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(key.encode(), (self.ip, 5555))
            time.sleep(seconds)
            s.sendto(b"\x04", (self.ip, 5555))

    def stop(self):
        if self.socket is not None:
            self.socket.close()
        _end(self.process)


# Parties know each other's tag: so either may send requests in the dialog.
HEAD = """Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:{me}@[local_ip]:[local_port]>;tag={my_tag}
To: <sip:{peer}@phones.example>{to_tag}
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:{me}@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
{more}Content-Length: [len]

{body}"""

REPLY = """SIP/2.0 {status}
[last_Via:]
[last_From:]
[last_To:]{to_tag}
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:{me}@[local_ip]:[local_port];transport=[transport]>
{more}Content-Length: [len]

{body}"""

PT = {"PCMU": 0, "PCMA": 8, "G722": 9}
SDP_TYPE = "Content-Type: application/sdp\n"


class Party:
    """Who somebody is in a call: a number, an address, a tag."""

    def __init__(self, name, ip, tag=None):
        self.name, self.ip, self.tag = name, ip, tag or f"t-{name}"


class Steps:
    """What one party of a call does, step by step, as a scenario of sipp: Steps(a, b).invite("PCMU").play(...).wait(4).bye()."""

    def __init__(self, me, peer):
        self.me, self.peer, self.xml, self.cseq, self.version = me, peer, [], 0, 0

    def sdp(self, codec, direction="sendrecv"):
        self.version += 1
        return (f"v=0\no=- 1 {self.version} IN IP[local_ip_type] [local_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n"
                f"m=audio [rtpstream_audio_port] RTP/AVP {PT[codec]} 101\na=rtpmap:{PT[codec]} {codec}/8000\n"
                f"a=rtpmap:101 telephone-event/8000\na=ptime:20\na={direction}\n")

    def add(self, text):
        self.xml.append(text)
        return self

    def request(self, method, more="", body="", first=False):
        """A request of ours, in the dialog unless it is the first."""
        if method != "ACK":
            self.cseq += 1
        text = f"{method} sip:{self.peer.name}@phones.example SIP/2.0\n" + HEAD.format(
            me=self.me.name, my_tag=self.me.tag, peer=self.peer.name, cseq=self.cseq, method=method, more=more, body=body,
            to_tag="" if first else f";tag={self.peer.tag}")
        retrans = ' retrans="500"' if method != "ACK" else ""
        return self.add(f"<send{retrans}><![CDATA[\n{text}\n]]></send>")

    def answered(self, *optional, status=200):
        for o in optional:
            self.add(f'<recv response="{o}" optional="true"/>')
        return self.add(f'<recv response="{status}"/>')

    def invite(self, codec, more="", direction="sendrecv"):
        first = self.cseq == 0
        self.request("INVITE", more + SDP_TYPE, self.sdp(codec, direction), first)
        return self.answered(*(("100", "180") if first else ("100",))).request("ACK")

    def takes(self, method, status="200 OK"):
        return self.add(f'<recv request="{method}"/>').reply(status)

    def reply(self, status, body="", more="", tag=""):
        text = REPLY.format(status=status, me=self.me.name, body=body, more=more, to_tag=tag)
        return self.add(f"<send><![CDATA[\n{text}\n]]></send>")

    def takes_invite(self, codec, direction="sendrecv"):
        tag = f";tag={self.me.tag}" if self.version == 0 else ""
        self.add('<recv request="INVITE"/>')
        if tag:
            self.reply("180 Ringing", tag=tag)
        return self.reply("200 OK", self.sdp(codec, direction), SDP_TYPE, tag).add('<recv request="ACK"/>')

    def play(self, sound, codec):
        return self.add(f'<nop><action><exec rtp_stream="{sound},1,{PT[codec]},{codec}/8000"/></action></nop>')

    def quiet(self):
        return self.add('<nop><action><exec rtp_stream="pause"/></action></nop>')

    def on(self):
        return self.add('<nop><action><exec rtp_stream="resume"/></action></nop>')

    def wait(self, seconds):
        return self.add(f'<pause milliseconds="{int(seconds * 1000)}"/>')

    def bye(self):
        return self.request("BYE").answered()


class Sipp:
    """One sipp, at `where`, that runs one call by steps. `calls`: it sends the first request."""

    def __init__(self, folder, where, steps, transport, calls, call_id=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        ip = steps.me.ip
        self.label = f"{steps.me.name}-{'to' if calls else 'of'}-{steps.peer.name}"
        path = self.folder / f"{self.label}.xml"
        path.write_text('<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="phone">\n' + "\n".join(steps.xml) + "\n</scenario>\n")
        to = [f"{bracketed(steps.peer.ip)}:5060"] if calls else []
        named = ["-cid_str", call_id] if call_id and calls else []
        with open(self.folder / f"{self.label}.log", "wb") as log:
            self.process = subprocess.Popen(
                [*where, "nice", "-n", "5", "sipp", *to, "-sf", str(path), "-i", bracketed(ip), "-mi", bracketed(ip), "-p", "5060",
                 "-m", "1", "-t", {"udp": "u1", "tcp": "t1"}[transport], *named, "-nostdin", "-timeout", "60", "-timeout_error",
                 "-trace_err", "-trace_msg"],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        if not calls:
            kind = "-Hlun" if transport == "udp" else "-Hltn"

            def listens():
                out = subprocess.run([*where, "ss", kind], capture_output=True, text=True, check=False).stdout
                return f"{bracketed(ip)}:5060 " in out
            wait_for(f"sipp at {ip}", listens, 15)

    def wait(self):
        code = self.process.wait(timeout=70)
        if code != 0:
            raise RuntimeError(f"sipp {self.label} ended with {code}: see {self.folder}")

    def stop(self):
        _end(self.process)
