"""What simple distributions make of the same loss: for comparison with the scenarios, never for a decision.

A Gaussian has no fat tail, Student's t has one and no skew, Cornish and Fisher's expansion has both but stops to be a
distribution where they are large. All are positive when they hurt, in the unit of `mean` and `sd`.
"""

import math
from statistics import NormalDist

import msgspec
import numpy as np

from risk.shortfall import ALPHA, Vector, finite

_ANGLES, _ANGLE_WEIGHTS = np.polynomial.legendre.leggauss(64)


class Loss(msgspec.Struct, frozen=True):
    """VaR and ES of a distribution."""

    value_at_risk: float
    expected_shortfall: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Distributions with the moments of the same scenarios; `cornish_fisher` is None outside its domain."""

    gaussian: Loss
    student_t: Loss
    nu: float  # degrees of freedom; infinite without excess kurtosis
    cornish_fisher: float | None


def gaussian(mean: float, sd: float, alpha: float = ALPHA) -> Loss:
    """The normal distribution: ES = sd phi(z) / alpha - mean."""
    normal = NormalDist()
    z = normal.inv_cdf(alpha)
    return Loss(-z * sd - mean, normal.pdf(z) / alpha * sd - mean)


def student_t(mean: float, sd: float, nu: float, alpha: float = ALPHA) -> Loss:
    """Student's t with `nu` > 2 degrees of freedom and this standard deviation: f(q)/alpha (nu + q^2)/(nu - 1)."""
    if math.isinf(nu):
        return gaussian(mean, sd, alpha)
    if nu <= 2.0:  # noqa: PLR2004 - the bound of the formula
        raise ValueError(f"Student's t has a standard deviation only above 2 degrees of freedom, not at {nu}")
    q = t_quantile(nu, alpha)
    density = _t_constant(nu) / math.sqrt(nu) * (1.0 + q * q / nu) ** (-(nu + 1.0) / 2.0)
    scale = sd * math.sqrt((nu - 2.0) / nu)
    return Loss(-q * scale - mean, density / alpha * (nu + q * q) / (nu - 1.0) * scale - mean)


def cornish_fisher(
    mean: float, sd: float, *, skewness: float, kurtosis: float, alpha: float = ALPHA
) -> float | None:  # fmt: skip
    """ES under the Cornish-Fisher quantile, integrated; `kurtosis` is the excess. None where that is no quantile.

    sd phi(z)/alpha (1 + z S/6 + (z^2 - 1) K/24 - (2 z^2 - 1) S^2/36) - mean. The expansion is a quantile where it rises
    everywhere, which is where its derivative, a parabola in z, has no root (Maillard 2012).
    """
    curve = kurtosis / 8.0 - skewness**2 / 6.0
    slope = skewness / 3.0
    least = 1.0 - kurtosis / 8.0 + 5.0 * skewness**2 / 36.0
    if not (slope**2 < 4.0 * curve * least and least > 0.0) and not curve == slope == 0.0:
        return None
    normal = NormalDist()
    z = normal.inv_cdf(alpha)
    fat = (z * z - 1.0) * kurtosis / 24.0 - (2.0 * z * z - 1.0) * skewness**2 / 36.0
    return sd * normal.pdf(z) / alpha * (1.0 + z * skewness / 6.0 + fat) - mean


def compare(scenarios: Vector, alpha: float = ALPHA) -> Comparison:
    """Each distribution with the moments of the scenarios (S,): nu = 4 + 6/K by the excess kurtosis K, at least 3."""
    values = finite(scenarios)
    mean, sd = float(values.mean()), float(values.std())
    if sd == 0.0:
        flat = Loss(-mean, -mean)
        return Comparison(gaussian=flat, student_t=flat, nu=math.inf, cornish_fisher=-mean)
    z = (values - mean) / sd
    skewness, kurtosis = float((z**3).mean()), float((z**4).mean()) - 3.0
    nu = 4.0 + 6.0 / kurtosis if kurtosis > 0.0 else math.inf
    return Comparison(
        gaussian=gaussian(mean, sd, alpha),
        student_t=student_t(mean, sd, nu, alpha),
        nu=nu,
        cornish_fisher=cornish_fisher(mean, sd, skewness=skewness, kurtosis=kurtosis, alpha=alpha),
    )


def t_quantile(nu: float, probability: float) -> float:
    """The quantile of Student's t (unit scale) below the median, by bisection: to the last digits."""
    low, high = -1.0, 0.0
    while t_probability(nu, low) > probability:
        low *= 2.0
    while True:
        middle = (low + high) / 2.0
        if middle in {low, high}:
            return middle
        low, high = (middle, high) if t_probability(nu, middle) < probability else (low, middle)


def t_probability(nu: float, x: float) -> float:
    """P(T <= x) for x <= 0: with x = sqrt(nu) tan(a) a smooth integral of cos(a)^(nu - 1), by Gauss and Legendre."""
    end = math.atan(x / math.sqrt(nu))
    angles = end / 2.0 * (_ANGLES + 1.0)
    return 0.5 + _t_constant(nu) * end / 2.0 * float(_ANGLE_WEIGHTS @ np.cos(angles) ** (nu - 1.0))


def _t_constant(nu: float) -> float:
    """Gamma((nu + 1)/2) / (Gamma(nu/2) sqrt(pi)): the density at zero, times sqrt(nu)."""
    return math.exp(math.lgamma((nu + 1.0) / 2.0) - math.lgamma(nu / 2.0)) / math.sqrt(math.pi)
