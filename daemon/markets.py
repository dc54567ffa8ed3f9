"""From the configuration to a run's market data: generated or recorded."""

import datetime as dt

import msgspec

from adapters.market.merge import merged
from adapters.market.replay import Tape, open_tape, parse_tape_argument
from adapters.market.synthetic import SyntheticMarket
from core.calendar import CALENDARS, Calendar, Session
from core.instruments import Instruments
from core.units import NS_PER_S
from daemon.config import Config, ConfigError
from daemon.run import Market

SYNTHETIC_FILTER = "every print of the synthetic market"
SHUT_DAYS_MAX = 14  # a calendar without a session for longer ends there


class Opened(msgspec.Struct, frozen=True):
    """A market, when it begins and ends (ns UTC), and what is odd about its data."""

    market: Market
    start: int
    end: int
    notes: tuple[str, ...] = ()


def open_market(config: Config, now: int | None = None) -> Opened:
    """The market that `[market]` names; raises ValueError (ConfigError, TapeError) that says what is wrong, OSError.

    `now` (ns UTC) is given on the system's clock, which plays nothing that is over; other clocks begin with the market.
    """
    return _replayed(config, now) if config.market.kind == "replay" else _synthetic(config, now)


def _synthetic(config: Config, now: int | None) -> Opened:
    market = config.market
    calendars = {instrument.calendar for instrument in config.instruments.values()}
    if len(calendars) != 1:
        raise ConfigError("a synthetic market needs instruments, all of one calendar: add [instruments.SYMBOL] tables")
    session = _session(market.date, CALENDARS[calendars.pop()], now)
    instruments = Instruments(config.instruments.values())
    source = SyntheticMarket(instruments, session, market.seed, step_s=market.step_s, settings=market.settings)
    filters = dict.fromkeys(config.instruments, SYNTHETIC_FILTER)
    waits = now is not None and now < session.open
    notes = (f"the market is shut and opens at {_utc(session.open)}",) if waits else ()
    return Opened(Market(source.updates(), filters), session.open, session.close, notes)


def _session(date: str, calendar: Calendar, now: int | None) -> Session:
    """The session of a date; without a date the one that is open now, or else the next."""
    if not date:
        return _next_session(calendar, now)
    session = calendar.session_on(dt.date.fromisoformat(date))
    if session is None:
        raise ConfigError(f"market.date = {date}: there is no session on that day")
    if now is not None and session.close <= now:
        raise ConfigError(
            f'market.date = {date}: that session is over: remove market.date, or set clock.kind = "scaled"'
        )
    return session


def _next_session(calendar: Calendar, now: int | None) -> Session:
    if now is None:
        raise ConfigError("market.date is empty: give the trading day as YYYY-MM-DD, only the system's clock knows it")
    today = calendar.date_of(now)
    days = (today + dt.timedelta(days=n) for n in range(SHUT_DAYS_MAX))
    session = next((s for day in days if (s := calendar.session_on(day)) is not None and now < s.close), None)
    if session is None:
        raise ConfigError(f"no session of {calendar.name} is known in the {SHUT_DAYS_MAX} days from {today} on")
    return session


def _utc(ts: int) -> str:
    return f"{dt.datetime.fromtimestamp(ts // NS_PER_S, dt.UTC):%Y-%m-%d %H:%M} UTC"


def _replayed(config: Config, now: int | None) -> Opened:
    if not config.market.tapes:
        raise ConfigError("market.tapes is empty: name a recorded day with --tape SYMBOL[@DATE]=FILE[,TRADES]")
    tapes = [open_tape(parse_tape_argument(text)) for text in config.market.tapes]
    unknown = [tape.symbol for tape in tapes if tape.symbol not in config.instruments]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: there is a tape but no instrument: add [instruments.{unknown[0]}]")
    firsts = [update.ts for tape in tapes if (update := next(tape.updates(), None)) is not None]
    if not firsts:
        raise ConfigError("market.tapes hold no update in regular hours: check the dates")
    if now is not None and min(firsts) < now:
        raise ConfigError('market.tapes lie in the past: use `execd simulate`, or set clock.kind = "scaled"')
    notes = tuple(_note(tape) for tape in tapes)
    market = Market(merged(tapes), {tape.symbol: tape.filter for tape in tapes})
    return Opened(market, min(firsts), max(tape.end for tape in tapes), notes)


def _note(tape: Tape) -> str:
    found = tape.flags
    return (
        f"{tape.symbol}: {tape.filter}; {found.crossed:,} crossed and {found.locked:,} locked quotes, "
        f"{found.suspicious:,} suspicious prints"
    )
