"""The demonstration: a tracker and nodes on this machine, one real file, on all of them."""

import hashlib
import shutil
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from p2pd.cli.client import Transfer
from p2pd.cli.local_fleet import LocalFleet, together
from p2pd.cli.outcome import CommandFailed, Exit
from p2pd.cli.output import Output, rate, size
from p2pd.cli.progress import display_on
from p2pd.cli.sample import write_sample

_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Copy:
    """What became of the file on one node; on the first node, the file itself."""

    node: str
    transfer: Transfer
    sha256: str

    @property
    def seconds(self) -> float:
        """How long the node took from being asked until all was verified and in place."""
        finished = self.transfer.finished
        return max((finished or 0.0) - self.transfer.added, 0.001)

    def to_wire(self) -> dict[str, Any]:
        """The copy as JSON."""
        return {
            "node": self.node,
            "sha256": self.sha256,
            "seconds": self.seconds,
            "bytes_per_second": self.transfer.size / self.seconds,
            "downloaded": self.transfer.downloaded,
            "uploaded": self.transfer.uploaded,
            "sent_to": self.transfer.document.get("sent_to"),
        }


@dataclass(frozen=True)
class Outcome:
    """How the demonstration went: the seed's share, and the copies on all other nodes."""

    seed: Copy
    copies: Sequence[Copy]

    @property
    def different(self) -> list[str]:
        """The nodes whose copies are not what was shared."""
        return [copy.node for copy in self.copies if copy.sha256 != self.seed.sha256]

    @property
    def seconds(self) -> float:
        """The time from the first request until the last copy was complete."""
        began = min(copy.transfer.added for copy in self.copies)
        return max(copy.transfer.added + copy.seconds for copy in self.copies) - began

    @property
    def speed(self) -> float:
        """Bytes/s that arrived on all nodes together."""
        return self.seed.transfer.size * len(self.copies) / self.seconds

    def to_wire(self) -> dict[str, Any]:
        """The whole as JSON."""
        shared = self.seed.transfer
        return {
            "file": shared.name,
            "infohash": shared.infohash,
            "size": shared.size,
            "sha256": self.seed.sha256,
            "identical": not self.different,
            "seconds": self.seconds,
            "bytes_per_second": self.speed,
            "seed": {
                "node": self.seed.node,
                "uploaded": shared.uploaded,
                "copies_sent": _copies_sent(self.seed),
                "sent_to": shared.document.get("sent_to"),
            },
            "copies": [copy.to_wire() for copy in self.copies],
        }

    def to_lines(self) -> Iterator[str]:
        """The whole for people."""
        shared = self.seed.transfer
        yield f"copies: {len(self.copies)} of {size(shared.size)} each, in {self.seconds:.2f} s"
        yield f"  all      {rate(self.speed)} in total"
        yield (
            f"  {self.seed.node:8} sent {size(shared.uploaded)}, "
            f"{_copies_sent(self.seed):.2f} copies, as the first seed"
        )
        for copy in self.copies:
            speed = rate(shared.size / copy.seconds)
            yield (
                f"  {copy.node:8} complete after {copy.seconds:.2f} s, {speed}; "
                f"sent {size(copy.transfer.uploaded)}"
            )
        yield f"SHA-256 of the original: {self.seed.sha256}"
        for copy in self.copies:
            if copy.node in self.different:
                yield f"  {copy.node:8} has {copy.sha256}"
        identical = len(self.copies) - len(self.different)
        yield f"identical copies: {identical} of {len(self.copies)}"


def _copies_sent(copy: Copy) -> float:
    return copy.transfer.uploaded / copy.transfer.size if copy.transfer.size else 0.0


async def demo(reactor: Any, arguments: Namespace, out: Output) -> None:
    """Get one file onto nodes started for it, compare the copies, and tell how it went."""
    try:
        outcome = await _run(reactor, arguments, out)
    except CancelledError:
        raise CommandFailed(
            Exit.INTERRUPTED, "interrupted: all that the demo started and made is gone again"
        ) from None
    if out.as_json:
        out.document(outcome.to_wire())
    for line in outcome.to_lines():
        out.say(line)
    if outcome.different:
        wrong = ", ".join(outcome.different)
        raise CommandFailed(Exit.FAILED, f"what {wrong} has differs from the original")


async def _run(reactor: Any, arguments: Namespace, out: Output) -> Outcome:
    """Do everything in a directory that is deleted in the end, when no process is left."""
    given: Path | None = arguments.file
    length = _length(given) if given else arguments.size
    with _temporary_directory(length * (arguments.nodes - bool(given))) as directory:
        file = given or await _sample(reactor, directory / "sample.tar", length, out)
        fleet = LocalFleet(reactor, directory)
        try:
            out.say(f"starting a tracker and {arguments.nodes} nodes in {directory}")
            await fleet.start(arguments.nodes)
            return await _distribute(fleet, file, out)
        finally:
            await fleet.stop()


def _length(file: Path) -> int:
    try:
        if not file.is_file():
            raise CommandFailed(Exit.USAGE, f"{file} is not a file, which the demo needs")
        return file.stat().st_size
    except OSError as error:
        raise CommandFailed(Exit.FAILED, f"cannot read {file}: {error.strerror}") from error


@contextmanager
def _temporary_directory(room: int) -> Iterator[Path]:
    """Make a directory where `room` bytes fit, and delete it in the end."""
    try:
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if room * 1.05 > free:
            raise CommandFailed(
                Exit.FAILED,
                f"the demo needs {size(room * 1.05)} in {tempfile.gettempdir()}, which has"
                f" {size(free)} free: set TMPDIR to a larger place, or lower --size or --nodes",
            )
        directory = Path(tempfile.mkdtemp(prefix="p2pd-demo-"))
    except OSError as error:
        raise CommandFailed(
            Exit.FAILED, f"cannot make a temporary directory: {error.strerror}"
        ) from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _sample(reactor: Any, path: Path, length: int, out: Output) -> Path:
    out.say(f"making a sample of {size(length)}: Python's standard library in an archive")
    try:
        for _ in write_sample(path, length):
            await deferLater(reactor, 0)
    except OSError as error:
        raise CommandFailed(Exit.FAILED, f"cannot write {path}: {error.strerror}") from error
    return path


async def _distribute(fleet: LocalFleet, file: Path, out: Output) -> Outcome:
    """Share `file` on the first node, fetch it on the others at once, digest all copies."""
    first, *others = fleet.nodes
    shared = await first.share(file)
    out.say(f"{first.name} shares {shared.name} ({size(shared.size)}, {shared.infohash})")
    with display_on(out, fleet.clock, documents=False) as display:
        fetched = await together(node.fetch(shared.name, display) for node in others)
    shared, *fetched = await together(node.look(shared.infohash) for node in fleet.nodes)
    original, *digests = await _digests([file, *(Path(one.path) for one in fetched)])
    copies = map(Copy, [node.name for node in others], fetched, digests)
    return Outcome(Copy(first.name, shared, original), tuple(copies))


async def _digests(paths: Sequence[Path]) -> list[str]:
    """The SHA-256 of each file, in hex, computed in threads."""
    enough = threading.Event()
    try:
        return await together(deferToThread(_sha256, path, enough) for path in paths)
    except OSError as error:
        raise CommandFailed(
            Exit.FAILED, f"cannot read {error.filename}: {error.strerror}"
        ) from error
    finally:
        enough.set()


def _sha256(path: Path, enough: threading.Event) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while not enough.is_set() and (chunk := file.read(_CHUNK)):
            digest.update(chunk)
    return digest.hexdigest()
