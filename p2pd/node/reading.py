"""Reading a plain file from a web server, however often that breaks off, for all the fleet."""

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import Deferred

from p2pd.errors import Unavailable
from p2pd.node.backoff import Backoff
from p2pd.node.job import Job, Level
from p2pd.node.ports import Content, Incoming
from p2pd.node.sources import Source
from p2pd.node.throttle import Throttle
from p2pd.node.web import Opened, Web
from p2pd.swarm.rates import TokenBucket

_ATTEMPTS = 8
"""In a row without a byte; then the server is given up."""


class _BrokenOff(Unavailable):
    """The server does not answer, or not to the end; it may another time."""


class Reading:
    """The file at a job's URL on its way here; `received` and `total` of the job tell how far.

    The bytes pass `downlink` and the job's own limit.
    """

    def __init__(
        self,
        job: Job,
        source: Source,
        *,
        web: Web,
        downlink: Throttle,
        backoff: Backoff,
        now: Callable[[], float],
    ) -> None:
        self._job = job
        self._source = source
        self._web = web
        self._backoff = backoff
        self._now = now
        self._pace = _Pace(downlink, job)
        self._opened: Opened | None = None
        self._validator = ""

    async def open(self, offset: int = 0) -> Opened:
        """Ask for the file, or for the rest of it; see `Web.open`."""
        self._opened = await self._web.open(
            self._source.text,
            strict=False,
            credentials=self._source.credentials,
            offset=offset,
            validator=self._validator,
        )
        return self._opened

    def close(self) -> None:
        """Let go of the server, and of the place in line."""
        self._hang_up()
        self._pace.close()

    def _hang_up(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    async def keep(self, incoming: Incoming, beginning: bytes) -> Content:
        """Take in the file that is open and began like this, and publish it.

        Raises `Unavailable` if the server gives nothing any more; what has come is still there.
        """
        assert self._opened is not None
        await self._begin(incoming, self._opened)
        if self._job.received:
            self._hang_up()  # to go on where that ends
        else:
            await self._take(incoming, beginning)
        await self._take_all(incoming)
        content = await incoming.publish()
        if not self._source.credentials:
            content.torrent = replace(content.torrent, web_seeds=(self._source.text,))
        return content

    async def _begin(self, incoming: Incoming, opened: Opened, *, keep: bool = True) -> None:
        self._job.total = opened.length
        self._validator = opened.validator
        self._job.received = await incoming.begin(opened.validator, opened.length, keep=keep)

    async def _take(self, incoming: Incoming, data: bytes) -> None:
        await self._pace.let(len(data))
        await incoming.write(data)
        self._job.received += len(data)

    async def _take_all(self, incoming: Incoming) -> None:
        attempts = 0
        while self._job.received != self._job.total:
            before = self._job.received
            try:
                await self._take_rest(incoming)
            except _BrokenOff as refusal:
                attempts = 1 if self._job.received > before else attempts + 1
                self._job.note(self._now(), Level.WARNING, refusal.reason)
                if attempts == _ATTEMPTS:
                    raise
                if attempts == 1:
                    self._backoff.reset()
                await self._backoff.pause()

    async def _take_rest(self, incoming: Incoming) -> None:
        if self._opened is None:
            await self._resume(incoming)
        try:
            while data := await self._next():
                await self._take(incoming, data)
        finally:
            self._hang_up()
        if self._job.total is None:
            self._job.total = self._job.received
        if self._job.received < self._job.total:
            raise _BrokenOff("the server sent less than it announced")

    async def _resume(self, incoming: Incoming) -> None:
        try:
            opened = await self.open(self._job.received)
        except Unavailable as refusal:
            raise _BrokenOff(refusal.reason) from refusal
        if opened.offset != self._job.received:
            await self._begin(incoming, opened, keep=False)

    async def _next(self) -> bytes:
        assert self._opened is not None
        try:
            return await self._opened.read()
        except Unavailable as refusal:
            raise _BrokenOff(refusal.reason) from refusal


class _Pace:
    """Lets bytes pass as fast as the node and the job may receive them."""

    def __init__(self, downlink: Throttle, job: Job) -> None:
        self._downlink = downlink
        self._job = job
        self._limit = TokenBucket(job.options.download_limit)
        self._stream = downlink.stream(job.tid, self._limit, go=self._go)
        self._waiting: Deferred[int] = Deferred()

    async def let(self, count: int) -> None:
        """Wait until so many bytes may pass."""
        wanted = self._job.options.download_limit
        if wanted != self._limit.rate:
            self._downlink.set_rate(wanted, self._limit)
        while count:
            count -= self._stream.take(count) or await self._turn()

    async def _turn(self) -> int:
        self._waiting = Deferred()
        return await self._waiting

    def _go(self, count: int) -> None:
        self._waiting.callback(count)

    def close(self) -> None:
        """Leave the line."""
        self._stream.close()
