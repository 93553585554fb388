"""What the store asks of the operating system: stamps, syncing, renaming, deleting."""

import ctypes
import errno
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
# In the partial file or not at all: what a link leads to is not ours to change.
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


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
    except (FileNotFoundError, NotADirectoryError):
        raise Conflict(f"{path} is gone from disk") from None


def status_unless_absent(path: str) -> os.stat_result | None:
    """The status of what lies at a path itself, be it a link; None if nothing does."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def require_room(directory: Path, missing: int, *, least_free: int, what: str) -> None:
    """Raise `Unavailable` if there is not room for so many bytes, and some to be left free."""
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if missing > max(free - least_free, 0):
        kept = f", and {least_free} are to stay free" if least_free else ""
        raise Unavailable(
            f"{directory} has {free} bytes free, {what} needs {missing}{kept}: "
            "make room or choose another destination"
        )


def open_to_write(path: str, *, create: bool) -> int:
    """Open a file for writing, whatever links are there."""
    return os.open(path, _WRITE | (os.O_CREAT if create else 0), 0o666)


def make(path: str, length: int) -> None:
    """Make a file of a length, or give one that is there that length."""
    fileno = open_to_write(path, create=True)
    try:
        os.ftruncate(fileno, length)
    finally:
        os.close(fileno)


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


def rename(source: Path, target: Path, *, replace: bool, old: Path) -> None:
    """Give `source` the name `target`; `Conflict` if that is taken and not to be replaced.

    A directory that is replaced is called `old` meanwhile.
    """
    if not os.path.lexists(target):
        source.rename(target)
        delete(old)  # of a replacement that was cut short
        return
    refuse_taken(target, replace=replace)
    if target.is_dir() or source.is_dir():
        delete(old)
        target.rename(old)
        try:
            source.rename(target)
        except OSError:
            old.rename(target)
            raise
        delete(old)
    else:
        source.replace(target)


def refuse_taken(target: Path, *, replace: bool) -> None:
    """Raise `Conflict` if something is at a path and not to be replaced."""
    if not replace and os.path.lexists(target):
        raise Conflict(f"{target} already exists: remove it, or ask to replace it")


def aside(path: Path) -> Path:
    """What a directory that is about to be deleted is called."""
    return path.with_name(f"{path.name}.old")


def copy_file(source: str, target: str) -> None:
    """Copy a file with its mode and times; its holes stay holes."""
    with open(source, "rb", buffering=0) as from_, open(target, "xb", buffering=0) as to:  # noqa: PTH123
        length = os.fstat(from_.fileno()).st_size
        to.truncate(length)
        for start, end in _extents(from_.fileno(), length):
            to.seek(start)
            at = start
            while at < end:
                sent = os.sendfile(to.fileno(), from_.fileno(), at, end - at)
                if not sent:
                    raise Conflict(f"{source} became shorter while it was copied")
                at += sent
    shutil.copystat(source, target)


def _extents(fileno: int, length: int) -> Iterator[tuple[int, int]]:
    """Where a file has data."""
    end = 0
    while end < length:
        try:
            start = os.lseek(fileno, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        end = os.lseek(fileno, start, os.SEEK_HOLE)
        yield start, end


def delete(path: Path) -> None:
    """Delete a file or a directory with all in it, if there is one."""
    with disk_errors("delete"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def put_away(path: Path) -> None:
    """Delete a directory in such a way that it is never there in part."""
    old = aside(path)
    delete(old)
    if os.path.lexists(path):
        path.rename(old)
        delete(old)
