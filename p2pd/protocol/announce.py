"""The announce and the scrape of BitTorrent clients by HTTP: requests in, replies out.

BEP 3 (the protocol), 7 (IPv6), 21 (paused), 23 (compact lists), 24 (external ip), 31 (retry in),
48 (scrape). Requests come from anyone: all that is read here is checked, and raises Invalid with
the text that the client is to show.
"""

import re
from binascii import a2b_qp
from collections.abc import Iterable, Sequence
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple, TypeAlias

from p2pd.errors import Invalid

LONGEST_HEAD = 8192
NO_KEYS = frozenset({"announce", "api", "metrics", "origin", "scrape", "stats"})
"""What a path of the tracker's site begins with if it does not begin with a key."""
MOST_HASHES = 74
"""In one scrape, as by UDP."""
DEFAULT_WANTED = 50
MOST_WANTED = 200
NEVER = "never"
"""A client need not try again with the same URL (BEP 31)."""

_MOST = (1 << 63) - 1  # larger byte counts are taken for this one
_EVENTS = {b"completed": 1, b"started": 2, b"stopped": 3, b"paused": 4}
_NONE = 0
_WANTED = {None: DEFAULT_WANTED, b"": DEFAULT_WANTED} | {
    b"%d" % each: each for each in range(MOST_WANTED + 1)
}
_PORT = "missing or invalid port"

_LINE = re.compile(rb"GET (/[!->@-~]*+)(?:\?([!-~]*+))? HTTP/1\.([01])\r\n")
_BEGINNING = re.compile(rb"GET (/[^? \r\n]{0,128})")
_BARE_FEED = re.compile(rb"(?<!\r)\n")
_HEADERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+\r\n")
# In one form the slash after the passkey is missing; only one that is well-formed ends then. An
# escaped first segment is not taken for a key: the site may read it as one of its own.
_PATH = re.compile(
    r"/(announce|scrape)(?:/([^/]*)(?:/([^/]*))?)?"
    r"|/([^/%]+)/(?:([^/]+)(?:/|(?<=/[0-9A-Fa-f]{40})))?(announce|scrape)"
)
# Of a name that is given twice the last counts.
_QUERY = re.compile(
    rb"(?:(?:info_hash=([^&]*+)|peer_id=([^&]*+)|port=([^&]*+)|uploaded=([^&]*+)"
    rb"|downloaded=([^&]*+)|left=([^&]*+)|event=([^&]*+)|numwant=([^&]*+)|compact=([^&]*+)"
    rb"|no_peer_id=([^&]*+)|ip=([^&]*+)|[^&]*+)&?)*"
)
# What most clients send, in their order; it is read in half the time.
_USUAL = re.compile(
    rb"info_hash=([^&]++)&peer_id=([^&]++)&port=([0-9]{1,5}+)&uploaded=([0-9]{1,18}+)"
    rb"&downloaded=([0-9]{1,18}+)&left=([0-9]{1,18}+)"
    rb"(?:&(?:event=(completed|started|stopped)|numwant=([0-9]{1,3}+)|compact=1|no_peer_id=1"
    rb"|(?:corrupt|key|redundant|requirecrypto|supportcrypto)=[^&]*+))*+"
)
_LONGEST_NUMBERS = 80  # digits of four numbers, each with up to 64 bits

_TYPED = b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
_KEEPING = b"HTTP/1.1 200 OK\r\n" + _TYPED
_CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + _TYPED
_REFUSING = b"HTTP/1.1 %b\r\nConnection: close\r\n" + _TYPED

_COUNTED = b"d8:completei%de10:downloadedi%de11:external ip%d:%b10:incompletei%de%b5:peers"
_COMPACT = _COUNTED + b"%d:%be"
_COMPACT_6 = _COUNTED + b"0:6:peers6%d:%be"
_LISTED = _COUNTED + b"l%bee"


class Place(NamedTuple):
    """What a path asks for; `credentials` are the key and the passkey in it, as given."""

    scrape: bool
    credentials: tuple[str, ...]


class Headers(NamedTuple):
    """What the headers of a request say to a tracker; `hops` are addresses, the latest last."""

    close: bool
    hops: tuple[str, ...]


Announce: TypeAlias = tuple[bytes, bytes, int, int, int, int, int, int, bool, bool, bytes]
"""What a client tells: infohash, peer id, port, uploaded, downloaded, left, event, wanted peers,
whether their list is to be compact, or else to have peer ids, and what it calls its address."""


def may_become_request(received: bytes) -> bool:
    """Tell whether an incomplete head can still be that of an announce or a scrape."""
    found = _BEGINNING.match(received)
    if found is None:
        return b"GET /".startswith(received)
    if found.end() < len(received) and read_place(found[1]) is None:
        return False
    return _BARE_FEED.search(received) is None


