"""What a node remembers over a restart, and the port to where that is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from p2pd.metainfo.ids import Address, InfoHash


@dataclass(frozen=True, slots=True)
class Record:
    """What a node remembers of one torrent over a restart.

    `clean` says that `held` is exactly what is on disk; `boot` names the run of the machine in
    which the record was written, for an unclean record is only to be trusted within it.  `peers`
    are whom it was last fetched from: with them a download goes on even without a tracker.
    `job` is what its user wants of it, in JSON.
    """

    infohash: InfoHash
    metainfo: bytes
    filename: str
    path: str
    stamps: bytes
    held: bytes
    state: str
    job: str = "{}"
    finished: float | None = None
    downloaded: int = 0
    uploaded: int = 0
    error: str = ""
    peers: tuple[Address, ...] = ()
    clean: bool = False
    boot: str = ""


@dataclass(frozen=True, slots=True)
class PendingRecord:
    """What a node remembers of a download as long as it has no metainfo."""

    number: int
    infohash: InfoHash | None
    state: str
    error: str
    job: str


class ResumeTable(Protocol):
    """What the node remembers over a restart; each method is one transaction."""

    async def load(self) -> list[Record]:
        """All records, in the order they were added."""

    async def save(self, record: Record, *, settles: int | None = None) -> None:
        """Write or overwrite a record, which takes the place of the pending one `settles`."""

    async def forget(self, infohash: InfoHash) -> None:
        """Delete a record, if there is one."""

    async def load_pending(self) -> list[PendingRecord]:
        """All pending records, in the order they were added."""

    async def save_pending(self, record: PendingRecord) -> int:
        """Write a record, a new one if its number is 0, and give its number.

        Numbers are not used again, and what was deleted is not written again.
        """

    async def forget_pending(self, number: int) -> None:
        """Delete a pending record, if there is one."""

    async def place(self, torrents: Mapping[InfoHash, int], pending: Mapping[int, int]) -> None:
        """Write other positions into the jobs of some records; those that are gone stay so."""

    async def size(self) -> int:
        """How many bytes all of this takes."""

    async def load_settings(self) -> dict[str, Any]:
        """The settings by name."""

    async def save_settings(self, settings: Mapping[str, Any]) -> None:
        """Write some settings, as JSON; the others stay."""
