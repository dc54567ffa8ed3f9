"""The analyst's report of a parent, as a whole event, from what it heard while the parent lived."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import (
    CostEstimated,
    CostReport,
    EndReason,
    Event,
    FillBooked,
    FillBusted,
    MarketData,
    ParentAccepted,
    ParentAmended,
    ParentEnded,
    ParentOrder,
    ParentScheduled,
    TimeAdvanced,
    VwapDeviated,
)
from core.impact import MODELS, prospect, recorded
from core.instruments import Instrument, Instruments
from core.orders import Side
from core.signals import Action, Algo, Change, Instruction
from core.units import NS_PER_S, ZERO
from tca.analyst import AMENDED, TAPE_GAP, Analyst
from tests.builders import (
    INSTRUMENTS,
    NOW,
    accepted,
    amended,
    amendment,
    busted,
    child,
    clock,
    ended,
    filled,
    parent,
    quote,
    session,
)

D = Decimal
FILTERS = {"AAPL": "every print"}
S = NS_PER_S


def told(*events: Event, analyst: Analyst | None = None) -> Analyst:
    """An analyst that heard of these, as the wiring says."""
    analyst = analyst or Analyst(INSTRUMENTS, FILTERS)
    folds: dict[type[Event], Any] = {
        MarketData: analyst.quote,
        ParentAccepted: analyst.open,
        ParentAmended: analyst.amend,
        FillBooked: analyst.fill,
        FillBusted: analyst.bust,
        CostEstimated: analyst.expect,
        CostReport: analyst.close,
        ParentScheduled: analyst.schedule,
        TimeAdvanced: analyst.advance,
        VwapDeviated: analyst.stray,
    }
    for event in events:
        folds[type(event)](event)
    return analyst


def traded(ts: int, bid: str, ask: str, *, volume: str = "0", price: str = "0") -> MarketData:
    plain = quote("AAPL", bid, ask, ts=ts)
    return msgspec.structs.replace(plain, volume=D(volume), notional=D(volume) * D(price))


PARENT = parent(side=Side.BUY, qty="100", how=Instruction(algo=Algo.VWAP), decision_px=D("99.90"))
CHILD = child(side=Side.BUY, qty="100")
BEFORE = quote(ts=NOW - S)  # 99.99 to 100.01
STORY: list[Event] = [
    BEFORE,
    accepted(PARENT),
    traded(NOW + 10 * S, "100.01", "100.03", volume="300", price="100.02"),
    filled(CHILD, "40", "100.03", exec_id="E1", ts=NOW + 11 * S),
    traded(NOW + 20 * S, "100.05", "100.07", volume="100", price="100.06"),
    filled(CHILD, "20", "100.07", exec_id="E2", ts=NOW + 21 * S),
    traded(NOW + 30 * S, "100.09", "100.11"),
]
END = msgspec.structs.replace(ended(PARENT, D(60)), ts=NOW + 40 * S, avg_px=(40 * D("100.03") + 20 * D("100.07")) / 60)


def report(**changes: Any) -> CostReport:  # noqa: ANN401 - any field
    plain = CostReport(
        ts=NOW + 40 * S,
        parent_id="P1",
        strategy="alpha",
        symbol="AAPL",
        side=Side.BUY,
        algo=Algo.VWAP,
        order_qty=D(100),
        cum_qty=D(60),
        avg_px=END.avg_px,
        start=NOW,
        decision_px=D("99.90"),
        arrival_px=D(100),
        end_px=D("100.10"),
        market_vwap=D("100.03"),
        market_twap=D("100.045"),  # 100.00, 100.02, 100.06 and 100.10, ten seconds each
        market_volume=D(400),
        delay=D(10),  # 100 x 0.10
        spread=D("0.6"),  # 60 x 0.01
        impact=ZERO,
        timing=D(2),  # 40 x 0.02 + 20 x 0.06
        opportunity=D(4),  # 40 x 0.10
        fees=ZERO,
        shortfall=D("16.6"),
        currency="USD",
        reason=EndReason.WINDOW,
        vwap_filter="every print",
    )
    return msgspec.structs.replace(plain, **changes)


def ask(analyst: Analyst, event: ParentEnded = END) -> list[Event]:
    return list(analyst.on_ended(event))


def test_a_part_filled_parent() -> None:
    assert ask(told(*STORY)) == [report()]


def test_a_parent_of_which_nothing_was_filled_is_all_delay_and_opportunity() -> None:
    events = [event for event in STORY if not isinstance(event, FillBooked)]
    end = msgspec.structs.replace(END, cum_qty=ZERO, leaves_qty=D(100), avg_px=None, reason=EndReason.DENIED)
    nothing = {
        "cum_qty": ZERO,
        "avg_px": None,
        "spread": ZERO,
        "timing": ZERO,
        "opportunity": D(10),
        "shortfall": D(20),
    }
    assert ask(told(*events), end) == [report(**nothing, reason=EndReason.DENIED)]


def test_an_execution_that_is_taken_back_leaves_no_trace_although_the_market_moved() -> None:
    wrong = filled(CHILD, "30", "100.50", exec_id="E9", ts=NOW + 12 * S)
    story = [*STORY[:4], wrong, *STORY[4:], busted(wrong)]
    assert ask(told(*story)) == [report()]


def test_a_bust_of_what_was_not_counted_is_not_uncounted() -> None:
    before = filled(CHILD, "30", exec_id="E0")
    assert ask(told(*STORY, busted(before))) == [report()]


def test_an_unmarked_decision_is_priced_at_arrival() -> None:
    story = [BEFORE, accepted(msgspec.structs.replace(PARENT, decision_px=None)), *STORY[2:]]
    assert ask(told(*story)) == [report(decision_px=D(100), delay=ZERO, shortfall=D("6.6"))]


def test_a_market_that_stood_still_has_no_vwap_and_a_flat_twap() -> None:
    found = ask(told(BEFORE, accepted(PARENT)), msgspec.structs.replace(END, cum_qty=ZERO, avg_px=None))
    (event,) = found
    assert isinstance(event, CostReport)
    assert (event.market_vwap, event.market_twap, event.market_volume, event.end_px) == (None, D(100), ZERO, D(100))


def test_a_parent_that_ends_at_once_has_no_twap() -> None:
    (event,) = ask(told(BEFORE, accepted(PARENT)), ended(PARENT))
    assert isinstance(event, CostReport)
    assert event.market_twap is None


def test_other_parents_and_other_symbols_are_not_in_the_report() -> None:
    other = parent(parent_id="P2", qty="7")
    strange = filled(child(parent_id="P2", cl_ord_id="Z"), "7", "1", exec_id="E7")
    noise: list[Event] = [accepted(other), strange, quote("SHRT", "1", "2", ts=NOW + 15 * S)]
    assert ask(told(*STORY, *noise)) == [report()]


def test_a_closed_case_is_not_reported_again() -> None:
    analyst = told(*STORY)
    (event,) = ask(analyst)
    told(event, analyst=analyst)
    assert ask(analyst) == []
    told(filled(CHILD, "1", exec_id="E8"), busted(filled(CHILD, "1", exec_id="E8")), analyst=analyst)


def test_reporting_changes_nothing() -> None:
    analyst = told(*STORY)
    assert ask(analyst) == ask(analyst)


# Before it trades ----------------------------------------------------------------------------------------------------

MINUTE = 60 * S
KNOWN = Instruments(
    [
        Instrument(symbol="AAPL", adv=D(1_000_000), volatility=0.02, shares_outstanding=D(200_000_000)),
        Instrument(symbol="SHRT"),
    ]
)


def scheduled(*times: int, end: int, parent_id: str = "P1", ts: int = NOW) -> ParentScheduled:
    targets = tuple(D(number + 1) for number in range(len(times)))
    return ParentScheduled(ts=ts, parent_id=parent_id, times=times, targets=targets, end=end)


def estimated(order: ParentOrder, curve: ParentScheduled, *, model: str = "sqrt", qty: str | None = None) -> Event:
    analyst = Analyst(KNOWN, {}, model)
    told(accepted(order, None if qty is None else D(qty)), analyst=analyst)
    (event,) = analyst.on_scheduled(curve)
    return event


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "algo, times, end, lasting",
    [
        (Algo.TWAP, (NOW + MINUTE, NOW + 30 * MINUTE), NOW + 61 * MINUTE, 60 * MINUTE),
        (Algo.VWAP, (NOW,), NOW + 20 * MINUTE, 20 * MINUTE),
        (Algo.LIMIT, (NOW,), clock(16), clock(16) - NOW),  # it rests until the end
        (Algo.MARKET, (NOW,), clock(16), 0),  # it does not
    ],
)
def test_a_parent_is_estimated_from_its_arrival_and_its_curve(
    model: str, algo: Algo, times: tuple[int, ...], end: int, lasting: int
) -> None:
    order = parent(qty="10000", how=Instruction(algo=algo))
    of = (KNOWN["AAPL"], D(5_000), D("99.99"), D("100.01"), session(), lasting)
    found = MODELS[model](prospect(*of, market=algo is Algo.MARKET))
    assert estimated(order, scheduled(*times, end=end), model=model, qty="5000") == CostEstimated(
        ts=NOW,
        parent_id="P1",
        strategy="alpha",
        symbol="AAPL",
        model=model,
        cost_bps=recorded(found.cost_bps),
        low_bps=recorded(found.low_bps),
        high_bps=recorded(found.high_bps),
        spread_bps=recorded(found.spread_bps),
        impact_bps=recorded(found.impact_bps),
        risk_bps=recorded(found.risk_bps),
    )


@pytest.mark.parametrize(
    "order, curve, why",
    [
        (parent("SHRT"), scheduled(NOW, end=clock(16)), "volatility is not set for the instrument"),
        (parent(), scheduled(clock(8), end=clock(16)), "its curve begins outside of a session"),
    ],
)
def test_where_there_is_no_estimate_it_says_why(order: ParentOrder, curve: ParentScheduled, why: str) -> None:
    assert estimated(order, curve) == CostEstimated(
        ts=NOW, parent_id="P1", strategy="alpha", symbol=order.symbol, model="sqrt", text=f"no estimate: {why}"
    )


def test_a_parent_is_estimated_once_and_one_that_nobody_knows_never() -> None:
    analyst = Analyst(KNOWN, {})
    told(accepted(PARENT), analyst=analyst)
    first, again = scheduled(NOW, end=NOW + MINUTE), scheduled(NOW + S, end=NOW + MINUTE, ts=NOW + S)
    (event,) = analyst.on_scheduled(first)
    assert list(analyst.on_scheduled(first)) == [event]  # a decision changes nothing
    told(event, analyst=analyst)
    assert list(analyst.on_scheduled(again)) == []
    assert list(analyst.on_scheduled(scheduled(NOW, end=NOW + MINUTE, parent_id="P9"))) == []
    (ending,) = ask(analyst)
    told(ending, event, analyst=analyst)  # a late word about what is over
    assert ask(analyst) == []


# While it trades -----------------------------------------------------------------------------------------------------


class Watched:
    """An analyst on its own with one parent of 100 from NOW, or from `start` on; its decision is asked at each fill."""

    def __init__(self, side: Side = Side.BUY, algo: Algo = Algo.VWAP, start: int = NOW, bound: str = "100") -> None:
        self.analyst = Analyst(INSTRUMENTS, FILTERS, vwap_alert_bps=D(bound))
        self.order = parent(side=side, how=Instruction(algo=algo))
        self.fills: list[FillBooked] = []
        self.market: list[MarketData] = []
        self.start = start
        curve = msgspec.structs.replace(scheduled(start, end=start + MINUTE), start=start)
        told(BEFORE, accepted(self.order), curve, analyst=self.analyst)

    def trade(self, volume: str, price: str, ts: int = NOW) -> None:
        """Others trade."""
        self.market.append(traded(ts, "99", "101", volume=volume, price=price))
        told(self.market[-1], analyst=self.analyst)

    def fill(self, qty: str, price: str, ts: int = NOW) -> list[Event]:
        """We trade; what the analyst says to it."""
        order, number = child(side=self.order.side), len(self.fills) + 1
        self.fills.append(filled(order, qty, price, exec_id=f"E{number}", ts=ts))
        told(self.fills[-1], analyst=self.analyst)
        said = list(self.analyst.on_filled(self.fills[-1]))
        told(*said, analyst=self.analyst)
        return said

    @property
    def away(self) -> Decimal | None:
        return self.analyst.deviation_bps("P1")

    def expected(self) -> Decimal | None:
        """The same from all fills and prints of its window, in bps."""
        prints = [event for event in self.market if event.ts >= self.start]
        volume, qty = sum(event.volume for event in prints), sum(event.last_qty for event in self.fills)
        if not volume or not qty:
            return None
        market = sum(event.notional for event in prints) / volume
        paid = sum(event.last_qty * event.last_px for event in self.fills) / qty
        return (self.order.side.sign * (paid - market) / market * 10_000).quantize(D("0.01"))


def strayed(bps: str, *, side: Side = Side.BUY, qty: str = "10", px: str, ts: int = NOW) -> VwapDeviated:
    return VwapDeviated(
        ts=ts,
        parent_id="P1",
        strategy="alpha",
        symbol="AAPL",
        side=side,
        cum_qty=D(qty),
        avg_px=D(px),
        market_vwap=D(100),
        market_volume=D(1_000),
        deviation_bps=D(bps),
        limit_bps=D(100),
    )


@pytest.mark.parametrize(
    "side, px, bps, is_told",
    [
        (Side.BUY, "100.99", "99", False),
        (Side.BUY, "101", "100", True),
        (Side.BUY, "99.01", "-99", False),
        (Side.BUY, "99", "-100", True),  # for better: it does not follow, or a price is wrong
        (Side.SELL, "101", "-100", True),
        (Side.SELL, "99", "100", True),
    ],
)
def test_a_vwap_far_from_the_markets_is_told_of_at_a_fill(side: Side, px: str, bps: str, *, is_told: bool) -> None:
    scene = Watched(side)
    scene.trade("1000", "100")
    assert scene.fill("10", px) == ([strayed(bps, side=side, px=px)] if is_told else [])
    assert scene.away == scene.analyst.farthest_bps() == D(bps)


def test_it_is_told_of_again_only_once_it_was_near_in_between() -> None:
    scene = Watched()
    scene.trade("1000", "100")
    assert len(scene.fill("10", "102")) == 1
    assert scene.fill("10", "102") == []
    assert scene.fill("20", "99.1") == []  # 55 bps
    assert scene.fill("40", "102") == []
    assert scene.fill("80", "99.725") == []  # 50 bps: near, as of now
    assert scene.away == D(50)
    assert [type(event) for event in scene.fill("160", "102")] == [VwapDeviated]


def test_what_was_told_is_not_told_again_after_a_restart() -> None:
    scene = Watched()
    scene.trade("1000", "100")
    assert len(scene.fill("10", "102")) == 1
    again = Analyst(INSTRUMENTS, FILTERS)
    again.load(msgspec.msgpack.decode(msgspec.msgpack.encode(scene.analyst.dump())))
    scene.analyst = again
    assert scene.fill("10", "102") == []


@pytest.mark.parametrize("algo", [algo for algo in Algo if algo not in {Algo.VWAP, Algo.AUTO}])
def test_no_other_algorithm_is_held_to_the_markets_vwap(algo: Algo) -> None:
    scene = Watched(algo=algo)
    scene.trade("1000", "100")
    assert scene.fill("10", "150") == []
    assert scene.away is None
    assert scene.analyst.farthest_bps() is None


def test_where_nobody_else_traded_there_is_nothing_to_compare_with() -> None:
    scene = Watched()
    assert scene.fill("10", "150") == []
    assert scene.away is None
    scene.trade("1000", "100")
    assert scene.away == D(5_000)  # known with the next print, told of at the next fill
    assert len(scene.fill("10", "150")) == 1


def test_a_window_that_begins_later_is_compared_from_then_on_also_after_a_restart() -> None:
    scene = Watched(start=NOW + MINUTE)
    scene.trade("1000", "50", NOW + S)
    told(TimeAdvanced(ts=NOW + 2 * S), analyst=scene.analyst)
    again = Analyst(INSTRUMENTS, FILTERS)
    again.load(msgspec.msgpack.decode(msgspec.msgpack.encode(scene.analyst.dump())))
    for analyst in (scene.analyst, again):
        scene.analyst = analyst
        scene.fills.clear()
        told(TimeAdvanced(ts=NOW + MINUTE), analyst=analyst)
        scene.trade("1000", "100", NOW + MINUTE + S)
        assert scene.fill("10", "102", NOW + MINUTE + S) == [strayed("200", px="102", ts=NOW + MINUTE + S)]


def test_a_window_whose_parent_has_ended_before_begins_nothing() -> None:
    scene = Watched(start=NOW + MINUTE)
    (ending,) = ask(scene.analyst, ended(scene.order))
    told(ending, TimeAdvanced(ts=NOW + MINUTE), analyst=scene.analyst)
    assert scene.away is None
    assert scene.fill("10", "150") == []  # late: its case is closed


def test_another_curve_moves_no_window() -> None:
    scene = Watched()
    scene.trade("1000", "100")
    told(scheduled(NOW + S, end=NOW + MINUTE, ts=NOW + S), analyst=scene.analyst)
    scene.fill("10", "100.50", NOW + S)
    assert scene.away == D(50)


PRICES = st.integers(9_000, 11_000).map(lambda cents: str(D(cents) / 100))
STEPS = st.tuples(st.booleans(), st.integers(1, 1_000).map(str), PRICES)


@given(side=st.sampled_from(Side), later=st.booleans(), steps=st.lists(STEPS, max_size=12), half=st.integers(0, 12))
def test_the_running_difference_is_the_one_from_all_prints_and_fills(
    side: Side, *, later: bool, steps: list[tuple[bool, str, str]], half: int
) -> None:
    scene = Watched(side, start=NOW + MINUTE if later else NOW)
    is_told = False
    for number, (is_ours, qty, price) in enumerate(steps):
        ts = NOW + (MINUTE if number >= half else 0)
        told(TimeAdvanced(ts=ts), analyst=scene.analyst)
        if not is_ours:
            scene.trade(qty, price, ts)
            continue
        said = scene.fill(qty, price, ts)
        away = scene.expected() if not later or number >= half else None
        assert scene.away == away
        is_told = is_told and (away is None or abs(away) > 50)
        is_due = away is not None and abs(away) >= 100 and not is_told
        assert [type(event) for event in said] == ([VwapDeviated] if is_due else [])
        is_told |= is_due


# Flags ----------------------------------------------------------------------------------------------------------------


def flags(*events: Event) -> tuple[str, ...]:
    (event,) = ask(told(*events), msgspec.structs.replace(END, cum_qty=ZERO, avg_px=None))
    assert isinstance(event, CostReport)
    return event.flags


def test_a_decision_older_than_its_bound_is_flagged() -> None:
    fresh = msgspec.structs.replace(PARENT, signal_ts=NOW - S)
    old = msgspec.structs.replace(PARENT, signal_ts=NOW - S - 1)
    assert flags(BEFORE, accepted(fresh)) == ()
    assert flags(BEFORE, accepted(old)) == ("decision priced at its receipt, 1.0 s later",)


def test_an_arrival_without_a_fresh_quote_is_flagged() -> None:
    assert flags(quote(ts=NOW - 10 * S), accepted(PARENT)) == ()
    assert flags(quote(ts=NOW - 10 * S - 1), accepted(PARENT)) == ("stale quote at arrival",)
    assert flags(accepted(PARENT)) == ("stale quote at arrival",)


def test_one_that_was_amended_is_measured_as_it_was_at_its_end_and_says_so() -> None:
    larger = amended(amendment(PARENT, Change(qty=D(150))), "150", "50")
    end = msgspec.structs.replace(END, order_qty=D(150), leaves_qty=D(90))
    (found,) = ask(told(*STORY[:4], larger, *STORY[4:]), end)
    assert found == report(order_qty=D(150), delay=D(15), opportunity=D(9), shortfall=D("26.6"), flags=(AMENDED,))
    paused = amended(amendment(PARENT, Change(action=Action.PAUSE), held=True), "100")
    assert ask(told(*STORY, paused)) == [report()]


def test_an_interrupted_tape_flags_the_parents_that_live_and_no_later_ones() -> None:
    analyst = told(BEFORE, accepted(PARENT))
    analyst.tear()
    analyst.tear()
    later = parent(parent_id="P2")
    told(accepted(later), analyst=analyst)
    ends = [END, msgspec.structs.replace(END, parent_id="P2")]
    found = [event.flags for end in ends for event in ask(analyst, end) if isinstance(event, CostReport)]
    assert found == [(TAPE_GAP,), ()]


# Snapshots ------------------------------------------------------------------------------------------------------------


@given(cut=st.integers(0, len(STORY) + 3), torn=st.booleans())
def test_an_analyst_from_a_snapshot_goes_on_as_the_one_that_wrote_it(cut: int, *, torn: bool) -> None:
    wrong = filled(CHILD, "30", "100.50", exec_id="E9", ts=NOW + 12 * S)
    estimate = CostEstimated(ts=NOW, parent_id="P1", strategy="alpha", symbol="AAPL", model="sqrt")
    story = [*STORY[:2], estimate, *STORY[2:4], wrong, *STORY[4:], busted(wrong)]
    first = told(*story[:cut])
    if torn:
        first.tear()
    second = Analyst(INSTRUMENTS, FILTERS)
    second.load(msgspec.msgpack.decode(msgspec.msgpack.encode(first.dump())))
    assert second.dump() == first.dump()
    told(*story[cut:], analyst=first)
    told(*story[cut:], analyst=second)
    assert ask(second) == ask(first)
    curve = scheduled(NOW, end=NOW + MINUTE)
    assert list(second.on_scheduled(curve)) == list(first.on_scheduled(curve)) == []
    assert second.dump() == first.dump()


def test_signs_a_sale_that_goes_well_is_a_negative_cost() -> None:
    sale = parent(side=Side.SELL, qty="100", decision_px=D(100))
    order = child(side=Side.SELL, qty="100")
    story: list[Event] = [BEFORE, accepted(sale), filled(order, "100", "100.40", ts=NOW + S)]
    end = msgspec.structs.replace(ended(sale, D(100), EndReason.FILLED), avg_px=D("100.40"), ts=NOW + S)
    (event,) = ask(told(*story), end)
    assert isinstance(event, CostReport)
    assert (event.spread, event.timing, event.shortfall) == (D(-40), ZERO, D(-40))
    assert event.slippage_bps(event.arrival_px) == D(-40)
    assert event.shortfall_bps == D(-40)
