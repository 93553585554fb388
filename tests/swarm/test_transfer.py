import random
from collections import Counter

import pytest

from p2pd.errors import Invalid
from p2pd.metainfo.bitfield import Bitfield
from p2pd.swarm.transfer import Limits, Request, Transfer

LENGTH = 1000
STEADY = Limits(backoff_jitter=0.0)
TWO_AHEAD = Limits(least_ahead=2, backoff_jitter=0.0)


def field(size, indexes):
    made = Bitfield(size)
    for index in indexes:
        made.add(index)
    return made


def transfer(size=8, have=(), wanted=None, limits=STEADY, seed=0, **holdings):
    made = Transfer(
        [LENGTH] * size,
        field(size, have),
        random.Random(seed),
        wanted=None if wanted is None else field(size, wanted),
        limits=limits,
    )
    for peer, indexes in holdings.items():
        made.peer_joined(peer, 0.0, origin=peer.startswith("origin"))
        if not peer.startswith("origin"):
            made.peer_has_bitfield(peer, field(size, indexes), 0.0)
    return made


def ask_all(made, now=0.0):
    asked = []
    while (request := made.next_request(now)) is not None:
        asked.append(request)
    return asked


def facts(made, peer):
    return next(one for one in made.peers() if one.peer == peer)


def test_a_seed_and_good_manners_finish_it():
    made = transfer(a=range(8), b=range(8))
    now = 0.0
    while not made.complete:
        for request in ask_all(made, now):
            now += 0.1
            made.received(request.peer, request.index, 400, now)
            assert made.delivered(request.peer, request.index, now) == []
    assert made.have.complete
    assert made.bytes_left == 0
    assert made.next_request(now) is None
    assert made.next_deadline() is None
    assert sum(one.received_bytes for one in made.peers()) == 8 * LENGTH
    assert made.rate(now) > 0


def test_what_is_here_or_not_wanted_is_not_fetched():
    made = transfer(have=[0, 1], wanted=[1, 2, 3], a=range(8), b=range(8), c=range(8))
    assert made.bytes_left == 2 * LENGTH
    assert {request.index for request in ask_all(made)} == {2, 3}


def test_nothing_wanted_is_complete_at_once():
    assert transfer(have=[1], wanted=[1], a=range(8)).complete
    assert Transfer([], Bitfield(0), random.Random()).complete


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="one length"):
        Transfer([1, 2], Bitfield(3), random.Random())
    with pytest.raises(Invalid, match="9 pieces, not 8"):
        transfer(a=[]).peer_has_bitfield("a", Bitfield(9), 0.0)


@pytest.mark.parametrize("index", [-1, 8])
def test_an_index_there_is_not_raises(index):
    made = transfer(a=range(8))
    for call in (
        lambda: made.peer_has("a", [index], 0.0),
        lambda: made.peer_lost("a", index, 0.0),
        lambda: made.delivered("a", index, 0.0),
        lambda: made.filled(index),
        lambda: made.availability(index),
    ):
        with pytest.raises(IndexError):
            call()
    assert made.bytes_left == 8 * LENGTH


def test_the_rarest_go_first_of_what_each_peer_holds():
    for seed in range(20):
        made = transfer(limits=TWO_AHEAD, seed=seed, a=range(8), b=range(7), c=range(5))
        assert [made.availability(index) for index in (0, 6, 7)] == [3, 2, 1]
        first, second = ({}, {})
        for turn in (first, second):
            for request in (made.next_request(0.0) for _ in range(3)):
                turn[request.peer] = request.index
        assert set(first) == set(second) == {"a", "b", "c"}, "by turns"
        assert first["a"] == 7
        assert first["b"] in (5, 6)
        assert first["c"] < 5
        assert {5, 6} <= {*first.values(), *second.values()}


def test_urged_pieces_go_first():
    made = transfer(limits=TWO_AHEAD, a=range(7), origin=())
    made.urge([2, 99, 1])
    assert [made.next_request(0.0).index for _ in range(3)] == [2, 1, 7]


def test_a_peer_has_no_more_than_its_share_outstanding():
    for limits, share in ((STEADY, 1), (TWO_AHEAD, 2)):
        made = transfer(limits=limits, a=range(8))
        assert len(ask_all(made)) == share
        assert facts(made, "a").in_flight == share
        request = made.outstanding()[0]
        made.delivered("a", request.index, 0.0)
        assert len(ask_all(made)) == 1


