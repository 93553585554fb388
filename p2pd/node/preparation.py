"""What comes before a download's first fetch: what is here already is found and verified."""

from p2pd.errors import Conflict, Unavailable
from p2pd.metainfo.bitfield import Bitfield
from p2pd.node.entry import Entry
from p2pd.node.library import Library
from p2pd.node.ports import Content, Store
from p2pd.swarm.lifecycle import State


async def prepare(entry: Entry, library: Library, store: Store) -> bool:
    """Make an entry ready to be fetched; True if the destination holds all of it already.

    Its own files are looked through for pieces that `entry.held` lacks (if `entry.verify`), then
    an older version at the destination, then all other entries of the library.  Raises
    `Conflict` if the destination is taken by something that is not to be replaced, `Unavailable`
    if the disk refuses.
    """
    older: Content | None = None
    if await entry.content.occupied():
        entry.advance(State.CHECKING)
        older, matching = await _destination(entry, store)
        if older is not None and older.covers() and matching.complete:
            await entry.content.discard()
            entry.content = older
            entry.hold_all()
            return True
        if not entry.replace:
            raise Conflict(
                f"{entry.content.path} already exists with other content: remove it, "
                "choose another destination, or ask to replace it"
            )
    entry.advance(State.ALLOCATING)
    known = await entry.content.allocate(wanted=entry.wanted_files)
    partly_published = bool(entry.content.stamps())
    entry.advance(State.CHECKING)
    if not known:
        entry.drop_all()  # whatever an earlier run held, it was deleted
    if partly_published if not known else entry.verify:
        await entry.content.check(list(entry.held.missing()), entry.got)
    if older is not None:
        for index in matching:
            await _copy(entry, index, older, index)
    await _reuse(entry, library)
    return False


async def _destination(entry: Entry, store: Store) -> tuple[Content | None, Bitfield]:
    """What lies at the destination, and which of the torrent's pieces it matches."""
    matching = Bitfield(entry.torrent.piece_count)
    try:
        older = await store.adopt(entry.torrent, entry.content.path)
    except (Conflict, Unavailable):
        return None, matching
    await older.check(range(entry.torrent.piece_count), matching.add)
    return older, matching


async def _reuse(entry: Entry, library: Library) -> None:
    """Copy pieces that other entries hold: what is equal in two releases travels once."""
    for other in library:
        if other is entry or not other.held.count:
            continue
        common = entry.torrent.common_with(other.torrent)
        for index in sorted(entry.torrent.indexes_of(piece_id)[0] for piece_id in common):
            alike = other.torrent.indexes_of(entry.torrent.piece_ids[index])
            at = next((at for at in alike if at in other.held), None)
            if at is not None:
                await _copy(entry, index, other.content, at)


async def _copy(entry: Entry, index: int, source: Content, at: int) -> None:
    alike = entry.torrent.indexes_of(entry.torrent.piece_ids[index])
    places = [place for place in alike if place not in entry.held]
    if not places:
        return
    try:
        data = await source.read(at)
    except (Conflict, Unavailable):
        return
    if await entry.content.write(places, data):
        entry.reused += len(data) * len(places)
        for place in places:
            entry.got(place)
