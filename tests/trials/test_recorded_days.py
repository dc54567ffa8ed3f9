"""Recorded days through the whole daemon: parents fill, and the report's VWAP is the raw file's own.

The second opinion reads the file with pyarrow and adds with fractions; it shares no line with the daemon.
"""

import datetime as dt
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="recorded market data (../shared/data) is not here")

NEW_YORK = ZoneInfo("America/New_York")
TOLERANCE_BPS = Fraction(1, 1_000_000)
CONFIG = """
[account]
cash = 100_000_000
[limits]
position_max = 1
quote_age_s_max = 300
[limits.symbols_default]
order_qty_max = 100_000
order_notional_max = 50_000_000
[instruments.{symbol}]
adv = 4_000_000
volatility = 0.02
shortable = true
"""


def at(date: dt.date, hour: int, minute: int) -> int:
    """A New York time as ns UTC, a little off the full second."""
    moment = dt.datetime.combine(date, dt.time(hour, minute), NEW_YORK)
    return int(moment.timestamp()) * 10**9 + 12_345


STOCKS = ("BAC", "CMCSA")


def signal(number: int, symbol: str, ts: int, qty: int, duration_s: int) -> str:
    """TWAP and VWAP, buys and sells, in turn."""
    how = {"algo": ("TWAP", "VWAP")[number % 2], "duration_s": duration_s}
    side = ("BUY", "SELL")[number // 2 % 2]
    body = {"kind": "order", "signal_id": f"p{number}", "ts": ts, "strategy": "trial", "symbol": symbol}
    return json.dumps({**body, "side": side, "qty": qty, "how": how})


def costs(folder: Path, symbol: str, tape: str, signals: list[str]) -> list[dict[str, Any]]:
    """The cost reports of a simulation by the command line."""
    (folder / "execd.toml").write_text(CONFIG.format(symbol=symbol))
    (folder / "signals.jsonl").write_text("\n".join(signals))
    command = [sys.executable, "-m", "daemon", "simulate", "--config", str(folder / "execd.toml"), "--json"]
    command += ["--tape", tape, "--signals", str(folder / "signals.jsonl"), "--out", str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [parent["cost"] for parent in json.loads(done.stdout)["parents"]]


def check(costs: list[dict[str, Any]], prints: list[tuple[int, int, int]]) -> None:
    """Every parent filled, and its benchmark is that of the prints (ts, price in 1e-4 USD, size) in its interval."""
    for cost in costs:
        assert cost["reason"] == "FILLED"
        inside = [(price, size) for ts, price, size in prints if cost["start"] < ts <= cost["ts"]]
        volume = sum(size for _, size in inside)
        vwap = Fraction(sum(price * size for price, size in inside), volume) / 10_000
        assert abs(Fraction(cost["market_vwap"]) / vwap - 1) * 10_000 < TOLERANCE_BPS
        assert Fraction(cost["market_volume"]) == volume


def test_amzn_twenty_parents_on_a_lobster_day(tmp_path: Path) -> None:
    day = dt.date(2012, 6, 21)
    file = SHARED / "lobster_AMZN_20120621_L5.parquet"
    minutes = [2 + 15 * i for i in range(20)]
    signals = [
        signal(i, "AMZN", at(day, 9 + (30 + minute) // 60, (30 + minute) % 60), 200 + 50 * i, (1_800, 3_600)[i % 3 % 2])
        for i, minute in enumerate(minutes)
    ]
    reports = costs(tmp_path, "AMZN", f"AMZN@{day}={file}", signals)
    midnight = int(dt.datetime.combine(day, dt.time(0), NEW_YORK).timestamp()) * 10**9
    table = pq.read_table(file, columns=["ts_ns", "type", "size", "px"]).to_pylist()
    prints = [(midnight + row["ts_ns"], row["px"], row["size"]) for row in table if row["type"] in {4, 5}]
    assert len(reports) == 20
    check(reports, prints)
    assert {report["vwap_filter"] for report in reports} == {
        "LOBSTER types 4 and 5 (visible and hidden executions), regular hours"
    }


def test_ibm_five_days_of_consolidated_quotes_and_trades(tmp_path: Path) -> None:
    days = [dt.date(2013, 10, d) for d in range(7, 12)]
    signals = [
        signal(4 * n + i, "IBM", at(day, 9 + i, 45), 600 + 100 * i, 5_400)
        for n, day in enumerate(days)
        for i in range(4)
    ]
    trades = SHARED / "lean_ibm_trades.parquet"
    reports = costs(tmp_path, "IBM", f"IBM={SHARED / 'lean_ibm_nbbo.parquet'},{trades}", signals)
    table = pq.read_table(trades, columns=["date", "ms", "px", "sz", "susp"]).to_pylist()
    prints = []
    for row in table:
        if 34_200_000 <= row["ms"] < 57_600_000 and not row["susp"]:
            day = dt.datetime.strptime(str(row["date"]), "%Y%m%d").replace(tzinfo=NEW_YORK)
            prints.append((int(day.timestamp()) * 10**9 + row["ms"] * 10**6, row["px"], row["sz"]))
    assert len(reports) == 20
    check(reports, prints)
    assert all("all venues" in report["vwap_filter"] for report in reports)


def test_two_stocks_on_three_days_under_two_algorithms_are_paired_by_day(tmp_path: Path) -> None:
    """The second opinion pairs the runs' own reports by signal, and has days as clusters of their pairs."""
    days = [dt.date(2018, 2, d) for d in (20, 21, 22)]
    file = SHARED / "bars1m_2018_part1.parquet"
    signals = [
        signal(4 * n + i, STOCKS[i % 2], at(day, 10 + i // 2, 15 + i), 2_000, 3_600)
        for n, day in enumerate(days)
        for i in range(4)
    ]
    instruments = [CONFIG.format(symbol=STOCKS[0]), CONFIG[CONFIG.index("[instruments") :].format(symbol=STOCKS[1])]
    (tmp_path / "execd.toml").write_text("".join(instruments))
    (tmp_path / "signals.jsonl").write_text("\n".join(signals))
    inputs = ["--config", str(tmp_path / "execd.toml"), "--signals", str(tmp_path / "signals.jsonl")]
    tapes = [word for stock in STOCKS for day in days for word in ("--tape", f"{stock}@{day}={file}")]
    found = json.loads(
        execd("simulate", *inputs, *tapes, "--out", str(tmp_path / "out"), "--compare", "twap,pov", "--json")
    )
    assert (found["parents"], found["days"]) == (12, 3)
    assert [row["completed"] for row in found["rows"]] == [12, 12]
    twap, pov = (slippage(tmp_path / "out" / algo) for algo in ("twap", "pov"))
    sums: dict[dt.date, float] = dict.fromkeys(days, 0.0)
    mean = sum(pov[key] - cost for key, cost in twap.items()) / 12
    for key, cost in twap.items():
        sums[key[0]] += pov[key] - cost - mean
    reach = 4.302652730 * (3 / 2 * sum(each**2 for each in sums.values())) ** 0.5 / 12  # t of two degrees of freedom
    (against,) = [each["mean"] for each in found["differences"] if each["measure"] == "arrival"]
    assert against["mean"] == pytest.approx(mean)
    assert (against["low"], against["high"]) == (pytest.approx(mean - reach), pytest.approx(mean + reach))


def execd(*arguments: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "daemon", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def slippage(folder: Path) -> dict[tuple[dt.date, str, int], float]:
    """A run's parents by day, stock and arrival: average price against arrival, bps, positive when it hurts."""
    found = {}
    for parent in json.loads(execd("report", "--dir", str(folder), "--json"))["parents"]:
        cost = parent["cost"]
        day = dt.datetime.fromtimestamp(cost["start"] / 1e9, NEW_YORK).date()
        sign = 1 if cost["side"] == "BUY" else -1
        found[day, cost["symbol"], cost["start"]] = (
            sign * (float(cost["avg_px"]) / float(cost["arrival_px"]) - 1) * 10_000
        )
    return found
