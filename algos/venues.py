"""The venue of a child: where each one that the slicer sends is expected to cost least, of those its instrument names.

Costs are bps of the child's value, positive when they hurt, and added up:

    fee        what the venue charges for it, negative for a rebate; of who rests another one where it says so
    spread     half the market's spread where the child crosses, as often as it is larger than what is displayed there
    latency    what the price may do, by its volatility, between an approval and the first word of the venue
    rejects    the part of the orders that the venue did not take, times `reject_bps`

The market is the consolidated one, the same at all of them, and a venue has its `depth_share` of what is displayed.
Latency and rejects are measured, by averages in which a new value counts a tenth. They begin at what is assumed of any
venue, and go back to it while nothing new comes, half of the way in a quarter of an hour: who was bad is tried again.

A venue is no candidate

    while it is away           it could not be asked, until it says anything; or an order to it was not sent or its
                               outcome is not known, for ten seconds, or until it says anything
    where the strategy may not trade, and where such an order is not taken
    where it holds nothing     of what the child closes, or less than an order may be, while another holds any: what a
                               venue holds is closed there, with no more than is held and not on its way out already,
                               also where it costs more; where all hold less than that, a larger order goes there first

Without a candidate the child is not sent; its parent looks again. But a watch that hears nothing must keep nobody in a
position: where all that hold what the child closes are away, it is tried there, once a minute has passed since an
outage was said or an order was lost. The cheapest candidate is chosen, of equals the first that the instrument names. A
parent that has a venue keeps it until another is cheaper by more than `switch_bps`. Children that work stay where they
are. Where an instrument names one venue, nothing is chosen; how that venue is can be asked all the same.

What the numbers leave out: what a venue's own quote would say, as no feed tells venues apart; and the limits on the
size and the rate of orders, which the gate answers for.
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Protocol

import msgspec

from algos.trajectory import ENOUGH
from core.calendar import CALENDARS
from core.events import (
    AccountReported,
    Event,
    MarketData,
    NewOrderSingle,
    OrderApproved,
    OrderUpdated,
    ParentEnded,
    VenueAway,
    VenueChosen,
    VenueCost,
)
from core.impact import recorded
from core.instruments import Instrument, Instruments, VenueAbility
from core.orders import OrdStatus, Side
from core.units import NS_PER_S, ZERO, floor_to

LATENCY_S = 0.05  # assumed of a venue of which nothing was heard
REJECTS = 0.01  # likewise, of its orders
WEIGHT = 0.1  # of a new value in its average
HALF_LIFE_NS = 900 * NS_PER_S  # in which an average goes half of the way back to what is assumed
PAUSE_NS = 10 * NS_PER_S  # for a venue that did not get an order, or may not have
TRY_NS = 60 * NS_PER_S  # after which what can be closed nowhere else is tried there all the same
BPS_MAX = 1_000  # of a setting
_BPS = 10_000.0

_TAKEN = frozenset({OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.FILLED})
_LOST = frozenset({OrdStatus.NOT_SENT, OrdStatus.UNKNOWN})


class VenueSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[venue_router] - which venue a child goes to, where its instrument names several."""

    reject_bps: Decimal = Decimal(10)  # what an order costs that a venue does not take
    switch_bps: Decimal = Decimal("0.25")  # by more than so much another venue has to be cheaper than a parent's own

    def __post_init__(self) -> None:
        for name, value in (("reject_bps", self.reject_bps), ("switch_bps", self.switch_bps)):
            if not (value.is_finite() and 0 <= value <= BPS_MAX):
                raise ValueError(f"{name} = {value}: 0 to {BPS_MAX:,} bps belong here")


class Access(Protocol):
    """What the account has and may do at each venue."""

    @property
    def abilities(self) -> Mapping[str, VenueAbility]:
        """By venue: which orders it takes, and what they cost."""
        ...

    def admits(self, parent_id: str, strategy: str, venue: str) -> bool:
        """Whether a parent's strategy may trade at a venue."""
        ...

    def closable(self, venue: str, symbol: str, side: Side) -> Decimal:
        """How much an order of this side could close at a venue, beside those that work there."""
        ...


