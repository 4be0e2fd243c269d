"""Real SIP calls by sipp: one client and one server process a call, each with its own loopback address,
its own number and its own sound for each party."""
import pathlib
import signal
import subprocess
import time

from . import audio

PAYLOAD_TYPE = {"PCMU": 0, "PCMA": 8}

INVITE = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="caller">
<send retrans="500"><![CDATA[
INVITE sip:{callee}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: "{caller}" <sip:{caller}@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:{callee}@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:{caller}@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP {pt}
a=rtpmap:{pt} {codec}/8000
a=ptime:20
]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200" rrs="true"/>
<send><![CDATA[
ACK sip:{callee}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: "{caller}" <sip:{caller}@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:{callee}@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<nop><action><exec rtp_stream="{sound},1,{pt},{codec}/8000"/></action></nop>
<pause milliseconds="{talk_ms}"/>
<send retrans="500"><![CDATA[
BYE sip:{callee}@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: "{caller}" <sip:{caller}@[local_ip]:[local_port]>;tag=[pid]a[call_number]
To: <sip:{callee}@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
"""

ANSWER = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="callee">
<recv request="INVITE"/>
<send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[pid]b[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:{callee}@[local_ip]:[local_port]>
Content-Length: 0

]]></send>
<send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]b[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:{callee}@[local_ip]:[local_port]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP {pt}
a=rtpmap:{pt} {codec}/8000
a=ptime:20
]]></send>
<recv request="ACK"/>
<nop><action><exec rtp_stream="{sound},1,{pt},{codec}/8000"/></action></nop>
<recv request="BYE"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"""


class Call:
    """One call between two addresses, which may be in network namespaces of their own. start() returns when the callee listens."""

    def __init__(self, folder, caller_ip, callee_ip, caller, callee, seconds, codec="PCMU", netns=None,
                 callee_netns=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.caller_ip, self.callee_ip = caller_ip, callee_ip
        self.caller, self.callee = str(caller), str(callee)
        self.seconds, self.codec = seconds, codec
        callee_netns = callee_netns or netns
        self.prefix = {side: ["ip", "netns", "exec", ns] if ns else []
                       for side, ns in (("caller", netns), ("callee", callee_netns))}
        # A little more sound than talk: no party falls silent before the BYE.
        self.sound = {side: audio.noise(f"{self.caller}-{self.callee}-{side}", seconds + 1)
                      for side in ("caller", "callee")}
        self.processes = []

    def _write(self, side, template):
        sound = self.folder / f"{side}.{'ul' if self.codec == 'PCMU' else 'al'}"
        sound.write_bytes(self.sound[side])
        scenario = self.folder / f"{side}.xml"
        scenario.write_text(template.format(
            caller=self.caller, callee=self.callee, sound=sound, codec=self.codec,
            pt=PAYLOAD_TYPE[self.codec], talk_ms=int(self.seconds * 1000)))
        return scenario

    def _sipp(self, side, ip, *more):
        # Telephones are other machines: a hundred of them must not keep a node from its processor.
        command = [*self.prefix[side], "nice", "-n", "10", "sipp", *more, "-i", ip, "-mi", ip, "-p", "5060",
                   "-m", "1", "-nostdin", "-timeout", f"{int(self.seconds) + 30}", "-timeout_error"]
        log = open(self.folder / f"{side}.log", "wb")
        process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT)
        log.close()
        self.processes.append(process)
        return process

    def _listens(self, ip):
        want = f"{ip}:5060"
        out = subprocess.run(self.prefix["callee"] + ["ss", "-Hlun"], capture_output=True, text=True, check=False)
        return want in out.stdout

    def start(self, deadline=10.0):
        scenario = self._write("callee", ANSWER)
        callee = self._sipp("callee", self.callee_ip, "-sf", str(scenario))
        until = time.monotonic() + deadline
        while not self._listens(self.callee_ip):
            if callee.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"sipp at {self.callee_ip} does not listen: see {self.folder}/callee.log")
            time.sleep(0.02)
        scenario = self._write("caller", INVITE)
        self._sipp("caller", self.caller_ip, f"{self.callee_ip}:5060", "-sf", str(scenario))
        return self

    def wait(self, deadline=60.0):
        """Both sides ended well; raises RuntimeError otherwise."""
        until = time.monotonic() + self.seconds + deadline
        try:
            for process in self.processes:
                code = process.wait(timeout=max(0.1, until - time.monotonic()))
                if code != 0:
                    raise RuntimeError(f"sipp ended with {code}: see the logs in {self.folder}")
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"the call did not end in time: see {self.folder}") from error
        finally:
            self.stop()
        return self

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()

    def check_wav(self, path, slack_seconds=0.5):
        """The export at `path` equals what both parties sent. Returns {side: (offset, samples)}."""
        channels, rate = audio.read_wav(path)
        if rate != audio.RATE or len(channels) != 2:
            raise ValueError(f"{path}: {len(channels)} channels at {rate} Hz, want 2 at 8000")
        minimum = int((self.seconds - slack_seconds) * audio.RATE)
        result = {}
        for side, channel in zip(("caller", "callee"), channels):
            try:
                result[side] = audio.compare(channel, audio.to_pcm(self.sound[side], self.codec), minimum)
            except ValueError as error:
                raise ValueError(f"{path}: {side}: {error}") from error
        return result
