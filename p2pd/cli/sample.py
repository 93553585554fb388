"""Makes a file worth sharing from what every Python brings along."""

import os
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 1024 * 1024
_TAR_OVERHEAD = 32 * 1024
"""More than a tar archive adds: headers for one file, the end, and padding to a record."""


def write_sample(path: Path, size: int) -> Iterator[None]:
    """Write exactly `size` bytes, a little at each step: a tar archive, then random bytes.

    The archive holds as much of the standard library as fits; programs that read archives
    ignore what follows its end.
    """
    with path.open("xb") as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for source, name in _standard_library():
                if file.tell() + source.stat().st_size + _TAR_OVERHEAD <= size:
                    archive.add(source, name)
                    yield
        if file.tell() > size:
            file.truncate(size)
            file.seek(size)
        while left := size - file.tell():
            file.write(os.urandom(min(left, _CHUNK)))
            yield


def _standard_library() -> Iterator[tuple[Path, str]]:
    """The files of the standard library, and their names below it."""
    top = Path(sysconfig.get_path("stdlib"))
    for directory, subdirectories, names in os.walk(top):
        kept = set(subdirectories) - {"__pycache__", "site-packages", "dist-packages"}
        subdirectories[:] = sorted(kept)
        for name in sorted(names):
            file = Path(directory, name)
            if file.is_file() and not file.is_symlink():
                yield file, str(file.relative_to(top))
