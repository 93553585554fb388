import pytest
from twisted.internet.defer import CancelledError, Deferred

from p2pd.cli.local_fleet import together


async def test_results_come_in_order():
    first, second = Deferred(), Deferred()
    gathered = Deferred.fromCoroutine(together([first, second]))
    second.callback(2)
    first.callback(1)
    assert await gathered == [1, 2]


async def test_the_first_error_cancels_the_rest():
    first, second = Deferred(), Deferred()
    gathered = Deferred.fromCoroutine(together([first, second]))
    ended = []
    first.addErrback(lambda failure: ended.append(failure.type))
    second.errback(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await gathered
    assert first.called


async def test_cancelling_cancels_all():
    waiting = [Deferred(), Deferred()]
    gathered = Deferred.fromCoroutine(together(waiting))
    gathered.cancel()
    with pytest.raises(CancelledError):
        await gathered
    assert all(one.called for one in waiting)
