"""Announces to the BitTorrent trackers that metainfo, magnet links and users name."""

from typing import Any

from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.iweb import IPolicyForHTTPS

from p2pd.links.announce_http import HttpAnnounces
from p2pd.links.announce_udp import UdpAnnounces
from p2pd.links.guard import Guard, GuardedEndpoints
from p2pd.links.redirects import make_guarded_agent
from p2pd.protocol.announce_client import AnnounceFailed, AnnounceReply, BitTorrentAnnounce


class AnnounceClients:
    """Announces as the scheme of a URL tells; implements `p2pd.node.ports.AnnounceLink`."""

    def __init__(self, http: HttpAnnounces, udp: UdpAnnounces) -> None:
        self._udp = udp
        self._clients: dict[str, HttpAnnounces | UdpAnnounces]
        self._clients = {"http": http, "https": http, "udp": udp}

    async def announce(
        self, url: str, asked: BitTorrentAnnounce, *, strict: bool
    ) -> AnnounceReply:
        """Announce, and give the reply; see `AnnounceLink.announce`."""
        client = self._clients.get(url.partition(":")[0].lower())
        if client is None:
            raise AnnounceFailed("unsupported URL protocol", for_good=True)
        return await client.announce(url, asked, strict=strict)

    def close(self) -> None:
        """Close the ports; see `AnnounceLink.close`."""
        self._udp.close()


def make_announce_clients(
    reactor: Any, guard: Guard, *, policy: IPolicyForHTTPS | None = None
) -> AnnounceClients:
    """Clients that call only whom `guard` lets them, and over TLS believe whom `policy` names."""
    policy = policy or BrowserLikePolicyForHTTPS()
    agent, strict_agent = (
        make_guarded_agent(reactor, guard, strict=strict, policy=policy)
        for strict in (False, True)
    )
    resolve, strict_resolve = (
        GuardedEndpoints(reactor, guard, strict=strict, policy=policy).resolve
        for strict in (False, True)
    )
    return AnnounceClients(
        HttpAnnounces(agent, strict_agent, reactor), UdpAnnounces(reactor, resolve, strict_resolve)
    )
