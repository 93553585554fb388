"""Makes links of the right kind for an address or a URL."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from p2pd.errors import Denied
from p2pd.links.http import Caller
from p2pd.links.http_peer import HttpPeer
from p2pd.links.web_seed import DirectorySeed, HttpSeed
from p2pd.metainfo.ids import Address
from p2pd.node.ports import PeerLink


class HttpDialer:
    """Calls nodes and web seeds over HTTP; implements `p2pd.node.ports.Dialer`.

    The token is sent to web seeds at one of the `trackers`, by its scheme, only.  `file:` URLs
    are read below `origin_dir` only.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        trackers: tuple[str, ...] = (),
        origin_dir: Path | None = None,
        threads: Callable[..., Awaitable[bytearray]],
    ) -> None:
        self._caller = caller
        self._trusted = frozenset(urlsplit(url)[:2] for url in trackers)
        self._origin_dir = origin_dir
        self._threads = threads

    def peer(self, address: Address, own: Address | None) -> PeerLink:
        """A link to a node; see `Dialer.peer`."""
        return HttpPeer(address, self._caller, own=own)

    def web_seed(self, url: str) -> PeerLink:
        """A link to a web seed; see `Dialer.web_seed`.  Raises `Denied` for other schemes."""
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise Denied(f"web seed {url}: {error}") from error
        if parts.scheme in ("http", "https"):
            return HttpSeed(url, self._caller, trusted=parts[:2] in self._trusted)
        if parts.scheme == "file" and self._origin_dir is not None:
            return DirectorySeed(url, self._origin_dir, self._threads)
        raise Denied(f"web seed {url}: only http and https are fetched from")
