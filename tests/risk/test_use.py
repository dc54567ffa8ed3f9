"""How much of each limit is used, by tables; the score is the fullest of them."""

from decimal import Decimal

import pytest

from core.events import Event
from core.orders import Side
from core.units import NS_PER_S
from risk.guard import Guard
from risk.limits import Limits, LimitsInForce, StrategyLimits, VenueLimits
from risk.stood import CONFIRM_NS
from risk.use import Use, score, uses
from tests.builders import (
    NOW,
    accepted,
    approved,
    book,
    cancelled,
    child,
    held,
    limits,
    modelled,
    parent,
    quote,
    reported,
    stop_set,
    working,
)

BOUNDS = limits(
    position_max=Decimal("0.5"),
    sector_max=Decimal("0.5"),
    cluster_max=Decimal("0.6"),
    gross_max=Decimal(2),
    net_max=Decimal(1),
    positions_max=4,
    position_heat_max=Decimal(1),
    heat_max=Decimal(2),
    es_max=Decimal("0.04"),
    parents_per_day=10,
)


def used(*events: Event, bounds: Limits = BOUNDS) -> dict[str, Use]:
    exposure = book(*events)
    return {use.limit: use for use in uses(exposure, Guard(exposure, LimitsInForce(bounds)), bounds, NOW)}


def test_an_account_without_positions_uses_nothing() -> None:
    found = used(modelled())
    assert {use.ratio for use in found.values()} == {0.0}
    assert score(list(found.values()))[0] == 0


@pytest.mark.parametrize(
    "events,limit,expected",
    [
        ((held("AAPL", 100), held("LOTS", -200)), "position", ("LOTS", 0.2, 0.5)),
        ((held("AAPL", 100), held("SHRT", -200)), "sector", ("Tech", 0.3, 0.5)),
        ((modelled(), held("AAPL", 100), held("LOTS", -200)), "cluster", ("AAPL", 0.3, 0.6)),
        ((modelled(), held("SHRT", -100), *working("AAPL", Side.SELL, 50)), "cluster", ("AAPL", 0.15, 0.6)),
        ((held("AAPL", 100), held("LOTS", -200)), "gross", ("", 0.3, 2.0)),
        ((held("AAPL", 100), held("LOTS", -200)), "net", ("", 0.1, 1.0)),
        ((held("AAPL", 100), held("LOTS", -200)), "heat", ("", 0.3, 2.0)),
        ((held("AAPL", 100), stop_set(), held("LOTS", -200)), "heat", ("", 0.205, 2.0)),
        ((held("AAPL", 300), stop_set(), accepted(parent("LOTS", qty="10"))), "position_heat", ("AAPL", 0.015, 1.0)),
        ((held("AAPL", 100), held("LOTS", -200)), "positions", ("", 2, 4)),
        ((accepted(parent(qty="100")),), "parents_per_day", ("", 1, 10)),
        ((accepted(parent()), approved(child()), cancelled(child())), "orders_per_s", ("paper", 1, 900)),
        ((accepted(parent()), approved(child()), cancelled(child())), "messages_per_s", ("paper", 2, 900)),
        ((accepted(parent(qty="100")),), "position", ("AAPL", 0.1, 0.5)),
        ((accepted(parent(qty="100")),), "positions", ("", 1, 4)),
        ((modelled(), held("AAPL", 100)), "shortfall_plain", ("", 0.01, 0.04)),
        ((modelled(), held("AAPL", 100)), "shortfall_filtered", ("", 0.015, 0.04)),
        ((modelled("CRISIS"), held("AAPL", 100)), "shortfall_plain", ("", 0.01, 0.024)),
        ((modelled("CRISIS"), held("AAPL", 100)), "shortfall_filtered", ("", 0.015, 0.04)),
        ((modelled(), held("AAPL", 100), *working("LOTS", Side.BUY, 100)), "shortfall_plain", ("", 0.01, 0.04)),
    ],
)
def test_each_use_is_that_of_what_is_nearest(
    events: tuple[Event, ...], limit: str, expected: tuple[str, float, float]
) -> None:
    use = used(*events)[limit]
    of, value, most = expected
    assert (use.of, use.most) == (of, most)
    assert use.value == pytest.approx(value)
    assert use.ratio == pytest.approx(value / most)


def apart(ours: int, *theirs: int, power: int | None = None) -> tuple[Event, ...]:
    """The broker's reports of its equity, while ours is 100,000 and some."""
    shown = quote("AAPL", str(100 + ours), str(100 + ours))
    return (
        held("AAPL", 100),
        shown,
        *(reported(str(each), buying_power=None if power is None else str(power)) for each in theirs),
    )


