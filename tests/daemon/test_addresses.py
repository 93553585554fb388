"""Where a daemon listens, and where others find it."""

import pytest
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress

from p2pd.daemon.addresses import Bound, advertised, is_loopback
from p2pd.errors import Unavailable


@pytest.mark.parametrize(
    ("address", "tls", "url"),
    [
        (IPv4Address("TCP", "127.0.0.1", 80), False, "http://127.0.0.1:80"),
        (IPv4Address("TCP", "0.0.0.0", 443), True, "https://0.0.0.0:443"),
        (IPv6Address("TCP", "::1", 80), False, "http://[::1]:80"),
        (UNIXAddress(b"/run/p2pd/http"), False, "unix:/run/p2pd/http"),
    ],
)
def test_urls(address, tls, url):
    assert Bound.at(address, tls=tls).url == url


def test_other_addresses_serve_no_http():
    with pytest.raises(ValueError, match="cannot be served"):
        Bound.at(HostnameAddress(b"somewhere", 1), tls=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_loopback(host):
    assert is_loopback(Bound(host, 1))


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1", "::ffff:0.0.0.0"]
)
def test_not_loopback(host):
    assert not is_loopback(Bound(host, 1))


def test_unix_sockets_are_of_this_machine_only():
    assert is_loopback(Bound("/run/p2pd/http", None))


def test_the_first_listener_that_others_reach_is_advertised():
    listeners = [
        Bound("/run/p2pd", None),
        Bound("127.0.0.1", 1),
        Bound("10.0.0.1", 2),
        Bound("10.0.0.2", 3),
    ]
    assert advertised(listeners) == "10.0.0.1:2"
    assert advertised(listeners[:2]) == "127.0.0.1:1"


def test_an_address_for_every_interface_becomes_the_one_that_leads_there():
    assert advertised([Bound("0.0.0.0", 5)], "127.0.0.1") == "127.0.0.1:5"
    assert advertised([Bound("::", 5)], "127.0.0.1") == "127.0.0.1:5"


def test_no_address():
    with pytest.raises(Unavailable, match="no listener"):
        advertised([Bound("/run/p2pd", None)])
    with pytest.raises(Unavailable, match="--advertise HOST:PORT"):
        advertised([Bound("0.0.0.0", 5)], "no host")
