"""What people ask is answered from the tables, newest first, and an order's story from the journal, in order."""

from decimal import Decimal

import msgspec
import pytest

from adapters.store import queries
from adapters.store.journal import read
from core.causes import TradingState
from core.events import (
    Event,
    FillBooked,
    OrderDenied,
    Outcome,
    Reason,
    ShadowSet,
    SignalDead,
    SignalIgnored,
    SignalRefused,
    SubmitResult,
    TimeAdvanced,
    TradingHalted,
    decode,
)
from core.orders import OrdStatus
from tests.adapters.store import examples
from tests.adapters.store.support import journaled

pytestmark = pytest.mark.usefixtures("both")


def entries(*events: Event) -> list[tuple[int, Event]]:
    return list(enumerate(events, start=1))


def test_orders_come_newest_first_filtered_and_bounded() -> None:
    moves = [examples.approved(ts, f"P1C{ts}A1") for ts in (3, 1, 2)]
    engine = journaled(entries(*moves, examples.updated(4, "P1C1A1", OrdStatus.FILLED, Decimal(100))))
    assert [row["cl_ord_id"] for row in queries.orders(engine)] == ["P1C1A1", "P1C3A1", "P1C2A1"]
    assert [row["cl_ord_id"] for row in queries.orders(engine, limit=1)] == ["P1C1A1"]
    assert [row["cl_ord_id"] for row in queries.orders(engine, ord_status="FILLED")] == ["P1C1A1"]
    assert queries.orders(engine, strategy="other") == []
    assert queries.orders(engine)[0]["price"] == Decimal("101.230")


def test_a_live_parent_shows_what_is_executed_by_now() -> None:
    def fill(exec_id: str, qty: str, px: str) -> FillBooked:
        one = examples.filled(18, "P1C1A1", exec_id)
        return msgspec.structs.replace(one, last_qty=Decimal(qty), last_px=Decimal(px))

    engine = journaled(entries(examples.PARENT, examples.accepted(13), fill("e1", "30", "10"), fill("e2", "10", "14")))
    (parent,) = queries.parents(engine)
    assert (parent["state"], parent["cum_qty"], parent["avg_px"]) == ("live", 40, 11)


def test_a_parent_counts_late_fills_and_forgets_busted_ones() -> None:
    late = examples.filled(25, "P1C2A1", "e2")
    (parent,) = queries.parents(journaled(entries(*examples.STORY, late)))
    assert (parent["state"], parent["cum_qty"], parent["avg_px"]) == ("ended", 200, Decimal("101.23"))
    (parent,) = queries.parents(journaled(entries(*examples.STORY, examples.busted(25, "P1C1A1", "e1"))))
    assert (parent["cum_qty"], parent["avg_px"]) == (0, None)


def test_shadow_limits_are_counted_by_reason_from_when_they_were_set_until_others_were() -> None:
    def shadow_set(ts: int, version: str) -> ShadowSet:
        return ShadowSet(ts=ts, version=version, limits={}, by="desk")

    assert queries.shadow(journaled(examples.ENTRIES)) is None  # none was ever set
    story: list[Event] = [
        examples.approved(1, "P1C1A1"),  # before them
        shadow_set(2, "v1"),
        examples.approved(3, "P1C2A1"),
        examples.beside(3, "P1C2A1", in_force=100, shadow=0),
        shadow_set(4, "v2"),
        examples.approved(5, "P1C3A1"),
        examples.approved(6, "P1C4A1"),
        examples.beside(6, "P1C4A1", in_force=100, shadow=60),
        examples.denied(7, "P1C5A1"),
        examples.denied(8, "P1C6A1"),
        examples.beside(8, "P1C6A1", in_force=0, shadow=100),
        examples.accepted(9),
        examples.beside(9, "", in_force=60, shadow=100),
    ]
    found = queries.shadow(journaled(entries(*story)), limit=2)
    assert found is not None
    assert [row["cl_ord_id"] for row in found.pop("differences")] == ["", "P1C6A1"]
    size = {"reason": "ORDER_SIZE", "alike": 1, "tighter": 1, "wider": 2}
    passed = {"reason": "", "alike": 1, "tighter": 0, "wider": 0}
    since = {"version": "v2", "by": "desk", "since": 4, "until": None}
    assert found == since | {"verdicts": 5, "reasons": [passed, size]}
    taken_out = [shadow_set(10, ""), examples.approved(11, "P1C7A1")]
    later = queries.shadow(journaled(entries(*story, *taken_out)), limit=0)
    assert later == found | {"until": 10, "differences": []}


