"""What all HTTP links share: credentials, bounded bodies, and refusals instead of exceptions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as Late
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from p2pd.background import Threads, at_once
from p2pd.errors import Conflict, Denied, Invalid, NotFound, Refusal, Unavailable
from p2pd.links.connection import bounded, reason_of
from p2pd.links.receiving import Rooms, receive
from p2pd.metainfo.ids import NodeId
from p2pd.node.throttle import Throttle
from p2pd.swarm.rates import TokenBucket

_ANSWER_TIMEOUT = 30.0
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


@dataclass(frozen=True, slots=True)
class Caller:
    """Sends requests in the name of this node."""

    client: HTTPClient
    clock: IReactorTime
    node_id: NodeId
    downlink: Throttle
    token: bytes | None = None
    threads: Threads = at_once
    agent: IAgent | None = None
    """What `client` stands on, for requests so many that its comforts are too dear."""

    async def get(self, url: str) -> IResponse:
        """As `send`, for a URL of ASCII at a fleet's daemon."""
        if self.agent is None:
            return await self.send("GET", url)
        headers = Headers({b"P2pd-Node": [self.node_id.encode()]})
        if self.token is not None:
            headers.addRawHeader(b"Authorization", b"Bearer " + self.token)
        return await self._answer(url, self.agent.request(b"GET", url.encode("ascii"), headers))

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
        except Exception as error:
            raise Unavailable(f"{url} cannot be asked: {reason_of(error)}") from error
        return await self._answer(url, answering)

    async def _answer(self, url: str, answering: Deferred[Any]) -> IResponse:
        try:
            return cast("IResponse", await bounded(answering, _ANSWER_TIMEOUT, self.clock))
        except CancelledError:
            raise
        except Late as error:
            raise Unavailable(f"no answer from {url} in {_ANSWER_TIMEOUT:g} s") from error
        except Exception as error:
            raise Unavailable(f"no answer from {url}: {reason_of(error)}") from error

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

    async def receive(self, response: IResponse, rooms: Rooms, *limits: TokenBucket) -> None:
        """Read a body that is as long as the rooms, at the node's download rate and at `limits`.

        Raises `Unavailable` if it is shorter or longer.
        """
        await receive(response, rooms, self.downlink, *limits)


def _read(response: IResponse, limit: int, sink: Callable[[bytes], Any]) -> Deferred[None]:
    body = _Body(limit, sink)
    response.deliverBody(body)
    return body.done


class _Body(Protocol):
    """Hands a body on, up to a limit; `done` fires when it ended as it should."""

    def __init__(self, limit: int, sink: Callable[[bytes], Any]) -> None:
        self._left = limit
        self._sink = sink
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

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ResponseDone, PotentialDataLoss):
            if not self.done.called:
                self.done.callback(None)
        else:
            self._fail(f"the connection broke: {reason_of(reason.value)}")


def _error_text(answer: bytes) -> str:
    """What an error body says, in few words."""
    try:
        document = json.loads(answer)
        text = str(document["error"])
    except (ValueError, RecursionError, KeyError, TypeError):
        text = answer.decode("utf-8", "replace")
    return text.strip()[:500]
