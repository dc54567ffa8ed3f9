"""The volume of each minute of the session, from files of one-minute bars.

A bar's label is the end of its minute. That of the open is the opening auction and counts to the first minute, that of
the close holds the closing auction. Days on which the session is shorter are left out: their volume has another shape.
"""

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from adapters.market.columns import TapeError, column_names, read_table
from core.calendar import Calendar, Session
from core.units import NS_PER_S

COLUMNS = ["sym", "date", "hhmm", "volume"]
_MINUTE_NS = 60 * NS_PER_S

Volumes = dict[str, dict[dt.date, list[float]]]
"""Shares by symbol, day and minute of the session."""


def read_volumes(files: Iterable[Path], calendar: Calendar) -> Volumes:
    """The volumes of files of bars; raises TapeError, or OSError for one that cannot be opened."""
    found: Volumes = {}
    for file in files:
        if missing := [name for name in COLUMNS if name not in column_names(file)]:
            raise TapeError(f"{file.name} holds no one-minute bars: it lacks {', '.join(missing)}")
        table = read_table(file, COLUMNS)
        symbols, dates, hhmm = table.columns["sym"].tolist(), table.ints("date").tolist(), table.ints("hhmm").tolist()
        volumes = table.exact("volume", np.arange(len(table)))
        sessions: dict[int, Session | None] = {}
        for row, (symbol, date, label, volume) in enumerate(zip(symbols, dates, hhmm, volumes, strict=True)):
            if date not in sessions:
                try:
                    day = dt.date(date // 10_000, date // 100 % 100, date % 100)
                except ValueError:
                    table.fail(row, f"date is {date}, not a day as YYYYMMDD")
                sessions[date] = calendar.session_on(day)
            session = sessions[date]
            minute = _minute(label, calendar)
            if session is None or minute is None or _minutes(session) != _full(calendar):
                continue
            by_day = found.setdefault(symbol, {})
            if session.date not in by_day:
                by_day[session.date] = [0.0] * _full(calendar)
            by_day[session.date][minute] += float(volume)
    return found


def _minute(label: int, calendar: Calendar) -> int | None:
    """Which minute of the session a label ends; None outside it. Around the clock 0 ends the day before."""
    opened = calendar.open.hour * 60 + calendar.open.minute
    since = label // 100 * 60 + label % 100 - opened
    return max(since - 1, 0) if 0 <= since <= _full(calendar) else None


def _minutes(session: Session) -> int:
    return (session.close - session.open) // _MINUTE_NS


def _full(calendar: Calendar) -> int:
    """Minutes of an ordinary session."""
    if calendar.always:
        return 1_440
    return (calendar.close.hour - calendar.open.hour) * 60 + calendar.close.minute - calendar.open.minute
