"""Participation: a part of the volume exactly, whatever the order of events, and a pace that stays in its bounds."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.conditions import RATIO_MAX, Watch
from algos.participation import MOVED, Conditions, Move, Pace, adapt
from core.signals import Urgency
from core.units import NS_PER_S
from tests.builders import NOW, quote


def test_a_tenth_of_the_volume_is_a_ninth_of_what_others_trade() -> None:
    pace = Pace(rate=0.1, begun=500.0, seen=500.0)
    pace.move(float(9_500))
    assert pace.cap(Decimal(1)) == 1_000
    assert pace.cap(Decimal(300)) == 900


def test_a_market_in_which_nothing_has_traded_since_bounds_everything() -> None:
    pace = Pace(rate=0.1, begun=500.0, seen=500.0)
    pace.move(float(500))
    assert pace.cap(Decimal(1)) == 0


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0.01, 0.5)), max_size=30))
def test_what_may_be_done_grows_with_each_share_by_the_pace_of_its_moment(steps: list[tuple[int, float]]) -> None:
    pace, volume, slow = Pace(rate=0.1, begun=0.0, seen=0.0), 0, 0.0
    for traded, rate in steps:
        before = pace.allowed
        volume += traded
        slow += pace.rate / (1 - pace.rate) * traded
        pace.move(float(volume))
        assert pace.allowed >= before
        pace.rate = rate
    assert pace.allowed == pytest.approx(slow)


USUAL = Conditions()


@pytest.mark.parametrize(
    "now,urgency,rate,named",
    [
        (USUAL, Urgency.NORMAL, 0.1, ""),
        (Conditions(spread=1.05), Urgency.NORMAL, 0.1, ""),  # hardly wider
        (Conditions(spread=4.0), Urgency.NORMAL, 0.05, "spread 4.00 of usual x 0.50"),
        (Conditions(spread=100.0), Urgency.NORMAL, 0.05, "spread"),
        (Conditions(spread=0.64), Urgency.NORMAL, 0.125, "spread 0.64 of usual x 1.25"),
        (Conditions(volatility=4.0), Urgency.LOW, 0.1, ""),
        (Conditions(volatility=4.0), Urgency.NORMAL, 0.1414, "volatility 4.00 of usual x 1.41"),
        (Conditions(volatility=4.0), Urgency.HIGH, 0.15, "volatility 4.00 of usual x 1.50"),
        (Conditions(volume=4.0), Urgency.NORMAL, 0.1414, "volume 4.00 of expected"),
        (Conditions(volume=0.0), Urgency.NORMAL, 0.05, "volume 0.00 of expected"),
        (Conditions(liquidity=0.1), Urgency.NORMAL, 0.0562, "liquidity 0.10 of a child"),
        (Conditions(liquidity=9.0), Urgency.NORMAL, 0.1, ""),
        (Conditions(cost_bps=20.0), Urgency.NORMAL, 0.1, ""),
        (Conditions(cost_bps=30.0), Urgency.NORMAL, 0.0667, "cost 30 bp x 0.67"),
        (Conditions(cost_bps=30.0), Urgency.HIGH, 0.1, ""),
        (Conditions(cost_bps=-30.0), Urgency.NORMAL, 0.1, ""),
        (Conditions(needed=0.2), Urgency.LOW, 0.2, "needs 0.20 to be done by its end"),
        (Conditions(needed=0.9), Urgency.LOW, 0.3, "needs 0.90"),
        (Conditions(volatility=4.0, volume=4.0, spread=0.5), Urgency.HIGH, 0.3, "spread"),
    ],
)
def test_each_condition_moves_the_pace_and_is_named(now: Conditions, urgency: Urgency, rate: float, named: str) -> None:
    move = adapt(0.1, 0.3, urgency, now)
    assert move.rate == pytest.approx(rate, abs=6e-5)
    assert named in "; ".join(move.reasons)
    assert bool(named) == bool(move.reasons)


# A market that prints our executions ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["others", "print", "book", "bust"]), st.integers(1, 1_000)), max_size=40))
def test_the_volume_is_what_others_trade_whenever_our_prints_come(steps: list[tuple[str, int]]) -> None:
    """It is the most that the tape without ours ever was: as the truth, once each of ours is printed and booked."""
    watch, tape, printed, booked, most = Watch(), 0, 0, [0], 0
    for what, shares in steps:
        if what == "book":
            watch.print_ours(Decimal(shares))
            booked.append(shares)
        elif what == "bust":
            watch.print_ours(-Decimal(booked.pop() if booked else 0))
        else:
            tape, printed = tape + shares, printed + shares * (what == "print")
            watch.look(quote(volume=shares))
            most = max(most, tape - sum(booked))
        assert watch.volume == most
    late = sum(booked) - printed
    if late > 0:  # booked before their prints
        watch.look(quote(volume=late))
    else:
        watch.print_ours(Decimal(-late))
        watch.look(quote(volume=10**9))
        tape += 10**9
    assert watch.volume >= tape - printed
    assert watch.volume == max(most, tape - printed)


RATIO = st.floats(1 / RATIO_MAX, RATIO_MAX)
CONDITIONS = st.builds(
    Conditions,
    spread=RATIO,
    volatility=RATIO,
    volume=st.floats(0, 100),
    cost_bps=st.floats(-1e4, 1e4),
    liquidity=st.floats(0, 1e6),
    needed=st.floats(0, 10),
)


@given(CONDITIONS, st.sampled_from(Urgency), st.floats(0.01, 0.3), st.floats(1.0, 3.0))
def test_the_pace_stays_between_half_of_its_base_and_its_bound(
    now: Conditions, urgency: Urgency, base: float, times: float
) -> None:
    most = min(base * times, 0.5)
    move = adapt(base, most, urgency, now)
    assert min(base / 2, most) - 1e-4 <= move.rate <= most + 1e-4
    if abs(move.rate - base) > MOVED * base:
        assert move.reasons


# The market against what is usual -------------------------------------------------------------------------------------


def watched(*quotes: tuple[float, str, str]) -> Watch:
    watch = Watch()
    for second, bid, ask in quotes:
        watch.look(quote("AAPL", bid, ask, ts=NOW + int(second * NS_PER_S)))
    return watch


def test_a_market_that_stays_as_it_is_is_as_usual() -> None:
    watch = watched(*[(float(second), "100", "100.02") for second in range(100)])
    assert watch.spread == pytest.approx(1.0)
    assert watch.volatility == 1.0  # of nothing at all


def test_a_spread_that_widens_is_wide_until_it_is_usual() -> None:
    calm = [(float(second), "100", "100.02") for second in range(0, 3_600, 10)]
    wide = watched(*calm, *[(3_600.0 + second, "99.98", "100.04") for second in range(0, 120, 10)])
    assert 2.0 < wide.spread < 3.0
    long = watched(*calm, *[(3_600.0 + second, "99.98", "100.04") for second in range(0, 36_000, 10)])
    assert long.spread == pytest.approx(1.0, abs=0.01)


def test_prices_that_jump_are_volatile() -> None:
    calm = [(float(second), f"{100 + second % 20 / 1000}", f"{100.02 + second % 20 / 1000}") for second in range(3_600)]
    wild = [(3_600.0 + second, f"{100 + second % 2 / 2}", f"{100.02 + second % 2 / 2}") for second in range(60)]
    assert watched(*calm, *wild).volatility > 3.0


@pytest.mark.parametrize("bid,ask", [(None, "100"), ("100", None), ("101", "100"), ("0", "0")])
def test_one_sided_and_crossed_markets_say_nothing(bid: str | None, ask: str | None) -> None:
    watch = watched((0.0, "100", "100.02"))
    before = watch.mid, watch.spread_now, watch.ts
    watch.look(quote("AAPL", bid, ask, ts=NOW + NS_PER_S))
    assert (watch.mid, watch.spread_now, watch.ts) == before


def test_quotes_of_one_instant_and_of_times_that_go_back_divide_by_nothing() -> None:
    watch = watched((1.0, "100", "100.02"), (1.0, "101", "101.02"), (0.5, "99", "99.02"))
    assert watch.volatility == 1.0


def test_no_move_is_a_move_without_reasons() -> None:
    assert adapt(0.1, 0.3, Urgency.NORMAL, USUAL) == Move(0.1, ())
