"""Each check by a table with its numbers, and the laws that hold for all of them."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.causes import TradingState
from core.events import (
    BreakFound,
    Event,
    FillBooked,
    NewOrderSingle,
    OrderApproved,
    OrderDenied,
    ParentAccepted,
    Reason,
    RegimeSet,
    StrategyResumed,
    StrategyStopped,
    TradingHalted,
)
from core.instruments import Instrument, Instruments, VenueAbility
from core.orders import OrdStatus, OrdType, Side, TimeInForce
from core.units import NS_PER_MS, NS_PER_S, ZERO, floor_to
from risk import checks
from risk.checks import CHECKS, Ask, Case, Check, Denial, judge
from risk.exposure import Exposure
from risk.gate import Gate
from risk.limits import Limits, LimitsInForce, StrategyLimits, SymbolLimits, VenueLimits, for_opening
from risk.shortfall import expected_shortfall
from risk.tail import Kind
from tests.builders import (
    INSTRUMENTS,
    MINUTE,
    NOW,
    abilities,
    accepted,
    approved,
    book,
    cancelled,
    child,
    clock,
    ended,
    filled,
    fold,
    given_up,
    held,
    limits,
    modelled,
    opened,
    parent,
    quote,
    reported,
    session,
    stop_set,
    stop_suspended,
    updated,
    working,
)

BUY, SELL = Side.BUY, Side.SELL
CLOSE = session().close


def ask(symbol: str = "AAPL", side: Side = BUY, qty: str = "100", **changes: Any) -> Ask:  # noqa: ANN401
    """A child of `P1` at the market."""
    order = Ask(
        ts=NOW,
        parent_id="P1",
        cl_ord_id="P1C1A1",
        strategy="alpha",
        venue="paper",
        symbol=symbol,
        side=side,
        qty=Decimal(qty),
        ord_type=OrdType.MARKET,
        price=None,
        time_in_force=TimeInForce.DAY,
    )
    return msgspec.structs.replace(order, **changes)


def ask_parent(symbol: str = "AAPL", side: Side = BUY, qty: str = "100", **changes: Any) -> Ask:  # noqa: ANN401
    return ask(symbol, side, qty, cl_ord_id="", time_in_force=None, **changes)


def limit_at(price: str | None) -> dict[str, Any]:
    return {"ord_type": OrdType.LIMIT, "price": None if price is None else Decimal(price)}


def meets(*met: str) -> Denial:
    """It would meet orders of ours that can be taken back."""
    return msgspec.structs.replace(no(Reason.SELF_MATCH), met=met)


def no(reason: Reason, value: str = "0", limit: str = "0", unit: str = "", max_qty: str | None = None) -> Denial:
    return Denial(
        reason=reason,
        value=Decimal(value),
        limit=Decimal(limit),
        unit=unit,
        text="",
        max_qty=None if max_qty is None else Decimal(max_qty),
    )


def halted(state: str) -> TradingHalted:
    return TradingHalted(ts=NOW, cause="drill", state=TradingState(state))


def own_limits(qty: str | None = "500", notional: str | None = "20000") -> Limits:
    return limits(
        symbols_default=SymbolLimits(
            order_qty_max=None if qty is None else Decimal(qty),
            order_notional_max=None if notional is None else Decimal(notional),
        )
    )


def executed(order: NewOrderSingle, ts: int) -> tuple[Event, ...]:
    return filled(order, order.order_qty, ts=ts), updated(order, OrdStatus.FILLED, order.order_qty, ts=ts)


STOPPED = StrategyStopped(ts=NOW, strategy="alpha", text="20 parents to BUY AAPL within 3.0 s")
QUARANTINE = BreakFound(ts=NOW, venue="paper", kind="POSITION", symbol="AAPL", text="ours 1, theirs 2")
P1 = accepted(parent(qty="100"))
P2_SHRT = accepted(parent("SHRT", qty="100", parent_id="P2"))
BETAS = accepted(parent(qty="70", strategy="beta", parent_id="B1"))
P1_SHORT = accepted(parent(qty="100", valid_until=NOW + MINUTE))
TENTH = limits(position_max=Decimal("0.1"))  # of 100,000: 100 shares at 100
TENTH_OF_A_SECTOR = limits(sector_max=Decimal("0.1"))
HUNDREDTH_OF_A_DAY = limits(participation_max=Decimal("0.01"))  # of 10,000 shares of AAPL: 100
ALPHA_ONLY = limits(strategies={"alpha": StrategyLimits(symbols=("AAPL",), venues=("paper",))})
ALPHA_TENTH = limits(strategies={"alpha": StrategyLimits(position_max=Decimal("0.1"))})
THOUSANDTH_TO_A_STOP = limits(position_heat_max=Decimal("0.001"))  # of 100,000: 20 shares that may lose 5 each
SECOND = limits(duplicate_window_s=1.0)
FIFTH_OF_A_CLUSTER = limits(cluster_max=Decimal("0.2"))
THREE_PERCENT = limits(es_max=Decimal("0.0301"))  # and a little, for rounding


def elsewhere(execution: FillBooked) -> FillBooked:
    """The same at another venue."""
    return msgspec.structs.replace(execution, venue="other")


OUR_SALE = working("AAPL", SELL, 1)
OUR_ORDER = child("AAPL", SELL, parent_id="WAAPLSELL1", cl_ord_id="WAAPLSELL1C1A1", order_qty=Decimal(1))
OUR_MARKET_SALE = msgspec.structs.replace(OUR_ORDER, ord_type=OrdType.MARKET, price=None)
TEN_THOUSAND = reported(None, buying_power="10000")  # 100 shares at 100
LATER = NOW + NS_PER_S
EMPTY_BOOK = quote(bid=None, ask=None)

Row = tuple[str, Check, Ask, tuple[Event, ...], Limits, Denial | None]
CASES: list[Row] = [
    ("an instrument of ours", checks.instrument_is_known, ask(), (), limits(), None),
    (
        "an instrument that is not ours",
        checks.instrument_is_known,
        ask(symbol="NONE"),
        (),
        limits(),
        no(Reason.UNKNOWN_SYMBOL),
    ),
    ("whole lots", checks.order_is_valid, ask("LOTS", qty="200"), (), limits(), None),
    ("a broken lot", checks.order_is_valid, ask("LOTS", qty="250"), (), limits(), no(Reason.INVALID, max_qty="200")),
    ("less than a lot", checks.order_is_valid, ask("LOTS", qty="50"), (), limits(), no(Reason.INVALID)),
    ("nothing", checks.order_is_valid, ask(qty="0"), (), limits(), no(Reason.INVALID)),
    ("less than nothing", checks.order_is_valid, ask(qty="-5"), (), limits(), no(Reason.INVALID)),
    ("a price on tick", checks.order_is_valid, ask(**limit_at("100.05")), (), limits(), None),
    ("a price off tick", checks.order_is_valid, ask(**limit_at("100.005")), (), limits(), no(Reason.INVALID)),
    ("a limit order without a price", checks.order_is_valid, ask(**limit_at(None)), (), limits(), no(Reason.INVALID)),
    ("a limit order at zero", checks.order_is_valid, ask(**limit_at("0")), (), limits(), no(Reason.INVALID)),
    ("a parent off tick", checks.order_is_valid, ask_parent(**limit_at("100.005")), (), limits(), None),
    ("a venue of ours", checks.venue_takes_it, ask(), (), limits(), None),
    ("no venue of ours", checks.venue_takes_it, ask(venue="moon"), (), limits(), no(Reason.INVALID)),
    (
        "no venue of ours for a parent",
        checks.venue_takes_it,
        ask_parent(venue="moon"),
        (),
        limits(),
        no(Reason.INVALID),
    ),
    ("ACTIVE", checks.trading_is_allowed, ask(), (), limits(), None),
    ("HALTED", checks.trading_is_allowed, ask(), (halted("HALTED"),), limits(), no(Reason.STATE)),
    (
        "HALTED, a sale of what is held",
        checks.trading_is_allowed,
        ask(side=SELL),
        (held("AAPL", 100), halted("HALTED")),
        limits(),
        no(Reason.STATE),
    ),
    (
        "HALTED, a flatten of what is held",
        checks.trading_is_allowed,
        ask(side=SELL, flatten=True),
        (held("AAPL", 100), halted("HALTED")),
        limits(),
        None,
    ),
    (
        "HALTED, a flatten of more than is held",
        checks.trading_is_allowed,
        ask(side=SELL, flatten=True, qty="101"),
        (held("AAPL", 100), halted("HALTED")),
        limits(),
        no(Reason.STATE, "101", "100", "shares", "100"),
    ),
    (
        "HALTED, a flatten of what is sold already",
        checks.trading_is_allowed,
        ask(side=SELL, flatten=True, qty="60"),
        (held("AAPL", 100), *working("AAPL", SELL, 50), halted("HALTED")),
        limits(),
        no(Reason.STATE, "60", "50", "shares", "50"),
    ),
    (
        "an operator's parent, where strategies have had their day",
        checks.rate_is_kept,
        ask_parent(flatten=True),
        (P1,),
        limits(parents_per_day=1),
        None,
    ),
    (
        "HALTED, a reducing order",
        checks.trading_is_allowed,
        ask(side=SELL, qty="10"),
        (held("AAPL", 100), halted("HALTED")),
        limits(),
        no(Reason.STATE),
    ),
    (
        "REDUCING, an opening order",
        checks.trading_is_allowed,
        ask(),
        (halted("REDUCING"),),
        limits(),
        no(Reason.STATE, "100", "0", "shares"),
    ),
    (
        "REDUCING, an order that adds",
        checks.trading_is_allowed,
        ask(qty="10"),
        (held("AAPL", 100), halted("REDUCING")),
        limits(),
        no(Reason.STATE, "10", "0", "shares"),
    ),
    (
        "REDUCING, an order that shrinks",
        checks.trading_is_allowed,
        ask(side=SELL, qty="100"),
        (held("AAPL", 100), halted("REDUCING")),
        limits(),
        None,
    ),
    (
        "REDUCING, a short is bought back",
        checks.trading_is_allowed,
        ask("SHRT", qty="100"),
        (held("SHRT", -100), halted("REDUCING")),
        limits(),
        None,
    ),
    (
        "REDUCING, an order that would cross zero",
        checks.trading_is_allowed,
        ask("SHRT", SELL, "101"),
        (held("SHRT", 100), halted("REDUCING")),
        limits(),
        no(Reason.STATE, "101", "100", "shares", "100"),
    ),
    (
        "REDUCING, others reduce already",
        checks.trading_is_allowed,
        ask("SHRT", SELL, "50"),
        (held("SHRT", 100), *working("SHRT", SELL, 60), halted("REDUCING")),
        limits(),
        no(Reason.STATE, "50", "40", "shares", "40"),
    ),
    (
        "REDUCING, opening orders that still work do not make room",
        checks.trading_is_allowed,
        ask("SHRT", SELL, "101"),
        (held("SHRT", 100), *working("SHRT", BUY, 60), halted("REDUCING")),
        limits(),
        no(Reason.STATE, "101", "100", "shares", "100"),
    ),
    ("books that agree", checks.symbol_is_agreed, ask("SHRT"), (QUARANTINE,), limits(), None),
    ("books that differ", checks.symbol_is_agreed, ask(), (QUARANTINE,), limits(), no(Reason.QUARANTINE)),
    ("inside the session", checks.session_is_open, ask(), (), limits(), None),
    (
        "before the open",
        checks.session_is_open,
        ask(ts=clock(9, 29, 59)),
        (),
        limits(),
        no(Reason.SESSION),
    ),
    ("at the close", checks.session_is_open, ask(ts=CLOSE), (), limits(), no(Reason.SESSION)),
    (
        "on a holiday",
        checks.session_is_open,
        ask(ts=clock(12, day=dt.date(2025, 12, 25))),
        (),
        limits(),
        no(Reason.SESSION),
    ),
    ("a parent at night", checks.session_is_open, ask_parent(ts=clock(3)), (), limits(), None),
    (
        "six seconds before the close",
        checks.session_is_open,
        ask(ts=CLOSE - 6 * NS_PER_S),
        (),
        limits(),
        None,
    ),
    (
        "the last seconds",
        checks.session_is_open,
        ask(ts=CLOSE - 5 * NS_PER_S),
        (),
        limits(),
        no(Reason.SESSION, "5", "5", "s"),
    ),
    ("a market that never shuts", checks.session_is_open, ask("FRAC", ts=clock(3)), (), limits(), None),
    ("a fresh quote", checks.price_is_fresh, ask(ts=NOW + 10 * NS_PER_S), (), limits(), None),
    (
        "an old quote",
        checks.price_is_fresh,
        ask(ts=NOW + 10_500 * NS_PER_MS),
        (),
        limits(),
        no(Reason.STALE_PRICE, "10.5", "10", "s"),
    ),
    (
        "a parent on an old quote",
        checks.price_is_fresh,
        ask_parent(ts=NOW + MINUTE),
        (),
        limits(),
        no(Reason.STALE_PRICE, "60", "10", "s"),
    ),
    ("a parent at night on an old quote", checks.price_is_fresh, ask_parent(ts=clock(20)), (), limits(), None),
    (
        "a crossed market",
        checks.price_is_fresh,
        ask(),
        (quote(bid="100.05", ask="100.01", last="100"),),
        limits(),
        no(Reason.NO_PRICE),
    ),
    (
        "a price below nothing",
        checks.price_is_fresh,
        ask(),
        (quote(bid="-3", ask="-1"),),
        limits(),
        no(Reason.NO_PRICE),
    ),
    ("a price of nothing", checks.price_is_fresh, ask(), (quote(bid="-1", ask="1"),), limits(), no(Reason.NO_PRICE)),
    (
        "a price beyond all",
        checks.price_is_fresh,
        ask(),
        (quote(bid="1e12", ask="1e12"),),
        limits(),
        no(Reason.NO_PRICE),
    ),
    ("a locked market", checks.price_is_fresh, ask(), (quote(bid="100", ask="100"),), limits(), None),
    ("one side and a last price", checks.price_is_fresh, ask(), (quote(bid=None, last="100"),), limits(), None),
    (
        "one side and no last price",
        checks.price_is_fresh,
        ask(),
        (quote(bid=None),),
        limits(),
        no(Reason.NO_PRICE),
    ),
    (
        "an empty market after a full one",
        checks.price_is_fresh,
        ask(),
        (EMPTY_BOOK,),
        limits(),
        no(Reason.NO_PRICE),
    ),
    (
        "a parent at night in an empty market",
        checks.price_is_fresh,
        ask_parent(ts=clock(3)),
        (EMPTY_BOOK,),
        limits(),
        None,
    ),
    ("the collar's edge", checks.price_is_near, ask(**limit_at("105")), (), limits(), None),
    (
        "outside the collar",
        checks.price_is_near,
        ask(**limit_at("105.01")),
        (),
        limits(),
        no(Reason.COLLAR, "0.0501", "0.05", "of mid"),
    ),
    (
        "outside it on the harmless side",
        checks.price_is_near,
        ask(**limit_at("94.99")),
        (),
        limits(),
        no(Reason.COLLAR, "0.0501", "0.05", "of mid"),
    ),
    ("no price, no collar", checks.price_is_near, ask(), (), limits(), None),
    ("a parent's limit may be far", checks.price_is_near, ask_parent(**limit_at("1000")), (), limits(), None),
    ("a parent worth the least", checks.worth_is_enough, ask_parent("LEAST", qty="5"), (), limits(), None),
    (
        "a parent worth less",
        checks.worth_is_enough,
        ask_parent("LEAST", qty="4", flatten=True),
        (),
        limits(),
        no(Reason.INVALID, "400", "500", "USD"),
    ),
    (
        "a parent that is to be larger by less",
        checks.worth_is_enough,
        ask_parent("LEAST", qty="4", beside=Decimal(5)),
        (),
        limits(),
        None,
    ),
    ("a child worth less", checks.worth_is_enough, ask("LEAST", qty="4"), (), limits(), None),
    ("no limit set", checks.size_is_allowed, ask(), (), Limits(), no(Reason.NO_LIMIT)),
    ("no limit set, to flatten", checks.size_is_allowed, ask(flatten=True), (), Limits(), None),
    ("half a limit set, to flatten", checks.size_is_allowed, ask(flatten=True), (), own_limits(notional=None), None),
    (
        "more than the half that is set, to flatten",
        checks.size_is_allowed,
        ask(qty="501", flatten=True),
        (),
        own_limits(notional=None),
        no(Reason.ORDER_SIZE, "501", "500", "shares", "500"),
    ),
    ("half a limit set", checks.size_is_allowed, ask(), (), own_limits(notional=None), no(Reason.NO_LIMIT)),
    ("shares at their limit", checks.size_is_allowed, ask(qty="500"), (), own_limits(), None),
    ("money at its limit", checks.notional_is_allowed, ask(qty="200"), (), own_limits(), None),
    ("no money set, to flatten", checks.notional_is_allowed, ask(flatten=True), (), own_limits(notional=None), None),
    (
        "too many shares",
        checks.size_is_allowed,
        ask(qty="501"),
        (),
        own_limits(notional="1000000"),
        no(Reason.ORDER_SIZE, "501", "500", "shares", "500"),
    ),
    (
        "too much money",
        checks.notional_is_allowed,
        ask(qty="201"),
        (),
        own_limits(),
        no(Reason.ORDER_NOTIONAL, "20100", "20000", "USD", "200"),
    ),
    (
        "too many shares, however much money they are",
        checks.size_is_allowed,
        ask(qty="501"),
        (),
        own_limits(),
        no(Reason.ORDER_SIZE, "501", "500", "shares", "500"),
    ),
    (
        "the multiplier counts",
        checks.notional_is_allowed,
        ask("FUTR", qty="5"),
        (),
        own_limits(),
        no(Reason.ORDER_NOTIONAL, "25000", "20000", "USD", "4"),
    ),
    (
        "a limit price that is dearer than the market counts",
        checks.notional_is_allowed,
        ask(qty="200", **limit_at("104")),
        (),
        own_limits(),
        no(Reason.ORDER_NOTIONAL, "20800", "20000", "USD", "192"),
    ),
    (
        "a parent as a whole",
        checks.notional_is_allowed,
        ask_parent(qty="201"),
        (),
        own_limits(),
        no(Reason.ORDER_NOTIONAL, "20100", "20000", "USD", "200"),
    ),
    (
        "one lot is too much",
        checks.size_is_allowed,
        ask("LOTS", qty="300"),
        (),
        own_limits(qty="99"),
        no(Reason.ORDER_SIZE, "300", "99", "shares"),
    ),
    ("a purchase needs no cover", checks.sale_is_covered, ask(), (), limits(), None),
    ("a short where it is allowed", checks.sale_is_covered, ask("SHRT", SELL), (), limits(), None),
    ("all that is held", checks.sale_is_covered, ask(side=SELL), (held("AAPL", 100),), limits(), None),
    (
        "more than is held",
        checks.sale_is_covered,
        ask(side=SELL),
        (held("AAPL", 60),),
        limits(),
        no(Reason.SHORT, "100", "60", "shares", "60"),
    ),
    (
        "what others sell is not free",
        checks.sale_is_covered,
        ask(side=SELL),
        (held("AAPL", 100), *working("AAPL", SELL, 30)),
        limits(),
        no(Reason.SHORT, "100", "70", "shares", "70"),
    ),
    (
        "what is being bought is not held yet",
        checks.sale_is_covered,
        ask(side=SELL),
        working("AAPL", BUY, 500),
        limits(),
        no(Reason.SHORT, "100", "0", "shares"),
    ),
    (
        "a parent counts what parents will sell",
        checks.sale_is_covered,
        ask_parent(side=SELL),
        (held("AAPL", 100), accepted(parent(side=SELL, qty="40"))),
        limits(),
        no(Reason.SHORT, "100", "60", "shares", "60"),
    ),
    ("a short as far as it is located", checks.sale_is_covered, ask("HARD", SELL), (), limits(), None),
    (
        "a share more than is located",
        checks.sale_is_covered,
        ask("HARD", SELL, "101"),
        (),
        limits(),
        no(Reason.SHORT, "101", "100", "shares", "100"),
    ),
    (
        "what is held, and a locate; what others sell short takes of it",
        checks.sale_is_covered,
        ask("HARD", SELL, "150"),
        (held("HARD", 80), *working("HARD", SELL, 50)),
        limits(),
        no(Reason.SHORT, "150", "130", "shares", "130"),
    ),
    (
        "a short beyond its locate grows no further",
        checks.sale_is_covered,
        ask("HARD", SELL, "1"),
        (held("HARD", -120),),
        limits(),
        no(Reason.SHORT, "1", "0", "shares"),
    ),
    ("and is bought back", checks.sale_is_covered, ask("HARD", BUY, "120"), (held("HARD", -120),), limits(), None),
    (
        "a parent is held to a locate, too",
        checks.sale_is_covered,
        ask_parent("HARD", SELL, "100"),
        (accepted(parent("HARD", SELL, "40")),),
        limits(),
        no(Reason.SHORT, "100", "60", "shares", "60"),
    ),
    # R21, at one venue of several: what is held is held at paper
    ("where it is held", checks.sale_is_covered_there, ask(side=SELL), (held("AAPL", 100),), limits(), None),
    (
        "where it is not",
        checks.sale_is_covered_there,
        ask(side=SELL, venue="other"),
        (held("AAPL", 100),),
        limits(),
        no(Reason.SHORT, "100", "0", "shares"),
    ),
    (
        "where a part of it is",
        checks.sale_is_covered_there,
        ask(side=SELL, venue="other"),
        (held("AAPL", 100), elsewhere(held("AAPL", 40))),
        limits(),
        no(Reason.SHORT, "100", "40", "shares", "40"),
    ),
    (
        "what is on its way out there is not free",
        checks.sale_is_covered_there,
        ask(side=SELL, qty="80"),
        (held("AAPL", 100), elsewhere(held("AAPL", 40)), *working("AAPL", SELL, 30)),
        limits(),
        no(Reason.SHORT, "80", "70", "shares", "70"),
    ),
    (
        "a parent may be sold at all of them",
        checks.sale_is_covered_there,
        ask_parent(side=SELL, venue="other"),
        (held("AAPL", 100),),
        limits(),
        None,
    ),
    (
        "what may be sold short",
        checks.sale_is_covered_there,
        ask("SHRT", SELL, venue="other"),
        (held("SHRT", 100),),
        limits(),
        None,
    ),
    # R21, the price of a short sale; the bid is 99.99
    ("above the bid", checks.short_sale_is_above_bid, ask("HARD", SELL, **limit_at("100.00")), (), limits(), None),
    (
        "at the bid",
        checks.short_sale_is_above_bid,
        ask("HARD", SELL, **limit_at("99.99")),
        (),
        limits(),
        no(Reason.SHORT_PRICE),
    ),
    ("at any price", checks.short_sale_is_above_bid, ask("HARD", SELL), (), limits(), no(Reason.SHORT_PRICE)),
    (
        "where nobody bids",
        checks.short_sale_is_above_bid,
        ask("HARD", SELL, **limit_at("100.00")),
        (quote("HARD", bid=None, last="100"),),
        limits(),
        no(Reason.SHORT_PRICE),
    ),
    (
        "all that is held, at any price",
        checks.short_sale_is_above_bid,
        ask("HARD", SELL),
        (held("HARD", 100),),
        limits(),
        None,
    ),
    (
        "more than is held and not sold yet",
        checks.short_sale_is_above_bid,
        ask("HARD", SELL),
        (held("HARD", 90), *working("HARD", SELL, 30)),
        limits(),
        no(Reason.SHORT_PRICE, max_qty="60"),
    ),
    ("bought at any price", checks.short_sale_is_above_bid, ask("HARD"), (held("HARD", -100),), limits(), None),
    ("a parent that names no price", checks.short_sale_is_above_bid, ask_parent("HARD", SELL), (), limits(), None),
    ("where no restriction is", checks.short_sale_is_above_bid, ask("SHRT", SELL), (), limits(), None),
    # R15
    ("a hundredth of a day", checks.participation_is_small, ask_parent(), (), HUNDREDTH_OF_A_DAY, None),
    (
        "more of a day",
        checks.participation_is_small,
        ask_parent(qty="150"),
        (),
        HUNDREDTH_OF_A_DAY,
        no(Reason.PARTICIPATION, "0.015", "0.01", "of a day's volume", "100"),
    ),
    ("children are its parent's", checks.participation_is_small, ask(qty="150"), (), HUNDREDTH_OF_A_DAY, None),
    (
        "what shrinks may be more",
        checks.participation_is_small,
        ask_parent(side=SELL, qty="300"),
        (held("AAPL", 300),),
        HUNDREDTH_OF_A_DAY,
        None,
    ),
    (
        "no more than it shrinks",
        checks.participation_is_small,
        ask_parent(side=SELL, qty="301"),
        (held("AAPL", 300),),
        HUNDREDTH_OF_A_DAY,
        no(Reason.PARTICIPATION, "0.0301", "0.01", "of a day's volume", "300"),
    ),
    (
        "a day's volume that nobody stated",
        checks.participation_is_small,
        ask_parent("SHRT"),
        (),
        HUNDREDTH_OF_A_DAY,
        no(Reason.NO_LIMIT),
    ),
    # R9, positions
    ("a second one", checks.positions_are_few, ask(), (held("LOTS", 100),), limits(positions_max=2), None),
    (
        "a third one",
        checks.positions_are_few,
        ask(),
        (held("LOTS", 100), *working("SHRT", SELL, 1)),
        limits(positions_max=2),
        no(Reason.POSITIONS, "3", "2", "positions"),
    ),
    (
        "more of one that is on its way",
        checks.positions_are_few,
        ask("SHRT"),
        (held("LOTS", 100), *working("SHRT", SELL, 1)),
        limits(positions_max=2),
        None,
    ),
    # R3: AAPL and SHRT are of one sector, the others have none
    ("a tenth of it", checks.sector_is_allowed, ask(qty="60"), (held("SHRT", -40),), TENTH_OF_A_SECTOR, None),
    (
        "more of it, and short counts",
        checks.sector_is_allowed,
        ask(qty="70"),
        (held("SHRT", -40),),
        TENTH_OF_A_SECTOR,
        no(Reason.SECTOR, "0.11", "0.1", "of equity", "60"),
    ),
    (
        "orders that work count on their worse side",
        checks.sector_is_allowed,
        ask(qty="70"),
        (*working("SHRT", SELL, 40), *working("SHRT", BUY, 10)),
        TENTH_OF_A_SECTOR,
        no(Reason.SECTOR, "0.11", "0.1", "of equity", "60"),
    ),
    ("another sector", checks.sector_is_allowed, ask(), (held("LOTS", 100),), TENTH_OF_A_SECTOR, None),
    (
        "no sector is a sector",
        checks.sector_is_allowed,
        ask("FUTR", qty="2"),
        (held("LOTS", 100),),
        TENTH_OF_A_SECTOR,
        no(Reason.SECTOR, "0.2", "0.1", "of equity"),
    ),
    (
        "from one side to less of the other, over the limit",
        checks.sector_is_allowed,
        ask("SHRT", SELL, "390"),
        (held("SHRT", 200), held("AAPL", 100)),
        TENTH_OF_A_SECTOR,
        None,
    ),
    (
        "from one side to more of the other, over the limit",
        checks.sector_is_allowed,
        ask("SHRT", SELL, "401"),
        (held("SHRT", 200), held("AAPL", 100)),
        TENTH_OF_A_SECTOR,
        no(Reason.SECTOR, "0.301", "0.1", "of equity", "400"),
    ),
    # R9, gross and net
    (
        "gross adds what is short",
        checks.gross_is_allowed,
        ask(),
        (held("LOTS", -100),),
        limits(gross_max=Decimal("0.15")),
        no(Reason.GROSS, "0.2", "0.15", "of equity", "50"),
    ),
    ("net takes it off", checks.net_is_allowed, ask(), (held("LOTS", -100),), limits(net_max=Decimal("0.1")), None),
    (
        "a hedge that is not executed is none",
        checks.net_is_allowed,
        ask(qty="150"),
        working("LOTS", SELL, 100),
        limits(net_max=Decimal("0.1")),
        no(Reason.NET, "0.15", "0.1", "of equity", "100"),
    ),
    (
        "a hedge in a book that is over",
        checks.net_is_allowed,
        ask("SHRT", SELL, "300"),
        (held("LOTS", 200),),
        limits(net_max=Decimal("0.1")),
        None,
    ),
    (
        "more of a hedge than takes the other side to its limit",
        checks.net_is_allowed,
        ask("SHRT", SELL, "301"),
        (held("LOTS", 200),),
        limits(net_max=Decimal("0.1")),
        no(Reason.NET, "0.101", "0.1", "of equity", "300"),
    ),
    (
        "parents are judged with what parents may still do",
        checks.gross_is_allowed,
        ask_parent(qty="50"),
        (accepted(parent("LOTS", qty="100")),),
        limits(gross_max=Decimal("0.1")),
        no(Reason.GROSS, "0.15", "0.1", "of equity"),
    ),
    (
        "children with what children may still do",
        checks.gross_is_allowed,
        ask(qty="50"),
        (accepted(parent("LOTS", qty="100")),),
        limits(gross_max=Decimal("0.1")),
        None,
    ),
    ("up to the limit", checks.position_is_allowed, ask(), (), TENTH, None),
    (
        "a share over it",
        checks.position_is_allowed,
        ask(qty="101"),
        (),
        TENTH,
        no(Reason.POSITION, "0.101", "0.1", "of equity", "100"),
    ),
    (
        "held and working count",
        checks.position_is_allowed,
        ask(qty="50"),
        (held("AAPL", 30), *working("AAPL", BUY, 30)),
        TENTH,
        no(Reason.POSITION, "0.11", "0.1", "of equity", "40"),
    ),
    (
        "what may be sold is no room yet",
        checks.position_is_allowed,
        ask(qty="50"),
        (held("AAPL", 100), *working("AAPL", SELL, 100)),
        TENTH,
        no(Reason.POSITION, "0.15", "0.1", "of equity"),
    ),
    (
        "a book over its limit may shrink",
        checks.position_is_allowed,
        ask("SHRT", SELL, "900"),
        (held("SHRT", 900),),
        TENTH,
        None,
    ),
    (
        "and cross to the other side as far as the limit",
        checks.position_is_allowed,
        ask("SHRT", SELL, "1000"),
        (held("SHRT", 900),),
        TENTH,
        None,
    ),
    (
        "but not from over the limit to over the limit",
        checks.position_is_allowed,
        ask("SHRT", SELL, "1001"),
        (held("SHRT", 900),),
        TENTH,
        no(Reason.POSITION, "0.101", "0.1", "of equity", "1000"),
    ),
    (
        "a short counts like a long",
        checks.position_is_allowed,
        ask("SHRT", SELL, "101"),
        (),
        TENTH,
        no(Reason.POSITION, "0.101", "0.1", "of equity", "100"),
    ),
    (
        "nothing can be opened without equity",
        checks.position_is_allowed,
        ask("SHRT", qty="1"),
        (quote("AAPL", "0.99", "1.01"), held("AAPL", 2000)),
        TENTH,
        no(Reason.POSITION, "100", "0", "USD"),
    ),
    (
        "a short can be bought back without equity",
        checks.position_is_allowed,
        ask("SHRT", qty="10"),
        (quote("AAPL", "0.99", "1.01"), held("AAPL", 2000), held("SHRT", -10)),
        TENTH,
        None,
    ),
    (
        "a parent counts what parents will buy",
        checks.position_is_allowed,
        ask_parent(qty="50"),
        (accepted(parent(qty="70")),),
        TENTH,
        no(Reason.POSITION, "0.12", "0.1", "of equity", "30"),
    ),
    # R2, a strategy's own
    ("up to its own limit", checks.own_position_is_allowed, ask(), (), ALPHA_TENTH, None),
    (
        "a share over its own limit",
        checks.own_position_is_allowed,
        ask(qty="101"),
        (),
        ALPHA_TENTH,
        no(Reason.POSITION, "0.101", "0.1", "of equity", "100"),
    ),
    (
        "as many as lose no more until the stop",
        checks.heat_is_allowed,
        ask(qty="20"),
        (stop_set(),),
        THOUSANDTH_TO_A_STOP,
        None,
    ),
    (
        "a share more",
        checks.heat_is_allowed,
        ask(qty="21"),
        (stop_set(),),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.00105", "0.001", "of equity", "20"),
    ),
    (
        "a parent beside what its strategy holds and will buy",
        checks.heat_is_allowed,
        ask_parent(qty="6"),
        (held("AAPL", 10), accepted(parent(qty="5")), stop_set()),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.00105", "0.001", "of equity", "5"),
    ),
    (
        "a child beside what is held and works",
        checks.heat_is_allowed,
        ask(qty="6"),
        (held("AAPL", 10), *working("AAPL", BUY, 5), P1, stop_set()),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.00105", "0.001", "of equity", "5"),
    ),
    (
        "without a stop in whole",
        checks.heat_is_allowed,
        ask(qty="2"),
        (),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.002", "0.001", "of equity", "1"),
    ),
    (
        "a stop that is suspended is none",
        checks.heat_is_allowed,
        ask(qty="2"),
        (stop_set(), stop_suspended()),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.002", "0.001", "of equity", "1"),
    ),
    (
        "nor is one of the other side, or of another strategy",
        checks.heat_is_allowed,
        ask(qty="2"),
        (stop_set(side=BUY, at="105"), stop_set(strategy="beta")),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.002", "0.001", "of equity", "1"),
    ),
    (
        "a limit that is dearer than the market has farther to its stop",
        checks.heat_is_allowed,
        ask(qty="20", **limit_at("102")),
        (stop_set(),),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.0014", "0.001", "of equity", "14"),
    ),
    (
        "a short's limit below the market has, too",
        checks.heat_is_allowed,
        ask("SHRT", SELL, "20", **limit_at("98")),
        (stop_set("SHRT", BUY, "105"),),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.0014", "0.001", "of equity", "14"),
    ),
    (
        "a far stop counts for no more than the whole",
        checks.heat_is_allowed,
        ask("SHRT", SELL, "2"),
        (stop_set("SHRT", BUY, "500"),),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.002", "0.001", "of equity", "1"),
    ),
    (
        "a stop that is reached guards nothing more",
        checks.heat_is_allowed,
        ask(qty="2"),
        (stop_set(at="100"),),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.002", "0.001", "of equity", "1"),
    ),
    (
        "the multiplier counts for a stop",
        checks.heat_is_allowed,
        ask("FUTR", qty="1"),
        (stop_set("FUTR"),),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.0025", "0.001", "of equity"),
    ),
    (
        "what its strategy sells of its own",
        checks.heat_is_allowed,
        ask(side=SELL),
        (held("AAPL", 100),),
        THOUSANDTH_TO_A_STOP,
        None,
    ),
    (
        "what it sells against another's",
        checks.heat_is_allowed,
        ask(side=SELL, qty="1", strategy="beta"),
        (held("AAPL", 100), stop_set(at="99")),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.002", "0.001", "of equity"),
    ),
    (
        "an operator's flatten of a naked position",
        checks.heat_is_allowed,
        ask(side=SELL, strategy="beta", flatten=True),
        (held("AAPL", 100),),
        THOUSANDTH_TO_A_STOP,
        None,
    ),
    (
        "what is short may be bought up to as much as it was hot",
        checks.heat_is_allowed,
        ask("SHRT", qty="60"),
        (held("SHRT", -20),),
        THOUSANDTH_TO_A_STOP,
        no(Reason.HEAT, "0.04", "0.001", "of equity", "40"),
    ),
    (
        "all positions together",
        checks.heat_is_allowed,
        ask(qty="20"),
        (held("LOTS", 100), stop_set("LOTS", at="99"), stop_set()),
        limits(heat_max=Decimal("0.0015"), position_heat_max=Decimal("0.005")),
        no(Reason.HEAT, "0.002", "0.0015", "of equity", "10"),
    ),
    (
        "of both limits the one that leaves less",
        checks.heat_is_allowed,
        ask(qty="40"),
        (held("LOTS", 100), stop_set("LOTS", at="99"), stop_set()),
        limits(heat_max=Decimal("0.0015"), position_heat_max=Decimal("0.001")),
        no(Reason.HEAT, "0.003", "0.0015", "of equity", "10"),
    ),
    ("of a strategy without a limit", checks.own_position_is_allowed, ask(qty="101"), (), limits(), None),
    (
        "of a strategy that is not named",
        checks.own_position_is_allowed,
        ask(qty="101", strategy="beta"),
        (),
        ALPHA_TENTH,
        None,
    ),
    (
        "what it holds and has sent counts",
        checks.own_position_is_allowed,
        ask(qty="50"),
        (held("AAPL", 30), *working("AAPL", BUY, 30)),
        ALPHA_TENTH,
        no(Reason.POSITION, "0.11", "0.1", "of equity", "40"),
    ),
    (
        "what it may sell is no room yet",
        checks.own_position_is_allowed,
        ask(qty="50"),
        (held("AAPL", 100), *working("AAPL", SELL, 100)),
        ALPHA_TENTH,
        no(Reason.POSITION, "0.15", "0.1", "of equity"),
    ),
    (
        "a parent counts what its own parents will buy",
        checks.own_position_is_allowed,
        ask_parent(),
        (BETAS,),
        ALPHA_TENTH,
        None,
    ),
    (
        "and theirs alone",
        checks.own_position_is_allowed,
        ask_parent(),
        (BETAS, accepted(parent(qty="40"))),
        ALPHA_TENTH,
        no(Reason.POSITION, "0.14", "0.1", "of equity", "60"),
    ),
    (
        "a child counts what its own children may buy",
        checks.own_position_is_allowed,
        ask(),
        (accepted(parent(qty="140")),),
        ALPHA_TENTH,
        None,
    ),
    (
        "what others hold is no room",
        checks.own_position_is_allowed,
        ask("SHRT", SELL, "101"),
        (filled(child("SHRT", qty="200", strategy="beta", parent_id="B1", cl_ord_id="B1C1A1"), "200"),),
        ALPHA_TENTH,
        no(Reason.POSITION, "0.101", "0.1", "of equity", "100"),
    ),
    (
        "a strategy over its limit may shrink",
        checks.own_position_is_allowed,
        ask(side=SELL),
        (held("AAPL", 500),),
        ALPHA_TENTH,
        None,
    ),
    (
        "and cross to the other side as far as its limit",
        checks.own_position_is_allowed,
        ask("SHRT", SELL, "1001"),
        (held("SHRT", 900),),
        ALPHA_TENTH,
        no(Reason.POSITION, "0.101", "0.1", "of equity", "1000"),
    ),
    (
        "an operator's flatten of what it holds",
        checks.own_position_is_allowed,
        ask(qty="101", flatten=True),
        (),
        ALPHA_TENTH,
        None,
    ),
    (
        "a strategy opens nothing without equity",
        checks.own_position_is_allowed,
        ask("SHRT", qty="1"),
        (quote("AAPL", "0.99", "1.01"), held("AAPL", 2000)),
        ALPHA_TENTH,
        no(Reason.POSITION, "100", "0", "USD"),
    ),
    ("not on the list", checks.symbol_may_be_traded, ask(), (), limits(restricted=("SHRT",)), None),
    (
        "on the list",
        checks.symbol_may_be_traded,
        ask(),
        (),
        limits(restricted=("SHRT", "AAPL")),
        no(Reason.RESTRICTED),
    ),
    (
        "on the list, to flatten",
        checks.symbol_may_be_traded,
        ask(flatten=True),
        (),
        limits(restricted=("AAPL",)),
        None,
    ),
    ("everybody may trade where nobody is named", checks.strategy_may_trade, ask(), (), limits(), None),
    ("who is not named", checks.strategy_may_trade, ask(strategy="beta"), (), ALPHA_ONLY, no(Reason.PERMISSION)),
    (
        "who is not named, to flatten",
        checks.strategy_may_trade,
        ask(strategy="beta", flatten=True),
        (),
        ALPHA_ONLY,
        None,
    ),
    ("what it may trade", checks.strategy_may_trade, ask(), (), ALPHA_ONLY, None),
    ("another symbol", checks.strategy_may_trade, ask("SHRT"), (), ALPHA_ONLY, no(Reason.PERMISSION)),
    ("another venue", checks.strategy_may_trade, ask(venue="other"), (), ALPHA_ONLY, no(Reason.PERMISSION)),
    (
        "all of a strategy without bounds",
        checks.strategy_may_trade,
        ask("SHRT", venue="other"),
        (),
        limits(strategies={"alpha": StrategyLimits()}),
        None,
    ),
    ("a first parent", checks.order_is_no_duplicate, ask_parent(), (), SECOND, None),
    (
        "of a strategy that is stopped",
        checks.strategy_is_not_stopped,
        ask_parent(),
        (STOPPED,),
        limits(),
        no(Reason.REPEATS),
    ),
    (
        "of a strategy that is stopped, in anything else",
        checks.strategy_is_not_stopped,
        ask_parent("SHRT", SELL),
        (STOPPED,),
        limits(),
        no(Reason.REPEATS),
    ),
    (
        "of another strategy than that",
        checks.strategy_is_not_stopped,
        ask_parent(strategy="beta"),
        (STOPPED,),
        limits(),
        None,
    ),
    ("a child of its earlier parents", checks.strategy_is_not_stopped, ask(), (STOPPED,), limits(), None),
    (
        "an operator's flatten of what it holds",
        checks.strategy_is_not_stopped,
        ask_parent(flatten=True),
        (STOPPED,),
        limits(),
        None,
    ),
    (
        "of a strategy that goes on again",
        checks.strategy_is_not_stopped,
        ask_parent(),
        (STOPPED, StrategyResumed(ts=NOW, strategy="alpha", by="ann")),
        limits(),
        None,
    ),
    ("the same again", checks.order_is_no_duplicate, ask_parent(), (P1,), SECOND, no(Reason.DUPLICATE)),
    (
        "the same again, when the window is over",
        checks.order_is_no_duplicate,
        ask_parent(ts=NOW + NS_PER_S),
        (P1,),
        SECOND,
        None,
    ),
    ("the same again, nobody minds", checks.order_is_no_duplicate, ask_parent(), (P1,), limits(), None),
    ("of another strategy", checks.order_is_no_duplicate, ask_parent(strategy="beta"), (P1,), SECOND, None),
    ("of another size", checks.order_is_no_duplicate, ask_parent(qty="99"), (P1,), SECOND, None),
    ("to the other side", checks.order_is_no_duplicate, ask_parent(side=SELL), (P1,), SECOND, None),
    ("in another symbol", checks.order_is_no_duplicate, ask_parent("SHRT"), (P1,), SECOND, None),
    (
        "the same again, made smaller",
        checks.order_is_no_duplicate,
        ask_parent(qty="50", asked_qty=Decimal(100)),
        (P1,),
        SECOND,
        no(Reason.DUPLICATE),
    ),
    (
        "another one, made as small",
        checks.order_is_no_duplicate,
        ask_parent(asked_qty=Decimal(300)),
        (P1,),
        SECOND,
        None,
    ),
    ("a child like its parent", checks.order_is_no_duplicate, ask(), (P1,), SECOND, None),
    ("to flatten", checks.order_is_no_duplicate, ask_parent(flatten=True), (P1,), SECOND, None),
    (
        "as it was asked for, not as it was cut",
        checks.order_is_no_duplicate,
        ask_parent(),
        (accepted(parent(qty="100"), Decimal(50)),),
        SECOND,
        no(Reason.DUPLICATE),
    ),
    ("nothing of ours", checks.order_meets_none_of_ours, ask(), (), limits(), None),
    ("of the same side", checks.order_meets_none_of_ours, ask(), working("AAPL", BUY, 1), limits(), None),
    ("in another symbol", checks.order_meets_none_of_ours, ask(), working("SHRT", SELL, 1), limits(), None),
    (
        "at another venue, which may bring it to the same exchange",
        checks.order_meets_none_of_ours,
        ask(venue="other"),
        working("AAPL", SELL, 1),
        limits(),
        meets("WAAPLSELL1C1A1"),
    ),
    ("a parent meets nobody yet", checks.order_meets_none_of_ours, ask_parent(), OUR_SALE, limits(), None),
    ("at any price", checks.order_meets_none_of_ours, ask(), OUR_SALE, limits(), meets("WAAPLSELL1C1A1")),
    (
        "at its price",
        checks.order_meets_none_of_ours,
        ask(**limit_at("100")),
        OUR_SALE,
        limits(),
        meets("WAAPLSELL1C1A1"),
    ),
    ("below it", checks.order_meets_none_of_ours, ask(**limit_at("99.99")), OUR_SALE, limits(), None),
    (
        "a sale at a purchase's price",
        checks.order_meets_none_of_ours,
        ask(side=SELL, **limit_at("100")),
        working("AAPL", BUY, 1),
        limits(),
        meets("WAAPLBUY1C1A1"),
    ),
    (
        "a sale above it",
        checks.order_meets_none_of_ours,
        ask(side=SELL, **limit_at("100.01")),
        working("AAPL", BUY, 1),
        limits(),
        None,
    ),
    (
        "far from one that would execute at any",
        checks.order_meets_none_of_ours,
        ask(**limit_at("1")),
        (OUR_SALE[0], approved(OUR_MARKET_SALE)),
        limits(),
        meets("WAAPLSELL1C1A1"),
    ),
    (
        "to flatten",
        checks.order_meets_none_of_ours,
        ask(flatten=True),
        OUR_SALE,
        limits(),
        meets("WAAPLSELL1C1A1"),
    ),
    (
        "one that is being cancelled",
        checks.order_meets_none_of_ours,
        ask(),
        (*OUR_SALE, updated(OUR_ORDER, OrdStatus.PENDING_CANCEL)),
        limits(),
        meets("WAAPLSELL1C1A1"),
    ),
    (
        "one in doubt",
        checks.order_meets_none_of_ours,
        ask(),
        (*OUR_SALE, updated(OUR_ORDER, OrdStatus.UNKNOWN)),
        limits(),
        no(Reason.SELF_MATCH),
    ),
    (
        "one in doubt holds up no flatten",
        checks.order_meets_none_of_ours,
        ask(flatten=True),
        (*OUR_SALE, updated(OUR_ORDER, OrdStatus.UNKNOWN)),
        limits(),
        None,
    ),
    (
        "one without a price has traded or never will, if it is in doubt",
        checks.order_meets_none_of_ours,
        ask(),
        (OUR_SALE[0], approved(OUR_MARKET_SALE), updated(OUR_MARKET_SALE, OrdStatus.UNKNOWN)),
        limits(),
        None,
    ),
    (
        "one that has ended and whose executions are still to come",
        checks.order_meets_none_of_ours,
        ask(),
        (*OUR_SALE, updated(OUR_ORDER, OrdStatus.SETTLING)),
        limits(),
        None,
    ),
    (
        "one at the end of a market order's reach",
        checks.order_meets_none_of_ours,
        ask(),
        (OUR_SALE[0], approved(msgspec.structs.replace(OUR_ORDER, price=Decimal("100.51")))),
        limits(),
        meets("WAAPLSELL1C1A1"),
    ),
    (
        "one beyond it",
        checks.order_meets_none_of_ours,
        ask(),
        (OUR_SALE[0], approved(msgspec.structs.replace(OUR_ORDER, price=Decimal("100.52")))),
        limits(),
        None,
    ),
    (
        "one beyond it on the other side",
        checks.order_meets_none_of_ours,
        ask(side=SELL),
        (working("AAPL", BUY, 1)[0], approved(child("AAPL", BUY, "1", parent_id="WAAPLBUY1", price=Decimal(97)))),
        limits(),
        None,
    ),
    (
        "one that nobody can account for any more",
        checks.order_meets_none_of_ours,
        ask(),
        (*OUR_SALE, updated(OUR_ORDER, OrdStatus.UNKNOWN), given_up(OUR_ORDER)),
        limits(),
        None,
    ),
    (
        "one that was cancelled",
        checks.order_meets_none_of_ours,
        ask(),
        (*OUR_SALE, updated(OUR_ORDER, OrdStatus.CANCELED)),
        limits(),
        None,
    ),
    (
        "one that has executed, before its end is told",
        checks.order_meets_none_of_ours,
        ask(),
        (*OUR_SALE, filled(OUR_ORDER, "1")),
        limits(),
        None,
    ),
    ("without a risk model to be", checks.cluster_is_allowed, ask(), (), FIFTH_OF_A_CLUSTER, None),
    (
        "the last of a cluster",
        checks.cluster_is_allowed,
        ask(qty="100"),
        (modelled(), held("SHRT", 100)),
        FIFTH_OF_A_CLUSTER,
        None,
    ),
    (
        "with what moves with it, held and on its way",
        checks.cluster_is_allowed,
        ask(qty="100"),
        (modelled(), held("SHRT", 60), *working("SHRT", BUY, 60), *working("SHRT", SELL, 90)),
        FIFTH_OF_A_CLUSTER,
        no(Reason.CLUSTER, "0.22", "0.2", "of equity", "80"),
    ),
    (
        "a short of what moves against it is as good as a long",
        checks.cluster_is_allowed,
        ask(qty="100"),
        (modelled(), held("LOTS", -100), held("SHRT", 50)),
        FIFTH_OF_A_CLUSTER,
        no(Reason.CLUSTER, "0.25", "0.2", "of equity", "50"),
    ),
    (
        "a long of what moves against it hedges",
        checks.cluster_is_allowed,
        ask(qty="300"),
        (modelled(), held("LOTS", 100)),
        FIFTH_OF_A_CLUSTER,
        None,
    ),
    (
        "a short is measured downwards",
        checks.cluster_is_allowed,
        ask("SHRT", SELL, "100"),
        (modelled(), held("AAPL", -150)),
        FIFTH_OF_A_CLUSTER,
        no(Reason.CLUSTER, "0.25", "0.2", "of equity", "50"),
    ),
    (
        "a hedge passes in a cluster that is over",
        checks.cluster_is_allowed,
        ask("SHRT", SELL, "100"),
        (modelled(), held("AAPL", 500)),
        FIFTH_OF_A_CLUSTER,
        None,
    ),
    (
        "it counts in its neighbour's cluster, too",
        checks.cluster_is_allowed,
        ask("SHRT", qty="100"),
        (modelled(), held("AAPL", 100), held("LOTS", -100), *working("LOTS", BUY, 50)),
        FIFTH_OF_A_CLUSTER,
        no(Reason.CLUSTER, "0.3", "0.2", "of equity"),
    ),
    (
        "and passes there up to the limit",
        checks.cluster_is_allowed,
        ask("SHRT", qty="100"),
        (modelled(), held("AAPL", 60), held("LOTS", -100), *working("LOTS", SELL, 10)),
        FIFTH_OF_A_CLUSTER,
        no(Reason.CLUSTER, "0.27", "0.2", "of equity", "30"),
    ),
    (
        "what is held of it counts once there",
        checks.cluster_is_allowed,
        ask("SHRT", qty="100"),
        (modelled(), held("SHRT", 50), held("AAPL", 20)),
        FIFTH_OF_A_CLUSTER,
        None,
    ),
    (
        "a neighbour of which nothing is at stake is no centre",
        checks.cluster_is_allowed,
        ask("SHRT", qty="100"),
        (modelled(), held("LOTS", -200)),
        FIFTH_OF_A_CLUSTER,
        None,
    ),
    (
        "what does not move with it does not count",
        checks.cluster_is_allowed,
        ask("LOTS", qty="200"),
        (modelled(), held("SHRT", -400)),
        FIFTH_OF_A_CLUSTER,
        None,
    ),
    (
        "nothing can be opened without equity",
        checks.cluster_is_allowed,
        ask("SHRT", qty="1"),
        (modelled(), quote("AAPL", "0.99", "1.01"), held("AAPL", 2000)),
        FIFTH_OF_A_CLUSTER,
        no(Reason.CLUSTER, "2100", "0", "USD"),
    ),
    ("without a risk model to be", checks.shortfall_is_allowed, ask(), (), THREE_PERCENT, None),
    (
        "before the model came",
        checks.shortfall_is_allowed,
        ask(),
        (RegimeSet(ts=NOW, regime="CRISIS", by="ann"),),
        THREE_PERCENT,
        no(Reason.NO_SCENARIOS),
    ),
    (
        "what shrinks needs none",
        checks.shortfall_is_allowed,
        ask(side=SELL, qty="120"),
        (held("AAPL", 100), held("FRAC", 1), modelled()),
        THREE_PERCENT,
        no(Reason.NO_SCENARIOS, max_qty="100"),
    ),
    (
        "filtered, within",
        checks.shortfall_is_allowed,
        ask(qty="200"),
        (modelled(),),
        THREE_PERCENT,
        None,
    ),
    (
        "filtered, beyond",
        checks.shortfall_is_allowed,
        ask(qty="300"),
        (modelled(),),
        THREE_PERCENT,
        no(Reason.SHORTFALL, "0.045", "0.0301", "of equity", "200"),
    ),
    (
        "plain, in a crisis",
        checks.shortfall_is_allowed,
        ask(qty="190"),
        (modelled("CRISIS"),),
        THREE_PERCENT,
        no(Reason.SHORTFALL, "0.019", "0.01806", "of equity", "180"),
    ),
    (
        "plain and filtered, the one that leaves less",
        checks.shortfall_is_allowed,
        ask(qty="300"),
        (modelled("CRISIS"),),
        THREE_PERCENT,
        no(Reason.SHORTFALL, "0.03", "0.01806", "of equity", "180"),
    ),
    (
        "what is held counts, and what works on this side",
        checks.shortfall_is_allowed,
        ask(qty="100"),
        (modelled(), held("AAPL", 80), *working("AAPL", BUY, 70), *working("AAPL", SELL, 30)),
        THREE_PERCENT,
        no(Reason.SHORTFALL, "0.0375", "0.0301", "of equity", "50"),
    ),
    (
        "what works elsewhere counts as if nothing were held",
        checks.shortfall_is_allowed,
        ask("LOTS", qty="200"),
        (modelled(), *working("SHRT", BUY, 150)),
        THREE_PERCENT,
        no(Reason.SHORTFALL, "0.0525", "0.0301", "of equity"),
    ),
    (
        "an order elsewhere is no hedge before it has executed",
        checks.shortfall_is_allowed,
        ask(qty="201"),
        (modelled(), *working("SHRT", SELL, 200)),
        THREE_PERCENT,
        no(Reason.SHORTFALL, "0.03015", "0.0301", "of equity", "200"),
    ),
    (
        "an execution elsewhere is one",
        checks.shortfall_is_allowed,
        ask(qty="300"),
        (modelled(), held("SHRT", -200)),
        THREE_PERCENT,
        None,
    ),
    (
        "a hedge passes in a book that is over its limit",
        checks.shortfall_is_allowed,
        ask("SHRT", SELL, "100"),
        (modelled(), held("AAPL", 500)),
        THREE_PERCENT,
        None,
    ),
    (
        "as far as it hedges",
        checks.shortfall_is_allowed,
        ask("SHRT", SELL, "1100"),
        (modelled(), held("AAPL", 500), quote("SHRT", "109.99", "110.01"), held("SHRT", -1)),
        THREE_PERCENT,
        None,
    ),
    (
        "and nothing else does",
        checks.shortfall_is_allowed,
        ask("SHRT", qty="1"),
        (modelled(), held("AAPL", 500)),
        THREE_PERCENT,
        no(Reason.SHORTFALL, "0.07515", "0.0301", "of equity"),
    ),
    (
        "a parent counts what parents will buy",
        checks.shortfall_is_allowed,
        ask_parent(qty="100"),
        (modelled(), accepted(parent(qty="150"))),
        THREE_PERCENT,
        no(Reason.SHORTFALL, "0.0375", "0.0301", "of equity", "50"),
    ),
    (
        "a symbol without scenarios",
        checks.shortfall_is_allowed,
        ask("FRAC", qty="1"),
        (modelled(),),
        THREE_PERCENT,
        no(Reason.NO_SCENARIOS),
    ),
    (
        "beside a position without scenarios",
        checks.shortfall_is_allowed,
        ask(),
        (modelled(), held("FRAC", 1)),
        THREE_PERCENT,
        no(Reason.NO_SCENARIOS),
    ),
    (
        "nothing can be opened without equity",
        checks.shortfall_is_allowed,
        ask("SHRT", qty="1"),
        (modelled(), quote("AAPL", "0.99", "1.01"), held("AAPL", 2000)),
        THREE_PERCENT,
        no(Reason.SHORTFALL, "315", "0", "USD"),
    ),
    ("a child of an open parent", checks.parent_is_open, ask(), (P1,), limits(), None),
    ("a child of nobody", checks.parent_is_open, ask(), (), limits(), no(Reason.OVER_PARENT)),
    ("a broker that states no buying power", checks.buying_power_is_enough, ask(qty="9999"), (), limits(), None),
    ("all that the broker lets buy", checks.buying_power_is_enough, ask(), (TEN_THOUSAND,), limits(), None),
    (
        "more than the broker lets buy",
        checks.buying_power_is_enough,
        ask(qty="101"),
        (TEN_THOUSAND,),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "100"),
    ),
    (
        "what the broker does not know yet counts",
        checks.buying_power_is_enough,
        ask(qty="41"),
        (TEN_THOUSAND, *working("SHRT", SELL, 60)),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "40"),
    ),
    (
        "also what was on its way when it was asked",
        checks.buying_power_is_enough,
        ask(qty="41"),
        (*working("SHRT", SELL, 60), TEN_THOUSAND),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "40"),
    ),
    (
        "what it had acknowledged when it was asked is in its figure",
        checks.buying_power_is_enough,
        ask(),
        (P1, approved(child(qty="60")), updated(child(qty="60"), OrdStatus.NEW), TEN_THOUSAND),
        limits(),
        None,
    ),
    (
        "but not what it acknowledged after it was asked",
        checks.buying_power_is_enough,
        ask(qty="41"),
        (P1, approved(child(qty="60")), updated(child(qty="60"), OrdStatus.NEW, ts=LATER), TEN_THOUSAND),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "40"),
    ),
    (
        "a doubt is no acknowledgement",
        checks.buying_power_is_enough,
        ask(qty="41"),
        (P1, approved(child(qty="60")), updated(child(qty="60"), OrdStatus.UNKNOWN), TEN_THOUSAND),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "40"),
    ),
    (
        "what was executed when it was asked is in its figure",
        checks.buying_power_is_enough,
        ask(),
        (P1, approved(child(qty="60")), *executed(child(qty="60"), NOW), TEN_THOUSAND),
        limits(),
        None,
    ),
    (
        "but not what was executed after it was asked",
        checks.buying_power_is_enough,
        ask(qty="41"),
        (P1, approved(child(qty="60")), *executed(child(qty="60"), LATER), TEN_THOUSAND),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "40"),
    ),
    (
        "of what works only what opens counts",
        checks.buying_power_is_enough,
        ask(qty="41"),
        (held("SHRT", 100), TEN_THOUSAND, *working("SHRT", SELL, 160)),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "40"),
    ),
    (
        "of a parent only what opens counts",
        checks.buying_power_is_enough,
        ask_parent(qty="41"),
        (held("SHRT", 100), TEN_THOUSAND, accepted(parent("SHRT", SELL, qty="160", parent_id="P2"))),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "40"),
    ),
    (
        "what was spent since counts, what ended unexecuted does not",
        checks.buying_power_is_enough,
        ask(qty="91"),
        (
            TEN_THOUSAND,
            P1,
            approved(child(qty="60")),
            filled(child(qty="60"), "10"),
            updated(child(qty="60"), OrdStatus.CANCELED, Decimal(10)),
        ),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "90"),
    ),
    (
        "what is to be sold of what is held is free",
        checks.buying_power_is_enough,
        ask("SHRT", SELL, "500"),
        (held("SHRT", 500), reported(None, buying_power="0")),
        limits(),
        None,
    ),
    (
        "and what is sold beyond it is not",
        checks.buying_power_is_enough,
        ask("SHRT", SELL, "601"),
        (held("SHRT", 500), TEN_THOUSAND),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "600"),
    ),
    (
        "a child is not held to what parents are still to send",
        checks.buying_power_is_enough,
        ask(),
        (TEN_THOUSAND, P1),
        limits(),
        None,
    ),
    (
        "a parent is, and its price counts",
        checks.buying_power_is_enough,
        ask_parent(qty="41", **limit_at("102")),
        (TEN_THOUSAND, accepted(parent("SHRT", qty="60"))),
        limits(),
        no(Reason.BUYING_POWER, "10182", "10000", "USD", "39"),
    ),
    (
        "a parent and its child are not counted twice",
        checks.buying_power_is_enough,
        ask_parent(qty="41"),
        (TEN_THOUSAND, *working("SHRT", BUY, 60)),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "40"),
    ),
    (
        "a report that states none leaves the last one",
        checks.buying_power_is_enough,
        ask(qty="101"),
        (TEN_THOUSAND, reported("100000")),
        limits(),
        no(Reason.BUYING_POWER, "10100", "10000", "USD", "100"),
    ),
    ("a parent has no parent", checks.parent_is_open, ask_parent(), (), limits(), None),
    (
        "more than the parent",
        checks.parent_is_open,
        ask(qty="101"),
        (P1,),
        limits(),
        no(Reason.OVER_PARENT, "101", "100", "shares", "100"),
    ),
    (
        "executed and live children count",
        checks.parent_is_open,
        ask(qty="20"),
        (P1, approved(child(qty="90")), filled(child(qty="90"), "30")),
        limits(),
        no(Reason.OVER_PARENT, "110", "100", "shares", "10"),
    ),
    ("a parent without an end", checks.parent_is_valid, ask(ts=NOW + MINUTE), (P1,), limits(), None),
    ("the last moment", checks.parent_is_valid, ask(ts=NOW + MINUTE - 1), (P1_SHORT,), limits(), None),
    (
        "the end of the signal's validity",
        checks.parent_is_valid,
        ask(ts=NOW + MINUTE),
        (P1_SHORT,),
        limits(),
        no(Reason.EXPIRED),
    ),
    ("a child of nobody", checks.parent_is_valid, ask(), (), limits(), None),
    (
        "the last parent of the day",
        checks.rate_is_kept,
        ask_parent(),
        (P1,),
        limits(parents_per_day=2),
        None,
    ),
    (
        "one parent too many",
        checks.rate_is_kept,
        ask_parent(),
        (P1, P1),
        limits(parents_per_day=2),
        no(Reason.PARENTS_PER_DAY, "3", "2", "parents"),
    ),
    (
        "one parent of the strategy too many",
        checks.rate_is_kept,
        ask_parent(),
        (P1, BETAS),
        limits(strategies={"alpha": StrategyLimits(parents_per_day=1)}),
        no(Reason.PARENTS_PER_DAY, "2", "1", "parents"),
    ),
    (
        "others have had theirs",
        checks.rate_is_kept,
        ask_parent(),
        (BETAS, BETAS),
        limits(strategies={"alpha": StrategyLimits(parents_per_day=1), "beta": StrategyLimits(parents_per_day=1)}),
        None,
    ),
    (
        "the account has had its day, whatever a strategy may",
        checks.rate_is_kept,
        ask_parent(),
        (BETAS,),
        limits(parents_per_day=1, strategies={"alpha": StrategyLimits(parents_per_day=5)}),
        no(Reason.PARENTS_PER_DAY, "2", "1", "parents"),
    ),
    (
        "an operator's parent, where the strategy has had its day",
        checks.rate_is_kept,
        ask_parent(flatten=True),
        (P1,),
        limits(strategies={"alpha": StrategyLimits(parents_per_day=1)}),
        None,
    ),
    (
        "a new day of a strategy",
        checks.rate_is_kept,
        ask_parent(ts=NOW + 24 * 60 * MINUTE),
        (P1,),
        limits(strategies={"alpha": StrategyLimits(parents_per_day=1)}),
        None,
    ),
    (
        "a new day that another strategy began",
        checks.rate_is_kept,
        ask_parent(ts=NOW + 24 * 60 * MINUTE),
        (P1, accepted(parent(strategy="beta", parent_id="B1", ts=NOW + 24 * 60 * MINUTE))),
        limits(strategies={"alpha": StrategyLimits(parents_per_day=1)}),
        None,
    ),
    (
        "a new day",
        checks.rate_is_kept,
        ask_parent(ts=NOW + 24 * 60 * MINUTE),
        (P1, P1),
        limits(parents_per_day=2),
        None,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1].__name__}: {case[0]}")
def test_each_check_passes_or_denies_with_its_numbers(case: Row) -> None:
    _, check, asked, events, bounds, expected = case
    denial = check(Case(asked, book(*events)), bounds)
    if denial is None or expected is None:
        assert denial is expected
        return
    assert denial.text
    assert msgspec.structs.replace(denial, text="") == expected


def test_the_tables_know_every_check() -> None:
    assert {case[1] for case in CASES} == set(CHECKS)


def test_who_would_meet_an_order_of_ours_is_told_which_and_at_what_price() -> None:
    denial = judge(Case(ask(**limit_at("100.05")), book(P1, *OUR_SALE)), limits())
    assert denial is not None
    assert denial.text == "BUY AAPL at 100.05 would meet our SELL at 100, WAAPLSELL1C1A1"
    denial = judge(Case(ask(), book(P1, OUR_SALE[0], approved(OUR_MARKET_SALE))), limits())
    assert denial is not None
    assert denial.text == "BUY AAPL at the market, to 100.51005, would meet our SELL at any price, WAAPLSELL1C1A1"


def test_the_rate_of_one_venue_does_not_touch_another() -> None:
    spent = book(accepted(parent(qty="1000")), *(approved(child(qty="1")) for _ in range(2)), orders_per_s=3)
    bounds = limits(orders_per_s=3)
    denial = checks.rate_is_kept(Case(ask(), spent), bounds)
    assert denial is not None
    assert msgspec.structs.replace(denial, text="") == no(Reason.RATE, "3", "2", "orders/s")
    assert denial.text == "paper takes 3 orders a second, and 2 that open a position"
    assert checks.rate_is_kept(Case(ask(venue="other"), spent), bounds) is None
    assert checks.rate_is_kept(Case(ask(ts=NOW + NS_PER_S - 1), spent), bounds) == denial
    assert checks.rate_is_kept(Case(ask(ts=NOW + NS_PER_S), spent), bounds) is None


def test_a_venue_has_a_rate_of_its_own_and_others_have_the_accounts() -> None:
    bounds = limits(orders_per_s=3, messages_per_s=4, venues={"paper": VenueLimits(orders_per_s=1, messages_per_s=5)})
    exposure = fold(Exposure(INSTRUMENTS, LimitsInForce(bounds), {"paper": VenueAbility()}), opened())
    fold(exposure, accepted(parent(qty="1000")), approved(child(qty="1")), approved(child(qty="1", venue="other")))
    denial = checks.rate_is_kept(Case(ask(), exposure), bounds)
    assert denial is not None
    assert msgspec.structs.replace(denial, text="") == no(Reason.RATE, "2", "1", "orders/s")
    assert checks.rate_is_kept(Case(ask(venue="other"), exposure), bounds) is None
    later = NOW + NS_PER_S
    fold(exposure, *(cancelled(child(ts=later, venue=venue)) for venue in ("paper", "other") for _ in range(3)))
    assert checks.rate_is_kept(Case(ask(ts=later), exposure), bounds) is None
    fold(exposure, cancelled(child(ts=later)))
    for venue, most in (("paper", "4"), ("other", "3")):
        denial = checks.rate_is_kept(Case(ask(ts=later, venue=venue), exposure), bounds)
        assert denial is not None
        assert (denial.limit, denial.unit) == (Decimal(most), "messages/s")


@pytest.mark.parametrize(
    "symbol,venue,strategy,most,said",
    [
        ("3000", "2000", "1000", "1000", "1,000 in one order of alpha"),
        ("3000", "1000", "2000", "1000", "1,000 in one order at paper"),
        ("1000", "2000", "3000", "1000", "1,000 in one order"),
        ("3000", None, "1000", "1000", "1,000 in one order of alpha"),
        ("3000", "1000", None, "1000", "1,000 in one order at paper"),
        ("3000", None, None, "3000", "3,000 in one order"),
    ],
)
def test_the_least_of_what_symbol_venue_and_strategy_allow_in_one_order_binds(
    symbol: str, venue: str | None, strategy: str | None, most: str, said: str
) -> None:
    amounts = [None if each is None else Decimal(each) for each in (venue, strategy)]
    bounds = limits(
        symbols_default=SymbolLimits(order_qty_max=Decimal(1_000), order_notional_max=Decimal(symbol)),
        venues={"paper": VenueLimits(order_notional_max=amounts[0])},
        strategies={"alpha": StrategyLimits(order_notional_max=amounts[1])},
    )
    shares = Decimal(most) / 100
    assert checks.notional_is_allowed(Case(ask(qty=f"{shares}"), book()), bounds) is None
    denial = checks.notional_is_allowed(Case(ask(qty=f"{shares + 1}"), book()), bounds)
    assert denial is not None
    assert (denial.reason, denial.limit, denial.max_qty) == (Reason.ORDER_NOTIONAL, Decimal(most), shares)
    assert denial.text.endswith(f"are more than {said}")


def test_a_flatten_is_bound_by_what_its_venue_takes_and_not_by_its_strategy() -> None:
    own, at = StrategyLimits(order_notional_max=Decimal(100)), VenueLimits(order_notional_max=Decimal(500))
    bounds = limits(symbols_default=SymbolLimits(), strategies={"alpha": own}, venues={"paper": at})
    assert checks.notional_is_allowed(Case(ask(qty="5", flatten=True), book()), bounds) is None
    denial = checks.notional_is_allowed(Case(ask(qty="6", flatten=True), book()), bounds)
    assert denial is not None
    assert denial.max_qty == 5


def test_cancels_take_room_that_new_orders_then_lack_but_for_a_flatten() -> None:
    one, other = child(qty="1"), child(qty="1", cl_ord_id="P1C2A1")
    bounds = limits(messages_per_s=4)
    spent = book(accepted(parent(qty="1000")), approved(one), cancelled(one), messages_per_s=4)
    assert checks.rate_is_kept(Case(ask(), spent), bounds) is None
    fold(spent, cancelled(other))
    denial = checks.rate_is_kept(Case(ask(), spent), bounds)
    assert denial is not None
    assert msgspec.structs.replace(denial, text="") == no(Reason.RATE, "4", "3", "messages/s")
    assert checks.rate_is_kept(Case(ask(flatten=True), spent), bounds) is None
    assert checks.rate_is_kept(Case(ask(venue="other"), spent), bounds) is None
    assert checks.rate_is_kept(Case(ask_parent(), spent), bounds) is None
    assert checks.rate_is_kept(Case(ask(ts=NOW + NS_PER_S - 1), spent), bounds) == denial
    assert checks.rate_is_kept(Case(ask(ts=NOW + NS_PER_S), spent), bounds) is None


def test_a_flatten_is_held_to_the_rate_of_orders() -> None:
    spent = book(accepted(parent(qty="1000")), approved(child(qty="1")), orders_per_s=1)
    denial = checks.rate_is_kept(Case(ask(flatten=True), spent), limits(orders_per_s=1))
    assert denial is not None
    assert denial.unit == "orders/s"


@pytest.mark.parametrize(
    "per_s,opening", [(1, 1), (2, 1), (3, 2), (10, 9), (19, 18), (20, 18), (50, 45), (100_000, 90_000)]
)
def test_what_opens_leaves_a_tenth_of_a_rate_and_one_at_least(per_s: int, opening: int) -> None:
    assert for_opening(per_s) == opening


def test_where_what_opens_has_had_its_part_what_shrinks_a_position_still_goes() -> None:
    one, other = child(qty="1"), child(qty="1", cl_ord_id="P1C2A1")
    bounds = limits(orders_per_s=3, messages_per_s=3)
    spent = book(
        held("AAPL", 50), accepted(parent(qty="1000")), approved(one), approved(other), orders_per_s=3, messages_per_s=3
    )
    assert checks.rate_is_kept(Case(ask(side=SELL, qty="50"), spent), bounds) is None
    assert checks.rate_is_kept(Case(ask(flatten=True), spent), bounds) is None
    denial = checks.rate_is_kept(Case(ask(side=SELL, qty="51"), spent), bounds)  # it would open, too
    assert denial is not None
    assert msgspec.structs.replace(denial, text="") == no(Reason.RATE, "3", "2", "orders/s", "50")
    fold(spent, cancelled(one))
    denial = checks.rate_is_kept(Case(ask(side=SELL, qty="50"), spent), bounds)  # cancels take what there is
    assert denial is not None
    assert msgspec.structs.replace(denial, text="") == no(Reason.RATE, "4", "3", "messages/s")
    assert denial.text == "paper takes 3 messages a second"
    assert checks.rate_is_kept(Case(ask(side=SELL, qty="50", flatten=True), spent), bounds) is None


@given(
    st.integers(1, 25),
    st.lists(st.tuples(st.sampled_from([0, 0, 1, 50, 100, 499, 500, 999, 1_000]), st.integers(1, 30), st.booleans())),
)
def test_however_many_ask_to_open_what_shrinks_passes_within_its_part_and_the_rate_of_all_holds(
    per_s: int, steps: list[tuple[int, int, bool]]
) -> None:
    """The law of the reserve, against a recount: `kept` is what what opens can never take."""
    kept = 0 if per_s == 1 else max(per_s // 10, 1)
    bounds = limits(orders_per_s=per_s)
    exposure = book(held("AAPL", 1_000_000), accepted(parent(qty="1000000")), orders_per_s=per_s, cash="1000000000")
    sent, now = list[tuple[int, bool]](), NOW
    for ms, count, shrinks in steps:
        now += ms * NS_PER_MS
        for _ in range(count):
            of_the_second = [each for ts, each in sent if ts > now - NS_PER_S]
            case = Case(ask(side=SELL if shrinks else BUY, qty="1", ts=now), exposure)
            assert case.shrinks == shrinks
            passes = checks.rate_is_kept(case, bounds) is None
            assert passes == (len(of_the_second) < (per_s if shrinks else per_s - kept))
            if shrinks and sum(of_the_second) < kept:
                assert passes
            if passes:
                sent.append((now, shrinks))
                name = f"P1C{len(sent)}A1"
                order = child(side=case.ask.side, qty="1", cl_ord_id=name, ts=now)
                fold(exposure, approved(order), updated(order, OrdStatus.CANCELED))
            assert sum(ts > now - NS_PER_S for ts, _ in sent) <= per_s


@pytest.mark.parametrize("ord_type", OrdType)
@pytest.mark.parametrize("time_in_force", TimeInForce)
def test_a_venue_gets_only_children_of_the_types_and_times_in_force_that_it_takes(
    ord_type: OrdType, time_in_force: TimeInForce
) -> None:
    exposure = book(P1)
    exposure.abilities = {
        "paper": VenueAbility(
            ord_types=frozenset({OrdType.LIMIT}), times_in_force=frozenset({TimeInForce.DAY, TimeInForce.IOC})
        ),
    }
    asked = ask(ord_type=ord_type, price=Decimal(100), time_in_force=time_in_force)
    denial = checks.venue_takes_it(Case(asked, exposure), limits())
    taken = ord_type == "LIMIT" and time_in_force in {"DAY", "IOC"}
    assert (denial is None) == taken
    if denial is not None:
        refused = ord_type if ord_type == "MARKET" else time_in_force
        assert denial == msgspec.structs.replace(no(Reason.INVALID), text=f"paper takes no {refused} orders")
    assert checks.venue_takes_it(Case(ask_parent(ord_type=ord_type), exposure), limits()) is None


def test_a_parent_may_go_where_one_of_its_venues_is_allowed_and_its_children_there_alone() -> None:
    shares = Instruments([Instrument(symbol="AAPL", venues=("paper", "other"))])
    bounds = limits(strategies={"alpha": StrategyLimits(venues=("other",))})
    exposure = Exposure(shares, LimitsInForce(bounds), abilities())
    assert checks.strategy_may_trade(Case(ask_parent(), exposure), bounds) is None
    assert checks.strategy_may_trade(Case(ask(venue="other"), exposure), bounds) is None
    denial = checks.strategy_may_trade(Case(ask(), exposure), bounds)
    assert denial is not None
    assert denial.text == "alpha may not trade on paper"
    assert [exposure.admits("P1", "alpha", venue) for venue in ("paper", "other")] == [False, True]
    assert exposure.admits("P1", "beta", "paper")  # whom other checks refuse
    fold(exposure, quote(), accepted(parent(flatten=True)))
    assert exposure.admits("P1", "alpha", "paper")
    elsewhere_only = limits(strategies={"alpha": StrategyLimits(venues=("far",))})
    denial = checks.strategy_may_trade(Case(ask_parent(), exposure), elsewhere_only)
    assert denial is not None
    assert denial.text == "alpha may not trade on paper or other"


def test_a_child_is_held_to_the_buying_power_of_its_venue_and_a_parent_to_that_of_all() -> None:
    exposure = Exposure(INSTRUMENTS, LimitsInForce(limits()), abilities(), brokers=("other", "paper"))
    fold(exposure, opened(), quote(), reported(None, buying_power="9999"))
    other = msgspec.structs.replace(reported(None, buying_power="1000000"), venue="other")
    fold(exposure, other)
    for asked, passes in ((ask(), False), (ask(venue="other"), True), (ask_parent(), True)):
        assert (checks.buying_power_is_enough(Case(asked, exposure), limits()) is None) == passes


# Removing a check must be noticed -------------------------------------------------------------------------------------

# For each check, an order that only this check stops.
ONLY: dict[Check, tuple[Ask, tuple[Event, ...], Limits]] = {
    checks.order_is_valid: (ask(**limit_at("100.005")), (P1,), limits()),
    checks.venue_takes_it: (ask(venue="moon"), (P1,), limits()),
    checks.trading_is_allowed: (ask(), (P1, halted("HALTED")), limits()),
    checks.symbol_is_agreed: (ask(), (P1, QUARANTINE), limits()),
    checks.symbol_may_be_traded: (ask(), (P1,), limits(restricted=("AAPL",))),
    checks.strategy_may_trade: (ask("SHRT", parent_id="P2"), (P2_SHRT,), ALPHA_ONLY),
    checks.strategy_is_not_stopped: (ask_parent(), (STOPPED,), limits()),
    checks.order_is_no_duplicate: (ask_parent(), (P1,), SECOND),
    checks.order_meets_none_of_ours: (ask(), (P1, *OUR_SALE), limits()),
    checks.session_is_open: (ask(ts=CLOSE - NS_PER_S), (P1, quote(ts=CLOSE - NS_PER_S)), limits()),
    checks.price_is_fresh: (ask(ts=NOW + MINUTE), (P1,), limits()),
    checks.price_is_near: (ask(**limit_at("106")), (P1,), limits()),
    checks.worth_is_enough: (ask_parent("LEAST", qty="4"), (), limits()),
    checks.size_is_allowed: (ask(qty="100"), (P1,), own_limits(qty="99")),
    checks.notional_is_allowed: (ask(qty="100"), (P1,), own_limits(notional="9999")),
    checks.sale_is_covered: (ask(side=SELL), (accepted(parent(side=SELL)),), limits()),
    checks.sale_is_covered_there: (
        ask(side=SELL, venue="other"),
        (accepted(parent(side=SELL)), held("AAPL", 100)),
        limits(),
    ),
    checks.short_sale_is_above_bid: (ask("HARD", SELL), (accepted(parent("HARD", SELL)),), limits()),
    checks.participation_is_small: (ask_parent(qty="101"), (), HUNDREDTH_OF_A_DAY),
    checks.position_is_allowed: (ask(), (P1, held("AAPL", 1)), TENTH),
    checks.own_position_is_allowed: (ask(), (P1, held("AAPL", 1)), ALPHA_TENTH),
    checks.heat_is_allowed: (ask(), (P1, held("AAPL", 1)), limits(heat_max=Decimal("0.1"))),
    checks.positions_are_few: (ask(), (P1, held("LOTS", 100)), limits(positions_max=1)),
    checks.sector_is_allowed: (ask(), (P1, held("SHRT", -1)), TENTH_OF_A_SECTOR),
    checks.cluster_is_allowed: (ask(), (P1, modelled(), held("SHRT", 101)), FIFTH_OF_A_CLUSTER),
    checks.gross_is_allowed: (ask(), (P1, held("LOTS", -100)), limits(gross_max=Decimal("0.1"))),
    checks.net_is_allowed: (ask(), (P1, held("LOTS", 100)), limits(net_max=Decimal("0.1"))),
    checks.buying_power_is_enough: (ask(), (P1, reported(None, buying_power="9999")), limits()),
    checks.shortfall_is_allowed: (ask(), (P1, modelled(), held("AAPL", 101)), THREE_PERCENT),
    checks.parent_is_open: (ask(), (), limits()),
    checks.parent_is_valid: (ask(ts=NOW + MINUTE), (P1_SHORT, quote(ts=NOW + MINUTE)), limits()),
    checks.rate_is_kept: (ask_parent(), (P1,), limits(parents_per_day=1)),
}
# The first one guards the others: without it they cannot even look the instrument up.
FIRST = checks.instrument_is_known


def test_every_check_has_an_order_that_only_it_stops() -> None:
    assert {*ONLY, FIRST} == set(CHECKS)


@pytest.mark.parametrize("check", ONLY, ids=lambda check: check.__name__)
def test_without_a_check_its_order_would_pass(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, events, bounds = ONLY[check]
    exposure = book(*events)
    assert judge(Case(asked, exposure), bounds) == check(Case(asked, exposure), bounds) != None  # noqa: E711 - both at once
    monkeypatch.setattr(checks, "CHECKS", tuple(other for other in CHECKS if other is not check))
    assert judge(Case(asked, exposure), bounds) is None


def test_an_unknown_instrument_is_denied_before_it_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ask(symbol="NONE")
    denial = judge(Case(asked, book(P1)), limits())
    assert denial is not None
    assert denial.reason is Reason.UNKNOWN_SYMBOL
    monkeypatch.setattr(checks, "CHECKS", tuple(other for other in CHECKS if other is not FIRST))
    with pytest.raises(KeyError):
        judge(Case(asked, book(P1)), limits())


# Laws -----------------------------------------------------------------------------------------------------------------

LOTS = st.integers(0, 40)
FRACTIONS = st.sampled_from([Decimal("0.02"), Decimal("0.1"), Decimal("0.5"), Decimal(4)])


@st.composite
def situations(draw: st.DrawFn) -> tuple[Ask, Exposure, Limits]:
    """A book of any shape, over its limits too, limits that bite, and an order."""
    symbol = draw(st.sampled_from(["AAPL", "SHRT", "LOTS", "FRAC", "HARD", "FUTR"]))
    lot = INSTRUMENTS[symbol].lot
    events: list[Event] = []
    if position := draw(st.integers(-40, 40)):
        events.append(held(symbol, position * lot))
    for side in Side:
        if qty := draw(LOTS):
            events += working(symbol, side, qty * lot)
    for other in draw(st.lists(st.sampled_from(["AAPL", "SHRT", "LOTS", "FUTR"]), max_size=3)):
        if other != symbol:
            events.append(
                held(other, draw(st.integers(1, 20)) * INSTRUMENTS[other].lot * draw(st.sampled_from([1, -1])))
            )
    size = draw(LOTS)
    if size:
        events.append(accepted(parent(symbol, BUY, order_qty=size * lot)))
    for strategy in draw(st.sets(st.sampled_from(["alpha", "beta"]))):
        at, exit_ = str(draw(st.integers(1, 250))), draw(st.sampled_from(Side))
        events.append(stop_set(symbol, exit_, at, strategy=strategy))
    state = draw(st.sampled_from(["ACTIVE", "REDUCING", "HALTED"]))
    if state != "ACTIVE":
        events.append(halted(state))
    bid = draw(st.decimals(Decimal("0.5"), 200, places=2))
    events.append(quote(symbol, str(bid), str(bid + Decimal("0.03"))))
    if draw(st.booleans()):
        events.insert(draw(st.integers(0, len(events))), modelled(draw(st.sampled_from(["NORMAL", "CRISIS"]))))
    if draw(st.booleans()):
        stated = reported(None, buying_power=draw(st.sampled_from(["0", "500", "4000", "100000"])))
        events.insert(draw(st.integers(0, len(events))), stated)
    exposure = book(*events, cash=draw(st.sampled_from(["0", "1000", "30000", "1000000"])), orders_per_s=3)
    own = StrategyLimits(
        position_max=draw(st.none() | FRACTIONS.filter(lambda most: most <= 1)),
        order_notional_max=draw(st.none() | st.integers(1, 8_000).map(Decimal)),
        parents_per_day=draw(st.none() | st.integers(1, 3)),
    )
    bounds = limits(
        position_max=draw(st.sampled_from([Decimal("0.01"), Decimal("0.08"), Decimal("0.5")])),
        sector_max=draw(FRACTIONS),
        cluster_max=draw(FRACTIONS),
        gross_max=draw(FRACTIONS),
        net_max=draw(FRACTIONS),
        position_heat_max=draw(st.none() | FRACTIONS.filter(lambda most: most <= 1)),
        heat_max=draw(st.none() | FRACTIONS),
        positions_max=draw(st.integers(1, 3)),
        es_max=draw(st.sampled_from([Decimal("0.001"), Decimal("0.03"), Decimal(1)])),
        participation_max=draw(st.sampled_from([Decimal("0.001"), Decimal(1)])),
        orders_per_s=3,
        parents_per_day=draw(st.integers(1, 5)),
        symbols_default=SymbolLimits(
            order_qty_max=draw(st.integers(1, 60)) * lot,
            order_notional_max=Decimal(draw(st.integers(1, 8_000))),
        ),
        strategies=dict.fromkeys(("alpha", "beta"), own) if draw(st.booleans()) else {},
        venues={"paper": VenueLimits(order_notional_max=Decimal(draw(st.integers(1, 8_000))))},
    )
    price = draw(st.none() | st.decimals(1, 300, places=2))
    cl_ord_id = draw(st.sampled_from(["", "P1C1A1"]))
    asked = Ask(
        ts=NOW,
        parent_id="P1",
        cl_ord_id=cl_ord_id,
        strategy=draw(st.sampled_from(["alpha", "beta"])),
        venue=INSTRUMENTS[symbol].venue,
        symbol=symbol,
        side=draw(st.sampled_from(Side)),
        qty=draw(st.integers(1, 90)) * lot / draw(st.sampled_from([1, 1, 2])),
        ord_type=OrdType.MARKET if price is None else OrdType.LIMIT,
        price=price,
        time_in_force=TimeInForce.DAY if cl_ord_id else None,
    )
    return asked, exposure, bounds


@given(situations())
def test_the_largest_quantity_of_a_denial_is_the_largest_that_its_check_passes(
    situation: tuple[Ask, Exposure, Limits],
) -> None:
    asked, exposure, bounds = situation
    lot = INSTRUMENTS[asked.symbol].lot
    for check in CHECKS:
        denial = check(Case(asked, exposure), bounds)
        if denial is None:
            continue
        largest = denial.max_qty
        if largest is not None:
            assert ZERO < largest <= asked.qty
            assert largest % lot == 0
            assert check(Case(msgspec.structs.replace(asked, qty=largest), exposure), bounds) is None, check
        more = (largest or ZERO) + lot
        if more <= asked.qty:
            assert check(Case(msgspec.structs.replace(asked, qty=more), exposure), bounds) is not None, check


@given(situations())
def test_every_denial_can_be_explained(situation: tuple[Ask, Exposure, Limits]) -> None:
    asked, exposure, bounds = situation
    for check in CHECKS:
        denial = check(Case(asked, exposure), bounds)
        if denial is None:
            continue
        assert denial.reason in Reason
        assert denial.text
        assert denial.value.is_finite()
        assert denial.limit.is_finite()
        if denial.unit:  # a number was exceeded
            assert denial.value > denial.limit or denial.reason is Reason.SESSION
        else:
            assert (denial.value, denial.limit) == (ZERO, ZERO)


Measure = Callable[[Ask, Exposure], Decimal]


def per_side(asked: Ask, exposure: Exposure) -> Decimal:
    """The position in the order's direction if its side executes and the other does not."""
    reserve = exposure.committed if asked.is_parent else exposure.working
    return asked.side.sign * exposure.held(asked.symbol) + reserve(asked.symbol, asked.side)


