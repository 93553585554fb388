"""Whom a tracker believes about the address of a client: proxies, and clients about themselves."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_pton

Network = IPv4Network | IPv6Network

_MAPPED = bytes(10) + b"\xff\xff"


def packed(text: str) -> bytes | None:
    """Return the 4 or 16 bytes of an address, None if it is none; ::ffff:1.2.3.4 is IPv4."""
    try:
        return inet_pton(AF_INET, text)
    except (OSError, ValueError):
        pass
    try:
        address = inet_pton(AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return None
    return address[12:] if address.startswith(_MAPPED) else address


class Sources:
    """`proxies` are believed about others' addresses, `tellers` about their own (`ip=`)."""

    def __init__(self, proxies: Sequence[Network] = (), tellers: Sequence[Network] = ()) -> None:
        self._proxies = _Networks(proxies)
        self._tellers = _Networks(tellers)
        self.tells = bool(tellers)
        """Whether anybody's `ip=` can count at all."""

    def client(self, sender: bytes, hops: Sequence[str]) -> bytes:
        """Return the address of a client, from the addresses that a request was forwarded from.

        Empty bytes for the sender mean one without an address: by a unix socket only a proxy on
        this machine comes. The last that is not a proxy is the client, or the last that can be
        read.
        """
        for hop in reversed(hops):
            if sender and sender not in self._proxies:
                break
            address = packed(hop)
            if address is None:
                break
            sender = address
        return sender

    def told(self, client: bytes, ip: str) -> bytes:
        """Return the address that a client gives as its own, if it is believed."""
        return (packed(ip) if client in self._tellers else None) or client


class _Networks:
    """Tells whether packed addresses are within networks."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = [
            (net.max_prefixlen // 8, int(net.netmask), int(net.network_address))
            for net in networks
        ]

    def __contains__(self, address: bytes) -> bool:
        number = int.from_bytes(address, "big")
        return any(
            len(address) == size and number & mask == network
            for size, mask, network in self._networks
        )
