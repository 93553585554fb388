"""Rate limits between real daemons, as a reader at the other end sees them."""

import http.client
import time
from itertools import accumulate
from threading import Event, Thread

import pytest

from tests.real.fleet import MIB, make_file, until

pytestmark = pytest.mark.real

WINDOW = 2.0
# A test shares its machine with others: benchmarks/rates.py says how well limits really hold.
TOLERANCE = 0.15


class Reading:
    """Reads a file of a node in the background and notes what came when."""

    def __init__(self, node, infohash, name):
        self.came = []
        self._end = Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
        self._connection.request("GET", f"/files/{infohash}/{name}", headers={"P2pd-Node": name})
        self._thread = Thread(target=self._read)
        self._thread.start()

    def _read(self):
        response = self._connection.getresponse()
        while not self._end.is_set() and (data := response.read1(65536)):
            self.came.append((time.monotonic(), len(data)))
        self._connection.close()

    def stop(self):
        self._end.set()
        self._thread.join(30)


def rates(readings, begin, end):
    """The rates over all windows that begin with a chunk, all readings together."""
    came = sorted(each for reading in readings for each in reading.came)
    times = [when for when, _ in came]
    sums = [0, *accumulate(count for _, count in came)]
    last = 0
    for first, start in enumerate(times):
        if begin <= start and start + WINDOW <= end:
            while last < len(times) and times[last] < start + WINDOW:
                last += 1
            yield (sums[last] - sums[first]) / WINDOW


def holds(readings, limit, begin, end):
    seen = [*rates(readings, begin, end)]
    return seen and all(abs(rate / limit - 1) < TOLERANCE for rate in seen)


def test_an_upload_limit_holds_is_shared_and_can_be_changed(fleet, tmp_path):
    fleet.start_tracker()
    node = fleet.start_node("--max-upload-rate", "4M")
    one = node.share(make_file(tmp_path / "shared" / "one", 64 * MIB, 1))["infohash"]
    two = node.share(make_file(tmp_path / "shared" / "two", 64 * MIB, 2))["infohash"]
    readings = [Reading(node, one, "one"), Reading(node, two, "two")]
    try:
        began = time.monotonic()
        time.sleep(4)
        changed = time.monotonic()
        node.post(f"transfers/{one}/limits", {"max_upload_rate": 1_000_000})
        node.post("limits", {"max_upload_rate": "3000000"})
        time.sleep(4)
        ended = time.monotonic()
    finally:
        for reading in readings:
            reading.stop()
    assert holds(readings, 4e6, began + 0.5, changed)
    assert all(holds([reading], 2e6, began + 0.5, changed) for reading in readings)
    assert holds(readings, 3e6, changed + 0.5, ended)
    assert holds(readings[:1], 1e6, changed + 0.5, ended)


def test_download_limits_hold(fleet, tmp_path):
    fleet.start_tracker()
    seed = fleet.start_node("--max-upload-rate", "8M")
    slow, quick = fleet.start_nodes(2)
    fleet.share(seed, make_file(tmp_path / "shared" / "film", 24 * MIB))
    limited = {"max_download_rate": 2_000_000}
    for node, limits in ((slow, limited), (quick, {})):
        node.begin("film", **limits)
        until(lambda node=node: node.transfer("film")["downloaded"])
    infohash = slow.transfer("film")["infohash"]
    began, before = time.monotonic(), slow.transfer("film")["downloaded"]
    time.sleep(4)
    after = slow.transfer("film")
    took = time.monotonic() - began
    assert after["download_limit"] == 2_000_000
    # Pieces are counted when they are whole.
    pieces = 4 * after["piece_length"] / took
    assert abs((after["downloaded"] - before) / took - 2e6) < TOLERANCE * 2e6 + pieces
    until(lambda: quick.complete("film"))
    slow.post(f"transfers/{infohash}/limits", {"max_download_rate": 0})
    until(lambda: slow.complete("film"), within=10)
