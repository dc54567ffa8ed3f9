"""The gate's promise over whole histories, against an account that tries every combination of fills each time.

No approval takes a measure over its limit or further over, whichever of the orders fill; nothing that happens to what
was approved does either; and nothing is denied that would not. Prices, the regime, the model and the limits may: then
hedges and unwinds pass.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.events import (
    Event,
    FillBooked,
    NewOrderSingle,
    OrderApproved,
    OrderDenied,
    ParentAccepted,
    ParentOrder,
    Reason,
    RegimeSet,
    RiskModelSet,
)
from core.instruments import Instrument, Instruments, VenueAbility
from core.orders import OrdStatus, OrdType, Side
from core.signals import Instruction
from core.units import ZERO
from risk import checks
from risk.checks import CHECKS
from risk.exposure import Exposure
from risk.gate import Gate
from risk.limits import LimitsInForce
from risk.regime import RegimeState
from risk.scenarios import ScenarioModel
from risk.shortfall import Matrix, PortfolioShortfall, Vector
from risk.tail import Kind, Prepared, TailRisk, clusters
from tests.builders import (
    DAY,
    NOW,
    cancelled,
    child,
    ended,
    fold,
    limits,
    limits_set,
    opened,
    parent,
    quote,
    stop_set,
    updated,
)

BUY, SELL = Side.BUY, Side.SELL
UNIVERSE = Instruments(
    [
        Instrument(symbol="A", sector="Tech"),
        Instrument(symbol="B", sector="Tech", shortable=True),
        Instrument(symbol="C", sector="Bank", shortable=True),
        Instrument(symbol="D", sector="Bank", shortable=True, lot=Decimal(10)),
        Instrument(symbol="E", shortable=True, multiplier=Decimal(10)),
        Instrument(symbol="F", shortable=True, lot=Decimal("0.5")),
    ]
)
SYMBOLS = tuple(instrument.symbol for instrument in UNIVERSE)
ROW = {symbol: row for row, symbol in enumerate(SYMBOLS)}
LONG_ONLY = tuple(instrument.symbol for instrument in UNIVERSE if not instrument.shortable)
SECTORS = tuple(sorted({instrument.sector for instrument in UNIVERSE}))
IN_SECTOR = np.array([[float(instrument.sector == sector) for sector in SECTORS] for instrument in UNIVERSE])
CASH = 100_000
SCENARIOS = 100  # of which two and a half are the tail
ORDERS_MOST = 8  # that are open at once: 2 to their power are tried
TOGETHER = 0.75  # the correlation above which symbols are of one cluster
REGIMES = {"NORMAL": 1.0, "VOLATILE": 0.8, "CRISIS": 0.6}
ROUNDING = 1e-6  # money; of floats that stand for decimals


# The markets ----------------------------------------------------------------------------------------------------------


def scenario_model(version: str, seed: int, loads: list[float], symbols: tuple[str, ...] = SYMBOLS) -> ScenarioModel:
    """Each symbol moves with the market by its load, and by itself; filtered days differ from plain ones one by one."""
    rng = np.random.Generator(np.random.PCG64(seed))
    market, own = rng.normal(0, 0.03, SCENARIOS), rng.normal(0, 0.01, (len(symbols), SCENARIOS))
    plain = np.outer(loads, market) + own
    return ScenarioModel(
        date=DAY,
        version=version,
        symbols=symbols,
        plain=plain,
        filtered=plain * rng.uniform(0.5, 2.0, SCENARIOS),
        correlation=np.array(np.corrcoef(plain)),
        shrinkage=0.0,
        proxies=(),
    )


MODELS = (
    scenario_model("calm", 1, [1.0, 1.2, 0.9, -1.0, 0.0, 0.2]),
    scenario_model("other", 2, [0.5, 2.0, -0.5, 0.1, 2.0, 1.0]),  # A and C move with B, and not with each other
    scenario_model("without F", 3, [1.0, 1.0, 0.0, 0.0, -1.0], SYMBOLS[:-1]),
)
WIDE = limits()
BOUNDS = (
    WIDE,
    limits(
        position_max=Decimal("0.1"),
        sector_max=Decimal("0.2"),
        cluster_max=Decimal("0.25"),
        gross_max=Decimal("0.5"),
        net_max=Decimal("0.3"),
        positions_max=5,
        es_max=Decimal("0.02"),
    ),
    limits(position_max=Decimal("0.05")),
    limits(sector_max=Decimal("0.12")),
    limits(cluster_max=Decimal("0.1")),
    limits(gross_max=Decimal("0.25")),
    limits(net_max=Decimal("0.1")),
    limits(positions_max=3),
    limits(es_max=Decimal("0.005")),
    limits(position_heat_max=Decimal("0.01")),
    limits(heat_max=Decimal("0.03")),
)
MIDS = tuple(map(Decimal, ("100", "103", "97", "111", "90", "160", "60", "2500", "25")))


def shortfall(outcomes: Matrix) -> Vector:
    """The mean of the two and a half worst of each row, as a loss."""
    worst = np.partition(outcomes, (0, 1, 2), axis=1)[:, :3]
    losses: Vector = worst @ np.array([-1.0, -1.0, -0.5]) / 2.5
    return losses


@lru_cache
def combinations(orders: int) -> Matrix:
    """Which of so many orders fill and which do not, in every way (2^n, n)."""
    return np.array(list(product((0.0, 1.0), repeat=orders))).reshape(2**orders, orders)


# The account ----------------------------------------------------------------------------------------------------------

Order = tuple[str, Decimal]
"""A symbol and a signed quantity that may execute."""
Key = tuple[Reason, str, int]
"""A measure: the limit that it is held to, of what, and in which direction."""
ALL, ANY_WAY = ("",), 0
OF_ITS_OWN = frozenset({Reason.NET, Reason.CLUSTER, Reason.SHORTFALL})
"""What an order that shrinks its own position may take further: the end of a hedge."""


class Account:
    """What is held, what is open and what holds, in plain sums; and every measure at its worst by trying everything."""

    def __init__(self) -> None:
        self.cash = Decimal(CASH)
        self.held = dict.fromkeys(SYMBOLS, ZERO)
        self.marks = dict.fromkeys(SYMBOLS, Decimal(100))
        self.children: dict[str, NewOrderSingle] = {}
        self.parents: dict[str, ParentOrder] = {}
        self.size: dict[str, Decimal] = {}  # of each parent, as it was accepted
        self.done: dict[str, Decimal] = {}  # of each parent and child
        self.stops: dict[str, tuple[Side, Decimal]] = {}  # of each symbol: the side of its exit, and where
        self.model = MODELS[0]
        self.said, self.by_hand = "NORMAL", ""
        self.bounds = WIDE
        self.base = self.cash  # the lowest equity so far: it all happens in one moment, in which no rise counts

    def leaves(self, name: str) -> Decimal:
        """What a child or a parent has not executed."""
        return (self.children[name].order_qty if name in self.children else self.size[name]) - self.done[name]

    def open(self, *, of_parents: bool) -> list[Order]:
        """Children; or parents, and children whose parent is over."""
        orders: list[Order] = []
        for name, order in self.children.items():
            if not of_parents or order.parent_id not in self.parents:
                orders.append((order.symbol, order.side.sign * self.leaves(name)))
        if of_parents:
            orders += [(order.symbol, order.side.sign * self.leaves(name)) for name, order in self.parents.items()]
        return orders

    def unit(self, symbol: str) -> Decimal:
        """Money value of one share."""
        return self.marks[symbol] * UNIVERSE[symbol].multiplier

    def per_share(self, side: Side) -> Vector:
        """Money that a share of a position of that side may lose until its stop fires (n,)."""
        found = []
        for symbol in SYMBOLS:
            mark, (exit_, at) = self.marks[symbol], self.stops.get(symbol, (side, ZERO))
            away = side.sign * (mark - at)
            lost = mark if exit_ is side or away <= 0 else min(away, mark)
            found.append(float(lost * UNIVERSE[symbol].multiplier))
        return np.array(found)

    @property
    def equity(self) -> Decimal:
        """Cash and positions."""
        return self.cash + sum(qty * self.unit(symbol) for symbol, qty in self.held.items())

    def look(self) -> None:
        """What fractions are of falls at once."""
        self.base = min(self.base, self.equity)

    @property
    def units(self) -> Vector:
        """Of all symbols (n,)."""
        return np.array([float(self.unit(symbol)) for symbol in SYMBOLS])

    @property
    def positions(self) -> Vector:
        """Shares that are held (n,)."""
        return np.array([float(self.held[symbol]) for symbol in SYMBOLS])

    def scenarios(self, kind: Kind) -> Matrix:
        """One view of the model, zero for what it does not know (n, S)."""
        view: Matrix = getattr(self.model, kind)
        return np.vstack([view, np.zeros((len(SYMBOLS) - len(view), SCENARIOS))])

    def signs(self) -> Matrix:
        """What moves with each symbol, 1, or against it, -1, itself included (n, n)."""
        signs, known = np.eye(len(SYMBOLS)), len(self.model.symbols)
        correlation = self.model.correlation
        signs[:known, :known] = np.sign(correlation) * (np.abs(correlation) > TOGETHER)
        return signs

    def limit(self, key: Key) -> float:
        """What the measure is held to: money, or positions, or shares."""
        reason, what, _ = key
        bounds, equity = self.bounds, max(self.base, ZERO)
        fractions = {
            Reason.POSITION: bounds.position_max,
            Reason.SECTOR: bounds.sector_max,
            Reason.CLUSTER: bounds.cluster_max,
            Reason.GROSS: bounds.gross_max,
            Reason.NET: bounds.net_max,
            Reason.HEAT: bounds.position_heat_max if what else bounds.heat_max,
        }
        if reason in fractions:
            fraction = fractions[reason]
            return float("inf") if fraction is None else float(fraction * equity)
        match reason:
            case Reason.POSITIONS:
                return float(bounds.positions_max)
            case Reason.SHORT:
                return 0.0
            case _:
                part = REGIMES[self.by_hand or self.said] if what == Kind.PLAIN else 1.0
                return float(bounds.es_max * equity) * part

    def worst(self, *more: Order, of_parents: bool) -> dict[Key, float]:
        """The most that each measure comes to, whichever of the open orders and of some more fill."""
        orders = [*self.open(of_parents=of_parents), *more]
        sizes = np.zeros((len(orders), len(SYMBOLS)))
        for number, (symbol, qty) in enumerate(orders):
            sizes[number, ROW[symbol]] = float(qty)
        shares = self.positions + combinations(len(orders)) @ sizes
        values = shares * self.units
        gross = np.abs(values)
        heat = np.where(shares > 0, shares * self.per_share(BUY), -shares * self.per_share(SELL))
        ways: list[tuple[Reason, tuple[str, ...], int, Matrix]] = [
            (Reason.SECTOR, SECTORS, ANY_WAY, gross @ IN_SECTOR),
            (Reason.HEAT, SYMBOLS, ANY_WAY, heat),
            (Reason.HEAT, ALL, ANY_WAY, heat.sum(axis=1, keepdims=True)),
            (Reason.GROSS, ALL, ANY_WAY, gross.sum(axis=1, keepdims=True)),
            (Reason.POSITIONS, ALL, ANY_WAY, (shares != 0).sum(axis=1, keepdims=True)),
            (Reason.SHORT, LONG_ONLY, -1, -shares[:, [ROW[symbol] for symbol in LONG_ONLY]]),
        ]
        for sign in (1, -1):
            ways += [
                (Reason.POSITION, SYMBOLS, sign, sign * values),
                (Reason.CLUSTER, SYMBOLS, sign, sign * values @ self.signs()),
                (Reason.NET, ALL, sign, sign * values.sum(axis=1, keepdims=True)),
            ]
        for kind in Kind:
            ways.append((Reason.SHORTFALL, (kind,), ANY_WAY, shortfall(values @ self.scenarios(kind))[:, np.newaxis]))
        return {
            (reason, what, sign): most
            for reason, names, sign, table in ways
            for what, most in zip(names, table.max(axis=0).tolist(), strict=True)
        }

    def is_at_stake(self, symbol: str, *, of_parents: bool) -> bool:
        """Whether it is held, or may be."""
        return bool(self.held[symbol]) or any(symbol == other for other, qty in self.open(of_parents=of_parents) if qty)

    def has_scenarios(self, symbol: str) -> bool:
        """Whether an order can be judged: the model knows its symbol, and all that is at stake."""
        stakes = {name for name in SYMBOLS for each in (True, False) if self.is_at_stake(name, of_parents=each)}
        return {symbol, *stakes} <= set(self.model.symbols)

    def stated_shortfall(self, order: Order, *, of_parents: bool) -> dict[Kind, tuple[float, float]]:
        """What the gate measures and what it allows (`risk.tail`): what works elsewhere counts in full, on one side."""
        symbol, qty = order
        held, orders = self.positions * self.units, [*self.open(of_parents=of_parents), order]
        sums = {(name, sign): ZERO for name in SYMBOLS for sign in (1, -1)}
        for name, size in orders:
            sums[name, 1 if size > 0 else -1] += size * self.unit(name)
        found = {}
        for kind in Kind:
            scenarios = self.scenarios(kind)
            alone = {key: shortfall(float(size) * scenarios[[ROW[key[0]]]]).item() for key, size in sums.items()}
            after = held.copy()
            after[ROW[symbol]] += float(sums[symbol, 1 if qty > 0 else -1])
            others = sum(max(alone[name, 1], alone[name, -1], 0.0) for name in SYMBOLS if name != symbol)
            now, then = shortfall(np.array([held, after]) @ scenarios).tolist()
            found[kind] = then + others, max(self.limit((Reason.SHORTFALL, kind, ANY_WAY)), now)
        return found


# The history ----------------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """What happens next; each move takes of it what it needs."""

    move: str
    symbol: str = "A"
    side: Side = BUY
    size: int = 1  # thousands at a price of 100, or a choice
    pick: int = 0  # which order, or a choice
    percent: int = 0  # a price's distance from the mark


def shares_of(symbol: str, thousands: int) -> Decimal:
    """So much money at a price of 100, in whole lots."""
    return 10 * thousands / UNIVERSE[symbol].multiplier


class History:
    """A gate and its exposure beside the account that is kept apart, and what holds between them at every step."""

    def __init__(self, held_at: tuple[int, ...]) -> None:
        self.in_force = LimitsInForce(WIDE)
        self.account = Account()
        self.exposure, self.gate = self.begin()
        self.verdicts: list[ParentAccepted | OrderApproved | OrderDenied] = []
        self.count = 0
        fold(self.exposure, opened(str(CASH)), *(quote(symbol) for symbol in SYMBOLS))
        self.model(Step("model"))
        for symbol, thousands in zip(SYMBOLS, held_at, strict=True):
            if thousands:
                qty = shares_of(symbol, thousands)
                self.account.held[symbol] += qty
                self.account.cash -= qty * self.account.unit(symbol)
                fold(self.exposure, execution(child_of("OLD", (symbol, qty)), abs(qty), Decimal(100)))
        self.worst = self.measured()  # whatever may change it measures it again

    def begin(self) -> tuple[Exposure, Gate]:
        """A daemon that knows nothing yet."""
        abilities = {"paper": VenueAbility(), "other": VenueAbility()}
        exposure = Exposure(UNIVERSE, self.in_force, abilities, TailRisk())
        return exposure, Gate(exposure, self.in_force)

    def measured(self) -> dict[bool, dict[Key, float]]:
        """Every measure at its worst: with what parents may do, and with what children may."""
        return {of_parents: self.account.worst(of_parents=of_parents) for of_parents in (True, False)}

    def play(self, steps: list[Step]) -> "History":
        for step in steps:
            self.count += 1
            MOVES[step.move](self, step)
        return self

    # what is asked

    def parent(self, step: Step) -> None:
        account, symbol = self.account, step.symbol
        if len(account.open(of_parents=True)) >= ORDERS_MOST:
            return
        price = account.marks[symbol] * (100 + step.percent) / 100 if step.percent else None
        order = parent(
            side=step.side,
            order_qty=shares_of(symbol, step.size),
            parent_id=f"P{self.count}",
            resizable=step.pick % 2 == 1,
            how=Instruction(price=price),
        )
        order = msgspec.structs.replace(order, symbol=symbol)
        (verdict,) = self.gate.on_parent_order(order)
        assert isinstance(verdict, ParentAccepted | OrderDenied)
        self.verdicts.append(verdict)
        if isinstance(verdict, OrderDenied):
            self.denied(verdict, order)
            return
        fold(self.exposure, verdict)
        self.accept(order, verdict.order_qty)

    def accept(self, order: ParentOrder, qty: Decimal) -> None:
        account = self.account
        self.may_pass((order.symbol, order.side.sign * qty), of_parents=True, price=order.how.price)
        account.parents[order.parent_id] = order
        account.size[order.parent_id], account.done[order.parent_id] = qty, ZERO
        self.approved(order, of_parents=True)

    def child(self, step: Step) -> None:
        account = self.account
        if not account.parents or len(account.children) >= ORDERS_MOST:
            return
        owner = list(account.parents.values())[step.pick % len(account.parents)]
        name, symbol = owner.parent_id, owner.symbol
        sent = sum(account.leaves(key) for key, order in account.children.items() if order.parent_id == name)
        room, wanted = account.leaves(name) - sent, shares_of(symbol, step.size)
        qty = wanted if step.pick == ORDERS_MOST - 1 else min(wanted, room)
        if not qty:
            return
        price = account.marks[symbol] * (100 + step.percent) / 100 if step.percent else None
        order = child_of(name, (symbol, owner.side.sign * qty), self.count, price=price)
        (verdict,) = self.gate.on_new_order(order)
        assert isinstance(verdict, OrderApproved | OrderDenied)
        self.verdicts.append(verdict)
        if isinstance(verdict, OrderDenied):
            assert verdict.reason is not Reason.OVER_PARENT or qty > room
            self.denied(verdict, order)
            return
        assert qty <= room
        fold(self.exposure, verdict)
        self.may_pass((symbol, owner.side.sign * qty), of_parents=False, price=price)
        account.children[order.cl_ord_id], account.done[order.cl_ord_id] = order, ZERO
        self.approved(order, of_parents=False)

    def may_pass(self, asked: Order, *, of_parents: bool, price: Decimal | None) -> None:
        """What the gate let pass is within the shortfall that it states, where its symbols have one."""
        account = self.account
        if self.shrinks(asked, of_parents=of_parents):
            return
        assert account.has_scenarios(asked[0])
        if price is None or price <= account.marks[asked[0]]:
            for value, allowed in account.stated_shortfall(asked, of_parents=of_parents).values():
                assert value <= allowed * (1 + 1e-8) + ROUNDING

    def approved(self, order: ParentOrder | NewOrderSingle, *, of_parents: bool) -> None:
        """No measure went over its limit, or further over; what a child may do its parent was to do already."""
        account, now, symbol = self.account, self.measured(), order.symbol
        shrank = now[of_parents][Reason.POSITION, symbol, order.side.sign] <= 0
        for key, value in now[of_parents].items():
            if (shrank and key[0] in OF_ITS_OWN) or not self.counts(key, symbol, of_parents=of_parents):
                continue
            assert value <= max(account.limit(key), self.worst[of_parents][key]) + ROUNDING, key
        assert now[not of_parents] == self.worst[not of_parents]
        self.worst = now

    def denied(self, denial: OrderDenied, order: ParentOrder | NewOrderSingle) -> None:
        """Something would have gone over its limit, or further over; nothing that shrinks is denied for it."""
        of_parents = isinstance(order, ParentOrder)
        asked, measured = (order.symbol, order.side.sign * order.order_qty), self.worst[of_parents]
        if denial.reason is Reason.OVER_PARENT:
            return
        assert not self.shrinks(asked, of_parents=of_parents), denial
        price = order.how.price if isinstance(order, ParentOrder) else order.price
        mark = self.account.marks[order.symbol]
        is_dear = price is not None and (price > mark or (price < mark and denial.reason is Reason.HEAT))
        if is_dear or (isinstance(order, ParentOrder) and order.resizable):
            return  # judged at another price or quantity
        if denial.reason is Reason.NO_SCENARIOS:
            assert not self.account.has_scenarios(order.symbol)
        elif denial.reason is Reason.SHORTFALL:
            found = self.account.stated_shortfall(asked, of_parents=of_parents).values()
            assert any(value > allowed * (1 - 1e-8) for value, allowed in found), denial
        else:
            after = self.account.worst(asked, of_parents=of_parents)
            assert any(
                value > max(self.account.limit(key), measured[key]) + ROUNDING
                for key, value in after.items()
                if key[0] is denial.reason and self.counts(key, order.symbol, of_parents=of_parents)
            ), denial

    def shrinks(self, asked: Order, *, of_parents: bool) -> bool:
        """Whether all of an order shrinks its position, whatever else executes."""
        symbol, qty = asked
        after = self.account.worst(asked, of_parents=of_parents)
        return after[Reason.POSITION, symbol, 1 if qty > 0 else -1] <= 0

    def counts(self, key: Key, symbol: str, *, of_parents: bool) -> bool:
        """A cluster is one of the symbol that is asked for, or around something that is at stake."""
        reason, what, _ = key
        is_cluster = reason is Reason.CLUSTER and what != symbol
        return not is_cluster or self.account.is_at_stake(what, of_parents=of_parents)

    # what becomes of it

    def quietly(self, *events: Event) -> None:
        """What happens to approved orders takes no measure further than their approvals said, whatever its limit."""
        fold(self.exposure, *events)
        now = self.measured()
        for of_parents, measured in now.items():
            for key, value in measured.items():
                assert value <= self.worst[of_parents][key] + ROUNDING, key
        self.worst = now

    def one_of_children(self, step: Step) -> NewOrderSingle | None:
        found = list(self.account.children.values())
        return found[step.pick % len(found)] if found else None

    def fill(self, step: Step) -> None:
        """In any order, in parts, at any price."""
        account, order = self.account, self.one_of_children(step)
        if order is None:
            return
        qty = min(account.leaves(order.cl_ord_id), shares_of(order.symbol, step.size))
        price = account.marks[order.symbol] * (100 + step.percent) / 100
        account.held[order.symbol] += order.side.sign * qty
        account.cash -= order.side.sign * qty * price * UNIVERSE[order.symbol].multiplier
        account.look()
        for name in (order.cl_ord_id, order.parent_id):
            account.done[name] += qty
        is_last = not account.leaves(order.cl_ord_id)
        status, done = OrdStatus.FILLED if is_last else OrdStatus.PARTIALLY_FILLED, account.done[order.cl_ord_id]
        if is_last:
            del account.children[order.cl_ord_id]
        self.quietly(execution(order, qty, price, self.count), updated(order, status, done))

    def die(self, step: Step) -> None:
        order = self.one_of_children(step)
        if order is not None:
            status = (OrdStatus.REJECTED, OrdStatus.CANCELED)[step.size % 2]
            del self.account.children[order.cl_ord_id]
            self.quietly(updated(order, status, self.account.done[order.cl_ord_id]))

    def cancel(self, step: Step) -> None:
        """Asked for; it works until the venue says otherwise."""
        order = self.one_of_children(step)
        if order is not None:
            done = self.account.done[order.cl_ord_id]
            self.quietly(cancelled(order), updated(order, OrdStatus.PENDING_CANCEL, done))

    def end(self, step: Step) -> None:
        """A parent is over, its children are not."""
        parents = list(self.account.parents.values())
        if parents:
            order = parents[step.pick % len(parents)]
            del self.account.parents[order.parent_id]
            self.quietly(ended(order, self.account.done[order.parent_id]))

    def restart(self, step: Step) -> None:
        """A snapshot knows it all but the model."""
        del step
        dumped = msgspec.json.decode(msgspec.json.encode(self.exposure.dump()))
        self.exposure, self.gate = self.begin()
        self.exposure.load(dumped)
        fold(self.exposure, *(stop_set(symbol, side, str(at)) for symbol, (side, at) in self.account.stops.items()))
        self.offer(self.account.model, self.account.said)

    # what moves the measures and their limits

    def price(self, step: Step) -> None:
        mid, cent = MIDS[step.pick % len(MIDS)], Decimal("0.01")
        self.account.marks[step.symbol] = mid
        self.account.look()
        fold(self.exposure, quote(step.symbol, str(mid - cent), str(mid + cent)))
        self.worst = self.measured()

    def stop(self, step: Step) -> None:
        """One that closes what the side holds, so far from the mark; beyond it, too."""
        side, at = step.side, self.account.marks[step.symbol] * (100 - step.side.sign * (3 * step.size - 4)) / 100
        self.account.stops[step.symbol] = side.opposite, at
        fold(self.exposure, stop_set(step.symbol, side.opposite, str(at)))
        self.worst = self.measured()

    def regime(self, step: Step) -> None:
        self.account.by_hand = ["", *REGIMES][step.pick % 4]
        fold(self.exposure, RegimeSet(ts=NOW, regime=self.account.by_hand, by="ann"))

    def model(self, step: Step) -> None:
        self.account.model, self.account.said = MODELS[step.pick // 4], list(REGIMES)[(step.size - 1) % 3]
        self.offer(self.account.model, self.account.said)
        self.worst = self.measured()

    def offer(self, model: ScenarioModel, regime: str) -> None:
        tail = self.exposure.tail
        assert tail is not None
        portfolios = {kind: PortfolioShortfall(getattr(model, kind)) for kind in Kind}
        tail.offer(Prepared(model, RegimeState(), portfolios, clusters(model)))
        said = RiskModelSet(
            ts=NOW,
            version=model.version,
            date=model.date.isoformat(),
            symbols=len(model.symbols),
            scenarios=SCENARIOS,
            recent=(regime,),
        )
        fold(self.exposure, said)

    def limits(self, step: Step) -> None:
        self.account.bounds = BOUNDS[step.pick % len(BOUNDS)]
        self.in_force.take(limits_set(self.account.bounds))


@pytest.fixture(autouse=True, scope="module")
def meeting() -> Iterator[None]:
    """Purchases and sales may meet here: who keeps them apart has laws of its own (`tests/risk/test_resting.py`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "CHECKS", tuple(each for each in CHECKS if each is not checks.order_meets_none_of_ours))
        yield


