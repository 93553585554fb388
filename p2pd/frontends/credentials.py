"""Where a request may carry a credential: every place that the client of any API knows.

All places are equal, and the same in every API.
"""

from collections.abc import Iterator
from typing import cast

from twisted.web.server import Request

HEADERS = (b"Authorization", b"X-Api-Key", b"X-Porla-Token")
ARGUMENTS = (b"apikey", b"key")
COOKIES = (b"api_key", b"porla-auth-token")


def sent(request: Request) -> set[bytes]:
    """Return the credentials that the sender put into a request on purpose."""
    return {*filter(None, _in_headers(request)), *filter(None, _in_query(request))}


def cookies(request: Request) -> set[bytes]:
    """Return the credentials that a browser adds to a request, whoever's page makes it."""
    return set(filter(None, map(request.getCookie, COOKIES)))


def bearers(request: Request) -> Iterator[bytes]:
    """Give what is shown as `Authorization: Bearer CREDENTIAL` (RFC 6750)."""
    for shown in _header(request, b"Authorization"):
        scheme, _, credential = shown.partition(b" ")
        if scheme.lower() == b"bearer":
            yield credential.strip()


def argument(request: Request, name: bytes) -> list[bytes]:
    """Return what is shown as `?name=CREDENTIAL`."""
    return cast("list[bytes]", (request.args or {}).get(name, []))


def _in_headers(request: Request) -> Iterator[bytes]:
    yield from bearers(request)
    for shown in _header(request, b"X-Api-Key"):
        yield shown.strip()
    for shown in _header(request, b"X-Porla-Token"):
        scheme, _, credential = shown.strip().rpartition(b" ")
        if scheme.lower() in (b"", b"bearer"):
            yield credential


def _in_query(request: Request) -> Iterator[bytes]:
    for name in ARGUMENTS:
        yield from argument(request, name)


def _header(request: Request, name: bytes) -> list[bytes]:
    return list(request.requestHeaders.getRawHeaders(name) or ())
