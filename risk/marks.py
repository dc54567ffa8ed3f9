"""How old the marks are at which positions are held (Z5).

A mark grows old while its market is open and nobody quotes the symbol: what it says of the position is then a guess.
Its age counts from the mark or from the open, whichever is later: overnight, and before a session's first quotes had
time to come, an old mark means nothing. A symbol that is no instrument any more has no session that would be known.

Time comes with the events, and never goes back. Marks are kept in the order in which they were made, those over a bound
apart from those under it: an event moves the few that have crossed it, however much is held.
"""

from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal

import msgspec

from core.calendar import CALENDARS
from core.instruments import Instruments
from core.units import NS_PER_S, ZERO
from risk.limits import LimitsInForce


class OldMark(msgspec.Struct, frozen=True):
    """What is held at an old mark, and how old that is, in seconds of its session."""

    symbol: str
    age_s: float


class _Marks:
    """The marks of one market, oldest first, before and beyond a bound on their age."""

    __slots__ = ("at_old", "new", "old")

    def __init__(self) -> None:
        self.new: OrderedDict[str, int] = OrderedDict()
        self.old: OrderedDict[str, int] = OrderedDict()
        self.at_old = ZERO  # money that is held at old ones, long and short

    def take(self, symbol: str, ts: int, worth: Decimal) -> None:
        """A new mark, while `worth` was held at the one before."""
        if self.old.pop(symbol, None) is not None:
            self.at_old -= worth
        self.new[symbol] = ts
        self.new.move_to_end(symbol)

    def advance(self, oldest: int, worth: dict[str, Decimal]) -> None:
        """Marks from before `oldest` are old; a bound that was raised lets some be new again."""
        while self.new and next(iter(self.new.values())) < oldest:
            symbol, ts = self.new.popitem(last=False)
            self.old[symbol] = ts
            self.at_old += worth.get(symbol, ZERO)
        while self.old and next(reversed(self.old.values())) >= oldest:
            symbol, ts = self.old.popitem()
            self.new[symbol] = ts
            self.new.move_to_end(symbol, last=False)
            self.at_old -= worth.get(symbol, ZERO)


class Marks:
    """The marks of an account by their age, under the limits that are in force."""

    __slots__ = ("_by_market", "_instruments", "_limits", "_now", "_worth")

    def __init__(self, instruments: Instruments, limits: LimitsInForce) -> None:
        self._instruments = instruments
        self._limits = limits
        self._now = 0
        self._worth: dict[str, Decimal] = {}  # what is held at its mark, long or short
        self._by_market: dict[str, tuple[_Marks, _Marks]] = {}  # by calendar: over the first bound, over the second

    @property
    def haircut(self) -> Decimal:
        """Money that positions at old marks are taken to be worth less."""
        bound = self._limits.current.mark_age_ns_max
        at_old = sum(
            (aged.at_old for market, (aged, _) in self._by_market.items() if self._counts(market, bound)), ZERO
        )
        return at_old * self._limits.current.mark_haircut if at_old else ZERO

    def too_old(self) -> OldMark | None:
        """The oldest mark over the second bound that something is held at: nothing may be sized up by it."""
        bound = self._limits.current.mark_age_ns_block
        markets = [pair[1] for market, pair in self._by_market.items() if self._counts(market, bound)]
        if not any(marks.at_old for marks in markets):
            return None
        return max((old for old in self.old() if old.age_s * NS_PER_S > bound), key=lambda old: old.age_s)

    def old(self) -> Iterator[OldMark]:
        """Every old mark that something is held at."""
        bound = self._limits.current.mark_age_ns_max
        for market, (aged, _) in self._by_market.items():
            if self._counts(market, bound):
                opened = self._opened(market)
                for symbol, ts in aged.old.items():
                    if symbol in self._worth:
                        yield OldMark(symbol, (self._now - max(ts, opened or ts)) / NS_PER_S)

    # folds

    def advance(self, ts: int) -> None:
        """The time of an event."""
        self._now = max(self._now, ts)
        limits = self._limits.current
        for aged, too_old in self._by_market.values():
            aged.advance(self._now - limits.mark_age_ns_max, self._worth)
            too_old.advance(self._now - limits.mark_age_ns_block, self._worth)

    def take(self, symbol: str, ts: int) -> None:
        """A symbol is marked anew."""
        self.advance(ts)
        instrument = self._instruments.get(symbol)
        if instrument is not None:
            if instrument.calendar not in self._by_market:
                self._by_market[instrument.calendar] = (_Marks(), _Marks())
            for marks in self._by_market[instrument.calendar]:
                marks.take(symbol, self._now, self._worth.get(symbol, ZERO))

    def hold(self, symbol: str, value: Decimal) -> None:
        """What is held of a symbol is worth so much, at its mark."""
        before, worth = self._worth.pop(symbol, ZERO), abs(value)
        if worth:
            self._worth[symbol] = worth
        instrument = self._instruments.get(symbol)
        for marks in self._by_market.get(instrument.calendar, ()) if instrument is not None else ():
            if symbol in marks.old:
                marks.at_old += worth - before

    # bookkeeping

    def _opened(self, market: str) -> int | None:
        session = CALENDARS[market].session_at(self._now)
        return None if session is None else session.open

    def _counts(self, market: str, bound: int) -> bool:
        """Whether the market has been open for longer than the bound."""
        opened = self._opened(market)
        return opened is not None and self._now - opened > bound

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot; what is held is told again by who loads it."""
        times = {
            symbol: ts for aged, _ in self._by_market.values() for symbol, ts in (*aged.old.items(), *aged.new.items())
        }
        return {"now": self._now, "times": times}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Dump)
        for symbol, ts in sorted(state.times.items(), key=lambda item: item[1]):
            self.take(symbol, ts)
        self.advance(state.now)


class _Dump(msgspec.Struct):
    now: int
    times: dict[str, int]
