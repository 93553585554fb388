import pytest

from p2pd.errors import Conflict
from p2pd.swarm.lifecycle import MOVES, State, advance

WORK = {State.METAINFO, State.ALLOCATING, State.CHECKING, State.DOWNLOADING}


def test_every_state_has_its_moves_and_none_leads_to_itself():
    assert set(MOVES) == set(State)
    assert all(state not in moves for state, moves in MOVES.items())


def test_a_download_from_metainfo_to_complete():
    state = State.QUEUED
    for new in (
        State.METAINFO,
        State.ALLOCATING,
        State.CHECKING,
        State.DOWNLOADING,
        State.COMPLETE,
    ):
        state = advance(state, new)
    assert state is State.COMPLETE


@pytest.mark.parametrize("state", [s for s in State if s not in {State.PAUSED, State.FAILED}])
@pytest.mark.parametrize("stop", [State.PAUSED, State.FAILED])
def test_whatever_runs_can_be_paused_and_can_fail(state, stop):
    assert advance(state, stop) is stop


@pytest.mark.parametrize("stop", [State.PAUSED, State.FAILED])
def test_what_stopped_goes_on_through_the_queue_or_a_check(stop):
    assert MOVES[stop] == {State.QUEUED, State.CHECKING}


@pytest.mark.parametrize("state", State)
def test_complete_is_never_a_dead_end(state):
    seen, todo = set(), [state]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo += MOVES[here]
    assert State.COMPLETE in seen
    assert seen >= WORK


def test_an_illegal_move_says_which_are_legal():
    with pytest.raises(Conflict, match=r"paused cannot become complete.*queued, checking"):
        advance(State.PAUSED, State.COMPLETE)


def test_moving_nowhere_is_a_conflict():
    with pytest.raises(Conflict, match="already paused"):
        advance(State.PAUSED, State.PAUSED)
