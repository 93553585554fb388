"""A tracker called over HTTP, in the fleet API's words."""

import base64
import math
from typing import Any
from urllib.parse import urlencode, urljoin

from p2pd.errors import Invalid, Unavailable
from p2pd.links.http import Caller
from p2pd.metainfo.ids import (
    Address,
    NodeId,
    parse_address,
    parse_infohash,
    parse_node_id,
    parse_zone,
)
from p2pd.metainfo.torrent import MAX_METAINFO, Torrent
from p2pd.node.ports import Resolved
from p2pd.protocol.announcement import Announcement, Handout, PeerRef

_INTERVALS = (1.0, 3600.0)


class HttpTracker:
    """A link to one tracker; implements `p2pd.node.ports.TrackerLink`."""

    def __init__(self, url: str, caller: Caller) -> None:
        self.url = url.rstrip("/")
        self._caller = caller

    def _at(self, operation: str) -> str:
        return f"{self.url}/api/v1/{operation}"

    async def beat(self, node_id: NodeId, address: Address) -> str:
        """Say that the node lives; see `TrackerLink.beat`."""
        answer = await self._caller.ask_json(
            self._at("heart_beat"), {"node_id": node_id, "addr": address}
        )
        return str(answer.get("instance", "unknown"))

    async def leave(self, node_id: NodeId) -> None:
        """Say that the node stops; see `TrackerLink.leave`."""
        await self._caller.ask_json(self._at("leave"), {"node_id": node_id})

    async def publish(self, torrent: Torrent, filename: str) -> None:
        """Make a torrent known; see `TrackerLink.publish`."""
        url = f"{self._at('publish')}?{urlencode({'filename': filename})}"
        await self._caller.ask("POST", url, body=torrent.to_bytes())

    async def resolve(self, name: str) -> Resolved:
        """Find a torrent; see `TrackerLink.resolve`."""
        answer = await self._caller.ask_json(
            self._at("fetch_seed"), {"filename": name, "brief": True}
        )
        try:
            infohash = parse_infohash(answer["infohash"])
            filename = str(answer["filename"])
            # A tracker names what it serves itself relative to its own URL.
            web_seeds = tuple(
                urljoin(f"{self.url}/", str(url)) for url in answer.get("web_seeds", [])
            )
        except (KeyError, TypeError, Invalid) as error:
            raise Unavailable(f"{self.url} answered fetch_seed without an infohash") from error
        metainfo = await self._caller.ask(
            "GET", self._at(f"metainfo/{infohash.hex()}"), limit=MAX_METAINFO
        )
        try:
            torrent = await self._caller.threads(Torrent.from_bytes, metainfo)
        except Invalid as error:
            raise Unavailable(f"{self.url} sent unusable metainfo: {error.reason}") from error
        if torrent.infohash != infohash:
            raise Unavailable(f"{self.url} sent the metainfo of another torrent")
        return Resolved(torrent, filename, web_seeds)

    async def claim(self, name: str, node_id: NodeId) -> bool:
        """Be the one who makes a name known; see `TrackerLink.claim`."""
        answer = await self._caller.ask_json(self._at("claim"), {"name": name, "node_id": node_id})
        return answer.get("granted") is True

    async def release(self, name: str, node_id: NodeId) -> None:
        """Let others claim a name; see `TrackerLink.release`."""
        await self._caller.ask_json(self._at("release"), {"name": name, "node_id": node_id})

    async def announce(self, announcement: Announcement) -> Handout:
        """Tell what the node holds, learn who else does; see `TrackerLink.announce`."""
        answer = await self._caller.ask_json(
            self._at("report"),
            {
                "node_id": announcement.node_id,
                "infohash": announcement.infohash.hex(),
                "bitfield": base64.b64encode(announcement.bitfield).decode(),
                "event": announcement.event.value,
                "uploaded": announcement.uploaded,
                "downloaded": announcement.downloaded,
                "left": announcement.left,
                "numwant": announcement.wanted,
                "zone": announcement.zone,
            },
        )
        try:
            peers = tuple(_peer(peer) for peer in answer.get("peers", []))
            interval = float(answer.get("interval", 30.0))
        except (KeyError, TypeError, ValueError, Invalid) as error:
            raise Unavailable(f"{self.url} answered report with something unreadable") from error
        if not math.isfinite(interval):
            raise Unavailable(f"{self.url} answered report with an interval of {interval}")
        return Handout(peers, min(max(interval, _INTERVALS[0]), _INTERVALS[1]))


def _peer(peer: dict[str, Any]) -> PeerRef:
    return PeerRef(
        parse_node_id(peer["node_id"]),
        parse_address(peer["addr"]),
        bool(peer.get("complete", False)),
        parse_zone(str(peer.get("zone", ""))),
    )
