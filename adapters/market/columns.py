"""Columns of a recorded file, CSV or Parquet, as exact numbers; what is corrupt is named by file, row and reason."""

import csv
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.units import ZERO

Column = NDArray[Any]
Rows = NDArray[np.int64]
T = TypeVar("T")

_NS_MAX = 2**63 - 1  # the last time that 64 bits hold


class TapeError(ValueError):
    """A recorded file cannot be read as it stands; the text says which file, which row and what is wrong there."""


class Table(msgspec.Struct, frozen=True):
    """Some columns of one file, numbers or text as stored. A row's number in errors counts from 1 below the header."""

    file: str
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def fail(self, row: int, what: str) -> NoReturn:
        """Raise TapeError for the row with index `row`."""
        raise TapeError(f"{self.file}, row {row + 1}: {what}")

    def ints(self, name: str) -> Rows:
        """The whole column as int64."""
        column = self.columns[name]
        if column.dtype.kind in "iu":
            return column.astype(np.int64)
        numbers = np.zeros(len(column), dtype=np.int64)
        for row, raw in enumerate(column.tolist()):
            try:
                numbers[row] = _whole(raw)
            except (ValueError, TypeError, OverflowError):
                self.fail(row, f"{name} is {raw!r}, not a whole number of 64 bits")
        return numbers

    def times(self, name: str, unit_ns: int) -> Rows:
        """The whole column, a count of `unit_ns` since some start, in ns."""
        counts = self.ints(name)
        wrong = np.flatnonzero((counts < 0) | (counts > _NS_MAX // unit_ns))
        if len(wrong):
            self.fail(int(wrong[0]), f"{name} is {counts[wrong[0]]}, not a time in units of {unit_ns} ns")
        return counts * unit_ns

    def seconds(self, name: str) -> Rows:
        """The whole column of seconds, whole or not, in ns; from their shortest decimal form."""
        decimals = self.exact(name, np.arange(len(self)), exponent=9)
        late = next((row for row, ns in enumerate(decimals) if ns > _NS_MAX), None)
        if late is not None:
            self.fail(late, f"{name} is {self.columns[name][late]}, not a time in seconds")
        return np.array([int(ns) for ns in decimals], dtype=np.int64)

    def exact(self, name: str, rows: Rows, exponent: int = 0) -> list[Decimal]:
        """The column at `rows` as decimals times 10**exponent; a negative value is corrupt, equal ones are shared."""
        raw = self.columns[name][rows].tolist()
        known = _Exact(exponent)
        try:
            return list(map(known.__getitem__, raw))
        except _BadNumberError as error:
            # all before the bad value are known: it is the first that is not (NaN is unlike itself, so never known)
            first = next(index for index, value in enumerate(raw) if value not in known)
            self.fail(int(rows[first]), f"{name} is {raw[first]!r}, {error}")

    def positive(self, name: str, rows: Rows, exponent: int = 0) -> list[Decimal]:
        """Like `exact`, where zero is corrupt too: the price and the size of a print."""
        values = self.exact(name, rows, exponent)
        if not all(values):
            self.fail(int(rows[values.index(ZERO)]), f"{name} is 0, where a print needs more")
        return values

    def choice(self, name: str, rows: Rows, meanings: Mapping[Any, T]) -> list[T]:
        """What the column's values at `rows` mean; a value without a meaning is corrupt."""
        whole = all(isinstance(key, int) for key in meanings)
        raw = (self.ints(name) if whole else self.columns[name])[rows].tolist()
        try:
            return [meanings[value] for value in raw]
        except KeyError as error:
            wanted = ", ".join(repr(key) for key in meanings)
            self.fail(int(rows[raw.index(error.args[0])]), f"{name} is {error.args[0]!r}, not one of {wanted}")


def _whole(raw: Any) -> int:  # noqa: ANN401 - whatever a file holds
    number = int(raw)
    if isinstance(raw, float) and number != raw:
        raise ValueError
    return number


class _BadNumberError(Exception):
    """Why a value is not a price, a size or a time."""


class _Exact(dict[Any, Decimal]):
    """Raw numbers to decimals, each worked out and checked once: a day holds few prices, many times each."""

    def __init__(self, exponent: int) -> None:
        super().__init__()
        self.exponent = exponent

    def __missing__(self, raw: object) -> Decimal:
        try:
            value = Decimal(raw if isinstance(raw, int | str) else repr(raw))
        except InvalidOperation:
            raise _BadNumberError("not a number") from None
        if not value.is_finite():
            raise _BadNumberError("not a number")
        if value < 0:
            raise _BadNumberError("negative")
        self[raw] = value = value.scaleb(self.exponent) if self.exponent else value
        return value


def column_names(path: Path) -> list[str]:
    """The names in the header of a CSV or the schema of a Parquet file; OSError where it cannot be opened."""
    if _is_parquet(path):
        return list(_open_parquet(path).schema_arrow.names)
    header = next(_csv_rows(path), None)
    if not header:
        raise TapeError(f"{path.name} is empty: its first line must name the columns")
    return header


def read_table(path: Path, names: list[str]) -> Table:
    """The named columns of a file whose `column_names` hold them."""
    if _is_parquet(path):
        arrow = _open_parquet(path).read(columns=names)
        return Table(path.name, {name: arrow.column(name).to_numpy() for name in names})
    header, *rows = _csv_rows(path)
    for row, values in enumerate(rows):
        if len(values) != len(header):
            Table(path.name, {}).fail(row, f"{len(values)} values, where the header names {len(header)} columns")
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    return Table(path.name, {name: np.array(columns[header.index(name)], dtype=object) for name in names})


def _csv_rows(path: Path) -> Iterator[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            yield from csv.reader(lines)
    except (UnicodeDecodeError, csv.Error) as error:
        raise TapeError(f"{path.name} is not a CSV file in UTF-8: {error}") from error


def _is_parquet(path: Path) -> bool:
    if path.suffix not in {".csv", ".parquet"}:
        raise TapeError(f"{path.name}: only .csv and .parquet files are read")
    return path.suffix == ".parquet"


def _open_parquet(path: Path) -> Any:  # noqa: ANN401 - pyarrow ships no types
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency, and slow to import
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise TapeError(f"{path.name} is Parquet, which needs pyarrow: pip install execd[parquet]") from error
    try:
        return parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise TapeError(f"{path.name} is not a Parquet file: {error}") from error
