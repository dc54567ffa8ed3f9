"""The latch on the way out: closed from any thread in an instant, open again once the bus has heard why.

A halt must not wait for the event loop to finish what it is doing. Whoever hears of one closes the latch at once, in
whatever thread he lives, and then publishes what he heard; from the moment on in which that is folded, the state of
trading itself keeps the way shut.

Even a thread that hears waits for the interpreter while the loop computes. So the latch can `peek` besides: whether
something has come for that thread that it has not read yet.
"""

from collections.abc import Callable


def nothing_new() -> bool:
    """Nobody listens: nothing can have come."""
    return False


class Latch:
    """One thread trips it, the event loop's thread answers."""

    __slots__ = ("_early", "_heard", "_tripped", "peek")

    def __init__(self) -> None:
        self._tripped = 0  # written by the watching thread only
        self._heard = 0  # up to here all is folded; written by the loop's thread only
        self._early: set[int] = set()  # folded, while something that closed it before is not; likewise
        self.peek: Callable[[], bool] = nothing_new

    @property
    def is_closed(self) -> bool:
        """Whether something was heard, or can be, that the bus does not know yet."""
        # in this order: who hears trips first and reads then, and until it is read, a peek sees it
        return self.peek() or self._tripped != self._heard

    def trip(self) -> int:
        """Close; the number is for `hear`."""
        self._tripped += 1
        return self._tripped

    def hear(self, number: int) -> None:
        """What closed it is folded; it opens once all that closed it before is so too."""
        if number > self._heard:
            self._early.add(number)
        while self._heard + 1 in self._early:
            self._heard += 1
            self._early.remove(self._heard)
