"""Raw bytes from a node: pieces, files, metainfo and the who-has-what stream, over HTTP."""

import pytest
from twisted.internet.error import ConnectionLost

from p2pd.errors import Unavailable
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.have_stream import HaveStream
from p2pd.frontends.ranges import Sending, Uplink
from p2pd.metainfo.torrent import Torrent
from p2pd.swarm.lifecycle import State
from p2pd.swarm.rates import TokenBucket
from tests.fleet import Door

PIECE = 256 * 1024


@pytest.fixture
def seed(fleet):
    return fleet.node("seed")


@pytest.fixture
def data(fleet):
    return fleet.data(3 * PIECE + 1000)


@pytest.fixture
def shared(fleet, seed, data):
    return fleet.share(seed, "image", data)


@pytest.fixture
def door(fleet, seed):
    return Door(fleet, seed)


def header(response, name):
    values = response.headers.getRawHeaders(name)
    return values[0] if values else None


def piece_path(shared, index):
    return f"/pieces/{shared.torrent.piece_ids[index].hex()}"


def test_a_piece_comes_whole_with_its_digest_as_etag(door, shared, data):
    response = door.ask("GET", piece_path(shared, 1))
    assert response.code == 200
    assert response.whole == data[PIECE : 2 * PIECE]
    assert header(response, "Content-Type") == "application/octet-stream"
    assert header(response, "ETag") == f'"{shared.torrent.piece_ids[1].hex()}"'
    assert response.length == PIECE
    assert header(response, "X-Content-Type-Options") == "nosniff"


def test_a_piece_is_found_in_upper_case_too(door, shared):
    path = f"/pieces/{shared.torrent.piece_ids[0].hex().upper()}"
    assert door.ask("GET", path).code == 200


@pytest.mark.parametrize(
    ("asked", "code", "start", "stop"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=1000-", 206, 1000, PIECE),
        ("bytes=-5", 206, PIECE - 5, PIECE),
        ("bytes=100-999999999", 206, 100, PIECE),
        ("bytes=0-1,5-6", 200, 0, PIECE),
        ("bytes=5-1", 200, 0, PIECE),
        ("lines=1-2", 200, 0, PIECE),
        ("nonsense", 200, 0, PIECE),
    ],
)
def test_ranges(door, shared, data, asked, code, start, stop):
    response = door.ask("GET", piece_path(shared, 0), headers={"Range": asked})
    assert response.code == code
    assert response.whole == data[start:stop]
    if code == 206:
        assert header(response, "Content-Range") == f"bytes {start}-{stop - 1}/{PIECE}"


def test_a_range_beyond_the_end_is_416(door, shared):
    response = door.ask("GET", piece_path(shared, 0), headers={"Range": f"bytes={PIECE}-"})
    assert response.code == 416
    assert header(response, "Content-Range") == f"bytes */{PIECE}"
    assert response.whole == b""


def test_if_range_and_if_none_match(door, shared):
    etag = f'"{shared.torrent.piece_ids[0].hex()}"'
    path = piece_path(shared, 0)
    ranged = {"Range": "bytes=0-9", "If-Range": etag}
    assert door.ask("GET", path, headers=ranged).code == 206
    ranged["If-Range"] = '"other"'
    assert door.ask("GET", path, headers=ranged).code == 200
    assert door.ask("GET", path, headers={"If-None-Match": etag}).code == 304


def test_head_sends_nothing(door, shared):
    response = door.ask("HEAD", piece_path(shared, 3))
    assert response.code == 200
    assert response.whole == b""
    assert shared.uploaded == 0


def test_what_is_not_there_is_404_in_json(door, shared):
    for path in (
        "/pieces/" + "0" * 64,
        f"/files/{'0' * 40}/x",
        f"/files/{shared.torrent.infohash.hex()}/other",
        f"/files/{shared.torrent.infohash.hex()}",
        f"/metainfo/{'0' * 40}",
        f"/swarms/{'0' * 40}/have",
        f"/swarms/{shared.torrent.infohash.hex()}/want",
        "/pieces",
    ):
        response = door.ask("GET", path)
        assert response.code == 404, path
        assert header(response, "Content-Type").startswith("application/json")
        assert b'"error"' in response.whole


def test_what_is_no_id_is_400(door, shared):
    for path in ("/pieces/xyz", "/files/zz/x", "/metainfo/..", "/pieces/%ff"):
        assert door.ask("GET", path).code in (400, 404), path


def test_other_methods_are_405(door, shared):
    response = door.ask("DELETE", piece_path(shared, 0))
    assert response.code == 405
    assert header(response, "Allow") == "GET, HEAD"


def test_a_token_guards_the_bytes(fleet, seed, shared):
    door = Door(fleet, seed, Gate(b"0123456789abcdef"))
    assert door.ask("GET", piece_path(shared, 0)).code == 401
    token = {"Authorization": "Bearer 0123456789abcdef"}
    assert door.ask("GET", piece_path(shared, 0), headers=token).code == 200


def test_a_file_comes_whole_and_in_ranges(door, shared, data):
    path = f"/files/{shared.torrent.infohash.hex()}/image"
    response = door.ask("GET", path)
    assert response.whole == data
    assert header(response, "Content-Disposition") == "attachment; filename*=UTF-8''image"
    response = door.ask("GET", path, headers={"Range": f"bytes={PIECE - 5}-{PIECE + 4}"})
    assert response.whole == data[PIECE - 5 : PIECE + 5]


