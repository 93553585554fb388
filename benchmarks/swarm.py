"""Gets one file to one and to several nodes on loopback, with p2pd and with its peers.

Prints, for each number of leeches, medians over the runs and p2pd's ratios to each peer.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fleet import p2pd
from limit import limit
from measure import Usage, machine
from peers import nginx_and_curl, program
from processes import Failed
from result import Result

from p2pd.errors import Invalid
from p2pd.values import count, size

_CONTENDERS: Mapping[str, Callable[[Path, int, Path], Result]] = {
    "p2pd": p2pd,
    "nginx+curl": nginx_and_curl,
    "limit": limit,
}
_PROGRAMS = ("nginx", "curl", "openssl")
_MIB = 1024 * 1024
_GIB = 1024 * _MIB
_HEADER = (
    f"{'':12}{'wall s':>8}{'MB/s':>8}{'each':>8}{'CPU s/GiB':>11}"
    f"{'peak MiB':>10}{'seed sent':>11}{'others':>8}"
)


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one run, or the medians of several.

    Wall clock in seconds; speeds in bytes/s, of all leeches and of each; CPU seconds per GiB
    delivered; memory in bytes; what the first seed sent, in copies of the file; and how much of
    the machine's CPU others took, from 0 to 1.
    """

    seconds: float
    speed: float
    speed_each: float
    cpu_per_gib: float
    peak_memory: float | None
    seed_copies: float
    others: float

    @classmethod
    def of(cls, result: Result, length: int, leeches: int, cores: int) -> "Row":
        """Make figures of what was measured."""
        usage: Usage = result.usage
        return cls(
            seconds=usage.seconds,
            speed=length * leeches / usage.seconds,
            speed_each=length / usage.seconds,
            cpu_per_gib=usage.cpu / (length * leeches) * _GIB,
            peak_memory=result.peak_memory,
            seed_copies=result.seed_sent / length,
            others=usage.others / usage.seconds / cores,
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
        memory = "-" if self.peak_memory is None else f"{self.peak_memory / _MIB:.0f}"
        return (
            f"{name:12}{self.seconds:8.2f}{self.speed / 1e6:8.0f}{self.speed_each / 1e6:8.0f}"
            f"{self.cpu_per_gib:11.2f}{memory:>10}{self.seed_copies:11.2f}{self.others:8.0%}"
        )


def main() -> int:
    """Run the benchmark; returns the exit status."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for name in _PROGRAMS:
            program(name)
        with _directory(arguments.dir, arguments.size * (max(arguments.leeches) + 1)) as directory:
            document = _benchmark(arguments, directory)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (Failed, OSError) as error:
        print(f"swarm.py: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=_checked(size), default=_GIB, help="1GiB, 8MiB (1GiB)")
    parser.add_argument(
        "--leeches", type=_checked(count), nargs="+", default=[1, 8], help="how many (1 8)"
    )
    parser.add_argument("--runs", type=_checked(count), default=3, help="of each (3)")
    parser.add_argument(
        "--dir", type=Path, default=Path("/dev/shm"), help="where the data goes (/dev/shm)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there too")
    return parser.parse_args()


def _checked(read: Callable[[str], int]) -> Callable[[str], int]:
    def checked(text: str) -> int:
        try:
            return read(text)
        except Invalid as error:
            raise argparse.ArgumentTypeError(error.reason) from error

    return checked


@contextmanager
def _directory(parent: Path, room: int) -> Iterator[Path]:
    """Make a directory where `room` bytes fit, and delete it in the end."""
    free = shutil.disk_usage(parent).free
    if room * 1.05 > free:
        raise Failed(
            f"{parent} has {free / _GIB:.1f} GiB free, of {room * 1.05 / _GIB:.1f} needed"
        )
    with tempfile.TemporaryDirectory(prefix="p2pd-swarm-", dir=parent) as made:
        yield Path(made)


def _benchmark(arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Run all, print the tables, and return every figure."""
    facts = machine()
    sha = "with" if facts["sha_instructions"] else "without"
    print(f"{facts['cores']} cores ({facts['model']}, {sha} SHA instructions), ", end="")
    print(f"load {facts['load']:.2f}, data in {arguments.dir}")
    file = directory / "sample.bin"
    _write_sample(file, arguments.size)
    runs = []
    for leeches in arguments.leeches:
        rows: dict[str, list[Row]] = {name: [] for name in _CONTENDERS}
        for number in range(1, arguments.runs + 1):
            for name in _CONTENDERS:
                row = Row.of(
                    _run(name, file, leeches, directory), arguments.size, leeches, facts["cores"]
                )
                rows[name].append(row)
                runs.append({"contender": name, "leeches": leeches, "run": number, **asdict(row)})
                print(f"leeches {leeches}, run {number}, {name}: {row.seconds:.2f} s", flush=True)
        _print_table(rows, leeches, arguments)
    return {"machine": facts, "size": arguments.size, "runs": runs}


def _write_sample(file: Path, length: int) -> None:
    """Write `length` bytes that no piece shares with another, the same ones each time."""
    source = random.Random(length)
    with file.open("xb") as opened:
        for start in range(0, length, _MIB):
            opened.write(source.randbytes(min(_MIB, length - start)))


def _run(name: str, file: Path, leeches: int, directory: Path) -> Result:
    """Let one contender do it, and compare its copies with the original."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=directory) as place:
        result = _CONTENDERS[name](file, leeches, Path(place))
        for copy in result.copies:
            if not _same(file, copy):
                raise Failed(f"{name}: {copy} is not what was sent")
        return result


def _same(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(_MIB):
            if second.read(_MIB) != chunk:
                return False
        return not second.read(1)


def _print_table(
    rows: Mapping[str, Sequence[Row]], leeches: int, arguments: argparse.Namespace
) -> None:
    length = f"{arguments.size / _MIB:g} MiB"
    print(f"\n{length} to {leeches} at once; medians of {arguments.runs}\n{_HEADER}")
    for name, made in rows.items():
        print(Row.median(made).line(name))
    for name, made in rows.items():
        if name != "p2pd":
            pairs = [*zip(rows["p2pd"], made, strict=True)]
            wall = median(ours.seconds / theirs.seconds for ours, theirs in pairs)
            cpu = median(ours.cpu_per_gib / theirs.cpu_per_gib for ours, theirs in pairs)
            print(f"p2pd / {name}: wall {wall:.2f}, CPU {cpu:.2f}")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
