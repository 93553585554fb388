"""An in-memory twin of the web: files by URL, read without a network."""

from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from p2pd.errors import Denied, NotFound, Unavailable
from p2pd.metainfo.paths import safe_name

_CHUNK = 100_000


@dataclass
class Page:
    """A file at a URL; `breaks` says after how many bytes the next readings break off."""

    data: bytes
    validator: str = '"1"'
    content_type: str = "application/octet-stream"
    length_told: bool = True
    ranges: bool = True
    credentials: str = ""
    breaks: list[int] = field(default_factory=list)


@dataclass
class MemoryWeb:
    """Web servers in this process; implements `p2pd.node.web.Web`.

    Each read takes `latency` seconds; strictly, no URL of the host `private.test` is read.
    `asked` are the URLs that were opened, each with its offset.
    """

    clock: IReactorTime
    latency: float = 0.001
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    open_files: int = 0

    async def open(
        self,
        url: str,
        *,
        strict: bool,
        credentials: str = "",
        offset: int = 0,
        validator: str = "",
    ) -> "MemoryOpened":
        """Begin to read a file; see `Web.open`."""
        await deferLater(self.clock, self.latency)
        if strict and "//private.test" in url:
            raise Denied(f"{url}: private.test is no public address")
        self.asked.append((url, offset))
        if url not in self.pages:
            raise NotFound(f"there is nothing at {url}: it answers 404")
        page = self.pages[url]
        if page.credentials != credentials:
            raise Denied(f"{url} may not be read: it answers 401")
        if page.breaks and page.breaks[0] < 0:
            page.breaks.pop(0)
            raise Unavailable(f"{url} does not answer")
        same = page.ranges and validator and validator == page.validator
        return MemoryOpened(self, url, page, offset if same else 0)


class MemoryOpened:
    """A file that is being read; implements `p2pd.node.web.Opened`."""

    def __init__(self, web: MemoryWeb, url: str, page: Page, offset: int) -> None:
        self.url = url
        self.name = safe_name(url.partition("?")[0].rpartition("/")[2] or "download")
        self.content_type = page.content_type
        self.length = len(page.data) if page.length_told else None
        self.offset = offset
        self.validator = page.validator
        self._web = web
        self._at = offset
        self._data = page.data
        self._left = page.breaks.pop(0) if page.breaks else None
        self._open = True
        web.open_files += 1

    async def read(self) -> bytes:
        """Give the next bytes; see `Opened.read`."""
        await deferLater(self._web.clock, self._web.latency)
        if not self._open:
            raise Unavailable("its reader closed it")
        count = _CHUNK if self._left is None else min(_CHUNK, self._left)
        if not count:
            raise Unavailable("the server broke off")
        data = self._data[self._at : self._at + count]
        self._at += len(data)
        if self._left is not None:
            self._left -= len(data)
        if not data:
            self.close()
        return data

    def close(self) -> None:
        """Read no more; see `Opened.close`."""
        if self._open:
            self._open = False
            self._web.open_files -= 1
