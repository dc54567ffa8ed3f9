"""What the broker says of the account, held against our own books (Z5).

Our equity moves with each price and each fill, the broker's is as of its report and lags behind until the next one. So
what is carried from report to report is the difference, the broker's equity less ours at that moment, and

    equity = ours + min(0, difference).

Fills that one side has not booked yet, and prices that it has not seen, make differences of a moment; a moment must not
trip a loss. A difference therefore counts as far as two reports in a row have shown it. A report that states no equity
says nothing of it, and those before it stand, however old: silence is no reason to think better of an account.
"""

from decimal import Decimal

import msgspec

from core.events import AccountReported
from core.units import ZERO

CONFIRMED = 2  # reports in a row


class BrokerView:
    """The account by its broker's last reports. An account is at one broker, whose venues all speak of the same."""

    __slots__ = ("gaps", "report", "short")

    def __init__(self) -> None:
        self.report: AccountReported | None = None
        self.gaps: tuple[Decimal, ...] = ()  # the broker's equity less ours, of the last reports; the newest last
        self.short = ZERO  # what is confirmed to be missing at the broker; negative

    def differs(self, most: Decimal) -> bool:
        """Whether it is confirmed that the two equities are more than so much money apart."""
        return len(self.gaps) == CONFIRMED and all(abs(gap) > most for gap in self.gaps)

    def agrees(self, most: Decimal) -> bool:
        """Whether none of the last reports was so far off."""
        return all(abs(gap) <= most for gap in self.gaps)

    def hear(self, event: AccountReported, ours: Decimal) -> None:
        """Take a report over, while our own equity is `ours`."""
        self.report = event
        if event.equity is not None:
            self._show((*self.gaps, event.equity - ours)[-CONFIRMED:])

    def _show(self, gaps: tuple[Decimal, ...]) -> None:
        self.gaps = gaps
        self.short = min(ZERO, max(gaps)) if len(gaps) == CONFIRMED else ZERO

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {"report": msgspec.to_builtins(self.report), "gaps": list(self.gaps)}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Dump)
        self.report = state.report
        self._show(state.gaps)


class _Dump(msgspec.Struct):
    report: AccountReported | None
    gaps: tuple[Decimal, ...]
