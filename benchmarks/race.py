"""One contender on a network: who began when, who ended when, and what it cost."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from measure import Meter, Usage, busy
from network import Network, Trace, Traffic
from processes import Failed

TRACKER, SEED, FAULTY = "tracker", "seed", "faulty"
_TIMEOUT = 900.0


def leech(number: int) -> str:
    """Return the name of a leech's host."""
    return f"leech-{number}"


@dataclass(slots=True)
class Outcome:
    """What happened between the word to begin and the last complete, verified copy.

    `began` and `seconds` belong to the leeches that were waited for: when each was told to begin,
    and how long each took from then. `busy` is the part of the machine's CPU that was used, by
    anybody. `wire` is what passed on each link, in all, and `trace` in each second. `copies` are
    compared with the original afterwards. `seed_sent` are the bytes of the file that the first
    holder says it sent, None if it does not say.
    """

    began: dict[str, float]
    seconds: dict[str, float]
    usage: Usage
    busy: float
    wire: dict[str, Traffic]
    trace: list[dict[str, Traffic]]
    copies: list[Path]
    seed_sent: int | None = None
    remark: str = ""

    @property
    def makespan(self) -> float:
        """From the first word to begin to the last copy."""
        return max(self.began[name] + self.seconds[name] for name in self.seconds)


class Race:
    """Measures from its making to `finish`."""

    def __init__(self, network: Network, pids: Iterable[int], *, length: int) -> None:
        self._length = length
        self._network = network
        self._before = network.traffic()
        self._busy = busy()
        self._meter = Meter(pids)
        self._start = time.monotonic()
        self._began: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._trace = Trace(network)

    def __enter__(self) -> Self:
        """Trace."""
        self._trace.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Trace no more."""
        self._trace.end()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def check(self) -> None:
        """Raise Failed if it takes too long."""
        if self.elapsed > _TIMEOUT:
            left = ", ".join(sorted({*self._began} - {*self._seconds}))
            raise Failed(f"after {_TIMEOUT:g} s these are not done: {left}")

    def count(self, pids: Iterable[int]) -> None:
        """Measure these processes too, which started after the race."""
        self._meter.add(pids)

    def begin(self, name: str) -> None:
        """Note that a leech is told to begin."""
        self._began[name] = self.elapsed

    def end(self, name: str) -> None:
        """Note that a leech has its copy."""
        self._seconds[name] = self.elapsed - self._began[name]

    def done(self, names: Iterable[str]) -> bool:
        """Whether these leeches all have their copies."""
        return {*names} <= self._seconds.keys()

    def progress(self, names: Iterable[str]) -> float:
        """Return how much of the file these leeches have received on average, from 0 to 1."""
        wire = self._wire()
        received = [wire[name].received for name in names]
        return sum(received) / len(received) / self._length

    def finish(self, copies: list[Path]) -> Outcome:
        """Return all that was measured."""
        worked, there = (now - then for now, then in zip(busy(), self._busy, strict=True))
        self._trace.end()
        return Outcome(
            began=self._began,
            seconds=self._seconds,
            usage=self._meter.read(),
            busy=worked / max(there, 1e-9),
            wire=self._wire(),
            trace=self._trace.seconds,
            copies=copies,
        )

    def _wire(self) -> dict[str, Traffic]:
        now = self._network.traffic()
        return {name: now[name].since(self._before[name]) for name in now}
