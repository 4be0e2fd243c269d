"""A recording client (SRC, RFC 7866) over UDP, TCP or TLS, and sipp as one."""
import base64
import hashlib
import hmac
import pathlib
import random
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

from . import audio

NS = "urn:ietf:params:xml:ns:recording:1"


def metadata(participants, mode="complete", session="c2Vzc2lvbi0x", left=()):
    """participants: [(id, aor, name, [labels that it is heard in])]; left: ids of those who left."""
    labels = sorted({label for p in participants for label in p[3]})
    out = [f'<?xml version="1.0" encoding="UTF-8"?>\n<recording xmlns="{NS}"><datamode>{mode}</datamode>',
           '<group group_id="Z3JvdXA="/>',
           f'<session session_id="{session}"><group-ref>Z3JvdXA=</group-ref>'
           '<start-time>2026-11-30T01:00:00Z</start-time></session>']
    for ident, aor, name, _labels in participants:
        out.append(f'<participant participant_id="{ident}"><nameID aor="{aor}"><name>{name}</name></nameID></participant>')
    out += [f'<stream stream_id="s{label}" session_id="{session}"><label>{label}</label></stream>' for label in labels]
    for ident, _aor, _name, heard in participants:
        sends = "".join(f"<send>s{label}</send>" for label in heard)
        out.append(f'<participantstreamassoc participant_id="{ident}">{sends}</participantstreamassoc>')
    out += [f'<participantsessionassoc participant_id="{ident}" session_id="{session}">'
            '<disassociate-time>2026-11-30T01:00:05Z</disassociate-time></participantsessionassoc>' for ident in left]
    return "".join(out) + "</recording>"


class Srtp:
    """AES_CM_128_HMAC_SHA1_80 (RFC 3711), the sender's side, for streams shorter than 2^16 packets."""

    SUITE = "AES_CM_128_HMAC_SHA1_80"

    def __init__(self, master=None):
        self.master = master or random.SystemRandom().randbytes(30)
        self.key, self.auth, self.salt = (self._derive(label, size) for label, size in ((0, 16), (1, 20), (2, 14)))

    def _stream(self, key, block, size):
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        return Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(16, "big"))).encryptor().update(bytes(size))

    def _derive(self, label, size):
        salt = int.from_bytes(self.master[16:], "big") ^ (label << 48)
        return self._stream(self.master[:16], salt << 16, size)

    def line(self, tag=1):
        return f"a=crypto:{tag} {self.SUITE} inline:{base64.b64encode(self.master).decode()}\r\n"

    def protect(self, packet):
        sequence, ssrc = struct.unpack("!H", packet[2:4])[0], struct.unpack("!I", packet[8:12])[0]
        block = (int.from_bytes(self.salt, "big") << 16) ^ (ssrc << 64) ^ (sequence << 16)
        pad = self._stream(self.key, block, len(packet) - 12)
        out = packet[:12] + bytes(a ^ b for a, b in zip(packet[12:], pad))
        return out + hmac.new(self.auth, out + bytes(4), hashlib.sha1).digest()[:10]


class Stream:
    """One media line: its label, its sound, its socket; sends 20 ms frames when told to."""

    def __init__(self, ip, label, seed, seconds, codec="PCMU", srtp=None):
        self.label, self.codec = str(label), codec
        self.sound = audio.noise(seed, seconds)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, 0))
        self.port = self.socket.getsockname()[1]
        self.to = None
        self.ssrc = random.SystemRandom().getrandbits(32)
        self.sent = 0
        self.srtp = srtp

    def line(self):
        pt = {"PCMU": 0, "PCMA": 8}[self.codec]
        kind, crypto = ("RTP/SAVP", self.srtp.line()) if self.srtp else ("RTP/AVP", "")
        return (f"m=audio {self.port} {kind} {pt}\r\na=rtpmap:{pt} {self.codec}/8000\r\na=label:{self.label}\r\n"
                f"{crypto}a=sendonly\r\n")

    def frame(self):
        at = self.sent * audio.FRAME
        body = self.sound[at:at + audio.FRAME]
        if not body:
            return
        head = struct.pack("!BBHII", 0x80, {"PCMU": 0, "PCMA": 8}[self.codec] | (0x80 if self.sent == 0 else 0),
                           self.sent & 0xFFFF, at & 0xFFFFFFFF, self.ssrc)
        packet = head + body
        self.socket.sendto(self.srtp.protect(packet) if self.srtp else packet, self.to)
        self.sent += 1

    def pcm(self):
        return audio.to_pcm(self.sound[:self.sent * audio.FRAME], self.codec)


