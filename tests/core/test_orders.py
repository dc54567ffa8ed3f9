"""The table of orders: its laws, checked over all of it and over random lives."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.orders import TERMINAL, TRANSITIONS, ExecType, Order, OrdStatus, OrdType, Side, TimeInForce, Trigger
from core.units import ZERO

QTY = Decimal(100)
LIVE = [status for status in OrdStatus if status not in TERMINAL]
MOVES = [(status, trigger) for status in OrdStatus for trigger in TRANSITIONS[status]]


def order(status: OrdStatus = OrdStatus.PENDING_SUBMIT, cum_qty: Decimal = ZERO) -> Order:
    made = Order(
        cl_ord_id="EXC1A1",
        parent_id="EX",
        strategy="s",
        venue="paper",
        symbol="AAPL",
        side=Side.BUY,
        order_qty=QTY,
        price=Decimal(10),
        last_change=1,
    )
    made.ord_status = status
    made.cum_qty = cum_qty
    return made


def reachable(start: OrdStatus) -> set[OrdStatus]:
    found, frontier = {start}, [start]
    while frontier:
        fresh = set(TRANSITIONS[frontier.pop()].values()) - found
        found |= fresh
        frontier += sorted(fresh)
    return found


# The table ------------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_status_and_leads_only_to_known_ones() -> None:
    assert TRANSITIONS.keys() == set(OrdStatus)
    for moves in TRANSITIONS.values():
        assert moves.keys() <= set(Trigger)
        assert set(moves.values()) <= set(OrdStatus)


def test_every_trigger_moves_something() -> None:
    assert {trigger for _, trigger in MOVES} == set(Trigger)


def test_every_status_can_be_reached() -> None:
    assert reachable(OrdStatus.PENDING_SUBMIT) == set(OrdStatus)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_ended_order_changes_only_by_the_execution_that_fills_it(status: OrdStatus) -> None:
    for trigger, after in TRANSITIONS[status].items():
        assert after is (OrdStatus.FILLED if trigger is Trigger.COMPLETED else status)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_ended_order_takes_stale_news_without_an_anomaly(status: OrdStatus) -> None:
    stale = {Trigger.SUBMITTED, Trigger.ACKNOWLEDGED, Trigger.TRADED, Trigger.COMPLETED, Trigger.CANCEL_REJECTED}
    assert stale <= TRANSITIONS[status].keys()


@pytest.mark.parametrize("status", LIVE)
def test_a_live_order_can_always_end(status: OrdStatus) -> None:
    assert reachable(status) & TERMINAL
    assert TRANSITIONS[status][Trigger.COMPLETED] is OrdStatus.FILLED
    assert TRANSITIONS[status][Trigger.CANCELED] is OrdStatus.CANCELED
    assert TRANSITIONS[status][Trigger.EXPIRED] is OrdStatus.EXPIRED
    assert TRANSITIONS[status][Trigger.SHORT] is OrdStatus.SETTLING


@pytest.mark.parametrize("status", LIVE)
def test_a_live_order_can_always_execute(status: OrdStatus) -> None:
    after = TRANSITIONS[status][Trigger.TRADED]
    assert after not in TERMINAL
    kept = {OrdStatus.PENDING_CANCEL, OrdStatus.SETTLING}  # an execution does not answer what these wait for
    assert after is (status if status in kept else OrdStatus.PARTIALLY_FILLED)


# What frees quantity: an ending, or proof that nothing was sent. Every other news keeps the remainder reserved.
FREEING = {
    OrdStatus.PENDING_SUBMIT: {"COMPLETED", "CANCELED", "EXPIRED", "REJECTED", "LAPSED", "NOT_SENT"},
    OrdStatus.SENT: {"COMPLETED", "CANCELED", "EXPIRED", "REJECTED", "NOT_SENT"},
    OrdStatus.NEW: {"COMPLETED", "CANCELED", "EXPIRED", "REJECTED", "NOT_SENT"},
    OrdStatus.PARTIALLY_FILLED: {"COMPLETED", "CANCELED", "EXPIRED", "REJECTED", "NOT_SENT"},
    OrdStatus.PENDING_CANCEL: {"COMPLETED", "CANCELED", "EXPIRED", "REJECTED", "LAPSED", "NOT_SENT"},
    OrdStatus.UNKNOWN: {"COMPLETED", "CANCELED", "EXPIRED", "REJECTED", "NOT_SENT"},
    OrdStatus.SETTLING: {"COMPLETED", "CANCELED", "EXPIRED"},
}


@pytest.mark.parametrize("status", LIVE)
def test_only_stated_moves_free_quantity(status: OrdStatus) -> None:
    frees = {trigger.name for trigger, after in TRANSITIONS[status].items() if after in TERMINAL}
    assert frees == FREEING[status]


@pytest.mark.parametrize("status", ["PENDING_SUBMIT", "SENT", "PENDING_CANCEL", "UNKNOWN"])
def test_an_order_that_no_venue_ever_confirmed_can_be_proven_dead(status: str) -> None:
    assert TRANSITIONS[OrdStatus(status)][Trigger.NOT_SENT] is OrdStatus.NOT_SENT


def test_doubt_never_becomes_a_lapse_or_a_refusal_of_ours() -> None:
    assert Trigger.LAPSED not in TRANSITIONS[OrdStatus.UNKNOWN]
    assert TRANSITIONS[OrdStatus.UNKNOWN][Trigger.CANCEL_REQUESTED] is OrdStatus.UNKNOWN
    assert TRANSITIONS[OrdStatus.UNKNOWN][Trigger.CANCEL_REJECTED] is OrdStatus.UNKNOWN


# One order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", OrdStatus)
@pytest.mark.parametrize("trigger", Trigger)
def test_an_order_goes_where_the_table_says_or_nowhere(status: OrdStatus, trigger: Trigger) -> None:
    one = order(status)
    assert one.after(trigger) is TRANSITIONS[status].get(trigger)
    assert one.ord_status is status  # to ask is not to move


@pytest.mark.parametrize("cum_qty", [ZERO, Decimal(40), QTY, QTY + 1])
@pytest.mark.parametrize("status", OrdStatus)
def test_nothing_is_left_only_of_an_ended_or_a_fully_executed_order(status: OrdStatus, cum_qty: Decimal) -> None:
    left = order(status, cum_qty).leaves_qty
    assert (left == 0) == (status in TERMINAL or cum_qty >= QTY)
    assert left in {ZERO, QTY - cum_qty}


@given(st.lists(st.sampled_from(Trigger) | st.integers(1, 120), max_size=40))
def test_no_life_of_an_order_breaks_its_quantities(life: list[Trigger | int]) -> None:
    one = order()
    booked: list[int] = []
    for step in life:
        before, cum_before = one.ord_status, one.cum_qty
        if isinstance(step, int):
            one.book(Decimal(step), Decimal(10))
            booked.append(step)
            step = Trigger.COMPLETED if one.cum_qty >= QTY else Trigger.TRADED  # noqa: PLW2901 - what the oms hears of it
            assert one.after(step) is not None, f"{before} cannot execute"
        one.ord_status = one.after(step) or before
        assert ZERO <= one.leaves_qty <= one.order_qty
        assert one.cum_qty >= cum_before
        assert one.cum_qty == sum(booked)
        if before in TERMINAL:
            assert one.ord_status in {before, OrdStatus.FILLED}
        elif one.ord_status not in TERMINAL:
            assert one.leaves_qty == max(QTY - sum(booked), ZERO)  # doubt and waiting keep all of the rest


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 10_000)), min_size=1, max_size=20))
def test_the_average_price_is_money_over_quantity_and_a_bust_takes_both_back(fills: list[tuple[int, int]]) -> None:
    one = order()
    assert one.avg_px is None
    for qty, cents in fills:
        one.book(Decimal(qty), Decimal(cents) / 100)
    assert one.avg_px == sum(Decimal(q * c) / 100 for q, c in fills) / sum(q for q, _ in fills)
    for qty, cents in fills:
        one.bust(Decimal(qty), Decimal(cents) / 100)
    assert (one.cum_qty, one.notional, one.avg_px) == (ZERO, ZERO, None)
    assert one.open_qty == max(QTY - sum(qty for qty, _ in fills), ZERO)  # the venue does not work it again


# Lives that venues really lead ----------------------------------------------------------------------------------------

S, T = OrdStatus, Trigger


def walk(*triggers: Trigger) -> Iterator[OrdStatus]:
    status = OrdStatus.PENDING_SUBMIT
    for trigger in triggers:
        status = TRANSITIONS[status][trigger]
        yield status


@pytest.mark.parametrize(
    "triggers,statuses",
    [
        ([T.SUBMITTED, T.ACKNOWLEDGED, T.TRADED, T.COMPLETED], [S.SENT, S.NEW, S.PARTIALLY_FILLED, S.FILLED]),
        # the stream overtakes the answer to the request
        ([T.TRADED, T.SUBMITTED, T.ACKNOWLEDGED, T.COMPLETED], [S.PARTIALLY_FILLED] * 3 + [S.FILLED]),
        ([T.COMPLETED, T.SUBMITTED, T.ACKNOWLEDGED], [S.FILLED] * 3),
        # the cancel was too late, and the fill arrives on either side of its rejection
        (
            [T.SUBMITTED, T.CANCEL_REQUESTED, T.CANCEL_REJECTED, T.COMPLETED],
            [S.SENT, S.PENDING_CANCEL, S.NEW, S.FILLED],
        ),
        (
            [T.SUBMITTED, T.CANCEL_REQUESTED, T.COMPLETED, T.CANCEL_REJECTED],
            [S.SENT, S.PENDING_CANCEL, S.FILLED, S.FILLED],
        ),
        # a time-out in the send, then the query finds it, or proves it dead
        ([T.IN_DOUBT, T.ACKNOWLEDGED], [S.UNKNOWN, S.NEW]),
        ([T.IN_DOUBT, T.NOT_SENT], [S.UNKNOWN, S.NOT_SENT]),
        ([T.IN_DOUBT, T.CANCEL_REQUESTED, T.CANCELED], [S.UNKNOWN, S.UNKNOWN, S.CANCELED]),
        # ended with executions missing: they arrive, then the end is believed
        ([T.SUBMITTED, T.SHORT, T.TRADED, T.CANCELED], [S.SENT, S.SETTLING, S.SETTLING, S.CANCELED]),
        ([T.SUBMITTED, T.SHORT, T.COMPLETED], [S.SENT, S.SETTLING, S.FILLED]),
        # a fill after the cancel was confirmed is booked all the same
        ([T.SUBMITTED, T.CANCELED, T.TRADED, T.COMPLETED], [S.SENT, S.CANCELED, S.CANCELED, S.FILLED]),
        ([T.LAPSED], [S.LAPSED]),
        ([T.CANCEL_REQUESTED, T.LAPSED], [S.PENDING_CANCEL, S.LAPSED]),
    ],
)
def test_lives_that_venues_lead_are_in_the_table(triggers: list[Trigger], statuses: list[OrdStatus]) -> None:
    assert list(walk(*triggers)) == statuses


# Words ----------------------------------------------------------------------------------------------------------------


def test_a_side_has_a_sign_and_an_opposite() -> None:
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
    assert (Side.BUY.opposite, Side.SELL.opposite) == (Side.SELL, Side.BUY)


@pytest.mark.parametrize(
    "member,code",
    [
        (Side.SELL, "2"),
        (OrdType.LIMIT, "2"),
        (TimeInForce.IOC, "3"),
        (ExecType.TRADE, "F"),
        (ExecType.NOT_FOUND, ""),
        (OrdStatus.PARTIALLY_FILLED, "1"),
        (OrdStatus.PENDING_CANCEL, "6"),
        (OrdStatus.SENT, "A"),
        (OrdStatus.UNKNOWN, ""),
    ],
)
def test_a_word_carries_its_fix_code_and_is_its_own_value(member: OrdStatus, code: str) -> None:
    assert member.fix == code
    assert member == member.value == member.name
    assert type(member)(member.value) is member


@pytest.mark.parametrize("words", [Side, OrdType, TimeInForce, ExecType, OrdStatus])
def test_no_two_words_share_a_code(words: type[OrdStatus]) -> None:
    codes = [word.fix for word in words if word.fix]
    assert len(codes) == len(set(codes))
