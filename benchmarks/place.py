"""Where a benchmark keeps its data, and how its options are read."""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from processes import Failed

from p2pd.errors import Invalid

_GIB = 1024**3


@contextmanager
def directory_for(room: int, parent: Path, prefix: str) -> Iterator[Path]:
    """Make a directory where `room` bytes fit, and delete it in the end."""
    free = shutil.disk_usage(parent).free
    if room * 1.05 > free:
        raise Failed(
            f"{parent} has {free / _GIB:.1f} GiB free, of {room * 1.05 / _GIB:.1f} needed"
        )
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as made:
        yield Path(made)


def checked(read: Callable[[str], int]) -> Callable[[str], int]:
    """Make a type of an option's value of what raises Invalid."""

    def check(text: str) -> int:
        try:
            return read(text)
        except Invalid as error:
            raise argparse.ArgumentTypeError(error.reason) from error

    return check