def uncovered(asked: Ask, exposure: Exposure) -> Decimal:
    """Shares that would be short if all sales executed."""
    reserve = exposure.committed if asked.is_parent else exposure.working
    return reserve(asked.symbol, SELL) - max(exposure.held(asked.symbol), ZERO)


def over_parent(asked: Ask, exposure: Exposure) -> Decimal:
    parent_now = exposure.parents[asked.parent_id]
    return parent_now.cum_qty + parent_now.live_qty - parent_now.order_qty


def take(asked: Ask, exposure: Exposure) -> ParentAccepted | OrderApproved | OrderDenied:
    """What the gate says, folded."""
    gate = Gate(exposure, LimitsInForce(BOUNDS))
    if asked.is_parent:
        order = parent(asked.symbol, asked.side, order_qty=asked.qty, parent_id="P2")
        (verdict,) = gate.on_parent_order(order)
    else:
        (verdict,) = gate.on_new_order(
            child(asked.symbol, asked.side, order_qty=asked.qty, ord_type=asked.ord_type, price=asked.price)
        )
    assert isinstance(verdict, ParentAccepted | OrderApproved | OrderDenied)
    if not isinstance(verdict, OrderDenied):
        fold(exposure, verdict)
    return verdict


BOUNDS = limits(
    position_max=Decimal("0.08"),
    sector_max=Decimal("0.1"),
    cluster_max=Decimal("0.15"),
    gross_max=Decimal("0.3"),
    net_max=Decimal("0.2"),
    positions_max=3,
    es_max=Decimal("0.03"),
)


