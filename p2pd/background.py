"""Work beside the current call: coroutines that nobody awaits, blocking calls in threads."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

_log = Logger()


class Threads(Protocol):
    """Runs a blocking call off the reactor thread, as `deferToThread` does."""

    def __call__(self, call: Callable[..., T], /, *args: object) -> Awaitable[T]:
        """The call's result, later."""


async def at_once(call: Callable[..., T], /, *args: object) -> T:
    """Run a call where it stands: `Threads` for those who may wait."""
    return call(*args)


def start(
    work: Coroutine[Any, Any, None], what: str, *expected: type[Exception]
) -> Deferred[None]:
    """Run `work` until it waits; fires with None when it ended, however it ended.

    `what` names it in the log, should it fail with something else than cancellation or one of
    the `expected` errors.
    """

    def ended(failure: Failure) -> None:
        if not failure.check(CancelledError, *expected):
            _log.failure("{what} failed", failure=failure, what=what)

    return Deferred.fromCoroutine(work).addErrback(ended)


def joined(work: Deferred[T]) -> Deferred[T]:
    """A Deferred that fires with `work`, and whose cancellation leaves it running."""
    waiting: Deferred[T] = Deferred()

    def ended(result: T | Failure) -> T | Failure:
        if not waiting.called:
            waiting.callback(result)
        return result

    work.addBoth(ended)
    return waiting
