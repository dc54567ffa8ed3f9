"""The synthetic market is reproducible, exact in ticks and lots, never crossed, and busy where real ones are."""

import datetime as dt
import hashlib
import math
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.market.synthetic import SyntheticMarket, SyntheticSettings
from core.calendar import CALENDARS, Session
from core.instruments import Instrument, Instruments
from core.market import Quote, Trade, Update
from core.units import NS_PER_S, is_multiple

CHECKOUT = Path(__file__).resolve().parents[3]
HALF_HOUR = 1_800 * NS_PER_S


def session() -> Session:
    found = CALENDARS["XNYS"].session_on(dt.date(2024, 3, 5))
    assert found is not None
    return found


STOCK = Instrument(symbol="STOCK")
COIN = Instrument(symbol="COIN", tick=Decimal("0.5"), lot=Decimal("0.001"), adv=Decimal(200), volatility=0.05)
THIN = Instrument(symbol="THIN", lot=Decimal(100), adv=Decimal(50_000), volatility=0.04)


def market(*instruments: Instrument, seed: int = 7) -> list[Update]:
    return list(SyntheticMarket(Instruments(instruments), session(), seed).updates())


def digest(updates: list[Update]) -> str:
    return hashlib.sha256(repr(updates).encode()).hexdigest()


def test_the_same_seed_tells_the_same_and_another_seed_does_not() -> None:
    instruments = Instruments([STOCK, COIN])
    one = SyntheticMarket(instruments, session(), 7)
    assert list(one.updates()) == list(one.updates()) == market(STOCK, COIN)
    assert market(STOCK, COIN) != market(STOCK, COIN, seed=8)


def test_two_processes_with_other_hash_seeds_tell_the_same() -> None:
    program = "from tests.adapters.market import test_synthetic as t; print(t.digest(t.market(t.STOCK, t.COIN)))"
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert told == {digest(market(STOCK, COIN))}


def test_adding_an_instrument_changes_nothing_for_the_others() -> None:
    alone = market(STOCK)
    assert [update for update in market(THIN, STOCK, COIN) if update.symbol == "STOCK"] == alone


def test_two_instruments_alike_but_for_their_symbols_do_not_move_alike() -> None:
    bids = {
        symbol: [q.bid for q in market(Instrument(symbol=symbol)) if isinstance(q, Quote)] for symbol in ("ONE", "TWO")
    }
    assert bids["ONE"] != bids["TWO"]


def test_updates_are_in_time_order_and_begin_with_a_quote_of_each_instrument_at_the_open() -> None:
    updates = market(STOCK, COIN, THIN)
    times = [update.ts for update in updates]
    assert times == sorted(times)
    assert [(type(u), u.symbol, u.ts) for u in updates[:3]] == [
        (Quote, symbol, session().open) for symbol in ("STOCK", "COIN", "THIN")
    ]
    assert times[-1] < session().close


@given(
    seed=st.integers(0, 2**64),
    tick=st.sampled_from(["0.0001", "0.01", "0.5", "5"]),
    lot=st.sampled_from(["0.001", "1", "100"]),
    adv=st.sampled_from([None, 300, 10**9]),
    start=st.sampled_from([None, "0.02", "61000"]),
    volatility=st.sampled_from([None, 0.001, 0.5]),
)
def test_every_update_is_on_tick_and_lot_and_no_quote_is_crossed(
    *, seed: int, tick: str, lot: str, adv: int | None, start: str | None, volatility: float | None
) -> None:
    instrument = Instrument(
        symbol="X",
        tick=Decimal(tick),
        lot=Decimal(lot),
        adv=None if adv is None else Decimal(adv),
        volatility=volatility,
    )
    settings = SyntheticSettings(start_prices={} if start is None else {"X": Decimal(start)})
    day = SyntheticMarket(Instruments([instrument]), session(), seed, step_s=300.0, settings=settings)
    standing: Quote | None = None
    for update in day.updates():
        if isinstance(update, Quote):
            standing = update
            assert update.bid is not None
            assert update.ask is not None
            assert 0 < update.bid < update.ask
            prices, sizes = [update.bid, update.ask], [update.bid_size, update.ask_size]
        else:
            assert isinstance(update, Trade)
            assert standing is not None
            assert update.aggressor is not None
            assert update.price == (standing.ask if update.aggressor.sign > 0 else standing.bid)
            prices, sizes = [update.price], [update.size]
        assert all(is_multiple(price, Decimal(tick)) for price in prices)
        assert all(is_multiple(size, Decimal(lot)) and size > 0 for size in sizes)


