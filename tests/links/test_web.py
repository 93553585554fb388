"""Files of web servers, read over real connections."""

import ipaddress
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.web.server import NOT_DONE_YET

from p2pd.errors import Denied, NotFound, Unavailable
from p2pd.links.guard import Guard
from p2pd.links.redirects import make_guarded_agent
from p2pd.links.web import HttpWeb
from p2pd.metainfo import create
from p2pd.metainfo.ids import NodeId
from p2pd.node.acquisition import Acquisition
from p2pd.node.job import Job
from p2pd.node.library import Library
from p2pd.node.options import DownloadOptions
from p2pd.node.throttle import Throttle
from p2pd.store.files import FileStore
from tests.web_server import Named, ranged

DATA = random.Random(5).randbytes(3_000_000)


@pytest.fixture
def named():
    return Named(a_test=["127.0.0.1"], b_test=["127.0.0.1"])


@pytest.fixture
def clock():
    clock = Clock()
    yield clock
    assert clock.getDelayedCalls() == []


@pytest.fixture
def web(server, named, clock):
    guard = Guard([ipaddress.ip_network("127.0.0.1")], loopback_only=lambda: False)
    strict = Guard(loopback_only=lambda: True)
    agents = [
        make_guarded_agent(named, guard, strict=False),
        make_guarded_agent(named, strict, strict=True),
    ]
    yield HttpWeb(*agents, clock)
    pytest_twisted.blockon(tick())  # what was not wanted comes to its end
    for agent in agents:
        pytest_twisted.blockon(agent._agent._pool.closeCachedConnections())


async def whole(opened):
    parts = []
    while data := await opened.read():
        parts.append(data)
    return b"".join(parts)


def tick(seconds=0.02):
    return deferLater(reactor, seconds)


async def until(true):
    while not true():
        await tick()


async def test_a_file_is_read(web, server):
    server.pages["/dir/a%20b.iso"] = (
        200,
        {"ETag": '"1"', "Content-Type": "application/x-ISO; charset=x"},
        DATA,
    )
    opened = await web.open(server.url("/dir/a%20b.iso"), strict=False)
    assert (opened.length, opened.offset, opened.validator) == (len(DATA), 0, '"1"')
    assert (opened.name, opened.content_type) == ("a b.iso", "application/x-iso")
    assert opened.url == server.url("/dir/a%20b.iso")
    assert await whole(opened) == DATA
    assert await opened.read() == b""
    asked = server.headers()
    assert asked["accept-encoding"] == "identity"
    assert not {"range", "authorization", "cookie"} & asked.keys()


async def test_the_rest_of_a_file_is_read(web, server):
    server.pages["/a"] = ranged(DATA)
    opened = await web.open(server.url("/a"), strict=False, offset=1000, validator='"1"')
    assert (opened.offset, opened.length) == (1000, len(DATA))
    assert await whole(opened) == DATA[1000:]


@pytest.mark.parametrize(
    "page", [ranged(DATA, etag='"2"'), (200, {"ETag": '"1"'}, DATA)], ids=["changed", "no ranges"]
)
async def test_what_cannot_be_gone_on_with_begins_anew(web, server, page):
    server.pages["/a"] = page
    opened = await web.open(server.url("/a"), strict=False, offset=1000, validator='"1"')
    assert opened.offset == 0
    assert await whole(opened) == DATA
    assert (server.headers()["range"], server.headers()["if-range"]) == ("bytes=1000-", '"1"')


@pytest.mark.parametrize(
    "given", [None, "bytes 0-2999999/3000000", "bytes 1000-5/*", "bytes 1000-2000/3000000", "x"]
)
async def test_another_part_than_was_asked_for_is_refused(web, server, given):
    headers = {"Content-Range": given} if given else {}
    server.pages["/a"] = 206, headers, DATA[1000:]
    with pytest.raises(Unavailable, match="another part"):
        await web.open(server.url("/a"), strict=False, offset=1000, validator='"1"')


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"1"', "Last-Modified": "Sat"}, '"1"'),
        ({"ETag": 'W/"1"', "Last-Modified": "Sat, 21 Nov"}, "Sat, 21 Nov"),
        ({"ETag": "unquoted"}, ""),
        ({}, ""),
    ],
)
async def test_only_strong_validators_tell_versions(web, server, headers, validator):
    server.pages["/a"] = 200, headers, b"x"
    opened = await web.open(server.url("/a"), strict=False)
    assert opened.validator == validator
    await whole(opened)


