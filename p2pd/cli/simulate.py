"""The simulation: how a file would get to many nodes, over links that only exist in figures."""

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.task import deferLater

from p2pd import values
from p2pd.cli.outcome import CommandFailed, Exit
from p2pd.cli.output import Output
from p2pd.errors import Invalid
from p2pd.sim.curve import draw
from p2pd.sim.scenario import Scenario
from p2pd.sim.simulation import Simulation

EPILOG = """\
Rates are of payload, in bits (100Mbit) or bytes (300MB) per second; --goodput makes them rates of
the wire.  pNN: so many percent of the nodes got the file at this share of their link's rate or a
greater one.  The same options print the same figures; --random-seed draws others.
"""

_SLICE = 5000  # events, in which nobody can interrupt
_T = TypeVar("_T")
_DEFAULTS = Scenario()


async def simulate(reactor: Any, arguments: argparse.Namespace, out: Output) -> None:
    """Run one scenario and print what came of it."""
    began = time.perf_counter()
    try:
        simulation = Simulation(scenario(arguments))
    except Invalid as refusal:
        raise CommandFailed(Exit.USAGE, refusal.reason) from refusal
    with _little_garbage():
        while not simulation.over:
            simulation.run(_SLICE)
            await deferLater(reactor, 0)  # for Ctrl-C
    outcome = simulation.outcome()
    if out.as_json:
        out.document(outcome.to_wire())
    for line in outcome.to_text():
        out.say(line)
    out.note(f"took {time.perf_counter() - began:.1f} s")
    if arguments.svg is not None:
        _write(arguments.svg, draw(outcome))


@contextmanager
def _little_garbage() -> Iterator[None]:
    """Look for cycles less often: a simulation has many objects, most of which stay."""
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def scenario(arguments: argparse.Namespace) -> Scenario:
    """The scenario that the arguments describe; raises `Invalid` if there is none such."""
    stragglers, straggler_factor = arguments.stragglers
    late, late_by = arguments.late
    return Scenario(
        nodes=arguments.nodes,
        size=arguments.size,
        piece_length=arguments.piece_length,
        up=arguments.up,
        down=arguments.down,
        seed_up=arguments.seed_up,
        latency=arguments.latency,
        loss=arguments.loss,
        goodput=arguments.goodput,
        zones=arguments.zones,
        zone_rate=arguments.zone_rate,
        stragglers=stragglers,
        straggler_factor=straggler_factor,
        late=late,
        late_by=late_by,
        churn=arguments.churn,
        liars=arguments.liars,
        tracker_dies=arguments.tracker_dies,
        request_time=arguments.request_time,
        verify_time=arguments.verify_time,
        tracker_time=arguments.tracker_time,
        random_seed=arguments.random_seed,
    )


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    for add in (_add_who, _add_links, _add_trouble, _add_costs):
        add(one)
    one.add_argument(
        "--random-seed", metavar="N", type=_whole, default=1, help="draw other luck (default: 1)"
    )
    one.add_argument(
        "--svg", metavar="FILE", type=Path, help="draw how many were done when, as an SVG"
    )


def _add_who(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--nodes",
        metavar="N",
        type=_positive,
        default=_DEFAULTS.nodes,
        help=f"how many want the file, beside the seed (default: {_DEFAULTS.nodes})",
    )
    one.add_argument(
        "--size",
        type=_above(values.size, "size"),
        default=_DEFAULTS.size,
        help="of the file (default: 1GB)",
    )
    one.add_argument(
        "--piece-length",
        metavar="SIZE",
        type=_piece_length,
        default=0,
        help="of the torrent's pieces (default: what p2pd chooses for the size)",
    )


