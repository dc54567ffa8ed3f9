"""Files of volume profiles, and `execd profile build`: how volume spreads over the day, which VWAP follows."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer

from adapters.market.minutes import Volumes, read_volumes
from adapters.report.text import counted
from algos.profile import Profile, ProfileError, fault_of, learn
from core.calendar import CALENDARS, Calendar
from core.instruments import Instruments

DAYS = 20
DAYS_MIN = 5  # fewer make no profile
HOURS = 13  # columns of the picture: half hours of a US session
_BARS = " ▁▂▃▄▅▆▇█"


class Learned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A symbol's profile as a file keeps it: from which days, the mean day's shares, and the part of each minute."""

    calendar: str
    days: int
    first: dt.date
    last: dt.date
    volume: float
    parts: tuple[float, ...]


class Lessons(NamedTuple):
    """Profiles by symbol, for whom there is none and why, and how many days of each were left out, by why."""

    found: dict[str, Learned]
    without: dict[str, str]
    left_out: dict[str, Counter[str]]


def learn_all(volumes: Volumes, calendar: Calendar, *, days: int = DAYS) -> Lessons:
    """Profiles of the newest `days` of each symbol that are whole."""
    found: dict[str, Learned] = {}
    without: dict[str, str] = {}
    left_out: dict[str, Counter[str]] = {}
    for symbol, by_day in sorted(volumes.items()):
        faults = {day: fault_of(minutes) for day, minutes in by_day.items()}
        left_out[symbol] = Counter(fault for fault in faults.values() if fault is not None)
        newest = sorted(day for day, fault in faults.items() if fault is None)[-days:]
        if len(newest) < min(days, DAYS_MIN):
            without[symbol] = f"{counted(len(newest), 'whole day')}, {min(days, DAYS_MIN)} at least are needed"
            continue
        try:
            profile = learn([by_day[day] for day in newest])
        except ProfileError as error:
            without[symbol] = str(error)
            continue
        found[symbol] = Learned(
            calendar=calendar.name,
            days=len(newest),
            first=newest[0],
            last=newest[-1],
            volume=profile.volume,
            parts=tuple(round(part, 9) for part in profile.parts),
        )
    return Lessons(found, without, left_out)


def write(profiles: Mapping[str, Learned], path: Path) -> None:
    """Write a file of profiles, whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(dict(profiles)), indent=0) + b"\n")
    beside.replace(path)


def read(path: Path) -> dict[str, Learned]:
    """A file of profiles, by symbol; raises ProfileError with the file, the symbol, and how to build it."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    except OSError as error:
        raise ProfileError(f"algos.profiles: {path}: {error.strerror}: make it with `execd profile build`") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = f"{path.name} is no file of profiles, make one with `execd profile build`: {error}"
        raise ProfileError(said) from error
    return {symbol: _learned(raw, f"{path.name}, {symbol}") for symbol, raw in found.items()}


def _learned(raw: msgspec.Raw, where: str) -> Learned:
    try:
        learned = msgspec.json.decode(raw, type=Learned)
        Profile(learned.parts, learned.volume)
    except (msgspec.DecodeError, UnicodeDecodeError, ProfileError) as error:
        raise ProfileError(f"{where}: {error}: build it again with `execd profile build`") from error
    if learned.calendar not in CALENDARS:
        known = f"no calendar {learned.calendar!r}, use one of {', '.join(CALENDARS)}"
        raise ProfileError(f"{where}: {known}: build it again with `execd profile build --calendar`")
    return learned


def of(file: str, instruments: Instruments) -> dict[str, Profile]:
    """The profiles of a file for whoever's session they divide; raises ProfileError. None where no file."""
    found = read(Path(file)) if file else {}
    for symbol, learned in found.items():
        instrument = instruments.get(symbol)
        if instrument is not None and instrument.calendar != learned.calendar:
            said = (
                f"its profile is of {learned.calendar}, its instrument of {instrument.calendar}: build it again with "
                f"`execd profile build --calendar {instrument.calendar}`"
            )
            raise ProfileError(f"{Path(file).name}, {symbol}: {said}")
    return {
        symbol: Profile(learned.parts, learned.volume) for symbol, learned in found.items() if symbol in instruments
    }


def build(
    bars: Annotated[
        list[Path], typer.Argument(help="CSV of one-minute bars: sym, date (20260615), hhmm (935), volume.")
    ],
    out: Annotated[Path, typer.Option(help="File of profiles to write; the setting algos.profiles names it.")],
    days: Annotated[int, typer.Option(min=1, max=250, help="The newest days of each symbol.")] = DAYS,
    calendar: Annotated[str, typer.Option(help="Whose session the bars are of.")] = "XNYS",
) -> None:
    """Learn volume profiles, and write them to a file."""
    if calendar not in CALENDARS:
        raise ValueError(f"no calendar {calendar!r}: use one of {', '.join(CALENDARS)}")
    volumes, bars_left_out = read_volumes(bars, CALENDARS[calendar])
    found, without, days_left_out = learn_all(volumes, CALENDARS[calendar], days=days)
    for symbol, learned in found.items():
        typer.echo(
            f"{symbol:<8} {learned.days:>3} days {learned.first} to {learned.last}  "
            f"{learned.volume:>14,.0f} shares a day  {_picture(learned.parts)}"
        )
    for symbol, why in without.items():
        typer.echo(f"{symbol:<8} no profile: {why}")
    for unit, left_out in (("day", days_left_out), ("bar", bars_left_out)):
        for symbol, reasons in left_out.items():
            for why, number in reasons.items():
                typer.echo(f"{symbol:<8} left out: {counted(number, unit)} {why}")
    if not found:
        raise ValueError("no symbol has whole days enough: nothing is written")
    write(found, out)
    typer.echo(f"{len(found)} profiles in {out}")


def _picture(parts: tuple[float, ...]) -> str:
    """The day from open to close, the busiest part as high as a line."""
    step = len(parts) / HOURS
    sums = [sum(parts[round(k * step) : round((k + 1) * step)]) for k in range(HOURS)]
    return "".join(_BARS[round(each / max(sums) * (len(_BARS) - 1))] for each in sums)
