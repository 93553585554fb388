import math
import random

import pytest

from p2pd.sim.clock import HeapClock
from p2pd.sim.fluid import Fluid, Pipe


class Network:
    def __init__(self):
        self.clock = HeapClock()
        self.fluid = Fluid(self.clock)
        self.ended = {}

    def start(self, name, pipes, size, cap=math.inf, at=0.0):
        def moved(count):
            if count == size:
                self.ended[name] = self.clock.seconds()

        self.clock.soon(at, self.fluid.start, pipes, [size], cap, moved)

    def run(self):
        self.clock.run(10**9, 1e6)
        return {name: pytest.approx(at, rel=0.02) for name, at in self.ended.items()}


@pytest.fixture
def network():
    return Network()


def test_one_flow_has_the_narrowest_pipe(network):
    network.start("a", [Pipe(100), Pipe(50), Pipe(80)], 500)
    assert network.run() == {"a": 10}


def test_a_flow_keeps_to_its_cap_and_leaves_the_rest(network):
    pipe = Pipe(100)
    network.start("slow", [pipe, Pipe(100)], 200, cap=20)
    network.start("fast", [pipe, Pipe(100)], 800)
    assert network.run() == {"slow": 10, "fast": 10}


def test_flows_share_a_pipe_and_take_what_others_leave(network):
    up = Pipe(100)
    network.start("a", [up, Pipe(100)], 500)
    network.start("b", [up, Pipe(100)], 1000)
    assert network.run() == {"a": 10, "b": 15}


def test_a_late_flow_gets_its_share(network):
    up = Pipe(100)
    network.start("a", [up, Pipe(100)], 1000)
    network.start("b", [up, Pipe(100)], 250, at=5.0)
    assert network.run() == {"b": 10, "a": 12.5}


def test_what_a_cut_frees_elsewhere_is_used(network):
    left, right, down = Pipe(100), Pipe(100), Pipe(100)
    network.start("a", [left, down], 500)
    network.start("c", [left, Pipe(100)], 500)
    network.start("b", [right, down], 750)
    # First a and c halve the left uplink, then a and b the downlink; nothing is idle.
    assert network.run() == {"a": 10, "c": 10, "b": 12.5}


def test_marks_are_passed_one_by_one_and_long_ways_are_told_of(network):
    passed = []
    network.fluid.start([Pipe(100)], [50, 100, 400], math.inf, passed.append)
    network.run()
    assert [passed[0], passed[1], passed[-1]] == [50, 100, 400]
    assert passed == sorted(passed)
    assert passed[2:] == [pytest.approx(at, abs=1) for at in range(150, 401, 50)]


def test_a_flow_can_be_stopped_and_its_share_goes_to_the_others(network):
    up = Pipe(100)
    flow = network.fluid.start([up, Pipe(100)], [1000], math.inf, lambda _: None)
    network.start("b", [up, Pipe(100)], 1000)
    stopped = []
    network.clock.soon(5.0, lambda: stopped.append(network.fluid.stop(flow)))
    assert network.run() == {"b": 12.5}
    assert stopped == [pytest.approx(250, abs=2)]
    assert network.fluid.stop(flow) == stopped[0]
    assert up.passed(network.clock.seconds()) == pytest.approx(1250, abs=2)


@pytest.mark.parametrize("count", [30, 400])
def test_no_pipe_carries_more_than_its_rate_and_none_is_idle(network, count):
    rng = random.Random(count)
    ups = [Pipe(rng.choice([10, 100])) for _ in range(10)]
    downs = [Pipe(rng.choice([10, 100])) for _ in range(10)]
    shared = Pipe(300)
    for each in range(count):
        pipes = [rng.choice(ups), rng.choice(downs)]
        if each % 2:
            pipes.append(shared)
        network.start(each, pipes, rng.randrange(100, 300), at=rng.uniform(0, 2))
    loads = []

    def look():
        for pipe in (*ups, *downs, shared):
            for flow in pipe.flows:
                free = min(each.rate - each.load for each in flow.pipes)
                loads.append(free / pipe.rate)

    for at in range(1, 100):
        network.clock.soon(at, look)
    assert len(network.run()) == count
    for pipe in (*ups, *downs, shared):
        assert pipe.peak <= pipe.rate * 1.0001
        assert pipe.load == pytest.approx(0, abs=1e-6)
        assert not pipe.flows
    assert max(loads) < 0.1
