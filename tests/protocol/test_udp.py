"""The UDP tracker protocol: its bytes as BEP 15 and BEP 41 give them, and connection ids."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.errors import Invalid
from p2pd.protocol import udp

TRANSACTION = b"\x12\x34\x56\x78"
HOUR = 3600.0


# -- BEP 15


def test_the_magic_number_is_that_of_the_specification():
    assert int.from_bytes(udp.MAGIC, "big") == 0x41727101980


def test_a_connect_is_read_and_answered():
    sent = bytes.fromhex("0000041727101980 00000000 12345678")
    assert udp.read_header(sent) == (udp.MAGIC, udp.CONNECT, TRANSACTION)
    assert udp.connected(TRANSACTION, b"received") == bytes.fromhex("00000000 12345678") + (
        b"received"
    )


def test_the_fields_of_an_announce_stand_at_the_offsets_of_the_specification():
    sent = bytearray(98)
    struct.pack_into(">Q", sent, 0, 0x1122334455667788)  # connection id
    struct.pack_into(">I", sent, 8, 1)  # action
    sent[12:16] = TRANSACTION
    sent[16:36] = b"i" * 20
    sent[36:56] = b"p" * 20
    struct.pack_into(">QQQ", sent, 56, 1000, 2000, 3000)  # downloaded, left, uploaded
    struct.pack_into(">I", sent, 80, 2)  # event
    struct.pack_into(">I", sent, 84, 0x7F000001)  # IP address
    struct.pack_into(">I", sent, 88, 0xCAFEBABE)  # key
    struct.pack_into(">i", sent, 92, -1)  # num_want
    struct.pack_into(">H", sent, 96, 6881)  # port
    assert len(sent) == udp.ANNOUNCE_SIZE
    assert udp.read_announce(sent) == (
        bytes.fromhex("1122334455667788"),
        udp.ANNOUNCE,
        TRANSACTION,
        b"i" * 20,
        b"p" * 20,
        1000,
        2000,
        3000,
        2,
        -1,
        b"\x1a\xe1",
    )


def test_an_announce_is_answered_with_interval_leechers_and_seeders():
    assert udp.announced(udp.ANNOUNCE, TRANSACTION, 1800, 3, 2) == bytes.fromhex(
        "00000001 12345678 00000708 00000003 00000002"
    )


def test_a_scrape_is_answered_with_seeders_completed_and_leechers():
    assert udp.scraped(TRANSACTION, [(1, 2, 3), (4, 5, 6)]) == bytes.fromhex(
        "00000002 12345678 00000001 00000002 00000003 00000004 00000005 00000006"
    )


def test_a_count_that_does_not_fit_is_told_as_the_most_that_does():
    assert udp.scraped(TRANSACTION, [(1, 1 << 40, 3)])[12:16] == b"\xff\xff\xff\xff"


def test_a_failure_is_told_in_words():
    assert udp.failed(TRANSACTION, "no") == bytes.fromhex("00000003 12345678") + b"no"


def test_a_scrape_asks_for_up_to_74_torrents():
    asked = [bytes([number]) * 20 for number in range(75)]
    head = bytes(16)
    assert udp.read_scrape(head + asked[0]) == asked[:1]
    assert udp.read_scrape(head + b"".join(asked[:74])) == asked[:74]
    assert udp.read_scrape(head + asked[0] + b"half of one") == asked[:1]
    with pytest.raises(Invalid, match="at most 74"):
        udp.read_scrape(head + b"".join(asked))


def test_as_many_peers_are_told_as_a_reply_has_room_for():
    assert udp.room_for(6) == 196
    assert udp.room_for(18) == 65


# -- BEP 41


@pytest.mark.parametrize(
    ("options", "path"),
    [
        (b"", b""),
        (b"\x02\x0c/dir?a=b&c=d", b"/dir?a=b&c=d"),
        (b"\x02\x0c/dir?a=b&c=d\x00", b"/dir?a=b&c=d"),
        (b"\x02\x04/dir\x02\x04?a=b\x00", b"/dir?a=b"),
        (b"\x01\x01\x02\x04/dir\x01\x02\x01/\x01", b"/dir/"),
        (b"\x00\x02\x04/dir", b""),
        (b"\x02\x00\x02\x01/", b"/"),
        (b"\x77\x03abc\x02\x01/", b"/"),
        (b"\x02\xff" + b"x" * 255 + b"\x02\xfb" + b"y" * 251, b"x" * 255 + b"y" * 251),
    ],
)
def test_the_path_is_what_the_url_data_say_one_after_the_other(options, path):
    assert udp.read_path(options) == path


@pytest.mark.parametrize("options", [b"\x02", b"\x02\x05/dir", b"\x01\x02", b"\x09\xff"])
def test_options_that_break_off_are_refused(options):
    with pytest.raises(Invalid, match="break off"):
        udp.read_path(options)


def test_options_are_bounded():
    assert udp.read_path(b"\x01" * 512) == b""
    with pytest.raises(Invalid, match="at most 512"):
        udp.read_path(b"\x01" * 513)


@given(st.binary(max_size=600))
def test_any_options_are_read_or_refused(options):
    try:
        path = udp.read_path(options)
    except Invalid:
        return
    assert len(path) <= len(options)


# -- connection ids


class Ids(udp.ConnectionIds):
    def __init__(self, secret=b"secret"):
        self.now = HOUR
        super().__init__(secret, lambda: self.now)


def test_an_id_proves_the_address_that_it_was_given_to():
    ids = Ids()
    given = ids.give(b"\x7f\0\0\1")
    assert len(given) == 8
    assert ids.prove(given, b"\x7f\0\0\1")
    assert not ids.prove(given, b"\x7f\0\0\2")
    assert not ids.prove(given, bytes(15) + b"\1")
    assert not ids.prove(bytes(8), b"\x7f\0\0\1")


def test_an_id_is_good_in_the_epoch_after_its_own_and_no_longer():
    ids = Ids()
    given = ids.give(b"\x7f\0\0\1")
    ids.now += 2 * udp.EPOCH - 0.001
    assert ids.prove(given, b"\x7f\0\0\1")
    ids.now += 0.001
    assert not ids.prove(given, b"\x7f\0\0\1")


def test_an_id_is_worth_nothing_before_its_time():
    ids = Ids()
    given = ids.give(b"\x7f\0\0\1")
    ids.now -= udp.EPOCH
    assert not ids.prove(given, b"\x7f\0\0\1")


def test_an_id_depends_on_the_secret():
    assert Ids().give(b"\x7f\0\0\1") == Ids().give(b"\x7f\0\0\1")
    assert not Ids(b"another").prove(Ids().give(b"\x7f\0\0\1"), b"\x7f\0\0\1")
