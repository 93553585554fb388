"""A file for the swarms, replaced as a whole or not at all, and its twin in memory."""

import os
import struct
import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from twisted.logger import Logger

from p2pd.background import Threads
from p2pd.store.disk import disk_errors, sync

_MAGIC = b"p2pd swarms 2\n"
_HEAD = struct.Struct("!II")  # length and checksum
_LARGEST = 256 << 20

_log = Logger()


class SnapshotFile:
    """Implements `p2pd.tracker.ports.SwarmFile` in a file; `threads` keep the reactor free."""

    def __init__(self, path: Path, threads: Threads) -> None:
        self._path = path
        self._threads = threads

    async def write(self, portions: Iterator[bytes]) -> None:
        """Replace the file; see `SwarmFile.write`."""
        made = self._path.with_name(f"{self._path.name}.new")
        with disk_errors("write the snapshot"):
            file = await self._threads(_create, made)
            try:
                for portion in filter(None, portions):
                    await self._threads(_append, file, portion)
                await self._threads(_replace, file, self._path)
            except BaseException:
                made.unlink(missing_ok=True)
                file.close()
                raise

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Read the file; see `SwarmFile.read`."""
        try:
            with await self._threads(_open, self._path) as file:
                while portion := await self._threads(_next, file):
                    yield portion
                if file.tell() < os.fstat(file.fileno()).st_size:
                    _log.warn(
                        "{path} is damaged: what comes after {at} bytes of it is not restored",
                        path=self._path,
                        at=file.tell(),
                    )
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warn("cannot read {path}: {why}", path=self._path, why=error.strerror)


def _create(path: Path) -> BinaryIO:
    file = path.open("wb")
    file.write(_MAGIC)
    return file


def _append(file: BinaryIO, portion: bytes) -> None:
    file.write(_HEAD.pack(len(portion), zlib.crc32(portion)))
    file.write(portion)


def _replace(file: BinaryIO, path: Path) -> None:
    with file:
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
    sync(path.parent)


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    if file.read(len(_MAGIC)) != _MAGIC:
        file.seek(0)
    return file


def _next(file: BinaryIO) -> bytes:
    """Return the next portion, or nothing, at the same place, if it is not whole."""
    at = file.tell()
    head = file.read(_HEAD.size)
    if at and len(head) == _HEAD.size:
        length, checksum = _HEAD.unpack(head)
        portion = file.read(length) if length <= _LARGEST else b""
        if len(portion) == length and zlib.crc32(portion) == checksum:
            return portion
    file.seek(at)
    return b""


class MemorySnapshot:
    """Implements `p2pd.tracker.ports.SwarmFile` in a list."""

    def __init__(self, portions: Iterable[bytes] = ()) -> None:
        self.portions = list(portions)

    async def write(self, portions: Iterator[bytes]) -> None:
        """Keep portions; see `SwarmFile.write`."""
        self.portions = list(portions)

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Give what is kept; see `SwarmFile.read`."""
        for portion in self.portions:
            yield portion
