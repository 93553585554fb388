"""Agents that keep connections, and what they know of the servers at the other end."""

from http.cookiejar import DefaultCookiePolicy
from typing import Any

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IPolicyForHTTPS,
    IResponse,
)

from p2pd.links.connection import QuietFactory

_CONNECT_TIMEOUT = 5.0
_KNOWN_SERVERS = 1024


def make_agent(
    reactor: Any,
    *,
    connections: int,
    policy: IPolicyForHTTPS | None = None,
    endpoints: IAgentEndpointFactory | None = None,
) -> IAgent:
    """An agent with a connection pool of its own: `connections` kept open per host.

    `policy` says whom to believe over TLS: by default those whom the system's authorities
    vouch for.  `endpoints` makes the connections, if others than usual are wanted.
    """
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool._factory = QuietFactory  # noqa: SLF001 - there is no public way to replace it
    pool.maxPersistentPerHost = connections
    pool.cachedConnectionTimeout = 60
    policy = policy or BrowserLikePolicyForHTTPS()
    return _PlainAgent(
        reactor, policy, connectTimeout=_CONNECT_TIMEOUT, pool=pool, endpoints=endpoints
    )


def make_client(agent: IAgent) -> HTTPClient:
    """A treq client on an agent; it takes no cookies."""
    return HTTPClient(agent, IndexableCookieJar(DefaultCookiePolicy(allowed_domains=())))


class _PlainAgent(Agent):
    """Asks for bodies as they are, for treq by itself would offer to take them compressed.

    It remembers servers: to read a URL and to make an endpoint costs more than to send a request.
    """

    def __init__(
        self,
        reactor: Any,
        policy: IPolicyForHTTPS,
        endpoints: IAgentEndpointFactory | None,
        **options: Any,
    ) -> None:
        super().__init__(reactor, policy, **options)  # type: ignore[no-untyped-call]
        self._endpointFactory = endpoints or self._endpointFactory
        self._servers: dict[bytes, tuple[URI, IStreamClientEndpoint, bytes]] = {}

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send a request; see `IAgent.request`."""
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        scheme, _, rest = uri.partition(b"://")
        netloc, slash, path = rest.partition(b"/")
        if not slash or b"#" in path or not path.isascii() or b" " in path:
            return super().request(method, uri, headers, bodyProducer)
        root = b"%b://%b/" % (scheme, netloc)
        if root not in self._servers:
            if len(self._servers) >= _KNOWN_SERVERS:
                self._servers.clear()
            parsed = URI.fromBytes(root)
            endpoint = self._getEndpoint(parsed)  # type: ignore[no-untyped-call]
            host = self._computeHostValue(parsed.scheme, parsed.host, parsed.port)  # type: ignore[no-untyped-call]
            self._servers[root] = parsed, endpoint, host
        parsed, endpoint, host = self._servers[root]
        if not headers.hasHeader(b"Host"):
            headers.setRawHeaders(b"Host", [host])
        return self._requestWithEndpoint(
            (parsed.scheme, parsed.host, parsed.port),
            endpoint,
            method,
            parsed,
            headers,
            bodyProducer,
            b"/" + path,
        )
