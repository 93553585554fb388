"""The files kept open: how many, how long, and for whom."""

import os
from itertools import count

import pytest

from p2pd.store.open_files import OpenFile, OpenFiles


class Opening:
    """Opens one file again and again, and knows how often."""

    def __init__(self) -> None:
        self.filenos: list[int] = []

    def __call__(self) -> int:
        self.filenos.append(os.open("/dev/null", os.O_RDONLY))
        return self.filenos[-1]


@pytest.fixture
def opening():
    return Opening()


def is_open(fileno):
    try:
        os.fstat(fileno)
    except OSError:
        return False
    return True


def test_a_kept_file_is_opened_once(opening):
    files = OpenFiles()
    for _ in range(3):
        with files.take("owner", "name", opening) as file:
            assert is_open(file.fileno)
    assert len(opening.filenos) == 1
    files.close()
    assert not is_open(opening.filenos[0])


def test_other_files_are_closed_after_use(opening):
    with OpenFile(opening()) as file:
        assert is_open(file.fileno)
    assert not is_open(file.fileno)


def test_the_file_used_longest_ago_is_closed_when_there_are_too_many(opening):
    files = OpenFiles(limit=2)
    for name in "abac":
        with files.take("owner", name, opening):
            pass
    a, b, c = opening.filenos
    assert (is_open(a), is_open(b), is_open(c)) == (True, False, True)
    files.close()


def test_a_file_in_use_is_closed_after_its_last_use(opening):
    files = OpenFiles(limit=1)
    with files.take("owner", "a", opening) as first:
        with files.take("owner", "a", opening) as second:
            assert second is first
            with files.take("owner", "b", opening):
                assert is_open(first.fileno)
        assert is_open(first.fileno)
    assert not is_open(first.fileno)
    files.close()


def test_only_one_owners_files_are_closed(opening):
    files = OpenFiles()
    for owner in "xy":
        with files.take(owner, "name", opening):
            pass
    files.close("x")
    assert [is_open(fileno) for fileno in opening.filenos] == [False, True]
    files.close()


def test_what_is_opened_while_all_are_closed_is_not_kept():
    files = OpenFiles()
    opening = Opening()

    def slowly():
        files.close()
        return opening()

    with files.take("owner", "name", slowly) as file:
        assert is_open(file.fileno)
    assert not is_open(file.fileno)


def test_what_two_open_at_once_is_kept_once():
    files = OpenFiles()
    opening = Opening()
    turns = count()

    def twice():
        if not next(turns):
            with files.take("owner", "name", twice):
                pass
        return opening()

    with files.take("owner", "name", twice):
        pass
    kept = [fileno for fileno in opening.filenos if is_open(fileno)]
    assert len(opening.filenos) == 2
    assert len(kept) == 1
    files.close()
