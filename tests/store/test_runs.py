"""What is read together: small files and padding, up to a bound."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from p2pd.metainfo.files import FileEntry, Span
from p2pd.store.runs import is_small, runs_of

KIB = 1024
lengths = st.integers(1, 3000 * KIB) | st.integers(1, 64 * KIB)


def spans_of(files):
    spans, at = [], 0
    for number, (length, padding) in enumerate(files):
        spans.append(Span(FileEntry((str(number),), length, at, padding=padding), 0, length, at))
        at += length
    return spans, at


@given(st.lists(st.tuples(lengths, st.booleans()), min_size=1, max_size=40), st.data())
def test_runs_are_what_was_asked_for_in_its_order_and_bounded(files, data):
    spans, size = spans_of(files)
    start = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(start + 1, size))
    runs = list(runs_of(spans, start, end))
    flat = [span for run in runs for span in run]
    assert (flat[0].start, flat[-1].start + flat[-1].length) == (start, end)
    assert all(one.start + one.length == next_.start for one, next_ in pairwise(flat))
    assert all(span.offset == span.start - span.file.offset for span in flat)
    for run in runs:
        if len(run) > 1 or is_small(run[0]):
            assert all(map(is_small, run))
            assert sum(span.length for span in run) <= KIB * KIB


def test_nothing_asked_for_is_no_run():
    assert list(runs_of(spans_of([(10, False)])[0], 5, 5)) == []
