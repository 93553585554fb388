"""A fleet of real daemons for each test that asks for one."""

import pytest

from tests.real.fleet import Fleet


@pytest.fixture
def fleet(twistd, tmp_path):
    """A tracker's and nodes' worth of real processes, killed at the test's end."""
    return Fleet(twistd, tmp_path)
