"""Chooses between the two forms of what answers announces: compiled code, or pure Python."""

from collections.abc import Callable
from dataclasses import dataclass

from p2pd.daemon.announce_doors import HttpDoor, UdpDoor
from p2pd.frontends import announce_http, announce_udp
from p2pd.tracker.peer_table import CompactTable
from p2pd.tracker.ports import PeerTable


@dataclass(frozen=True, slots=True)
class Twin:
    """The classes that belong together, and the words by which the log tells of them."""

    table: Callable[..., PeerTable]
    http_door: Callable[..., HttpDoor]
    udp_door: Callable[..., UdpDoor]
    words: str


def choose(*, compiled: bool) -> Twin:
    """Return the compiled twin if that is wanted and was built, else the pure one."""
    if not compiled:
        return _pure("as configured")
    try:
        from p2pd.frontends import _compiled  # noqa: PLC0415 - it may not be there
    except ImportError:
        return _pure("the compiled module was not built; install a C compiler and reinstall p2pd")
    return Twin(
        _compiled.CompiledTable,
        _compiled.CompiledHttpDoor,
        _compiled.CompiledUdpDoor,
        "announces are answered by compiled code",
    )


def _pure(why: str) -> Twin:
    return Twin(
        CompactTable,
        announce_http.HttpDoor,
        announce_udp.UdpDoor,
        f"announces are answered by pure Python: {why}",
    )