def child_of(parent_id: str, order: Order, number: int = 0, *, price: Decimal | None = None) -> NewOrderSingle:
    """At the market unless it has a price."""
    symbol, qty = order
    side = BUY if qty > 0 else SELL
    return msgspec.structs.replace(
        child(side=side, order_qty=abs(qty), parent_id=parent_id, cl_ord_id=f"{parent_id}C{number}A1"),
        symbol=symbol,
        ord_type=OrdType.MARKET if price is None else OrdType.LIMIT,
        price=price,
    )


def execution(order: NewOrderSingle, qty: Decimal, price: Decimal, number: int = 0) -> FillBooked:
    return FillBooked(
        ts=NOW,
        exec_id=f"E{number}",
        cl_ord_id=order.cl_ord_id,
        parent_id=order.parent_id,
        strategy=order.strategy,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        last_qty=qty,
        last_px=price,
        fee=ZERO,
        multiplier=UNIVERSE[order.symbol].multiplier,
    )


MOVES: dict[str, Callable[[History, Step], None]] = {
    "parent": History.parent,
    "child": History.child,
    "fill": History.fill,
    "die": History.die,
    "cancel": History.cancel,
    "end": History.end,
    "restart": History.restart,
    "price": History.price,
    "stop": History.stop,
    "regime": History.regime,
    "model": History.model,
    "limits": History.limits,
}
PRICES = st.sampled_from([0, 0, -2, 2])
OFTEN = (*["parent"] * 8, *["child"] * 5, *["fill"] * 4, "limits", "price", "stop")
AFTERWARDS = ("child", "fill", "die", "cancel", "end")  # what becomes of parents


