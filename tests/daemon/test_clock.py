"""Three clocks: virtual time that is exact and jumps, scaled time that never goes back, and the machine's own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.units import NS_PER_MS, NS_PER_S
from daemon.clock import ClockError, ScaledClock, SimulatedClock, SystemClock, simulated_loop

ORIGIN = 1_741_185_000_000_000_000  # 2025-03-05 14:30 UTC
DAY = 86_400 * NS_PER_S
Result = TypeVar("Result")


def simulate(work: Callable[[SimulatedClock], Awaitable[Result]], origin: int = ORIGIN) -> Result:
    clock = SimulatedClock(origin)
    loop = simulated_loop(clock)
    try:
        return loop.run_until_complete(_run(work, clock))
    finally:
        loop.close()


async def _run(work: Callable[[SimulatedClock], Awaitable[Result]], clock: SimulatedClock) -> Result:
    return await work(clock)


# Simulated ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), max_size=12))
def test_virtual_callbacks_come_by_time_and_then_in_the_order_of_asking(delays: list[int]) -> None:
    async def work(clock: SimulatedClock) -> list[tuple[int, int]]:
        called: list[tuple[int, int]] = []
        for number, delay in enumerate(delays):

            def call(number: int = number) -> None:
                called.append((clock.now() - ORIGIN, number))

            clock.call_at(ORIGIN + delay, call)
        await clock.sleep_until(ORIGIN + 6)
        return called

    assert simulate(work) == sorted((delay, number) for number, delay in enumerate(delays))


def test_sleepers_of_one_instant_wake_in_the_order_in_which_they_lay_down() -> None:
    async def work(clock: SimulatedClock) -> list[str]:
        woken: list[str] = []

        async def sleep(name: str, ts: int) -> None:
            await clock.sleep_until(ORIGIN + ts)
            woken.append(name)

        await asyncio.gather(sleep("late", 9), sleep("first", 5), sleep("second", 5), sleep("third", 5))
        return woken

    assert simulate(work) == ["first", "second", "third", "late"]


@given(st.lists(st.integers(1, 3 * DAY), min_size=1, max_size=20))
def test_virtual_time_is_exact_to_the_nanosecond(moments: list[int]) -> None:
    async def work(clock: SimulatedClock) -> list[int]:
        seen: list[int] = []
        for moment in sorted(moments):
            await clock.sleep_until(ORIGIN + moment)
            seen.append(clock.now() - ORIGIN)
        return seen

    assert simulate(work) == sorted(moments)


def test_asyncio_sleep_keeps_to_the_nanosecond_over_a_day_of_odd_steps() -> None:
    step = 7 * NS_PER_S + 123_456_789

    async def work(clock: SimulatedClock) -> set[int]:
        errors = set()
        for _ in range(DAY // step):
            before = clock.now()
            await asyncio.sleep(step / NS_PER_S)
            errors.add(clock.now() - before - step)
        return errors

    assert simulate(work) <= {-1, 0, 1}


def test_asyncio_timeouts_run_in_virtual_time() -> None:
    async def work(clock: SimulatedClock) -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3_600):
                await asyncio.get_running_loop().create_future()
        async with asyncio.timeout(10):
            await asyncio.sleep(9)
        return clock.now() - ORIGIN

    before = time.monotonic()
    assert simulate(work) == 3_609 * NS_PER_S
    assert time.monotonic() - before < 60  # an hour was not slept


def test_time_stands_still_while_anything_can_run() -> None:
    async def work(clock: SimulatedClock) -> int:
        clock.call_at(ORIGIN + 1, lambda: None)
        for _ in range(1_000):
            await asyncio.sleep(0)
        return clock.now()

    assert simulate(work) == ORIGIN


def test_a_moment_that_has_passed_is_not_slept_for_and_a_callback_for_it_comes_now() -> None:
    async def work(clock: SimulatedClock) -> list[int]:
        seen: list[int] = []
        await clock.sleep_until(ORIGIN - 5)
        seen.append(clock.now())
        clock.call_at(ORIGIN - 5, lambda: seen.append(clock.now()))
        await clock.sleep_until(ORIGIN + 5)
        return seen

    assert simulate(work) == [ORIGIN, ORIGIN]


def test_a_cancelled_sleeper_is_gone_and_the_others_wake_in_time() -> None:
    async def work(clock: SimulatedClock) -> tuple[bool, int]:
        first = asyncio.create_task(clock.sleep_until(ORIGIN + 10))
        second = asyncio.create_task(clock.sleep_until(ORIGIN + 20))
        await asyncio.sleep(0)
        first.cancel()
        await second
        return first.cancelled(), clock.now()

    assert simulate(work) == (True, ORIGIN + 20)


def test_a_simulation_that_waits_for_nothing_says_so_instead_of_hanging() -> None:
    async def work(clock: SimulatedClock) -> None:
        await clock.sleep_until(ORIGIN + 10)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="waits for something that will never happen"):
        simulate(work)


def test_a_simulation_goes_on_from_the_newest_event_on_record() -> None:
    clock = SimulatedClock(ORIGIN)
    clock.not_before(ORIGIN + 7)
    assert clock.now() == ORIGIN + 7
    clock.not_before(ORIGIN + 3)
    assert clock.now() == ORIGIN + 7


# Scaled ---------------------------------------------------------------------------------------------------------------


class Monotonic:
    """Stands for the machine's monotonic clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ns = 50
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.ns)