def _add_links(one: argparse.ArgumentParser) -> None:
    rate = _above(values.link_rate, "rate")
    for name, what, default in (
        ("--up", "each node's rate of sending (default: 1Gbit)", _DEFAULTS.up),
        ("--down", "each node's rate of receiving (default: 1Gbit)", _DEFAULTS.down),
        ("--seed-up", "the seed's rate of sending (default: as --up)", 0),
        ("--zone-rate", "across a zone's boundary, each way (default: no limit)", 0),
    ):
        one.add_argument(name, metavar="RATE", type=rate, default=default, help=what)
    one.add_argument(
        "--zones",
        metavar="N",
        type=_positive,
        default=1,
        help="racks that the hosts stand in (default: 1)",
    )
    one.add_argument(
        "--latency",
        metavar="SECONDS",
        type=_time,
        default=_DEFAULTS.latency,
        help=f"from host to host, one way (default: {_DEFAULTS.latency})",
    )
    one.add_argument(
        "--loss",
        metavar="SHARE",
        type=_share,
        default=0.0,
        help="of all packets; a flow then has at most 1448 bytes a round trip x 1.22/sqrt(loss)",
    )
    one.add_argument(
        "--goodput",
        metavar="SHARE",
        type=_above(_share, "share"),
        default=1.0,
        help="of the rates, for payload (default: 1; TCP over Ethernet: 0.945)",
    )


def _add_trouble(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--stragglers",
        metavar="SHARE:FACTOR",
        type=_stragglers,
        default=(0.0, 1.0),
        help="such a share of the nodes has only a part of the rates, like 0.05:0.1",
    )
    one.add_argument(
        "--late",
        metavar="COUNT:SECONDS",
        type=_late,
        default=(0, 0.0),
        help="so many nodes begin so much later, like 10:2.5",
    )
    for name, what in (("--churn", "of the nodes dies"), ("--liars", "of the nodes lies")):
        one.add_argument(
            name, metavar="SHARE", type=_share, default=0.0, help=f"such a share {what}"
        )
    one.add_argument(
        "--tracker-dies",
        metavar="SECONDS",
        type=_time,
        help="end the tracker so long after the beginning",
    )


def _add_costs(one: argparse.ArgumentParser) -> None:
    for name, what, default in (
        ("--request-time", "what a request costs who serves it", _DEFAULTS.request_time),
        ("--verify-time", "what a piece costs who gets it", _DEFAULTS.verify_time),
        ("--tracker-time", "what a request costs the tracker", _DEFAULTS.tracker_time),
    ):
        one.add_argument(
            name,
            metavar="SECONDS",
            type=_time,
            default=default,
            help=f"{what} (default: {default})",
        )


# -- values


def _refused(text: str, what: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r} is not {what}")


def _above(read: Callable[[str], _T], what: str) -> Callable[[str], _T]:
    """Read a value that may not be 0."""

    def checked(text: str) -> _T:
        try:
            value = read(text)
        except Invalid as refusal:
            raise argparse.ArgumentTypeError(refusal.reason) from None
        if not value:
            raise argparse.ArgumentTypeError(f"a {what} of 0 moves nothing: give one above 0")
        return value

    return checked


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise _refused(text, "a whole number")
    return int(text)


def _positive(text: str) -> int:
    if not _whole(text):
        raise _refused(text, "a whole number above 0")
    return int(text)


def _piece_length(text: str) -> int:
    return _above(values.size, "piece length")(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise _refused(text, "a share: write a number from 0 to 1, like 0.05")
    return share


def _time(text: str) -> float:
    try:
        return values.seconds(text) if float(text) else 0.0
    except (Invalid, ValueError):
        raise _refused(text, "a time in seconds: write a number like 0.5") from None


def _stragglers(text: str) -> tuple[float, float]:
    share, _, factor = text.partition(":")
    return _share(share), _above(_share, "factor")(factor)


def _late(text: str) -> tuple[int, float]:
    count, _, by = text.partition(":")
    return _whole(count), _time(by)


def _write(path: Path, drawing: str) -> None:
    try:
        path.write_text(drawing, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(Exit.FAILED, f"{path} cannot be written: {error.strerror}") from error
