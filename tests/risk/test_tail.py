"""The expected shortfall that the gate asks for, against one that is made of everything each time."""

import datetime as dt
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import RegimeSet, RiskModelSet
from core.returns import Returns
from core.units import NS_PER_S
from risk import tail as tail_module
from risk.regime import Regime
from risk.shortfall import RESUM_EVERY, Matrix, expected_shortfall
from risk.tail import NOTHING, Kind, Prepared, Reserved, Stake, TailRisk, clusters, prepare
from tests.returns import LAST, history

SYMBOLS = ("A", "B", "C", "D")
NOON = int(dt.datetime(LAST.year, LAST.month, LAST.day, 12, tzinfo=dt.UTC).timestamp()) * NS_PER_S
DAY = 86_400 * NS_PER_S


def prepared(returns: Returns | None = None) -> Prepared:
    return prepare(returns or history(), window=250, decay=0.97, sectors={})


def named(made: Prepared, recent: tuple[Regime, ...] = (Regime.NORMAL,)) -> RiskModelSet:
    """The event that sets a model."""
    model = made.model
    symbols, scenarios = model.plain.shape
    return RiskModelSet(
        ts=NOON,
        version=model.version,
        date=model.date.isoformat(),
        symbols=symbols,
        scenarios=scenarios,
        recent=tuple(regime.name for regime in recent),
    )


def ready(made: Prepared | None = None, recent: tuple[Regime, ...] = (Regime.NORMAL,)) -> TailRisk:
    """With a model."""
    made, tail = made or prepared(), TailRisk()
    tail.offer(made)
    tail.take(named(made, recent))
    return tail


MONEY = st.floats(-1e6, 1e6)
SIZE = st.floats(0, 1e6)
STAKES = st.builds(Stake, held=MONEY, buys=SIZE, sales=SIZE, committed_buys=SIZE, committed_sales=SIZE) | st.just(
    NOTHING
)


def slow(scenarios: Matrix, stakes: dict[str, Stake], symbol: str, size: float, *, of_parents: bool) -> float:
    """The measure from nothing: one portfolio, and for each other symbol the worse of two positions."""
    weights = np.array([stakes.get(name, NOTHING).held for name in SYMBOLS])
    weights[SYMBOLS.index(symbol)] += size
    total = expected_shortfall(weights @ scenarios)
    for name, stake in stakes.items():
        if name == symbol:
            continue
        row = scenarios[SYMBOLS.index(name)]
        buys, sales = (stake.committed_buys, stake.committed_sales) if of_parents else (stake.buys, stake.sales)
        total += max(expected_shortfall(buys * row), expected_shortfall(-sales * row), 0.0)
    return total


@given(st.lists(st.tuples(st.sampled_from(SYMBOLS), STAKES, MONEY, st.booleans()), min_size=1, max_size=30))
def test_the_measure_is_that_of_a_recomputation_and_the_bound_is_never_below_it(
    steps: list[tuple[str, Stake, float, bool]],
) -> None:
    tail, stakes = ready(), {}
    for number, (symbol, stake, size, of_parents) in enumerate(steps):
        tail.put(symbol, stake)
        stakes[symbol] = stake
        for view, _ in tail.views(NOON):
            scenarios = getattr(tail.model, view.kind)
            scale = 1e6 * (1 + len(stakes))
            asked = SYMBOLS[number % len(SYMBOLS)]
            bound = view.bound(tail.row(asked), size, of_parents=of_parents)
            expected = slow(scenarios, stakes, asked, size, of_parents=of_parents)
            assert bound >= expected - 1e-9 * scale
            if number % 3 == 0:  # otherwise what moved goes on waiting beside the sum
                assert view.measure(tail.row(asked), size, of_parents=of_parents) == pytest.approx(
                    expected, abs=1e-9 * scale
                )


def test_the_bound_holds_for_moves_so_small_that_the_tail_is_not_found_anew() -> None:
    tail = ready()
    for step in range(20):
        tail.put("A", Stake(held=1e6 * (1 + step / 2_000)))
        for view, _ in tail.views(NOON):
            exact = view.measure(1, 0.0, of_parents=False)
            assert (1 - 1e-12) * exact <= view.bound(1, 0.0, of_parents=False) <= 1.02 * exact