@pytest.mark.parametrize(
    "events,limit,expected",
    [
        (apart(0, 99_000), "disagreement", (0.0, 0.02, 0.0)),  # not confirmed yet
        (apart(0, 99_000, 99_500), "disagreement", (0.005, 0.02, 0.25)),
        (apart(0, 103_000, 102_000), "disagreement", (0.02, 0.02, 1.0)),
        (apart(250, 126_250, 126_250), "disagreement", (0.01, 0.02, 0.5)),  # of ours, which is 125,000
        (apart(0, 100_000, power=20_000), "buying_power", (0.0, 20_000.0, 0.0)),
        (
            (*apart(0, 100_000, power=20_000), accepted(parent(qty="50"))),
            "buying_power",
            (5_000.0, 20_000.0, 0.25),
        ),
        (apart(0, 100_000, power=0), "buying_power", (0.0, 0.0, 1.0)),
    ],
)
def test_what_the_broker_says_bounds_the_account_too(
    events: tuple[Event, ...], limit: str, expected: tuple[float, float, float]
) -> None:
    use = used(*events, bounds=limits(disagreement_max=Decimal("0.02")))[limit]
    assert (use.value, use.most, use.ratio) == pytest.approx(expected)


def test_heat_that_is_not_limited_is_no_use_of_a_limit() -> None:
    assert not {"position_heat", "heat"} & used(held("AAPL", 100), bounds=limits()).keys()


def test_a_broker_that_says_nothing_bounds_nothing() -> None:
    assert not {"disagreement", "buying_power"} & used(held("AAPL", 100)).keys()


def test_a_strategys_and_a_venues_own_limits_are_used_by_whoever_is_nearest_to_his() -> None:
    own = {
        "alpha": StrategyLimits(position_max=Decimal("0.5"), parents_per_day=10),
        "beta": StrategyLimits(position_max=Decimal("0.2"), parents_per_day=4),
        "gamma": StrategyLimits(),
    }
    bounds = limits(strategies=own, venues={"other": VenueLimits(orders_per_s=3, messages_per_s=22)})
    of_beta = accepted(parent("SHRT", Side.SELL, "100", strategy="beta", parent_id="B1"))
    future = child("FUTR", strategy="beta", parent_id="B1", cl_ord_id="B1C1A1", qty="1")
    found = used(held("AAPL", 100), of_beta, accepted(parent(qty="10")), approved(future), bounds=bounds)
    assert found["strategy_position"] == Use("strategy_position", 0.1, 0.2, 0.5, "of equity", "beta SHRT")
    assert found["strategy_parents_per_day"] == Use("strategy_parents_per_day", 1, 4, 0.25, of="beta")
    assert found["orders_per_s"] == Use("orders_per_s", 1, 2, 0.5, of="other")
    assert found["messages_per_s"] == Use("messages_per_s", 1, 20, 0.05, of="other")
    assert not any(limit.startswith("strategy") for limit in used(of_beta))


def test_without_a_risk_model_there_is_no_shortfall_and_without_equity_whatever_is_held_fills_its_limits() -> None:
    ruin = used(quote("AAPL", "0.99", "1.01"), held("AAPL", 2000))
    assert not any(limit.startswith("shortfall") for limit in ruin)
    assert {limit: ruin[limit].ratio for limit in ("position", "gross", "net")} == dict.fromkeys(
        ("position", "gross", "net"), 1.0
    )


def test_fractions_are_of_an_equity_that_has_stood_as_the_gates_are() -> None:
    """Held are 100 at 100; a mid of 1,000, a second ago, makes 190,000 of an equity of 100,000."""
    exposure = book(held("AAPL", 100), quote("AAPL", "1000", "1000", ts=NOW - NS_PER_S))
    guard = Guard(exposure, LimitsInForce(BOUNDS))

    def gross(now: int) -> float:
        return next(use.value for use in uses(exposure, guard, BOUNDS, now) if use.limit == "gross")

    assert gross(NOW) == 1
    assert gross(NOW + CONFIRM_NS) == pytest.approx(100 / 190)


def test_a_value_is_in_the_unit_that_it_names() -> None:
    found, ruin = used(held("AAPL", 100)), used(quote("AAPL", "0.99", "1.01"), held("AAPL", 2000))
    assert (found["gross"].unit, found["daily_loss"].unit, found["positions"].unit) == ("of equity", "of equity", "")
    assert (ruin["gross"].unit, ruin["gross"].value, ruin["gross"].most) == ("money", 2000.0, 0.0)


def test_the_score_is_the_fullest_limit_and_never_more_than_a_hundred() -> None:
    assert score(list(used(held("AAPL", 450)).values())) == (90, "position")
    assert score(list(used(held("AAPL", 800)).values())) == (100, "position")
