"""What may be written as the value of a setting."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from p2pd import values
from p2pd.errors import Invalid


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1500", 1500),
        ("10M", 10_000_000),
        ("10m", 10_000_000),
        ("64KiB", 65536),
        ("1.5Ki", 1536),
        ("2 GB", 2_000_000_000),
        ("1TiB", 1024**4),
        ("7b", 7),
    ],
)
def test_sizes(text, number):
    assert values.size(text) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "M", "10X", "1e6", "0x10", "10M/s", "9" * 16, "1.", "1_0"]
)
def test_no_sizes(text):
    with pytest.raises(Invalid, match="10M or 64KiB"):
        values.size(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100Mbit", 12_500_000),
        ("1gbit/s", 125_000_000),
        ("2.5 Gbit", 312_500_000),
        ("80bit", 10),
        ("300MB", 300_000_000),
        ("300MB/s", 300_000_000),
        ("64KiB", 65536),
        ("1500", 1500),
    ],
)
def test_rates_of_links(text, rate):
    assert values.link_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1Mbit", "1Mibit", "10Mbps", "1M bit s", "Mbit"])
def test_no_rates_of_links(text):
    with pytest.raises(Invalid, match="100Mbit or 300MB"):
        values.link_rate(text)


@pytest.mark.parametrize(("text", "number"), [("10", 10.0), ("0.25", 0.25), ("1e3", 1000.0)])
def test_seconds(text, number):
    assert values.seconds(text) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "10s", "1e9"])
def test_no_seconds(text):
    with pytest.raises(Invalid, match="a number above 0"):
        values.seconds(text)


def test_counts():
    assert values.count("8") == 8
    assert values.count("1000") == 1000


@pytest.mark.parametrize("text", ["", "0", "1001", "-1", "2.5", "eight", "99999"])
def test_no_counts(text):
    with pytest.raises(Invalid, match="from 1 to 1000"):
        values.count(text)


def test_whole_numbers():
    assert values.whole("0") == 0
    assert values.whole("999999") == 999999


@pytest.mark.parametrize("text", ["", "-1", "2.5", "1000000", "\u0663"])
def test_no_whole_numbers(text):
    with pytest.raises(Invalid, match="from 0 to 999999"):
        values.whole(text)


@pytest.mark.parametrize(("text", "number"), [("0", 0.0), ("1.5", 1.5), ("1e9", 1e9)])
def test_numbers(text, number):
    assert values.number(text) == number


@pytest.mark.parametrize("text", ["", "-0.1", "nan", "inf", "2e9", "twice"])
def test_no_numbers(text):
    with pytest.raises(Invalid, match="a number of at least 0"):
        values.number(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", True), ("TRUE", True), ("on", True), ("1", True), ("no", False), ("Off", False)],
)
def test_flags(text, value):
    assert values.flag(text) is value


def test_no_flag():
    with pytest.raises(Invalid, match="neither yes nor no"):
        values.flag("maybe")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://tracker.example:38080", "http://tracker.example:38080"),
        ("https://tracker.example/", "https://tracker.example"),
        ("http://[::1]:80/p2p/", "http://[::1]:80/p2p"),
    ],
)
def test_urls(text, read):
    assert values.url(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tracker:38080",
        "ftp://x",
        "http://",
        "http://x:0",
        "http://x:99999",
        "http://a b",
        "http://[x",
    ],
)
def test_no_urls(text):
    with pytest.raises(Invalid, match="is not a URL"):
        values.url(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://me:secret@x", "user name or password"),
        ("http://x/?token=1", "a query or a fragment"),
        ("http://x/#top", "a query or a fragment"),
    ],
)
def test_urls_with_parts_that_do_not_belong(text, why):
    with pytest.raises(Invalid, match=why) as refusal:
        values.url(text)
    assert "secret" not in refusal.value.reason


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://UI.example", "https://ui.example"),
        ("https://ui.example/", "https://ui.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_origins(text, read):
    assert values.origin(text) == read


@pytest.mark.parametrize(
    "text",
    ["*", "null", "", "ui.example", "https://*", "https://x/page", "https://x:443", "http://x:80"],
)
def test_no_origins(text):
    with pytest.raises(Invalid, match="is not"):
        values.origin(text)


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert values.path("state") == tmp_path / "state"
    assert values.path("~/state") == Path("/home/someone/state")
    assert values.path("/var/lib") == Path("/var/lib")


def test_a_directory_must_exist(tmp_path):
    assert values.existing_directory(str(tmp_path)) == tmp_path
    with pytest.raises(Invalid, match="is not a directory"):
        values.existing_directory(str(tmp_path / "absent"))


@pytest.mark.parametrize("text", ["10.0.0.0/8", "fd00::/8", "10.0.0.1"])
def test_networks(text):
    assert values.network(text) == ip_network(text)


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "rack", "10.0"])
def test_no_networks(text):
    with pytest.raises(Invalid, match="is not a network like"):
        values.network(text)


def test_choices():
    read = values.choice("open", "shut")
    assert read("Open") == "open"
    with pytest.raises(Invalid, match="'ajar' is none of open, shut"):
        read("ajar")
