"""Origins in a directory and on a web server."""

import os
import random

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from p2pd.errors import Invalid, NotFound, Unavailable
from p2pd.links.origin import DirectoryOrigin, UrlOrigin
from p2pd.metainfo import create

DATA = random.Random(5).randbytes(700_000)
BASE = "http://origin.test/files/"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (root / "dir" / "ä b").write_bytes(DATA)
    (tmp_path / "secret").write_text("secret")
    (root / "out").symlink_to("../secret")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    return root


# -- a directory


class Threads:
    """Real threads, whose calls are counted."""

    def __init__(self):
        self.made = 0

    def __call__(self, call, *args):
        self.made += "describe" in repr(call)
        return deferToThread(call, *args)


async def test_a_directory_describes_its_files(root):
    origin = DirectoryOrigin(root, BASE, deferToThread)
    described = await origin.describe("dir/ä b")
    assert described.torrent == create.describe(root / "dir" / "ä b")
    assert described.web_seed == "http://origin.test/files/dir/%C3%A4%20b"


async def test_a_directory_is_read_again_only_after_a_change(root):
    threads = Threads()
    origin = DirectoryOrigin(root, root.as_uri(), threads)
    first = await origin.describe("dir/ä b")
    assert await origin.describe("dir/ä b") is first
    assert threads.made == 1
    (root / "new").write_bytes(DATA[::-1])
    (root / "new").rename(root / "dir" / "ä b")
    second = await origin.describe("dir/ä b")
    assert threads.made == 2
    assert second.torrent.infohash != first.torrent.infohash


@pytest.mark.parametrize("name", ["missing", "dir", "out", "fifo", "loop", "dir/ä b/x"])
async def test_a_directory_has_nothing_else(root, name):
    with pytest.raises(NotFound, match="origin has no file"):
        await DirectoryOrigin(root, BASE, deferToThread).describe(name)


# -- a web server


class Server(Resource):
    """Serves DATA at every path, as each test says."""

    isLeaf = True

    def __init__(self):
        super().__init__()
        self.data = DATA
        self.code = 200
        self.headers = {}
        self.length = True
        self.asked = []
        self.open = None

    def render_GET(self, request):
        self.asked.append(dict(request.requestHeaders.getAllRawHeaders()))
        self.path = request.path
        request.setResponseCode(self.code)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        if "ETag" in self.headers and request.setETag(self.headers["ETag"].encode()):
            return b""
        if self.length is True:
            return self.data
        if self.length is not None:
            request.setHeader("Content-Length", str(self.length))
        request.write(self.data)
        if self.length is None:
            request.finish()
        else:
            self.open = request
        return NOT_DONE_YET


class UrlFixture:
    def __init__(self):
        self.server = Server()
        self.clock = Clock()
        self.agent = RequestTraversalAgent(self.server)
        self.origin = UrlOrigin(BASE, self.agent, self.clock)

    def start(self, name="dir/ä b"):
        describing = Deferred.fromCoroutine(self.origin.describe(name))
        for _ in range(100):
            self.agent.flush()
        return describing

    async def __call__(self, name="dir/ä b"):
        return await self.start(name)


@pytest.fixture
def url():
    fixture = UrlFixture()
    yield fixture
    assert fixture.clock.getDelayedCalls() == []


async def test_a_server_describes_its_files(url, root):
    described = await url()
    assert described.torrent == create.describe(root / "dir" / "ä b")
    assert described.web_seed == "http://origin.test/files/dir/%C3%A4%20b"
    assert url.server.path == b"/files/dir/%C3%A4%20b"
    assert url.server.asked[0][b"Accept-Encoding"] == [b"identity"]


@pytest.mark.parametrize(
    ("header", "value", "asked"),
    [
        ("ETag", '"one"', b"If-None-Match"),
        ("Last-Modified", "Sat, 21 Nov 2026 12:00:00 GMT", b"If-Modified-Since"),
    ],
)
async def test_a_server_is_read_again_only_after_a_change(url, header, value, asked):
    url.server.headers[header] = value
    first = await url()
    if header == "Last-Modified":
        url.server.code = 304
    assert await url() is first
    assert url.server.asked[1][asked] == [value.encode()]
    url.server.code = 200
    url.server.headers[header] = value.replace("one", "two").replace("12:00", "12:01")
    url.server.data = DATA[::-1]
    assert (await url()).torrent.infohash != first.torrent.infohash


async def test_without_a_validator_it_is_read_again(url):
    first = await url()
    second = await url()
    assert second is not first
    assert second == first


@pytest.mark.parametrize("code", [404, 410])
async def test_what_the_server_does_not_have_is_not_found(url, code):
    url.server.code = code
    with pytest.raises(NotFound, match="dir/%C3%A4%20b"):
        await url()


@pytest.mark.parametrize("code", [206, 301, 304, 403, 500, 503])
async def test_other_statuses_make_it_unavailable(url, code):
    url.server.code = code
    url.server.headers["Location"] = "http://elsewhere.test/"
    with pytest.raises(Unavailable, match=str(code)):
        await url()


async def test_a_length_is_required(url):
    url.server.length = None
    with pytest.raises(Unavailable, match="without a Content-Length"):
        await url()


@pytest.mark.parametrize("encoding", ["gzip", "br"])
async def test_encodings_are_refused(url, encoding):
    url.server.headers["Content-Encoding"] = encoding
    with pytest.raises(Unavailable, match="answered"):
        await url()


async def test_a_stalled_body_is_given_up(url):
    url.server.length = len(DATA) + 1
    describing = url.start()
    url.clock.advance(59)
    assert not describing.called
    url.clock.advance(2)
    with pytest.raises(Unavailable, match="sent nothing for 60 s"):
        await describing


async def test_a_body_that_breaks_off_is_unavailable(url):
    url.server.length = len(DATA) + 1
    describing = url.start()
    url.server.open.loseConnection()
    url.agent.flush()
    with pytest.raises(Unavailable, match="broke off"):
        await describing


class Silent(Resource):
    isLeaf = True

    def render_GET(self, _request):
        return NOT_DONE_YET


async def test_a_silent_server_is_given_up():
    clock = Clock()
    origin = UrlOrigin(BASE, RequestTraversalAgent(Silent()), clock)
    describing = Deferred.fromCoroutine(origin.describe("a"))
    clock.advance(31)
    with pytest.raises(Unavailable, match="does not answer"):
        await describing


@pytest.mark.parametrize("name", ["", "../a", "/a", "a//b", "a\0", "http://evil.test/a"])
async def test_unsafe_names_are_asked_of_nobody(url, root, name):
    for origin in (url.origin, DirectoryOrigin(root, BASE, deferToThread)):
        with pytest.raises(Invalid):
            await origin.describe(name)
    assert url.server.asked == []


async def test_a_real_connection_is_closed_when_given_up(root):
    """The body's transport is Twisted's own here, whose abilities differ from the stub's."""
    server = Server()
    server.length = len(DATA) + 1
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(server))
    origin = UrlOrigin(f"http://127.0.0.1:{port.getHost().port}/", Agent(reactor), Clock())
    describing = Deferred.fromCoroutine(origin.describe("a"))
    await wait_until(lambda: server.open is not None)
    gone = server.open.notifyFinish().addErrback(lambda _: None)
    describing.cancel()
    # Twisted's agent tells of a cancellation before the head came as of a broken connection.
    with pytest.raises((CancelledError, Unavailable)):
        await describing
    await gone
    await port.stopListening()


async def wait_until(true):
    while not true():
        tick = Deferred()
        reactor.callLater(0.01, tick.callback, None)
        await tick
