#!/usr/bin/env python3
"""An S3 stand-in that misbehaves on purpose, for tests of clients.

    faultd.py [--cert FILE --key FILE] [--skew SECONDS] [--always FAULT]

Listens on a free port of 127.0.0.1, prints "port=N", and serves until its standard input ends.
It keeps objects in memory and checks no signature. What goes wrong is named by the key: its last
part begins with a fault and a dash, "503x2-name": the fault, and how often (default: always).
--always: this fault for every key.

    503 500 html502   error instead of an answer (XML, XML, a proxy's page)
    200err            200 with an <Error> document
    trunc             GET: Content-Length of the whole, half of the bytes, then the end
    reset             PUT: the connection is reset after half of the body
    stall             nothing is ever answered
    no100             PUT: no "100 Continue"
    early503          PUT: 503 before the body is read
    redirect          307 to another path of this server
    wrong             GET: other bytes of the same length
    short             PUT: only half is kept, and 200 is said
    lost              PUT: nothing is kept, and 200 is said
    noetag            PUT: 200 without ETag
    emptyetag         PUT and HEAD: an empty ETag
    norange           GET: 200 with everything, whatever the range
    shift             GET: another range than was asked for
    skewed            403 RequestTimeTooSkewed unless x-amz-date is within a minute of the server's clock
    locked            DELETE: 403; HEAD shows a lock
    nolock            PUT: lock headers are taken and forgotten
    changed           GET: another ETag each time; half of the bytes the first time

A list of a prefix that begins with a fault: "cutlist" (half of the XML, the length of the whole),
"bomb" (entities), "deep" (nested elements), "endless" (always truncated, always empty), "junk".
"GET /?count=NAME" answers how often that fault struck; "GET /?auth=1" whether a request came with
Authorization after a redirect.
"""
import argparse
import hashlib
import re
import socket
import ssl
import struct
import sys
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qs, unquote, urlsplit

FAULT = re.compile(r"^(?P<fault>[a-z0-9]+?)(x(?P<times>\d+))?-")
lock = threading.Lock()
objects = {}
struck = {}
followed = []
options = None


def now():
    return time.time() + options.skew


def xml_error(code):
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>m</Message></Error>'.encode()


class Closed(Exception):
    pass


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.data = b""

    def head(self):
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ", 2)
        self.headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            self.headers[name.strip().lower()] = value.strip()
        self.length = int(self.headers.get("content-length", "0"))

    def more(self):
        got = self.sock.recv(1 << 18)
        if not got:
            raise Closed
        self.data += got

    def body(self, size=None):
        size = self.length if size is None else size
        while len(self.data) < size:
            self.more()
        body, self.data = self.data[:size], self.data[size:]
        return body

    def answer(self, status, body=b"", headers=(), length=None):
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}",
                 f"Date: {formatdate(now(), usegmt=True)}"]
        lines += [f"{n}: {v}" for n, v in headers]
        data = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self.sock.sendall(data if self.method == "HEAD" else data + body)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        raise Closed


ONLY = {"PUT": {"reset", "no100", "early503", "short", "lost", "noetag", "nolock"},
        "GET": {"trunc", "wrong", "norange", "shift", "changed"},
        "DELETE": set()}
NOT_HEAD = {"html502", "200err", "redirect"}


def strikes(name, method):
    for only, names in ONLY.items():
        if name in names:
            return method == only
    return method != "HEAD" or name not in NOT_HEAD


def fault_of(key, method):
    """The fault that strikes this request, or None."""
    match = FAULT.match(options.always + "-" if options.always else key.rsplit("/", 1)[-1])
    if not match or not strikes(match["fault"], method):
        return None
    name, times = match["fault"], match["times"]
    with lock:
        count = struck.get(key, 0)
        if times is not None and count >= int(times):
            return None
        struck[key] = count + 1
        struck["/" + name] = struck.get("/" + name, 0) + 1
    return name


def etag_of(body):
    return '"' + hashlib.md5(body).hexdigest() + '"'


def lock_headers(obj):
    return [(n, v) for n, v in obj["headers"].items() if n.startswith("x-amz-object-lock")]


