"""Names of clients from their peer ids."""

import pytest

from p2pd.protocol.clients import client_name


@pytest.mark.parametrize(
    ("peer_id", "name"),
    [
        (b"-qB4530-NoxCXf*!&^&B", "qBittorrent"),
        (b"-TR2940-0olHXM*^&%@!", "Transmission"),
        (b"-LT20B0-xxxxxxxxxxxx", "libtorrent"),
        (b"-lt0D80-xxxxxxxxxxxx", "rTorrent"),
        (b"-7T1000-xxxxxxxxxxxx", "aTorrent"),
        (b"A2-1-36-0-xxxxxxxxxx", "aria2"),
        (b"S58B-----xxxxxxxxxxx", "Shadow"),
        (b"T03I-----xxxxxxxxxxx", "BitTornado"),
        (b"M4-3-6--xxxxxxxxxxxx", "Mainline"),
        (b"M10-12-1-xxxxxxxxxxx", "Mainline"),
        (b"-ZZ1000-xxxxxxxxxxxx", None),
        (b"-qB4530xNoxCXf*!&^&B", None),
        (b"Z58B-----xxxxxxxxxxx", None),
        (bytes(20), None),
        (b"\xff" * 20, None),
        (b"", None),
    ],
)
def test_the_client_of_a_peer_id(peer_id, name):
    assert client_name(peer_id) == name
