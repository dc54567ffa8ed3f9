"""From the configuration to a run's market data: generated or recorded."""

import datetime as dt
from collections.abc import Iterator

import msgspec

from adapters.market.merge import merged
from adapters.market.replay import open_tape, parse_tape_argument
from adapters.market.synthetic import SyntheticMarket
from core.calendar import CALENDARS
from core.instruments import Instruments
from core.market import Update
from daemon.config import Config, ConfigError
from daemon.run import Market

SYNTHETIC_FILTER = "every print of the synthetic market"


class Opened(msgspec.Struct, frozen=True):
    """A market, when it begins (ns UTC), and what is odd about its data."""

    market: Market
    start: int
    notes: tuple[str, ...] = ()


def open_market(config: Config) -> Opened:
    """The market that `[market]` names; raises ValueError (ConfigError, TapeError) that says what is wrong, OSError."""
    return _replayed(config) if config.market.kind == "replay" else _synthetic(config)


def _synthetic(config: Config) -> Opened:
    market = config.market
    try:
        day = dt.date.fromisoformat(market.date)
    except ValueError as error:
        raise ConfigError(f"market.date = {market.date!r}: give the trading day as YYYY-MM-DD") from error
    calendars = {instrument.calendar for instrument in config.instruments.values()}
    if len(calendars) != 1:
        raise ConfigError("a synthetic market needs instruments, all of one calendar: add [instruments.SYMBOL] tables")
    session = CALENDARS[calendars.pop()].session_on(day)
    if session is None:
        raise ConfigError(f"market.date = {market.date}: there is no session on that day")
    instruments = Instruments(config.instruments.values())
    source = SyntheticMarket(instruments, session, market.seed, step_s=market.step_s, settings=market.settings)
    filters = dict.fromkeys(config.instruments, SYNTHETIC_FILTER)
    return Opened(Market(source.updates(), filters), session.open)


def _replayed(config: Config) -> Opened:
    if not config.market.tapes:
        raise ConfigError("market.tapes is empty: name a recorded day with --tape SYMBOL[@DATE]=FILE[,TRADES]")
    tapes = [open_tape(parse_tape_argument(text)) for text in config.market.tapes]
    unknown = [tape.symbol for tape in tapes if tape.symbol not in config.instruments]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: there is a tape but no instrument: add [instruments.{unknown[0]}]")
    first = min(_first(tape.updates()) for tape in tapes)
    notes = tuple(f"{tape.symbol}: {tape.flags}" for tape in tapes)
    return Opened(Market(merged(tapes), {tape.symbol: tape.filter for tape in tapes}), first, notes)


def _first(updates: Iterator[Update]) -> int:
    return next(updates).ts
