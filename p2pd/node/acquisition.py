"""How a source becomes a torrent: asked of the fleet, or read from a file or a web server."""

import os
import re
import stat
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as Late
from twisted.internet.interfaces import IReactorTime

from p2pd.background import Threads
from p2pd.errors import Denied, Invalid, Refusal, Unavailable
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.torrent import MAX_METAINFO, Torrent
from p2pd.node.backoff import Backoff
from p2pd.node.claiming import Claiming
from p2pd.node.job import Job, Level
from p2pd.node.node import Node
from p2pd.node.options import MAX_TRACKERS, TrackerChoice, TrackerSource
from p2pd.node.ports import Content, Resolved, Store, TrackerLink
from p2pd.node.reading import Reading
from p2pd.node.sources import Source, SourceKind, parse_source
from p2pd.node.web import Opened, Web

_TORRENT = "application/x-bittorrent"
_SUFFIX = ".torrent"
# A dict whose first key is text, as all metainfo begins.
_METAINFO = re.compile(rb"d[1-9][0-9]?:")
_LOOKING = 30.0
# Whoever makes a magnet link could else have many others called again and again.
_MOST_EXACT = 10

T = TypeVar("T")


class NotTorrent(Invalid):
    """What a source leads to is no metainfo, though it should be."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """What a source leads to.

    `trackers`, `web_seeds` and `selected` are what the source said beside the metainfo; the peers
    that a magnet link names are left out, for they are of BitTorrent, and no nodes of the fleet.
    `trusted` says that the metainfo's own web seeds come from our trackers or from our user; all
    others are to be called strictly (see `Dialer.web_seed`).  `content` is there if the file is
    here by now, published.
    """

    torrent: Torrent
    filename: str
    content: Content | None = None
    trackers: tuple[TrackerChoice, ...] = ()
    web_seeds: tuple[str, ...] = ()
    selected: tuple[int, ...] | None = None
    trusted: bool = False

    @classmethod
    def of(cls, torrent: Torrent) -> "Acquired":
        """What metainfo alone leads to."""
        return cls(torrent, torrent.name)

    @classmethod
    def known(cls, found: Resolved) -> "Acquired":
        """What the fleet knows already."""
        torrent = replace(found.torrent, web_seeds=found.web_seeds)
        return cls(torrent, found.filename, trusted=True)


class Acquisition:
    """Follows the sources of a node's downloads.

    `trackers` are asked which node reads a URL for all; that one says with each heart beat that it
    still does.
    """

    def __init__(
        self,
        node: Node,
        web: Web,
        store: Store,
        *,
        clock: IReactorTime,
        rng: Random,
        threads: Threads,
        trackers: Iterable[TrackerLink] = (),
        heartbeat_interval: float = 3.0,
    ) -> None:
        self._node = node
        self._web = web
        self._store = store
        self._clock = clock
        self._rng = rng
        self._threads = threads
        self._trackers = tuple(trackers)
        self._interval = heartbeat_interval

    async def acquire(self, job: Job) -> Acquired:
        """Follow a job's source to a torrent, and to its content if that must be read here.

        May take for ever, and be cancelled at any time; a file that was begun to be read is kept
        for the next time, or until `discard`.  Raises what is wrong with the source.
        """
        source = parse_source(job.options.source)
        job.infohash, job.magnet = source.infohash or job.infohash, source.magnet
        if source.infohash is not None:
            job.identified()
            return await self._await_metainfo(source, job)
        if source.kind is SourceKind.URL:
            return await self._follow(job, source)
        return await self._look(source)

    async def inspect(self, text: str, *, within: float = _LOOKING) -> Torrent:
        """Follow a source to a torrent, beginning nothing.

        Raises `NotTorrent` for the URL of anything else that nobody shared yet, and `Unavailable`
        if that takes longer than `within` seconds.
        """
        return (await self._in_time(within, self._inspect(parse_source(text)))).torrent

    async def _in_time(self, within: float, looking: Coroutine[Any, Any, T]) -> T:
        try:
            return await Deferred.fromCoroutine(looking).addTimeout(within, self._clock)
        except Late:
            raise Unavailable(f"nobody told what that is within {within:g} s") from None

    async def discard(self, job: Job) -> None:
        """Delete what was read of a job's URL, if it was; published content stays."""
        with suppress(Invalid):
            if parse_source(job.options.source).kind is SourceKind.URL:
                await self._store.receive("any", job.options.destination, job.tid).discard()

    # -- what others can tell

    async def _inspect(self, source: Source) -> Acquired:
        if source.infohash is not None:
            return await self._await_metainfo(source)
        if source.kind is not SourceKind.URL:
            return await self._look(source)
        if found := await self._resolve(source.text):
            return Acquired.known(found)
        opened = await self._web.open(source.text, strict=False, credentials=source.credentials)
        return Acquired.of(await self._metainfo(opened, source.text))

    async def _look(self, source: Source) -> Acquired:
        """Follow a source that leads somewhere at once, or nowhere."""
        if source.path is not None:
            return Acquired.of(await self._read_file(source.path))
        return Acquired.known(await self._node.resolve(source.text))

    async def _resolve(self, name: str) -> Resolved | None:
        """Ask the fleet for something that it need not know, or not yet."""
        try:
            return await self._node.resolve(name)
        except Denied:
            raise
        except Refusal:
            return None

    async def _await_metainfo(self, source: Source, job: Job | None = None) -> Acquired:
        """Ask for the metainfo of an infohash until somebody has it."""
        backoff = self._backoff(2.0, 60.0)
        while True:
            if found := await self._find(source, job):
                return found
            await backoff.pause()

    async def _find(self, source: Source, job: Job | None) -> Acquired | None:
        assert source.infohash is not None
        if entry := self._node.library.find(source.infohash):
            return _with_magnet(Acquired.of(entry.torrent), source)
        found = await self._resolve(source.infohash.hex())
        if found and found.torrent.infohash == source.infohash:
            return _with_magnet(Acquired.known(found), source)
        for url in source.magnet.exact_sources[:_MOST_EXACT] if source.magnet else ():
            exactly = self._in_time(_LOOKING, self._exactly(url, source.infohash))
            try:
                return _with_magnet(Acquired.of(await exactly), source)
            except Refusal as refusal:
                if job is not None:
                    job.note(self._clock.seconds(), Level.WARNING, refusal.reason)
        return None

    async def _exactly(self, url: str, infohash: InfoHash) -> Torrent:
        source = parse_source(url)
        if source.kind is not SourceKind.URL:
            raise Invalid(f"{url} is no http or https URL")
        torrent = await self._metainfo(await self._web.open(source.text, strict=True), url)
        if torrent.infohash != infohash:
            raise Invalid(f"{url} has the metainfo of another torrent")
        return torrent

    async def _read_file(self, path: Path) -> Torrent:
        allowed = await self._store.allowed(str(path))
        return await self._parse(await self._threads(_read_metainfo, allowed), str(path))

    async def _metainfo(self, opened: Opened, what: str) -> Torrent:
        try:
            return await self._parse(await _gather(opened), what)
        finally:
            opened.close()

    async def _parse(self, metainfo: bytes, what: str) -> Torrent:
        try:
            return await self._threads(Torrent.from_bytes, metainfo)
        except Invalid as refusal:
            raise NotTorrent(f"{what} is no torrent: {refusal.reason}") from refusal

    # -- URLs

    async def _follow(self, job: Job, source: Source) -> Acquired:
        """Join those who share what is at a URL, or be the one who reads it for all."""
        claiming = Claiming(
            self._trackers,
            source.text,
            self._node.node_id,
            clock=self._clock,
            interval=self._interval,
        )
        backoff = self._backoff(1.0, 5.0)
        while True:
            if found := await self._resolve(source.text):
                return Acquired.known(found)
            if await claiming.take():
                break
            job.identified()
            await backoff.pause()
        acquired = None
        try:
            # It may have been published between the two questions.
            found = await self._resolve(source.text)
            acquired = Acquired.known(found) if found else await self._read(job, source)
        finally:
            # Others may read it if nothing came of it; the claim on what is about to be
            # published is left to expire.
            claiming.end(release=acquired is None or acquired.content is None)
        return acquired

    async def _read(self, job: Job, source: Source) -> Acquired:
        reading = Reading(
            job,
            source,
            web=self._web,
            downlink=self._node.downlink,
            backoff=self._backoff(1.0, 60.0),
            now=self._clock.seconds,
        )
        try:
            opened = await reading.open()
            beginning = await opened.read()
            meant = opened.content_type == _TORRENT or source.text.lower().endswith(_SUFFIX)
            if meant or _METAINFO.match(beginning):
                beginning = await _gather(opened, beginning)
                try:
                    return Acquired.of(await self._parse(beginning, source.text))
                except NotTorrent:
                    if meant:
                        raise
            job.identified()
            incoming = self._store.receive(
                opened.name, job.options.destination, job.tid, replace=job.options.replace
            )
            try:
                content = await reading.keep(incoming, beginning)
            finally:
                await incoming.close()
        finally:
            reading.close()
        return Acquired(content.torrent, source.text, content=content, trusted=True)

    def _backoff(self, first: float, most: float) -> Backoff:
        return Backoff(self._clock, self._rng, first=first, most=most)


async def _gather(opened: Opened, beginning: bytes = b"") -> bytes:
    """Give the body that began like this, or somewhat more of it than metainfo can have."""
    chunks, count = [beginning], len(beginning)
    while count <= MAX_METAINFO and (data := await opened.read()):
        chunks.append(data)
        count += len(data)
    return b"".join(chunks)


def _read_metainfo(path: Path) -> bytes:
    """Read a file, but not more than somewhat over what metainfo can have."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NotTorrent(f"{path} is no file")
        # Without waiting: it may have become a pipe.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(MAX_METAINFO + 1)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def _with_magnet(acquired: Acquired, source: Source) -> Acquired:
    """Add what a magnet link says beside the infohash."""
    magnet = source.magnet
    if magnet is None:
        return acquired
    trackers = (
        TrackerChoice(url, tier, TrackerSource.MAGNET)
        for tier, url in enumerate(magnet.trackers[:MAX_TRACKERS])
    )
    return replace(
        acquired,
        trackers=tuple(trackers),
        web_seeds=magnet.web_seeds,
        selected=magnet.selected,
    )
