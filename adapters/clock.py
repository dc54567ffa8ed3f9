"""What an edge may ask of time; the clocks themselves are the daemon's."""

from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """The time of the run: the system's, a scaled one, or a simulated one."""

    def now(self) -> int:
        """Now, ns UTC; never goes back."""
        ...

    async def sleep_until(self, ts: int) -> None:
        """Return once `now() >= ts`; at once where it is already so."""
        ...

    def call_at(self, ts: int, callback: Callable[[], None]) -> None:
        """Call back once `now() >= ts`, in the order of `ts` and then of asking."""
        ...
