"""Gets one file to many hosts over links that are the limit, with p2pd and with its peers.

Every host is a network namespace whose link tc limits, each way. Prints, for each number of
leeches, medians over the runs. Needs root.
"""

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from measure import machine
from network import GOODPUT, Network, network
from peers import program
from place import checked, directory_for, run
from processes import Failed
from race import SEED, Outcome
from sample import same, write_file
from scenarios import SCENARIOS, Scenario, p2pd
from shaped_peers import aria2, libtorrent
from stream import one_stream

from p2pd.values import count, size

_Contender = Callable[[Path, Network, Path], Outcome]
_PEERS: Mapping[str, _Contender] = {
    "libtorrent": libtorrent,
    "aria2": aria2,
    "one-stream": one_stream,
}
_MIB = 1024 * 1024
_SIZE = 100_000_000
_RATE = 100_000_000
_SATURATED = 0.9
_HEADER = (
    f"{'':24}{'wall s':>8}{'/ideal':>8}{'share p50':>11}{'slowest':>9}{'copies':>8}"
    f"{'on wire':>9}{'CPU':>6}{'others':>8}"
)


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one run, or the medians of several.

    Wall clock in seconds, and as a multiple of the ideal; the hosts' shares of their limit: the
    middle one's and the slowest one's; what the first seed sent in copies of the file, as it
    says and as its link counts; and how much of the machine's CPU all and others took.
    """

    makespan: float
    ratio: float
    share_p50: float
    share_slowest: float
    seed_copies: float | None
    wire_copies: float
    busy: float
    others: float

    @classmethod
    def of(cls, outcome: Outcome, length: int, rate: int, cores: int) -> "Row":
        """Make figures of what was measured."""
        ideal = length * 8 / rate
        shares = [ideal / seconds for seconds in outcome.seconds.values()]
        sent = outcome.seed_sent
        usage = outcome.usage
        return cls(
            makespan=outcome.makespan,
            ratio=outcome.makespan / (max(outcome.began.values()) + ideal),
            share_p50=median(shares),
            share_slowest=min(shares),
            seed_copies=None if sent is None else sent / length,
            wire_copies=outcome.wire[SEED].sent / length,
            busy=outcome.busy,
            others=max(outcome.busy - usage.cpu / usage.seconds / cores, 0.0),
        )

    @classmethod
    def median(cls, rows: Sequence["Row"]) -> "Row":
        """Take the median of each figure."""
        middle: dict[str, Any] = {}
        for name in cls.__slots__:
            values = [asdict(row)[name] for row in rows]
            middle[name] = None if None in values else median(values)
        return cls(**middle)

    def line(self, name: str) -> str:
        """Return the row of the table."""
        copies = "-" if self.seed_copies is None else f"{self.seed_copies:.2f}"
        return (
            f"{name:24}{self.makespan:8.2f}{self.ratio:8.2f}{self.share_p50:11.1%}"
            f"{self.share_slowest:9.1%}{copies:>8}{self.wire_copies:9.2f}"
            f"{self.busy:6.0%}{self.others:8.0%}{' saturated' * (self.busy > _SATURATED)}"
        )


def main() -> int:
    """Run the benchmark; returns the exit status."""
    arguments = _arguments()

    def benchmark() -> dict[str, Any]:
        room = arguments.size * (max(arguments.nodes) + 1)
        _require(arguments.contenders)
        with directory_for(room, arguments.dir, "p2pd-links-") as directory:
            return _benchmark(arguments, directory)

    return run("links.py", benchmark, arguments.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--size", type=checked(size), default=_SIZE, help="100M, 8MiB (100M)")
    add("--nodes", type=checked(count), nargs="+", default=[8, 15], help="leeches (8 15)")
    add("--rate", type=checked(size), default=_RATE, help="bits/s of each link, each way (100M)")
    add("--runs", type=checked(count), default=3, help="of each (3)")
    add("--scenarios", nargs="+", choices=SCENARIOS, default=[*SCENARIOS], help="p2pd's (all)")
    contenders = ["p2pd", *_PEERS]
    add("--contenders", nargs="+", choices=contenders, default=contenders, help="(all)")
    add("--congestion", default="cubic", help="how TCP controls it, like cubic or bbr (cubic)")
    add("--dir", type=Path, default=Path("/dev/shm"), help="where the data goes (/dev/shm)")
    add("--json", metavar="FILE", type=Path, help="write all figures there too")
    add(
        "--trace", metavar="FILE", type=Path, help="write what each link carried each second there"
    )
    return parser.parse_args()


def _require(contenders: Sequence[str]) -> None:
    """Raise Failed if something is missing that these need."""
    for name in ("ip", "tc", *(["aria2c"] if "aria2" in contenders else [])):
        program(name)
    if {"libtorrent", "aria2"} & {*contenders} and find_spec("libtorrent") is None:
        raise Failed("Python's libtorrent is not installed: see benchmarks/README.rst")
    if os.geteuid():
        raise Failed("network namespaces are made by root: run it with sudo")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the table: who, on which hosts."""

    name: str
    contender: _Contender
    scenario: Scenario