def read_request(head: bytes) -> tuple[Place, bytes, tuple[str, ...], bool] | None:
    """Read a head, up to and with its blank line: place, query, hops, whether it is the last.

    None if it is for others to answer. That goes for requests with a body, and for heads that
    are not strictly HTTP/1.1 or 1.0: where those end is not for two to judge.
    """
    line = _LINE.match(head)
    if line is None:
        return None
    path, query, minor = line.groups()
    place = read_place(path)
    if place is None:
        return None
    headers = read_headers(head[line.end() :])
    if headers is None:
        return None
    close, hops = headers
    return place, query or b"", hops, close or minor == b"0"


@lru_cache(1024)
def read_place(path: bytes) -> Place | None:
    """Read /announce, /announce/KEY[/PASSKEY], /KEY[/PASSKEY]/announce, or so for a scrape.

    None for any other path. Whether the credentials are well-formed is not looked at.
    """
    found = _PATH.fullmatch(path.decode("latin-1"))
    if found is None or found[4] in NO_KEYS:
        return None
    what_first, *credentials, what = found.groups()
    return Place((what_first or what) == "scrape", tuple(filter(None, credentials)))


@lru_cache(512)  # most clients of a kind send the same ones, again and again
def read_headers(lines: bytes) -> Headers | None:
    """Read header lines with the blank line; None if they are malformed or tell of a body."""
    if _HEADERS.fullmatch(lines) is None:
        return None
    values: dict[bytes, list[bytes]] = {}
    for line in lines[:-4].split(b"\r\n"):
        name, _, value = line.partition(b":")
        values.setdefault(name.lower(), []).append(value.strip(b" \t"))
    lengths = values.get(b"content-length", [])
    if lengths not in ([], [b"0"]) or b"transfer-encoding" in values:
        return None
    options = b",".join(values.get(b"connection", [])).lower().split(b",")
    hops = read_hops(values.get(b"x-forwarded-for", []), values.get(b"x-real-ip", []))
    return Headers(b"close" in [option.strip(b" \t") for option in options], hops)


def read_hops(forwarded: Sequence[bytes], real: Sequence[bytes]) -> tuple[str, ...]:
    """Read the values of X-Forwarded-For, or of X-Real-IP if there are none."""
    hops = b",".join(forwarded or real).decode("latin-1").split(",")
    return tuple(hop.strip(" \t") for hop in hops if hop)


def read_announce(query: bytes) -> Announce:
    """Read the query of an announce.

    Byte counts that are not given are 0. A `numwant` that is no number is as if not given.
    """
    found = _USUAL.fullmatch(query)
    if found is None:
        return _read_any(query)
    escaped, peer_id, port, uploaded, downloaded, left, event, wanted = found.groups()
    infohash = unquote(escaped)
    if b"%" in peer_id:
        peer_id = unquote(peer_id)
    number = int(port)
    if len(infohash) != 20 or len(peer_id) != 20 or not 0 < number < 65536:
        return _read_any(query)  # which tells what is wrong
    return (
        infohash,
        peer_id,
        number,
        int(uploaded),
        int(downloaded),
        int(left),
        _EVENTS.get(event, _NONE),
        _WANTED[wanted] if wanted in _WANTED else _read_wanted(wanted),
        True,
        False,
        b"",
    )


def _read_any(query: bytes) -> Announce:
    found = _QUERY.match(query)
    assert found is not None, "it matches anything, if only its beginning"
    infohash, peer_id, port, up, down, left, event, wanted, compact, unnamed, ip = found.groups(
        b""
    )
    if not infohash:
        raise Invalid("missing info_hash")
    infohash = unquote(infohash)
    if len(infohash) != 20:
        raise Invalid("invalid info_hash size")
    if not peer_id:
        raise Invalid("no peer_id given")
    if b"%" in peer_id:
        peer_id = unquote(peer_id)
    if len(peer_id) != 20:
        raise Invalid("invalid peer_id size")
    numbers = port + up + down + left
    if not numbers.isdigit() or len(numbers) > _LONGEST_NUMBERS:
        _refuse_numbers(uploaded=up, downloaded=down, left=left)
        raise Invalid(_PORT)
    number = int(port or 0)
    if not 0 < number < 65536:
        raise Invalid(_PORT)
    uploaded, downloaded, lacking = int(up or 0), int(down or 0), int(left or 0)
    if uploaded | downloaded | lacking > _MOST:
        uploaded, downloaded, lacking = (
            min(count, _MOST) for count in (uploaded, downloaded, lacking)
        )
    return (
        infohash,
        peer_id,
        number,
        uploaded,
        downloaded,
        lacking,
        _EVENTS.get(event, _NONE),
        _WANTED[wanted] if wanted in _WANTED else _read_wanted(wanted),
        compact != b"0",
        unnamed != b"1",
        ip,
    )


