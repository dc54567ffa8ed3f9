"""Daily returns of several symbols: what a file or a database knows of the past, before anybody has judged it."""

import datetime as dt

import msgspec
import numpy as np
from numpy.typing import NDArray


class Returns(msgspec.Struct, frozen=True):
    """Simple daily returns, (T, n): `values[t, i]` of symbol i on day t, 0.01 for one per cent. NaN: not known."""

    dates: tuple[dt.date, ...]
    symbols: tuple[str, ...]
    values: NDArray[np.float64]
