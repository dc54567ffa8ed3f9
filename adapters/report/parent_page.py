"""The page of one parent: what the market did, what was planned and done, and where the money went."""

from collections.abc import Iterable
from decimal import Decimal

from adapters.report import charts, text
from adapters.report.data import Fill, Parent
from adapters.report.markup import (
    Html,
    cell,
    chart,
    cost,
    facts,
    link,
    number,
    say,
    section,
    table,
    tag,
    tiles,
    tone,
)
from core.events import CostReport, ParentAmended, ParentRouted
from core.impact import LEVEL

FILLS_MAX = 500  # rows


def body(parent: Parent, *, has_charts: bool, before: str | None, after: str | None) -> Iterable[Html]:
    """The page from top to bottom; `before` and `after` are its neighbours."""
    report = parent.cost
    yield _ways(before, after)
    yield tag("h1", say(text.title(report)))
    yield tag("p", say(_about(parent)), class_="soft")
    for flag in parent.flags:
        yield tag("p", say(flag), class_="note")
    yield tiles(_headline(parent))
    if not has_charts:
        yield tag("p", say(text.WITHOUT_CHARTS), class_="note")
    else:
        yield section("Price", chart("price", "Price, fills and benchmarks"))
        yield tag(
            "div",
            section("Progress", chart("progress", "Planned and filled quantity")),
            section("Cost", chart("waterfall", "Shortfall by its parts")),
            class_="pair",
        )
    signs = tag("p", say(text.SIGNS), class_="soft")
    yield tag("div", section("Parts of the shortfall", signs, _parts(report)), _facts(parent), class_="pair")
    yield section("Estimate and outcome", *_estimate(parent))
    if parent.route is not None:
        yield section("Choice of the algorithm", *_route(parent.route))
    if parent.amendments:
        yield section("Amendments", *_amendments(parent))
    yield section("Fills", *_fills(parent))


def figures(parent: Parent) -> dict[str, charts.Figure]:
    """The page's charts by the name of their place."""
    return {
        "price": charts.price(parent),
        "progress": charts.progress(parent),
        "waterfall": charts.waterfall(parent),
    }


def _ways(before: str | None, after: str | None) -> Html:
    ways = (("index.html", "All parents"), (before, "Previous"), (after, "Next"))
    return tag("nav", *(link(target, label) for target, label in ways if target is not None))


def _about(parent: Parent) -> str:
    report = parent.cost
    signal = f", signal {parent.accepted.parent.signal_id}" if parent.accepted else ""
    times = f"{text.moment(report.start)} to {text.clock(report.ts)} UTC"
    life = text.duration(report.ts - report.start)
    return f"Strategy {report.strategy}{signal}, {times} ({life}), {report.parent_id}"


def _headline(parent: Parent) -> Iterable[tuple[str, str, str, str]]:
    report = parent.cost
    share = text.percent(report.cum_qty, report.order_qty)
    yield "Filled", f"{text.qty(report.cum_qty)} / {text.qty(report.order_qty)}", f"{share}, {text.end(report)}", ""
    yield "Average price", text.price(report.avg_px), f"arrival {text.price(report.arrival_px)}", ""
    shortfall = text.cost(report.shortfall)
    yield f"Shortfall, {report.currency}", shortfall, f"{text.bps(report.shortfall_bps)} bps", tone(shortfall)
    against = (("Against arrival, bps", parent.vs_arrival_bps), ("Against market VWAP, bps", parent.vs_vwap_bps))
    for name, value in against:
        written = text.bps(value)
        yield name, written, "positive = cost", tone(written)


def _parts(report: CostReport) -> Html:
    rows = [_part(report, name, getattr(report, name), why) for name, why in text.PARTS.items()]
    return table(("Part", f"#{report.currency}", "#bps", "What it is"), rows, foot=_shortfall(report))


def _part(report: CostReport, name: str, value: Decimal, why: str) -> list[Html]:
    return [cell(name), cost(text.cost(value)), cost(text.bps(text.part_bps(report, name))), cell(why)]


def _shortfall(report: CostReport) -> list[Html]:
    value = report.shortfall
    return [
        cell("shortfall"),
        cost(text.cost(value)),
        cost(text.bps(report.shortfall_bps)),
        cell("the sum, against the decision price"),
    ]


# Before it traded -----------------------------------------------------------------------------------------------------

_INTERVAL = ("#bps", f"#from, {LEVEL} %", "#to")


