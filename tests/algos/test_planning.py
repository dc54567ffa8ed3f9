"""Windows by the calendar, and the properties that every algorithm of the table has."""

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.optimal import remaining
from algos.planning import ALGOS, CLOSE_MARGIN_NS, Task, Window, fault_of, plan, window_of
from algos.profile import DEFAULT, Profile
from algos.shortfall import HASTE
from core.signals import MAX_INT, MAX_SLICES, Algo, Instruction, Urgency
from core.units import NS_PER_S
from tests.builders import INSTRUMENTS, MINUTE, NOW, accepted, clock, parent, session

HALF_DAY, HOLIDAY, WEEKEND = dt.date(2025, 11, 28), dt.date(2025, 12, 25), dt.date(2025, 3, 8)
BEFORE_DST, AFTER_DST = dt.date(2025, 3, 7), dt.date(2025, 3, 10)  # clocks change on the 9th
HOUR = 60 * MINUTE


def window(now: int, *, symbol: str = "AAPL", valid_until: int | None = None, **how: Any) -> Window | str:  # noqa: ANN401 - fields of Instruction
    instruction = msgspec.structs.replace(Instruction(algo=Algo.VWAP), **how)
    order = parent(symbol, ts=now, how=instruction, valid_until=valid_until)
    return window_of(accepted(order), INSTRUMENTS[symbol])


def span(start: int, end: int, day: dt.date | None = None) -> Window:
    return Window(start, end, session(day) if day else session())


LAST = session().close - CLOSE_MARGIN_NS
WINDOWS: list[tuple[str, Window | str, Window]] = [
    ("all day", window(NOW), span(NOW, LAST)),
    ("before the open", window(clock(7)), span(clock(9, 30), LAST)),
    ("from a start", window(NOW, start=clock(14)), span(clock(14), LAST)),
    ("from a start that has passed", window(NOW, start=clock(9, 45)), span(NOW, LAST)),
    ("from a start before the open", window(clock(7), start=clock(8)), span(clock(9, 30), LAST)),
    ("to an end", window(NOW, end=clock(11)), span(NOW, clock(11))),
    ("to an end after the close", window(NOW, end=clock(20)), span(NOW, LAST)),
    ("for a time", window(NOW, duration_s=600), span(NOW, NOW + 10 * MINUTE)),
    ("for a time from the open", window(clock(7), duration_s=600), span(clock(9, 30), clock(9, 40))),
    ("for a time from a start", window(NOW, start=clock(14), duration_s=600), span(clock(14), clock(14, 10))),
    ("for a time, cut by an end", window(NOW, duration_s=600, end=NOW + MINUTE), span(NOW, NOW + MINUTE)),
    ("for a time, cut by the close", window(clock(15, 55), duration_s=600), span(clock(15, 55), LAST)),
    ("TWAP by default an hour", window(NOW, algo=Algo.TWAP), span(NOW, NOW + HOUR)),
    ("TWAP to an end", window(NOW, algo=Algo.TWAP, end=clock(15)), span(NOW, clock(15))),
    ("cut by its validity", window(NOW, valid_until=clock(11)), span(NOW, clock(11))),
    ("to an end, cut by its validity", window(NOW, end=clock(12), valid_until=clock(11)), span(NOW, clock(11))),
    ("to an end before its validity", window(NOW, end=clock(11), valid_until=clock(12)), span(NOW, clock(11))),
    ("TWAP, cut by its validity", window(NOW, algo=Algo.TWAP, valid_until=clock(11)), span(NOW, clock(11))),
    ("TWAP of an hour, valid for longer", window(NOW, algo=Algo.TWAP, valid_until=clock(15)), span(NOW, NOW + HOUR)),
    ("valid after the close", window(NOW, valid_until=clock(20)), span(NOW, LAST)),
    ("MARKET until the close", window(NOW, algo=Algo.MARKET), span(NOW, LAST)),
    ("IS by default an hour", window(NOW, algo=Algo.IS), span(NOW, NOW + HOUR)),
    ("CLOSE a quarter of an hour", window(NOW, algo=Algo.CLOSE), span(LAST - 15 * MINUTE, LAST)),
    ("CLOSE for a time", window(NOW, algo=Algo.CLOSE, duration_s=600), span(LAST - 10 * MINUTE, LAST)),
    ("CLOSE before an end", window(NOW, algo=Algo.CLOSE, end=clock(12)), span(clock(11, 45), clock(12))),
    ("CLOSE when it has begun", window(clock(15, 55), algo=Algo.CLOSE), span(clock(15, 55), LAST)),
    (
        "a half day",
        window(clock(12, day=HALF_DAY)),
        span(clock(12, day=HALF_DAY), clock(13, day=HALF_DAY) - CLOSE_MARGIN_NS, HALF_DAY),
    ),
    (
        "the days around a change of clocks",
        window(clock(15, day=BEFORE_DST), start=clock(9, 30, day=AFTER_DST), duration_s=3600),
        span(clock(9, 30, day=AFTER_DST), clock(10, 30, day=AFTER_DST), AFTER_DST),
    ),
    (
        "a start on Monday, from the weekend",
        window(clock(12, day=WEEKEND), start=clock(8, day=AFTER_DST)),
        span(clock(9, 30, day=AFTER_DST), clock(16, day=AFTER_DST) - CLOSE_MARGIN_NS, AFTER_DST),
    ),
]


