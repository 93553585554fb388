"""Streams through a throttle, on a clock that is moved by hand."""

import pytest
from twisted.internet.task import Clock

from p2pd.node.throttle import Throttle
from p2pd.swarm.rates import TokenBucket


class Party:
    """Takes what it may, and keeps count."""

    def __init__(self, throttle, name, *limits, most=1 << 20):
        self.total = 0
        self.most = most
        self.stream = throttle.stream(name, *limits, go=self.go)

    def start(self):
        while count := self.stream.take(self.most):
            self.total += count

    def go(self, count):
        self.total += count
        self.start()


def advance(clock, seconds):
    clock.pump([0.001] * round(seconds * 1000))


@pytest.fixture
def clock():
    clock = Clock()
    clock.advance(1e9)
    return clock


def test_no_limit_is_no_wait(clock):
    stream = Throttle(clock).stream("a", TokenBucket(), go=None)
    assert not stream.limited
    assert stream.take(10**9) == 10**9
    stream.give_back(5)
    stream.close()
    assert not clock.getDelayedCalls()


def test_streams_share_the_limit(clock):
    throttle = Throttle(clock, 1_000_000)
    parties = [Party(throttle, name) for name in "abcd"]
    for party in parties:
        party.start()
    advance(clock, 4)
    assert all(party.total == pytest.approx(1_000_000, rel=0.05) for party in parties)
    for party in parties:
        party.stream.close()
        party.stream.close()
    assert not clock.getDelayedCalls()


def test_a_new_rate_is_not_waited_for(clock):
    throttle, own = Throttle(clock, 1), TokenBucket(1)
    one, other = Party(throttle, "one", own), Party(throttle, "other")
    one.start()
    other.start()
    throttle.set_rate(1_000_000)
    advance(clock, 1)
    assert other.total == pytest.approx(1_000_000, rel=0.05)
    throttle.set_rate(500_000, own)
    before = one.total
    advance(clock, 1)
    assert one.total - before == pytest.approx(500_000, rel=0.05)
    one.most = other.most = 0
    throttle.set_rate(0)
    throttle.set_rate(0, own)
    advance(clock, 0.01)
    assert not clock.getDelayedCalls()


def test_what_was_not_sent_is_for_others(clock):
    throttle = Throttle(clock, 1_000_000)

    def stall(count):
        slow.give_back(count)

    slow = throttle.stream("slow", go=stall)
    quick = Party(throttle, "quick")
    assert slow.take(1000) == 0
    quick.start()
    advance(clock, 1)
    assert quick.total == pytest.approx(1_000_000, rel=0.05)
    quick.stream.close()


def test_who_closes_others_while_they_are_let_go(clock):
    throttle = Throttle(clock, 1_000_000)
    late = Party(throttle, "late")
    early = throttle.stream("early", go=lambda _: late.stream.close())
    assert early.take(1000) == 0
    late.start()
    advance(clock, 0.1)
    assert late.total == 0
    assert not clock.getDelayedCalls()


def test_what_one_breaks_does_not_stop_the_others(clock):
    throttle = Throttle(clock, 1_000_000)
    broken = throttle.stream("broken", go=lambda count: 1 / 0)
    whole = Party(throttle, "whole")
    assert broken.take(1000) == 0
    whole.start()
    with pytest.raises(ZeroDivisionError):
        advance(clock, 0.01)
    advance(clock, 1)
    assert whole.total == pytest.approx(1_000_000, rel=0.05)
    whole.stream.close()
