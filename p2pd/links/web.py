"""Files of web servers, read at a URL: whole, or from where an earlier reading broke off."""

import base64
import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IResponse

from p2pd.errors import Denied, Invalid, NotFound, Refusal, Unavailable
from p2pd.links.responses import Body, answer, drop
from p2pd.metainfo.paths import MAX_NAME, safe_name

_UNNAMED = "download"
_GONE = frozenset({404, 410})
_NOT_ALLOWED = frozenset({401, 403, 407, 451})

_RANGE = re.compile(r"bytes (\d{1,16})-(\d{1,16})/(\d{1,16})")
_STRONG = re.compile(r'"[^"\r\n]{0,500}"')
_QUOTED = re.compile(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_EXTENDED = re.compile(r"filename\*\s*=\s*(?:utf-8)'[^']*'([^\s;]+)", re.IGNORECASE)


class HttpWeb:
    """Reads URLs; implements `p2pd.node.web.Web`.

    URLs that the user gave are asked for by `agent`, those that others gave by `strict_agent`.
    """

    def __init__(self, agent: IAgent, strict_agent: IAgent, clock: IReactorTime) -> None:
        self._agent = agent
        self._strict_agent = strict_agent
        self._clock = clock

    async def open(
        self,
        url: str,
        *,
        strict: bool,
        credentials: str = "",
        offset: int = 0,
        validator: str = "",
    ) -> "HttpOpened":
        """Begin to read a file; see `Web.open`."""
        headers = Headers()
        if credentials:
            basic = base64.b64encode(credentials.encode())
            headers.addRawHeader(b"Authorization", b"Basic " + basic)
        if offset and validator:
            headers.addRawHeader("Range", f"bytes={offset}-")
            headers.addRawHeader("If-Range", validator)
        agent = self._strict_agent if strict else self._agent
        response = await answer(agent, url, headers, self._clock)
        if refusal := _refusal(response, url, offset):
            drop(response)
            raise refusal
        return HttpOpened(response, url, self._clock)


class HttpOpened:
    """A file that is being read; implements `p2pd.node.web.Opened`."""

    def __init__(self, response: IResponse, url: str, clock: IReactorTime) -> None:
        first, whole = _range(response) or (0, None)
        self.url: str = getattr(response, "final_url", url)
        self.offset = first
        self.length = _length(response) if whole is None else whole
        self.validator = _validator(response)
        self.name = _name(response, self.url)
        self.content_type = _header(response, "Content-Type").partition(";")[0].strip().lower()
        self._body = Body(response, clock)

    async def read(self) -> bytes:
        """Give the next bytes; see `Opened.read`."""
        return await self._body.read()

    def close(self) -> None:
        """Read no more; see `Opened.close`."""
        self._body.close()


def _refusal(response: IResponse, url: str, offset: int) -> Refusal | None:
    """Say why nothing can be read from a response; None if it can."""
    code = response.code
    if code in _GONE:
        return NotFound(f"there is nothing at {url}: it answers {code}")
    if code in _NOT_ALLOWED:
        return Denied(f"{url} may not be read: it answers {code}")
    if code == 206:
        given = _range(response)
        if given is None or given[0] != offset or not offset:
            return Unavailable(f"{url} answers with another part than was asked for")
    elif code != 200:
        return Unavailable(f"{url} answers {code}")
    if _header(response, "Content-Encoding").lower() not in {"", "identity"}:
        return Unavailable(f"{url} answers with an encoding that was not asked for")
    return None


def _header(response: IResponse, name: str) -> str:
    values: Sequence[str] = response.headers.getRawHeaders(name) or ()
    return values[0] if values else ""


def _length(response: IResponse) -> int | None:
    return None if response.length is UNKNOWN_LENGTH else int(response.length)


def _range(response: IResponse) -> tuple[int, int] | None:
    """Give where a part begins and how long the whole is; None if it is not the rest of it."""
    found = _RANGE.fullmatch(_header(response, "Content-Range").strip())
    if response.code != 206 or found is None:
        return None
    first, last, whole = map(int, found.groups())
    return (first, whole) if first <= last == whole - 1 else None


def _validator(response: IResponse) -> str:
    """Give what If-Range can tell the file by: a strong ETag, else its date; empty without."""
    etag = _header(response, "ETag").strip()
    return etag if _STRONG.fullmatch(etag) else _header(response, "Last-Modified").strip()[:100]


def _name(response: IResponse, url: str) -> str:
    """Give what the server calls the file, else how its URL ends, made safe."""
    disposition = _header(response, "Content-Disposition")
    names = []
    if extended := _EXTENDED.search(disposition):
        names.append(unquote(extended[1]))
    if quoted := _QUOTED.search(disposition):
        names.append(re.sub(r"\\(.)", r"\1", quoted[1] or quoted[2] or ""))
    names.append(unquote(urlsplit(url).path.rpartition("/")[2]))
    for name in names:
        try:
            return safe_name(_shortened(re.split(r"[/\\]", name)[-1].strip()))
        except Invalid:
            continue
    return _UNNAMED


def _shortened(name: str) -> str:
    """Cut a name to what file systems take, before its suffix."""
    stem, dot, suffix = name.rpartition(".")
    room = MAX_NAME - len((dot + suffix).encode(errors="replace"))
    if len(name.encode(errors="replace")) <= MAX_NAME or not stem or room < 1:
        return name
    return stem.encode(errors="replace")[:room].decode(errors="ignore") + dot + suffix
