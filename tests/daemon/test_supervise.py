"""An edge that fails is started again, later and later; what is fatal is raised on."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from core.units import NS_PER_S
from daemon.clock import SimulatedClock, simulated_loop
from daemon.supervise import FIRST_DELAY_S, LAST_DELAY_S, supervise


class Edge:
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
    edge = Edge(clock, *errors)
    loop = simulated_loop(clock)
    try:
        loop.run_until_complete(supervise("edge", edge.work, fatal=fatal))
    finally:
        loop.close()
    return edge.started_s


def test_work_that_returns_is_not_started_again() -> None:
    assert run() == [0]


def test_work_that_fails_is_started_again_later_and_later() -> None:
    pauses = [0.5, 1, 2, 4, 8, 16, 30, 30]
    started = run(*[ValueError("no")] * len(pauses))
    assert [b - a for a, b in pairwise(started)] == pauses
    assert (pauses[0], pauses[-1]) == (FIRST_DELAY_S, LAST_DELAY_S)


def test_what_is_fatal_is_raised_on() -> None:
    with pytest.raises(FileNotFoundError):
        run(ValueError("no"), FileNotFoundError("gone"), fatal=(OSError,))


def test_a_cancelled_edge_stays_cancelled() -> None:
    async def cancelled(work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(supervise("edge", work))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    asyncio.run(cancelled(for_ever))