def test_of_a_fast_peer_more_is_asked_ahead():
    made = transfer(size=40, a=range(40))
    request = made.next_request(0.0)
    made.delivered("a", request.index, 0.1)  # 10 pieces/s
    assert len(ask_all(made, 0.1)) == 3, "a quarter of a second"
    made.set_limits(Limits(ahead=1.0), 0.1)
    assert len(ask_all(made, 0.1)) == 7, "a second, all in all"


def deliver(made, peer, seconds, now):
    """Let a peer deliver one piece in so many seconds, to have its rate measured."""
    request = made.next_request(now)
    assert request.peer == peer
    made.delivered(peer, request.index, now + seconds)
    return now + seconds


def test_one_request_is_for_several_pieces_while_many_are_left():
    made = transfer(size=21, limits=Limits(batch=1.0, shares=4), a=range(21))
    now = deliver(made, "a", 0.125, 0.0)  # 8 pieces/s
    first = made.next_request(now)
    made.peer_joined("b", now)
    made.peer_has("b", range(10), now)
    more = made.more_requests(first, now)
    assert len(more) == 4, "19 of them in 4"
    assert len({first, *more}) == 5
    assert {one.peer for one in more} == {first.peer}
    assert set(made.outstanding()) == {first, *more}
    for one in more:
        made.withdrawn(one.peer, one.index)
    assert made.outstanding() == [first]
    assert facts(made, first.peer).failures == 0
    assert {one.index for one in more} <= {one.index for one in made_all(made)}


def made_all(made):
    """All that a transfer would fetch, had each peer no more than it can take."""
    made.set_limits(Limits(least_ahead=100), 0.0)
    return ask_all(made)


def test_a_request_is_for_no_more_than_a_batch_and_no_more_than_a_share():
    made = transfer(size=9, limits=Limits(shares=8), a=range(9))
    now = deliver(made, "a", 0.125, 0.0)
    assert made.more_requests(made.next_request(now), now) == []
    for batch, count in ((0.374, 1), (0.375, 2), (0.1, 0)):
        made = transfer(size=102, limits=Limits(batch=batch), a=range(102))
        now = deliver(made, "a", 0.125, 0.0)
        assert len(made.more_requests(made.next_request(now), now)) == count
    made = transfer(size=102, limits=Limits(most_batch=2 * LENGTH), a=range(102))
    now = deliver(made, "a", 0.125, 0.0)
    assert len(made.more_requests(made.next_request(now), now)) == 1
    made = transfer(size=100, origin=())
    now = deliver(made, "origin", 0.125, 0.0)
    assert made.more_requests(made.next_request(now), now) == []


def test_a_peer_whose_rate_is_not_known_is_asked_for_one_piece_alone():
    made = transfer(size=100, a=range(100))
    assert made.more_requests(made.next_request(0.0), 0.0) == []
    made.delivered("a", made.outstanding()[0].index, 0.05)
    assert made.more_requests(made.next_request(0.05), 0.05) == [], "too soon to tell"
    made.delivered("a", made.outstanding()[0].index, 0.125)
    assert len(made.more_requests(made.next_request(0.125), 0.125)) == 3


def test_a_batch_is_for_what_the_peer_holds_rarest_first():
    limits = Limits(batch=0.375, shares=2)
    made = transfer(size=20, limits=limits, a=[3, 4, 5, 6, 7], b=[5, 6], origin=())
    made.urge([7])
    now = deliver(made, "a", 0.125, 0.0)
    made.urge([3])
    first = made.next_request(now)
    assert first.index == 3
    assert first.peer == "a"
    second, third = made.more_requests(first, now)
    assert second.index == 4
    assert third.index in (5, 6)


def test_promised_pieces_are_left_to_others_while_there_are_more():
    made = transfer(size=5, limits=TWO_AHEAD, a=range(5), b=[])
    made.peer_promised("a", [0, 1], 0.0)
    made.peer_promised("b", [2, 3], 0.0)
    made.peer_promised("nobody", [4], 0.0)
    assert made.next_request(0.0).index == 4
    made.peer_left("b", 0.0)
    assert made.next_request(0.0).index in (2, 3), "whoever promised them is gone"
    made.set_limits(Limits(least_ahead=9), 0.0)
    assert made.next_request(0.0).index in (2, 3)
    assert made.next_request(0.0).index in (0, 1), "there is nothing else"


