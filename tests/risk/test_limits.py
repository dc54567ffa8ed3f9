"""Limits that cannot be meant are refused when read, every change has another name, and one set is in force."""

import ast
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.events import LimitsSet, ShadowSet, decode, encode
from risk.limits import (
    NOT_AT_THE_GATE,
    Limits,
    LimitsInForce,
    StrategyLimits,
    SymbolLimits,
    VenueLimits,
    version_of,
)
from tests.builders import limits_set, shadow_set

CHECKS = Path(__file__).resolve().parents[2] / "risk" / "checks.py"


@pytest.mark.parametrize(
    "name,value",
    [
        ("position_max", "8"),
        ("position_max", "0"),
        ("position_max", "NaN"),
        ("participation_max", "2"),
        ("sector_max", "25"),
        ("gross_max", "0"),
        ("net_max", "NaN"),
        ("daily_loss_max", "2"),
        ("drawdown_max", "10"),
        ("collar", "5"),
        ("collar", "-0.05"),
        ("strength_fraction", 95),
        ("strength_min", 10),
        ("risk_budget", 2),
        ("quote_age_s_max", 0),
        ("orders_per_s", 0),
        ("orders_per_s", -1),
        ("messages_per_s", 0),
        ("parents_per_day", 0),
        ("approval_ttl_ms", 0),
        ("rejects_max", 0),
        ("rejects_window_s", 0),
        ("failures_max", 0),
        ("failures_window_s", 0),
        ("slippage_max", 0),
        ("slips_max", 0),
        ("slips_window_s", 0),
        ("repeats_max", 0),
        ("repeats_window_s", 0),
        ("signal_horizon_s", 0),
        ("close_margin_s", -1),
        ("strength_notional_min", "-1"),
        ("strength_notional_min", "20000"),
        ("strength_notional_max", "NaN"),
        ("strength_notional_max", "Infinity"),
        ("symbols_default", {"order_qty_max": "-1"}),
        ("symbols_default", {"order_qty_max": "NaN"}),
        ("symbols", {"AAPL": {"order_notional_max": "-5"}}),
        ("symbols", {"AAPL": {"order_notional_max": "Infinity"}}),
        ("symbols", {"AAPL": {"order_max": "5"}}),
        ("strategies", {"alpha": {"position_max": "5"}}),
        ("strategies", {"alpha": {"position_max": "NaN"}}),
        ("strategies", {"alpha": {"order_notional_max": "-5"}}),
        ("strategies", {"alpha": {"parents_per_day": 0}}),
        ("venues", {"paper": {"order_notional_max": "NaN"}}),
        ("venues", {"paper": {"orders_per_s": 0}}),
        ("venues", {"paper": {"messages_per_s": 100_001}}),
        ("venues", {"paper": {"position_max": "0.1"}}),
        ("quote_age_s_max", float("inf")),
        ("quote_age_s_max", float("nan")),
        ("quote_age_s_max", 86_400.1),
        ("orders_per_s", 100_001),
        ("orders_per_s", 10**400),
        ("messages_per_s", 100_001),
        ("parents_per_day", 10_000_001),
        ("approval_ttl_ms", 3_600_001),
        ("rejects_max", 10_001),
        ("rejects_window_s", 86_401),
        ("rejects_window_s", float("nan")),
        ("failures_max", 10_001),
        ("failures_window_s", 86_401),
        ("slippage_max", "1.01"),
        ("slips_max", 10_001),
        ("slips_window_s", 86_401),
        ("repeats_max", 10_001),
        ("repeats_window_s", 86_401),
        ("signal_horizon_s", 366 * 86_400 + 1),
        ("max_position", "0.08"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused_by_name(name: str, value: Any) -> None:  # noqa: ANN401 - as in TOML
    with pytest.raises(msgspec.ValidationError, match=next(iter(value)) if name == "symbols_default" else name):
        msgspec.convert({name: value}, Limits)


def test_the_largest_limits_are_taken() -> None:
    largest = {
        "quote_age_s_max": 86_400,
        "orders_per_s": 100_000,
        "messages_per_s": 100_000,
        "parents_per_day": 10_000_000,
        "approval_ttl_ms": 3_600_000,
        "rejects_max": 10_000,
        "rejects_window_s": 86_400,
        "failures_max": 10_000,
        "failures_window_s": 86_400,
        "slips_max": 10_000,
        "slips_window_s": 86_400,
        "repeats_max": 10_000,
        "repeats_window_s": 86_400,
        "signal_horizon_s": 366 * 86_400,
    }
    taken = msgspec.to_builtins(msgspec.convert(largest, Limits))
    assert {name: taken[name] for name in largest} == largest


def test_percent_is_guessed() -> None:
    with pytest.raises(ValueError, match=r"percent\?"):
        Limits(position_max=Decimal(8))


def test_an_instrument_has_its_own_limits_or_the_default_ones() -> None:
    default, own = SymbolLimits(order_qty_max=Decimal(1)), SymbolLimits(order_qty_max=Decimal(2))
    limits = Limits(symbols_default=default, symbols={"AAPL": own})
    assert limits.of("AAPL") is own
    assert limits.of("MSFT") is default
    assert Limits().of("MSFT") == SymbolLimits(order_qty_max=None, order_notional_max=None)


def test_a_venue_has_its_own_rates_or_the_accounts() -> None:
    limits = Limits(orders_per_s=5, messages_per_s=6, venues={"a": VenueLimits(orders_per_s=7), "b": VenueLimits()})
    rates = {venue: (limits.orders_per_s_at(venue), limits.messages_per_s_at(venue)) for venue in ("a", "b", "c")}
    assert rates == {"a": (7, 6), "b": (5, 6), "c": (5, 6)}
    assert Limits(venues={"a": VenueLimits(messages_per_s=7)}).messages_per_s_at("a") == 7


def test_a_version_names_exactly_these_numbers() -> None:
    base = Limits()
    versions = {version_of(msgspec.structs.replace(base, orders_per_s=n)) for n in range(1, 101)}
    assert len(versions) == 100
    assert version_of(base) == version_of(msgspec.convert(msgspec.to_builtins(base), Limits))
    two = {"A": SymbolLimits(), "B": SymbolLimits()}
    swapped = dict(reversed(two.items()))
    assert version_of(Limits(symbols=two)) == version_of(Limits(symbols=swapped))


# In force -------------------------------------------------------------------------------------------------------------

TIGHT = Limits(
    position_max=Decimal("0.010"),
    quote_age_s_max=0.1,
    orders_per_s=3,
    restricted=("AAPL",),
    symbols_default=SymbolLimits(order_qty_max=Decimal("1E+2")),
    symbols={"MSFT": SymbolLimits(order_notional_max=Decimal("0.1"))},
    strategies={"alpha": StrategyLimits(sources=("file*",), position_max=Decimal("0.010"), parents_per_day=2)},
    venues={"paper": VenueLimits(order_notional_max=Decimal("0.1"), messages_per_s=2)},
)


def as_set(limits: Limits) -> LimitsSet:
    """The event as the journal has it."""
    event = decode(encode(limits_set(limits)))
    assert isinstance(event, LimitsSet)
    return event


def test_what_an_event_sets_is_in_force_to_the_digit() -> None:
    held = LimitsInForce(Limits())
    assert (held.current, held.version, held.on_record) == (Limits(), version_of(Limits()), False)
    held.take(as_set(TIGHT))
    assert (held.current, held.version, held.on_record) == (TIGHT, version_of(TIGHT), True)
    assert version_of(held.current) == held.version
    held.take(as_set(Limits()))
    assert (held.current, held.version) == (Limits(), version_of(Limits()))


def test_limits_in_force_come_back_from_a_snapshot() -> None:
    held, again = LimitsInForce(Limits()), LimitsInForce(Limits())
    held.take(as_set(TIGHT))
    again.load(msgspec.json.decode(msgspec.json.encode(held.dump())))
    assert (again.current, again.version, again.on_record) == (TIGHT, version_of(TIGHT), True)
    assert again.dump() == held.dump()


def test_a_limit_that_this_version_does_not_have_is_passed_over_and_the_name_stays() -> None:
    held, event = LimitsInForce(Limits()), as_set(TIGHT)
    held.take(msgspec.structs.replace(event, limits=event.limits | {"of_another_version": 1}))
    assert (held.current, held.version) == (TIGHT, event.version)


# Beside them ----------------------------------------------------------------------------------------------------------


def test_shadow_limits_stand_beside_those_in_force_and_come_back_from_a_snapshot() -> None:
    held = LimitsInForce(Limits())
    assert (held.shadow, held.shadow_version) == (None, "")
    event = decode(encode(shadow_set(TIGHT)))
    assert isinstance(event, ShadowSet)
    held.shade(event)
    assert (held.shadow, held.shadow_version) == (TIGHT, version_of(TIGHT))
    assert (held.current, held.version, held.on_record) == (Limits(), version_of(Limits()), False)
    again = LimitsInForce(TIGHT)
    again.load(msgspec.json.decode(msgspec.json.encode(held.dump())))
    assert (again.current, again.shadow, again.shadow_version) == (Limits(), TIGHT, version_of(TIGHT))
    assert again.dump() == held.dump()
    again.shade(shadow_set(None))
    assert (again.shadow, again.shadow_version) == (None, "")
    held.load(msgspec.json.decode(msgspec.json.encode(again.dump())))
    assert held.shadow is None


def test_what_no_check_compares_with_is_known_by_name() -> None:
    asked = {
        node.attr
        for node in ast.walk(ast.parse(CHECKS.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "limits"
    }
    in_ns = {f"{name.removesuffix('_s')}_ns": name for name in Limits.__struct_fields__}
    read = {in_ns.get(name, name).removesuffix("_at") for name in asked}
    read |= {"quote_age_s_max", "symbols", "symbols_default", "venues"}
    assert {"quote_age_ns_max", "of", "orders_per_s_at"} <= asked  # by which those are read
    assert set(Limits.__struct_fields__) - read == NOT_AT_THE_GATE