def sums(asked: Ask, exposure: Exposure) -> dict[str, Decimal]:
    """What the limits on sums measure, each added up from nothing."""
    reserve = exposure.committed if asked.is_parent else exposure.working
    ends: dict[str, tuple[Decimal, Decimal]] = {}
    for instrument in INSTRUMENTS:
        symbol, mark = instrument.symbol, exposure.mark(instrument.symbol) or ZERO
        long, short = exposure.held(symbol) + reserve(symbol, BUY), exposure.held(symbol) - reserve(symbol, SELL)
        ends[symbol] = instrument.notional(long, mark), instrument.notional(short, mark)
    worst = {symbol: max(abs(long), abs(short)) for symbol, (long, short) in ends.items()}
    sector = INSTRUMENTS[asked.symbol].sector
    return {
        "sector": sum((value for symbol, value in worst.items() if INSTRUMENTS[symbol].sector == sector), ZERO),
        "gross": sum(worst.values(), ZERO),
        "net": max(sum((long for long, _ in ends.values()), ZERO), -sum((short for _, short in ends.values()), ZERO)),
        "positions": Decimal(sum(any(pair) for pair in ends.values())),
        "buying power": exposure.reserved(of_parents=asked.is_parent),
        "cluster": max(
            cluster_of(symbol, ends)
            for symbol in CLUSTERS.get(asked.symbol, {asked.symbol: 1})
            if symbol == asked.symbol or any(ends[symbol])
        )
        if exposure.tail is not None and exposure.tail.model is not None
        else ZERO,
    }