def steps_of(moves: tuple[str, ...], prices: st.SearchStrategy[int]) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        st.sampled_from(moves),
        st.sampled_from(SYMBOLS),
        st.sampled_from(Side),
        st.integers(1, 12),
        st.integers(0, 10),
        prices,
    )


STEPS = st.lists(steps_of((*OFTEN, *MOVES), PRICES), min_size=20, max_size=60)
ENDS = st.lists(steps_of(AFTERWARDS, st.just(0)), min_size=10, max_size=30)
HELD = st.tuples(*(st.just(0) | st.integers(-5 if instrument.shortable else 0, 5) for instrument in UNIVERSE))


TWO_HEDGES_OF_ONE = [
    Step("limits", pick=8),
    Step("parent", "D", BUY, 12),
    Step("parent", "B", SELL, 12),
]
A_IN_TWO_CLUSTERS = [Step("limits", pick=4), Step("model", pick=4), Step("parent", "A", BUY, 6)]
NOTHING_LEFT = [Step("limits", pick=2), Step("price", "B", pick=7), Step("parent", "F", BUY, 1)]


@example(held_at=(8, 0, 0, 0, 0, 0), steps=TWO_HEDGES_OF_ONE)
@example(held_at=(0, 1, -5, 0, 0, 0), steps=A_IN_TWO_CLUSTERS)  # around B it is fuller
@example(held_at=(0, 5, 5, 0, 0, 0), steps=A_IN_TWO_CLUSTERS)  # around A it is fuller
@example(held_at=(0, -8, 0, 0, 0, 0), steps=NOTHING_LEFT)
@settings(max_examples=150)
@given(HELD, STEPS)
def test_no_approval_takes_a_measure_over_its_limit_or_further_over_at_any_event_in_any_order_of_fills(
    held_at: tuple[int, ...], steps: list[Step]
) -> None:
    History(held_at).play(steps)


