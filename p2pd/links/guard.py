"""Which addresses may be called for the sake of a URL, and endpoints that call no others.

A URL may lead this machine to what only this machine can reach.  So its host is resolved here,
each address that would be tried is judged, and one of those is connected to, whatever the name
would resolve to next; a redirect goes the same way again.
"""

import ipaddress
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from p2pd.errors import Denied, Unavailable
from p2pd.values import Network

_Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Address: TypeAlias = IPv4Address | IPv6Address
_Resolving: TypeAlias = Callable[[str, int], Coroutine[Any, Any, list[_Address]]]

_CONNECT_TIMEOUT = 5.0
_MOST_TRIED = 4

# Where clouds tell a machine its secrets, beside 169.254.0.0/16.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:42::42",
            "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
# Not public, though `ipaddress` may say so: site-local, and NAT64 of a site's own.
_OF_A_SITE = tuple(map(ipaddress.ip_network, ("fec0::/10", "64:ff9b:1::/48")))
# IPv6 networks whose last 32 bits are an IPv4 address: mapped, compatible, and of NAT64.
_ENDING_IN_V4 = tuple(
    map(ipaddress.ip_network, ("::ffff:0:0/96", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
)
_OWN = frozenset(map(ipaddress.ip_address, ("::", "::1")))


class Guard:
    """The rule which addresses may be called.

    Nobody is called at link-local, cloud-metadata, multicast or unspecified addresses.  Loopback
    ones are called for URLs that the user gave if the daemon is `loopback_only`.  Strictly, that
    is for URLs that others gave, no private ones are called either.  Addresses in `allowed` nets
    are excepted from what is said of loopback and private ones.
    """

    def __init__(
        self, allowed: Iterable[Network] = (), *, loopback_only: Callable[[], bool]
    ) -> None:
        self._allowed = tuple(allowed)
        self._loopback_only = loopback_only

    def check(self, address: str, *, strict: bool) -> None:
        """Raise Denied, saying what to do, if an address may not be called."""
        unscoped = address.partition("%")[0]
        for ip in _meant(ipaddress.ip_address(unscoped)):
            self._check(ip, strict=strict)

    def _check(self, ip: _Ip, *, strict: bool) -> None:
        if kind := _never(ip):
            raise Denied(f"{ip} is {kind} address: nothing is fetched from there")
        if any(ip in network for network in self._allowed):
            return
        if ip.is_loopback:
            refused = strict or not self._loopback_only()
        else:
            refused = strict and not _public(ip)
        if refused:
            kind = "a loopback" if ip.is_loopback else "no public"
            raise Denied(
                f"{ip} is {kind} address: start the node with --allow-source-net {ip} if files"
                " may be fetched from there"
            )


def _meant(ip: _Ip) -> Sequence[_Ip]:
    """Give the addresses that are reached by one: IPv6 has many ways to write an IPv4 address."""
    if isinstance(ip, ipaddress.IPv4Address) or ip in _OWN:
        return (ip,)
    if any(ip in network for network in _ENDING_IN_V4):
        return (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF),)
    if ip.sixtofour is not None:
        return (ip.sixtofour,)
    return (ip, *(ip.teredo or ()))


def _never(ip: _Ip) -> str:
    """Say what kind of address it is if it is one that nobody may call."""
    if ip.is_link_local:
        return "a link-local"
    if ip in _METADATA:
        return "a cloud's metadata"
    if ip.is_multicast:
        return "a multicast"
    if ip.is_unspecified or ip in _THIS_NETWORK:
        return "an unspecified"
    if ip.version == 4 and ip.is_reserved:
        return "a reserved"
    return ""


def _public(ip: _Ip) -> bool:
    return ip.is_global and not any(ip in network for network in _OF_A_SITE)


@implementer(IAgentEndpointFactory)
class GuardedEndpoints:
    """Endpoints for agents: each time they connect they resolve, judge, and keep to the result.

    `policy` says whom to believe over TLS.  TLS and HTTP are still told the name.
    """

    def __init__(
        self, reactor: Any, guard: Guard, *, strict: bool, policy: IPolicyForHTTPS
    ) -> None:
        self._reactor = reactor
        self._guard = guard
        self._strict = strict
        self._policy = policy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Make an endpoint; see `IAgentEndpointFactory`."""
        host = uri.host.decode("ascii")
        endpoint = _GuardedEndpoint(self._reactor, host, uri.port, self.resolve)
        if uri.scheme != b"https":
            return endpoint
        return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)

    async def resolve(self, host: str, port: int) -> list[_Address]:
        """Give all addresses of a host; raise Denied if one of them may not be called.

        Raises Unavailable if it has none.
        """
        answer = _Answer()
        self._reactor.nameResolver.resolveHostName(answer, host, port)
        addresses = await answer.complete
        if not addresses:
            raise Unavailable(f"there is no host {host}")
        for address in addresses:
            try:
                self._guard.check(address.host, strict=self._strict)
            except Denied as denied:
                shown = "" if address.host == host else f"{host} is {address.host}: "
                raise Denied(f"{shown}{denied.reason}") from denied
        return addresses


@implementer(IStreamClientEndpoint)
class _GuardedEndpoint:
    """Connects to a host at one of the addresses that were judged."""

    def __init__(self, reactor: Any, host: str, port: int, resolve: _Resolving) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._resolve = resolve

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        *others, last = (await self._resolve(self._host, self._port))[:_MOST_TRIED]
        for address in others:
            try:
                return await self._at(address).connect(factory)
            except ConnectError:
                continue
        return await self._at(last).connect(factory)

    def _at(self, address: _Address) -> IStreamClientEndpoint:
        kind = TCP4ClientEndpoint if isinstance(address, IPv4Address) else TCP6ClientEndpoint
        return kind(self._reactor, address.host, address.port, _CONNECT_TIMEOUT)


@implementer(IResolutionReceiver)
class _Answer:
    """Gathers what a host name is resolved to."""

    def __init__(self) -> None:
        self._addresses: list[_Address] = []
        self.complete: Deferred[list[_Address]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        pass

    def addressResolved(self, address: IAddress) -> None:
        if isinstance(address, IPv4Address | IPv6Address):
            self._addresses.append(address)

    def resolutionComplete(self) -> None:
        if not self.complete.called:
            self.complete.callback(self._addresses)
