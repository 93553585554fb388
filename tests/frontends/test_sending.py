"""Bytes of files to clients over real sockets: whole, in turn, and no further than they read.

Unix sockets and plain TCP go by sendfile, TLS does not.
"""

import gc
import os
import random
import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
    serverFromString,
)
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread

from p2pd.daemon.site import Site
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.mount import node_root
from p2pd.frontends.sending import Uplink
from p2pd.links.agent import make_agent, make_client
from p2pd.links.http import Caller
from p2pd.links.tls import read_authority
from p2pd.metainfo.ids import NodeId
from p2pd.node.entry import BEHIND
from p2pd.node.node import Node
from p2pd.node.throttle import Throttle
from p2pd.node.transfers import Surroundings
from p2pd.store.files import FileStore
from p2pd.store.memory import MemoryResumeTable
from p2pd.swarm.lifecycle import State
from p2pd.swarm.uploads import Uploads
from tests.certificates import Authority, endpoint
from tests.controls import control_of

PIECE = 256 * 1024
RNG = random.Random(3)


class Client(Protocol):
    """A connection that keeps what comes."""

    def connectionMade(self):
        self.data = b""
        self.ended = False

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, _):
        self.ended = True

    def ask(self, path, *headers, method="GET", version="1.1"):
        lines = [f"{method} {path} HTTP/{version}", "Host: x", *headers, "", ""]
        self.transport.write("\r\n".join(lines).encode())

    async def response(self):
        """The next response: its status, its headers, its body."""
        await until(lambda: b"\r\n\r\n" in self.data)
        head, _, rest = self.data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers["content-length"])
        await until(lambda: self.ended or self.body_bytes() >= length)
        rest = self.data.partition(b"\r\n\r\n")[2]
        self.data = rest[length:]
        return int(status.split()[1]), headers, rest[:length]

    def body_bytes(self):
        return len(self.data.partition(b"\r\n\r\n")[2])

    async def get(self, path, *headers):
        self.ask(path, *headers)
        return await self.response()


async def until(condition, seconds=10.0):
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await deferLater(reactor, 0.005)
    raise AssertionError("it never came to that")


class World:
    """A node that shares files of a directory, on loopback."""

    def __init__(self, path):
        self.path = path
        self.clock = Clock()
        self.clock.advance(1e9)
        surroundings = Surroundings(
            reactor,
            random.Random(1),
            FileStore(path / "downloads", deferToThread),
            MemoryResumeTable(),
            None,
        )
        self.node = Node(surroundings, node_id=NodeId("serving"))
        self.control = control_of(self.node, surroundings)
        self.node.startService()
        self.ports = []
        self.sites = []
        self.clients = []

    async def serve(self, *, where="tcp:0:interface=127.0.0.1", rate=0, by_hand=False, **uploads):
        """Listen; with `by_hand`, time for senders goes as the test says."""
        clock = self.clock if by_hand else reactor
        self.uploads = Uploads(**uploads)
        self.throttle = Throttle(clock, rate)
        uplink = Uplink(self.throttle, self.uploads)
        self.sites.append(Site(node_root(self.control, Gate(), uplink), reactor=reactor))
        self.ports.append(await serverFromString(reactor, where).listen(self.sites[-1]))
        self.host = self.ports[-1].getHost()

    async def client(self, where=None):
        where = where or TCP4ClientEndpoint(reactor, "127.0.0.1", self.host.port)
        self.clients.append(await connectProtocol(where, Client()))
        return self.clients[-1]

    async def share(self, data, name="image"):
        path = self.path / name
        path.write_bytes(data)
        return await self.node.share(path)

    async def close(self):
        for client in self.clients:
            if not client.ended:
                client.transport.abortConnection()
        for site in self.sites:
            await site.close()
        for port in self.ports:
            await port.stopListening()
        await self.node.stopService()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


def batch(entry, *indexes):
    return f"/swarms/{entry.torrent.infohash.hex()}/pieces/{','.join(map(str, indexes))}"


def piece(entry, index):
    return f"/pieces/{entry.torrent.piece_ids[index].hex()}"


def open_files():
    """The regular files that this process has open."""
    places = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            places.append(str(link.readlink()))
    return sorted(place for place in places if place.startswith("/") and "/dev/" not in place)