@settings(max_examples=30)
@given(HELD, STEPS, ENDS)
def test_at_constant_prices_no_fill_takes_a_measure_beyond_the_worst_that_was_said_when_its_parent_was_accepted(
    held_at: tuple[int, ...], steps: list[Step], ends: list[Step]
) -> None:
    history = History(held_at).play(steps)
    said, equity = history.worst[True], history.account.equity
    history.play(ends)
    assert history.account.equity == equity
    for measured in history.worst.values():
        for key, value in measured.items():
            assert value <= said[key] + ROUNDING, key


# Over a limit ---------------------------------------------------------------------------------------------------------

# For each measure what is held, what takes it over its limit, what would take it further, and what hedges (where a
# limit is on a sum without signs nothing does) and unwinds.
OVER: dict[str, tuple[tuple[int, ...], tuple[Step, ...], Step, Step | None, Step]] = {
    "POSITION, by a price": (
        (0, 4, 0, 0, 0, 0),
        (Step("limits", pick=2), Step("price", "B", pick=5)),
        Step("parent", "B", BUY, 1),
        None,
        Step("parent", "B", SELL, 4),
    ),
    "SECTOR, by a price": (
        (5, 5, 0, 0, 0, 0),
        (Step("limits", pick=3), Step("price", "A", pick=5)),
        Step("parent", "B", BUY, 1),
        None,
        Step("parent", "B", SELL, 5),
    ),
    "CLUSTER, by another model": (
        (0, 6, 0, 0, 6, 0),
        (Step("limits", pick=4), Step("model", pick=4)),
        Step("parent", "F", BUY, 1),
        Step("parent", "C", BUY, 6),
        Step("parent", "E", SELL, 6),
    ),
    "HEAT, without a stop": (
        (0, 4, 0, 0, 0, 0),
        (Step("limits", pick=9),),
        Step("parent", "B", BUY, 1),
        None,
        Step("parent", "B", SELL, 4),
    ),
    "HEAT, by a price in sum": (
        (0, -8, 0, 0, 0, 0),
        (Step("stop", "B", SELL, 3), Step("limits", pick=10), Step("price", "B", pick=6)),
        Step("parent", "A", BUY, 1),
        None,
        Step("parent", "B", BUY, 8),
    ),
    "GROSS, by a loss": (
        (0, -8, 8, 0, 8, 0),
        (Step("limits", pick=5), Step("price", "B", pick=5)),
        Step("parent", "F", BUY, 1),
        None,
        Step("parent", "B", BUY, 8),
    ),
    "NET, by a price": (
        (0, 8, 0, 0, 0, 0),
        (Step("limits", pick=6), Step("price", "B", pick=5)),
        Step("parent", "F", BUY, 1),
        Step("parent", "F", SELL, 12),
        Step("parent", "B", SELL, 8),
    ),
    "NET, by a price, of which the hedge is unwound": (
        (0, 8, -7, 0, 0, 0),
        (Step("limits", pick=6), Step("price", "B", pick=5), Step("price", "C", pick=8)),
        Step("parent", "F", BUY, 1),
        Step("parent", "F", SELL, 12),
        Step("parent", "C", BUY, 7),
    ),
    "POSITIONS, by a lower limit": (
        (1, 1, 1, 1, 0, 0),
        (Step("limits", pick=7),),
        Step("parent", "E", BUY, 1),
        None,
        Step("parent", "D", SELL, 1),
    ),
    "SHORTFALL, by a regime": (
        (0, 5, 0, 0, 0, 0),
        (Step("limits", pick=8), Step("regime", pick=3)),
        Step("parent", "A", BUY, 1),
        Step("parent", "D", BUY, 5),
        Step("parent", "B", SELL, 5),
    ),
    "SHORTFALL, by another model": (
        (0, 0, 0, 0, 0, 8),
        (Step("limits", pick=8), Step("model", pick=4)),
        Step("parent", "E", BUY, 1),
        Step("parent", "C", BUY, 4),
        Step("parent", "F", SELL, 8),
    ),
    "SHORTFALL, by a lower limit, of which the hedge is unwound": (
        (12, 0, 0, 5, 0, 0),
        (Step("limits", pick=8),),
        Step("parent", "C", BUY, 1),
        Step("parent", "B", SELL, 2),
        Step("parent", "D", SELL, 5),
    ),
}


@pytest.mark.parametrize("name", OVER)
def test_over_a_limit_a_hedge_and_an_unwind_pass_and_what_takes_it_further_does_not(name: str) -> None:
    held_at, causes, worse, hedge, unwind = OVER[name]
    reason = Reason(name.partition(",")[0])

    def over() -> History:
        history = History(held_at).play(list(causes))
        for measured in history.worst.values():
            assert any(value > history.account.limit(key) for key, value in measured.items() if key[0] is reason)
        return history

    (denied,) = over().play([worse]).verdicts
    assert isinstance(denied, OrderDenied)
    assert denied.reason is reason
    for step in (hedge, unwind):
        if step is not None:
            parent_in, child_in = over().play([step, Step("child", size=step.size)]).verdicts
            assert isinstance(parent_in, ParentAccepted)
            assert isinstance(child_in, OrderApproved)


def test_of_every_measure_a_book_is_over_its_limit() -> None:
    assert {Reason(name.partition(",")[0]) for name in OVER} == {key[0] for key in History((0,) * 6).worst[True]} - {
        Reason.SHORT  # what may not be sold short is not held short by any price
    }
