"""The thief of a vault node's whole disk, root and all: what it opens, what that forges, and each protocol tried with it.

It knows what is on the image, the program, and the addresses of the living; it reaches their ports. Where a member's key
lets it, it speaks as a member does: rpc (node/tls/rpc.h), sync (replication/sync/wire_internal.h), commands
(raft/command/command.proto)."""
import hashlib
import pathlib
import shutil
import socket
import ssl
import threading
import time
import uuid
from base64 import urlsafe_b64encode

from cryptography.hazmat.primitives.asymmetric import ec

from .forge import PROTOCOLS, Forge, connect, private_key, secrets_of

TERM, PROPOSE, SNAPSHOT = 4, 2, 5  # methods of rpc
CHUNK = 1 << 20


class Refused(Exception):
    """The other side said no, or nothing."""


def take(tls, size):
    data = b""
    while len(data) < size:
        try:
            more = tls.recv(size - len(data))
        except (ssl.SSLError, OSError) as error:
            raise Refused(f"{error}") from error
        if not more:
            raise Refused("closed")
        data += more
    return data


def u(number, size):
    return number.to_bytes(size, "big")


def field(number, value):
    """Of a protobuf message: an integer, or bytes."""
    def varint(n):
        out = b""
        while n > 127:
            out, n = out + bytes([n & 127 | 128]), n >> 7
        return out + bytes([n])
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


class Rpc:
    """Requests to a member, under a certificate."""

    def __init__(self, source, address, pem):
        try:
            self.tls = connect(source, address, pem, "evertape-rpc/1")
        except OSError as error:
            raise Refused(f"{error}") from error
        if take(self.tls, 1) != b"\x01":
            raise Refused("not welcome")
        self.next = 1

    def __enter__(self):
        return self

    def __exit__(self, *_what):
        self.tls.close()

    def call(self, method, body):
        """(code, body)"""
        ident, self.next = self.next, self.next + 1
        self.tls.sendall(u(15 + len(body), 4) + b"\x01" + u(method, 2) + u(ident, 8) + u(0, 4) + body)
        while True:
            frame = take(self.tls, int.from_bytes(take(self.tls, 4), "big"))
            if frame[0] == 2 and int.from_bytes(frame[3:11], "big") == ident:
                return int.from_bytes(frame[11:15], "big", signed=True), frame[15:]

    def good(self, method, body):
        code, answer = self.call(method, body)
        if code < 0:
            raise Refused(f"method {method}: {code}")
        return answer


