"""How the account stands before its limits, and what the gate would say to an order: for people, nothing changes."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from core.orders import OrdType, Side
from core.signals import AMOUNT_BOUNDS, is_amount
from risk.checks import CHECKS, Ask, Case
from risk.shortfall import estimate
from risk.tail import TailRisk, View
from risk.use import score, uses

if TYPE_CHECKING:
    from daemon.run import Run

COMPONENTS_MAX = 10  # the largest, of each view

Facts = dict[str, Any]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order to be judged as a parent."""

    symbol: str
    side: Side
    qty: Decimal
    price: Decimal | None = None
    strategy: str = "desk"


def risk_of(run: "Run") -> Facts:
    """Every limit with its use, and where there is a risk model what it says of the portfolio."""
    if not run.ready.is_set():
        raise ValueError("the daemon is starting: ask again when `execd status` says that it has")
    exposure, limits, now = run.actors.exposure, run.actors.limits.current, run.clock.now()
    found = uses(exposure, run.actors.guard, limits, now)
    points, fullest = score(found)
    return {
        "limits": run.actors.limits.version,
        "equity": exposure.equity,
        "base": exposure.base(now),  # what fractions are of
        "score": points,
        "fullest": fullest,
        "uses": found,
        "old_marks": list(exposure.marks.old()),
        "overrides": run.actors.overrides.open(now),
        "stopped": exposure.stopped,
        "model": _model(run, exposure.tail, now) if exposure.tail is not None else None,
    }


def checked(run: "Run", query: Mapping[str, str]) -> Facts:
    """What each check says to an order that is not sent; raises ValueError where it is none."""
    if not run.ready.is_set():
        raise ValueError("the daemon is starting: ask again when `execd status` says that it has")
    try:
        asked = msgspec.convert(dict(query), Asked, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"no order: {error}") from error
    for name in ("qty", "price"):
        amount: Decimal | None = getattr(asked, name)
        if amount is not None and not is_amount(amount):
            raise ValueError(f"no order: {name} = {amount}: a number {AMOUNT_BOUNDS} belongs here")
    instrument = run.instruments.get(asked.symbol)
    ask = Ask(
        ts=run.clock.now(),
        parent_id="",
        cl_ord_id="",
        strategy=asked.strategy,
        venue=instrument.venue if instrument is not None else "",
        symbol=asked.symbol,
        side=asked.side,
        qty=asked.qty,
        ord_type=OrdType.LIMIT if asked.price is not None else OrdType.MARKET,
        price=asked.price,
        time_in_force=None,
    )
    case, limits = Case(ask, run.actors.exposure), run.actors.limits.current
    said: list[Facts] = []
    for check in CHECKS:
        said.append({"check": check.__name__, "denial": check(case, limits)})
        if said[-1]["denial"] is not None:
            break  # later checks rely on it
    passes = said[-1]["denial"] is None
    return {"order": asked, "passes": passes, "limits": run.actors.limits.version, "checks": said}


def _model(run: "Run", tail: TailRisk, now: int) -> Facts:
    error = run.modeller.error if run.modeller is not None else ""
    facts: Facts = {
        "error": error,
        "regime": tail.regime_at(now).name,
        "overridden": tail.regime.override is not None,
        "multiplier": tail.multiplier(now),
        "version": None,
    }
    if tail.model is None:
        return facts
    model = tail.model
    return facts | {
        "version": model.version,
        "date": model.date.isoformat(),
        "scenarios": model.plain.shape[1],
        "symbols": len(model.symbols),
        "proxies": model.proxies,
        "views": [_view(view, model.symbols) for view, _ in tail.views(now)],
    }


def _view(view: View, symbols: tuple[str, ...]) -> Facts:
    parts = sorted(zip(view.components(), symbols, strict=True), key=lambda part: -abs(part[0]))
    said = estimate(view.scenarios())
    return {
        "view": view.kind,
        "held": said.expected_shortfall,
        "low": said.low,
        "high": said.high,
        "value_at_risk": said.value_at_risk,
        "at_worst": view.at_worst(of_parents=True),
        "components": [{"symbol": symbol, "part": part} for part, symbol in parts[:COMPONENTS_MAX] if part],
    }
