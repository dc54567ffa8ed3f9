"""What a run did, gathered from its database and tape into one value, of which all reports are made.

Cost reports, denials and positions are as the store holds them; the journal adds each parent's schedule and fills, the
tape the market around them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import msgspec
from sqlalchemy import Engine, func, select

from adapters.report.path import Columns, MarketPath, read_columns
from adapters.store import queries
from adapters.store.tables import journal
from core.events import (
    AnyEvent,
    CostEstimated,
    CostReport,
    FillBooked,
    FillBusted,
    OrderDenied,
    ParentAccepted,
    ParentAmended,
    ParentRouted,
    ParentScheduled,
    SignalDead,
    SignalIgnored,
    SignalRefused,
    decode,
)
from core.orders import Side
from core.units import NS_PER_S, ZERO, bps_of

PARENTS_MAX = 2_000  # of one report, the newest; each gets a page
ASIDE_MAX = 10_000  # signals that led to nothing, the first of the run
_MARGIN_NS_MIN = 30 * NS_PER_S  # of the market shown before and after a parent's life
_MARGIN_PART = 20  # of its life, where that is longer


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. `cum_qty` is the parent's after it, without busted ones; `mid` the market's when it was booked."""

    ts: int
    exec_id: str
    venue: str
    last_qty: Decimal
    last_px: Decimal
    fee: Decimal
    multiplier: Decimal
    cum_qty: Decimal
    mid: float | None
    busted: bool
    late: bool


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """One parent that ended, with its story. `accepted` and `path` are None where journal and tape do not reach.

    `route` is None where its signal named the algorithm, `estimate` where it never got a curve. `amendments` are what
    people and signals made of it while it was live, oldest first.
    """

    cost: CostReport
    accepted: ParentAccepted | None
    route: ParentRouted | None
    estimate: CostEstimated | None
    amendments: tuple[ParentAmended, ...] = ()
    schedule: tuple[tuple[int, Decimal], ...]  # (ns, quantity that should be done from then on)
    fills: tuple[Fill, ...]
    path: MarketPath | None
    flags: tuple[str, ...]  # the cost report's own, and what came after it

    @property
    def vs_arrival_bps(self) -> Decimal | None:
        """Average price against the arrival mid, bps, positive when it hurts; None without fills."""
        return self.cost.slippage_bps(self.cost.arrival_px)

    @property
    def vs_vwap_bps(self) -> Decimal | None:
        """Average price against the market's VWAP, bps, positive when it hurts; None without either."""
        return self.cost.slippage_bps(self.cost.market_vwap)

    @property
    def traded(self) -> Decimal:
        """Money value of the executions that stand."""
        return sum((f.last_qty * f.last_px * f.multiplier for f in self.fills if not f.busted), ZERO)


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """A parent that had not ended, so that nothing is known of its costs."""

    parent_id: str
    strategy: str
    symbol: str
    side: Side
    algo: str | None
    order_qty: Decimal
    cum_qty: Decimal
    avg_px: Decimal | None
    arrival_px: Decimal | None


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy's position at the end; profits are positive. `mark` is the tape's last mid, None without one."""

    strategy: str
    symbol: str
    qty: Decimal
    avg_px: Decimal
    mark: Decimal | None
    realized_pnl: Decimal
    unrealized_pnl: Decimal | None
    fees: Decimal

    @property
    def net_pnl(self) -> Decimal | None:
        """Realised and unrealised profit after fees; None for an open position that cannot be marked."""
        return None if self.unrealized_pnl is None else self.realized_pnl + self.unrealized_pnl - self.fees


class Aside(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that led to no order: `kind` is ignored, refused or unreadable."""

    ts: int
    kind: str
    strategy: str
    signal_id: str
    source: str
    reason: str
    text: str


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A halt, a resumption or an alert."""

    ts: int
    kind: str
    about: str
    text: str


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """All parents of one currency: money, costs positive when they hurt; `shortfall_bps` of what was asked for."""

    currency: str
    parents: int
    traded: Decimal
    shortfall: Decimal
    shortfall_bps: Decimal
    fees: Decimal


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run. Parents are in the order in which they started, denials and asides in that of the journal."""

    meta: dict[str, str]
    began: int | None  # ns of the first and last entry of the journal, None for an empty one
    ended: int | None
    signals: dict[str, int]  # by state
    totals: tuple[Total, ...]
    parents: tuple[Parent, ...]
    live: tuple[Live, ...]
    denials: tuple[OrderDenied, ...]
    denied: int  # all of them, also where `denials` was cut
    asides: tuple[Aside, ...]
    positions: tuple[Position, ...]
    notices: tuple[Notice, ...]
    notes: tuple[str, ...]  # what this report could not see


