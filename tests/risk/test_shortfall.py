"""ES by the definition in exact fractions, by the laws that make it coherent, and as fast as it is used."""

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from risk import shortfall
from risk.shortfall import (
    ALPHA,
    RESUM_EVERY,
    Matrix,
    PortfolioShortfall,
    ScenarioError,
    Vector,
    components,
    estimate,
    expected_shortfall,
    finite,
    marginals,
    tail_of,
    tail_weights,
    value_at_risk,
)

RETURN = st.floats(-0.5, 0.5, width=32)
SIZE = st.floats(-10, 10, width=32)


def scenarios(least: int = 40, most: int = 130) -> st.SearchStrategy[Vector]:
    return hnp.arrays(np.float64, st.integers(least, most), elements=RETURN)


def matrices(symbols: int = 4) -> st.SearchStrategy[Matrix]:
    return st.integers(40, 130).flatmap(lambda n: hnp.arrays(np.float64, (symbols, n), elements=RETURN))


def weights(symbols: int = 4) -> st.SearchStrategy[Vector]:
    return hnp.arrays(np.float64, symbols, elements=SIZE)


def exactly(values: list[float], alpha: Fraction) -> tuple[Fraction, Fraction]:
    """VaR and ES by the definition, slowly, without any rounding."""
    worst = sorted(map(Fraction, values))
    k = len(worst) * alpha
    whole = k.numerator // k.denominator
    loss = sum(worst[:whole], Fraction(0)) + (k - whole) * worst[whole]
    return -worst[math.ceil(k) - 1], -loss / k


