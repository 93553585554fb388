"""Where a daemon listens: as seen from itself, and from other machines."""

import ipaddress
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from p2pd.errors import Unavailable
from p2pd.metainfo.ids import Address, parse_address

_ELSEWHERE = "192.0.2.1"  # of TEST-NET-1 (RFC 5737): on the default route, like any other


@dataclass(frozen=True)
class Bound:
    """Where a listener is: a host (an IP address) and a port, or the path of a UNIX socket."""

    host: str
    port: int | None
    tls: bool = False

    @classmethod
    def at(cls, address: IAddress, *, tls: bool) -> Self:
        """Translate a listening port's address; raise ValueError where no HTTP can be served."""
        match address:
            case IPv4Address() | IPv6Address():
                return cls(address.host, address.port, tls)
            case UNIXAddress():
                return cls(os.fsdecode(address.name or b""), None, tls)
        raise ValueError(f"HTTP cannot be served at {address}")

    @property
    def address(self) -> str:
        """`host:port` or `[v6]:port`; `unix:path` for a UNIX socket."""
        if self.port is None:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL of the listener, as far as there is one for a UNIX socket."""
        if self.port is None:
            return self.address
        return f"{'https' if self.tls else 'http'}://{self.address}"


def is_loopback(bound: Bound) -> bool:
    """Return whether only this machine can reach a listener."""
    if bound.port is None:
        return True
    address = ipaddress.ip_address(bound.host.partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def advertised(listeners: Sequence[Bound], towards: str = _ELSEWHERE) -> Address:
    """Return the address at which others reach the first listener that they can reach.

    One on every interface is reached at this machine's address on the route to the host
    `towards`; looking up a name may take some seconds. Raises Unavailable if there is none.
    """
    reachable = sorted((one for one in listeners if one.port), key=is_loopback)
    if not reachable:
        raise Unavailable("no listener has an address that other machines could use")
    first = reachable[0]
    if ipaddress.ip_address(first.host.partition("%")[0]).is_unspecified:
        first = Bound(_own_address(towards), first.port)
    return parse_address(first.address)


def _own_address(towards: str) -> str:
    """Return which of its addresses this machine uses to reach a host; nothing is sent."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            towards, 9, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise Unavailable(
            f"cannot tell this machine's address on the way to {towards}: {error.strerror};"
            " give --advertise HOST:PORT"
        ) from error
