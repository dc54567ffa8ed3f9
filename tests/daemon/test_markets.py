"""From the configuration to market data, and what is said where that cannot be."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from core.market import Quote
from daemon.config import Config, ConfigError, build
from daemon.markets import SYNTHETIC_FILTER, open_market
from tests.builders import DAY, NOW, clock, session

SYNTHETIC: dict[str, Any] = {
    "market": {"date": DAY.isoformat(), "step_s": 600.0},
    "instruments": {"AAPL": {}, "MSFT": {}},
}


def config(**market: object) -> Config:
    return build({**SYNTHETIC, "market": SYNTHETIC["market"] | market}, {}, where="test")


def test_a_synthetic_market_begins_at_the_open_with_a_quote_of_every_instrument() -> None:
    opened = open_market(config())
    assert opened.start == session().open
    assert opened.market.filters == {"AAPL": SYNTHETIC_FILTER, "MSFT": SYNTHETIC_FILTER}
    first, second, *rest = opened.market.updates
    assert [(type(first), first.symbol), (type(second), second.symbol)] == [(Quote, "AAPL"), (Quote, "MSFT")]
    assert first.ts == second.ts == opened.start
    times = [update.ts for update in rest]
    assert times == sorted(times)
    assert times[-1] < session().close


def test_the_same_seed_tells_the_same_and_another_seed_something_else() -> None:
    told = [list(open_market(config(seed=seed)).market.updates) for seed in (5, 5, 6)]
    assert told[0] == told[1] != told[2]


def tape(folder: Path, name: str, *rows: str) -> Path:
    path = folder / name
    path.write_text("\n".join(["ts,bid,bid_size,ask,ask_size", *rows]) + "\n")
    return path


def test_recorded_days_are_played_as_one_market_from_its_first_update_on(tmp_path: Path) -> None:
    one = tape(tmp_path, "one.csv", f"{NOW + 5},99.99,100,100.01,200", f"{NOW + 7},99.98,100,100.00,200")
    other = tape(tmp_path, "other.csv", f"{NOW + 6},9,1,10,1")
    opened = open_market(config(kind="replay", tapes=[f"AAPL={one}", f"MSFT={other}"]))
    assert opened.start == NOW + 5
    assert opened.end == NOW + 7
    assert [(update.ts - NOW, update.symbol) for update in opened.market.updates] == [
        (5, "AAPL"),
        (6, "MSFT"),
        (7, "AAPL"),
    ]
    assert set(opened.market.filters) == {"AAPL", "MSFT"}
    assert [note.partition(":")[0] for note in opened.notes] == ["AAPL", "MSFT"]


def test_a_tape_that_is_over_is_refused_on_the_clock_of_the_system(tmp_path: Path) -> None:
    path = tape(tmp_path, "one.csv", f"{NOW},9,1,10,1")
    settings = config(kind="replay", tapes=[f"AAPL={path}"])
    assert open_market(settings, NOW).start == NOW
    with pytest.raises(ConfigError, match=r"^market.tapes lie in the past: use `execd simulate`"):
        open_market(settings, NOW + 1)


def test_a_tape_of_an_unknown_instrument_is_refused(tmp_path: Path) -> None:
    path = tape(tmp_path, "one.csv", f"{NOW},9,1,10,1")
    with pytest.raises(ConfigError, match=r"^IBM: there is a tape but no instrument: add \[instruments.IBM\]$"):
        open_market(config(kind="replay", tapes=[f"IBM={path}"]))


MISTAKES = [
    (
        {"date": ""},
        "market.date is empty: give the trading day as YYYY-MM-DD, only the system's clock knows it",
    ),
    ({"step_s": 0.0001}, "a step of 0.0001 s: it must be 1 ms at least and fit into the session"),
    ({"kind": "replay", "tapes": ["AAPL"]}, "'AAPL' is not SYMBOL[@YYYY-MM-DD]=FILE[,TRADES]"),
    ({"date": "2025-12-25"}, "market.date = 2025-12-25: there is no session on that day"),
    (
        {"kind": "replay"},
        "market.tapes is empty: name a recorded day with --tape SYMBOL[@DATE]=FILE[,TRADES]",
    ),
]


@pytest.mark.parametrize("market,message", MISTAKES)
def test_a_market_that_cannot_be_is_refused(market: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the whole message is compared
        open_market(config(**market))
    assert str(raised.value) == message


THURSDAY, FRIDAY, MONDAY = (DAY + dt.timedelta(days=n) for n in (1, 2, 5))
SHUT = "the market is shut and opens at "


@pytest.mark.parametrize(
    "now,day,notes",
    [
        (session().open, DAY, ()),
        (session().close - 1, DAY, ()),
        (session().open - 1, DAY, (f"{SHUT}2025-03-05 14:30 UTC",)),
        (session().close, THURSDAY, (f"{SHUT}2025-03-06 14:30 UTC",)),
        (session(FRIDAY).close, MONDAY, (f"{SHUT}2025-03-10 13:30 UTC",)),  # summer time began on Sunday
    ],
)
def test_without_a_date_the_system_clock_plays_the_session_of_now_or_the_next(
    now: int, day: dt.date, notes: tuple[str, ...]
) -> None:
    opened = open_market(config(date=""), now)
    assert opened.start == session(day).open
    assert opened.notes == notes
    assert next(iter(opened.market.updates)).ts == session(day).open


def test_a_calendar_that_never_shuts_is_always_open() -> None:
    raw = {"market": {"step_s": 600.0}, "instruments": {"BTC": {"calendar": "24x7"}}}
    opened = open_market(build(raw, {}, where="test"), NOW)
    assert opened.start <= NOW
    assert opened.notes == ()


def test_a_day_that_is_over_is_refused_on_the_system_clock_and_played_on_others() -> None:
    assert open_market(config(), session().close - 1).start == session().open
    with pytest.raises(ConfigError) as raised:
        open_market(config(), session().close)
    assert str(raised.value) == (
        'market.date = 2025-03-05: that session is over: remove market.date, or set clock.kind = "scaled"'
    )
    assert open_market(config()).start == session().open


def test_after_the_last_year_of_a_calendar_there_is_no_next_session() -> None:
    with pytest.raises(ConfigError, match="no session of XNYS is known in the 14 days from 2036-06-16 on"):
        open_market(config(date=""), clock(10, day=dt.date(2036, 6, 16)))


def test_a_synthetic_market_of_two_calendars_is_refused() -> None:
    raw = {**SYNTHETIC, "instruments": {"AAPL": {}, "BTC": {"calendar": "24x7"}}}
    with pytest.raises(ConfigError, match="all of one calendar"):
        open_market(build(raw, {}, where="test"))
