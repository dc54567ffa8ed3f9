"""Optimal schedules: the numbers that their papers print, and what no schedule may beat."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.optimal import LinearImpact, PowerImpact, remaining, resilient, times_of

# Almgren and Chriss 2000: a million shares at 50, five days, 30 % volatility a year
SHARES, DAYS, INTERVALS = 1e6, 5.0, 5
PAPER = LinearImpact(volatility=0.3 / math.sqrt(250) * 50, temporary=2.5e-6, permanent=2.5e-7, fixed=0.0625)
ROUNDED = msgspec.structs.replace(PAPER, volatility=0.95)  # as its frontier has it


def holdings(kappa: float, intervals: int = INTERVALS) -> np.ndarray:
    return SHARES * remaining(kappa, DAYS, np.linspace(0.0, DAYS, intervals + 1))


def test_almgren_chriss_prints_the_example_of_its_paper() -> None:
    kappa = PAPER.kappa(1e-6, 1.0)
    assert kappa == pytest.approx(0.6063, abs=5e-5)
    assert 1 / kappa == pytest.approx(1.6495, abs=5e-5)
    held = holdings(kappa)
    assert held == pytest.approx([1_000_000, 542_380.7, 290_295.1, 148_216.1, 62_303.2, 0], abs=0.06)
    assert PAPER.expected_cost(held, 1.0) == pytest.approx(910_477.8, abs=0.06)
    assert PAPER.variance(held, 1.0) == pytest.approx(363_868.0e6, abs=0.06e6)


def test_permanent_and_temporary_cost_of_the_example() -> None:
    held = holdings(PAPER.kappa(1e-6, 1.0))
    of_temporary = msgspec.structs.replace(PAPER, permanent=0.0)
    whole = PAPER.expected_cost(held, 1.0)
    assert whole - of_temporary.expected_cost(held, 1.0) == pytest.approx(86_948.5, abs=0.06)
    assert of_temporary.expected_cost(held, 1.0) == pytest.approx(823_529.3, abs=0.06)


@pytest.mark.parametrize(
    "risk_aversion, cost, variance, theta",
    [
        (0.25e-6, 0.6996, 0.7513, 3.26),
        (1e-6, 0.9112, 0.3641, 1.65),
        (2e-6, 1.1407, 0.2019, 1.18),
        (4e-6, 1.4341, 0.0970, 0.86),
    ],
)
def test_the_frontier(risk_aversion: float, cost: float, variance: float, theta: float) -> None:
    kappa = ROUNDED.kappa(risk_aversion, 1.0)
    held = holdings(kappa)
    assert ROUNDED.expected_cost(held, 1.0) / 1e6 == pytest.approx(cost, rel=2e-3)
    assert ROUNDED.variance(held, 1.0) / 1e12 == pytest.approx(variance, rel=2e-3)
    assert 1 / kappa == pytest.approx(theta, abs=0.005)


def test_without_risk_aversion_it_is_the_straight_line() -> None:
    assert ROUNDED.kappa(0.0, 1.0) == 0.0
    held = holdings(0.0)
    assert held == pytest.approx(SHARES * np.array([1, 0.8, 0.6, 0.4, 0.2, 0]))
    assert ROUNDED.expected_cost(held, 1.0) / 1e6 == pytest.approx(0.6625, abs=5e-5)
    assert ROUNDED.variance(held, 1.0) / 1e12 == pytest.approx(1.083, abs=5e-4)


KAPPAS = st.floats(0.0, 1e6) | st.floats(0.0, 1e-6)


@given(kappa=KAPPAS, horizon=st.floats(1e-3, 1e3), count=st.integers(1, 50))
def test_what_remains_falls_from_one_to_zero(kappa: float, horizon: float, count: int) -> None:
    left = remaining(kappa, horizon, np.linspace(0.0, horizon, count + 1))
    assert left[0] == pytest.approx(1.0)
    assert left[-1] == 0.0
    assert np.isfinite(left).all()
    assert (np.diff(left) <= 1e-12).all()


@given(kappa=KAPPAS, horizon=st.floats(1e-3, 1e3), count=st.integers(1, 50))
def test_less_is_left_later_and_nothing_at_the_end(kappa: float, horizon: float, count: int) -> None:
    times = times_of(kappa, horizon, 1.0 - np.arange(count) / count)
    assert times[0] == pytest.approx(0.0, abs=1e-6 * horizon)
    assert np.isfinite(times).all()
    assert (np.diff(times) >= 0.0).all()
    assert times[-1] <= horizon


@pytest.mark.parametrize("kappa", [0.0, 1e-9, 1e-6, 0.3, 5.0, 300.0])
def test_what_is_left_at_the_time_when_so_much_is_left(kappa: float) -> None:
    parts = np.linspace(1.0, 0.05, 20)
    assert remaining(kappa, 2.0, times_of(kappa, 2.0, parts)) == pytest.approx(parts, abs=1e-6)


@given(kappa=st.floats(0.0, 20.0), at=st.floats(0.05, 0.95))
def test_solving_again_for_what_is_left_changes_nothing(kappa: float, at: float) -> None:
    later = np.linspace(at, 1.0, 20)
    whole = remaining(kappa, 1.0, later)
    again = whole[0] * remaining(kappa, 1.0 - at, later - at)
    assert again == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("kappa", [1e-9, 0.3, 5.0, 300.0])
def test_against_the_sinh_of_the_formula(kappa: float) -> None:
    times = np.linspace(0.0, 2.0, 9)
    slow = [math.sinh(kappa * (2.0 - t)) / math.sinh(kappa * 2.0) for t in times.tolist()]
    assert remaining(kappa, 2.0, times) == pytest.approx(slow, rel=1e-9, abs=1e-300)


@given(seed=st.integers(0, 2**32), risk_aversion=st.floats(1e-8, 1e-4))
def test_no_other_schedule_has_a_better_objective(seed: int, risk_aversion: float) -> None:
    best = holdings(PAPER.kappa(risk_aversion, 0.25), 20)
    other = best.copy()
    other[1:-1] += np.random.Generator(np.random.PCG64(seed)).normal(0.0, 1e4, 19)

    def objective(held: np.ndarray) -> float:
        fixed = PAPER.fixed * float(np.abs(np.diff(held)).sum())  # the paper's optimum leaves it out: no share turns
        return PAPER.expected_cost(held, 0.25) - fixed + risk_aversion * PAPER.variance(held, 0.25)

    assert objective(best) <= objective(other) * (1 + 1e-12)


def test_permanent_impact_may_not_outweigh_temporary() -> None:
    with pytest.raises(ValueError, match="no more than permanent"):
        LinearImpact(volatility=1.0, temporary=1.0, permanent=2.0).kappa(1.0, 1.0)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_what_is_no_impact_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="belongs here"):
        LinearImpact(volatility=1.0, temporary=value)
    with pytest.raises(ValueError, match="belongs here"):
        PowerImpact(volatility=1.0, temporary=value, exponent=1.0)
    with pytest.raises(ValueError, match="belong here"):
        resilient(value, 0.1, 5)


# Almgren 2003: 100,000 shares, volatility 1, temporary impact of 0.5 at a rate of 100,000 a day


def power(exponent: float) -> PowerImpact:
    return PowerImpact(volatility=1.0, temporary=0.5 / 1e5**exponent, exponent=exponent)


@pytest.mark.parametrize(
    "inverse, time, cost, deviation",
    [(1e3, 0.07, 354, 19), (1e4, 0.22, 112, 33), (1e5, 0.71, 35, 59), (1e6, 2.24, 11, 106), (1e7, 7.07, 4, 188)],
)
def test_power_law_prints_the_table_of_its_paper(inverse: float, time: float, cost: float, deviation: float) -> None:
    linear = power(1.0)
    characteristic = linear.characteristic_time(1e5, 1 / inverse)
    assert characteristic == pytest.approx(time, abs=0.005)
    assert linear.expected_cost(1e5, characteristic) / 1e3 == pytest.approx(cost, abs=0.5)
    assert math.sqrt(linear.variance(1e5, characteristic)) / 1e3 == pytest.approx(deviation, abs=0.5)
    assert linear.remaining(characteristic, characteristic) == pytest.approx(math.exp(-1))


def test_square_root_impact_of_the_paper() -> None:
    root = power(0.5)
    characteristic = root.characteristic_time(1e5, 1 / 2e5)
    assert characteristic == pytest.approx(0.6, abs=0.05)
    assert root.expected_cost(1e5, characteristic) / 1e3 == pytest.approx(38, abs=0.5)
    assert math.sqrt(root.variance(1e5, characteristic)) / 1e3 == pytest.approx(61, abs=0.5)
    assert root.remaining(0.5, characteristic) == pytest.approx(0.4945, abs=5e-5)


def test_steep_impact_ends_in_a_finite_time() -> None:
    steep = power(2.0)  # ends at (k + 1) / (k - 1) characteristic times
    assert steep.remaining(2.9, 1.0) > 0.0
    assert steep.remaining(3.0, 1.0) == steep.remaining(9.0, 1.0) == 0.0


# Obizhaeva and Wang 2013


@pytest.mark.parametrize(
    "resilience, block, between",
    [
        (1, 33_333, 33_333),
        (2, 25_000, 50_000),
        (5, 14_285.7, 71_428.6),
        (10, 8_333.3, 83_333.3),
        (20, 4_545.5, 90_909.1),
    ],
)
def test_often_enough_it_is_the_table_of_obizhaeva_and_wang(resilience: float, block: float, between: float) -> None:
    trades = 200_001
    parts = 1e5 * resilient(resilience, 1 / (trades - 1), trades)
    assert parts[0] == parts[-1] == pytest.approx(block, rel=1e-4)
    assert parts[1:-1].sum() == pytest.approx(between, rel=1e-4)


def test_ten_intervals() -> None:
    parts = 1e5 * resilient(2.0, 0.1, 11)
    assert parts == pytest.approx([27_537.41, *[4_991.69] * 9, 27_537.41], abs=0.005)


@pytest.mark.parametrize("trades", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("resilience", [0.1, 2.0, 50.0])
def test_against_solving_for_the_least_cost(resilience: float, trades: int) -> None:
    times = 0.1 * np.arange(trades)
    decay = np.exp(-resilience * np.abs(times[:, None] - times))
    solved = np.linalg.solve(decay, np.ones(trades))
    assert resilient(resilience, 0.1, trades) == pytest.approx(solved / solved.sum(), abs=1e-10)
