"""Daily returns that a test makes up: fat tails, symbols that move together a little; and files of them."""

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.returns import Returns

DAYS = 260
FIRST = dt.date(2024, 1, 1)
LAST = FIRST + dt.timedelta(days=DAYS - 1)


def history(*, symbols: tuple[str, ...] = ("A", "B", "C", "D"), seed: int = 1) -> Returns:
    """The same for the same seed, to six digits."""
    noise = np.random.default_rng(seed)
    values = 0.01 * noise.standard_t(4, (DAYS, len(symbols))) + 0.005 * noise.standard_normal((DAYS, 1))
    dates = tuple(FIRST + dt.timedelta(days=day) for day in range(DAYS))
    return Returns(dates, symbols, values.clip(-0.3, 0.3).round(6))


def write_returns(path: Path, returns: Returns, cells: Mapping[tuple[int, str], str] | None = None) -> Path:
    """A file of them, some cells of which are others, by day and symbol; each file looks changed."""
    rows = [",".join(["date", *returns.symbols])]
    for day, (date, values) in enumerate(zip(returns.dates, returns.values, strict=True)):
        said = [
            (cells or {}).get((day, symbol), f"{value:.6f}")
            for symbol, value in zip(returns.symbols, values, strict=True)
        ]
        rows.append(",".join([str(date), *said]))
    before = path.stat().st_mtime if path.exists() else 0
    path.write_text("\n".join(rows) + "\n")
    os.utime(path, (before + 1, before + 1))  # within one tick of the file system's clock, too
    return path
