"""From the configuration to market data, and what is said where that cannot be."""

from pathlib import Path
from typing import Any

import pytest

from core.market import Quote
from daemon.config import Config, ConfigError, build
from daemon.markets import SYNTHETIC_FILTER, open_market
from tests.builders import DAY, NOW, session

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
    assert [(update.ts - NOW, update.symbol) for update in opened.market.updates] == [
        (5, "AAPL"),
        (6, "MSFT"),
        (7, "AAPL"),
    ]
    assert set(opened.market.filters) == {"AAPL", "MSFT"}
    assert [note.partition(":")[0] for note in opened.notes] == ["AAPL", "MSFT"]


def test_a_tape_of_an_unknown_instrument_is_refused(tmp_path: Path) -> None:
    path = tape(tmp_path, "one.csv", f"{NOW},9,1,10,1")
    with pytest.raises(ConfigError, match=r"^IBM: there is a tape but no instrument: add \[instruments.IBM\]$"):
        open_market(config(kind="replay", tapes=[f"IBM={path}"]))


MISTAKES = [
    ({"date": "tomorrow"}, "market.date = 'tomorrow': give the trading day as YYYY-MM-DD"),
    ({"step_s": 0.0}, "a step of 0.0 s: it must be 1 ms at least and fit into the session"),
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


def test_a_synthetic_market_of_two_calendars_is_refused() -> None:
    raw = {**SYNTHETIC, "instruments": {"AAPL": {}, "BTC": {"calendar": "24x7"}}}
    with pytest.raises(ConfigError, match="all of one calendar"):
        open_market(build(raw, {}, where="test"))
