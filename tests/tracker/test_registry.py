"""Who is alive."""

import pytest

from p2pd.errors import Unavailable
from p2pd.metainfo.ids import Address, NodeId
from p2pd.tracker.registry import Registry

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
HERE, THERE = Address("here:1"), Address("there:1")


@pytest.fixture
def registry():
    return Registry(timeout=10, memory=100, capacity=2)


def test_a_node_lives_for_the_timeout_after_each_beat(registry):
    assert registry.beat(A, HERE, 0)
    assert not registry.beat(A, THERE, 5)
    assert registry.expire(15) == []
    assert registry.address(A) == THERE
    assert registry.expire(15.1) == [A]
    assert registry.address(A) is None
    assert A not in registry
    assert registry.beat(A, HERE, 16)
    assert A in registry


def test_only_the_silent_expire(registry):
    registry.beat(A, HERE, 0)
    registry.beat(B, THERE, 1)
    registry.beat(A, HERE, 8)
    assert registry.expire(12) == [B]
    assert list(registry.sessions()) == [A]
    assert len(registry) == 1


def test_absent_nodes_are_remembered_for_a_while(registry):
    registry.beat(A, HERE, 0)
    registry.remember(B, 5)
    assert registry.expire(20) == [A]
    assert registry.forget(105) == []
    assert registry.forget(106) == [B]
    assert registry.forget(121) == [A]


def test_what_a_node_says_keeps_it_remembered(registry):
    registry.remember(A, 0)
    registry.remember(A, 90)
    assert registry.forget(150) == []


def test_remembering_a_live_node_changes_nothing(registry):
    registry.beat(A, HERE, 0)
    registry.remember(A, 1)
    assert registry.forget(1000) == []
    assert A in registry


def test_knows_no_more_nodes_than_it_may(registry):
    registry.beat(A, HERE, 0)
    registry.remember(B, 0)
    for refused in (lambda: registry.beat(C, HERE, 0), lambda: registry.remember(C, 0)):
        with pytest.raises(Unavailable, match="2 nodes"):
            refused()
    registry.beat(B, HERE, 0)
    registry.leave(A)
    registry.beat(C, HERE, 0)
    assert set(registry.sessions()) == {B, C}
