"""What the store asks of the operating system: stamps, syncing, renaming, deleting."""

import ctypes
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from p2pd.errors import Conflict, Unavailable

# Past this many files one sync of their whole file system is cheaper than one per file.
_SYNC_EACH = 64

_libc = ctypes.CDLL(None, use_errno=True)
_PUNCH_HOLE = 0x03  # with FALLOC_FL_KEEP_SIZE; see fallocate(2)
_ZEROS = bytes(64 * 1024)


class Stamp(NamedTuple):
    """What a file looked like when its content was verified."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """The stamp of a file's status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn what the operating system raises into `Unavailable`, naming what was tried."""
    try:
        yield
    except OSError as error:
        raise refusal(what, error) from error


def refusal(what: str, error: OSError) -> Unavailable:
    """What the operating system raised, as `Unavailable`, naming what was tried."""
    where = f" {error.filename}" if error.filename else ""
    return Unavailable(f"cannot {what}{where}: {error.strerror or error}")


def status_of(path: str) -> os.stat_result:
    """The status of what lies at a path; `Conflict` if nothing does."""
    try:
        return os.stat(path)  # noqa: PTH116 - a Path costs more than the call
    except FileNotFoundError:
        raise Conflict(f"{path} is gone from disk") from None


def status_unless_absent(path: str) -> os.stat_result | None:
    """The status of what lies at a path itself, be it a link; None if nothing does."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def write_all(fileno: int, data: memoryview, offset: int) -> None:
    """Write at a place of an open file, however many calls that takes."""
    while data:
        written = os.pwrite(fileno, data, offset)
        data, offset = data[written:], offset + written


def all_zeros(data: memoryview) -> bool:
    """Whether there is nothing but zeros; tells at once if there is something in the beginning."""
    step = len(_ZEROS)
    return data[:16] == _ZEROS[: len(data[:16])] and all(
        _ZEROS.startswith(data[at : at + step].tobytes()) for at in range(0, len(data), step)
    )


def clear(fileno: int, offset: int, length: int) -> bool:
    """Make part of an open file zeros that take no room; False if its file system cannot."""
    fallocate = getattr(_libc, "fallocate64", None)
    return fallocate is not None and not fallocate(
        fileno, _PUNCH_HOLE, ctypes.c_int64(offset), ctypes.c_int64(length)
    )


def sync_all(root: Path, files: list[str], directories: Iterable[str]) -> None:
    """Make files and directories below `root` survive a power loss; absent files are left out."""
    if len(files) > _SYNC_EACH:
        _sync_file_system(root)
        return
    for file in files:
        try:
            sync(file)
        except FileNotFoundError:
            continue
    for directory in directories:
        sync(directory)


def sync(path: str | Path) -> None:
    """Make one file or directory survive a power loss."""
    fileno = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fileno)
    finally:
        os.close(fileno)


def _sync_file_system(root: Path) -> None:
    syncfs = getattr(_libc, "syncfs", None)
    if syncfs is None:  # a libc other than glibc and musl
        os.sync()
        return
    fileno = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if syncfs(fileno):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(root))
    finally:
        os.close(fileno)


def rename(source: Path, target: Path, *, replace: bool) -> None:
    """Give `source` the name `target`; `Conflict` if that is taken and not to be replaced."""
    old = aside(source)
    if not os.path.lexists(target):
        source.rename(target)
        delete(old)  # of a replacement that was cut short
        return
    if not replace:
        raise Conflict(f"{target} already exists: remove it, or ask to replace it")
    if target.is_dir() or source.is_dir():
        delete(old)
        target.rename(old)
        source.rename(target)
        delete(old)
    else:
        source.replace(target)


def aside(partial: Path) -> Path:
    """Where a directory is kept while the partial one takes its place."""
    return partial.with_name(f"{partial.name}.old")


def delete(path: Path) -> None:
    """Delete a file or a directory with all in it, if there is one."""
    with disk_errors("delete"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
