"""Limits what nodes on loopback send and receive, and looks how well that holds.

Prints, for each limit, by how much the bytes in any 2 s strayed from it, and how equal the shares
of those under it were.
"""

import argparse
import http.client
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from fleet import Daemon, wait_until_known
from place import checked, run
from processes import Failed
from sample import write_file

from p2pd.cli.output import rate as shown
from p2pd.values import seconds, size

_WINDOW = 2.0
_WARM_UP = 0.5
_POLL = 0.02
_PARTS = 8
_READ = 65536


@dataclass
class Arrivals:
    """What came to one place, as (time, bytes)."""

    came: list[tuple[float, int]] = field(default_factory=list)

    def add(self, count: int) -> None:
        """Note bytes that came just now."""
        self.came.append((time.monotonic(), count))

    def spread(self, count: int, start: float, end: float) -> None:
        """Note bytes that came some time between two moments."""
        step = (end - start) / _PARTS
        for part in range(_PARTS):
            share = count * (part + 1) // _PARTS - count * part // _PARTS
            self.came.append((start + step * (part + 0.5), share))

    def between(self, start: float, end: float) -> int:
        """Count the bytes that came then."""
        return sum(count for when, count in self.came if start <= when < end)


class Readers:
    """Read a node's files over HTTP, each on a socket of its own, until they are told to stop."""

    def __init__(self, node: Daemon, files: Sequence[str]) -> None:
        self.arrivals = [Arrivals() for _ in files]
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._read, args=(node.address, path, number))
            for number, path in enumerate(files)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, address: str, path: str, number: int) -> None:
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", path, headers={"P2pd-Node": f"reader-{number}"})
        response = connection.getresponse()
        while not self._end.is_set() and (data := response.read1(_READ)):
            self.arrivals[number].add(len(data))
        connection.close()

    def stop(self) -> None:
        """Stop, and wait until all have."""
        self._end.set()
        for thread in self._threads:
            thread.join()


class Downloads:
    """Look all the time how much a node has received of each of its downloads."""

    def __init__(self, node: Daemon, infohashes: Sequence[str]) -> None:
        self.arrivals = [Arrivals() for _ in infohashes]
        self._node = node
        self._infohashes = infohashes
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        seen = [0] * len(self.arrivals)
        looked = time.monotonic()
        while not self._end.wait(_POLL):
            transfers = self._node.call("transfers")["transfers"]
            before, looked = looked, time.monotonic()
            for transfer in transfers:
                number = self._infohashes.index(transfer["infohash"])
                received = sum(peer["received"] for peer in transfer["peers"])
                self.arrivals[number].spread(max(received - seen[number], 0), before, looked)
                seen[number] = max(received, seen[number])

    def stop(self) -> None:
        """Stop looking."""
        self._end.set()
        self._thread.join()


def deviation(arrivals: Sequence[Arrivals], limit: float, begin: float, end: float) -> str:
    """Return the least and the most that came in any 2 s, against the limit."""
    came = sorted(one for each in arrivals for one in each.came)
    times = [when for when, _ in came]
    sums = [0, *accumulate(count for _, count in came)]
    starts = [start for start in times if begin <= start <= end - _WINDOW]
    rates = [
        (sums[bisect_left(times, start + _WINDOW)] - sums[bisect_left(times, start)]) / _WINDOW
        for start in starts
    ]
    if not rates:
        raise Failed("nothing came")
    return f"{min(rates) / limit - 1:+8.1%}{max(rates) / limit - 1:+8.1%}"


def fairness(arrivals: Sequence[Arrivals], begin: float, end: float) -> str:
    """Return the smallest and the largest share, against equal ones."""
    counts = [one.between(begin, end) for one in arrivals]
    mean = sum(counts) / len(counts)
    return f"{min(counts) / mean - 1:+8.1%}{max(counts) / mean - 1:+8.1%}"


