"""What the node remembers over a restart: its entries, as records in a table."""

from twisted.logger import Logger

from p2pd.background import Threads
from p2pd.errors import Refusal
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.torrent import Torrent
from p2pd.node.entry import Entry
from p2pd.node.ports import Record, ResumeTable, Store
from p2pd.swarm.rates import TokenBucket


class Checkpoints:
    """Writes entries to the table and makes entries of its records."""

    _log = Logger()

    def __init__(self, table: ResumeTable, store: Store, *, boot: str, threads: Threads) -> None:
        self._table = table
        self._store = store
        self._boot = boot
        self._threads = threads
        self._written: dict[InfoHash, tuple[object, ...]] = {}

    async def save(self, entry: Entry, *, clean: bool = False) -> None:
        """Write one entry, if it changed since it was last written."""
        marks = (
            entry.state,
            entry.error,
            entry.held.count,
            entry.uploaded,
            entry.filename,
            entry.content,
            tuple(entry.peers),
            entry.upload_limit.rate,
            entry.download_limit.rate,
            clean,
        )
        infohash = entry.torrent.infohash
        if self._written.get(infohash) != marks:
            await self._table.save(entry.record(clean=clean, boot=self._boot))
            self._written[infohash] = marks

    async def forget(self, entry: Entry) -> None:
        """Delete one entry's record."""
        self._written.pop(entry.torrent.infohash, None)
        await self._table.forget(entry.torrent.infohash)

    async def load(self) -> list[tuple[Entry, Record]]:
        """Every remembered entry as it was, with its record; nothing is verified yet.

        A record that cannot be read costs its own entry only.
        """
        loaded = []
        for record in await self._table.load():
            try:
                loaded.append((await self._entry(record), record))
            except (Refusal, ValueError, TypeError):
                self._log.failure("the record of {name} cannot be read", name=record.filename)
        return loaded

    async def _entry(self, record: Record) -> Entry:
        torrent = await self._threads(Torrent.from_bytes, record.metainfo)
        content = self._store.resume(torrent, record.path, record.stamps)
        entry = Entry(
            content, filename=record.filename, added=record.added, replace=record.replace
        )
        entry.finished = record.finished
        entry.downloaded = record.downloaded
        entry.uploaded = record.uploaded
        entry.peers = dict.fromkeys(record.peers)
        entry.upload_limit = TokenBucket(record.upload_limit)
        entry.download_limit = TokenBucket(record.download_limit)
        if record.stamps or record.clean or record.boot == self._boot:
            entry.hold(Bitfield.from_bytes(record.held, torrent.piece_count))
        return entry
