"""What every HTTP frontend is made of: routes that name their policy, bounded bodies, replies.

An `Api` is one dialect's table of routes, made at import. `application` binds any number of them
to the objects they speak for and serves them as one klein resource.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, BinaryIO, cast

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from p2pd.errors import Busy, Conflict, Denied, Invalid, NotFound, Refusal, Unavailable
from p2pd.frontends.authorisation import Gate, Policy, Unauthorised

JSON = b"application/json; charset=utf-8"
TEXT = b"text/plain; charset=utf-8"
JSON_BODY = 2 * 1024 * 1024
TORRENT_BODY = 32 * 1024 * 1024
BROKEN = "p2pd failed; its log tells why"

_log = Logger()


class TooLarge(Invalid):
    """The body is longer than its route takes."""


class Unprocessable(Invalid):
    """The body can be read, but a field is missing or of the wrong type."""


class Nowhere(NotFound):
    """No route has this path."""


class WrongMethod(Invalid):
    """The path has routes, but none takes this method."""


_STATUS: dict[type, HTTPStatus] = {
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Unprocessable: HTTPStatus.UNPROCESSABLE_ENTITY,
    WrongMethod: HTTPStatus.METHOD_NOT_ALLOWED,
    Unauthorised: HTTPStatus.UNAUTHORIZED,
    Invalid: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Denied: HTTPStatus.FORBIDDEN,
    Busy: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
_FURTHER: dict[HTTPStatus, Mapping[bytes, bytes]] = {
    HTTPStatus.UNAUTHORIZED: {b"WWW-Authenticate": b'Bearer realm="p2pd"'},
    HTTPStatus.TOO_MANY_REQUESTS: {b"Retry-After": b"1"},
    HTTPStatus.SERVICE_UNAVAILABLE: {b"Retry-After": b"5"},
}


def status_of(refusal: Refusal) -> HTTPStatus:
    """Return the HTTP status that tells what kind of refusal this is."""
    for kind in type(refusal).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return HTTPStatus.BAD_REQUEST


@dataclass(frozen=True)
class Reply:
    """What a route answers: a whole body, its type, its status, and any further headers.

    `alternative` is what the body may be called as well: it is, where the Accept header names it.
    """

    body: bytes
    content_type: bytes = JSON
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    alternative: bytes = b""

    def put_on(self, request: Request) -> bytes:
        """Set the status and the headers on `request`; return the body to write."""
        request.setResponseCode(self.status, self.status.phrase.encode())
        headers = {
            b"Content-Type": self.content_type,
            b"Content-Length": b"%d" % len(self.body),
            b"X-Content-Type-Options": b"nosniff",
            **self._negotiated(request),
            **self.headers,
        }
        if self.status is HTTPStatus.NO_CONTENT:
            del headers[b"Content-Length"]
        varying = headers.pop(b"Vary", None)
        for name, value in headers.items():
            request.responseHeaders.setRawHeaders(name, [value])
        if varying:  # with what it may vary by already
            request.responseHeaders.addRawHeader(b"Vary", varying)
        return self.body

    def _negotiated(self, request: Request) -> Mapping[bytes, bytes]:
        if not self.alternative:
            return {}
        accepted = b",".join(request.requestHeaders.getRawHeaders(b"Accept") or ())
        names = {each.partition(b";")[0].strip().lower() for each in accepted.split(b",")}
        if self.alternative.partition(b";")[0] not in names:
            return {b"Vary": b"Accept"}
        return {b"Vary": b"Accept", b"Content-Type": self.alternative}


Dialect = Callable[[HTTPStatus, str], Reply]
"""How one API words an error: (status, what was wrong and what to do) to the reply."""

Answer = bytes | Reply | IResource
"""What a route returns: JSON bytes, a whole reply, or a resource that renders itself."""

Answering = Callable[..., Coroutine[Deferred[Any], Any, Answer]]
"""`async def (context, request, **variables_in_the_path)`."""


@dataclass(frozen=True)
class Route:
    """One row of an API's table: which requests it takes and what they must show."""

    methods: tuple[str, ...]
    path: str
    policy: Policy
    answering: Answering
    max_body: int


