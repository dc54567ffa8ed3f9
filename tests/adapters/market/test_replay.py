"""Recorded days of every layout become exactly the updates that are in the file, and corrupt files say where."""

import csv
import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from adapters.market.columns import TapeError
from adapters.market.layouts import LAYOUTS
from adapters.market.replay import Flags, Tape, TapeSpec, open_tape, parse_tape_argument
from core.calendar import CALENDARS
from core.market import Bar, Depth, Quote, SecurityStatus, Trade, Update, Withdrawal
from core.orders import Side
from core.units import NS_PER_S

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
DAY = dt.date(2013, 10, 8)
MIDNIGHT = 1_381_204_800 * NS_PER_S  # 2013-10-08 00:00 in New York, four hours behind UTC
HALF_PAST_NINE = 34_200

Columns = Mapping[str, Sequence[Any]]

LOBSTER: dict[str, list[Any]] = {
    "ts_ns": [34_200_000_000_001, 34_200_000_000_001, 34_200_000_000_007, 34_200_000_000_009, 34_200_000_000_009],
    "type": [1, 4, 5, 3, 1],
    "order_id": [71, 71, 0, 71, 72],
    "size": [10, 4, 7, 6, 5],
    "px": [1_000_100, 1_000_100, 1_000_050, 1_000_100, 999_900],
    "dir": [-1, -1, 1, -1, 1],
    "ask1": [1_000_100, 1_000_100, 1_000_100, 9_999_999_999, 9_999_999_999],
    "asz1": [10, 6, 6, 0, 0],
    "bid1": [1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000],
    "bsz1": [3, 3, 3, 3, 3],
}
NBBO: dict[str, list[Any]] = {
    "date": [20_131_008, 20_131_008, 20_131_008, 20_131_009],
    "ms": [34_199_999, 34_200_000, 34_200_005, 57_599_999],
    "bid": [1, 1_800_100, 1_800_300, 1_800_200],
    "bsz": [1, 300, 200, 100],
    "ask": [2, 1_800_200, 1_800_200, 1_800_200],
    "asz": [1, 100, 100, 500],
}
NBBO_TRADES: dict[str, list[Any]] = {
    "date": [20_131_008, 20_131_008, 20_131_008, 20_131_008],
    "ms": [34_199_999, 34_200_000, 34_200_005, 57_600_000],
    "px": [1, 1_800_150, 9_000_000, 1_800_150],
    "sz": [1, 25, 1, 1_000],
    "susp": [1, 0, 1, 0],
}
BARS: dict[str, list[Any]] = {
    "sym": ["IBM", "KO", "IBM", "IBM"],
    "date": [20_131_008] * 3 + [20_131_009],
    "hhmm": [931, 931, 1000, 1600],
    "open": [1_000_000, 1, 1_000_400, 1_001_000],
    "high": [1_000_500, 1, 1_000_400, 1_001_000],
    "low": [999_900, 1, 1_000_400, 1_001_000],
    "close": [1_000_200, 1, 1_000_400, 1_001_000],
    "volume": [1_002, 1, 0, 40],
}
BINANCE: dict[str, list[Any]] = {
    "local_ns": [1_723_161_254_000_000_001, 1_723_161_254_000_000_001, 1_723_161_255_000_000_000],
    "exch_ms": [0, 1_723_161_255_343, 1_723_161_255_344],
    "kind": [0, 1, 1],
    "bid_or_px": [61_837.63, 61_837.64, 61_837.63],
    "bsz_or_qty": [3.78826, 1e-05, 0.5],
    "ask": [61_837.64, 0.0, 0.0],
    "asz": [1.54698, 0.0, 0.0],
    "aggressor": [0, 1, -1],
}
GEMINI: dict[str, list[Any]] = {
    "ts": [1_625_097_600, 1_625_097_622],
    "bid": [2_271.58, 2_271.59],
    "bsz": [1.6477, 6.062514],
    "ask": [2_279.63, 2_279.86],
    "asz": [28.479526, 11.74342],
}
GEMINI_TRADES: dict[str, list[Any]] = {
    "time_seconds": [1_625_097_621.647, 1_625_097_622.0],
    "price": [2_278.15, 2_279.86],
    "size": [0.0409, 1e-06],
    "is_buyer_maker": [1, 0],
}
PLAIN: dict[str, list[Any]] = {
    "ts": [1_700_000_000_000_000_000, 1_700_000_000_000_000_005],
    "bid": ["0.10000000000000000001", "0"],
    "bid_size": ["5", "0"],
    "ask": ["0.3", "0.3"],
    "ask_size": ["1.50", "2"],
}
PLAIN_TRADES: dict[str, list[Any]] = {
    "ts": [1_700_000_000_000_000_000, 1_700_000_000_000_000_004, 1_700_000_000_000_000_004],
    "price": ["0.3", "0.2", "0.1"],
    "size": ["1", "2", "3"],
    "aggressor": ["BUY", "", "SELL"],
}


