"""The page of algorithms side by side: every parent is a dot up to a bound, every mean has its interval or none."""

import sys
from pathlib import Path

import msgspec
import pytest

from adapters.report import compare_page
from adapters.report.backtest_page import Listing
from adapters.report.compare_page import Comparison, Costs, Dot, Example, Means, Whisker, curves, dots, whiskers
from adapters.report.html import write_comparison
from core.units import NS_PER_S
from tests.adapters.report.pages import Page

DAYS = ["2025-03-03", "2025-03-04"]
COSTS = Costs("Costs vs arrival, bps", {"TWAP": [Dot("<a>", 0, 1.0), Dot("b", 1, 4.0)], "POV": []})
REPORT = Comparison(
    about="two <parents>",
    tiles=[("POV less TWAP", "-1.00 bps", "-2.00 to 0.00", "")],
    notes=["POV & co"],
    days=DAYS,
    costs=[COSTS],
    means=[Means("vs arrival", [Whisker("TWAP", 2.5, 1.0, 4.5), Whisker("POV", -1.0, None, None)])],
    differences_to="TWAP",
    differences=[Means("vs arrival", [])],
    example=Example("<a>", {"TWAP": [(NS_PER_S, 0.0), (2 * NS_PER_S, 100.0)], "POV": [(NS_PER_S, 0.0)]}),
    listings=[Listing("Costs", ("Algorithm", "#vs arrival"), [("TWAP", "2.50"), ("POV", "-")])],
)


def test_a_parent_is_a_dot_beside_its_algorithm() -> None:
    found, mean, nothing, no_mean = dots(COSTS, DAYS)["data"]
    assert (found["y"], found["text"], found["marker"]["color"]) == ([1.0, 4.0], ["<a>", "b"], [0, 1])
    assert all(abs(x) < 0.5 for x in found["x"])
    assert mean["y"] == [2.5, 2.5]
    assert (nothing["y"], no_mean["y"]) == ([], [None, None])


def test_a_mean_has_its_interval_or_none() -> None:
    (marks,) = whiskers(REPORT.means)["data"]
    assert (marks["x"], marks["y"]) == ([2.5, -1.0], [0.0, 1.0])
    assert (marks["error_x"]["array"], marks["error_x"]["arrayminus"]) == ([2.0, 0.0], [1.5, 0.0])


def test_an_interval_that_ends_at_zero_is_drawn_to_there() -> None:
    (marks,) = whiskers([Means("vs arrival", [Whisker("POV", -1.0, -2.0, 0.0), Whisker("IS", 1.0, 0.0, 2.0)])])["data"]
    assert (marks["error_x"]["array"], marks["error_x"]["arrayminus"]) == ([1.0, 1.0], [1.0, 1.0])


def test_an_execution_is_a_step() -> None:
    twap, _ = curves(REPORT.example)["data"] if REPORT.example is not None else ({}, {})
    assert (twap["x"], twap["y"], twap["line"]["shape"]) == ([1_000, 2_000], [0.0, 100.0], "hv")


def test_thousands_of_parents_make_no_large_page(tmp_path: Path) -> None:
    many = [Dot(f"parent {number}" * 9, number % 2, float(number)) for number in range(20_000)]
    algos = {f"A{number}": many for number in range(9)}
    steps = [(number * NS_PER_S, number / 200.0) for number in range(20_000)]
    report = msgspec.structs.replace(
        REPORT, costs=[Costs("one", algos), Costs("other", algos)], example=Example("x" * 999, {"TWAP": steps})
    )
    page = Page(write_comparison(report, tmp_path / "out.html"))
    assert len(page.source) < 2_000_000
    drawn = page.charts["costs-0"]["data"][0]
    assert (len(drawn["y"]), drawn["y"][0], drawn["y"][-1]) == (compare_page.DOTS_MAX, 0.0, 19_999.0)
    assert page.charts["costs-0"]["data"][1]["y"] == [9_999.5, 9_999.5]  # the mean is of all
    assert page.charts["example"]["data"][0]["y"][-1] == 100.0
    assert f"Of more than {compare_page.DOTS_MAX} parents" in page.text


def test_where_nothing_ended_there_is_still_a_page(tmp_path: Path) -> None:
    nothing = msgspec.structs.replace(
        REPORT, days=[], costs=[Costs("one", {"TWAP": [], "POV": []})], means=[Means("one", [])], example=None
    )
    page = Page(write_comparison(nothing, tmp_path / "out.html"))
    assert set(page.places) == set(page.charts) == {"differences", "means", "costs-0"}


def test_the_page_holds_text_and_tables_and_its_scripts_beside_it(tmp_path: Path) -> None:
    page = Page(write_comparison(REPORT, tmp_path / "new" / "out.html"))
    assert "two &lt;parents&gt;" in page.source
    assert "POV &amp; co" in page.source
    assert page.row("POV") == ["POV", "–"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"out.html", "plotly.min.js", "report.js"}
    assert set(page.places) == set(page.charts) == {"differences", "means", "costs-0", "example"}


def test_without_plotly_it_says_so_and_keeps_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    page = Page(write_comparison(REPORT, tmp_path / "out.html"))
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]
    assert page.row("TWAP") == ["TWAP", "2.50"]
    assert "pip install" in page.source
    assert "<script" not in page.source
