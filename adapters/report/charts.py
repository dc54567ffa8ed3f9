"""The charts of a report as Plotly figures: plain data, drawn by the page.

A colour is the name of one of the style sheet's variables, so that light and dark are the reader's choice. Even samples
come as a start and a step, which keeps pages small.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import Any

from adapters.report import text
from adapters.report.data import Fill, Parent
from core.orders import Side
from core.units import NS_PER_MS, ZERO

Figure = dict[str, Any]

MARKERS_MAX = 300  # fills on one price chart; more are drawn in groups
BARS_MAX = 40  # parents on the chart of costs, those with the largest shortfall
_ROW_PX = 30
_FRAME_PX = 120  # legend and axis of the chart of costs


def costs(parents: Sequence[Parent]) -> Figure:
    """Parts of the shortfall, stacked, one bar for each parent; a mark where they add up."""
    shown = sorted(parents, key=lambda parent: -abs(parent.cost.shortfall))[:BARS_MAX]
    shown.sort(key=lambda parent: (-parent.cost.start, parent.cost.parent_id))  # bars are drawn from the bottom
    numbers = list(range(len(shown)))
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": numbers,
            "x": [_money(getattr(parent.cost, name)) for parent in shown],
            "marker": {"color": f"--{name}"},
            "hovertemplate": f"{name} %{{x:,.2f}}<extra></extra>",
        }
        for name in text.PARTS
    ]
    mark = {
        "type": "scatter",
        "mode": "markers",
        "name": "shortfall",
        "y": numbers,
        "x": [_money(parent.cost.shortfall) for parent in shown],
        "marker": {"symbol": "diamond", "size": 9, "color": "--ink"},
        "hovertemplate": "shortfall %{x:,.2f}<extra></extra>",
    }
    names = [escape(text.title(parent.cost), quote=False) for parent in shown]
    axis = {"tickvals": numbers, "ticktext": names, "automargin": True, "zeroline": False}
    layout = {
        "barmode": "relative",
        "height": _FRAME_PX + _ROW_PX * len(shown),
        "hovermode": "closest",
        "xaxis": {"title": {"text": _unit(parents)}, "zeroline": True},
        "yaxis": axis,
    }
    return {"data": [*bars, mark], "layout": layout}


def price(parent: Parent) -> Figure:
    """The mid with the fills on it, the benchmarks as lines, and the market's volume below."""
    report = parent.cost
    lines = {
        "arrival": (report.arrival_px, {"color": "--arrival", "dash": "dot"}),
        "average": (report.avg_px, {"color": "--average"}),
        "market VWAP": (report.market_vwap, {"color": "--vwap", "dash": "dash"}),
    }
    data = [
        *_market(parent),
        *(_line(parent, name, value, line) for name, (value, line) in lines.items() if value is not None),
        _markers(parent),
    ]
    layout = {
        "height": 460,
        "xaxis": {"type": "date", "anchor": "y2"},
        "yaxis": {"domain": [0.26, 1], "title": {"text": f"price, {escape(report.currency, quote=False)}"}},
        "yaxis2": {"domain": [0, 0.2], "title": {"text": "volume"}, "rangemode": "tozero"},
    }
    return {"data": data, "layout": layout}


def progress(parent: Parent) -> Figure:
    """What should have been done, as steps, against what was done."""
    report = parent.cost
    fills = [fill for fill in parent.fills if not fill.busted]
    done = [(report.start, ZERO), *((fill.ts, fill.cum_qty) for fill in _grouped(fills))]
    planned = [(report.start, ZERO), *parent.schedule]
    last = max(report.ts, *(ts for ts, _ in (*done, *planned)))
    ends = last + (last - report.start) // 50  # room to see the last step
    data = [
        {**_steps("schedule", planned, ends, "--schedule"), "fill": "tozeroy", "fillcolor": "--planned"},
        _steps("filled", done, ends, "--average"),
    ]
    layout = {
        "height": 340,
        "xaxis": {"type": "date"},
        "yaxis": {"title": {"text": "quantity"}, "rangemode": "tozero"},
    }
    return {"data": data if parent.schedule else data[1:], "layout": layout}