def load(engine: Engine, tape_dir: Path) -> RunReport:
    """The report of the run that this database and tape are of; an empty one where nothing ran yet."""
    counts = queries.counts(engine)
    columns, notes = read_columns(tape_dir)
    rows = queries.cost_reports(engine, limit=PARENTS_MAX + 1)
    if len(rows) > PARENTS_MAX:
        notes.append(f"Only the newest {PARENTS_MAX:,} parents are in this report and in its totals.")
    costs = [msgspec.json.decode(row["payload"], type=CostReport) for row in rows[:PARENTS_MAX]]
    stories, asides = _read_journal(engine)
    if len(asides) > ASIDE_MAX:
        notes.append(f"Only the first {ASIDE_MAX:,} signals that led to nothing are in this report.")
    parents = [_parent(cost, stories[cost.parent_id], columns.get(cost.symbol)) for cost in costs]
    parents.sort(key=lambda parent: (parent.cost.start, parent.cost.parent_id))
    began, ended = _span(engine)
    return RunReport(
        meta=queries.meta(engine),
        began=began,
        ended=ended,
        signals=counts["signals"],
        totals=_totals(parents),
        parents=tuple(parents),
        live=tuple(msgspec.convert(_named(row, Live), Live) for row in queries.parents(engine, state="live")),
        denials=_denials(engine),
        denied=counts["decisions"].get("denied", 0),
        asides=tuple(asides[:ASIDE_MAX]),
        positions=_positions(engine, columns, stories),
        notices=_notices(engine),
        notes=tuple(notes),
    )


