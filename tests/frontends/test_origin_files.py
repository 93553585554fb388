"""An origin directory by HTTP."""

import os

import pytest
import pytest_twisted
from treq import content
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource

from p2pd.frontends import fleet
from p2pd.frontends.authorisation import Gate
from p2pd.frontends.origin_files import OriginFiles
from p2pd.frontends.root import Root
from p2pd.frontends.site import Site

DATA = bytes(range(256)) * 4096


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (root / "dir" / "ä b.tar.gz").write_bytes(DATA)
    (root / "empty").write_bytes(b"")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to("dir/ä b.tar.gz")
    (root / "out").symlink_to("../secret")
    os.mkfifo(root / "fifo")
    return root


@pytest_twisted.async_yield_fixture
async def client(root):
    raw = {b"origin": OriginFiles(root, fleet.error)}
    site = Site(Root(Gate(), fleet.error, Resource(), raw))
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    url = f"http://127.0.0.1:{port.getHost().port}/origin/"
    agent = Agent(reactor)

    async def ask(path, method="GET", **headers):
        raw_headers = Headers({name: [value] for name, value in headers.items()})
        response = await agent.request(method.encode(), (url + path).encode(), raw_headers)
        response.body = await content(response)
        return response

    yield ask
    await port.stopListening()


@pytest.mark.parametrize("path", ["dir/%C3%A4%20b.tar.gz", "link", "dir%2F%C3%A4%20b.tar.gz"])
async def test_sends_a_file_as_it_is(client, path):
    response = await client(path)
    assert response.code == 200
    assert response.length == len(DATA)
    headers = response.headers
    assert headers.getRawHeaders("content-type") == ["application/octet-stream"]
    assert not headers.hasHeader("content-encoding")
    assert headers.getRawHeaders("accept-ranges") == ["bytes"]
    assert response.body == DATA


async def test_sends_a_range(client):
    response = await client("link", Range="bytes=1000-70000")
    assert response.code == 206
    assert response.headers.getRawHeaders("content-range") == [f"bytes 1000-70000/{len(DATA)}"]
    assert response.body == DATA[1000:70001]


async def test_a_range_beyond_the_end_cannot_be_sent(client):
    assert (await client("link", Range=f"bytes={len(DATA)}-")).code == 416


async def test_many_ranges_are_not_taken_apart(client):
    response = await client("link", Range="bytes=0-0,2-2,4-4")
    assert response.code == 200
    assert response.length == len(DATA)
    assert response.body == DATA


async def test_head_and_empty(client):
    response = await client("link", method="HEAD")
    assert response.code == 200
    assert response.body == b""
    assert (await client("empty")).body == b""


@pytest.mark.parametrize("path", ["dir", "missing", "out", "fifo", "link/x", "locked"])
async def test_nothing_else_is_there(client, root, path, monkeypatch):
    (root / "locked").write_text("secret")
    may = os.access  # asked instead of taking the right away, which root would keep
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "locked" and may(path, mode))
    response = await client(path)
    assert response.code == 404
    assert b"secret" not in response.body


@pytest.mark.parametrize(
    "path", ["", "dir/", "..%2Fsecret", "%2e%2e/secret", "dir/%00", "a%5Cb", "%FF"]
)
async def test_unsafe_paths_are_refused(client, path):
    response = await client(path)
    assert response.code in {400, 404}
    assert response.body != b"secret"
    assert response.headers.getRawHeaders("content-type")[0].startswith("application/json")


async def test_other_methods_are_refused(client):
    response = await client("link", method="POST")
    assert response.code == 405
    assert response.headers.getRawHeaders("allow") == ["GET, HEAD"]
