"""What events write into the tables: every type is covered, and writing twice changes nothing."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings

from adapters.store.projections import PROJECTIONS, UNPROJECTED, project
from adapters.store.tables import STOP_STATES
from adapters.store.upserts import apply
from core.causes import TradingState
from core.events import (
    Alternative,
    Anomaly,
    BreakFound,
    CashMoved,
    CostEstimated,
    CostReport,
    EndReason,
    Event,
    ExitRequested,
    LimitsSet,
    OrderUnresolved,
    OverrideGranted,
    OverrideProposed,
    OverrideUsed,
    ParentRouted,
    PositionAdjusted,
    Reason,
    ShadowSet,
    SignalDead,
    SignalIgnored,
    SignalRefused,
    StopEnd,
    StopEnded,
    StopRearmed,
    StopSet,
    StopSuspended,
    StopTriggered,
    StrategyResumed,
    StrategyStopped,
    TradingHalted,
    TradingResumed,
    VenueAway,
    VenueChosen,
    VenueCost,
    VwapDeviated,
)
from core.orders import OrdStatus, Side
from core.signals import Action, Algo, Change, Instruction
from tests.adapters.store import examples
from tests.adapters.store.support import SEQUENCES, TYPES, contents, database, isolated
from tests.builders import amended, amendment

pytestmark = pytest.mark.usefixtures("both")


def tables_after(*events: Event) -> dict[str, list[dict[str, object]]]:
    """The database after events 1, 2, 3 ..."""
    engine = database()
    with engine.begin() as connection:
        for seq, event in enumerate(events, start=1):
            apply(connection, project(seq, event))
    return contents(engine)


def test_every_event_has_a_projection_or_is_listed_as_having_none() -> None:
    assert set(PROJECTIONS) | UNPROJECTED == set(TYPES)
    assert not set(PROJECTIONS) & UNPROJECTED


def test_an_override_is_told_with_both_people_and_with_the_parent_that_used_it() -> None:
    wanted = OverrideProposed(
        ts=1,
        override_id="o1",
        by="ann (1)",
        strategy="s",
        symbol="AAPL",
        side=Side.BUY,
        order_qty=Decimal(200),
        reason=Reason.POSITION,
        expires=9,
        text="a basket",
    )
    used = OverrideUsed(
        ts=3, override_id="o1", parent_id="P1", reason=Reason.POSITION, proposed_by="ann (1)", granted_by="bob (2)"
    )
    let_in = msgspec.structs.replace(examples.accepted(3), override_id="o1", waives=Reason.POSITION)
    rows = tables_after(wanted, OverrideGranted(ts=2, override_id="o1", by="bob (2)"), used, let_in)
    assert [(row["override_id"], row["state"], row["by"], row["parent_id"]) for row in rows["overrides"]] == [
        ("o1", "proposed", "ann (1)", ""),
        ("o1", "granted", "bob (2)", ""),
        ("o1", "used", "ann (1), bob (2)", "P1"),
    ]
    first = rows["overrides"][0]
    assert (first["order_qty"], first["expires"], first["reason"], first["text"]) == ("200", 9, "POSITION", "a basket")
    assert [row["override_id"] for row in rows["parents"]] == ["o1"]


@settings(max_examples=40)
@given(SEQUENCES)
@isolated
def test_to_write_everything_twice_is_to_write_it_once(entries: list[tuple[int, Event]]) -> None:
    engine = database()
    writes = [write for seq, event in entries for write in project(seq, event)]
    with engine.begin() as connection:
        apply(connection, writes)
    once = contents(engine)
    with engine.begin() as connection:
        apply(connection, writes)
    assert contents(engine) == once


def test_a_story_ends_in_the_rows_that_it_should() -> None:
    rows = tables_after(*examples.STORY)
    (signal,) = rows["signals"]
    assert (signal["state"], signal["ts"]) == ("accepted", 11)
    assert rows["parents"] == [
        {
            "parent_id": "P1",
            "signal_id": "1",
            "strategy": "s",
            "account": "A",
            "venue": "paper",
            "symbol": "AAPL",
            "side": "BUY",
            "algo": "TWAP",
            "order_qty": "200",
            "accepted_qty": "200",
            "cum_qty": "100",
            "avg_px": "101.230",
            "state": "ended",
            "reason": "WINDOW",
            "arrival_px": "101.230",
            "started": 13,
            "ended": 21,
            "override_id": "",
        }
    ]
    assert rows["orders"] == [
        {
            "cl_ord_id": "P1C1A1",
            "parent_id": "P1",
            "order_id": "v1",
            "strategy": "s",
            "venue": "paper",
            "symbol": "AAPL",
            "side": "BUY",
            "ord_type": "LIMIT",
            "price": "101.230",
            "order_qty": "100",
            "cum_qty": "100",
            "leaves_qty": "0",
            "ord_status": "FILLED",
            "text": "",
            "approved": 15,
            "updated": 18,
        }
    ]
    assert [(row["exec_id"], row["last_qty"], row["busted"]) for row in rows["executions"]] == [("e1", "100", False)]
    assert [(row["qty"], row["fees"], row["updated"]) for row in rows["positions"]] == [("100", "0.35", 18)]
    assert rows["meta"] == [{"key": "cash", "value": "989876.65"}]


def test_the_gates_decisions_stand_with_their_numbers() -> None:
    rows = tables_after(*examples.STORY)["risk_decisions"]
    told = [
        (row["seq"], row["verdict"], row["cl_ord_id"], row["order_qty"], row["price"], row["limit"], row["headroom"])
        for row in rows
    ]
    assert told == [
        (4, "accepted", "", "200", "102.00", None, None),
        (6, "approved", "P1C1A1", "100", "101.230", "1", "0.75"),
        (14, "denied", "P1C2A1", "100", None, "50", "-50"),
    ]
    assert [(row["nearest"], row["checks"], row["duration_ns"]) for row in rows] == [
        ("", 0, 0),
        ("GROSS", 20, 15_000),
        ("", 0, 0),
    ]


def test_limits_stand_once_by_the_version_of_the_decisions_that_they_made() -> None:
    first = LimitsSet(ts=1, version="v1", limits={"position_max": "0.08", "restricted": []}, by="start")
    second = LimitsSet(ts=2, version="v2", limits={"position_max": "0.05", "restricted": ["AAPL"]}, by="desk")
    again = LimitsSet(ts=3, version="v1", limits=first.limits, by="desk")
    rows = tables_after(first, *examples.STORY, second, again)
    assert rows["limits"] == [
        {"version": "v1", "ts": 1, "text": '{"position_max":"0.08","restricted":[]}'},
        {"version": "v2", "ts": 2, "text": '{"position_max":"0.05","restricted":["AAPL"]}'},
    ]
    assert {row["limits_version"] for row in rows["risk_decisions"]} == {"v1"}


def test_shadow_limits_stand_each_time_that_they_are_set_and_what_they_would_have_done_with_its_numbers() -> None:
    numbers = {"position_max": "0.05"}
    rows = tables_after(
        ShadowSet(ts=1, version="v2", limits=numbers, by="start"),
        examples.beside(2, "P1C1A1", in_force=100, shadow=0),
        examples.beside(3, "", in_force=0, shadow=60),
        ShadowSet(ts=4, version="", limits={}, by="desk"),
        ShadowSet(ts=5, version="v2", limits=numbers, by="desk"),
    )
    assert [tuple(row.values()) for row in rows["shadow_limits"]] == [
        (1, 1, "v2", "start", '{"position_max":"0.05"}'),
        (4, 4, "", "desk", "{}"),
        (5, 5, "v2", "desk", '{"position_max":"0.05"}'),
    ]
    told = [
        (row["seq"], row["cl_ord_id"], row["outcome"], row["in_force"], row["in_force_qty"], row["shadow_qty"])
        for row in rows["shadow_verdicts"]
    ]
    assert told == [(2, "P1C1A1", "tighter", "passed", "100", "0"), (3, "", "wider", "denied", "0", "60")]
    (row, _) = rows["shadow_verdicts"]
    assert (row["reason"], row["value"], row["limit"], row["unit"], row["max_qty"], row["shadow_version"]) == (
        "ORDER_SIZE",
        "100",
        "50",
        "shares",
        "50",
        "v2",
    )


def test_every_venue_of_a_parent_stands_with_its_reason_and_what_each_could_cost() -> None:
    cost = VenueCost(
        venue="fast",
        cost_bps=Decimal("1.5"),
        fee_bps=Decimal(1),
        spread_bps=Decimal("0.25"),
        latency_bps=Decimal("0.15"),
        reject_bps=Decimal("0.1"),
    )
    first = VenueChosen(
        ts=12,
        parent_id="P1",
        strategy="s",
        symbol="AAPL",
        side=Side.BUY,
        venue="fast",
        was="",
        reason="1.50 bps expected",
        alternatives=(cost, msgspec.structs.replace(cost, venue="far", text="no line")),
    )
    second = msgspec.structs.replace(first, ts=13, venue="far", was="fast", alternatives=())
    rows = tables_after(first, second, VenueAway(ts=14, venue="far", text="no line"))
    one, other = rows["venue_choices"]
    numbers = {"cost_bps": "1.5", "fee_bps": "1", "spread_bps": "0.25", "latency_bps": "0.15", "reject_bps": "0.1"}
    assert json.loads(str(one.pop("alternatives"))) == [
        {"venue": "fast", **numbers, "text": ""},
        {"venue": "far", **numbers, "text": "no line"},
    ]
    assert list(one.values()) == [1, 12, "P1", "s", "AAPL", "BUY", "fast", "", "1.50 bps expected"]
    assert (other["seq"], other["venue"], other["was"]) == (2, "far", "fast")
    (alert,) = rows["alerts"]
    assert (alert["kind"], alert["venue"], alert["text"]) == ("VenueAway", "far", "cannot be asked: no line")


def test_a_choice_stands_with_its_reason_and_its_alternatives() -> None:
    choice = ParentRouted(
        ts=12,
        parent_id="P1",
        strategy="s",
        symbol="AAPL",
        policy="size",
        algo=Algo.TWAP,
        reason="worth 20,000.00, midday",
        model="sqrt",
        alternatives=(
            Alternative(Algo.MARKET, Decimal("3.1"), Decimal(-2), Decimal("8.2")),
            Alternative(Algo.TWAP, None, None, None, "no estimate: why"),
        ),
    )
    (row,) = tables_after(choice, choice)["routes"]
    assert json.loads(str(row.pop("alternatives"))) == [
        {"algo": "MARKET", "cost_bps": "3.1", "low_bps": "-2", "high_bps": "8.2", "text": ""},
        {"algo": "TWAP", "cost_bps": None, "low_bps": None, "high_bps": None, "text": "no estimate: why"},
    ]
    names = {"parent_id": "P1", "ts": 12, "strategy": "s", "symbol": "AAPL", "policy": "size", "algo": "TWAP"}
    assert row == names | {"reason": "worth 20,000.00, midday", "model": "sqrt"}


def test_a_stop_stands_in_its_newest_state_with_what_it_was_set_to() -> None:
    of = {"stop_id": "s1", "strategy": "s", "symbol": "AAPL"}
    placed = StopSet(
        ts=1,
        signal_ts=1,
        side=Side.SELL,
        stop_px=None,
        trail=Decimal("2.50"),
        trail_fraction=None,
        limit_offset=None,
        how=Instruction(),
        price=Decimal(100),
        valid_until=None,
        **of,
    )
    prices = Decimal("98.1"), Decimal(98)
    fired = StopTriggered(
        ts=2, side=Side.SELL, stop_px=Decimal("98.50"), prices=prices, source="last", takes_back=(), **of
    )
    exit_ = ExitRequested(
        ts=3, signal_ts=1, side=Side.SELL, how=Instruction(), attempt=1, stop_id="s1", strategy="s", symbol="AAPL"
    )
    again = StopRearmed(ts=4, attempt=1, left_qty=Decimal(30), not_before=5, text="LIMIT_PRICE", **of)
    late = StopRearmed(ts=4, attempt=0, left_qty=Decimal(30), not_before=4, text="a halt came", **of)
    suspended = StopSuspended(ts=2, text="a split?", **of)
    ended = StopEnded(ts=3, reason=StopEnd.REPLACED, **of)
    levels = {"stop_px": None, "trail": "2.50", "trail_fraction": None, "limit_offset": None, "price": "100"}
    standing = {**of, **levels, "side": "SELL", "valid_until": None, "started": 1}
    for events, state, reason, updated in (
        ((placed,), "held", "", 1),
        ((placed, fired), "fired", "last at 98.1, then 98; it was at 98.50", 2),
        ((placed, fired, exit_), "exit", "", 3),
        ((placed, fired, exit_, again), "held", "exit 1 left 30: LIMIT_PRICE", 4),
        ((placed, fired, late), "held", "no exit: a halt came", 4),
        ((placed, suspended), "suspended", "a split?", 2),
        ((placed, suspended, ended), "ended", "REPLACED", 3),
    ):
        rows = tables_after(*events)
        assert state in STOP_STATES
        assert rows["stops"] == [standing | {"state": state, "reason": reason, "updated": updated}]
    (alert,) = tables_after(placed, suspended)["alerts"]
    assert (alert["kind"], alert["text"]) == ("StopSuspended", "the stop of s no longer fires: a split?")
    (alert,) = tables_after(placed, fired, exit_, again)["alerts"]
    assert (alert["kind"], alert["text"]) == (
        "StopRearmed",
        "the stop of s is held again, as its exit 1 left 30: LIMIT_PRICE",
    )
    (alert,) = tables_after(placed, fired, late)["alerts"]
    assert alert["text"] == "the stop of s is held again, with no exit: a halt came"


REPORT = CostReport(
    ts=30,
    parent_id="P1",
    strategy="s",
    symbol="AAPL",
    side=Side.SELL,
    algo=Algo.TWAP,
    order_qty=Decimal(200),
    cum_qty=Decimal(100),
    avg_px=Decimal("99.90"),
    start=13,
    decision_px=Decimal(101),
    arrival_px=Decimal(100),
    end_px=Decimal(99),
    market_vwap=None,
    market_twap=None,
    market_volume=Decimal(0),
    delay=Decimal(0),
    spread=Decimal(0),
    impact=Decimal(0),
    timing=Decimal(0),
    opportunity=Decimal(0),
    fees=Decimal(0),
    shortfall=Decimal(0),
    currency="USD",
    reason=EndReason.WINDOW,
    vwap_filter="",
)


def test_what_was_expected_and_what_came_of_it_can_be_compared() -> None:
    lacking = CostEstimated(ts=13, parent_id="P2", strategy="s", symbol="B", model="almgren", text="no estimate: why")
    estimate = CostEstimated(
        ts=13,
        parent_id="P1",
        strategy="s",
        symbol="AAPL",
        model="sqrt",
        cost_bps=Decimal("12.5"),
        low_bps=Decimal(-20),
        high_bps=Decimal(45),
        spread_bps=Decimal("0.5"),
        impact_bps=Decimal(12),
        risk_bps=Decimal(16),
    )
    rows = tables_after(estimate, lacking, REPORT)
    numbers = {"cost": "12.5", "low": "-20", "high": "45", "spread": "0.5", "impact": "12", "risk": "16"}
    about = {"parent_id": "P1", "ts": 13, "strategy": "s", "symbol": "AAPL", "model": "sqrt", "text": ""}
    first, second = rows["cost_estimates"]
    assert first == about | {f"{name}_bps": value for name, value in numbers.items()}
    assert (second["cost_bps"], second["text"]) == (None, "no estimate: why")
    (report,) = rows["cost_reports"]
    assert report["arrival_bps"] == "10.000"  # sold a tenth under the arrival
    unfilled = msgspec.structs.replace(REPORT, avg_px=None)
    assert tables_after(unfilled)["cost_reports"][0]["arrival_bps"] is None


def test_an_amended_parent_is_of_another_quantity_and_one_that_is_paused_says_so() -> None:
    larger = amended(amendment(examples.PARENT, Change(qty=Decimal(250)), price=Decimal("102.00")), "250", "50")
    rows = tables_after(examples.PARENT, examples.accepted(13), larger)
    (parent,) = rows["parents"]
    assert (parent["order_qty"], parent["accepted_qty"], parent["state"], parent["reason"]) == (
        "250",
        "250",
        "live",
        "",
    )
    *_, decision = rows["risk_decisions"]
    assert (decision["verdict"], decision["order_qty"], decision["price"]) == ("accepted", "50", "102.00")
    paused = amended(amendment(examples.PARENT, Change(action=Action.PAUSE), held=True), "200")
    rows = tables_after(examples.PARENT, examples.accepted(13), paused)
    assert (rows["parents"][0]["state"], rows["parents"][0]["reason"]) == ("live", "HELD")
    assert len(rows["risk_decisions"]) == 1
    refused = msgspec.structs.replace(examples.denied(14, ""), amends=True)
    rows = tables_after(examples.PARENT, examples.accepted(13), refused)
    assert (rows["parents"][0]["state"], rows["parents"][0]["ended"]) == ("live", None)
    assert [row["verdict"] for row in rows["risk_decisions"]] == ["accepted", "denied"]


def test_a_denied_child_leaves_its_parent_alone_and_a_denied_parent_is_denied() -> None:
    (parent,) = tables_after(examples.PARENT, examples.denied(13, "P1C1A1"))["parents"]
    assert (parent["state"], parent["started"], parent["ended"]) == ("asked", 12, None)
    (parent,) = tables_after(examples.PARENT, examples.denied(13, ""))["parents"]
    assert (parent["state"], parent["reason"], parent["ended"]) == ("denied", "ORDER_SIZE", 13)


@pytest.mark.parametrize("kind", [SignalIgnored, SignalRefused])
def test_an_accepted_signal_stays_accepted_when_it_is_repeated(kind: type[SignalIgnored | SignalRefused]) -> None:
    repeat = kind(ts=30, signal_id="1", strategy="s", reason="repeat")
    (signal,) = tables_after(*examples.STORY[:2], examples.STORY[0], repeat)["signals"]
    assert (signal["state"], signal["reason"], signal["ts"]) == ("accepted", "", 11)


def test_an_approved_order_keeps_its_whole_quantity_open_until_a_venue_speaks() -> None:
    (order,) = tables_after(examples.approved(15, "P1C1A1"))["orders"]
    assert (order["ord_status"], order["cum_qty"], order["leaves_qty"]) == ("PENDING_SUBMIT", "0", "100")
    assert (order["approved"], order["updated"], order["order_id"]) == (15, 15, "")


def test_an_adopted_order_has_a_row_without_an_approval() -> None:
    (order,) = tables_after(examples.updated(17, "P1C1A1", OrdStatus.UNKNOWN, Decimal(0)))["orders"]
    assert (order["ord_status"], order["leaves_qty"], order["approved"]) == ("UNKNOWN", "100", None)


def test_an_execution_is_booked_once_and_marked_when_busted() -> None:
    fill = examples.filled(18, "P1C1A1", "e1")
    bust = examples.busted(19, "P1C1A1", "e1")
    assert [row["busted"] for row in tables_after(fill, fill)["executions"]] == [False]
    assert [row["busted"] for row in tables_after(fill, bust, fill)["executions"]] == [True]


def test_dead_letters_keep_malformed_input_and_refused_signals() -> None:
    rows = tables_after(
        SignalDead(ts=1, source="redis", reason="not JSON", text="\x00{"),
        SignalRefused(ts=2, signal_id="1", strategy="s", reason="EXPIRED", text="too late"),
    )["dead_letters"]
    told = [(row["source"], row["strategy"], row["signal_id"], row["reason"], row["text"]) for row in rows]
    assert told == [
        ("redis", "", "", "not JSON", "\N{SYMBOL FOR NULL}{"),
        ("", "s", "1", "EXPIRED", "too late"),
    ]


def test_a_strategy_that_was_stopped_is_listed_with_who_let_it_go_on() -> None:
    rows = tables_after(
        StrategyStopped(ts=1, strategy="alpha", text="20 parents to BUY AAPL"),
        StrategyResumed(ts=2, strategy="alpha", by="ann"),
    )["halts"]
    assert [(row["cause"], row["state"], row["by"], row["text"]) for row in rows] == [
        ("repeats", "STOPPED", "", "alpha: 20 parents to BUY AAPL"),
        ("repeats", "RESUMED", "ann", "alpha"),
    ]


def test_a_split_is_listed() -> None:
    split = PositionAdjusted(ts=1, symbol="AAPL", numerator=4, denominator=1, by="ann", reason="four for one")
    assert tables_after(split)["adjustments"] == [{"seq": 1} | msgspec.structs.asdict(split)]


def test_cash_that_was_moved_is_listed_and_is_in_the_accounts_cash() -> None:
    rows = tables_after(
        CashMoved(ts=1, amount=Decimal(50000), cash=Decimal("150000.5"), by="ann", reason="more of it"),
        CashMoved(ts=2, amount=Decimal(-20000), cash=Decimal("130000.5"), by="bob", reason="rent"),
    )
    assert [(row["seq"], row["amount"], row["cash"], row["by"], row["reason"]) for row in rows["cash_moves"]] == [
        (1, "50000", "150000.5", "ann", "more of it"),
        (2, "-20000", "130000.5", "bob", "rent"),
    ]
    assert rows["meta"] == [{"key": "cash", "value": "130000.5"}]


def strayed(ts: int, bps: str) -> VwapDeviated:
    return VwapDeviated(
        ts=ts,
        parent_id="P1",
        strategy="alpha",
        symbol="AAPL",
        side=Side.BUY,
        cum_qty=Decimal(50),
        avg_px=Decimal("101.012"),
        market_vwap=Decimal(100),
        market_volume=Decimal(1_000),
        deviation_bps=Decimal(bps),
        limit_bps=Decimal(100),
    )


def test_halts_and_alerts_are_listed_in_order() -> None:
    rows = tables_after(
        TradingHalted(ts=1, cause="kill", state=TradingState.HALTED, text="key"),
        TradingResumed(ts=2, cause="kill", by="ann"),
        Anomaly(ts=3, venue="paper", cl_ord_id="P1C1A1", text="filled twice"),
        BreakFound(ts=4, venue="paper", kind="POSITION", symbol="AAPL", text="100, 101"),
        OrderUnresolved(ts=5, cl_ord_id="P1C1A1", parent_id="P1", venue="paper", symbol="AAPL", leaves_qty=Decimal(7)),
        strayed(6, "101.2"),
        strayed(7, "-101.2"),
    )
    assert [(row["cause"], row["state"], row["by"]) for row in rows["halts"]] == [
        ("kill", "HALTED", ""),
        ("kill", "RESUMED", "ann"),
    ]
    said = "P1: 101.0120 is 101.2 bps"
    than = "than the market's VWAP of its window, 100.0000; 100 are told of"
    assert [(row["seq"], row["kind"], row["text"]) for row in rows["alerts"]] == [
        (3, "Anomaly", "filled twice"),
        (4, "BreakFound", "POSITION: 100, 101"),
        (5, "OrderUnresolved", "7 stay reserved until an operator releases them"),
        (6, "VwapDeviated", f"{said} worse {than}"),
        (7, "VwapDeviated", f"{said} better {than}"),
    ]
