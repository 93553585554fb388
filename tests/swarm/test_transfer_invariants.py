import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from p2pd.metainfo.bitfield import Bitfield
from p2pd.swarm.transfer import Limits, Transfer

SIZE = 16
SIZES = [100 * (index + 1) for index in range(SIZE)]
LIMITS = Limits(per_peer=2)
PEERS = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "origin-1", "origin-2"])
INDEXES = st.integers(0, SIZE - 1)
FEW = st.sets(INDEXES, max_size=3)
SETS = st.integers(0, 2**SIZE - 1).map(lambda bits: {i for i in range(SIZE) if bits >> i & 1})


def field(indexes):
    made = Bitfield(SIZE)
    for index in indexes:
        made.add(index)
    return made


def is_origin(peer):
    return peer.startswith("origin")


def finish(transfer, now, good):
    """Go on with one good peer, while all others are silent, until it is complete."""
    for _ in range(1000):
        if transfer.complete:
            return
        request = transfer.next_request(now)
        answered = [one for one in transfer.outstanding() if one.peer == good]
        if request is None and answered:
            transfer.delivered(good, answered[0].index, now)
        elif request is None:
            deadline = transfer.next_deadline()
            assert deadline is not None, "stuck for ever"
            assert deadline > now
            now = deadline
            transfer.expired(now)
    raise AssertionError("did not finish")


