"""The port through which a tracker learns of files that only an origin server has."""

from dataclasses import dataclass
from typing import Protocol

from p2pd.metainfo.torrent import Torrent


@dataclass(frozen=True)
class Described:
    """A torrent made from an origin's file, and the URL that serves its bytes (BEP 19)."""

    torrent: Torrent
    web_seed: str


class Origin(Protocol):
    """Where a file comes from when no node has it."""

    async def describe(self, name: str) -> Described:
        """Describe the origin's file of that name; raise NotFound if it has none."""
