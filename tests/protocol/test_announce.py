"""Announces and scrapes by HTTP: what is read, what is refused, what is written."""

from typing import NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.metainfo.bencode import decode
from p2pd.protocol import announce as codec
from tests.announces import INFOHASH, PEER_ID, escaped, get, query

KEY, PASSKEY = "0123456789abcdefABCD" * 2, "f" * 40
WHEN = codec.times(1800, 900)


class Told(NamedTuple):
    infohash: bytes
    peer_id: bytes
    port: int
    uploaded: int
    downloaded: int
    left: int
    event: int
    wanted: int
    compact: bool
    named: bool
    ip: bytes


def read(text):
    return Told(*codec.read_announce(text.encode("latin-1")))


def asked(**fields):
    return read(query(**fields))


@pytest.mark.parametrize(
    ("path", "scrape", "credentials"),
    [
        ("/announce", False, ()),
        ("/scrape", True, ()),
        (f"/announce/{KEY}", False, (KEY,)),
        (f"/announce/{KEY}/{PASSKEY}", False, (KEY, PASSKEY)),
        (f"/{KEY}/announce", False, (KEY,)),
        (f"/{KEY}/{PASSKEY}/announce", False, (KEY, PASSKEY)),
        (f"/{KEY}/{PASSKEY}announce", False, (KEY, PASSKEY)),
        (f"/scrape/{KEY}", True, (KEY,)),
        (f"/{KEY}/{PASSKEY}/scrape", True, (KEY, PASSKEY)),
        ("/announce/short", False, ("short",)),
        ("/announce/", False, ()),
        ("/short/announce", False, ("short",)),
        (f"/{KEY[1:]}/scrape", True, (KEY[1:],)),
        (f"/short/{PASSKEY}announce", False, ("short", PASSKEY)),
        (f"/{KEY}/short/announce", False, (KEY, "short")),
        (f"/{KEY}/announce/announce", False, (KEY, "announce")),
    ],
)
def test_a_path_names_what_is_asked_and_the_credentials(path, scrape, credentials):
    assert codec.read_place(path.encode()) == (scrape, credentials)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/announces",
        "/api/announce",
        "/api/x/announce",
        "/%61pi/announce",
        "/origin/scrape",
        "//announce",
        f"//{PASSKEY}announce",
        f"/{KEY}/{PASSKEY[1:]}announce",
        f"/{KEY}",
        f"/{KEY}/scrapes",
        f"/announce/{KEY}/{KEY}/{KEY}",
        f"/{KEY}/announce/{PASSKEY}",
    ],
)
def test_other_paths_are_not_for_the_tracker(path):
    assert codec.read_place(path.encode()) is None


def test_a_head_is_read():
    head = get("/announce?a=b", "X-Forwarded-For: 1.1.1.1 , 2.2.2.2", "x-forwarded-for: ::1")
    place, given_query, hops, close = codec.read_request(head)
    assert (place, given_query) == ((False, ()), b"a=b")
    assert hops == ("1.1.1.1", "2.2.2.2", "::1")
    assert not close


def test_x_real_ip_counts_where_x_forwarded_for_is_not_given():
    real = "X-Real-IP: 9.9.9.9"
    assert codec.read_request(get("/scrape", real))[2] == ("9.9.9.9",)
    assert codec.read_request(get("/scrape", real, "X-Forwarded-For: 1.1.1.1"))[2] == ("1.1.1.1",)


@pytest.mark.parametrize(
    ("headers", "version", "close"),
    [
        ((), "1.1", False),
        (("Connection: keep-alive",), "1.1", False),
        (("connection: TE,  Close",), "1.1", True),
        (("Connection: TE", "Connection: close"), "1.1", True),
        (("Connection: closed",), "1.1", False),
        ((), "1.0", True),
        (("Connection: keep-alive",), "1.0", True),
    ],
)
def test_a_head_tells_whether_the_connection_ends(headers, version, close):
    assert codec.read_request(get("/announce", *headers, version=version))[3] is close


