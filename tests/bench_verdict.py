"""The verdict of the gate, all checks, in a book near its limit: how long, by what decided it.

The flow is the one that such figures are promised for: of all orders half lie within 5 % of the limit on expected
shortfall, most of these over it (30 % of all). A quote of something held is measured before each, as at rest.
"""

import datetime as dt
import gc
import random
import time
from collections.abc import Iterator
from decimal import Decimal
from statistics import quantiles

import msgspec
import numpy as np

from core.events import FillBooked, MarketData, Reason, RiskModelSet
from core.instruments import Instrument, Instruments
from core.orders import OrdType, Side
from risk.checks import Ask, Case, judge
from risk.exposure import Exposure
from risk.limits import Limits, LimitsInForce
from risk.regime import RegimeState
from risk.scenarios import ScenarioModel
from risk.shortfall import PortfolioShortfall
from risk.tail import Kind, Prepared, TailRisk, clusters
from tests.builders import DAY, NOW, abilities, fold, held, limits, opened, quote

SYMBOLS, SCENARIOS, HELD = 500, 1_000, 25
ORDERS = 5_000
FULL = 0.9  # of the limit, by what is held
RATIOS = ((0.5, 0.92, 0.94), (0.7, 0.95, 1.0), (1.0, 1.0, 1.05))  # up to this part of the orders: from, to
CASH = Decimal(10_000_000)


class Book:
    """Positions among so many symbols, which move with a market, under a limit of which they take `FULL`."""

    def __init__(self, positions: int) -> None:
        self.names = tuple(f"S{number}" for number in range(SYMBOLS))
        instruments = Instruments(
            Instrument(symbol=name, sector=f"X{number % 11}", shortable=True, adv=Decimal(100_000_000))
            for number, name in enumerate(self.names)
        )
        self.tail, self.positions, self.random = TailRisk(), positions, random.Random(1)
        self.tail.offer(_model(self.names))
        self.exposure = Exposure(instruments, LimitsInForce(limits()), abilities(instruments), self.tail)
        day = (DAY - dt.timedelta(days=1)).isoformat()
        model = RiskModelSet(
            ts=NOW, version="bench", date=day, symbols=SYMBOLS, scenarios=SCENARIOS, recent=("NORMAL",)
        )
        fold(self.exposure, opened(str(CASH)), model, *map(quote, self.names))
        fold(self.exposure, *(self._position(number, 20_000 // positions) for number in range(positions)))
        assert self.exposure.tail is not None
        worst = max(view.held for view, _ in self.tail.views(NOW))
        self.limits: Limits = limits(es_max=Decimal(f"{worst / FULL / float(self.exposure.equity):.6f}"))

    def _position(self, number: int, qty: int) -> FillBooked:
        fill = held("AAPL", qty if number % 3 else -qty)
        return msgspec.structs.replace(fill, symbol=self.names[number])

    def quote(self) -> MarketData:
        """A little up or down, of something held."""
        mid = 100 + self.random.randrange(-3, 4) / 100
        name = self.names[self.random.randrange(self.positions)]
        return quote(name, f"{mid - 0.01:.2f}", f"{mid + 0.01:.2f}")

    def order(self, ratio: float) -> Ask:
        """A parent that takes the shortfall to about this part of its limit."""
        view = max((view for view, _ in self.tail.views(NOW)), key=lambda view: view.held)
        allowed = ratio * float(self.limits.es_max * self.exposure.equity)
        while True:
            row, side = self.random.randrange(SYMBOLS), self.random.choice((Side.BUY, Side.SELL))
            size = view.most(row, side.sign * 2e6, allowed, of_parents=True)
            if size is None or size * side.sign <= 0:
                continue  # not every symbol gets there: some hedge
            qty = round(abs(size) / 100)
            if 0 < qty < 19_000:
                break
        return Ask(
            ts=NOW,
            parent_id="P",
            cl_ord_id="",
            strategy="bench",
            venue="paper",
            symbol=self.names[row],
            side=side,
            qty=Decimal(qty),
            ord_type=OrdType.MARKET,
            price=None,
            time_in_force=None,
        )


def _model(names: tuple[str, ...]) -> Prepared:
    rng = np.random.Generator(np.random.PCG64(1))
    plain = rng.standard_t(4, size=SCENARIOS) * 0.008 + rng.standard_t(4, size=(SYMBOLS, SCENARIOS)) * 0.012
    model = ScenarioModel(
        date=DAY - dt.timedelta(days=1),
        version="bench",
        symbols=names,
        plain=plain,
        filtered=1.1 * plain[:, ::-1].copy(),
        correlation=np.array(np.corrcoef(plain)),
        shrinkage=0.0,
        proxies=(),
    )
    portfolios = {Kind.FILTERED: PortfolioShortfall(model.filtered), Kind.PLAIN: PortfolioShortfall(model.plain)}
    return Prepared(model, RegimeState(), portfolios, clusters(model))


def _ratios(orders: int) -> Iterator[float]:
    chosen = random.Random(2)
    for _ in range(orders):
        part = chosen.random()
        low, high = next((low, high) for most, low, high in RATIOS if part <= most)
        yield chosen.uniform(low, high)


def main(orders: int = ORDERS) -> None:
    """Print microseconds, p50 and p99, by what decided; and of the whole flow, also with eight times the positions."""
    for positions in (HELD, 8 * HELD):
        book, evaluated = Book(positions), 0
        quoted: list[float] = []
        took: dict[str, list[float]] = {"by the bound": [], "exactly, passed": [], "exactly, denied": []}
        for ratio in _ratios(orders):
            ask = book.order(ratio)
            fold(book.exposure, book.quote())
            began = time.perf_counter_ns()
            book.exposure.measure()
            quoted.append((time.perf_counter_ns() - began) / 1_000)
            before = [view.evaluated for view, _ in book.tail.views(NOW)]
            began = time.perf_counter_ns()
            denial = judge(Case(ask, book.exposure), book.limits)
            us = (time.perf_counter_ns() - began) / 1_000
            assert denial is None or denial.reason is Reason.SHORTFALL, denial
            now = [view.evaluated for view, _ in book.tail.views(NOW)]
            evaluated += sum(now) - sum(before)
            took["exactly, denied" if denial else "exactly, passed" if now != before else "by the bound"].append(us)
        everything = [us for each in took.values() for us in each]
        size = f"{SYMBOLS} x {SCENARIOS:,}, {positions} held"
        for how, each in [*took.items(), ("in all", everything)]:
            cuts = quantiles(each, n=100)
            part = len(each) / len(everything)
            print(f"verdict {size}: {how:<16} {part:>4.0%}  p50 {cuts[49]:6.1f} us  p99 {cuts[98]:6.1f} us", flush=True)
        print(f"verdict {size}: measuring a quote p50 {quantiles(quoted, n=100)[49]:.1f} us, before the verdict")
        print(f"verdict {size}: {evaluated / len(everything):.1f} exact values an order", flush=True)


if __name__ == "__main__":
    gc.freeze()
    main()
