"""Deleting the published files of one torrent, and nothing else."""

import os
import stat
from contextlib import suppress

from p2pd.store import disk
from p2pd.store.disk import Stamp
from p2pd.store.layout import Layout


def delete_published(layout: Layout, *, changed: bool) -> None:
    """Delete published files, those `changed` too or not, and directories that are empty then.

    What is no regular file stays, and so does all behind a symbolic link.
    """
    files = {
        layout.place(file): layout.stamps[file.path]
        for file in layout.payload
        if file.path in layout.stamps
    }
    top = str(layout.path)
    status = disk.status_unless_absent(top)
    if status is None or not files:
        return
    if layout.torrent.single_file:
        if _is_ours(status, files[top], changed=changed):
            layout.path.unlink()
        return
    if stat.S_ISDIR(status.st_mode):
        directories = set(layout.directories(layout.path, layout.payload))
        _delete_tree(top, files, directories, changed=changed)
        _delete_empty(top, None)


def _is_ours(status: os.stat_result, stamp: Stamp, *, changed: bool) -> bool:
    return stat.S_ISREG(status.st_mode) and (changed or Stamp.of(status) == stamp)


def _delete_tree(
    top: str, files: dict[str, Stamp], directories: set[str], *, changed: bool
) -> None:
    # Relative to open directories, so that none can become a link on the way.
    for here, inner, names, fileno in os.fwalk(top, topdown=False, onerror=_refuse):
        for name in names:
            stamp = files.get(f"{here}/{name}")
            if stamp is not None:
                status = os.stat(name, dir_fd=fileno, follow_symlinks=False)
                if _is_ours(status, stamp, changed=changed):
                    os.unlink(name, dir_fd=fileno)
        for name in inner:
            if f"{here}/{name}" in directories:
                _delete_empty(name, fileno)


def _refuse(error: OSError) -> None:
    raise error


def _delete_empty(path: str, beside: int | None) -> None:
    """Delete a directory if it is one and empty."""
    with suppress(OSError):
        os.rmdir(path, dir_fd=beside)