CLUSTERS = {
    "AAPL": {"AAPL": 1, "SHRT": 1, "LOTS": -1},
    "SHRT": {"SHRT": 1, "AAPL": 1},
    "LOTS": {"LOTS": 1, "AAPL": -1},
}


def cluster_of(center: str, ends: dict[str, tuple[Decimal, Decimal]]) -> Decimal:
    """The most of what moves with a symbol, to either side, over all corners of what may execute."""
    members = CLUSTERS.get(center, {center: 1})
    corners = product(*(ends[symbol] for symbol in members))
    totals = [sum(sign * at for sign, at in zip(members.values(), corner, strict=True)) for corner in corners]
    return max(abs(Decimal(total)) for total in totals)


def shortfalls(asked: Ask, exposure: Exposure) -> dict[Kind, float]:
    """The most that the ES may become in any order of fills: it is convex, so it is largest where all or none do."""
    tail = exposure.tail
    if tail is None or tail.model is None:
        return {}
    reserve = exposure.committed if asked.is_parent else exposure.working
    ends: list[tuple[float, float]] = []
    for symbol in tail.model.symbols:
        unit = float(INSTRUMENTS[symbol].notional(Decimal(1), exposure.mark(symbol) or ZERO))
        at = exposure.held(symbol)
        ends.append((float(at + reserve(symbol, BUY)) * unit, float(at - reserve(symbol, SELL)) * unit))
    return {
        kind: max(expected_shortfall(np.array(corner) @ getattr(tail.model, kind)) for corner in product(*ends))
        for kind in Kind
    }