def propose(source, leader, pem, as_node, reason, body, schema=1):
    """A command in another member's name."""
    command = field(1, field(1, as_node) + field(2, uuid.uuid4().bytes) + field(3, 1)) + field(2, time.time_ns() // 1000) + \
        field(3, "local:uid=0") + field(4, reason) + field(5, schema) + body
    entry = b"ETC1" + u(1, 4) + u(len(command), 4) + command
    entry += bytes(-len(entry) % 8)
    with Rpc(source, leader.cluster_address, pem) as rpc:
        term = rpc.good(TERM, u(0, 8))
        rpc.good(PROPOSE, term + entry)


class Thief:
    def __init__(self, folder, node, ca_pem, source):
        """Copies the disk of `node`. Until then it may have run; now it does not, or stands still."""
        self.folder, self.source, self.number, self.site = folder, source, node.number, node.site
        self.cluster = node.cluster.name
        folder.mkdir()
        shutil.copytree(node.state, folder / "state", ignore=shutil.ignore_patterns("*.sock"))
        shutil.copytree(node.media, folder / "media")
        shutil.copy(node.folder / "root.key", folder / "root.key")
        lines = secrets_of(self.root, self.state, "--image", self.database)
        self.secrets = {name: value for name, value in lines if name not in ("tls-number", "ed25519")}
        self.forge = Forge(folder / "forged", ca_pem, private_key(self.secrets["ca"]))

    @property
    def root(self):
        return self.folder / "root.key"

    @property
    def state(self):
        return self.folder / "state"

    @property
    def database(self):
        return self.state / "db" / (self.state / "db" / "CURRENT").read_text().strip()

    def certificates(self, member, site, next_number):
        """Every kind that the CA's key can make; `member` is the number of another, of `site`."""
        own, fresh = private_key(self.secrets["tls"]), ec.generate_private_key(ec.SECP256R1())

        def node(number, site):
            return f"spiffe://{self.cluster}/site/{site}/node/{number}"

        def made(title, key, uri, **more):
            return title, self.forge.make(title, key, uri, **more)
        return dict((
            made("its own number and key", own, node(self.number, self.site)),
            made("its own number, a new key", fresh, node(self.number, self.site)),
            made("a member's number", fresh, node(member, site)),
            made("a member's number, its own key", own, node(member, site)),
            made("the next number", fresh, node(next_number, self.site)),
            made("a number to come", fresh, node(next_number + 1000, site)),
            made("a site's", fresh, f"spiffe://{self.cluster}/site/{site}"),
            made("an API client's", fresh, f"spiffe://{self.cluster}/client/admin", dns="admin"),
            made("by a CA of its own making", fresh, node(next_number, site), issuer="below"),
            ("the CA itself", self.forge.save("the CA itself", self.forge.ca_key, self.forge.ca)),
        ))

    # ---- What gets in, if anything does ----

    def rpc(self, node, pem):
        return Rpc(self.source, node.cluster_address, pem)

    def pull_catalogue(self, node, pem, folder):
        """A checkpoint, file by file, as a member that fell behind takes it."""
        with self.rpc(node, pem) as rpc:
            answer = rpc.good(SNAPSHOT, b"\x01" + u(0, 8))
            ident, count, at = answer[:8], int.from_bytes(answer[16:20], "big"), 20
            folder.mkdir()
            for _ in range(count):
                name, at = answer[at + 1:at + 1 + answer[at]], at + 1 + answer[at]
                size, at = int.from_bytes(answer[at:at + 8], "big"), at + 8
                with open(folder / name.decode(), "wb") as out:
                    while out.tell() < size:
                        out.write(rpc.good(SNAPSHOT, b"\x02" + ident + u(len(name), 1) + name + u(out.tell(), 8) + u(CHUNK, 4)))
        return folder

    def make_admin(self, leader, pem, as_node):
        """A command in another member's name that makes a token of the API; the token."""
        ident, secret = uuid.uuid4().bytes, hashlib.sha256(b"thief").digest()
        token = field(1, ident) + field(2, "api") + field(4, hashlib.sha256(secret).digest()) + field(5, "monitoring") + \
            field(6, "admin")
        propose(self.source, leader, pem, as_node, "monitoring", field(20, field(1, token)))
        return "evapi1." + urlsafe_b64encode(ident + secret).decode().rstrip("=")

    def pull_media(self, node, pem, recording, segment):
        """A segment's tape, as sync does; `segment` is what the API says of it."""
        generation, part = segment["segment"].lstrip("g").split("-s")
        want = uuid.UUID(recording).bytes + u(int(generation), 4) + u(int(part), 4) + u(0, 8) + bytes.fromhex(segment["root"]) + u(32 << 20, 4)
        try:
            tls = connect(self.source, node.cluster_address, pem, "evertape-sync/1")
        except OSError as error:
            raise Refused(f"{error}") from error
        with tls:
            if take(tls, 1) != b"\x01":
                raise Refused("not welcome")
            tls.sendall(u(24, 4) + b"\x01\x00" + bytes(10) + u(1, 2) + u(self.number, 8) + u(16, 2))
            tls.sendall(u(12 + len(want), 4) + b"\x02\x02" + u(2, 2) + u(1, 8) + want)
            data = b""
            while True:
                frame = take(tls, int.from_bytes(take(tls, 4), "big"))
                if frame[0] == 4:
                    data += frame[20:]
                elif frame[0] == 5:
                    return data
                elif frame[0] in (8, 9):
                    raise Refused(f"sync: {frame[12:]!r}")

    # ---- What its keys open ----

    def opens(self, database):
        """(recordings that it opens, that it does not, DEKs, grants) of a database; every key is tried at everything."""
        copy = pathlib.Path(str(database) + ".tried")
        shutil.copytree(database, copy)
        lines = secrets_of(self.root, self.state, "--image", self.database, copy)
        shutil.rmtree(copy)
        found = {what: {value for name, value in lines if name == what} for what in ("open", "shut", "dek", "grant")}
        return found["open"], found["shut"], [bytes.fromhex(d) for d in found["dek"]], found["grant"]


class Impostor:
    """Answers in a dead member's place, at its address; what it hears of those who come."""

    def __init__(self, address, pem):
        self.heard, self.came = [], 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(str(pem))
        self.context.set_alpn_protocols(list(PROTOCOLS))
        host, port = address.rsplit(":", 1)
        self.listener = socket.create_server((host, int(port)))
        self.listener.settimeout(0.2)
        self.stopping = False
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while not self.stopping:
            try:
                raw, _peer = self.listener.accept()
            except TimeoutError:
                continue
            raw.settimeout(3)
            self.came += 1
            try:
                with self.context.wrap_socket(raw, server_side=True) as tls:
                    tls.sendall(b"\x01")  # welcome
                    said = tls.recv(100)
                    if said:
                        self.heard.append(said)
            except OSError:
                raw.close()

    def stop(self):
        self.stopping = True
        self.thread.join()
        self.listener.close()

