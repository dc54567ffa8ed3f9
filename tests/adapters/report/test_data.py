"""A report holds what database and tape hold, no more and no less."""

from decimal import Decimal
from pathlib import Path

import pytest

from adapters.report import data
from adapters.report.data import Position, RunReport, Total, load
from core.events import OrderDenied
from core.orders import Side
from tests.adapters.report import story
from tests.adapters.report.story import at
from tests.adapters.store.support import database


def test_costs_are_those_that_the_analyst_reported(report: RunReport) -> None:
    assert [parent.cost for parent in report.parents] == story.costs()


def test_a_parent_comes_with_how_it_was_accepted(report: RunReport) -> None:
    assert [parent.accepted for parent in report.parents] == [story.SLOW, story.QUICK, story.NEVER]


def test_a_parent_comes_with_what_was_expected_of_it_and_how_it_was_routed(report: RunReport) -> None:
    expected = story.estimates()
    assert expected.keys() == {"P1", "P2"}
    assert [parent.estimate for parent in report.parents] == [expected["P1"], expected["P2"], None]
    assert [parent.route for parent in report.parents] == [None, story.ROUTE, None]


def test_a_parent_comes_with_what_was_made_of_it_while_it_was_live(report: RunReport) -> None:
    assert [parent.amendments for parent in report.parents] == [story.AMENDMENTS, (), ()]


def test_fills_accumulate_without_those_that_were_taken_back(report: RunReport) -> None:
    fills = report.parents[0].fills
    assert [(f.exec_id, f.cum_qty, f.busted) for f in fills] == [
        ("e1", Decimal(50), False),
        ("e2", Decimal(50), True),
        ("e3", Decimal(120), False),
        ("e4", Decimal(150), False),
    ]
    assert [f.mid for f in fills] == [250.0, 250.125, 250.125, 250.305]


def test_fills_against_their_mids_are_the_spread_that_the_analyst_reported(report: RunReport) -> None:
    for parent in report.parents:
        sign = parent.cost.side.sign
        standing = [f for f in parent.fills if not f.busted]
        paid = sum(sign * f.last_qty * (f.last_px - Decimal(repr(f.mid))) for f in standing)
        # a busted fill leaves the analyst at the mid of its bust
        assert paid == parent.cost.spread


def test_a_new_schedule_replaces_what_was_left_of_the_old_one(report: RunReport) -> None:
    assert report.parents[0].schedule == ((at(10), Decimal(50)), (at(30), Decimal(120)), (at(45), Decimal(200)))
    assert report.parents[1].schedule == ()


def test_the_path_reaches_beyond_both_ends_of_a_life(report: RunReport) -> None:
    path = report.parents[0].path
    assert path is not None
    assert path.start == at(2 - 30)
    assert path.mid[0] is None
    assert path.mid[-1] == 250.305  # of the step in which the tape ends
    assert sum(path.volume) == 1_750


def test_a_fill_behind_the_cost_report_is_flagged(tmp_path: Path) -> None:
    late = story.fill(95, "P2", Side.SELL, "3", "MSFT", px="400", exec_id="e9")
    engine = story.record([*story.entries(), (1_000, late)], tmp_path)
    flags = load(engine, tmp_path).parents[1].flags
    assert flags[-1] == "executions of 43 stand now: the costs are of 40"
    engine.dispose()


def test_flags_are_the_cost_reports_where_nothing_came_later(report: RunReport) -> None:
    assert [parent.flags for parent in report.parents] == [cost.flags for cost in story.costs()]


def test_parents_that_have_not_ended_are_told_apart(report: RunReport) -> None:
    (live,) = report.live
    assert (live.parent_id, live.algo, live.order_qty, live.cum_qty) == ("P4", "VWAP", Decimal("12.5"), Decimal("2.5"))


def test_denials_are_the_gates_events_in_order(report: RunReport) -> None:
    assert list(report.denials) == [event for _, event in story.entries() if isinstance(event, OrderDenied)]
    assert report.denied == 2


def test_signals_that_led_to_nothing_say_why(report: RunReport) -> None:
    assert [(aside.kind, aside.signal_id, aside.source, aside.reason) for aside in report.asides] == [
        ("ignored", "2", "", "weak"),
        ("refused", story.EVIL, "", "expired"),
        ("unreadable", "", "file", "JSON is malformed"),
        ("ignored", "3", "", "weak"),
    ]


def test_positions_are_marked_at_the_last_mid(report: RunReport) -> None:
    assert list(report.positions) == [
        Position(
            strategy="mom",
            symbol="AAPL",
            qty=Decimal(150),
            avg_px=Decimal("250.148"),
            mark=Decimal("250.50"),
            realized_pnl=Decimal(0),
            unrealized_pnl=Decimal("52.8"),
            fees=Decimal("0.3"),
        ),
        Position(
            strategy="mom",
            symbol="MSFT",
            qty=Decimal(-40),
            avg_px=Decimal(400),
            mark=Decimal("401.05"),
            realized_pnl=Decimal("-12.345"),
            unrealized_pnl=Decimal(-42),
            fees=Decimal("0.1"),
        ),
    ]
    assert report.positions[1].net_pnl == Decimal("-54.445")


def test_an_open_position_without_a_mark_has_no_profit(tmp_path: Path) -> None:
    engine = story.record([(s, e) for s, e in story.entries() if type(e).__name__ != "MarketData"], tmp_path)
    blind = load(engine, tmp_path)
    engine.dispose()
    assert [(p.mark, p.unrealized_pnl, p.net_pnl) for p in blind.positions] == [(None, None, None)] * 2
    assert [parent.path for parent in blind.parents] == [None] * 3
    assert {fill.mid for parent in blind.parents for fill in parent.fills} == {None}


def test_totals_are_sums_over_parents(report: RunReport) -> None:
    costs = story.costs()
    shortfall = sum(cost.shortfall for cost in costs)
    asked = 200 * Decimal("249.98") + 40 * Decimal("400.01") + 7 * Decimal("250.28")
    assert report.totals == (
        Total(
            currency="USD",
            parents=3,
            traded=50 * Decimal("250.02") + 70 * Decimal("250.17") + 30 * Decimal("250.31") + 40 * Decimal(400),
            shortfall=Decimal(shortfall),
            shortfall_bps=shortfall / asked * 10_000,
            fees=Decimal("0.4"),
        ),
    )


def test_halts_and_alerts_are_in_the_order_in_which_they_came(report: RunReport) -> None:
    assert [(notice.kind, notice.about) for notice in report.notices] == [
        ("HALTED", "startup"),
        ("RESUMED", "startup"),
        ("Anomaly", "P4C1A1"),
    ]


def test_an_empty_database_gives_an_empty_report(tmp_path: Path) -> None:
    engine = database()
    empty = load(engine, tmp_path / "no tape")
    engine.dispose()
    assert (empty.began, empty.ended, empty.totals, empty.parents, empty.notes) == (None, None, (), (), ())


def test_a_report_that_leaves_parents_out_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "PARENTS_MAX", 2)
    engine = story.record(story.entries(), tmp_path)
    cut = load(engine, tmp_path)
    engine.dispose()
    assert [parent.cost.parent_id for parent in cut.parents] == ["P2", "P3"]
    assert cut.notes == ("Only the newest 2 parents are in this report and in its totals.",)