@pytest.mark.parametrize(
    ("disposition", "path", "name"),
    [
        ('attachment; filename="a b.iso"', "/x", "a b.iso"),
        ("attachment; filename=plain.iso; size=1", "/x", "plain.iso"),
        ("attachment; filename=\"x\"; filename*=UTF-8''%C3%A4.iso", "/x", "ä.iso"),
        (r'attachment; filename="a\"b"', "/x", 'a"b'),
        ('attachment; filename="../../etc/passwd"', "/x", "passwd"),
        (r'attachment; filename="C:\\dir\\x.iso"', "/x", "x.iso"),
        ('attachment; filename=".."', "/y.iso", "y.iso"),
        ('attachment; filename=".p2pd-x"', "/y.iso", "y.iso"),
        ("", "/%2e%2e", "download"),
        ("", "/a%2Fb", "b"),
        ("", "/", "download"),
        ("", f"/{'a' * 300}.iso", f"{'a' * 251}.iso"),
    ],
)
async def test_names_are_safe(web, server, disposition, path, name):
    server.pages[path] = 200, {"Content-Disposition": disposition} if disposition else {}, b"x"
    opened = await web.open(server.url(path), strict=False)
    assert opened.name == name
    await whole(opened)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(404, NotFound), (410, NotFound), (401, Denied), (403, Denied), (304, Unavailable)]
    + [(code, Unavailable) for code in (204, 206, 400, 416, 429, 500, 503)],
)
async def test_other_answers_are_refused(web, server, code, kind):
    server.pages["/a"] = code, {}, b""
    with pytest.raises(kind, match=str(code) if code != 206 else "another part"):
        await web.open(server.url("/a"), strict=False)


async def test_an_encoding_that_was_not_asked_for_is_refused(web, server):
    server.pages["/a"] = 200, {"Content-Encoding": "gzip"}, b""
    with pytest.raises(Unavailable, match="encoding"):
        await web.open(server.url("/a"), strict=False)


async def test_a_length_may_be_untold(web, server):
    def page(request):
        request.write(DATA)
        request.finish()
        return NOT_DONE_YET

    server.pages["/a"] = page
    opened = await web.open(server.url("/a"), strict=False)
    assert opened.length is None
    assert await whole(opened) == DATA


async def test_strict_asks_the_stricter_rule(web, server):
    with pytest.raises(Denied, match="--allow-source-net"):
        await web.open(server.url("/a"), strict=True)
    assert server.asked == []


async def test_a_password_goes_to_its_origin_and_is_not_shown(web, server):
    server.pages["/a"] = 302, {"Location": server.url("/b", "b.test")}, b""
    with pytest.raises(NotFound) as refused:
        await web.open(server.url("/a", "a.test"), strict=False, credentials="user:pässword")
    assert server.headers(0)["authorization"] == "Basic dXNlcjpww6Rzc3dvcmQ="
    assert "authorization" not in server.headers(1)
    assert "password" not in refused.value.reason


async def test_a_server_that_is_not_there_is_unavailable(web, server):
    with pytest.raises(Unavailable, match="does not answer"):
        await web.open("http://127.0.0.1:1/", strict=False)


async def test_a_silent_server_is_given_up(web, server, clock):
    server.pages["/a"] = lambda _: NOT_DONE_YET
    opening = Deferred.fromCoroutine(web.open(server.url("/a"), strict=False))
    await until(lambda: server.asked)
    clock.advance(31)
    with pytest.raises(Unavailable, match="does not answer"):
        await opening


class Halting:
    """A page that sends some of what it announced, and waits."""

    def __init__(self, sent, announced):
        self.sent = sent
        self.announced = announced

    def __call__(self, request):
        request.setHeader("Content-Length", str(self.announced))
        request.write(self.sent)
        self.request = request
        self.gone = request.notifyFinish().addErrback(lambda _: None)
        return NOT_DONE_YET