def ns(seconds: float, since: int = MIDNIGHT) -> int:
    return since + round(seconds * 1_000) * 1_000_000


def quote(ts: int, bid: str | None, bid_size: str, ask: str | None, ask_size: str) -> Quote:
    return Quote(
        ts, "X", Decimal(bid) if bid else None, Decimal(bid_size), Decimal(ask) if ask else None, Decimal(ask_size)
    )


def trade(ts: int, price: str, size: str, aggressor: Side | None = None) -> Trade:
    return Trade(ts, "X", Decimal(price), Decimal(size), aggressor)


def bar(ts: int, prices: Sequence[str], volume: str) -> Bar:
    first, high, low, last = map(Decimal, prices)
    return Bar(ts, "X", ts - 60 * NS_PER_S, first, high, low, last, Decimal(volume))


def withdrawal(ts: int, side: Side, price: str, size: str, since: int) -> Withdrawal:
    return Withdrawal(ts, "X", side, Decimal(price), Decimal(size), since)


def write(path: Path, columns: Columns) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def tape_of(
    folder: Path,
    first: Columns,
    second: Columns | None = None,
    *,
    date: dt.date | None = None,
    suffix: str = ".parquet",
) -> Tape:
    file = write(folder / f"first{suffix}", first)
    trades = None if second is None else write(folder / f"second{suffix}", second)
    return open_tape(TapeSpec("X", date, file, trades))


def changed(columns: Columns, name: str, row: int, value: object) -> Columns:
    values = list(columns[name])
    values[row] = value
    return {**columns, name: values}


