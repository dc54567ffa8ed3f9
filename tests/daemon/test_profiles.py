"""Profiles from bars: minutes by their labels, whole days alone, and files that say what is wrong with them."""

import datetime as dt
from pathlib import Path

import pytest

from adapters.market.columns import TapeError
from adapters.market.minutes import Volumes, read_volumes
from algos.profile import ProfileError
from core.calendar import CALENDARS
from daemon.profiles import DAYS_MIN, Learned, learn_all, read, write

NEW_YORK, ALWAYS = CALENDARS["XNYS"], CALENDARS["24x7"]
MONDAY = dt.date(2025, 3, 10)


def bars(path: Path, *rows: tuple[str, object, object, object]) -> Path:
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(["sym,date,hhmm,volume", *lines]) + "\n")
    return path


def volumes_of(path: Path, *rows: tuple[str, object, object, object]) -> Volumes:
    return read_volumes([bars(path / "bars.csv", *rows)], NEW_YORK)


@pytest.mark.parametrize("label,minute", [(930, 0), (931, 0), (932, 1), (1000, 29), (1559, 388), (1600, 389)])
def test_a_label_is_the_end_of_its_minute(tmp_path: Path, label: int, minute: int) -> None:
    day = volumes_of(tmp_path, ("A", 20250310, label, 7))["A"][MONDAY]
    assert len(day) == 390
    assert {k: v for k, v in enumerate(day) if v} == {minute: 7.0}


@pytest.mark.parametrize(
    "date,label",
    [
        (20250310, 929),  # before the open
        (20250310, 1601),
        (20250308, 1000),  # a Saturday
        (20251225, 1000),
        (20251128, 1000),  # a half day has another shape
        (20990105, 1000),  # the calendar does not know
    ],
)
def test_what_is_no_minute_of_an_ordinary_day_is_left_out(tmp_path: Path, date: int, label: int) -> None:
    assert volumes_of(tmp_path, ("A", date, label, 7)) == {}


def test_around_the_clock_a_day_has_1440_minutes(tmp_path: Path) -> None:
    file = bars(tmp_path / "bars.csv", ("B", 20250308, 1, 5), ("B", 20250308, 2359, 6))
    day = read_volumes([file], ALWAYS)["B"][dt.date(2025, 3, 8)]
    assert {k: v for k, v in enumerate(day) if v} == {0: 5.0, 1_438: 6.0}


@pytest.mark.parametrize(
    "row,said",
    [
        (("A", 20251340, 1000, 7), "row 1: date is 20251340"),
        (("A", "soon", 1000, 7), "row 1: date is 'soon'"),
        (("A", 20250310, 1000, -7), "row 1: volume is '-7', negative"),
        (("A", 20250310, 1000, "nan"), "row 1: volume is 'nan', not a number"),
    ],
)
def test_corrupt_bars_are_named(tmp_path: Path, row: tuple[str, object, object, object], said: str) -> None:
    with pytest.raises(TapeError, match=said):
        volumes_of(tmp_path, row)


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("symbol,weight\nA,1\n")
    with pytest.raises(TapeError, match="lacks sym, date, hhmm, volume"):
        read_volumes([file], NEW_YORK)


def weekdays(count: int) -> list[dt.date]:
    return [day for day in (MONDAY + dt.timedelta(days=k) for k in range(2 * count)) if day.weekday() < 5][:count]


def test_the_newest_days_make_the_profile(tmp_path: Path) -> None:
    rows = [("A", f"{day:%Y%m%d}", label, 100 * (k + 1)) for k, day in enumerate(weekdays(8)) for label in (931, 1600)]
    found, without = learn_all(volumes_of(tmp_path, *rows), NEW_YORK, days=6)
    learned = found["A"]
    assert without == {}
    assert (learned.days, learned.first, learned.last) == (6, weekdays(8)[2], weekdays(8)[-1])
    assert learned.volume == pytest.approx(2 * 100 * (3 + 4 + 5 + 6 + 7 + 8) / 6)
    assert (learned.parts[0], learned.parts[389], sum(learned.parts)) == pytest.approx((0.5, 0.5, 1.0))


def test_too_few_days_and_days_without_volume_make_none(tmp_path: Path) -> None:
    rows = [("FEW", f"{day:%Y%m%d}", 931, 1) for day in weekdays(DAYS_MIN - 1)]
    rows += [("NIL", f"{day:%Y%m%d}", 931, 0) for day in weekdays(DAYS_MIN)]
    found, without = learn_all(volumes_of(tmp_path, *rows), NEW_YORK)
    assert found == {}
    assert without == {"FEW": "4 days, 5 at least are needed", "NIL": "none of the days has any volume"}


def learned(**fields: object) -> Learned:
    values = {"calendar": "XNYS", "days": 20, "first": MONDAY, "last": MONDAY, "volume": 5.0, "parts": (0.25, 0.75)}
    return Learned(**(values | fields))  # type: ignore[arg-type]


def test_a_file_of_profiles_is_read_as_it_was_written(tmp_path: Path) -> None:
    write({"A": learned(), "B": learned(volume=0.0)}, tmp_path / "profiles.json")
    assert read(tmp_path / "profiles.json") == {"A": learned(), "B": learned(volume=0.0)}
    assert [file.name for file in tmp_path.iterdir()] == ["profiles.json"]


@pytest.mark.parametrize(
    "fields,said",
    [
        ({"parts": ()}, "A: 0 parts"),
        ({"parts": (-1.0, 2.0)}, "A: parts must be zero or more"),
        ({"volume": -1.0}, "A: an average day of -1.0 shares"),
        ({"calendar": "XLON"}, "A: no calendar 'XLON', use one of XNYS"),
    ],
)
def test_an_unsound_profile_is_named(tmp_path: Path, fields: dict[str, object], said: str) -> None:
    write({"A": learned(**fields)}, tmp_path / "profiles.json")
    with pytest.raises(ProfileError, match=said):
        read(tmp_path / "profiles.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"A": {}}', '{"A": {"colour": 1}}', "\xff"])
def test_what_is_no_file_of_profiles_says_how_to_make_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "profiles.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ProfileError, match="execd profile build"):
        read(file)