def sample(n: int) -> Vector:
    """Quantiles of the standard normal distribution: a sample without its noise."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((i + 0.5) / n) for i in range(n)])


# The estimator --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n,whole,part", [(40, 1, 0.0), (250, 6, 0.25), (500, 12, 0.5), (520, 13, 0.0), (1_000, 25, 0.0), (1_001, 25, 0.025)]
)
def test_the_tail_holds_a_fraction_of_a_scenario(n: int, whole: int, part: float) -> None:
    tail = tail_of(n)
    assert tail.whole == whole
    assert tail.part == pytest.approx(part, abs=1e-12)
    assert tail.weights.sum() == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("alpha", ["0.025", "0.01", "0.05", "0.1", "0.5", "0.0333"])
@given(values=scenarios(100, 300))
def test_it_is_the_definition_in_exact_arithmetic(alpha: str, values: Vector) -> None:
    var, es = exactly(values.tolist(), Fraction(alpha))
    assert expected_shortfall(values, float(alpha)) == pytest.approx(float(es), rel=1e-12, abs=1e-15)
    assert value_at_risk(values, float(alpha)) == float(var)


@pytest.mark.parametrize("n", range(40, 1_041, 40))
def test_a_whole_tail_stays_whole_however_it_is_rounded(n: int) -> None:
    assert value_at_risk(np.arange(float(n))) == -(n // 40 - 1)
    for alpha in ("0.1", "0.05", "0.2"):
        whole = Fraction(alpha) * n
        assert value_at_risk(np.arange(float(n)), float(alpha)) == -(whole - 1)


def test_libraries_that_average_whole_observations_differ() -> None:
    values = np.zeros(60)
    values[0] = -0.3
    assert expected_shortfall(values) == pytest.approx(0.3 / 1.5)  # not 0.15, the mean of the two worst


@given(values=scenarios())
def test_the_estimate_is_one_with_its_parts(values: Vector) -> None:
    found = estimate(values)
    assert found.expected_shortfall == pytest.approx(expected_shortfall(values), abs=1e-15)
    assert found.value_at_risk == value_at_risk(values)
    assert found.low <= found.expected_shortfall <= found.high
    assert found.expected_shortfall >= found.value_at_risk - 1e-15


@pytest.mark.parametrize("n,sd", [(250, 0.2023), (500, 0.1431), (1_000, 0.1012)])
def test_the_standard_error_of_normal_days(n: int, sd: float) -> None:
    many = 100_000
    assert estimate(sample(many)).standard_error * math.sqrt(many / n) == pytest.approx(sd, abs=2e-4)


def test_the_interval_covers_what_it_says() -> None:
    rng = np.random.Generator(np.random.PCG64(7))
    true = NormalDist().pdf(NormalDist().inv_cdf(ALPHA)) / ALPHA
    found = [estimate(rng.normal(size=1_000)) for _ in range(500)]
    assert 0.91 <= np.mean([each.low <= true <= each.high for each in found]) <= 0.98


# Coherence ------------------------------------------------------------------------------------------------------------


@given(values=scenarios(), scale=st.floats(0, 100), shift=st.floats(-1, 1))
def test_it_scales_with_the_size_and_falls_by_what_is_certain(values: Vector, scale: float, shift: float) -> None:
    es = expected_shortfall(values)
    assert expected_shortfall(values * scale + shift) == pytest.approx(es * scale - shift, abs=1e-12)


@given(both=matrices(2))
def test_together_never_more_than_apart(both: Matrix) -> None:
    apart = expected_shortfall(both[0]) + expected_shortfall(both[1])
    assert expected_shortfall(both[0] + both[1]) <= apart + 1e-12


@given(values=scenarios(), more=st.floats(0, 1))
def test_a_worse_scenario_never_lowers_it(values: Vector, more: float) -> None:
    worse = values.copy()
    worse[len(values) // 2] -= more
    assert expected_shortfall(worse) >= expected_shortfall(values) - 1e-15


# Parts ----------------------------------------------------------------------------------------------------------------


@given(returns=matrices(), held=weights())
def test_components_add_up_to_the_total(returns: Matrix, held: Vector) -> None:
    parts = components(returns, held)
    scale = float(np.abs(parts).sum())
    assert math.fsum(parts) == pytest.approx(expected_shortfall(held @ returns), rel=1e-12, abs=1e-12 * scale + 1e-15)


@given(values=scenarios())
def test_weights_of_the_tail_give_the_total(values: Vector) -> None:
    counted = tail_weights(values)
    assert counted.sum() == pytest.approx(1.0, abs=1e-12)
    assert -float(counted @ values) == pytest.approx(expected_shortfall(values), rel=1e-12, abs=1e-15)


def test_marginals_are_the_slope() -> None:
    rng = np.random.Generator(np.random.PCG64(3))
    returns, held, step = rng.normal(size=(5, 333)), rng.normal(size=5), 1e-7
    for symbol, slope in enumerate(marginals(returns, held)):
        change = np.zeros(5)
        change[symbol] = step
        up, down = (expected_shortfall((held + sign * change) @ returns) for sign in (1, -1))
        assert (up - down) / (2 * step) == pytest.approx(slope, abs=1e-6)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_name(bad: float) -> None:
    matrix = np.zeros((2, 50))
    matrix[1, 7] = bad
    for work in (expected_shortfall, value_at_risk, tail_weights, estimate):
        with pytest.raises(ScenarioError, match=rf"^scenario 7 is {bad}"):
            work(matrix[1])
    with pytest.raises(ScenarioError, match=rf"^MSFT, scenario 7 is {bad}"):
        finite(matrix, ["AAPL", "MSFT"])
    with pytest.raises(ScenarioError, match=r"^row 1, scenario 7"):
        PortfolioShortfall(matrix)


def test_too_few_scenarios_are_refused_with_the_number_needed() -> None:
    with pytest.raises(ScenarioError, match=r"39 scenarios have no tail of 2\.5%: 40 are needed"):
        expected_shortfall(np.zeros(39))
    with pytest.raises(ScenarioError, match="40 are needed"):
        PortfolioShortfall(np.zeros((1, 39)))


@pytest.mark.parametrize("alpha", [0.0, -0.1, 0.6, 2.5, math.nan])
def test_a_tail_is_a_small_probability(alpha: float) -> None:
    with pytest.raises(ValueError, match="tail's probability"):
        expected_shortfall(np.zeros(100), alpha)


def test_an_order_or_a_position_without_a_size_is_refused() -> None:
    book = PortfolioShortfall(np.ones((2, 50)))
    for bad in (math.nan, math.inf):
        with pytest.raises(ScenarioError, match="no ES"):
            book.evaluate(0, bad)
        with pytest.raises(ScenarioError, match="cannot change by"):
            book.hold(0, bad)
        with pytest.raises(ScenarioError, match="row 1"):
            book.load(np.array([0.0, bad]))
    with pytest.raises(ValueError, match="2 symbols"):
        book.load(np.zeros(3))


# The running portfolio ------------------------------------------------------------------------------------------------


@given(returns=matrices(), held=weights(), symbol=st.integers(0, 3), size=SIZE)
def test_one_more_order_is_the_full_recomputation(returns: Matrix, held: Vector, symbol: int, size: float) -> None:
    book, after = PortfolioShortfall(returns, held), held.copy()
    after[symbol] += size
    assert book.evaluate(symbol, size) == pytest.approx(expected_shortfall(after @ returns), abs=1e-12)
    assert book.expected_shortfall == pytest.approx(expected_shortfall(held @ returns), abs=1e-12)
    book.hold(symbol, size)
    assert book.expected_shortfall == pytest.approx(expected_shortfall(after @ returns), abs=1e-12)
    assert book.weights.tolist() == after.tolist()


@given(returns=matrices(), held=weights(), symbol=st.integers(0, 3), size=SIZE)
def test_the_bracket_holds(returns: Matrix, held: Vector, symbol: int, size: float) -> None:
    book = PortfolioShortfall(returns, held)
    low, high = book.bracket(symbol, size)
    assert low - 1e-12 <= book.evaluate(symbol, size) <= high + 1e-12
    assert high - book.expected_shortfall == pytest.approx(expected_shortfall(size * returns[symbol]), abs=1e-12)


@given(seed=st.integers(0, 2**32), held=weights())
def test_marginals_agree_where_no_scenarios_tie(seed: int, held: Vector) -> None:
    returns = np.random.Generator(np.random.PCG64(seed)).normal(size=(4, 100))
    assume(np.diff(np.sort(held @ returns)).min() > 1e-9)
    book = PortfolioShortfall(returns, held)
    assert [book.marginal(i) for i in range(4)] == pytest.approx(marginals(returns, held).tolist(), abs=1e-12)


@given(
    returns=matrices(),
    moves=st.lists(st.tuples(st.integers(0, 3), SIZE, st.integers(0, 3), SIZE), max_size=12),
)
def test_a_book_that_moved_knows_its_tail(returns: Matrix, moves: list[tuple[int, float, int, float]]) -> None:
    """The tail is looked for below a bound that comes from an earlier tail."""
    book, held = PortfolioShortfall(returns), np.zeros(4)
    for symbol, size, other, more in moves:
        book.hold(symbol, size)
        held[symbol] += size
        after = held.copy()
        after[other] += more
        assert book.evaluate(other, more) == pytest.approx(expected_shortfall(after @ returns), abs=1e-11)
        if other % 2:
            assert book.expected_shortfall == pytest.approx(expected_shortfall(held @ returns), abs=1e-11)


def test_asking_changes_nothing() -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    returns = rng.normal(size=(3, 100))
    returns.flags.writeable = False
    book = PortfolioShortfall(returns, np.ones(3))
    before = book.expected_shortfall, book.bracket(1, 2.0), book.evaluate(1, 2.0)
    book.evaluate(2, -5.0)
    book.bracket(0, 9.0)
    assert (book.expected_shortfall, book.bracket(1, 2.0), book.evaluate(1, 2.0)) == before


def test_the_running_portfolio_is_summed_anew_before_it_drifts() -> None:
    rng = np.random.Generator(np.random.PCG64(9))
    returns = rng.normal(0, 0.02, size=(20, 500))
    book, held = PortfolioShortfall(returns), np.zeros(20)
    for number in range(3 * RESUM_EVERY + 17):
        symbol, size = int(rng.integers(20)), float(rng.normal(0, 1e6))
        book.hold(symbol, size)
        held[symbol] += size
        assert book._updates == (number + 1) % RESUM_EVERY
    assert book.expected_shortfall == pytest.approx(expected_shortfall(held @ returns), rel=1e-9)
    assert book.weights.tolist() == held.tolist()


def test_a_portfolio_that_is_off_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortfall, "RESUM_EVERY", 3)
    book = PortfolioShortfall(np.random.Generator(np.random.PCG64(1)).normal(size=(2, 50)))
    book.hold(0, 1.0)
    book._portfolio[4] += 1e-3
    book.hold(0, 1.0)
    with pytest.raises(AssertionError, match="off by"):
        book.hold(1, -1.0)