LOBSTER_UPDATES: list[Update] = [
    quote(MIDNIGHT + 34_200_000_000_001, "100", "3", "100.01", "10"),
    trade(MIDNIGHT + 34_200_000_000_001, "100.01", "4", Side.BUY),  # the resting order was a sell
    quote(MIDNIGHT + 34_200_000_000_001, "100", "3", "100.01", "6"),
    trade(MIDNIGHT + 34_200_000_000_007, "100.005", "7", Side.SELL),  # hidden: the shown quote does not change
    withdrawal(MIDNIGHT + 34_200_000_000_009, Side.SELL, "100.01", "6", MIDNIGHT + 34_200_000_000_001),
    quote(MIDNIGHT + 34_200_000_000_009, "100", "3", None, "0"),
]
NBBO_UPDATES: list[Update] = [
    quote(ns(HALF_PAST_NINE), "180.01", "300", "180.02", "100"),
    trade(ns(HALF_PAST_NINE), "180.015", "25"),
    quote(ns(34_200.005), "180.03", "200", "180.02", "100"),
    quote(ns(57_599.999, MIDNIGHT + 86_400 * NS_PER_S), "180.02", "100", "180.02", "500"),
]
BAR_UPDATES: list[Update] = [
    bar(ns(34_260), ("100", "100.05", "99.99", "100.02"), "1002"),
    quote(ns(34_260), "100.01", "100.2", "100.03", "100.2"),
    quote(ns(36_000), None, "0", None, "0"),  # nothing traded: nothing is known to be there
    bar(ns(57_600, MIDNIGHT + 86_400 * NS_PER_S), ("100.1",) * 4, "40"),
    quote(ns(57_600, MIDNIGHT + 86_400 * NS_PER_S), "100.09", "4", "100.11", "4"),
]
BINANCE_UPDATES: list[Update] = [
    quote(1_723_161_254_000_000_001, "61837.63", "3.78826", "61837.64", "1.54698"),
    trade(1_723_161_254_000_000_001, "61837.64", "0.00001", Side.BUY),
    trade(1_723_161_255_000_000_000, "61837.63", "0.5", Side.SELL),
]
GEMINI_UPDATES: list[Update] = [
    quote(1_625_097_600 * NS_PER_S, "2271.58", "1.6477", "2279.63", "28.479526"),
    trade(1_625_097_621_647_000_000, "2278.15", "0.0409", Side.SELL),
    quote(1_625_097_622 * NS_PER_S, "2271.59", "6.062514", "2279.86", "11.74342"),
    trade(1_625_097_622 * NS_PER_S, "2279.86", "0.000001", Side.BUY),
]
PLAIN_UPDATES: list[Update] = [
    quote(1_700_000_000_000_000_000, "0.10000000000000000001", "5", "0.3", "1.50"),
    trade(1_700_000_000_000_000_000, "0.3", "1", Side.BUY),
    trade(1_700_000_000_000_000_004, "0.2", "2"),
    trade(1_700_000_000_000_000_004, "0.1", "3", Side.SELL),
    quote(1_700_000_000_000_000_005, None, "0", "0.3", "2"),
]
BARS_OF_X = changed(changed(changed(BARS, "sym", 0, "X"), "sym", 2, "X"), "sym", 3, "X")

CASES: dict[str, tuple[Columns, Columns | None, dt.date | None, list[Update]]] = {
    "LOBSTER": (LOBSTER, None, DAY, LOBSTER_UPDATES),
    "NBBO": (NBBO, NBBO_TRADES, None, NBBO_UPDATES),
    "one-minute bars": (BARS_OF_X, None, None, BAR_UPDATES),
    "Binance": (BINANCE, None, None, BINANCE_UPDATES),
    "Gemini": (GEMINI, GEMINI_TRADES, None, GEMINI_UPDATES),
    "plain": (PLAIN, PLAIN_TRADES, None, PLAIN_UPDATES),
}


def test_every_layout_has_a_case_here() -> None:
    assert list(CASES) == [layout.name for layout in LAYOUTS]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("name", CASES)
def test_a_file_becomes_the_updates_that_it_holds(tmp_path: Path, name: str, suffix: str) -> None:
    first, second, date, updates = CASES[name]
    tape = tape_of(tmp_path, first, second, date=date, suffix=suffix)
    assert list(tape.updates()) == updates
    assert list(tape.updates()) == updates, "a second reading starts anew"
    assert tape.symbol == "X"
    assert tape.filter == next(layout.filter for layout in LAYOUTS if layout.name == name)


@pytest.mark.parametrize(
    "name, dates",
    [
        ("LOBSTER", [DAY]),
        ("NBBO", [DAY, dt.date(2013, 10, 9)]),
        ("one-minute bars", [DAY, dt.date(2013, 10, 9)]),
        ("Binance", [dt.date(2024, 8, 8)]),
        ("Gemini", [dt.date(2021, 7, 1)]),
        ("plain", [dt.date(2023, 11, 14)]),
    ],
)
def test_a_tape_knows_its_dates_in_the_zone_of_its_market(tmp_path: Path, name: str, dates: list[dt.date]) -> None:
    first, second, date, _ = CASES[name]
    assert tape_of(tmp_path, first, second, date=date).dates == dates


