"""What each kind of signal becomes: how much, in whole lots, or why nothing; and that it acts once."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algos.router import Router, RouterSettings
from algos.slicer import Slicer
from core.events import (
    Event,
    FlattenRequested,
    ParentOrder,
    ParentRouted,
    SignalAccepted,
    SignalIgnored,
    SignalReceived,
    SignalRefused,
)
from core.ids import parent_id
from core.instruments import Instrument, Instruments
from core.orders import OrdStatus, Side
from core.signals import (
    Action,
    Algo,
    AmendSignal,
    Change,
    Instruction,
    OrderSignal,
    RebalanceSignal,
    Signal,
    StrengthSignal,
    TargetSignal,
    Urgency,
)
from core.units import NS_PER_S, ZERO
from risk import sizing
from risk.exposure import Exposure
from risk.limits import Limits, LimitsInForce, StrategyLimits, SymbolLimits, VenueLimits
from risk.sizing import AHEAD_S_MAX, Sizer
from risk.triggers import StopSettings, Triggers
from tests.builders import (
    INSTRUMENTS,
    MINUTE,
    NOW,
    accepted,
    approved,
    book,
    child,
    ended,
    fold,
    held,
    limits,
    limits_set,
    opened,
    parent,
    quote,
    received,
    silent,
    updated,
    working,
)
from tests.pure_bus import PureBus

BUY, SELL = Side.BUY, Side.SELL
ROUTE = Router(INSTRUMENTS, RouterSettings()).route
AMEND = Slicer(INSTRUMENTS).amendment
BOUNDS = limits(position_max=Decimal("0.08"))  # of 100,000: 8,000 in one name


def order(symbol: str = "AAPL", side: Side = BUY, qty: str | None = "10", **changes: Any) -> OrderSignal:  # noqa: ANN401
    signal = OrderSignal(
        signal_id="s1", ts=NOW, strategy="alpha", symbol=symbol, side=side, qty=None if qty is None else Decimal(qty)
    )
    return msgspec.structs.replace(signal, **changes)


def strength(value: float, symbol: str = "AAPL", **changes: Any) -> StrengthSignal:  # noqa: ANN401
    signal = StrengthSignal(signal_id="s1", ts=NOW, strategy="alpha", symbol=symbol, strength=value)
    return msgspec.structs.replace(signal, **changes)


def target(qty: str | None = None, weight: float | None = None, symbol: str = "SHRT", **changes: Any) -> TargetSignal:  # noqa: ANN401
    signal = TargetSignal(
        signal_id="s1",
        ts=NOW,
        strategy="alpha",
        symbol=symbol,
        qty=None if qty is None else Decimal(qty),
        weight=weight,
    )
    return msgspec.structs.replace(signal, **changes)


def rebalance(weights: dict[str, float], **changes: Any) -> RebalanceSignal:  # noqa: ANN401
    signal = RebalanceSignal(signal_id="s1", ts=NOW, strategy="alpha", weights=weights)
    return msgspec.structs.replace(signal, **changes)


def sizer(exposure: Exposure | None = None, bounds: Limits = BOUNDS) -> Sizer:
    return sizer_of(book() if exposure is None else exposure, LimitsInForce(bounds))


def sizer_of(exposure: Exposure, in_force: LimitsInForce, tag: str = "T") -> Sizer:
    triggers = Triggers(exposure, in_force, StopSettings())
    return Sizer(exposure, in_force, ROUTE, AMEND, triggers, tag=tag, account="main")


def size(signal: Signal, *events: Event, bounds: Limits = BOUNDS) -> list[Event]:
    return list(sizer(book(*events), bounds).on_signal(received(signal)))


def words(events: Sequence[Event]) -> list[str]:
    """The effects in short: side, quantity and symbol of a parent, the reason of a refusal."""
    return [in_short(event) for event in events]


def in_short(event: Event) -> str:
    if isinstance(event, ParentOrder):
        return f"{event.side} {event.order_qty.normalize():f} {event.symbol}"
    if isinstance(event, SignalIgnored | SignalRefused):
        assert event.text
        return event.reason
    return type(event).__name__


# The four kinds -------------------------------------------------------------------------------------------------------

KINDS: list[tuple[str, Signal, tuple[Event, ...], str]] = [
    ("an order", order(), (), "BUY 10 AAPL"),
    ("an order in money", order(qty=None, notional=Decimal(1050)), (), "BUY 10 AAPL"),
    ("an order in money with a multiplier", order("FUTR", qty=None, notional=Decimal(16000)), (), "BUY 3 FUTR"),
    ("an order over a broken lot", order("LOTS", qty="250"), (), "BUY 200 LOTS"),
    ("an order under a lot", order("LOTS", qty="99"), (), "NO_TRADE"),
    ("an order in fractions", order("FRAC", qty="1.23456"), (), "BUY 1.234 FRAC"),
    ("an order to sell what is not held: the gate's business", order(side=SELL), (), "SELL 10 AAPL"),
    ("full strength: 0.95 of 8,000", strength(1.0), (), "BUY 76 AAPL"),
    ("half strength", strength(0.5), (), "BUY 38 AAPL"),
    ("at a mid of nothing: by the one before", strength(0.5), (quote(bid="0", ask="0"),), "BUY 38 AAPL"),
    ("confidence multiplies", strength(1.0, confidence=0.5), (), "BUY 38 AAPL"),
    ("too weak", strength(0.09), (), "WEAK"),
    ("too weak by confidence", strength(-0.5, confidence=0.1), (), "WEAK"),
    ("no strength at all", strength(0.0), (), "WEAK"),
    ("just strong enough", strength(0.1), (), "BUY 7 AAPL"),
    ("negative with shorting", strength(-1.0, "SHRT"), (), "SELL 76 SHRT"),
    ("negative without shorting, nothing held", strength(-1.0), (), "NO_TRADE"),
    ("negative without shorting reduces", strength(-1.0), (held("AAPL", 50),), "SELL 50 AAPL"),
    (
        "negative without shorting, sales on their way",
        strength(-1.0),
        (held("AAPL", 50), accepted(parent(side=SELL, qty="20"))),
        "SELL 30 AAPL",
    ),
    ("a target from nothing", target("40"), (), "BUY 40 SHRT"),
    ("a target that is held", target("40"), (held("SHRT", 40),), "NO_TRADE"),
    ("a target below what is held", target("40"), (held("SHRT", 50),), "SELL 10 SHRT"),
    ("a target across zero", target("-40"), (held("SHRT", 50),), "SELL 90 SHRT"),
    ("a target of nothing", target("0"), (held("SHRT", -7),), "BUY 7 SHRT"),
    ("a weight", target(weight=0.05), (), "BUY 50 SHRT"),
    ("a negative weight", target(weight=-0.05), (), "SELL 50 SHRT"),
    ("no weight", target(weight=0.0), (held("SHRT", 50),), "SELL 50 SHRT"),
]


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case[0])
def test_a_signal_becomes_a_quantity(case: tuple[str, Signal, tuple[Event, ...], str]) -> None:
    _, signal, events, expected = case
    assert words(size(signal, *events)) == ["SignalAccepted", expected]


def test_a_parent_carries_what_its_signal_said() -> None:
    how = Instruction(algo=Algo.VWAP, slices=7)
    taken, made = size(target("40", how=how, ts=NOW - MINUTE))
    assert isinstance(taken, SignalAccepted)
    assert isinstance(made, ParentOrder)
    assert made == ParentOrder(
        ts=NOW,
        parent_id=parent_id(tag="T", account="main", strategy="alpha", signal_id="s1", leg="SHRT"),
        signal_id="s1",
        signal_ts=NOW - MINUTE,
        strategy="alpha",
        account="main",
        venue="paper",
        symbol="SHRT",
        side=BUY,
        order_qty=Decimal(40),
        resizable=True,
        decision_px=Decimal(100),
        how=how,
    )


@pytest.mark.parametrize(
    "signal,resizable", [(order(), False), (strength(1.0), True), (target("5"), True), (rebalance({"SHRT": 0.1}), True)]
)
def test_orders_are_denied_at_a_limit_and_everything_else_is_resized(signal: Signal, *, resizable: bool) -> None:
    _, made = size(signal)
    assert isinstance(made, ParentOrder)
    assert made.resizable is resizable


def test_a_strength_is_bounded_in_money_on_both_sides() -> None:
    small = limits(position_max=Decimal("0.08"), strength_notional_min=Decimal(800))
    assert words(size(strength(0.1), bounds=small)) == ["SignalAccepted", "SMALL"]
    large = limits(position_max=Decimal(1))
    assert words(size(strength(1.0), bounds=large)) == ["SignalAccepted", "BUY 100 AAPL"]


@pytest.mark.parametrize("volatility,expected", [(0.01, "BUY 76 WILD"), (0.02, "BUY 76 WILD"), (0.04, "BUY 38 WILD")])
def test_a_strength_is_scaled_down_where_the_instrument_moves_more_than_budgeted(
    volatility: float, expected: str
) -> None:
    instruments = Instruments([Instrument(symbol="WILD", volatility=volatility)])
    exposure = fold(silent(instruments), opened(), quote("WILD"))
    assert words(list(sizer(exposure).on_signal(received(strength(1.0, "WILD"))))) == ["SignalAccepted", expected]


def test_nothing_is_bought_for_an_account_without_equity() -> None:
    poor = (held("AAPL", 2_000), quote("AAPL", "0.99", "1.01"))
    assert words(size(strength(1.0, "SHRT"), *poor)) == ["SignalAccepted", "SMALL"]
    assert words(size(target(weight=0.5), *poor)) == ["SignalAccepted", "NO_TRADE"]


@pytest.mark.parametrize(
    "signal", [order(qty=None, notional=Decimal(500)), strength(1.0), target(weight=0.1, symbol="AAPL")]
)
def test_without_a_price_a_size_in_money_cannot_be_computed(signal: Signal) -> None:
    unquoted = fold(silent(), opened())
    assert words(list(sizer(unquoted).on_signal(received(signal)))) == ["SignalAccepted", "NO_PRICE"]


def test_without_a_price_a_size_in_shares_goes_to_the_gate() -> None:
    unquoted = fold(silent(), opened())
    assert words(list(sizer(unquoted).on_signal(received(order())))) == ["SignalAccepted", "BUY 10 AAPL"]


def test_less_than_the_venues_minimum_is_no_trade() -> None:
    instruments = Instruments([Instrument(symbol="COIN", min_notional=Decimal(500))])
    exposure = fold(silent(instruments), opened(), quote("COIN"))
    assert words(list(sizer(exposure).on_signal(received(order("COIN", qty="4"))))) == ["SignalAccepted", "NO_TRADE"]
    assert words(list(sizer(exposure).on_signal(received(order("COIN", qty="5"))))) == ["SignalAccepted", "BUY 5 COIN"]


# Signals that do not act ----------------------------------------------------------------------------------------------


def test_an_amend_names_the_parent_of_the_same_strategys_signal_as_long_as_it_is_worked() -> None:
    world = PureBus()
    for event in (quote(), quote("SHRT"), received(order(qty="100", how=Instruction(duration_s=600)))):
        world.bus.publish(event)
    (parent_id,) = world.slicer.parents

    def said(**changes: Any) -> list[Event]:  # noqa: ANN401 - one field, whichever
        change = AmendSignal(
            signal_id="a1", ts=NOW, strategy="alpha", symbol="AAPL", amends="s1", change=Change(qty=Decimal(150))
        )
        before = len(world.trace)
        world.bus.publish(received(msgspec.structs.replace(change, **changes)))
        return world.trace[before + 1 :]

    for wrong in ({"strategy": "beta"}, {"symbol": "SHRT"}, {"amends": "s2"}):
        (refused,) = said(**wrong)
        assert isinstance(refused, SignalRefused)
        assert refused.reason == "AMEND"
    (refused,) = said(change=Change(action=Action.RESUME))
    assert isinstance(refused, SignalRefused)
    assert refused.text == f"{parent_id} is not paused"
    assert [type(event).__name__ for event in said()[:3]] == ["SignalAccepted", "ParentAmendment", "ParentAmended"]
    assert world.slicer.parents[parent_id].order_qty == 150
    assert words(said()) == ["DUPLICATE"]
    assert words(said(signal_id="a2", change=Change(action=Action.CANCEL)))[0] == "SignalAccepted"
    assert not world.slicer.parents
    (refused,) = said(signal_id="a3", change=Change(action=Action.CANCEL))
    assert isinstance(refused, SignalRefused)
    assert refused.text == "no parent of signal s1 of alpha is worked in AAPL"


REFUSALS: list[tuple[str, Signal]] = [
    ("ACCOUNT", order(account="other")),
    ("TOO_OLD", order(ts=NOW - 7 * 86_400 * NS_PER_S - NS_PER_S)),
    ("FUTURE", order(ts=NOW + 61 * NS_PER_S)),
    ("EXPIRED", order(valid_until=NOW)),
    ("UNKNOWN_SYMBOL", order("NONE")),
    ("UNKNOWN_SYMBOL", rebalance({"AAPL": 0.1, "NONE": 0.1})),
]
ACCEPTED = [
    order(account="main"),
    order(ts=NOW - 7 * 86_400 * NS_PER_S),
    order(ts=NOW + 60 * NS_PER_S),
    order(valid_until=NOW + 1),
]


@pytest.mark.parametrize("reason,signal", REFUSALS)
def test_a_signal_that_cannot_be_acted_on_is_refused_and_may_come_again(reason: str, signal: Signal) -> None:
    refused = size(signal)
    assert words(refused) == [reason]  # and its key is not taken


@pytest.mark.parametrize(
    "strategies,may",
    [
        ({}, True),
        ({"alpha": StrategyLimits()}, True),
        ({"beta": StrategyLimits()}, False),
        ({"alpha": StrategyLimits(sources=("file",))}, True),
        ({"alpha": StrategyLimits(sources=("stream:execd:signals", "fi*"))}, True),
        ({"alpha": StrategyLimits(sources=("stream:execd:signals", "fil"))}, False),
    ],
)
def test_a_strategy_speaks_only_over_its_own_sources(strategies: dict[str, StrategyLimits], *, may: bool) -> None:
    bounds = limits(strategies=strategies)
    actor = sizer_of(book(), LimitsInForce(bounds), "T1")
    said = words(list(actor.on_signal(received(order()))))
    assert said == (["SignalAccepted", "BUY 10 AAPL"] if may else ["SOURCE"])


@pytest.mark.parametrize("signal", ACCEPTED)
def test_a_signal_at_the_edge_is_accepted(signal: Signal) -> None:
    assert words(size(signal)) == ["SignalAccepted", "BUY 10 AAPL"]


def act(actor: Sizer, event: SignalReceived) -> list[str]:
    """Decide and fold, as the bus does."""
    effects = []
    for effect in actor.on_signal(event):
        effects.append(effect)
        if isinstance(effect, SignalAccepted):
            actor.take(effect)
    return words(effects)


def test_the_same_signal_acts_once_whatever_its_source() -> None:
    actor = sizer()
    assert act(actor, received(order())) == ["SignalAccepted", "BUY 10 AAPL"]
    again = msgspec.structs.replace(received(order(), NOW + MINUTE), source="redis")
    assert act(actor, again) == ["DUPLICATE"]


def test_another_body_under_the_same_key_is_refused() -> None:
    actor = sizer()
    act(actor, received(order()))
    assert act(actor, received(order(qty="11"))) == ["ALTERED"]
    assert act(actor, received(order(strategy="beta", qty="11"))) == ["SignalAccepted", "BUY 11 AAPL"]


def test_a_key_stays_taken_for_as_long_as_its_signal_could_be_accepted() -> None:
    actor, horizon = sizer(bounds=limits(signal_horizon_s=100)), 100 * NS_PER_S
    early = order(ts=NOW + AHEAD_S_MAX * NS_PER_S)  # from a clock that is ahead
    act(actor, received(early))
    late = NOW + horizon + AHEAD_S_MAX * NS_PER_S
    act(actor, received(order(signal_id="s2", ts=late), late))
    assert act(actor, received(early, late)) == ["DUPLICATE"]
    act(actor, received(order(signal_id="s3", ts=late), late + 1))
    assert act(actor, received(early, late + 1)) == ["TOO_OLD"]


def test_keys_are_forgotten_once_their_signals_are_too_old() -> None:
    actor = sizer(bounds=limits(signal_horizon_s=100))
    for i in range(500):
        now = NOW + i * NS_PER_S
        act(actor, received(order(signal_id=f"s{i}", ts=now), now))
    assert len(actor._seen) == len(actor._order) <= 100 + AHEAD_S_MAX + 1


def test_a_snapshot_of_the_keys_continues_as_if_nothing_had_happened() -> None:
    first, second = sizer(), sizer()
    for i in range(5):
        act(first, received(order(signal_id=f"s{i}"), NOW + i))
    second.load(msgspec.json.decode(msgspec.json.encode(first.dump())))
    assert second.dump() == first.dump()
    for signal in (order(signal_id="s3"), order(signal_id="s3", qty="1"), order(signal_id="new")):
        assert act(second, received(signal)) == act(first, received(signal))
    assert second.dump() == first.dump()


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few keys are remembered."""
    monkeypatch.setattr(sizing, "SEEN_MAX", 3)


