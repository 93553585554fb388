"""The files of a torrent, and how metainfo lists them (BEP 3, 47 and 52)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from p2pd.errors import Invalid
from p2pd.metainfo.bencode import Value
from p2pd.metainfo.paths import check_tree, safe_name, safe_path

MAX_FILES = 100_000
MAX_LENGTH = 2**50
"""Bytes in a torrent, padding included."""

Dict: TypeAlias = dict[bytes, Value]
Listed: TypeAlias = "list[tuple[FileEntry, bytes]]"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a torrent; offsets and lengths are in bytes.

    `path` is relative to the torrent's directory and safe to use; in a torrent of a single file
    it is the torrent's name alone. `offset` is where the file begins in the torrent. Padding
    (BEP 47) is zeros that are never written to disk.
    """

    path: tuple[str, ...]
    length: int
    offset: int
    padding: bool = False
    executable: bool = False

    @property
    def end(self) -> int:
        """Where the file ends in the torrent."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a piece that lies in one file.

    `offset` is its place in the file, `start` its place in the piece.
    """

    file: FileEntry
    offset: int
    length: int
    start: int


def field(fields: Dict, key: bytes, kind: type[T]) -> T:
    """Give the value of a key of the metainfo; raise Invalid if there is none of that kind."""
    value = fields.get(key)
    if not isinstance(value, kind):
        words = {int: "an integer", bytes: "a string", list: "a list", dict: "a dict"}
        raise Invalid(f"the metainfo's {key.decode()!r} is not {words[kind]}")
    return value


def text(value: Value | None) -> str:
    """Read a string of the metainfo as UTF-8; raise Invalid if it is none."""
    try:
        if isinstance(value, bytes):
            return value.decode()
    except UnicodeDecodeError:
        pass
    raise Invalid("a name or URL in the metainfo is not UTF-8 text")


def read_v1(info: Dict, name: str) -> tuple[FileEntry, ...]:
    """Read the file list of BEP 3, padding included; raise Invalid if it is unsafe or too long."""
    if b"files" not in info:
        return _checked([_entry(info, (name,), 0)])
    listed = field(info, b"files", list)
    if len(listed) > 2 * MAX_FILES:
        raise Invalid(f"the metainfo lists more than {MAX_FILES} files")
    files: list[FileEntry] = []
    offset = 0
    for item in listed:
        if not isinstance(item, dict):
            raise Invalid("the metainfo's 'files' holds something other than dicts")
        key = b"path.utf-8" if b"path.utf-8" in item else b"path"
        path = tuple(text(part) for part in field(item, key, list))
        files.append(_entry(item, path, offset))
        offset += files[-1].length
    return _checked(files)


def read_v2(info: Dict, piece_length: int) -> Listed:
    """Read the file tree of BEP 52, each file with its pieces root (empty for an empty file).

    Every file begins at a piece boundary. Raises Invalid if a name or a length is unsafe.
    """
    files: Listed = []
    offset = 0
    for path, item in _leaves(field(info, b"file tree", dict)):
        if len(files) == MAX_FILES:
            raise Invalid(f"the metainfo lists more than {MAX_FILES} files")
        entry = _entry(item, path, offset)
        root = field(item, b"pieces root", bytes) if entry.length else b""
        if entry.length and len(root) != 32:
            raise Invalid("a pieces root in the metainfo is not 32 bytes long")
        files.append((entry, root))
        offset += -(-entry.length // piece_length) * piece_length
    _checked([entry for entry, _ in files])
    return files


def _leaves(tree: Dict) -> Iterator[tuple[tuple[str, ...], Dict]]:
    nodes: list[tuple[tuple[str, ...], Value]] = [((), tree)]
    while nodes:
        path, node = nodes.pop()
        if not isinstance(node, dict):
            raise Invalid("the metainfo's file tree holds something other than dicts")
        if b"" not in node:
            names = sorted(node, reverse=True)
            nodes += [((*path, safe_name(text(name))), node[name]) for name in names]
        elif len(node) == 1:
            yield path, field(node, b"", dict)
        else:
            raise Invalid("the metainfo's file tree has a file that is also a directory")


def _entry(item: Dict, path: tuple[str, ...], offset: int) -> FileEntry:
    length = field(item, b"length", int)
    if not 0 <= length <= MAX_LENGTH:
        raise Invalid(f"the metainfo has a file length of {length}")
    attributes = field(item, b"attr", bytes) if b"attr" in item else b""
    if b"l" in attributes:
        raise Invalid("the metainfo has symbolic links; share the files themselves instead")
    if b"p" in attributes:
        return FileEntry((".pad", str(length)), length, offset, padding=True)
    return FileEntry(safe_path(path), length, offset, executable=b"x" in attributes)


def _checked(files: list[FileEntry]) -> tuple[FileEntry, ...]:
    paths = [file.path for file in files if not file.padding]
    if not 0 < len(paths) <= MAX_FILES:
        raise Invalid(f"the metainfo lists {len(paths)} files, not 1 to {MAX_FILES}")
    if files[-1].end > MAX_LENGTH:
        raise Invalid(f"the metainfo describes more than {MAX_LENGTH} bytes")
    check_tree(paths)
    return tuple(files)
