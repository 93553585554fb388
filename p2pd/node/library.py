"""What this node has and is fetching, by infohash, by name and by piece."""

from collections.abc import Iterator

from p2pd.errors import NotFound
from p2pd.metainfo.ids import InfoHash, PieceId
from p2pd.node.entry import Entry


class Library:
    """The node's entries, in the order they were added."""

    def __init__(self) -> None:
        self._entries: dict[InfoHash, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, infohash: InfoHash) -> bool:
        return infohash in self._entries

    def add(self, entry: Entry) -> None:
        """Keep an entry, in place of one with the same infohash."""
        self._entries[entry.torrent.infohash] = entry

    def remove(self, infohash: InfoHash) -> None:
        """Drop an entry, if it is here."""
        self._entries.pop(infohash, None)

    def get(self, infohash: InfoHash) -> Entry:
        """The entry of a torrent; raises `NotFound`."""
        try:
            return self._entries[infohash]
        except KeyError:
            raise NotFound(f"torrent {infohash.hex()} is not on this node") from None

    def find(self, infohash: InfoHash) -> Entry | None:
        """The entry of a torrent, if it is here."""
        return self._entries.get(infohash)

    def named(self, filename: str) -> Entry | None:
        """The entry last added under a fleet filename."""
        return next((e for e in reversed(self._entries.values()) if e.filename == filename), None)

    def find_piece(self, piece_id: PieceId) -> tuple[Entry, int]:
        """An entry that holds a piece of this content, and its index there.

        Raises `NotFound`.
        """
        for entry in self._entries.values():
            if entry.serves:
                for index in entry.torrent.indexes_of(piece_id):
                    if index in entry.held:
                        return entry, index
        raise NotFound(f"piece {piece_id.hex()} is not on this node")
