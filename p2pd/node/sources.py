"""What a download can be asked for by: the kinds of source, and which text is which."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from p2pd.errors import Invalid
from p2pd.metainfo.ids import InfoHash, parse_infohash
from p2pd.metainfo.magnet import Magnet, parse_magnet

INVALID = "invalid uri"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_INFOHASH = re.compile(r"[0-9A-Fa-f]{40}")
_HOST = re.compile(r"[a-z0-9._-]+|[a-f0-9:.]*:[a-f0-9:.]*")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
# What stands for itself in a URL, and what is quoted already.
_PLAIN = "!$%&'()*+,/:;=?@[]~"


class SourceKind(StrEnum):
    """What a source is; a NAME is that of a file of the fleet."""

    MAGNET = "magnet"
    URL = "url"
    FILE = "file"
    INFOHASH = "infohash"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Source:
    """A source; `text` is what may be shown and told to others: it holds no password.

    A MAGNET and an INFOHASH have an `infohash`, a MAGNET its `magnet`, a FILE its `path`, a URL
    its `credentials` as USER:PASSWORD, empty if there are none.
    """

    kind: SourceKind
    text: str
    infohash: InfoHash | None = None
    magnet: Magnet | None = None
    path: Path | None = None
    credentials: str = ""


def parse_source(text: str) -> Source:
    """Tell what a text asks for; raise Invalid if it is of no kind that can be had."""
    text = text.strip()
    if not text:
        raise Invalid(INVALID)
    scheme = _SCHEME.match(text)
    if scheme is None:
        if _INFOHASH.fullmatch(text):
            return Source(SourceKind.INFOHASH, text, infohash=parse_infohash(text))
        return Source(SourceKind.NAME, text)
    match scheme[1].lower():
        case "magnet":
            magnet = parse_magnet(text)
            return Source(SourceKind.MAGNET, text, infohash=magnet.infohash, magnet=magnet)
        case "http" | "https":
            return _url(text)
        case "file":
            return _file(text)
    raise Invalid(INVALID)


def public(text: str) -> str:
    """Give a source as it may be shown: without a password, as it is if it is of no kind."""
    try:
        return parse_source(text).text
    except Invalid:
        return text


def _url(text: str) -> Source:
    if _UNPRINTABLE.search(text):
        raise Invalid(INVALID)
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna").decode().lower()
        port = parts.port
        path, query = (quote(part, safe=_PLAIN) for part in (parts.path or "/", parts.query))
    except ValueError:
        raise Invalid(INVALID) from None
    if not _HOST.fullmatch(host) or port == 0:
        raise Invalid(INVALID)
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    user = "" if parts.username is None else f"{parts.username}:{parts.password or ''}"
    shown = urlunsplit((parts.scheme, netloc, path, query, ""))
    return Source(SourceKind.URL, shown, credentials=unquote(user))


def _file(text: str) -> Source:
    try:
        parts = urlsplit(text)
        path = Path(unquote(parts.path, errors="strict"))
    except ValueError:
        raise Invalid(INVALID) from None
    local = parts.netloc.lower() in {"", "localhost"}
    if not local or not path.is_absolute() or "\0" in str(path) or parts.query or parts.fragment:
        raise Invalid(INVALID)
    return Source(SourceKind.FILE, text, path=path)
