"""The page of algorithms side by side: what each parent cost under each, the means, and how far they are apart.

Its size is bounded: of many parents, dots are drawn at even ranks of their costs, so that the spread stays to be seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from adapters.report import text
from adapters.report.backtest_page import Listing, listed
from adapters.report.charts import Figure
from adapters.report.markup import Html, chart, say, section, tag, tiles
from core.units import NS_PER_MS

DOTS_MAX = 500  # of one algorithm on one chart: parents, or steps of a curve
NAME_MAX = 80  # characters of a parent's name
_SPREAD = 0.32  # how far dots lie beside their algorithm's place, at most
_GOLDEN = 0.6180339887498949  # its multiples, less their whole part, never fall on one another
_ROW_PX = 30
_FRAME_PX = 90
COLOURS = ("--average", "--vwap", "--timing", "--arrival", "--gain", "--delay", "--cost", "--fees", "--schedule")

_Point = TypeVar("_Point")


class Dot(msgspec.Struct, frozen=True):
    """One parent's cost under one algorithm, bps; `day` as a place in the page's days."""

    parent: str
    day: int
    cost: float


class Costs(msgspec.Struct, frozen=True):
    """One measure: each algorithm's parents."""

    title: str
    algos: Mapping[str, Sequence[Dot]]


class Whisker(msgspec.Struct, frozen=True):
    """A mean in bps with its interval; without one where `low` is None."""

    algo: str
    mean: float
    low: float | None
    high: float | None


class Means(msgspec.Struct, frozen=True):
    """One measure: the mean of each algorithm that has one."""

    title: str
    whiskers: Sequence[Whisker]


class Example(msgspec.Struct, frozen=True):
    """One parent's executions under each algorithm: (ns UTC, percent of its quantity done from then on)."""

    title: str
    curves: Mapping[str, Sequence[tuple[int, float]]]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows. `tiles` as in `markup.tiles`; the chart of differences is headed by what they are to."""

    about: str
    tiles: Sequence[tuple[str, str, str, str]]
    notes: Sequence[str]
    days: Sequence[str]
    costs: Sequence[Costs]
    means: Sequence[Means]
    differences_to: str
    differences: Sequence[Means]
    example: Example | None
    listings: Sequence[Listing]


def body(report: Comparison, *, has_charts: bool) -> Iterable[Html]:
    """The page from top to bottom."""
    yield tag("h1", say("Algorithms side by side"))
    yield tag("p", say(report.about), class_="soft")
    yield from (tag("p", say(note), class_="note") for note in report.notes)
    yield tiles(report.tiles)
    yield from listed(report.listings)
    if not has_charts:
        yield tag("p", say(text.WITHOUT_CHARTS), class_="note")
        return
    yield tag(
        "div",
        section(f"Differences to {report.differences_to}, bps", chart("differences", "Paired differences")),
        section("Means, bps", chart("means", "Mean costs and their intervals")),
        class_="pair",
    )
    yield tag(
        "div",
        *(section(costs.title, chart(name, costs.title)) for name, costs in _named(report.costs)),
        class_="pair",
    )
    said = "A dot is a parent, its colour the day; the line is the mean."
    if any(len(dots) > DOTS_MAX for costs in report.costs for dots in costs.algos.values()):
        said += f" Of more than {DOTS_MAX} parents those at even ranks are drawn."
    yield tag("p", say(said), class_="soft")
    if report.example is not None:
        yield section(f"One parent: {report.example.title[:NAME_MAX]}", chart("example", "Executions of one parent"))


def figures(report: Comparison) -> dict[str, Figure]:
    """The page's charts by the name of their place."""
    charts = {
        "differences": whiskers(report.differences),
        "means": whiskers(report.means),
        **{name: dots(costs, report.days) for name, costs in _named(report.costs)},
    }
    return charts if report.example is None else charts | {"example": curves(report.example)}


