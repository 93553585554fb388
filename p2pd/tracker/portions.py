"""Swarms as portions of bytes, for a snapshot that survives a restart.

Whether they come back undamaged is for the snapshot to check.
"""

import math
from collections.abc import Iterable
from struct import Struct, error
from typing import NamedTuple

from p2pd.errors import Invalid

_HEAD = Struct("<dd")  # now; unit
_GROUP = Struct("<20sBB")  # infohash, size of an address, number of clients
_CLIENTS = {width: Struct(f"<{width}sB20s3f") for width in (6, 18)}
_MOST_IN_GROUP = 255
_MOST_SECONDS = 1e12


class Saved(NamedTuple):
    """A client: packed address and port, for how long it was silent, id, and byte counts."""

    address: bytes
    age: int
    peer_id: bytes
    uploaded: float
    downloaded: float
    left: float


class Portion(NamedTuple):
    """Clients by their torrents at `now`, in Unix seconds; ages are in units of `unit` seconds.

    The clients of one entry, of which a torrent may have many, are of one address family.
    """

    now: float
    unit: float
    swarms: Iterable[tuple[bytes, list[Saved]]]


def pack(portion: Portion) -> bytes:
    """Write a portion as bytes."""
    parts = [_HEAD.pack(portion.now, portion.unit)]
    for infohash, clients in portion.swarms:
        for at in range(0, len(clients), _MOST_IN_GROUP):
            group = clients[at : at + _MOST_IN_GROUP]
            width = len(group[0].address)
            parts.append(_GROUP.pack(infohash, width, len(group)))
            parts += [_CLIENTS[width].pack(*client) for client in group]
    return b"".join(parts)


def unpack(data: bytes) -> Portion:
    """Read what `pack` wrote; raise Invalid for what it cannot have written."""
    try:
        now, unit = _HEAD.unpack_from(data)
        if not (0 <= now < _MOST_SECONDS and 0 < unit < _MOST_SECONDS):
            raise Invalid("a snapshot of swarms is damaged: it is from no time")
        return Portion(now, unit, _read_groups(memoryview(data)[_HEAD.size :]))
    except (error, KeyError) as damage:
        raise Invalid(f"a snapshot of swarms is damaged: {damage}") from damage


def _read_groups(body: memoryview) -> list[tuple[bytes, list[Saved]]]:
    groups = []
    while body:
        infohash, width, count = _GROUP.unpack_from(body)
        end = _GROUP.size + count * _CLIENTS[width].size
        if not count or len(body) < end:
            raise Invalid("a snapshot of swarms is damaged: a group is empty or cut off")
        records = _CLIENTS[width].iter_unpack(body[_GROUP.size : end])
        clients = [Saved(*record) for record in records]
        if not all(math.isfinite(number) for client in clients for number in client[3:]):
            raise Invalid("a snapshot of swarms is damaged: a count of bytes is no number")
        groups.append((infohash, clients))
        body = body[end:]
    return groups
