"""Daily returns, weights and sectors from CSV or Parquet files that people keep.

Returns are wide, a column `date` and one for each symbol, or long, with the columns `date`, `symbol` and `return` (or
`ret`). An empty cell is a day that is not known. What is unsound about the numbers themselves is for the risk model to
say; what cannot be read is said here, by file, row and reason.
"""

import datetime as dt
import math
from pathlib import Path

import numpy as np

from adapters.market.columns import Column, Table, TapeError, column_names, read_table
from core.returns import Returns

_UNKNOWN = frozenset({"", "na", "n/a", "nan", "none", "null"})
_RETURN = ("return", "ret")
Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


def read_returns(path: Path) -> Returns:
    """Returns of a file, wide or long; raises TapeError, or OSError where it cannot be opened."""
    names = column_names(path)
    date = _named(path, names, "date")
    table = read_table(path, names)
    if not len(table):
        raise TapeError(f"{path.name} holds no day")
    lower = [name.lower() for name in names]
    if "symbol" in lower and any(name in lower for name in _RETURN):
        return _long(table, date, _named(path, names, "symbol"), _named(path, names, *_RETURN))
    symbols = [name for name in names if name != date]
    if not symbols:
        raise TapeError(f"{path.name} has no symbols: next to `{date}` it needs a column of returns for each")
    if "" in symbols:
        raise TapeError(f"{path.name} has a column without a name: remove it, or name its symbol")
    values = np.column_stack([_floats(table, symbol) for symbol in symbols])
    return Returns(tuple(_dates(table, date)), tuple(symbols), values)


def read_weights(path: Path) -> dict[str, float]:
    """Weights by symbol, fractions of the equity, from the columns `symbol` and `weight`; shorts are negative."""
    table, symbol, weight = _pair(path, ("symbol",), ("weight",))
    found: dict[str, float] = {}
    for row, (name, value) in enumerate(zip(table.columns[symbol].tolist(), _floats(table, weight), strict=True)):
        if not math.isfinite(value):
            table.fail(row, f"the weight of {name} is not a finite number")
        if name in found:
            table.fail(row, f"{name} has a weight already")
        found[name] = float(value)
    return found


def read_sectors(path: Path) -> dict[str, str]:
    """Sectors by symbol, from the columns `symbol` and `sector` (or `gics sector`)."""
    table, symbol, sector = _pair(path, ("symbol",), ("sector", "gics sector"))
    pairs = zip(table.columns[symbol].tolist(), table.columns[sector].tolist(), strict=True)
    return {name: value for name, value in pairs if value}


def _pair(path: Path, first: tuple[str, ...], second: tuple[str, ...]) -> tuple[Table, str, str]:
    names = column_names(path)
    one, two = _named(path, names, *first), _named(path, names, *second)
    return read_table(path, [one, two]), one, two


def _named(path: Path, names: list[str], *wanted: str) -> str:
    """The column that is called so, in whatever case."""
    for name in names:
        if name.lower() in wanted:
            return name
    raise TapeError(f"{path.name} needs a column `{wanted[0]}`; it has {', '.join(names[:8])}")


def _long(table: Table, date: str, symbol: str, value: str) -> Returns:
    dates, symbols, values = _dates(table, date), table.columns[symbol].tolist(), _floats(table, value)
    rows = {day: number for number, day in enumerate(sorted(set(dates)))}
    columns = {name: number for number, name in enumerate(dict.fromkeys(symbols))}
    wide = np.full((len(rows), len(columns)), np.nan)
    seen: set[tuple[dt.date, str]] = set()
    for row, (day, name) in enumerate(zip(dates, symbols, strict=True)):
        if (day, name) in seen:
            table.fail(row, f"{name} has a return on {day} already")
        seen.add((day, name))
        wide[rows[day], columns[name]] = values[row]
    return Returns(tuple(rows), tuple(columns), wide)


def _dates(table: Table, name: str) -> list[dt.date]:
    raw = table.columns[name]
    found = []
    for row, value in enumerate(_days(raw)):
        try:
            found.append(value if isinstance(value, dt.date) else dt.datetime.fromisoformat(str(value)).date())
        except ValueError:
            table.fail(row, f"{name} is {value!r}, not a date like 2007-01-04")
    return found


def _days(raw: Column) -> list[object]:
    days: list[object] = (raw.astype("datetime64[D]") if raw.dtype.kind == "M" else raw).tolist()
    return days


def _floats(table: Table, name: str) -> Floats:
    raw = table.columns[name]
    if raw.dtype.kind in "fiu":
        return raw.astype(np.float64)
    found = np.empty(len(raw))
    for row, value in enumerate(raw.tolist()):
        try:
            found[row] = math.nan if value is None or str(value).strip().lower() in _UNKNOWN else float(value)
        except (TypeError, ValueError):
            table.fail(row, f"{name} is {value!r}, not a number")
    return found
