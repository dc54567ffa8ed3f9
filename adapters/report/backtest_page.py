"""The page of a risk backtest: every tested day against what was forecast for it, and what the tests say."""

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from adapters.report import text
from adapters.report.charts import Figure
from adapters.report.markup import Html, cell, chart, number, say, section, table, tag, tiles

_DAY_MS = 86_400_000
_EPOCH = dt.date(1970, 1, 1)
_SHADES = {"VOLATILE": ("--vwap", 0.10), "CRISIS": ("--cost", 0.18)}


class Curve(msgspec.Struct, frozen=True):
    """One estimator's forecasts for each tested day, positive losses as fractions."""

    name: str
    value_at_risk: Sequence[float]
    expected_shortfall: Sequence[float]


class Listing(msgspec.Struct, frozen=True):
    """A table as it is read; a head that begins with "#" stands above numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows. `tiles` as in `markup.tiles`; regimes by their names."""

    about: str
    tiles: Sequence[tuple[str, str, str, str]]
    notes: Sequence[str]
    dates: Sequence[dt.date]
    returns: Sequence[float]
    regimes: Sequence[str]
    curves: Sequence[Curve]
    listings: Sequence[Listing]


def body(report: Backtest, *, has_charts: bool) -> Iterable[Html]:
    """The page from top to bottom."""
    yield tag("h1", say("Risk backtest"))
    yield tag("p", say(report.about), class_="soft")
    yield from (tag("p", say(note), class_="note") for note in report.notes)
    yield tiles(report.tiles)
    if not has_charts:
        yield tag("p", say(text.WITHOUT_CHARTS), class_="note")
    else:
        shades = tag("p", say("Shaded: the regime was volatile (light) or a crisis (dark)."), class_="soft")
        for curve in report.curves:
            yield section(
                f"Exceedances, {curve.name}", shades, chart(curve.name, f"Returns and {curve.name} forecasts")
            )
    yield from listed(report.listings)


def listed(listings: Iterable[Listing]) -> Iterable[Html]:
    """Each table as a section, its notes below it."""
    for listing in listings:
        notes = (tag("p", say(note), class_="soft") for note in listing.notes)
        yield section(listing.title, table(listing.head, _cells(listing)), *notes)


def figures(report: Backtest) -> dict[str, Figure]:
    """The page's charts by the name of their place."""
    return {curve.name: exceedances(report, curve) for curve in report.curves}


def exceedances(report: Backtest, curve: Curve) -> Figure:
    """Returns as bars, VaR and ES as lines below them, marks where the loss went beyond."""
    x = [(date - _EPOCH).days * _DAY_MS for date in report.dates]
    days = list(zip(x, report.returns, curve.value_at_risk, curve.expected_shortfall, strict=True))
    tail = [(at, value) for at, value, var, es in days if var < -value <= es]
    beyond = [(at, value) for at, value, _, es in days if -value > es]
    bars = {
        "type": "bar",
        "name": "return",
        "x": x,
        "y": _percents(report.returns),
        "marker": {"color": "--volume"},
        "hovertemplate": "%{y:.2f} %<extra></extra>",
    }
    data = [
        bars,
        _line("VaR 97.5 %", x, curve.value_at_risk, {"color": "--vwap", "width": 1, "dash": "dot"}),
        _line("ES 97.5 %", x, curve.expected_shortfall, {"color": "--average", "width": 1.5}),
        _marks(f"beyond VaR alone, {len(tail)}", tail, "--vwap"),
        _marks(f"beyond ES, {len(beyond)}", beyond, "--cost"),
    ]
    layout = {
        "height": 400,
        "bargap": 0,
        "hovermode": "closest",
        "xaxis": {"type": "date", "range": [x[0] - 5 * _DAY_MS, x[-1] + 5 * _DAY_MS]},
        "yaxis": {"title": {"text": "return of the day, %"}, "zeroline": True},
        "shapes": list(_shades(x, report.regimes)),
    }
    return {"data": data, "layout": layout}


def _line(name: str, x: Sequence[int], losses: Sequence[float], line: Figure) -> Figure:
    return {
        "name": name,
        "x": x,
        "y": _percents([-loss for loss in losses]),
        "mode": "lines",
        "line": line,
        "hovertemplate": f"{name}: %{{y:.2f}} %<extra></extra>",
    }


def _marks(name: str, points: Sequence[tuple[int, float]], colour: str) -> Figure:
    return {
        "name": name,
        "x": [at for at, _ in points],
        "y": _percents([value for _, value in points]),
        "mode": "markers",
        "marker": {"color": colour, "size": 7, "line": {"color": "--paper", "width": 1}},
        "hovertemplate": "%{x|%Y-%m-%d}: %{y:.2f} %<extra></extra>",
    }


def _shades(x: Sequence[int], regimes: Sequence[str]) -> Iterable[Figure]:
    """A rectangle for each run of days in one regime, up to the day after it."""
    for regime, run in groupby(range(len(x)), key=regimes.__getitem__):
        days = list(run)
        if regime in _SHADES:
            colour, opacity = _SHADES[regime]
            yield {
                "type": "rect",
                "layer": "below",
                "yref": "paper",
                "x0": x[days[0]],
                "x1": x[days[-1]] + _DAY_MS,
                "y0": 0,
                "y1": 1,
                "fillcolor": colour,
                "opacity": opacity,
                "line": {"width": 0},
            }


def _cells(listing: Listing) -> Iterable[list[Html]]:
    for row in listing.rows:
        yield [
            number(value) if name.startswith("#") else cell(value)
            for name, value in zip(listing.head, row, strict=True)
        ]


def _percents(values: Sequence[float]) -> list[float]:
    return [round(value * 100.0, 3) for value in values]