async def tree(world):
    """A torrent of several files with padding between them, and its pieces."""
    root = world.path / "release"
    (root / "deep").mkdir(parents=True)
    (root / "large.bin").write_bytes(RNG.randbytes(700_000))
    (root / "deep/middle").write_bytes(RNG.randbytes(300_000))
    for name in ("a", "b", "c"):
        (root / f"deep/small-{name}").write_bytes(RNG.randbytes(1000))
    (root / "empty").touch()
    entry = await world.node.share(root)
    assert any(file.padding for file in entry.torrent.files)
    pieces = [await entry.content.read(index) for index in range(entry.torrent.piece_count)]
    return entry, pieces


# -- what comes


async def test_pieces_of_many_files_and_padding_come_whole(world):
    await world.serve()
    entry, pieces = await tree(world)
    client = await world.client()
    for index, data in enumerate(pieces):
        assert (await client.get(piece(entry, index)))[2] == data
    order = [*range(1, len(pieces)), 0]
    status, headers, body = await client.get(batch(entry, *order))
    assert status == 200
    assert body == b"".join(pieces[index] for index in order)
    assert headers["content-type"] == "application/octet-stream"
    await until(lambda: entry.uploaded == 2 * sum(map(len, pieces)))
    assert world.uploads.sending == 0