def whiskers(measures: Sequence[Means]) -> Figure:
    """A mark for each mean, its interval as a line; algorithms from top to bottom, measures beside each other."""
    algos = list(dict.fromkeys(each.algo for measure in measures for each in measure.whiskers))
    room = 0.6 / max(len(measures), 1)
    data = []
    for number, (measure, colour) in enumerate(zip(measures, COLOURS, strict=False)):
        shift = room * (number - (len(measures) - 1) / 2)
        data.append(
            {
                "name": measure.title,
                "x": [round(each.mean, 2) for each in measure.whiskers],
                "y": [round(algos.index(each.algo) + shift, 3) for each in measure.whiskers],
                "error_x": {
                    "array": [_reach(each.mean, each.high) for each in measure.whiskers],
                    "arrayminus": [_reach(each.mean, each.low) for each in measure.whiskers],
                    "color": colour,
                    "thickness": 1.5,
                },
                "mode": "markers",
                "marker": {"color": colour, "size": 9},
                "hovertemplate": f"{measure.title} %{{x:.2f}} bps<extra></extra>",
            }
        )
    layout = {
        "height": _FRAME_PX + _ROW_PX * max(len(measures), 2) * max(len(algos), 1),
        "hovermode": "closest",
        "xaxis": {"title": {"text": "bps, positive hurts"}, "zeroline": True},
        "yaxis": {
            "tickvals": list(range(len(algos))),
            "ticktext": algos,
            "range": [len(algos) - 0.5, -0.5],
            "showgrid": False,
        },
    }
    return {"data": data, "layout": layout}


def dots(costs: Costs, days: Sequence[str]) -> Figure:
    """Every algorithm's parents above its name, and their mean as a line."""
    data: list[Figure] = []
    for place, found in enumerate(costs.algos.values()):
        shown = _thinned(sorted(found, key=lambda dot: (dot.cost, dot.parent)))
        data.append(
            {
                "x": [round(place + _SPREAD * (2 * (rank * _GOLDEN % 1) - 1), 3) for rank in range(len(shown))],
                "y": [round(dot.cost, 2) for dot in shown],
                "text": [dot.parent[:NAME_MAX] for dot in shown],
                "mode": "markers",
                "marker": {"color": [dot.day for dot in shown], "coloraxis": "coloraxis", "size": 6, "opacity": 0.75},
                "hovertemplate": "%{text}: %{y:.2f} bps<extra></extra>",
            }
        )
        mean = sum(dot.cost for dot in found) / len(found) if found else None
        data.append(
            {
                "x": [place - 0.42, place + 0.42],
                "y": [mean, mean],
                "mode": "lines",
                "line": {"color": "--ink", "width": 2},
                "hoverinfo": "skip",
            }
        )
    last = len(days) - 1
    told = sorted({0, last // 2, last}) if days else []
    layout = {
        "height": 400,
        "showlegend": False,
        "hovermode": "closest",
        "xaxis": {
            "tickvals": list(range(len(costs.algos))),
            "ticktext": list(costs.algos),
            "range": [-0.6, len(costs.algos) - 0.4],
        },
        "yaxis": {"title": {"text": "bps, positive hurts"}, "zeroline": True},
        "coloraxis": {
            "colorscale": [[0, "#3f78d8"], [0.5, "#d08a1d"], [1, "#c4427f"]],  # to be seen on light and on dark
            "cmin": 0,
            "cmax": max(last, 1),
            "showscale": last > 0,
            "colorbar": {
                "thickness": 10,
                "tickvals": told,
                "ticktext": [days[day] for day in told],
            },
        },
    }
    return {"data": data, "layout": layout}


def curves(example: Example) -> Figure:
    """How far one parent was, as steps."""
    data = [
        {
            "name": algo,
            "x": [ts // NS_PER_MS for ts, _ in _thinned(steps)],
            "y": [round(part, 2) for _, part in _thinned(steps)],
            "mode": "lines",
            "line": {"shape": "hv", "width": 2, "color": colour},
            "hovertemplate": f"{algo} %{{y:.1f}} %<extra></extra>",
        }
        for (algo, steps), colour in zip(example.curves.items(), COLOURS, strict=False)
    ]
    layout = {
        "height": 360,
        "xaxis": {"type": "date", "title": {"text": "UTC"}},
        "yaxis": {"title": {"text": "done, % of its quantity"}, "range": [0, 104]},
    }
    return {"data": data, "layout": layout}


def _reach(mean: float, end: float | None) -> float:
    return 0.0 if end is None else round(abs(end - mean), 2)


def _named(costs: Sequence[Costs]) -> Iterable[tuple[str, Costs]]:
    return ((f"costs-{number}", each) for number, each in enumerate(costs))


def _thinned(points: Sequence[_Point]) -> Sequence[_Point]:
    """All points, or DOTS_MAX at even distances, the first and the last among them."""
    last, ends = len(points) - 1, DOTS_MAX - 1
    return points if last <= ends else [points[rank * last // ends] for rank in range(DOTS_MAX)]