@pytest.mark.parametrize(
    "head",
    [
        get("/announce", "Content-Length: 1"),
        get("/announce", "Content-Length: 0", "Content-Length: 5"),
        get("/announce", "Content-Length: +0"),
        get("/announce", "Transfer-Encoding: chunked"),
        get("/announce", "transfer-encoding : chunked"),
        get("/announce", " folded"),
        get("/announce", "no colon"),
        get("/announce", "X: a\nTransfer-Encoding: chunked"),
        get("/announce", "X: a\rb"),
        get("/announce", "X: a\0b"),
        get("/announce", version="2.0"),
        get("/announce", version="1.1 "),
        get("/announce?\xff"),
        get("/announce?a b"),
        get("/announce?a\nb"),
        get("http://tracker/announce"),
        b"GET /announce HTTP/1.1\n\nGET /other HTTP/1.1\r\n\r\n",
        b"GET /announce\r\n\r\n",
        b"HEAD /announce HTTP/1.1\r\n\r\n",
        b"get /announce HTTP/1.1\r\n\r\n",
        b"\r\nGET /announce HTTP/1.1\r\n\r\n",
    ],
)
def test_a_body_or_a_doubtful_head_is_left_to_the_site(head):
    assert codec.read_request(head) is None


def test_a_declared_body_of_nothing_is_none():
    assert codec.read_request(get("/announce", "Content-Length: 0"))


@pytest.mark.parametrize(
    ("received", "may"),
    [
        (b"G", True),
        (b"GET /", True),
        (b"GET /x", True),
        (b"GET /announce", True),
        (b"GET /announce?info_hash=", True),
        (b"GET /announce HTTP/1.1\r\nHost:", True),
        (b"GET /x ", False),
        (b"GET /announces?", False),
        (b"GET /" + b"x" * 200, False),
        (b"GET http", False),
        (b"POST", False),
        (b"P", False),
        (b"\x16\x03\x01", False),
        (b"GET /announce HTTP/1.1\n", False),
        (b"GET /announce?a\nb", False),
    ],
)
def test_the_first_bytes_decide(received, may):
    assert codec.may_become_request(received) is may


@given(st.integers(0, len(get("/announce?" + query()))))
def test_no_beginning_of_an_announce_is_taken_for_something_else(length):
    assert codec.may_become_request(get("/announce?" + query())[:length])


def test_an_announce_is_read():
    told = asked(uploaded=1, downloaded=2, left=3, event="completed", numwant=7, ip="1.2.3.4")
    assert told == (INFOHASH, PEER_ID, 51413, 1, 2, 3, 1, 7, True, True, b"1.2.3.4")


def test_what_need_not_be_given_has_a_default():
    told = asked(uploaded=None, downloaded=None, left=None)
    assert (told.uploaded, told.downloaded, told.left, told.event, told.wanted) == (0, 0, 0, 0, 50)


@pytest.mark.parametrize(
    ("event", "number"),
    [("", 0), ("completed", 1), ("started", 2), ("stopped", 3), ("paused", 4), ("sneezed", 0)],
)
def test_events(event, number):
    assert asked(event=event).event == number


@pytest.mark.parametrize(
    ("given_wanted", "wanted"),
    [("", 50), (0, 0), (1, 1), (200, 200), (201, 200), ("9" * 5000, 200), (-1, 50), ("many", 50)],
)
def test_numwant_is_capped(given_wanted, wanted):
    assert asked(numwant=given_wanted).wanted == wanted


def test_only_an_explicit_nought_asks_for_a_list():
    assert [asked(compact=value).compact for value in (None, 1, "", 0)] == [
        True,
        True,
        True,
        False,
    ]