async def test_a_head_comes_with_the_first_bytes(world):
    await world.serve()
    entry = await world.share(RNG.randbytes(PIECE))
    with socket.create_connection(("127.0.0.1", world.host.port)) as client:
        client.send(f"GET {batch(entry, 0)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        came = await deferToThread(client.recv, 65536)
    assert came.startswith(b"HTTP/1.1 200 OK")
    assert not came.endswith(b"\r\n\r\n")
    await until(lambda: not world.sites[0].connections)


async def test_ranges_cross_from_file_to_padding(world):
    await world.serve()
    entry, pieces = await tree(world)
    client = await world.client()
    for index, data in enumerate(pieces):
        edges = {0, 1, len(data) // 2, len(data) - 1}
        for span in entry.torrent.spans(index):
            edges |= {span.start, max(span.start - 1, 0)}
        for first in sorted(edges):
            last = min(first + 70_000, len(data) - 1)
            answer = await client.get(piece(entry, index), f"Range: bytes={first}-{last}")
            assert answer[0] == 206
            assert answer[2] == data[first : last + 1]


async def test_files_come_whole_and_in_part(world):
    await world.serve()
    entry, _ = await tree(world)
    client = await world.client()
    for name in ("large.bin", "deep/middle", "deep/small-b", "empty"):
        path = f"/files/{entry.torrent.infohash.hex()}/{name}"
        data = (world.path / "release" / name).read_bytes()
        assert (await client.get(path))[2] == data
        if data:
            _, _, part = await client.get(path, "Range: bytes=500-262200")
            assert part == data[500:262201]


async def test_requests_in_one_segment_are_answered_in_order(world):
    await world.serve()
    entry, pieces = await tree(world)
    client = await world.client()
    asked = [piece(entry, 0), batch(entry, 2, 1), "/health", piece(entry, 3)]
    lines = "".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in asked)
    client.transport.write(lines.replace("/health", "/api/v1/health").encode())
    assert (await client.response())[2] == pieces[0]
    assert (await client.response())[2] == pieces[2] + pieces[1]
    assert (await client.response())[2] == b"Node is running!"
    assert (await client.response())[2] == pieces[3]
    assert not client.ended


@pytest.mark.parametrize(
    ("version", "headers", "kept"),
    [("1.0", [], False), ("1.1", ["Connection: close"], False), ("1.1", [], True)],
)
async def test_a_connection_is_kept_if_the_client_keeps_it(world, version, headers, kept):
    await world.serve()
    entry, pieces = await tree(world)
    client = await world.client()
    client.ask(piece(entry, 1), *headers, version=version)
    status, _, body = await client.response()
    assert (status, body) == (200, pieces[1])
    if kept:
        assert (await client.get(piece(entry, 0)))[2] == pieces[0]
    else:
        await until(lambda: client.ended)


async def test_head_sends_no_body(world):
    await world.serve()
    entry, pieces = await tree(world)
    client = await world.client()
    for path, length in ((piece(entry, 0), PIECE), (batch(entry, 0, 1), 2 * PIECE)):
        client.ask(path, method="HEAD")
        await until(lambda: b"\r\n\r\n" in client.data)
        assert f"content-length: {length}\r\n" in client.data.decode().lower()
        assert client.data.endswith(b"\r\n\r\n")
        client.data = b""
    assert entry.uploaded == 0
    assert not entry.promised
    assert (await client.get(piece(entry, 0)))[2] == pieces[0]


async def test_over_a_unix_socket(world, tmp_path):
    await world.serve(where=f"unix:{tmp_path}/socket")
    entry, pieces = await tree(world)
    client = await world.client(UNIXClientEndpoint(reactor, f"{tmp_path}/socket"))
    assert (await client.get(batch(entry, 0, 1, 2)))[2] == b"".join(pieces[:3])
    assert (await client.get(piece(entry, 3)))[2] == pieces[3]


async def test_over_tls(world, tmp_path):
    authority = Authority(tmp_path, "fleet")
    await world.serve(where=endpoint(authority.issue("node", "127.0.0.1")))
    entry, pieces = await tree(world)
    policy = read_authority(authority.path.read_bytes())
    client = make_client(make_agent(reactor, connections=1, policy=policy))
    caller = Caller(client, reactor, NodeId("asking"), Throttle(reactor))
    url = f"https://127.0.0.1:{world.host.port}"
    whole = await caller.ask("GET", url + batch(entry, *range(len(pieces))))
    assert whole == b"".join(pieces)
    assert await caller.ask("GET", url + piece(entry, 1)) == pieces[1]
    assert entry.sent_to["asking"] == len(whole) + PIECE
    await client._agent._pool.closeCachedConnections()


async def test_it_goes_no_faster_than_is_allowed(world):
    await world.serve(rate=500_000)
    entry, pieces = await tree(world)
    client = await world.client()
    began = reactor.seconds()
    _, _, body = await client.get(piece(entry, 0))
    took = reactor.seconds() - began
    assert body == pieces[0]
    assert (PIECE - 0.1 * 500_000) / 500_000 <= took < 2


# -- who does not read, hangs up, or finds no file


LARGE = 64 * PIECE


async def test_a_client_that_reads_nothing_for_a_minute_is_cut_off(world):
    await world.serve(by_hand=True)
    entry = await world.share(RNG.randbytes(LARGE))
    client = await world.client()
    client.transport.pauseProducing()
    client.ask(batch(entry, *range(64)))
    await until(world.clock.getDelayedCalls)
    world.clock.advance(59)
    await deferLater(reactor, 0.05)
    assert world.uploads.sending == 1
    world.clock.advance(2)
    await until(lambda: world.uploads.sending == 0)
    client.transport.resumeProducing()
    await until(lambda: client.ended)
    assert client.body_bytes() < LARGE
    assert not world.clock.getDelayedCalls()


async def test_a_client_that_reads_slowly_is_not_cut_off(world):
    await world.serve(by_hand=True)
    data = RNG.randbytes(LARGE)
    entry = await world.share(data)
    client = await world.client()
    client.transport.pauseProducing()
    client.ask(batch(entry, *range(64)))
    await until(world.clock.getDelayedCalls)
    for _ in range(4):
        world.clock.advance(50)
        sent = entry.uploaded
        client.transport.resumeProducing()
        await until(lambda sent=sent: entry.uploaded > sent or client.body_bytes() >= LARGE)
        client.transport.pauseProducing()
        await deferLater(reactor, 0.05)
    client.transport.resumeProducing()
    _, _, body = await client.response()
    assert body == data
    assert not world.clock.getDelayedCalls()


async def test_who_hung_up_before_more_might_be_sent_is_let_go(world):
    await world.serve(by_hand=True, rate=100_000)
    entry = await world.share(RNG.randbytes(PIECE))
    with socket.create_connection(("127.0.0.1", world.host.port)) as client:
        client.send(f"GET {batch(entry, 0)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await until(world.clock.getDelayedCalls)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    world.clock.advance(0.1)  # before the reactor hears of it
    await until(lambda: world.uploads.sending == 0)
    await until(lambda: not world.sites[0].connections)
    assert not world.clock.getDelayedCalls()


@pytest.mark.parametrize("how", ["loseConnection", "abortConnection"])
async def test_who_hangs_up_midway_leaves_nothing_open(world, how):
    await world.serve(by_hand=True)
    entry = await world.share(RNG.randbytes(LARGE))
    world.node._with.store.rest()
    before = open_files()
    client = await world.client()
    client.transport.pauseProducing()
    client.ask(batch(entry, *range(64)))
    await until(lambda: entry.uploaded > 0)
    assert len(open_files()) > len(before)
    client.transport.resumeProducing()
    getattr(client.transport, how)()
    await until(lambda: world.uploads.sending == 0)
    world.node._with.store.rest()
    gc.collect()
    assert open_files() == before
    assert not world.clock.getDelayedCalls()
    assert not world.sites[0].connections


async def test_a_file_that_is_cut_short_while_it_is_sent_breaks_the_connection_off(
    world, logged_errors
):
    await world.serve(by_hand=True, rate=100_000)
    entry = await world.share(RNG.randbytes(PIECE))
    client = await world.client()
    client.ask(batch(entry, 0))
    await until(world.clock.getDelayedCalls)
    world.clock.advance(0.1)
    await until(lambda: client.body_bytes() > 0 if client.data else False)
    os.truncate(entry.content.path, 10)
    for _ in range(20):
        world.clock.advance(0.1)
        await deferLater(reactor, 0.005)
    await until(lambda: client.ended)
    assert client.body_bytes() < PIECE
    assert logged_errors.flush(OSError)
    assert world.uploads.sending == 0
    assert not world.clock.getDelayedCalls()


async def test_a_file_that_changes_between_pieces_breaks_the_connection_off(world):
    await world.serve(by_hand=True, rate=1_000_000)
    entry = await world.share(RNG.randbytes(4 * PIECE))
    client = await world.client()
    client.ask(batch(entry, 0, 1, 2, 3))
    await until(world.clock.getDelayedCalls)
    world.node._with.store.rest()
    (world.path / "other").write_bytes(RNG.randbytes(4 * PIECE))
    (world.path / "other").replace(entry.content.path)
    for _ in range(200):
        world.clock.advance(0.01)
        await deferLater(reactor, 0.001)
        if client.ended:
            break
    assert client.ended
    assert client.body_bytes() < 4 * PIECE


async def test_a_file_that_is_gone_is_not_found(world):
    await world.serve()
    entry = await world.share(RNG.randbytes(PIECE))
    world.node._with.store.rest()
    entry.content.path.unlink()
    client = await world.client()
    status, _, body = await client.get(batch(entry, 0))
    assert status == 404
    assert b"damaged" in body
    assert entry.state is State.FAILED
    assert (await client.get("/api/v1/health"))[0] == 200, "the connection is good"


# -- upload slots


async def test_those_beyond_the_slots_wait_for_their_turn(world):
    await world.serve(slots=2)
    data = RNG.randbytes(LARGE)
    entry = await world.share(data + b"x")
    entry.held.discard(64)  # a seed would have none wait for what it has sent before
    clients = [await world.client() for _ in range(4)]
    for asked, client in enumerate(clients, 1):
        client.transport.pauseProducing()
        client.ask(batch(entry, *range(64)))
        await until(lambda asked=asked: world.uploads.sending + world.uploads.waiting == asked)
    assert (world.uploads.sending, world.uploads.waiting) == (2, 2)
    clients[2].transport.resumeProducing()
    await deferLater(reactor, 0.1)
    assert clients[2].data == b"", "not even a head: it may still be refused"
    clients[2].transport.abortConnection()
    await until(lambda: world.uploads.waiting == 1)
    clients[0].transport.abortConnection()
    await until(lambda: world.uploads.waiting == 0)
    assert world.uploads.sending == 2
    for client in (clients[1], clients[3]):
        client.transport.resumeProducing()
        assert (await client.response())[2] == data


async def test_nodes_beyond_some_that_wait_are_refused_at_once(world):
    await world.serve(slots=1)
    data = RNG.randbytes(LARGE)
    entry = await world.share(data)
    first, last, *others = [await world.client() for _ in range(BEHIND + 3)]
    first.transport.pauseProducing()
    first.ask(batch(entry, *range(32)))
    await until(lambda: world.uploads.sending == 1)
    for index, client in enumerate(others, 32):
        client.ask(batch(entry, index))
        await until(lambda index=index: world.uploads.waiting == index - 31)
    for index in (50, 0):
        status, _, body = await last.get(batch(entry, index))
        assert status == 429
        assert b"too many" in body
    assert 50 not in entry.promised
    assert not last.ended, "the connection is good"
    first.transport.abortConnection()
    for index, client in enumerate(others, 32):
        assert (await client.response())[2] == data[index * PIECE : (index + 1) * PIECE]
    assert (await last.get(batch(entry, 50)))[2] == data[50 * PIECE : 51 * PIECE]


async def test_many_that_each_end_at_once_take_turns(world):
    await world.serve(slots=1)
    data = RNG.randbytes(LARGE)
    entry = await world.share(data)
    first, *others = [await world.client() for _ in range(101)]
    first.transport.pauseProducing()
    first.ask(batch(entry, *range(64)))
    await until(lambda: world.uploads.sending == 1)
    for number, client in enumerate(others):
        client.ask(piece(entry, 0), "Range: bytes=0-9", f"P2pd-Node: {number}")
    await until(lambda: world.uploads.waiting == 100)
    first.transport.abortConnection()
    for client in others:
        assert (await client.response())[2] == data[:10]
    assert world.uploads.sending == 0


async def test_who_is_slow_does_not_hold_up_the_others(world):
    await world.serve(by_hand=True, slots=1)
    data = RNG.randbytes(LARGE)
    entry = await world.share(data)
    slow, quick = await world.client(), await world.client()
    slow.transport.pauseProducing()
    slow.ask(batch(entry, *range(64)))
    await until(lambda: world.uploads.sending == 1)
    quick.ask(batch(entry, *range(64)))
    await until(lambda: world.uploads.waiting == 1)
    world.clock.advance(2.1)
    assert (await quick.response())[2] == data
    slow.transport.resumeProducing()
    assert (await slow.response())[2] == data
    await until(lambda: world.uploads.sending == 0)
    assert not world.clock.getDelayedCalls()


async def test_too_many_are_refused_and_may_ask_again(world):
    await world.serve(slots=1, waiting=1)
    data = RNG.randbytes(LARGE)
    entry = await world.share(data)
    first, second, third = [await world.client() for _ in range(3)]
    first.transport.pauseProducing()
    for client in (first, second):
        client.ask(batch(entry, *range(64)))
        await until(lambda: world.uploads.sending == 1)
    await until(lambda: world.uploads.waiting == 1)
    status, headers, body = await third.get(batch(entry, 0))
    assert status == 429
    assert b"too many" in body
    assert headers["content-type"].startswith("application/json")
    assert int(headers["retry-after"]) > 0
    first.transport.abortConnection()
    assert (await second.response())[2] == data
    assert (await third.get(batch(entry, 0)))[2] == data[:PIECE]


async def test_a_download_has_no_more_uploads_than_its_user_wants(world):
    await world.serve(slots=7)
    data = RNG.randbytes(LARGE)
    entry = await world.share(data)
    other = await world.share(data[:PIECE], "other")
    entry.job.change(max_uploads=1)
    first, second = [await world.client() for _ in range(2)]
    first.transport.pauseProducing()
    first.ask(batch(entry, *range(64)))
    await until(lambda: world.uploads.sending == 1)
    assert entry.uploads == 1
    status, headers, body = await second.get(batch(entry, 0))
    assert status == 429
    assert b"as many as may" in body
    assert int(headers["retry-after"]) > 0
    assert (await second.get(batch(other, 0)))[2] == data[:PIECE], "the others are not bound"
    entry.job.change(max_uploads=2)
    assert (await second.get(batch(entry, 50)))[2] == data[50 * PIECE : 51 * PIECE]
    entry.job.change(max_uploads=1)
    first.transport.abortConnection()
    await until(lambda: entry.uploads == 0)
    assert (await second.get(batch(entry, 0)))[2] == data[:PIECE]
