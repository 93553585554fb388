from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from p2pd.swarm.uploads import Uploads

MOST_AT_ONCE = 64


class Queue:
    """Uploads in virtual time, with the order in which they began."""

    def __init__(self, slots=2, **limits):
        self.now = 100.0
        self.began = []
        self.uploads = Uploads(slots, **limits)

    def ask(self, name, size=1000, **rest):
        """A transfer to the peer that the name's first letter names."""
        return self.uploads.ask(name[0], size, lambda: self.began.append(name), self.now, **rest)

    def done(self, upload, seconds=0.0):
        self.now += seconds
        self.uploads.done(upload, self.now)


def test_as_many_as_there_are_slots_begin_at_once_and_the_others_in_turn():
    queue = Queue(slots=2)
    first, *_ = [queue.ask(name) for name in ("a", "b", "c", "d")]
    assert queue.began == ["a", "b"]
    assert (queue.uploads.sending, queue.uploads.waiting) == (2, 2)
    queue.done(first)
    assert queue.began == ["a", "b", "c"]
    assert (queue.uploads.sending, queue.uploads.waiting) == (2, 1)


def test_there_are_two_slots_at_first_and_one_more_with_each_that_ends():
    queue = Queue(slots=4)
    sending = [queue.ask(name) for name in "abcdefghij"]
    for ended, (began, slots) in enumerate([(4, 3), (6, 4), (7, 4), (8, 4)]):
        assert queue.uploads.slots < slots or slots == 4
        queue.done(sending[ended])
        assert queue.began == list("abcdefghij"[:began])
        assert queue.uploads.slots == slots
    queue.done(sending[9])
    assert queue.uploads.slots == 4
    assert queue.uploads.sending == 4


def test_one_that_ends_unasked_or_twice_makes_no_slot():
    queue = Queue(slots=8)
    first, _, third = [queue.ask(name) for name in "abc"]
    queue.done(third)
    assert queue.uploads.slots == 2, "it only waited"
    queue.done(first)
    queue.done(first)
    assert queue.uploads.slots == 3


def test_a_slow_one_makes_a_slot_when_it_ends_not_before():
    queue = Queue(slots=8)
    slow = queue.ask("a")
    for name in "bcd":
        queue.ask(name)
    queue.now += 2.0
    queue.uploads.overdue(queue.now)
    assert queue.uploads.slots == 2
    queue.done(slow)
    assert queue.uploads.slots == 3


def test_after_a_second_of_nothing_to_do_the_slots_begin_anew():
    queue = Queue(slots=8)
    for _ in range(3):
        queue.done(queue.ask("a"))
    assert queue.uploads.slots == 5
    queue.now += 1.0
    last = queue.ask("a")
    assert queue.uploads.slots == 5, "that was no more than a second"
    queue.done(last, 60.0)
    queue.now += 0.9
    last = queue.ask("a")
    assert queue.uploads.slots == 6, "it sent all that time"
    queue.done(last)
    queue.now += 1.1
    for name in "abc":
        queue.ask(name)
    assert queue.uploads.slots == 2
    assert queue.began[-2:] == ["a", "b"]
    assert queue.uploads.waiting == 1


def test_fewer_slots_than_two_stay_so():
    queue = Queue(slots=1)
    for _ in range(3):
        queue.done(queue.ask("a"))
        assert queue.uploads.slots == 1


def test_who_would_wait_behind_more_than_it_wants_is_refused_and_costs_nobody_a_turn():
    queue = Queue(slots=1)
    first = queue.ask("a", behind=0)
    assert queue.ask("b", behind=0) is not None, "who sends already is not waited behind"
    assert queue.ask("c", behind=0) is None
    assert queue.ask("d", behind=1) is not None
    assert queue.ask("e", behind=1) is None
    assert queue.ask("b2", behind=1) is None, "its own count too"
    assert queue.ask("f") is not None, "the rest wait as long as it takes"
    assert queue.uploads.waiting == 3
    queue.done(first)
    assert queue.ask("c", behind=1) is None
    for waited in list(queue.uploads._sending):
        queue.done(waited)
    assert queue.ask("c", behind=1) is not None
    assert queue.began == ["a", "b", "d"]


