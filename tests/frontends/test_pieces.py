"""Raw bytes from a node: pieces, files, metainfo and the who-has-what stream, over HTTP."""

import gc
from types import SimpleNamespace
from weakref import ref

import pytest
from twisted.internet.error import ConnectionLost

from p2pd.errors import Unavailable
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.have_stream import Board, Boards, HaveStream
from p2pd.frontends.sending import Sending
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.torrent import Torrent
from p2pd.node.entry import BEHIND, Entry
from p2pd.node.job import Job
from p2pd.node.options import DownloadOptions
from p2pd.node.throttle import Throttle
from p2pd.protocol.have import Alive, Bye, Have, HaveDecoder, Holds, Promised
from p2pd.swarm.lifecycle import State
from tests.fleet import Door
from tests.samples import torrent

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
    leech.entries.damaged(entry, "for the test")
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
    leech.introduce = lambda entry, address, zone: met.append((address, zone))
    door = Door(fleet, leech)
    path = f"/swarms/{entry.torrent.infohash.hex()}/have"
    door.treq.request("GET", f"{Door.URL}{path}?from=127.0.0.1:9")
    door.treq.request("GET", f"{Door.URL}{path}?from=127.0.0.1:8&zone=rack%2F4%261")
    door.treq.request("GET", f"{Door.URL}{path}?from=10.0.0.1:9")
    door.treq.flush()
    assert met == [("127.0.0.1:9", ""), ("127.0.0.1:8", "rack/4&1")]
    assert door.ask("GET", f"{path}?from=127.0.0.1:9&zone=a%20b").code == 400


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
    uplink = Throttle(fleet.clock)
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


def batch_path(shared, indexes):
    return f"/swarms/{shared.torrent.infohash.hex()}/pieces/{indexes}"


@pytest.mark.parametrize(
    ("indexes", "given"),
    [("0", [0]), ("3", [3]), ("0,1,2,3", [0, 1, 2, 3]), ("3,1", [3, 1]), ("2,2", [2, 2])],
)
def test_pieces_come_one_after_the_other(door, shared, data, indexes, given):
    response = door.ask("GET", batch_path(shared, indexes), headers={"P2pd-Node": "asking"})
    assert response.code == 200
    assert response.whole == b"".join(data[index * PIECE : (index + 1) * PIECE] for index in given)
    assert response.length == len(response.whole)
    assert header(response, "Content-Type") == "application/octet-stream"
    assert shared.sent_to == {"asking": len(response.whole)}
    assert set(shared.promised) == set(given)


@pytest.mark.parametrize(
    ("indexes", "given"), [("0,1,2,3", [0]), ("3,0,1,2", [3, 0]), ("2,1,0", [2])]
)
def test_pieces_come_up_to_the_first_that_is_missing(door, shared, data, indexes, given):
    shared.held.discard(1)
    response = door.ask("GET", batch_path(shared, indexes))
    assert response.code == 200
    assert response.whole == b"".join(data[index * PIECE : (index + 1) * PIECE] for index in given)
    assert response.length == len(response.whole)
    assert not shared.promised, "who does not hold all promises nothing"


def test_a_first_piece_that_is_missing_is_404(door, shared):
    shared.held.discard(1)
    for indexes in ("1", "1,0"):
        response = door.ask("GET", batch_path(shared, indexes))
        assert response.code == 404
        assert b"piece 1 of image is not on this node" in response.whole
    assert shared.uploaded == 0


@pytest.mark.parametrize(
    "indexes",
    [
        *("4", "0,4", "999999999", "1000000000", "", ",", "0,", ",0", "0,,1", "a", "-1", "0,x"),
        *("+1", "1.0", "0 ,1", "0-3", "%D9%A1", ",".join(["0"] * 257)),
    ],
)
def test_pieces_that_cannot_be_are_400(door, shared, indexes):
    response = door.ask("GET", batch_path(shared, indexes))
    assert response.code == 400, indexes
    assert header(response, "Content-Type").startswith("application/json")
    assert shared.uploaded == 0


def test_as_many_pieces_come_at_once_as_may_be_named(door, shared, data):
    response = door.ask("GET", batch_path(shared, ",".join(["3"] * 256)))
    assert response.whole == data[3 * PIECE :] * 256


