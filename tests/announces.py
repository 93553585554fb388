"""A tracker for BitTorrent clients in memory, and what such clients send."""

import random
from urllib.parse import quote_from_bytes

import pytest

from p2pd.daemon import twins
from p2pd.tracker.access import Access
from p2pd.tracker.announcing import Announcing

INFOHASH = bytes(range(100, 120))
PEER_ID = b"-qB4520-abcdefghijkl"
NOW = 1_700_000_000.0

PURE = twins.choose(compiled=False)
TWINS = {"pure": PURE, "compiled": twins.choose(compiled=True)}
if TWINS["compiled"] == PURE:
    del TWINS["compiled"]  # it was not built


class Current:
    twin = PURE


@pytest.fixture(params=TWINS.values(), ids=TWINS.keys(), scope="module", autouse=True)
def each_twin(request):
    """Imported into a module of tests, runs all of them against both twins."""
    Current.twin = request.param
    yield
    Current.twin = PURE


def make_announcing(*, mode="open", require_keys=False, users=False, now=lambda: NOW):
    access = Access(mode=mode, require_keys=require_keys, users=users, clock=now)
    table = Current.twin.table(lifetime=2700, now=now(), rng=random.Random(1))
    announcing = Announcing(table, access, rng=random.Random(1))
    announcing.open = True
    return announcing


def escaped(raw):
    return "".join(f"%{byte:02x}" for byte in raw)


def query(infohash=INFOHASH, **fields):
    """The query of an announce; a field that is None is left out."""
    given = {
        "info_hash": escaped(infohash),
        "peer_id": quote_from_bytes(PEER_ID),
        "port": 51413,
        "uploaded": 0,
        "downloaded": 0,
        "left": 1000,
        **fields,
    }
    return "&".join(f"{name}={value}" for name, value in given.items() if value is not None)


def get(target, *headers, version="1.1"):
    """The head of a GET."""
    lines = [f"GET {target} HTTP/{version}", "Host: tracker", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")