def _read_wanted(wanted: bytes) -> int:
    return min(int(wanted[:20]), MOST_WANTED) if wanted.isdigit() else DEFAULT_WANTED


def _refuse_numbers(**numbers: bytes) -> None:
    for name, value in numbers.items():
        if value and not (value.isdigit() and len(value) <= 20):
            raise Invalid(f"invalid {name}")


def read_scrape(query: bytes) -> list[bytes]:
    """Read the query of a scrape; return the infohashes, each once, in the order of a reply."""
    pairs = [pair.partition(b"=") for pair in query.split(b"&")]
    hashes = {unquote(value) for name, _, value in pairs if name == b"info_hash"}
    if not hashes:
        raise Invalid("missing info_hash")
    if len(hashes) > MOST_HASHES:
        raise Invalid(f"too many info_hash: ask for at most {MOST_HASHES} at once")
    if any(len(infohash) != 20 for infohash in hashes):
        raise Invalid("invalid info_hash size")
    return sorted(hashes)


def unquote(value: bytes) -> bytes:
    """Undo percent-encoding. A plus is a plus: what is sent are bytes, not words."""
    # As quoted-printable, which only has another sign for the same, it is decoded fastest.
    decoded = a2b_qp(value.replace(b"=", b"=3D").replace(b"%", b"="))
    if len(decoded) != len(value) - 2 * value.count(b"%"):
        raise Invalid("invalid percent-encoding")
    return decoded


def respond(body: bytes, *, close: bool) -> bytes:
    """Put a body into a whole HTTP response."""
    return (_CLOSING if close else _KEEPING) % (len(body), body)


def refuse(status: bytes, reason: bytes) -> bytes:
    """Return a whole HTTP response in plain text to what is no request; the connection ends."""
    return _REFUSING % (status, len(reason), reason)


def times(interval: int, min_interval: int) -> bytes:
    """Write the part of a reply that tells when to come again, in seconds."""
    return b"8:intervali%de12:min intervali%de" % (interval, min_interval)


def announce_reply(
    counts: tuple[int, int, int], when: bytes, address: bytes, peers: bytes
) -> bytes:
    """Write a compact reply: (complete, incomplete, downloaded), `times`, the client's address.

    The peers' addresses are of the same kind.
    """
    complete, incomplete, downloaded = counts
    size = len(address)
    form = _COMPACT if size == 4 else _COMPACT_6
    return form % (complete, downloaded, size, address, incomplete, when, len(peers), peers)


def listed_reply(
    counts: tuple[int, int, int],
    when: bytes,
    address: bytes,
    peers: Iterable[tuple[bytes, bytes | None]],
) -> bytes:
    """Write a reply with peers as dicts: packed addresses, each with its peer id if known."""
    complete, incomplete, downloaded = counts
    entries = b"".join(
        b"d2:ip%d:%b%b4:porti%dee"
        % (len(host), host, b"7:peer id20:" + name if name else b"", port)
        for host, port, name in ((*_read_address(packed), name) for packed, name in peers)
    )
    return _LISTED % (complete, downloaded, len(address), address, incomplete, when, entries)


def split_peers(peers: bytes, address_size: int) -> list[bytes]:
    """Return the packed addresses, each with its port, of a compact list."""
    size = address_size + 2
    return [peers[at : at + size] for at in range(0, len(peers), size)]


def _read_address(packed: bytes) -> tuple[bytes, int]:
    family = AF_INET if len(packed) == 6 else AF_INET6
    return inet_ntop(family, packed[:-2]).encode(), int.from_bytes(packed[-2:], "big")


def scrape_reply(files: Iterable[tuple[bytes, tuple[int, int, int]]], min_interval: int) -> bytes:
    """Write the reply to a scrape: infohash, (complete, downloaded, incomplete), sorted."""
    entries = b"".join(
        b"20:%bd8:completei%de10:downloadedi%de10:incompletei%dee" % (infohash, *counts)
        for infohash, counts in files
    )
    return b"d5:filesd%be5:flagsd20:min_request_intervali%deee" % (entries, min_interval)


def failure(reason: str, retry_in: int | str | None = None) -> bytes:
    """Write a refusal; `retry_in` are minutes, or NEVER."""
    text = reason.encode()
    body = b"d14:failure reason%d:%b" % (len(text), text)
    if isinstance(retry_in, int):
        body += b"8:retry ini%de" % retry_in
    elif retry_in is not None:
        body += b"8:retry in%d:%b" % (len(retry_in), retry_in.encode())
    return body + b"e"
