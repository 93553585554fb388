"""The `p2pd` command: reads the command line, runs one command, exits with what it came to."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

from p2pd import __version__, values
from p2pd.cli import commands
from p2pd.cli.demo import demo
from p2pd.cli.outcome import CommandFailed, Exit
from p2pd.cli.output import Output
from p2pd.cli.simulate import EPILOG as _SIMULATE_EPILOG
from p2pd.cli.simulate import add_arguments, simulate
from p2pd.cli.tracker import EPILOG as _TRACKER_EPILOG
from p2pd.cli.tracker import add_arguments as add_tracker_arguments
from p2pd.errors import Refusal

_EPILOG = """\
exit codes: 0 done, 1 failed, 2 wrong usage, 3 node not reachable, 4 not found,
  5 refused (invalid, denied, or in conflict with what is there), 130 interrupted
environment: P2PD_NODE and P2PD_TOKEN_FILE are the defaults of --node and --token-file,
  P2PD_TRACKER and P2PD_ADMIN_TOKEN_FILE those of --tracker and --admin-token-file
"""
_LS_EPILOG = """\
Without a terminal: one line each, values separated by tabs: name, state, percent, size,
bytes/s down, bytes/s up, peers, infohash, error.
"""
_MOST_DEMO_NODES = 100


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command; never returns."""
    arguments = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    out = Output(sys.stdout, sys.stderr, as_json=arguments.json)
    try:
        react(_run, (arguments, out))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


def _run(reactor: Any, arguments: argparse.Namespace, out: Output) -> Deferred[None]:
    """Perform the command; a signal cancels it, once: tidying up takes little time."""
    performing = Deferred.fromCoroutine(perform(reactor, arguments, out))
    caught: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        if not caught:
            caught.append(number)
            reactor.callFromThread(performing.cancel)

    def listen() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, interrupt)

    def end(status: Exit) -> None:
        raise SystemExit(128 + caught[0] if status is Exit.INTERRUPTED and caught else status)

    reactor.callWhenRunning(listen)
    return performing.addCallback(end)