def reached(stake: Stake, order: float) -> list[tuple[float, float]]:
    """What a symbol's orders may become: (of its buys, of its sales), none, half or all of each."""
    buys = stake.buys + max(order, 0.0)
    sales = stake.sales + max(-order, 0.0)
    return list(product((0.0, buys / 2, buys), (0.0, sales / 2, sales)))


@given(st.lists(STAKES, min_size=3, max_size=3), MONEY)
def test_no_order_of_fills_takes_the_portfolio_above_the_larger_of_both_ends(stakes: list[Stake], order: float) -> None:
    """The promise of the measure: whatever executes, ES is at most what it was for the order, or for the other end."""
    tail = ready()
    for symbol, stake in zip(SYMBOLS, stakes, strict=False):
        tail.put(symbol, stake)
    own = stakes[0]
    here, there = (own.buys + order, -own.sales) if order >= 0 else (-own.sales + order, own.buys)
    for view, _ in tail.views(NOON):
        scenarios = getattr(tail.model, view.kind)
        most = max(view.measure(0, size, of_parents=False) for size in (here, there))
        for fills in product(reached(own, order), *(reached(stake, 0.0) for stake in stakes[1:])):
            held = [stake.held + buy - sale for stake, (buy, sale) in zip(stakes, fills, strict=True)]
            assert expected_shortfall(np.array([*held, 0.0]) @ scenarios) <= most + 1e-3


@given(MONEY, st.floats(1e3, 1e6), st.floats(0.01, 0.99))
def test_the_largest_size_is_where_the_measure_comes_down_to_what_is_allowed(
    held: float, size: float, part: float
) -> None:
    tail = ready()
    tail.put("A", Stake(held=held))
    for view, _ in tail.views(NOON):
        low, high = (view.measure(1, each, of_parents=False) for each in (0.0, size))
        if high <= low:
            continue
        allowed = low + part * (high - low)
        most = view.most(1, size, allowed, of_parents=False)
        assert most is not None
        assert 0.0 <= most <= size
        assert view.measure(1, most, of_parents=False) == pytest.approx(allowed, rel=1e-9)


@given(MONEY, st.floats(1e3, 1e6), st.sampled_from([1, -1]), st.floats(0.01, 1.5))
def test_no_size_is_found_only_where_none_between_nothing_and_the_order_is_allowed(
    held: float, size: float, sign: int, part: float
) -> None:
    tail = ready()
    tail.put("A", Stake(held=held))
    tail.put("C", Stake(buys=1e5))  # counts in full: what hedges need not be allowed either
    for view, _ in tail.views(NOON):
        sizes = [sign * size * step / 50 for step in range(51)]
        values = [view.measure(1, each, of_parents=False) for each in sizes]
        allowed = part * max(values[0], values[-1])
        if values[-1] <= allowed:
            continue
        most = view.most(1, sizes[-1], allowed, of_parents=False)
        if most is None or most * sign < 0:
            assert min(values) > allowed
        else:
            assert view.measure(1, most, of_parents=False) <= allowed * (1 + 1e-9)


def test_a_new_model_judges_what_is_held_already() -> None:
    tail = ready()
    tail.put("A", Stake(held=1e5, buys=2e4))
    other = prepared(history(seed=2))
    tail.offer(other)
    tail.take(named(other))
    for view, _ in tail.views(NOON):
        expected = slow(getattr(other.model, view.kind), {"A": Stake(held=1e5, buys=2e4)}, "B", 5e4, of_parents=False)
        assert view.measure(tail.row("B"), 5e4, of_parents=False) == pytest.approx(expected, rel=1e-12)


def test_components_add_up_to_what_is_held() -> None:
    tail = ready()
    for symbol, held in zip(SYMBOLS, (1e5, -5e4, 2e4, 0.0), strict=True):
        tail.put(symbol, Stake(held=held))
    for view, _ in tail.views(NOON):
        assert sum(view.components()) == pytest.approx(view.held, rel=1e-12)


# What cannot be judged ------------------------------------------------------------------------------------------------


def test_without_a_model_nothing_can_be_judged() -> None:
    assert TailRisk().absent("A") == "there is no risk model: see `execd risk show`"


def test_a_symbol_without_scenarios_is_named_whether_it_is_asked_for_or_at_stake() -> None:
    tail = ready()
    assert tail.absent("A") == ""
    assert tail.absent("Z") == "Z has no scenarios: add its daily returns"
    tail.put("Z", Stake(buys=1.0))
    assert tail.absent("A") == "Z is at stake and has no scenarios: add its daily returns"
    tail.put("Z", NOTHING)
    assert tail.absent("A") == ""