class Average(msgspec.Struct):
    """Exponentially weighted, and drawn to what is assumed while nothing new comes."""

    assumed: float
    value: float
    ts: int = 0

    def at(self, now: int) -> float:
        """What it is by now."""
        left = math.pow(0.5, max(now - self.ts, 0) / HALF_LIFE_NS)
        return self.assumed + (self.value - self.assumed) * left

    def add(self, value: float, now: int) -> None:
        """A new value."""
        self.value = self.at(now) + WEIGHT * (value - self.at(now))
        self.ts = now


class Record(msgspec.Struct):
    """How a venue was of late. `away`: why nothing is sent there; `until` ns, None: until it says anything.

    `lost` is when that was last said, or an order last lost, ns.
    """

    latency_s: Average
    rejects: Average
    away: str = ""
    until: int | None = None
    lost: int = 0

    def why_away(self, now: int) -> str:
        """Why nothing is sent there; empty: it is no more than usual."""
        return self.away if self.until is None or now < self.until else ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a venue is of late, for people. `rejects`: the part of its orders; `away`: why, empty where it is not."""

    venue: str
    latency_ms: float
    rejects: float
    away: str


def unheard() -> Record:
    """The record of a venue of which nothing is known."""
    return Record(Average(LATENCY_S, LATENCY_S), Average(REJECTS, REJECTS))


class Venues:
    """What was heard of each venue, and which one each parent has."""

    __slots__ = ("_access", "_chosen", "_instruments", "_records", "_settings", "_waiting")

    def __init__(self, instruments: Instruments, access: Access, settings: VenueSettings) -> None:
        self._instruments = instruments
        self._access = access
        self._settings = settings
        self._records = {venue: unheard() for each in instruments for venue in each.places}
        self._chosen: dict[str, str] = {}  # by parent
        self._waiting: dict[str, int] = {}  # orders without a word of their venue, and when they were approved, ns

    # folds

    def approve(self, event: OrderApproved) -> None:
        """An order goes, and its venue is waited for."""
        if event.order.venue in self._records:
            self._waiting[event.cl_ord_id] = event.ts

    def update(self, event: OrderUpdated) -> None:
        """The first word on an order says how fast its venue is, and whether it takes orders."""
        record = self._records.get(event.venue)
        if record is None:
            return
        status = event.ord_status
        if status in _TAKEN or status is OrdStatus.REJECTED:
            record.away, record.until = "", None
        is_first = status in _TAKEN or status in _LOST or event.terminal
        approved = self._waiting.pop(event.cl_ord_id, None) if is_first else None
        if approved is None:
            return
        if status in _TAKEN:
            record.latency_s.add((event.ts - approved) / NS_PER_S, event.ts)
            record.rejects.add(0.0, event.ts)
        elif status is OrdStatus.REJECTED or status in _LOST:
            record.rejects.add(1.0, event.ts)
        if status in _LOST:
            record.lost = event.ts
            if not record.why_away(event.ts):
                record.away, record.until = f"an order was {status}", event.ts + PAUSE_NS

    def lose(self, event: VenueAway) -> None:
        """A venue could not be asked."""
        record = self._records.get(event.venue)
        if record is not None:
            record.away, record.until, record.lost = event.text or "it cannot be asked", None, event.ts

    def hear(self, event: AccountReported) -> None:
        """A venue that speaks is there."""
        record = self._records.get(event.venue)
        if record is not None:
            record.away, record.until = "", None

    def choose(self, event: VenueChosen) -> None:
        """A parent has a venue."""
        self._chosen[event.parent_id] = event.venue

    def end(self, event: ParentEnded) -> None:
        """A parent needs none any more."""
        self._chosen.pop(event.parent_id, None)

    # what the slicer asks

    def place(self, order: NewOrderSingle, market: MarketData | None) -> Iterable[Event]:
        """The child at its venue, behind the choice where that is another one; nothing where it can go nowhere now."""
        instrument = self._instruments[order.symbol]
        if len(instrument.places) == 1:
            yield order
            return
        lies = {venue: self._closable(venue, order, instrument) for venue in instrument.places}
        least = _least(order, market, instrument)
        held = {venue: qty if qty >= least else ZERO for venue, qty in lies.items()}
        closes = any(held.values())
        costs = {venue: self._cost(venue, order, market, instrument) for venue in instrument.places}
        if closes:
            costs = {venue: each if held[venue] else _barred(each) for venue, each in costs.items()}
        was = self._chosen.get(order.parent_id, "")
        with_dust = {venue: each for venue, each in costs.items() if lies[venue] and not closes}
        venue = _cheapest(with_dust, was, self._settings.switch_bps)
        if venue is None:
            venue = _cheapest(costs, was, self._settings.switch_bps)
        if venue is None and closes:
            tried = (each for name, each in costs.items() if held[name] and self._is_tried(each, order.ts))
            without = {each.venue: msgspec.structs.replace(each, text="") for each in tried}
            venue = _cheapest(without, was, self._settings.switch_bps)
        if venue is None:
            return
        if venue != was:
            yield VenueChosen(
                ts=order.ts,
                parent_id=order.parent_id,
                strategy=order.strategy,
                symbol=order.symbol,
                side=order.side,
                venue=venue,
                was=was,
                reason=_reason(costs, venue, was, closes=closes),
                alternatives=tuple(costs.values()),
            )
        qty = min(order.order_qty, held[venue]) if closes else order.order_qty
        if closes and 0 < held[venue] - qty < least:  # which could not follow
            shorter = floor_to(held[venue] - least * ENOUGH, instrument.lot)
            qty = shorter if shorter >= least else qty
        yield msgspec.structs.replace(order, venue=venue, order_qty=qty)

    def _is_tried(self, cost: VenueCost, now: int) -> bool:
        """Whether nothing but its being away is against a venue, and that is long ago."""
        record = self._records[cost.venue]
        return cost.text == record.why_away(now) and now >= record.lost + TRY_NS

    def _closable(self, venue: str, order: NewOrderSingle, instrument: Instrument) -> Decimal:
        return floor_to(self._access.closable(venue, order.symbol, order.side), instrument.lot)

    def _cost(self, venue: str, order: NewOrderSingle, market: MarketData | None, instrument: Instrument) -> VenueCost:
        record, ability = self._records[venue], self._access.abilities[venue]
        fee = recorded(fee_bps(ability, order, market, instrument))
        spread = recorded(spread_bps(ability, order, market))
        latency = recorded(latency_bps(record.latency_s.at(order.ts), order.ts, instrument))
        rejects = recorded(record.rejects.at(order.ts) * float(self._settings.reject_bps))
        text = record.why_away(order.ts)
        if not self._access.admits(order.parent_id, order.strategy, venue):
            text = f"{order.strategy} may not trade there"
        elif not _takes(ability, order):
            text = f"it takes no {order.ord_type} orders {order.time_in_force}"
        return VenueCost(
            venue=venue,
            cost_bps=fee + spread + latency + rejects,
            fee_bps=fee,
            spread_bps=spread,
            latency_bps=latency,
            reject_bps=rejects,
            text=text,
        )

    def standing(self, now: int) -> list[Standing]:
        """How each venue is that an instrument names."""
        return [
            Standing(
                venue=venue,
                latency_ms=round(record.latency_s.at(now) * 1_000, 3),
                rejects=round(record.rejects.at(now), 4),
                away=record.why_away(now),
            )
            for venue, record in self._records.items()
        ]

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        records = {venue: msgspec.to_builtins(record) for venue, record in self._records.items()}
        return {"records": records, "chosen": dict(self._chosen), "waiting": dict(self._waiting)}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot; of venues that no instrument names nothing is kept."""
        state = msgspec.convert(dumped, _State)
        self._records |= {venue: record for venue, record in state.records.items() if venue in self._records}
        self._chosen = state.chosen
        self._waiting = state.waiting


