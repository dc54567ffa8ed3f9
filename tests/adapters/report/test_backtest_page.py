"""The page of a risk backtest: every day is drawn, and every exceedance marked once."""

import datetime as dt
import sys
from pathlib import Path

import pytest

from adapters.report.backtest_page import Backtest, Curve, Listing, exceedances, figures
from adapters.report.html import write_backtest
from tests.adapters.report.pages import Page

DAYS = [dt.date(2020, 1, 2) + dt.timedelta(days=number) for number in range(5)]
REPORT = Backtest(
    about="two <symbols>",
    tiles=[("Beyond VaR, plain", "2.5%", "1 of 40", ""), ("Z2, plain", "-2.00", "fail", "cost")],
    notes=["AAA & co: 3 days stand in"],
    dates=DAYS,
    returns=[0.01, -0.021, -0.031, -0.02, 0.0],
    regimes=["NORMAL", "VOLATILE", "CRISIS", "CRISIS", "NORMAL"],
    curves=[Curve("plain", [0.02] * 5, [0.03] * 5), Curve("filtered", [0.01] * 5, [0.015] * 5)],
    listings=[Listing("Tests", ("Test", "#plain"), [("Z2", "-2.00 fail"), ("Z1", "-")], ("Right is right.",))],
)


def test_a_day_is_marked_where_its_loss_went() -> None:
    figure = exceedances(REPORT, REPORT.curves[0])
    bars, var, es, tail, beyond = figure["data"]
    assert bars["y"] == [1.0, -2.1, -3.1, -2.0, 0.0]
    assert (var["y"], es["y"]) == ([-2.0] * 5, [-3.0] * 5)
    assert (tail["name"], tail["y"]) == ("beyond VaR alone, 1", [-2.1])
    assert (beyond["name"], beyond["y"], beyond["x"]) == ("beyond ES, 1", [-3.1], [bars["x"][2]])
    assert dt.datetime.fromtimestamp(bars["x"][0] / 1_000, dt.UTC).date() == DAYS[0]


def test_runs_of_a_regime_are_shaded() -> None:
    light, dark = exceedances(REPORT, REPORT.curves[0])["layout"]["shapes"]
    x = exceedances(REPORT, REPORT.curves[0])["data"][0]["x"]
    assert (light["x0"], light["x1"]) == (x[1], x[2])
    assert (dark["x0"], dark["x1"]) == (x[2], x[4])
    assert light["fillcolor"] != dark["fillcolor"]


def test_the_page_holds_text_and_tables_and_its_scripts_beside_it(tmp_path: Path) -> None:
    page = Page(write_backtest(REPORT, tmp_path / "new" / "out.html"))
    assert "two &lt;symbols&gt;" in page.source
    assert "AAA &amp; co" in page.source
    assert page.row("Z2") == ["Z2", "−2.00 fail"]
    assert page.row("Z1") == ["Z1", "–"]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"out.html", "plotly.min.js", "report.js"}
    assert set(figures(REPORT)) == {"plain", "filtered"}
    assert 'id="filtered"' in page.source
    assert "http" not in page.source.replace('http-equiv="Content-Security-Policy"', "")


def test_without_plotly_it_says_so_and_keeps_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    page = Page(write_backtest(REPORT, tmp_path / "out.html"))
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]
    assert page.row("Z2") == ["Z2", "−2.00 fail"]
    assert "pip install" in page.source
    assert "<script" not in page.source
