"""Announces to p2pd's tracker and to opentracker by each of their doors, on one core each.

Prints, for each door, the announces per CPU second of the tracker: medians over the runs, and
p2pd's ratios to opentracker; then the memory that the peers take.
"""

import argparse
import importlib.util
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from announces import (
    DOORS,
    HTTP_CLOSE,
    HTTP_KEEP_ALIVE,
    UDP,
    UDP_CONNECT,
    Dimensions,
    Generator,
    Load,
    Target,
    infohashes,
    on_core,
)
from measure import machine
from place import checked, directory_for, run
from processes import Failed
from trackers import opentracker, p2pd

from p2pd.values import count, seconds

_MIB = 1024 * 1024
_ROOM = 1024 * _MIB  # logs, tables, snapshots
_AIM_OF_MEMORY = 60  # bytes per peer
_THEIRS = "opentracker"
_TWINS = {"pure": False, "compiled": True}
_CONTENDERS = ("pure", _THEIRS, "compiled")  # each of ours is next to theirs
_THEIR_DOORS = frozenset({HTTP_CLOSE, UDP, UDP_CONNECT})
_AIMS: Mapping[str, Mapping[str, float]] = {
    HTTP_CLOSE: {"pure": 0.7, "compiled": 1.0},
    HTTP_KEEP_ALIVE: {"pure": 1.6, "compiled": 5.0},
    UDP: {"pure": 0.75, "compiled": 1.5},
    UDP_CONNECT: {"pure": 0.7, "compiled": 1.4},
}

Runs = dict[tuple[str, str], list[Load]]  # of a contender at a door


def main() -> int:
    """Run the benchmark; returns the exit status."""
    arguments = _arguments()

    def benchmark() -> dict[str, Any]:
        for name in arguments.contenders:
            if _TWINS.get(name) and not _is_compiled():
                raise Failed("p2pd is not compiled here: see benchmarks/README.rst")
        with directory_for(_ROOM, arguments.dir, "p2pd-tracker-") as directory:
            directory.chmod(0o755)  # opentracker becomes nobody
            return _benchmark(arguments, directory)

    return run("tracker.py", benchmark, arguments.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    number = _whole_number
    parser.add_argument("--torrents", type=number, default=100_000, help="how many (100000)")
    parser.add_argument("--peers", type=number, default=10, help="in each torrent (10)")
    parser.add_argument("--clients", type=number, default=63, help="that announce at once (63)")
    parser.add_argument("--seconds", type=checked(seconds), default=5.0, help="of each run (5)")
    parser.add_argument("--runs", type=checked(count), default=3, help="of each (3)")
    parser.add_argument("--doors", nargs="+", choices=DOORS, metavar="NAME", default=DOORS)
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=_CONTENDERS,
        metavar="NAME",
        help=f"of {', '.join(_CONTENDERS)} (all that can)",
    )
    parser.add_argument("--ipv6", action="store_true", help="p2pd's tracker only, on ::1")
    parser.add_argument("--no-memory", action="store_true", help="do not measure the memory")
    parser.add_argument(
        "--dir", type=Path, default=Path("/dev/shm"), help="where the data goes (/dev/shm)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there too")
    arguments = parser.parse_args()
    if arguments.ipv6 and _THEIRS in (arguments.contenders or ()):
        parser.error(f"{_THEIRS}: Debian builds it without IPv6")
    able = [
        name
        for name in _CONTENDERS
        if not (arguments.ipv6 if name == _THEIRS else _TWINS[name] and not _is_compiled())
    ]
    chosen = arguments.contenders or able
    arguments.contenders = [name for name in _CONTENDERS if name in chosen]
    arguments.doors = [door for door in DOORS if door in arguments.doors]
    return arguments


