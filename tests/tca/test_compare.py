"""Algorithms on the same parents: laws of the paired interval, and a second implementation that goes the long way."""

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import EndReason
from tca.compare import MEASURES, Comparison, Costs, Difference, Mean, Outcome, compare, mean_of

T = {1: -12.706204736, 2: -4.302652730, 3: -3.182446305, 4: -2.776445105}  # Student's t at 0.025, printed tables


def quantile(nu: float, probability: float) -> float:
    assert probability == 0.025
    return T[int(nu)]


def outcome(parent: str, day: str, cost: float | None, *, filled: str = "100", qty: str = "100") -> Outcome:
    """A parent that costs the same by every measure; without a cost it has no executions."""
    costs = Costs(arrival=cost, vwap=cost, shortfall=cost or 0.0, spread=cost, fees=cost)
    done = Decimal(0 if cost is None else filled)
    reason = EndReason.FILLED if done == Decimal(qty) else EndReason.WINDOW
    return Outcome(parent=parent, day=day, order_qty=Decimal(qty), cum_qty=done, reason=reason, costs=costs)


def difference(found: Comparison, measure: str = "arrival") -> Difference:
    (one,) = [each for each in found.differences if each.measure == measure]
    return one


def test_a_table_by_hand() -> None:
    """Daily sums of what is off the mean: 1, 1 and -2; variance 3/2 x 6 / 4^2, t of two degrees of freedom."""
    first = [outcome("a", "d1", 1.0), outcome("b", "d1", 1.0), outcome("c", "d2", 1.0), outcome("d", "d3", 1.0)]
    other = [outcome("a", "d1", 3.0), outcome("b", "d1", 6.0), outcome("c", "d2", 5.0), outcome("d", "d3", 2.0)]
    found = difference(compare({"TWAP": first, "POV": other}, quantile))
    reach = 4.302652730 * (1.5 * 6) ** 0.5 / 4
    assert found.unpaired == 0
    assert found.mean is not None
    assert (found.mean.parents, found.mean.days, found.mean.mean, found.mean.median) == (4, 3, 3.0, 3.0)
    assert found.mean.low == pytest.approx(3 - reach)
    assert found.mean.high == pytest.approx(3 + reach)


def test_one_day_has_no_interval() -> None:
    found = mean_of([("d1", 1.0), ("d1", 3.0)], quantile)
    assert found == Mean(parents=2, days=1, mean=2.0, median=2.0, low=None, high=None)
    assert mean_of([], quantile) is None


def test_what_is_missing_unfilled_or_of_another_size_is_named_and_left_out_of_the_pairs() -> None:
    first = [outcome("a", "d1", 1.0), outcome("b", "d1", None), outcome("c", "d2", 4.0)]
    other = [outcome("a", "d1", 2.0, filled="50", qty="200"), outcome("b", "d1", 9.0), outcome("d", "d2", 1.0)]
    found = compare({"TWAP": first, "POV": other}, quantile)
    twap, pov = found.rows
    assert (found.parents, found.days) == (4, 2)
    assert (twap.missing, twap.unfilled, twap.resized) == (("d",), ("b",), ())
    assert (pov.missing, pov.unfilled, pov.resized) == (("c",), (), ("a",))
    assert (twap.parents, twap.completed, pov.completed) == (3, 2, 2)
    assert twap.filled == pytest.approx(2 / 3)
    assert pov.filled == pytest.approx(2.25 / 3)
    assert twap.ends == {EndReason.FILLED: 2, EndReason.WINDOW: 1}
    assert twap.costs["arrival"].parents == 2
    assert difference(found).unpaired == 3
    assert difference(found).mean == Mean(parents=1, days=1, mean=1.0, median=1.0, low=None, high=None)
    assert difference(found, "shortfall").mean == Mean(parents=2, days=1, mean=5.0, median=5.0, low=None, high=None)


def test_without_pairs_there_is_no_difference() -> None:
    found = compare({"TWAP": [outcome("a", "d1", 1.0)], "POV": []}, quantile)
    assert (difference(found).mean, difference(found).unpaired) == (None, 1)
    assert (found.rows[1].costs, found.rows[1].filled) == ({}, 0.0)