def test_bytes_are_not_words():
    raw = b"+;%&= \0\xff+;%&= \0\xff+;%\\"
    for text in (escaped(raw), "+;%25%26%3d%20%00%ff+;%25%26%3d%20%00%ff%2b%3b%25%5c"):
        assert asked(infohash=b"", info_hash=text).infohash == raw
    assert asked(peer_id="%2dqB4520-abcdefghij%6bl").peer_id == PEER_ID
    assert codec.unquote(b"\\x41%41\\") == b"\\x41A\\"


@given(st.binary(max_size=60), st.data())
def test_whatever_bytes_are_escaped_come_back(raw, data):
    plain = b"ABCz019-._~+;!$'()*,/:@\\"
    text = b"".join(
        bytes([byte]) if byte in plain and data.draw(st.booleans()) else b"%%%02X" % byte
        for byte in raw
    )
    assert codec.unquote(text) == raw


@pytest.mark.parametrize(
    "text", [b"%", b"a%2", b"%zz", b"%\\x", b"\\%g0", b"\\%", b"%4\\", b"%+1", b"% 1%41"]
)
def test_broken_escapes_are_refused(text):
    with pytest.raises(Invalid, match="percent"):
        codec.unquote(text)


def test_of_a_field_given_twice_the_last_counts():
    assert read(query(port=1) + "&port=2").port == 2


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"info_hash": None}, "missing info_hash"),
        ({"info_hash": ""}, "missing info_hash"),
        ({"info_hash": "a" * 19}, "invalid info_hash size"),
        ({"info_hash": "a" * 40}, "invalid info_hash size"),
        ({"info_hash": "%zz" * 20}, "invalid percent-encoding"),
        ({"peer_id": None}, "no peer_id given"),
        ({"peer_id": "a" * 21}, "invalid peer_id size"),
        ({"port": None}, "missing or invalid port"),
        ({"port": 0, "event": "stopped"}, "missing or invalid port"),
        ({"port": 65536}, "missing or invalid port"),
        ({"port": "+80"}, "missing or invalid port"),
        ({"port": "8_0"}, "missing or invalid port"),
        ({"port": "80x"}, "missing or invalid port"),
        ({"left": "-1"}, "invalid left"),
        ({"uploaded": "1.5"}, "invalid uploaded"),
        ({"downloaded": "1" * 81}, "invalid downloaded"),
        ({"port": "1" * 5000}, "missing or invalid port"),
    ],
)
def test_a_wrong_announce_is_refused(fields, reason):
    with pytest.raises(Invalid) as refused:
        asked(**fields)
    assert refused.value.reason == reason


def test_byte_counts_have_63_bits_at_most():
    told = asked(left=2**63 - 1, uploaded=2**63, downloaded="9" * 20)
    assert (told.left, told.uploaded, told.downloaded) == (2**63 - 1,) * 3


def test_a_scrape_names_many_torrents():
    other = bytes(20)
    text = f"info_hash={escaped(INFOHASH)}&x&info_hash={escaped(other)}&info_hash=" + escaped(
        other
    )
    assert codec.read_scrape(text.encode()) == [other, INFOHASH]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "missing info_hash"),
        (b"infohash=a", "missing info_hash"),
        (b"info_hash=a", "invalid info_hash size"),
        (b"&".join(b"info_hash=" + b"%020d" % n for n in range(75)), "too many info_hash"),
    ],
)
def test_a_wrong_scrape_is_refused(text, reason):
    with pytest.raises(Invalid, match=reason):
        codec.read_scrape(text)


@given(st.binary(max_size=200) | st.from_regex(rb"([a-z_]{0,9}[=&%;]{1,2}){0,20}", fullmatch=True))
def test_no_query_does_worse_than_be_refused(text):
    for reading in (codec.read_announce, codec.read_scrape):
        try:
            reading(text)
        except Invalid as refusal:
            assert refusal.reason  # noqa: PT017 - what is raised is half of the claim


def test_hostile_queries_are_read_in_linear_time():
    for text in (b"a" * 8000, b"&" * 8000, b"left=" * 1600, b"%" * 8000, b"left=1&" * 1100):
        with pytest.raises(Invalid):
            codec.read_announce(b"info_hash=" + text)