@pytest.mark.usefixtures("forgetful")
def test_with_more_keys_than_are_remembered_what_may_have_come_before_is_too_old() -> None:
    actor, ahead = sizer(), AHEAD_S_MAX * NS_PER_S
    early = order(signal_id="s0", ts=NOW + ahead)  # from a clock that is ahead
    assert act(actor, received(early)) == ["SignalAccepted", "BUY 10 AAPL"]
    for i in range(1, 4):
        now = NOW + i * MINUTE
        assert act(actor, received(order(signal_id=f"s{i}", ts=now), now)) == ["SignalAccepted", "BUY 10 AAPL"]
    now = NOW + 3 * MINUTE
    assert act(actor, received(early, now)) == ["TOO_OLD"]
    restored = sizer()
    restored.load(msgspec.json.decode(msgspec.json.encode(actor.dump())))
    assert act(restored, received(early, now)) == ["TOO_OLD"]
    unknown = order(signal_id="new", ts=NOW + ahead + 1)
    assert act(actor, received(unknown, now)) == ["SignalAccepted", "BUY 10 AAPL"]
    assert act(actor, received(order(signal_id="s2", ts=NOW + 2 * MINUTE), now)) == ["DUPLICATE"]  # remembered still


def test_under_a_longer_horizon_no_signal_acts_again_whose_key_was_forgotten_under_a_shorter_one() -> None:
    short, long = limits(signal_horizon_s=100), limits(signal_horizon_s=100_000)
    in_force = LimitsInForce(short)
    actor, early = sizer_of(book(), in_force), order(signal_id="early")
    assert act(actor, received(early)) == ["SignalAccepted", "BUY 10 AAPL"]
    now = NOW + 10 * MINUTE
    act(actor, received(order(signal_id="other", ts=now), now))  # which forgets the first
    in_force.take(limits_set(long))
    assert act(actor, received(early, now)) == ["TOO_OLD"]
    between = order(signal_id="between", ts=NOW + 2 * MINUTE)  # of which it can be told that it is new
    assert act(actor, received(between, now)) == ["SignalAccepted", "BUY 10 AAPL"]