class TransferRules(RuleBasedStateMachine):
    """Anything may happen, in any order; a plain model says what must hold."""

    @initialize(have=FEW, unwanted=FEW, seed=st.integers(0, 9))
    def begin(self, have, unwanted, seed):
        self.now = 100.0
        self.have = set(have)
        self.wanted = set(range(SIZE)) - unwanted
        self.held = {}  # of those present
        self.banned = set()
        self.rests = {}  # peer, present or not: (end of its back-off, whether it is a long one)
        self.out = {}  # (peer, index): when it was asked
        self.urgent = False
        self.transfer = Transfer(
            SIZES,
            field(have),
            random.Random(seed),
            wanted=field(self.wanted),
            limits=LIMITS,
        )

    def note_rests(self):
        for facts in self.transfer.peers():
            until = facts.backing_off_until
            if until is None:
                self.rests.pop(facts.peer, None)
            elif self.rests.get(facts.peer, (None,))[0] != until:
                self.rests[facts.peer] = (until, until - self.now > LIMITS.aside)

    def drop(self, requests):
        for request in requests:
            del self.out[request.peer, request.index]

    def some_request(self, data):
        return data.draw(st.sampled_from(sorted(self.out)))

    # What a plain reading of the rules gives.

    def missing(self):
        return self.wanted - self.have

    def unasked(self):
        return self.missing() - {index for _, index in self.out}

    def counted(self, peer):
        aside = self.rests.get(peer, (0, False))[1]
        return not is_origin(peer) and peer not in self.banned and not aside

    def availability(self, index):
        return sum(index in self.held[peer] for peer in self.held if self.counted(peer))

    def in_flight(self, peer):
        return sum(one == peer for one, _ in self.out)

    def may_ask(self, peer, index):
        return (
            peer in self.held
            and index in self.held[peer]
            and peer not in self.banned
            and peer not in self.rests
            and self.in_flight(peer) < LIMITS.per_peer
            and (peer, index) not in self.out
            and not (is_origin(peer) and self.availability(index))
        )

    def askable(self):
        return {i for i in self.unasked() if any(self.may_ask(peer, i) for peer in self.held)}

    def obtainable(self):
        origin = any(is_origin(peer) and peer not in self.banned for peer in self.held)
        return {index for index in self.unasked() if origin or self.availability(index)}

    # Happenings.

    @rule(peer=PEERS, pieces=SETS)
    def join(self, peer, pieces):
        self.transfer.peer_joined(peer, self.now, origin=is_origin(peer))
        if is_origin(peer):
            self.held[peer] = set(range(SIZE))
        else:
            self.transfer.peer_has_bitfield(peer, field(pieces), self.now)
            self.held[peer] = set(pieces)
        self.note_rests()

    @rule(peer=PEERS)
    def leave(self, peer):
        mine = {request for request in self.out if request[0] == peer}
        dropped = self.transfer.peer_left(peer, self.now)
        assert {(one.peer, one.index) for one in dropped} == mine
        self.drop(dropped)
        self.held.pop(peer, None)

    @rule(peer=PEERS, index=INDEXES)
    def has(self, peer, index):
        self.transfer.peer_has(peer, index, self.now)
        if peer in self.held:
            self.held[peer].add(index)

    @rule(peer=PEERS, index=INDEXES)
    def lost(self, peer, index):
        self.transfer.peer_lost(peer, index, self.now)
        if peer in self.held and not is_origin(peer):
            self.held[peer].discard(index)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), count=st.integers(1, 100))
    def receive(self, data, count):
        peer, index = self.some_request(data)
        self.transfer.received(peer, index, count, self.now)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), late=st.integers(0, 9))
    def deliver(self, data, late):
        peer, index = self.some_request(data)
        if not late:
            peer = data.draw(PEERS)  # one that was given up before
        self.out.pop((peer, index), None)
        copies = {request for request in self.out if request[1] == index}
        moot = self.transfer.delivered(peer, index, self.now)
        assert {(one.peer, one.index) for one in moot} == copies
        self.drop(moot)
        self.have.add(index)

    @rule(index=st.integers(0, 3))
    def fill(self, index):
        self.drop(self.transfer.filled(index))
        self.have.add(index)

    @precondition(lambda self: self.out and len(self.banned) < 3)
    @rule(data=st.data())
    def corrupt(self, data):
        peer, index = self.some_request(data)
        del self.out[peer, index]
        self.drop(self.transfer.corrupt(peer, index, self.now))
        assert not self.in_flight(peer)
        self.banned.add(peer)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def fail(self, data):
        request = self.some_request(data)
        self.transfer.failed(*request, self.now)
        del self.out[request]
        self.note_rests()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def lack(self, data):
        peer, index = self.some_request(data)
        self.transfer.lacks(peer, index, self.now)
        del self.out[peer, index]
        if not is_origin(peer):
            self.held[peer].discard(index)
        self.note_rests()
        assert is_origin(peer) or peer in self.rests

    @rule(indexes=st.lists(INDEXES, max_size=3))
    def urge(self, indexes):
        self.transfer.urge(indexes)
        self.urgent = bool(indexes)

    @rule(seconds=st.sampled_from([0.1, 0.6, 3.0, 11.0, 70.0]))
    def pass_time(self, seconds):
        self.now += seconds
        late = self.transfer.expired(self.now)
        for request in late:
            assert self.now - self.out[request.peer, request.index] >= LIMITS.stall
        self.drop(late)
        self.note_rests()
        deadline = self.transfer.next_deadline()
        assert deadline is None or deadline > self.now

    # Wishes.

    @rule()
    def ask_all(self):
        self.ask(100)

    @rule(times=st.integers(1, 3))
    def ask(self, times):
        for _ in range(times):
            askable = self.askable()
            obtainable = self.obtainable()
            request = self.transfer.next_request(self.now)
            if request is None:
                assert not askable
                return
            assert request.length == SIZES[request.index]
            assert request.index in self.missing()
            assert self.may_ask(request.peer, request.index)
            if askable:
                assert request.index in askable
                fewest = min(map(self.availability, askable))
                assert self.urgent or self.availability(request.index) == fewest
            else:
                assert not obtainable
                copies = sum(index == request.index for _, index in self.out)
                assert copies < LIMITS.endgame_copies
            self.out[request.peer, request.index] = self.now

    @invariant()
    def agrees_with_the_model(self):
        transfer = self.transfer
        assert set(transfer.have) == self.have
        assert transfer.bytes_left == sum(SIZES[index] for index in self.missing())
        assert transfer.complete == (not self.missing())
        asked = [(one.peer, one.index) for one in transfer.outstanding()]
        assert sorted(asked) == sorted(self.out)
        assert transfer.banned == self.banned
        for index in range(SIZE):
            assert transfer.availability(index) == self.availability(index)
        for facts in transfer.peers():
            assert facts.in_flight == self.in_flight(facts.peer) <= LIMITS.per_peer
            assert facts.pieces_held == len(self.held[facts.peer])
        assert {facts.peer for facts in transfer.peers()} == set(self.held)

    def teardown(self):
        if not hasattr(self, "transfer"):
            return
        self.transfer.peer_joined("good", self.now)
        self.transfer.peer_has_bitfield("good", Bitfield.full(SIZE), self.now)
        finish(self.transfer, self.now, "good")


TransferRules.TestCase.settings = settings(max_examples=120, stateful_step_count=80, deadline=None)
test_transfer_keeps_its_rules = TransferRules.TestCase
