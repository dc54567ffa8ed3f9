"""Daily returns as people keep them: wide or long, CSV or Parquet; what cannot be read is named."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapters.market.columns import TapeError
from adapters.market.returns import read_returns, read_sectors, read_weights
from core.returns import Returns

DATES = (dt.date(2020, 1, 2), dt.date(2020, 1, 3))


def text(folder: Path, content: str) -> Path:
    path = folder / "file.csv"
    path.write_text(content)
    return path


def same(found: Returns, symbols: tuple[str, ...], values: list[list[float]]) -> None:
    assert (found.dates, found.symbols) == (DATES, symbols)
    assert np.array_equal(found.values, np.array(values), equal_nan=True)
    assert found.values.dtype == np.float64


@pytest.mark.parametrize(
    "content",
    [
        "date,A,B\n2020-01-02,0.01,-0.02\n2020-01-03,,1e-3\n",
        "\ufeffDate,A,B\n2020-01-02T00:00:00,0.01,-0.02\n20200103, NaN ,0.001\n",
        "date,symbol,return\n2020-01-03,B,0.001\n2020-01-02,A,0.01\n2020-01-02,B,-0.02\n",
        "symbol,ret,date\nA,0.01,2020-01-02 00:00:00\nB,-0.02,2020-01-02\nB,0.001,2020-01-03\nA,n/a,2020-01-03\n",
    ],
)
def test_wide_and_long_say_the_same(tmp_path: Path, content: str) -> None:
    found = read_returns(text(tmp_path, content))
    order = [found.symbols.index(symbol) for symbol in "AB"]
    same(Returns(found.dates, ("A", "B"), found.values[:, order]), ("A", "B"), [[0.01, -0.02], [np.nan, 0.001]])


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.date32(), pa.string()])
def test_parquet_holds_dates_of_any_kind(tmp_path: Path, kind: pa.DataType) -> None:
    dates = pa.array([str(date) for date in DATES]).cast(kind)
    pq.write_table(pa.table({"date": dates, "AAA": pa.array([0.25, None], pa.float32())}), tmp_path / "file.parquet")
    same(read_returns(tmp_path / "file.parquet"), ("AAA",), [[0.25], [np.nan]])


@pytest.mark.parametrize(
    "content,words",
    [
        ("day,AAA\n2020-01-02,0\n", "file.csv needs a column `date`; it has day, AAA"),
        ("date\n2020-01-02\n", "file.csv has no symbols"),
        ("date,AAA\n", "file.csv holds no day"),
        ("date,,AAA\n2020-01-02,0,0.1\n", "file.csv has a column without a name"),
        ("date,AAA\n2020-01-02,0\n02.01.2020,0\n", "file.csv, row 2: date is '02.01.2020', not a date like 2007-01-04"),
        ("date,AAA\n,0\n", "row 1: date is '', not a date"),
        ("date,AAA\n2020-01-02,1 %\n", "row 1: AAA is '1 %', not a number"),
        ("date,symbol,ret\n2020-01-02,A,0\n2020-01-02,A,0\n", "row 2: A has a return on 2020-01-02 already"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(TapeError, match=words):
        read_returns(text(tmp_path, content))


def test_weights_are_by_symbol(tmp_path: Path) -> None:
    assert read_weights(text(tmp_path, "Symbol,Weight,note\nAAA,0.6,x\nBBB,-0.1,y\n")) == {"AAA": 0.6, "BBB": -0.1}
    for content, words in (
        ("symbol,weight\nAAA,\n", "row 1: the weight of AAA is not a finite number"),
        ("symbol,weight\nAAA,inf\n", "row 1: the weight of AAA is not a finite number"),
        ("symbol,weight\nAAA,1\nAAA,1\n", "row 2: AAA has a weight already"),
        ("symbol,share\nAAA,1\n", "file.csv needs a column `weight`; it has symbol, share"),
    ):
        with pytest.raises(TapeError, match=words):
            read_weights(text(tmp_path, content))


def test_sectors_are_by_symbol(tmp_path: Path) -> None:
    sectors = text(tmp_path, "Symbol,GICS Sector,GICS Sub-Industry\nMMM,Industrials,x\nAOS,,y\n")
    assert read_sectors(sectors) == {"MMM": "Industrials"}
