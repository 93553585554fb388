import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from p2pd.errors import Invalid
from p2pd.sim.scenario import Scenario
from p2pd.sim.simulation import Simulation

MB = 1_000_000
SMALL = Scenario(nodes=8, size=20 * MB, up=10 * MB, down=10 * MB)


def run(scenario):
    simulation = Simulation(scenario)
    while not simulation.over:
        simulation.run(10_000)
    for host in simulation.network.hosts.values():
        for pipe in (host.up, host.down):
            assert pipe.peak <= pipe.rate * 1.0001
    return simulation.outcome()


def test_a_pair_needs_what_its_link_needs():
    outcome = run(replace(SMALL, nodes=1, size=50 * MB))
    assert outcome.makespan == pytest.approx(5.0, rel=0.03)
    assert outcome.copies == pytest.approx(1.0)
    assert outcome.shares()[50] == pytest.approx(1.0, rel=0.03)
    assert outcome.wasted == 0


def test_everybody_gets_all_of_it_and_the_seed_sends_few_copies():
    outcome = run(SMALL)
    assert len(outcome.finished) == 8
    assert 2.0 <= outcome.makespan < 6.0
    assert 1.0 <= outcome.copies < 4.0
    assert outcome.received == pytest.approx(8 * 20 * MB * (1 + outcome.wasted), rel=0.01)


def test_headers_take_their_part():
    outcome = run(replace(SMALL, nodes=1, goodput=0.5))
    assert outcome.makespan == pytest.approx(4.0, rel=0.05)
    assert outcome.shares()[50] == pytest.approx(0.5, rel=0.05)


def test_lost_packets_and_long_ways_slow_each_flow():
    lossy = replace(SMALL, nodes=1, size=5 * MB, latency=0.05, loss=0.01)
    assert lossy.flow_rate == pytest.approx(1448 / 0.1 * 1.22 / 0.1)
    outcome = run(lossy)
    assert len(outcome.finished) == 1
    assert outcome.makespan >= 5 * MB / (8 * lossy.flow_rate)


def test_the_same_seed_draws_the_same_luck_and_another_one_does_not():
    first, again, other = (run(replace(SMALL, random_seed=seed)) for seed in (1, 1, 2))
    assert first.to_wire() == again.to_wire()
    assert first.finished != other.finished


def test_the_luck_does_not_lie_in_how_this_process_hashes():
    script = (
        "import json; from p2pd.sim.scenario import Scenario;"
        "from p2pd.sim.simulation import Simulation;"
        "simulation = Simulation(Scenario(nodes=6, size=8_000_000, zones=2, churn=0.2));"
        "simulation.run(10**9); print(json.dumps(simulation.outcome().to_wire()))"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        )
        for seed in ("1", "2")
    ]
    assert printed[0].stdout == printed[1].stdout
    assert json.loads(printed[0].stdout)["died"] == 1


def test_stragglers_are_counted_apart():
    outcome = run(replace(SMALL, stragglers=0.25, straggler_factor=0.1))
    assert len(outcome.finished) == 8
    assert outcome.ideal == pytest.approx(20.0)
    assert outcome.makespan >= 20.0
    fast = [d.ended for d in outcome.downloads if not d.straggles]
    assert len(fast) == 6
    assert max(fast) < 12.0
    assert outcome.shares(straggling=True)[50] > 0.7


def test_who_comes_late_is_measured_from_then_on():
    outcome = run(replace(SMALL, late=1, late_by=3.0))
    (latest,) = (d for d in outcome.downloads if d.began)
    assert latest.ended == outcome.makespan
    assert 5.0 <= latest.ended < 9.0
    assert latest.share(20 * MB) == pytest.approx(2.0 / (latest.ended - 3.0))


def test_the_others_go_on_when_some_die():
    outcome = run(replace(SMALL, churn=0.4))
    assert outcome.died == 3
    assert len(outcome.finished) >= 5
    assert outcome.unfinished == 0


def test_liars_spoil_nothing():
    outcome = run(replace(SMALL, liars=0.25))
    assert len(outcome.finished) == 8
    assert outcome.wasted > 0


def test_the_tracker_is_not_needed_for_long():
    outcome = run(replace(SMALL, tracker_dies=0.5))
    assert len(outcome.finished) == 8
    assert max(outcome.tracker_arrivals) <= 0.5


def test_who_cannot_get_it_is_said_to_never_have():
    outcome = run(replace(SMALL, tracker_dies=0.0))
    assert (outcome.finished, outcome.unfinished, outcome.makespan) == ([], 8, None)
    assert any("8 never did" in line for line in outcome.to_text())
    assert outcome.shares()[50] == 0


def test_zones_are_connected_by_their_boundaries():
    simulation = Simulation(replace(SMALL, zones=3, zone_rate=5 * MB))
    simulation.run(10**9)
    assert len(simulation.outcome().finished) == 8
    crossed = simulation.network.boundaries
    assert len(crossed) == 3
    for pipes in crossed.values():
        for pipe in pipes:
            assert pipe.peak <= pipe.rate * 1.0001
    assert simulation.outcome().makespan >= 20 / 5


def test_the_figures_agree():
    outcome = run(SMALL)
    wire = json.loads(json.dumps(outcome.to_wire()))
    assert wire["completed"] == len(wire["completed_at"]) == 8
    assert wire["makespan"] == wire["completed_at"][-1]
    assert list(wire["share_of_limit"].values()) == sorted(
        wire["share_of_limit"].values(), reverse=True
    )
    assert wire["tracker_requests"] >= 8 * 2
    assert wire["tracker_requests_peak_second"] <= wire["tracker_requests"]
    assert "makespan" in "\n".join(outcome.to_text())


@pytest.mark.parametrize(
    "impossible",
    [{"nodes": 0}, {"late": 9}, {"loss": 0.1, "latency": 0.0}, {"zones": 10}],
)
def test_what_cannot_be_is_refused(impossible):
    with pytest.raises(Invalid):
        replace(SMALL, **impossible)
