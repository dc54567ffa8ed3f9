"""Keeps an edge alive: a task that raises is started again, later and later; the rest of the daemon goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

FIRST_DELAY_S = 0.5
LAST_DELAY_S = 5.0  # a server that is back must not wait longer for us
CANCEL_AGAIN_S = 0.5  # time for who closes a connection in good order
STEADY_S = 2 * LAST_DELAY_S  # who has worked for so long without failing is up

_log = structlog.get_logger()


class Edge:
    """A named piece of work that waits for the world outside.

    `depth` is what waits in its mailbox, `handled` what it has done. `early`: it works from the first moment of a run,
    before recovery. What is `fatal` ends the run; anything else that the work raises is logged, and it begins anew.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        depth: Callable[[], int] = int,
        handled: Callable[[], int] = int,
        early: bool = False,
        fatal: tuple[type[Exception], ...] = (),
    ) -> None:
        self.name = name
        self.depth = depth
        self.handled = handled
        self.early = early
        self.failures = 0  # in all
        self.error = ""  # why it is down; empty: it works
        self._work = work
        self._fatal = fatal
        self._delay_s = FIRST_DELAY_S

    async def supervise(self) -> None:
        """Work until it returns, or raises what is fatal."""
        while True:
            steady = asyncio.get_running_loop().call_later(STEADY_S, self._recovered)
            try:
                return await self._work()
            except self._fatal:
                raise
            except Exception as error:  # noqa: BLE001 - an edge must not take the others with it
                self._failed(f"{type(error).__name__}: {error}")
            finally:
                steady.cancel()
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(self._delay_s * 2, LAST_DELAY_S)

    def _failed(self, error: str) -> None:
        """Say it once, not at each attempt."""
        self.failures += 1
        if error != self.error:
            _log.error("edge is down", edge=self.name, error=error)
        self.error = error

    def _recovered(self) -> None:
        if self.error:
            _log.warning("edge is up again", edge=self.name)
        self.error = ""
        self._delay_s = FIRST_DELAY_S


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel all of them, and return once they have ended, however they did.

    Again and again: one cancellation may get lost in a library (`asyncio.wait_for` of Python 3.11 takes one that comes
    together with its result for the result), and the task would work for ever.
    """
    pending = ended = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*ended, return_exceptions=True)  # what they raised is no news