@pytest.mark.parametrize("case", WINDOWS, ids=lambda case: case[0])
def test_a_window_lies_inside_one_session(case: tuple[str, Window | str, Window]) -> None:
    _, found, expected = case
    assert found == expected


def test_the_open_is_an_hour_of_utc_earlier_after_the_change_of_clocks() -> None:
    before, after = session(BEFORE_DST).open, session(AFTER_DST).open
    assert after - before == 3 * 24 * HOUR - HOUR


@pytest.mark.parametrize(
    "found,reason",
    [
        (window(clock(16, 1)), "passed"),
        (window(session().close - CLOSE_MARGIN_NS), "passed"),
        (window(clock(13, 30, day=HALF_DAY)), "passed"),
        (window(NOW, end=clock(10)), "passed"),
        (window(clock(8), end=clock(9)), "passed"),
        (window(NOW, start=clock(14), valid_until=clock(13)), "passed"),
        (window(clock(12, day=HOLIDAY)), "does not trade on 2025-12-25"),
        (window(clock(12, day=WEEKEND)), "does not trade on 2025-03-08"),
        (window(NOW, start=NOW + 8 * 24 * HOUR), "7 days"),
    ],
)
def test_where_there_is_no_window_it_says_why(found: Window | str, reason: str) -> None:
    assert isinstance(found, str)
    assert reason in found


@pytest.mark.parametrize(
    "symbol,qty,max_slice,reason",
    [
        ("LOTS", "1000", "99", "max_slice of 99 is under one lot of 100"),
        ("FRAC", "1", "0.0009", "max_slice of 0.0009 is under one lot of 0.001"),
        ("LOTS", "1000", "100", None),
        ("LOTS", "1000", None, None),
        ("FRAC", str(MAX_INT), None, "lots of 0.001: split it"),
    ],
)
def test_a_quantity_that_no_curve_can_hold_or_send_is_refused_with_the_reason(
    symbol: str, qty: str, max_slice: str | None, reason: str | None
) -> None:
    how = Instruction(max_slice=None if max_slice is None else Decimal(max_slice))
    fault = fault_of(accepted(parent(symbol, qty=qty, how=how)), INSTRUMENTS[symbol])
    assert fault is None if reason is None else fault is not None and reason in fault


def test_a_market_that_never_shuts_has_windows_until_midnight() -> None:
    night = window(clock(3), symbol="FRAC")
    assert isinstance(night, Window)
    assert night.end == night.session.close - CLOSE_MARGIN_NS
    assert night.session.close - night.session.open == 24 * HOUR


# The table ------------------------------------------------------------------------------------------------------------


def test_every_algorithm_that_a_parent_may_have_has_a_curve() -> None:
    assert set(ALGOS) == set(Algo) - {Algo.AUTO}


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    day = draw(st.sampled_from([None, HALF_DAY, AFTER_DST]))
    hours = session(day) if day else session()
    start = draw(st.integers(hours.open, hours.close - 1))
    width = draw(st.integers(1, 1_000) | st.integers(1, hours.close - start))
    lot = draw(st.sampled_from([Decimal(1), Decimal(100), Decimal("0.001")]))
    return Task(
        qty=draw(st.integers(1, 10**6)) * lot,
        lot=lot,
        window=Window(start, min(start + width, hours.close), hours),
        slices=draw(st.none() | st.integers(1, 200)),
        seed=draw(st.integers(0, 2**64 - 1)),
        haste=draw(st.floats(0, 1_000)),
        profile=draw(st.sampled_from([DEFAULT, Profile((1.0,) * 390, 1e6), Profile((0.0, 1.0, 0.0))])),
    )


@pytest.mark.parametrize("algo", ALGOS)
@given(task=tasks())
def test_a_curve_rises_to_exactly_its_quantity_on_lot_and_inside_its_window(algo: Algo, task: Task) -> None:
    curve = ALGOS[algo](task)
    assert curve.targets[-1] == task.qty
    assert list(curve.targets) == sorted(set(curve.targets))
    assert list(curve.times) == sorted(set(curve.times))
    assert all(target % task.lot == 0 and target > 0 for target in curve.targets)
    assert task.window.start <= curve.times[0]
    assert curve.times[-1] < task.window.end
    assert ALGOS[algo](task) == curve


@pytest.mark.parametrize("algo", ALGOS)
def test_more_slices_than_nanoseconds_are_no_reason_to_fail(algo: Algo) -> None:
    task = Task(qty=Decimal(10**6), lot=Decimal(1), window=Window(NOW, NOW + 50, session()), slices=MAX_SLICES, seed=1)
    assert ALGOS[algo](task).target(NOW + 49) == 10**6