@pytest.mark.parametrize("name, kept", [("NBBO", 3), ("one-minute bars", 3)])
def test_a_date_selects_one_day(tmp_path: Path, name: str, kept: int) -> None:
    first, second, _, updates = CASES[name]
    tape = tape_of(tmp_path, first, second, date=DAY)
    assert list(tape.updates()) == updates[:kept]
    assert tape.dates == [DAY]


def test_the_bars_of_one_symbol_are_picked_from_many(tmp_path: Path) -> None:
    file = write(tmp_path / "bars.csv", BARS)
    updates = list(open_tape(TapeSpec("KO", None, file)).updates())
    assert updates == [
        msgspec.structs.replace(bar(ns(34_260), ["0.0001"] * 4, "1"), symbol="KO"),
        Quote(ns(34_260), "KO", None, Decimal(0), Decimal("0.0101"), Decimal("0.1")),  # no bid below zero
    ]


@pytest.mark.parametrize(
    "high, low, bid, ask",
    [
        (1_000_200, 1_000_200, "100.01", "100.03"),  # a cent
        (1_001_200, 1_000_200, "100.01", "100.03"),
        (1_001_300, 1_000_200, "100.00", "100.04"),  # a tenth of 11 cents, in whole cents
        (1_009_000, 999_000, "99.92", "100.12"),
    ],
)
def test_the_quote_behind_a_bar_has_a_spread_that_grows_with_its_range(
    *, tmp_path: Path, high: int, low: int, bid: str, ask: str
) -> None:
    bars = changed(changed(BARS_OF_X, "high", 0, high), "low", 0, low)
    shown = next(update for update in tape_of(tmp_path, bars).updates() if isinstance(update, Quote))
    assert (shown.bid, shown.ask) == (Decimal(bid), Decimal(ask))


def test_a_utc_date_selects_its_24_hours_of_both_files(tmp_path: Path) -> None:
    day = 86_400 * NS_PER_S
    start = 19_675 * day  # 2023-11-14
    times = [start - 1, start, start + day - 1, start + day]
    quotes: Columns = {"ts": times} | {name: ["1"] * 4 for name in ("bid", "bid_size", "ask", "ask_size")}
    trades: Columns = {"ts": times, "price": ["1"] * 4, "size": ["1"] * 4}
    tape = tape_of(tmp_path, quotes, trades, date=dt.date(2023, 11, 14), suffix=".csv")
    assert [(type(update), update.ts) for update in tape.updates()] == [
        (kind, ts) for ts in times[1:3] for kind in (Quote, Trade)
    ]


def test_a_half_day_ends_at_one(tmp_path: Path) -> None:
    friday: Columns = {**NBBO, "date": [20_131_129] * 4, "ms": [34_200_000, 46_799_999, 46_800_000, 57_599_999]}
    assert len(list(tape_of(tmp_path, friday).updates())) == 2


def test_the_winter_time_of_new_york_is_five_hours_behind(tmp_path: Path) -> None:
    tape = tape_of(tmp_path, LOBSTER, date=dt.date(2013, 12, 10))
    open_utc = int(dt.datetime(2013, 12, 10, 14, 30, tzinfo=dt.UTC).timestamp()) * NS_PER_S
    assert next(tape.updates()).ts == open_utc + 1


def test_quotes_alone_are_a_tape_that_says_it_has_no_prints(tmp_path: Path) -> None:
    tape = tape_of(tmp_path, GEMINI)
    assert list(tape.updates()) == [update for update in GEMINI_UPDATES if isinstance(update, Quote)]
    assert tape.filter == "no prints: quotes only"


