"""Two telephones of our own: SIP over UDP, media in 20 ms frames with SRTP (keys in the description, in a handshake of
DTLS that OpenSSL makes, or told to nobody), key presses (RFC 4733), headers. One call an object; it talks in a thread."""
import random
import re
import socket
import struct
import subprocess
import threading
import time

from . import audio
from .calls import Call
from .siprec import Srtp

PORTS = {"caller": 6000, "callee": 7000}
EVENTS = {d: i for i, d in enumerate("0123456789*#ABCD")}
EVENT_TYPE = 101


class Dtls:
    """A handshake between the media addresses of both parties; its keys, and its line of the key log."""

    def __init__(self, folder, addresses):
        certificate, key, self.keylog = folder / "dtls.pem", folder / "dtls.key", folder / "dtls.keylog"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                        "1", "-subj", "/CN=phone", "-out", certificate, "-keyout", key], check=True, capture_output=True)
        common = ["-dtls1_2", "-use_srtp", "SRTP_AES128_CM_SHA1_80", "-keymatexport", "EXTRACTOR-dtls_srtp",
                  "-keymatexportlen", "60"]
        client_at, server_at = (f"{ip}:{port}" for ip, port in addresses)
        with open(folder / "dtls-server.log", "wb") as log:
            server = subprocess.Popen(["openssl", "s_server", *common, "-accept", server_at, "-cert", certificate, "-key",
                                       key], stdin=subprocess.PIPE, stdout=log, stderr=log)
        client = None
        try:
            self._listens(server_at)
            client = subprocess.Popen(["openssl", "s_client", *common, "-connect", server_at, "-bind", client_at, "-keylogfile",
                                       self.keylog], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL)
            material = bytes.fromhex(self._material(client))
        finally:
            for process in (client, server):
                if process is not None:
                    process.kill()
                    process.wait()
        # client key | server key | client salt | server salt (RFC 5764, section 4.2)
        self.keys = {"caller": material[:16] + material[32:46], "callee": material[16:32] + material[46:60]}

    @staticmethod
    def _listens(address):
        until = time.monotonic() + 10
        while address not in subprocess.run(["ss", "-Hlun"], capture_output=True, text=True, check=False).stdout:
            if time.monotonic() > until:
                raise RuntimeError(f"openssl does not listen at {address}")
            time.sleep(0.02)

    @staticmethod
    def _material(client):
        watch = threading.Timer(10, client.kill)
        watch.start()
        try:
            for line in client.stdout:
                found = re.search(rb"Keying material: ([0-9A-F]{120})", line)
                if found:
                    return found.group(1).decode()
        finally:
            watch.cancel()
        raise RuntimeError("the handshake of DTLS did not end")


