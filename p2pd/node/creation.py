"""Torrents of files that are on this machine already."""

from collections.abc import Sequence
from dataclasses import replace

from p2pd.errors import Invalid
from p2pd.metainfo.torrent import Torrent
from p2pd.node.options import TrackerChoice, TrackerSource
from p2pd.node.ports import Content, Store


async def create(
    store: Store, paths: Sequence[str], name: str, *, trackers: Sequence[str], comment: str
) -> tuple[Torrent, Content]:
    """Make the torrent of a file, a directory, or some of what is in one; and its content.

    All of it must lie below the store's roots.  Raises `Invalid` if it does not lie together, or
    for what is no tracker, and as `Store.allowed` and `Store.describe` do.
    """
    tiers = tuple((TrackerChoice(url, 0, TrackerSource.TORRENT).url,) for url in trackers)
    torrent, content = await _describe(store, paths, name)
    content.torrent = replace(torrent, trackers=tiers, comment=comment)
    return content.torrent, content


async def _describe(store: Store, paths: Sequence[str], name: str) -> tuple[Torrent, Content]:
    places = [await store.allowed(path) for path in dict.fromkeys(paths)]
    if not places:
        raise Invalid("no file is named")
    top, only = places[0], None
    if len(places) > 1:
        top, only = top.parent, frozenset(place.name for place in places)
    if any(place.parent != top for place in places if only):
        raise Invalid("files of one torrent must lie in one directory: name that directory")
    torrent, content = await store.describe(top, name or None, only=only)
    await store.allowed(str(content.path))  # it may have become a link since
    return torrent, content
