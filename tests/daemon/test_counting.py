"""What an event touches does not depend on how many parents live: counted in every actor's tables, with no clock."""

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from algos.slicer import MAX_DUE
from core import events as e
from core.causes import BACKLOG
from core.orders import Side
from core.signals import Action, Change, Instruction
from core.trading import halted
from tests.builders import NOW, quote
from tests.inside import Inside

FEW, MANY = 20, 1_000
SYMBOLS = 5
CHILDREN = 40  # that have executed before: every symbol is held, by several strategies
CHANCE = 10  # entries: what is forgotten on the way differs from moment to moment
ACTORS = ("exposure", "slicer", "oms", "guard", "triggers", "analyst", "ledger", "limits", "sizer", "sequences")
PACKAGES = ("algos.", "core.", "daemon.", "risk.", "tca.")


class Counted(dict[Any, Any]):
    """A table that counts the entries that it is asked for, or that are changed."""

    def __init__(self, table: dict[Any, Any], owner: str, touched: Counter[str]) -> None:
        super().__init__(table)
        self._owner = owner
        self._touched = touched

    def __getitem__(self, key: object) -> Any:  # noqa: ANN401 - as in a dict
        self._touched[self._owner] += 1
        return super().__getitem__(key)

    def __setitem__(self, key: object, value: object) -> None:
        self._touched[self._owner] += 1
        super().__setitem__(key, value)

    def __contains__(self, key: object) -> bool:
        self._touched[self._owner] += 1
        return super().__contains__(key)

    def __iter__(self) -> Iterator[Any]:
        return self._each(super().__iter__())

    def get(self, key: object, default: object = None) -> Any:  # noqa: ANN401 - as in a dict
        self._touched[self._owner] += 1
        return super().get(key, default)

    def items(self) -> Any:  # noqa: ANN401 - as in a dict
        return self._each(iter(super().items()))

    def values(self) -> Any:  # noqa: ANN401 - as in a dict
        return self._each(iter(super().values()))

    def _each(self, entries: Iterator[Any]) -> Iterator[Any]:
        for entry in entries:
            self._touched[self._owner] += 1
            yield entry


class Counting(Inside):
    """So many parents live, of all ages, and a stop is held; every table counts."""

    def __init__(self, parents: int) -> None:
        super().__init__(SYMBOLS)
        self.fill_up(parents)
        self.work(CHILDREN)
        self.bus.publish(stop_set("S0"))
        self.touched: Counter[str] = Counter()
        for name in ACTORS:
            self._count(getattr(self.actors, name), name)
        self.fill_up(parents)

    def _count(self, thing: object, owner: str) -> None:
        """Let the tables of an actor count, and those of what it is made of; whoever owns them is told first."""
        if isinstance(thing, msgspec.Struct) or not type(thing).__module__.startswith(PACKAGES):
            return
        for name in getattr(type(thing), "__slots__", ()):
            found = getattr(thing, name)
            if type(found) is dict:
                setattr(thing, name, Counted(found, owner, self.touched))
            else:
                self._count(found, owner)

    def touches(self, happen: Callable[["Counting"], None]) -> Counter[str]:
        """How many entries each actor touches meanwhile."""
        self.touched.clear()
        happen(self)
        return Counter(self.touched)


def stop_set(symbol: str) -> e.StopSet:
    """A stop far away."""
    return e.StopSet(
        ts=NOW,
        stop_id="stop",
        signal_ts=NOW,
        strategy="alpha0",
        symbol=symbol,
        side=Side.SELL,
        stop_px=Decimal(1),
        trail=None,
        trail_fraction=None,
        limit_offset=None,
        how=Instruction(),
        price=Decimal(100),
    )


def quoted(house: Counting) -> None:
    """A quote of a symbol in which a fifth of the parents lives, and a stop."""
    house.bus.publish(quote("S0", ts=house.now))


def worked(house: Counting) -> None:
    """A child from its due time to its execution."""
    house.work(1)


def let_in(house: Counting) -> None:
    """One parent more."""
    house.bus.publish(house.order())


def amended(house: Counting) -> None:
    """One that is to be over, and is."""
    parent_id = next(iter(house.actors.slicer.parents))
    made = house.actors.slicer.amendment(parent_id, Change(action=Action.CANCEL), by="ann", now=house.now)
    assert isinstance(made, e.ParentAmendment)
    house.bus.publish(made)
    assert parent_id not in house.actors.slicer.parents


@pytest.mark.parametrize("happen", [quoted, worked, let_in, amended])
def test_what_an_event_touches_does_not_depend_on_how_many_live(happen: Callable[[Counting], None]) -> None:
    few, many = (Counting(parents).touches(happen) for parents in (FEW, MANY))
    assert many
    for owner, entries in many.items():
        assert entries <= few[owner] + CHANCE, owner


def test_a_time_that_has_come_for_all_works_a_few() -> None:
    """After a halt everybody is due at once: each `TimeAdvanced` works as many as may be worked at a time."""
    house = Counting(MANY)
    house.bus.publish(halted(BACKLOG, house.now, text="a test"))
    house.bus.publish(e.TradingResumed(ts=house.now, cause=BACKLOG))
    looked = house.touches(lambda each: each.bus.publish(e.TimeAdvanced(ts=each.now)))
    assert MAX_DUE <= looked["slicer"] < MANY // 2
