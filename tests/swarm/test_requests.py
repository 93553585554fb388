import random

from p2pd.swarm.peers import Limits
from p2pd.swarm.requests import Request, Requests


def requests(*asked, stall=10.0, deadline=100.0, now=0.0):
    made = Requests(Limits(stall=stall))
    for peer, index in asked:
        made.add(Request(peer, index, 1000), now, deadline)
    return made


def test_requests_are_known_by_piece_and_by_peer():
    made = requests(("a", 1), ("a", 2), ("b", 1))
    assert len(made) == 3
    assert made.in_flight("a") == 2
    assert made.in_flight("c") == 0
    assert set(made.asked(1)) == {"a", "b"}
    assert not made.asked(9)
    assert made.get("b", 2) is None


def test_dropping_leaves_no_trace():
    made = requests(("a", 1), ("a", 2), ("b", 1), ("c", 3))
    assert made.drop("a", 2).request == Request("a", 2, 1000)
    assert made.drop("a", 2) is None
    assert {one.peer for one in made.drop_piece(1)} == {"a", "b"}
    assert made.drop_peer("c") == [Request("c", 3, 1000)]
    assert made.drop_peer("c") == made.drop_piece(1) == []
    assert not made
    assert made._by_peer == made._by_piece == {}
    assert made.next_due() is None


def test_silence_ends_a_request():
    made = requests(("a", 1))
    assert made.next_due() == 10.0
    assert made.expired(9.9) == []
    assert [one.request.index for one in made.expired(10.0)] == [1]
    assert not made


def test_bytes_of_one_request_keep_the_others_of_that_peer_alive():
    made = requests(("a", 1), ("a", 2), ("b", 3))
    made.progress(made.get("a", 1), 10, now=6.0)
    assert [one.request.peer for one in made.expired(10.0)] == ["b"]
    assert made.next_due() == 16.0


def test_a_deadline_holds_whatever_trickles_in():
    made = requests(("a", 1), deadline=15.0)
    for second in range(1, 15):
        made.progress(made.get("a", 1), 1, now=float(second))
        assert made.expired(float(second)) == []
    assert made.next_due() == 15.0
    assert len(made.expired(15.0)) == 1


def test_a_piece_that_has_all_arrived_has_time_to_be_verified():
    made = requests(("a", 1), ("a", 2), deadline=15.0)
    made.progress(made.get("a", 1), 999, now=9.0)
    made.progress(made.get("a", 1), 1, now=9.0)
    made.progress(made.get("a", 1), 1, now=12.0)
    made.drop("a", 2)
    assert made.next_due() == 19.0
    assert len(made.expired(19.0)) == 1


def test_the_next_due_time_is_exact_whatever_happens():
    rng = random.Random(3)
    made = Requests(Limits(stall=5.0))
    now = 0.0
    for step in range(2000):
        now += rng.random() * 0.3
        peer, index = f"p{rng.randrange(5)}", rng.randrange(30)
        one = made.get(peer, index)
        if one is None:
            made.add(Request(peer, index, 10**6), now, now + rng.uniform(1, 20))
        elif rng.random() < 0.5:
            made.progress(one, 1, now)
        else:
            made.drop(peer, index)
        late = made.expired(now)
        dues = [min(one.deadline, one.heard + 5.0) for one in made]
        assert made.next_due() == min(dues, default=None), step
        assert all(min(one.deadline, one.heard + 5.0) <= now for one in late)
        assert all(due > now for due in dues)