class _State(msgspec.Struct):
    records: dict[str, Record]
    chosen: dict[str, str]
    waiting: dict[str, int]


# The parts of a cost, bps ---------------------------------------------------------------------------------------------


def fee_bps(ability: VenueAbility, order: NewOrderSingle, market: MarketData | None, instrument: Instrument) -> float:
    """What the venue charges who rests, or takes; money per share is of the child's price, or of the mid."""
    price = order.price or (market.mid if market is not None else None)
    share = float(ability.fee_per_share / (price * instrument.multiplier)) * _BPS if price else 0.0
    maker_bps = ability.maker_fee_bps
    return float(ability.fee_bps if maker_bps is None or not _rests(order, market) else maker_bps) + share


def spread_bps(ability: VenueAbility, order: NewOrderSingle, market: MarketData | None) -> float:
    """Half the spread, as often as the child is larger than what is displayed there; zero where it rests."""
    if market is None or market.bid is None or market.ask is None or not ZERO < market.bid <= market.ask:
        return 0.0
    if _rests(order, market):
        return 0.0
    size = market.ask_size if order.side is Side.BUY else market.bid_size
    half = float((market.ask - market.bid) / (market.ask + market.bid)) * _BPS
    displayed = size * ability.depth_share
    return half * max(1.0, float(order.order_qty / displayed)) if displayed > 0 else half


