"""What all that reads web servers shares: asking one for a URL, and taking in what it answers."""

from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as Late
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from p2pd.errors import Refusal, Unavailable
from p2pd.links.connection import bounded, reason_of

_ANSWER_TIMEOUT = 30.0
_STALL_TIMEOUT = 60.0
_READ_AHEAD = 256 * 1024


async def answer(agent: IAgent, url: str, headers: Headers, clock: IReactorTime) -> IResponse:
    """Ask for a URL, unencoded, and give the head of the answer; raises Unavailable without one.

    What an agent refuses is raised as it is.
    """
    headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
    answering = agent.request(b"GET", url.encode("ascii"), headers)
    try:
        response: IResponse = await bounded(answering, _ANSWER_TIMEOUT, clock)
    except (CancelledError, Refusal):
        raise
    except Late as error:
        raise Unavailable(f"{url} does not answer in {_ANSWER_TIMEOUT:g} s") from error
    except Exception as error:
        raise Unavailable(f"{url} does not answer: {reason_of(error)}") from error
    return response


def drop(response: IResponse) -> None:
    """Close the connection of a response whose body nobody wants to read."""
    response.deliverBody(_Unread())


class _Unread(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


class Body(Protocol):
    """A response's body, read no faster than it is taken; to be closed if not read to its end."""

    def __init__(self, response: IResponse, clock: IReactorTime) -> None:
        self._clock = clock
        self._chunks: list[bytes] = []
        self._held = 0
        self._ended = False
        self._refusal: Unavailable | None = None
        self._waiting: Deferred[None] | None = None
        response.deliverBody(self)

    async def read(self) -> bytes:
        """Give what has come, or will come next; nothing at the end.

        Raises Unavailable if the server breaks off, or sends nothing for long.
        """
        if not self._chunks and not self._ended:
            self._waiting = Deferred(lambda _: self._cancel())
            stalled = self._clock.callLater(_STALL_TIMEOUT, self._stall)
            try:
                await self._waiting
            finally:
                self._waiting = None
                if stalled.active():
                    stalled.cancel()
        data = b"".join(self._chunks)
        if not data and self._refusal is not None:
            raise self._refusal
        self._chunks.clear()
        paused, self._held = self._held >= _READ_AHEAD, 0
        if paused and not self._ended and self.transport is not None:
            cast("IPushProducer", self.transport).resumeProducing()
        return data

    def dataReceived(self, data: bytes) -> None:
        """Keep what has come until it is taken."""
        if self._ended:
            return
        self._chunks.append(data)
        before, self._held = self._held, self._held + len(data)
        if before < _READ_AHEAD <= self._held and self.transport is not None:
            cast("IPushProducer", self.transport).pauseProducing()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End, well or badly."""
        if reason.check(ResponseDone, PotentialDataLoss):
            self._end(None)
        else:
            self._end(Unavailable(f"the server broke off: {reason_of(reason.value)}"))

    def close(self) -> None:
        """Let go of what has not come yet."""
        if not self._ended:
            self._end(Unavailable("its reader closed it"))
            if self.transport is not None:
                self.transport.loseConnection()

    def _cancel(self) -> None:
        self._waiting = None
        self.close()

    def _stall(self) -> None:
        self._end(Unavailable(f"the server sent nothing for {_STALL_TIMEOUT:g} s"))
        if self.transport is not None:
            self.transport.loseConnection()

    def _end(self, refusal: Unavailable | None) -> None:
        if not self._ended:
            self._ended = True
            self._refusal = refusal
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)
