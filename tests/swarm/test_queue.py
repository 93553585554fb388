"""Which downloads may be active."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pd.swarm.queue import active

QUEUE = [("a", False), ("b", True), ("c", False), ("d", True), ("e", False)]


@pytest.mark.parametrize(
    ("downloads", "seeds", "chosen"),
    [(0, 0, "abcde"), (1, 0, "abd"), (2, 1, "abc"), (0, 1, "abce"), (9, 9, "abcde")],
)
def test_the_first_of_each_kind_are_chosen(downloads, seeds, chosen):
    assert "".join(active(QUEUE, downloads=downloads, seeds=seeds)) == chosen


@given(st.lists(st.booleans(), max_size=20), st.integers(0, 5), st.integers(0, 5))
def test_no_bound_is_passed_and_nobody_waits_without_need(kinds, downloads, seeds):
    queue = list(enumerate(kinds))
    chosen = active(queue, downloads=downloads, seeds=seeds)
    assert chosen == sorted(chosen)
    for kind, most in ((False, downloads), (True, seeds)):
        alike = [one for one, is_seed in queue if is_seed is kind]
        assert [one for one in chosen if kinds[one] is kind] == alike[: most or None]
