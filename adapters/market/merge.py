"""Several streams of market data as one, by time."""

from collections.abc import Iterable, Iterator
from heapq import merge
from operator import attrgetter
from typing import Protocol

from core.market import Update


class HasUpdates(Protocol):
    """Anything that tells market data in order of time: a recorded tape, a synthetic market."""

    def updates(self) -> Iterator[Update]:
        """All updates, `ts` never going back."""
        ...


def merged(tapes: Iterable[HasUpdates]) -> Iterator[Update]:
    """All updates of all tapes by time; at equal times in the order of the tapes, inside a tape as it tells them."""
    return in_time_order([tape.updates() for tape in tapes])


def in_time_order(streams: Iterable[Iterator[Update]]) -> Iterator[Update]:
    """Like `merged`, over bare streams."""
    return merge(*streams, key=attrgetter("ts"))
