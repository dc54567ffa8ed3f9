"""Trading sessions: when a market is open, with half days, holidays and time zones; an unknown day is no trading."""

import datetime as dt
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from core.units import NS_PER_DAY, NS_PER_S

_EPOCH = dt.date(1970, 1, 1)
_SATURDAY, _SUNDAY = 5, 6  # as date.weekday() counts
_JUNETEENTH_SINCE = 2022  # the first year in which New York was shut for it


class Phase(StrEnum):
    """Part of a session: its edges trade more, and wider, than its middle."""

    OPENING = "opening"
    MIDDAY = "midday"
    CLOSING = "closing"


class Session(msgspec.Struct, frozen=True):
    """One trading day of one market, `open` <= time < `close`, ns UTC."""

    date: dt.date
    open: int
    close: int

    def contains(self, ts: int) -> bool:
        """Whether `ts` falls into the session."""
        return self.open <= ts < self.close


class Calendar(msgspec.Struct, frozen=True):
    """Opening hours in a zone. `years` bounds what is known: outside it there is no session at all."""

    name: str
    zone: str
    open: dt.time
    close: dt.time
    half_close: dt.time
    years: tuple[int, int]
    always: bool = False  # trades around the clock; the day rolls at 00:00 UTC

    def session_on(self, day: dt.date) -> Session | None:
        """The session of a local date, or None on a day without trading."""
        return _session_on(self, day)

    def session_at(self, ts: int) -> Session | None:
        """The session that contains `ts` (ns UTC), or None while the market is shut."""
        session = _session_on(self, self.date_of(ts))
        return session if session is not None and session.contains(ts) else None

    def phase_at(self, ts: int, edge_ns: int) -> Phase | None:
        """The part of its session that `ts` falls into, edges of `edge_ns`; None while the market is shut.

        A market that never closes has no edges. Where they meet, on a short day, what is left until the close counts.
        """
        session = self.session_at(ts)
        if session is None:
            return None
        if self.always:
            return Phase.MIDDAY
        if session.close - ts <= edge_ns:
            return Phase.CLOSING
        return Phase.OPENING if ts - session.open < edge_ns else Phase.MIDDAY

    def date_of(self, ts: int) -> dt.date:
        """The trading date that `ts` belongs to: the local calendar date of the market."""
        if self.always:
            return _EPOCH + dt.timedelta(days=ts // NS_PER_DAY)
        return _local_date(self.zone, ts // (900 * NS_PER_S))


@lru_cache(maxsize=4_096)
def _local_date(zone: str, quarter_hour: int) -> dt.date:
    # every zone's offset is a multiple of a quarter of an hour: the date cannot change inside one
    moment = dt.datetime.fromtimestamp(quarter_hour * 900, dt.UTC)
    return moment.astimezone(ZoneInfo(zone)).date()


@lru_cache(maxsize=4_096)
def _session_on(calendar: Calendar, day: dt.date) -> Session | None:
    if not calendar.years[0] <= day.year <= calendar.years[1]:
        return None
    if calendar.always:
        start = (day - _EPOCH).days * NS_PER_DAY
        return Session(date=day, open=start, close=start + NS_PER_DAY)
    if day.weekday() >= _SATURDAY or day in us_holidays(day.year):
        return None
    close = calendar.half_close if day in us_half_days(day.year) else calendar.close
    return Session(date=day, open=_ns(day, calendar.open, calendar.zone), close=_ns(day, close, calendar.zone))


def _ns(day: dt.date, time: dt.time, zone: str) -> int:
    return int(dt.datetime.combine(day, time, ZoneInfo(zone)).timestamp()) * NS_PER_S


# Days on which New York was shut outside its rules.
_US_CLOSED = frozenset({
    dt.date(2007, 1, 2), dt.date(2012, 10, 29), dt.date(2012, 10, 30), dt.date(2018, 12, 5), dt.date(2025, 1, 9),
})  # fmt: skip


@lru_cache(maxsize=128)
def us_holidays(year: int) -> frozenset[dt.date]:
    """Days in `year` on which the New York exchanges do not open (NYSE Rule 7.2 and the closures since 2007)."""
    days = {
        _nth(year, 1, weekday=0, n=3),  # Martin Luther King
        _nth(year, 2, weekday=0, n=3),  # Washington
        _easter(year) - dt.timedelta(days=2),
        _nth(year, 6, weekday=0, n=1) - dt.timedelta(days=7),  # Memorial: the last Monday of May
        _observed(dt.date(year, 7, 4)),
        _nth(year, 9, weekday=0, n=1),
        _nth(year, 11, weekday=3, n=4),
        _observed(dt.date(year, 12, 25)),
    }
    new_year = dt.date(year, 1, 1)
    if new_year.weekday() != _SATURDAY:  # a New Year on Saturday is not moved to the old year
        days.add(_observed(new_year))
    if year >= _JUNETEENTH_SINCE:
        days.add(_observed(dt.date(year, 6, 19)))
    return frozenset(days | {day for day in _US_CLOSED if day.year == year})


@lru_cache(maxsize=128)
def us_half_days(year: int) -> frozenset[dt.date]:
    """Days in `year` on which the New York exchanges close at 13:00: 3 July, after Thanksgiving, 24 December."""
    candidates = {
        dt.date(year, 7, 3),
        _nth(year, 11, weekday=3, n=4) + dt.timedelta(days=1),
        dt.date(year, 12, 24),
    }
    return frozenset(day for day in candidates if day.weekday() < _SATURDAY and day not in us_holidays(year))


def _nth(year: int, month: int, *, weekday: int, n: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _observed(day: dt.date) -> dt.date:
    return day + dt.timedelta(days={_SATURDAY: -1, _SUNDAY: 1}.get(day.weekday(), 0))


def _easter(year: int) -> dt.date:
    """Easter Sunday (Meeus/Jones/Butcher)."""
    a, (b, c) = year % 19, divmod(year, 100)
    (d, e), g = divmod(b, 4), (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    (i, k) = divmod(c, 4)
    el = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * el) // 451
    month, day = divmod(h + el - 7 * m + 114, 31)
    return dt.date(year, month, day + 1)


CALENDARS: dict[str, Calendar] = {
    calendar.name: calendar
    for calendar in (
        Calendar("XNYS", "America/New_York", dt.time(9, 30), dt.time(16), dt.time(13), (2007, 2035)),
        Calendar("XNAS", "America/New_York", dt.time(9, 30), dt.time(16), dt.time(13), (2007, 2035)),
        Calendar("24x7", "UTC", dt.time(0), dt.time(0), dt.time(0), (2007, 2035), always=True),
    )
}