@given(situations())
def test_no_approval_takes_a_measure_over_its_limit_or_further_over(situation: tuple[Ask, Exposure, Limits]) -> None:
    asked, exposure, _ = situation
    if not is_bookable(asked):
        return
    allowed = max(BOUNDS.position_max * exposure.equity, ZERO) / INSTRUMENTS[asked.symbol].multiplier
    before, sums_before = (per_side(asked, exposure), uncovered(asked, exposure)), sums(asked, exposure)
    equity, shrinks = max(exposure.equity, ZERO), Case(asked, exposure).shrinks
    most = {
        "sector": BOUNDS.sector_max * equity,
        "gross": BOUNDS.gross_max * equity,
        "net": BOUNDS.net_max * equity,
        "cluster": BOUNDS.cluster_max * equity,
        "positions": Decimal(BOUNDS.positions_max),
        "buying power": Decimal("Infinity") if exposure.broker.buying_power is None else exposure.broker.buying_power,
    }
    es_before = shortfalls(asked, exposure)
    if isinstance(take(asked, exposure), OrderDenied):
        return
    for kind, es in shortfalls(asked, exposure).items():
        assert exposure.tail is not None
        part = exposure.tail.multiplier(NOW) if kind is Kind.PLAIN else 1.0
        assert shrinks or es <= max(es_before[kind], float(BOUNDS.es_max * equity) * part) + 1e-6, kind
    for name, value in sums(asked, exposure).items():
        if name in {"net", "cluster"} and shrinks:  # the end of a hedge moves it
            continue
        assert value <= max(most[name], sums_before[name]), name
    mark = exposure.mark(asked.symbol)
    assert mark is not None
    assert per_side(asked, exposure) * mark <= allowed or per_side(asked, exposure) <= 0
    if not INSTRUMENTS[asked.symbol].shortable and asked.side is SELL:
        assert uncovered(asked, exposure) <= 0
    if asked.symbol == "HARD" and asked.side is SELL:
        assert uncovered(asked, exposure) <= max(Decimal(100), before[1])
    assert before <= (per_side(asked, exposure), uncovered(asked, exposure))
    if not asked.is_parent:
        assert over_parent(asked, exposure) <= 0


