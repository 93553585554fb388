"""Who holds what."""

import pytest

from p2pd.errors import Unavailable
from p2pd.metainfo.bitfield import Bitfield
from p2pd.metainfo.ids import InfoHash, NodeId, PieceId, Zone
from p2pd.tracker.swarms import Reports, Swarms

ONE, TWO = InfoHash(b"1" * 20), InfoHash(b"2" * 20)
A, B = NodeId("a"), NodeId("b")
X, Y = PieceId(b"x" * 32), PieceId(b"y" * 32)


def held(size, *indexes):
    made = Bitfield(size)
    for index in indexes:
        made.add(index)
    return made


@pytest.fixture
def swarms():
    return Swarms(max_bytes=10_000)


def test_a_node_moves_from_leech_to_seed_and_back(swarms):
    for bitfield, counts in ((held(2, 0), (0, 1)), (held(2, 0, 1), (1, 0)), (held(2), (0, 1))):
        swarms.hold(ONE, A, bitfield)
        swarms.show(A)
        assert swarms.live.get(ONE, (0, 0)) == counts


def test_seeds_share_one_bitfield(swarms):
    peers = [swarms.hold(ONE, node, Bitfield.full(9)) for node in (A, B)]
    assert peers[0].held is peers[1].held


def test_a_hidden_node_keeps_what_it_holds(swarms):
    swarms.hold(ONE, A, held(2, 0))
    swarms.show(A)
    swarms.hide(A)
    assert swarms.live.get(ONE, (0, 0)) == (0, 0)
    assert swarms.get(ONE).peers[A].held == held(2, 0)
    swarms.show(A)
    assert swarms.live.get(ONE, (0, 0)) == (0, 1)


def test_leaving_takes_a_node_out_of_everything(swarms):
    swarms.hold(ONE, A, held(2, 0))
    swarms.hold(TWO, A, held(2, 0))
    swarms.hold(TWO, B, held(2, 0))
    swarms.show(A)
    swarms.leave(A)
    swarms.leave(A)
    assert swarms.empty(ONE)
    assert list(swarms.get(TWO).peers) == [B]
    assert swarms.live.get(TWO, (0, 0)) == (0, 0)


def test_stopping_one_torrent_leaves_the_others(swarms):
    swarms.hold(ONE, A, held(2, 0))
    swarms.hold(TWO, A, held(2, 0))
    swarms.stop(ONE, A)
    swarms.stop(ONE, A)
    swarms.show(A)
    assert swarms.empty(ONE)
    assert swarms.live.get(TWO, (0, 0)) == (0, 1)


def test_memory_is_bounded_and_comes_back():
    swarms = Swarms(max_bytes=1000)
    swarms.hold(ONE, A, held(8, 0))
    swarms.hold(ONE, B, held(8, 0))
    for _ in range(3):
        with pytest.raises(Unavailable, match="full"):
            swarms.hold(TWO, A, held(8, 0))
        assert swarms.empty(TWO)
    swarms.hold(ONE, A, held(8, 1))
    swarms.stop(ONE, B)
    swarms.hold(TWO, A, held(8, 0))


def test_a_zone_has_the_nodes_that_are_shown(swarms):
    left, right = Zone("left"), Zone("right")
    for node, zone in ((A, left), (B, right)):
        swarms.hold(ONE, node, held(2, 0), zone)
    swarm = swarms.get(ONE)
    assert A not in swarm.zone(left)
    swarms.show(A)
    swarms.show(B)
    assert (list(swarm.zone(left).leeches), list(swarm.zone(right).leeches)) == ([A], [B])
    assert len(swarm.zone(Zone(""))) == 0
    swarms.hold(ONE, A, held(2, 0, 1), right)
    swarms.show(A)
    assert len(swarm.zone(left)) == 0
    assert list(swarm.zone(right).seeds) == [A]
    assert swarms.live.get(ONE, (0, 0)) == (1, 1)
    swarms.hide(A)
    swarms.stop(ONE, B)
    assert len(swarm.zone(right)) == 0
    assert swarms.live.get(ONE, (0, 0)) == (0, 0)


def test_zones_cost_memory_and_give_it_back():
    swarms = Swarms(max_bytes=1500)
    swarms.hold(ONE, A, held(8, 0), Zone("left"))
    with pytest.raises(Unavailable, match="full"):
        swarms.hold(ONE, B, held(8, 0), Zone("left"))
    swarms.hold(ONE, A, held(8, 0))
    swarms.hold(ONE, B, held(8, 0), Zone("left"))
    for node in (A, B):
        swarms.stop(ONE, node)
    swarms.hold(ONE, B, held(8, 0), Zone("left"))


def test_reports_by_piece_and_node():
    reports = Reports(capacity=10)
    reports.add(A, X, 0.5, "file")
    reports.add(B, X, 0.5, "file")
    reports.add(A, Y, 0.6, "file")
    assert list(reports.holders(X)) == [A, B]
    assert dict(reports.pieces()) == {X: (A, B), Y: (A,)}
    reports.leave(A)
    reports.leave(A)
    assert dict(reports.pieces()) == {X: (B,)}
    assert list(reports.holders(Y)) == []


def test_a_file_is_finished_once_per_node():
    reports = Reports(capacity=10)
    progress = [0.5, 1.0, 1.0, 0.5, 1.0]
    assert [reports.add(A, X, done, "file") for done in progress] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert reports.add(B, X, 1, "file")


def test_reports_are_bounded_and_make_room_again():
    reports = Reports(capacity=3)
    reports.add(A, X, 0, "file")
    reports.add(A, Y, 0, "file")
    reports.add(A, X, 1, "file")
    with pytest.raises(Unavailable):
        reports.add(B, X, 0, "file")
    assert list(reports.holders(X)) == [A]
    reports.leave(A)
    reports.add(B, X, 0, "file")