def _named(row: Mapping[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: row[name] for name in kind.__struct_fields__ if name in row}  # what SQL does not keep: its default


def _denials(engine: Engine) -> tuple[OrderDenied, ...]:
    rows = reversed(queries.denials(engine))
    return tuple(msgspec.convert(_named(row, OrderDenied), OrderDenied) for row in rows)


def _span(engine: Engine) -> tuple[int | None, int | None]:
    with engine.connect() as connection:
        first, last = connection.execute(select(func.min(journal.c.ts), func.max(journal.c.ts))).one()
    return first, last


# The journal's stories ------------------------------------------------------------------------------------------------


class _Story:
    """What the journal says of one parent."""

    __slots__ = ("accepted", "amendments", "busted", "estimate", "fills", "route", "schedules")

    def __init__(self) -> None:
        self.accepted: ParentAccepted | None = None
        self.amendments: list[ParentAmended] = []
        self.route: ParentRouted | None = None
        self.estimate: CostEstimated | None = None
        self.schedules: list[ParentScheduled] = []
        self.fills: list[tuple[int, FillBooked]] = []
        self.busted: set[tuple[str, str]] = set()


_Told = ParentRouted | ParentAccepted | ParentAmended | ParentScheduled | CostEstimated | FillBooked | FillBusted
_TOLD = (*get_args(_Told), SignalIgnored, SignalRefused, SignalDead)


def _read_journal(engine: Engine) -> tuple[defaultdict[str, _Story], list[Aside]]:
    stories: defaultdict[str, _Story] = defaultdict(_Story)
    asides: list[Aside] = []
    for seq, event in _entries(engine):
        if isinstance(event, SignalIgnored | SignalRefused | SignalDead):
            if len(asides) <= ASIDE_MAX:  # one more than is kept says that there were more
                asides.append(_aside(event))
        elif isinstance(event, _Told):
            _tell(stories[event.parent_id], seq, event)
    return stories, asides


def _entries(engine: Engine) -> Iterator[tuple[int, AnyEvent]]:
    names = [kind.__name__ for kind in _TOLD]
    query = select(journal.c.seq, journal.c.payload).where(journal.c.type.in_(names)).order_by(journal.c.seq)
    with engine.connect() as connection:
        for row in connection.execute(query):
            yield row.seq, decode(row.payload)


def _tell(story: _Story, seq: int, event: _Told) -> None:
    if isinstance(event, ParentRouted):
        story.route = event
    elif isinstance(event, ParentAccepted):
        story.accepted = event
    elif isinstance(event, ParentAmended):
        story.amendments.append(event)
    elif isinstance(event, CostEstimated):
        story.estimate = event
    elif isinstance(event, ParentScheduled):
        story.schedules.append(event)
    elif isinstance(event, FillBooked):
        story.fills.append((seq, event))
    else:
        story.busted.add((event.venue, event.exec_id))


def _aside(event: SignalIgnored | SignalRefused | SignalDead) -> Aside:
    if isinstance(event, SignalDead):
        names = {"kind": "unreadable", "strategy": "", "signal_id": "", "source": event.source}
    else:
        kind = "ignored" if isinstance(event, SignalIgnored) else "refused"
        names = {"kind": kind, "strategy": event.strategy, "signal_id": event.signal_id, "source": ""}
    return Aside(ts=event.ts, reason=event.reason, text=event.text, **names)


def _parent(cost: CostReport, story: _Story, columns: Columns | None) -> Parent:
    fills = _fills(story, columns)
    return Parent(
        cost=cost,
        accepted=story.accepted,
        route=story.route,
        estimate=story.estimate,
        amendments=tuple(story.amendments),
        schedule=_schedule(story.schedules),
        fills=fills,
        path=_path(cost, columns),
        flags=cost.flags + _afterwards(cost, fills),
    )


def _fills(story: _Story, columns: Columns | None) -> tuple[Fill, ...]:
    fills: list[Fill] = []
    cum_qty = ZERO
    for seq, event in story.fills:
        busted = (event.venue, event.exec_id) in story.busted
        cum_qty += ZERO if busted else event.last_qty
        fills.append(
            Fill(
                ts=event.ts,
                exec_id=event.exec_id,
                venue=event.venue,
                last_qty=event.last_qty,
                last_px=event.last_px,
                fee=event.fee,
                multiplier=event.multiplier,
                cum_qty=cum_qty,
                mid=None if columns is None else columns.mid_at(seq),
                busted=busted,
                late=event.late,
            )
        )
    return tuple(fills)


def _schedule(schedules: list[ParentScheduled]) -> tuple[tuple[int, Decimal], ...]:
    """Each curve up to the moment at which the next one replaced it."""
    replaced = [later.ts for later in schedules[1:]]
    points: list[tuple[int, Decimal]] = []
    for i, curve in enumerate(schedules):
        steps = zip(curve.times, curve.targets, strict=True)
        points += [(ts, target) for ts, target in steps if i == len(replaced) or ts < replaced[i]]
    return tuple(points)


def _path(cost: CostReport, columns: Columns | None) -> MarketPath | None:
    if columns is None:
        return None
    margin = max(_MARGIN_NS_MIN, (cost.ts - cost.start) // _MARGIN_PART)
    return columns.sample(cost.start - margin, cost.ts + margin)


def _afterwards(cost: CostReport, fills: tuple[Fill, ...]) -> tuple[str, ...]:
    """What the cost report cannot know: executions that came, or were taken back, behind it."""
    standing = fills[-1].cum_qty if fills else ZERO
    if standing == cost.cum_qty:
        return ()
    return (f"executions of {standing.normalize():,f} stand now: the costs are of {cost.cum_qty.normalize():,f}",)


# Sums -----------------------------------------------------------------------------------------------------------------


def _totals(parents: list[Parent]) -> tuple[Total, ...]:
    by_currency: defaultdict[str, list[Parent]] = defaultdict(list)
    for parent in parents:
        by_currency[parent.cost.currency].append(parent)
    return tuple(_total(currency, group) for currency, group in sorted(by_currency.items()))


def _total(currency: str, parents: list[Parent]) -> Total:
    shortfall = sum((parent.cost.shortfall for parent in parents), ZERO)
    asked = sum((parent.cost.order_qty * parent.cost.decision_px * parent.cost.multiplier for parent in parents), ZERO)
    return Total(
        currency=currency,
        parents=len(parents),
        traded=sum((parent.traded for parent in parents), ZERO),
        shortfall=shortfall,
        shortfall_bps=bps_of(shortfall, asked),
        fees=sum((parent.cost.fees for parent in parents), ZERO),
    )


def _positions(engine: Engine, columns: Mapping[str, Columns], stories: Mapping[str, _Story]) -> tuple[Position, ...]:
    multipliers = {fill.symbol: fill.multiplier for story in stories.values() for _, fill in story.fills}
    marks = {symbol: of_symbol.mark for symbol, of_symbol in columns.items()}
    rows = sorted(queries.positions(engine), key=lambda row: (row["strategy"], row["symbol"]))
    return tuple(_position(row, marks.get(row["symbol"]), multipliers.get(row["symbol"], Decimal(1))) for row in rows)


def _position(row: Mapping[str, Any], mark: Decimal | None, multiplier: Decimal) -> Position:
    qty, avg_px = row["qty"], row["avg_px"]
    open_pnl = ZERO if not qty else None if mark is None else qty * (mark - avg_px) * multiplier
    return Position(
        strategy=row["strategy"],
        symbol=row["symbol"],
        qty=qty,
        avg_px=avg_px,
        mark=mark,
        realized_pnl=row["realized_pnl"],
        unrealized_pnl=open_pnl,
        fees=row["fees"],
    )


def _notices(engine: Engine) -> tuple[Notice, ...]:
    halts = [
        (row["seq"], Notice(ts=row["ts"], kind=row["state"], about=row["cause"], text=row["text"] or row["by"]))
        for row in queries.halts(engine)
    ]
    alerts = [
        (row["seq"], Notice(ts=row["ts"], kind=row["kind"], about=row["cl_ord_id"] or row["symbol"], text=row["text"]))
        for row in queries.alerts(engine)
    ]
    return tuple(notice for _, notice in sorted(halts + alerts, key=lambda pair: pair[0]))
