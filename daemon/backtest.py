"""`execd risk backtest`: whether the ES model would have known, on returns that a person brings."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from adapters.market.returns import read_returns, read_sectors, read_weights
from adapters.report import html
from adapters.report.backtest_page import Backtest, Curve, Listing
from core.returns import Returns
from daemon.config import ConfigError
from risk import backtest as trials
from risk.backtest import Forecast, Score, Trial, Verdict
from risk.parametric import compare
from risk.regime import Regime
from risk.scenarios import LAMBDA, WINDOW, Jump, Proxy, jump, sound
from risk.shortfall import ALPHA, CONFIDENCE, Vector, estimate

YEAR_MIN = 200  # days: fewer say nothing, and get no verdict
REFRESH_S = 0.25  # of the progress on a terminal
LINE_S = 4.0  # elsewhere

_TONES = {Verdict.PASS: "gain", Verdict.DOUBT: "", Verdict.FAIL: "cost"}
_EXPLAINED = (
    "Right is what a right model shows on average; p below 0.05 or Z below its bound comes by chance in 1 of 20.",
    "Z is negative where the model understates. It fails where a right one comes once in 10,000 times.",
)


def backtest(
    *,
    returns: Annotated[Path, typer.Option(help="Daily simple returns, CSV or Parquet: date and a column a symbol.")],
    weights: Annotated[Path | None, typer.Option(help="Columns symbol and weight; else all equal.")] = None,
    window: Annotated[int, typer.Option(help="Days that a forecast is made from.")] = WINDOW,
    page: Annotated[Path | None, typer.Option("--html", help="Page with the plots of exceedances.")] = None,
    sectors: Annotated[Path | None, typer.Option(help="Columns symbol and sector: fills gaps, by name.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="SYMBOL@DATE of a jump that is no split.")] = None,
) -> None:
    """Test the ES model on past returns: frequency and depth of exceedances, plain and filtered, and the regimes."""
    chosen, held = _weighted(read_returns(returns), read_weights(weights) if weights else None)
    filled, proxies = sound(
        chosen, sectors=read_sectors(sectors) if sectors else None, allowed=frozenset(map(_jump, allow or []))
    )
    trial = trials.run(filled, held, window=window, watch=_progress())
    about = _about(filled, held, window, trial, equal=weights is None)
    notes = [_said(proxy, len(filled.dates)) for proxy in proxies]
    scores = {forecast.name: trials.score(trial.returns, forecast) for forecast in trial.forecasts}
    listings = (_summary(scores), _years(trial), _tomorrow(trial))
    typer.echo("\n".join([about, *notes, ""]))
    for listing in listings:
        typer.echo("\n".join([*aligned([listing.head, *listing.rows]), *listing.notes, ""]))
    if page is not None:
        typer.echo(f"page      {html.write_backtest(_page(about, notes, trial, scores, listings), page)}")


# Input ----------------------------------------------------------------------------------------------------------------


def _weighted(returns: Returns, weights: dict[str, float] | None) -> tuple[Returns, Vector]:
    """The returns of the symbols that have a weight, and these weights."""
    if weights is None:
        return returns, np.full(len(returns.symbols), 1.0 / len(returns.symbols))
    wanted = {symbol: weight for symbol, weight in weights.items() if weight}
    if not wanted:
        raise ConfigError("the file of weights holds none but zero: there is nothing to test")
    unknown = [symbol for symbol in wanted if symbol not in returns.symbols]
    if unknown:
        raise ConfigError(f"{', '.join(unknown[:8])}: there are weights but no returns; complete one of the files")
    columns = [number for number, symbol in enumerate(returns.symbols) if symbol in wanted]
    symbols = tuple(returns.symbols[number] for number in columns)
    chosen = Returns(returns.dates, symbols, np.ascontiguousarray(returns.values[:, columns]))
    return chosen, np.array([wanted[symbol] for symbol in symbols])


def _jump(said: str) -> Jump:
    try:
        return jump(said)
    except ValueError as error:
        raise ConfigError(f"--allow {error}") from None


def _progress() -> Callable[[int, int], None]:
    """Says now and then how far the work is: a line that changes on a terminal, lines elsewhere."""
    shown = sys.stderr.isatty()
    last = time.monotonic()

    def watch(done: int, days: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < (REFRESH_S if shown else LINE_S) and not (shown and done == days):
            return
        last = now
        ends = "\r" if shown and done < days else "\n"
        typer.echo(f"{done:,} of {days:,} days{ends}", nl=False, err=True)

    return watch


# Words ----------------------------------------------------------------------------------------------------------------


def _about(returns: Returns, weights: Vector, window: int, trial: Trial, *, equal: bool) -> str:
    held = "equal weights" if equal else f"weights of {np.abs(weights).sum():.2f} gross, {weights.sum():.2f} net"
    count, days = len(returns.symbols), trial.dates
    return (
        f"{count:,} symbol{'' if count == 1 else 's'}, {held}, rebalanced daily; VaR and ES at {1 - ALPHA:.1%} from "
        f"the {window} days before each, filtered with lambda {LAMBDA}; {len(days):,} days tested, "
        f"{days[0]} to {days[-1]}"
    )


def _said(proxy: Proxy, days: int) -> str:
    return (
        f"{proxy.symbol}: {proxy.days:,} of {days:,} days had no return; {proxy.scale:.2f} times the mean of "
        f"{proxy.sector} stands in for them"
    )


def _summary(scores: dict[str, Score]) -> Listing:
    first = next(iter(scores.values()))
    z1, z2 = (trials.critical(values, first.days) for values in (trials.Z1_CRITICAL, trials.Z2_CRITICAL))
    rows: list[tuple[str, str, Callable[[Score], str]]] = [
        ("Days beyond VaR", f"{ALPHA:.1%}", lambda score: _share(score.tail_days, score.days)),
        ("Days beyond ES", "about 1%", lambda score: _share(score.beyond_days, score.days)),
        ("Mean ES", "", lambda score: f"{score.mean_shortfall:.2%}"),
        ("Kupiec p (frequency)", "> 0.05", lambda score: f"{score.kupiec.p_value:.3f}"),
        ("Christoffersen p (independence)", "> 0.05", lambda score: f"{score.independence.p_value:.3f}"),
        ("Christoffersen p (both)", "> 0.05", lambda score: f"{score.coverage.p_value:.3f}"),
        ("Z1 (depth)", f"> {z1[0]:.2f}", lambda score: _z(score.z1, score.z1_verdict)),
        ("Z2 (frequency and depth)", f"> {z2[0]:.2f}", lambda score: _z(score.z2, score.z2_verdict)),
    ]
    return Listing(
        title="Tests",
        head=("Test", "#right", *(f"#{name}" for name in scores)),
        rows=[(name, right, *map(say, scores.values())) for name, right, say in rows],
        notes=_EXPLAINED,
    )


def _years(trial: Trial) -> Listing:
    found = [trials.by_year(trial, forecast) for forecast in trial.forecasts]
    regimes = Counter((date.year, regime) for date, regime in zip(trial.dates, trial.regimes, strict=True))
    rows = []
    for year, first in found[0].items():
        said = [str(year), f"{first.days}"]
        for score in (each[year] for each in found):
            said += [str(score.tail_days), str(score.beyond_days)]
            said.append(_z(score.z2, score.z2_verdict if score.days >= YEAR_MIN else None))
        rows.append([*said, *(str(regimes[year, regime]) for regime in Regime)])
    head = [f"#{forecast.name} {what}" for forecast in trial.forecasts for what in ("> VaR", "> ES", "Z2")]
    return Listing(
        title="Years",
        head=("Year", "#days", *head, *(f"#{regime.name.lower()}" for regime in Regime)),
        rows=rows,
        notes=(
            "Days beyond VaR and ES, Z2 of each year, and days in each regime, by what was known the evening before.",
        ),
    )


def _tomorrow(trial: Trial) -> Listing:
    found = [(estimate(scenarios), compare(scenarios)) for scenarios in trial.tomorrow]
    fat = [compared.cornish_fisher for _, compared in found]
    rows = [
        ["VaR", *(f"{ours.value_at_risk:.2%}" for ours, _ in found)],
        ["ES", *(f"{ours.expected_shortfall:.2%}" for ours, _ in found)],
        [f"ES, {CONFIDENCE:.0%} interval", *(f"{ours.low:.2%} to {ours.high:.2%}" for ours, _ in found)],
        ["ES of a Gaussian", *(f"{other.gaussian.expected_shortfall:.2%}" for _, other in found)],
        ["ES of Student's t", *(f"{other.student_t.expected_shortfall:.2%}" for _, other in found)],
        ["ES of Cornish-Fisher", *("outside its domain" if value is None else f"{value:.2%}" for value in fat)],
    ]
    regime = f"{trial.regime.name}, {trial.regime.multiplier} of the limit on plain ES"
    return Listing(
        title="Tomorrow",
        head=("Loss", *(f"#{forecast.name}" for forecast in trial.forecasts)),
        rows=rows,
        notes=(
            f"On the day after {trial.dates[-1]}; the regime is {regime}.",
            "Gaussian, Student's t and Cornish-Fisher have the same moments, and are for comparison only.",
        ),
    )


def _page(
    about: str, notes: Sequence[str], trial: Trial, scores: dict[str, Score], listings: Sequence[Listing]
) -> Backtest:
    tiles = []
    for name, score in scores.items():
        right = f"{score.tail_days:,} of {score.days:,} days; {ALPHA:.1%} is right"
        tiles.append((f"Beyond VaR, {name}", f"{score.tail_days / score.days:.2%}", right, ""))
        tiles.append((f"Z2, {name}", f"{score.z2:.2f}", score.z2_verdict.value, _TONES[score.z2_verdict]))
    return Backtest(
        about=about,
        tiles=tiles,
        notes=notes,
        dates=trial.dates,
        returns=trial.returns.tolist(),
        regimes=[regime.name for regime in trial.regimes],
        curves=[_curve(forecast) for forecast in trial.forecasts],
        listings=listings,
    )


def _curve(forecast: Forecast) -> Curve:
    return Curve(forecast.name, forecast.value_at_risk.tolist(), forecast.expected_shortfall.tolist())


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.2%})"


def _z(value: float | None, verdict: Verdict | None) -> str:
    return "-" if value is None else f"{value:.2f} {verdict or ''}".rstrip()


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose head says with "#" what are numbers."""
    numbers = [name.startswith("#") for name in rows[0]]
    shown = [[name.lstrip("#") for name in rows[0]], *rows[1:]]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        "  ".join(
            value.rjust(width) if is_number else value.ljust(width)
            for value, width, is_number in zip(row, widths, numbers, strict=True)
        ).rstrip()
        for row in shown
    ]
