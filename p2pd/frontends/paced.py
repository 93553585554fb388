"""A whole reply whose body goes no faster than the uplink lets it."""

from collections.abc import Hashable

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from p2pd.frontends.kit import Reply
from p2pd.node.throttle import Throttle
from p2pd.swarm.rates import TokenBucket


class Paced(Resource):
    """Answers one request with a reply; the body takes its turn among all that the node sends."""

    isLeaf = True

    def __init__(
        self, reply: Reply, uplink: Throttle, party: Hashable, *limits: TokenBucket
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reply = reply
        self._stream = uplink.stream(party, *limits, go=self._go)

    def render(self, request: Request) -> int | bytes:
        """Write the head, and the body as it may go."""
        body = self._reply.put_on(request)
        if not self._stream.limited:
            return body
        self._request = request
        self._left = memoryview(body)
        request.notifyFinish().addErrback(lambda _: self._stream.close())
        self._send()
        return NOT_DONE_YET

    def _go(self, count: int) -> None:
        self._write(count)
        self._send()

    def _send(self) -> None:
        while self._left and (count := self._stream.take(len(self._left))):
            self._write(count)
        if not self._left:
            self._request.finish()

    def _write(self, count: int) -> None:
        self._request.write(bytes(self._left[:count]))
        self._left = self._left[count:]