class Client:
    """One recording session. `server`: (ip, port); `certificate`: over TLS, its files (certificate, key)."""

    def __init__(self, ip, server, transport="udp", call_id=None, tag=None, certificate=None):
        self.ip, self.server, self.transport, self.certificate = ip, server, transport, certificate
        self.call_id = call_id or f"{random.SystemRandom().getrandbits(64):016x}@{ip}"
        self.tag = tag or f"{random.SystemRandom().getrandbits(32):08x}"
        self.to_tag, self.cseq, self.streams, self.buffer = "", 0, [], b""
        self.running, self.thread = False, None
        self.connect()

    def connect(self):
        kind = socket.SOCK_DGRAM if self.transport == "udp" else socket.SOCK_STREAM
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.bind((self.ip, 0))
        self.socket.settimeout(10)
        self.socket.connect(self.server)
        if self.transport == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if self.certificate:
                context.load_cert_chain(*self.certificate)
            self.socket = context.wrap_socket(self.socket)
        self.port = self.socket.getsockname()[1]

    def request(self, method, sdp=None, xml=None, headers="", cseq=None):
        if method != "ACK":
            self.cseq += 1
        parts = []
        if sdp is not None:
            parts.append("Content-Type: application/sdp\r\n\r\n" + sdp)
        if xml is not None:
            parts.append("Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n" + xml)
        body = "".join(f"--nextpart\r\n{p}\r\n" for p in parts) + ("--nextpart--\r\n" if parts else "")
        kind = "Content-Type: multipart/mixed;boundary=nextpart\r\n" if parts else ""
        to_tag = f";tag={self.to_tag}" if self.to_tag else ""
        text = (f"{method} sip:srs@{self.server[0]}:{self.server[1]} SIP/2.0\r\n"
                f"Via: SIP/2.0/{self.transport.upper()} {self.ip}:{self.port};branch=z9hG4bK{random.getrandbits(64):x};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:src@{self.ip}>;tag={self.tag}\r\n"
                f"To: <sip:srs@{self.server[0]}>{to_tag}\r\nCall-ID: {self.call_id}\r\n"
                f"CSeq: {cseq or self.cseq} {method}\r\nContact: <sip:src@{self.ip}:{self.port}>;+sip.src\r\n"
                f"{headers}{kind}Content-Length: {len(body.encode())}\r\n\r\n{body}")
        self.socket.sendall(text.encode())

    def receive(self):
        """The next message: (first line, text)."""
        while True:
            if self.transport == "udp":
                text = self.socket.recv(65536).decode()
                return text.split("\r\n", 1)[0], text
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if end:
                size = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head).group(1))
                if len(rest) >= size:
                    self.buffer = rest[size:]
                    text = (head + end + rest[:size]).decode()
                    return text.split("\r\n", 1)[0], text
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("the server closed the connection")
            self.buffer += more

    def answer(self, method):
        """(status, text) of the answer to the last request; others (a 200 that came again) are passed over."""
        while True:
            line, text = self.receive()
            if re.search(rf"(?i)\r\ncseq: *{self.cseq} {method}\r\n", text) and line.startswith("SIP/2.0 "):
                return int(line.split(" ")[1]), text

    def offer(self):
        return (f"v=0\r\no=src 1 {self.cseq} IN IP4 {self.ip}\r\ns=-\r\nc=IN IP4 {self.ip}\r\nt=0 0\r\n"
                + "".join(s.line() for s in self.streams))

    def learn(self, text):
        """Where each stream goes, by the answer's media lines."""
        ports = [int(p) for p in re.findall(r"(?m)^m=audio (\d+) ", text)]
        where = re.search(r"(?m)^c=IN IP4 (\S+)", text).group(1)
        assert len(ports) == len(self.streams), text
        for stream, port in zip(self.streams, ports):
            stream.to = (where, port)

    def invite(self, streams, xml):
        """The status; when it is 200 it is confirmed and the streams know where they go."""
        self.streams += streams
        self.request("INVITE", self.offer(), xml, "Require: siprec\r\n")
        status, text = self.answer("INVITE")
        if status == 200:
            self.to_tag = re.search(r"(?i)\r\nto:[^\r]*;tag=([^;\r]+)", text).group(1)
            self.learn(text)
        self.request("ACK", cseq=self.cseq)
        self.last = text
        return status

    def update(self, xml):
        self.request("UPDATE", None, xml)
        return self.answer("UPDATE")[0]

    def simple(self, method):
        self.request(method)
        status, self.last = self.answer(method)
        return status

    def talk(self):
        """Frames of all streams from now on, 20 ms each, until quiet()."""
        self.running = True

        def run():
            at = time.monotonic()
            while self.running:
                for stream in list(self.streams):
                    if stream.to is not None:
                        stream.frame()
                at += 0.02
                time.sleep(max(0, at - time.monotonic()))
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def quiet(self):
        self.running = False
        if self.thread is not None:
            self.thread.join()

    def close(self):
        self.quiet()
        self.socket.close()
        for stream in self.streams:
            stream.socket.close()


SIPP = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="recording client">
<send retrans="500"><![CDATA[
INVITE sip:srs@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:srs@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>;+sip.src
Max-Forwards: 70
Require: siprec
Content-Type: multipart/mixed;boundary=nextpart
Content-Length: [len]

--nextpart
Content-Type: application/sdp

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=label:1
a=sendonly

--nextpart
Content-Type: application/rs-metadata+xml
Content-Disposition: recording-session

{metadata}

--nextpart--
]]></send>
<recv response="200" rrs="true"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:srs@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<nop><action><exec rtp_stream="{sound},1,0,PCMU/8000"/></action></nop>
<pause milliseconds="{talk_ms}"/>
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:srs@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
"""


class Sipp:
    """sipp as a recording client with one mixed stream."""

    def __init__(self, folder, ip, server, transport, xml, seconds):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sound = audio.noise(f"sipp-{transport}", seconds + 1)
        (self.folder / "sound.ul").write_bytes(self.sound)
        scenario = self.folder / "client.xml"
        scenario.write_text(SIPP.replace("{metadata}", xml).replace("{sound}", str(self.folder / "sound.ul"))
                            .replace("{talk_ms}", str(int(seconds * 1000))))
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["sipp", f"{server[0]}:{server[1]}", "-sf", str(scenario), "-i", ip, "-mi", ip, "-p", "5070", "-m", "1",
                 "-t", {"udp": "u1", "tcp": "t1"}[transport], "-nostdin", "-timeout", f"{seconds + 20}", "-timeout_error"],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def wait(self):
        code = self.process.wait(timeout=60)
        if code != 0:
            raise RuntimeError(f"sipp ended with {code}: {(self.folder / 'log').read_text(errors='replace')[-2000:]}")

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
