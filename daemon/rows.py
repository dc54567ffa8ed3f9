"""What people and programs see of live orders, parents, positions and prices: one row each, from the actors' state."""

from collections.abc import Iterator

import msgspec

from algos.parent import Parent
from algos.slicer import Slicer
from daemon.oms import Oms
from risk.exposure import Exposure
from tca.analyst import Analyst

Row = dict[str, object]


class Rows:
    """Rows by name; None where there is nothing live of that name. Amounts are Decimals, times ns UTC."""

    def __init__(self, *, oms: Oms, slicer: Slicer, exposure: Exposure, analyst: Analyst) -> None:
        self._oms = oms
        self._slicer = slicer
        self._exposure = exposure
        self._analyst = analyst

    def order(self, cl_ord_id: str) -> Row | None:
        """A child that may execute."""
        order = self._oms.view(cl_ord_id)
        return None if order is None else msgspec.structs.asdict(order)

    def parent(self, parent_id: str) -> Row | None:
        """A live parent."""
        parent = self._slicer.parents.get(parent_id)
        return None if parent is None else _parent(parent) | {"vwap_bps": self._analyst.deviation_bps(parent_id)}

    def position(self, strategy: str, symbol: str) -> Row | None:
        """A strategy's position, flat ones too."""
        position = self._exposure.book.position(strategy, symbol)
        if position is None:
            return None
        mark = self._exposure.mark(symbol)
        return {
            "strategy": strategy,
            "symbol": symbol,
            "qty": position.qty,
            "avg_px": position.avg_px,
            "mark": mark,
            "realized_pnl": position.realized_pnl,
            "unrealized_pnl": None if mark is None else position.unrealized_pnl(mark),
        }

    def price(self, symbol: str) -> Row | None:
        """A symbol's newest market."""
        market = self._exposure.market.get(symbol)
        if market is None:
            return None
        return {"symbol": symbol, "ts": market.ts, "bid": market.bid, "ask": market.ask, "last": market.last}

    # names

    def orders(self) -> Iterator[str]:
        """Children that may execute."""
        return (key for key in self._oms.orders if self._oms.view(key) is not None)

    def parents(self) -> Iterator[str]:
        """Live parents."""
        return iter(self._slicer.parents)

    def positions(self) -> Iterator[tuple[str, str]]:
        """Strategies and symbols that were ever traded."""
        return ((strategy, symbol) for strategy, symbol, _ in self._exposure.book.positions())

    def prices(self) -> Iterator[str]:
        """Symbols that were ever quoted."""
        return iter(self._exposure.market)


def _parent(parent: Parent) -> Row:
    return {
        "parent_id": parent.parent_id,
        "strategy": parent.strategy,
        "symbol": parent.symbol,
        "side": parent.side,
        "algo": parent.how.algo,
        "order_qty": parent.order_qty,
        "cum_qty": parent.cum_qty,
        "leaves_qty": parent.leaves_qty,
        "avg_px": parent.notional / parent.cum_qty if parent.cum_qty else None,
        "children": len(parent.children),
        "paused": parent.is_paused,
        "held": parent.held,
        "denied": parent.denied,
        "end": parent.end,
    }
