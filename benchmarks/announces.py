"""Announces to a tracker as fast as it answers, with the generator that `announce_load.c` is."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers import program
from processes import Failed

_SOURCE = Path(__file__).with_name("announce_load.c")
_COMPILE_TIMEOUT = 120.0
_FILL_TIMEOUT = 600.0
_PATIENCE = 10.0

HTTP_CLOSE, HTTP_KEEP_ALIVE, UDP, UDP_CONNECT, HEART_BEAT = DOORS = (
    "http-close",
    "http-keep-alive",
    "udp",
    "udp-connect",
    "heart-beat",
)


@dataclass(frozen=True, slots=True)
class Dimensions:
    """How many torrents there are, peers in each, and clients that announce at once."""

    torrents: int
    peers_each: int
    clients: int

    @property
    def peers(self) -> int:
        """How many peers there are in all."""
        return self.torrents * self.peers_each


@dataclass(frozen=True, slots=True)
class Target:
    """A tracker: its process, and its ports on loopback."""

    pid: int
    tcp: int
    udp: int
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the generator saw: announces a second, and what they cost the tracker.

    Memory, the resident set before and after, is in bytes; latencies are in microseconds.
    """

    ok: int
    resent: int
    seconds: float
    rate: float
    server_cpu: float
    per_cpu_second: float
    generator_cpu: float
    memory_before: int
    memory_after: int
    latency_us: dict[str, int]
    peers_per_answer: float


def infohashes(count: int) -> list[bytes]:
    """Return the infohashes of the torrents, the same ones each time."""
    return [hashlib.sha1(b"torrent %d" % number).digest() for number in range(count)]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Have the programs that are started meanwhile, and this one, run on one core only."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


class Generator:
    """The load generator, compiled, and the torrents that it announces."""

    def __init__(
        self, directory: Path, torrents: Sequence[bytes], dimensions: Dimensions, core: int
    ) -> None:
        self._program = directory / "announce_load"
        self._torrents = directory / "infohashes"
        self._torrents.write_bytes(b"".join(torrents))
        self._dimensions = dimensions
        self._core = core
        compiler = program("gcc")
        _run([compiler, "-O2", "-o", str(self._program), str(_SOURCE)], _COMPILE_TIMEOUT)

    def fill(self, target: Target) -> Load:
        """Announce every peer once, over UDP; raises Failed unless all were answered."""
        options = ("--fill", "--warm-up", "0", "--seconds", f"{_FILL_TIMEOUT:g}")
        load = self._load(UDP, target, *options)
        if load.ok != self._dimensions.peers:
            raise Failed(
                f"only {load.ok} of {self._dimensions.peers} peers were announced in "
                f"{load.seconds:.0f} s"
            )
        return load

    def run(self, door: str, target: Target, seconds: float) -> Load:
        """Announce peers at random; raises Failed if any answer was wrong."""
        return self._load(door, target, "--seconds", f"{seconds:g}")

    def _load(self, door: str, target: Target, *options: str) -> Load:
        port = target.udp if door in {UDP, UDP_CONNECT} else target.tcp
        command = [
            *(str(self._program), "--door", door, "--port", f"{port}"),
            *("--server", f"{target.pid}", "--torrents", str(self._torrents)),
            *("--peers", f"{self._dimensions.peers_each}"),
            *("--clients", f"{self._dimensions.clients}"),
            *(("--ipv6",) if target.ipv6 else ()),
            *options,
        ]
        with on_core(self._core):
            figures = json.loads(_run(command, _FILL_TIMEOUT + _PATIENCE))
        errors, first = figures.pop("errors"), figures.pop("first_error")
        if errors:
            raise Failed(f"{door}: {errors} answers were wrong, at first: {first}")
        return Load(**figures)


def _run(command: Sequence[str], timeout: float) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} took more than {timeout:g} s") from error
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