def _estimate(parent: Parent) -> Iterable[Html]:
    found = parent.estimate
    if found is None:
        yield tag("p", say("Nothing was estimated: it never got a curve."))
        return
    said = found.text or f"model {found.model}"
    rows = [
        _bps("estimated", (found.cost_bps, found.low_bps, found.high_bps), said),
        _bps("of it spread", (found.spread_bps, None, None), ""),
        _bps("of it impact", (found.impact_bps, None, None), ""),
        _bps("realised", (parent.vs_arrival_bps, None, None), text.within(parent)),
    ]
    yield tag("p", say("Average price against the arrival mid, without fees and what was not filled."), class_="soft")
    yield table(("", *_INTERVAL, ""), rows)


def _route(route: ParentRouted) -> Iterable[Html]:
    yield tag("p", say(f"{route.algo} by policy {route.policy}: {route.reason}"))
    rows = [_bps(each.algo, (each.cost_bps, each.low_bps, each.high_bps), each.text) for each in route.alternatives]
    yield table(("Expected of", *_INTERVAL, ""), rows)


def _amendments(parent: Parent) -> Iterable[Html]:
    yield table(("Time, UTC", "By", "What", "#Quantity", "Also"), (_amended(each) for each in parent.amendments))


def _amended(event: ParentAmended) -> list[Html]:
    change = event.amendment.change
    also = (
        "" if change.price is None else f"price {text.price(change.price)}",
        "" if change.end is None else f"end {text.clock(change.end)}",
        "" if change.urgency is None else f"urgency {change.urgency.lower()}",
    )
    return [
        cell(text.clock(event.ts, with_ms=True)),
        cell(event.amendment.by),
        cell(change.action.lower()),
        number(text.qty(event.order_qty)),
        cell(", ".join(filter(None, also))),
    ]


def _bps(name: str, values: tuple[Decimal | None, ...], said: str) -> list[Html]:
    return [cell(name), *(cost(text.bps(value)) for value in values), cell(said)]


# Facts ----------------------------------------------------------------------------------------------------------------


def _facts(parent: Parent) -> Html:
    return section("Facts", facts((*_benchmarks(parent.cost), *_orders(parent))))


def _benchmarks(report: CostReport) -> Iterable[tuple[str, str]]:
    unit = report.currency
    for name, value in (
        ("Decision price", report.decision_px),
        ("Arrival mid", report.arrival_px),
        ("Average price", report.avg_px),
        ("Market VWAP", report.market_vwap),
        ("Market TWAP of the mid", report.market_twap),
        ("Mid at the end", report.end_px),
    ):
        yield name, f"{text.price(value)} {unit}" if value is not None else text.NONE
    yield "VWAP counts", report.vwap_filter or "unknown prints"
    yield "Market volume meanwhile", f"{text.qty(report.market_volume)} shares"
    yield "Own share of it", text.percent(report.cum_qty, report.market_volume)


def _orders(parent: Parent) -> Iterable[tuple[str, str]]:
    accepted = parent.accepted
    if accepted is None:
        return
    asked, how = accepted.parent, accepted.parent.how
    if asked.order_qty != accepted.order_qty:
        yield "Asked before the gate cut it", f"{text.qty(asked.order_qty)} shares"
    yield "Arrival quote", f"{text.price(accepted.bid)} / {text.price(accepted.ask)} {parent.cost.currency}"
    yield "Limit price", text.NONE if how.price is None else f"{text.price(how.price)} {parent.cost.currency}"
    yield "Urgency", how.urgency.value.lower()
    yield "Limits version", accepted.limits_version


# Fills ----------------------------------------------------------------------------------------------------------------

_FILL_HEAD = ("Time, UTC", "#Quantity", "#Price", "#Mid then", "#vs mid, bps", "#Filled so far", "#Fee", "Venue", "Id")


def _fills(parent: Parent) -> Iterable[Html]:
    if not parent.fills:
        yield tag("p", say("Nothing was filled."))
        return
    yield table(_FILL_HEAD, (_fill(parent, fill) for fill in parent.fills[:FILLS_MAX]))
    left_out = len(parent.fills) - FILLS_MAX
    if left_out > 0:
        yield tag("p", say(f"The first {FILLS_MAX} are shown, {left_out:,} more are in the database."), class_="soft")


def _fill(parent: Parent, fill: Fill) -> list[Html]:
    what = " (taken back)" if fill.busted else " (late)" if fill.late else ""
    return [
        cell(text.clock(fill.ts, with_ms=True)),
        number(text.qty(fill.last_qty)),
        number(text.price(fill.last_px)),
        number(text.price(None if fill.mid is None else Decimal(repr(fill.mid)))),
        cost(text.bps(text.vs_mid_bps(parent, fill))),
        number(text.qty(fill.cum_qty)),
        number(text.money(fill.fee)),
        cell(fill.venue),
        cell(fill.exec_id + what),
    ]
