"""An agent that goes where servers send it, as far as that is safe."""

from typing import Any, cast
from urllib.parse import urljoin, urlsplit

from twisted.internet.defer import Deferred
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from p2pd.errors import Denied, Invalid, Unavailable
from p2pd.links.agent import make_agent
from p2pd.links.guard import Guard, GuardedEndpoints
from p2pd.links.responses import drop
from p2pd.node.sources import SourceKind, parse_source

_MOST = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FOR_ONE_ORIGIN = (b"Authorization", b"Cookie", b"P2pd-Node")


def make_guarded_agent(
    reactor: Any,
    guard: Guard,
    *,
    strict: bool,
    connections: int = 2,
    policy: IPolicyForHTTPS | None = None,
) -> "RedirectedAgent":
    """An agent that calls only whom `guard` lets it, strictly or not, and follows redirects."""
    policy = policy or BrowserLikePolicyForHTTPS()
    endpoints = GuardedEndpoints(reactor, guard, strict=strict, policy=policy)
    return RedirectedAgent(
        make_agent(reactor, connections=connections, policy=policy, endpoints=endpoints)
    )


@implementer(IAgent)
class RedirectedAgent:
    """Follows redirects of GET and HEAD: a few, never from TLS to none, only to http(s).

    What is meant for the first origin alone, such as credentials, is not sent to another one.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send a request, and again where that leads; see `IAgent.request`.

        The response has the URL that it is from as `final_url`.
        """
        headers = Headers() if headers is None else headers.copy()
        return Deferred.fromCoroutine(self._request(method, uri.decode(), headers, bodyProducer))

    async def _request(
        self, method: bytes, url: str, headers: Headers, body: IBodyProducer | None
    ) -> IResponse:
        for _ in range(_MOST + 1):
            response: IResponse = await self._agent.request(method, url.encode(), headers, body)
            there = response.headers.getRawHeaders("Location")
            if response.code not in _REDIRECTS or method not in (b"GET", b"HEAD") or not there:
                cast("Any", response).final_url = url
                return response
            drop(response)
            url = _next(url, there[0], headers)
        raise Unavailable(f"{url} redirects again and again")


def _next(url: str, location: str, headers: Headers) -> str:
    """Give the URL that a redirect leads to, and drop the headers that must not go there."""
    try:
        source = parse_source(urljoin(url, location))
    except (Invalid, ValueError):
        source = None
    if source is None or source.kind is not SourceKind.URL:
        raise Denied(f"{url} redirects to something else than an http or https URL")
    before, after = urlsplit(url), urlsplit(source.text)
    if before.scheme == "https" and after.scheme == "http":
        raise Denied(f"{url} redirects from https to http, where anybody could change the file")
    if before[:2] != after[:2]:
        for name in _FOR_ONE_ORIGIN:
            headers.removeHeader(name)
    return source.text
