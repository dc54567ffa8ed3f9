"""The terminal gets the same numbers in columns, programs get the database's."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from adapters.report import index_page, text
from adapters.report.data import RunReport, load
from adapters.report.table import as_json, render
from adapters.store import queries
from core.events import Reason
from tests.adapters.report import story
from tests.adapters.store.support import database


def test_parents_stand_in_columns(report: RunReport) -> None:
    head, *rows = render(report).split("\n")[:4]
    assert head.split() == "Parent Filled Average Arrival VWAP Shortfall bps Shortfall End".split()  # noqa: SIM905
    cells = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]
    assert [row[:2] for row in cells] == [
        ["BUY 200 AAPL TWAP", "150/200"],
        ["SELL 40 MSFT MARKET", "40/40"],
        ["SELL 7 AAPL LIMIT", "0/7"],
    ]
    assert cells[0][2:] == ["250.1480", "250.0000", "250.2129", "+10.3", "+51.50 USD", "time over, 50 not done"]
    assert cells[2][2:5] == ["-", "250.3000", "-"]
    ends = {row.index(" USD") for row in rows}
    assert len(ends) == 1  # numbers end in one column


def test_denials_and_signals_follow_with_their_reasons(report: RunReport) -> None:
    lines = render(report).splitlines()
    assert "Denied by the risk gate: 2" in lines
    numbers = "2,250,090.5 against 1,000,000 USD"
    assert f"  13:30:45  BUY 9,000 AAPL (child)  ORDER_NOTIONAL: {numbers}, none would have passed" in lines
    assert f"  13:31:05  BUY 9,000 AAPL  ORDER_NOTIONAL: {numbers}, 3,996 would have passed" in lines
    assert "Signals that led to nothing: 4" in lines
    assert lines[-3:] == ["  2 ignored: weak", "  1 refused: expired", "  1 unreadable: JSON is malformed"]


def test_a_denial_that_is_no_matter_of_numbers_says_why(report: RunReport) -> None:
    state = msgspec.structs.replace(report.denials[0], reason=Reason.STATE, unit="", text="trading is HALTED by kill")
    lines = render(msgspec.structs.replace(report, denials=(state,), denied=1)).splitlines()
    assert "  13:30:45  BUY 9,000 AAPL (child)  STATE: trading is HALTED by kill" in lines


def test_the_sum_is_stated_once(report: RunReport) -> None:
    (line,) = [line for line in render(report).splitlines() if "traded" in line]
    total = report.totals[0]
    assert line.startswith("3 parents, traded 53,522.20 USD, shortfall +")
    assert f"{total.shortfall:+.2f} USD ({total.shortfall_bps:+.1f} bps)" in line


def test_a_kind_of_flag_that_most_parents_have_is_said_once_here_and_on_the_page(report: RunReport) -> None:
    late = [
        msgspec.structs.replace(each, flags=("a gap", f"came late, {n} s")) for n, each in enumerate(report.parents * 2)
    ]
    late[0] = msgspec.structs.replace(late[0], flags=("a gap",))
    late[4] = msgspec.structs.replace(late[4], flags=("rare", "came late, 4 s"))
    many = msgspec.structs.replace(report, parents=tuple(late))
    for said in (render(many), "".join(map(str, index_page.body(many, lambda name: name, has_charts=False)))):
        assert said.count("5 of 6 parents: a gap") == said.count("5 of 6 parents: came late") == 1
        assert (said.count("a gap"), said.count("came late"), said.count("rare")) == (1, 1, 1)


def test_how_many_estimates_held_is_said_where_there_are_any(report: RunReport) -> None:
    said = "Expected beforehand: 1 of 1 parents inside their interval of 95 %."
    assert said in render(report).splitlines()
    parents = tuple(msgspec.structs.replace(each, estimate=None) for each in report.parents)
    assert "Expected" not in render(msgspec.structs.replace(report, parents=parents))


@pytest.mark.parametrize(
    "low, high, where",
    [
        ("5.92", "7", "inside the interval"),
        ("-3", "5.92", "inside the interval"),
        ("-3", "5.91", "above the interval"),
        ("5.93", "7", "below the interval"),
        (None, None, ""),
    ],
)
def test_a_cost_lies_inside_above_or_below_what_was_expected(
    report: RunReport, low: str | None, high: str | None, where: str
) -> None:
    parent = report.parents[0]
    assert parent.vs_arrival_bps == Decimal("5.92")
    bounds = {"low_bps": None if low is None else Decimal(low), "high_bps": None if high is None else Decimal(high)}
    assert parent.estimate is not None
    estimate = msgspec.structs.replace(parent.estimate, **bounds)
    assert text.within(msgspec.structs.replace(parent, estimate=estimate)) == where
    unfilled = msgspec.structs.replace(parent, estimate=estimate, cost=report.parents[2].cost)
    assert not text.within(unfilled)


def test_an_empty_run_is_one_line(tmp_path: Path) -> None:
    engine = database()
    assert render(load(engine, tmp_path)) == "No parent has ended.\n"
    engine.dispose()


def test_json_holds_the_cost_reports_of_the_database(tmp_path: Path) -> None:
    engine = story.record(story.entries(), tmp_path)
    said = json.loads(as_json(load(engine, tmp_path)))
    stored = [json.loads(row["payload"]) for row in queries.cost_reports(engine)]
    assert sorted((parent["cost"] for parent in said["parents"]), key=str) == sorted(stored, key=str)
    held = {row["symbol"]: row for row in queries.positions(engine)}
    for position in said["positions"]:
        for name in ("qty", "avg_px", "realized_pnl", "fees"):
            assert Decimal(position[name]) == held[position["symbol"]][name]
    assert len(said["denials"]) == len(queries.denials(engine))
    engine.dispose()


def test_json_is_read_back_as_the_same_report(report: RunReport) -> None:
    assert msgspec.json.decode(as_json(report), type=RunReport) == report