OWN_STEPS = st.tuples(
    st.sampled_from(["alpha", "beta"]),
    st.sampled_from(Side),
    st.integers(1, 90),
    st.sampled_from(["order", "order", "fill", "end"]),
)


@given(st.lists(OWN_STEPS, max_size=12))
def test_no_sequence_of_approvals_takes_what_a_strategy_holds_over_its_own_limit_in_any_order_of_fills(
    steps: list[tuple[str, Side, int, str]],
) -> None:
    """Added up from what was approved; the price stands, so that the limits are 50 and 100 shares."""
    shares = {"alpha": 50, "beta": 100}
    own = {name: StrategyLimits(position_max=Decimal(most) / 1_000) for name, most in shares.items()}
    bounds, exposure = limits(strategies=own), book()
    gate = Gate(exposure, LimitsInForce(bounds))
    at, buys, sales = (dict.fromkeys(shares, 0) for _ in range(3))
    waiting: list[tuple[str, Side, int, Any]] = []
    for number, (name, side, qty, what) in enumerate(steps):
        if what != "order" and waiting:
            owner, of_side, sent, order = waiting.pop(number % len(waiting))
            done = sent if what == "fill" else 0
            fold(exposure, *([filled(order, str(sent), exec_id=f"E{number}")] if done else []))
            fold(exposure, updated(order, OrdStatus.FILLED if done else OrdStatus.CANCELED, Decimal(done)))
            fold(exposure, ended(parent("SHRT", of_side, str(sent), parent_id=order.parent_id, strategy=owner)))
            reserved = buys if of_side is BUY else sales
            reserved[owner] -= sent
            at[owner] += of_side.sign * done
            continue
        names = {"parent_id": f"S{number}", "strategy": name}
        (verdict,) = gate.on_parent_order(parent("SHRT", side, str(qty), **names))
        reserved = buys if side is BUY else sales
        after = side.sign * at[name] + reserved[name] + qty
        assert isinstance(verdict, ParentAccepted) == (after <= shares[name] or after <= 0)
        if isinstance(verdict, ParentAccepted):
            order = child(
                "SHRT", side, str(qty), ord_type=OrdType.MARKET, price=None, cl_ord_id=f"S{number}C1A1", **names
            )
            fold(exposure, verdict, approved(order))
            reserved[name] += qty
            waiting.append((name, side, qty, order))