def test_a_model_without_a_symbol_that_is_held_says_so() -> None:
    tail = ready()
    tail.put("A", Stake(held=1.0))
    other = prepared(history(symbols=("B", "C")))
    tail.offer(other)
    tail.take(named(other))
    assert tail.absent("B") == "A is at stake and has no scenarios: add its daily returns"


def test_a_recovered_event_tells_the_regime_and_no_model() -> None:
    tail = TailRisk()
    tail.take(named(prepared(), (Regime.CRISIS, Regime.NORMAL)))
    assert tail.model is None
    assert tail.regime_at(NOON) is Regime.CRISIS


def test_a_model_that_was_offered_under_another_name_is_not_taken() -> None:
    tail = TailRisk()
    tail.offer(prepared(history(seed=2)))
    tail.take(named(prepared()))
    assert tail.model is None


# Clusters -------------------------------------------------------------------------------------------------------------


def test_what_moves_together_or_against_each_other_is_of_one_cluster() -> None:
    returns = history(symbols=("A", "B", "C", "D"))
    a, b = returns.values[:, 0], returns.values[:, 1]
    values = np.column_stack([a, 0.5 * a + 0.1 * b, -2 * a + 0.1 * b, b])
    tail = ready(prepared(Returns(returns.dates, returns.symbols, values)))
    assert {symbol: dict(tail.cluster(symbol)) for symbol in SYMBOLS} == {
        "A": {"B": 1, "C": -1},
        "B": {"A": 1, "C": -1},
        "C": {"A": -1, "B": -1},
        "D": {},
    }
    assert tail.cluster("Z") == {}


def test_a_cluster_begins_above_its_bound() -> None:
    model = prepared().model
    bound = float(model.correlation[0, 1])
    assert "B" not in dict(clusters(model, abs(bound))["A"])
    assert "B" in dict(clusters(model, abs(bound) - 1e-9)["A"])


# The regime -----------------------------------------------------------------------------------------------------------


def test_the_regime_scales_the_limit_on_plain_scenarios_alone() -> None:
    tail = ready(recent=(Regime.VOLATILE,))
    assert {view.kind: part for view, part in tail.views(NOON)} == {Kind.FILTERED: 1.0, Kind.PLAIN: 0.8}


def test_a_model_that_grows_old_makes_the_regime_worse_at_midnight() -> None:
    tail = ready()
    assert [tail.multiplier(NOON + days * DAY) for days in (0, 5, 6, 10, 11, 0)] == [1.0, 1.0, 0.8, 0.8, 0.6, 1.0]


def test_a_person_overrides_the_regime_and_a_new_model_leaves_it_so() -> None:
    tail = ready()
    assert tail.multiplier(NOON) == 1.0
    tail.override(RegimeSet(ts=NOON, regime="CRISIS", by="ann"))
    assert tail.multiplier(NOON) == 0.6
    made = prepared()
    tail.offer(made)
    tail.take(named(made))
    assert tail.multiplier(NOON) == 0.6
    tail.override(RegimeSet(ts=NOON, regime="", by="ann"))
    assert tail.multiplier(NOON) == 1.0


def test_the_regime_outlives_a_snapshot() -> None:
    tail, other = ready(recent=(Regime.VOLATILE, Regime.NORMAL)), TailRisk()
    tail.override(RegimeSet(ts=NOON, regime="CRISIS", by="ann"))
    other.load(tail.dump())
    assert other.regime == tail.regime


# Sums -----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1e9)), max_size=50))
def test_a_running_sum_is_that_of_its_parts(changes: list[tuple[int, float]]) -> None:
    reserved, parts = Reserved(), {}
    for row, worst in changes:
        reserved.put(row, worst)
        parts[row] = worst
        assert reserved.without(row) == pytest.approx(sum(parts.values()) - worst, rel=1e-9, abs=1e-5)


def test_a_running_sum_is_made_anew_and_ends_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "RESUM_EVERY", 10)
    reserved = Reserved()
    for number in range(10):
        reserved.put(0, 1e17 if number % 2 == 0 else 0.1)
        reserved.put(1, 0.1)
    assert reserved.without(0) == 0.1
    reserved.put(0, 0.0)
    reserved.put(1, 0.0)
    assert reserved.without(5) == 0.0
    assert RESUM_EVERY == 1_000