class Api:
    """One dialect's routes, all below `prefix`, its errors worded by `dialect`.

    `words` are the status and the text that kinds of refusal have in this API and in no other;
    `broken` words what p2pd itself does wrong, if that has a form of its own.  Bodies have at most
    `max_body` bytes where a route does not say otherwise.
    """

    def __init__(
        self,
        dialect: Dialect,
        prefix: str = "",
        *,
        words: Mapping[type[Refusal], tuple[HTTPStatus, str]] | None = None,
        broken: Callable[[Exception], Reply] | None = None,
        max_body: int = JSON_BODY,
    ) -> None:
        self.dialect = dialect
        self.prefix = prefix
        self.routes: list[Route] = []
        self._words = words or {}
        self._broken = broken
        self._max_body = max_body

    def under(self, prefix: str) -> "Api":
        """Return the same API below another prefix, with the routes registered so far."""
        other = copy(self)
        other.prefix = prefix
        other.routes = [
            replace(route, path=prefix + route.path.removeprefix(self.prefix))
            for route in self.routes
        ]
        return other

    def route(
        self,
        path: str,
        *,
        policy: Policy,
        methods: Sequence[str] = ("GET",),
        max_body: int | None = None,
    ) -> Callable[[Answering], Answering]:
        """Register the decorated `async def (context, request, **variables) -> Answer`.

        `path` is a werkzeug rule below the prefix. HEAD comes with GET. Bodies over `max_body`
        bytes are refused as TooLarge. The coroutine runs to its end even if the client hangs up.
        """

        def register(answering: Answering) -> Answering:
            whole = self.prefix + path
            most = self._max_body if max_body is None else max_body
            self.routes.append(Route(tuple(methods), whole, policy, answering, most))
            return answering

        return register

    def refuse(self, refusal: Refusal) -> Reply:
        """Return the reply that tells of `refusal` in this API's dialect."""
        status, text = self._words.get(type(refusal)) or (status_of(refusal), refusal.reason)
        return _worded(self.dialect, status, text)

    def break_down(self, error: Exception) -> Reply:
        """Return the reply that tells that p2pd failed, and not the client."""
        if self._broken:
            return self._broken(error)
        return self.dialect(HTTPStatus.INTERNAL_SERVER_ERROR, BROKEN)


def refusal_reply(refusal: Refusal, dialect: Dialect) -> Reply:
    """Return the reply that tells of `refusal` in `dialect`, for raw resources too."""
    return _worded(dialect, status_of(refusal), refusal.reason)


def _worded(dialect: Dialect, status: HTTPStatus, text: str) -> Reply:
    reply = dialect(status, text)
    return replace(reply, headers={**reply.headers, **_FURTHER.get(status, {})})


def application(gate: Gate, apis: Sequence[tuple[Api, object]]) -> IResource:
    """Return one resource that answers for every (API, context) of `apis`.

    Paths that no route takes are answered by the API with the longest prefix of them, or by the
    first.
    """
    app = Klein()
    for api, context in apis:
        for route in api.routes:
            app.route(
                route.path,
                methods=list(route.methods),
                endpoint=f"{' '.join(route.methods)} {route.path}",
                strict_slashes=False,
                merge_slashes=False,
            )(_bind(api, route, context, gate))
    speakers = [api for api, _ in apis]
    app.handle_errors(HTTPException)(_unrouted(speakers))
    return _Routed(cast("IResource", app.resource()), speakers)


