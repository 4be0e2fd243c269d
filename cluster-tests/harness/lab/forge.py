"""Certificates as the cluster makes them, with any content and any issuer; and how each port answers to them."""
import datetime
import socket
import ssl
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .cluster import binaries

PROTOCOLS = ("evertape-raft/1", "evertape-rpc/1", "evertape-sync/1")
CAUSES = ("untrusted", "member", "protocol", "busy", "timeout", "broken")


def secrets_of(root, state, *args, shares=""):
    """[(name, hexadecimal or the like)] of what labkeys prints."""
    done = subprocess.run([str(binaries() / "labkeys"), *args[:1], str(root), str(state), *args[1:]], input=shares.encode(),
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"labkeys: {done.stderr.decode()}")
    return [line.split() for line in done.stdout.decode().splitlines()]


def private_key(value):
    return serialization.load_der_private_key(bytes.fromhex(value), None)


class Forge:
    """Has the CA's certificate and its key."""

    def __init__(self, folder, ca_pem, ca_key):
        self.folder, self.ca_key = folder, ca_key
        self.folder.mkdir()
        self.ca = x509.load_pem_x509_certificate(ca_pem.encode())
        self.other_key = ec.generate_private_key(ec.SECP256R1())

    @staticmethod
    def builder(subject, key, issuer, days=(-1, 1), ca=False):
        now = datetime.datetime.now(datetime.timezone.utc)
        return x509.CertificateBuilder().subject_name(subject).public_key(key.public_key()) \
            .serial_number(x509.random_serial_number()).issuer_name(issuer) \
            .not_valid_before(now + datetime.timedelta(days=days[0])).not_valid_after(now + datetime.timedelta(days=days[1])) \
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), True)

    def save(self, name, key, *chain):
        path = self.folder / f"{name.replace(' ', '-').replace('/', '-')}.pem"
        pem = serialization.Encoding.PEM
        path.write_bytes(b"".join(c.public_bytes(pem) for c in chain) + key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return path

    def make(self, name, key, uri, days=(-1, 1), issuer="ca", dns=None):
        """A file with a certificate and its key. issuer: "ca", "other" (of the same name), "self", or "below": a CA that the
        CA made."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = ([x509.UniformResourceIdentifier(uri)] if uri else []) + ([x509.DNSName(dns)] if dns else [])
        below_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "below")])
        made = self.builder(subject, key, {"self": subject, "below": below_name}.get(issuer, self.ca.subject), days) \
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), True)
        signer = {"ca": self.ca_key, "self": key}.get(issuer, self.other_key)
        chain = [made.sign(signer, hashes.SHA256())]
        if issuer == "below":
            chain.append(self.builder(below_name, self.other_key, self.ca.subject, ca=True).sign(self.ca_key, hashes.SHA256()))
        return self.save(name, key, *chain)


def connect(source, address, pem, alpn, version=ssl.TLSVersion.TLSv1_3):
    """A TLS connection from an address of one's own; whoever answers is believed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols([alpn])
    if pem:
        context.load_cert_chain(str(pem))
    host, port = address.rsplit(":", 1)
    raw = socket.create_connection((host, int(port)), timeout=10, source_address=(source, 0))
    try:
        return context.wrap_socket(raw)
    except BaseException:
        raw.close()
        raise


def shake(source, address, pem, alpn, version=ssl.TLSVersion.TLSv1_3):
    """How the port answers: "let in", "refused: WHY"; to HTTPS, that the handshake is over."""
    try:
        with connect(source, address, pem, alpn, version) as tls:
            if alpn == "http/1.1":
                return "let in"
            byte = tls.recv(1)
            return "let in" if byte == b"\x01" else "refused: after the handshake" if byte == b"\x02" else "refused: closed"
    except ssl.SSLError as error:
        return f"refused: {(error.reason or 'alert').lower()}"
    except (ConnectionResetError, BrokenPipeError):
        return "refused: reset"


def counts(node):
    """What a node's cluster port has refused so far, by cause."""
    now = node.metrics()
    return {c: int(now[f'cluster_refused_total{{cause="{c}"}}']) for c in CAUSES}


def refusals(node, source):
    """The lines about it in a node's log."""
    return [line for line in node.log.read_text(errors="replace").splitlines()
            if "tls.refused" in line and f"peer={source}:" in line]


def api_status(source, address, pem, token=None):
    """Of a request with the certificate, and with a token or without."""
    done = subprocess.run(["curl", "-sk", "--interface", source, "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10",
                           *(["--cert", str(pem)] if pem else []), *(["-H", f"Authorization: Bearer {token}"] if token else []),
                           f"https://{address}/v1/recordings"], capture_output=True, check=False)
    return done.stdout.decode()
