"""Calls a daemon's HTTP API: bytes out, and bytes or a reason to give up back."""

from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import treq
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IResponse

from p2pd.cli.outcome import CommandFailed, Exit

_CONNECT_TIMEOUT = 5.0
_LARGEST_ANSWER = 64 * 1024 * 1024
_EXITS: Mapping[int, Exit] = {
    400: Exit.REFUSED,
    401: Exit.REFUSED,
    403: Exit.REFUSED,
    404: Exit.NOT_FOUND,
    409: Exit.REFUSED,
    413: Exit.REFUSED,
    422: Exit.REFUSED,
}
_T = TypeVar("_T")


class Server:
    """One daemon, called at `url`; shows `token` if there is one.

    `kind` is what it should be, and the advices are for users who find no such thing there.
    """

    def __init__(
        self, reactor: Any, url: str, token: bytes | None, *, kind: str, start: str, choose: str
    ) -> None:
        self.url = url.rstrip("/")
        self._clock = reactor
        self._kind = kind
        self._start = start
        self._choose = choose
        self._pool = HTTPConnectionPool(reactor)
        self._http = HTTPClient(Agent(reactor, connectTimeout=_CONNECT_TIMEOUT, pool=self._pool))
        self._headers: dict[bytes | str, bytes | str] = {"Accept-Encoding": "identity"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token.decode('ascii')}"

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.closeCachedConnections()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        *,
        within: float | None = None,
    ) -> tuple[int, bytes]:
        """Return the status and the body; raises CommandFailed if there is no answer."""
        exchange = _cancellable(self._exchange(method, path, body, query))
        timer = self._clock.callLater(within, exchange.cancel) if within else None
        try:
            return await exchange
        except CommandFailed:
            raise
        except CancelledError as error:
            if timer and not timer.active():
                raise self.unreachable(f"no answer within {within:g} s") from error
            raise
        except Exception as error:
            raise self.unreachable(str(_first_cause(error)).rstrip(".")) from error
        finally:
            if timer and timer.active():
                timer.cancel()

    async def _exchange(
        self, method: str, path: str, body: bytes | None, query: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        response: IResponse = await self._http.request(
            method,
            f"{self.url}{path}",
            headers=self._headers,
            params=query,
            data=body,
            allow_redirects=False,
            unbuffered=True,
        )
        whole = bytearray()

        def collect(data: bytes) -> None:
            whole.extend(data)
            if len(whole) > _LARGEST_ANSWER:
                raise self.mistaken(f"it answered more than {_LARGEST_ANSWER} bytes")

        await treq.collect(response, collect)
        return response.code, bytes(whole)

    def unreachable(self, reason: str) -> CommandFailed:
        """Return the failure to get any answer."""
        return CommandFailed(
            Exit.UNREACHABLE,
            f"cannot reach a {self._kind} at {self.url}: {reason}; start one with"
            f" `{self._start}`, or give another's URL with {self._choose}",
        )

    def mistaken(self, reason: str) -> CommandFailed:
        """Return the failure to understand what answers there."""
        return CommandFailed(
            Exit.UNREACHABLE,
            f"what is at {self.url} is no p2pd {self._kind}: {reason}; give a {self._kind}'s URL"
            f" with {self._choose}",
        )

    def refused(self, status: int, reason: object) -> CommandFailed:
        """Return the failure that an answer tells of."""
        text = str(reason or f"the {self._kind} answered {status}")
        return CommandFailed(_EXITS.get(status, Exit.FAILED), text)


def _cancellable(work: Coroutine[Deferred[Any], Any, _T]) -> Deferred[_T]:
    """Start `work`; cancelling the result is CancelledError, whatever error `work` makes of it."""
    working = Deferred.fromCoroutine(work)

    def cancel(waiting: Deferred[_T]) -> None:
        waiting.errback(CancelledError())
        working.cancel()

    def end(result: _T | Failure) -> None:
        if not waiting.called:
            waiting.callback(result)

    waiting: Deferred[_T] = Deferred(cancel)
    working.addBoth(end)
    return waiting


def _first_cause(error: BaseException) -> BaseException:
    """Return the first error of those that Twisted wraps in one."""
    reasons = getattr(error, "reasons", None)
    if reasons and isinstance(reasons[0], Failure) and reasons[0].value is not None:
        return _first_cause(reasons[0].value)
    return error
