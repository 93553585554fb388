"""The fleet in memory, as a fixture."""

import pytest

from tests.fleet import Fleet


@pytest.fixture
def fleet():
    return Fleet()
