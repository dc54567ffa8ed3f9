"""From a signal to parents: how much to trade, in whole lots, and why nothing where nothing is traded.

A signal acts once. Its key, strategy and signal_id, is taken by `SignalAccepted`; the same body again is ignored, a
different body under the same key is refused. Every signal ends in at least one event, so that its source may
acknowledge it once that event is durable.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Protocol

import msgspec

from core.events import (
    Event,
    ExitRequested,
    FlattenRequested,
    MarketData,
    ParentAmendment,
    ParentEnded,
    ParentOrder,
    SignalAccepted,
    SignalIgnored,
    SignalReceived,
    SignalRefused,
)
from core.ids import parent_id
from core.instruments import Instrument
from core.orders import Side
from core.signals import (
    Algo,
    AmendSignal,
    Change,
    Instruction,
    OrderSignal,
    RebalanceSignal,
    Signal,
    StopSignal,
    StrengthSignal,
    TargetSignal,
)
from core.units import NS_PER_S, ZERO, exact, floor_to
from risk.exposure import Exposure
from risk.limits import LimitsInForce
from risk.triggers import Triggers

AHEAD_S_MAX = 60  # a signal from farther in the future comes from a wrong clock
SEEN_MAX = 1_000_000  # keys remembered; at the default horizon that is 1.6 signals a second for a week

FLATTEN_PARTS = 1_000  # orders of one symbol in one flatten or exit; more than that is asked for again
FLATTEN_SHARE = Decimal("0.9")  # of the largest order in money, and of the mid for the least: none crosses at the mid

_FINE = Decimal("1e-9")  # grain at which a model's float becomes a decimal fraction

Route = Callable[[ParentOrder, MarketData | None], Iterable[Event]]
"""Gives a parent an algorithm where its signal leaves that open, in the market of the moment; and says why."""


class Amend(Protocol):
    """Says what a change of a live parent comes to, or why it cannot be worked so."""

    def __call__(self, parent_id: str, change: Change, *, by: str, now: int) -> ParentAmendment | str:
        """In whose name, and when, ns."""
        ...


class Sizer:
    """Turns accepted signals into parent orders, and into amendments of those that live."""

    __slots__ = (
        "_account",
        "_amend",
        "_exposure",
        "_floor",
        "_limits",
        "_order",
        "_route",
        "_seen",
        "_tag",
        "_triggers",
    )

    def __init__(
        self,
        exposure: Exposure,
        limits: LimitsInForce,
        route: Route,
        amend: Amend,
        triggers: Triggers,
        *,
        tag: str,
        account: str,
    ) -> None:
        self._amend = amend
        self._exposure = exposure
        self._limits = limits
        self._route = route
        self._triggers = triggers
        self._tag = tag
        self._account = account
        self._seen: dict[tuple[str, str], str] = {}
        self._order: deque[tuple[int, tuple[str, str]]] = deque()
        self._floor = 0  # every key that was forgotten is of a signal that is stamped no later

    # folds

    def take(self, event: SignalAccepted) -> None:
        """Remember the signal's key for the horizon."""
        key = (event.strategy, event.signal_id)
        self._seen[key] = event.digest
        self._order.append((event.ts, key))
        # a signal may be stamped ahead of its acceptance: by that much longer it is not too old to come again
        oldest = event.ts - (self._limits.current.signal_horizon_s + AHEAD_S_MAX) * NS_PER_S
        while self._order and (self._order[0][0] < oldest or len(self._order) > SEEN_MAX):
            self._forget()

    def _forget(self) -> None:
        """Let the oldest key go, and with it every signal that may have had it: the horizon may be longer tomorrow."""
        ts, key = self._order.popleft()
        del self._seen[key]
        self._floor = max(self._floor, ts + AHEAD_S_MAX * NS_PER_S)

    # decisions

    def on_signal(self, event: SignalReceived) -> Iterable[Event]:
        """Size a signal: parents, or the reason why there are none."""
        signal = event.signal
        digest = _digest(signal)
        known = self._seen.get((signal.strategy, signal.signal_id))
        if known == digest:
            yield _ignored(event, "DUPLICATE", "this signal has acted already")
            return
        refusal = ("ALTERED", "this signal_id came before with another body") if known else self._refusal(event)
        made = self._made(event, signal) if refusal is None else ()
        if isinstance(made, str):
            refusal, made = ("AMEND", made), ()
        if refusal is not None:
            yield SignalRefused(
                ts=event.ts,
                signal_id=signal.signal_id,
                strategy=signal.strategy,
                reason=refusal[0],
                text=refusal[1],
            )
            return
        yield SignalAccepted(ts=event.ts, signal_id=signal.signal_id, strategy=signal.strategy, digest=digest)
        for wanted in made:
            if isinstance(wanted, ParentOrder):
                yield from self._route(wanted, self._exposure.market.get(wanted.symbol))
            else:
                yield wanted

    def _made(self, event: SignalReceived, signal: Signal) -> Iterable[Event] | str:
        """What a signal that may act asks for; or why what it amends cannot be amended so."""
        if not isinstance(signal, AmendSignal):
            return self._size(event, signal)
        amendment = self._amended(event, signal)
        return amendment if isinstance(amendment, str) else (amendment,)

    def _amended(self, event: SignalReceived, signal: AmendSignal) -> ParentAmendment | str:
        """What becomes of the parent that the signal of the same strategy made: of another's it would be another id."""
        named = self._parent_id(signal.strategy, signal.amends, signal.symbol)
        if named not in self._exposure.parents:
            return f"no parent of signal {signal.amends} of {signal.strategy} is worked in {signal.symbol}"
        return self._amend(named, signal.change, by=signal.signal_id, now=event.ts)

    def _parent_id(self, strategy: str, signal_id: str, leg: str) -> str:
        return parent_id(tag=self._tag, account=self._account, strategy=strategy, signal_id=signal_id, leg=leg)

    def on_flatten(self, event: FlattenRequested) -> Iterable[Event]:
        """Orders that close what is held, at once, never more than that, none larger than one order may be."""
        held = sorted(symbol for symbol, qty in self._exposure.book.symbols() if qty)
        for symbol in held if not event.symbol else [event.symbol]:
            if symbol in self._exposure.instruments:
                yield from self._flatten(event.ts, event.request_id, symbol)

    def on_ended(self, event: ParentEnded) -> Iterable[Event]:
        """Orders that close what a stopped parent leaves held, now that nothing of it is on its way any more."""
        if event.flatten_id:
            yield from self._flatten(event.ts, event.flatten_id, event.symbol, after=event.parent_id)

    def _flatten(self, now: int, request: str, symbol: str, *, after: str = "") -> Iterable[Event]:
        """The account's net position, from the strategies that hold its side, in pieces."""
        net = self._exposure.held(symbol)
        side = Side.SELL if net > 0 else Side.BUY
        left = abs(net) - self._exposure.committed(symbol, side)
        largest = self._largest(symbol, abs(net))
        for strategy, qty in self._exposure.holders(symbol):
            if qty * net <= 0:
                continue
            part = min(abs(qty), left)
            left -= part
            for number, size in enumerate(self._parts(symbol, part, largest)):
                order = self._closing(now, request, strategy, symbol, (side, size), leg=f"{symbol}{after}#{number}")
                yield msgspec.structs.replace(order, flatten=True)

    def on_exit(self, event: ExitRequested) -> Iterable[Event]:
        """Orders that close what a strategy holds and nothing of its own closes, none larger than one order may be."""
        owner, symbol, side = event.strategy, event.symbol, event.side
        held = -side.sign * self._exposure.own_held(owner, symbol)
        left = held - self._exposure.own_committed(owner, symbol, side)
        largest = self._largest(symbol, left, owner)
        for number, size in enumerate(self._parts(symbol, left, largest)):
            leg = f"{symbol}#{number}" if event.attempt <= 1 else f"{symbol}@{event.attempt}#{number}"
            made = self._closing(event.ts, event.stop_id, owner, symbol, (side, size), leg=leg)
            made = msgspec.structs.replace(made, signal_ts=event.signal_ts, how=event.how, protects=True)
            yield from self._route(made, self._exposure.market.get(symbol))

    def _parts(self, symbol: str, qty: Decimal, largest: Decimal) -> Iterable[Decimal]:
        """A quantity in whole lots, in orders of at most so many, each enough for its venue where that can be."""
        instrument, mark = self._exposure.instruments[symbol], self._exposure.mark(symbol)
        least = instrument.least_qty(FLATTEN_SHARE * mark) if mark else ZERO
        qty = floor_to(qty, instrument.lot)
        for _ in range(FLATTEN_PARTS):
            size = floor_to(min(qty, largest), instrument.lot)
            if size <= 0:
                return
            if 0 < qty - size < least <= (shorter := qty - least):
                size = shorter  # so that the last one is enough, too
            qty -= size
            yield size

    def _largest(self, symbol: str, wanted: Decimal, strategy: str | None = None) -> Decimal:
        """The largest order in a symbol, as far as that is limited; `strategy` None: of a flatten."""
        limits, mark = self._limits.current.of(symbol), self._exposure.mark(symbol)
        instrument = self._exposure.instruments[symbol]
        bounds = [wanted]
        if limits.order_qty_max is not None:
            bounds.append(limits.order_qty_max)
        least = self._limits.current.order_notional_max(symbol, instrument.venue, strategy)
        if least is not None and mark:
            bounds.append(FLATTEN_SHARE * least[0] / instrument.notional(Decimal(1), mark))
        return max(min(bounds), min(wanted, instrument.lot))  # of less than a lot the gate says why it may not be

    def _closing(
        self, now: int, request: str, owner: str, symbol: str, size: tuple[Side, Decimal], *, leg: str
    ) -> ParentOrder:
        side, qty = size
        return ParentOrder(
            ts=now,
            parent_id=self._parent_id(owner, request, leg),
            signal_id=request,
            signal_ts=now,
            strategy=owner,
            account=self._account,
            venue=self._exposure.instruments[symbol].venue,
            symbol=symbol,
            side=side,
            order_qty=qty,
            resizable=True,
            decision_px=self._exposure.mark(symbol),
            how=Instruction(algo=Algo.MARKET),
        )

    def _refusal(self, event: SignalReceived) -> tuple[str, str] | None:
        signal = event.signal
        age_s = (event.ts - signal.ts) / NS_PER_S
        if signal.account not in {"", self._account}:
            return "ACCOUNT", f"account {signal.account} is not traded here, this daemon trades {self._account}"
        if not self._limits.current.may_speak(signal.strategy, event.source):
            return "SOURCE", f"{signal.strategy} may not send signals over {event.source}"
        if age_s > self._limits.current.signal_horizon_s:
            return "TOO_OLD", f"{age_s:,.0f} s old, the horizon is {self._limits.current.signal_horizon_s:,} s"
        if signal.ts <= self._floor:
            return "TOO_OLD", f"{age_s:,.0f} s old: whether it has come before is forgotten"
        if age_s < -AHEAD_S_MAX:
            return "FUTURE", f"its ts is {-age_s:,.0f} s ahead: check the publisher's clock"
        if signal.valid_until is not None and signal.valid_until <= event.ts:
            return "EXPIRED", f"valid until {(event.ts - signal.valid_until) / NS_PER_S:,.1f} s ago"
        unknown = [symbol for symbol in _symbols(signal) if symbol not in self._exposure.instruments]
        if unknown:
            return "UNKNOWN_SYMBOL", f"{', '.join(unknown)}: not among the instruments"
        return self._triggers.fault_of(signal, event.ts) if isinstance(signal, StopSignal) else None

    def _size(
        self, event: SignalReceived, signal: OrderSignal | StrengthSignal | TargetSignal | RebalanceSignal | StopSignal
    ) -> Iterable[Event]:
        if isinstance(signal, RebalanceSignal):
            yield from self._rebalance(event, signal)
        elif isinstance(signal, OrderSignal):
            qty = signal.qty if signal.qty is not None else self._affordable(signal.symbol, signal.notional)
            yield self._trade(event, signal.symbol, signal.side, qty, resizable=False)
        elif isinstance(signal, StrengthSignal):
            yield self._strength(event, signal)
        elif isinstance(signal, StopSignal):
            yield from self._triggers.asked(signal, event.ts)
        else:
            yield self._target(event, signal.symbol, self._wanted(signal, event.ts))

    def _strength(self, event: SignalReceived, signal: StrengthSignal) -> Event:
        strength = abs(signal.strength) * signal.confidence
        if strength < self._limits.current.strength_min:
            return _ignored(
                event,
                "WEAK",
                f"{signal.symbol}: strength {strength:.3g} is under {self._limits.current.strength_min:g}",
            )
        instrument = self._exposure.instruments[signal.symbol]
        side = Side.BUY if signal.strength > 0 else Side.SELL
        notional = min(self._budget(instrument, strength, event.ts), self._limits.current.strength_notional_max)
        if notional < self._limits.current.strength_notional_min:
            return _ignored(
                event, "SMALL", f"{signal.symbol}: {notional:.2f} is under {self._limits.current.strength_notional_min}"
            )
        qty = self._affordable(signal.symbol, notional)
        if side is Side.SELL and not instrument.shortable and qty is not None:
            held = self._exposure.held(signal.symbol) - self._exposure.committed(signal.symbol, Side.SELL)
            qty = min(qty, max(held, ZERO))
        return self._trade(event, signal.symbol, side, qty, resizable=True)

    def _budget(self, instrument: Instrument, strength: float, now: int) -> Decimal:
        """Money for a strength: its share of the position limit, less where the instrument moves more than budgeted."""
        scale = min(1.0, self._limits.current.risk_budget / instrument.volatility) if instrument.volatility else 1.0
        fraction = (
            exact(strength * scale * self._limits.current.strength_fraction, _FINE) * self._limits.current.position_max
        )
        return fraction * max(self._exposure.base(now), ZERO)

    def _rebalance(self, event: SignalReceived, signal: RebalanceSignal) -> Iterable[Event]:
        names = self._exposure.names(signal.strategy) | signal.weights.keys()
        legs = [self._leg(event, symbol, signal.weights.get(symbol, 0.0)) for symbol in sorted(names)]
        yield from sorted(legs, key=lambda leg: isinstance(leg, ParentOrder) and leg.side is Side.BUY)  # sales first

    def _leg(self, event: SignalReceived, symbol: str, weight: float) -> Event:
        if symbol not in self._exposure.instruments:  # held since a time when it was
            return _ignored(
                event, "UNKNOWN_SYMBOL", f"{symbol} is held but not among the instruments: trade it by hand"
            )
        return self._target(event, symbol, self._weighted(symbol, weight, event.ts))

    def _wanted(self, signal: TargetSignal, now: int) -> Decimal | None:
        return signal.qty if signal.weight is None else self._weighted(signal.symbol, signal.weight, now)

    def _weighted(self, symbol: str, weight: float, now: int) -> Decimal | None:
        sign = -1 if weight < 0 else 1
        notional = exact(abs(weight), _FINE) * max(self._exposure.base(now), ZERO)
        qty = self._affordable(symbol, notional)
        return None if qty is None else sign * qty

    def _target(self, event: SignalReceived, symbol: str, wanted: Decimal | None) -> Event:
        if wanted is None:
            return self._trade(event, symbol, Side.BUY, None, resizable=True)
        change = wanted - self._exposure.expected(event.signal.strategy, symbol)
        side = Side.BUY if change > 0 else Side.SELL
        return self._trade(event, symbol, side, abs(change), resizable=True)

    def _affordable(self, symbol: str, notional: Decimal | None) -> Decimal | None:
        """Shares for a money value at the mid; None without a price."""
        mark = self._exposure.mark(symbol)
        if mark is None or notional is None:
            return None
        return notional / self._exposure.instruments[symbol].notional(Decimal(1), mark)

    def _trade(self, event: SignalReceived, symbol: str, side: Side, qty: Decimal | None, *, resizable: bool) -> Event:
        """The parent for a quantity in whole lots, or why none: no price, under a lot, under the venue's minimum."""
        if qty is None:
            return _ignored(event, "NO_PRICE", f"{symbol} has no market data yet, its size cannot be computed")
        instrument = self._exposure.instruments[symbol]
        mark = self._exposure.mark(symbol)
        too_old = self._exposure.marks.too_old() if resizable else None
        if too_old is not None:
            qty -= self._exposure.opening(symbol, side, qty)
            if not qty:
                text = f"{symbol}: nothing opens while the mark of {too_old.symbol} is {too_old.age_s:,.0f} s old"
                return _ignored(event, "OLD_MARK", text)
        lots = floor_to(qty, instrument.lot)
        if lots <= 0:
            return _ignored(event, "NO_TRADE", f"{symbol}: {qty:f} is under one lot of {instrument.lot}")
        if mark is not None and instrument.notional(lots, mark) < instrument.min_notional:
            return _ignored(event, "NO_TRADE", f"{symbol}: {lots} shares are under {instrument.min_notional} in money")
        signal = event.signal
        return ParentOrder(
            ts=event.ts,
            parent_id=self._parent_id(signal.strategy, signal.signal_id, symbol),
            signal_id=signal.signal_id,
            signal_ts=signal.ts,
            strategy=signal.strategy,
            account=self._account,
            venue=instrument.venue,
            symbol=symbol,
            side=side,
            order_qty=lots,
            resizable=resizable,
            decision_px=mark,
            how=signal.how,
            valid_until=signal.valid_until,
        )

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {"seen": [[ts, *key, self._seen[key]] for ts, key in self._order], "floor": self._floor}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        for ts, strategy, signal_id, digest in msgspec.convert(dumped["seen"], list[tuple[int, str, str, str]]):
            self._seen[strategy, signal_id] = digest
            self._order.append((ts, (strategy, signal_id)))
        self._floor = msgspec.convert(dumped["floor"], int)


def _symbols(signal: Signal) -> list[str]:
    return sorted(signal.weights) if isinstance(signal, RebalanceSignal) else [signal.symbol]


def _digest(signal: Signal) -> str:
    return hashlib.sha256(msgspec.json.encode(signal, order="deterministic")).hexdigest()[:16]


def _ignored(event: SignalReceived, reason: str, text: str) -> SignalIgnored:
    signal = event.signal
    return SignalIgnored(ts=event.ts, signal_id=signal.signal_id, strategy=signal.strategy, reason=reason, text=text)
