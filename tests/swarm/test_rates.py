import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.swarm.rates import Pace, Speedometer, TokenBucket, eta, least


def test_tokens_come_at_the_rate():
    bucket = TokenBucket(rate=1000)
    assert bucket.wait(10, now=5.0) == pytest.approx(0.01)
    assert bucket.wait(10, now=5.01) == pytest.approx(0.0, abs=1e-9)
    bucket.take(10, now=5.01)
    assert bucket.wait(10, now=5.01) == pytest.approx(0.01)


def test_quiet_time_earns_less_than_a_twentieth_of_two_seconds():
    bucket = TokenBucket(rate=1000)
    bucket.take(0, now=0.0)
    assert bucket.wait(50, now=1000.0) == 0.0
    assert bucket.wait(100, now=1000.0) > 0.0


def test_no_rate_is_no_limit():
    bucket = TokenBucket()
    bucket.take(10**9, now=0.0)
    assert bucket.wait(10**9, now=0.0) == 0.0
    assert bucket.chunk(10**9) == 10**9


def test_a_chunk_is_a_small_part_of_what_may_go_in_two_seconds():
    assert TokenBucket(rate=1_000_000).chunk(10**9) == 10_000
    assert TokenBucket(rate=1_000_000).chunk(100) == 100
    assert TokenBucket(rate=1).chunk(100) == 1


def test_a_new_rate_counts_at_once():
    bucket = TokenBucket(rate=100)
    bucket.take(0, now=0.0)
    assert bucket.wait(100, now=0.0) == pytest.approx(1.0)
    bucket.set_rate(10_000, now=0.0)
    assert bucket.rate == 10_000
    assert bucket.wait(100, now=0.0) == pytest.approx(0.01)
    bucket.set_rate(0, now=0.0)
    assert bucket.wait(10**9, now=0.0) == 0.0


def test_a_lower_rate_lets_no_more_than_its_own_burst_go():
    bucket = TokenBucket(rate=1_000_000)
    bucket.take(0, now=0.0)
    bucket.set_rate(100, now=10.0)
    assert bucket.wait(20, now=10.0) > 0
    bucket.set_rate(0, now=10.0)
    bucket.set_rate(100, now=20.0)
    assert bucket.wait(2, now=20.0) == pytest.approx(0.02), "no limit saves nothing up"


def test_what_did_not_go_may_go_later():
    bucket = TokenBucket(rate=1000)
    bucket.take(0, now=0.0)
    bucket.take(20, now=0.02)
    bucket.give_back(15)
    assert bucket.wait(15, now=0.02) == pytest.approx(0.0, abs=1e-9)
    bucket.give_back(10**6)
    assert bucket.wait(100, now=0.02) > 0
    unlimited = TokenBucket()
    unlimited.give_back(10**6)
    unlimited.set_rate(1000, now=0.0)
    assert unlimited.wait(20, now=0.0) > 0


def test_a_clock_that_steps_back_earns_nothing():
    bucket = TokenBucket(rate=100)
    bucket.take(0, now=5.0)
    bucket.take(10, now=4.0)
    assert bucket.wait(10, now=4.0) == pytest.approx(0.2)
    assert bucket.wait(10, now=5.0) == pytest.approx(0.2)


def test_negative_limits_are_refused():
    with pytest.raises(ValueError, match="negative"):
        TokenBucket(-1)
    with pytest.raises(ValueError, match="negative"):
        TokenBucket(1).set_rate(-1, now=0.0)


def test_the_least_of_some_limits():
    assert least(0, 5, 3) == 3
    assert least(0, 0) == 0


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
