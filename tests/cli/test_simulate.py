import io
import json
from xml.etree import ElementTree as ET

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from p2pd.cli.main import parser, perform
from p2pd.cli.outcome import Exit
from p2pd.cli.output import Output
from p2pd.cli.simulate import scenario
from p2pd.sim.scenario import Scenario

QUICK = ("simulate", "--nodes", "3", "--size", "2MB")


def run(*argv):
    """The exit code, and what was printed on both streams."""
    arguments = parser().parse_args(argv)
    stdout, stderr = io.StringIO(), io.StringIO()
    out = Output(stdout, stderr, as_json=arguments.json)
    clock, ended = Clock(), []
    Deferred.fromCoroutine(perform(clock, arguments, out)).addBoth(ended.append)
    for _ in range(10_000):
        if ended:
            break
        clock.advance(0)
    return ended[0], stdout.getvalue(), stderr.getvalue()


def test_it_prints_figures_for_people():
    status, stdout, stderr = run(*QUICK)
    assert status is Exit.DONE
    assert "3 of 3 nodes" in stdout
    assert "makespan" in stdout
    assert stderr.startswith("took ")


def test_it_prints_the_same_again_for_scripts(tmp_path):
    picture = tmp_path / "curve.svg"
    status, stdout, stderr = run(*QUICK, "--json", "--svg", str(picture))
    assert (status, stderr) == (Exit.DONE, "")
    document = json.loads(stdout)
    assert document["completed"] == 3
    assert document["scenario"]["size"] == 2_000_000
    assert ET.parse(picture).getroot().tag.endswith("svg")
    assert run(*QUICK, "--json")[1] == stdout
    assert run(*QUICK, "--json", "--random-seed", "2")[1] != stdout


def test_the_options_make_a_scenario():
    argv = (
        "simulate --nodes 30 --size 1GiB --piece-length 4MiB --up 100Mbit --down 1Gbit "
        "--seed-up 300MB --latency 0.05 --loss 0.01 --goodput 0.945 --zones 3 --zone-rate 2Gbit "
        "--stragglers 0.1:0.25 --late 4:2.5 --churn 0.05 --liars 0.02 --tracker-dies 2 "
        "--request-time 0.002 --verify-time 0 --tracker-time 0.001 --random-seed 7"
    )
    assert scenario(parser().parse_args(argv.split())) == Scenario(
        nodes=30,
        size=1 << 30,
        piece_length=4 << 20,
        up=12_500_000,
        down=125_000_000,
        seed_up=300_000_000,
        latency=0.05,
        loss=0.01,
        goodput=0.945,
        zones=3,
        zone_rate=250_000_000,
        stragglers=0.1,
        straggler_factor=0.25,
        late=4,
        late_by=2.5,
        churn=0.05,
        liars=0.02,
        tracker_dies=2.0,
        request_time=0.002,
        verify_time=0.0,
        tracker_time=0.001,
        random_seed=7,
    )


def test_without_options_it_is_the_scenario_as_it_comes():
    assert scenario(parser().parse_args(["simulate"])) == Scenario()


@pytest.mark.parametrize(
    "options",
    [
        "--nodes 0",
        "--nodes -3",
        "--nodes many",
        "--size 0",
        "--up fast",
        "--up 0",
        "--down 10Mbps",
        "--loss 2",
        "--loss nan",
        "--latency -1",
        "--latency soon",
        "--goodput 0",
        "--stragglers 0.1",
        "--stragglers 0.1:0",
        "--late 3",
        "--late x:1",
        "--churn 1.5",
        "--tracker-dies never",
        "--random-seed -1",
    ],
)
def test_wrong_values(options, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["simulate", *options.split()])
    assert ended.value.code == Exit.USAGE
    assert options.split()[0] in capsys.readouterr().err


def test_what_cannot_be_simulated():
    status, stdout, stderr = run(*QUICK, "--late", "4:1")
    assert (status, stdout) == (Exit.USAGE, "")
    assert "4 nodes cannot come late" in stderr
    assert run(*QUICK, "--piece-length", "1MB")[0] is Exit.DONE
    assert run(*QUICK, "--piece-length", "1")[0] is Exit.USAGE


def test_a_picture_that_cannot_be_written(tmp_path):
    status, _, stderr = run(*QUICK, "--svg", str(tmp_path / "not" / "there.svg"))
    assert status is Exit.FAILED
    assert "cannot be written" in stderr