ARRIVALS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 90)), max_size=60)  # which signal, seconds later


@pytest.mark.usefixtures("forgetful")
@given(ARRIVALS, st.lists(st.integers(-90, AHEAD_S_MAX), min_size=8, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_signal_acts_twice_however_little_is_remembered(arrivals: list[tuple[int, int]], ahead: list[int]) -> None:
    actor, now = sizer(bounds=limits(signal_horizon_s=300)), NOW
    stamped: dict[int, int] = {}
    acted: list[int] = []
    for which, later in arrivals:
        now += later * NS_PER_S
        ts = stamped.setdefault(which, now + ahead[which] * NS_PER_S)
        if "SignalAccepted" in act(actor, received(order(signal_id=f"s{which}", ts=ts), now)):
            acted.append(which)
    assert len(acted) == len(set(acted))


def test_deciding_changes_nothing() -> None:
    actor = sizer()
    before = actor.dump()
    assert list(actor.on_signal(received(order()))) == list(actor.on_signal(received(order())))
    assert actor.dump() == before


# Targets and rebalances -----------------------------------------------------------------------------------------------


def test_a_repeated_target_asks_only_for_what_is_not_on_its_way() -> None:
    coming = accepted(parent("SHRT", BUY, "30"))
    assert words(size(target("40"), coming)) == ["SignalAccepted", "BUY 10 SHRT"]
    assert words(size(target("30"), coming)) == ["SignalAccepted", "NO_TRADE"]
    assert words(size(target("0"), coming)) == ["SignalAccepted", "SELL 30 SHRT"]


def test_a_target_counts_a_child_whose_outcome_nobody_knows() -> None:
    lost = child("SHRT", BUY, "30")
    over = ended(parent("SHRT", BUY, "30"))
    events = (accepted(parent("SHRT", BUY, "30")), approved(lost), updated(lost, OrdStatus.UNKNOWN), over)
    assert words(size(target("30"), *events)) == ["SignalAccepted", "NO_TRADE"]


def test_a_target_is_of_its_strategy_alone() -> None:
    theirs = msgspec.structs.replace(held("SHRT", 25), strategy="beta")
    assert words(size(target("40"), theirs)) == ["SignalAccepted", "BUY 40 SHRT"]


POSITIONS = st.integers(-300, 300)


@given(POSITIONS, POSITIONS, POSITIONS)
def test_what_is_held_what_is_coming_and_what_is_asked_add_up_to_the_target(have: int, coming: int, want: int) -> None:
    events: list[Event] = [held("SHRT", have)] if have else []
    if coming:
        events.append(accepted(parent("SHRT", BUY if coming > 0 else SELL, str(abs(coming)))))
    asked = ZERO
    for event in size(target(str(want)), *events):
        if isinstance(event, ParentOrder):
            asked += event.side.sign * event.order_qty
    assert have + coming + asked == want


def test_a_rebalance_sells_first_and_sends_absent_names_to_zero() -> None:
    effects = size(
        rebalance({"AAPL": 0.02, "SHRT": -0.03, "FUTR": 0.1}),
        held("LOTS", 200),
        held("AAPL", 50),
        held("FRAC", -2),
    )
    assert words(effects) == [
        "SignalAccepted",
        "SELL 30 AAPL",
        "SELL 200 LOTS",
        "SELL 30 SHRT",
        "BUY 2 FRAC",
        "BUY 2 FUTR",
    ]
    ids = {effect.parent_id for effect in effects if isinstance(effect, ParentOrder)}
    assert len(ids) == 5


def test_a_rebalance_to_what_is_held_says_so_for_each_name() -> None:
    assert words(size(rebalance({"AAPL": 0.05}), held("AAPL", 50))) == ["SignalAccepted", "NO_TRADE"]


def test_a_rebalance_counts_names_that_are_only_on_their_way() -> None:
    assert words(size(rebalance({}), accepted(parent("SHRT", BUY, "30")))) == ["SignalAccepted", "SELL 30 SHRT"]


def test_a_rebalance_does_not_touch_what_another_strategy_holds() -> None:
    theirs = msgspec.structs.replace(held("SHRT", 25), strategy="beta")
    assert words(size(rebalance({}), theirs)) == ["SignalAccepted"]


def test_a_position_in_a_symbol_that_is_no_instrument_any_more_is_named_not_traded() -> None:
    gone = msgspec.structs.replace(held("AAPL", 25), symbol="GONE")
    assert words(size(rebalance({"AAPL": 0.01}), gone)) == ["SignalAccepted", "UNKNOWN_SYMBOL", "BUY 10 AAPL"]


WEIGHTS = st.dictionaries(
    st.sampled_from(["AAPL", "SHRT", "LOTS", "FRAC", "FUTR"]), st.floats(-4, 4, allow_nan=False), max_size=5
)


@given(WEIGHTS, st.decimals(Decimal("0.01"), 5_000, places=2))
def test_weights_never_make_a_broken_lot(weights: dict[str, float], price: Decimal) -> None:
    quotes = [quote(symbol, str(price), str(price + Decimal("0.01"))) for symbol in weights]
    for event in size(rebalance(weights), *quotes):
        if isinstance(event, ParentOrder):
            assert event.order_qty > 0
            assert event.order_qty % INSTRUMENTS[event.symbol].lot == 0


@given(st.floats(-1, 1, allow_nan=False), st.floats(0, 1, allow_nan=False), st.sampled_from(["SHRT", "LOTS", "FRAC"]))
def test_a_strength_never_exceeds_its_bounds(value: float, confidence: float, symbol: str) -> None:
    for event in size(strength(value, symbol, confidence=confidence)):
        if isinstance(event, ParentOrder):
            assert event.side is (BUY if value > 0 else SELL)
            assert event.order_qty % INSTRUMENTS[symbol].lot == 0
            assert event.order_qty * 100 <= Decimal(7_600)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-300, 300)), min_size=1, max_size=6))
