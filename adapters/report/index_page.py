"""The first page of a report: what the run cost, parent by parent, what was denied, and what it left behind."""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from decimal import Decimal

from adapters.report import charts, text
from adapters.report.data import Parent, Position, RunReport, Total
from adapters.report.markup import (
    Html,
    cell,
    chart,
    cost,
    link,
    number,
    say,
    section,
    table,
    tag,
    tiles,
    tone,
    wide,
)
from core.events import OrderDenied
from core.units import ZERO

ROWS_MAX = 200  # of a table that is no table of parents
TEXT_MAX = 200  # characters of a message that was no signal

PageName = Callable[[str], str]


def body(report: RunReport, page_name: PageName, *, has_charts: bool) -> Iterable[Html]:
    """The page from top to bottom; `page_name` gives the page of a parent."""
    yield tag("h1", say("Execution report"))
    yield tag("p", say(_about(report)), class_="soft")
    for note in report.notes:
        yield tag("p", say(note), class_="note")
    if not has_charts:
        yield tag("p", say(text.WITHOUT_CHARTS), class_="note")
    yield tiles(_headline(report))
    yield section(
        "Parents",
        tag("p", say(f"{text.SIGNS} Shortfall in bps of the order's value at its decision."), class_="soft"),
        *_parents(report, page_name),
    )
    if has_charts and report.parents:
        yield section(_costs_heading(report), chart("costs", "Parts of the shortfall by parent"))
    if report.live:
        yield section("Not ended", _live(report))
    yield section("Denied by the risk gate", *_denials(report))
    yield section("Signals that led to nothing", *_asides(report))
    yield section("Positions and profit by strategy", *_positions(report))
    if report.notices:
        yield section("Halts and alerts", *_notices(report))


def figures(report: RunReport) -> dict[str, charts.Figure]:
    """The page's charts by the name of their place."""
    return {"costs": charts.costs(report.parents)} if report.parents else {}


def _about(report: RunReport) -> str:
    if report.began is None or report.ended is None:
        return "Nothing ran yet: the journal is empty."
    meta = report.meta
    span = f"{text.moment(report.began)} to {text.moment(report.ended)} UTC"
    return f"{meta['world']}, account {meta['account']}, {span}, execd {meta['version']}"


# Headline -------------------------------------------------------------------------------------------------------------


def _headline(report: RunReport) -> Iterable[tuple[str, str, str, str]]:
    filled = sum(parent.cost.cum_qty == parent.cost.order_qty for parent in report.parents)
    yield "Parents", str(len(report.parents)), f"{filled} filled in full, {len(report.live)} not ended", ""
    for total in report.totals:
        yield from _money(total)
    reasons = Counter(denial.reason.value for denial in report.denials)
    yield "Denied by the gate", str(report.denied), _counted(reasons) or "nothing", ""
    kinds = Counter(aside.kind for aside in report.asides)
    received = f"{sum(report.signals.values()):,} signals well-formed"
    yield "Signals without an order", f"{len(report.asides):,}", _counted(kinds) or received, ""


def _money(total: Total) -> Iterable[tuple[str, str, str, str]]:
    yield "Traded", text.money(total.traded), f"{total.currency}, fees {text.money(total.fees)}", ""
    shortfall, bps = text.cost(total.shortfall), f"{text.bps(total.shortfall_bps)} bps of what was asked"
    yield f"Shortfall, {total.currency}", shortfall, bps, tone(shortfall)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counter.most_common(4))


# Parents --------------------------------------------------------------------------------------------------------------

_PARENT_HEAD = (
    "Parent",
    "#Filled / asked",
    "#Average",
    "#Arrival",
    "#Market VWAP",
    "#vs arrival, bps",
    "#vs VWAP, bps",
    "#Shortfall, bps",
    "#Shortfall",
    "End, flags",
)


def _parents(report: RunReport, page_name: PageName) -> Iterable[Html]:
    if not report.parents:
        yield tag("p", say("No parent has ended."))
        return
    common = text.common_flags(report.parents)
    yield from (tag("p", say(line), class_="soft") for line in text.said_of_many(report.parents, common))
    rows = [_parent(parent, page_name, common) for parent in report.parents]
    yield table(_PARENT_HEAD, rows, foot=_sum(report.totals) if len(report.totals) == 1 else ())


def _parent(parent: Parent, page_name: PageName, common: Container[str]) -> list[Html]:
    report, flags = parent.cost, text.rare_flags(parent, common)
    return [
        tag(
            "td",
            link(page_name(report.parent_id), text.title(report)),
            tag("div", say(f"{text.clock(report.start)}, {report.strategy}"), class_="soft"),
        ),
        number(f"{text.qty(report.cum_qty)} / {text.qty(report.order_qty)}"),
        number(text.price(report.avg_px)),
        number(text.price(report.arrival_px)),
        number(text.price(report.market_vwap)),
        cost(text.bps(parent.vs_arrival_bps)),
        cost(text.bps(parent.vs_vwap_bps)),
        cost(text.bps(report.shortfall_bps)),
        cost(f"{text.cost(report.shortfall)} {report.currency}"),
        tag("td", say(text.end(report)), *(tag("div", say(flag), class_="soft") for flag in flags), class_="wide"),
    ]


def _sum(totals: Sequence[Total]) -> list[Html]:
    total = totals[0]
    return [
        cell("All parents"),
        *[cell("")] * 6,
        cost(text.bps(total.shortfall_bps)),
        cost(f"{text.cost(total.shortfall)} {total.currency}"),
        cell(""),
    ]


