"""How numbers, times and reasons are written for people, on a page as in a terminal.

Rounding is half to even, once, at the end. A number that rounds to zero has no sign. What is not known is a dash.
"""

import datetime as dt
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from decimal import Decimal

from adapters.report.data import Fill, Parent
from core.events import CostReport, EndReason
from core.units import NS_PER_MS, NS_PER_S, bps_of

NONE = "-"
COMMON_MIN = 3  # parents with one kind of flag; fewer have it to themselves
_PRICE_PLACES = 4
_SMALL_PRICE_PLACES = 8  # of a price below one

SIGNS = "Costs are positive when they hurt: buying above or selling below the benchmark. Negative: gained."

INSIDE = "inside the interval"

WITHOUT_CHARTS = "There are no charts in this report: pip install 'execd[demo]' brings plotly, which draws them."

PARTS: dict[str, str] = {
    "delay": "from the decision to the arrival, on the whole order",
    "spread": "average price against the mid at each fill",
    "impact": "modelled by the square-root law",
    "timing": "where the mid went after the arrival, less the impact",
    "opportunity": "what was not filled, at the mid at the end",
    "fees": "paid to venues",
}

ENDS: dict[EndReason, str] = {
    EndReason.FILLED: "filled",
    EndReason.WINDOW: "time over",
    EndReason.LIMIT_PRICE: "beyond its limit",
    EndReason.DENIED: "children denied",
    EndReason.DUST: "rest too small",
    EndReason.INFEASIBLE: "no schedule possible",
    EndReason.HALTED: "trading halted",
    EndReason.HELD: "paused",
    EndReason.TAKEN_BACK: "taken back",
    EndReason.UNRESOLVED: "outcome unknown",
}


def measure(value: Decimal, unit: str) -> str:
    """What a check measured: exact, but a fraction of something as a percentage."""
    return f"{value:.2%}" if unit.startswith("of ") else qty(value)


def qty(value: Decimal) -> str:
    """A quantity, all its digits."""
    return f"{value.normalize():z,f}"


def price(value: Decimal | None) -> str:
    """A price to four decimals, one below 1 to eight."""
    if value is None:
        return NONE
    return f"{value:z,.{_SMALL_PRICE_PLACES if abs(value) < 1 else _PRICE_PLACES}f}"


def money(value: Decimal | None) -> str:
    """An amount to the cent, with a sign only where it is negative."""
    return NONE if value is None else f"{value:z,.2f}"


def cost(value: Decimal | None) -> str:
    """An amount to the cent whose sign says something: always written, but for zero."""
    return NONE if value is None else _signed(f"{value:+z,.2f}")


def bps(value: Decimal | None) -> str:
    """Basis points to one decimal, signed."""
    return NONE if value is None else _signed(f"{value:+z,.1f}")


def percent(part: Decimal, whole: Decimal) -> str:
    """A share of a whole to one decimal; a dash of nothing."""
    return f"{part / whole * 100:z,.1f} %" if whole else NONE


def _signed(number: str) -> str:
    return number if number.strip("+0.") else number[1:]


def clock(ts: int, *, with_ms: bool = False) -> str:
    """Time of day, UTC."""
    seconds = dt.datetime.fromtimestamp(ts // NS_PER_S, dt.UTC).strftime("%H:%M:%S")
    return f"{seconds}.{ts % NS_PER_S // NS_PER_MS:03d}" if with_ms else seconds


def moment(ts: int) -> str:
    """Day and time of day, UTC."""
    return f"{dt.datetime.fromtimestamp(ts // NS_PER_S, dt.UTC):%Y-%m-%d} {clock(ts)}"


def duration(ns: int) -> str:
    """A length of time, two units of it."""
    if ns < NS_PER_S:
        return f"{ns // NS_PER_MS} ms"
    minutes, seconds = divmod(ns // NS_PER_S, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def title(report: CostReport) -> str:
    """What was asked: side, quantity, symbol and algorithm."""
    return f"{report.side} {qty(report.order_qty)} {report.symbol} {report.algo}"


def end(report: CostReport) -> str:
    """Why a parent ended, with what was left."""
    left = report.order_qty - report.cum_qty
    return ENDS[report.reason] + (f", {qty(left)} not done" if left else "")


def part_bps(report: CostReport, name: str) -> Decimal:
    """A part of the shortfall in bps of the order's value at the decision."""
    part: Decimal = getattr(report, name)
    return bps_of(part, report.order_qty * report.decision_px * report.multiplier)


def within(parent: Parent) -> str:
    """Where the realised cost lies, seen from the estimate; empty without either."""
    estimate, cost = parent.estimate, parent.vs_arrival_bps
    if cost is None or estimate is None or estimate.low_bps is None or estimate.high_bps is None:
        return ""
    if estimate.low_bps <= cost <= estimate.high_bps:
        return INSIDE
    return "above the interval" if cost > estimate.high_bps else "below the interval"


def vs_mid_bps(parent: Parent, fill: Fill) -> Decimal | None:
    """A fill's price against the mid at its booking, bps, positive when it hurts."""
    if not fill.mid:
        return None
    mid = Decimal(repr(fill.mid))
    return bps_of(parent.cost.side.sign * (fill.last_px - mid), mid)


def counted(number: int, what: str) -> str:
    """So many of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def common_flags(parents: Sequence[Parent]) -> dict[str, int]:
    """Kinds of flags that most parents have, where there are many: said once, not of every parent."""
    counts = Counter(_kind(flag) for parent in parents for flag in parent.flags)
    few = max(len(parents) // 2, COMMON_MIN)
    return {kind: count for kind, count in counts.items() if count > few}


def said_of_many(parents: Sequence[Parent], common: Mapping[str, int]) -> Iterator[str]:
    """The kinds that are said once, a line each."""
    return (f"{count:,} of {len(parents):,} parents: {kind}" for kind, count in common.items())


def rare_flags(parent: Parent, common: Container[str]) -> Iterator[str]:
    """A parent's flags, but for those that are said once."""
    return (flag for flag in parent.flags if _kind(flag) not in common)


def _kind(flag: str) -> str:
    """A flag without its numbers, which come behind a comma."""
    return flag.partition(",")[0]


def printable(text: str) -> str:
    """Text from outside on one line, without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
