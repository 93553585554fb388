import itertools
import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.swarm.rates import TokenBucket
from p2pd.swarm.turns import Flow, Turns

WINDOW = 2.0


@dataclass(eq=False)
class Sender:
    """Sends as much as it may from `begin` to `end`, at most `most` at once."""

    flow: Flow
    most: int = 256 * 1024
    begin: float = 0.0
    end: float = 1000.0
    sent: list[tuple[float, int]] = field(default_factory=list)

    @property
    def total(self):
        return sum(count for _, count in self.sent)


class Traffic:
    """Senders and their turns in virtual time; timers fire up to `late` seconds late."""

    def __init__(self, senders, seed=0, late=0.0):
        self.turns = Turns()
        self.now = 0.0
        self.senders = senders
        self._rng = random.Random(seed)
        self._late = late
        self._begun = set()

    def run(self, until):
        by_flow = {sender.flow: sender for sender in self.senders}
        while True:
            for sender in self.senders:
                if sender.begin <= self.now and sender not in self._begun:
                    self._begun.add(sender)
                    self._take(sender)
            while turn := self.turns.next(self.now):
                sender = by_flow[turn[0]]
                sender.sent.append((self.now, turn[1]))
                self._take(sender)
            wait = self.turns.next_wait(self.now)
            times = [sender.begin for sender in self.senders if sender not in self._begun]
            if wait is not None:
                late = self._rng.uniform(0, self._late)
                times.append(self.now + max(wait, 1e-4) + late)
            if not times or min(times) > until:
                self.now = until
                return
            self.now = max(self.now, min(times))

    def _take(self, sender):
        while self.now < sender.end:
            count = self.turns.take(sender.flow, sender.most, self.now)
            if not count:
                return
            sender.sent.append((self.now, count))


