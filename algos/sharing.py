"""How all who follow curves in a symbol share its volume: together no more than a part of it, and in turns.

What each may be for itself is in `algos.participation`.
"""

from decimal import Decimal

import msgspec

from algos.parent import Parent
from algos.participation import HARD_MAX, POLL_NS, Pace
from core.instruments import Instruments
from core.units import ZERO

LEFT_MAX = 10_000  # parents that are over, of a symbol in which others are live; a child of an older one is forgotten
TURN_NS = 2 * POLL_NS  # how long a place in line is kept; who stands there is looked at before, and renews it


class Wait(msgspec.Struct, frozen=True):
    """A place in line: until when, ns, for how many shares, and for how few there is a child too."""

    until: int
    qty: Decimal
    enough: Decimal


class Together(msgspec.Struct):
    """All parents of a symbol that follow a curve, of either side, from the first one's begin until none is left.

    What is left of the volume when another one begins is nobody's from then on, but for the last minute or two, and for
    what the first in line needs for a child: so all of them are no more than the bound since so long before any of them
    began, or that child more; what few did not use in a day is not used up by many; and those who wait do not starve
    where others begin all the time.

    Who is looked at and finds less than it wants stands in line, until it has sent something or has not asked for so
    long that it seems unable to. The first in line takes what there is, whoever else what the line leaves.
    """

    pace: Pace
    used: Decimal = ZERO  # shares that are done or working
    live: int = 0  # parents
    line: dict[str, Wait] = {}  # parents that wait for their turn
    asked: Decimal = ZERO  # shares that all in line wait for
    left: dict[str, None] = {}  # parents that are over, oldest first

    def join(self, taken: Decimal, lately: float) -> None:
        """Another one begins, with so much done or working; others traded so much lately."""
        first = next(iter(self.line.values()), None)
        self.live += 1
        self.pace.forget(self.used, lately, ZERO if first is None else first.enough)
        self.used += taken

    def room(self, parent_id: str, lot: Decimal) -> Decimal | None:
        """Shares in whole lots that a parent may send, zero or less: none; None where no volume was ever told."""
        if not self.pace.seen:
            return None
        left, first = self.pace.cap(lot) - self.used, next(iter(self.line), parent_id)
        return left if first == parent_id else left - self.asked + self._asked(parent_id)

    def ask(self, parent_id: str, wanted: Decimal, enough: Decimal, now: int, lot: Decimal) -> None:
        """A parent that could send so much is looked at; it keeps its place in line."""
        while self.line and now >= next(iter(self.line.values())).until:
            self.serve(next(iter(self.line)))
        room, has = self.room(parent_id, lot), self.line.get(parent_id)
        if wanted <= 0 or room is None:
            self.serve(parent_id)
        elif wanted > room or has is not None:
            # whose turn it is keeps its place until it has sent, but no longer than it has it
            until = has.until if has is not None and min(wanted, enough) <= room else now + TURN_NS
            self.asked += wanted - self._asked(parent_id)
            self.line[parent_id] = Wait(until, wanted, enough)

    def serve(self, parent_id: str) -> None:
        """A parent has sent something, wants nothing, or is over: it stands in line no longer."""
        self.asked -= self._asked(parent_id)
        self.line.pop(parent_id, None)

    def turn(self, lot: Decimal) -> str | None:
        """Who is first in line, where there is enough for it."""
        first = next(iter(self.line), None)
        room = None if first is None else self.room(first, lot)
        if first is None or room is None:
            return None
        return first if min(self.line[first].qty, self.line[first].enough) <= room else None

    def _asked(self, parent_id: str) -> Decimal:
        return self.line[parent_id].qty if parent_id in self.line else ZERO


class Sharing:
    """By symbol those who share its volume, where somebody does; who does not is let be.

    It reads the parents that it is told of, and changes none.
    """

    __slots__ = ("_instruments", "together")

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self.together: dict[str, Together] = {}

    # folds

    def move(self, parent: Parent, volume: float, lately: float, *, begins: bool) -> None:
        """The volume has moved, as one who shares it is looked at; or `begins` to."""
        if not parent.shares_volume:
            return
        together = self.together.get(parent.symbol)
        if together is None:
            together = self.together[parent.symbol] = Together(Pace(HARD_MAX, volume, volume))
        together.pace.move(volume)
        if begins:
            together.join(parent.taken_qty, lately)

    def count(self, parent: Parent, before: Decimal) -> None:
        """What a parent has done or working may be another quantity than before."""
        if parent.shares_volume:
            self.together[parent.symbol].used += parent.taken_qty - before

    def count_late(self, parent_id: str, symbol: str, qty: Decimal) -> None:
        """One that is over, and had given it back, has executed all the same."""
        together = self.together.get(symbol)
        if together is not None and parent_id in together.left:
            together.used += qty

    def serve(self, parent: Parent) -> None:
        """A parent has sent something: it had its turn."""
        if parent.shares_volume:
            self.together[parent.symbol].serve(parent.parent_id)

    def ask(self, parent: Parent, least: Decimal, now: int) -> None:
        """A parent that is looked at, and could send something, asks for its part; its venue takes no fewer."""
        if parent.shares_volume:
            lot, wanted = self._instruments[parent.symbol].lot, parent.sendable(now, None, least)
            self.together[parent.symbol].ask(parent.parent_id, wanted, parent.enough(least), now, lot)

    def leave(self, parent: Parent) -> None:
        """A parent is over: what it took, and what may still execute of it, counts until the last of its symbol is."""
        if not parent.shares_volume:
            return
        together = self.together[parent.symbol]
        together.serve(parent.parent_id)
        together.live -= 1
        together.left[parent.parent_id] = None
        if len(together.left) > LEFT_MAX:
            del together.left[next(iter(together.left))]
        if not together.live:
            del self.together[parent.symbol]

    # questions

    def turn(self, symbol: str) -> str | None:
        """Whose turn it is in a symbol, where there is enough for it."""
        together = self.together.get(symbol)
        return None if together is None else together.turn(self._instruments[symbol].lot)

    def is_alone(self, parent: Parent) -> bool:
        """Whether nobody else lives to share its volume with."""
        return not parent.shares_volume or self.together[parent.symbol].live == 1

    def room(self, parent: Parent) -> Decimal | None:
        """Shares that the others leave it; None where nothing bounds it with them."""
        if not parent.shares_volume:
            return None
        return self.together[parent.symbol].room(parent.parent_id, self._instruments[parent.symbol].lot)
