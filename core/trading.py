"""Whether trading is allowed: the strictest of the live causes decides, and each cause ends by its own rule."""

from core.causes import CAUSES, TradingState
from core.events import TradingHalted, TradingResumed

_STRICTNESS = (TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED)


class Causes:
    """The causes that hold trading back at the moment; a fold over `TradingHalted` and `TradingResumed`."""

    __slots__ = ("_live", "state")

    def __init__(self) -> None:
        self._live: dict[str, TradingState] = {}
        self.state = TradingState.ACTIVE

    def halt(self, event: TradingHalted) -> None:
        """A cause appears, or changes how strict it is."""
        self._live[event.cause] = event.state
        self._settle()

    def resume(self, event: TradingResumed) -> None:
        """A cause ends; trading is as strict as the strictest of the rest."""
        self._live.pop(event.cause, None)
        self._settle()

    def _settle(self) -> None:
        self.state = max(self._live.values(), key=_STRICTNESS.index, default=TradingState.ACTIVE)

    def __contains__(self, cause: str) -> bool:
        return cause in self._live

    def names(self) -> list[str]:
        """The live causes, for people."""
        return sorted(self._live)

    def dump(self) -> dict[str, str]:
        """State for a snapshot."""
        return {cause: state.value for cause, state in sorted(self._live.items())}

    def load(self, dumped: dict[str, str]) -> None:
        """State from a snapshot."""
        self._live = {cause: TradingState(state) for cause, state in dumped.items()}
        self._settle()


def halted(cause: str, now: int, *, text: str, by: str = "") -> TradingHalted:
    """The event with which a cause of the table appears."""
    rule = CAUSES[cause]
    return TradingHalted(ts=now, cause=cause, state=rule.state, working=rule.working, by=by, text=text)
