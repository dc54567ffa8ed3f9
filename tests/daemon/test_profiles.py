"""Profiles from bars: minutes by their labels, whole days alone, and files that say what is wrong with them."""

import datetime as dt
from pathlib import Path

import pytest

from adapters.market.columns import TapeError
from adapters.market.minutes import Volumes, read_volumes
from algos.profile import ProfileError
from core.calendar import CALENDARS
from daemon.cli import ExitCode
from daemon.profiles import DAYS_MIN, Learned, learn_all, read, write
from tests.daemon.service import Execd

NEW_YORK, ALWAYS = CALENDARS["XNYS"], CALENDARS["24x7"]
MONDAY = dt.date(2025, 3, 10)


def bars(path: Path, *rows: tuple[str, object, object, object]) -> Path:
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(["sym,date,hhmm,volume", *lines]) + "\n")
    return path


def volumes_of(path: Path, *rows: tuple[str, object, object, object]) -> Volumes:
    return read_volumes([bars(path / "bars.csv", *rows)], NEW_YORK).volumes


@pytest.mark.parametrize("label,minute", [(930, 0), (931, 0), (932, 1), (1000, 29), (1559, 388), (1600, 389)])
def test_a_label_is_the_end_of_its_minute(tmp_path: Path, label: int, minute: int) -> None:
    day = volumes_of(tmp_path, ("A", 20250310, label, 7))["A"][MONDAY]
    assert len(day) == 390
    assert {k: v for k, v in enumerate(day) if v} == {minute: 7.0}


OUTSIDE = "outside the session (09:30 to 16:00, America/New_York)"
NO_DAY = "of no day with an ordinary session"


@pytest.mark.parametrize(
    "date,label,why",
    [
        (20250310, 929, OUTSIDE),  # before the open
        (20250310, 1601, OUTSIDE),
        (20250310, 2000, OUTSIDE),  # the close in UTC
        (20250308, 1000, NO_DAY),  # a Saturday
        (20251225, 1000, NO_DAY),
        (20251128, 1000, NO_DAY),  # a half day has another shape
        (20990105, 1000, NO_DAY),  # the calendar does not know
    ],
)
def test_what_is_no_minute_of_an_ordinary_day_is_left_out_and_counted(
    tmp_path: Path, date: int, label: int, why: str
) -> None:
    file = bars(tmp_path / "bars.csv", ("A", date, label, 7), ("A", date, label, 0), ("B", 20250310, 1000, 7))
    found = read_volumes([file], NEW_YORK)
    assert found.volumes["A"] == {}
    assert list(found.volumes["B"]) == [MONDAY]
    assert found.left_out == {"A": {why: 2}}


def test_around_the_clock_a_day_has_1440_minutes(tmp_path: Path) -> None:
    labels = (20250308, 1), (20250308, 2359), (20250309, 0), (20250309, 2400)
    rows = [("B", day, label, 5 + number) for number, (day, label) in enumerate(labels)]
    found, left_out = read_volumes([bars(tmp_path / "bars.csv", *rows)], ALWAYS)
    first, second = (found["B"][dt.date(2025, 3, day)] for day in (8, 9))
    assert {k: v for k, v in enumerate(first) if v} == {0: 5.0, 1_438: 6.0, 1_439: 7.0}
    assert {k: v for k, v in enumerate(second) if v} == {1_439: 8.0}
    assert left_out == {}


@pytest.mark.parametrize(
    "row,said",
    [
        (("A", 20251340, 1000, 7), "row 1: date is 20251340"),
        (("A", "soon", 1000, 7), "row 1: date is 'soon'"),
        (("A", 20250310, 975, 7), "row 1: hhmm is 975, not a time of day"),
        (("A", 20250310, -1, 7), "row 1: hhmm is -1, not a time of day"),
        (("A", 20250310, 2401, 7), "row 1: hhmm is 2401, not a time of day"),
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
    found, without, left_out = learn_all(volumes_of(tmp_path, *rows), NEW_YORK, days=6)
    learned = found["A"]
    assert (without, left_out) == ({}, {"A": {}})
    assert (learned.days, learned.first, learned.last) == (6, weekdays(8)[2], weekdays(8)[-1])
    assert learned.volume == pytest.approx(2 * 100 * (3 + 4 + 5 + 6 + 7 + 8) / 6)
    assert (learned.parts[0], learned.parts[389], sum(learned.parts)) == pytest.approx((0.5, 0.5, 1.0))


def test_too_few_days_and_days_without_volume_make_none(tmp_path: Path) -> None:
    rows = [("FEW", f"{day:%Y%m%d}", label, 1) for day in weekdays(DAYS_MIN - 1) for label in (931, 1600)]
    rows += [("NIL", f"{day:%Y%m%d}", 931, 0) for day in weekdays(DAYS_MIN)]
    rows += [("ONE", f"{weekdays(1)[0]:%Y%m%d}", label, 1) for label in (931, 1600)]
    found, without, left_out = learn_all(volumes_of(tmp_path, *rows), NEW_YORK)
    assert found == {}
    assert without == {
        "FEW": "4 whole days, 5 at least are needed",
        "NIL": "0 whole days, 5 at least are needed",
        "ONE": "1 whole day, 5 at least are needed",
    }
    assert left_out == {"FEW": {}, "NIL": {"without volume": DAYS_MIN}, "ONE": {}}


@pytest.mark.parametrize(
    "labels,why",
    [
        ((931, 944), "without volume in the last 10 minutes (unfinished?)"),
        ((931, 1550), "without volume in the last 10 minutes (unfinished?)"),
        ((941, 1600), "without volume in the first 10 minutes (begun late?)"),
        ((), "without volume"),
        ((940, 1551), None),
    ],
)
def test_a_day_that_is_not_whole_counts_for_nothing(tmp_path: Path, labels: tuple[int, ...], why: str | None) -> None:
    """An older day takes its place: what has traded by now would be all that its day ever did."""
    *before, last = weekdays(7)
    rows = [("A", f"{day:%Y%m%d}", label, 100) for day in before for label in (931, 1600)]
    rows += [("A", f"{last:%Y%m%d}", label, 900) for label in labels] + [("A", f"{last:%Y%m%d}", 1200, 0)]
    found, _, left_out = learn_all(volumes_of(tmp_path, *rows), NEW_YORK, days=6)
    assert left_out == {"A": {} if why is None else {why: 1}}
    assert (found["A"].days, found["A"].last) == (6, last if why is None else before[-1])


def test_what_is_left_out_is_said_of_each_symbol(execd: Execd, tmp_path: Path) -> None:
    rows = [("A", f"{day:%Y%m%d}", label, 100) for day in weekdays(6) for label in (931, 1559, 1600)]
    rows = [*rows[:-2], ("A", "20250308", 1000, 5), ("B", "20250310", 2000, 5), ("B", "20250310", 1930, 5)]
    code, out, err = execd("profile", "build", bars(tmp_path / "bars.csv", *rows), "--out", tmp_path / "profiles.json")
    assert code == ExitCode.OK, err
    first, *others, last = out.splitlines()
    assert first.startswith("A          5 days 2025-03-10 to 2025-03-14 ")
    assert others == [
        "B        no profile: 0 whole days, 5 at least are needed",
        "A        left out: 1 day without volume in the last 10 minutes (unfinished?)",
        "A        left out: 1 bar of no day with an ordinary session",
        f"B        left out: 2 bars {OUTSIDE}",
    ]
    assert last == f"1 profiles in {tmp_path / 'profiles.json'}"


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