def test_urged_pieces_go_first_even_if_promised():
    made = transfer(size=4, a=range(4))
    made.peer_promised("a", [2], 0.0)
    made.urge([2])
    assert made.next_request(0.0).index == 2


def test_nodes_that_start_together_spread_over_the_origin():
    first = Counter()
    for seed in range(400):
        first[transfer(seed=seed, size=8, origin=()).next_request(0.0).index] += 1
    assert all(25 < first[index] < 80 for index in range(8))


def test_an_origin_is_not_asked_for_what_a_busy_peer_holds():
    made = transfer(limits=TWO_AHEAD, origin=(), a=range(7))
    asked = ask_all(made)
    assert [one.index for one in asked if one.peer == "origin"] == [7]
    assert len([one for one in asked if one.peer == "a"]) == 2


def test_pieces_only_an_origin_has_are_the_rarest():
    for seed in range(20):
        assert transfer(seed=seed, origin=(), a=range(7)).next_request(0.0) == Request(
            "origin", 7, LENGTH, crossing=True
        )


def test_an_origin_is_asked_for_what_was_promised_when_the_promise_runs_out():
    made = transfer(size=2, origin=(), a=range(2), have=[1])
    made.peer_promised("a", [0], 2.0)
    made.peer_left("a", 3.0)
    assert made.next_request(3.0) is None
    assert made.next_deadline() == 12.0, "or nobody would look"
    assert made.expired(12.0) == []
    assert made.next_request(12.0).peer == "origin"
    made.delivered("origin", 0, 12.0)
    assert made.next_deadline() is None


@pytest.mark.parametrize("gone", ["left", "banned", "stalled"])
def test_an_origin_steps_in_for_a_peer_that_is_gone(gone):
    made = transfer(size=4, limits=TWO_AHEAD, origin=(), a=range(4))
    asked = ask_all(made)
    assert len(asked) == 2
    assert {one.peer for one in asked} == {"a"}
    now = 11.0
    if gone == "left":
        assert set(made.peer_left("a", now)) == set(asked)
    elif gone == "banned":
        made.corrupt("a", 0, now)
    else:
        assert set(made.expired(now)) == set(asked)
    assert made.availability(0) == 0
    assert {one.peer for one in ask_all(made, now)} == {"origin"}


def test_an_origin_waits_out_a_short_back_off_but_not_a_long_one():
    made = transfer(size=1, origin=(), a=[0])
    now = 0.0
    for _ in range(4):
        assert made.next_request(now).peer == "a"
        made.failed("a", 0, now)
        assert made.next_request(now) is None
        now = made.next_deadline()
    assert made.next_request(now).peer == "a"
    made.failed("a", 0, now)
    assert made.next_request(now).peer == "origin"
    made.failed("origin", 0, now)
    back = facts(made, "a").backing_off_until
    made.expired(back)
    assert made.availability(0) == 1
    assert made.next_request(back).peer == "a"


def test_an_origin_that_lacks_a_piece_backs_off_longer_each_time():
    made = transfer(size=1, origin=())
    now = 0.0
    waits = []
    for _ in range(3):
        assert made.next_request(now) is not None
        made.lacks("origin", 0, now)
        waits.append(made.next_deadline() - now)
        now = made.next_deadline()
    assert waits == [0.5, 1.0, 2.0]


def test_a_corrupt_piece_bans_for_good():
    made = transfer(limits=TWO_AHEAD, a=range(8), b=range(8))
    asked = ask_all(made)
    bad = next(one for one in asked if one.peer == "a")
    dropped = made.corrupt("a", bad.index, 1.0)
    assert set(dropped) == {one for one in asked if one.peer == "a"} - {bad}
    assert made.banned == {"a"}
    assert facts(made, "a").banned
    made.peer_left("a", 2.0)
    assert made.banned == {"a"}
    made.peer_joined("a", 3.0)
    made.peer_has_bitfield("a", Bitfield.full(8), 3.0)
    for request in [one for one in asked if one.peer == "b"]:
        made.delivered("b", request.index, 3.0)
    assert {one.peer for one in ask_all(made, 3.0)} == {"b"}


