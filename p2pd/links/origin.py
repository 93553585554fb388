"""Origins: a directory or a web server with files that no node has yet."""

import stat
from collections import OrderedDict
from collections.abc import Hashable
from functools import partial
from pathlib import Path
from urllib.parse import quote

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse

from p2pd.background import Threads
from p2pd.errors import Conflict, Denied, NotFound, Unavailable
from p2pd.links.responses import Body, answer, drop
from p2pd.metainfo import create
from p2pd.metainfo.origin import Described
from p2pd.metainfo.paths import parse_relative
from p2pd.metainfo.torrent import Torrent

_AT_ONCE = 2
_MOST_DESCRIBED = 256


class _Described:
    """The latest descriptions by path, each with what tells whether the file has changed."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], tuple[Hashable, Described]] = OrderedDict()

    def get(self, path: tuple[str, ...]) -> tuple[Hashable, Described] | None:
        return self._kept.get(path)

    def put(self, path: tuple[str, ...], stamp: Hashable, described: Described) -> None:
        self._kept[path] = stamp, described
        self._kept.move_to_end(path)
        if len(self._kept) > _MOST_DESCRIBED:
            self._kept.popitem(last=False)


class DirectoryOrigin:
    """The regular files below `root`; implements `p2pd.metainfo.origin.Origin`.

    `base_url` is where their bytes are served: the tracker's own /origin, or a file: URL. Files
    are read in `threads`, and again only when size, time or inode have changed.
    """

    def __init__(self, root: Path, base_url: str, threads: Threads) -> None:
        self._root = root
        self._base_url = base_url
        self._threads = threads
        self._described = _Described()
        self._slots = DeferredSemaphore(_AT_ONCE)

    async def describe(self, name: str) -> Described:
        """Describe the file at that relative path; see `Origin.describe`."""
        path = parse_relative(name)
        place, stamp = await self._threads(self._find, path)
        known = self._described.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            torrent = await self._slots.run(self._read, place, path[-1])
        except (Conflict, Denied) as refusal:
            raise Unavailable(f"the origin's {name} cannot be read: {refusal}") from refusal
        described = Described(torrent, _url(self._base_url, path))
        self._described.put(path, stamp, described)
        return described

    async def _read(self, place: Path, name: str) -> Torrent:
        return await self._threads(partial(create.describe, place, name=name))

    def _find(self, path: tuple[str, ...]) -> tuple[Path, Hashable]:
        try:
            root = self._root.resolve()
            place = root.joinpath(*path).resolve()
            status = place.stat()
        except (OSError, RuntimeError):  # nothing there, or links in a circle
            raise NotFound(f"the origin has no file {'/'.join(path)}") from None
        if not place.is_relative_to(root) or not stat.S_ISREG(status.st_mode):
            raise NotFound(f"the origin has no file {'/'.join(path)}")
        return place, (status.st_size, status.st_mtime_ns, status.st_ino)


class UrlOrigin:
    """The files of a web server, below `base_url`; implements `p2pd.metainfo.origin.Origin`.

    A file is read whole, in bounded memory, to learn its digests; while the server says that it
    has not changed (RFC 9110, If-None-Match or If-Modified-Since), once is enough. The server
    must tell lengths, and must not redirect: nodes ask it at the same URL. `agent` must decode
    nothing, as treq's does.
    """

    def __init__(self, base_url: str, agent: IAgent, clock: IReactorTime) -> None:
        self._base_url = base_url
        self._agent = agent
        self._clock = clock
        self._described = _Described()
        self._slots = DeferredSemaphore(_AT_ONCE)

    async def describe(self, name: str) -> Described:
        """Describe the file at that relative path; see `Origin.describe`."""
        path = parse_relative(name)
        described: Described = await self._slots.run(self._describe, path)
        return described

    async def _describe(self, path: tuple[str, ...]) -> Described:
        url = _url(self._base_url, path)
        known = self._described.get(path)
        response = await self._ask(url, known and known[0])
        if response.code == 304 and known is not None:
            drop(response)
            return known[1]
        _check(response, url)
        stream = create.describe_stream(path[-1], response.length)
        body = Body(response, self._clock)
        try:
            while data := await body.read():
                stream.feed(data)
            described = Described(stream.finish(), url)
        except Conflict as refusal:
            raise Unavailable(f"{url} broke off or changed: {refusal}") from refusal
        finally:
            body.close()
        validator = _validator(response)
        if validator is not None:
            self._described.put(path, validator, described)
        return described

    async def _ask(self, url: str, validator: Hashable) -> IResponse:
        headers = Headers()
        if isinstance(validator, tuple):
            headers.addRawHeader(*validator)
        return await answer(self._agent, url, headers, self._clock)


def _check(response: IResponse, url: str) -> None:
    """Refuse a response that a file cannot be read from."""
    if response.code == 200 and response.length is not UNKNOWN_LENGTH:
        if not response.headers.hasHeader(b"Content-Encoding"):
            return
        wrong = "with an encoding that was not asked for"
    elif response.code == 200:
        wrong = "without a Content-Length"
    else:
        wrong = f"with status {response.code}"
    drop(response)
    if response.code in {404, 410}:
        raise NotFound(f"the origin has no {url}")
    raise Unavailable(f"the origin answered {url} {wrong}")


def _validator(response: IResponse) -> tuple[bytes, bytes] | None:
    """Return the header that asks whether the file has changed since this response."""
    for told, asked in ((b"ETag", b"If-None-Match"), (b"Last-Modified", b"If-Modified-Since")):
        values = response.headers.getRawHeaders(told)
        if values:
            return asked, values[0]
    return None


def _url(base: str, path: tuple[str, ...]) -> str:
    return "/".join([base.rstrip("/"), *(quote(name, safe="") for name in path)])