def test_what_looks_wrong_is_counted(tmp_path: Path) -> None:
    assert tape_of(tmp_path, NBBO, NBBO_TRADES).flags == Flags(crossed=1, locked=1, suspicious=1)
    assert tape_of(tmp_path, changed(NBBO, "asz", 1, 0)).flags == Flags(crossed=1, locked=1, suspicious=1)
    bars = tape_of(tmp_path, changed(BARS_OF_X, "high", 0, 1_000_100))
    assert bars.flags == Flags(crossed=0, locked=0, suspicious=1)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(
    "name, column, row, value, complaint",
    [
        ("LOBSTER", "size", 1, -4, "first.*, row 2: size is .*-4.*, negative"),
        ("LOBSTER", "px", 1, 0, "first.*, row 2: px is 0, where a print needs more"),
        ("LOBSTER", "dir", 2, 0, "first.*, row 3: dir is 0, not one of 1, -1"),
        ("LOBSTER", "ts_ns", 1, 34_200_000_000_000, "first.*, row 2: time goes backwards, by 1e-09 s"),
        ("LOBSTER", "bsz1", 4, -1, "first.*, row 5: bsz1 is .*-1.*, negative"),
        ("NBBO", "date", 1, 20_131_308, "first.*, row 2: 20131308 is not a date"),
        ("NBBO", "date", 2, 20_131_012, "first.*, row 3: New York does not trade on 2013-10-12"),
        ("NBBO", "ms", 2, -5, "first.*, row 3: ms is -5, not a time"),
        ("one-minute bars", "hhmm", 0, 961, "first.*, row 1: hhmm is 961, not a time of day"),
        ("one-minute bars", "low", 3, 0, "first.*, row 4: low is 0, where a print needs more"),
        ("Binance", "bid_or_px", 0, float("nan"), "first.*, row 1: bid_or_px is .*nan.*, not a number"),
        ("Binance", "bsz_or_qty", 2, float("inf"), "first.*, row 3: bsz_or_qty is .*inf.*, not a number"),
        ("Binance", "kind", 1, 2, "first.*, row 2: kind is 2, not one of 0, 1"),
        ("Gemini", "ts", 1, 1_625_097_600_000_000_000, "first.*, row 2: ts is 16250.*, not a time"),
        ("plain", "bid", 1, "twelve", "first.*, row 2: bid is 'twelve', not a number"),
        ("plain", "ask", 1, "", "first.*, row 2: ask is '', not a number"),
        ("plain", "ask_size", 1, "-0.1", "first.*, row 2: ask_size is '-0.1', negative"),
    ],
)
def test_a_corrupt_row_is_named_by_file_row_and_reason(
    *, tmp_path: Path, name: str, column: str, row: int, value: object, complaint: str, suffix: str
) -> None:
    first, second, date, _ = CASES[name]
    with pytest.raises(TapeError, match=complaint):
        tape_of(tmp_path, changed(first, column, row, value), second, date=date, suffix=suffix)


def test_a_corrupt_row_among_trades_is_named_too(tmp_path: Path) -> None:
    for column, value, complaint in (
        ("time_seconds", 1.0, "second.parquet, row 2: time goes backwards"),
        ("time_seconds", 1e30, "second.parquet, row 2: time_seconds is 1e.30, not a time"),
        ("size", float("nan"), "second.parquet, row 2: size is nan, not a number"),
    ):
        with pytest.raises(TapeError, match=complaint):
            tape_of(tmp_path, GEMINI, changed(GEMINI_TRADES, column, 1, value))
    with pytest.raises(TapeError, match=r"second.csv, row 1: aggressor is 'HOLD', not one of 'BUY', 'SELL', ''"):
        tape_of(tmp_path, PLAIN, changed(PLAIN_TRADES, "aggressor", 0, "HOLD"), suffix=".csv")


def test_a_missing_number_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match=r"first.parquet, row 3: bid is nan, not a number"):
        tape_of(tmp_path, changed(NBBO, "bid", 2, None))
    with pytest.raises(TapeError, match=r"first.parquet, row 3: ms is nan, not a whole number"):
        tape_of(tmp_path, changed(NBBO, "ms", 2, None))
    with pytest.raises(TapeError, match=r"first.csv, row 3: ms is '1.5', not a whole number"):
        tape_of(tmp_path, changed(NBBO, "ms", 2, 1.5), suffix=".csv")


