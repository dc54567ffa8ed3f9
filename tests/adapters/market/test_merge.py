"""Merging tapes keeps every update and the order inside each tape."""

from collections.abc import Iterator
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from adapters.market.merge import merged
from core.market import Trade, Update


class Told:
    """A tape that tells what it is given."""

    def __init__(self, updates: list[Update]) -> None:
        self._updates = updates

    def updates(self) -> Iterator[Update]:
        return iter(self._updates)


def tape(number: int, times: list[int]) -> list[Update]:
    """A tape whose trades say where they come from: symbol = tape, size = position in it."""
    return [Trade(ts, f"S{number}", Decimal(1), Decimal(place)) for place, ts in enumerate(sorted(times))]


@given(st.lists(st.lists(st.integers(0, 5)), max_size=5))
def test_merging_sorts_by_time_then_tape_then_place_and_loses_nothing(times: list[list[int]]) -> None:
    tapes = [tape(number, some) for number, some in enumerate(times)]
    everything = [update for updates in tapes for update in updates]
    # sorted() is stable: equal times stay in the order of the tapes and of their updates
    assert list(merged(Told(updates) for updates in tapes)) == sorted(everything, key=lambda update: update.ts)


def test_merging_is_lazy() -> None:
    def endless() -> Iterator[Update]:
        ts = 0
        while True:
            ts += 1
            yield Trade(ts, "S", Decimal(1), Decimal(1))

    class Endless:
        def updates(self) -> Iterator[Update]:
            return endless()

    stream = merged([Endless(), Endless()])
    assert [next(stream).ts for _ in range(4)] == [1, 1, 2, 2]
