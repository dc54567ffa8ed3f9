"""The router's policies row by row and at every boundary, and what it does with half of the facts."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.planning import ALGOS, CLOSE_MARGIN_NS
from algos.router import CANDIDATES, POLICIES, Router, RouterSettings
from core.calendar import CALENDARS
from core.events import Alternative, MarketData, ParentOrder, ParentRouted
from core.impact import MODELS, prospect, recorded
from core.instruments import Instrument, Instruments
from core.orders import Side, TimeInForce
from core.signals import Algo, Instruction, Urgency
from core.units import NS_PER_S
from tests.builders import NOW, clock, parent, quote, session

D = Decimal
MINUTE, HOUR = 60 * NS_PER_S, 3_600 * NS_PER_S
HALF_DAY = dt.date(2025, 7, 3)
SATURDAY = dt.date(2025, 3, 8)

INSTRUMENTS = Instruments(
    [
        Instrument(symbol="AAPL", adv=D(1_000_000), volatility=0.02, shares_outstanding=D(200_000_000)),
        Instrument(symbol="FRAC", adv=D(1_000_000), volatility=0.02, calendar="24x7", tick=D("0.05")),
        Instrument(symbol="FUTR", adv=D(1_000_000), volatility=0.02, multiplier=D(50)),
        Instrument(symbol="SHRT"),  # of which nothing is known
    ]
)


def order(qty: str = "200", symbol: str = "AAPL", *, ts: int = NOW, **how: Any) -> ParentOrder:  # noqa: ANN401
    """20,000 in money at half past ten, unless the test says otherwise."""
    return parent(symbol, qty=qty, ts=ts, how=Instruction(algo=Algo.AUTO, **how))


def routed(
    asked: ParentOrder,
    market: MarketData | None = None,
    *,
    model: str = "sqrt",
    **settings: Any,  # noqa: ANN401
) -> tuple[ParentRouted, ParentOrder]:
    """The choice and the parent behind it, in a market of 99.99 to 100.01."""
    router = Router(INSTRUMENTS, RouterSettings(**settings), model)
    market = quote(asked.symbol) if market is None else market
    choice, made = router.route(asked, market)
    assert isinstance(choice, ParentRouted)
    assert isinstance(made, ParentOrder)
    assert choice.algo is made.how.algo
    return choice, made


def chosen(asked: ParentOrder, market: MarketData | None = None, **settings: Any) -> tuple[Algo, str]:  # noqa: ANN401
    choice, _ = routed(asked, market, **settings)
    return choice.algo, choice.reason


def test_a_parent_that_names_its_algorithm_passes_as_it_is() -> None:
    for algo in ALGOS:
        asked = parent(how=Instruction(algo=algo, price=D(100)))
        assert list(Router(INSTRUMENTS, RouterSettings()).route(asked, None)) == [asked]


# By size --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "qty, ts, urgency, algo, reason",
    [
        ("99", NOW, Urgency.NORMAL, Algo.MARKET, "worth 9,900.00, under 10,000"),
        ("100", NOW, Urgency.NORMAL, Algo.TWAP, "worth 10,000.00, midday"),
        ("1000", NOW, Urgency.NORMAL, Algo.TWAP, "worth 100,000.00, midday"),
        ("1001", NOW, Urgency.NORMAL, Algo.VWAP, "worth 100,100.00, over 100,000"),
        ("100", NOW, Urgency.HIGH, Algo.TWAP, "worth 10,000.00, midday"),
        ("100", clock(9, 30), Urgency.NORMAL, Algo.VWAP, "worth 10,000.00, opening"),
        ("100", clock(9, 59, 59), Urgency.NORMAL, Algo.VWAP, "worth 10,000.00, opening"),
        ("100", clock(10), Urgency.NORMAL, Algo.TWAP, "worth 10,000.00, midday"),
        ("100", clock(15, 29, 59), Urgency.NORMAL, Algo.TWAP, "worth 10,000.00, midday"),
        ("100", clock(15, 30), Urgency.NORMAL, Algo.VWAP, "worth 10,000.00, closing"),
        ("100", clock(15, 59), Urgency.NORMAL, Algo.VWAP, "worth 10,000.00, closing"),
        ("99", clock(9, 31), Urgency.NORMAL, Algo.MARKET, "worth 9,900.00, under 10,000"),
        ("1001", clock(15, 45), Urgency.NORMAL, Algo.VWAP, "worth 100,100.00, over 100,000"),
        ("100", clock(8), Urgency.NORMAL, Algo.VWAP, "worth 10,000.00, opening"),  # it waits for the open
        ("100", clock(12, 29, 59, day=HALF_DAY), Urgency.NORMAL, Algo.TWAP, "worth 10,000.00, midday"),
        ("100", clock(12, 30, day=HALF_DAY), Urgency.NORMAL, Algo.VWAP, "worth 10,000.00, closing"),
        ("100", clock(17), Urgency.NORMAL, Algo.TWAP, "worth 10,000.00, with no session to work in"),
        ("100", clock(12, day=SATURDAY), Urgency.NORMAL, Algo.TWAP, "worth 10,000.00, with no session to work in"),
        ("99", NOW, Urgency.IMMEDIATE, Algo.MARKET, "urgency IMMEDIATE"),
        ("5000", clock(9, 31), Urgency.IMMEDIATE, Algo.MARKET, "urgency IMMEDIATE"),
        ("99", NOW, Urgency.LOW, Algo.LIMIT, "urgency LOW"),
        ("5000", clock(15, 45), Urgency.LOW, Algo.LIMIT, "urgency LOW"),
    ],
)
def test_the_policy_of_size_row_by_row(qty: str, ts: int, urgency: Urgency, algo: Algo, reason: str) -> None:
    assert chosen(order(qty, ts=ts, urgency=urgency)) == (algo, reason)


@pytest.mark.parametrize("time_in_force", TimeInForce)
def test_what_may_not_rest_is_no_limit_however_patient(time_in_force: TimeInForce) -> None:
    rests = time_in_force in {TimeInForce.DAY, TimeInForce.GTC}
    found = chosen(order(urgency=Urgency.LOW, time_in_force=time_in_force, price=D(99)))
    assert found == ((Algo.LIMIT, "urgency LOW") if rests else (Algo.TWAP, "worth 20,000.00, midday"))


def test_a_market_that_never_closes_has_no_edges() -> None:
    for hour in (0, 5, 19):
        midnight = CALENDARS["24x7"].session_at(NOW)
        assert midnight is not None
        assert chosen(order("100", "FRAC", ts=midnight.open + hour * HOUR))[0] is Algo.TWAP


def test_the_phase_is_that_in_which_it_begins() -> None:
    assert chosen(order("100", start=clock(15, 40)))[0] is Algo.VWAP
    assert chosen(order("100", ts=clock(9, 31), start=clock(11)))[0] is Algo.TWAP


def test_a_multiplier_is_money() -> None:
    assert chosen(order("1", "FUTR")) == (Algo.MARKET, "worth 5,000.00, under 10,000")
    assert chosen(order("2", "FUTR"))[0] is Algo.TWAP


def test_the_thresholds_are_settings() -> None:
    settings: dict[str, Any] = {"market_below": D(500), "twap_up_to": D(600), "edge_min": 90}
    found = [chosen(order(qty), **settings)[0] for qty in ("4", "5", "7")]
    assert found == [Algo.MARKET, Algo.VWAP, Algo.VWAP]
    assert chosen(order("5", ts=clock(11)), **settings)[0] is Algo.TWAP
    assert chosen(order("6", ts=clock(11)), **settings)[0] is Algo.TWAP


def test_without_a_price_it_gets_what_a_signal_gets_that_names_nothing() -> None:
    unpriced = msgspec.structs.replace(order(), decision_px=None)
    nobody = quote(bid=None, ask=None)
    said = "there is no price: what it is worth is not known"
    for urgency, algo, reason in [
        (Urgency.NORMAL, Algo.TWAP, said),
        (Urgency.LOW, Algo.TWAP, said),  # nor is there one to rest at
        (Urgency.IMMEDIATE, Algo.MARKET, "urgency IMMEDIATE"),
    ]:
        asked = msgspec.structs.replace(unpriced, how=Instruction(algo=Algo.AUTO, urgency=urgency))
        assert chosen(asked, nobody) == (algo, reason)
        choice, made = Router(INSTRUMENTS, RouterSettings()).route(asked, None)
        assert isinstance(choice, ParentRouted)
        assert isinstance(made, ParentOrder)
        assert (choice.algo, made.how.algo, made.how.price) == (algo, algo, None)
    assert Instruction().algo is Algo.TWAP


# The parent that comes of it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "side, urgency, own, price",
    [
        (Side.BUY, Urgency.IMMEDIATE, None, "100.51"),  # 50 bps over 100.01, on tick, never beyond
        (Side.SELL, Urgency.IMMEDIATE, None, "99.50"),
        (Side.BUY, Urgency.IMMEDIATE, "100.20", "100.20"),
        (Side.BUY, Urgency.IMMEDIATE, "101", "100.51"),
        (Side.SELL, Urgency.IMMEDIATE, "99.70", "99.70"),
        (Side.SELL, Urgency.IMMEDIATE, "98", "99.50"),
        (Side.BUY, Urgency.IMMEDIATE, "0.009", "0.009"),  # below one tick it never trades
        (Side.SELL, Urgency.IMMEDIATE, "0.009", "99.50"),
        (Side.BUY, Urgency.LOW, None, "99.99"),
        (Side.SELL, Urgency.LOW, None, "100.01"),
        (Side.BUY, Urgency.LOW, "98.5", "98.5"),
        (Side.SELL, Urgency.LOW, "99", "99"),
        (Side.BUY, Urgency.NORMAL, None, None),
        (Side.BUY, Urgency.NORMAL, "99", "99"),
    ],
)
def test_the_limit_price_of_what_is_chosen(side: Side, urgency: Urgency, own: str | None, price: str | None) -> None:
    how = Instruction(algo=Algo.AUTO, urgency=urgency, price=None if own is None else D(own))
    _, made = routed(parent(side=side, qty="200", how=how))
    assert made.how.price == (None if price is None else D(price))


def test_a_small_parent_is_protected_like_an_immediate_one() -> None:
    _, made = routed(order("1"), tolerance_bps=10)
    assert (made.how.algo, made.how.price) == (Algo.MARKET, D("100.11"))


def test_an_empty_side_of_the_market_protects_nothing_and_its_own_price_stays() -> None:
    for own in (None, D(99)):
        _, made = routed(order("1", price=own), quote(ask=None, last="100"))
        assert (made.how.algo, made.how.price) == (Algo.MARKET, own)


@given(
    qty=st.integers(1, 5_000),
    ts=st.integers(clock(6), clock(18)),
    urgency=st.sampled_from(Urgency),
    price=st.none() | st.integers(90, 110).map(D),
    duration_s=st.none() | st.integers(1, 30_000),
    policy=st.sampled_from(sorted(POLICIES)),
    market=st.sampled_from([quote(), quote(bid=None), quote(bid="100.01", ask="99.99"), quote(bid=None, ask=None)]),
    symbol=st.sampled_from([each.symbol for each in INSTRUMENTS]),
    model=st.sampled_from(sorted(MODELS)),
)
def test_whatever_is_asked_one_algorithm_is_chosen_and_nothing_else_changes(  # noqa: PLR0917 - one per fact
    qty: int,
    ts: int,
    urgency: Urgency,
    price: Decimal | None,
    duration_s: int | None,
    policy: str,
    market: MarketData,
    symbol: str,
    model: str,
) -> None:
    asked = order(str(qty), symbol, ts=ts, urgency=urgency, price=price, duration_s=duration_s)
    router = Router(INSTRUMENTS, RouterSettings(policy=policy), model)  # type: ignore[arg-type]
    choice, made = router.route(asked, market)
    assert list(router.route(asked, market)) == [choice, made]  # nothing is kept
    assert isinstance(choice, ParentRouted)
    assert isinstance(made, ParentOrder)
    assert made.how.algo in ALGOS
    assert made == msgspec.structs.replace(
        asked, how=msgspec.structs.replace(asked.how, algo=made.how.algo, price=made.how.price)
    )
    if price is not None and made.how.price is not None:  # never less strict than what the signal says
        assert asked.side.sign * (made.how.price - price) <= 0
    assert [each.algo for each in choice.alternatives] == list(CANDIDATES)
    for each in choice.alternatives:
        assert (each.cost_bps is None) == each.text.startswith("no estimate: ")


# By cost --------------------------------------------------------------------------------------------------------------

WIDE = quote(bid="99.90", ask="100.10")


def costs(asked: ParentOrder, market: MarketData | None = None, **settings: Any) -> list[Alternative]:  # noqa: ANN401
    return list(routed(asked, market, **settings)[0].alternatives)


def slowly(model: str, lasting: Iterable[int], market: MarketData, *, qty: str = "200") -> list[Alternative]:
    """Candidates in their order, each estimated by hand from how long it lasts."""
    found = []
    for algo, ns in zip((Algo.MARKET, Algo.TWAP, Algo.VWAP), lasting, strict=True):
        of = (INSTRUMENTS["AAPL"], D(qty), market.bid, market.ask, session(), ns)
        each = MODELS[model](prospect(*of, market=algo is Algo.MARKET))
        found.append(Alternative(algo, recorded(each.cost_bps), recorded(each.low_bps), recorded(each.high_bps)))
    return found


REST = clock(16) - CLOSE_MARGIN_NS - NOW  # of the session


@pytest.mark.parametrize(
    "how, lasting",
    [
        ({}, (0, HOUR, REST)),
        ({"duration_s": 600}, (0, 10 * MINUTE, 10 * MINUTE)),
        ({"duration_s": 7_200}, (0, 2 * HOUR, 2 * HOUR)),
        ({"end": NOW + 5 * MINUTE}, (0, 5 * MINUTE, 5 * MINUTE)),
        ({"start": clock(15, 30)}, (0, 30 * MINUTE - CLOSE_MARGIN_NS, 30 * MINUTE - CLOSE_MARGIN_NS)),
    ],
)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("model", MODELS)
def test_every_candidate_is_on_record_with_its_estimate(
    model: str, policy: str, how: dict[str, Any], lasting: tuple[int, ...]
) -> None:
    assert costs(order(**how), model=model, policy=policy) == slowly(model, lasting, quote())


def test_what_is_valid_until_earlier_is_worked_for_less() -> None:
    soon = msgspec.structs.replace(order(), valid_until=NOW + 20 * MINUTE)
    assert costs(soon) == slowly("sqrt", (0, 20 * MINUTE, 20 * MINUTE), quote())


@pytest.mark.parametrize(
    "model, urgency, qty, algo",
    [
        ("sqrt", Urgency.NORMAL, "200", Algo.TWAP),  # half of the spread, and of two that cost the same the surer one
        ("sqrt", Urgency.LOW, "200", Algo.TWAP),
        ("sqrt", Urgency.HIGH, "200", Algo.MARKET),  # an hour's risk is dearer than the spread
        ("sqrt", Urgency.IMMEDIATE, "200", Algo.MARKET),
        ("almgren", Urgency.NORMAL, "20000", Algo.VWAP),  # the slowest has the least impact
        ("almgren", Urgency.HIGH, "20000", Algo.TWAP),
        ("almgren", Urgency.HIGH, "200", Algo.MARKET),
        ("almgren", Urgency.IMMEDIATE, "20000", Algo.MARKET),
    ],
)
def test_the_policy_of_cost_takes_the_cheapest(model: str, urgency: Urgency, qty: str, algo: Algo) -> None:
    asked = order(qty, urgency=urgency)
    choice, _ = routed(asked, WIDE, model=model, policy="cost")
    assert choice.algo is algo
    if urgency is not Urgency.IMMEDIATE:
        end = "high_bps" if urgency is Urgency.HIGH else "cost_bps"
        least = min(getattr(each, end) for each in choice.alternatives)
        (taken,) = [each for each in choice.alternatives if each.algo is algo]
        assert getattr(taken, end) == least
        assert choice.reason.startswith(f"the cheapest by {model}: {least:,.1f} bps")


def test_what_is_compared_stands_in_the_reason() -> None:
    assert chosen(order("200"), WIDE, policy="cost") == (Algo.TWAP, "the cheapest by sqrt: 7.8 bps expected")
    high = chosen(order("200", urgency=Urgency.HIGH), WIDE, policy="cost")
    assert high[1].endswith("at the upper end of its interval (urgency HIGH)")
    assert chosen(order(urgency=Urgency.IMMEDIATE), policy="cost") == (Algo.MARKET, "urgency IMMEDIATE")


@pytest.mark.parametrize(
    "symbol, market, model, why",
    [
        ("SHRT", quote("SHRT"), "sqrt", "volatility is not set for the instrument"),
        ("FRAC", quote("FRAC"), "almgren", "shares_outstanding is not set for the instrument"),
        ("AAPL", quote(bid=None, last="100"), "sqrt", "the market is not two-sided"),
    ],
)
def test_where_nothing_can_be_estimated_the_size_decides(symbol: str, market: MarketData, model: str, why: str) -> None:
    found = chosen(order("100", symbol), market, model=model, policy="cost")
    assert found == (Algo.TWAP, f"no estimate: {why}; by size: worth 10,000.00, midday")
    low = chosen(order("100", symbol, urgency=Urgency.LOW, price=D(99)), market, model=model, policy="cost")
    assert low == (Algo.LIMIT, f"no estimate: {why}; by size: urgency LOW")


@pytest.mark.parametrize("ts", [clock(15, 59, 55), clock(17), clock(12, day=SATURDAY)])
def test_without_time_there_is_no_estimate(ts: int) -> None:
    why = "no estimate: the market is shut, or its window or validity over"
    assert costs(order(ts=ts)) == [Alternative(algo, None, None, None, why) for algo in CANDIDATES]
    assert chosen(order(ts=ts), policy="cost")[0] is Algo.TWAP


# The table and the settings -------------------------------------------------------------------------------------------


def test_candidates_are_algorithms_that_work_by_themselves() -> None:
    assert set(CANDIDATES) <= set(ALGOS) - {Algo.LIMIT}  # which may never trade


def test_every_policy_has_its_name_in_the_settings() -> None:
    assert set(get_args(RouterSettings.__annotations__["policy"])) == set(POLICIES)


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"market_below": D(-1)}, "market_below must lie between 0 and twap_up_to"),
        ({"market_below": D(200_000)}, "market_below must lie between 0 and twap_up_to"),
        ({"twap_up_to": D("NaN")}, "market_below must lie between 0 and twap_up_to"),
        ({"edge_min": -1}, "edge_min = -1: 0 to 720 minutes"),
        ({"edge_min": 721}, "edge_min = 721"),
        ({"tolerance_bps": 0}, "tolerance_bps = 0: 1 to 1,000 bps"),
        ({"tolerance_bps": 1_001}, "tolerance_bps = 1001"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        RouterSettings(**settings)


def test_a_choice_is_of_its_parent_and_by_its_settings() -> None:
    choice, _ = routed(order())
    assert (choice.ts, choice.parent_id, choice.strategy, choice.symbol) == (NOW, "P1", "alpha", "AAPL")
    assert (choice.policy, choice.model) == ("size", "sqrt")
    choice, _ = routed(order(), model="almgren", policy="cost")
    assert (choice.policy, choice.model) == ("cost", "almgren")
