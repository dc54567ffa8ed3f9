"""The same parents under several algorithms: what each of them costs, and how far it is from the first.

What the market did to a parent is in its cost under every algorithm, and falls out of the difference of two of them.
With d_i the differences of n parents over G days, and m their mean,

    variance = G / (G - 1)  sum over days (sum over a day's parents (d_i - m))^2 / n^2
    interval = m +- t(G - 1) sqrt(variance)

Parents of one day share its market: a day counts as one observation, however many parents it has (Liang and Zeger
1986). One day tells nothing about other days, and gives no interval. The same holds for the mean of a cost.

Costs are floats in bps, positive when they hurt. Sums are rounded once: no order of parents changes a digit.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from statistics import median

import msgspec

from core.events import EndReason

LEVEL = 95  # percent of intervals that hold the true mean
_TAIL = 0.025  # below it

MEASURES: dict[str, str] = {
    "arrival": "average price against the arrival mid",
    "vwap": "average price against the market's VWAP of the parent's own life",
    "shortfall": "the whole order against the decision, what was not done and fees included",
    "spread": "average price against the mid at each fill",
    "fees": "paid to venues",
}

Quantile = Callable[[float, float], float]
"""Of Student's t: from degrees of freedom and a probability below 0.5."""


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """One parent's costs by measure, bps; all but the shortfall are None without executions, `vwap` without prints."""

    arrival: float | None
    vwap: float | None
    shortfall: float
    spread: float | None
    fees: float | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one parent. `parent` names it under every algorithm alike, `day` is when it began (YYYY-MM-DD)."""

    parent: str
    day: str
    order_qty: Decimal
    cum_qty: Decimal
    reason: EndReason
    costs: Costs


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over parents and its interval, which is None where they are all of one day."""

    parents: int
    days: int
    mean: float
    median: float
    low: float | None
    high: float | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One algorithm. `filled` is the mean part that was done, of the parents that ended.

    `missing` are parents that ended under another algorithm and not under this one, `unfilled` those without any
    execution, `resized` those of another quantity than under the first algorithm.
    """

    algo: str
    parents: int
    completed: int
    filled: float
    ends: dict[EndReason, int]
    costs: dict[str, Mean]  # by measure; none where no parent has it
    missing: tuple[str, ...]
    unfilled: tuple[str, ...]
    resized: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """An algorithm's cost less the first one's, over the parents that have both. `unpaired` have one or none."""

    algo: str
    measure: str
    mean: Mean | None  # None: there is no pair
    unpaired: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All algorithms in the order in which they were given; differences are to the first."""

    parents: int  # that ended under any of them
    days: int
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]


_ByParent = Mapping[str, Outcome]


def compare(ran: Mapping[str, Sequence[Outcome]], quantile: Quantile) -> Comparison:
    """What the algorithms make of the same parents; ValueError without any, or where one has a parent twice."""
    if not ran:
        raise ValueError("there is no algorithm to compare")
    found = {algo: _by_parent(algo, outcomes) for algo, outcomes in ran.items()}
    parents = sorted({parent for outcomes in found.values() for parent in outcomes})
    first, *others = found
    return Comparison(
        parents=len(parents),
        days=len({outcome.day for outcomes in found.values() for outcome in outcomes.values()}),
        rows=tuple(_row(algo, outcomes, found[first], parents, quantile) for algo, outcomes in found.items()),
        differences=tuple(
            _difference(algo, measure, (found[algo], found[first]), len(parents), quantile)
            for algo in others
            for measure in MEASURES
        ),
    )


def mean_of(values: Sequence[tuple[str, float]], quantile: Quantile) -> Mean | None:
    """The mean of (day, value) and its interval, clustered by day; None of nothing."""
    if not values:
        return None
    count = len(values)
    mean = math.fsum(value for _, value in values) / count
    by_day: defaultdict[str, list[float]] = defaultdict(list)
    for day, value in values:
        by_day[day].append(value - mean)
    days = len(by_day)
    reach = None
    if days > 1:
        squares = math.fsum(math.fsum(rests) ** 2 for rests in by_day.values())
        reach = -quantile(days - 1, _TAIL) * math.sqrt(days / (days - 1) * squares) / count
    return Mean(
        parents=count,
        days=days,
        mean=mean,
        median=median(value for _, value in values),
        low=None if reach is None else mean - reach,
        high=None if reach is None else mean + reach,
    )


def _by_parent(algo: str, outcomes: Sequence[Outcome]) -> _ByParent:
    found = {outcome.parent: outcome for outcome in outcomes}
    if len(found) < len(outcomes):
        twice, _ = Counter(outcome.parent for outcome in outcomes).most_common(1)[0]
        raise ValueError(f"{twice} is there twice under {algo}: parents are told apart by their names")
    return found


def _row(algo: str, outcomes: _ByParent, first: _ByParent, parents: Sequence[str], quantile: Quantile) -> Row:
    ended = [outcomes[parent] for parent in parents if parent in outcomes]
    costs = {measure: mean_of(_values(ended, measure), quantile) for measure in MEASURES}
    return Row(
        algo=algo,
        parents=len(ended),
        completed=sum(outcome.cum_qty == outcome.order_qty for outcome in ended),
        filled=math.fsum(outcome.cum_qty / outcome.order_qty for outcome in ended) / len(ended) if ended else 0.0,
        ends=dict(Counter(outcome.reason for outcome in ended).most_common()),
        costs={measure: mean for measure, mean in costs.items() if mean is not None},
        missing=tuple(parent for parent in parents if parent not in outcomes),
        unfilled=tuple(outcome.parent for outcome in ended if not outcome.cum_qty),
        resized=tuple(
            outcome.parent
            for outcome in ended
            if outcome.parent in first and outcome.order_qty != first[outcome.parent].order_qty
        ),
    )


def _values(outcomes: Sequence[Outcome], measure: str) -> list[tuple[str, float]]:
    costs = [(outcome.day, _cost(outcome, measure)) for outcome in outcomes]
    return [(day, cost) for day, cost in costs if cost is not None]


def _difference(
    algo: str, measure: str, both: tuple[_ByParent, _ByParent], parents: int, quantile: Quantile
) -> Difference:
    ours, first = both
    pairs = []
    for parent, outcome in ours.items():
        cost, other = _cost(outcome, measure), _cost(first.get(parent), measure)
        if cost is not None and other is not None:
            pairs.append((outcome.day, cost - other))
    return Difference(algo=algo, measure=measure, mean=mean_of(pairs, quantile), unpaired=parents - len(pairs))


def _cost(outcome: Outcome | None, measure: str) -> float | None:
    found: float | None = None if outcome is None else getattr(outcome.costs, measure)
    return found
