"""So many of a kind within a window are too many: what trips, whoever does it and whatever it is.

Counted on event time, apart for each key (a venue; a strategy and what it does), and of each order what came last: one
that does it again and again is one. Memory is bounded: of a key as many as trip, and of keys those that were struck
within the window.
"""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

Key = tuple[str, ...]


class Often(NamedTuple):
    """So many within less than so long, ns, are too many."""

    most: int
    window_ns: int


class Strike(NamedTuple):
    """One of them: when, ns, and the id of its order."""

    ts: int
    order_id: str


class Strikes:
    """The newest strikes of one kind."""

    __slots__ = ("_newest",)

    def __init__(self) -> None:
        self._newest: dict[Key, OrderedDict[str, Strike]] = {}  # by order; what was struck last is last in both

    def add(self, key: Key, strike: Strike, often: Often) -> None:
        """Count one."""
        newest = self._newest.pop(key, None) or OrderedDict()
        newest[strike.order_id] = strike
        newest.move_to_end(strike.order_id)
        while len(newest) > often.most:
            newest.popitem(last=False)
        self._newest[key] = newest
        while strike.ts - _last(self._newest[oldest := next(iter(self._newest))]).ts >= often.window_ns:
            del self._newest[oldest]

    def too_many(self, key: Key, strike: Strike, often: Often) -> list[Strike]:
        """As many as trip, oldest first, if with this newest one they are too many; else none.

        Asked about what was not counted, or is forgotten since, it finds none.
        """
        newest = self._newest.get(key)
        if not newest or _last(newest) != strike or len(newest) < often.most:
            return []
        found = list(newest.values())
        return found if strike.ts - found[0].ts < often.window_ns else []

    def clear(self, of: Key = ()) -> None:
        """Forget all, or the keys that begin so."""
        for key in [key for key in self._newest if key[: len(of)] == of]:
            del self._newest[key]

    def dump(self) -> list[tuple[Key, list[Strike]]]:
        """State for a snapshot."""
        return [(key, list(newest.values())) for key, newest in self._newest.items()]

    def load(self, dumped: object) -> None:
        """State from a snapshot, in place of what was counted."""
        found = msgspec.convert(dumped, list[tuple[Key, list[Strike]]])
        self._newest = {key: OrderedDict((strike.order_id, strike) for strike in newest) for key, newest in found}


def _last(newest: OrderedDict[str, Strike]) -> Strike:
    return newest[next(reversed(newest))]