@settings(max_examples=50)
def test_whatever_the_targets_on_the_way_the_position_ends_at_the_last_one(targets: list[tuple[int, int]]) -> None:
    world = PureBus(limits=limits(quote_age_s_max=86_400.0))
    world.bus.publish(quote("SHRT"))
    now = NOW
    for number, (wait_s, qty) in enumerate(targets):
        now += wait_s * NS_PER_S
        how = Instruction(algo=Algo.TWAP, duration_s=120, slices=6)
        world.at(now, received(target(str(qty), signal_id=f"s{number}", ts=now, how=how), now))
    world.run()
    assert world.exposure.held("SHRT") == targets[-1][1]
    assert world.exposure.names("alpha") == ({"SHRT"} if targets[-1][1] else set())


# Times ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", [order(), strength(1.0), target("5"), rebalance({"SHRT": 0.1})])
@pytest.mark.parametrize("valid_until", [None, NOW + 5 * MINUTE])
def test_a_parent_is_valid_as_long_as_its_signal_and_its_instruction_is_the_signals_own(
    signal: Signal, valid_until: int | None
) -> None:
    how = Instruction(algo=Algo.VWAP, end=NOW + 9 * MINUTE)
    _, made = size(msgspec.structs.replace(signal, how=how, valid_until=valid_until))
    assert isinstance(made, ParentOrder)
    assert (made.how, made.valid_until) == (how, valid_until)


