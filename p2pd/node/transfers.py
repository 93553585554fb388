"""The downloads under way: each entry is prepared, fetched, published, in the background."""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from p2pd import background
from p2pd.background import Threads
from p2pd.errors import Refusal
from p2pd.metainfo.ids import Address, InfoHash
from p2pd.metainfo.origin import Origin
from p2pd.node.bans import Bans
from p2pd.node.download import Download
from p2pd.node.entry import Entry
from p2pd.node.library import Library
from p2pd.node.ports import Dialer, PeerLink, Store
from p2pd.node.preparation import prepare
from p2pd.node.records import ResumeTable
from p2pd.node.rooms import Rooms
from p2pd.node.throttle import Throttle
from p2pd.swarm.lifecycle import State
from p2pd.swarm.rates import least
from p2pd.swarm.transfer import Limits

_KEPT_ROOM = 32 * 1024 * 1024
_BROKEN = "p2pd failed; its log tells why"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node is put together with; `boot` names this run of the machine."""

    clock: IReactorTime
    rng: Random
    store: Store
    table: ResumeTable
    dialer: Dialer
    boot: str = ""
    origin: Origin | None = None
    threads: Threads = background.at_once
    rooms: Rooms | None = None
    uplink: Throttle | None = None
    downlink: Throttle | None = None


class Transfers:
    """Runs downloads; `changed` hears of each entry that moved to another state."""

    _log = Logger()

    def __init__(
        self,
        surroundings: Surroundings,
        library: Library,
        *,
        parallel: int,
        downlink: Throttle,
        own: Callable[[], Address | None],
        changed: Callable[[Entry], None],
    ) -> None:
        self._with = surroundings
        self._library = library
        self._own = own
        self._changed = changed
        self._slots = DeferredSemaphore(parallel)
        self._parallel = parallel
        self._downlink = downlink
        self._rooms = surroundings.rooms or Rooms(_KEPT_ROOM)
        self._open = True
        self._bans = Bans()
        self._downloads: dict[InfoHash, Download] = {}
        self._heard: dict[InfoHash, dict[Address, bool]] = {}
        self._preparing: dict[InfoHash, Deferred[None]] = {}
        self._publishing: dict[InfoHash, Deferred[None]] = {}

    def launch(self, entry: Entry) -> None:
        """Fetch an entry; if `entry.verify`, its partial files are looked through first."""
        infohash = entry.torrent.infohash
        if not self._open or self.active(entry):
            return
        self._heard[infohash] = dict.fromkeys(entry.peers, False)
        self._background(self._prepare(entry), infohash, self._preparing)

    def active(self, entry: Entry) -> bool:
        """Whether anything is under way for an entry."""
        infohash = entry.torrent.infohash
        return (
            infohash in self._downloads
            or infohash in self._preparing
            or infohash in self._publishing
        )

    def get(self, entry: Entry) -> Download | None:
        """The running download of an entry."""
        return self._downloads.get(entry.torrent.infohash)

    def abandon(self, entry: Entry) -> None:
        """Let go of the download of an entry, if there is one."""
        if download := self._downloads.pop(entry.torrent.infohash, None):
            download.stop()

    async def halt(self, entry: Entry) -> None:
        """Let go of all that is under way for an entry; returns when nothing is being written.

        What is about to be published is published first.
        """
        infohash = entry.torrent.infohash
        if preparing := self._preparing.get(infohash):
            preparing.cancel()
            entry.verify = True
        if download := self._downloads.pop(infohash, None):
            download.stop()
            await download.when_idle()
        if publishing := self._publishing.get(infohash):
            await background.joined(publishing)

    def meet(self, entry: Entry, addresses: Iterable[Address], *, near: bool = False) -> None:
        """Hear of peers of an entry that is being fetched; others need none."""
        own = self._own()
        others = [address for address in addresses if address != own]
        if download := self.get(entry):
            download.meet(others, near=near)
        elif (heard := self._heard.get(entry.torrent.infohash)) is not None:
            heard.update((peer, near or heard.get(peer, False)) for peer in others)

    async def stop(self) -> None:
        """Let go of all downloads, and wait until nothing is being written."""
        self._open = False
        for preparing in tuple(self._preparing.values()):
            preparing.cancel()
        for download in tuple(self._downloads.values()):
            download.stop()
            await download.when_idle()
        self._downloads.clear()
        for publishing in tuple(self._publishing.values()):
            await publishing

    def _background(
        self,
        work: Coroutine[Any, Any, None],
        infohash: InfoHash,
        kept: dict[InfoHash, Deferred[None]],
    ) -> None:
        task = background.start(work, "a download")

        def ended(_: None) -> None:
            del kept[infohash]

        if not task.called:
            kept[infohash] = task
            task.addCallback(ended)

    async def _prepare(self, entry: Entry) -> None:
        infohash = entry.torrent.infohash
        try:
            there = await prepare(entry, self._library, self._with.store)
        except Refusal as refusal:
            self._fail(entry, refusal.reason)
            return
        except CancelledError:
            raise
        except Exception:
            self._fail(entry, _BROKEN)
            raise
        finally:
            heard = self._heard.pop(infohash, {})
        entry.verify = False
        if there:
            self._complete(entry)
            return
        entry.advance(State.DOWNLOADING)
        download = Download(
            entry,
            clock=self._with.clock,
            slots=self._slots,
            rooms=self._rooms,
            links=lambda peer, origin: self._link(entry, peer, origin),
            bans=self._bans,
            rng=self._with.rng,
            limits=self._limits(entry),
            succeeded=lambda: self._background(
                self._publish(entry, download), infohash, self._publishing
            ),
            failed=lambda reason: self._fail(entry, reason),
        )
        self._downloads[infohash] = download
        self._changed(entry)
        download.use_origins(entry.web_seeds)
        for near in (True, False):
            download.meet([peer for peer in heard if heard[peer] is near], near=near)
        download.start()

    def relimit(self) -> None:
        """Let all downloads be as patient as their limits, which have changed, demand."""
        for download in self._downloads.values():
            self.reconsider(download.entry)

    def reconsider(self, entry: Entry) -> None:
        """Let a download do as its user's options, which have changed, demand."""
        if download := self.get(entry):
            limits = self._limits(entry)
            download.transfer.set_limits(limits, self._with.clock.seconds())
            download.reorder()

    def _limits(self, entry: Entry) -> Limits:
        rate = least(self._downlink.rate, entry.download_limit.rate)
        return Limits().throttled(rate, self._parallel * entry.torrent.piece_length)

    def _link(self, entry: Entry, peer: str, origin: bool) -> PeerLink:
        if origin:
            own = entry.job.trusted or peer in entry.job.options.web_seeds
            return self._with.dialer.web_seed(peer, strict=not own)
        return self._with.dialer.peer(Address(peer), self._own())

    async def _publish(self, entry: Entry, download: Download) -> None:
        # A copy of a piece may still be written: that must not touch what is published.
        await download.when_idle()
        try:
            await entry.content.publish(replace=entry.replace, wanted=entry.wanted_files)
        except Refusal as refusal:
            self._fail(entry, refusal.reason)
        except Exception:
            self._fail(entry, _BROKEN)
            raise
        else:
            self._complete(entry)

    def _complete(self, entry: Entry) -> None:
        self._downloads.pop(entry.torrent.infohash, None)
        entry.finished = self._with.clock.seconds()
        entry.fetched = True
        entry.advance(State.COMPLETE)
        self._log.info("{name} is complete and verified", name=entry.filename)
        self._changed(entry)

    def _fail(self, entry: Entry, reason: str) -> None:
        self._downloads.pop(entry.torrent.infohash, None)
        self._log.warn("{name} failed: {reason}", name=entry.filename, reason=reason)
        entry.advance(State.FAILED, reason)
        self._changed(entry)
