"""The market's path for charts: one pass over the tape into columns, then even samples of any interval.

Floats, because only pixels and mark-outs are drawn from them; exact benchmarks are in the cost reports.
"""

from array import array
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from adapters.store.tape import TapeError, read_tape
from core.events import MarketData

POINTS_MAX = 300  # samples of one path: more than a chart has room for


class MarketPath(msgspec.Struct, frozen=True):
    """Mid and volume of one symbol in even steps of `step` ns.

    `mid[i]` stands at `start + i * step`, None before the first quote; `volume[i]` traded in the step from there on.
    """

    start: int
    step: int
    mid: tuple[float | None, ...]
    volume: tuple[float, ...]


class Columns:
    """All events of one symbol's tape: mid, which stands until the next one, and running volume."""

    __slots__ = ("_mid", "_seq", "_ts", "_volume", "mark")

    def __init__(self) -> None:
        self._seq = array("q")
        self._ts = array("q")
        self._mid = array("d")  # NaN before the first one
        self._volume = array("d")
        self.mark: Decimal | None = None

    def add(self, seq: int, event: MarketData) -> None:
        """Append one event."""
        mid = event.mid
        if mid is not None:
            self.mark = mid
        self._seq.append(seq)
        self._ts.append(event.ts)
        self._mid.append(float("nan") if self.mark is None else float(self.mark))
        self._volume.append((self._volume[-1] if self._volume else 0.0) + float(event.volume))

    def mid_at(self, seq: int) -> float | None:
        """The mid before the event `seq`; None where there was none."""
        place = int(np.searchsorted(np.frombuffer(self._seq, dtype=np.int64), seq))
        return _known(self._mid[place - 1]) if place else None

    def sample(self, start: int, end: int) -> MarketPath:
        """The path from `start` to `end`, or to where the tape ends, in at most POINTS_MAX steps."""
        end = max(start + 1, min(end, self._ts[-1]))
        step = max(1, -(-(end - start) // POINTS_MAX))
        grid = np.arange(start, end + step, step, dtype=np.int64)
        places = np.searchsorted(np.frombuffer(self._ts, dtype=np.int64), grid, side="right")
        mids = np.append(float("nan"), np.frombuffer(self._mid))[places]
        volumes = np.diff(np.append(0.0, np.frombuffer(self._volume))[places])
        return MarketPath(start, step, tuple(_known(mid) for mid in mids[:-1].tolist()), tuple(volumes.tolist()))


def read_columns(tape_dir: Path) -> tuple[dict[str, Columns], list[str]]:
    """The tape by symbol, and what is wrong with it: torn records, and the first one that cannot be read."""
    columns: dict[str, Columns] = {}
    notes: list[str] = []
    try:
        _fill(columns, read_tape(tape_dir, torn=notes.append))
    except TapeError as error:
        notes.append(str(error))
    return columns, notes


def _fill(columns: dict[str, Columns], events: Iterable[tuple[int, MarketData]]) -> None:
    for seq, event in events:
        of_symbol = columns.get(event.symbol)
        if of_symbol is None:
            of_symbol = columns[event.symbol] = Columns()
        of_symbol.add(seq, event)


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 - only NaN differs from itself