def _rests(order: NewOrderSingle, market: MarketData | None) -> bool:
    """Whether a child has a price that does not reach the other side; unknown where that side is not quoted."""
    touch = None if market is None else market.ask if order.side is Side.BUY else market.bid
    return order.price is not None and touch is not None and order.side.sign * (order.price - touch) < 0


def latency_bps(latency_s: float, now: int, instrument: Instrument) -> float:
    """The standard deviation of the price over so many seconds; zero where no volatility or session is known."""
    session = CALENDARS[instrument.calendar].session_at(now)
    if session is None or instrument.volatility is None:
        return 0.0
    part = latency_s * NS_PER_S / (session.close - session.open)
    return instrument.volatility * math.sqrt(part) * _BPS


# Which ----------------------------------------------------------------------------------------------------------------


def _takes(ability: VenueAbility, order: NewOrderSingle) -> bool:
    return order.ord_type in ability.ord_types and order.time_in_force in ability.times_in_force


def _barred(cost: VenueCost) -> VenueCost:
    return cost if cost.text else msgspec.structs.replace(cost, text="it holds nothing that this closes")


def _least(order: NewOrderSingle, market: MarketData | None, instrument: Instrument) -> Decimal:
    """The fewest shares that a venue takes at the child's price, or about the market's."""
    price = order.price if order.price is not None or market is None else market.mid
    return ZERO if price is None else instrument.least_qty(price)


def _cheapest(costs: Mapping[str, VenueCost], was: str, switch_bps: Decimal) -> str | None:
    """The cheapest candidate, or the one that the parent has where that is nearly as cheap; None without any."""
    candidates = [each for each in costs.values() if not each.text]
    if not candidates:
        return None
    best = min(candidates, key=lambda each: each.cost_bps)
    has = next((each for each in candidates if each.venue == was), best)
    return has.venue if has.cost_bps - best.cost_bps <= switch_bps else best.venue


def _reason(costs: Mapping[str, VenueCost], venue: str, was: str, *, closes: bool) -> str:
    expected = f"{costs[venue].cost_bps:z,.2f} bps expected"
    if closes:
        expected += ", of those that hold what it closes"
    if not was:
        return expected
    before = costs.get(was)
    return f"{expected}; {was}: " + (
        "no longer named" if before is None else before.text or f"{before.cost_bps:z,.2f} bps"
    )
