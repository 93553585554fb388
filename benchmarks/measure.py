"""Measures what processes cost between two moments: wall clock, CPU, memory; Linux only."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What happened between a meter's start and its reading: wall clock and CPU seconds.

    `others` are the CPU seconds of all processes of the machine that were not counted.
    """

    seconds: float
    cpu: float
    others: float


class Meter:
    """Counts, from now on, the CPU of `pids` and of every child that this process reaps."""

    def __init__(self, pids: Iterable[int] = ()) -> None:
        self._pids = tuple(pids)
        self._start = self._now()

    def add(self, pids: Iterable[int]) -> None:
        """Count processes too that were started after the meter."""
        self._pids += tuple(pids)

    def read(self) -> Usage:
        """Return the usage so far."""
        seconds, cpu, machine = (
            now - then for now, then in zip(self._now(), self._start, strict=True)
        )
        return Usage(seconds, cpu, max(machine - cpu, 0.0))

    def _now(self) -> tuple[float, float, float]:
        own = os.times()
        cpu = own.children_user + own.children_system + sum(map(_cpu, self._pids))
        return time.monotonic(), cpu, _machine_cpu()


def _cpu(pid: int) -> float:
    """Seconds of user and system time of a process, with the children it has reaped (proc(5))."""
    text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    fields = text.rpartition(")")[2].split()  # a program's name may hold anything
    return sum(map(int, fields[11:15])) / _TICK


def _machine_cpu() -> float:
    """Seconds of user, nice and system time on all cores together (proc(5))."""
    with Path("/proc/stat").open(encoding="utf-8") as file:
        return sum(map(int, file.readline().split()[1:4])) / _TICK


def busy() -> tuple[float, float]:
    """Return the seconds that all cores together have worked, for anybody, and have been there."""
    with Path("/proc/stat").open(encoding="utf-8") as file:
        ticks = [*map(int, file.readline().split()[1:9])]
    return (sum(ticks) - sum(ticks[3:5])) / _TICK, sum(ticks) / _TICK


def children(pid: int) -> list[int]:
    """Return the living children of a process's main thread."""
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split())]


def memory(pid: int) -> int:
    """Return the resident set of a living process, in bytes."""
    return _memory(pid, "VmRSS:")


def peak_memory(pid: int) -> int:
    """Return the largest resident set that a living process ever had, in bytes."""
    return _memory(pid, "VmHWM:")


def _memory(pid: int, what: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no memory: it has ended")


def machine() -> dict[str, Any]:
    """Return what the figures depend on: the cores, their kind, and how busy they are."""
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "model": facts.get("model name", os.uname().machine),
        "sha_instructions": bool({"sha_ni", "sha2"} & {*facts.get("flags", "").split()}),
        "load": os.getloadavg()[0],
    }
