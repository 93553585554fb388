from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.swarm.rates import Pace, Speedometer, TokenBucket, eta


def test_a_burst_goes_at_once_and_the_rest_at_the_rate():
    bucket = TokenBucket(rate=100, burst=50)
    assert bucket.reserve(50, now=0.0) == 0.0
    assert bucket.reserve(10, now=0.0) == pytest.approx(0.1)
    assert bucket.reserve(10, now=0.0) == pytest.approx(0.2)
    assert bucket.reserve(10, now=0.2) == pytest.approx(0.1)


def test_quiet_time_earns_no_more_than_the_burst():
    bucket = TokenBucket(rate=100, burst=50)
    bucket.reserve(50, now=0.0)
    assert bucket.reserve(50, now=1000.0) == 0.0
    assert bucket.reserve(50, now=1000.0) == pytest.approx(0.5)


def test_a_reservation_larger_than_the_burst_waits_until_it_is_paid():
    assert TokenBucket(rate=100, burst=50).reserve(150, now=0.0) == pytest.approx(1.0)


def test_no_rate_is_no_limit():
    bucket = TokenBucket(rate=0, burst=1)
    assert [bucket.reserve(10**9, now=0.0) for _ in range(3)] == [0.0] * 3


def test_a_new_rate_pays_off_the_old_debt():
    bucket = TokenBucket(rate=100, burst=0)
    assert bucket.reserve(100, now=0.0) == pytest.approx(1.0)
    bucket.set_rate(1000, now=0.5)
    assert bucket.rate == 1000
    assert bucket.reserve(50, now=0.5) == pytest.approx(0.1)
    bucket.set_rate(0, now=0.5)
    assert bucket.reserve(10**9, now=0.5) == 0.0
    bucket.set_rate(10, now=0.5)
    assert bucket.reserve(10, now=0.5) == pytest.approx(1.0)


def test_a_clock_that_steps_back_earns_nothing():
    bucket = TokenBucket(rate=100, burst=10)
    bucket.reserve(10, now=5.0)
    assert bucket.reserve(10, now=4.0) == pytest.approx(0.1)
    assert bucket.reserve(10, now=5.0) == pytest.approx(0.2)


@pytest.mark.parametrize(("rate", "burst"), [(-1, 0), (1, -1)])
def test_negative_limits_are_refused(rate, burst):
    with pytest.raises(ValueError, match="negative"):
        TokenBucket(rate, burst)


def test_a_negative_new_rate_is_refused():
    with pytest.raises(ValueError, match="negative"):
        TokenBucket(1, 1).set_rate(-1, now=0.0)


@given(
    rate=st.integers(1, 10_000),
    burst=st.integers(1, 1000),
    asks=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 1)), max_size=40),
)
def test_no_window_sees_more_than_rate_times_window_plus_burst(rate, burst, asks):
    bucket = TokenBucket(rate, burst)
    now = 0.0
    gone = []
    for pause, share in asks:
        now += pause
        count = int(share * burst)
        gone.append((now + bucket.reserve(count, now), count))
    assert all(after > before - 1e-6 for (before, _), (after, _) in pairwise(gone))
    for first, (start, _) in enumerate(gone):
        total = 0
        for end, count in gone[first:]:
            total += count
            assert total <= rate * (end - start) + burst + 1e-3


def test_a_speedometer_shows_a_steady_rate():
    meter = Speedometer(window=5)
    assert meter.rate(0.0) == 0.0
    for tick in range(200):
        meter.add(100, now=tick / 10)
    assert meter.rate(19.95) == pytest.approx(1000, rel=0.05)


def test_a_speedometer_forgets():
    meter = Speedometer(window=5)
    meter.add(5000, now=1.0)
    assert 0 < meter.rate(4.0) <= 5000 / 3
    assert meter.rate(6.5) == 0.0
    meter.add(500, now=100.0)
    assert meter.rate(100.0) == pytest.approx(500 / 4.5, rel=0.12)


def test_a_speedometer_keeps_a_handful_of_sums():
    meter = Speedometer(window=1)
    for tick in range(10_000):
        meter.add(1, now=tick / 1000)
    assert len(meter._sums) <= 11


def test_a_speedometer_needs_a_window():
    with pytest.raises(ValueError, match="window"):
        Speedometer(0)


@given(st.lists(st.tuples(st.floats(0, 4), st.integers(0, 10**6)), min_size=1, max_size=60))
def test_a_speedometer_never_shows_more_than_came(adds):
    meter = Speedometer(window=2)
    now, total = 50.0, 0
    for pause, count in adds:
        now += pause
        total += count
        meter.add(count, now)
        assert 0 <= meter.rate(now) <= total / 0.2 + 1e-6


def test_a_pace_leaves_idle_time_out():
    pace = Pace()
    pace.begin(0.0)
    pace.add(1000, now=1.0)
    assert pace.rate == pytest.approx(1000)
    pace.begin(100.0)
    pace.add(1000, now=101.0)
    assert pace.rate == pytest.approx(1000)


def test_a_pace_is_unknown_until_a_little_time_has_passed():
    pace = Pace()
    pace.begin(0.0)
    pace.add(10**6, now=0.0)
    assert pace.rate == 0.0


def test_a_pace_follows_a_change():
    pace = Pace()
    pace.begin(0.0)
    for second in range(1, 61):
        pace.add(1000 if second <= 30 else 10, now=float(second))
    assert pace.rate < 150


def test_eta():
    assert eta(0, 0.0) == 0.0
    assert eta(100, 0.0) is None
    assert eta(100, 50.0) == 2.0
