"""The lowest and the highest of late against a walk over all that ever was; and how much is kept."""

from decimal import Decimal
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core.units import NS_PER_S
from risk.stood import CONFIRM_NS, Stood
from tests.builders import NOW

TENTH = NS_PER_S // 10
# Steps that make moments meet, and lie exactly as long apart as counts.
CHANGES = st.lists(st.tuples(st.integers(0, 31), st.integers(-9, 9)), max_size=60)


def walked(changes: list[tuple[int, int]]) -> tuple[Stood, list[tuple[int, Decimal]]]:
    """A value that begins at zero, and all that it ever was, since when."""
    stood, was = Stood(), [(NOW, Decimal(0))]
    for step, after in changes:
        ts = was[-1][0] + step * TENTH
        stood.change(ts, was[-1][1], Decimal(after))
        was.append((ts, Decimal(after)))
    return stood, was


def of_late(was: list[tuple[int, Decimal]], now: int) -> list[Decimal]:
    """What it is, and what it was at any moment of late, or became only after."""
    left = [value for (_, value), (until, _) in pairwise(was) if until > now - CONFIRM_NS]
    return [*left, was[-1][1]]


@given(CHANGES, st.integers(0, 40))
def test_lowest_and_highest_are_those_of_all_that_it_was_of_late(changes: list[tuple[int, int]], later: int) -> None:
    stood, was = walked(changes)
    now = was[-1][0] + later * TENTH
    found = of_late(was, now)
    assert (stood.lowest(now, was[-1][1]), stood.highest(now, was[-1][1])) == (min(found), max(found))


@given(CHANGES, CHANGES)
def test_a_snapshot_goes_on_as_if_nothing_had_happened(
    before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    straight, _ = walked([*before, *after])
    first, was = walked(before)
    second = Stood()
    second.load(msgspec.json.decode(msgspec.json.encode(first.dump())))
    ts, value = was[-1]
    for step, following in after:
        ts += step * TENTH
        second.change(ts, value, Decimal(following))
        value = Decimal(following)
    assert second.dump() == straight.dump()


def test_a_value_that_goes_on_rising_keeps_what_it_was_of_late_and_no_more() -> None:
    stood, was = walked([(1, number) for number in range(1, 1_000)])
    assert len(msgspec.json.encode(stood.dump())) < 3_000
    assert stood.lowest(was[-1][0], was[-1][1]) == 999 - CONFIRM_NS // TENTH


def test_where_time_goes_back_nothing_counts_sooner() -> None:
    stood = Stood()
    stood.change(NOW, Decimal(1), Decimal(2))
    stood.change(NOW - 1, Decimal(2), Decimal(3))
    assert [stood.lowest(NOW + CONFIRM_NS - late, Decimal(3)) for late in (1, 0)] == [1, 3]
