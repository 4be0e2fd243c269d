"""The lab itself: a cut cuts, one way means one way, a healed net is whole, delay and loss are as said.

What the other scenarios in namespaces stand on. Datagrams are sent and counted, nothing is timed closely.
"""
import contextlib
import os
import socket
import sys
import time

from story import Broken, check, skip

from lab import net as lab_net
from lab.net import Net

PORT = 5999
SO_RCVBUFFORCE = 33  # socket(7); Python has no name for it


class Probes:
    """One UDP socket a machine."""

    def __init__(self, net):
        self.net, self.sockets = net, {}
        for machine in net.machines:
            self.add(machine)

    def add(self, machine):
        with self.net.inside(machine):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((self.net.address(machine), PORT))
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)  # All is read after all was sent.
        s.settimeout(0.2)
        self.sockets[machine] = s

    def heard(self, a, b, count=1):
        """How many of `count` datagrams from a arrive at b."""
        for i in range(count):
            self.sockets[a].sendto(f"{a} {time.monotonic_ns()} {i}".encode(), (self.net.address(b), PORT))
        got = 0
        with contextlib.suppress(socket.timeout):
            while got < count:
                got += self.sockets[b].recv(100).startswith(a.encode() + b" ")
        return got

    def seconds(self, a, b):
        before = time.monotonic()
        check(self.heard(a, b) == 1, f"{b} does not hear {a}")
        return time.monotonic() - before

    def expect(self, deaf, what):
        """`deaf`: pairs (from, to) that do not hear; every other pair does."""
        for a in self.sockets:
            for b in self.sockets:
                if a != b:
                    want = (a, b) not in deaf
                    check((self.heard(a, b) == 1) == want, f"{what}: {a} to {b} {'is cut' if want else 'is not cut'}")
        print(f"   {what}", flush=True)


def tell(net):
    p = Probes(net)
    names = list(net.machines)
    p.expect(set(), "whole")
    net.cut_oneway(["prg-1"], ["prg-2", "brq-1"])
    p.expect({("prg-1", "prg-2"), ("prg-1", "brq-1")}, "one way, also inside a site")
    net.heal()
    net.isolate("prg-2")
    p.expect({(a, b) for a in names for b in names if "prg-2" in (a, b)}, "isolated")
    net.heal()
    net.ring(["prg-1", "prg-2", "brq-1", "brq-2", "wit-1"])
    p.expect({(a, b) for i, a in enumerate(names) for j, b in enumerate(names) if (i - j) % 5 in (2, 3)}, "ring")
    net.heal()
    net.oneway("prg", "wit")
    p.expect({("prg-1", "wit-1"), ("prg-2", "wit-1")}, "one way between sites")
    net.heal()
    net.isolate_site("brq")
    p.expect({(a, b) for a in names for b in names if a[:3] != b[:3] and "brq" in (a[:3], b[:3])}, "a site alone")
    net.heal()
    p.expect(set(), "healed")

    before = p.seconds("prg-1", "brq-1")
    net.wan("prg", "brq", delay=50)
    check(p.seconds("prg-1", "brq-1") >= 0.05, "a delay of 50 ms is none")
    check(p.seconds("prg-1", "prg-2") < 0.05 or before > 0.02, "a machine of the same site is far away")
    net.wan("prg", "brq", delay=0, loss=30)
    got = p.heard("prg-1", "brq-2", 500)
    check(280 <= got <= 420, f"{got} of 500 arrive with a loss of 30 %")
    net.wan(loss=0)
    p.add(net.add("wit"))
    p.expect(set(), "a machine more")


def main():
    lacks = lab_net.missing()
    if lacks:
        skip(f"needs {lacks}")
    try:
        with Net({"prg": 2, "brq": 2, "wit": 1}, seed=11) as net:
            tell(net)
        left = [n for n in os.listdir("/run/netns") if n.startswith(net.prefix)]
        check(not left, f"left behind: {left}")
        return 0
    except Broken as error:
        print(f"BROKEN: {error}", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
