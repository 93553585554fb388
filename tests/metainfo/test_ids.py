import pytest

from p2pd.errors import Invalid
from p2pd.metainfo.ids import (
    new_node_id,
    parse_address,
    parse_infohash,
    parse_node_id,
    parse_piece_id,
    parse_zone,
)


def test_hex_is_read_in_either_case():
    assert parse_infohash("aB" * 20) == b"\xab" * 20
    assert parse_piece_id("AB" * 32) == b"\xab" * 32
    assert parse_piece_id("ab" * 20) == b"\xab" * 20


@pytest.mark.parametrize("text", ["", "ab" * 19, "ab" * 21, "ab" * 32, "zz" * 20, " " + "a" * 39])
def test_other_text_is_no_infohash(text):
    with pytest.raises(Invalid):
        parse_infohash(text)


@pytest.mark.parametrize("text", ["", "ab" * 19, "ab" * 26, "ab" * 33, "٣" * 40, "ab" * 20 + "\n"])
def test_other_text_is_no_piece_id(text):
    with pytest.raises(Invalid):
        parse_piece_id(text)


def test_new_node_ids_are_valid_and_differ():
    assert parse_node_id(new_node_id()) != new_node_id()


@pytest.mark.parametrize("text", ["", "a" * 129, "a b", "a/b", "é", "a\n"])
def test_other_text_is_no_node_id(text):
    with pytest.raises(Invalid):
        parse_node_id(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("Build-7.Example.org:48000", "build-7.example.org:48000"),
        ("[2001:DB8::0:1]:6969", "[2001:db8::1]:6969"),
        ("node_3:00080", "node_3:80"),
    ],
)
def test_an_address_has_one_spelling(text, address):
    assert parse_address(text) == address
    assert parse_address(parse_address(text)) == parse_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":80",
        "host:0",
        "host:65536",
        "host:-1",
        "host:٨٠",
        "ho st:80",
        "user@host:80",
        "host/path:80",
        "host:80\r\n",
        "2001:db8::1:80",
        "[2001:db8::1]",
        "[fe80::1%eth0]:80",
        "[10.0.0.1]:80",
        "[:::]:80",
        "300.1.1.1:80",
        "1.2.3:80",
        "a" * 254 + ":80",
    ],
)
def test_other_text_is_no_address(text):
    with pytest.raises(Invalid):
        parse_address(text)


def test_a_refusal_shows_the_text_in_short_and_in_ascii():
    with pytest.raises(Invalid) as refused:
        parse_infohash("\x1b[31m" + "é" * 10_000)
    assert len(str(refused.value)) < 500
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", ["", "rack-4", "hall-2/rack-4", "a" * 64, "!~", "R%2F&="])
def test_zones(text):
    assert parse_zone(text) == text


@pytest.mark.parametrize("text", ["a" * 65, "rack 4", "r\u00e4ck", "rack\n", "\x7f"])
def test_other_text_is_no_zone(text):
    with pytest.raises(Invalid, match=r"not a zone: .*; give up to 64"):
        parse_zone(text)
