"""Downloads at a limit of the node's own: slow, but nobody's fault and nothing fetched twice."""

import random

import pytest

from p2pd.metainfo.bitfield import Bitfield
from p2pd.swarm.rates import TokenBucket
from p2pd.swarm.transfer import Limits, Transfer

CHUNK = 64 * 1024
PIECES = 20


@pytest.mark.parametrize(
    ("rate", "peers", "piece"),
    [(20_000, 4, 256 * 1024), (50_000, 4, 256 * 1024), (100_000, 4, 1 << 20), (5_000, 1, 1 << 18)],
)
def test_nothing_is_fetched_twice(rate, peers, piece):
    """A transfer and its fetches in virtual time: each reads a chunk when the bucket lets it."""
    limits = Limits().throttled(rate, 8 * piece)
    transfer = Transfer([piece] * PIECES, Bitfield(PIECES), random.Random(1), limits=limits)
    bucket = TokenBucket(rate)
    now, received = 0.0, 0
    for number in range(peers):
        transfer.peer_joined(f"peer {number}", now)
        transfer.peer_has_bitfield(f"peer {number}", Bitfield.full(PIECES), now)
    reading: list[tuple[float, object, int]] = []
    while not transfer.complete:
        while len(reading) < 8 and (request := transfer.next_request(now)):
            reading.append((now + 0.01, request, piece))
        assert transfer.next_deadline() > min(each[0] for each in reading), "nothing looks stalled"
        reading.sort(key=lambda each: each[0])
        now, request, left = reading.pop(0)
        transfer.received(request.peer, request.index, CHUNK, now)
        received += CHUNK
        bucket.take(CHUNK, now)
        delay = max(bucket.wait(0, now), 0.001)
        if left > CHUNK:
            reading.append((now + delay, request, left - CHUNK))
        else:
            assert transfer.delivered(request.peer, request.index, now) == []
    assert received == PIECES * piece