class _Routed(Resource):
    """Klein's resource, kept from what it would answer in HTML before any route is looked at."""

    isLeaf = True

    def __init__(self, routed: IResource, apis: Sequence[Api]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._routed = routed
        self._apis = apis

    def render(self, request: Request) -> int | bytes:
        """Route the request, if its path is UTF-8 and its Host header a host name."""
        try:
            b"/".join(request.postpath or []).decode()
            cast("Any", request).getRequestHostname().decode("ascii")
            return cast("int", cast("Any", self._routed).render(request))
        except UnicodeDecodeError:
            wrong = "the path must be UTF-8 and the Host header ASCII"
        except HTTPException:
            wrong = "the Host header does not hold a host name"
        return _speaker(self._apis, request).refuse(Invalid(wrong)).put_on(request)


def _bind(api: Api, route: Route, context: object, gate: Gate) -> Callable[..., Deferred[Any]]:
    """Return the function that klein calls for `route`."""

    async def answer(request: Request, variables: Mapping[str, Any]) -> Reply | IResource:
        try:
            gate.check(request, route.policy)
            _check_size(request, route.max_body)
            answered = await route.answering(context, request, **variables)
        except Refusal as refusal:
            return api.refuse(refusal)
        except Exception as error:  # noqa: BLE001 - whatever went wrong must not leave as HTML
            _log.failure("{path} failed", path=route.path)
            return api.break_down(error)
        return Reply(answered) if isinstance(answered, bytes) else answered

    def endpoint(request: Request, **variables: Any) -> Deferred[Any]:
        answering = Deferred.fromCoroutine(answer(request, variables))
        return _outliving(answering).addCallback(_put, request)

    return endpoint


def _put(answered: Reply | IResource, request: Request) -> bytes | IResource:
    return answered.put_on(request) if isinstance(answered, Reply) else answered


def _outliving(work: Deferred[Any]) -> Deferred[Any]:
    """Return a Deferred that fires with `work`, and whose cancellation leaves it running.

    Klein cancels when the client hangs up; what a request has begun is then still finished.
    """
    waiting: Deferred[Any] = Deferred()
    work.addCallbacks(waiting.callback, waiting.errback)
    return waiting


def _unrouted(apis: Sequence[Api]) -> Callable[..., bytes]:
    """Return klein's error function for paths and methods that no route takes."""

    def refuse(request: IRequest, failure: Failure) -> bytes:
        asked = cast("Request", request)
        api = _speaker(apis, asked)
        error = cast("HTTPException", failure.value)
        if not isinstance(error, MethodNotAllowed):
            return api.refuse(Nowhere("there is nothing at this path")).put_on(asked)
        allowed = ", ".join(sorted(error.valid_methods or ()))
        asked.responseHeaders.setRawHeaders(b"Allow", [allowed.encode()])
        return api.refuse(WrongMethod(f"this path takes {allowed} only")).put_on(asked)

    return refuse


def _speaker(apis: Sequence[Api], request: Request) -> Api:
    """Return the API whose dialect an error on the request's path is worded in."""
    path = request.path.decode("latin-1")
    below = [api for api in apis if path.startswith(api.prefix)]
    return max(below or apis[:1], key=lambda api: len(api.prefix))


def _check_size(request: Request, maximum: int) -> None:
    size = _content(request).seek(0, 2)
    if size > maximum:
        raise TooLarge(f"the body has {size} bytes; at most {maximum} are taken here")


def read_body(request: Request) -> bytes:
    """Return the whole body, whatever the method; its length has been checked already."""
    _content(request).seek(0)
    return _content(request).read()


def _content(request: Request) -> BinaryIO:
    assert request.content is not None, "a body can be read until the client hangs up"
    return cast("BinaryIO", request.content)


def query(request: Request, name: str) -> str | None:
    """Return the first value of the query argument `name`, or None if there is none.

    Raises Invalid if it is not UTF-8.
    """
    values = (request.args or {}).get(name.encode())
    if not values:
        return None
    try:
        return cast("bytes", values[0]).decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"the query argument {name} is not UTF-8") from error


def query_flag(request: Request, name: str) -> bool:
    """Return whether the query argument `name` says yes; raises Invalid if it says neither."""
    value = query(request, name)
    if value is None or value.lower() in {"0", "false", "no"}:
        return False
    if value.lower() in {"", "1", "true", "yes"}:
        return True
    raise Invalid(f"the query argument {name} must be 1 or 0")
