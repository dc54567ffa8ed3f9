"""What people ask the database: orders, fills, positions, and why an order is what it is.

Rows are dictionaries, newest first, at most `limit` of them. Quantities and prices are Decimals, times ns UTC.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, ColumnElement, Engine, Table, and_, func, or_, select

from adapters.store import tables
from core.units import ZERO

IDS_AT_ONCE = 500  # in one query
MAX_ROWS = 10_000  # of one answer: more is an export's business

Rows = list[dict[str, Any]]


def signals(engine: Engine, *, strategy: str | None = None, state: str | None = None, limit: int = MAX_ROWS) -> Rows:
    """Signals and what became of them."""
    return _rows(engine, tables.signals, "ts", limit, strategy=strategy, state=state)


def parents(
    engine: Engine,
    *,
    parent_id: str | None = None,
    signal_id: str | None = None,
    strategy: str | None = None,
    symbol: str | None = None,
    state: str | None = None,
    limit: int = MAX_ROWS,
) -> Rows:
    """Parents; `cum_qty` and `avg_px` are of the executions that stand, so live ones and late fills are right too."""
    filters = {
        "parent_id": parent_id,
        "signal_id": signal_id,
        "strategy": strategy,
        "symbol": symbol,
        "state": state,
    }
    rows = _rows(engine, tables.parents, "started", limit, **filters)
    done = _executed(engine, [row["parent_id"] for row in rows])
    for row in rows:
        qty, notional = done[row["parent_id"]]
        row["cum_qty"], row["avg_px"] = qty, notional / qty if qty else None
    return rows


def signal_of(engine: Engine, parent_id: str) -> tuple[str, str]:
    """A parent's signal_id and strategy; empty where nothing is known of it."""
    parent = tables.parents.c
    with engine.connect() as connection:
        row = connection.execute(select(parent.signal_id, parent.strategy).where(parent.parent_id == parent_id)).first()
    return ("", "") if row is None else (row.signal_id or "", row.strategy)


def orders(
    engine: Engine,
    *,
    parent_id: str | None = None,
    strategy: str | None = None,
    symbol: str | None = None,
    ord_status: str | None = None,
    limit: int = MAX_ROWS,
) -> Rows:
    """Child orders as they stand."""
    filters = {"parent_id": parent_id, "strategy": strategy, "symbol": symbol, "ord_status": ord_status}
    return _rows(engine, tables.orders, "updated", limit, **filters)


def fills(
    engine: Engine,
    *,
    cl_ord_id: str | None = None,
    parent_id: str | None = None,
    strategy: str | None = None,
    symbol: str | None = None,
    limit: int = MAX_ROWS,
) -> Rows:
    """Executions, those that the venue took back (`busted`) among them."""
    filters = {"cl_ord_id": cl_ord_id, "parent_id": parent_id, "strategy": strategy, "symbol": symbol}
    return _rows(engine, tables.executions, "ts", limit, **filters)


def positions(engine: Engine, *, strategy: str | None = None, symbol: str | None = None, limit: int = MAX_ROWS) -> Rows:
    """Positions by strategy and symbol, flat ones too."""
    return _rows(engine, tables.positions, "updated", limit, strategy=strategy, symbol=symbol)


def denials(
    engine: Engine,
    *,
    parent_id: str | None = None,
    strategy: str | None = None,
    symbol: str | None = None,
    reason: str | None = None,
    limit: int = MAX_ROWS,
) -> Rows:
    """What the gate refused, with its numbers."""
    filters = {"parent_id": parent_id, "strategy": strategy, "symbol": symbol, "reason": reason}
    return _rows(engine, tables.risk_decisions, "seq", limit, verdict="denied", **filters)


