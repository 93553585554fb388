"""What browsers are told of pages of other sites (CORS): which of them may use a daemon."""

from collections.abc import Mapping
from http import HTTPStatus

from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from p2pd.frontends import credentials
from p2pd.frontends.authorisation import Gate

_ALLOW = b"Access-Control-Allow-"
_ORIGIN, _CREDENTIALS, _VARY = _ALLOW + b"Origin", _ALLOW + b"Credentials", b"Vary"
_PREFLIGHT: Mapping[bytes, bytes] = {
    _ALLOW + b"Methods": b"GET, HEAD, POST, PUT, PATCH, DELETE",
    _ALLOW + b"Headers": b", ".join(
        [*credentials.HEADERS, b"Content-Type", b"Range", b"Last-Event-ID"]
    ),
    b"Access-Control-Max-Age": b"600",
}


def invite(request: Request, gate: Gate) -> bool:
    """Tell the browser whether the page that asks may see the answer; return whether it may."""
    if not gate.invites:
        return False
    request.responseHeaders.addRawHeader(_VARY, b"Origin")
    origin = gate.invited(request)
    if origin is None:
        return False
    request.responseHeaders.setRawHeaders(_ORIGIN, [origin])
    request.responseHeaders.setRawHeaders(_CREDENTIALS, [b"true"])
    return True


def is_preflight(request: Request) -> bool:
    """Whether a browser asks if it may send what a page wants it to."""
    asks = request.requestHeaders.hasHeader(b"Access-Control-Request-Method")
    return request.method == b"OPTIONS" and asks


def invitation(headers: Headers) -> Headers:
    """Return those of a reply's headers that `invite` may have set."""
    names = (_ORIGIN, _CREDENTIALS, _VARY)
    return Headers({name: headers.getRawHeaders(name, []) for name in names})


class Preflight(Resource):
    """Answers every preflight below it: what is asked for will be decided when it comes."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def render(self, request: Request) -> int:
        """Answer without a body."""
        request.setResponseCode(HTTPStatus.NO_CONTENT)
        for name, value in _PREFLIGHT.items():
            request.responseHeaders.setRawHeaders(name, [value])
        request.finish()
        return NOT_DONE_YET
