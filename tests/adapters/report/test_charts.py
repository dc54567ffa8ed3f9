"""Charts draw the numbers that the tables state."""

from decimal import Decimal
from itertools import accumulate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from adapters.report import charts
from adapters.report.charts import MARKERS_MAX
from adapters.report.data import Fill, RunReport
from core.units import NS_PER_MS, ZERO
from tests.adapters.report.story import at

SIZES = st.lists(st.tuples(st.integers(1, 500), st.integers(1, 900)), min_size=1, max_size=1_000)


def fills(sizes: list[tuple[int, int]]) -> list[Fill]:
    done = accumulate(size for size, _ in sizes)
    return [
        Fill(
            ts=i,
            exec_id=str(i),
            venue="v",
            last_qty=Decimal(size),
            last_px=Decimal(px),
            fee=Decimal(1),
            multiplier=Decimal(1),
            cum_qty=Decimal(cum),
            mid=None,
            busted=False,
            late=False,
        )
        for i, ((size, px), cum) in enumerate(zip(sizes, done, strict=True))
    ]


@given(SIZES)
def test_groups_of_fills_keep_quantity_value_and_progress(sizes: list[tuple[int, int]]) -> None:
    groups = charts._grouped(fills(sizes))
    assert len(groups) <= MARKERS_MAX
    assert sum(group.last_qty for group in groups) == sum(size for size, _ in sizes)
    value = sum((group.last_qty * group.last_px for group in groups), ZERO)
    assert abs(value - sum(size * px for size, px in sizes)) < Decimal("1e-15")
    assert groups[-1].cum_qty == sum(size for size, _ in sizes)


def trace(figure: charts.Figure, name: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [one for one in figure["data"] if one["name"] == name]
    return found


def test_bars_of_costs_are_the_parts_of_each_parent(report: RunReport) -> None:
    figure = charts.costs(report.parents)
    newest_first = report.parents[::-1]
    for name in ("delay", "spread", "impact", "timing", "opportunity", "fees", "shortfall"):
        drawn = trace(figure, name)["x"]
        assert drawn == [round(float(getattr(parent.cost, name)), 2) for parent in newest_first]


def test_only_the_largest_costs_are_drawn(report: RunReport) -> None:
    largest = max(report.parents, key=lambda parent: abs(parent.cost.shortfall))
    figure = charts.costs([*report.parents, *[largest] * charts.BARS_MAX])
    assert trace(figure, "shortfall")["x"] == [round(float(largest.cost.shortfall), 2)] * charts.BARS_MAX


def test_fills_are_drawn_where_they_happened_without_those_taken_back(report: RunReport) -> None:
    drawn = trace(charts.price(report.parents[0]), "fills")
    assert drawn["x"] == [at(second) // NS_PER_MS for second in (10, 30, 46)]
    assert drawn["y"] == [250.02, 250.17, 250.31]
    sizes = drawn["marker"]["size"]
    assert sizes[0] < sizes[1] > sizes[2]


def test_a_chart_whose_fills_are_grouped_says_so(report: RunReport) -> None:
    many = structs.replace(report.parents[0], fills=tuple(fills([(1, 250)] * (MARKERS_MAX + 1))))
    assert len(trace(charts.price(many), "301 fills in groups")["x"]) == 151


def test_benchmarks_are_lines_over_the_parents_life(report: RunReport) -> None:
    figure = charts.price(report.parents[0])
    for name, value in {
        "arrival 250.0000": 250.0,
        "average 250.1480": 250.148,
    }.items():
        line = trace(figure, name)
        assert (line["x"], line["y"]) == ([at(2) // NS_PER_MS, at(60) // NS_PER_MS], [value, value])


def test_progress_shows_the_plan_beside_what_was_done(report: RunReport) -> None:
    figure = charts.progress(report.parents[0])
    assert trace(figure, "schedule")["y"] == [0, 50, 120, 200, 200]
    assert trace(figure, "filled")["y"] == [0, 50, 120, 150, 150]
    without_plan = charts.progress(report.parents[1])
    assert [one["name"] for one in without_plan["data"]] == ["filled"]


def test_a_waterfall_falls_to_the_shortfall(report: RunReport) -> None:
    for parent in report.parents:
        (bars,) = charts.waterfall(parent)["data"]
        *parts, whole = bars["y"]
        assert abs(sum(parts) - whole) < 0.04  # six parts, each rounded to the cent
        assert bars["measure"][-1] == "total"