def test_head_tells_how_much_of_some_pieces_there_is(door, shared):
    shared.held.discard(2)
    response = door.ask("HEAD", batch_path(shared, "0,1,2"))
    assert response.code == 200
    assert header(response, "Content-Length") == str(2 * PIECE)
    assert response.whole == b""
    assert shared.uploaded == 0
    assert door.ask("HEAD", batch_path(shared, "2")).code == 404


def test_pieces_of_what_is_not_here_are_404(door, shared):
    assert door.ask("GET", f"/swarms/{'0' * 40}/pieces/0").code == 404
    assert door.ask("GET", f"{batch_path(shared, '0')}/1").code == 404


def test_what_cannot_be_read_is_refused_before_the_head_is_out(door, shared):
    shared.content.locate = refusing(Unavailable("cannot read: Too many open files"))
    response = door.ask("GET", batch_path(shared, "0,1"))
    assert response.code == 503
    assert header(response, "Retry-After") == "5"


def occupy(door, waiting=0):
    """Have all upload slots taken by strangers, and others wait; the call ends the first."""
    slots = door.uploads.slots
    asked = [
        door.uploads.ask(f"stranger {number}", 1, lambda: None, 1e6)
        for number in range(slots + waiting)
    ]
    assert (door.uploads.sending, door.uploads.waiting) == (slots, waiting)
    return lambda: door.uploads.done(asked[0], 1e6)


def test_who_would_wait_behind_too_many_is_told_to_ask_somebody_else(door, shared):
    told = []
    shared.asked_for = told.append
    occupy(door, waiting=BEHIND + 1)
    response = door.ask("GET", batch_path(shared, "0,1"))
    assert response.code == 429
    assert b"too many are waiting" in response.whole
    assert header(response, "Content-Type").startswith("application/json")
    assert response.length == len(response.whole)
    assert not told
    assert shared.uploaded == 0
    assert door.uploads.waiting == BEHIND + 1
    assert door.ask("HEAD", batch_path(shared, "0,1")).code == 200


def test_what_is_refused_is_not_promised_and_what_has_to_wait_is(fleet, door, shared, data):
    listener = Listener(fleet, door, shared)
    end = occupy(door, waiting=BEHIND + 1)
    assert door.ask("GET", batch_path(shared, "0,1")).code == 429
    assert listener.after(1.0) == []
    assert not shared.promised
    end()
    bodies = []
    asked = door.treq.request("GET", Door.URL + batch_path(shared, "0,1"))
    asked.addCallback(lambda response: response.content()).addCallback(bodies.append)
    door.treq.flush()
    assert list(shared.promised) == [0, 1], "it will be sent, though not yet"
    assert bodies == []
    assert told(listener.after(1.0)) == [0, 1]


def told(packets):
    """The pieces that are promised in some packets."""
    events = [event for packet in packets for event in packet]
    return [index for event in events if isinstance(event, Promised) for index in event.indexes]


def test_a_seed_sends_again_only_if_nobody_waits(door, shared, data):
    door.ask("GET", batch_path(shared, "1"))
    occupy(door, waiting=1)
    assert door.ask("GET", batch_path(shared, "1,0")).code == 429
    assert not set(shared.promised) & {0, 2, 3}
    asked = door.treq.request("GET", Door.URL + batch_path(shared, "2,1"))
    door.treq.flush()
    assert door.uploads.waiting == 2, "what is new may wait behind one"
    assert list(shared.promised) == [1, 2]
    asked.addErrback(lambda _: None)
    asked.cancel()


def test_a_node_that_holds_some_sends_again_behind_another(door, partial):
    occupy(door, waiting=BEHIND)
    for code in (None, 429):
        codes = []
        asked = door.treq.request("GET", Door.URL + batch_path(partial, "0"))
        asked.addCallbacks(lambda response, codes=codes: codes.append(response.code))
        door.treq.flush()
        assert door.uploads.waiting == BEHIND + 1
        assert codes == ([code] if code else [])


def test_a_seed_gives_new_pieces_and_old_ones_with_different_answers(door, shared, data):
    door.ask("GET", batch_path(shared, "1"))
    for asked, given in (("0,1", [0]), ("1,0,2", [1, 0]), ("2,1", [2]), ("3,2", [3])):
        response = door.ask("GET", batch_path(shared, asked))
        assert response.code == 200
        assert response.length == len(response.whole)
        assert response.whole == b"".join(data[index * PIECE :][:PIECE] for index in given)


