"""What a download can be asked for by."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.node.sources import SourceKind, parse_source, public

HEX = bytes(range(20)).hex()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"magnet:?xt=urn:btih:{HEX}", SourceKind.MAGNET),
        (f"MAGNET:?xt=urn:btih:{HEX}", SourceKind.MAGNET),
        ("http://a.test/a.torrent", SourceKind.URL),
        (" HTTPS://a.test ", SourceKind.URL),
        ("file:///srv/a.torrent", SourceKind.FILE),
        (HEX.upper(), SourceKind.INFOHASH),
        ("images/base.img", SourceKind.NAME),
        ("a b", SourceKind.NAME),
        (HEX + "0", SourceKind.NAME),
    ],
)
def test_each_kind_is_known_by_its_looks(text, kind):
    assert parse_source(text).kind is kind


def test_infohashes_are_read():
    assert parse_source(f"magnet:?xt=urn:btih:{HEX}&dn=a").infohash.hex() == HEX
    assert parse_source(f"magnet:?xt=urn:btih:{HEX}&dn=a").magnet.name == "a"
    assert parse_source(HEX).infohash.hex() == HEX


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "ftp://a.test/a",
        "javascript:alert(1)",
        "http:",
        "http://",
        "http:///a",
        "http://a.test:0/",
        "http://a.test:99999/",
        "http://[::1/",
        "http://a.test/a b",
        "http://a.test/\r\nHost: b",
        "http://a..test/",
        "file:a",
        "file://elsewhere.test/a",
        "file:///a%00b",
        "file:///%ff",
    ],
)
def test_anything_else_is_an_invalid_uri(text):
    with pytest.raises(Invalid, match=r"^invalid uri$"):
        parse_source(text)


def test_a_password_is_kept_apart():
    source = parse_source("http://us%40er:p%3Aw@a.test:81/a?b=c#d")
    assert source.text == "http://a.test:81/a?b=c"
    assert source.credentials == "us@er:p:w"
    assert public("http://us:pw@a.test/") == "http://a.test/"
    assert public("ftp://a.test/") == "ftp://a.test/"


def test_a_url_is_made_ascii():
    assert parse_source("http://ä.test/ö%20?ü").text == "http://xn--4ca.test/%C3%B6%20?%C3%BC"
    assert parse_source("http://[::1]:80/a").text == "http://[::1]:80/a"


@pytest.mark.parametrize("text", ["file:///a%20b", "file:/a%20b", "file://localhost/a%20b"])
def test_a_path_is_unquoted(text):
    assert parse_source(text).path == Path("/a b")


@given(st.text() | st.text().map("http://".__add__) | st.text().map("file:/".__add__))
def test_any_text_is_told_or_refused(text):
    try:
        source = parse_source(text)
    except Invalid:
        return
    if source.kind is SourceKind.URL:
        assert source.text.isascii()
        assert parse_source(source.text).text == source.text
