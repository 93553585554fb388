"""Making torrents of files on disk and of streams.

The same content, names and piece length make the same infohash on every machine: paths are
sorted as raw UTF-8, and neither dates nor owners are recorded.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from p2pd.errors import Conflict, Denied, Invalid, NotFound, Unavailable
from p2pd.metainfo import bencode
from p2pd.metainfo.files import MAX_FILES, FileEntry
from p2pd.metainfo.ids import InfoHash, PieceId
from p2pd.metainfo.paths import check_tree, safe_name, safe_path
from p2pd.metainfo.pieces import Cutter, Data, piece_length_for
from p2pd.metainfo.torrent import BLAKE3_KEY, MAX_PIECES, PIECE_LENGTHS, Torrent

# Read and digested twice while it is in the processor's cache.
_CHUNK = 512 * 1024

_Digests: TypeAlias = tuple[list[bytes], list[bytes]]


@dataclass(frozen=True, slots=True)
class _Source:
    """A regular file, its path in the torrent and its place on disk."""

    path: tuple[str, ...]
    place: str
    length: int
    executable: bool


def describe(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    piece_length: int | None = None,
    only: Collection[str] | None = None,
    progress: Callable[[int], object] | None = None,
    seen: Callable[[os.stat_result], object] | None = None,
) -> Torrent:
    """Read a file or a directory and make its torrent; blocks, so call it in a thread.

    `name` is the path's last component unless given, `piece_length` follows from the size. Of a
    directory, what is `only` named there is taken, or all.
    `progress` is called with the bytes read so far; what it raises ends the work. `seen` is called
    with the status of each file once it is read, in the torrent's order. A symbolic link in a
    directory counts as the file it leads to if that lies in the same directory. Raises NotFound,
    Denied or Unavailable for what cannot be read, Invalid for what cannot be shared (no files,
    other kinds of files, unsafe names, links that lead elsewhere) and Conflict if a file changes
    meanwhile.
    """
    top = Path(os.path.abspath(path))  # noqa: PTH100 - the name given, not the one it leads to
    name = safe_name(top.name if name is None else name)
    try:
        single = not stat.S_ISDIR(top.stat().st_mode)
        sources = [_source((name,), str(top.resolve()))] if single else _sources(top, only)
        buffer = memoryview(bytearray(_CHUNK))
        return _describe(
            name,
            sources,
            piece_length,
            lambda source: _read(source, buffer, seen or _ignore),
            progress or _ignore,
            single=single,
        )
    except FileNotFoundError as error:
        raise NotFound(f"there is no {error.filename}") from error
    except PermissionError as error:
        raise Denied(f"{error.filename} may not be read") from error
    except OSError as error:
        raise Unavailable(f"{error.filename or top} cannot be read: {error.strerror}") from error


def describe_bytes(name: str, files: Mapping[tuple[str, ...], bytes]) -> Torrent:
    """Make the torrent of a directory in memory, as `describe` does of one on disk."""
    sources = [_Source(safe_path(path), "", len(files[path]), False) for path in files]
    return _describe(
        safe_name(name),
        _sorted(sources),
        None,
        lambda source: iter([files[source.path]]),
        _ignore,
        single=False,
    )


class StreamDescription:
    """Makes the torrent of one file that arrives as a stream. See describe_stream."""

    def __init__(self, name: str, length: int, piece_length: int) -> None:
        _check_pieces(length, piece_length)
        self._file = FileEntry((name,), length, 0)
        self._piece_length = piece_length
        self._cutter = Cutter(piece_length)
        self._left = length

    def feed(self, data: Data) -> None:
        """Take the next bytes; raise Conflict if there are more than were announced."""
        self._left -= len(data)
        if self._left < 0:
            raise Conflict("the stream is longer than announced; describe it again")
        self._cutter.feed(data)

    def finish(self) -> Torrent:
        """Make the torrent; raise Conflict if the stream was shorter than announced."""
        if self._left:
            raise Conflict(f"the stream ended {self._left} bytes early; describe it again")
        name = self._file.path[0]
        return _torrent(name, _fields(self._file), self._piece_length, self._cutter.finish())


def describe_stream(name: str, length: int, piece_length: int | None = None) -> StreamDescription:
    """Begin the torrent of a file of `length` bytes, to be fed in order; raise Invalid if unsafe.

    It is the torrent that describe makes of the same file.
    """
    if length < 0:
        raise Invalid(f"a file cannot have {length} bytes")
    if piece_length is None:
        piece_length = piece_length_for(length)
    return StreamDescription(safe_name(name), length, piece_length)


def _ignore(_: object) -> None:
    pass


def _describe(
    name: str,
    sources: list[_Source],
    piece_length: int | None,
    read: Callable[[_Source], Iterator[Data]],
    progress: Callable[[int], object],
    *,
    single: bool,
) -> Torrent:
    total = sum(source.length for source in sources)
    if piece_length is None:
        piece_length = piece_length_for(total)
    _check_pieces(total, piece_length)
    laid_out = _lay_out(sources, piece_length)
    fields = _fields(laid_out[0][0])
    if not single:
        fields = {"files": [_fields(file) | {"path": file.path} for file, _ in laid_out]}
    # What would be refused at the end is refused before hours of reading.
    pieces = -(-laid_out[-1][0].end // piece_length)
    blank = [bytes(32)] * pieces, [bytes(20)] * pieces
    torrent = _torrent(name, fields, piece_length, blank)
    cutter = Cutter(piece_length)
    done = 0
    for file, source in laid_out:
        if source is None:
            cutter.feed(bytes(file.length))
            continue
        for data in read(source):
            cutter.feed(data)
            done += len(data)
            progress(done)
    return _filled_in(torrent, blank, cutter.finish())


def _sources(top: Path, only: Collection[str] | None) -> list[_Source]:
    found: list[_Source] = []
    waiting: list[tuple[str, tuple[str, ...]]] = [(str(top), ())]
    while waiting:
        here, above = waiting.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                inside = (*above, entry.name)
                if only is not None and inside[0] not in only:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, inside))
                else:
                    # Links to directories are refused like other bad links.
                    place = _target(entry.path, top) if entry.is_symlink() else entry.path
                    found.append(_source(safe_path(inside), place))
        if len(found) > MAX_FILES:
            raise Invalid(f"{top} has more than {MAX_FILES} files; share an archive of it")
    if not found:
        raise Invalid(f"{top} has no files to share")
    return _sorted(found)


def _sorted(sources: list[_Source]) -> list[_Source]:
    check_tree(source.path for source in sources)
    return sorted(sources, key=lambda source: "/".join(source.path).encode())


def _source(path: tuple[str, ...], place: str) -> _Source:
    facts = os.lstat(place)
    if not stat.S_ISREG(facts.st_mode):
        raise Invalid(f"{place} is neither a file nor a directory; only these can be shared")
    return _Source(path, place, facts.st_size, bool(facts.st_mode & stat.S_IXUSR))


def _target(link: str, top: Path) -> str:
    try:
        target = Path(link).resolve(strict=True)
    except (OSError, RuntimeError):  # leads nowhere, or in a circle
        raise Invalid(f"the link {link} leads to no file; remove it") from None
    if not target.is_file() or not target.is_relative_to(top.resolve()):
        raise Invalid(f"the link {link} does not lead to a file in {top}; put the file there")
    return str(target)


def _lay_out(sources: list[_Source], piece_length: int) -> list[tuple[FileEntry, _Source | None]]:
    """Place the files; those of a piece or more begin at a boundary, after padding."""
    laid_out: list[tuple[FileEntry, _Source | None]] = []
    at = 0
    for source in sources:
        gap = -at % piece_length
        if gap and source.length >= piece_length:
            laid_out.append((FileEntry((".pad", str(gap)), gap, at, padding=True), None))
            at += gap
        file = FileEntry(source.path, source.length, at, executable=source.executable)
        laid_out.append((file, source))
        at = file.end
    return laid_out


def _read(
    source: _Source, buffer: memoryview, seen: Callable[[os.stat_result], object]
) -> Iterator[memoryview]:
    # The path may have become a link or a pipe since it was looked at.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fileno = os.open(source.place, flags)
    try:
        before = os.fstat(fileno)
        left = source.length
        while left and (count := os.readv(fileno, [buffer[:left]])):
            left -= count
            yield buffer[:count]
        after = os.fstat(fileno)
    finally:
        os.close(fileno)
    if (
        after.st_size != source.length
        or before.st_mtime_ns != after.st_mtime_ns
        or left
        or not stat.S_ISREG(after.st_mode)
    ):
        raise Conflict(f"{source.place} changed while it was read; share it again")
    seen(after)


def _check_pieces(total: int, piece_length: int) -> None:
    if piece_length not in PIECE_LENGTHS:
        raise Invalid(f"a piece length of {piece_length} is not 1 KiB to 64 MiB")
    if total > piece_length * MAX_PIECES:
        raise Invalid(f"{total} bytes make too many pieces of {piece_length}; take longer pieces")


def _fields(file: FileEntry) -> dict[str, object]:
    fields: dict[str, object] = {"length": file.length}
    if file.padding or file.executable:
        fields["attr"] = "p" if file.padding else "x"
    return fields


def _torrent(
    name: str, fields: dict[str, object], piece_length: int, digests: _Digests
) -> Torrent:
    blake3_digests, sha1_digests = digests
    info = fields | {
        "name": name,
        "piece length": piece_length,
        "pieces": b"".join(sha1_digests),
        BLAKE3_KEY.decode(): b"".join(blake3_digests),
    }
    return Torrent.from_bytes(bencode.encode({"info": info}))


def _filled_in(torrent: Torrent, blank: _Digests, digests: _Digests) -> Torrent:
    """Make the torrent that has other digests in the place of blank ones."""
    info = torrent.info.removesuffix(_tail(blank)) + _tail(digests)
    return replace(
        torrent,
        info=info,
        infohash=InfoHash(hashlib.sha1(info, usedforsecurity=False).digest()),
        piece_ids=tuple(PieceId(piece_id) for piece_id in digests[0]),
    )


def _tail(digests: _Digests) -> bytes:
    """How an info dict ends: the digests' keys are the last in order."""
    blake3_digests, sha1_digests = digests
    ends = {b"pieces": b"".join(sha1_digests), BLAKE3_KEY: b"".join(blake3_digests)}
    return bencode.encode(ends)[1:]
