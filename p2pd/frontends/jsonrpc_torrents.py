"""The JSON-RPC methods on one torrent: its verbs, files, peers, limits and flags."""

from contextlib import suppress
from typing import Any

from p2pd.errors import Conflict
from p2pd.frontends.authorisation import Policy
from p2pd.frontends.control import Control
from p2pd.frontends.jsonrpc_hashes import find_torrent, torrent_of
from p2pd.frontends.jsonrpc_methods import Methods, Params, into
from p2pd.frontends.jsonrpc_rows import flags_of
from p2pd.frontends.kit import Unprocessable
from p2pd.metainfo.files import FileEntry
from p2pd.metainfo.ids import parse_address
from p2pd.node.download_views import LinkView
from p2pd.node.job import Job

UNLIMITED_RATE = -1
UNLIMITED_COUNT = 2**24 - 1
"""How libtorrent says that there is no limit."""

_LIMITS = {
    "download_limit": UNLIMITED_RATE,
    "upload_limit": UNLIMITED_RATE,
    "max_connections": UNLIMITED_COUNT,
    "max_uploads": UNLIMITED_COUNT,
}
_MOST_PEERS = 200
_MOST_TORRENTS = 1000
_BLOCK = 16 * 1024
_REPLACES = {"always_replace_files": True, "dont_replace": False, "fail_if_exist": False}
_EXECUTABLE = 4
_WEB_SEED = 2
_FROM_TRACKER = 1
_INCOMING = 32

methods = Methods()


# -- verbs


@methods.method("torrents.pause", Policy.CONTROL, "info_hash", "session_id")
async def pause(control: Control, params: Params) -> None:
    """Stop a torrent; one that has stopped stays so."""
    with suppress(Conflict):
        await control.downloads.pause(find_torrent(control, params))


@methods.method("torrents.resume", Policy.CONTROL, "info_hash", "session_id")
async def resume(control: Control, params: Params) -> None:
    """Go on with a torrent; one that goes on already does so."""
    with suppress(Conflict):
        await control.downloads.resume(find_torrent(control, params))


@methods.method("torrents.recheck", Policy.CONTROL, "info_hash", "session_id")
async def recheck(control: Control, params: Params) -> None:
    """Verify all that is on disk again."""
    await control.downloads.recheck(find_torrent(control, params))


@methods.method(
    "torrents.remove", Policy.CONTROL, "info_hashes", "remove_data", "session_id", "info_hash"
)
async def remove(control: Control, params: Params) -> None:
    """Forget torrents, if all of them are here; their finished files only with `remove_data`."""
    data = params.boolean("remove_data")
    listed = params.value("info_hashes")
    if listed is None:
        jobs = [find_torrent(control, params)]
    elif isinstance(listed, list) and len(listed) <= _MOST_TORRENTS:
        jobs = [torrent_of(control, each) for each in listed]
    else:
        raise Unprocessable(f"info_hashes must be a list of up to {_MOST_TORRENTS} torrents")
    for job in dict.fromkeys(jobs):
        await control.downloads.remove(job, data=data)


@methods.method("torrents.move", Policy.CONTROL, "info_hash", "path", "flags", "session_id")
async def move(control: Control, params: Params) -> None:
    """Move a torrent's files into another directory."""
    job = find_torrent(control, params)
    flag = params.text("flags", "dont_replace")
    if flag not in _REPLACES:
        raise Unprocessable(f"flags must be one of {', '.join(_REPLACES)}")
    await control.downloads.move(job, into(params.text("path")), replace=_REPLACES[flag])


# -- limits and flags


@methods.method("torrents.properties.get", Policy.READ, "info_hash", "session_id")
async def get_properties(control: Control, params: Params) -> dict[str, Any]:
    """Show a torrent's limits and flags."""
    job = find_torrent(control, params)
    limits = {name: getattr(job.options, name) or none for name, none in _LIMITS.items()}
    return {**limits, "flags": flags_of(control.downloads.view(job))}


@methods.method(
    "torrents.properties.set",
    Policy.CONTROL,
    "info_hash",
    "category",
    "download_limit",
    "flags",
    "flags_mask",
    "max_connections",
    "max_uploads",
    "tags",
    "upload_limit",
    "session_id",
)
async def set_properties(control: Control, params: Params) -> None:
    """Change a torrent's limits, flags, category or tags; what is not given stays."""
    job = find_torrent(control, params)
    flags = _wished_flags(control, job, params)
    changes: dict[str, Any] = {
        name: _limit(params, name, none) for name, none in _LIMITS.items() if name in params
    }
    if "category" in params:
        changes["category"] = params.text("category")
    if "tags" in params:
        changes["tags"] = tuple(dict.fromkeys(params.texts("tags")))
    if "sequential_download" in flags:
        changes["sequential"] = flags["sequential_download"]
    if changes:
        await control.downloads.change(job, **changes)
    if "paused" in flags:
        turn = control.downloads.pause if flags["paused"] else control.downloads.resume
        with suppress(Conflict):
            await turn(job)


