"""An edge that fails is started again, later and later; what is fatal is raised on."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise

import pytest

from core.units import NS_PER_S
from daemon.clock import SimulatedClock, simulated_loop
from daemon.supervise import CANCEL_AGAIN_S, FIRST_DELAY_S, LAST_DELAY_S, Edge, end


class Work:
    """Fails in these ways, one after the other, then works; remembers when it was started."""

    def __init__(self, clock: SimulatedClock, *errors: BaseException) -> None:
        self.clock = clock
        self.errors = list(errors)
        self.started_s: list[float] = []

    async def work(self) -> None:
        self.started_s.append(self.clock.now() / NS_PER_S)
        if self.errors:
            raise self.errors.pop(0)


def run(*errors: BaseException, fatal: tuple[type[Exception], ...] = ()) -> list[float]:
    clock = SimulatedClock(0)
    work = Work(clock, *errors)
    loop = simulated_loop(clock)
    try:
        loop.run_until_complete(Edge("edge", work.work, fatal=fatal).supervise())
    finally:
        loop.close()
    return work.started_s


def test_work_that_returns_is_not_started_again() -> None:
    assert run() == [0]


def test_work_that_fails_is_started_again_later_and_later() -> None:
    pauses = [0.5, 1, 2, 4, 5, 5]
    started = run(*[ValueError("no")] * len(pauses))
    assert [b - a for a, b in pairwise(started)] == pauses
    assert (pauses[0], pauses[-1]) == (FIRST_DELAY_S, LAST_DELAY_S)


def test_what_is_fatal_is_raised_on() -> None:
    with pytest.raises(FileNotFoundError):
        run(ValueError("no"), FileNotFoundError("gone"), fatal=(OSError,))


def test_a_cancelled_edge_stays_cancelled() -> None:
    async def cancelled(work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(Edge("edge", work).supervise())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    asyncio.run(cancelled(for_ever))


def test_who_loses_a_cancellation_is_cancelled_again() -> None:
    """As `asyncio.wait_for` of Python 3.11 does when its result comes in the same moment."""

    async def deaf(times: int) -> None:
        for _ in range(times):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1e6)
        await asyncio.sleep(1e6)

    async def broken() -> None:
        raise RuntimeError

    async def returns() -> int:
        return 1

    async def scene() -> tuple[float, list[str]]:
        tasks = [asyncio.create_task(work) for work in (deaf(0), deaf(3), broken(), returns())]
        await asyncio.sleep(0)
        await end(tasks)
        return asyncio.get_running_loop().time(), ["cancelled" if task.cancelled() else "over" for task in tasks]

    loop = simulated_loop(SimulatedClock(0))
    try:
        at_s, ends = loop.run_until_complete(scene())
    finally:
        loop.close()
    assert ends == ["cancelled", "cancelled", "over", "over"]
    assert at_s == 3 * CANCEL_AGAIN_S


def test_nothing_to_end_is_done_at_once() -> None:
    asyncio.run(end([]))
