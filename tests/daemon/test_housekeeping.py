"""The interpreter's settings while a daemon runs: what survives is looked at again only when nothing trades."""

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from daemon.clock import SimulatedClock, simulated_loop
from daemon.housekeeping import EVERY_S, SWITCH_S, THRESHOLDS, WHOLE_S, Housekeeper

MARGIN_S = 2 * EVERY_S


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """No test leaves the interpreter in other order than it found it."""
    before = gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count()
    yield
    assert (gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count()) == before


def keeping_house(idle: Callable[[], bool], *steps: tuple[float, Callable[[], object]]) -> None:
    """Run a housekeeper in virtual time; so many seconds after its start, in order, something happens."""
    loop = simulated_loop(SimulatedClock(0))

    async def act() -> None:
        task = asyncio.create_task(Housekeeper(idle).run())
        for at_s, step in steps:
            await asyncio.sleep(at_s - loop.time())
            step()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    try:
        loop.run_until_complete(act())
    finally:
        loop.close()


class Node:
    """Part of a circle that only the collector can find."""

    def __init__(self) -> None:
        self.me = self


def test_its_settings_hold_while_it_runs_and_are_as_they_were_afterwards() -> None:
    seen: list[object] = []

    def look() -> None:
        seen.append((gc.get_threshold(), round(sys.getswitchinterval(), 6), gc.get_freeze_count() > 0))

    keeping_house(lambda: False, (0.5, look), (3 * EVERY_S, look))
    assert seen == [(THRESHOLDS, SWITCH_S, True)] * 2


@pytest.mark.parametrize("idle", [True, False])
def test_a_circle_that_survived_is_found_once_nothing_trades(*, idle: bool) -> None:
    nodes = [Node()]
    circle = weakref.ref(nodes[0])
    found: list[bool] = []

    def look() -> None:
        found.append(circle() is None)

    at_s = 3 * EVERY_S + 0.5
    keeping_house(lambda: idle, (at_s, nodes.clear), (WHOLE_S - MARGIN_S, look), (WHOLE_S + MARGIN_S, look))
    assert found == [False, idle]


def test_a_circle_of_the_last_second_is_found_also_while_something_trades() -> None:
    circles: list[weakref.ref[Node]] = []
    found: list[bool] = []
    keeping_house(
        lambda: False,
        (0.5, lambda: circles.append(weakref.ref(Node()))),
        (0.5 + MARGIN_S, lambda: found.append(circles[0]() is None)),
    )
    assert found == [True]