def put(c, key, fault):
    if fault == "early503":
        c.answer("503 Slow Down", xml_error("SlowDown"), [("Connection", "close")])
        raise Closed
    if c.headers.get("expect", "").lower() == "100-continue" and fault != "no100":
        c.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if fault == "reset":
        c.body(c.length // 2)
        c.reset()
    body = c.body()
    if general(c, fault, key):
        return
    with lock:
        there = objects.get(key)
        if there is not None and c.headers.get("if-none-match") == "*":
            c.answer("412 Precondition Failed", xml_error("PreconditionFailed"))
            return
        kept = body[: len(body) // 2] if fault == "short" else body
        headers = {} if fault == "nolock" else c.headers
        if fault != "lost":
            objects[key] = {"body": kept, "headers": headers}
    etag = [] if fault == "noetag" else [("ETag", "" if fault == "emptyetag" else etag_of(body))]
    c.answer("200 OK", b"", etag)


def general(c, fault, key):
    """Faults that do not depend on the method. True: answered."""
    if fault == "503":
        c.answer("503 Slow Down", xml_error("SlowDown"))
    elif fault == "500":
        c.answer("500 Internal Server Error", xml_error("InternalError"))
    elif fault == "html502":
        c.answer("502 Bad Gateway", b"<html><body>bad gateway</body></html>", [("Content-Type", "text/html")])
    elif fault == "200err":
        c.answer("200 OK", xml_error("InternalError"))
    elif fault == "redirect":
        c.answer("307 Temporary Redirect", xml_error("TemporaryRedirect"), [("Location", "/followed/x")])
    elif fault == "stall":
        time.sleep(120)
        raise Closed
    elif fault == "skewed":
        stamp = c.headers.get("x-amz-date", "19700101T000000Z")
        signed = time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone
        if abs(signed - now()) <= 60:
            return False
        c.answer("403 Forbidden", xml_error("RequestTimeTooSkewed"))
    else:
        return False
    return True


def range_of(c, size):
    match = re.match(r"^bytes=(\d+)-(\d+)?$", c.headers.get("range", ""))
    if not match:
        return None
    first = int(match[1])
    last = min(int(match[2]) if match[2] else size - 1, size - 1)
    return first, last


def get(c, key, fault):
    with lock:
        obj = objects.get(key)
    if obj is None:
        c.answer("404 Not Found", xml_error("NoSuchKey"))
        return
    body = obj["body"]
    etag = '""' if fault == "emptyetag" else etag_of(body)
    if fault == "changed":
        etag = f'"{struck[key]}"'
    headers = [("ETag", etag)] + lock_headers(obj)
    if fault == "locked":
        headers += [("x-amz-object-lock-mode", "COMPLIANCE"),
                    ("x-amz-object-lock-retain-until-date", "2033-01-01T00:00:00Z")]
    if c.method == "HEAD":
        c.answer("200 OK", body, headers)
        return
    match = c.headers.get("if-match")
    if match is not None and match != etag:
        c.answer("412 Precondition Failed", xml_error("PreconditionFailed"))
        return
    wanted = None if fault == "norange" else range_of(c, len(body))
    status = "200 OK"
    if wanted is not None:
        first, last = wanted
        if first >= len(body):
            c.answer("416 Range Not Satisfiable", xml_error("InvalidRange"))
            return
        if fault == "shift":
            first, last = first + 1, last + 1
        headers.append(("Content-Range", f"bytes {first}-{last}/{len(body)}"))
        body = body[first:last + 1]
        status = "206 Partial Content"
    if fault == "wrong":
        body = bytes([body[0] ^ 1]) + body[1:]
    if fault in ("trunc", "changed"):
        c.answer(status, body[: len(body) // 2], headers, length=len(body))
        raise Closed
    c.answer(status, body, headers)


def list_page(c, query):
    prefix = query.get("prefix", [""])[0]
    after = query.get("start-after", query.get("marker", query.get("continuation-token", [""])))[0]
    size = int(query.get("max-keys", ["1000"])[0])
    name = prefix.rsplit("/", 1)[-1]
    if name.startswith("bomb"):
        entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
        body = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "aaaaaaaaaa">{entities}]><ListBucketResult>' \
               f'<IsTruncated>false</IsTruncated><Name>&e9;</Name></ListBucketResult>'
    elif name.startswith("deep"):
        body = "<a>" * 20000 + "</a>" * 20000
    elif name.startswith("junk"):
        body = "this is not a list"
    else:
        with lock:
            keys = sorted(k for k in objects if k.startswith(prefix) and k > after)
        page, more = keys[:size], len(keys) > size
        if name.startswith("endless"):
            page, more = [], True
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more and page else ""
        with lock:
            entries = "".join(f"<Contents><Key>{k}</Key><Size>{len(objects[k]['body'])}</Size>"
                              f"<ETag>&quot;x&quot;</ETag><LastModified>2026-11-22T00:00:00.000Z</LastModified>"
                              f"<StorageClass>STANDARD</StorageClass></Contents>" for k in page)
        body = '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">' \
               f"<Name>b</Name><IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{entries}</ListBucketResult>"
    data = body.encode()
    with lock:
        cut = struck.get("/cutlist", 0) == 0 and name.startswith("cutlist")
        if cut:
            struck["/cutlist"] = 1
    if cut:
        c.answer("200 OK", data[: len(data) // 2], length=len(data))
        raise Closed
    c.answer("200 OK", data, [("Content-Type", "application/xml")])


def control(c, query):
    with lock:
        if "count" in query:
            text = str(struck.get("/" + query["count"][0], 0))
        else:
            text = str(len(followed))
    c.answer("200 OK", text.encode())


def request(c):
    parts = urlsplit(c.target)
    query = parse_qs(parts.query, keep_blank_values=True)
    path = unquote(parts.path)
    if path == "/":
        control(c, query)
        return
    bucket, _, key = path[1:].partition("/")
    if bucket == "followed":
        with lock:
            followed.append("authorization" in c.headers)
        c.body()
        c.answer("200 OK", b"", [("ETag", '"followed"')])
    elif key == "" and c.method == "GET":
        list_page(c, query)
    elif key == "":
        c.body()
        c.answer("200 OK")
    else:
        fault = fault_of(key, c.method)
        if c.method == "PUT":
            put(c, key, fault)
        elif general(c, fault, key):
            pass
        elif c.method in ("GET", "HEAD"):
            get(c, key, fault)
        elif c.method == "DELETE" and fault == "locked":
            c.answer("403 Forbidden", xml_error("AccessDenied"))
        else:
            with lock:
                objects.pop(key, None)
            c.answer("204 No Content")


def serve(sock, context):
    try:
        if context is not None:
            sock = context.wrap_socket(sock, server_side=True)
        c = Connection(sock)
        while True:
            c.head()
            request(c)
    except (Closed, OSError, ssl.SSLError):
        pass
    finally:
        sock.close()


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--always", default="")
    parser.add_argument("--skew", type=float, default=0)
    options = parser.parse_args()
    context = None
    if options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert, options.key)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(f"port={listener.getsockname()[1]}", flush=True)

    def accept():
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(sock, context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
