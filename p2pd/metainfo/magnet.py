"""Magnet links (BEP 9, BEP 53): what they say of a torrent."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import quote, unquote_plus

from p2pd.errors import Invalid
from p2pd.metainfo.files import MAX_FILES
from p2pd.metainfo.ids import InfoHash, parse_address

MAX_MAGNET = 64 * 1024
"""Characters in a magnet link."""

_SCHEME = "magnet:?"
_MAX_PARAMETERS = 2000
_MAX_URL = 2048
_V1 = "urn:btih:"
_V2 = "urn:btmh:"
_SHA256 = "1220"
"""How a multihash of SHA-256 begins: its code, and 32 for its length."""

_NAME = re.compile(r"(xt|dn|tr|ws|xs|x\.pe|so)(?:\.\d{1,4})?", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)
_BASE32 = re.compile(r"[a-z2-7]{32}", re.IGNORECASE)
_MULTIHASH = re.compile(_SHA256 + r"[0-9a-f]{64}", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_URL = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Magnet:
    """A magnet link; `selected` are indexes of files (BEP 53), None for all of them.

    `exact_sources` are URLs of the metainfo, `peers` are HOST:PORT texts.
    """

    infohash: InfoHash
    name: str = ""
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    exact_sources: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    selected: tuple[int, ...] | None = None


def parse_magnet(text: str) -> Magnet:
    """Read a magnet link; raise Invalid without an infohash, or if its file list is malformed.

    A torrent of BEP 52 alone goes by the first 20 bytes of its infohash.  URLs and addresses of no
    use are left out.
    """
    if text[: len(_SCHEME)].lower() != _SCHEME:
        raise Invalid("a magnet link begins with magnet:?")
    if len(text) > MAX_MAGNET or text.count("&") > _MAX_PARAMETERS:
        raise Invalid(f"the magnet link has more than {MAX_MAGNET} characters, or too many parts")
    given: dict[str, list[str]] = {}
    for part in text[len(_SCHEME) :].split("&"):
        name, _, value = part.partition("=")
        if known := _NAME.fullmatch(name):
            given.setdefault(known[1].lower(), []).append(unquote_plus(value).strip())
    return Magnet(
        infohash=_infohash(given.get("xt", ())),
        name=_readable(next(iter(given.get("dn", ())), "")),
        trackers=_urls(given.get("tr", ())),
        web_seeds=_urls(given.get("ws", ())),
        exact_sources=_urls(given.get("xs", ())),
        peers=tuple(dict.fromkeys(_addresses(given.get("x.pe", ())))),
        selected=_indexes(given["so"][0]) if "so" in given else None,
    )


def magnet_of(magnet: Magnet) -> str:
    """Write a magnet link, which `parse_magnet` reads as the same."""
    parts = [f"xt={_V1}{magnet.infohash.hex()}"]
    if magnet.name:
        parts.append(f"dn={quote(magnet.name, safe='')}")
    listed = (
        ("tr", magnet.trackers),
        ("ws", magnet.web_seeds),
        ("xs", magnet.exact_sources),
        ("x.pe", magnet.peers),
    )
    parts += [f"{name}={quote(value, safe=':')}" for name, values in listed for value in values]
    if magnet.selected:
        parts.append(f"so={_ranges(magnet.selected)}")
    return _SCHEME + "&".join(parts)


def _infohash(topics: Iterable[str]) -> InfoHash:
    found: dict[str, str] = {}
    for topic in topics:
        for urn in (_V1, _V2):
            if topic[: len(urn)].lower() == urn:
                found.setdefault(urn, topic[len(urn) :])
    if _V1 in found:
        return _v1(found[_V1])
    if _V2 not in found:
        raise Invalid("the magnet link names no torrent: it needs xt=urn:btih: and an infohash")
    if not _MULTIHASH.fullmatch(found[_V2]):
        raise Invalid(f"a BitTorrent v2 infohash in a magnet link is {_SHA256} and 64 hex digits")
    return InfoHash(bytes.fromhex(found[_V2].lower().removeprefix(_SHA256))[:20])


def _v1(text: str) -> InfoHash:
    if _HEX.fullmatch(text):
        return InfoHash(bytes.fromhex(text))
    if _BASE32.fullmatch(text):
        try:
            return InfoHash(base64.b32decode(text.upper()))
        except binascii.Error:
            pass
    raise Invalid("the infohash in a magnet link has 40 hex digits, or 32 characters of base32")


def _readable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def _urls(values: Iterable[str]) -> tuple[str, ...]:
    usable = (url for url in values if len(url) <= _MAX_URL and _URL.fullmatch(url))
    return tuple(dict.fromkeys(usable))


def _addresses(values: Iterable[str]) -> Iterable[str]:
    for value in values:
        try:
            yield parse_address(value)
        except Invalid:
            continue


def _indexes(text: str) -> tuple[int, ...]:
    chosen: set[int] = set()
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < MAX_FILES:
            raise Invalid(f"so={text[:80]} in a magnet link is not a list of files like 0,2,4-6")
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def _ranges(indexes: tuple[int, ...]) -> str:
    """Write sorted indexes as BEP 53 does: what follows each other as one range."""
    parts = []
    for _, group in groupby(enumerate(indexes), key=lambda pair: pair[1] - pair[0]):
        run = [index for _, index in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ",".join(parts)
