"""A network of our own: a namespace for each host, one bridge between them, tc on every link.

Nothing of it is left in the end, and nothing of it reaches the machine's own network.
"""

import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from processes import Failed, uninterrupted

# What 1500 bytes of Ethernet carry for TCP with timestamps, and what tc counts for them.
GOODPUT = 1448 / 1514
LONGEST_NAME = 15  # of a link, in the kernel
_PREFIX = "10.73"
_SHAPE = ("tbf", "burst", "64kb", "latency", "50ms")
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Host:
    """Where a program runs: its address, and its namespace if it is not the machine's own."""

    name: str
    address: str
    namespace: str | None = None

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command, so that it runs there."""
        return ("ip", "netns", "exec", self.namespace) if self.namespace else ()

    def inside(self) -> AbstractContextManager[None]:
        """Have the sockets that this thread makes meanwhile belong there."""
        return _inside(self.namespace) if self.namespace else nullcontext()


LOOPBACK = Host("loopback", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that have left a host and that have reached it, as its port of the bridge counts."""

    sent: int
    received: int

    def since(self, then: "Traffic") -> "Traffic":
        """Return what was added."""
        return Traffic(self.sent - then.sent, self.received - then.received)


class Network:
    """Hosts on one bridge."""

    def __init__(self, hub: str, hosts: Mapping[str, Host], rates: Mapping[str, int]) -> None:
        self._hub = hub
        self.hosts = hosts
        self.rates = rates

    def traffic(self) -> dict[str, Traffic]:
        """Return what has passed since the start, by the hosts' names.

        Packets that the kernel has merged have one header here and several on a wire.
        """
        with _inside(self._hub):
            text = Path("/proc/thread-self/net/dev").read_text("utf-8")
        ports = (line.split(":") for line in text.splitlines() if ":" in line)
        counts = {name.strip(): [*map(int, fields.split())] for name, fields in ports}
        return {name: Traffic(counts[name][0], counts[name][8]) for name in self.hosts}


@contextmanager
def network(rates: Mapping[str, int], congestion: str) -> Iterator[Network]:
    """Make a host for each name; its link carries so many bits/s, each way.

    `congestion` is the way in which TCP there controls it.
    """
    with ExitStack() as stack:
        hub = _namespace(stack, "hub")
        _run("ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
        _run("ip", "-n", hub, "link", "set", "bridge", "up")
        hosts = {}
        for number, (name, rate) in enumerate(rates.items(), 1):
            high, low = divmod(number, 250)
            address = f"{_PREFIX}.{high}.{low + 1}"
            hosts[name] = Host(name, address, _namespace(stack, name))
            _connect(hub, hosts[name], rate, congestion)
        yield Network(hub, hosts, rates)


def _namespace(stack: ExitStack, name: str) -> str:
    namespace = f"p2pd-{os.getpid()}-{name}"
    with uninterrupted():
        _run("ip", "netns", "add", namespace)
        stack.callback(_delete, namespace)
    _run("ip", "-n", namespace, "link", "set", "lo", "up")
    return namespace


def _delete(namespace: str) -> None:
    with uninterrupted():
        _run("ip", "netns", "delete", namespace)


def _connect(hub: str, host: Host, rate: int, congestion: str) -> None:
    """Lay a link between a host and the bridge, with the same limit at both ends."""
    own = str(host.namespace)
    ends = ("netns", hub, "type", "veth", "peer", "name", "eth0", "netns", own)
    _run("ip", "link", "add", host.name, *ends)
    _run("ip", "-n", hub, "link", "set", host.name, "master", "bridge")
    address = (f"{host.address}/16", "dev", "eth0", "noprefixroute")
    _run("ip", "-n", own, "address", "add", *address)
    for namespace, device in (own, "eth0"), (hub, host.name):
        kind, *shape = _SHAPE
        limit = ("root", kind, "rate", f"{rate}bit", *shape)
        _run("tc", "-n", namespace, "qdisc", "add", "dev", device, *limit)
        _run("ip", "-n", namespace, "link", "set", device, "up")
    # The sysctl of a namespace takes only what the machine allows to everybody.
    route = (f"{_PREFIX}.0.0/16", "dev", "eth0", "src", host.address, "congctl", congestion)
    _run("ip", "-n", own, "route", "add", *route)


def _run(*command: str) -> None:
    """Run a command that Ctrl-C does not reach; raises Failed if it does not end well."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, start_new_session=True
    )
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def _inside(namespace: str) -> Iterator[None]:
    with (
        Path("/proc/thread-self/ns/net").open("rb") as before,
        Path("/run/netns", namespace).open("rb") as there,
    ):
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(before.fileno())


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, 0):  # os.setns is not in Python 3.11
        number = ctypes.get_errno()
        raise OSError(number, f"a network namespace cannot be entered: {os.strerror(number)}")


class Trace:
    """Notes each second what has passed on every link, from its start to its end."""

    def __init__(self, watched: Network) -> None:
        self._network = watched
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._note)
        self.seconds: list[dict[str, Traffic]] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Note the last second, which may be a short one."""
        self._ended.set()
        self._thread.join()

    def _note(self) -> None:
        before = self._network.traffic()
        ended = False
        while not ended:
            ended = self._ended.wait(1.0)
            now = self._network.traffic()
            self.seconds.append({name: now[name].since(before[name]) for name in now})
            before = now
