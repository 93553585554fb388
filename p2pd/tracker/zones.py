"""Where clients are, by their addresses: networks that have names."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from p2pd.metainfo.ids import NO_ZONE, Zone


class Zones:
    """Named networks; an address is in the smallest one that holds it.

    Several networks may have one name: they are one zone.
    """

    def __init__(self, networks: Sequence[tuple[IPv4Network | IPv6Network, str]]) -> None:
        self._networks: dict[int, dict[int, dict[int, Zone]]] = {4: {}, 16: {}}
        """By bytes of an address, bits after the network's own, and those."""
        smallest_first = sorted(networks, key=lambda named: named[0].prefixlen, reverse=True)
        for network, name in smallest_first:
            after = network.max_prefixlen - network.prefixlen
            own = int(network.network_address) >> after
            of_size = self._networks[network.max_prefixlen // 8].setdefault(after, {})
            of_size[own] = Zone(name)

    def zone(self, address: bytes) -> Zone:
        """Return the zone of a packed address, which may be followed by a port; "" for none."""
        size = 4 if len(address) <= 6 else 16
        number = int.from_bytes(address[:size])
        for after, zones in self._networks[size].items():
            zone = zones.get(number >> after)
            if zone is not None:
                return zone
        return NO_ZONE