class Bench:
    """A tracker, a node that shares files, and one that can fetch them."""

    def __init__(self, stack: ExitStack, directory: Path, arguments: argparse.Namespace) -> None:
        self.rate: int = arguments.rate
        self._time: float = arguments.seconds
        tracker = Daemon(stack, "p2p-tracker", directory / "tracker")
        options = ("--tracker", f"http://{tracker.address}")
        self.seed = Daemon(stack, "p2p-node", directory / "seed", *options)
        self.leech = Daemon(stack, "p2p-node", directory / "leech", *options)
        self.names = [f"file-{number}" for number in range(arguments.parties)]
        self.infohashes = []
        for number, name in enumerate(self.names):
            file = directory / name
            write_file(file, int(self.rate * (self._time + 2) * 4) + number)
            shared = self.seed.call("share", {"path": str(file)})["transfer"]
            self.infohashes.append(shared["infohash"])
            addresses = {self.seed.address, self.leech.address}
            wait_until_known(tracker, shared["infohash"], addresses)
        self.paths = [
            f"/files/{infohash}/{name}"
            for infohash, name in zip(self.infohashes, self.names, strict=True)
        ]

    def limit(self, node: Daemon, infohash: str | None = None, **rates: int) -> None:
        """Limit a node, or one of its torrents."""
        where = f"transfers/{infohash}/limits" if infohash else "limits"
        fields = {f"max_{way}_rate": rate for way, rate in rates.items()}
        node.call(where, fields)

    def let(self, since: float | None = None) -> tuple[float, float]:
        """Let time pass; returns the time that is to be looked at."""
        began = since or time.monotonic()
        time.sleep(max(began + _WARM_UP + self._time - time.monotonic(), 0))
        return began + _WARM_UP, time.monotonic()

    def line(self, name: str, limit: float, *figures: str) -> None:
        """Print a row."""
        print(f"{name:44}{shown(limit):>12}{''.join(figures)}", flush=True)

    @contextmanager
    def readers(self, paths: Sequence[str]) -> Any:
        """Read from the seed."""
        readers = Readers(self.seed, paths)
        try:
            yield readers.arrivals
        finally:
            readers.stop()

    @contextmanager
    def downloads(self, count: int) -> Any:
        """Fetch to the leech."""
        chosen = self.infohashes[:count]
        for infohash in chosen:
            self.leech.call("start_download", {"infohash": infohash})
        downloads = Downloads(self.leech, chosen)
        try:
            yield downloads.arrivals
        finally:
            downloads.stop()


def upload(bench: Bench) -> None:
    """Limit a node that sends, then one of its torrents, then change the node's limit."""
    rate, own = bench.rate, bench.rate // (2 * len(bench.paths))
    bench.limit(bench.seed, upload=rate)
    with bench.readers(bench.paths) as arrivals:
        spell = bench.let()
        shares = fairness(arrivals, *spell)
        bench.line("upload, node", rate, deviation(arrivals, rate, *spell), shares)
        bench.limit(bench.seed, bench.infohashes[0], upload=own)
        spell = bench.let()
        first, others = arrivals[:1], arrivals[1:]
        bench.line("upload, one torrent of it", own, deviation(first, own, *spell))
        shares = fairness(others, *spell)
        bench.line("upload, the node still", rate, deviation(arrivals, rate, *spell), shares)
        bench.limit(bench.seed, upload=rate // 2)
        spell = bench.let()
        bench.line(
            "upload, node, from 0.5 s after it was halved",
            rate // 2,
            deviation(arrivals, rate // 2, *spell),
        )
    bench.limit(bench.seed, bench.infohashes[0], upload=0)
    bench.limit(bench.seed, upload=0)


def download(bench: Bench) -> None:
    """Do the same to a node that receives."""
    rate, own = bench.rate, bench.rate // (2 * len(bench.paths))
    bench.limit(bench.leech, download=rate)
    with bench.downloads(len(bench.paths)) as arrivals:
        spell = bench.let(time.monotonic() + 1)
        shares = fairness(arrivals, *spell)
        bench.line("download, node", rate, deviation(arrivals, rate, *spell), shares)
        bench.limit(bench.leech, bench.infohashes[0], download=own)
        spell = bench.let()
        bench.line("download, one torrent of it", own, deviation(arrivals[:1], own, *spell))
        shares = fairness(arrivals[1:], *spell)
        bench.line("download, the node still", rate, deviation(arrivals, rate, *spell), shares)


def main() -> int:
    """Run the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=checked(size), default=4_000_000, help="bytes/s (4M)")
    parser.add_argument("--parties", type=int, choices=range(2, 9), default=3, help="2 to 8 (3)")
    parser.add_argument("--seconds", type=checked(seconds), default=8.0, help="of each (8)")
    parser.add_argument("--dir", type=Path, default=Path("/dev/shm"), help="(/dev/shm)")
    arguments = parser.parse_args()

    def benchmark() -> None:
        print(f"{'':44}{'limit':>12}{'any 2 s: least, most':>22}{'shares':>12}")
        with ExitStack() as stack:
            made = tempfile.TemporaryDirectory(prefix="p2pd-rates-", dir=arguments.dir)
            bench = Bench(stack, Path(stack.enter_context(made)), arguments)
            upload(bench)
            download(bench)

    return run("rates.py", benchmark, None)


if __name__ == "__main__":
    sys.exit(main())