def without(columns: Columns, name: str) -> Columns:
    return {key: values for key, values in columns.items() if key != name}


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match=r"first.parquet: no known layout; as LOBSTER it lacks the columns px"):
        tape_of(tmp_path, without(LOBSTER, "px"), date=DAY)
    with pytest.raises(TapeError, match=r"second.parquet: as trades of Gemini it lacks the columns price"):
        tape_of(tmp_path, GEMINI, without(GEMINI_TRADES, "price"))


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match=r"LOBSTER files carry no date: say SYMBOL@YYYY-MM-DD=FILE"):
        tape_of(tmp_path, LOBSTER)
    with pytest.raises(TapeError, match=r"LOBSTER is one file"):
        tape_of(tmp_path, LOBSTER, NBBO_TRADES, date=DAY)
    with pytest.raises(TapeError, match=r"holds no bar of X, only of IBM, KO"):
        tape_of(tmp_path, BARS)
    with pytest.raises(TapeError, match=r"nothing of X on 2013-10-07"):
        tape_of(tmp_path, NBBO, date=dt.date(2013, 10, 7))
    with pytest.raises(TapeError, match=r"nothing of X on any date"):
        tape_of(tmp_path, {name: [] for name in PLAIN}, suffix=".csv")


@pytest.mark.parametrize(
    "name, content, complaint",
    [
        ("empty.csv", b"", "empty.csv is empty: its first line must name the columns"),
        ("ragged.csv", b"ts,bid,bid_size,ask,ask_size\n1,1,1,1,1\n2,1\n", "row 2: 2 values, .* names 5 columns"),
        ("latin.csv", b"ts,bid,bid_size,ask,ask_size,\xe9\n", "latin.csv is not a CSV file in UTF-8"),
        ("broken.parquet", b"PAR1 and then nothing", "broken.parquet is not a Parquet file"),
        ("day.xlsx", b"", "day.xlsx: only .csv and .parquet files are read"),
    ],
)
def test_a_broken_file_says_what_is_wrong_with_it(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TapeError, match=complaint):
        open_tape(TapeSpec("X", None, tmp_path / name))


def test_parquet_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "day.parquet", NBBO)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TapeError, match=r"pip install execd\[parquet\]"):
        open_tape(TapeSpec("X", None, file))


@pytest.mark.parametrize(
    "text, spec",
    [
        ("IBM=a.csv", TapeSpec("IBM", None, Path("a.csv"))),
        ("IBM=q.csv,t.csv", TapeSpec("IBM", None, Path("q.csv"), Path("t.csv"))),
        ("BRK.B@2013-10-08=x/y=z.parquet", TapeSpec("BRK.B", DAY, Path("x/y=z.parquet"))),
    ],
)
def test_a_tape_argument_is_symbol_date_and_files(text: str, spec: TapeSpec) -> None:
    assert parse_tape_argument(text) == spec


