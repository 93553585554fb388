"""Requests to the admin API that were, or might have been, answered badly."""

import pytest

from tests.admin_requests import Administrated
from tests.twins import CORPUS


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.admin")), ids=lambda path: path.name)
def test_they_are_answered_well(path):
    Administrated().check(path.read_bytes())
