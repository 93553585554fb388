import random

from p2pd.swarm.peers import Limits, Peers

LIMITS = Limits(backoff_jitter=0.0)


def peers(limits=LIMITS):
    return Peers(8, limits, random.Random(0))


def rest_time(peer, now):
    return peer.resting_until - now


def test_each_failure_in_a_row_doubles_the_back_off_up_to_the_most():
    made = peers()
    peer = made.join("a", origin=False, near=True)
    waits = []
    now = 0.0
    for _ in range(10):
        made.back_off(peer, now)
        waits.append(rest_time(peer, now))
        now = peer.resting_until
        assert made.rested(now) == [peer]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_thousand_failures_overflow_nothing():
    made = peers()
    peer = made.join("a", origin=False, near=True)
    peer.failures = 5000
    made.back_off(peer, 0.0)
    assert peer.resting_until == 60


def test_jitter_spreads_the_returns():
    made = peers(Limits())
    ends = set()
    for number in range(50):
        peer = made.join(str(number), origin=False, near=True)
        made.back_off(peer, 0.0)
        ends.add(peer.resting_until)
    assert len(ends) == 50
    assert all(0.25 <= end <= 0.5 for end in ends)


def test_a_back_off_has_an_end_that_is_announced():
    made = peers()
    a, b = (made.join(key, origin=False, near=True) for key in "ab")
    made.back_off(a, 0.0, at_least=10.0)
    made.back_off(b, 0.0)
    assert made.next_rested() == 0.5
    assert made.rested(0.4) == []
    assert made.rested(0.5) == [b]
    assert made.next_rested() == 10.0
    assert a.aside
    assert not b.aside
    assert made.rested(10.0) == [a]
    assert not a.aside
    assert made.next_rested() is None


def test_a_shorter_rest_does_not_cut_a_longer_one():
    made = peers()
    peer = made.join("a", origin=False, near=True)
    made.rest(peer, 0.0, 10.0)
    made.rest(peer, 1.0, 1.0)
    assert peer.resting_until == 10.0


def test_leaving_does_not_wash_off_failures_or_bans():
    made = peers()
    for key in ("flaky", "liar", "good"):
        made.join(key, origin=False, near=True)
    made.back_off(made.get("flaky"), 0.0)
    made.ban("liar")
    for key in ("flaky", "liar", "good"):
        made.leave(made.get(key))
    assert list(made) == []
    assert made.next_rested() is None
    assert made.banned == {"liar"}
    assert made.join("flaky", origin=False, near=True).resting_until == 0.5
    assert made.next_rested() == 0.5
    assert made.join("liar", origin=False, near=True).banned
    assert made.join("good", origin=False, near=True).failures == 0


def test_one_can_be_banned_before_it_is_ever_here():
    made = peers()
    made.ban("liar")
    assert made.join("liar", origin=False, near=True).banned


def test_memory_of_those_who_left_is_bounded():
    made = peers()
    for number in range(3000):
        made.ban(str(number))
    assert len(made.banned) == 1024
    assert "2999" in made.banned


def test_joining_twice_changes_only_how_near_it_is():
    made = peers()
    made.join("a", origin=False, near=False)
    assert made.join("a", origin=True, near=True) is None
    assert not made.get("a").origin
    assert made.get("a").near


def test_what_is_promised_goes_with_who_promised_it():
    made = peers()
    for key, promised in (("a", 0b110), ("b", 0b011)):
        made.join(key, origin=False, near=True).promised = promised
    assert made.promised() == 0b111
    made.leave(made.get("a"))
    assert made.promised() == 0b011
    assert made.join("a", origin=False, near=True).promised == 0


def test_an_origin_holds_everything():
    assert peers().join("http://o/", origin=True, near=True).held == 0xFF


def test_how_much_is_asked_ahead_goes_by_the_rate():
    limits = Limits(least_ahead=2, ahead=0.25, batch=0.5, most_batch=1000)
    peer = peers(limits).join("a", origin=False, near=True)
    peer.in_flight, peer.bytes_in_flight = 1, 10**9
    assert limits.wants_more(peer)
    peer.in_flight, peer.bytes_in_flight = 2, 0
    assert not limits.wants_more(peer), "its rate is not known"
    peer.in_flight, peer.bytes_in_flight, peer.pace.rate = 50, 249, 1000.0
    assert limits.wants_more(peer)
    peer.bytes_in_flight = 250
    assert not limits.wants_more(peer)
    assert [limits.batch_of(rate) for rate in (0.0, 20.0, 1e9)] == [0, 10, 1000]


def test_by_default_one_piece_is_asked_of_a_peer_whose_rate_is_not_known():
    limits = Limits()
    peer = peers(limits).join("a", origin=False, near=True)
    assert limits.wants_more(peer)
    peer.in_flight, peer.bytes_in_flight = 1, 1
    assert not limits.wants_more(peer)


def test_a_limit_of_ones_own_makes_patient():
    usual = Limits()
    assert usual.throttled(0, 1 << 30) == usual
    patient = usual.throttled(20_000, 8 * 256 * 1024)
    own_wait = 8 * 256 * 1024 / 20_000
    assert patient.stall > own_wait
    assert patient.endgame_copies == 1
    assert patient.min_timeout > 4 * own_wait
