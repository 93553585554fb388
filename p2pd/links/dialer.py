"""Makes links of the right kind for an address or a URL."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from p2pd.errors import Denied
from p2pd.links.http import Caller
from p2pd.links.http_peer import HttpPeer
from p2pd.links.web_seed import DirectorySeed, HttpSeed
from p2pd.metainfo.ids import NO_ZONE, Address, Zone
from p2pd.node.ports import PeerLink


class HttpDialer:
    """Calls nodes and web seeds over HTTP; implements `p2pd.node.ports.Dialer`.

    Nodes are called by TLS if `tls` says so.  Web seeds that are none of the `trackers` are
    called by `outside`, which may believe others than `caller` does, or by `guarded` if they are
    to be called strictly; without it none of these is called.  Both should keep to `links/guard`.
    The token is sent to web seeds at one of the `trackers`, by its scheme, only.  `file:` URLs
    are read below `origin_dir` only.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        tls: bool = False,
        outside: Caller | None = None,
        guarded: Caller | None = None,
        zone: Zone = NO_ZONE,
        trackers: tuple[str, ...] = (),
        origin_dir: Path | None = None,
        threads: Callable[..., Awaitable[bytearray]],
    ) -> None:
        self._caller = caller
        self._outside = outside or caller
        self._guarded = guarded
        self._scheme = "https" if tls else "http"
        self._zone = zone
        self._trusted = frozenset(urlsplit(url)[:2] for url in trackers)
        self._origin_dir = origin_dir
        self._threads = threads

    def peer(self, address: Address, own: Address | None) -> PeerLink:
        """A link to a node; see `Dialer.peer`."""
        return HttpPeer(address, self._caller, own=own, zone=self._zone, scheme=self._scheme)

    def web_seed(self, url: str, *, strict: bool) -> PeerLink:
        """A link to a web seed; see `Dialer.web_seed`.  Raises `Denied` for other schemes."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise Denied(f"web seed {url}: {error}") from error
        if strict:
            if parts.scheme in ("http", "https") and self._guarded is not None:
                return HttpSeed(url, self._guarded, trusted=False)
        elif parts.scheme in ("http", "https"):
            trusted = parts[:2] in self._trusted
            return HttpSeed(url, self._caller if trusted else self._outside, trusted=trusted)
        elif parts.scheme == "file" and self._origin_dir is not None:
            return DirectorySeed(url, self._origin_dir, self._threads)
        raise Denied(f"web seed {url}: only http and https are fetched from")
