"""Work beside the loop: what it returns or raises is heard of, and work that never ends holds up nothing."""

import asyncio
from threading import Event

import pytest

from adapters.aside import aside


async def test_what_it_returns_is_the_result() -> None:
    assert await aside(lambda: 7, "sum") == 7


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)], ids=repr)
async def test_what_it_raises_is_raised(error: BaseException) -> None:
    def fail() -> None:
        raise error

    done = aside(fail, "sum")
    await asyncio.wait({done})
    assert done.exception() is error


def test_work_that_never_ends_does_not_hold_up_the_end_of_the_program() -> None:
    ended = Event()

    async def give_up() -> None:
        aside(ended.wait, "never")

    asyncio.run(give_up())  # which waits for asyncio's own threads
    ended.set()
