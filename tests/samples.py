"""Small real torrents for tests."""

from p2pd.metainfo import create
from p2pd.metainfo.torrent import Torrent

PIECE = 1024


def content(pieces, *, seed=0):
    """Return `pieces` different pieces, the last one short; equal for equal seeds."""
    parts = [bytes([seed, at % 256, at // 256]) * PIECE for at in range(pieces)]
    return b"".join(part[:PIECE] for part in parts)[: pieces * PIECE - 7]


def torrent(name="a.bin", pieces=4, *, seed=0) -> Torrent:
    data = content(pieces, seed=seed)
    stream = create.describe_stream(name, len(data), PIECE)
    stream.feed(data)
    return stream.finish()