# For each reason that holds for reducing orders too, one that shrinks the position and is denied for it. Checks that
# are not here are those of exposure: an order that shrinks passes them, as the law below says.
SHRINKING = accepted(parent(side=SELL))
SHRINKING_SHORT = accepted(parent(side=SELL, valid_until=NOW + MINUTE))
MINUTE_LATER = quote(ts=NOW + MINUTE)
NOTHING_OF_BETAS = limits(strategies={"alpha": StrategyLimits(), "beta": StrategyLimits(position_max=Decimal("0.001"))})
HOLD: dict[Check, tuple[Ask, tuple[Event, ...], Limits]] = {
    checks.order_is_valid: (ask(side=SELL, **limit_at("100.005")), (SHRINKING,), limits()),
    checks.venue_takes_it: (ask(side=SELL, venue="moon"), (SHRINKING,), limits()),
    checks.symbol_is_agreed: (ask(side=SELL), (SHRINKING, QUARANTINE), limits()),
    checks.symbol_may_be_traded: (ask(side=SELL), (SHRINKING,), limits(restricted=("AAPL",))),
    checks.strategy_may_trade: (ask(side=SELL, strategy="beta"), (SHRINKING,), ALPHA_ONLY),
    checks.strategy_is_not_stopped: (ask_parent(side=SELL), (STOPPED,), limits()),
    checks.order_is_no_duplicate: (ask_parent(side=SELL), (SHRINKING,), SECOND),
    checks.order_meets_none_of_ours: (ask(side=SELL), (SHRINKING, *working("AAPL", BUY, 1)), limits()),
    checks.session_is_open: (ask(side=SELL, ts=CLOSE), (SHRINKING, quote(ts=CLOSE)), limits()),
    checks.price_is_fresh: (ask(side=SELL, ts=NOW + MINUTE), (SHRINKING,), limits()),
    checks.price_is_near: (ask(side=SELL, **limit_at("94")), (SHRINKING,), limits()),
    checks.worth_is_enough: (ask_parent("LEAST", SELL, "4"), (held("LEAST", 4),), limits()),
    checks.size_is_allowed: (ask(side=SELL), (SHRINKING,), own_limits(qty="99")),
    checks.notional_is_allowed: (ask(side=SELL), (SHRINKING,), own_limits(notional="9999")),
    checks.own_position_is_allowed: (ask(side=SELL, strategy="beta"), (SHRINKING,), NOTHING_OF_BETAS),
    checks.heat_is_allowed: (ask(side=SELL, strategy="beta"), (SHRINKING,), limits(heat_max=Decimal("0.01"))),
    checks.parent_is_open: (ask(side=SELL), (), limits()),
    checks.parent_is_valid: (ask(side=SELL, ts=NOW + MINUTE), (SHRINKING_SHORT, MINUTE_LATER), limits()),
    checks.rate_is_kept: (ask_parent(side=SELL), (), limits(parents_per_day=1)),
}