# The algorithm that a signal leaves open -----------------------------------------------------------------------------


def test_what_leaves_its_algorithm_open_is_routed_before_anybody_hears_of_the_parent() -> None:
    taken, chosen, made = size(target("40", how=Instruction(algo=Algo.AUTO)))
    assert isinstance(taken, SignalAccepted)
    assert isinstance(chosen, ParentRouted)
    assert isinstance(made, ParentOrder)
    assert (chosen.parent_id, chosen.algo, chosen.reason) == (
        made.parent_id,
        Algo.MARKET,
        "worth 4,000.00, under 10,000",
    )
    assert (made.how.algo, made.how.price) == (Algo.MARKET, Decimal("100.51"))  # in the market of this moment


def test_each_leg_of_a_rebalance_is_routed_for_itself_and_sales_stay_first() -> None:
    book_of = (held("SHRT", 50),)
    found = words(size(rebalance({"LOTS": 0.2}, how=Instruction(algo=Algo.AUTO)), *book_of))
    assert found == ["SignalAccepted", "ParentRouted", "SELL 50 SHRT", "ParentRouted", "BUY 200 LOTS"]


def test_what_is_not_traded_is_not_routed() -> None:
    assert words(size(strength(0.01, how=Instruction(algo=Algo.AUTO)))) == ["SignalAccepted", "WEAK"]