def _limit(params: Params, name: str, none: int) -> int:
    limit = params.limit(name)
    return 0 if limit >= none > 0 else limit


def _wished_flags(control: Control, job: Job, params: Params) -> dict[str, bool]:
    """The flags that are to change: {name: bool}, or a list of those to set among `flags_mask`."""
    given = params.value("flags")
    if isinstance(given, list):
        on = params.texts("flags")
        wished = dict.fromkeys(params.texts("flags_mask") or on, False) | dict.fromkeys(on, True)
    else:
        wished = params.table("flags")
    present = flags_of(control.downloads.view(job))
    for name, wish in wished.items():
        if not isinstance(wish, bool):
            raise Unprocessable(f"the flag {name} must be true or false")
        if name not in ("paused", "sequential_download") and wish is not (name in present):
            raise Unprocessable(f"the flag {name} cannot be changed here")
    return wished


# -- what it is made of, and whom it meets


@methods.method("torrents.metadata.list", Policy.READ, "info_hash", "session_id")
async def list_metadata(control: Control, params: Params) -> dict[str, Any]:
    """Show what its user has noted of a torrent."""
    return {"metadata": dict(find_torrent(control, params).options.metadata)}


@methods.method("torrents.files.list", Policy.READ, "info_hash", "session_id")
async def list_files(control: Control, params: Params) -> dict[str, Any]:
    """Show a torrent's files, padding left out; none as long as they are not known."""
    entry = find_torrent(control, params).entry
    if entry is None:
        return {"files": []}
    torrent = entry.torrent
    root = "" if torrent.single_file else f"{torrent.name}/"
    return {"files": [file_to_wire(file, root, torrent.piece_length) for file in entry.files]}


def file_to_wire(file: FileEntry, root: str, piece_length: int) -> dict[str, Any]:
    """A file as JSON; nodes are those of the trees of digests that BEP 52 has."""
    blocks = -(-file.length // _BLOCK)
    pieces = -(-file.length // piece_length)
    return {
        "absolute_path": False,
        "first_block_node": _first_leaf(blocks),
        "first_piece_node": _first_leaf(pieces),
        "flags": _EXECUTABLE if file.executable else 0,
        "name": file.path[-1],
        "num_blocks": blocks,
        "num_pieces": pieces,
        "offset": file.offset,
        "path": root + "/".join(file.path),
        "size": file.length,
        "symlink": "",
    }


def _first_leaf(leaves: int) -> int:
    """The number of the first leaf in a binary tree with as many, counted from its root."""
    return (1 << max(leaves - 1, 0).bit_length()) - 1


@methods.method("torrents.peers.list", Policy.READ, "info_hash", "session_id")
async def list_peers(control: Control, params: Params) -> dict[str, Any]:
    """Show whom a torrent is fetched from, and who fetches it here."""
    links = control.downloads.links(find_torrent(control, params))
    return {"peers": [peer_to_wire(link) for link in links]}


def peer_to_wire(link: LinkView) -> dict[str, Any]:
    """A peer as JSON, with the bits of libtorrent."""
    bits = {
        0x1: link.we_are_interested,
        0x2: link.we_are_choked,
        0x4: link.it_is_interested,
        0x8: link.it_is_choked,
        0x20: link.outgoing,
        0x400: link.seed,
        0x1000: link.snubbed,
    }
    return {
        "client": link.client,
        "connection_type": _WEB_SEED if link.origin else 1,
        "down_speed": int(link.rate_down),
        "flags": sum(bit for bit, is_set in bits.items() if is_set),
        "ip": [link.host, link.port],
        "progress": link.completed,
        "source": _FROM_TRACKER if link.outgoing else _INCOMING,
        "total_download": link.received,
        "total_upload": link.sent,
        "up_speed": int(link.rate_up),
    }


@methods.method("torrents.peers.add", Policy.OWN, "info_hash", "peers", "session_id")
async def add_peers(control: Control, params: Params) -> bool:
    """Try these nodes too: they are shown the token of the fleet."""
    job = find_torrent(control, params)
    peers = params.value("peers")
    if not isinstance(peers, list) or len(peers) > _MOST_PEERS:
        raise Unprocessable(f"peers must be a list of up to {_MOST_PEERS} pairs [host, port]")
    control.downloads.add_peers(job, [parse_address(_address(peer)) for peer in peers])
    return True


def _address(peer: Any) -> str:
    match peer:
        case [str(host), int(port)]:
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    raise Unprocessable("a peer is a pair [host, port]")
