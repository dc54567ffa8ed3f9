"""`execd risk backtest` as a person meets it, and on the recorded returns of 2007-2016."""

import datetime as dt
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adapters.market.returns import read_returns
from daemon import backtest as command
from daemon.cli import ExitCode, main
from risk import backtest
from risk.backtest import Verdict
from risk.regime import Regime
from risk.scenarios import sound
from risk.shortfall import estimate

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDED = SHARED / "daily_ret_sp431_2007_2016_a.parquet"
recorded = pytest.mark.skipif(not RECORDED.is_file(), reason="recorded daily returns (../shared/data) are not here")

Execd = Callable[..., tuple[int, str, str]]


@pytest.fixture
def execd(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Execd:
    """Run a command in this process: exit code, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["execd", "risk", "backtest", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def write(path: Path, *, days: int = 700, symbols: str = "ABC", change: tuple[int, str, str] | None = None) -> Path:
    """Returns of some symbols; `change` puts another text into a cell: (day, symbol, text)."""
    rng = np.random.Generator(np.random.PCG64(1))
    lines = [f"date,{','.join(symbols)}"]
    for number, row in enumerate(rng.normal(0, 0.01, size=(days, len(symbols)))):
        cells = [f"{value:.5f}" for value in row]
        if change is not None and change[0] == number:
            cells[symbols.index(change[1])] = change[2]
        lines.append(f"{dt.date(2020, 1, 1) + dt.timedelta(days=number)},{','.join(cells)}")
    path.write_text("\n".join(lines))
    return path


def test_it_prints_tests_and_years(execd: Execd, tmp_path: Path) -> None:
    code, out, err = execd("--returns", write(tmp_path / "r.csv"), "--window", 300)
    assert (code, err) == (ExitCode.OK, "")
    assert out.startswith(
        "3 symbols, equal weights, rebalanced daily; VaR and ES at 97.5% from the 300 days before each"
    )
    assert "400 days tested, 2020-10-27 to 2021-11-30" in out
    assert re.search(r"^Days beyond VaR +2\.5% +\d+ \(\d\.\d\d%\) +\d+ \(\d\.\d\d%\)$", out, re.MULTILINE)
    assert re.search(r"^Z2 \(frequency and depth\) +> -0\.55 +-?\d\.\d\d (pass|doubt) ", out, re.MULTILINE)
    assert re.search(r"^2020 +66 .* -?\d\.\d\d +\d+ +\d+ +\d+$", out, re.MULTILINE)  # too few days for a verdict
    assert re.search(r"^2021 +334 .* -?\d\.\d\d (pass|doubt) ", out, re.MULTILINE)


def test_it_says_what_tomorrow_may_cost_and_how_well_it_knows(execd: Execd, tmp_path: Path) -> None:
    returns = write(tmp_path / "r.csv", symbols="A")
    _, out, _ = execd("--returns", returns, "--window", 300)
    ours = estimate(read_returns(returns).values[-300:, 0])
    es, low, high = (f"{value:.2%}" for value in (ours.expected_shortfall, ours.low, ours.high))
    assert re.search(rf"^ES +{es} +\d\.\d\d%$", out, re.MULTILINE)
    assert re.search(rf"^ES, 95% interval +{low} to {high} ", out, re.MULTILINE)
    assert re.search(r"^ES of a Gaussian +2\.\d\d% ", out, re.MULTILINE)
    assert "On the day after 2021-11-30; the regime is " in out


def test_weights_choose_and_weigh_the_symbols(execd: Execd, tmp_path: Path) -> None:
    returns = write(tmp_path / "r.csv", change=(5, "A", "0.99"))
    (tmp_path / "w.csv").write_text("symbol,weight\nC,-0.5\nB,1\nA,0\n")
    code, out, _ = execd("--returns", returns, "--weights", tmp_path / "w.csv", "--window", 300)
    assert (code, out.partition(",")[0]) == (ExitCode.OK, "2 symbols")
    assert "weights of 1.50 gross, 0.50 net" in out


def test_gaps_are_filled_by_the_sector_and_said(execd: Execd, tmp_path: Path) -> None:
    returns = write(tmp_path / "r.csv", change=(5, "A", ""))
    (tmp_path / "s.csv").write_text("symbol,sector\nA,Tech\nB,Tech\nC,Tech\n")
    code, out, _ = execd("--returns", returns, "--window", 300, "--sectors", tmp_path / "s.csv")
    assert code == ExitCode.OK
    assert re.search(r"^A: 1 of 700 days had no return; 1\.\d\d times the mean of Tech stands in", out, re.MULTILINE)


def test_a_page_is_written_where_it_is_wanted(execd: Execd, tmp_path: Path) -> None:
    code, out, _ = execd("--returns", write(tmp_path / "r.csv"), "--window", 300, "--html", tmp_path / "new/page.html")
    assert code == ExitCode.OK
    assert out.endswith(f"page      {tmp_path / 'new/page.html'}\n")
    assert "Exceedances, filtered" in (tmp_path / "new/page.html").read_text()


@pytest.mark.parametrize(
    "change,more,words",
    [
        (
            (9, "B", "-0.5"),
            [],
            "B on 2020-01-10: -50.0% looks like a split or an error; correct it, or allow B@2020-01-10",
        ),
        ((9, "B", ""), [], "B has no return on 1 of 700 days, first on 2020-01-10: complete it"),
        ((9, "B", "x"), [], "r.csv, row 10: B is 'x', not a number"),
        ((9, "B", "inf"), [], "B on 2020-01-10: inf is no simple return"),
        (None, ["--window", "600"], "700 days of returns are too short a history: 850 are needed"),
        (None, ["--window", "5"], "a window of 5 days is too short for a tail: 250 are the least"),
        (None, ["--allow", "B"], "--allow B: say SYMBOL@DATE, like ABC@2008-07-03"),
        (None, ["--weights", "WEIGHTS"], "X, Y: there are weights but no returns; complete one of the files"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    execd: Execd, tmp_path: Path, change: tuple[int, str, str] | None, more: list[str], words: str
) -> None:
    (tmp_path / "w.csv").write_text("symbol,weight\nX,1\nY,1\nA,1\n")
    more = [str(tmp_path / "w.csv") if each == "WEIGHTS" else each for each in more]
    returns = write(tmp_path / "r.csv", change=change)
    code, out, err = execd("--returns", returns, *(more or ["--window", "300"]))
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith("execd: ")
    assert err.count("\n") == 1
    assert words in err


def test_a_file_that_is_not_there_is_one_line(execd: Execd, tmp_path: Path) -> None:
    code, _, err = execd("--returns", tmp_path / "none.csv")
    assert (code, err.count("\n")) == (ExitCode.USAGE, 1)
    assert "none.csv" in err


def test_weights_of_nothing_are_refused(execd: Execd, tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("symbol,weight\nA,0\n")
    code, _, err = execd("--returns", write(tmp_path / "r.csv"), "--weights", tmp_path / "w.csv")
    assert (code, "none but zero" in err) == (ExitCode.USAGE, True)


def test_a_jump_that_is_allowed_passes(execd: Execd, tmp_path: Path) -> None:
    returns = write(tmp_path / "r.csv", change=(9, "B", "-0.5"))
    assert execd("--returns", returns, "--window", 300, "--allow", "B@2020-01-10")[0] == ExitCode.OK


def test_long_work_is_seen_to_go_on(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "LINE_S", 0.0)
    watch = command._progress()
    watch(251, 2_000)
    watch(2_000, 2_000)
    assert capfd.readouterr().err == "251 of 2,000 days\n2,000 of 2,000 days\n"


# Recorded returns -----------------------------------------------------------------------------------------------------


@recorded
def test_on_recorded_returns_the_filtered_model_holds_and_the_plain_one_fails_in_2008() -> None:
    """216 US stocks, equal weights. A window of 250 days, as 500 of 2007 and 2008 would leave no 2008 to test."""
    returns, _ = sound(read_returns(RECORDED))
    weights = np.full(len(returns.symbols), 1 / len(returns.symbols))
    trial = backtest.run(returns, weights, window=250)
    plain, filtered = (backtest.score(trial.returns, forecast) for forecast in trial.forecasts)
    assert filtered.days == 2_267
    # 95 % of right models lie within 2.5 % +- 1.96 sqrt(0.025 0.975 / 2,267)
    assert 0.0186 < filtered.tail_days / filtered.days < 0.0314
    assert 0.006 < filtered.beyond_days / filtered.days < 0.015
    assert min(filtered.kupiec.p_value, filtered.independence.p_value, filtered.coverage.p_value) > 0.05
    assert (filtered.z1_verdict, filtered.z2_verdict) == (Verdict.PASS, Verdict.PASS)
    assert plain.coverage.p_value < 0.01
    assert plain.z2_verdict is Verdict.DOUBT
    by_year = [backtest.by_year(trial, forecast)[2008] for forecast in trial.forecasts]
    assert [score.z2_verdict for score in by_year] == [Verdict.FAIL, Verdict.PASS]
    assert by_year[0].tail_days > 20
    assert by_year[0].kupiec.p_value < 1e-6


@recorded
def test_of_recorded_returns_over_500_days_the_filtered_tail_is_as_large_as_it_should_be() -> None:
    returns, _ = sound(read_returns(RECORDED))
    trial = backtest.run(returns, np.full(len(returns.symbols), 1 / len(returns.symbols)))
    filtered = backtest.score(trial.returns, trial.forecasts[1])
    assert filtered.days == 2_017
    assert 0.0182 < filtered.tail_days / filtered.days < 0.0318
    assert (filtered.z1_verdict, filtered.z2_verdict) == (Verdict.PASS, Verdict.PASS)


@recorded
def test_on_recorded_returns_october_2008_is_a_crisis_and_quiet_years_are_none() -> None:
    returns, _ = sound(read_returns(RECORDED))
    trial = backtest.run(returns, np.full(len(returns.symbols), 1 / len(returns.symbols)), window=250)
    regimes = dict(zip(trial.dates, trial.regimes, strict=True))
    october = [regime for date, regime in regimes.items() if (date.year, date.month) == (2008, 10)]
    assert october == [Regime.CRISIS] * 23
    assert {regime for date, regime in regimes.items() if date.year in {2010, 2012, 2013}} == {Regime.NORMAL}
