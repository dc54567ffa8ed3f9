"""Who goes first where orders of ours would meet, and who waits for which of them.

What shrinks the position, and an operator's flatten, goes first: the orders of ours that it would meet are taken back,
and the other side of the symbol sends nothing until it had its turn. A flatten's own make way for nobody. Whoever
would have met orders of ours asks again once all of those have ended.
"""

from collections.abc import Mapping

from algos.parent import RETRY_NS, Parent
from core.events import OrderDenied, Reason
from core.orders import Side

WAY_NS = 2 * RETRY_NS  # how long the other side stands back; who goes first asks again before, and renews it


class Precedence:
    """By symbol the side that goes first, and by order the parents that wait for its end.

    It reads the live parents, and whose child is whose; of these it changes `Parent.met` alone.
    """

    __slots__ = ("_blocked", "_owner", "_parents", "_way")

    def __init__(self, parents: Mapping[str, Parent], owner: Mapping[str, str]) -> None:
        self._parents = parents
        self._owner = owner  # live child -> parent
        self._blocked: dict[str, dict[str, Parent]] = {}  # by order of ours: those whose child would have met it
        self._way: dict[str, tuple[Side, int]] = {}  # by symbol: the side that goes first, and until when, ns

    # folds

    def deny(self, event: OrderDenied, parent: Parent) -> None:
        """A child of the parent was denied: these orders of ours were in its way, and no others."""
        self._wait_for(parent, event.met)
        if self._gets_way(event):
            self._way[event.symbol] = (event.side, event.ts + WAY_NS)

    def leave(self, parent: Parent) -> None:
        """Nothing is in the way of a parent."""
        self._wait_for(parent, ())

    def end(self, parent: Parent, now: int) -> bool:
        """A parent is over: nothing is in its way any more, nor does its side go first; whether that did.

        Whoever else of its side would meet orders of ours has the way again by its next denial.
        """
        self.leave(parent)
        if self._first(parent.symbol, now) is not parent.side:
            return False
        del self._way[parent.symbol]
        return True

    def over(self, cl_ord_id: str) -> list[Parent]:
        """An order has ended: in whose way it was the last may ask again; all others would only be denied once more."""
        waiting = list(self._blocked.get(cl_ord_id, {}).values())
        for parent in waiting:
            self._wait_for(parent, tuple(order for order in parent.met if order != cl_ord_id))
        return [parent for parent in waiting if not parent.met]

    # questions

    def in_the_way(self, event: OrderDenied) -> list[tuple[Parent, str]]:
        """Children that a denied one takes back; none of a flatten, which makes way for nobody."""
        if not self._goes_first(event):
            return []
        owners = ((self._owner.get(child), child) for child in event.met)
        found = ((self._parents[owner], child) for owner, child in owners if owner is not None)
        return [(owner, child) for owner, child in found if not owner.flatten]

    def stands_back(self, parent: Parent, now: int) -> bool:
        """Whether the other side of its symbol goes first."""
        return self._first(parent.symbol, now) is parent.side.opposite and not parent.flatten

    def _goes_first(self, event: OrderDenied) -> bool:
        """Whether the other side makes way for a denied child: it shrinks the position, or is of a flatten."""
        parent = self._parents.get(event.parent_id)
        return parent is not None and (event.reducing or parent.flatten)

    def _gets_way(self, event: OrderDenied) -> bool:
        """Whether the other side stands back: while something is taken back, and while the rate holds up who had it."""
        if event.reason is Reason.RATE:
            return self._goes_first(event) and self._first(event.symbol, event.ts) is event.side
        return bool(self.in_the_way(event))

    def _first(self, symbol: str, now: int) -> Side | None:
        """The side that goes first, where one does."""
        side, until = self._way.get(symbol, (None, 0))
        return side if now < until else None

    def _wait_for(self, parent: Parent, orders: tuple[str, ...]) -> None:
        """These orders of ours are in the way of a parent's child, and no others."""
        for order in parent.met:
            waiting = self._blocked[order]
            del waiting[parent.parent_id]
            if not waiting:
                del self._blocked[order]
        parent.met = orders
        for order in orders:
            self._blocked.setdefault(order, {})[parent.parent_id] = parent

    # snapshots

    def dump(self) -> dict[str, tuple[Side, int]]:
        """Who goes first; who waits for what is in the parents."""
        return self._way

    def load(self, dumped: dict[str, tuple[Side, int]]) -> None:
        """Who goes first, out of a snapshot whose parents are there already."""
        self._way = dumped
        for parent in self._parents.values():
            for order in parent.met:
                self._blocked.setdefault(order, {})[parent.parent_id] = parent
