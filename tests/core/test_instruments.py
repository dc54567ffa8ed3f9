"""Instruments: what a definition may say, and finding one by its symbol."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from core.instruments import Instrument, Instruments


@pytest.mark.parametrize(
    "field,value,complaint",
    [
        ("symbol", "", "needs a symbol"),
        ("tick", Decimal(0), "tick must be a positive number"),
        ("tick", Decimal("NaN"), "tick must be a positive number"),
        ("lot", Decimal(-1), "lot must be a positive number"),
        ("lot", Decimal("sNaN"), "lot must be a positive number"),
        ("multiplier", Decimal("Infinity"), "multiplier must be a positive number"),
        ("min_notional", Decimal("NaN"), "min_notional must be zero or more"),
        ("min_notional", Decimal(-1), "min_notional must be zero or more"),
        ("adv", Decimal("NaN"), "adv must be a positive number"),
        ("adv", Decimal(0), "adv must be a positive number"),
        ("locate_qty", Decimal("NaN"), "locate_qty must be zero or more"),
        ("locate_qty", Decimal(-1), "locate_qty must be zero or more"),
        ("locate_qty", Decimal(5), "a locate_qty needs shortable = true"),
        ("shares_outstanding", Decimal(0), "shares_outstanding must be a positive number"),
        ("volatility", 0.0, "daily fraction between 0 and 1"),
        ("volatility", 1.6, r"percent\?"),
        ("volatility", float("nan"), "daily fraction between 0 and 1"),
    ],
)
def test_a_definition_that_cannot_be_traded_is_refused(field: str, value: object, complaint: str) -> None:
    fields: dict[str, Any] = {"symbol": "AAPL", field: value}
    with pytest.raises(ValueError, match=complaint):
        Instrument(**fields)


def test_a_refusal_names_the_instrument_also_when_it_is_read_from_a_file() -> None:
    with pytest.raises(msgspec.ValidationError, match="instrument ABC: tick must be a positive number, got -1"):
        msgspec.json.decode(b'{"symbol": "ABC", "tick": "-1"}', type=Instrument)


def test_a_symbol_alone_is_a_share_in_cents() -> None:
    share = msgspec.json.decode(b'{"symbol": "ABC"}', type=Instrument)
    assert (share.tick, share.lot, share.currency, share.calendar) == (
        Decimal("0.01"),
        Decimal(1),
        "USD",
        "XNYS",
    )
    assert (share.adv, share.volatility, share.shortable) == (None, None, False)


def test_notional_counts_the_multiplier_and_keeps_the_sign() -> None:
    future = Instrument(symbol="ES", multiplier=Decimal(50))
    assert future.notional(Decimal(-2), Decimal("4000.25")) == Decimal(-400025)


def test_instruments_are_found_by_symbol_and_an_unknown_one_is_none() -> None:
    one, two = Instrument(symbol="B"), Instrument(symbol="A")
    both = Instruments([one, two])
    assert both["B"] is one
    assert both.get("A") is two
    assert both.get("C") is None
    assert "A" in both
    assert "C" not in both
    assert list(both) == [one, two]
    assert len(both) == 2
    with pytest.raises(KeyError):
        _ = both["C"]


def test_a_symbol_that_is_defined_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="instrument A is defined twice: remove one definition"):
        Instruments([Instrument(symbol="A"), Instrument(symbol="A", tick=Decimal(1))])
