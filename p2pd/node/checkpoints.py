"""What the node remembers over a restart: its entries, as records in a table."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from p2pd import background
from p2pd.background import Threads
from p2pd.errors import Refusal
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.torrent import Torrent
from p2pd.node.entry import Entry
from p2pd.node.job import Job
from p2pd.node.ports import Store
from p2pd.node.records import Record, ResumeTable


class Checkpoints:
    """Writes entries to the table and makes entries of its records."""

    _log = Logger()

    def __init__(
        self,
        table: ResumeTable,
        store: Store,
        *,
        boot: str,
        threads: Threads,
        now: Callable[[], float],
    ) -> None:
        self._table = table
        self._store = store
        self._boot = boot
        self._threads = threads
        self._now = now
        self._written: dict[InfoHash, tuple[tuple[object, ...], Deferred[None]]] = {}

    def written(self, entry: Entry) -> bool:
        """Whether an entry is written down as it is."""
        marks, writing = self._written.get(entry.torrent.infohash, (None, None))
        return writing is not None and writing.called and marks == _marks(entry, clean=False)

    async def save(self, entry: Entry, *, clean: bool = False, settles: int | None = None) -> None:
        """Write one entry, if it changed since it was last written; see `ResumeTable.save`.

        Returns when it is written down as it is, whoever began that.
        """
        marks = _marks(entry, clean=clean)
        infohash = entry.torrent.infohash
        written, writing = self._written.get(infohash, (None, None))
        if writing is None or written != marks:
            record = entry.record(self._now(), clean=clean, boot=self._boot)
            writing = Deferred.fromCoroutine(self._table.save(record, settles=settles))
            # Noted first: of two that are under way, the later one must not be left out.
            self._written[infohash] = marks, writing
        try:
            await background.joined(writing)
        except Exception:
            writing.addErrback(lambda _: None)  # it is raised here
            if self._written.get(infohash) == (marks, writing):
                del self._written[infohash]
            raise

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
        entry = Entry(content, filename=record.filename, job=Job.from_json(record.job))
        entry.finished = record.finished
        entry.downloaded = entry.downloaded_before = record.downloaded
        entry.uploaded = entry.uploaded_before = record.uploaded
        entry.peers = dict.fromkeys(record.peers)
        if record.stamps or record.clean or record.boot == self._boot:
            entry.hold(Bitfield.from_bytes(record.held, torrent.piece_count))
        return entry


def _marks(entry: Entry, *, clean: bool) -> tuple[object, ...]:
    """What differs whenever anything did that must survive a restart."""
    return (
        entry.state,
        entry.error,
        entry.held.count,
        entry.uploaded,
        entry.filename,
        entry.content,
        entry.content.path,
        tuple(entry.peers),
        entry.job.marks(),
        clean,
    )