@pytest.mark.parametrize("urgency", Urgency)
def test_a_routed_parent_is_worked_like_any_other(urgency: Urgency) -> None:
    world = PureBus(limits=limits(quote_age_s_max=86_400.0))
    world.bus.publish(quote("SHRT"))
    how = Instruction(algo=Algo.AUTO, urgency=urgency)
    world.at(NOW, received(target("40", how=how)))
    world.run()
    assert world.exposure.held("SHRT") == 40
    (parent_order,) = [event for event in world.trace if isinstance(event, ParentOrder)]
    assert parent_order.how.algo is (Algo.LIMIT if urgency is Urgency.LOW else Algo.MARKET)


# Flatten --------------------------------------------------------------------------------------------------------------


def flatten(*events: Event, symbol: str = "", bounds: Limits = BOUNDS) -> list[str]:
    """What is asked for, in short."""
    request = FlattenRequested(ts=NOW, request_id="flatten-1", by="ann", symbol=symbol)
    found = list(sizer(book(*events), bounds).on_flatten(request))
    for each in found:
        assert isinstance(each, ParentOrder)
        assert (each.flatten, each.resizable, each.how) == (True, True, Instruction(algo=Algo.MARKET))
    return [f"{each.side} {each.order_qty:f} {each.symbol} of {each.strategy}" for each in found]  # type: ignore[attr-defined]


