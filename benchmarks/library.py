"""Lists of 1,000 downloads by each API, and what a daemon costs that has them and does nothing.

Prints, for each list, how long it takes and what it costs the daemon, and p2pd's limit; then the
CPU that each daemon needs when nobody asks, and when a web page does.  All daemons run on one
core, and whoever asks on another.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from announces import on_core
from fleet import Daemon
from libraries import POLLED, Holder, P2pd, Transmission, make_library
from measure import Meter, machine, memory
from place import checked, directory_for, run

from p2pd.values import count, seconds, whole

_MIB = 1024 * 1024
_ROOM = 512 * _MIB
_MOST_MS = 100.0
_MOST_IDLE = 0.02
_POLL = 3.0  # as the task API's web page does
_WARM_UP = 2
_CONTENDERS = ("p2pd", "transmission")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one list took, over all calls, in ms; and how many bytes it has."""

    p50: float
    p95: float
    cpu: float
    size: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a daemon needed, as parts of one core; its resident set in bytes."""

    idle: float
    polled: float
    memory: int


def main() -> int:
    """Run the benchmark; returns the exit status."""
    arguments = _arguments()

    def benchmark() -> dict[str, Any]:
        with directory_for(_ROOM, arguments.dir, "p2pd-library-") as directory:
            return _benchmark(arguments, directory)

    return run("library.py", benchmark, arguments.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--downloads", type=checked(count), default=1000, help="how many (1000)")
    parser.add_argument("--calls", type=checked(count), default=25, help="of each list (25)")
    parser.add_argument("--seconds", type=checked(seconds), default=30.0, help="of idling (30)")
    parser.add_argument("--settle", type=checked(seconds), default=10.0, help="before that (10)")
    parser.add_argument(
        "--active", type=checked(whole), default=0, help="p2pd's --max-active-downloads (0: all)"
    )
    parser.add_argument(
        "--contenders", nargs="+", choices=_CONTENDERS, metavar="NAME", default=_CONTENDERS
    )
    parser.add_argument(
        "--dir", type=Path, default=Path("/dev/shm"), help="where the data goes (/dev/shm)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there too")
    arguments = parser.parse_args()
    if arguments.calls < 2:
        parser.error("--calls: a percentile needs 2 at least")
    return arguments


def _benchmark(arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Run all, print the tables, and return every figure."""
    facts = machine()
    cores = sorted(os.sched_getaffinity(0))
    print(f"{facts['cores']} cores ({facts['model']}), load {facts['load']:.2f}; ", end="")
    print(f"daemons on core {cores[0]}, clients on core {cores[-1]}", flush=True)
    with ExitStack() as stack:
        stack.enter_context(on_core(cores[-1]))
        tracker = Daemon(stack, "p2p-tracker", directory / "tracker")
        announce = f"http://{tracker.address}/announce"
        library = make_library(directory / "shared", arguments.downloads, announce)
        print(library, flush=True)
        with on_core(cores[0]):
            holders = _holders(arguments, stack, directory, tracker.address)
        for holder in holders:
            began = time.monotonic()
            holder.fill(library)
            print(f"{holder.name} has them after {time.monotonic() - began:.1f} s", flush=True)
        time.sleep(arguments.settle)
        meter = Meter(holder.pid for holder in holders)
        timings = _timed(arguments, holders)
        _print_timings(holders, timings)
        usage = meter.read()
        others = usage.others / usage.seconds / facts["cores"]
        print(f"others: {others:.0%} of the machine\n", flush=True)
        costs = _costs(arguments, holders)
        _print_costs(costs)
    return {
        "machine": facts,
        "downloads": len(library),
        "others": others,
        "lists": [
            {"contender": name, "list": asked, **asdict(timing)}
            for (name, asked), timing in timings.items()
        ],
        "costs": {name: asdict(cost) for name, cost in costs.items()},
    }


def _holders(
    arguments: argparse.Namespace, stack: ExitStack, directory: Path, tracker: str
) -> list[Holder]:
    """Start all daemons, p2pd first."""
    made: list[Holder] = []
    for name in _CONTENDERS:
        if name not in arguments.contenders:
            continue
        place = directory / name
        if name == "transmission":
            made.append(Transmission(stack, place))
        else:
            bound = ("--max-active-downloads", str(arguments.active))
            made.append(P2pd(stack, place, "--tracker", f"http://{tracker}", *bound))
    return made


Timings = dict[tuple[str, str], Timing]  # of a contender's list


def _timed(arguments: argparse.Namespace, holders: Sequence[Holder]) -> Timings:
    """Ask all for each list in turn."""
    asked = dict.fromkeys(name for holder in holders for name in holder.lists)
    return {
        (holder.name, name): _time(holder, name, arguments.calls)
        for name in asked
        for holder in holders
        if name in holder.lists
    }


def _time(holder: Holder, name: str, calls: int) -> Timing:
    ask = holder.lists[name]
    size = max(len(ask()) for _ in range(_WARM_UP))
    times = []
    meter = Meter([holder.pid])
    for _ in range(calls):
        began = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - began))
    cpu = 1000 * meter.read().cpu / calls
    return Timing(median(times), quantiles(times, n=20, method="inclusive")[-1], cpu, size)


def _print_timings(holders: Sequence[Holder], timings: Mapping[tuple[str, str], Timing]) -> None:
    print(f"\nLists, in ms; p2pd's limit is {_MOST_MS:g} for the p95")
    heads = "".join(f"{holder.name:>16}{'p95':>8}{'CPU':>8}{'KiB':>8}" for holder in holders)
    print(f"{'':32}{heads}")
    for name in dict.fromkeys(name for _, name in timings):
        line = f"{name:32}"
        for holder in holders:
            timing = timings.get((holder.name, name))
            if timing is None:
                line += f"{'-':>16}{'-':>8}{'-':>8}{'-':>8}"
            else:
                line += f"{timing.p50:16.1f}{timing.p95:8.1f}{timing.cpu:8.1f}"
                line += f"{timing.size / 1024:8.0f}"
        ours = timings.get(("p2pd", name))
        print(line + ("  over the limit" if ours and ours.p95 > _MOST_MS else ""))


def _costs(arguments: argparse.Namespace, holders: Sequence[Holder]) -> dict[str, Cost]:
    """Let all idle at the same time, then be asked for the same list as by a web page."""
    idle = _cost(holders, arguments.seconds)
    polled = _cost(holders, arguments.seconds, polled=True)
    return {
        holder.name: Cost(quiet, asked, memory(holder.pid))
        for holder, quiet, asked in zip(holders, idle, polled, strict=True)
    }


def _cost(holders: Sequence[Holder], length: float, *, polled: bool = False) -> list[float]:
    """Return the part of a core that each daemon needs meanwhile."""
    meters = [Meter([holder.pid]) for holder in holders]
    left = length
    while left > 0:
        for holder in holders if polled else ():
            holder.lists[POLLED]()
        time.sleep(min(_POLL, left))
        left -= _POLL
    usages = [meter.read() for meter in meters]
    return [usage.cpu / usage.seconds for usage in usages]


def _print_costs(costs: Mapping[str, Cost]) -> None:
    print(f"CPU of one core; p2pd's limit is {_MOST_IDLE:.0%} when idle")
    print(f"{'':16}{'idle':>10}{f'every {_POLL:g} s':>12}{'RSS MiB':>10}")
    for name, cost in costs.items():
        over = "  over the limit" if name == "p2pd" and cost.idle > _MOST_IDLE else ""
        print(f"{name:16}{cost.idle:10.2%}{cost.polled:12.2%}{cost.memory / _MIB:10.1f}{over}")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
