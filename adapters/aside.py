"""Work that may never end, beside the event loop: a read of standard input, or of a file on a server that hangs."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


def aside(work: Callable[[], Result], name: str) -> asyncio.Future[Result]:
    """What `work` returns or raises in a thread of its own; unlike asyncio's threads it holds up nobody's end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def answer(tell: Callable[[], None]) -> None:
        if not done.done():  # somebody still waits
            tell()

    def run() -> None:
        try:
            tell = partial(done.set_result, work())
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            tell = partial(done.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(answer, tell)

    Thread(target=run, name=name, daemon=True).start()
    return done
