"""The completion curve as an SVG: which part of the nodes was done when, beside the ideal."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from p2pd.sim.report import Outcome, ideal_finish

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 50, 50
_MOST_POINTS = 500
_TICKS = 8

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #333 }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #ddd }
.curve { stroke: #0a66c2; stroke-width: 2.5; fill: none }
.ideal { stroke: #888; stroke-width: 1.5; stroke-dasharray: 5 4; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd }
  .grid { stroke: #444 }
  .curve { stroke: #6cb2ff }
  .ideal { stroke: #999 }
}"""


def draw(outcome: Outcome) -> str:
    """Draw the completion curve of a simulation."""
    finished = outcome.finished
    ideal = sorted(ideal_finish(outcome.scenario, d) for d in outcome.downloads if not d.died)
    ideal[-1:] = [outcome.ideal]
    longest = max([*finished[-1:], *ideal[-1:]])
    step = _step(longest)
    last = step * (int(longest / step) + 1)
    scenario = outcome.scenario
    title = (
        f"{scenario.size / 1e6:.0f} MB to {scenario.nodes} nodes: "
        f"{len(finished)} complete, seed sent {outcome.copies:.2f} copies"
    )
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}"'
    key = "solid: simulated, dashed: ideal"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
            f"<style>\n{_STYLE}\n</style>",
            f'<text class="title" x="{_LEFT}" y="24">{escape(title)}</text>',
            *_grid(step, last),
            _line("ideal", ideal, len(outcome.downloads), last),
            _line("curve", finished, len(outcome.downloads), last),
            f'<text x="{_WIDTH - _RIGHT}" y="42" text-anchor="end">{key}</text>',
            "</svg>\n",
        ]
    )


def _step(last: float) -> float:
    """Give a round number of seconds for the distance of the grid's lines."""
    step = 10.0**-4
    while True:
        for times in (1, 2, 5):
            if last / (step * times) <= _TICKS:
                return step * times
        step *= 10


def _grid(step: float, last: float) -> list[str]:
    lines = []
    for percent in range(0, 101, 25):
        y = _y(percent / 100)
        lines.append(_path("grid", [(_LEFT, y), (_WIDTH - _RIGHT, y)]))
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 4:g}" text-anchor="end">{percent} %</text>')
    for tick in range(round(last / step) + 1):
        x = _x(tick * step, last)
        lines.append(_path("grid", [(x, _y(0)), (x, _y(1))]))
        lines.append(
            f'<text x="{x:g}" y="{_y(0) + 20:g}" text-anchor="middle">{tick * step:g}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    lines.append(f'<text x="{middle:g}" y="{_HEIGHT - 8}" text-anchor="middle">seconds</text>')
    return lines


def _line(name: str, times: Sequence[float], total: int, last: float) -> str:
    """Draw the part of `total` that was done by each of the times, as stairs."""
    points = [(_x(0, last), _y(0))]
    every = -(-len(times) // _MOST_POINTS) or 1
    for place, at in enumerate(times):
        if place % every == 0 or place == len(times) - 1:
            points.append((_x(at, last), points[-1][1]))
            points.append((_x(at, last), _y((place + 1) / total)))
    points.append((_x(last, last), points[-1][1]))
    return _path(name, points)


def _path(name: str, points: Sequence[tuple[float, float]]) -> str:
    return f'<path class="{name}" d="M{" L".join(f"{x:g} {y:g}" for x, y in points)}"/>'


def _x(seconds: float, last: float) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / last, 2)


def _y(part: float) -> float:
    return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * part, 2)
