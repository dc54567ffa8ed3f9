"""The volume of each minute of the session, from files of one-minute bars.

A bar's label is the end of its minute. That of the open is the opening auction and counts to the first minute, that of
the close holds the closing auction; around the clock 0 ends the day before. Days on which the session is shorter are
left out, as their volume has another shape, and what lies outside the session: how many bars, and why, is said.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adapters.market.columns import TapeError, column_names, read_table
from core.calendar import Calendar, Session
from core.units import NS_PER_S

COLUMNS = ["sym", "date", "hhmm", "volume"]
_MINUTE_NS = 60 * NS_PER_S

Volumes = dict[str, dict[dt.date, list[float]]]
"""Shares by symbol, day and minute of the session; a symbol of whom no bar is left has no days."""


class Bars(NamedTuple):
    """What files of bars hold: volumes, and how many bars of each symbol were left out, by why."""

    volumes: Volumes
    left_out: dict[str, Counter[str]]


def read_volumes(files: Iterable[Path], calendar: Calendar) -> Bars:
    """The volumes of files of bars; raises TapeError, or OSError for one that cannot be opened."""
    found: Volumes = {}
    left_out: dict[str, Counter[str]] = {}
    outside = f"outside the session ({calendar.open:%H:%M} to {calendar.close:%H:%M}, {calendar.zone})"
    full = _full(calendar)
    for file in files:
        if missing := [name for name in COLUMNS if name not in column_names(file)]:
            raise TapeError(f"{file.name} holds no one-minute bars: it lacks {', '.join(missing)}")
        table = read_table(file, COLUMNS)
        symbols, dates, hhmm = table.columns["sym"].tolist(), table.ints("date").tolist(), table.ints("hhmm").tolist()
        volumes = table.exact("volume", np.arange(len(table)))
        sessions: dict[tuple[int, bool], Session | None] = {}
        for row, (symbol, date, label, volume) in enumerate(zip(symbols, dates, hhmm, volumes, strict=True)):
            if not 0 <= label <= 2_400 or label % 100 >= 60:  # noqa: PLR2004 - hours and minutes
                table.fail(row, f"hhmm is {label}, not a time of day")
            ends_before = calendar.always and label == 0
            if (date, ends_before) not in sessions:
                try:
                    day = dt.date(date // 10_000, date // 100 % 100, date % 100) - dt.timedelta(days=ends_before)
                except (ValueError, OverflowError):
                    table.fail(row, f"date is {date}, not a day as YYYYMMDD")
                sessions[date, ends_before] = calendar.session_on(day)
            session = sessions[date, ends_before]
            minute = full - 1 if ends_before else _minute(label, calendar)
            by_day = found.setdefault(symbol, {})
            if session is None or _minutes(session) != full:
                left_out.setdefault(symbol, Counter())["of no day with an ordinary session"] += 1
            elif minute is None:
                left_out.setdefault(symbol, Counter())[outside] += 1
            else:
                by_day.setdefault(session.date, [0.0] * full)[minute] += float(volume)
    return Bars(found, left_out)


def _minute(label: int, calendar: Calendar) -> int | None:
    """Which minute of the session a label ends; None outside it."""
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
