"""What all HTTP links share: credentials, bounded bodies, and refusals instead of exceptions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as Late
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import HEADER, STATUS, HTTP11ClientProtocol
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    ResponseDone,
    _HTTP11ClientFactory,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from p2pd.background import Threads, at_once
from p2pd.errors import Conflict, Denied, Invalid, NotFound, Refusal, Unavailable
from p2pd.metainfo.ids import NodeId
from p2pd.swarm.rates import TokenBucket

_CONNECT_TIMEOUT = 5.0
_ANSWER_TIMEOUT = 30.0
_HEAD_LIMIT = 256 * 1024
_JSON_LIMIT = 4 * 1024 * 1024
_REFUSALS: Mapping[int, type[Refusal]] = {
    400: Invalid,
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    422: Invalid,
}


class _Bounded(HTTP11ClientProtocol):
    """Breaks off when a response's head, interim ones included, does not end."""

    _head = 0

    def request(self, request: Any) -> Deferred[IResponse]:
        self._head = 0
        answering: Deferred[IResponse] = super().request(request)
        return answering

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)  # type: ignore[no-untyped-call]
        if self._parser is not None and self._parser.state in (STATUS, HEADER):
            self._head += len(data)
            if self._head > _HEAD_LIMIT:
                cast("ITCPTransport", self.transport).abortConnection()


class _QuietFactory(_HTTP11ClientFactory):
    """Logs nothing when a connection comes or goes."""

    noisy = False

    def buildProtocol(self, _address: Any) -> _Bounded:
        return _Bounded(self._quiescentCallback)  # type: ignore[no-untyped-call]


def make_agent(reactor: Any, *, connections: int) -> IAgent:
    """An agent with a connection pool of its own: `connections` kept open per host."""
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool._factory = _QuietFactory  # noqa: SLF001 - there is no public way to silence it
    pool.maxPersistentPerHost = connections
    pool.cachedConnectionTimeout = 60
    return Agent(reactor, connectTimeout=_CONNECT_TIMEOUT, pool=pool)


def make_client(reactor: Any, *, connections: int) -> HTTPClient:
    """A treq client on `make_agent`; it takes no cookies and asks for no compression."""
    no_cookies = IndexableCookieJar(DefaultCookiePolicy(allowed_domains=()))
    return HTTPClient(_Identity(make_agent(reactor, connections=connections)), no_cookies)


@implementer(IAgent)
class _Identity:
    """Asks for bodies as they are: treq by itself would offer to take them compressed."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        return self._agent.request(method, uri, headers, bodyProducer)


@dataclass(frozen=True, slots=True)
class Caller:
    """Sends requests in the name of this node."""

    client: HTTPClient
    clock: IReactorTime
    node_id: NodeId
    token: bytes | None = None
    download: TokenBucket = field(default_factory=lambda: TokenBucket(0, 0))
    threads: Threads = at_once

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        trusted: bool = True,
    ) -> IResponse:
        """The response's head, whatever its status; the body is to be read.

        The token goes to `trusted` servers only.  Raises `Unavailable` if none comes.
        """
        sent: dict[bytes | str, bytes | str] = {}
        sent.update(headers or {})
        if trusted:
            sent["P2pd-Node"] = self.node_id
            if self.token is not None:
                sent["Authorization"] = f"Bearer {self.token.decode()}"
        try:
            answering = self.client.request(
                method, url, headers=sent, data=body, allow_redirects=False, unbuffered=True
            )
            return await answering.addTimeout(_ANSWER_TIMEOUT, self.clock)
        except CancelledError:
            raise
        except Exception as error:
            raise Unavailable(f"no answer from {url}: {_reason(error)}") from error

    async def read(self, response: IResponse, limit: int) -> bytes:
        """A whole body of at most `limit` bytes; raises `Unavailable` if it is longer or late."""
        chunks: list[bytes] = []
        reading = _read(response, limit, chunks.append)
        try:
            await reading.addTimeout(_ANSWER_TIMEOUT, self.clock)
        except Late as error:
            raise Unavailable(f"the body did not end in {_ANSWER_TIMEOUT:g} s") from error
        return b"".join(chunks)

    async def ask(
        self,
        method: str,
        url: str,
        *,
        document: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        limit: int = _JSON_LIMIT,
    ) -> bytes:
        """The body of a good response; any other raises the refusal that its status means."""
        if document is not None:
            body = json.dumps(document).encode()
        headers = {"Content-Type": "application/json"} if document is not None else {}
        response = await self.send(method, url, headers=headers, body=body)
        answer = await self.read(response, limit)
        if response.code != 200:
            kind = _REFUSALS.get(response.code, Unavailable)
            raise kind(f"{url} answered {response.code}: {_error_text(answer)}")
        return answer

    async def ask_json(self, url: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """POST JSON, get a JSON object; raises `Unavailable` if the answer is anything else."""
        answer = await self.ask("POST", url, document=document)
        try:
            parsed = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"{url} answered something that is not JSON") from error
        if not isinstance(parsed, dict):
            raise Unavailable(f"{url} answered JSON that is not an object")
        return parsed

    async def fill(
        self, response: IResponse, into: memoryview, received: Callable[[int], None]
    ) -> None:
        """Read a body of exactly `len(into)` bytes at the node's download rate.

        Raises `Unavailable` if it is shorter or longer.
        """
        position = 0

        def sink(data: bytes) -> None:
            nonlocal position
            into[position : position + len(data)] = data
            position += len(data)
            received(len(data))

        await _read(response, len(into), sink, self._throttle)
        if position != len(into):
            raise Unavailable(f"the body ended after {position} of {len(into)} bytes")

    def _throttle(self, count: int, transport: Any) -> None:
        delay = self.download.reserve(count, self.clock.seconds())
        if delay > 0:
            transport.pauseProducing()
            self.clock.callLater(delay, _resume, transport)


def _resume(transport: Any) -> None:
    transport.resumeProducing()


def _read(
    response: IResponse,
    limit: int,
    sink: Callable[[bytes], Any],
    throttle: Callable[[int, Any], None] | None = None,
) -> Deferred[None]:
    body = _Body(limit, sink, throttle)
    response.deliverBody(body)
    return body.done


class _Body(Protocol):
    """Hands a body on, up to a limit; `done` fires when it ended as it should."""

    def __init__(
        self,
        limit: int,
        sink: Callable[[bytes], Any],
        throttle: Callable[[int, Any], None] | None,
    ) -> None:
        self._left = limit
        self._sink = sink
        self._throttle = throttle
        self.done: Deferred[None] = Deferred(lambda _: self._close())

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def _fail(self, reason: str) -> None:
        if not self.done.called:
            self.done.errback(Failure(Unavailable(reason)))

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        self._left -= len(data)
        if self._left < 0:
            self._fail("the body is longer than it should be")
            self._close()
            return
        self._sink(data)
        if self._throttle is not None:
            self._throttle(len(data), self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone, PotentialDataLoss):
            if not self.done.called:
                self.done.callback(None)
        else:
            self._fail(f"the connection broke: {_reason(reason.value)}")


def _reason(error: BaseException | None) -> str:
    """The words of an error; of the first one where Twisted wraps several."""
    reasons = getattr(error, "reasons", None)
    if reasons and isinstance(reasons[0], Failure):
        return _reason(reasons[0].value)
    return str(error) or type(error).__name__


def _error_text(answer: bytes) -> str:
    """What an error body says, in few words."""
    try:
        document = json.loads(answer)
        text = str(document["error"])
    except (ValueError, RecursionError, KeyError, TypeError):
        text = answer.decode("utf-8", "replace")
    return text.strip()[:500]