def waterfall(parent: Parent) -> Figure:
    """From nothing to the shortfall, part by part."""
    values = [*(getattr(parent.cost, name) for name in text.PARTS), parent.cost.shortfall]
    bars = {
        "type": "waterfall",
        "x": [*text.PARTS, "shortfall"],
        "y": [_money(value) for value in values],
        "measure": ["relative"] * len(text.PARTS) + ["total"],
        "text": [text.cost(value).replace("-", "−") for value in values],
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "none",
        "increasing": {"marker": {"color": "--cost"}},
        "decreasing": {"marker": {"color": "--gain"}},
        "totals": {"marker": {"color": "--schedule"}},
        "connector": {"line": {"color": "--line", "width": 1}},
    }
    layout = {"height": 340, "showlegend": False, "yaxis": {"title": {"text": _unit([parent])}, "zeroline": True}}
    return {"data": [bars], "layout": layout}


# Traces ---------------------------------------------------------------------------------------------------------------


def _market(parent: Parent) -> list[Figure]:
    path = parent.path
    if path is None:
        return []
    step = path.step / NS_PER_MS
    mid = {
        "name": "mid",
        "x0": path.start / NS_PER_MS,
        "dx": step,
        "y": path.mid,
        "mode": "lines",
        "line": {"color": "--mid", "width": 1.5},
        "hovertemplate": "mid %{y:,.4f}<extra></extra>",
    }
    volume = {
        "type": "bar",
        "name": "market volume",
        "x0": path.start / NS_PER_MS + step / 2,
        "dx": step,
        "y": [int(value) if value.is_integer() else value for value in path.volume],
        "yaxis": "y2",
        "marker": {"color": "--volume"},
        "showlegend": False,
        "hovertemplate": "volume %{y:,}<extra></extra>",
    }
    return [mid, volume]


def _line(parent: Parent, name: str, value: Decimal, line: Figure) -> Figure:
    return {
        "name": f"{name} {text.price(value)}",
        "x": [_ms(parent.cost.start), _ms(parent.cost.ts)],
        "y": [float(value)] * 2,
        "mode": "lines",
        "line": {"width": 1.5, **line},
        "hoverinfo": "skip",
    }


def _markers(parent: Parent) -> Figure:
    standing = [fill for fill in parent.fills if not fill.busted]
    fills = _grouped(standing)
    largest = max((fill.last_qty for fill in fills), default=Decimal(1))
    is_buy = parent.cost.side is Side.BUY
    return {
        "name": "fills" if len(fills) == len(standing) else f"{len(standing):,} fills in groups",
        "x": [_ms(fill.ts) for fill in fills],
        "y": [float(fill.last_px) for fill in fills],
        "text": [text.qty(fill.last_qty) for fill in fills],
        "mode": "markers",
        "marker": {
            "symbol": "triangle-up" if is_buy else "triangle-down",
            "size": [_size(fill.last_qty / largest) for fill in fills],
            "color": "--fill",
            "line": {"color": "--paper", "width": 1},
        },
        "hovertemplate": "%{text} at %{y:,.4f}<extra></extra>",
    }


def _size(part: Decimal) -> float:
    """Diameter of a marker whose area is in proportion to a part of the largest, but not too small to see."""
    return round(6 + 9 * math.sqrt(part), 1)


def _grouped(fills: Sequence[Fill]) -> list[Fill]:
    """The fills, or, where they are too many, groups of neighbours at their average price."""
    size = -(-len(fills) // MARKERS_MAX)
    return list(fills) if size <= 1 else [_merged(fills[i : i + size]) for i in range(0, len(fills), size)]


def _merged(fills: Sequence[Fill]) -> Fill:
    last = fills[-1]
    qty = sum((fill.last_qty for fill in fills), ZERO)
    notional = sum((fill.last_qty * fill.last_px for fill in fills), ZERO)
    return Fill(
        ts=last.ts,
        exec_id=last.exec_id,
        venue=last.venue,
        last_qty=qty,
        last_px=notional / qty,
        fee=sum((fill.fee for fill in fills), ZERO),
        multiplier=last.multiplier,
        cum_qty=last.cum_qty,
        mid=last.mid,
        busted=False,
        late=False,
    )


def _steps(name: str, points: Iterable[tuple[int, Decimal]], ends: int, colour: str) -> Figure:
    steps = list(points)
    steps.append((ends, steps[-1][1]))
    return {
        "name": name,
        "x": [_ms(ts) for ts, _ in steps],
        "y": [float(value) for _, value in steps],
        "mode": "lines",
        "line": {"shape": "hv", "width": 2, "color": colour},
        "hovertemplate": f"{name} %{{y:,}}<extra></extra>",
    }


def _unit(parents: Sequence[Parent]) -> str:
    return escape(", ".join(sorted({parent.cost.currency for parent in parents})), quote=False)


def _ms(ts: int) -> int:
    return ts // NS_PER_MS


def _money(value: Decimal) -> float:
    return round(float(value), 2)
