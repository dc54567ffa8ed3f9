"""Our own orders that may execute at venues, by their price: whom a new order would meet, and trade with (R13).

Per symbol and side the most aggressive price is kept: the highest purchase, the lowest sale; over all venues, as two of
them may bring their orders to one exchange. An order without a price reaches any, and so comes before all that have
one. Among equals the client id decides, so that the answer does not depend on what has ended before.

Each side is a heap whose entries outlive their orders until they come up, or until they are the greater part: adding
and ending cost O(log n) amortised over the orders that work, asking costs nothing, and memory is bounded by twice what
works.
"""

from decimal import Decimal
from heapq import heapify, heappop, heappush

from core.orders import Side

Place = tuple[str, Side]
"""Symbol and side."""

Resting = tuple[str, Decimal | None]
"""Client id and price; None: at any."""

MET_MAX = 16  # orders that one denial names

_ANY = Decimal("-Infinity")  # ranks before every price


class Queue:
    """The orders of one place, the most aggressive one first. The price of an order never changes."""

    __slots__ = ("_heap", "_prices", "_sign")

    def __init__(self, side: Side) -> None:
        self._sign = side.sign
        self._prices: dict[str, Decimal | None] = {}
        self._heap: list[tuple[Decimal, str]] = []  # entries whose order has gone are stale; the first never is

    def __len__(self) -> int:
        return len(self._prices)

    @property
    def first(self) -> Resting:
        """The most aggressive one."""
        cl_ord_id = self._heap[0][1]
        return cl_ord_id, self._prices[cl_ord_id]

    def reached(self, price: Decimal) -> tuple[str, ...]:
        """Whom an order of the other side at this price would meet, the most aggressive first, `MET_MAX` at most."""
        found: dict[str, None] = {}
        last = self._entry("", price)[0]
        ahead = [(self._heap[0], 0)]  # entries all above which were looked at: the next one is among them
        while ahead and len(found) < MET_MAX:
            (rank, cl_ord_id), index = heappop(ahead)
            if rank > last:
                break
            if cl_ord_id in self._prices:
                found[cl_ord_id] = None
            for below in range(2 * index + 1, min(2 * index + 3, len(self._heap))):
                heappush(ahead, (self._heap[below], below))
        return tuple(found)

    def put(self, cl_ord_id: str, price: Decimal | None) -> None:
        """An order works; saying so again changes nothing."""
        if cl_ord_id not in self._prices:
            self._prices[cl_ord_id] = price
            heappush(self._heap, self._entry(cl_ord_id, price))

    def drop(self, cl_ord_id: str) -> None:
        """An order works no more; saying so again changes nothing."""
        if cl_ord_id not in self._prices:
            return
        del self._prices[cl_ord_id]
        if len(self._heap) > 2 * len(self._prices):
            self._heap = [self._entry(*order) for order in self._prices.items()]
            heapify(self._heap)
        while self._heap and self._heap[0][1] not in self._prices:
            heappop(self._heap)

    def _entry(self, cl_ord_id: str, price: Decimal | None) -> tuple[Decimal, str]:
        return (_ANY if price is None else -self._sign * price, cl_ord_id)


class RestingOrders:
    """All places at which something of ours works."""

    __slots__ = ("_queues",)

    def __init__(self) -> None:
        self._queues: dict[Place, Queue] = {}

    def best(self, place: Place) -> Resting | None:
        """The most aggressive order of a place, None where nothing works."""
        queue = self._queues.get(place)
        return None if queue is None else queue.first

    def reached(self, place: Place, price: Decimal) -> tuple[str, ...]:
        """Whom an order of the other side at this price would meet there, the first of them."""
        queue = self._queues.get(place)
        return () if queue is None else queue.reached(price)

    def put(self, place: Place, cl_ord_id: str, price: Decimal | None) -> None:
        """An order works; saying so again changes nothing."""
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = Queue(place[1])
        queue.put(cl_ord_id, price)

    def drop(self, place: Place, cl_ord_id: str) -> None:
        """An order works no more; saying so again changes nothing."""
        queue = self._queues.get(place)
        if queue is None:
            return
        queue.drop(cl_ord_id)
        if not queue:
            del self._queues[place]