def of(strategy: str, fill: Event) -> Event:
    return msgspec.structs.replace(fill, strategy=strategy, exec_id=strategy)


@pytest.mark.parametrize(
    "events,symbol,asked",
    [
        ([], "", []),
        ([held("AAPL", 50)], "", ["SELL 50 AAPL of alpha"]),
        ([held("SHRT", -50)], "", ["BUY 50 SHRT of alpha"]),
        ([held("AAPL", 50), held("SHRT", -7)], "", ["SELL 50 AAPL of alpha", "BUY 7 SHRT of alpha"]),
        ([held("AAPL", 50), held("SHRT", -7)], "SHRT", ["BUY 7 SHRT of alpha"]),
        ([held("AAPL", 50)], "SHRT", []),
        ([held("AAPL", 50)], "NONE", []),
        # the account's net, taken from those that hold its side
        (
            [of("a", held("SHRT", 100)), of("b", held("SHRT", -30)), of("c", held("SHRT", 50))],
            "",
            ["SELL 100 SHRT of a", "SELL 20 SHRT of c"],
        ),
        ([of("a", held("SHRT", 100)), of("b", held("SHRT", -100))], "", []),
        # what is on its way out already is not sold twice
        ([held("AAPL", 50), *working("AAPL", SELL, 20)], "", ["SELL 30 AAPL of alpha"]),
        ([held("AAPL", 50), *working("AAPL", SELL, 50)], "", []),
        ([held("AAPL", 50), *working("AAPL", BUY, 20)], "", ["SELL 50 AAPL of alpha"]),
        # less than a lot cannot be sold
        ([held("LOTS", 250)], "", ["SELL 200 LOTS of alpha"]),
    ],
)
def test_a_flatten_closes_the_net_position(events: list[Event], symbol: str, asked: list[str]) -> None:
    assert flatten(*events, symbol=symbol) == asked


