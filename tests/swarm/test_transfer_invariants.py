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
LIMITS = (
    Limits(least_ahead=2, ahead=0.0),
    Limits(least_ahead=1, ahead=0.0, shares=3, endgame_copies=1),
    Limits(least_ahead=2, ahead=0.5, most_batch=2000, shares=4),
    Limits(least_ahead=1, ahead=2.0, shares=2, stall=30.0, min_timeout=60.0),
)
PEER_NAMES = ["a", "b", "c", "d", "e", "f", "g", "origin-1", "origin-2"]
PEERS = st.sampled_from(PEER_NAMES)
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

    @initialize(have=FEW, unwanted=FEW, seed=st.integers(0, 9), limits=st.sampled_from(LIMITS))
    def begin(self, have, unwanted, seed, limits):
        self.now = 100.0
        self.limits = limits
        self.soonest = limits.stall  # that a request may be given up
        self.have = set(have)
        self.wanted = set(range(SIZE)) - unwanted
        self.held = {}  # of those present
        self.banned = set()
        self.rests = {}  # peer, present or not: (end of its back-off, whether it is a long one)
        self.out = {}  # (peer, index): when it was asked
        self.came = {}  # (peer, index): bytes of those
        self.rates = dict.fromkeys(PEER_NAMES, 0.0)  # the highest that was measured
        self.near = {}  # of those present
        self.promises = {}  # of those present
        self.broken = []  # (when an origin may be asked for them, pieces promised till then)
        self.urgent = []
        self.transfer = Transfer(
            SIZES,
            field(have),
            random.Random(seed),
            wanted=field(self.wanted),
            limits=limits,
        )

    def note_rests(self):
        for facts in self.transfer.peers():
            until = facts.backing_off_until
            if until is None:
                self.rests.pop(facts.peer, None)
            elif self.rests.get(facts.peer, (None,))[0] != until:
                self.rests[facts.peer] = (until, until - self.now > self.limits.aside)

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

    def bytes_in_flight(self, peer):
        return sum(
            max(0, SIZES[index] - self.came.get((one, index), 0))
            for one, index in self.out
            if one == peer
        )

    def has_little_to_do(self, peer):
        return self.in_flight(peer) < self.limits.least_ahead

    def can_take_more(self, peer):
        ahead = self.rates[peer] * self.limits.ahead
        return self.has_little_to_do(peer) or self.bytes_in_flight(peer) < ahead

    def would_give(self, peer, index):
        return (
            peer in self.held
            and index in self.held[peer]
            and peer not in self.banned
            and peer not in self.rests
            and (peer, index) not in self.out
            and not (is_origin(peer) and (self.availability(index) or self.is_kept_back(index)))
        )

    def is_kept_back(self, index):
        return any(until > self.now and index in pieces for until, pieces in self.broken)

    def useful(self, may_ask):
        return {
            peer
            for peer in self.held
            if may_ask(peer) and any(self.would_give(peer, one) for one in self.unasked())
        }

    def askable(self, may_ask):
        givers = [peer for peer in self.held if may_ask(peer)]
        return {i for i in self.unasked() if any(self.would_give(peer, i) for peer in givers)}

    def promised(self):
        return set().union(*self.promises.values())

    def obtainable(self):
        origin = any(is_origin(peer) and peer not in self.banned for peer in self.held)
        return {index for index in self.unasked() if origin or self.availability(index)}

    # Happenings.

    @rule(peer=PEERS, pieces=SETS, near=st.booleans())
    def join(self, peer, pieces, near):
        self.transfer.peer_joined(peer, self.now, origin=is_origin(peer), near=near)
        self.near[peer] = near
        if is_origin(peer):
            self.held[peer] = set(range(SIZE))
        else:
            self.transfer.peer_has_bitfield(peer, field(pieces), self.now)
            self.held[peer] = set(pieces)
        self.promises.setdefault(peer, set())
        self.note_rests()

    @rule(peer=PEERS)
    def leave(self, peer):
        mine = {request for request in self.out if request[0] == peer}
        dropped = self.transfer.peer_left(peer, self.now)
        assert {(one.peer, one.index) for one in dropped} == mine
        self.drop(dropped)
        self.held.pop(peer, None)
        self.promises.pop(peer, None)

    @rule(peer=PEERS, indexes=FEW)
    def has(self, peer, indexes):
        self.transfer.peer_has(peer, indexes, self.now)
        if peer in self.held:
            self.held[peer] |= indexes

    @rule(peer=PEERS, indexes=FEW)
    def promise(self, peer, indexes):
        self.transfer.peer_promised(peer, indexes, self.now)
        if peer in self.promises:
            self.promises[peer] |= indexes
            self.broken.append((self.now + self.limits.stall, indexes))

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
        self.came[peer, index] = self.came.get((peer, index), 0) + count

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

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def turn_away(self, data):
        peer, index = self.some_request(data)
        failures = {facts.peer: facts.failures for facts in self.transfer.peers()}
        self.transfer.busy(peer, index, self.now)
        del self.out[peer, index]
        self.note_rests()
        shortest = self.limits.busy * (1 - self.limits.backoff_jitter)
        assert self.rests[peer][0] >= self.now + shortest
        assert failures == {facts.peer: facts.failures for facts in self.transfer.peers()}

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def withdraw(self, data):
        request = self.some_request(data)
        self.transfer.withdrawn(*request)
        del self.out[request]
        assert self.transfer.outstanding() or not self.out

    @rule(limits=st.sampled_from(LIMITS))
    def set_limits(self, limits):
        self.transfer.set_limits(limits, self.now)
        self.limits = limits
        self.soonest = min(self.soonest, limits.stall)
        self.note_rests()

    @rule(indexes=st.lists(INDEXES, max_size=3))
    def urge(self, indexes):
        self.transfer.urge(indexes)
        self.urgent = list(dict.fromkeys(indexes))

    @rule(seconds=st.sampled_from([0.1, 0.6, 3.0, 11.0, 70.0]))
    def pass_time(self, seconds):
        self.now += seconds
        late = self.transfer.expired(self.now)
        for request in late:
            assert self.now - self.out[request.peer, request.index] >= self.soonest
        self.drop(late)
        self.note_rests()
        deadline = self.transfer.next_deadline()
        assert deadline is None or deadline > self.now

    # Wishes.

    @rule()
    def ask_all(self):
        self.ask(100, batches=False)

    @rule(times=st.integers(1, 3), batches=st.booleans())
    def ask(self, times, batches):
        for _ in range(times):
            request = self.ask_one()
            if request is None:
                return
            if batches:
                self.ask_more(request)

    def ask_one(self):
        # More may be asked of a peer that is fast; how fast it is, is not known here to a T.
        surely = self.askable(self.has_little_to_do)
        askable = self.askable(self.can_take_more)
        rates = {facts.peer: facts.rate for facts in self.transfer.peers()}
        request = self.transfer.next_request(self.now)
        if request is None:
            assert not surely
            self.check_promises_end()
            return None
        assert request.length == SIZES[request.index]
        assert request.index in self.missing()
        assert self.can_take_more(request.peer)
        assert self.would_give(request.peer, request.index)
        if request.index in self.unasked():
            assert request.index in askable
            self.check_order(request, surely, rates)
        else:
            assert not surely
            assert not self.obtainable()
            copies = sum(index == request.index for _, index in self.out)
            assert copies < self.limits.endgame_copies
        self.note_asked(request)
        return request

    def check_promises_end(self):
        ready = any(
            is_origin(peer)
            and peer not in self.banned
            and peer not in self.rests
            and self.has_little_to_do(peer)
            for peer in self.held
        )
        until = min((until for until, _ in self.broken if until > self.now), default=None)
        if ready and until is not None:
            assert self.transfer.next_deadline() <= until

    def check_order(self, request, surely, rates):
        """Urgent pieces go first, then what only an origin gives, then peers by their load."""
        peer, index = request.peer, request.index
        urgent = [one for one in self.urgent if one in surely or one == index]
        if urgent:
            assert index == urgent[0]
        elif is_origin(peer):
            self.check_choice(index, surely & self.askable(is_origin))
        else:
            assert not any(is_origin(one) for one in self.useful(self.has_little_to_do))
            self.check_peer(peer, rates)
            self.check_choice(index, self.unasked() & self.held[peer])

    def check_peer(self, peer, rates):
        surely = self.useful(self.has_little_to_do)
        if not self.near[peer]:
            assert not any(self.near[one] for one in surely)
        alike = [
            one
            for one in self.useful(self.can_take_more)
            if self.near[one] == self.near[peer] and not is_origin(one)
        ]
        slow = max(rates[one] for one in alike) / 8
        for one in surely.intersection(alike):
            if rates[one] >= slow or not rates[one]:
                assert self.in_flight(peer) <= self.in_flight(one)

    def check_choice(self, index, others):
        if any(one in self.urgent for one in (index, *others)):
            return
        scarce = others - self.promised()
        if index in self.promised():
            assert not scarce
        else:
            others = scarce
        assert all(self.availability(index) <= self.availability(one) for one in others)

    def ask_more(self, request):
        unasked = len(self.unasked())
        peer = request.peer
        rate = next(facts.rate for facts in self.transfer.peers() if facts.peer == peer)
        left = self.limits.batch_of(rate) - request.length
        more = self.transfer.more_requests(request, self.now)
        assert len(more) <= unasked // self.limits.shares
        assert not more or not is_origin(peer)
        assert sum(one.length for one in more) <= max(0, left)
        for one in more:
            assert one.peer == peer
            assert one.index in self.unasked()
            assert self.would_give(peer, one.index)
            self.check_choice(one.index, self.unasked() & self.held[peer])
            self.note_asked(one)

    def note_asked(self, request):
        self.out[request.peer, request.index] = self.now
        self.came.pop((request.peer, request.index), None)

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
            assert facts.in_flight == self.in_flight(facts.peer)
            self.rates[facts.peer] = max(self.rates[facts.peer], facts.rate)
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