def test_a_parent_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a is there twice under TWAP"):
        compare({"TWAP": [outcome("a", "d1", 1.0), outcome("a", "d2", 1.0)]}, quantile)
    with pytest.raises(ValueError, match="no algorithm"):
        compare({}, quantile)


# Laws -----------------------------------------------------------------------------------------------------------------

COSTS = st.none() | st.floats(-500, 500)
BOOKS = st.lists(st.tuples(st.sampled_from(["d1", "d2", "d3", "d4", "d5"]), COSTS, COSTS), min_size=1, max_size=30)
Book = Sequence[tuple[str, float | None, float | None]]


def ran(book: Book) -> dict[str, list[Outcome]]:
    numbered = list(enumerate(book))
    return {
        "TWAP": [outcome(f"p{number}", day, cost) for number, (day, cost, _) in numbered],
        "POV": [outcome(f"p{number}", day, cost) for number, (day, _, cost) in numbered],
    }


def slowly(values: Sequence[tuple[str, float]]) -> tuple[float, float | None]:
    """Mean and half an interval: every pair of parents of one day is a term of the variance, every other pair none."""
    n, days = len(values), len({day for day, _ in values})
    mean = sum(value for _, value in values) / n
    if days == 1:
        return mean, None
    terms = [
        (one - mean) * (two - mean) for day, one in values for other_day, two in values if day == other_day
    ]  # their sum is the sum of squares of daily sums
    variance = days / (days - 1) * sum(terms) / n**2
    return mean, -T[days - 1] * max(variance, 0.0) ** 0.5


@given(book=BOOKS)
def test_the_long_way_gives_the_same(book: Book) -> None:
    found = compare(ran(book), quantile)
    pairs = [(day, two - one) for day, one, two in book if one is not None and two is not None]
    mean = difference(found).mean
    assert difference(found).unpaired == len(book) - len(pairs)
    if not pairs:
        assert mean is None
        return
    assert mean is not None
    centre, reach = slowly(pairs)
    assert mean.mean == pytest.approx(centre, abs=1e-9)
    assert (mean.low is None) == (reach is None)
    if reach is not None and mean.low is not None and mean.high is not None:
        assert mean.low == pytest.approx(centre - reach, abs=1e-3)  # roots of what nearly cancels
        assert mean.high == pytest.approx(centre + reach, abs=1e-3)


@given(book=BOOKS, seed=st.integers(0, 99))
def test_no_order_of_parents_changes_a_digit(book: Book, seed: int) -> None:
    straight = ran(book)
    mixed = {algo: random.Random(seed).sample(outcomes, len(outcomes)) for algo, outcomes in straight.items()}
    assert compare(mixed, quantile) == compare(straight, quantile)


@given(book=BOOKS)
def test_equal_costs_differ_by_nothing(book: Book) -> None:
    same = ran([(day, cost, cost) for day, cost, _ in book])
    for each in compare(same, quantile).differences:
        if each.mean is not None:
            assert (each.mean.mean, each.mean.median) == (0.0, 0.0)
            assert {each.mean.low, each.mean.high} <= {0.0, None}


@given(book=BOOKS)
def test_the_other_way_round_the_difference_changes_its_sign(book: Book) -> None:
    forth, back = (compare(found, quantile) for found in (ran(book), turned(ran(book))))
    for one, two in zip(forth.differences, back.differences, strict=True):
        assert one.unpaired == two.unpaired
        if one.mean is not None and two.mean is not None:
            assert two.mean.mean == -one.mean.mean
            assert (two.mean.low is None) == (one.mean.high is None)


def turned(found: Mapping[str, Sequence[Outcome]]) -> dict[str, Sequence[Outcome]]:
    return dict(reversed(list(found.items())))


def test_every_measure_is_a_cost() -> None:
    assert set(MEASURES) == set(Costs.__struct_fields__)


def test_a_comparison_survives_json() -> None:
    found = compare(ran([("d1", 1.0, 2.0)]), quantile)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Comparison) == found
