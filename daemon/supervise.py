"""Keeps an edge alive: a task that raises is started again, later and later; the rest of the daemon goes on."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

FIRST_DELAY_S = 0.5
LAST_DELAY_S = 30.0

_log = structlog.get_logger()


async def supervise(name: str, work: Callable[[], Awaitable[None]], *, fatal: tuple[type[Exception], ...] = ()) -> None:
    """Run `work` until it returns. What it raises is logged and it is started again; `fatal` errors are raised on."""
    delay_s = FIRST_DELAY_S
    while True:
        try:
            return await work()
        except fatal:
            raise
        except Exception as error:  # noqa: BLE001 - an edge must not take the others with it
            _log.error("edge failed", edge=name, error=f"{type(error).__name__}: {error}", again_in_s=delay_s)
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, LAST_DELAY_S)