def test_blame_reaches_a_peer_that_has_left():
    made = transfer(a=range(8))
    request = made.next_request(0.0)
    made.peer_left("a", 1.0)
    assert made.corrupt("a", request.index, 2.0) == []
    assert made.banned == {"a"}


def test_a_failed_piece_is_asked_of_another_peer():
    made = transfer(size=1, a=[0], b=[0])
    first = made.next_request(0.0)
    made.failed(first.peer, 0, 0.0)
    second = made.next_request(0.0)
    assert {first.peer, second.peer} == {"a", "b"}
    assert facts(made, first.peer).failures == 1
    assert facts(made, first.peer).backing_off_until == 0.5


def test_requests_that_fail_together_are_one_failure():
    made = transfer(limits=TWO_AHEAD, a=range(8))
    asked = ask_all(made)
    assert len(asked) == 2
    for request in asked:
        made.failed("a", request.index, 1.0)
    assert facts(made, "a").failures == 1
    assert facts(made, "a").backing_off_until == 1.5


def test_a_delivery_clears_the_record():
    made = transfer(limits=TWO_AHEAD, a=range(8))
    first, second = made.next_request(0.0), made.next_request(0.0)
    made.failed("a", first.index, 1.0)
    made.delivered("a", second.index, 1.0)
    assert facts(made, "a").failures == 0


def test_a_peer_that_lacks_a_piece_is_not_asked_for_it_again():
    made = transfer(size=1, a=[0])
    made.next_request(0.0)
    made.lacks("a", 0, 0.0)
    assert made.availability(0) == 0
    assert facts(made, "a").failures == 0
    assert made.next_deadline() == 0.25
    assert made.next_request(0.25) is None
    made.peer_has("a", [0], 0.25)
    assert made.next_request(0.25) == Request("a", 0, LENGTH)


def test_a_busy_peer_is_left_alone_for_a_moment_and_its_pieces_asked_of_others_at_once():
    made = transfer(size=1, a=[0], b=[0])
    first = made.next_request(0.0)
    made.busy(first.peer, 0, 0.0)
    assert made.outstanding() == []
    second = made.next_request(0.0)
    assert {first.peer, second.peer} == {"a", "b"}
    made.busy(second.peer, 0, 0.1)
    assert made.next_request(0.1) is None
    assert made.availability(0) == 2, "they have it all the same"
    assert made.next_deadline() == 0.25
    assert made.next_request(0.25) == first, "the first again"
    assert made.next_deadline() == 0.35


def test_a_busy_peer_has_not_failed_however_often_it_is():
    made = transfer(limits=TWO_AHEAD, a=range(8))
    now = 0.0
    for _ in range(20):
        asked = ask_all(made, now)
        assert len(asked) == 2
        for request in asked:
            made.busy("a", request.index, now)
        assert facts(made, "a").failures == 0
        assert not facts(made, "a").banned
        assert facts(made, "a").backing_off_until == now + 0.25
        assert made.next_request(now) is None
        now += 0.25
    assert made.rate(now) == 0


def test_a_busy_peer_that_is_backing_off_does_so_to_the_end():
    made = transfer(limits=TWO_AHEAD, a=range(8))
    first, second = ask_all(made)
    made.failed("a", first.index, 0.0)
    made.busy("a", second.index, 0.0)
    assert facts(made, "a").failures == 1
    assert facts(made, "a").backing_off_until == 0.5


def test_who_was_busy_when_its_request_was_dropped_before_is_not_left_alone():
    made = transfer(size=2, a=[0, 1])
    request = made.next_request(0.0)
    made.filled(request.index)
    made.busy("a", request.index, 0.0)
    assert made.next_request(0.0).index == 1 - request.index


def test_an_origin_is_not_asked_for_what_a_busy_peer_will_have_to_give_soon():
    made = transfer(size=1, a=[0], origin=())
    assert made.next_request(0.0).peer == "a"
    made.busy("a", 0, 0.0)
    assert made.next_request(0.0) is None
    assert made.next_request(0.25).peer == "a"


