"""What every benchmark needs: a directory for its data, options read with care, a clean end."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def run(name: str, benchmark: Callable[[], Any], document: Path | None) -> int:
    """Run a benchmark, write what it gives as JSON if that is wanted; returns the exit status.

    What ends the program early raises an exception, so that whatever was started is ended too.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        figures = benchmark()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (Failed, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    if document:
        document.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return 0


def checked(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make a type of an option's value of what raises Invalid."""

    def check(text: str) -> Any:
        try:
            return read(text)
        except Invalid as error:
            raise argparse.ArgumentTypeError(error.reason) from error

    return check