def test_the_metainfo_is_the_torrent(door, shared):
    response = door.ask("GET", f"/metainfo/{shared.torrent.infohash.hex()}")
    assert header(response, "Content-Type") == "application/x-bittorrent"
    assert Torrent.from_bytes(response.whole).infohash == shared.torrent.infohash


def test_a_file_streams_in_order_while_it_is_being_fetched(fleet, shared, seed, data):
    leech = fleet.node("leech", parallel=1)
    entry = fleet.get(leech, "image")
    assert entry.state is State.DOWNLOADING
    door = Door(fleet, leech)
    response = door.ask("GET", f"/files/{entry.torrent.infohash.hex()}/image")
    assert response.whole == data


def test_a_stream_of_a_download_that_fails_is_cut_off(fleet, shared, seed, data):
    leech = fleet.node("leech", parallel=1)
    entry = fleet.get(leech, "image")
    fleet.until(lambda: entry.held.count == 2)
    leech.urge(entry, [0])
    fleet.until(lambda: 0 in entry.held)
    fleet.kill(seed)
    door = Door(fleet, leech)
    failures = []
    asked = door.treq.request("GET", f"{Door.URL}/files/{entry.torrent.infohash.hex()}/image")
    door.treq.flush()
    asked.addCallback(lambda response: response.content()).addErrback(failures.append)
    leech.damaged(entry, "for the test")
    door.treq.flush()
    assert failures


def test_the_upload_limit_holds_and_nothing_is_lost(fleet, seed, shared, data):
    door = Door(fleet, seed, rate=100_000)
    began = fleet.clock.seconds()
    asked = door.treq.request("GET", Door.URL + piece_path(shared, 0))
    bodies = []
    asked.addCallback(lambda response: response.content()).addCallback(bodies.append)
    while not bodies:
        fleet.clock.advance(0.05)
        door.treq.flush()
        assert fleet.clock.seconds() - began < 10
    assert bodies[0] == data[:PIECE]
    elapsed = fleet.clock.seconds() - began
    assert elapsed >= (PIECE - 65536) / 100_000


def test_what_is_sent_is_booked_to_who_asked(door, shared):
    door.ask("GET", piece_path(shared, 0), headers={"P2pd-Node": "asking-node"})
    assert shared.sent_to == {"asking-node": PIECE}
    assert shared.uploaded == PIECE


def test_a_listener_is_met_only_at_the_address_it_comes_from(fleet, shared, seed):
    leech = fleet.node("leech")
    entry = fleet.get(leech, "image")
    met = []
    leech.introduce = lambda entry, address: met.append(address)
    door = Door(fleet, leech)
    path = f"/swarms/{entry.torrent.infohash.hex()}/have"
    door.treq.request("GET", f"{Door.URL}{path}?from=127.0.0.1:9")
    door.treq.request("GET", f"{Door.URL}{path}?from=10.0.0.1:9")
    door.treq.flush()
    assert met == ["127.0.0.1:9"]


def test_head_knows_no_ranges(door, shared):
    response = door.ask("HEAD", piece_path(shared, 0), headers={"Range": "bytes=0-9"})
    assert response.code == 200
    assert header(response, "Content-Range") is None


def refusing(error):
    def extents():
        raise error
        yield

    return lambda index, start, length: extents()


def test_a_disk_that_refuses_before_the_head_is_out_is_503(door, shared):
    shared.content.locate = refusing(Unavailable("cannot read: Too many open files"))
    response = door.ask("GET", piece_path(shared, 0))
    assert response.code == 503
    assert b"Too many open files" in response.whole
    assert shared.state is State.COMPLETE, "it is not damaged"


def test_an_error_that_nobody_expected_is_500(door, shared, logged_errors):
    shared.content.locate = refusing(ZeroDivisionError())
    response = door.ask("GET", piece_path(shared, 0))
    assert response.code == 500
    assert header(response, "Content-Type").startswith("application/json")
    assert logged_errors.flush(ZeroDivisionError)


class Unread:
    """A request whose client reads nothing after the first bytes."""

    def __init__(self):
        self.aborted = False
        self.channel = self
        self.transport = self
        self.written = 0

    def getHeader(self, name):
        return None

    def getClientAddress(self):
        return self

    host = "192.0.2.1"

    def registerProducer(self, producer, streaming):
        self.producer = producer

    def unregisterProducer(self):
        pass

    def write(self, data):
        self.written += len(data)
        self.producer.pauseProducing()

    def abortConnection(self):
        self.aborted = True


def test_a_client_that_reads_nothing_is_given_up(fleet, shared):
    request = Unread()
    extents = shared.content.locate(0, 0, PIECE)
    uplink = Uplink(fleet.clock, TokenBucket(0, 0))
    sending = Sending(request, extents, uplink, shared)
    fleet.clock.advance(59)
    assert not request.aborted
    sending.resumeProducing()
    assert sending.done.called, "it had all been written: there is nothing to wait for"
    sending = Sending(request, shared.content.locate(0, 0, PIECE), uplink, shared)
    fleet.clock.advance(61)
    assert request.aborted
    sending.stopProducing()
    sending.done.addErrback(lambda failure: failure.trap(ConnectionLost))


def test_a_listener_that_reads_nothing_is_given_up(fleet, shared):
    request = Unread()
    request.setHeader = lambda name, value: None
    stream = HaveStream(request, shared, fleet.clock)
    fleet.clock.advance(61)
    assert request.aborted
    stream.stopProducing()
    assert not shared._watchers
