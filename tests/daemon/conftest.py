"""What the daemon room's tests share."""

import pytest
from twisted.logger import formatEvent, globalLogPublisher


@pytest.fixture
def caught_log():
    """`caught_log()` is the text of all that was logged so far."""
    lines = []

    def observe(event):
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lambda: "\n".join(lines)
    globalLogPublisher.removeObserver(observe)
