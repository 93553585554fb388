"""Snapshots of what a tracker knows, for frontends to print."""

from p2pd.errors import Unavailable
from p2pd.metainfo.ids import NodeId, PieceId
from p2pd.tracker.catalog import Catalog, Entry
from p2pd.tracker.ports import FileView, PeerTable, PieceView, TrackerView
from p2pd.tracker.registry import Registry
from p2pd.tracker.swarms import Reports, Swarms

_MOST_DUMPED = 500_000


def files(catalog: Catalog, clients: PeerTable) -> list[FileView]:
    """Return a view of every filename, and of the swarm of the torrent that it means now."""
    return [_file(filename, entry, clients) for filename, entry in catalog.names()]


def _file(filename: str, entry: Entry, clients: PeerTable) -> FileView:
    seeds, completed, leeches = clients.scrape(entry.torrent.infohash)
    return FileView(
        filename=filename,
        infohash=entry.torrent.infohash,
        size=entry.torrent.size,
        pieces=entry.torrent.piece_count,
        piece_length=entry.torrent.piece_length,
        added=entry.added,
        completed=completed,
        seeds=seeds,
        leeches=leeches,
        web_seeds=entry.web_seeds,
    )


def whole(registry: Registry, catalog: Catalog, swarms: Swarms, reports: Reports) -> TrackerView:
    """Return everything; holders include nodes that are silent at present.

    Raises Unavailable if that is so much that nothing else could be done meanwhile.
    """
    size = sum(_size(entry, swarms) for entry in catalog) + len(reports)
    if size > _MOST_DUMPED:
        raise Unavailable(f"{size} facts are too many to dump: ask for node_list or files instead")
    sessions = registry.sessions()
    return TrackerView(
        sessions=tuple((node, int(session.seen * 1000)) for node, session in sessions.items()),
        nodes=tuple((node, session.address) for node, session in sessions.items()),
        piece_nodes=tuple(
            (piece_id.hex(), tuple(nodes))
            for piece_id, nodes in _holders(catalog, swarms, reports).items()
        ),
        pieces=tuple(
            PieceView(
                piece_id=piece_id.hex(),
                filename=entry.filename,
                offset=index * entry.torrent.piece_length,
                size=entry.torrent.piece_size(index),
            )
            for entry in catalog
            for index, piece_id in enumerate(entry.torrent.piece_ids)
        ),
    )


def _size(entry: Entry, swarms: Swarms) -> int:
    swarm = swarms.get(entry.torrent.infohash)
    held = sum(peer.held.count for peer in swarm.peers.values()) if swarm else 0
    return held + entry.torrent.piece_count


def _holders(
    catalog: Catalog, swarms: Swarms, reports: Reports
) -> dict[PieceId, dict[NodeId, None]]:
    holders: dict[PieceId, dict[NodeId, None]] = {}
    for piece_id, nodes in reports.pieces():
        holders[piece_id] = dict.fromkeys(nodes)
    for entry in catalog:
        swarm = swarms.get(entry.torrent.infohash)
        for node, peer in swarm.peers.items() if swarm else ():
            for index in peer.held:
                holders.setdefault(entry.torrent.piece_ids[index], {})[node] = None
    return holders