def test_who_asks_for_a_piece_by_its_digest_waits_for_as_long_as_it_takes(door, shared):
    occupy(door, waiting=5)
    door.treq.request("GET", Door.URL + piece_path(shared, 0))
    door.treq.flush()
    assert door.uploads.waiting == 6
    assert list(shared.promised) == [0]


class Listener:
    """One who follows a node's have stream; keeps what each packet says."""

    def __init__(self, fleet, door, entry):
        self.packets = []
        self._fleet = fleet
        self._treq = door.treq
        decoder = HaveDecoder(entry.torrent.piece_count)
        path = f"/swarms/{entry.torrent.infohash.hex()}/have"
        asked = door.treq.request("GET", Door.URL + path, unbuffered=True)
        asked.addCallback(
            lambda got: got.collect(lambda data: self.packets.append(decoder.feed(data)))
        )
        self.flush()

    def flush(self):
        self._treq.flush()

    def after(self, seconds):
        """What is told within some time."""
        self.packets.clear()
        self._fleet.advance(seconds)
        self.flush()
        return self.packets


@pytest.fixture
def partial(shared):
    """A share that lacks all but one piece."""
    for index in range(1, 4):
        shared.held.discard(index)
    return shared


def test_what_happens_soon_after_the_last_lines_is_told_together(fleet, door, partial):
    listener = Listener(fleet, door, partial)
    only_first = Bitfield(4)
    only_first.add(0)
    assert listener.packets == [[Holds(only_first)]]
    fleet.advance(1)
    partial.got(1, rare=False)
    assert listener.after(0.002) == [[Have((1,))]], "the first one at once"
    partial.got(2, rare=False)
    partial.got(3, rare=False)
    assert listener.after(0.95) == []
    assert listener.after(0.06) == [[Have((2, 3))]]
    assert listener.after(7) == []


def test_a_rare_piece_is_told_sooner(fleet, door, partial):
    listener = Listener(fleet, door, partial)
    partial.got(1, rare=False)
    assert listener.after(0.002) == [[Have((1,))]]
    partial.got(2, rare=False)
    partial.got(3, rare=True)
    assert listener.after(0.015) == []
    assert listener.after(0.01) == [[Have((2, 3))]]
    assert listener.after(2) == []


def test_all_listeners_are_told_the_same_at_once(fleet, door, partial):
    first = Listener(fleet, door, partial)
    partial.got(1, rare=False)
    assert first.after(0.002) == [[Have((1,))]]
    partial.got(2, rare=False)
    late = Listener(fleet, door, partial)
    assert [list(event.pieces) for packet in late.packets for event in packet] == [[0, 1, 2]]
    late.packets.clear()
    partial.got(3, rare=False)
    assert first.after(1.1) == [[Have((2, 3))]]
    late.flush()
    assert late.packets == [[Have((2, 3))]]


def test_a_promise_is_told_sooner_and_takes_along_what_was_gathered(fleet, door, partial):
    listener = Listener(fleet, door, partial)
    fleet.advance(1)
    partial.got(1)
    fleet.advance(0.001)
    partial.got(2, rare=False)
    partial.got(3, rare=False)
    assert listener.after(0.005) == [[Have((1,))]]
    partial.asked_for(0)
    assert listener.after(0.005) == []
    assert listener.after(0.015) == [[Promised((0,)), Have((2, 3))]]
    assert listener.after(1) == []


def test_a_silent_stream_says_that_it_lives(fleet, door, partial):
    listener = Listener(fleet, door, partial)
    assert listener.after(25) == [[Alive()], [Alive()]]


def test_promises_are_told_at_the_start_and_later(fleet, door, shared):
    shared.asked_for(2)
    listener = Listener(fleet, door, shared)
    told = [event for packet in listener.packets for event in packet]
    assert told == [Holds(Bitfield.full(4)), Promised((2,))]
    fleet.advance(1)
    shared.asked_for(0)
    shared.asked_for(2)
    shared.asked_for(3)
    told = [event for packet in listener.after(0.1) for event in packet]
    assert told == [Promised((0, 3))]


def test_what_was_gathered_is_told_before_bye(fleet, door, seed, partial):
    listener = Listener(fleet, door, partial)
    fleet.advance(1)
    partial.got(1)
    partial.got(2)
    seed.entries.damaged(partial, "for the test")
    told = [event for packet in listener.after(0.1) for event in packet]
    assert told == [Have((1, 2)), Bye()]
    assert not partial._watchers