async def perform(reactor: Any, arguments: argparse.Namespace, out: Output) -> Exit:
    """Run the command that the arguments name, and tell of its failure; returns its exit code."""
    try:
        await arguments.command(reactor, arguments, out)
    except CommandFailed as failure:
        out.complain(failure.reason)
        out.quote(failure.log)
        return failure.status
    except CancelledError:
        out.complain("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough of it; Python would complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return Exit.DONE


async def version(_reactor: Any, _arguments: argparse.Namespace, out: Output) -> None:
    """Print the version."""
    if out.as_json:
        out.document({"version": __version__})
    out.say(f"p2pd {__version__}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; `command` is the coroutine function to run."""
    whole = argparse.ArgumentParser(
        prog="p2pd",
        description="Get a file from one machine to all of them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.set_defaults(
        node=os.environ.get("P2PD_NODE", commands.DEFAULT_NODE),
        token_file=os.environ.get("P2PD_TOKEN_FILE"),
        json=False,
    )
    _add_common(whole)
    subparsers = whole.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _add_share,
        _add_get,
        _add_ls,
        _add_limit,
        _add_tracker,
        _add_demo,
        _add_simulate,
        _add_version,
    ):
        _add_common(add(subparsers))
    return whole


def _add_common(one: argparse.ArgumentParser) -> None:
    """Add what can stand before the command's name as well as after it."""
    unless = argparse.SUPPRESS
    one.add_argument(
        "--node",
        metavar="URL",
        default=unless,
        help=f"the node to talk to (default: {commands.DEFAULT_NODE})",
    )
    one.add_argument(
        "--token-file",
        metavar="FILE",
        default=unless,
        help="file with the node's control token, or the fleet's token",
    )
    one.add_argument(
        "--json", action="store_true", default=unless, help="print JSON, a document a line"
    )


def _add_share(subparsers: Any) -> argparse.ArgumentParser:
    one = _add(subparsers, "share", "share a file or directory of the node's machine")
    one.add_argument("path", metavar="PATH", type=_absolute)
    one.add_argument("--name", help="what the fleet calls it (default: its own name)")
    _add_limits(one, "this")
    one.set_defaults(command=commands.share)
    return one


def _add_get(subparsers: Any) -> argparse.ArgumentParser:
    one = _add(
        subparsers,
        "get",
        "fetch a file onto the node's machine",
        "Ctrl-C leaves the download running.",
    )
    one.add_argument("what", metavar="NAME|INFOHASH|FILE.torrent")
    one.add_argument(
        "-o",
        "--output",
        metavar="DEST",
        default="",
        help="where to, below the node's download directory; a directory if it ends in /",
    )
    one.add_argument("--replace", action="store_true", help="replace what is there by that name")
    _add_limits(one, "this")
    one.set_defaults(command=commands.get)
    return one


def _add_ls(subparsers: Any) -> argparse.ArgumentParser:
    one = _add(subparsers, "ls", "list what the node has and is fetching", _LS_EPILOG)
    one.set_defaults(command=commands.ls)
    return one


def _add_limit(subparsers: Any) -> argparse.ArgumentParser:
    one = _add(
        subparsers,
        "limit",
        "change how fast a transfer, or the whole node, sends and receives",
        "It counts at once, also for what is under way. A transfer keeps its limits over a restart"
        " of the node; the node's own are then those of its settings again.",
    )
    one.add_argument(
        "transfer",
        metavar="NAME|INFOHASH",
        nargs="?",
        help="the transfer (default: the node, all its transfers together)",
    )
    _add_limits(one, "it", "--up", "--down")
    one.set_defaults(command=commands.limit)
    return one


def _add_limits(one: argparse.ArgumentParser, what: str, *short: str) -> None:
    for way, name in zip(("upload", "download"), short or ("", ""), strict=True):
        one.add_argument(
            *filter(None, (name, f"--max-{way}-rate")),
            metavar="RATE",
            dest=f"max_{way}_rate",
            type=_rate,
            help=f"bytes/s of {way} for {what}, like 10M or 64KiB; 0: no limit",
        )


def _add_demo(subparsers: Any) -> argparse.ArgumentParser:
    one = _add(
        subparsers,
        "demo",
        "start a tracker and nodes here, and get one file onto all of them",
        "Everything is made in the directory for temporary files ($TMPDIR), and removed.",
    )
    one.add_argument("--nodes", metavar="N", type=_nodes, default=4, help="how many (default: 4)")
    one.add_argument(
        "--size",
        type=_size,
        default=128 * 1024 * 1024,
        help="bytes of the file that is made if none is given: 100M, 128MiB (the default)",
    )
    one.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=_absolute,
        help="what to share (default: an archive of Python's standard library)",
    )
    one.set_defaults(command=demo)
    return one


def _add_simulate(subparsers: Any) -> argparse.ArgumentParser:
    one = _add(
        subparsers,
        "simulate",
        "see how a file would get to many nodes, on links that only exist in figures",
        _SIMULATE_EPILOG,
    )
    add_arguments(one)
    one.set_defaults(command=simulate)
    return one


def _add_tracker(subparsers: Any) -> argparse.ArgumentParser:
    one = _add(
        subparsers,
        "tracker",
        "export and import a tracker's torrents, lists, keys and users",
        _TRACKER_EPILOG,
    )
    add_tracker_arguments(one, _add_common)
    return one


def _add_version(subparsers: Any) -> argparse.ArgumentParser:
    one = _add(subparsers, "version", "print the version")
    one.set_defaults(command=version)
    return one


def _add(
    subparsers: Any, name: str, what_it_does: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=what_it_does,
        description=what_it_does[0].upper() + what_it_does[1:] + ".",
        epilog=epilog,
    )
    return added


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def _nodes(text: str) -> int:
    if not text.isdigit() or not 2 <= int(text) <= _MOST_DEMO_NODES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 2 to {_MOST_DEMO_NODES}")
    return int(text)


def _rate(text: str) -> int:
    try:
        return values.size(text)
    except Refusal as refusal:
        raise argparse.ArgumentTypeError(refusal.reason) from None


def _size(text: str) -> int:
    size = _rate(text)
    if not size:
        raise argparse.ArgumentTypeError("a file of 0 bytes shows nothing: give a size above 0")
    return size


if __name__ == "__main__":
    main()
