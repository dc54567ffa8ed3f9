"""One timer for all actors: it wakes at the earliest due time that any of them names and publishes `TimeAdvanced`."""

from collections.abc import Callable

from adapters.clock import Clock
from core.events import TimeAdvanced

NextDue = Callable[[], int | None]


class Timer:
    """Re-armed whenever the bus has come to rest."""

    __slots__ = ("_armed", "_clock", "_closed", "_next_dues", "_publish")

    def __init__(self, clock: Clock, publish: Callable[[TimeAdvanced], None], *next_dues: NextDue) -> None:
        self._clock = clock
        self._publish = publish
        self._next_dues = next_dues
        self._armed: int | None = None  # the earliest wake that is on its way
        self._closed = False

    def arm(self) -> None:
        """Make sure of a wake at the earliest due time; a call that finds one on its way is cheap."""
        due = min((ts for next_due in self._next_dues if (ts := next_due()) is not None), default=None)
        if due is not None and (self._armed is None or due < self._armed):
            self._armed = due
            self._clock.call_at(due, lambda: self._wake(due))

    def close(self) -> None:
        """Publish nothing more."""
        self._closed = True

    def _wake(self, due: int) -> None:
        if self._closed or due != self._armed:
            return  # overtaken by an earlier wake, which has armed anew
        self._armed = None
        now = self._clock.now()
        if any(ts is not None and ts <= now for ts in (next_due() for next_due in self._next_dues)):
            self._publish(TimeAdvanced(ts=now))  # the bus arms again once it has come to rest
        else:
            self.arm()