def test_a_scaled_clock_begins_at_its_origin_when_it_is_first_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Monotonic(monkeypatch)
    clock = ScaledClock(ORIGIN, 1_000)
    machine.ns += NS_PER_S  # recovery takes a second of the machine's time, and none of the market's
    assert clock.now() == ORIGIN
    machine.ns += 3
    assert clock.now() == ORIGIN + 3_000


@given(st.lists(st.one_of(st.integers(0, 10), st.tuples(st.integers(-50_000, 50_000))), max_size=30))
def test_a_scaled_clock_never_goes_back(steps: list[int | tuple[int]]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        machine = Monotonic(monkeypatch)
        clock = ScaledClock(ORIGIN, 1_000)
        last = ORIGIN
        for step in steps:
            if isinstance(step, tuple):
                clock.not_before(ORIGIN + step[0])
                assert clock.now() >= ORIGIN + step[0]
            else:
                machine.ns += step
            assert clock.now() >= last
            last = clock.now()


@pytest.mark.parametrize("scale", [0, -1, 100_001])
def test_a_scale_out_of_bounds_is_refused(scale: int) -> None:
    with pytest.raises(ValueError, match=f"clock scale {scale} is not between 1 and 100,000"):
        ScaledClock(ORIGIN, scale)


async def test_a_scaled_clock_sleeps_a_market_second_in_a_millisecond() -> None:
    clock = ScaledClock(ORIGIN, 1_000)
    await clock.sleep_until(ORIGIN + NS_PER_S)
    assert clock.now() >= ORIGIN + NS_PER_S


# System ---------------------------------------------------------------------------------------------------------------


def test_the_system_clock_refuses_a_journal_from_the_future() -> None:
    clock = SystemClock()
    with pytest.raises(ClockError, match="is 3,600 s in the future: check this machine's clock"):
        clock.not_before(clock.now() + 3_600 * NS_PER_S + NS_PER_S // 10)


def test_the_system_clock_goes_on_from_a_journal_that_is_a_little_ahead() -> None:
    clock = SystemClock()
    newest = clock.now() + NS_PER_S // 2
    clock.not_before(newest)
    assert clock.now() >= newest


def test_the_system_clock_takes_an_old_journal_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    Monotonic(monkeypatch)
    clock = SystemClock()
    before = clock.now()
    clock.not_before(before - DAY)
    assert clock.now() == before


def test_a_stepped_wall_clock_does_not_step_the_system_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Monotonic(monkeypatch)
    monkeypatch.setattr(time, "time_ns", lambda: ORIGIN)
    clock = SystemClock()
    monkeypatch.setattr(time, "time_ns", lambda: ORIGIN - 3_600 * NS_PER_S)
    machine.ns += 5
    assert clock.now() == ORIGIN + 5


async def test_callbacks_of_one_instant_come_in_the_order_of_asking() -> None:
    clock = SystemClock()
    called: list[int] = []
    done = asyncio.Event()
    due = clock.now() + 3 * NS_PER_MS
    clock.call_at(due + 1, done.set)
    for number in range(300):
        clock.call_at(due, partial(called.append, number))
    await done.wait()
    assert called == list(range(300))
    assert clock.now() > due


async def test_an_early_timer_of_the_loop_does_not_call_early(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Monotonic(monkeypatch)
    clock = SystemClock()
    called: list[int] = []
    loop = asyncio.get_running_loop()
    asked: list[float] = []

    def early(delay: float, callback: Callable[..., object], *args: object) -> None:
        asked.append(delay)
        machine.ns += int(delay * NS_PER_S) * 3 // 4  # the loop's timer comes at three quarters of the time
        loop.call_soon(callback, *args)

    monkeypatch.setattr(loop, "call_later", early)
    due = clock.now() + 1_000
    clock.call_at(due, lambda: called.append(clock.now()))
    while not called:
        machine.ns += 1
        await asyncio.sleep(0)
    assert called[0] >= due
    assert len(asked) > 1