def test_a_lost_piece_is_not_asked_for_but_one_under_way_may_still_come():
    made = transfer(size=2, limits=TWO_AHEAD, a=[0, 1])
    request = made.next_request(0.0)
    made.peer_lost("a", 0, 0.0)
    made.peer_lost("a", 1, 0.0)
    made.peer_lost("a", 1, 0.0)
    assert made.availability(0) == 0
    assert made.next_request(0.0) is None
    made.delivered("a", request.index, 0.0)
    assert request.index in made.have


def test_a_bitfield_replaces_the_one_before():
    made = transfer(a=[0, 1, 2])
    made.peer_has_bitfield("a", field(8, [2, 3]), 0.0)
    assert [made.availability(index) for index in range(5)] == [0, 0, 1, 1, 0]
    assert facts(made, "a").pieces_held == 2


def test_the_bitfield_given_is_not_kept():
    given = field(8, [0])
    made = transfer(a=[])
    made.peer_has_bitfield("a", given, 0.0)
    made.peer_has("a", [1], 0.0)
    assert given == field(8, [0])


def test_a_silent_peer_is_given_up_and_others_step_in():
    made = transfer(size=2, limits=TWO_AHEAD, a=[0, 1])
    asked = ask_all(made)
    assert len(asked) == 2
    assert made.next_deadline() == 1.0  # a copy could be asked of someone
    assert made.next_request(1.0) is None
    assert made.next_deadline() == 10.0
    assert made.expired(9.0) == []
    assert set(made.expired(10.0)) == set(asked)
    assert facts(made, "a").backing_off_until == 20.0
    made.peer_joined("b", 10.0)
    made.peer_has_bitfield("b", Bitfield.full(2), 10.0)
    assert {one.peer for one in ask_all(made, 10.0)} == {"b"}


def test_a_trickle_is_given_up_by_the_measured_rate():
    made = transfer(limits=Limits(assumed_rate=100.0), a=range(8))
    made.next_request(0.0)
    now = 0.0
    while not made.expired(now):
        now += 1.0
        made.received("a", made.outstanding()[0].index, 1, now)
    assert now == pytest.approx(4.0 * LENGTH / 100)


def test_a_delivery_that_was_given_up_is_welcome_all_the_same():
    made = transfer(size=1, a=[0], b=[0])
    first = made.next_request(0.0)
    made.expired(10.0)
    second = made.next_request(10.0)
    assert made.delivered(first.peer, 0, 10.5) == [second]
    assert made.complete
    assert made.delivered(second.peer, 0, 11.0) == []
    made.failed(second.peer, 0, 11.0)
    assert facts(made, second.peer).failures == 0


def test_a_piece_from_elsewhere_makes_its_requests_moot():
    made = transfer(size=1, a=[0])
    request = made.next_request(0.0)
    assert made.filled(0) == [request]
    assert made.filled(0) == []
    assert made.complete
    assert facts(made, "a").in_flight == 0


def test_an_unwanted_piece_is_kept_but_not_counted():
    made = transfer(size=2, wanted=[0], a=[0])
    made.filled(1)
    assert 1 in made.have
    assert made.bytes_left == LENGTH


def test_late_news_of_an_absent_peer_does_nothing():
    made = transfer(a=range(8))
    made.peer_left("a", 0.0)
    made.peer_has("a", [0], 0.0)
    made.peer_lost("a", 0, 0.0)
    made.peer_has_bitfield("a", Bitfield.full(8), 0.0)
    made.received("a", 0, 10, 0.0)
    made.failed("a", 0, 0.0)
    made.lacks("a", 0, 0.0)
    assert made.peer_left("a", 0.0) == []
    assert made.peers() == []
    assert made.availability(0) == 0


def test_joining_twice_changes_nothing():
    made = transfer(a=range(8))
    made.peer_joined("a", 1.0)
    assert facts(made, "a").pieces_held == 8


def test_a_flaky_peer_does_not_come_back_clean():
    made = transfer(size=1, a=[0])
    made.next_request(0.0)
    made.failed("a", 0, 0.0)
    made.peer_left("a", 0.1)
    made.peer_joined("a", 0.2)
    made.peer_has("a", [0], 0.2)
    assert made.next_request(0.2) is None
    assert made.next_deadline() == 0.5
    assert made.next_request(0.5) is not None


