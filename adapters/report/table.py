"""The report for a terminal, and as JSON for programs."""

from collections import Counter
from collections.abc import Container, Iterable, Sequence

import msgspec

from adapters.report import text
from adapters.report.data import Parent, RunReport
from core.events import OrderDenied
from core.impact import LEVEL

DENIALS_MAX = 20  # lines; the rest is counted
REASONS_MAX = 20  # lines

_HEAD = ("Parent", "Filled", "Average", "Arrival", "VWAP", "Shortfall bps", "Shortfall", "End")
_LEFT = frozenset({"Parent", "End"})  # columns of text; the others are numbers


def render(report: RunReport) -> str:
    """The report as lines of plain text, wide enough for its columns."""
    return "\n".join(_lines(report)) + "\n"


def as_json(report: RunReport) -> bytes:
    """The whole report; quantities, prices and money as strings, digit for digit, times in ns UTC."""
    return msgspec.json.encode(report)


def _lines(report: RunReport) -> Iterable[str]:
    if report.parents:
        common = text.common_flags(report.parents)
        yield from _columns([_HEAD, *(_row(parent, common) for parent in report.parents)])
        yield ""
        yield from map(text.printable, text.said_of_many(report.parents, common))
    else:
        yield "No parent has ended."
    for total in report.totals:
        traded = f"{text.counted(total.parents, 'parent')}, traded {text.money(total.traded)} {total.currency}"
        yield f"{traded}, shortfall {text.cost(total.shortfall)} {total.currency} ({text.bps(total.shortfall_bps)} bps)"
    compared = [where for where in map(text.within, report.parents) if where]
    if compared:
        inside = sum(where == text.INSIDE for where in compared)
        yield f"Expected beforehand: {inside:,} of {len(compared):,} parents inside their interval of {LEVEL} %."
    if report.parents:
        yield text.SIGNS
    if report.live:
        have = "has" if len(report.live) == 1 else "have"
        yield f"{text.counted(len(report.live), 'parent')} {have} not ended."
    yield from _denials(report)
    yield from _asides(report)
    yield from report.notes


def _row(parent: Parent, common: Container[str]) -> Sequence[str]:
    report = parent.cost
    return (
        text.printable(text.title(report)),
        f"{text.qty(report.cum_qty)}/{text.qty(report.order_qty)}",
        text.price(report.avg_px),
        text.price(report.arrival_px),
        text.price(report.market_vwap),
        text.bps(report.shortfall_bps),
        f"{text.cost(report.shortfall)} {report.currency}",
        text.end(report) + "".join(f"; {text.printable(flag)}" for flag in text.rare_flags(parent, common)),
    )


def _columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            value.ljust(width) if name in _LEFT else value.rjust(width)
            for name, value, width in zip(rows[0], row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _denials(report: RunReport) -> Iterable[str]:
    if not report.denied:
        return
    yield ""
    yield f"Denied by the risk gate: {report.denied:,}"
    yield from (f"  {_denial(denial)}" for denial in report.denials[:DENIALS_MAX])
    if report.denied > DENIALS_MAX:
        yield f"  and {report.denied - DENIALS_MAX:,} more"


def _denial(denial: OrderDenied) -> str:
    what = f"{denial.side} {text.qty(denial.order_qty)} {denial.symbol}{' (child)' if denial.cl_ord_id else ''}"
    why = denial.text
    if denial.unit:  # it is a matter of numbers
        most = "none" if denial.max_qty is None else text.qty(denial.max_qty)
        value, limit = text.measure(denial.value, denial.unit), text.measure(denial.limit, denial.unit)
        why = f"{value} against {limit} {denial.unit}, {most} would have passed"
    return text.printable(f"{text.clock(denial.ts)}  {what}  {denial.reason}: {why}")


def _asides(report: RunReport) -> Iterable[str]:
    if not report.asides:
        return
    yield ""
    yield f"Signals that led to nothing: {len(report.asides):,}"
    reasons = Counter((aside.kind, aside.reason) for aside in report.asides).most_common()
    yield from (f"  {count:,} {kind}: {text.printable(reason)}" for (kind, reason), count in reasons[:REASONS_MAX])
    if len(reasons) > REASONS_MAX:
        yield f"  and {len(reasons) - REASONS_MAX:,} more reasons"