class Phones(Call):
    """protect: None, "sdes", "dtls", "secret" (SRTP whose keys nobody tells). presses: [(seconds, side, digit)]."""

    def __init__(self, folder, caller_ip, callee_ip, caller, callee, seconds, protect=None, presses=(), headers="",
                 call_id=None):
        super().__init__(folder, caller_ip, callee_ip, caller, callee, seconds)
        self.protect, self.presses, self.headers = protect, list(presses), headers
        self.call_id = call_id or f"{random.SystemRandom().getrandbits(64):016x}@{caller_ip}"
        self.ip = {"caller": caller_ip, "callee": callee_ip}
        self.ssrc = {side: random.SystemRandom().getrandbits(32) for side in PORTS}
        self.srtp = {side: Srtp() for side in PORTS} if protect in ("sdes", "secret") else {}
        self.dtls, self.thread, self.failed, self.hangs_up = None, None, None, threading.Event()
        self.payloads = {side: {} for side in PORTS}  # frame -> event that took its place
        self.lost = set()  # frames that neither side's network carries

    def table(self, side, wrong=False):
        """The line of a table of keys."""
        import base64
        material = bytearray(self.srtp[side].master)
        material[20] ^= wrong
        return f"0x{self.ssrc[side]:08x}\t{Srtp.SUITE}\t{base64.b64encode(material).decode()}\n"

    def _sdp(self, side):
        kind = {None: "RTP/AVP", "dtls": "UDP/TLS/RTP/SAVP"}.get(self.protect, "RTP/SAVP")
        more = self.srtp[side].line() if self.protect == "sdes" else \
            "a=setup:actpass\r\na=fingerprint:sha-256 AA\r\n" if self.protect == "dtls" else ""
        return (f"v=0\r\no=- 1 1 IN IP4 {self.ip[side]}\r\ns=-\r\nc=IN IP4 {self.ip[side]}\r\nt=0 0\r\n"
                f"m=audio {PORTS[side]} {kind} 0 {EVENT_TYPE}\r\na=rtpmap:0 PCMU/8000\r\n"
                f"a=rtpmap:{EVENT_TYPE} telephone-event/8000\r\n{more}")

    def _send(self, side, start, method, body="", tag=True, headers=""):
        caller, callee = self.caller, self.callee
        text = (f"{start}\r\nVia: SIP/2.0/UDP {self.caller_ip}:5060;branch=z9hG4bK{self.call_id[:8]}{method}\r\n"
                f'From: "{caller}" <sip:{caller}@{self.caller_ip}>;tag=a{self.call_id[:6]}\r\n'
                f"To: <sip:{callee}@{self.callee_ip}>{f';tag=b{self.call_id[:6]}' if tag else ''}\r\n"
                f"Call-ID: {self.call_id}\r\nCSeq: {2 if method == 'BYE' else 1} {method}\r\n"
                f"Contact: <sip:phone@{self.ip[side]}>\r\nMax-Forwards: 70\r\n{headers}"
                + ("Content-Type: application/sdp\r\n" if body else "") + f"Content-Length: {len(body)}\r\n\r\n{body}")
        other = "callee" if side == "caller" else "caller"
        self.sip[side].sendto(text.encode(), (self.ip[other], 5060))

    def _open(self, port):
        made = {}
        for side, ip in self.ip.items():
            made[side] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made[side].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made[side].bind((ip, port or PORTS[side]))
        return made

    def start(self, deadline=10.0):
        self.sip = self._open(5060)
        callee = f"sip:{self.callee}@{self.callee_ip}"
        self._send("caller", f"INVITE {callee} SIP/2.0", "INVITE", self._sdp("caller"), tag=False, headers=self.headers)
        self._send("callee", "SIP/2.0 180 Ringing", "INVITE")
        if self.protect == "dtls":
            self.dtls = Dtls(self.folder, [(self.ip[s], PORTS[s]) for s in ("caller", "callee")])
            self.srtp = {side: Srtp(self.dtls.keys[side]) for side in PORTS}
        self._send("callee", "SIP/2.0 200 OK", "INVITE", self._sdp("callee"))
        self._send("caller", f"ACK {callee} SIP/2.0", "ACK")
        self.media = self._open(None)
        self.thread = threading.Thread(target=self._talk)
        self.thread.start()
        return self

    def _rtp(self, side, n, kind, stamp, body, marker):
        packet = struct.pack("!BBHII", 0x80, kind | (0x80 if marker else 0), n & 0xFFFF, stamp & 0xFFFFFFFF,
                             self.ssrc[side]) + body
        other = "callee" if side == "caller" else "caller"
        srtp = self.srtp.get(side)
        self.media[side].sendto(srtp.protect(packet) if srtp else packet, (self.ip[other], PORTS[other]))

    def _frame(self, side, n):
        """Sound, or a piece of a key press: eight packets, of which the last three are its end."""
        if n in self.lost:
            return
        for at, who, digit in self.presses:
            begin = int(at * 50)
            if who == side and begin <= n < begin + 8:
                k = n - begin
                body = struct.pack("!BBH", EVENTS[digit], (0x80 if k >= 5 else 0) | 10, min(k + 1, 6) * audio.FRAME)
                self._rtp(side, n, EVENT_TYPE, begin * audio.FRAME, body, k == 0)
                return
        self._rtp(side, n, 0, n * audio.FRAME, self.sound[side][n * audio.FRAME:(n + 1) * audio.FRAME], n == 0)

    def _talk(self):
        try:
            began = time.monotonic()
            n = 0
            while n < self.seconds * 50 and not self.hangs_up.is_set():
                for side in PORTS:
                    self._frame(side, n)
                n += 1
                time.sleep(max(0.0, began + n * 0.02 - time.monotonic()))
            self._send("caller", f"BYE sip:{self.callee}@{self.callee_ip} SIP/2.0", "BYE")
            self._send("callee", "SIP/2.0 200 OK", "BYE")
        except OSError as error:
            self.failed = error

    def wait(self, deadline=60.0):
        self.thread.join(self.seconds + deadline)
        if self.thread.is_alive() or self.failed:
            raise RuntimeError(f"the call did not end well: {self.failed}")
        self.stop()
        return self

    def stop(self):
        self.hangs_up.set()
        if self.thread is not None:
            self.thread.join(10)
        for sockets in (getattr(self, "sip", {}), getattr(self, "media", {})):
            for s in sockets.values():
                s.close()