class Listening(Unread):
    """A listener who reads when the test says so."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def setHeader(self, name, value):
        pass

    def write(self, data):
        self.lines.append(data)


def test_many_pieces_are_told_in_lines_of_bounded_length(fleet):
    content = SimpleNamespace(torrent=torrent(pieces=600))
    entry = Entry(content, filename="long", job=Job(DownloadOptions(), added=0.0))
    request = Listening()
    stream = HaveStream(request, Board(entry, fleet.clock))
    stream.pauseProducing()
    for index in range(600):
        entry.got(index)
    fleet.advance(0.001)
    stream.resumeProducing()
    told = HaveDecoder(600).feed(b"".join(request.lines))[1:]
    assert [len(event.indexes) for event in told] == [256, 256, 88]
    assert [index for event in told for index in event.indexes] == [*range(600)]
    stream.stopProducing()


def test_what_happens_while_the_listener_does_not_read_is_kept(fleet, partial):
    request = Listening()
    stream = HaveStream(request, Board(partial, fleet.clock))
    assert len(request.lines) == 1
    stream.pauseProducing()
    partial.got(1)
    fleet.advance(11, step=0.5)
    partial.got(2)
    assert len(request.lines) == 1, "not even that it lives"
    stream.resumeProducing()
    assert request.lines[1:] == [b"have 1\n"]
    fleet.advance(0.001)
    assert request.lines[2:] == [b"have 2\n"]
    stream.pauseProducing()
    partial.got(3)
    stream.stopProducing()
    fleet.advance(100, step=1)
    assert len(request.lines) == 3
    assert not request.aborted


def test_a_pause_while_lines_are_gathered_keeps_them(fleet, partial):
    request = Listening()
    stream = HaveStream(request, Board(partial, fleet.clock))
    partial.got(1)
    fleet.advance(0.001)
    partial.got(2)
    stream.pauseProducing()
    fleet.advance(0.2)
    partial.got(3)
    fleet.advance(0.2)
    assert request.lines[1:] == [b"have 1\n"]
    stream.resumeProducing()
    assert request.lines[2:] == [b"have 2\nhave 3\n"]
    stream.stopProducing()


def test_one_that_does_not_read_keeps_nothing_from_others(fleet, partial):
    board = Board(partial, fleet.clock)
    requests = [Listening(), Listening()]
    deaf, other = [HaveStream(request, board) for request in requests]
    deaf.pauseProducing()
    partial.got(1)
    fleet.advance(0.001)
    assert [request.lines[1:] for request in requests] == [[], [b"have 1\n"]]
    deaf.stopProducing()
    partial.got(2)
    fleet.advance(0.1)
    assert [request.lines[1:] for request in requests] == [[], [b"have 1\n", b"have 2\n"]]
    other.stopProducing()


def test_what_was_kept_back_is_told_before_bye(fleet, seed, partial):
    request = Listening()
    stream = HaveStream(request, Board(partial, fleet.clock))
    stream.pauseProducing()
    partial.got(1)
    fleet.advance(0.001)
    partial.got(2)
    seed.entries.damaged(partial, "for the test")
    assert request.lines[1:] == [b"have 1\nhave 2\nbye\n"]


def test_an_entry_has_one_board_as_long_as_somebody_listens(fleet, partial):
    boards = Boards(fleet.clock)
    stream = HaveStream(Listening(), boards.of(partial))
    board = ref(boards.of(partial))
    assert boards.of(partial) is board()
    stream.stopProducing()
    del stream
    gc.collect()
    assert board() is None
    assert not partial._watchers


def test_a_listener_that_is_cancelled_leaves_nothing_behind(fleet, partial):
    request = Listening()
    before = len(fleet.clock.getDelayedCalls())
    stream = HaveStream(request, Board(partial, fleet.clock))
    partial.got(1)
    fleet.advance(0.001)
    partial.got(2)
    stream.pauseProducing()
    stream.ended.cancel()
    stream.ended.addErrback(lambda _: None)
    assert len(fleet.clock.getDelayedCalls()) == before
    assert not partial._watchers


def test_a_listener_that_reads_nothing_is_given_up(fleet, shared):
    request = Unread()
    request.setHeader = lambda name, value: None
    stream = HaveStream(request, Board(shared, fleet.clock))
    fleet.clock.advance(61)
    assert request.aborted
    stream.stopProducing()
    assert not shared._watchers
