"""A real S3 server on loopback (Ceph RGW), and the requests that tests send to it by themselves (Signature V4)."""
import datetime
import hashlib
import hmac
import pathlib
import shutil
import subprocess
import urllib.parse
import urllib.request
import xml.etree.ElementTree

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "ceph"
PROGRAMS = ("ceph-mon", "ceph-mgr", "ceph-osd", "radosgw", "radosgw-admin", "curl")


def request(method, endpoint, region, path, access_key, secret_key, headers=None, query=""):
    """The answer's body. `path` needs no escaping, `query` is sorted and escaped; `headers` are sent, but not signed."""
    host = urllib.parse.urlsplit(endpoint).netloc
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    day, empty = now[:8], hashlib.sha256(b"").hexdigest()
    signed = "host;x-amz-content-sha256;x-amz-date"
    canonical = (f"{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{now}\n\n"
                 f"{signed}\n{empty}")
    scope = f"{day}/{region}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + secret_key).encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    sent = {"x-amz-content-sha256": empty, "x-amz-date": now,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={signed}, "
                             f"Signature={signature}", **(headers or {})}
    with urllib.request.urlopen(urllib.request.Request(f"{endpoint}{path}{'?' if query else ''}{query}", method=method, headers=sent),
                                timeout=20) as answer:
        return answer.read()


class Gateway:
    """A whole Ceph below `folder`, with one bucket; about 20 s to start. `credentials` is a file as a policy names it."""

    def __init__(self, folder, bucket="evertape"):
        self.folder, self.bucket = pathlib.Path(folder), bucket
        out = subprocess.run([str(SCRIPT), "up", str(self.folder)], capture_output=True, text=True, check=True)
        values = dict(word.split("=", 1) for word in out.stdout.split() if "=" in word)
        self.endpoint, self.region = values["endpoint"], values["region"]
        self.secrets = (values["access_key"], values["secret_key"])
        self.credentials = self.folder / "s3.cred"
        self.credentials.touch(mode=0o600)
        self.credentials.write_text("\n".join(self.secrets) + "\n")
        self._ask("PUT", f"/{bucket}")

    def _ask(self, method, path, headers=None, query=""):
        return request(method, self.endpoint, self.region, path, *self.secrets, headers=headers, query=query)

    def get(self, key, offset=0, size=None):
        """Bytes of an object, all or `size` from `offset` on."""
        span = {} if size is None else {"Range": f"bytes={offset}-{offset + size - 1}"}
        return self._ask("GET", f"/{self.bucket}/{key}", span)[0 if size is not None else offset:]

    def keys(self, prefix):
        """The first thousand keys that begin with `prefix`."""
        answer = self._ask("GET", f"/{self.bucket}", query=f"list-type=2&prefix={urllib.parse.quote(prefix, safe='')}")
        return [e.text for e in xml.etree.ElementTree.fromstring(answer).iter() if e.tag.endswith("}Key")]

    def target(self):
        """As a policy says it."""
        return (f"{{type: s3, endpoint: '{self.endpoint}', region: {self.region}, bucket: {self.bucket}, style: path, "
                f"credentials: 'file:{self.credentials}'}}")

    def stop(self):
        stop(self.folder)


def is_installed():
    """Is Ceph here? (ops/packages s3)"""
    return all(shutil.which(program) for program in PROGRAMS)


def stop(folder):
    if pathlib.Path(folder).exists():
        subprocess.run([str(SCRIPT), "down", str(folder)], check=False, stdout=subprocess.DEVNULL)