OF_EXPOSURE = (
    checks.sale_is_covered,
    checks.sale_is_covered_there,
    checks.short_sale_is_above_bid,
    checks.participation_is_small,
    checks.position_is_allowed,
    checks.positions_are_few,
    checks.sector_is_allowed,
    checks.cluster_is_allowed,
    checks.gross_is_allowed,
    checks.net_is_allowed,
    checks.buying_power_is_enough,
    checks.shortfall_is_allowed,
)


def test_only_checks_of_exposure_and_state_know_that_an_order_shrinks() -> None:
    assert {*HOLD, FIRST, checks.trading_is_allowed, *OF_EXPOSURE} == set(CHECKS)


@pytest.mark.parametrize("check", HOLD, ids=lambda check: check.__name__)
def test_what_is_no_limit_of_exposure_holds_for_an_order_that_shrinks(check: Check) -> None:
    asked, events, bounds = HOLD[check]
    others = (accepted(parent("SHRT", qty="1", parent_id="P9")),)  # the day's first
    exposure = book(held("AAPL", 300), *others, *events, halted("REDUCING"))
    assert Case(asked, exposure).shrinks
    assert judge(Case(asked, exposure), bounds) == check(Case(asked, exposure), bounds) != None  # noqa: E711 - both at once


@pytest.mark.parametrize("asked", [ask(side=SELL), ask_parent(side=SELL)], ids=["child", "parent"])
def test_in_reducing_an_order_that_shrinks_passes_however_far_the_book_is_over_its_limit(asked: Ask) -> None:
    events = (held("AAPL", 300), *(() if asked.is_parent else (SHRINKING,)), halted("REDUCING"))
    assert judge(Case(asked, book(*events)), TENTH) is None


def test_after_an_over_fill_a_parent_that_reduces_still_counts_what_is_live() -> None:
    """100 wanted, 80 done by a child of 50: 20 are missing, and the other child's 50 may still execute."""
    first, second = (child("SHRT", SELL, "50", cl_ord_id=name) for name in ("P1C1A1", "P1C2A1"))
    sale = accepted(parent("SHRT", SELL, "100"))
    exposure = book(held("SHRT", 180), sale, approved(first), approved(second), filled(first, "80"), halted("REDUCING"))
    asked = ask_parent("SHRT", SELL, "51", parent_id="P2")
    denial = checks.trading_is_allowed(Case(asked, exposure), limits())
    assert denial is not None
    assert msgspec.structs.replace(denial, text="") == no(Reason.STATE, "51", "50", "shares", "50")


def is_bookable(asked: Ask) -> bool:
    return asked.qty % INSTRUMENTS[asked.symbol].lot == 0


@given(situations())
def test_an_order_that_shrinks_passes_every_check_of_exposure(situation: tuple[Ask, Exposure, Limits]) -> None:
    asked, exposure, bounds = situation
    room = floor_to(Case(asked, exposure).reducible, INSTRUMENTS[asked.symbol].lot)
    if not room:
        return
    shrinking = msgspec.structs.replace(asked, qty=min(asked.qty, room))
    for check in OF_EXPOSURE:
        assert check(Case(shrinking, exposure), bounds) is None
    if exposure.causes.state != "HALTED":
        assert checks.trading_is_allowed(Case(shrinking, exposure), bounds) is None


@given(situations(), st.data())
def test_what_passes_in_reducing_shrinks_the_position_in_any_order_of_fills(
    situation: tuple[Ask, Exposure, Limits], data: st.DataObject
) -> None:
    asked, exposure, bounds = situation
    fold(exposure, halted("REDUCING"))
    if exposure.causes.state != "REDUCING" or checks.trading_is_allowed(Case(asked, exposure), bounds) is not None:
        return
    start = exposure.held(asked.symbol)
    same_side = data.draw(st.integers(0, 40)) * INSTRUMENTS[asked.symbol].lot
    others = min(same_side, exposure.working(asked.symbol, asked.side) if not asked.is_parent else ZERO)
    end = start + asked.side.sign * (asked.qty + others)
    assert abs(end) <= abs(start)
    assert end * start >= 0


@given(situations(), st.sampled_from(["", "P1C1A1"]))
def test_two_orders_racing_for_the_last_of_a_limit_never_both_pass(
    situation: tuple[Ask, Exposure, Limits], cl_ord_id: str
) -> None:
    asked, exposure, _ = situation
    asked = msgspec.structs.replace(asked, cl_ord_id=cl_ord_id)
    if not is_bookable(asked):
        return
    unit = INSTRUMENTS[asked.symbol].notional(Decimal(1), exposure.mark(asked.symbol) or ZERO)
    allowed = max(BOUNDS.position_max * exposure.equity / unit, ZERO)
    both_fit = per_side(asked, exposure) + 2 * asked.qty <= allowed
    first = take(asked, exposure)
    second = take(asked, exposure)
    if not both_fit and not isinstance(first, OrderDenied):
        assert isinstance(second, OrderDenied)