@pytest.mark.parametrize("algo", ALGOS)
def test_the_most_slices_that_a_signal_may_ask_for_make_a_curve(algo: Algo) -> None:
    task = Task(
        qty=Decimal(10**9), lot=Decimal(1), window=Window(NOW, NOW + HOUR, session()), slices=MAX_SLICES, seed=1
    )
    assert ALGOS[algo](task).targets[-1] == 10**9


@pytest.mark.parametrize("algo", ALGOS)
def test_a_parents_curve_is_a_function_of_its_event_alone(algo: Algo) -> None:
    first = accepted(parent(qty="1000", how=Instruction(algo=algo)))
    found = window_of(first, INSTRUMENTS["AAPL"])
    assert isinstance(found, Window)
    again = accepted(parent(qty="1000", how=Instruction(algo=algo)))
    assert plan(first, INSTRUMENTS["AAPL"], found) == plan(again, INSTRUMENTS["AAPL"], found)
    other = accepted(parent(qty="1000", how=Instruction(algo=algo), parent_id="P2"))
    same = plan(other, INSTRUMENTS["AAPL"], found) == plan(first, INSTRUMENTS["AAPL"], found)
    assert same is (algo is not Algo.TWAP)  # the parent's id is its seed


def test_a_resized_parent_is_planned_for_what_was_accepted() -> None:
    cut = accepted(parent(qty="1000"), Decimal(400))
    found = window_of(cut, INSTRUMENTS["AAPL"])
    assert isinstance(found, Window)
    assert plan(cut, INSTRUMENTS["AAPL"], found).targets[-1] == 400


def test_an_end_a_second_after_the_decision_is_enough() -> None:
    found = window(NOW, end=NOW + NS_PER_S)
    assert isinstance(found, Window)


# Implementation shortfall ---------------------------------------------------------------------------------------------


KNOWN = msgspec.structs.replace(INSTRUMENTS["AAPL"], adv=Decimal(10_000_000), volatility=0.02)


def done_by_half(how: Instruction) -> float:
    """The part of an hour's parent that is done by half of it."""
    first = accepted(parent(qty="100000", how=how))
    found = window_of(first, KNOWN)
    assert isinstance(found, Window)
    return float(plan(first, KNOWN, found).target(NOW + 30 * MINUTE)) / 100_000


@pytest.mark.parametrize(
    "urgency,part", [(Urgency.LOW, 0.56), (Urgency.NORMAL, 0.68), (Urgency.HIGH, 0.87), (Urgency.IMMEDIATE, 0.98)]
)
def test_haste_follows_the_urgency(urgency: Urgency, part: float) -> None:
    assert done_by_half(Instruction(algo=Algo.IS, slices=1_000, urgency=urgency)) == pytest.approx(part, abs=0.01)
    assert set(HASTE) == set(Urgency)


def test_or_a_risk_aversion() -> None:
    hows = [Instruction(algo=Algo.IS, slices=1_000, risk_aversion=aversion) for aversion in (0.0, 1e-6, 1e-4, 1e-2)]
    parts = [done_by_half(how) for how in hows]
    assert parts[0] == pytest.approx(0.5, abs=0.002)
    assert parts == sorted(parts)
    assert parts[-1] > 0.95


@pytest.mark.parametrize("urgency", list(Urgency))
@pytest.mark.parametrize("duration_s", [60, 3_600, 20_000])
def test_an_is_is_cut_into_equal_quantities_however_long_and_hasty_it_is(urgency: Urgency, duration_s: int) -> None:
    first = accepted(parent(qty="1000", how=Instruction(algo=Algo.IS, urgency=urgency, duration_s=duration_s)))
    found = window_of(first, KNOWN)
    assert isinstance(found, Window)
    curve = plan(first, KNOWN, found)
    assert curve.targets == tuple(Decimal(50 * number) for number in range(1, 21))
    passed = (np.array(curve.times) - found.start) / (found.end - found.start)
    assert remaining(HASTE[urgency], 1.0, passed) == pytest.approx(1.0 - np.arange(20) / 20, abs=1e-6)


@pytest.mark.parametrize("missing", ["adv", "volatility"])
def test_a_risk_aversion_needs_to_know_its_symbol(missing: str) -> None:
    instrument = msgspec.structs.replace(KNOWN, **{missing: None})
    fault = fault_of(accepted(parent(how=Instruction(algo=Algo.IS, risk_aversion=1e-6))), instrument)
    assert fault is not None
    assert "needs adv and volatility of AAPL" in fault
    assert fault_of(accepted(parent(how=Instruction(algo=Algo.IS))), instrument) is None
    assert fault_of(accepted(parent(how=Instruction(algo=Algo.TWAP, risk_aversion=1e-6))), instrument) is None