def _whole_number(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def _is_compiled() -> bool:
    return importlib.util.find_spec("p2pd.frontends._compiled") is not None


class Bench:
    """Where the trackers run, and what announces to them."""

    def __init__(self, arguments: argparse.Namespace, directory: Path, cores: list[int]) -> None:
        self.dimensions = Dimensions(arguments.torrents, arguments.peers, arguments.clients)
        self.torrents = infohashes(arguments.torrents)
        self.generator = Generator(directory, self.torrents, self.dimensions, cores[-1])
        self._core = cores[0]
        self._directory = directory
        self._ipv6 = arguments.ipv6

    @contextmanager
    def tracker(self, name: str, *, to_all: bool = False) -> Iterator[Target]:
        """Run a tracker on its core; `to_all`: without a list of the torrents that it serves."""
        directory = self._directory / (f"{name}-open" if to_all else name)
        started: AbstractContextManager[Target]
        if name == _THEIRS:
            started = opentracker(directory, self.torrents)
        else:
            torrents = None if to_all else self.torrents
            started = p2pd(directory, torrents, compiled=_TWINS[name], ipv6=self._ipv6)
        with ExitStack() as stack:
            with on_core(self._core):
                target = stack.enter_context(started)
            yield target


def _benchmark(arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Run all, print the tables, and return every figure."""
    facts = machine()
    cores = sorted(os.sched_getaffinity(0))
    print(f"{facts['cores']} cores ({facts['model']}), load {facts['load']:.2f}; ", end="")
    print(f"trackers on core {cores[0]}, clients on core {cores[-1]}")
    bench = Bench(arguments, directory, cores)
    with ExitStack() as stack:
        targets, fills = {}, {}
        for name in arguments.contenders:
            targets[name] = stack.enter_context(bench.tracker(name))
            fills[name] = bench.generator.fill(targets[name])
            print(f"{name} got {bench.dimensions.peers} peers: {_shown(fills[name])}", flush=True)
        runs = _measured(arguments, bench.generator, targets)
    _print_rates(arguments, runs)
    if not arguments.no_memory:
        for name in fills:
            if name != _THEIRS:
                with bench.tracker(name, to_all=True) as target:
                    fills[name] = bench.generator.fill(target)
        _print_memory(bench.dimensions, fills)
    return {
        "machine": facts,
        "dimensions": asdict(bench.dimensions),
        "runs": [
            {"contender": name, "door": door, "run": number, **asdict(load)}
            for (name, door), loads in runs.items()
            for number, load in enumerate(loads, 1)
        ],
        "fills": {name: asdict(load) for name, load in fills.items()},
    }


def _measured(
    arguments: argparse.Namespace, generator: Generator, targets: Mapping[str, Target]
) -> Runs:
    """Let all trackers take announces in turn, at each door."""
    runs: Runs = defaultdict(list)
    for number in range(1, arguments.runs + 1):
        for door in arguments.doors:
            for name, target in targets.items():
                if name == _THEIRS and door not in _THEIR_DOORS:
                    continue
                load = generator.run(door, target, arguments.seconds)
                runs[name, door].append(load)
                print(f"run {number}, {door}, {name}: {_shown(load)}", flush=True)
    return runs


def _shown(load: Load) -> str:
    latency = load.latency_us
    return (
        f"{load.rate:.0f}/s, {load.per_cpu_second:.0f} per CPU second, "
        f"p50 {latency['p50'] / 1000:.2f} ms, p99 {latency['p99'] / 1000:.2f} ms"
        + (f", {load.resent} sent again" if load.resent else "")
    )


def _print_rates(arguments: argparse.Namespace, runs: Runs) -> None:
    ours = [name for name in _TWINS if name in arguments.contenders]
    print(f"\nPer CPU second of the tracker; medians of {arguments.runs}")
    print(f"{'':16}{_THEIRS:>12}" + "".join(f"{name:>12}{'ratio':>8}{'aim':>6}" for name in ours))
    for door in arguments.doors:
        theirs = runs.get((_THEIRS, door), [])
        # Debian's build keeps no connection: ours that do are compared with its that do not.
        beside = runs.get((_THEIRS, HTTP_CLOSE), []) if door == HTTP_KEEP_ALIVE else theirs
        line = f"{door:16}{_middle(theirs):>12}"
        for name in ours:
            aim = _AIMS.get(door, {}).get(name)
            shown = "-" if aim is None else f"{aim:.2f}"
            made = runs[name, door]
            line += f"{_middle(made):>12}{_ratio(made, beside):>8}{shown:>6}"
        print(line)
    print(flush=True)


def _middle(loads: Sequence[Load]) -> str:
    return f"{median(load.per_cpu_second for load in loads):.0f}" if loads else "-"


def _ratio(ours: Sequence[Load], theirs: Sequence[Load]) -> str:
    if not theirs:
        return "-"
    pairs = zip(ours, theirs, strict=True)
    return f"{median(our.per_cpu_second / their.per_cpu_second for our, their in pairs):.2f}"


def _print_memory(dimensions: Dimensions, fills: Mapping[str, Load]) -> None:
    print(f"Memory of {dimensions.peers} peers in {dimensions.torrents} torrents")
    print(f"{'':16}{'empty MiB':>12}{'full MiB':>12}{'bytes/peer':>12}{'aim':>6}")
    for name in (_THEIRS, *_TWINS):
        if load := fills.get(name):
            before, after = load.memory_before, load.memory_after
            each = (after - before) / dimensions.peers
            aim = "-" if name == _THEIRS else f"{_AIM_OF_MEMORY}"
            print(
                f"{name:16}{before / _MIB:12.1f}{after / _MIB:12.1f}{each:12.1f}{aim:>6}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
