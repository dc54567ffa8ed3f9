"""What a child, a quote and a halt cost with 10 to 100,000 parents live: `make bench ARGS=children`, some minutes.

Through the slicer and the oms alone, and through all that decides, the gate among them; with parents over 500 symbols,
and with all of them in five. Of each size one daemon's actors stand beside those of the others and are measured in
turns; a ratio is to the smallest size in the same turn. A child is everything from its due time to its execution. Of
many parents each child finds another one, whose memory no cache holds any more. All is time of the processor, so that
who else works on the machine counts as little as can be.
"""

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from statistics import median

from core import events as e
from core.causes import BACKLOG, KILL
from core.trading import halted
from tests.builders import limits_set, quote
from tests.inside import WIDE, Inside

SYMBOLS = (500, 5)
LIVE = (10, 100, 1_000, 10_000, 100_000)
ROUNDS = 7
CHILDREN, QUOTES = 200, 2_000  # of one round
TRACED = 10_000  # parents whose memory is looked at: that is slow


def main(live: Iterable[int] = LIVE, rounds: int = ROUNDS) -> None:
    """Each way through, with both spreads of the parents over symbols."""
    for gated in (False, True):
        _memory(min(max(live), TRACED), gated=gated)
        for symbols in SYMBOLS:
            houses = {parents: _house(symbols, parents, gated=gated) for parents in live}
            gc.collect()
            gc.freeze()  # as the daemon does
            title = f"{_way(gated=gated)}, {symbols} symbols"
            _compare(f"{title}: a child, us", houses, _child, rounds)
            _compare(f"{title}: a quote, us", houses, _quote, rounds)
            for what, cascade in CASCADES.items():
                _compare(f"{title}: {what}, ms", houses, cascade, 1)
            gc.unfreeze()


def _house(symbols: int, parents: int, *, gated: bool) -> Inside:
    """A daemon's actors with so many parents live."""
    house = Inside(symbols, gated=gated)
    for tenth in range(1, 11):
        house.fill_up(parents * tenth // 10)
        print(f"  {len(house.actors.slicer.parents):,} of {parents:,} parents", file=sys.stderr)
    return house


def _memory(parents: int, *, gated: bool) -> None:
    """What a parent takes that has not sent anything yet."""
    house = Inside(SYMBOLS[0], gated=gated)
    tracemalloc.start()
    house.fill_up(parents)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{_way(gated=gated)}: {used / parents / 1_024:.2f} KiB a parent, of {parents:,}", flush=True)


def _way(*, gated: bool) -> str:
    return "all that decides" if gated else "slicer and oms"


def _compare(title: str, houses: dict[int, Inside], cost: Callable[[Inside], float], rounds: int) -> None:
    """The median of each size, and of its ratio to the smallest."""
    found: dict[int, list[float]] = {parents: [] for parents in houses}
    for number in range(rounds):
        print(f"  {title}, round {number + 1} of {rounds}", file=sys.stderr)
        for parents, house in houses.items():
            house.fill_up(parents)
            found[parents].append(cost(house))
    least = found[min(found)]
    for parents, costs in found.items():
        ratio = median(own / smallest for own, smallest in zip(costs, least, strict=True))
        print(f"{title:<62} {parents:>7,} live {median(costs):10.2f}   x {ratio:8.2f}", flush=True)


def _child(house: Inside) -> float:
    """Microseconds."""
    before, start = house.children, time.process_time()
    house.work(CHILDREN)
    return (time.process_time() - start) * 1e6 / (house.children - before)


def _quote(house: Inside) -> float:
    """Microseconds, of a symbol with its part of the parents."""
    event = quote("S0", ts=house.now)
    start = time.process_time()
    for _ in range(QUOTES):
        house.bus.publish(event)
    return (time.process_time() - start) * 1e6 / QUOTES


def _publishes(*events: Callable[[Inside], e.Event]) -> Callable[[Inside], float]:
    """Milliseconds, of the last of these events and all that follows from it at once."""

    def cost(house: Inside) -> float:
        took = 0.0
        for make in events:
            event, start = make(house), time.process_time()
            house.bus.publish(event)
            took = (time.process_time() - start) * 1e3
        return took

    return cost


CASCADES: dict[str, Callable[[Inside], float]] = {
    "a halt": _publishes(lambda house: halted(BACKLOG, house.now, text="bench")),
    "a halt that takes back": _publishes(lambda house: halted(KILL, house.now, text="bench")),
    "a resume, one cause left": _publishes(lambda house: e.TradingResumed(ts=house.now, cause=BACKLOG)),
    "a resume": _publishes(lambda house: e.TradingResumed(ts=house.now, cause=KILL)),
    "the next time after it": _publishes(lambda house: e.TimeAdvanced(ts=house.now)),
    "other limits": _publishes(lambda house: limits_set(WIDE, house.now)),
    "a flatten of one symbol": _publishes(
        lambda house: e.FlattenRequested(ts=house.now, request_id="f1", by="bench", symbol="S1")
    ),
    "a flatten of all": _publishes(lambda house: e.FlattenRequested(ts=house.now, request_id="f2", by="bench")),
}


if __name__ == "__main__":
    main()
