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
        self.neighbours = Neighbours(
            self._link, self, None, clock=self.clock, bans=Bans(), rng=random.Random(1)
        )

    def _link(self, peer, _origin):
        self.links.append(Link(peer))
        return self.links[-1]

    def peer_joined(self, peer, *, origin, near):
        self.joined.append((peer, near))

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
    for number in range(3):
        following.neighbours.gone(f"far-{number}", "for the test")
    assert following.linked() == {"far": 58, "near": 2}


def test_near_links_that_break_make_room_for_near_ones(following):
    following.meet("near", 100, near=True)
    following.meet("far", 100)
    following.neighbours.gone("near-0", "for the test")
    following.neighbours.banned("near-1")
    assert following.linked() == {"far": 15, "near": 45}
    following.neighbours.gone("far-0", "for the test")
    assert following.linked() == {"far": 15, "near": 45}


def test_a_peer_turns_out_to_be_near(following):
    following.neighbours.meet("one", near=False)
    following.neighbours.meet("one", near=True)
    following.neighbours.meet("one", near=False)
    assert following.joined == [("one", False), ("one", True)]
    following.neighbours.gone("one", "for the test")
    following.clock.advance(2)
    assert following.joined[2:] == [("one", True)]
