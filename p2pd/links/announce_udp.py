"""Announces to BitTorrent trackers over UDP (BEP 15)."""

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as Late
from twisted.internet.protocol import DatagramProtocol

from p2pd.errors import Refusal
from p2pd.links.announce_http import TIMED_OUT, words_of
from p2pd.protocol import udp_client
from p2pd.protocol.announce_client import AnnounceFailed, AnnounceReply, BitTorrentAnnounce

_Address: TypeAlias = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[_Address]]]

_WAITS = (15.0, 30.0)
"""How long a reply is waited for, before what asks for it is sent again or given up."""
_TIMEOUT = 60.0
_KNOWN_FOR = 60.0
_MOST_KNOWN = 1000


class UdpAnnounces:
    """Announces over UDP, from one port for each kind of address.

    `resolve` gives the addresses of a host that the user named, `strict_resolve` of others: they
    raise what is refused.  `reactor` has datagrams and time.
    """

    def __init__(self, reactor: Any, resolve: Resolve, strict_resolve: Resolve) -> None:
        self._reactor = reactor
        self._resolve = resolve
        self._strict_resolve = strict_resolve
        self._conversations: dict[type[_Address], _Conversations] = {}
        self._connections: dict[tuple[str, int], tuple[bytes, float]] = {}

    async def announce(
        self, url: str, asked: BitTorrentAnnounce, *, strict: bool
    ) -> AnnounceReply:
        """Announce, and give the reply; see `AnnounceLink.announce`."""
        asking = Deferred.fromCoroutine(self._ask(url, asked, strict=strict))
        try:
            return await asking.addTimeout(_TIMEOUT, self._reactor)
        except (CancelledError, AnnounceFailed):
            raise
        except (Refusal, OSError, ValueError, Late) as error:
            raise AnnounceFailed(words_of(error), retry=udp_client.RETRY) from error

    def close(self) -> None:
        """Close the ports."""
        for conversations in self._conversations.values():
            conversations.close()
        self._conversations.clear()

    async def _ask(self, url: str, asked: BitTorrentAnnounce, *, strict: bool) -> AnnounceReply:
        parts = urlsplit(url)
        if not parts.hostname or not parts.port:
            raise AnnounceFailed("the URL of a UDP tracker needs a host and a port")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        resolve = self._strict_resolve if strict else self._resolve
        *others, last = await resolve(parts.hostname, parts.port)
        for address in others:
            try:
                return await self._ask_at(address, asked, path)
            except OSError:
                continue  # there is no way to this kind of address
        return await self._ask_at(last, asked, path)

    async def _ask_at(
        self, address: _Address, asked: BitTorrentAnnounce, path: str
    ) -> AnnounceReply:
        where = address.host, address.port
        conversations = self._conversations_with(address)
        connection = await self._connect(conversations, where)
        transaction = os.urandom(udp_client.TRANSACTION_SIZE)
        sent = udp_client.write_announce(connection, transaction, asked, path.encode())
        try:
            reply = await conversations.ask(sent, transaction, where)
            return udp_client.read_announced(reply, 4 if isinstance(address, IPv4Address) else 16)
        except AnnounceFailed:
            # It may be the connection id that is good no longer.
            self._connections.pop(where, None)
            raise

    async def _connect(self, conversations: "_Conversations", where: tuple[str, int]) -> bytes:
        connection, expires = self._connections.get(where, (b"", 0.0))
        if self._reactor.seconds() < expires:
            return connection
        transaction = os.urandom(udp_client.TRANSACTION_SIZE)
        sent = udp_client.write_connect(transaction)
        connection = udp_client.read_connected(await conversations.ask(sent, transaction, where))
        if len(self._connections) >= _MOST_KNOWN:
            self._connections.clear()
        self._connections[where] = connection, self._reactor.seconds() + _KNOWN_FOR
        return connection

    def _conversations_with(self, address: _Address) -> "_Conversations":
        kind = type(address)
        if kind not in self._conversations:
            conversations = _Conversations(self._reactor)
            anywhere = "0.0.0.0" if kind is IPv4Address else "::"  # noqa: S104 - replies only
            self._reactor.listenUDP(0, conversations, interface=anywhere)
            self._conversations[kind] = conversations
        return self._conversations[kind]


class _Conversations(DatagramProtocol):
    """Sends requests, and hands replies to those who wait for them."""

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: dict[tuple[tuple[str, int], bytes], Deferred[bytes]] = {}

    async def ask(self, datagram: bytes, transaction: bytes, where: tuple[str, int]) -> bytes:
        """Send until there is a reply from there; raises `AnnounceFailed` if none comes."""
        key = where, transaction
        try:
            for wait in _WAITS:
                waiting = self._waiting[key] = Deferred[bytes]()
                self._port.write(datagram, where)
                try:
                    return await waiting.addTimeout(wait, self._reactor)
                except Late:
                    continue
        finally:
            del self._waiting[key]
        raise AnnounceFailed(TIMED_OUT, retry=udp_client.RETRY)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take a reply; whatever nobody waits for is dropped."""
        waiting = self._waiting.get((addr, udp_client.transaction_of(datagram)))
        if waiting is not None and not waiting.called:
            waiting.callback(datagram)

    def close(self) -> None:
        """Close the port."""
        if self.transport is not None:
            self._port.stopListening()

    @property
    def _port(self) -> Any:
        return self.transport
