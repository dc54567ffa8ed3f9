"""The daemon's state for people and for machines: what trades, what holds it back, how every actor is doing."""

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from core.units import NS_PER_S
from daemon.bus import TaskBus
from daemon.config import hash_of
from daemon.version import VERSION
from daemon.wiring import Actors

if TYPE_CHECKING:
    from daemon.run import Run

CENT = Decimal("0.01")
ROWS_MAX = 500  # of one kind in one answer

View = dict[str, Any]


def status(run: "Run") -> View:
    """One page of facts; before recovery is done only who we are."""
    config = run.config
    who: View = {
        "account": config.daemon.account,
        "world": config.daemon.world,
        "version": VERSION,
        "configuration": hash_of(config),
        "limits": run.actors.limits.version,
        "ready": run.ready.is_set(),
        "up_s": round(time.monotonic() - run.began, 1),
    }
    if not run.ready.is_set():
        return who
    now, exposure, journal = run.clock.now(), run.actors.exposure, run.journal
    return who | {
        "now": now,
        "scale": config.clock.scale,
        "state": exposure.causes.state,
        "causes": [
            {"cause": event.cause, "state": event.state, "since": event.ts, "by": event.by, "text": event.text}
            for event in run.actors.halts.live.values()
        ],
        "equity": exposure.equity,
        "marked": exposure.marked,  # by our own books
        "broker": exposure.broker.report,
        "venues": run.actors.venues.standing(now),
        "day_loss": round(float(run.actors.guard.day_loss), 6),
        "drawdown": round(float(run.actors.guard.drawdown), 6),
        "cash": exposure.book.cash,
        "parents": len(exposure.parents),
        "orders": len(exposure.children),
        "stops": sum(stop.is_held for stop in run.actors.triggers),
        "in_doubt": sum(len(run.actors.oms.in_doubt(venue)) for venue in run.gateways),
        "quarantined": exposure.quarantined,
        "stopped": exposure.stopped,
        "last_halt": run.actors.drain.last,
        "journal": {
            "durable_seq": journal.durable_seq,
            "depth": journal.depth,
            "age_s": round(journal.age_s, 3),
            "trouble": journal.trouble,
        },
        "actors": [*_actors(run, now), *_edges(run)],
    }


def in_short(run: "Run") -> str:
    """One line, for the service manager."""
    exposure, causes = run.actors.exposure, sorted(run.actors.halts.live)
    held = f" by {', '.join(causes)}" if causes else ""
    held += f", stopped: {', '.join(sorted(exposure.stopped))}" if exposure.stopped else ""
    works = f"{len(exposure.parents)} live parents, {len(exposure.children)} working orders"
    return f"{exposure.causes.state}{held}, {works}"


def live(run: "Run") -> View:
    """Live parents, working orders and positions, the first of each."""
    rows = run.rows
    return {
        "parents": [rows.parent(key) for key, _ in zip(rows.parents(), range(ROWS_MAX), strict=False)],
        "orders": [rows.order(key) for key, _ in zip(rows.orders(), range(ROWS_MAX), strict=False)],
        "positions": [rows.position(*key) for key, _ in zip(rows.positions(), range(ROWS_MAX), strict=False)],
    }


def stops(run: "Run") -> View:
    """Where every stop fires now, how far the mark is from that, and what its strategy's position loses until then.

    Below zero it is beyond. Both are missing where there is no price, or no such instrument any more.
    """
    exposure, rows = run.actors.exposure, []
    for stop in run.actors.triggers:
        strategy, symbol, level = stop.order.strategy, stop.order.symbol, stop.stop_px
        mark, instrument = exposure.mark(symbol), exposure.instruments.get(symbol)
        row: View = {"strategy": strategy, "stop_id": stop.order.stop_id, "level": level}
        if mark is not None and instrument is not None:
            away = stop.sign * (mark - level)
            lost = instrument.notional(abs(exposure.own_held(strategy, symbol)), away)
            row |= {"away_pct": (100 * away / mark).quantize(CENT), "away_money": lost.quantize(CENT)}
        rows.append(row)
    return {"stops": rows}


def _actors(run: "Run", now: int) -> list[View]:
    placement = "task" if isinstance(run.bus, TaskBus) else "inline"
    seen = run.bus.handled()
    return [
        {
            "name": name,
            "placement": placement,
            "depth": 0,  # lockstep: the next event comes when all mailboxes are empty
            "handled": seen[name].number if name in seen else 0,
            "age_s": _age_s(now, seen[name].last) if name in seen else None,
            "error": "",
        }
        for name in Actors.__struct_fields__
    ]


def _edges(run: "Run") -> list[View]:
    counts = run.intake.counts
    return [
        {
            "name": edge.name,
            "placement": "task",
            "depth": edge.depth(),
            "handled": counts[edge.name].number if edge.name in counts else edge.handled(),
            "age_s": _age_s(run.clock.now(), counts[edge.name].last) if edge.name in counts else None,
            "error": edge.error,
        }
        for edge in run.edges
    ]


def _age_s(now: int, ts: int) -> float | None:
    return round((now - ts) / NS_PER_S, 3) if ts else None