@pytest.mark.parametrize("text", ["", "IBM", "=a.csv", "IBM=", "IBM=a,", "IBM=,b", "IBM=a,b,c", "@2013-10-08=a"])
def test_a_tape_argument_without_its_parts_shows_the_syntax(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not SYMBOL\[@YYYY-MM-DD\]=FILE\[,TRADES\]"):
        parse_tape_argument(text)


@pytest.mark.parametrize("day", ["", "yesterday", "2013-13-01"])
def test_a_tape_argument_with_a_bad_date_says_so(day: str) -> None:
    with pytest.raises(ValueError, match=r"is not a date, write it as YYYY-MM-DD"):
        parse_tape_argument(f"IBM@{day}=a.csv")


def test_the_levels_behind_the_touch_are_told_before_the_quote_where_they_changed(tmp_path: Path) -> None:
    levels = {
        "ask2": [1_000_200, 1_000_200, 1_000_200, 9_999_999_999, 9_999_999_999],
        "asz2": [8, 8, 8, 0, 0],
        "bid2": [999_900, 999_900, 999_900, 999_900, 999_900],
        "bsz2": [5, 5, 5, 5, 10],
    }
    updates = list(tape_of(tmp_path, LOBSTER | levels, date=DAY).updates())
    bid, none = (Decimal("99.99"), Decimal(5)), (Decimal(0), Decimal(0))
    first, second, third = (update for update in updates if isinstance(update, Depth))
    assert (first.bids, first.asks) == ((bid,), ((Decimal("100.02"), Decimal(8)),))
    assert (second.bids, second.asks) == ((bid,), (none,))
    assert third.bids == ((Decimal("99.99"), Decimal(10)),)
    assert [update for update in updates if not isinstance(update, Depth)] == LOBSTER_UPDATES
    kinds = [type(update) for update in updates]
    assert kinds == [Depth, Quote, Trade, Quote, Trade, Withdrawal, Depth, Quote, Depth]


def test_an_order_from_outside_the_file_joined_after_the_last_known_number_below_its_own(tmp_path: Path) -> None:
    rows: dict[str, list[Any]] = {
        name: [*values, *[values[-1]] * 4] for name, values in LOBSTER.items() if name not in {"type", "order_id"}
    }
    rows |= {"type": [1, 4, 5, 3, 1, 2, 3, 3, 3], "order_id": [71, 71, 0, 71, 74, 74, 73, 75, 70]}
    since = [u.since - MIDNIGHT for u in tape_of(tmp_path, rows, date=DAY).updates() if isinstance(u, Withdrawal)]
    first, second = 34_200_000_000_001, 34_200_000_000_009
    assert since == [first, second, first, second, -MIDNIGHT]


def test_a_halt_lasts_until_trading_not_until_quoting_goes_on(tmp_path: Path) -> None:
    rows = changed(LOBSTER, "type", 0, 7)
    for row, price in ((0, -1), (3, 0), (4, 1)):
        rows = changed(changed(rows, "type", row, 7), "px", row, price)
    statuses = [update for update in tape_of(tmp_path, rows, date=DAY).updates() if isinstance(update, SecurityStatus)]
    assert [(status.ts - MIDNIGHT, status.halted) for status in statuses] == [
        (34_200_000_000_001, True),
        (34_200_000_000_009, True),
        (34_200_000_000_009, False),
    ]
    with pytest.raises(TapeError, match=r"first.parquet, row 5: px is 2, not one of -1, 0, 1"):
        tape_of(tmp_path, changed(rows, "px", 4, 2), date=DAY)


# ------------------------------------------------------------------------------------------------ recorded days


def recorded(argument: str) -> Tape:
    """A tape of the shared recordings: `SYMBOL[@DATE]=NAME[,NAME]`, names without folder and suffix."""
    spec = parse_tape_argument(argument)
    files = [DATA / f"{path}.parquet" for path in (spec.file, spec.trades) if path is not None]
    if not all(file.exists() for file in files):
        pytest.skip(f"needs the recorded days beside the checkout: {', '.join(file.name for file in files)}")
    return open_tape(TapeSpec(spec.symbol, spec.date, *files))


def column(name: str, column_name: str) -> np.ndarray[Any, Any]:
    values: np.ndarray[Any, Any] = parquet.ParquetFile(DATA / f"{name}.parquet").read().column(column_name).to_numpy()
    return values


@pytest.mark.parametrize(
    "symbol, name, hidden_of_visible",
    [("AMZN", "lobster_AMZN_20120621_L5", 0.322), ("AAPL", "lobster_AAPL_20120621_L1", 0.544)],
)
def test_every_visible_execution_of_a_recorded_day_is_at_the_standing_best(
    symbol: str, name: str, hidden_of_visible: float
) -> None:
    tape = recorded(f"{symbol}@2012-06-21={name}")
    kinds = column(name, "type")
    visible = iter((kinds[(kinds == 4) | (kinds == 5)] == 4).tolist())
    standing: Quote | None = None
    shares = {True: Decimal(0), False: Decimal(0)}
    for update in tape.updates():
        if isinstance(update, Quote):
            standing = update
        if not isinstance(update, Trade):
            continue
        seen = next(visible)
        shares[seen] += update.size
        if seen:
            assert standing is not None
            assert update.price == (standing.ask if update.aggressor is Side.BUY else standing.bid)
    assert next(visible, None) is None, "no execution is lost"
    assert float(shares[False] / shares[True]) == pytest.approx(hidden_of_visible, abs=5e-4)
    assert tape.flags == Flags(crossed=0, locked=0, suspicious=0)
    assert tape.dates == [dt.date(2012, 6, 21)]


def test_a_recorded_quote_is_shown_when_and_only_when_the_best_changed() -> None:
    tape = recorded("AMZN@2012-06-21=lobster_AMZN_20120621_L5")
    name = "lobster_AMZN_20120621_L5"
    rows = zip(*(column(name, side).tolist() for side in ("bid1", "bsz1", "ask1", "asz1")), strict=True)
    expected: list[tuple[int, ...]] = []
    for row in rows:
        if not expected or row != expected[-1]:
            expected.append(row)
    quotes = [update for update in tape.updates() if isinstance(update, Quote)]
    assert [
        (int((q.bid or 0) * 10_000), int(q.bid_size), int((q.ask or 0) * 10_000), int(q.ask_size)) for q in quotes
    ] == expected


IBM = "lean_ibm_nbbo,lean_ibm_trades"


def test_a_recorded_week_has_its_known_crossed_and_locked_quotes() -> None:
    tape = recorded(f"IBM={IBM}")
    assert tape.flags == Flags(crossed=200, locked=1_522, suspicious=0)
    assert tape.dates == [dt.date(2013, 10, day) for day in range(7, 12)]
    ms = column("lean_ibm_trades", "ms")
    regular = (ms >= 34_200_000) & (ms < 57_600_000)
    sizes = column("lean_ibm_trades", "sz")[regular]
    assert sum(update.size for update in tape.updates() if isinstance(update, Trade)) == int(sizes.sum())


def test_the_tape_counts_the_trade_reporting_facility_which_moves_the_days_vwap_by_1_2_bp() -> None:
    trades = [update for update in recorded(f"IBM@2013-10-08={IBM}").updates() if isinstance(update, Trade)]
    vwap = float(sum(t.price * t.size for t in trades) / sum(t.size for t in trades))
    name = "lean_ibm_trades"
    ms, price, size = (column(name, key).astype(np.int64) for key in ("ms", "px", "sz"))
    rows = (column(name, "date") == 20_131_008) & (ms >= 34_200_000) & (ms < 57_600_000)
    lit = rows & (column(name, "ex") != "D")
    assert vwap == pytest.approx((price * size)[rows].sum() / size[rows].sum() / 10_000, rel=1e-12)
    without_d = (price * size)[lit].sum() / size[lit].sum() / 10_000
    assert abs(vwap / without_d - 1) * 10_000 == pytest.approx(1.2, abs=0.05)


@pytest.mark.parametrize(
    "argument",
    [
        "AMZN@2012-06-21=lobster_AMZN_20120621_L5",
        "IBM=lean_ibm_nbbo,lean_ibm_trades",
        "BAC@2013-10-08=lean_bac_nbbo_20131008,lean_bac_trades_20131008",
        "KMI@2018-03-01=bars1m_2018_part2",
        "BTCUSDT=binance_spot_btcusdt_20240808",
        "BTCUSDT@2024-08-08=binance_usdm_btcusdt_20240808",
        "ETHUSD=gemini_ethusd_20210701_bbo1s,gemini_ethusd_20210701_trades",
    ],
)
def test_every_recorded_tape_is_in_time_order_and_inside_its_dates(argument: str) -> None:
    tape = recorded(argument)
    times = np.array([update.ts for update in tape.updates()])
    assert (np.diff(times) >= 0).all()
    calendar = CALENDARS["XNYS" if "lobster" in argument or "lean" in argument or "bars" in argument else "24x7"]
    sessions = [calendar.session_on(day) for day in tape.dates]
    assert all(
        any(s is not None and s.open <= ts <= s.close for s in sessions) for ts in times[:: len(times) // 999 + 1]
    )