def turned_away(engine: Engine) -> Rows:
    """Why what signals asked for became no parent: `reason`, `count`, and the `text` of the first; the most first."""
    parents, decisions, signals = tables.parents, tables.risk_decisions, tables.signals
    of_parent = (decisions.c.parent_id == parents.c.parent_id) & (decisions.c.cl_ord_id == "")
    counted = func.count().label("count")
    denied = select(parents.c.reason, counted, func.min(decisions.c.seq).label("first")).join(decisions, of_parent)
    denied = denied.where(parents.c.state == "denied").group_by(parents.c.reason)
    before = select(signals.c.reason, counted).where(signals.c.state.in_(("ignored", "refused")))
    with engine.connect() as connection:
        by_gate = connection.execute(denied).all()
        text_of = select(decisions.c.seq, decisions.c.text).where(decisions.c.seq.in_([row.first for row in by_gate]))
        texts = {row.seq: row.text for row in connection.execute(text_of)}
        others = connection.execute(before.group_by(signals.c.reason)).all()
    rows = [{"reason": reason, "count": count, "text": texts[first]} for reason, count, first in by_gate]
    rows += [{"reason": reason, "count": count, "text": ""} for reason, count in others]
    return sorted(rows, key=lambda row: (-row["count"], row["reason"]))


def shadow(engine: Engine, *, limit: int = MAX_ROWS) -> dict[str, Any] | None:
    """What the newest shadow limits would have done while they judged: by reason, and the newest differences.

    Verdicts are alike where both let the same quantity pass; `reason` is that of the denial, or empty. A difference
    counts under the reason of the limits that let less pass. None where no shadow limits were ever set.
    """
    sets, differences, decisions = tables.shadow_limits, tables.shadow_verdicts, tables.risk_decisions
    with engine.connect() as connection:
        newest = connection.execute(
            select(sets).where(sets.c.version != "").order_by(sets.c.seq.desc()).limit(1)
        ).first()
        if newest is None:
            return None
        end = connection.execute(select(sets).where(sets.c.seq > newest.seq).order_by(sets.c.seq).limit(1)).first()

        def judged(table: Table) -> ColumnElement[bool]:
            behind = table.c.seq > newest.seq
            return behind if end is None else and_(behind, table.c.seq < end.seq)

        # First the differences: the verdicts that they belong to are there by then, even where the daemon writes on.
        columns = differences.c.outcome, differences.c.reason, differences.c.in_force
        differing = connection.execute(
            select(*columns, func.count()).where(judged(differences)).group_by(*columns)
        ).all()
        reason = decisions.c.reason
        verdicts = connection.execute(select(reason, func.count()).where(judged(decisions)).group_by(reason)).all()
        rows = connection.execute(
            select(differences).where(judged(differences)).order_by(differences.c.seq.desc()).limit(limit)
        ).mappings()
        shown = [dict(row) for row in rows]
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("alike", "tighter", "wider")}
    counts["alike"].update({row[0]: row[1] for row in verdicts})
    for outcome, why, in_force, count in differing:
        counts[outcome][why] += count
        counts["alike"][why if in_force == "denied" else ""] -= count
    reasons = sorted({why for counted in counts.values() for why, count in counted.items() if count})
    return {
        "version": newest.version,
        "by": newest.by,
        "since": newest.ts,
        "until": None if end is None else end.ts,
        "verdicts": sum(row[1] for row in verdicts),
        "reasons": [{"reason": why} | {name: counted[why] for name, counted in counts.items()} for why in reasons],
        "differences": shown,
    }


def stops(
    engine: Engine,
    *,
    strategy: str | None = None,
    symbol: str | None = None,
    state: str | None = None,
    limit: int = MAX_ROWS,
) -> Rows:
    """Stops that the daemon holds, and what became of those that it held."""
    return _rows(engine, tables.stops, "updated", limit, strategy=strategy, symbol=symbol, state=state)


def cost_reports(
    engine: Engine, *, strategy: str | None = None, symbol: str | None = None, limit: int = MAX_ROWS
) -> Rows:
    """What parents cost; `payload` is the whole report as JSON."""
    return _rows(engine, tables.cost_reports, "ts", limit, strategy=strategy, symbol=symbol)


def halts(engine: Engine, *, cause: str | None = None, limit: int = MAX_ROWS) -> Rows:
    """Causes that held trading back, and their ends."""
    return _rows(engine, tables.halts, "seq", limit, cause=cause)


def commands(engine: Engine, *, limit: int = MAX_ROWS) -> Rows:
    """What people commanded over the control socket, refused or not."""
    return _rows(engine, tables.commands, "seq", limit)


def alerts(engine: Engine, *, kind: str | None = None, limit: int = MAX_ROWS) -> Rows:
    """What somebody should look at."""
    return _rows(engine, tables.alerts, "seq", limit, kind=kind)