def test_no_copies_before_the_endgame():
    made = transfer(limits=Limits(least_ahead=1, ahead=0), a=range(8), b=range(8))
    assert len(ask_all(made, 0.0)) == 2
    made.received("a", 0, 1, 5.0)
    assert made.next_request(5.0) is None


def test_the_endgame_asks_another_when_one_falls_silent():
    made = transfer(size=1, a=[0], b=[0], c=[0])
    first = made.next_request(0.0)
    assert made.next_request(0.5) is None
    assert made.next_deadline() == 1.0
    copy = made.next_request(1.0)
    assert copy.index == 0
    assert copy.peer != first.peer
    assert made.next_request(9.0) is None  # two in all
    assert made.delivered(copy.peer, 0, 9.0) == [first]


def test_the_endgame_asks_a_much_faster_peer():
    made = transfer(size=3, a=[0, 2])
    now = deliver(made, "a", 10.0, 0.0)
    slow = made.next_request(now)
    made.peer_joined("b", now)
    made.peer_has("b", [1], now)
    now = deliver(made, "b", 0.2, now)
    made.peer_has("b", [slow.index], now)
    assert made.next_request(now) == Request("b", slow.index, LENGTH)


def test_the_endgame_leaves_alone_what_is_about_to_come():
    made = transfer(size=3, a=[0, 2])
    now = deliver(made, "a", 0.8, 0.0)
    request = made.next_request(now)
    made.peer_joined("b", now)
    made.peer_has("b", [1], now)
    now = deliver(made, "b", 0.1, now)
    made.peer_has("b", [request.index], now)
    assert made.next_request(now) is None


def test_the_endgame_leaves_alone_what_is_only_being_verified():
    made = transfer(size=1, a=[0], b=[0])
    first = made.next_request(0.0)
    made.received(first.peer, 0, LENGTH, 0.1)
    assert made.next_request(9.0) is None
    assert made.expired(14.0) == []
    assert made.next_deadline() == 15.0


def test_a_piece_nobody_has_does_not_hold_up_the_endgame():
    made = transfer(size=2, a=[0], b=[0])
    made.next_request(0.0)
    assert made.next_request(1.0).index == 0


def test_the_endgame_does_not_trouble_the_origin_for_what_a_peer_holds():
    made = transfer(size=1, limits=Limits(least_ahead=1, ahead=0), a=[0], origin=())
    assert made.next_request(0.0).peer == "a"
    assert made.next_request(5.0) is None


def test_a_copy_that_fails_leaves_the_first_request_alone():
    made = transfer(size=1, a=[0], b=[0], c=[0])
    first = made.next_request(0.0)
    copy = made.next_request(1.0)
    made.received(first.peer, 0, 10, 1.0)
    made.failed(copy.peer, 0, 1.1)
    assert made.outstanding() == [first]
    assert made.next_request(1.1) is None


def test_a_large_transfer_with_many_peers_is_asked_and_filled():
    size = 20_000
    rng = random.Random(5)
    made = Transfer([LENGTH] * size, Bitfield(size), rng)
    for number in range(60):
        made.peer_joined(str(number), 0.0)
        held = Bitfield.from_bytes(rng.randbytes(size // 8), size)
        made.peer_has_bitfield(str(number), held, 0.0)
    asked = ask_all(made)
    assert len(asked) == len({request.peer for request in asked}) == 60
    fewest = min(made.availability(index) for index in held)
    assert made.availability(next(one.index for one in asked if one.peer == "59")) == fewest
    for request in asked:
        made.delivered(request.peer, request.index, 1.0)
    assert len(ask_all(made, 1.0)) == 60


def test_copies_in_sight_count_our_own_and_that_of_an_origin():
    have = Bitfield(4)
    have.add(0)
    transfer = Transfer([10] * 4, have, random.Random(1))
    assert transfer.copies() == 0.25
    transfer.peer_joined("seed", 0.0)
    transfer.peer_has_bitfield("seed", Bitfield.full(4), 0.0)
    assert transfer.copies() == 1.25
    transfer.peer_joined("half", 0.0)
    transfer.peer_has("half", [0, 1], 0.0)
    assert transfer.copies() == 1.5
    transfer.peer_joined("http://origin/", 0.0, origin=True)
    assert transfer.copies() == 2.5
    transfer.peer_left("seed", 1.0)
    assert transfer.copies() == 1.5
