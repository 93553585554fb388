import random

import pytest
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from zope.interface.verify import verifyObject

from p2pd.sim.clock import HeapClock


@pytest.fixture
def clock():
    return HeapClock(100.0)


@pytest.fixture
def calls():
    return []


def test_it_is_a_clock_of_twisted(clock):
    verifyObject(IReactorTime, clock)
    verifyObject(IDelayedCall, clock.callLater(1, print))


def test_calls_come_in_the_order_of_their_times_then_of_their_making(clock, calls):
    for delay in (3, 1, 2, 1):
        clock.callLater(delay, lambda delay=delay: calls.append((delay, clock.seconds())))
    clock.soon(1, calls.append, "soon")
    clock.run(100, 200.0)
    assert calls == [(1, 101.0), (1, 101.0), "soon", (2, 102.0), (3, 103.0)]
    assert clock.seconds() == 200.0
    assert clock.events == 5


def test_arguments_are_passed_on(clock, calls):
    clock.callLater(0, lambda *a, **k: calls.append((a, k)), 1, b=2)
    clock.run(10, 200.0)
    assert calls == [((1,), {"b": 2})]


def test_what_is_too_late_waits(clock, calls):
    clock.callLater(5, calls.append, "late")
    clock.run(10, 104.0)
    assert (calls, clock.seconds()) == ([], 104.0)
    clock.run(10, 105.0)
    assert calls == ["late"]


def test_so_many_events_and_no_more(clock, calls):
    for each in range(5):
        clock.callLater(each, calls.append, each)
    clock.run(2, 200.0)
    assert (calls, clock.seconds(), clock.events) == ([0, 1], 101.0, 2)


def test_it_can_be_stopped(clock, calls):
    clock.callLater(1, clock.stop)
    clock.callLater(2, calls.append, "later")
    clock.run(10, 200.0)
    assert (calls, clock.seconds()) == ([], 101.0)
    clock.run(10, 200.0)
    assert calls == ["later"]


def test_a_call_is_cancelled_once(clock, calls):
    call = clock.callLater(1, calls.append, "never")
    assert call.active()
    assert call.getTime() == 101.0
    call.cancel()
    assert not call.active()
    assert clock.getDelayedCalls() == []
    for again in (call.cancel, lambda: call.reset(1), lambda: call.delay(1)):
        with pytest.raises(AlreadyCancelled):
            again()
    clock.run(10, 200.0)
    assert calls == []


def test_a_call_that_was_made_cannot_be_changed(clock):
    call = clock.callLater(1, lambda: None)
    clock.run(10, 200.0)
    assert not call.active()
    for change in (call.cancel, lambda: call.reset(1), lambda: call.delay(1)):
        with pytest.raises(AlreadyCalled):
            change()


def test_a_call_is_not_active_while_it_runs(clock, calls):
    call = clock.callLater(1, lambda: calls.append(call.active()))
    clock.run(10, 200.0)
    assert calls == [False]


def test_calls_are_moved(clock, calls):
    def called(name):
        calls.append((name, clock.seconds()))

    sooner = clock.callLater(50, called, "sooner")
    later = clock.callLater(1, called, "later")
    to_and_fro = clock.callLater(10, called, "to and fro")
    sooner.reset(2)
    later.delay(4)
    to_and_fro.reset(1)
    to_and_fro.reset(10)
    assert [call.getTime() for call in (sooner, later, to_and_fro)] == [102.0, 105.0, 110.0]
    assert set(clock.getDelayedCalls()) == {sooner, later, to_and_fro}
    clock.run(100, 200.0)
    assert calls == [("sooner", 102.0), ("later", 105.0), ("to and fro", 110.0)]


def test_the_past_is_refused(clock):
    for delay in (-1, float("nan")):
        with pytest.raises(ValueError, match="in the past"):
            clock.callLater(delay, print)


def test_cancelled_calls_do_not_pile_up(clock):
    for _ in range(100_000):
        clock.callLater(1000, print).cancel()
    assert len(clock._heap) < 5000


def test_whatever_is_cancelled_or_moved_the_rest_comes_on_time(clock, calls):
    rng = random.Random(3)
    due = {}

    def called(name):
        calls.append((clock.seconds(), name))

    for name in range(20_000):
        call = clock.callLater(rng.uniform(0, 10), called, name)
        action = rng.random()
        if action < 0.6:
            call.cancel()
            continue
        if action < 0.8:
            call.reset(rng.uniform(0, 10))
        due[name] = call.getTime()
    assert len(clock.getDelayedCalls()) == len(due)
    clock.run(10**9, 200.0)
    assert {name: at for at, name in calls} == due
    assert [at for at, _ in calls] == sorted(due.values())


def test_twisted_works_with_it(clock, calls):
    loop = LoopingCall(lambda: calls.append(clock.seconds()))
    loop.clock = clock
    loop.start(1)
    deferLater(clock, 2.5, loop.stop)
    clock.run(100, 110.0)
    assert calls == [100.0, 101.0, 102.0]
    assert clock.getDelayedCalls() == []


def test_a_pause_ends(clock, calls):
    clock.pause(2).addCallback(lambda _: calls.append(clock.seconds()))
    clock.pause(1).addErrback(lambda _: calls.append("cancelled")).cancel()
    clock.run(100, 110.0)
    assert calls == ["cancelled", 102.0]
