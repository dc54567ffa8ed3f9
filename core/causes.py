"""What may hold trading back: the table of causes, how strict each is, and how each ends.

The state of trading is that of the strictest live cause (`core.trading`). A cause is latched in the journal until it is
ended by its own rule, over restarts too:

| state    | opening children | reducing children | working orders                             | parents           |
| ACTIVE   | go               | go                | stand                                      | follow their curves |
| REDUCING | denied           | go                | those that open are cancelled              | those that open pause |
| HALTED   | denied           | denied, but for an operator's flatten | as the cause says      | pause             |

*Reducing* is a child that shrinks the position in whatever order everything that works is filled; every other one
*opens*. A cancel is never gated. A pause does not move a parent's end.
"""

from enum import StrEnum

import msgspec


class TradingState(StrEnum):
    """What may be sent: everything, only what reduces a position, nothing."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


class WorkingOrders(StrEnum):
    """What becomes of the orders that work when a cause appears."""

    STAND = "STAND"
    CANCEL_OPENING = "CANCEL_OPENING"  # all that may enlarge a position
    CANCEL_ALL = "CANCEL_ALL"


class Release(StrEnum):
    """What ends a cause."""

    RECOVERY = "RECOVERY"  # the start is done
    ITSELF = "ITSELF"  # contact is back, the venues are reconciled, and a while has passed
    CAUGHT_UP = "CAUGHT_UP"  # what waited is written
    OPERATOR = "OPERATOR"  # `execd resume`, after reconciliation; refused while the key or the file of a halt exists
    DAY_ROLL = "DAY_ROLL"  # the account's next day begins
    MARK_RESET = "MARK_RESET"  # somebody resets the high-water mark by name
    AGREEMENT = "AGREEMENT"  # two reports of the broker in a row agree with our books, and there is equity


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One cause: who looks after it, what it does, what ends it."""

    state: TradingState
    working: WorkingOrders
    release: Release
    owner: str
    meaning: str

    @property
    def holds_signals(self) -> bool:
        """Whether sources wait it out: what passes by itself is no reason to refuse a signal."""
        return self.release in {Release.RECOVERY, Release.ITSELF, Release.CAUGHT_UP}


_H, _W, _R = TradingState.HALTED, WorkingOrders, Release

STARTUP, KILL = "startup", "kill"
DAILY_LOSS, DRAWDOWN, ACCOUNT = "daily_loss", "drawdown", "account"
REJECTS, FAILURES, SLIPPAGE = "rejects", "failures", "slippage"
REDIS, JOURNAL, BACKLOG, FEED = "redis", "journal", "backlog", "feed"

CAUSES: dict[str, Cause] = {
    STARTUP: Cause(
        state=_H,
        working=_W.STAND,
        release=_R.RECOVERY,
        owner="recovery",
        meaning="the daemon starts: books are recovered, venues are asked",
    ),
    KILL: Cause(
        state=_H,
        working=_W.CANCEL_ALL,
        release=_R.OPERATOR,
        owner="operator",
        meaning="somebody stopped trading: the halt key, the halt file, SIGUSR1, or `execd halt`",
    ),
    DRAWDOWN: Cause(
        state=_H,
        working=_W.CANCEL_OPENING,
        release=_R.MARK_RESET,
        owner="risk officer",
        meaning="equity fell too far below its high-water mark",
    ),
    DAILY_LOSS: Cause(
        state=TradingState.REDUCING,
        working=_W.CANCEL_OPENING,
        release=_R.DAY_ROLL,
        owner="risk officer",
        meaning="the day has lost what a day may lose",
    ),
    REJECTS: Cause(
        state=TradingState.REDUCING,  # what is held may still be left, where the venue takes that
        working=_W.CANCEL_OPENING,
        release=_R.OPERATOR,
        owner="operator",
        meaning="a venue rejected too many orders in a short time: what we send it is wrong, or it is",
    ),
    FAILURES: Cause(
        state=TradingState.REDUCING,
        working=_W.CANCEL_OPENING,
        release=_R.OPERATOR,
        owner="operator",
        meaning="too many orders in a short time did not reach a venue, or nobody knows whether they did",
    ),
    SLIPPAGE: Cause(
        state=TradingState.REDUCING,
        working=_W.CANCEL_OPENING,
        release=_R.OPERATOR,
        owner="operator",
        meaning="a venue executed too often in a short time far beyond the quote by which orders were approved",
    ),
    ACCOUNT: Cause(
        state=TradingState.REDUCING,
        working=_W.CANCEL_OPENING,
        release=_R.AGREEMENT,
        owner="risk officer",
        meaning="the broker's equity and ours are too far apart, or nothing is left of it",
    ),
    REDIS: Cause(
        state=_H,
        working=_W.CANCEL_OPENING,
        release=_R.ITSELF,
        owner="operations",
        meaning="the halt key cannot be read: Redis is away, silent or refuses us",
    ),
    JOURNAL: Cause(
        state=_H,
        working=_W.CANCEL_OPENING,
        release=_R.ITSELF,
        owner="operations",
        meaning="the database is away: nothing that is decided becomes durable",
    ),
    BACKLOG: Cause(
        state=_H,
        working=_W.STAND,  # to take back and send again what works would make it longer
        release=_R.CAUGHT_UP,
        owner="operations",
        meaning="what is decided waits too long for the database: more is decided than it can write",
    ),
    FEED: Cause(
        state=_H,
        working=_W.CANCEL_OPENING,
        release=_R.ITSELF,
        owner="operations",
        meaning="market data is stale: no quote of any instrument in session",
    ),
}
