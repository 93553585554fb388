"""Frozen snapshots of a node for its frontends to print."""

from dataclasses import dataclass
from typing import NamedTuple

from p2pd.metainfo.ids import Address, NodeId
from p2pd.node.entry import Entry
from p2pd.swarm.lifecycle import State
from p2pd.swarm.rates import eta
from p2pd.swarm.transfer import Transfer


class PeerView(NamedTuple):
    """One source of a download, as it behaved so far; rates in bytes/s."""

    address: str
    origin: bool
    pieces: int
    rate: float
    received: int
    failures: int
    banned: bool


class TransferView(NamedTuple):
    """One torrent on the node; sizes in bytes, speeds in bytes/s, times in Unix seconds.

    `reused` bytes came from other content on this node; `sent_to` and `received_from` count
    bytes by the name or address of the peer.  A limit of 0 is none.
    """

    infohash: str
    name: str
    filename: str
    path: str
    state: State
    error: str
    size: int
    length: int
    piece_length: int
    pieces: int
    pieces_held: int
    bytes_left: int
    downloaded: int
    uploaded: int
    reused: int
    speed_down: float
    speed_up: float
    upload_limit: int
    download_limit: int
    eta: float | None
    added: float
    finished: float | None
    peers: tuple[PeerView, ...]
    sent_to: dict[str, int]
    received_from: dict[str, int]

    @property
    def progress(self) -> float:
        """The part that is here and verified, 0 to 1."""
        return 1 - self.bytes_left / self.length if self.length else 1.0


@dataclass(frozen=True, slots=True)
class TrackerView:
    """One tracker as this node sees it."""

    url: str
    reachable: bool
    message: str


@dataclass(frozen=True, slots=True)
class NodeView:
    """The node itself; limits in bytes/s, 0 for none."""

    node_id: NodeId
    address: Address | None
    upload_limit: int
    download_limit: int
    trackers: tuple[TrackerView, ...]


def view_transfer(entry: Entry, transfer: Transfer | None, now: float) -> TransferView:
    """Look at an entry, and at its transfer while there is one."""
    torrent = entry.torrent
    peers = transfer.peers() if transfer else ()
    return TransferView(
        infohash=torrent.infohash.hex(),
        name=torrent.name,
        filename=entry.filename,
        path=str(entry.content.path),
        state=entry.state,
        error=entry.error,
        size=torrent.size,
        length=torrent.length,
        piece_length=torrent.piece_length,
        pieces=torrent.piece_count,
        pieces_held=entry.held.count,
        bytes_left=entry.bytes_left,
        downloaded=entry.downloaded,
        uploaded=entry.uploaded,
        reused=entry.reused,
        speed_down=transfer.rate(now) if transfer else 0.0,
        speed_up=entry.upload_speed.rate(now),
        upload_limit=int(entry.upload_limit.rate),
        download_limit=int(entry.download_limit.rate),
        eta=eta(transfer.bytes_left, transfer.rate(now)) if transfer else None,
        added=entry.job.added,
        finished=entry.finished,
        peers=tuple(
            PeerView(
                address=peer.peer,
                origin=peer.origin,
                pieces=peer.pieces_held,
                rate=peer.rate,
                received=peer.received_bytes,
                failures=peer.failures,
                banned=peer.banned,
            )
            for peer in peers
        ),
        sent_to=dict(entry.sent_to),
        received_from=dict(entry.received_from),
    )
