"""The commands that talk to a running node: share, get, ls, limit."""

import shlex
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Column
from twisted.internet.defer import CancelledError

from p2pd import values
from p2pd.cli.client import Client, Started, Transfer
from p2pd.cli.outcome import CommandFailed, Exit
from p2pd.cli.output import Output, percent, printable, rate, size
from p2pd.cli.progress import display_on, watch
from p2pd.errors import Invalid
from p2pd.frontends.token_files import read_tokens
from p2pd.swarm.lifecycle import State

DEFAULT_NODE = "http://127.0.0.1:48000"

_LARGEST_TORRENT = 32 * 1024 * 1024
_LIMITS = ("max_upload_rate", "max_download_rate")


def connect(reactor: Any, arguments: Namespace) -> Client:
    """Return a client of the node that the arguments name."""
    try:
        url = values.url(arguments.node)
        token = _token(Path(arguments.token_file)) if arguments.token_file else None
    except Invalid as refusal:
        raise CommandFailed(Exit.USAGE, refusal.reason) from refusal
    return Client(reactor, url, token)


def _token(path: Path) -> bytes:
    """Return the first token of a file: the fleet's has one, a node's own file may have many."""
    return next(iter(read_tokens(path)))


async def share(reactor: Any, arguments: Namespace, out: Output) -> None:
    """Share a path of the node's machine, and say how others get it."""
    async with connect(reactor, arguments) as node:
        if out.terminal:
            out.say(f"digesting {arguments.path}")
        transfer = await node.share(str(arguments.path), arguments.name, limits=_limits(arguments))
    if out.as_json:
        out.document(transfer.document)
        return
    out.say(f"shared    {transfer.name}")
    out.say(f"infohash  {transfer.infohash}")
    out.say(f"size      {transfer.size} bytes ({size(transfer.size)})")
    out.say(f"get it    p2pd get {shlex.quote(printable(transfer.name))}")


async def get(reactor: Any, arguments: Namespace, out: Output) -> None:
    """Fetch a file onto the node and show how that goes."""
    async with connect(reactor, arguments) as node:
        started = await _start(node, arguments)
        try:
            with display_on(out, reactor) as display:
                transfer = await watch(node, started.infohash, arguments.what, display, reactor)
        except CancelledError:
            raise CommandFailed(
                Exit.INTERRUPTED,
                f"the node goes on fetching {arguments.what}: `p2pd ls` shows how far it is",
            ) from None
    if transfer.state is not State.COMPLETE:
        reason = transfer.error or f"it is {transfer.state.value}"
        raise CommandFailed(Exit.FAILED, f"{transfer.name} was not fetched: {reason}")
    out.say(_summary(transfer, already=started.already))


async def _start(node: Client, arguments: Namespace) -> Started:
    metainfo = _metainfo(Path(arguments.what))
    begin = partial(node.start, arguments.what)
    if metainfo is not None:
        begin = partial(node.start_torrent, metainfo)
    return await begin(
        destination=arguments.output, replace=arguments.replace, limits=_limits(arguments)
    )


def _limits(arguments: Namespace) -> dict[str, int]:
    """Return the limits that are given, by their names in the API."""
    given = {name: getattr(arguments, name, None) for name in _LIMITS}
    return {name: limit for name, limit in given.items() if limit is not None}


def _metainfo(file: Path) -> bytes | None:
    """Return what is in a .torrent file, or None if this is not the path of one."""
    if file.suffix != ".torrent" or not file.exists():
        return None
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_TORRENT + 1)
    except OSError as error:
        raise CommandFailed(Exit.FAILED, f"cannot read {file}: {error.strerror}") from error
    if not content.startswith(b"d") or len(content) > _LARGEST_TORRENT:
        raise CommandFailed(Exit.REFUSED, f"{file} is not a .torrent file")
    return content


def _summary(transfer: Transfer, *, already: bool) -> str:
    where = f"{size(transfer.size)} in {transfer.path}"
    if already or transfer.finished is None:
        return f"{transfer.name}: already complete, {where}"
    took = max(transfer.finished - transfer.added, 0.001)
    return f"{transfer.name}: complete, {where} after {took:.1f} s ({rate(transfer.size / took)})"


async def ls(reactor: Any, arguments: Namespace, out: Output) -> None:
    """List what the node has and is fetching."""
    async with connect(reactor, arguments) as node:
        transfers = await node.transfers()
    if out.as_json:
        out.document({"transfers": [transfer.document for transfer in transfers]})
    elif not out.terminal:
        for transfer in transfers:
            out.row(_values(transfer))
    elif transfers:
        out.table(_columns(), [_cells(transfer) for transfer in transfers])
        for transfer in transfers:
            if transfer.error:
                out.say(f"{transfer.name}: {transfer.error}")
    else:
        out.say("nothing is here yet: `p2pd share PATH` or `p2pd get NAME` changes that")


async def limit(reactor: Any, arguments: Namespace, out: Output) -> None:
    """Change the rate limits of one transfer, or of the whole node."""
    limits = _limits(arguments)
    if not limits:
        raise CommandFailed(Exit.USAGE, "give --max-upload-rate, --max-download-rate or both")
    async with connect(reactor, arguments) as node:
        if arguments.transfer is None:
            document = await node.limit_node(limits)
            name, up, down = "node", document["upload_limit"], document["download_limit"]
        else:
            found = await _find(node, arguments.transfer)
            transfer = await node.limit(found.infohash, limits)
            document, name = transfer.document, transfer.name
            up, down = transfer.upload_limit, transfer.download_limit
    if out.as_json:
        out.document(document)
    else:
        out.say(f"{name}: up {_limit(up)}, down {_limit(down)}")


async def _find(node: Client, name: str) -> Transfer:
    for transfer in reversed(await node.transfers()):
        if name in (transfer.infohash, transfer.name):
            return transfer
    raise CommandFailed(
        Exit.NOT_FOUND, f"the node has no transfer named {name}: `p2pd ls` lists them"
    )


def _limit(limit: int) -> str:
    return f"at most {rate(limit)}" if limit else "without limit"


def _values(transfer: Transfer) -> tuple[object, ...]:
    return (
        transfer.name,
        transfer.state.value,
        percent(transfer.progress),
        transfer.size,
        int(transfer.speed_down),
        int(transfer.speed_up),
        transfer.peers,
        transfer.infohash,
        transfer.error,
    )


def _columns() -> list[Column]:
    numbers = ("%", "Size", "Down", "Up", "Peers")
    return [
        Column("Name", overflow="fold", min_width=12),
        Column("State", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in numbers),
        Column("Infohash", no_wrap=True, min_width=8),
    ]


def _cells(transfer: Transfer) -> tuple[str, ...]:
    return (
        transfer.name,
        transfer.state.value,
        percent(transfer.progress),
        size(transfer.size),
        rate(transfer.speed_down) if transfer.speed_down else "-",
        rate(transfer.speed_up) if transfer.speed_up else "-",
        str(transfer.peers),
        transfer.infohash,
    )