def windows(senders, begin, end):
    """The bytes in every window that begins or ends with a chunk, from `begin` to `end`."""
    events = sorted(itertools.chain.from_iterable(sender.sent for sender in senders))
    times = [time for time, _ in events]
    sums = [0, *itertools.accumulate(count for _, count in events)]

    def within(start, stop, closed):
        high = (bisect_right if closed else bisect_left)(times, stop)
        return sums[high] - sums[bisect_left(times, start)]

    starts = [t for t in times if begin <= t <= end - WINDOW]
    for start in starts[:: max(1, len(starts) // 40)]:
        yield within(start, start + WINDOW, closed=True), within(start, start + WINDOW, False)


def check(senders, rate, begin, end, *, demand=True):
    seen = False
    for most, least in windows(senders, begin, end):
        seen = True
        assert most <= 1.05 * rate * WINDOW + 1
        assert not demand or least >= 0.95 * rate * WINDOW - 1
    assert seen or not demand


def senders(count, *limits, **options):
    return [Sender(Flow(f"{id(limits)} {n}", limits), **options) for n in range(count)]


@settings(max_examples=20, deadline=None)
@given(
    rate=st.integers(20_000, 50_000_000),
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    shares=st.lists(st.floats(0.05, 3), min_size=3, max_size=3),
    most=st.sampled_from([1000, 64 * 1024, 4 * 1024 * 1024]),
    late=st.sampled_from([0.0, 0.03, 0.06]),
    seed=st.integers(0, 1000),
)
def test_any_mix_keeps_all_its_limits(rate, counts, shares, most, late, seed):
    """Torrents with limits of their own, and one without, at a node with a limit."""
    most = max(most, rate // 200)
    node = TokenBucket(rate)
    own = [TokenBucket(rate * share) for share in shares[: len(counts)]]
    groups = [senders(n, node, limit, most=most) for n, limit in zip(counts, own, strict=True)]
    free = senders(2, node, TokenBucket(), most=most)
    everyone = [*itertools.chain(*groups), *free]
    Traffic(everyone, seed, late).run(4.0)
    check(everyone, rate, 0.5, 4.0)
    for group, limit in zip(groups, own, strict=True):
        check(group, limit.rate, 0.5, 4.0, demand=False)


@settings(max_examples=10, deadline=None)
@given(
    shares=st.lists(st.floats(0.02, 0.3), min_size=1, max_size=3),
    count=st.integers(1, 5),
    late=st.sampled_from([0.0, 0.03]),
    seed=st.integers(0, 1000),
)
def test_limits_that_the_node_leaves_room_for_are_used_up(shares, count, late, seed):
    rate = 10_000_000
    node = TokenBucket(rate)
    own = [TokenBucket(rate * share) for share in shares]
    groups = [senders(count, node, limit) for limit in own]
    Traffic(list(itertools.chain(*groups)), seed, late).run(4.0)
    for group, limit in zip(groups, own, strict=True):
        check(group, limit.rate, 0.5, 4.0)


@settings(max_examples=10, deadline=None)
@given(
    count=st.integers(2, 20),
    seed=st.integers(0, 1000),
)
def test_equals_get_equal_shares(count, seed):
    rng = random.Random(seed)
    everyone = senders(count, TokenBucket(1_000_000), TokenBucket())
    for sender in everyone:
        sender.most = rng.choice([10_000, 65_536, 1 << 20])
    Traffic(everyone, seed, 0.01).run(5.0)
    mean = sum(sender.total for sender in everyone) / count
    assert all(sender.total == pytest.approx(mean, rel=0.1) for sender in everyone)


def test_a_limit_that_is_not_reached_costs_no_share():
    """Chunks under a low limit are smaller, and have to come more often."""
    node = TokenBucket(4_000_000)
    some = senders(5, node, TokenBucket(1_500_000))
    others = senders(15, node, TokenBucket())
    Traffic([*some, *others]).run(5.0)
    assert all(s.total == pytest.approx(1_000_000, rel=0.1) for s in [*some, *others])


def test_what_a_torrent_may_not_use_is_for_the_others():
    node = TokenBucket(4_000_000)
    some = senders(5, node, TokenBucket(1_000_000))
    others = senders(2, node, TokenBucket())
    Traffic([*some, *others]).run(10.0)
    assert all(sender.total == pytest.approx(2_000_000, rel=0.1) for sender in some)
    assert all(sender.total == pytest.approx(15_000_000, rel=0.1) for sender in others)


def test_a_party_has_one_share_however_many_flows_it_has():
    limit = TokenBucket(1_000_000)
    many = [Sender(Flow("many", (limit,))) for _ in range(9)]
    one = Sender(Flow("one", (limit,)))
    Traffic([*many, one]).run(10.0)
    assert one.total == pytest.approx(5_000_000, rel=0.1)


def test_who_comes_late_gets_its_share_and_no_more():
    limit = TokenBucket(1_000_000)
    first, late = senders(2, limit)
    late.begin = 10.0
    Traffic([first, late]).run(20.0)
    assert late.total == pytest.approx(5_000_000, rel=0.1)
    assert first.total == pytest.approx(15_000_000, rel=0.1)


def test_what_one_leaves_the_others_take_up():
    limit = TokenBucket(1_000_000)
    first, other = senders(2, limit)
    other.end = 5.0
    Traffic([first, other]).run(10.0)
    assert first.total == pytest.approx(7_500_000, rel=0.1)
    check([first, other], limit.rate, 0.5, 10.0)


@pytest.mark.parametrize(("old", "new"), [(1_000, 1_000_000), (10_000_000, 50_000), (500, 0)])
def test_a_new_rate_counts_for_who_waits(old, new):
    limit = TokenBucket(old)
    everyone = senders(20, limit, most=1 << 20, end=20.0)
    traffic = Traffic(everyone)
    traffic.run(5.0)
    limit.set_rate(new, 5.0)
    if not new:
        assert traffic.turns.next_wait(5.0) == 0.0
        assert len([*iter(lambda: traffic.turns.next(5.0), None)]) == 20
        return
    traffic.run(12.0)
    check(everyone, new, 5.001, 12.0)
    assert min(time for sender in everyone for time, _ in sender.sent if time > 5.0) < 5.5


def test_who_leaves_is_not_waited_for():
    limit = TokenBucket(1000)
    turns = Turns()
    one, two = Flow("one", (limit,)), Flow("two", (limit,))
    assert turns.take(one, 10, 0.0) == turns.take(two, 10, 0.0) == 0
    assert turns.take(two, 10, 0.015) == 0, "it is not its turn"
    turns.leave(one)
    turns.leave(one)
    assert turns.take(two, 10, 0.015) == 10
    assert turns.next_wait(0.015) is None


def test_no_limit_is_no_line():
    turns = Turns()
    flows = [Flow(n, (TokenBucket(), TokenBucket())) for n in range(3)]
    assert [turns.take(flow, 10**9, 0.0) for flow in flows] == [10**9] * 3
    assert turns.take(Flow("free", ()), 5, 0.0) == 5
    assert turns.next(0.0) is None


def test_parties_long_gone_are_forgotten():
    turns, limit = Turns(), TokenBucket(1e9)
    for number in range(5000):
        if not turns.take(Flow(number, (limit,)), 10, number / 10):
            assert turns.next(number / 10 + 0.05)
    assert len(turns._had) < 2000