async def test_a_stalled_body_is_given_up(web, server, clock):
    server.pages["/a"] = page = Halting(b"some", 100)
    opened = await web.open(server.url("/a"), strict=False)
    assert await opened.read() == b"some"
    reading = Deferred.fromCoroutine(opened.read())
    clock.advance(61)
    with pytest.raises(Unavailable, match="sent nothing for 60 s"):
        await reading
    await page.gone


async def test_a_body_that_breaks_off_is_unavailable(web, server):
    server.pages["/a"] = page = Halting(b"some", 100)
    opened = await web.open(server.url("/a"), strict=False)
    assert await opened.read() == b"some"
    page.request.transport.loseConnection()
    with pytest.raises(Unavailable, match="broke off"):
        await opened.read()


async def test_asking_can_be_cancelled(web, server):
    server.pages["/f"] = lambda _: NOT_DONE_YET
    asking = Deferred.fromCoroutine(web.open(server.url("/f", "a.test"), strict=False))
    await until(lambda: server.asked)
    asking.cancel()
    with pytest.raises(CancelledError):
        await asking


async def test_a_reading_that_is_cancelled_lets_go_of_the_server(web, server):
    server.pages["/a"] = page = Halting(b"some", 100)
    opened = await web.open(server.url("/a"), strict=False)
    await opened.read()
    reading = Deferred.fromCoroutine(opened.read())
    reading.cancel()
    with pytest.raises(CancelledError):
        await reading
    await page.gone


async def test_a_server_is_read_no_faster_than_its_reader_takes(web, server):
    sent = 0

    class Endless:
        def resumeProducing(self):
            nonlocal sent
            sent += 65536
            self.request.write(bytes(65536))

        def stopProducing(self):
            pass

    def page(request):
        producer = Endless()
        producer.request = request
        request.setHeader("Content-Length", str(1 << 40))
        request.registerProducer(producer, False)
        request.notifyFinish().addErrback(lambda _: None)
        return NOT_DONE_YET

    server.pages["/a"] = page
    opened = await web.open(server.url("/a"), strict=False)
    previous = -1
    while sent != previous:
        previous = sent
        await tick(0.2)
    assert sent < 32 * 1024 * 1024, "what fits the buffers of the sockets, no more"
    taken = 0
    while taken <= previous:
        taken += len(await opened.read())
    opened.close()
    await tick()


async def test_a_file_is_acquired_over_a_break_and_a_restart(web, server, tmp_path):
    """The whole way: real sockets, real files."""
    url = server.url("/image.iso")
    job = Job(DownloadOptions(source=url), added=0.0)
    half = len(DATA) // 2

    def acquisition():
        alone = SimpleNamespace(
            resolve=refuse, downlink=Throttle(reactor), node_id=NodeId("alone"), library=Library()
        )
        return Acquisition(
            alone,
            web,
            FileStore(tmp_path, deferToThread),
            clock=reactor,
            rng=random.Random(1),
            threads=deferToThread,
        )

    async def refuse(name):
        raise NotFound(name)

    def halting(request):
        request.setHeader("ETag", '"1"')
        request.setHeader("Content-Length", str(len(DATA)))
        request.write(DATA[:half])
        request.notifyFinish().addErrback(lambda _: None)
        return NOT_DONE_YET

    server.pages["/image.iso"] = halting
    following = Deferred.fromCoroutine(acquisition().acquire(job))
    await until(lambda: job.received == half)
    following.cancel()
    with pytest.raises(CancelledError):
        await following
    server.pages["/image.iso"] = ranged(DATA)
    acquired = await acquisition().acquire(job)
    assert server.headers()["range"] == f"bytes={half}-"
    assert acquired.torrent.web_seeds == (url,)
    assert (tmp_path / "image.iso").read_bytes() == DATA
    assert acquired.torrent == replace(create.describe(tmp_path / "image.iso"), web_seeds=(url,))
    await acquisition().discard(job)
    assert [path.name for path in tmp_path.iterdir()] == ["image.iso"]
