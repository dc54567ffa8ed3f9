"""The paper venue fills the passive orders of recorded days as often as the tape filled them."""

import pytest

from tests.trials.touch import DAYS, Recorded, Shares, measure, shown

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


def test_the_table_is_for_people() -> None:
    table = shown([("AMZN", Shares(orders=5_000, own=0.163, messages=0.164, displayed=0.159, random=0.06))])
    assert table.splitlines() == [
        "        orders     own   every message  quotes, prints  random moments",
        "AMZN     5,000   16.3%           16.4%           15.9%            6.0%",
    ]
