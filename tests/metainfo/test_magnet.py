"""Magnet links, read and written."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.metainfo.ids import InfoHash
from p2pd.metainfo.magnet import MAX_MAGNET, Magnet, magnet_of, parse_magnet

HASH = bytes(range(20))
HEX = HASH.hex()


def test_everything_that_a_magnet_link_can_say():
    magnet = parse_magnet(
        f"magnet:?xt=urn:btih:{HEX.upper()}&dn=a+name%20of%20%C3%A4&tr=udp%3A%2F%2Ft.test%3A6969"
        "&tr.1=http://u.test/announce&ws=http%3A%2F%2Fw.test%2Ff&xs=http://x.test/a.torrent"
        "&x.pe=10.0.0.1:6881&x.pe=[::1]:1&so=0,2,4-6&xl=123&kt=ignored"
    )
    assert magnet == Magnet(
        infohash=InfoHash(HASH),
        name="a name of ä",
        trackers=("udp://t.test:6969", "http://u.test/announce"),
        web_seeds=("http://w.test/f",),
        exact_sources=("http://x.test/a.torrent",),
        peers=("10.0.0.1:6881", "[::1]:1"),
        selected=(0, 2, 4, 5, 6),
    )


@pytest.mark.parametrize(
    "topic",
    [
        f"urn:btih:{HEX}",
        f"URN:BTIH:{base64.b32encode(HASH).decode()}",
        f"urn:btih:{base64.b32encode(HASH).decode().lower()}",
        f"urn:btmh:1220{HEX}{'ab' * 12}",
        f"urn:btmh:1220{'ff' * 32}&xt.2=urn:btih:{HEX}",
        f"urn:sha1:XYZ&xt=urn:btih:{HEX}",
    ],
)
def test_the_infohash_in_all_its_forms(topic):
    assert parse_magnet(f"Magnet:?xt={topic}").infohash == HASH


def test_what_a_form_cut_off_at_an_ampersand_is_still_read():
    whole = f"magnet:?xt=urn:btih:{HEX}&dn=name&tr=http://t.test/a"
    assert parse_magnet(whole.partition("&")[0]).infohash == HASH


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://a.test/",
        "magnet:",
        "magnet:?",
        "magnet:?dn=name",
        "magnet:?xt=urn:btih:",
        f"magnet:?xt=urn:btih:{HEX[1:]}",
        "magnet:?xt=urn:btih:" + "1" * 32,
        f"magnet:?xt=urn:btmh:1114{HEX}",
        f"magnet:?xt=urn:btih:{HEX}&so=",
        f"magnet:?xt=urn:btih:{HEX}&so=1,a",
        f"magnet:?xt=urn:btih:{HEX}&so=5-2",
        f"magnet:?xt=urn:btih:{HEX}&so=0-999999",
        f"magnet:?xt=urn:btih:{HEX}" + "&" * 3000,
        f"magnet:?xt=urn:btih:{HEX}&dn=" + "a" * MAX_MAGNET,
    ],
)
def test_what_cannot_be_followed_is_refused(text):
    with pytest.raises(Invalid, match="magnet link"):
        parse_magnet(text)


def test_what_is_of_no_use_is_left_out():
    magnet = parse_magnet(
        f"magnet:?xt=urn:btih:{HEX}&tr=&tr=http://a b/&tr=http://{'a' * 3000}&tr=http://t.test/"
        "&tr=http://t.test/&x.pe=nowhere&x.pe=a.test:0&dn=a%00%0Ab"
    )
    assert magnet == Magnet(InfoHash(HASH), name="ab", trackers=("http://t.test/",))


URLS = st.lists(
    st.text(string.ascii_letters + string.digits + "%&=+;?/#:", min_size=1).map(
        "http://a/".__add__
    ),
    unique=True,
    max_size=4,
).map(tuple)
NAMES = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=40)
MAGNETS = st.builds(
    Magnet,
    infohash=st.binary(min_size=20, max_size=20).map(InfoHash),
    name=NAMES.map(str.strip),
    trackers=URLS,
    web_seeds=URLS,
    exact_sources=URLS,
    peers=st.sampled_from([(), ("10.0.0.1:1",), ("a.test:80", "[::1]:6881")]),
    selected=st.none()
    | st.sets(st.integers(0, 9999), min_size=1, max_size=20).map(lambda s: tuple(sorted(s))),
)


@given(MAGNETS)
def test_what_is_written_is_read_as_the_same(magnet):
    assert parse_magnet(magnet_of(magnet)) == magnet


@given(st.text() | st.text().map(f"magnet:?xt=urn:btih:{HEX}&".__add__))
def test_any_text_is_read_or_refused(text):
    try:
        magnet = parse_magnet(text)
    except Invalid:
        return
    assert parse_magnet(magnet_of(magnet)) == magnet
