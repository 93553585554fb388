"""What an announce or a scrape by HTTP is answered, whatever connection it came by."""

from collections.abc import Sequence
from itertools import cycle

from twisted.logger import Logger

from p2pd.errors import Invalid, Refusal, Unavailable
from p2pd.frontends.sources import Sources
from p2pd.protocol import announce as codec
from p2pd.tracker.announcing import Announcing, Tally
from p2pd.tracker.records import AccessDenied, Why

# The path itself is wrong. Whatever else is refused, an operator may allow at any time.
_HOPELESS = {Why.MISSING_KEY, Why.INVALID_KEY, Why.MISSING_USER_KEY, Why.INVALID_USER_KEY}

_log = Logger()


class Announces:
    """Translates between HTTP and `announcing`; counts apart for IPv4 and IPv6 in `tallies`."""

    def __init__(self, announcing: Announcing, sources: Sources) -> None:
        self.tallies = (Tally(), Tally())
        self._announcing = announcing
        self._sources = sources
        least = announcing.min_interval
        self._times = cycle([codec.times(each, least) for each in announcing.intervals])

    def body(self, place: codec.Place, query: bytes, sender: bytes, hops: Sequence[str]) -> bytes:
        """Answer the query at a place; `sender` is a packed address, empty if there is none."""
        client = self._sources.client(sender, hops) if hops else sender
        tally = self.tallies[len(client) == 16]
        try:
            if place.scrape:
                body = self._scrape(place.credentials, query)
                tally.scrapes += 1
            else:
                body = self._announce(place.credentials, query, client)
                tally.announces += 1
        except Refusal as refusal:
            tally.failures += 1
            return codec.failure(refusal.reason, _retry_in(refusal))
        except Exception:  # noqa: BLE001 - a client is answered whatever went wrong
            _log.failure("an announce or a scrape failed")
            tally.failures += 1
            return codec.failure("the tracker failed; its log tells why", 1)
        return body

    def _announce(self, credentials: tuple[str, ...], query: bytes, client: bytes) -> bytes:
        infohash, peer_id, port, uploaded, downloaded, left, event, wanted, compact, named, ip = (
            codec.read_announce(query)
        )
        if ip and self._sources.tells:
            client = self._sources.told(client, codec.unquote(ip).decode("latin-1"))
        if not client:
            raise Invalid("the proxy did not tell your address")
        address = client + port.to_bytes(2, "big")
        complete, incomplete, completed, peers = self._announcing.announce(
            credentials, infohash, address, peer_id, left, uploaded, downloaded, event, wanted
        )
        counts, when = (complete, incomplete, completed), next(self._times)
        if compact:
            return codec.announce_reply(counts, when, client, peers)
        each = codec.split_peers(peers, len(client))
        names = self._announcing.table.peer_ids(infohash, each) if named else [None] * len(each)
        return codec.listed_reply(counts, when, client, zip(each, names, strict=True))

    def _scrape(self, credentials: tuple[str, ...], query: bytes) -> bytes:
        scrape = self._announcing.scrape
        files = [(each, scrape(credentials, each)) for each in codec.read_scrape(query)]
        return codec.scrape_reply(files, self._announcing.min_interval)


def _retry_in(refusal: Refusal) -> int | str | None:
    """Return in how many minutes it may be otherwise; None: who knows."""
    if isinstance(refusal, Unavailable):
        return 1
    hopeless = isinstance(refusal, Invalid) or (
        isinstance(refusal, AccessDenied) and refusal.why in _HOPELESS
    )
    return codec.NEVER if hopeless else None
