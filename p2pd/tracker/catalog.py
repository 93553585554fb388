"""The torrents a tracker knows: by infohash, by filename, and by the content of each piece."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from p2pd.errors import NotFound, Unavailable
from p2pd.metainfo.ids import InfoHash, PieceId
from p2pd.metainfo.torrent import Torrent
from p2pd.tracker.ports import NameRow, TorrentRow


@dataclass(eq=False, slots=True)
class Entry:
    """A torrent, where its bytes can be had, and the names that mean it now."""

    torrent: Torrent
    web_seeds: tuple[str, ...]
    added: float
    names: dict[str, bool] = field(default_factory=dict)
    """Each filename, the newest last, and whether it came from the origin."""

    @property
    def filename(self) -> str:
        """The newest name, or the torrent's own if others have taken all of them."""
        return next(reversed(self.names), self.torrent.name)

    def row(self) -> TorrentRow:
        """Return what the catalog's table keeps of it."""
        return TorrentRow(
            infohash=self.torrent.infohash,
            metainfo=self.torrent.to_bytes(),
            web_seeds=self.web_seeds,
            added=self.added,
        )


class Catalog:
    """Entries under their three keys; the newest publication of a filename has the name."""

    def __init__(self, *, max_torrents: int, max_pieces: int) -> None:
        self._max_torrents = max_torrents
        self._max_pieces = max_pieces
        self._piece_count = 0
        self._entries: dict[InfoHash, Entry] = {}
        self._names: dict[str, Entry] = {}
        self._pieces: dict[PieceId, tuple[Entry, ...]] = {}

    def entry(self, infohash: InfoHash) -> Entry:
        """Return the entry of a torrent; raise NotFound if there is none."""
        entry = self._entries.get(infohash)
        if entry is None:
            raise NotFound(f"this tracker does not know {infohash.hex()}: publish it first")
        return entry

    def named(self, filename: str) -> Entry | None:
        """Return the entry that a filename means, None if nothing has that name."""
        return self._names.get(filename)

    def find(self, infohash: InfoHash) -> Entry | None:
        """Return the entry of a torrent, None if there is none."""
        return self._entries.get(infohash)

    def draft(self, torrent: Torrent, web_seeds: tuple[str, ...], now: float) -> TorrentRow:
        """Return the row that `put` would make of a torrent, with these web seeds too."""
        known = self._entries.get(torrent.infohash) or Entry(torrent, (), now)
        seeds = dict.fromkeys((*known.web_seeds, *torrent.web_seeds, *web_seeds))
        return replace(known.row(), web_seeds=tuple(seeds))

    def put(self, torrent: Torrent, row: TorrentRow) -> Entry:
        """Take in a torrent, or the new web seeds of a known one."""
        entry = self._entries.get(torrent.infohash)
        if entry is not None:
            entry.web_seeds = row.web_seeds
            return entry
        entry = Entry(torrent, row.web_seeds, row.added)
        self._entries[torrent.infohash] = entry
        self._piece_count += torrent.piece_count
        alone = (entry,)  # shared by all pieces that occur in no other torrent
        for piece_id in set(torrent.piece_ids):
            self._pieces[piece_id] = self._pieces.get(piece_id, ()) + alone
        return entry

    def name(self, row: NameRow) -> None:
        """Give a known torrent a filename, taken from whichever had it."""
        holder = self._names.pop(row.filename, None)
        if holder is not None:
            del holder.names[row.filename]
        entry = self._entries[row.infohash]
        self._names[row.filename] = entry
        entry.names[row.filename] = row.from_origin

    def remove(self, entry: Entry) -> None:
        """Forget an entry and its names."""
        del self._entries[entry.torrent.infohash]
        self._piece_count -= entry.torrent.piece_count
        for filename in entry.names:
            del self._names[filename]
        for piece_id in set(entry.torrent.piece_ids):
            others = tuple(other for other in self._pieces[piece_id] if other is not entry)
            if others:
                self._pieces[piece_id] = others
            else:
                del self._pieces[piece_id]

    def superseded(
        self, torrent: Torrent, filename: str, unused: Callable[[InfoHash], bool]
    ) -> list[Entry]:
        """Return the oldest unused entries that must go to make room for `torrent`.

        Only those go that have no name, or will have lost it to `torrent`. Raises Unavailable if
        that makes too little room.
        """
        if torrent.infohash in self._entries:
            return []
        pieces = self._piece_count + torrent.piece_count - self._max_pieces
        torrents = len(self._entries) + 1 - self._max_torrents
        going: list[Entry] = []
        for infohash, entry in self._entries.items():
            if pieces <= 0 and torrents <= 0:
                break
            if entry.names.keys() <= {filename} and unused(infohash):
                going.append(entry)
                pieces -= entry.torrent.piece_count
                torrents -= 1
        if pieces > 0 or torrents > 0:
            raise Unavailable("this tracker's catalog is full: it takes no further torrents")
        return going

    def containing(self, piece_id: PieceId) -> tuple[Entry, ...]:
        """Return the entries of all torrents in which a piece's content occurs."""
        return self._pieces.get(piece_id, ())

    def names(self) -> Iterator[tuple[str, Entry]]:
        """Give every filename with its entry."""
        return iter(self._names.items())

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())