def _costs_heading(report: RunReport) -> str:
    heading = "What the shortfall is made of"
    left_out = len(report.parents) - charts.BARS_MAX
    return f"{heading} (the {charts.BARS_MAX} largest, {left_out:,} not drawn)" if left_out > 0 else heading


def _live(report: RunReport) -> Html:
    rows = (
        [
            cell(f"{live.side} {text.qty(live.order_qty)} {live.symbol} {live.algo or ''}"),
            cell(live.strategy),
            number(text.qty(live.cum_qty)),
            number(text.price(live.avg_px)),
            number(text.price(live.arrival_px)),
        ]
        for live in report.live
    )
    return table(("Parent", "Strategy", "#Filled", "#Average", "#Arrival"), rows)


# What did not trade ---------------------------------------------------------------------------------------------------


def _denials(report: RunReport) -> Iterable[Html]:
    if not report.denials:
        yield tag("p", say("Nothing was denied."))
        return
    head = ("Time", "Order", "Check", "#Value", "#Limit", "Unit", "#Would have passed", "Why")
    yield table(head, (_denial(denial) for denial in report.denials[:ROWS_MAX]))
    yield from _cut(report.denied, min(len(report.denials), ROWS_MAX), "denials")


def _denial(denial: OrderDenied) -> list[Html]:
    what = "" if not denial.cl_ord_id else " (child)"
    most = text.NONE if denial.max_qty is None else text.qty(denial.max_qty)
    return [
        cell(text.clock(denial.ts)),
        cell(f"{denial.side} {text.qty(denial.order_qty)} {denial.symbol}{what}, {denial.strategy}"),
        cell(denial.reason.value),
        number(text.measure(denial.value, denial.unit) if denial.unit else text.NONE),
        number(text.measure(denial.limit, denial.unit) if denial.unit else text.NONE),
        cell(denial.unit),
        number(most),
        wide(denial.text),
    ]


def _asides(report: RunReport) -> Iterable[Html]:
    if not report.asides:
        yield tag("p", say("No signal was ignored, refused or unreadable."))
        return
    rows = (
        [
            cell(text.clock(aside.ts)),
            cell(aside.kind),
            cell(f"{aside.strategy} {aside.signal_id}".strip() or aside.source),
            wide(aside.reason),
            wide(aside.text[:TEXT_MAX]),
        ]
        for aside in report.asides[:ROWS_MAX]
    )
    yield table(("Time", "What", "Signal or source", "Why", "Text"), rows)
    yield from _cut(len(report.asides), ROWS_MAX, "signals")


def _notices(report: RunReport) -> Iterable[Html]:
    rows = (
        [cell(text.clock(notice.ts)), cell(notice.kind), cell(notice.about), cell(notice.text)]
        for notice in report.notices[:ROWS_MAX]
    )
    yield table(("Time", "What", "About", "Text"), rows)
    yield from _cut(len(report.notices), ROWS_MAX, "entries")


def _cut(there: int, shown: int, what: str) -> Iterable[Html]:
    if there > shown:
        yield tag("p", say(f"{there - shown:,} more {what} are in the database."), class_="soft")


# Positions ------------------------------------------------------------------------------------------------------------


def _positions(report: RunReport) -> Iterable[Html]:
    if not report.positions:
        yield tag("p", say("No positions."))
        return
    cash = report.meta.get("cash")
    about = "Marked at the last mid on the tape. Profits are positive when they are gains."
    if cash is not None:
        about += f" Cash at the end: {text.money(Decimal(cash))} {report.meta.get('currency', '')}."
    yield tag("p", say(about), class_="soft")
    groups: defaultdict[str, list[Position]] = defaultdict(list)
    for position in report.positions:
        groups[position.strategy].append(position)
    head = ("Strategy", "Symbol", "#Position", "#Average", "#Mark", "#Realised", "#Unrealised", "#Fees", "#Net")
    rows = [row for strategy, group in groups.items() for row in _strategy(strategy, group)]
    yield table(head, rows)


def _strategy(strategy: str, positions: Sequence[Position]) -> Iterable[list[Html]]:
    for position in positions:
        yield [
            cell(strategy),
            cell(position.symbol),
            number(text.qty(position.qty)),
            number(text.price(position.avg_px) if position.qty else text.NONE),
            number(text.price(position.mark)),
            number(text.money(position.realized_pnl)),
            number(text.money(position.unrealized_pnl)),
            number(text.money(position.fees)),
            number(text.money(position.net_pnl)),
        ]
    if len(positions) > 1:
        yield _strategy_sum(strategy, positions)


def _strategy_sum(strategy: str, positions: Sequence[Position]) -> list[Html]:
    """The strategy's profit; unknown where one of its positions is."""
    unrealized = [position.unrealized_pnl for position in positions]
    known = [value for value in unrealized if value is not None]
    is_known = len(known) == len(unrealized)
    realized = sum((position.realized_pnl for position in positions), ZERO)
    fees = sum((position.fees for position in positions), ZERO)
    open_pnl = sum(known, ZERO)
    return [
        tag("td", tag("strong", say(f"{strategy}, all"))),
        *[cell("")] * 4,
        number(text.money(realized)),
        number(text.money(open_pnl if is_known else None)),
        number(text.money(fees)),
        number(text.money(realized + open_pnl - fees if is_known else None)),
    ]