def dead_letters(engine: Engine, *, limit: int = MAX_ROWS) -> Rows:
    """Input that was no signal, and signals that were refused."""
    return _rows(engine, tables.dead_letters, "seq", limit)


def recorded_executions(engine: Engine, venue: str, exec_ids: Iterable[str]) -> set[str]:
    """Those of a venue's execution ids that are booked on record."""
    found: set[str] = set()
    wanted, column = sorted(exec_ids), tables.executions.c.exec_id
    with engine.connect() as connection:
        for start in range(0, len(wanted), IDS_AT_ONCE):
            among = column.in_(wanted[start : start + IDS_AT_ONCE])
            found.update(connection.scalars(select(column).where(tables.executions.c.venue == venue, among)))
    return found


def meta(engine: Engine) -> dict[str, str]:
    """The last start's version, world and configuration, the account and its cash."""
    with engine.connect() as connection:
        return {row.key: row.value for row in connection.execute(select(tables.meta))}


_COUNTED: dict[str, Column[Any]] = {
    "signals": tables.signals.c.state,
    "parents": tables.parents.c.state,
    "orders": tables.orders.c.ord_status,
    "decisions": tables.risk_decisions.c.verdict,
    "alerts": tables.alerts.c.kind,
}


def counts(engine: Engine) -> dict[str, dict[str, int]]:
    """How many signals, parents, orders, risk decisions and alerts there are of each state."""
    with engine.connect() as connection:
        return {
            name: {row[0]: row[1] for row in connection.execute(select(state, func.count()).group_by(state))}
            for name, state in _COUNTED.items()
        }


def explain(engine: Engine, order: str, *, limit: int = MAX_ROWS) -> Rows:
    """The journal's entries about a parent and all its children, or about a child and its parent; oldest first.

    `order` is a parent_id or a cl_ord_id. Empty where the journal knows neither.
    """
    journal = tables.journal
    with engine.connect() as connection:
        is_parent = connection.execute(select(journal.c.seq).where(journal.c.parent_id == order).limit(1)).first()
        about = _about_parent(order) if is_parent else _about_child(order)
        columns = (journal.c.seq, journal.c.ts, journal.c.type, journal.c.payload)
        query = select(*columns).where(about).order_by(journal.c.seq).limit(limit)
        return [dict(row) for row in connection.execute(query).mappings()]


def _about_parent(parent_id: str) -> ColumnElement[bool]:
    """Raw reports of a venue name no parent: they are found through the children."""
    journal = tables.journal
    children = select(journal.c.cl_ord_id).where(journal.c.parent_id == parent_id, journal.c.cl_ord_id.is_not(None))
    return or_(journal.c.parent_id == parent_id, journal.c.cl_ord_id.in_(children))


def _about_child(cl_ord_id: str) -> ColumnElement[bool]:
    journal = tables.journal
    parent = select(journal.c.parent_id).where(journal.c.cl_ord_id == cl_ord_id, journal.c.parent_id.is_not(None))
    own = journal.c.cl_ord_id == cl_ord_id
    return or_(own, and_(journal.c.parent_id.in_(parent), journal.c.cl_ord_id.is_(None)))


def _rows(engine: Engine, table: Table, newest: str, limit: int, **filters: str | None) -> Rows:
    wanted = [table.c[name] == value for name, value in filters.items() if value is not None]
    query = select(table).where(*wanted).order_by(table.c[newest].desc().nulls_last(), *table.primary_key).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _executed(engine: Engine, parent_ids: list[str]) -> defaultdict[str, tuple[Decimal, Decimal]]:
    """Quantity and notional by parent of the executions that stand; summed here, because SQL would use floats."""
    done: defaultdict[str, tuple[Decimal, Decimal]] = defaultdict(lambda: (ZERO, ZERO))
    executions = tables.executions
    columns = (executions.c.parent_id, executions.c.last_qty, executions.c.last_px)
    query = select(*columns).where(executions.c.parent_id.in_(parent_ids), executions.c.busted.is_(False))
    with engine.connect() as connection:
        for parent_id, last_qty, last_px in connection.execute(query):
            qty, notional = done[parent_id]
            done[parent_id] = qty + last_qty, notional + last_qty * last_px
    return done