@pytest.mark.parametrize("instrument", [STOCK, COIN, THIN], ids=lambda instrument: str(instrument.symbol))
def test_the_days_volume_is_about_the_average_day(instrument: Instrument) -> None:
    expected = Decimal(1_000_000) if instrument.adv is None else instrument.adv
    volumes = [
        sum(update.size for update in market(instrument, seed=seed) if isinstance(update, Trade)) for seed in range(5)
    ]
    assert all(Decimal("0.9") < volume / expected < Decimal("1.1") for volume in volumes)


def test_the_ends_of_the_day_are_busier_and_more_volatile_than_noon() -> None:
    updates = [update for seed in range(5) for update in market(STOCK, seed=seed)]
    spans = [session().open, session().open + 6 * HALF_HOUR, session().close - HALF_HOUR]  # open, noon, close
    volume, moves = [], []
    for start in spans:
        inside = [update for update in updates if start <= update.ts < start + HALF_HOUR]
        volume.append(float(sum(update.size for update in inside if isinstance(update, Trade))))
        mids = [float(q.bid + q.ask) for q in inside if isinstance(q, Quote) and q.bid and q.ask]
        # over a minute: from one quote to the next the rounding to ticks would be most of the move
        moves.append(float(np.std(np.diff(np.log(mids[::12])[: len(mids) // 12 // 5]))))
    assert min(volume[0], volume[2]) > 2 * volume[1]
    assert min(moves[0], moves[2]) > 1.2 * moves[1]


def test_the_spread_narrows_after_the_open() -> None:
    spreads = [q.ask - q.bid for q in market(STOCK) if isinstance(q, Quote) and q.bid and q.ask]
    assert np.mean([float(s) for s in spreads[:60]]) > 2 * np.mean([float(s) for s in spreads[2_000:]])


def test_the_days_returns_have_the_instruments_volatility() -> None:
    instruments = Instruments([Instrument(symbol=f"S{number}", volatility=0.03) for number in range(400)])
    day = SyntheticMarket(instruments, session(), 3, step_s=900.0)
    mids: dict[str, list[float]] = {}
    for update in day.updates():
        if isinstance(update, Quote) and update.bid and update.ask:
            mids.setdefault(update.symbol, []).append(float(update.bid + update.ask))
    returns = [math.log(path[-1] / path[0]) for path in mids.values()]
    # the last quote is one step before the close: its busy last step is missing, and 400 draws scatter by 3.5 %
    assert np.std(returns) == pytest.approx(0.03, rel=0.15)


def test_start_prices_are_the_given_ones_or_drawn_from_the_range() -> None:
    settings = SyntheticSettings(start_prices={"COIN": Decimal(61_000)}, start_range=(40.0, 41.0), spread_ticks=1.0)
    updates = SyntheticMarket(Instruments([COIN, STOCK]), session(), 1, settings=settings).updates()
    coin, stock = next(updates), next(updates)
    assert isinstance(coin, Quote)
    assert isinstance(stock, Quote)
    assert coin.bid is not None
    assert abs(coin.bid - 61_000) <= 10 * COIN.tick
    assert stock.bid is not None
    assert Decimal("39.8") < stock.bid < Decimal("41.2")


def test_settings_that_make_no_market_are_refused() -> None:
    with pytest.raises(ValueError, match=r"trades_per_step and spread_ticks above zero"):
        SyntheticSettings(trades_per_step=0.0)
    with pytest.raises(ValueError, match=r"start prices must be above zero"):
        SyntheticSettings(start_prices={"X": Decimal(0)})
    with pytest.raises(ValueError, match=r"fit into the session"):
        SyntheticMarket(Instruments([STOCK]), session(), 1, step_s=30_000.0)
    with pytest.raises(ValueError, match=r"X: adv is 1e\+20 lots"):
        SyntheticMarket(Instruments([Instrument(symbol="X", adv=Decimal(10**20))]), session(), 1)
