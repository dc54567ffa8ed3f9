"""The pages hold every number, rounded once, and nothing that a browser would run or fetch from elsewhere."""

import re
import sys
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest
from msgspec import structs

from adapters.report import html, index_page, parent_page, text
from adapters.report.data import RunReport, load
from adapters.report.html import write
from core.events import CostReport
from core.orders import Side
from core.signals import Algo, Change, Urgency
from tests.adapters.report import story
from tests.adapters.report.pages import Page
from tests.adapters.store.support import database
from tests.builders import amended, amendment

PAGE_BYTES_MAX = 24_000


@pytest.fixture(scope="module")
def folder(report: RunReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The story's pages."""
    return write(report, tmp_path_factory.mktemp("report") / "new" / "folder").parent


def pages(folder: Path) -> list[Page]:
    return [Page(path) for path in sorted(folder.glob("*.html"))]


def rounded(value: Decimal | None, places: int, *, signed: bool = False) -> str:
    """A number as it should be written, the slow way."""
    if value is None:
        return "–"
    exact = value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    digits = f"{abs(exact):,f}"
    return ("−" if exact < 0 else "+" if signed and exact > 0 else "") + digits


def slipped(cost: CostReport, benchmark: Decimal | None) -> str:
    if cost.avg_px is None or benchmark is None:
        return "–"
    sign = 1 if cost.side is Side.BUY else -1
    return rounded(sign * (cost.avg_px / benchmark - 1) * 10_000, 1, signed=True)


TITLES = {"P1": "BUY 200 AAPL TWAP", "P2": "SELL 40 MSFT MARKET", "P3": "SELL 7 AAPL LIMIT"}


@pytest.mark.parametrize("cost", story.costs(), ids=lambda cost: cost.parent_id)
def test_a_parents_row_holds_the_numbers_of_its_cost_report(folder: Path, cost: CostReport) -> None:
    row = Page(folder / "index.html").row(TITLES[cost.parent_id])
    assert row[1:9] == [
        f"{cost.cum_qty} / {cost.order_qty}",
        rounded(cost.avg_px, 4),
        rounded(cost.arrival_px, 4),
        rounded(cost.market_vwap, 4),
        slipped(cost, cost.arrival_px),
        slipped(cost, cost.market_vwap),
        rounded(cost.shortfall_bps, 1, signed=True),
        f"{rounded(cost.shortfall, 2, signed=True)} USD",
    ]


def test_flags_stand_below_the_end(folder: Path) -> None:
    assert Page(folder / "index.html").row("SELL 40 MSFT MARKET")[9] == "filledstale quote at arrival"


def test_the_numbers_of_the_slow_parent_are_these(folder: Path) -> None:
    assert Page(folder / "index.html").row("BUY 200 AAPL TWAP")[1:10] == [
        "150 / 200",
        "250.1480",
        "250.0000",
        "250.2129",  # 1,000 at 250.10, 500 at 250.30, 250 at 250.49
        "+5.9",
        "−2.6",
        "+10.3",
        "+51.50 USD",  # 150 at +0.168, 50 left at +0.52, fees 0.30
        "time over, 50 not done",
    ]


@pytest.mark.parametrize("cost", story.costs(), ids=lambda cost: cost.parent_id)
def test_a_parents_page_holds_every_part_of_its_shortfall(folder: Path, cost: CostReport) -> None:
    page = Page(folder / f"parent-{cost.parent_id}.html")
    base = cost.order_qty * cost.decision_px
    for name in ("delay", "spread", "impact", "timing", "opportunity", "fees", "shortfall"):
        part: Decimal = getattr(cost, name)
        bps = rounded(part / base * 10_000, 1, signed=True)
        assert page.row(name)[1:3] == [rounded(part, 2, signed=True), bps]


@pytest.mark.parametrize("cost", story.costs(), ids=lambda cost: cost.parent_id)
def test_a_parents_page_names_its_benchmarks_with_units_and_filter(folder: Path, cost: CostReport) -> None:
    names = Page(folder / f"parent-{cost.parent_id}.html").names
    for name, value in {
        "Decision price": cost.decision_px,
        "Arrival mid": cost.arrival_px,
        "Average price": cost.avg_px,
        "Market VWAP": cost.market_vwap,
        "Market TWAP of the mid": cost.market_twap,
        "Mid at the end": cost.end_px,
    }.items():
        assert names[name] == ("–" if value is None else f"{rounded(value, 4)} USD")
    assert names["VWAP counts"] == (cost.vwap_filter or "unknown prints")
    assert names["Market volume meanwhile"] == f"{cost.market_volume:,} shares"


def test_what_was_expected_stands_beside_what_it_cost(folder: Path) -> None:
    page, found, cost = Page(folder / "parent-P1.html"), story.estimates()["P1"], story.costs()[0]
    bounds = [rounded(each, 1, signed=True) for each in (found.cost_bps, found.low_bps, found.high_bps)]
    assert page.row("estimated")[1:] == [*bounds, "model sqrt"]
    assert page.row("of it spread")[1] == rounded(found.spread_bps, 1, signed=True)
    assert page.row("of it impact")[1] == rounded(found.impact_bps, 1, signed=True)
    assert page.row("realised")[1:] == [slipped(cost, cost.arrival_px), "–", "–", "inside the interval"]


def test_where_there_is_no_estimate_the_page_says_why(folder: Path) -> None:
    lacking = Page(folder / "parent-P2.html").row("estimated")
    assert lacking[1:] == ["–", "–", "–", f"no estimate: {story.EVIL}"]
    assert Page(folder / "parent-P2.html").row("realised")[4] == ""
    assert "Nothing was estimated: it never got a curve." in Page(folder / "parent-P3.html").text


def test_a_choice_is_shown_with_its_reason_and_what_else_could_have_been_chosen(folder: Path) -> None:
    page = Page(folder / "parent-P2.html")
    assert f"MARKET by policy cost: the cheapest {story.EVIL}" in page.text
    assert page.row("MARKET")[1:] == ["+3.2", "−8.5", "+15.0", ""]
    assert page.row("TWAP")[1:] == ["–", "–", "–", f"no estimate: {story.EVIL}"]
    assert "Choice of the algorithm" not in Page(folder / "parent-P1.html").text


def test_amendments_are_listed_with_who_made_them(folder: Path, report: RunReport) -> None:
    page = Page(folder / "parent-P1.html")
    assert page.row("13:30:47.000")[1:] == [story.EVIL, "pause", "200", ""]
    assert page.row("13:30:48.500")[1:] == ["ann", "resume", "200", ""]
    assert "Amendments" not in Page(folder / "parent-P2.html").text
    change = Change(qty=Decimal(250), price=Decimal("250.5"), end=story.at(3_600), urgency=Urgency.HIGH)
    larger = amended(amendment(story.SLOW.parent, change, ts=story.at(50)), "250", "50")
    parent = structs.replace(report.parents[0], amendments=(larger,))
    shown = "".join(str(part) for part in parent_page.body(parent, has_charts=False, before=None, after=None))
    assert "price 250.5000, end 14:30:00, urgency high" in shown


def test_fills_are_listed_with_the_mid_that_they_met(folder: Path) -> None:
    rows = Page(folder / "parent-P1.html").rows
    assert [row for row in rows if row[-2:-1] == ["paper"]] == [
        ["13:30:10.000", "50", "250.0200", "250.0000", "+0.8", "50", "0.10", "paper", "e1"],
        ["13:30:20.000", "25", "250.2000", "250.1250", "+3.0", "50", "0.10", "paper", "e2 (taken back)"],
        ["13:30:30.000", "70", "250.1700", "250.1250", "+1.8", "120", "0.10", "paper", "e3"],
        ["13:30:46.000", "30", "250.3100", "250.3050", "+0.2", "150", "0.10", "paper", "e4"],
    ]
    (sold,) = [row for row in Page(folder / "parent-P2.html").rows if row[-2:-1] == ["paper"]]
    assert sold == ["13:31:10.010", "40", "400.0000", "400.0300", "+0.7", "40", "0.10", "paper", "e5"]


def test_the_headline_says_what_it_all_cost(folder: Path, report: RunReport) -> None:
    said = Page(folder / "index.html").text
    total = report.totals[0]
    assert "53,522.20" in said  # 150 at 250.148 and 40 at 400
    assert f"Shortfall, USD{rounded(total.shortfall, 2, signed=True)}" in said
    assert f"{rounded(total.shortfall_bps, 1, signed=True)} bps of what was asked" in said
    assert "1 filled in full, 1 not ended" in said


def test_denials_come_with_their_numbers(folder: Path) -> None:
    rows = [row for row in Page(folder / "index.html").rows if "ORDER_NOTIONAL" in row]
    why = f"too much {story.EVIL}"
    numbers = ["ORDER_NOTIONAL", "2,250,090.5", "1,000,000", "USD"]
    assert rows == [
        ["13:30:45", "BUY 9,000 AAPL (child), mom", *numbers, "–", why],
        ["13:31:05", "BUY 9,000 AAPL, mom", *numbers, "3,996", why],
    ]


def test_signals_that_led_to_nothing_are_listed_with_their_reasons(folder: Path) -> None:
    rows = [row[1:4] for row in Page(folder / "index.html").rows if row[1] in {"ignored", "refused", "unreadable"}]
    assert rows == [
        ["ignored", "mom 2", "weak"],
        ["refused", f"mom {story.EVIL}", "expired"],
        ["unreadable", "file", "JSON is malformed"],
        ["ignored", "mom 3", "weak"],
    ]


def test_positions_and_profit_are_summed_by_strategy(folder: Path) -> None:
    rows = [row for row in Page(folder / "index.html").rows if row[0] in {"mom", "mom, all"} and len(row) == 9]
    assert rows == [
        ["mom", "AAPL", "150", "250.1480", "250.5000", "0.00", "52.80", "0.30", "52.50"],
        ["mom", "MSFT", "−40", "400.0000", "401.0500", "−12.34", "−42.00", "0.10", "−54.44"],
        ["mom, all", "", "", "", "", "−12.34", "10.80", "0.40", "−1.94"],
    ]


def test_costs_are_coloured_by_their_sign_alone(folder: Path) -> None:
    for page in pages(folder):
        coloured = re.findall(r'class="(?:n|value) (cost|gain)">(.)', page.source)
        assert coloured
        assert set(coloured) <= {("cost", "+"), ("gain", "−")}
        assert 'class="n">+' not in page.source


# Safety ---------------------------------------------------------------------------------------------------------------


def test_text_from_outside_is_text_on_every_page(folder: Path) -> None:
    for page in pages(folder):
        assert "<script>alert" not in page.source
        assert page.handlers == []
        assert page.tags.count("script") == 3
    assert f"signal {story.EVIL}" in Page(folder / "parent-P1.html").text


def test_the_data_of_a_chart_cannot_end_its_element(report: RunReport, tmp_path: Path) -> None:
    wild = story.accepted(2, "P1", Side.BUY, "5", f"A{story.EVIL}</script>", arrival="10", how=Algo.TWAP)
    label = f"BUY 5 {wild.parent.symbol} TWAP"
    parent = report.parents[0]
    cost = structs.replace(parent.cost, symbol=wild.parent.symbol, order_qty=Decimal(5))
    wild_report = structs.replace(report, parents=(structs.replace(parent, cost=cost),))
    page = Page(write(wild_report, tmp_path))
    (ticks,) = page.charts["costs"]["layout"]["yaxis"]["ticktext"]
    # the chart's own markup is escaped once more: Plotly reads labels as HTML
    assert ticks == label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert page.tags.count("script") == 3


def test_nothing_is_fetched_from_elsewhere(folder: Path) -> None:
    there = {path.name for path in folder.iterdir()}
    for page in pages(folder):
        assert page.fetched
        assert set(page.fetched) <= there
        assert page.policy.startswith("default-src 'none';")
        assert "http" not in page.policy
        assert "url(" not in page.source
        assert "@import" not in page.source


def test_an_id_that_is_no_plain_word_cannot_leave_the_folder() -> None:
    assert html._file("../../etc/a") == "parent-..%2F..%2Fetc%2Fa.html"
    assert html._href("../a") == "parent-..%252Fa.html"
    assert len({html._file(name) for name in ("a/b", "a%2Fb", "a%252Fb")}) == 3


def test_pages_are_small_and_share_one_script(folder: Path) -> None:
    for path in folder.glob("*.html"):
        assert path.stat().st_size < PAGE_BYTES_MAX
    scripts = sorted(path.name for path in folder.iterdir() if path.suffix != ".html")
    assert scripts == ["plotly.min.js", "report.js"]


def test_every_chart_has_its_place(folder: Path) -> None:
    for page in pages(folder):
        assert sorted(page.charts) == sorted(page.places)
        assert page.places


# Less to show ---------------------------------------------------------------------------------------------------------


def test_without_plotly_the_tables_are_there_and_the_pages_say_so(
    folder: Path, report: RunReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    write(report, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".html"}
    for with_charts, without in zip(pages(folder), pages(tmp_path), strict=True):
        assert without.rows == with_charts.rows
        assert text.WITHOUT_CHARTS in without.text
        assert "script" not in without.tags
        assert without.places == []
        assert text.WITHOUT_CHARTS not in with_charts.text


def test_a_run_without_events_has_a_page(tmp_path: Path) -> None:
    engine = database()
    page = Page(write(load(engine, tmp_path / "tape"), tmp_path))
    engine.dispose()
    assert "Nothing ran yet" in page.text
    assert page.charts == {}
    assert "script" not in page.tags


def test_a_run_without_a_tape_has_all_pages(tmp_path: Path) -> None:
    engine = story.record([(s, e) for s, e in story.entries() if type(e).__name__ != "MarketData"], tmp_path / "t")
    write(load(engine, tmp_path / "t"), tmp_path)
    engine.dispose()
    names = [trace["name"] for trace in Page(tmp_path / "parent-P1.html").charts["price"]["data"]]
    assert not {"mid", "market volume"} & set(names)
    assert "fills" in names


def test_lists_that_are_cut_say_how_much_is_missing(
    report: RunReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_page, "ROWS_MAX", 1)
    monkeypatch.setattr(parent_page, "FILLS_MAX", 3)
    index = Page(write(report, tmp_path))
    assert "1 more denials are in the database." in index.text
    assert "3 more signals are in the database." in index.text
    parent = Page(tmp_path / "parent-P1.html")
    assert "The first 3 are shown, 1 more are in the database." in parent.text
    assert sum(row[-2:-1] == ["paper"] for row in parent.rows) == 3


def test_notes_about_the_tape_stand_on_the_first_page(tmp_path: Path) -> None:
    engine = story.record(story.entries(), tmp_path / "t")
    (segment,) = (tmp_path / "t").iterdir()
    segment.write_bytes(segment.read_bytes() + b"9")
    page = Page(write(load(engine, tmp_path / "t"), tmp_path))
    engine.dispose()
    assert "the last record is torn" in page.text
