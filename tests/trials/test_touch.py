"""The paper venue fills passive orders of recorded days as often as the tape did, and marketable ones no better."""

import random
from decimal import Decimal

import msgspec
import pyarrow.parquet as pq
import pytest

from adapters.brokers.facts import Executed
from adapters.brokers.matching import Exchange, Fees
from core.instruments import Instrument, Instruments
from core.orders import OrdType, Side
from tests.builders import child, clock
from tests.trials.touch import DAY, DAYS, Recorded, Shares, measure, shown

ORDERS = 3_000


@pytest.fixture(scope="module", params=["AAPL", "AMZN"])
def measured(request: pytest.FixtureRequest) -> tuple[str, Shares]:
    if not DAYS[request.param].exists():
        pytest.skip(f"needs a recorded day beside the checkout: {DAYS[request.param].name}")
    return request.param, measure(Recorded(request.param), ORDERS, seed=2)


def test_copies_of_the_tapes_own_orders_fill_as_often_as_these_did(measured: tuple[str, Shares]) -> None:
    symbol, shares = measured
    assert shares.own == pytest.approx({"AAPL": 0.216, "AMZN": 0.163}[symbol], abs=0.02)  # of all of the day's
    assert shares.messages == pytest.approx(shares.own, abs=0.01)
    assert shares.displayed == pytest.approx(shares.own, abs=0.015)
    assert shares.random < shares.own / 2


def test_the_reported_day_lies_between_12_and_22_percent(measured: tuple[str, Shares]) -> None:
    symbol, shares = measured
    if symbol == "AMZN":
        assert 0.12 < shares.displayed <= shares.messages < 0.22


def test_marketable_orders_never_fill_better_than_the_recorded_book_allowed() -> None:
    if not DAYS["AMZN"].exists():
        pytest.skip(f"needs a recorded day beside the checkout: {DAYS['AMZN'].name}")
    recorded, dice = Recorded("AMZN"), random.Random(3)
    table = pq.read_table(DAYS["AMZN"])
    times = table["ts_ns"].to_pylist()
    rows = [row for row in range(len(times) - 1) if times[row] < times[row + 1]]
    stock = Instrument(symbol="AAPL", adv=Decimal(4_000_000), volatility=0.02)
    beyond = 0
    for row in dice.sample(rows, 400):
        seen, side, qty = table.slice(row, 1).to_pylist()[0], dice.choice(list(Side)), dice.randint(1, 2_000)
        name, size = ("ask", "asz") if side is Side.BUY else ("bid", "bsz")
        shares = [seen[f"{name}{level}"] for level in range(1, 6) for _ in range(seen[f"{size}{level}"])]
        exchange = Exchange(name="paper", instruments=Instruments([stock]), fees=Fees())
        ts = clock(0, day=DAY) + seen["ts_ns"]
        for update in recorded.standing(ts + 1):
            if update is not None:
                exchange.on_update(msgspec.structs.replace(update, symbol="AAPL"), ts)
        asked = child(side=side, qty=str(qty), ord_type=OrdType.MARKET, price=None)
        fills = [event for event in exchange.enter(asked, ts) if isinstance(event, Executed)]
        paid = [int(fill.last_px * 10_000) for fill in fills for _ in range(int(fill.last_qty))]
        assert len(paid) == qty
        assert paid[: len(shares)] == shares[:qty]
        assert all(side.sign * (price - shares[-1]) > 0 for price in paid[len(shares) :])
        beyond += qty > len(shares)
    assert 100 < beyond < 400


def test_the_table_is_for_people() -> None:
    table = shown([("AMZN", Shares(orders=5_000, own=0.163, messages=0.164, displayed=0.159, random=0.06))])
    assert table.splitlines() == [
        "        orders     own   every message  quotes, prints  random moments",
        "AMZN     5,000   16.3%           16.4%           15.9%            6.0%",
    ]
