"""Gaps in the numbers that publishers give their signals: a message that never came is the one that nobody sees."""

from collections.abc import Iterable

import msgspec

from core.events import Event, SignalGap, SignalReceived

PUBLISHERS_MAX = 10_000  # sources and strategies; beyond that the one that was heard longest ago is forgotten


class Sequences:
    """The last number of each strategy on each source.

    A number that is not above the last one is a repeat and says nothing; 0 and 1 begin a count anew.
    """

    __slots__ = ("_last", "_missing")

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}
        self._missing = 0  # before the present signal

    # folds

    def count(self, event: SignalReceived) -> None:
        """Remember the number, and how many are missing before it."""
        seq, key = event.signal.seq, (event.source, event.signal.strategy)
        self._missing = 0
        if seq is None:
            return
        last = self._last.pop(key, None)
        if last is None or seq <= 1:
            self._last[key] = seq
        else:
            self._missing = max(seq - last - 1, 0)
            self._last[key] = max(seq, last)
        if len(self._last) > PUBLISHERS_MAX:
            del self._last[next(iter(self._last))]

    # decisions

    def on_signal(self, event: SignalReceived) -> Iterable[Event]:
        """Say that signals are missing."""
        if self._missing and event.signal.seq is not None:
            yield SignalGap(
                ts=event.ts,
                source=event.source,
                strategy=event.signal.strategy,
                missing=self._missing,
                before=event.signal.seq,
            )

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {"last": [[*key, seq] for key, seq in self._last.items()]}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        for source, strategy, seq in msgspec.convert(dumped["last"], list[tuple[str, str, int]]):
            self._last[source, strategy] = seq
