"""Trading days of New York as they were, daylight saving, and markets that never close."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calendar import CALENDARS, Calendar, Phase, us_half_days, us_holidays

NS = 1_000_000_000
NEW_YORK = CALENDARS["XNYS"]
ALWAYS = CALENDARS["24x7"]
RETURNS = Path(__file__).resolve().parents[3] / "shared/data/daily_ret_sp431_2007_2016_a.parquet"

# As the exchange announced them, month-day; nothing here is computed.
HOLIDAYS = {
    2007: "01-01 01-02 01-15 02-19 04-06 05-28 07-04 09-03 11-22 12-25",  # 2 January: President Ford
    2012: "01-02 01-16 02-20 04-06 05-28 07-04 09-03 10-29 10-30 11-22 12-25",  # October: Sandy
    2013: "01-01 01-21 02-18 03-29 05-27 07-04 09-02 11-28 12-25",
    2014: "01-01 01-20 02-17 04-18 05-26 07-04 09-01 11-27 12-25",
    2015: "01-01 01-19 02-16 04-03 05-25 07-03 09-07 11-26 12-25",
    2016: "01-01 01-18 02-15 03-25 05-30 07-04 09-05 11-24 12-26",
    2017: "01-02 01-16 02-20 04-14 05-29 07-04 09-04 11-23 12-25",
    2018: "01-01 01-15 02-19 03-30 05-28 07-04 09-03 11-22 12-05 12-25",  # 5 December: President Bush
    2019: "01-01 01-21 02-18 04-19 05-27 07-04 09-02 11-28 12-25",
    2020: "01-01 01-20 02-17 04-10 05-25 07-03 09-07 11-26 12-25",
    2021: "01-01 01-18 02-15 04-02 05-31 07-05 09-06 11-25 12-24",  # before Juneteenth
    2022: "01-17 02-21 04-15 05-30 06-20 07-04 09-05 11-24 12-26",  # New Year fell on a Saturday
    2023: "01-02 01-16 02-20 04-07 05-29 06-19 07-04 09-04 11-23 12-25",
    2024: "01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25",
    2025: "01-01 01-09 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25",  # 9 January: President Carter
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
}
HALF_DAYS = {
    2007: "07-03 11-23 12-24",
    2012: "07-03 11-23 12-24",
    2013: "07-03 11-29 12-24",
    2014: "07-03 11-28 12-24",
    2015: "11-27 12-24",
    2016: "11-25",
    2017: "07-03 11-24",
    2018: "07-03 11-23 12-24",
    2019: "07-03 11-29 12-24",
    2020: "11-27 12-24",
    2021: "11-26",
    2022: "11-25",
    2023: "07-03 11-24",
    2024: "07-03 11-29 12-24",
    2025: "07-03 11-28 12-24",
    2026: "11-27 12-24",
}
EASTERS = "2007-04-08 2008-03-23 2011-04-24 2019-04-21 2024-03-31 2027-03-28 2030-04-21 2035-03-25"


def days(year: int, listed: str) -> set[dt.date]:
    return {dt.date.fromisoformat(f"{year}-{day}") for day in listed.split()}


def utc(text: str) -> int:
    """Give ns of an ISO time in UTC."""
    return int(dt.datetime.fromisoformat(f"{text}+00:00").timestamp()) * NS


@pytest.mark.parametrize("year", HOLIDAYS)
def test_new_york_is_shut_on_the_announced_days_and_no_others(year: int) -> None:
    assert us_holidays(year) == days(year, HOLIDAYS[year])


@pytest.mark.parametrize("year", HALF_DAYS)
def test_new_york_closes_early_on_the_announced_days_and_no_others(year: int) -> None:
    assert us_half_days(year) == days(year, HALF_DAYS[year])


@pytest.mark.parametrize("easter", EASTERS.split())
def test_good_friday_follows_easter(easter: str) -> None:
    friday = dt.date.fromisoformat(easter) - dt.timedelta(days=2)
    assert friday in us_holidays(friday.year)


def test_the_sessions_are_the_days_on_which_431_shares_had_returns() -> None:
    if not RETURNS.exists():
        pytest.skip("needs ../shared/data beside the checkout: daily returns of 2007-2016")
    parquet = pytest.importorskip("pyarrow.parquet", reason="reads Parquet")
    traded = {day.date() for day in parquet.read_table(RETURNS, columns=["date"])["date"].to_pylist()}
    first = min(traded)
    span = (first + dt.timedelta(days=n) for n in range((max(traded) - first).days + 1))
    assert {day for day in span if NEW_YORK.session_on(day)} == traded
    assert len(traded) == 2_517


@pytest.mark.parametrize(
    "day,opens,closes",
    [
        ("2026-03-06", "14:30", "21:00"),  # the Friday before the clocks go forward
        ("2026-03-09", "13:30", "20:00"),
        ("2026-10-30", "13:30", "20:00"),  # the Friday before they go back
        ("2026-11-02", "14:30", "21:00"),
        ("2024-07-03", "13:30", "17:00"),  # half days end at 13:00 of New York
        ("2024-11-29", "14:30", "18:00"),
        ("2024-12-24", "14:30", "18:00"),
    ],
)
def test_a_session_keeps_its_local_hours_while_utc_moves(day: str, opens: str, closes: str) -> None:
    session = NEW_YORK.session_on(dt.date.fromisoformat(day))
    assert session is not None
    assert (session.open, session.close) == (utc(f"{day}T{opens}"), utc(f"{day}T{closes}"))


@pytest.mark.parametrize(
    "moment,is_open",
    [
        ("2026-01-06T14:29:59", False),
        ("2026-01-06T14:30:00", True),
        ("2026-01-06T20:59:59", True),
        ("2026-01-06T21:00:00", False),
        ("2026-01-10T15:00:00", False),  # Saturday
        ("2026-01-19T15:00:00", False),  # Martin Luther King
        ("2025-12-24T17:59:59", True),
        ("2025-12-24T18:00:00", False),
    ],
)
def test_a_market_is_open_from_its_open_until_before_its_close(moment: str, is_open: bool) -> None:  # noqa: FBT001 - a column of the table
    assert (NEW_YORK.session_at(utc(moment)) is not None) is is_open


@pytest.mark.parametrize(
    "calendar,moment,phase",
    [
        ("XNYS", "2026-01-06T14:29:59", None),
        ("XNYS", "2026-01-06T14:30:00", Phase.OPENING),
        ("XNYS", "2026-01-06T14:59:59", Phase.OPENING),
        ("XNYS", "2026-01-06T15:00:00", Phase.MIDDAY),
        ("XNYS", "2026-01-06T20:29:59", Phase.MIDDAY),
        ("XNYS", "2026-01-06T20:30:00", Phase.CLOSING),
        ("XNYS", "2026-01-06T20:59:59", Phase.CLOSING),
        ("XNYS", "2026-01-06T21:00:00", None),
        ("XNYS", "2025-12-24T17:29:59", Phase.MIDDAY),  # a half day closes at 18:00 UTC
        ("XNYS", "2025-12-24T17:30:00", Phase.CLOSING),
        ("XNYS", "2026-01-10T15:00:00", None),  # Saturday
        ("24x7", "2026-01-06T00:00:00", Phase.MIDDAY),
        ("24x7", "2026-01-10T23:59:59", Phase.MIDDAY),
    ],
)
def test_a_session_has_edges_and_a_market_that_never_closes_has_none(
    calendar: str, moment: str, phase: Phase | None
) -> None:
    assert CALENDARS[calendar].phase_at(utc(moment), 1_800 * NS) is phase


def test_where_edges_meet_it_is_closing_and_without_edges_it_is_midday() -> None:
    noon = utc("2026-01-06T17:45:00")  # 3 h 15 min from either end
    assert NEW_YORK.phase_at(noon, 4 * 3_600 * NS) is Phase.CLOSING
    assert NEW_YORK.phase_at(utc("2026-01-06T14:30:00"), 0) is Phase.MIDDAY


@pytest.mark.parametrize(
    "calendar,moment,date",
    [
        ("XNYS", "2026-01-06T04:59:59", "2026-01-05"),  # midnight of New York is 05:00 UTC in winter
        ("XNYS", "2026-01-06T05:00:00", "2026-01-06"),
        ("XNYS", "2026-07-06T03:59:59", "2026-07-05"),  # and 04:00 in summer
        ("XNYS", "2026-07-06T04:00:00", "2026-07-06"),
        ("24x7", "2026-01-05T23:59:59", "2026-01-05"),
        ("24x7", "2026-01-06T00:00:00", "2026-01-06"),
    ],
)
def test_the_trading_date_changes_at_local_midnight(calendar: str, moment: str, date: str) -> None:
    assert CALENDARS[calendar].date_of(utc(moment)) == dt.date.fromisoformat(date)


@given(st.integers(utc("2007-01-01T00:00:00"), utc("2036-01-01T00:00:00") - 1))
def test_around_the_clock_every_moment_lies_in_the_session_of_its_date(ts: int) -> None:
    session = ALWAYS.session_at(ts)
    assert session is not None
    assert session.date == ALWAYS.date_of(ts) == dt.datetime.fromtimestamp(ts // NS, dt.UTC).date()
    assert session.close - session.open == 86_400 * NS
    assert session.contains(ts)
    assert not session.contains(session.close)


@given(st.dates(dt.date(2007, 1, 1), dt.date(2035, 12, 31)))
def test_every_moment_of_a_session_leads_back_to_it(day: dt.date) -> None:
    session = NEW_YORK.session_on(day)
    if session is None:
        assert day.weekday() >= 5 or day in us_holidays(day.year)
        return
    assert NEW_YORK.session_at(session.open) == NEW_YORK.session_at(session.close - 1) == session
    assert session.close - session.open in {6.5 * 3_600 * NS, 3.5 * 3_600 * NS}


@pytest.mark.parametrize("calendar", CALENDARS.values(), ids=lambda calendar: calendar.name)
@pytest.mark.parametrize("day", ["2006-06-01", "2036-06-02"])
def test_a_year_that_is_not_known_has_no_session(calendar: Calendar, day: str) -> None:
    assert calendar.session_on(dt.date.fromisoformat(day)) is None
    assert calendar.session_at(utc(f"{day}T15:00:00")) is None


def test_calendars_are_found_by_their_own_name() -> None:
    assert {name: calendar.name for name, calendar in CALENDARS.items()} == {n: n for n in ("XNYS", "XNAS", "24x7")}
