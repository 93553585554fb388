"""Gets a file or a directory to one and to several nodes on loopback, with p2pd and its peers.

Prints, for each number of leeches, medians over the runs and p2pd's ratios to each peer.
"""

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bittorrent import aria2, libtorrent
from fleet import p2pd, p2pd_tls
from limit import limit
from measure import Usage, machine
from peers import nginx_and_curl, program
from place import checked, directory_for, run
from processes import Failed
from result import Result
from sample import same, write_file, write_tree

from p2pd.values import count, size


@dataclass(frozen=True, slots=True)
class Contender:
    """One that does the work, and what must be installed for it.

    `trees`: it can do a directory of files too.
    """

    run: Callable[[Path, int, Path], Result]
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    trees: bool = True


_CONTENDERS: Mapping[str, Contender] = {
    "p2pd": Contender(p2pd),
    "p2pd-tls": Contender(p2pd_tls, programs=("openssl",)),
    "libtorrent": Contender(libtorrent, modules=("libtorrent",)),
    "aria2": Contender(aria2, programs=("aria2c",), modules=("libtorrent",)),
    "nginx+curl": Contender(nginx_and_curl, programs=("nginx", "curl", "openssl"), trees=False),
    "limit": Contender(limit, trees=False),
}
_BLOCK = 4096
_MOST_FILES = 100_000
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
    seed_copies: float | None
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
            seed_copies=None if result.seed_sent is None else result.seed_sent / length,
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
        copies = "-" if self.seed_copies is None else f"{self.seed_copies:.2f}"
        return (
            f"{name:12}{self.seconds:8.2f}{self.speed / 1e6:8.0f}{self.speed_each / 1e6:8.0f}"
            f"{self.cpu_per_gib:11.2f}{memory:>10}{copies:>11}{self.others:8.0%}"
        )


def main() -> int:
    """Run the benchmark; returns the exit status."""
    arguments = _arguments()

    def benchmark() -> dict[str, Any]:
        for name in arguments.contenders:
            _require(_CONTENDERS[name])
        with directory_for(_room(arguments), arguments.dir, "p2pd-swarm-") as directory:
            return _benchmark(arguments, directory)

    return run("swarm.py", benchmark, arguments.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=checked(size), default=_GIB, help="1GiB, 8MiB (1GiB)")
    parser.add_argument(
        "--leeches", type=checked(count), nargs="+", default=[1, 4, 8], help="how many (1 4 8)"
    )
    parser.add_argument(
        "--files", type=_files, default=1, help="that the size is shared out among (1)"
    )
    parser.add_argument(
        "--sparse", action="store_true", help="a file with holes, which takes little room itself"
    )
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=_CONTENDERS,
        metavar="NAME",
        help=f"of {', '.join(_CONTENDERS)} (all that can, but p2pd-tls)",
    )
    parser.add_argument("--tls", action="store_true", help="p2pd-tls too")
    parser.add_argument("--runs", type=checked(count), default=3, help="of each (3)")
    parser.add_argument(
        "--dir", type=Path, default=Path("/dev/shm"), help="where the data goes (/dev/shm)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures there too")
    arguments = parser.parse_args()
    if arguments.sparse and arguments.files > 1:
        parser.error("--sparse is for one file")
    able = [name for name, one in _CONTENDERS.items() if one.trees or arguments.files == 1]
    chosen = arguments.contenders or [name for name in able if name != "p2pd-tls"]
    if unable := {*chosen} - {*able}:
        parser.error(f"{', '.join(sorted(unable))}: only for one file")
    wanted = {*chosen, "p2pd-tls"} if arguments.tls else {*chosen}
    arguments.contenders = [name for name in able if name in wanted]
    return arguments


def _files(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= _MOST_FILES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST_FILES}")
    return int(text)


def _require(contender: Contender) -> None:
    """Raise Failed if something is missing that the contender needs."""
    for name in contender.programs:
        program(name)
    for name in contender.modules:
        if importlib.util.find_spec(name) is None:
            raise Failed(f"Python's {name} is not installed: see benchmarks/README.rst")


def _room(arguments: argparse.Namespace) -> int:
    """Return the bytes that the sample and its copies may take."""
    copy = arguments.size + arguments.files * _BLOCK
    sample = copy // 50 if arguments.sparse else copy
    return copy * max(arguments.leeches) + sample


def _benchmark(arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """Run all, print the tables, and return every figure."""
    facts = machine()
    sha = "with" if facts["sha_instructions"] else "without"
    print(f"{facts['cores']} cores ({facts['model']}, {sha} SHA instructions), ", end="")
    print(f"load {facts['load']:.2f}, data in {arguments.dir}")
    source = _sample(arguments, directory)
    order = _order(arguments.contenders)
    runs = []
    for leeches in arguments.leeches:
        rounds = []
        for number in range(1, arguments.runs + 1):
            made = []
            for name in order:
                row = Row.of(
                    _run(name, source, leeches, directory), arguments.size, leeches, facts["cores"]
                )
                made.append(row)
                runs.append({"contender": name, "leeches": leeches, "run": number, **asdict(row)})
                print(f"leeches {leeches}, run {number}, {name}: {row.seconds:.2f} s", flush=True)
            rounds.append(made)
        _print_table(order, rounds, leeches, arguments)
    return {"machine": facts, "size": arguments.size, "files": arguments.files, "runs": runs}


def _sample(arguments: argparse.Namespace, directory: Path) -> Path:
    if arguments.files > 1:
        source = directory / "sample"
        write_tree(source, arguments.size, arguments.files)
    else:
        source = directory / "sample.bin"
        write_file(source, arguments.size, sparse=arguments.sparse)
    return source


def _order(names: Sequence[str]) -> list[str]:
    """Put the runs of one round in order: each contender is next to a run of p2pd."""
    others = [name for name in names if name != "p2pd"]
    if "p2pd" not in names or not others:
        return [*names]
    order = []
    for first in range(0, len(others), 2):
        order += [others[first], "p2pd", *others[first + 1 : first + 2]]
    return order


def _run(name: str, source: Path, leeches: int, directory: Path) -> Result:
    """Let one contender do it, and compare its copies with the original."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=directory) as place:
        result = _CONTENDERS[name].run(source, leeches, Path(place))
        for copy in result.copies:
            if not same(source, copy):
                raise Failed(f"{name}: {copy} is not what was sent")
        return result


def _print_table(
    order: Sequence[str],
    rounds: Sequence[Sequence[Row]],
    leeches: int,
    arguments: argparse.Namespace,
) -> None:
    length = f"{arguments.size / _MIB:g} MiB"
    files = f" in {arguments.files} files" if arguments.files > 1 else ""
    print(f"\n{length}{files} to {leeches} at once; medians of {len(rounds)}\n{_HEADER}")
    for name in arguments.contenders:
        rows = [
            row for made in rounds for other, row in zip(order, made, strict=True) if other == name
        ]
        print(Row.median(rows).line(name))
    for place, name in enumerate(order):
        beside = place // 3 * 3 + 1  # where `_order` has put p2pd
        if name != "p2pd" and "p2pd" in order:
            pairs = [(made[beside], made[place]) for made in rounds]
            wall = median(ours.seconds / theirs.seconds for ours, theirs in pairs)
            cpu = median(ours.cpu_per_gib / theirs.cpu_per_gib for ours, theirs in pairs)
            print(f"p2pd / {name}: wall {wall:.2f}, CPU {cpu:.2f}")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
