"""Whom a download follows."""

import random

import pytest
from twisted.internet.task import Clock

from p2pd.node.bans import Bans
from p2pd.node.neighbours import Neighbours


class Link:
    """A link that only knows whether it is open."""

    def __init__(self, peer):
        self.key = peer
        self.open = True

    def follow(self, torrent, follower):
        pass

    def close(self):
        self.open = False


class Following:
    """Neighbours, the links they made, and what they told their follower."""

    def __init__(self):
        self.clock = Clock()
        self.links = []
        self.joined = []
        self.left = []
        self.busy = set()
        self.neighbours = Neighbours(
            self._link, self, None, clock=self.clock, bans=Bans(), rng=random.Random(1)
        )

    def _link(self, peer, _origin):
        self.links.append(Link(peer))
        return self.links[-1]

    def peer_joined(self, peer, *, origin, near):
        self.joined.append((peer, near))

    def peer_left(self, peer):
        self.left.append(peer)

    def idle(self, peer):
        return peer not in self.busy

    def followed(self, kind):
        """Who of a kind is followed now."""
        return [link.key for link in self.links if link.open and link.key.startswith(kind)]

    def meet(self, kind, count, **options):
        for number in range(count):
            self.neighbours.meet(f"{kind}-{number}", **options)

    def linked(self):
        """How many of each kind are followed now."""
        kinds = [link.key.partition("-")[0] for link in self.links if link.open]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


@pytest.fixture
def following():
    made = Following()
    yield made
    made.neighbours.close()
    assert made.linked() == {}
    assert made.clock.getDelayedCalls() == []


def test_without_zones_all_links_are_for_whoever_comes(following):
    following.meet("far", 100)
    assert following.linked() == {"far": 60}
    assert following.joined[0] == ("far-0", False)


def test_a_quarter_of_the_links_is_for_other_zones(following):
    following.meet("near", 100, near=True)
    assert following.linked() == {"near": 45}
    following.meet("far", 100)
    assert following.linked() == {"far": 15, "near": 45}


def test_a_link_that_becomes_free_is_for_a_near_spare(following):
    following.meet("far", 100)
    following.meet("near", 2, near=True)
    assert following.linked() == {"far": 60}
    for peer in following.followed("far")[:3]:
        following.neighbours.gone(peer, "for the test")
    assert following.linked() == {"far": 58, "near": 2}


def test_near_links_that_break_make_room_for_near_ones(following):
    following.meet("near", 100, near=True)
    following.meet("far", 100)
    gone, liar, *_ = following.followed("near")
    following.neighbours.gone(gone, "for the test")
    following.neighbours.banned(liar)
    assert following.linked() == {"far": 15, "near": 45}
    following.neighbours.gone(following.followed("far")[0], "for the test")
    assert following.linked() == {"far": 15, "near": 45}


def test_a_peer_turns_out_to_be_near(following):
    following.neighbours.meet("one", near=False)
    following.neighbours.meet("one", near=True)
    following.neighbours.meet("one", near=False)
    assert following.joined == [("one", False), ("one", True)]
    following.neighbours.gone("one", "for the test")
    following.clock.advance(2)
    assert following.joined[2:] == [("one", True)]


def test_who_comes_first_is_followed_no_more_than_who_comes_last(following):
    following.meet("peer", 600)
    numbers = [int(peer.partition("-")[2]) for peer in following.followed("peer")]
    assert len(numbers) == 60
    assert sum(number < 300 for number in numbers) == pytest.approx(30, abs=12)
    assert len(following.left) == len(following.links) - 60
    assert set(following.left).isdisjoint(following.followed("peer"))


def test_whom_something_is_being_fetched_from_is_not_let_go(following):
    following.meet("first", 60)
    following.busy.update(following.followed("first"))
    following.meet("later", 300)
    assert following.linked() == {"first": 60}
    idle = following.followed("first")[7]
    following.busy.remove(idle)
    following.meet("last", 300)
    assert following.left[0] == idle


def test_origins_are_let_go_for_nobody(following):
    following.neighbours.meet("origin", origin=True)
    following.meet("far", 600)
    following.meet("near", 600, near=True)
    assert following.linked()["origin"] == 1
