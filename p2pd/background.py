"""Coroutines that nobody awaits: started, cancellable, their failures logged."""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()


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