def _entries(arguments: argparse.Namespace) -> list[_Entry]:
    """Return what is to run, in order; peers only run undisturbed."""
    entries = []
    for name in arguments.contenders:
        if name == "p2pd":
            for title in arguments.scenarios:
                scenario = SCENARIOS[title]
                entries.append(_Entry(f"p2pd {title}", partial(p2pd, scenario), scenario))
        else:
            entries.append(_Entry(f"{name} plain", _PEERS[name], Scenario()))
    return entries


def _benchmark(arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Run all, print the tables, and return every figure."""
    facts = machine()
    ideal = arguments.size * 8 / arguments.rate
    print(f"{facts['cores']} cores ({facts['model']}), load {facts['load']:.2f}, ", end="")
    print(f"TCP {arguments.congestion}, data in {arguments.dir}")
    print(f"{arguments.rate / 1e6:g} Mbit/s each way: ideal {ideal:.2f} s; ", end="")
    print(f"headers leave {GOODPUT:.1%} of it, so {ideal / GOODPUT:.2f} s")
    file = directory / "sample.bin"
    write_file(file, arguments.size)
    runs = []
    with ExitStack() as stack:
        trace = _trace(stack, arguments.trace)
        for leeches in arguments.nodes:
            rows: dict[str, list[Row]] = {}
            for number in range(1, arguments.runs + 1):
                for entry in _entries(arguments):
                    outcome = _run(entry, file, leeches, arguments, directory)
                    row = Row.of(outcome, arguments.size, arguments.rate, facts["cores"])
                    rows.setdefault(entry.name, []).append(row)
                    run = {"contender": entry.name, "leeches": leeches, "run": number}
                    runs.append({**run, **asdict(row), **_details(outcome)})
                    trace(run, outcome)
                    said = f"leeches {leeches}, run {number}, {entry.name}: {row.makespan:.2f} s"
                    print("; ".join(filter(None, [said, outcome.remark])), flush=True)
            _print_table(rows, leeches, arguments)
    return {"machine": facts, "size": arguments.size, "rate": arguments.rate, "runs": runs}


def _details(outcome: Outcome) -> dict[str, Any]:
    return {"began": outcome.began, "seconds": outcome.seconds, "remark": outcome.remark}


def _run(
    entry: _Entry, file: Path, leeches: int, arguments: argparse.Namespace, directory: Path
) -> Outcome:
    """Let one contender do it on a network made for it, and compare its copies."""
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=directory) as place,
        network(entry.scenario.rates(leeches, arguments.rate), arguments.congestion) as made,
    ):
        outcome = entry.contender(file, made, Path(place))
        for copy in outcome.copies:
            if not same(file, copy):
                raise Failed(f"{entry.name}: {copy} is not what was sent")
        return outcome


def _trace(stack: ExitStack, path: Path | None) -> Callable[[Mapping[str, Any], Outcome], None]:
    """Return what writes the bytes of each host in each second as a line of the file."""
    if path is None:
        return lambda _run, _outcome: None
    writer = csv.writer(stack.enter_context(path.open("w", encoding="utf-8", newline="")))
    columns = ("contender", "leeches", "run")
    writer.writerow([*columns, "second", "host", "sent", "received"])

    def write(run: Mapping[str, Any], outcome: Outcome) -> None:
        known = [run[column] for column in columns]
        for second, traffic in enumerate(outcome.trace):
            for host, passed in traffic.items():
                writer.writerow([*known, second, host, passed.sent, passed.received])

    return write


def _print_table(
    rows: Mapping[str, Sequence[Row]], leeches: int, arguments: argparse.Namespace
) -> None:
    length = (
        f"{arguments.size / 1e6:g} MB"
        if arguments.size % _MIB
        else f"{arguments.size / _MIB:g} MiB"
    )
    print(f"\n{length} to {leeches} at once; medians of {arguments.runs}\n{_HEADER}")
    for name, made in rows.items():
        print(Row.median(made).line(name))
    plain = rows.get("p2pd plain", [])
    for name, made in rows.items():
        if not plain or name == "p2pd plain":
            continue
        pairs = [*zip(plain, made, strict=True)]
        if name.startswith("p2pd"):
            wall = median(this.makespan / undisturbed.makespan for undisturbed, this in pairs)
            share = median(this.share_p50 / undisturbed.share_p50 for undisturbed, this in pairs)
            print(f"{name} / plain: wall {wall:.2f}, share {share:.2f}")
        else:
            wall = median(ours.makespan / theirs.makespan for ours, theirs in pairs)
            print(f"p2pd plain / {name}: wall {wall:.2f}")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
