"""All actors behind the page of wiring, without the edges: nothing leaves, nothing is recorded, every child executes.

For whoever counts or measures what an event costs with so many parents live.
"""

from collections.abc import Callable, Container, Iterable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from adapters.latch import Latch
from algos.router import Router, RouterSettings
from algos.slicer import Slicer
from algos.venues import Venues, VenueSettings
from core import events as e
from core.instruments import Instrument, Instruments
from core.orders import ExecType, Side
from core.signals import Algo, Instruction
from daemon.bus import Bus, Decision, Fold, Sink, actor_of
from daemon.drain import Drain
from daemon.halts import Halts
from daemon.oms import Oms, OmsSettings
from daemon.recorder import Recorder
from daemon.sender import Ledger, Sender
from daemon.sequences import Sequences
from daemon.wiring import Actors, wire
from risk.exposure import Exposure
from risk.gate import Gate
from risk.guard import Guard
from risk.limits import LimitsInForce
from risk.overrides import Overrides
from risk.sizing import Sizer
from risk.triggers import StopSettings, Triggers
from tca.analyst import Analyst
from tests.builders import NOW, abilities, accepted, approved, limits, opened, parent, quote
from tests.clocks import ManualClock

EDGES = frozenset({"sender", "halts", "drain", "recorder"})
SLICES, HOURS, CHILD = 20, 1, 100  # of a parent: children, how long it is worked, shares of one of them
STRATEGIES = 20
MANY = 10_000_000
WIDE = limits(
    positions_max=100_000,
    orders_per_s=100_000,
    messages_per_s=100_000,
    parents_per_day=MANY,
    quote_age_s_max=86_400,
)

Listener = TypeVar("Listener", bound=Callable[..., Any])


def actors(instruments: Instruments) -> Actors:
    """Everyone on the page; the edges are there by name only."""
    in_force = LimitsInForce(WIDE)
    exposure, ledger, overrides = Exposure(instruments, in_force, abilities(instruments)), Ledger(), Overrides()
    triggers, venues = Triggers(exposure, in_force, StopSettings()), Venues(instruments, exposure, VenueSettings())
    slicer = Slicer(instruments, may_open=exposure.may_open, place=venues.place)
    route = Router(instruments, RouterSettings()).route
    return Actors(
        sequences=Sequences(),
        limits=in_force,
        sizer=Sizer(exposure, in_force, route, slicer.amendment, triggers, tag="T", account="main"),
        triggers=triggers,
        exposure=exposure,
        overrides=overrides,
        guard=Guard(exposure, in_force),
        gate=Gate(exposure, in_force, overrides=overrides),
        venues=venues,
        slicer=slicer,
        oms=Oms(instruments, OmsSettings()),
        analyst=Analyst(instruments, {}),
        ledger=ledger,
        sender=Sender(
            {},
            ledger,
            Latch(),
            clock=ManualClock(),
            journal=_NoJournal(),
            publish=lambda event: None,
            fail=lambda error: None,
        ),
        halts=Halts.__new__(Halts),  # whom they act on does not matter here
        drain=Drain.__new__(Drain),
        recorder=Recorder.__new__(Recorder),  # what it writes to does not matter here
    )


class _NoJournal:
    async def durable(self, seq: int) -> None:
        raise NotImplementedError


class InsideBus(Bus):
    """A bus that leaves some actors out."""

    def __init__(self, outside: Container[str]) -> None:
        super().__init__()
        self._outside = outside

    def fold(self, kind: type[e.Event], *folds: Fold) -> None:
        """Connect the others."""
        super().fold(kind, *self._inside(folds))

    def on(self, kind: type[e.Event], *decisions: Decision) -> None:
        """Connect the others."""
        super().on(kind, *self._inside(decisions))

    def hand(self, kind: type[e.Event], *sinks: Sink) -> None:
        """Connect the others."""
        super().hand(kind, *self._inside(sinks))

    def tap(self, *sinks: Sink) -> None:
        """Connect the others."""
        super().tap(*self._inside(sinks))

    def after(self, *callbacks: Callable[[], None]) -> None:
        """Connect the others."""
        super().after(*self._inside(callbacks))

    def _inside(self, listeners: Iterable[Listener]) -> list[Listener]:
        return [each for each in listeners if actor_of(each) not in self._outside]


class Inside:
    """Everything inside, with a quoted market of so many symbols, and parents as many as are wanted.

    Without the gate there are slicer and oms alone, and whatever is asked for passes.
    """

    def __init__(self, symbols: int, *, gated: bool = True) -> None:
        self.symbols = [f"S{number}" for number in range(symbols)]
        self.instruments = Instruments(
            Instrument(symbol=name, calendar="24x7", shortable=True) for name in self.symbols
        )
        self.now = NOW
        self.parents = 0  # ever
        self.children = 0  # that executed
        self._approved: list[e.OrderApproved] = []
        self.actors = actors(self.instruments)
        everyone = {actor_of(each.__init__) for each in msgspec.structs.astuple(self.actors)}
        self.bus = InsideBus(EDGES if gated else everyone - {"slicer", "oms"})
        wire(self.bus, self.actors)
        if not gated:
            self.bus.on(e.ParentOrder, lambda order: [accepted(order)])
            self.bus.on(e.NewOrderSingle, lambda order: [approved(order)])
        self.bus.hand(e.OrderApproved, self._send)
        self.bus.publish(opened("1000000000000"))
        for name in self.symbols:
            self.bus.publish(quote(name))

    def _send(self, _: int, event: e.OrderApproved) -> None:
        self._approved.append(event)

    def fill_up(self, parents: int) -> None:
        """Let in as many as are missing."""
        while len(self.actors.slicer.parents) < parents:
            self.bus.publish(self.order())

    def order(self) -> e.ParentOrder:
        """One more parent, in the next symbol; its children rest until their venue executes them."""
        number, self.parents = self.parents, self.parents + 1
        how = Instruction(algo=Algo.TWAP, slices=SLICES, duration_s=HOURS * 3_600)
        side = Side.BUY if number % 3 else Side.SELL
        return msgspec.structs.replace(
            parent(side=side),
            parent_id=f"T{number:016}",
            ts=self.now,
            signal_ts=self.now,
            strategy=f"alpha{number % STRATEGIES}",
            symbol=self.symbols[number % len(self.symbols)],
            venue="paper",
            order_qty=Decimal(SLICES * CHILD),
            how=how,
        )

    def work(self, children: int) -> None:
        """Let time pass until so many children more were sent, and have executed."""
        wanted = self.children + children
        while self.children < wanted and (due := self.actors.slicer.next_due()) is not None:
            self.now = max(self.now, due)
            self.bus.publish(e.TimeAdvanced(ts=self.now))
            self.execute()

    def execute(self) -> None:
        """What was approved executes at its price."""
        approved, self._approved = self._approved, []
        for event in approved:
            self.children += 1
            self.bus.publish(_execution(event.order, self.now))


def _execution(order: e.NewOrderSingle, now: int) -> e.ExecutionReport:
    assert order.price is not None  # what rests has one
    return e.ExecutionReport(
        ts=now,
        venue=order.venue,
        exec_type=ExecType.TRADE,
        cl_ord_id=order.cl_ord_id,
        exec_id=f"E{order.cl_ord_id}",
        last_qty=order.order_qty,
        last_px=order.price,
    )
