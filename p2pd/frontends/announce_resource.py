"""Announces and scrapes that come through the web site: by TLS, unix sockets, or adopted."""

import re
from http import HTTPStatus

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.resource import Resource
from twisted.web.server import Request

from p2pd.frontends.announces import Announces
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.kit import Reply
from p2pd.frontends.sources import Sources, packed
from p2pd.protocol import announce as codec
from p2pd.tracker.announcing import Announcing, Tally

_TEXT = b"text/plain"
_KEYED = re.compile(rb"/[0-9A-Fa-f]{40}(?:/.*)?")


class AnnounceResource(Resource):
    """Stands at every path of announces and scrapes, and answers as the door beside it does."""

    isLeaf = True
    policy = Policy.PUBLIC

    def __init__(self, announcing: Announcing, sources: Sources) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._announces = Announces(announcing, sources)

    def takes(self, path: bytes) -> bool:
        """Tell whether a path is that of an announce or a scrape, or begins with a key."""
        return codec.read_place(path) is not None or _KEYED.fullmatch(path) is not None

    def tallies(self) -> tuple[Tally, Tally]:
        """Return what was seen from clients with IPv4 and with IPv6."""
        return self._announces.tallies

    def render(self, request: Request) -> bytes:
        """Answer a GET or HEAD."""
        return self._reply(request).put_on(request)

    def _reply(self, request: Request) -> Reply:
        path, _, query = request.uri.partition(b"?")
        place = codec.read_place(path)
        if place is None:
            return Reply(codec.failure("unknown request"), _TEXT, HTTPStatus.NOT_FOUND)
        if request.method not in (b"GET", b"HEAD"):
            refused = codec.failure("use GET")
            allow = {b"Allow": b"GET, HEAD"}
            return Reply(refused, _TEXT, HTTPStatus.METHOD_NOT_ALLOWED, allow)
        headers = request.requestHeaders
        hops = codec.read_hops(
            headers.getRawHeaders(b"X-Forwarded-For") or [],
            headers.getRawHeaders(b"X-Real-IP") or [],
        )
        return Reply(self._announces.body(place, query, _sender(request), hops), _TEXT)


def _sender(request: Request) -> bytes:
    address = request.getClientAddress()
    known = isinstance(address, IPv4Address | IPv6Address)
    return (packed(address.host) if known else None) or b""
