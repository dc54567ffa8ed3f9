"""What `execd simulate --compare` says of its runs: a table in the terminal, JSON, and a page with plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from adapters.report import html, text
from adapters.report.backtest_page import Listing
from adapters.report.compare_page import Comparison as Page
from adapters.report.compare_page import Costs, Dot, Example, Means, Whisker
from adapters.store import engine as store
from adapters.store import queries
from core.units import ZERO
from daemon.backtest import aligned
from daemon.comparing import Failed, Ran
from daemon.config import Config
from risk.parametric import t_quantile
from tca.compare import LEVEL, MEASURES, Comparison, Difference, Mean, Outcome, Row, compare

PAGE = "compare.html"
NAMES_MAX = 10  # parents that a line names; the others are counted
SHOWN = {"arrival": "vs arrival", "vwap": "vs VWAP", "shortfall": "shortfall"}  # measures that are drawn and paired
ONE_DAY = "one day tells nothing of others: no interval"


def conclude(configs: Mapping[str, Config], results: Mapping[str, Ran | Failed], out: Path, *, as_json: bool) -> str:
    """Write the page; returns what to print. At least one run stands: the first of them is what others differ from."""
    ran = {algo: result for algo, result in results.items() if isinstance(result, Ran)}
    found = compare({algo: result.outcomes for algo, result in ran.items()}, t_quantile)
    failed = [f"{algo} failed and is not in here: {r.text}" for algo, r in results.items() if isinstance(r, Failed)]
    notes = [*failed, *_turned_away(ran), *_left_out(found)]
    listings = [_costs(found), _ends(found)]
    if found.differences:
        listings.insert(1, _differences(found))
    page = html.write_comparison(_page(found, ran, configs, notes, listings), out.absolute() / PAGE)
    if as_json:
        return msgspec.json.encode(found).decode()
    tables = ("\n".join([*aligned([each.head, *each.rows]), *each.notes, ""]) for each in listings)
    return "\n".join([*tables, *notes, f"page      {page}"])


# Tables ---------------------------------------------------------------------------------------------------------------


def _costs(found: Comparison) -> Listing:
    head = ["Algorithm", "#parents", "#in full", "#done"]
    head += [f"#{words}{what}" for words in SHOWN.values() for what in ("", ", median")]
    return Listing(
        title="Costs",
        head=(*head, "#spread", "#fees"),
        rows=[_cost_row(row) for row in found.rows],
        notes=(
            f"Means and medians in bps. {text.SIGNS}",
            f"{'; '.join(f'{SHOWN.get(name, name)}: {words}' for name, words in MEASURES.items())}.",
        ),
    )


def _cost_row(row: Row) -> list[str]:
    cells = [row.algo, f"{row.parents:,}", f"{row.completed:,}", f"{row.filled:.1%}"]
    for measure in SHOWN:
        mean = row.costs.get(measure)
        cells += [text.NONE] * 2 if mean is None else [_bps(mean.mean), _bps(mean.median)]
    return [*cells, *(_bps(row.costs[name].mean) if name in row.costs else text.NONE for name in ("spread", "fees"))]


def _differences(found: Comparison) -> Listing:
    note = "An interval that holds 0 tells no algorithm from the other. Days, not parents, are its observations."
    if found.days == 1:
        note = f"All parents are of one day, and {ONE_DAY}."
    return Listing(
        title=f"Differences to {found.rows[0].algo}",
        head=("Algorithm", "Measure", "#pairs", "#unpaired", "#days", "#mean", "#median", f"#{LEVEL}% interval"),
        rows=[_difference_row(each) for each in found.differences if each.measure in SHOWN],
        notes=[note],
    )


def _difference_row(each: Difference) -> list[str]:
    mean = each.mean
    if mean is None:
        return [each.algo, SHOWN[each.measure], "0", f"{each.unpaired:,}", "0", text.NONE, text.NONE, text.NONE]
    counts = [f"{mean.parents:,}", f"{each.unpaired:,}", f"{mean.days:,}"]
    return [each.algo, SHOWN[each.measure], *counts, _bps(mean.mean), _bps(mean.median), _interval(mean)]


def _ends(found: Comparison) -> Listing:
    reasons = list(dict.fromkeys(reason for row in found.rows for reason in row.ends))
    return Listing(
        title="Why they ended",
        head=("Algorithm", *(f"#{text.ENDS[reason]}" for reason in reasons), "#not ended", "#nothing done"),
        rows=[
            [
                row.algo,
                *(f"{row.ends.get(reason, 0):,}" for reason in reasons),
                f"{len(row.missing):,}",
                f"{len(row.unfilled):,}",
            ]
            for row in found.rows
        ],
    )


def _turned_away(ran: Mapping[str, Ran]) -> list[str]:
    """What became no parent, and why; once, where it is the same under each algorithm."""
    said: dict[tuple[str, ...], list[str]] = {}
    for algo, result in ran.items():
        said.setdefault(result.turned_away, []).append(algo)
    return [
        f"{', '.join(algos)}: not every signal became a parent: {text.printable('; '.join(reasons))}"
        for reasons, algos in said.items()
        if reasons
    ]


def _left_out(found: Comparison) -> list[str]:
    """The parents that are in no pair, or in one that is not of equals, by name."""
    kinds = {
        "did not end here, as they did elsewhere": [(row.algo, row.missing) for row in found.rows],
        "had no execution": [(row.algo, row.unfilled) for row in found.rows],
        f"had another quantity than under {found.rows[0].algo}": [(row.algo, row.resized) for row in found.rows],
    }
    return [
        f"{algo}: {len(names):,} of {found.parents:,} parents {what}: {_names(names)}"
        for what, of_algo in kinds.items()
        for algo, names in of_algo
        if names
    ]


def _names(names: Sequence[str]) -> str:
    more = len(names) - NAMES_MAX
    return text.printable("; ".join(names[:NAMES_MAX])) + (f"; and {more:,} more" if more > 0 else "")


def _bps(value: float) -> str:
    return f"{value:z.2f}"


def _interval(mean: Mean) -> str:
    return text.NONE if mean.low is None or mean.high is None else f"{_bps(mean.low)} to {_bps(mean.high)}"


# The page -------------------------------------------------------------------------------------------------------------


def _page(
    found: Comparison,
    ran: Mapping[str, Ran],
    configs: Mapping[str, Config],
    notes: Sequence[str],
    listings: Sequence[Listing],
) -> Page:
    days = sorted({outcome.day for result in ran.values() for outcome in result.outcomes})
    first = found.rows[0].algo
    span = f", {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""
    return Page(
        about=f"{found.parents:,} parents on {len(days):,} day{'' if len(days) == 1 else 's'}{span}; the same under "
        f"{', '.join(ran)}. Intervals are of {LEVEL} %, clustered by day.",
        tiles=[_tile(each, first) for each in found.differences if each.measure == "arrival"],
        notes=notes,
        days=days,
        costs=[
            Costs(f"Costs {words}, bps", {algo: _dots(result.outcomes, name, days) for algo, result in ran.items()})
            for name, words in SHOWN.items()
            if name != "shortfall"
        ],
        means=[
            Means(words, [_whisker(row.algo, row.costs[name]) for row in found.rows if name in row.costs])
            for name, words in SHOWN.items()
        ],
        differences_to=first,
        differences=[
            Means(
                words,
                [_whisker(d.algo, d.mean) for d in found.differences if d.measure == name and d.mean is not None],
            )
            for name, words in SHOWN.items()
        ],
        example=_example(ran, configs),
        listings=listings,
    )


def _tile(each: Difference, first: str) -> tuple[str, str, str, str]:
    name = f"{each.algo} less {first}, vs arrival"
    if each.mean is None:
        return name, text.NONE, "no pair", ""
    low, high = each.mean.low, each.mean.high
    if low is None or high is None:
        return name, f"{_bps(each.mean.mean)} bps", ONE_DAY, ""
    tone = "cost" if low > 0 else "gain" if high < 0 else ""
    return name, f"{_bps(each.mean.mean)} bps", _interval(each.mean), tone


def _whisker(algo: str, mean: Mean) -> Whisker:
    return Whisker(algo, mean.mean, mean.low, mean.high)


def _dots(outcomes: Sequence[Outcome], measure: str, days: Sequence[str]) -> list[Dot]:
    places = {day: number for number, day in enumerate(days)}
    costs = [(outcome, getattr(outcome.costs, measure)) for outcome in outcomes]
    return [Dot(outcome.parent, places[outcome.day], cost) for outcome, cost in costs if cost is not None]


def _example(ran: Mapping[str, Ran], configs: Mapping[str, Config]) -> Example | None:
    """The first parent of which every algorithm did the most that any parent had done by all of them."""
    done = {
        algo: {outcome.parent: outcome.cum_qty / outcome.order_qty for outcome in result.outcomes}
        for algo, result in ran.items()
    }
    outcomes = next(iter(ran.values())).outcomes
    common = [outcome for outcome in outcomes if all(outcome.parent in parts for parts in done.values())]
    if not common:
        return None
    chosen = max(common, key=lambda outcome: min(parts[outcome.parent] for parts in done.values()))
    curves = {algo: _curve(configs[algo], result.ids[chosen.parent]) for algo, result in ran.items()}
    return Example(f"{chosen.parent}, {text.qty(chosen.order_qty)} on {chosen.day}", curves)


def _curve(config: Config, parent_id: str) -> list[tuple[int, float]]:
    engine = store.open_readonly(config.store_url)
    try:
        (parent,) = queries.parents(engine, parent_id=parent_id)
        fills = queries.fills(engine, parent_id=parent_id)
    finally:
        engine.dispose()
    steps, done = [(parent["started"], 0.0)], ZERO
    for fill in sorted(fills, key=lambda fill: (fill["ts"], fill["exec_id"])):
        if not fill["busted"]:
            done += fill["last_qty"]
            steps.append((fill["ts"], float(done / parent["order_qty"]) * 100))
    return [*steps, (max(parent["ended"] or 0, steps[-1][0]), steps[-1][1])]
