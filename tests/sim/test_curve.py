from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from p2pd.sim.curve import draw
from p2pd.sim.scenario import Scenario
from p2pd.sim.simulation import Simulation

SVG = "{http://www.w3.org/2000/svg}"


def drawn(scenario):
    simulation = Simulation(scenario)
    simulation.run(10**9)
    return ET.fromstring(draw(simulation.outcome()))


def points(picture, name):
    (path,) = (each for each in picture.iter(f"{SVG}path") if each.get("class") == name)
    steps = path.get("d").removeprefix("M").split(" L")
    return [tuple(map(float, step.split())) for step in steps]


@pytest.mark.parametrize("nodes", [1, 20])
def test_a_curve_that_rises_to_the_top(nodes):
    picture = drawn(Scenario(nodes=nodes, size=2_000_000))
    assert picture.tag == f"{SVG}svg"
    _, _, width, height = map(float, picture.get("viewBox").split())
    tops = []
    for name in ("curve", "ideal"):
        line = points(picture, name)
        assert all(0 <= x <= width and 0 <= y <= height for x, y in line)
        assert [x for x, _ in line] == sorted(x for x, _ in line)
        assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)
        tops.append(line[-1][1])
    assert tops[0] == tops[1]
    assert points(picture, "ideal")[1][0] < points(picture, "curve")[-2][0]
    text = " ".join(each.text for each in picture.iter(f"{SVG}text"))
    assert "100 %" in text
    assert "seconds" in text


def test_readable_in_the_dark():
    style = next(drawn(Scenario(nodes=1, size=500_000)).iter(f"{SVG}style")).text
    assert "prefers-color-scheme: dark" in style


def test_a_curve_of_nothing():
    picture = drawn(replace(Scenario(nodes=2, size=500_000), tracker_dies=0.0))
    line = points(picture, "curve")
    assert len({y for _, y in line}) == 1