def test_peers_take_turns_however_much_they_ask_for():
    queue = Queue(slots=1)
    sending = [queue.ask(name) for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1")]
    for _ in sending:
        queue.done(next(one for one in sending if one in queue.uploads._sending))
    assert queue.began == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


def test_who_hangs_up_while_waiting_loses_the_place():
    queue = Queue(slots=1)
    first, second, _ = [queue.ask(name) for name in ("a", "b", "c")]
    queue.done(second)
    queue.done(second)
    assert queue.uploads.waiting == 1
    queue.done(first)
    assert queue.began == ["a", "c"]


def test_an_end_that_is_told_twice_frees_one_slot():
    queue = Queue(slots=1)
    first, *_ = [queue.ask(name) for name in ("a", "b", "c")]
    queue.done(first)
    queue.done(first)
    assert queue.began == ["a", "b"]


def test_one_that_ends_at_once_lets_the_next_go():
    uploads = Uploads(1)
    first = uploads.ask("a", 10, lambda: None, 0.0)
    began = []

    def begin():
        began.append(1)
        uploads.done(waiting[0], 1.0)

    waiting = [uploads.ask("b", 10, begin, 0.0)]
    uploads.ask("c", 10, lambda: began.append(2), 0.0)
    uploads.done(first, 1.0)
    assert began == [1, 2]
    assert (uploads.sending, uploads.waiting) == (1, 0)


def test_only_so_many_wait_and_only_so_many_of_each_peer():
    queue = Queue(slots=1, waiting=3, a_peer=2)
    first, *_ = [queue.ask(name) for name in ("a1", "a2", "a3")]
    assert queue.ask("a4") is None
    assert queue.ask("b1") is not None
    assert queue.ask("c1") is None
    queue.done(first)
    assert queue.ask("c1") is not None
    assert queue.uploads.waiting == 3


def test_the_first_one_is_overdue_after_two_seconds():
    queue = Queue(slots=1)
    queue.ask("a")
    assert queue.uploads.next_deadline() is None, "nobody waits for the slot"
    queue.ask("b")
    assert queue.uploads.next_deadline() == 102.0
    queue.uploads.overdue(101.9)
    assert queue.began == ["a"]
    queue.uploads.overdue(102.0)
    assert queue.began == ["a", "b"]
    assert queue.uploads.sending == 2, "the slow one goes on"


def measured(slots=1, seconds=1.0):
    """A queue in which 1000 bytes have always taken so long."""
    queue = Queue(slots=slots)
    for _ in range(3):
        queue.done(queue.ask("a", 1000), seconds)
    queue.began.clear()
    return queue


def test_what_is_overdue_goes_by_what_others_took_and_by_the_size():
    queue = measured()
    queue.ask("b", 500)
    queue.ask("c", 3000)
    began = queue.now
    assert queue.uploads.next_deadline() == began + 1.0
    queue.now += 1.0
    queue.uploads.overdue(queue.now)
    assert queue.began == ["b", "c"]
    queue.ask("d")
    assert queue.uploads.next_deadline() == queue.now + 6.0


def test_small_pieces_have_a_moment_all_the_same():
    queue = measured(seconds=1e-6)
    queue.ask("b", 1)
    queue.ask("c", 1)
    assert queue.uploads.next_deadline() == pytest.approx(queue.now + 0.1)


def test_a_slow_one_that_ends_frees_no_slot_that_it_has_not():
    queue = measured()
    slow = queue.ask("b")
    for name in ("c", "d"):
        queue.ask(name)
    queue.now += 2.0
    queue.uploads.overdue(queue.now)
    assert queue.began == ["b", "c"]
    queue.done(slow)
    assert queue.began == ["b", "c"]


def test_however_many_are_slow_not_all_begin():
    queue = measured()
    names = [f"{chr(0x4E00 + number)}" for number in range(100)]
    for name in names:
        queue.ask(name)
    while queue.uploads.next_deadline() is not None:
        queue.now = queue.uploads.next_deadline()
        queue.uploads.overdue(queue.now)
    assert queue.began == names[:MOST_AT_ONCE]
    assert queue.uploads.waiting == 36


PEERS = st.sampled_from("abcde")


class UploadRules(RuleBasedStateMachine):
    """Anything may happen, in any order; a plain model says what must hold."""

    @initialize(slots=st.integers(1, 5), waiting=st.integers(1, 12), a_peer=st.integers(1, 5))
    def begin(self, slots, waiting, a_peer):
        self.now = 0.0
        self.most_slots, self.most_waiting, self.a_peer = slots, waiting, a_peer
        self.slots = min(2, slots)
        self.idle_since = None
        self.uploads = Uploads(slots, waiting=waiting, a_peer=a_peer)
        self.queues = {}  # peer: what it waits for, first come first
        self.passed = {}  # peer that waits: who began since its turn was last
        self.sending = []
        self.known = {}  # serial number: upload
        self.serial = 0

    def began(self, peer, serial):
        assert self.queues[peer].pop(0) == serial, "a peer's own requests stay in order"
        del self.passed[peer]
        if self.queues[peer]:
            self.passed[peer] = set()
        else:
            del self.queues[peer]
        for waiting, before in self.passed.items():
            if waiting != peer:
                assert peer not in before, "nobody has two turns while another waits for one"
                before.add(peer)
        self.sending.append(serial)

    @rule(
        peer=PEERS,
        size=st.sampled_from([0, 1, 1000, 50_000]),
        behind=st.sampled_from([0, 1, 3, inf, inf]),
    )
    def ask(self, peer, size, behind):
        self.serial += 1
        serial = self.serial
        waiting = sum(map(len, self.queues.values()))
        queue = self.queues.setdefault(peer, [])
        full = waiting >= self.most_waiting or len(queue) >= self.a_peer or waiting > behind
        idle = not self.sending and self.idle_since is not None
        if idle and not full and self.now > self.idle_since + 1.0:
            self.slots = min(2, self.most_slots)
        queue.append(serial)
        self.passed.setdefault(peer, set())
        upload = self.uploads.ask(
            peer, size, lambda: self.began(peer, serial), self.now, behind=behind
        )
        assert (upload is None) == full
        if full:
            self.forget(peer, serial)
        else:
            self.known[serial] = upload

    def forget(self, peer, serial):
        self.queues[peer].remove(serial)
        if not self.queues[peer]:
            del self.queues[peer], self.passed[peer]

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def end(self, data):
        serial = data.draw(st.sampled_from(sorted(self.known)))
        upload = self.known.pop(serial)
        if serial in self.sending:
            self.sending.remove(serial)
            self.slots = min(self.slots + 1, self.most_slots)
            self.idle_since = self.now
        else:
            self.forget(upload.peer, serial)
        self.uploads.done(upload, self.now)
        self.uploads.done(upload, self.now)

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0]))
    def pass_time(self, seconds):
        self.now += seconds
        self.uploads.overdue(self.now)

    @rule()
    def wait(self):
        deadline = self.uploads.next_deadline()
        if deadline is not None:
            self.now = max(self.now, deadline)
            self.uploads.overdue(self.now)
            following = self.uploads.next_deadline()
            assert following is None or following > self.now

    @invariant()
    def agrees_with_the_model(self):
        waiting = sum(map(len, self.queues.values()))
        slow = sum(self.known[serial].slow for serial in self.sending)
        assert self.uploads.waiting == waiting
        assert self.uploads.sending == len(self.sending) <= MOST_AT_ONCE
        assert self.uploads.slots == self.slots
        assert len(self.sending) - slow <= self.slots
        if waiting:
            assert len(self.sending) - slow == self.slots or len(self.sending) == MOST_AT_ONCE

    def teardown(self):
        if not hasattr(self, "uploads"):
            return
        while self.sending:
            serial = self.sending.pop(0)
            self.uploads.done(self.known.pop(serial), self.now)
        assert not self.known, "all had their turn"
        assert (self.uploads.sending, self.uploads.waiting) == (0, 0)


UploadRules.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
test_uploads_keep_their_rules = UploadRules.TestCase
