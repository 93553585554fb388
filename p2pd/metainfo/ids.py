"""Names of nodes, pieces and torrents: bytes or text inside, lower-case text at the edges."""

import ipaddress
import re
import uuid
from typing import NewType

from p2pd.errors import Invalid

NodeId = NewType("NodeId", str)
PieceId = NewType("PieceId", bytes)
InfoHash = NewType("InfoHash", bytes)
Address = NewType("Address", str)
Zone = NewType("Zone", str)

NO_ZONE = Zone("")

_HEX_40 = re.compile(r"[0-9A-Fa-f]{40}")
_HEX_40_OR_64 = re.compile(r"[0-9A-Fa-f]{40}(?:[0-9A-Fa-f]{24})?")
_NODE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_ZONE = re.compile(r"[!-~]{0,64}")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})")
_DOTTED_NUMBER = re.compile(r"(?:.*\.)?[0-9]+\.?")


def parse_infohash(text: str) -> InfoHash:
    """Read an infohash, 40 hex digits in either case; raise Invalid for anything else."""
    if not _HEX_40.fullmatch(text):
        raise Invalid(f"not an infohash: {_shown(text)}; give its 40 hex digits")
    return InfoHash(bytes.fromhex(text))


def parse_piece_id(text: str) -> PieceId:
    """Read a piece id, 40 or 64 hex digits in either case; raise Invalid for anything else."""
    if not _HEX_40_OR_64.fullmatch(text):
        raise Invalid(f"not a piece id: {_shown(text)}; give its 40 or 64 hex digits")
    return PieceId(bytes.fromhex(text))


def parse_node_id(text: str) -> NodeId:
    """Read a node id, 1 to 128 of A-Z a-z 0-9 . _ : and -; raise Invalid for anything else."""
    if not _NODE_ID.fullmatch(text):
        raise Invalid(
            f"not a node id: {_shown(text)}; give 1 to 128 letters, digits and . _ : or -"
        )
    return NodeId(text)


def new_node_id() -> NodeId:
    """Make a node id that no other node has."""
    return NodeId(str(uuid.uuid4()))


def parse_zone(text: str) -> Zone:
    """Read a zone, up to 64 printable characters of ASCII; raise Invalid for anything else.

    Empty text means no zone.
    """
    if not _ZONE.fullmatch(text):
        raise Invalid(
            f"not a zone: {_shown(text)}; give up to 64 letters, digits and signs, without spaces"
        )
    return Zone(text)


def parse_address(text: str) -> Address:
    """Read `host:port` or `[v6]:port` into its one lower-case spelling; raise Invalid otherwise.

    A host is a name, an IPv4 or an IPv6 address. Scoped IPv6 addresses are refused: their zone
    means nothing on another machine.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise Invalid(f"not an address: {_shown(text)}; give host:port or [v6]:port")
    v6, host, port = found[1], found[2], int(found[3])
    if not 1 <= port <= 65535:
        raise Invalid(f"the port of {_shown(text)} is not between 1 and 65535")
    try:
        if v6 is not None:
            host = f"[{ipaddress.IPv6Address(v6)}]"
        elif _DOTTED_NUMBER.fullmatch(host):
            host = str(ipaddress.IPv4Address(host))
    except ValueError as error:
        raise Invalid(f"not an address: {_shown(text)}; {error}") from None
    return Address(f"{host.lower()}:{port}")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")