def test_a_flatten_is_cut_into_orders_that_are_allowed() -> None:
    bounds = limits(
        symbols_default=SymbolLimits(order_qty_max=Decimal(40), order_notional_max=Decimal(1_000_000)),
    )
    assert flatten(held("AAPL", 100), bounds=bounds) == [f"SELL {qty} AAPL of alpha" for qty in (40, 40, 20)]
    money = limits(symbols_default=SymbolLimits(order_qty_max=Decimal(1_000), order_notional_max=Decimal(5_000)))
    assert flatten(held("AAPL", 100), bounds=money) == [f"SELL {qty} AAPL of alpha" for qty in (45, 45, 10)]


@pytest.mark.parametrize(
    "own,parts",
    [
        (SymbolLimits(), (100,)),
        (SymbolLimits(order_qty_max=Decimal(60)), (60, 40)),
        (SymbolLimits(order_notional_max=Decimal(5_000)), (45, 45, 10)),
    ],
)
def test_a_flatten_is_cut_by_the_limits_that_are_set(own: SymbolLimits, parts: tuple[int, ...]) -> None:
    expected = [f"SELL {qty} AAPL of alpha" for qty in parts]
    assert flatten(held("AAPL", 100), bounds=limits(symbols_default=own)) == expected


def test_a_flatten_is_cut_by_what_its_venue_takes_and_not_by_what_its_strategy_may() -> None:
    own, at = StrategyLimits(order_notional_max=Decimal(1_000)), VenueLimits(order_notional_max=Decimal(5_000))
    bounds = limits(strategies={"alpha": own}, venues={"paper": at})
    assert flatten(held("AAPL", 100), bounds=bounds) == [f"SELL {qty} AAPL of alpha" for qty in (45, 45, 10)]


def test_where_not_even_a_lot_may_be_one_order_the_gate_is_asked_and_says_why() -> None:
    bounds = limits(symbols_default=SymbolLimits(order_qty_max=Decimal(100), order_notional_max=Decimal(105)))
    assert flatten(held("AAPL", 3), bounds=bounds) == ["SELL 1 AAPL of alpha"] * 3


@pytest.mark.parametrize(
    "largest, qty, parts",
    [
        (1_000, 1_003, (997, 6)),  # three would be worth 300, and its venue takes no less than 500
        (1_000, 1_006, (1_000, 6)),
        (1_000, 2_001, (1_000, 995, 6)),
        (10, 12, (6, 6)),
        (7, 9, (7, 2)),  # there is not enough for two: the gate says so of the last
        (1_000, 3, (3,)),
    ],
)
def test_the_last_part_of_a_flatten_is_enough_for_its_venue(largest: int, qty: int, parts: tuple[int, ...]) -> None:
    bounds = limits(symbols_default=SymbolLimits(order_qty_max=Decimal(largest)))
    assert flatten(held("LEAST", qty), bounds=bounds) == [f"SELL {part} LEAST of alpha" for part in parts]


def test_the_parts_of_a_flatten_have_ids_of_their_own() -> None:
    request = FlattenRequested(ts=NOW, request_id="flatten-1", by="ann")
    bounds = limits(symbols_default=SymbolLimits(order_qty_max=Decimal(10), order_notional_max=Decimal(1_000_000)))
    exposure = book(of("a", held("SHRT", 55)), of("b", held("SHRT", 55)))
    parts = [each for each in sizer(exposure, bounds).on_flatten(request) if isinstance(each, ParentOrder)]
    assert len({each.parent_id for each in parts}) == len(parts) == 12
