from math import inf

from p2pd.swarm.news import News


def told_at(now):
    """News of which everything was told at some time."""
    made = News()
    made.take(now)
    return made


def test_the_first_news_is_due_at_once():
    made = News()
    assert made.due == inf
    made.had(1, 5.0, rare=False)
    assert made.due == 5.0


def test_what_is_told_is_told_once_and_in_order():
    made = News()
    for index in (3, 1):
        made.had(index, 5.0, rare=False)
    made.promised(7, 5.0)
    assert made.take(5.0) == ([3, 1], [7])
    assert made.due == inf
    assert made.take(6.0) == ([], [])


def test_common_pieces_wait_for_a_second_since_the_last_telling():
    made = told_at(10.0)
    made.had(1, 10.25, rare=False)
    made.had(2, 10.75, rare=False)
    assert made.due == 11.0


def test_rare_pieces_and_promises_hurry():
    rare, promise = told_at(10.0), told_at(10.0)
    rare.had(1, 10.0, rare=True)
    promise.promised(1, 10.0)
    assert rare.due == promise.due == 10.02


def test_what_hurries_takes_along_what_does_not():
    made = told_at(10.0)
    made.had(1, 10.1, rare=False)
    made.had(2, 10.5, rare=True)
    assert made.due == 10.5, "long enough since the last telling"
    made.had(3, 10.5, rare=False)
    assert made.due == 10.5
    assert made.take(10.5) == ([1, 2, 3], [])


def test_it_waits_anew_after_each_telling():
    made = told_at(10.0)
    made.had(1, 10.5, rare=False)
    made.take(11.0)
    made.had(2, 11.25, rare=False)
    assert made.due == 12.0
    made.had(3, 30.0, rare=False)
    assert made.due == 12.0, "it is late already"