def test_counts_are_by_state() -> None:
    assert queries.counts(journaled(examples.ENTRIES)) == {
        "signals": {"accepted": 1},
        "parents": {"ended": 1},
        "orders": {"FILLED": 1},
        "decisions": {"accepted": 1, "approved": 1, "denied": 1},
        "alerts": {},
    }


CHILD_1 = [3, 4, 5, 6, 7, 8, 9, 10, 11, 15]  # seqs in STORY


@pytest.mark.parametrize(
    "order,seqs",
    [
        ("P1", [*CHILD_1[:-1], 13, 14, 15]),
        ("P1C1A1", CHILD_1),
        ("P1C2A1", [3, 4, 13, 14, 15]),
        ("P9C1A1", [17, 18]),
        ("nobody", []),
    ],
)
def test_the_story_of_an_order_is_told_in_order(order: str, seqs: list[int]) -> None:
    stray = SubmitResult(ts=30, venue="paper", cl_ord_id="P9C1A1", outcome=Outcome.UNKNOWN)
    stranger = msgspec.structs.replace(examples.updated(31, "P9C1A1", OrdStatus.UNKNOWN, Decimal(0)), parent_id="P9")
    engine = journaled(entries(*examples.STORY, TimeAdvanced(ts=30), stray, stranger))
    told = queries.explain(engine, order)
    assert [row["seq"] for row in told] == seqs
    assert [decode(row["payload"]) for row in told] == [event for seq, event in read(engine) if seq in seqs]


def test_what_became_no_parent_is_counted_by_reason_with_the_words_of_the_first() -> None:
    def gone(parent_id: str, reason: Reason, text: str) -> OrderDenied:
        return msgspec.structs.replace(examples.denied(30, ""), parent_id=parent_id, reason=reason, text=text)

    story: list[Event] = [
        *examples.STORY,  # with a child that is denied, of a parent that is none of these
        msgspec.structs.replace(examples.denied(25, ""), amends=True),  # nor one that is to be larger
        gone("P2", Reason.RATE, "too many"),
        gone("P3", Reason.ORDER_SIZE, "300 shares are too many"),
        gone("P4", Reason.ORDER_SIZE, "400 shares are too many"),
        SignalIgnored(ts=31, signal_id="2", strategy="s", reason="TOO_WEAK"),
        SignalRefused(ts=32, signal_id="3", strategy="s", reason="EXPIRED", text="late"),
    ]
    assert queries.turned_away(journaled(entries(*story))) == [
        {"reason": "ORDER_SIZE", "count": 2, "text": "300 shares are too many"},
        {"reason": "EXPIRED", "count": 1, "text": ""},
        {"reason": "RATE", "count": 1, "text": "too many"},
        {"reason": "TOO_WEAK", "count": 1, "text": ""},
    ]


def test_every_table_has_its_question() -> None:
    halt = TradingHalted(ts=40, cause="kill", state=TradingState.HALTED)
    letter = SignalDead(ts=41, source="redis", reason="not JSON", text="{")
    engine = journaled(entries(*examples.STORY, halt, letter))
    assert [row["exec_id"] for row in queries.fills(engine, parent_id="P1")] == ["e1"]
    assert [row["qty"] for row in queries.positions(engine, symbol="AAPL")] == [100]
    assert [row["max_qty"] for row in queries.denials(engine, reason="ORDER_SIZE")] == [50]
    assert [row["state"] for row in queries.signals(engine, strategy="s")] == ["accepted"]
    assert [row["cause"] for row in queries.halts(engine)] == ["kill"]
    assert [row["text"] for row in queries.dead_letters(engine)] == ["{"]
    assert queries.alerts(engine) == queries.cost_reports(engine) == []
    assert queries.meta(engine) == {"cash": "989876.65"}
