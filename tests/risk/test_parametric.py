"""Distributions against the printed tables, and against their own definitions."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from risk.parametric import compare, cornish_fisher, gaussian, student_t, t_probability, t_quantile
from risk.shortfall import ScenarioError, expected_shortfall


def test_the_multiples_of_the_normal() -> None:
    assert gaussian(0, 1).expected_shortfall == pytest.approx(2.337802792, abs=1e-9)
    assert gaussian(0, 1).value_at_risk == pytest.approx(1.959964, abs=1e-6)
    assert gaussian(0, 1, 0.01).value_at_risk == pytest.approx(2.326348, abs=1e-6)
    assert gaussian(0.001, 0.02).expected_shortfall == pytest.approx(0.02 * 2.337802792 - 0.001)


@pytest.mark.parametrize(
    "nu,own,unit",
    [
        (3, 5.0396, 2.9096),
        (4, 3.9936, 2.8239),
        (5, 3.5216, 2.7278),
        (6, 3.2562, 2.6586),
        (10, 2.8190, 2.5214),
        (30, 2.4792, 2.3952),
    ],
)
def test_the_multiples_of_student_t(nu: int, own: float, unit: float) -> None:
    assert student_t(0, 1, nu).expected_shortfall == pytest.approx(unit, abs=6e-5)
    assert student_t(0, math.sqrt(nu / (nu - 2)), nu).expected_shortfall == pytest.approx(own, abs=6e-5)


@pytest.mark.parametrize(
    "alpha,normal,t4", [(0.025, (247.9, 295.7), (248.3, 357.2)), (0.01, (294.3, 337.1), (335.1, 466.9))]
)
def test_the_printed_portfolio(alpha: float, normal: tuple[float, float], t4: tuple[float, float]) -> None:
    """McNeil, Frey, Embrechts: a value of 10,000, 20 % a year over 250 days."""
    sd = 10_000 * 0.2 / math.sqrt(250)
    for loss, printed in ((gaussian(0, sd, alpha), normal), (student_t(0, sd, 4, alpha), t4)):
        assert (loss.value_at_risk, loss.expected_shortfall) == pytest.approx(printed, abs=0.06)


@pytest.mark.parametrize(
    "nu,q", [(1, -12.7062047), (2, -4.30265273), (4, -2.77644511), (5.5, -2.50185862), (30, -2.04227)]
)
def test_quantiles_of_student_t(nu: float, q: float) -> None:
    assert t_quantile(nu, 0.025) == pytest.approx(q, abs=1e-5)
    assert t_probability(nu, t_quantile(nu, 0.025)) == pytest.approx(0.025, abs=1e-13)


def test_student_t_becomes_the_normal() -> None:
    assert student_t(0, 1, 1e7).expected_shortfall == pytest.approx(2.3378028, abs=1e-5)
    assert student_t(0, 1, math.inf) == gaussian(0, 1)


def test_student_t_without_a_deviation_is_refused() -> None:
    with pytest.raises(ValueError, match="above 2 degrees of freedom"):
        student_t(0, 1, 2)


@pytest.mark.parametrize("skewness,kurtosis,printed", [(-0.5, 3, 3.44149), (-1, 5, 4.05140), (0, 0, 2.33780)])
def test_cornish_fisher(skewness: float, kurtosis: float, printed: float) -> None:
    assert cornish_fisher(0, 1, skewness=skewness, kurtosis=kurtosis) == pytest.approx(printed, abs=6e-6)


@pytest.mark.parametrize("skewness", [0.0, -0.3, 0.3, -1.0, -2.0, 2.4])
@pytest.mark.parametrize("kurtosis", [-0.5, 0.0, 0.5, 1.0, 3.0, 5.0, 7.9, 8.1, 20.0])
def test_cornish_fisher_stands_where_its_quantile_rises(skewness: float, kurtosis: float) -> None:
    z = np.linspace(-60, 60, 240_001)
    quantile = (
        z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * kurtosis / 24 - (2 * z**3 - 5 * z) * skewness**2 / 36
    )  # fmt: skip
    found = cornish_fisher(0, 1, skewness=skewness, kurtosis=kurtosis)
    assert (found is not None) == bool((np.diff(quantile) > 0).all())


def test_cornish_fisher_is_none_where_it_falls_everywhere() -> None:
    assert cornish_fisher(0, 1, skewness=20, kurtosis=500) is None


def test_cornish_fisher_is_the_integral_of_its_quantile() -> None:
    skewness, kurtosis, n = -0.6, 2.0, 200_000
    z = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])
    quantile = (
        z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * kurtosis / 24 - (2 * z**3 - 5 * z) * skewness**2 / 36
    )  # fmt: skip
    expected = expected_shortfall(0.001 + 0.02 * quantile)
    assert cornish_fisher(0.001, 0.02, skewness=skewness, kurtosis=kurtosis) == pytest.approx(expected, abs=1e-5)


def test_scenarios_are_compared_by_their_moments() -> None:
    rng = np.random.Generator(np.random.PCG64(2))
    found = compare(0.0005 + 0.01 * rng.standard_t(8, size=50_000))
    assert found.nu == pytest.approx(8, abs=1.5)
    assert found.student_t.expected_shortfall > found.gaussian.expected_shortfall
    assert found.cornish_fisher is not None
    assert compare(np.full(50, 0.01)).gaussian.expected_shortfall == pytest.approx(-0.01)
    assert compare(np.linspace(-1, 1, 100)).nu == math.inf
    with pytest.raises(ScenarioError, match="scenario 3"):
        compare(np.array([0.0, 0.1, 0.2, np.nan]))
