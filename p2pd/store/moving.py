"""Moving one torrent's files to another path, and nothing that others put among them.

All files are linked beside their new place, or copied if that is on another file system, and get
their names there by one rename; only then the old ones are deleted.  So after a kill either the
old place is whole, and the move begins again, or the new one, and what was begun is ended.
"""

import filecmp
import os
import stat
from contextlib import suppress
from pathlib import Path

from p2pd.errors import Conflict, Invalid
from p2pd.metainfo.files import FileEntry
from p2pd.store import disk, publishing, removal
from p2pd.store.disk import Stamp
from p2pd.store.layout import Layout, Stamps, Whereabouts

# How exactly the coarsest file systems know when a file was changed.
_COARSE_NS = 2 * 10**9


def move(where: Whereabouts, path: Path, *, replace: bool, least_free: int) -> None:
    """Take published and partial files to another path; see `Content.move`."""
    before = where.now
    _refuse_nested(before.path, path)
    after = Layout(before.torrent, path, before.stamps)
    path.parent.mkdir(parents=True, exist_ok=True)
    where.then = after
    try:
        stamps = _arrived(before, after)
        if stamps is None:
            disk.refuse_taken(path, replace=replace)
            stamps = _take_published(before, after, replace=replace, least_free=least_free)
        _take_partial(before, after, least_free)
        where.settle(after.with_stamps(stamps))
    finally:
        where.then = None
    _delete_old(before, after)


def _refuse_nested(source: Path, target: Path) -> None:
    here, there = (Path(os.path.realpath(path.parent), path.name) for path in (source, target))
    if here in there.parents or there in here.parents:
        raise Invalid(f"{source} cannot be moved to {target}: one would be inside the other")


def _arrived(before: Layout, after: Layout) -> Stamps | None:
    """What published files look like at the new place; None if not all of them are there yet."""
    files = [file for file in before.payload if file.path in before.stamps]
    found = {}
    for file in files:
        status = disk.status_unless_absent(after.place(file))
        if status is None or not _may_be_copy(status, before.stamps[file.path]):
            return None
        found[file.path] = Stamp.of(status)
    if not files or (_whole(before) and not _alike(before, after, files)):
        return None
    return found


def _may_be_copy(status: os.stat_result, stamp: Stamp) -> bool:
    near = abs(status.st_mtime_ns - stamp.mtime_ns) <= _COARSE_NS
    return stat.S_ISREG(status.st_mode) and status.st_size == stamp.size and near


def _whole(layout: Layout) -> bool:
    with suppress(Conflict):
        layout.look_at_all()
        return True
    return False


def _alike(before: Layout, after: Layout, files: list[FileEntry]) -> bool:
    """Whether files are the same, byte by byte: the last thing done may have been to copy them."""
    places = [(before.place(file), after.place(file)) for file in files]
    return all(
        os.path.samefile(*both) or filecmp.cmp(*both, shallow=False)  # noqa: PTH121 - as in disk.py
        for both in places
    )


def _take_published(before: Layout, after: Layout, *, replace: bool, least_free: int) -> Stamps:
    files = [file for file in before.payload if file.path in before.stamps]
    if not files:
        return {}
    _refuse_others(after)
    before.look_at_all()
    staged = _stage(before, before.path, after, files, least_free)
    before.look_at_all()
    stamps = {file.path: Stamp.of(os.lstat(before.at(staged, file))) for file in files}
    disk.rename(staged, after.path, replace=replace, old=disk.aside(after.partial))
    disk.sync(after.path.parent)
    return stamps


def _refuse_others(layout: Layout) -> None:
    """Raise `Conflict` if a directory that is to be replaced holds what is not the torrent's."""
    ours = {layout.at(layout.path, file) for file in layout.payload}
    for here, _, names in os.walk(layout.path):
        for name in names:
            if f"{here}/{name}" not in ours:
                raise Conflict(f"{here}/{name} is not of {layout.torrent.name}: remove it first")


def _take_partial(before: Layout, after: Layout, least_free: int) -> None:
    if before.partial == after.partial or not os.path.lexists(before.partial):
        return
    files = [
        file
        for file in before.payload
        if file.path not in before.stamps and os.path.lexists(before.place(file))
    ]
    staged = _stage(before, before.partial, after, files, least_free)
    disk.rename(staged, after.partial, replace=True, old=disk.aside(after.partial))
    disk.sync(after.partial.parent)


def _stage(
    before: Layout, root: Path, after: Layout, files: list[FileEntry], least_free: int
) -> Path:
    """Link or copy files of a tree beside their new place; all of them, or none stays there."""
    staged = after.partial.with_name(f"{after.partial.name}.moving")
    disk.delete(staged)
    places = {before.at(root, file): before.at(staged, file) for file in files}
    directories = before.directories(staged, files)
    try:
        for directory in directories:
            os.mkdir(directory)  # noqa: PTH102 - as in disk.py
        if not _link_all(places):
            disk.require_room(
                staged.parent,
                sum(os.stat(place).st_blocks * 512 for place in places),  # noqa: PTH116 - likewise
                least_free=least_free,
                what=before.torrent.name,
            )
            _copy_all(places)
        disk.sync_all(staged, list(places.values()), directories)
    except BaseException:
        disk.delete(staged)
        raise
    return staged


def _link_all(places: dict[str, str]) -> bool:
    """Link files to new places; False if some cannot be linked there."""
    try:
        for place, new in places.items():
            os.link(os.path.realpath(place), new)
    except OSError:
        return False
    return True


def _copy_all(places: dict[str, str]) -> None:
    for place, new in places.items():
        Path(new).unlink(missing_ok=True)
        disk.copy_file(place, new)


def _delete_old(before: Layout, after: Layout) -> None:
    removal.delete_published(before, changed=False)
    if before.partial != after.partial:
        publishing.discard(before)