def test_a_compact_reply():
    body = codec.announce_reply((3, 4, 5), WHEN, b"\1\2\3\4", b"abcdef" * 2)
    assert decode(body) == {
        b"complete": 3,
        b"downloaded": 5,
        b"external ip": b"\1\2\3\4",
        b"incomplete": 4,
        b"interval": 1800,
        b"min interval": 900,
        b"peers": b"abcdef" * 2,
    }


def test_a_compact_reply_by_ipv6():
    reply = decode(codec.announce_reply((3, 4, 5), WHEN, bytes(15) + b"\1", b"x" * 18))
    assert (reply[b"peers"], reply[b"peers6"]) == (b"", b"x" * 18)
    assert reply[b"external ip"] == bytes(15) + b"\1"


def test_a_reply_with_dicts():
    peers = [(b"\1\2\3\4\0\x50", PEER_ID), (bytes(15) + b"\1\0\x51", None)]
    reply = decode(codec.listed_reply((3, 4, 5), WHEN, b"\1\2\3\4", peers))
    assert reply[b"peers"] == [
        {b"ip": b"1.2.3.4", b"peer id": PEER_ID, b"port": 80},
        {b"ip": b"::1", b"port": 81},
    ]


@pytest.mark.parametrize("size", [4, 16])
def test_compact_peers_are_split(size):
    peers = [bytes([number]) * (size + 2) for number in range(3)]
    assert codec.split_peers(b"".join(peers), size) == peers
    assert codec.split_peers(b"", size) == []


def test_a_reply_to_a_scrape():
    files = [(bytes(20), (0, 0, 0)), (INFOHASH, (1, 2, 3))]
    counts = {b"complete": 1, b"downloaded": 2, b"incomplete": 3}
    assert decode(codec.scrape_reply(files, 900)) == {
        b"files": {bytes(20): dict.fromkeys(counts, 0), INFOHASH: counts},
        b"flags": {b"min_request_interval": 900},
    }


@pytest.mark.parametrize("retry_in", [None, 5, codec.NEVER])
def test_a_failure_may_tell_when_to_come_again(retry_in):
    reply = decode(codec.failure("no", retry_in))
    expected = retry_in.encode() if isinstance(retry_in, str) else retry_in
    assert (reply[b"failure reason"], reply.get(b"retry in")) == (b"no", expected)


USUAL = (
    b"info_hash=%b&peer_id=%b&port=%b&uploaded=%b&downloaded=%b&left=%b"
    b"&corrupt=0&key=1A2B%b&compact=1&no_peer_id=1&supportcrypto=1&redundant=0"
)
DIGITS = st.integers(0, 10**20).map(lambda number: b"%d" % number)
BYTES = st.binary(min_size=20, max_size=20) | st.binary(max_size=22)
EXTRAS = ["", "&event=started", "&event=stopped", "&event=odd", "&numwant=7", "&numwant=007"]
MORE_EXTRAS = ["&numwant=-1", "&numwant=999", "&port=7", "&left=", "&no_peer_id=0", "&compact=0"]


def told_by(read, query):
    try:
        *told, compact, named, ip = read(query)
    except Invalid as refusal:
        return refusal.reason
    return (*told, compact, named and not compact, ip)


@given(
    st.tuples(BYTES, BYTES).map(
        lambda pair: tuple(quote(each, safe="").encode() for each in pair)
    ),
    st.tuples(DIGITS | st.integers(0, 70_000).map(lambda port: b"%d" % port), *[DIGITS] * 3),
    st.lists(st.sampled_from(EXTRAS + MORE_EXTRAS), max_size=3).map("".join),
)
def test_the_usual_order_is_read_as_any_other(names, numbers, extras):
    asked = USUAL % (*names, *numbers, extras.encode())
    assert told_by(codec.read_announce, asked) == told_by(codec._read_any, asked)
