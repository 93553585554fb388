"""Giving verified files their final names: all at once, or some and others later.

All files get theirs by one rename.  If there are some only, a journal beside the partial tree
tells beforehand which, and what they look like: those that are found like that at their final
places later were published by us, even if the process was killed before it told anybody.
"""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from p2pd.errors import Conflict, Unavailable
from p2pd.metainfo.files import FileEntry
from p2pd.store import disk, writing
from p2pd.store.disk import Stamp
from p2pd.store.layout import Layout


def occupied(layout: Layout) -> bool:
    """Whether what is not published may be at the destination nevertheless."""
    if not layout.stamps:
        return os.path.lexists(layout.path)
    left = [file for file in layout.payload if file.path not in layout.stamps]
    return bool(left) and all(os.path.lexists(layout.at(layout.path, file)) for file in left)


def finished(layout: Layout, wanted: Collection[int] | None) -> Layout:
    """The wanted files published; `Unavailable` if one is not as it was written."""
    chosen = [
        file
        for number, file in enumerate(layout.payload)
        if (wanted is None or number in wanted) and file.path not in layout.stamps
    ]
    for file in chosen:
        if not file.length:
            disk.make(layout.place(file), 0)
    stamps = {file.path: _finished(layout, file) for file in chosen}
    return layout.with_stamps({**layout.stamps, **stamps})


def _finished(layout: Layout, file: FileEntry) -> Stamp:
    place = layout.place(file)
    status = disk.status_unless_absent(place)
    if status is None or status.st_size != file.length or not stat.S_ISREG(status.st_mode):
        what = "disappeared" if status is None else "changed"
        raise Unavailable(
            f"{place} {what} while {layout.torrent.name} was being downloaded: "
            "download it again, and let no other program change it meanwhile"
        )
    if file.executable:
        Path(place).chmod(stat.S_IMODE(status.st_mode) | 0o111)
    return Stamp.of(status)


def publish(before: Layout, after: Layout, *, replace: bool) -> None:
    """Give those files their final names that are published in the layout `after` only."""
    new = after.stamps.keys() - before.stamps.keys()
    files = [file for file in after.payload if file.path in new]
    writing.sync(before, files)
    if after.covers() and not before.stamps:
        disk.rename(before.partial, after.path, replace=replace, old=disk.aside(before.partial))
    elif files:
        _publish_some(before, after, files, replace=replace)
    if after.covers() and before.stamps:
        discard(after)
    disk.sync(after.path.parent)


def _publish_some(before: Layout, after: Layout, files: list[FileEntry], *, replace: bool) -> None:
    directories = after.directories(after.path, files)
    for directory in directories:
        status = disk.status_unless_absent(directory)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            raise Conflict(f"{directory} is in the way: remove it")
    for file in files:
        disk.refuse_taken(Path(after.place(file)), replace=replace)
    _write_journal(after)
    for directory in directories:
        os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - as in disk.py
    for file in files:
        target = Path(after.place(file))
        disk.rename(
            Path(before.place(file)), target, replace=replace, old=disk.aside(before.partial)
        )
    disk.sync_all(after.path, [after.place(file) for file in files], directories)


def _write_journal(layout: Layout) -> None:
    with layout.journal.open("wb") as file:
        file.write(layout.to_bytes())
        file.flush()
        os.fsync(file.fileno())
    disk.sync(layout.journal.parent)


def recovered(layout: Layout) -> Layout:
    """The layout with those files published too that the journal tells of."""
    try:
        noted = layout.read(layout.journal.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return layout
    except (ValueError, TypeError):  # its writing was cut short
        return layout
    there = layout.with_stamps({**noted, **layout.stamps})
    found = {
        file.path: there.stamps[file.path]
        for file in layout.payload
        if file.path in there.stamps and (file.path in layout.stamps or _is_there(there, file))
    }
    return layout if found.keys() == layout.stamps.keys() else layout.with_stamps(found)


def _is_there(layout: Layout, file: FileEntry) -> bool:
    status = disk.status_unless_absent(layout.place(file))
    return status is not None and Stamp.of(status) == layout.stamps[file.path]


def discard(layout: Layout) -> None:
    """Delete what is partial, and what was noted of it."""
    disk.put_away(layout.partial)
    disk.delete(layout.journal)
