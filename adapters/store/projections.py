"""What each event writes into which table, as a pure function from an event to rows.

Two operations are enough, and make every projection idempotent: INSERT, where the first row of a key stays, and UPSERT,
where the last one wins. No row is computed from another row, so a table can be rebuilt from the journal at any time.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Table

from adapters.store import tables
from core.events import (
    AccountOpened,
    AccountReported,
    Anomaly,
    BreakFound,
    CashMoved,
    CommandGiven,
    CostEstimated,
    CostReport,
    DaemonStarted,
    DayRolled,
    Event,
    ExecutionReport,
    ExitRequested,
    FillBooked,
    FillBusted,
    FlattenRequested,
    HaltReport,
    HighWaterMarkReset,
    LimitsSet,
    MarketData,
    NewOrderSingle,
    OrderApproved,
    OrderCancelRequest,
    OrderDenied,
    OrderQueried,
    OrderUnresolved,
    OrderUpdated,
    OverrideGranted,
    OverrideProposed,
    OverrideUsed,
    ParentAccepted,
    ParentAmended,
    ParentAmendment,
    ParentEnded,
    ParentOrder,
    ParentPaced,
    ParentRouted,
    ParentScheduled,
    PositionAdjusted,
    PositionUpdated,
    RegimeSet,
    RiskModelSet,
    ShadowSet,
    ShadowVerdict,
    SignalAccepted,
    SignalDead,
    SignalGap,
    SignalIgnored,
    SignalReceived,
    SignalRefused,
    StopEnded,
    StopRearmed,
    StopSet,
    StopSuspended,
    StopTriggered,
    StrategyResumed,
    StrategyStopped,
    SubmitResult,
    SymbolReleased,
    TimeAdvanced,
    TradingHalted,
    TradingResumed,
    VenueAway,
    VenueChosen,
    VwapDeviated,
)
from core.orders import OrdStatus

Values = dict[str, Any]
"""Column to what any driver takes: text (a Decimal is its `str`), integers, booleans, None."""


class Op(StrEnum):
    """What happens where a row of the same key is there already."""

    INSERT = "insert"  # the first row of a key stays
    UPSERT = "upsert"  # the key's row takes the given values


class Write(NamedTuple):
    """One row operation; `values` hold the whole key."""

    table: Table
    op: Op
    values: Values


def project(seq: int, event: Event) -> list[Write]:
    """The rows that an event writes, in order."""
    projection = PROJECTIONS.get(type(event))
    writes = [] if projection is None else projection(seq, event)
    for write in writes:
        for name, value in write.values.items():
            if type(value) is str and "\x00" in value:
                write.values[name] = storable(value)
    return writes


def storable(value: str) -> str:
    """Text as any database takes it: PostgreSQL refuses the zero character, which anybody may send us."""
    return value.replace("\x00", "\N{SYMBOL FOR NULL}")


def _plain(event: Event) -> Values:
    values: Values = msgspec.to_builtins(event)
    return values


def _take(values: Values, names: tuple[str, ...]) -> Values:
    return {name: values[name] for name in names}


def _meta(values: Values) -> list[Write]:
    return [Write(tables.meta, Op.UPSERT, {"key": key, "value": str(value)}) for key, value in values.items()]


# Signals --------------------------------------------------------------------------------------------------------------


def _started(_seq: int, event: DaemonStarted) -> list[Write]:
    run = {"version": event.version, "config_hash": event.config_hash, "world": event.world}
    return _meta(run | {"account": event.account, "started": event.ts})


def _opened(_seq: int, event: AccountOpened) -> list[Write]:
    return _meta({"account": event.account, "currency": event.currency, "cash": event.cash})


def _received(_seq: int, event: SignalReceived) -> list[Write]:
    signal = event.signal
    key = {"strategy": signal.strategy, "signal_id": signal.signal_id}
    payload = msgspec.json.encode(signal).decode()
    row = {**key, "state": "received", "reason": "", "ts": event.ts, "payload": payload}
    return [Write(tables.signals, Op.INSERT, row)]


def _verdict(event: SignalAccepted | SignalIgnored | SignalRefused, state: str, reason: str) -> Write:
    key = {"strategy": event.strategy, "signal_id": event.signal_id}
    return Write(tables.signals, Op.UPSERT, {**key, "state": state, "reason": reason, "ts": event.ts})


def _accepted(_seq: int, event: SignalAccepted) -> list[Write]:
    return [_verdict(event, "accepted", "")]


def _ignored(_seq: int, event: SignalIgnored) -> list[Write]:
    return [_verdict(event, "ignored", event.reason)]


def _refused(seq: int, event: SignalRefused) -> list[Write]:
    names = {"strategy": event.strategy, "signal_id": event.signal_id, "reason": event.reason}
    letter = {"seq": seq, "ts": event.ts, "source": "", **names, "text": event.text}
    return [_verdict(event, "refused", event.reason), Write(tables.dead_letters, Op.INSERT, letter)]


def _dead(seq: int, event: SignalDead) -> list[Write]:
    said = {"source": event.source, "reason": event.reason, "text": event.text}
    row = {"seq": seq, "ts": event.ts, "strategy": "", "signal_id": "", **said}
    return [Write(tables.dead_letters, Op.INSERT, row)]


# Stops ----------------------------------------------------------------------------------------------------------------

_STOP = ("strategy", "stop_id", "symbol")
_LEVELS = ("side", "stop_px", "trail", "trail_fraction", "limit_offset", "price", "valid_until")


def _stop(event: Event, state: str, reason: str) -> Write:
    return Write(
        tables.stops, Op.UPSERT, _take(_plain(event), _STOP) | {"state": state, "reason": reason, "updated": event.ts}
    )


def _stop_set(_seq: int, event: StopSet) -> list[Write]:
    write = _stop(event, "held", "")
    return [write._replace(values=write.values | _take(_plain(event), _LEVELS) | {"started": event.ts})]


def _stop_fired(_seq: int, event: StopTriggered) -> list[Write]:
    prices = ", then ".join(map(str, event.prices))
    return [_stop(event, "fired", f"{event.source} at {prices}; it was at {event.stop_px}")]


def _stop_suspended(seq: int, event: StopSuspended) -> list[Write]:
    said = f"the stop of {event.strategy} no longer fires: {event.text}"
    return [
        _stop(event, "suspended", event.text),
        *_alert(seq, event, venue="", symbol=event.symbol, cl_ord_id="", text=said),
    ]


def _stop_again(seq: int, event: StopRearmed) -> list[Write]:
    left = f"exit {event.attempt} left {event.left_qty}: {event.text}" if event.attempt else f"no exit: {event.text}"
    said = f"the stop of {event.strategy} is held again, {'as its' if event.attempt else 'with'} {left}"
    return [_stop(event, "held", left), *_alert(seq, event, venue="", symbol=event.symbol, cl_ord_id="", text=said)]


def _stop_ended(_seq: int, event: StopEnded) -> list[Write]:
    return [_stop(event, "ended", event.reason.value)]


def _exited(_seq: int, event: ExitRequested) -> list[Write]:
    return [_stop(event, "exit", "")]


# Parents and the gate -------------------------------------------------------------------------------------------------

_PARENT = ("parent_id", "signal_id", "strategy", "account", "venue", "symbol", "side", "order_qty")
_ASKED = ("strategy", "symbol", "side", "order_qty")
_DENIAL = ("reason", "value", "limit", "unit", "max_qty", "limits_version")


def _numbers(event: ParentAccepted | ParentAmended | OrderApproved) -> dict[str, object]:
    """How near what was let through came to a limit, in the columns of a denial."""
    row: dict[str, object] = {"reason": "", "max_qty": None, "text": "", "limits_version": event.limits_version}
    near = event.nearest
    if near is None:
        return row | {"value": None, "limit": None, "unit": "", "nearest": "", "headroom": None} | _effort(event)
    value = {"value": str(near.value), "limit": str(near.limit), "headroom": str(near.limit - near.value)}
    return row | value | {"unit": "of equity", "nearest": near.reason.value} | _effort(event)


def _effort(event: ParentAccepted | ParentAmended | OrderApproved | OrderDenied) -> dict[str, object]:
    return {"checks": event.checks, "duration_ns": event.duration_ns}


def _asked(_seq: int, event: ParentOrder) -> list[Write]:
    state = {"algo": event.how.algo.value, "state": "asked", "reason": "", "started": event.ts}
    row = _take(_plain(event), _PARENT) | state
    return [Write(tables.parents, Op.INSERT, row)]


def _routed(_seq: int, event: ParentRouted) -> list[Write]:
    row = _take(_plain(event), ("parent_id", "ts", "strategy", "symbol", "policy", "algo", "reason", "model"))
    alternatives = msgspec.json.encode(event.alternatives).decode()
    return [Write(tables.routes, Op.INSERT, row | {"alternatives": alternatives})]


def _placed(seq: int, event: VenueChosen) -> list[Write]:
    row = _take(_plain(event), ("parent_id", "strategy", "symbol", "side", "venue", "was", "reason"))
    alternatives = msgspec.json.encode(event.alternatives).decode()
    return [Write(tables.venue_choices, Op.INSERT, {"seq": seq, "ts": event.ts} | row | {"alternatives": alternatives})]


def _parent_accepted(seq: int, event: ParentAccepted) -> list[Write]:
    values = _plain(event)
    asked = values["parent"]
    accepted = {"accepted_qty": values["order_qty"], "arrival_px": values["arrival_px"], "started": event.ts}
    accepted["override_id"] = event.override_id
    state = {"algo": event.parent.how.algo.value, "state": "live", "reason": ""}
    decision = {"seq": seq, "ts": event.ts, "parent_id": event.parent_id, "cl_ord_id": "", "verdict": "accepted"}
    order = _take(asked, _ASKED) | {"order_qty": values["order_qty"], "price": asked["how"]["price"]}
    return [
        Write(tables.parents, Op.UPSERT, _take(asked, _PARENT) | accepted | state),
        Write(
            tables.risk_decisions,
            Op.INSERT,
            decision | order | _numbers(event),
        ),
    ]


def _parent_amended(seq: int, event: ParentAmended) -> list[Write]:
    wanted, size = event.amendment, str(event.order_qty)
    about = _take(_plain(wanted), _ASKED[:3])
    row = {"order_qty": size, "accepted_qty": size, "state": "live", "reason": "HELD" if wanted.held else ""}
    writes = [Write(tables.parents, Op.UPSERT, {"parent_id": event.parent_id} | about | row)]
    if event.more_qty:
        decision = {"seq": seq, "ts": event.ts, "parent_id": event.parent_id, "cl_ord_id": "", "verdict": "accepted"}
        price = None if wanted.price is None else str(wanted.price)
        order = about | {"order_qty": str(event.more_qty), "price": price}
        writes.append(Write(tables.risk_decisions, Op.INSERT, decision | order | _numbers(event)))
    return writes


def _denied(seq: int, event: OrderDenied) -> list[Write]:
    values = _plain(event)
    ids = {"parent_id": event.parent_id, "cl_ord_id": event.cl_ord_id, "verdict": "denied"}
    headroom = str(event.limit - event.value) if event.unit else None
    numbers = _take(values, _DENIAL) | {"text": event.text, "price": None, "nearest": "", "headroom": headroom}
    decision = {"seq": seq, "ts": event.ts, **ids} | _take(values, _ASKED) | numbers | _effort(event)
    writes = [Write(tables.risk_decisions, Op.INSERT, decision)]
    if not event.cl_ord_id and not event.amends:
        row = {"parent_id": event.parent_id, "state": "denied", "reason": event.reason.value, "ended": event.ts}
        writes.append(Write(tables.parents, Op.UPSERT, row | _take(values, _ASKED)))
    return writes


_BESIDE = ("parent_id", "cl_ord_id", *_ASKED, "in_force_qty", "shadow_qty", *_DENIAL, "shadow_version", "text")


def _differed(seq: int, event: ShadowVerdict) -> list[Write]:
    outcome = {"outcome": event.outcome, "in_force": "passed" if event.in_force_qty else "denied"}
    row = {"seq": seq, "ts": event.ts} | outcome | _take(_plain(event), _BESIDE)
    return [Write(tables.shadow_verdicts, Op.INSERT, row)]


def _ended(_seq: int, event: ParentEnded) -> list[Write]:
    row = _take(_plain(event), ("parent_id", *_ASKED, "cum_qty", "avg_px", "reason"))
    return [Write(tables.parents, Op.UPSERT, row | {"state": "ended", "ended": event.ts})]


# Orders and executions ------------------------------------------------------------------------------------------------

_ORDER = ("cl_ord_id", "parent_id", "strategy", "venue", "symbol", "side", "order_qty")
_STANDING = ("order_id", "ord_status", "cum_qty", "leaves_qty")
_EXECUTION = ("venue", "exec_id", "cl_ord_id", "parent_id", *_ASKED[:3], "last_qty", "last_px", "fee", "ts")


def _approved(seq: int, event: OrderApproved) -> list[Write]:
    values = _plain(event)["order"]
    standing = {"order_id": "", "ord_status": OrdStatus.PENDING_SUBMIT.value, "cum_qty": "0"}
    terms = {"ord_type": values["ord_type"], "price": values["price"], "leaves_qty": values["order_qty"]}
    times = {"approved": event.ts, "updated": event.ts}
    ids = {"parent_id": event.parent_id, "cl_ord_id": event.cl_ord_id, "verdict": "approved"}
    order = _take(values, (*_ASKED, "price"))
    return [
        Write(tables.orders, Op.INSERT, _take(values, _ORDER) | standing | terms | {"text": ""} | times),
        Write(tables.risk_decisions, Op.INSERT, {"seq": seq, "ts": event.ts, **ids} | order | _numbers(event)),
    ]


def _updated(_seq: int, event: OrderUpdated) -> list[Write]:
    row = _take(_plain(event), (*_ORDER, *_STANDING)) | {"text": event.text, "updated": event.ts}
    return [Write(tables.orders, Op.UPSERT, row)]


def _filled(_seq: int, event: FillBooked) -> list[Write]:
    return [Write(tables.executions, Op.INSERT, _take(_plain(event), _EXECUTION) | {"busted": False})]


def _busted(_seq: int, event: FillBusted) -> list[Write]:
    row = _take(_plain(event), _EXECUTION) | {"busted": True}
    return [Write(tables.executions, Op.UPSERT, row)]


def _position(_seq: int, event: PositionUpdated) -> list[Write]:
    row = _take(_plain(event), ("strategy", "symbol", "qty", "avg_px", "realized_pnl", "fees"))
    return [Write(tables.positions, Op.UPSERT, row | {"updated": event.ts}), *_meta({"cash": event.cash})]


_ESTIMATE = tuple(column.name for column in tables.cost_estimates.columns)


def _estimated(_seq: int, event: CostEstimated) -> list[Write]:
    return [Write(tables.cost_estimates, Op.INSERT, _take(_plain(event), _ESTIMATE))]


_COST = ("parent_id", "ts", *_ASKED, "algo", "cum_qty", "avg_px", "arrival_px", "market_vwap", "fees", "shortfall")


def _cost(_seq: int, event: CostReport) -> list[Write]:
    slippage = event.slippage_bps(event.arrival_px)
    row = _take(_plain(event), (*_COST, "currency", "reason"))
    row["arrival_bps"] = None if slippage is None else str(slippage)
    return [Write(tables.cost_reports, Op.UPSERT, row | {"payload": msgspec.json.encode(event).decode()})]


# What people look at first --------------------------------------------------------------------------------------------


def _halted(seq: int, event: TradingHalted) -> list[Write]:
    row = {"seq": seq, "ts": event.ts, "cause": event.cause, "state": event.state.value, "by": event.by}
    return [Write(tables.halts, Op.INSERT, row | {"text": event.text})]


def _resumed(seq: int, event: TradingResumed) -> list[Write]:
    row = {"seq": seq, "ts": event.ts, "cause": event.cause, "state": "RESUMED", "by": event.by, "text": ""}
    return [Write(tables.halts, Op.INSERT, row)]


def _drained(seq: int, event: HaltReport) -> list[Write]:
    said = f"{event.left_count} orders still work" if event.left_count else f"quiet after {event.quiet_us / 1e3:.1f} ms"
    text = (
        f"{said}; the last order left {event.last_order_us / 1e3:.1f} ms after the halt was heard, "
        f"the last cancel {event.last_cancel_us / 1e3:.1f} ms"
    )
    state = "WORKING" if event.left_count else "QUIET"
    row = {"seq": seq, "ts": event.ts, "cause": event.cause, "state": state, "by": "", "text": text}
    return [Write(tables.halts, Op.INSERT, row)]


def _flattened(seq: int, event: FlattenRequested) -> list[Write]:
    what = event.symbol or "every position"
    row = {"seq": seq, "ts": event.ts, "cause": "flatten", "state": "FLATTEN", "by": event.by, "text": what}
    return [Write(tables.halts, Op.INSERT, row)]


def _marked(seq: int, event: HighWaterMarkReset) -> list[Write]:
    what = f"drawdowns are measured from {event.equity:,.2f} on"
    row = {"seq": seq, "ts": event.ts, "cause": "drawdown", "state": "MARK", "by": event.by, "text": what}
    return [Write(tables.halts, Op.INSERT, row)]


def _stopped(seq: int, event: StrategyStopped) -> list[Write]:
    row = {"seq": seq, "ts": event.ts, "cause": "repeats", "state": "STOPPED", "by": ""}
    return [Write(tables.halts, Op.INSERT, row | {"text": f"{event.strategy}: {event.text}"})]


def _let_go_on(seq: int, event: StrategyResumed) -> list[Write]:
    row = {"seq": seq, "ts": event.ts, "cause": "repeats", "state": "RESUMED", "by": event.by, "text": event.strategy}
    return [Write(tables.halts, Op.INSERT, row)]


def _moved(seq: int, event: CashMoved) -> list[Write]:
    row = {"seq": seq} | _take(_plain(event), ("ts", "amount", "cash", "by", "reason"))
    return [Write(tables.cash_moves, Op.INSERT, row), *_meta({"cash": event.cash})]


def _adjusted(seq: int, event: PositionAdjusted) -> list[Write]:
    row = {"seq": seq} | _take(_plain(event), ("ts", "symbol", "numerator", "denominator", "by", "reason"))
    return [Write(tables.adjustments, Op.INSERT, row)]


def _limited(_seq: int, event: LimitsSet) -> list[Write]:
    text = msgspec.json.encode(event.limits).decode()
    return [Write(tables.limits, Op.INSERT, {"version": event.version, "ts": event.ts, "text": text})]


def _shaded(seq: int, event: ShadowSet) -> list[Write]:
    text = msgspec.json.encode(event.limits).decode()
    row = {"seq": seq, "ts": event.ts, "version": event.version, "by": event.by, "text": text}
    return [Write(tables.shadow_limits, Op.INSERT, row)]


def _commanded(seq: int, event: CommandGiven) -> list[Write]:
    who = {"by": event.by, "role": event.role, "command": event.command}
    return [
        Write(
            tables.commands,
            Op.INSERT,
            {"seq": seq, "ts": event.ts, **who, "done": event.done, "text": event.text},
        )
    ]


_NO_ORDER: Values = {"strategy": "", "symbol": "", "side": "", "order_qty": None, "expires": None}


def _proposed(seq: int, event: OverrideProposed) -> list[Write]:
    wanted = _take(_plain(event), ("override_id", "by", "reason", *_ASKED, "expires", "text"))
    row = {"seq": seq, "ts": event.ts, "state": "proposed", "parent_id": ""} | wanted
    return [Write(tables.overrides, Op.INSERT, row)]


def _granted(seq: int, event: OverrideGranted) -> list[Write]:
    row = {"seq": seq, "ts": event.ts, "override_id": event.override_id, "state": "granted", "by": event.by}
    return [Write(tables.overrides, Op.INSERT, row | _NO_ORDER | {"reason": "", "parent_id": "", "text": ""})]


def _used(seq: int, event: OverrideUsed) -> list[Write]:
    by = f"{event.proposed_by}, {event.granted_by}"
    row = {"seq": seq, "ts": event.ts, "override_id": event.override_id, "state": "used", "by": by}
    what = {"reason": event.reason.value, "parent_id": event.parent_id, "text": ""}
    return [Write(tables.overrides, Op.INSERT, row | _NO_ORDER | what)]


def _gap(seq: int, event: SignalGap) -> list[Write]:
    said = f"{event.missing} signals of {event.strategy} before number {event.before} never came by {event.source}"
    return _alert(seq, event, venue="", symbol="", cl_ord_id="", text=said)


def _alert(seq: int, event: Event, *, venue: str, symbol: str, cl_ord_id: str, text: str) -> list[Write]:
    about = {"venue": venue, "symbol": symbol, "cl_ord_id": cl_ord_id, "text": text}
    return [Write(tables.alerts, Op.INSERT, {"seq": seq, "ts": event.ts, "kind": type(event).__name__, **about})]


def _anomaly(seq: int, event: Anomaly) -> list[Write]:
    return _alert(seq, event, venue=event.venue, symbol="", cl_ord_id=event.cl_ord_id, text=event.text)


def _away(seq: int, event: VenueAway) -> list[Write]:
    return _alert(seq, event, venue=event.venue, symbol="", cl_ord_id="", text=f"cannot be asked: {event.text}")


def _break(seq: int, event: BreakFound) -> list[Write]:
    said = f"{event.kind}: {event.text}"
    return _alert(seq, event, venue=event.venue, symbol=event.symbol, cl_ord_id="", text=said)


def _released(seq: int, event: SymbolReleased) -> list[Write]:
    ids = ", ".join(f"{each.exec_id} at {each.venue}" for each in event.executions)
    said = f"released by {event.by}: {event.reason}" + f"; no breaks any more: {ids}" * bool(ids)
    return _alert(seq, event, venue="", symbol=event.symbol, cl_ord_id="", text=said)


def _deviated(seq: int, event: VwapDeviated) -> list[Write]:
    how = "worse" if event.deviation_bps > 0 else "better"
    said = (
        f"{event.parent_id}: {event.avg_px:.4f} is {abs(event.deviation_bps)} bps {how} than the market's VWAP of its "
        f"window, {event.market_vwap:.4f}; {event.limit_bps} are told of"
    )
    return _alert(seq, event, venue="", symbol=event.symbol, cl_ord_id="", text=said)


def _unresolved(seq: int, event: OrderUnresolved) -> list[Write]:
    said = f"{event.leaves_qty} stay reserved until an operator releases them"
    return _alert(seq, event, venue=event.venue, symbol=event.symbol, cl_ord_id=event.cl_ord_id, text=said)


PROJECTIONS: dict[type[Event], Callable[[int, Any], list[Write]]] = {
    DaemonStarted: _started,
    AccountOpened: _opened,
    SignalReceived: _received,
    SignalDead: _dead,
    SignalAccepted: _accepted,
    SignalIgnored: _ignored,
    SignalRefused: _refused,
    StopSet: _stop_set,
    StopTriggered: _stop_fired,
    StopSuspended: _stop_suspended,
    StopRearmed: _stop_again,
    StopEnded: _stop_ended,
    ExitRequested: _exited,
    ParentOrder: _asked,
    ParentRouted: _routed,
    VenueChosen: _placed,
    ParentAccepted: _parent_accepted,
    ParentAmended: _parent_amended,
    ParentEnded: _ended,
    OrderDenied: _denied,
    OrderApproved: _approved,
    ShadowVerdict: _differed,
    OrderUpdated: _updated,
    FillBooked: _filled,
    FillBusted: _busted,
    PositionUpdated: _position,
    CostEstimated: _estimated,
    CostReport: _cost,
    SignalGap: _gap,
    TradingHalted: _halted,
    HaltReport: _drained,
    FlattenRequested: _flattened,
    HighWaterMarkReset: _marked,
    StrategyStopped: _stopped,
    StrategyResumed: _let_go_on,
    CashMoved: _moved,
    PositionAdjusted: _adjusted,
    LimitsSet: _limited,
    ShadowSet: _shaded,
    CommandGiven: _commanded,
    OverrideProposed: _proposed,
    OverrideGranted: _granted,
    OverrideUsed: _used,
    TradingResumed: _resumed,
    Anomaly: _anomaly,
    VenueAway: _away,
    BreakFound: _break,
    SymbolReleased: _released,
    OrderUnresolved: _unresolved,
    VwapDeviated: _deviated,
}

# Raw words of a venue, requests between actors, the passing of time: the journal alone keeps them.
UNPROJECTED: frozenset[type[Event]] = frozenset(
    {
        DayRolled,
        RiskModelSet,
        RegimeSet,
        MarketData,
        TimeAdvanced,
        ExecutionReport,
        AccountReported,
        SubmitResult,
        NewOrderSingle,
        ParentAmendment,
        ParentPaced,
        ParentScheduled,
        OrderCancelRequest,
        OrderQueried,
    }
)
