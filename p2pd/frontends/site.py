"""The web site that every HTTP frontend stands in: it bounds requests before they are parsed."""

from typing import Any, cast

from twisted.web import server
from twisted.web.resource import IResource

from p2pd.frontends.kit import JSON, TORRENT_BODY


class BoundedRequest(server.Request):
    """A request whose body is refused as soon as it is known to be too long for any route."""

    max_body = TORRENT_BODY
    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        """Refuse a declared length at once; None means a chunked body."""
        if length is not None and length > self.max_body:
            super().gotLength(0)  # type: ignore[no-untyped-call]
            self._refuse()
        else:
            super().gotLength(length)  # type: ignore[no-untyped-call]

    def handleContentChunk(self, data: bytes) -> None:
        """Keep what fits; a chunked body shows its length only by arriving."""
        if self._refused:
            return
        self._received += len(data)
        if self._received > self.max_body:
            self._refuse()
        else:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def process(self) -> None:
        """Answer, unless the refusal was the answer."""
        if not self._refused:
            super().process()  # type: ignore[no-untyped-call]

    def _refuse(self) -> None:
        self._refused = True
        self.requestHeaders.removeHeader(b"Expect")  # or "100 Continue" would follow the 413
        body = b'{"code": "413 Request Entity Too Large", "msg": "error", "error": "too large"}\n'
        channel = cast("Any", self.channel)
        channel.transport.writeSequence(
            [
                b"HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\n",
                b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (JSON, len(body)),
                body,
            ]
        )
        channel.loseConnection()


class Site(server.Site):
    """A web site with bounded requests; form bodies are left for frontends to parse."""

    requestFactory = BoundedRequest

    def __init__(self, root: IResource, *, timeout: float = 60.0, reactor: Any = None) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            root, timeout=timeout, reactor=reactor, parsePOSTFormSubmission=False
        )
