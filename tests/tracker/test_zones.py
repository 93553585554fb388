"""Which zone an address is in."""

from ipaddress import ip_address, ip_network

import pytest

from p2pd.tracker.zones import Zones

ZONES = Zones(
    [
        (ip_network("10.0.0.0/8"), "site"),
        (ip_network("10.1.0.0/16"), "rack"),
        (ip_network("10.1.2.3/32"), "one"),
        (ip_network("192.168.0.0/24"), "rack"),
        (ip_network("2001:db8::/32"), "six"),
        (ip_network("2001:db8:5::/48"), "rack"),
    ]
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.200.0.1", "site"),
        ("10.1.9.1", "rack"),
        ("10.1.2.3", "one"),
        ("192.168.0.7", "rack"),
        ("192.168.1.7", ""),
        ("11.0.0.0", ""),
        ("2001:db8:1::1", "six"),
        ("2001:db8:5::1", "rack"),
        ("2001:db9::1", ""),
    ],
)
def test_an_address_is_in_the_smallest_network_that_holds_it(address, expected):
    packed = ip_address(address).packed
    assert ZONES.zone(packed) == expected
    assert ZONES.zone(packed + b"\x1a\xe1") == expected


def test_a_network_of_all_holds_all():
    everywhere = Zones([(ip_network("0.0.0.0/0"), "v4"), (ip_network("::/0"), "v6")])
    assert everywhere.zone(bytes(4)) == "v4"
    assert everywhere.zone(b"\xff" * 16) == "v6"
    assert Zones([]).zone(bytes(6)) == ""
