"""So many of a kind within a window are too many: what trips, whoever does it and whatever it is.

Counted on event time, apart for each key (a venue; a strategy and what it does). Memory is bounded: of a key as many
as trip, and of keys those that were struck within the window.
"""

from collections import deque
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
        self._newest: dict[Key, deque[Strike]] = {}  # what was struck last is last

    def add(self, key: Key, strike: Strike, often: Often) -> None:
        """Count one."""
        newest = self._newest.pop(key, None) or deque()
        newest.append(strike)
        while len(newest) > often.most:
            newest.popleft()
        self._newest[key] = newest
        while strike.ts - self._newest[oldest := next(iter(self._newest))][-1].ts >= often.window_ns:
            del self._newest[oldest]

    def too_many(self, key: Key, strike: Strike, often: Often) -> list[Strike]:
        """As many as trip, oldest first, if with this newest one they are too many; else none.

        Asked about what was not counted, or is forgotten since, it finds none.
        """
        newest = self._newest.get(key)
        if not newest or newest[-1] != strike or len(newest) < often.most:
            return []
        return list(newest) if strike.ts - newest[0].ts < often.window_ns else []

    def clear(self, of: Key = ()) -> None:
        """Forget all, or the keys that begin so."""
        for key in [key for key in self._newest if key[: len(of)] == of]:
            del self._newest[key]

    def dump(self) -> list[tuple[Key, list[Strike]]]:
        """State for a snapshot."""
        return [(key, list(newest)) for key, newest in self._newest.items()]

    def load(self, dumped: object) -> None:
        """State from a snapshot, in place of what was counted."""
        found = msgspec.convert(dumped, list[tuple[Key, list[Strike]]])
        self._newest = {key: deque(newest) for key, newest in found}
