"""Every event of the daemon, with one encoder and one decoder.

Inputs are what the world said: signals, market data, raw reports, the passing of time. Everything else is a fact that
an actor decided or booked. Each carries `ts`, ns UTC; an effect carries the time of its cause. The position of an event
in the total order, `seq`, is the bus's business and travels beside the event.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from core.causes import TradingState, WorkingOrders
from core.orders import ExecType, OrdStatus, OrdType, Side, TimeInForce
from core.signals import Algo, Change, Instruction, Signal
from core.units import bps_of


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """What happened, at `ts`."""

    ts: int


# Inputs: the world speaks ---------------------------------------------------------------------------------------------


class DaemonStarted(Event, frozen=True, tag=True):
    """A run begins, on this configuration; recovery begins at the last one."""

    version: str
    config_hash: str
    world: str  # live, paper or simulation
    account: str


class AccountOpened(Event, frozen=True, tag=True):
    """Cash to start from, once per account."""

    account: str
    cash: Decimal
    currency: str


class SignalReceived(Event, frozen=True, tag=True):
    """A well-formed signal, as its source handed it over."""

    source: str
    signal: Signal


class SignalDead(Event, frozen=True, tag=True):
    """Input that was no signal; kept as a dead letter."""

    source: str
    reason: str
    text: str


class SignalGap(Event, frozen=True, tag=True):
    """A publisher's count has a gap: `missing` signals before the one numbered `before` never came on this source."""

    source: str
    strategy: str
    missing: int
    before: int


class MarketData(Event, frozen=True, tag=True):
    """The market of one symbol since its previous event. `high`, `low` None and sums zero where nothing traded."""

    symbol: str
    bid: Decimal | None
    bid_size: Decimal
    ask: Decimal | None
    ask_size: Decimal
    last: Decimal | None
    high: Decimal | None
    low: Decimal | None
    volume: Decimal
    notional: Decimal
    trades: int

    @property
    def mid(self) -> Decimal | None:
        """Middle of a two-sided market that is not crossed; the last price in a one-sided one; None without either."""
        if self.bid is not None and self.ask is not None and self.bid <= self.ask:
            return (self.bid + self.ask) / 2
        return self.last


class TimeAdvanced(Event, frozen=True, tag=True):
    """A due time of some actor has come."""


class ExecutionReport(Event, frozen=True, tag=True):
    """What a venue said of an order; raw: only the oms reads it, and de-duplicates."""

    venue: str
    exec_type: ExecType  # 150
    cl_ord_id: str  # 11
    order_id: str = ""  # 37
    exec_id: str = ""  # 17, of an execution
    ord_status: OrdStatus | None = None  # 39, as mapped by the gateway
    last_qty: Decimal = Decimal(0)  # 32
    last_px: Decimal = Decimal(0)  # 31
    cum_qty: Decimal | None = None  # 14, where the venue states it
    fee: Decimal = Decimal(0)  # positive: paid
    text: str = ""  # 58


class Outcome(StrEnum):
    """How an attempt to send ended: by what the venue may have done."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    NOT_SENT = "NOT_SENT"
    UNKNOWN = "UNKNOWN"
    LAPSED = "LAPSED"  # ours: the last check before the write refused


class AccountReported(Event, frozen=True, tag=True):
    """How the account stands by its broker's own books. What the broker knew by `as_of` is in its figures."""

    venue: str
    as_of: int  # ns: when it was asked
    cash: Decimal
    equity: Decimal | None  # cash and positions at the broker's marks; None where it does not say
    buying_power: Decimal | None  # for what opens, all orders that the broker knows deducted; None likewise
    currency: str


class VenueAway(Event, frozen=True, tag=True):
    """A venue could not be asked how the account stands. It is back with the next thing that it says."""

    venue: str
    text: str


class SubmitResult(Event, frozen=True, tag=True):
    """The end of one attempt to send an approved order; raw: only the oms reads it."""

    venue: str
    cl_ord_id: str
    outcome: Outcome
    order_id: str = ""
    text: str = ""


class TradingHalted(Event, frozen=True, tag=True):
    """A cause of `core.causes` holds trading back, and what becomes of the orders that work."""

    cause: str
    state: TradingState  # REDUCING or HALTED
    working: WorkingOrders = WorkingOrders.STAND
    by: str = ""  # who did it, where it was somebody
    text: str = ""


class HaltReport(Event, frozen=True, tag=True):
    """Behind a halt that takes everything back: what still works or is in doubt; nothing: it is quiet.

    Times are of the machine, from the moment in which the halt was heard; 0: nothing left after it, it is not quiet.
    """

    cause: str
    left: tuple[str, ...]  # the first of them
    left_count: int
    last_order_us: int  # until the last order's first byte
    last_cancel_us: int
    quiet_us: int  # until the venues showed nothing, for the first of two times in a row


class TradingResumed(Event, frozen=True, tag=True):
    """A cause has ended; others may remain."""

    cause: str
    by: str = ""


class DayRolled(Event, frozen=True, tag=True):
    """The account's next day begins: its losses are measured from this equity."""

    day: str  # YYYY-MM-DD, UTC
    equity: Decimal


class HighWaterMarkReset(Event, frozen=True, tag=True):
    """Somebody had a look after a drawdown, and wants drawdowns measured from this equity on."""

    equity: Decimal
    by: str


class CashMoved(Event, frozen=True, tag=True):
    """Cash came into the account from outside, or left it where the amount is negative: neither gain nor loss."""

    amount: Decimal
    cash: Decimal  # the account's, after it
    by: str
    reason: str


class PositionAdjusted(Event, frozen=True, tag=True):
    """`denominator` shares of a symbol have become `numerator`, as by a split: neither gain nor loss.

    Every position in it is so much larger, at a price so much lower; what was quoted before means nothing any more.
    """

    symbol: str
    numerator: int
    denominator: int
    by: str
    reason: str


class RiskModelSet(Event, frozen=True, tag=True):
    """Orders are judged by this model from now on: scenarios, made of daily returns beside the event loop.

    The scenarios themselves do not travel; `version` is a name for exactly these numbers.
    """

    version: str
    date: str  # YYYY-MM-DD, of the newest day
    symbols: int
    scenarios: int
    recent: tuple[str, ...]  # the market's regime by each of the last days, oldest first
    proxies: tuple[str, ...] = ()  # symbols of which days are missing and were filled by their sector


class RegimeSet(Event, frozen=True, tag=True):
    """Somebody says what the market's regime is; empty: the data says it again."""

    regime: str
    by: str


class LimitsSet(Event, frozen=True, tag=True):
    """Orders are judged by these limits from now on: all of them, as JSON has them, and a name for exactly them."""

    version: str
    limits: dict[str, Any]
    by: str  # who had them read again; `start`: a run began with them


class ShadowSet(Event, frozen=True, tag=True):
    """Beside the limits in force these judge from now on, for the record alone; empty: none do."""

    version: str  # as of limits in force; empty: none
    limits: dict[str, Any]  # all of them, as JSON has them
    by: str  # as of limits in force


class StrategyStopped(Event, frozen=True, tag=True):
    """A strategy did the same too often: nothing more of it is accepted until a person lets it go on."""

    strategy: str
    text: str


class StrategyResumed(Event, frozen=True, tag=True):
    """Somebody had a look at a strategy that was stopped, and lets it go on."""

    strategy: str
    by: str


class FlattenRequested(Event, frozen=True, tag=True):
    """A supervisor wants a position closed while trading is halted or reducing; `symbol` empty: every position."""

    request_id: str
    by: str
    symbol: str = ""


class CommandGiven(Event, frozen=True, tag=True):
    """Somebody commanded something over the control socket, and what became of it."""

    by: str
    role: str
    command: str
    done: bool  # False: refused
    text: str = ""


class BreakFound(Event, frozen=True, tag=True):
    """Our books and the venue's differ in a way that no report explains; the symbol is quarantined."""

    venue: str
    kind: str
    symbol: str
    text: str


class ExecutionKey(msgspec.Struct, frozen=True):
    """An execution as its venue names it."""

    venue: str
    exec_id: str


class SymbolReleased(Event, frozen=True, tag=True):
    """Somebody had a look at a symbol in quarantine, and positions agree: it trades again.

    `executions` are those that one side has and the other has not: they are no breaks any more.
    """

    symbol: str
    by: str
    reason: str
    executions: tuple[ExecutionKey, ...] = ()


# Sizing ---------------------------------------------------------------------------------------------------------------


class SignalAccepted(Event, frozen=True, tag=True):
    """The signal acts: its key is taken, for the horizon of de-duplication."""

    signal_id: str
    strategy: str
    digest: str


class SignalIgnored(Event, frozen=True, tag=True):
    """The signal is sound and asks for nothing: a repeat, too weak, already there, below the smallest trade."""

    signal_id: str
    strategy: str
    reason: str
    text: str = ""


class SignalRefused(Event, frozen=True, tag=True):
    """The signal cannot be acted on; kept as a dead letter."""

    signal_id: str
    strategy: str
    reason: str
    text: str = ""


class StopSet(Event, frozen=True, tag=True):
    """The daemon holds a stop, in the place of an earlier one: what its strategy holds is closed once it is reached."""

    stop_id: str  # of its signal
    signal_ts: int
    strategy: str
    symbol: str
    side: Side  # of the exit
    stop_px: Decimal | None  # 99; of the three one is given
    trail: Decimal | None
    trail_fraction: Decimal | None
    limit_offset: Decimal | None
    how: Instruction
    price: Decimal  # of the market, where a trail begins
    valid_until: int | None = None  # ns


class StopTriggered(Event, frozen=True, tag=True):
    """A stop fires: its price was reached twice in a row. Its exit follows what `takes_back` leaves."""

    stop_id: str
    strategy: str
    symbol: str
    side: Side
    stop_px: Decimal  # of a trailing one where it was by then
    prices: tuple[Decimal, ...]  # the two that confirm it, oldest first
    source: str  # of the prices: last or quote
    takes_back: tuple[str, ...]  # parents of the strategy in the symbol, which end now


class StopSuspended(Event, frozen=True, tag=True):
    """A stop no longer fires: its price may mean something else by now. A new stop signal takes its place."""

    stop_id: str
    strategy: str
    symbol: str
    text: str


class StopRearmed(Event, frozen=True, tag=True):
    """A stop whose exit left something, or could not go, is held again, and fires no earlier than `not_before`."""

    stop_id: str
    strategy: str
    symbol: str
    attempt: int  # the number of that exit, from one on; 0: it fired, and no exit was asked for
    left_qty: Decimal  # that could still be closed
    not_before: int  # ns
    text: str  # why it was left


class StopEnd(StrEnum):
    """Why a stop ended."""

    REPLACED = "REPLACED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FLAT = "FLAT"  # its strategy holds nothing that it could close, and nothing is on its way


class StopEnded(Event, frozen=True, tag=True):
    """A stop is over, and closes nothing more."""

    stop_id: str
    strategy: str
    symbol: str
    reason: StopEnd


class ExitRequested(Event, frozen=True, tag=True):
    """A stop that fired wants closed what its strategy still holds."""

    stop_id: str
    signal_ts: int  # when it fired, as the exit was decided then
    strategy: str
    symbol: str
    side: Side
    how: Instruction  # with the limit of a stop that has one
    attempt: int = 0  # which of its exits, from one on; 0: by a version in which the stop was over then


class ParentOrder(Event, frozen=True, tag=True):
    """What the sizer wants traded for one leg of a signal; not yet seen by the gate."""

    parent_id: str
    signal_id: str
    signal_ts: int
    strategy: str
    account: str
    venue: str
    symbol: str
    side: Side  # 54
    order_qty: Decimal  # 38
    resizable: bool  # the gate may cut it to what limits leave (Z4)
    decision_px: Decimal | None  # mid when the signal was decided, or received
    how: Instruction
    valid_until: int | None = None  # ns; nothing of it may leave later
    flatten: bool = False  # closes a position by an operator's will: goes on while trading is halted
    protects: bool = False  # closes a position by a stop that fired: nobody's repetition


class Alternative(msgspec.Struct, frozen=True):
    """An algorithm that a parent could have, and what it is expected to cost: bps of the arrival mid, 95 % interval."""

    algo: Algo
    cost_bps: Decimal | None  # None: `text` says why there is no estimate
    low_bps: Decimal | None
    high_bps: Decimal | None
    text: str = ""


class ParentRouted(Event, frozen=True, tag=True):
    """The router chose the algorithm that a signal left open, and why; `alternatives`: what it could have cost."""

    parent_id: str
    strategy: str
    symbol: str
    policy: str
    algo: Algo
    reason: str
    model: str  # that the estimates are by
    alternatives: tuple[Alternative, ...]


class ParentAmendment(Event, frozen=True, tag=True):
    """Somebody wants a live parent changed, and it could be worked so; not yet seen by the gate."""

    parent_id: str
    strategy: str
    venue: str
    symbol: str
    side: Side
    by: str  # who; or the signal's id
    change: Change  # its end as far as the session and the signal's validity let it
    price: Decimal | None  # its limit from then on
    held: bool  # nothing of it is sent from then on


# The gate -------------------------------------------------------------------------------------------------------------


class Reason(StrEnum):
    """Why something was denied (R18). One code per check."""

    INVALID = "INVALID"  # R0
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"  # R0
    STATE = "STATE"  # R1
    POSITION = "POSITION"  # R2
    SECTOR = "SECTOR"  # R3
    NO_LIMIT = "NO_LIMIT"  # R6, unset is refused
    ORDER_SIZE = "ORDER_SIZE"  # R6
    ORDER_NOTIONAL = "ORDER_NOTIONAL"  # R6
    NO_PRICE = "NO_PRICE"  # R7
    STALE_PRICE = "STALE_PRICE"  # R7
    COLLAR = "COLLAR"  # R7
    GROSS = "GROSS"  # R9
    NET = "NET"  # R9
    POSITIONS = "POSITIONS"  # R9
    BUYING_POWER = "BUYING_POWER"  # R8
    CLUSTER = "CLUSTER"  # R4
    SHORTFALL = "SHORTFALL"  # R5
    NO_SCENARIOS = "NO_SCENARIOS"  # R5, what cannot be judged is refused
    RATE = "RATE"  # R12
    REPEATS = "REPEATS"  # R12
    PARENTS_PER_DAY = "PARENTS_PER_DAY"  # R12
    PARTICIPATION = "PARTICIPATION"  # R15
    DUPLICATE = "DUPLICATE"  # R13
    SELF_MATCH = "SELF_MATCH"  # R13
    PERMISSION = "PERMISSION"  # R14
    RESTRICTED = "RESTRICTED"  # R14
    OVER_PARENT = "OVER_PARENT"  # R16
    EXPIRED = "EXPIRED"  # S7
    HEAT = "HEAT"  # R22
    SHORT = "SHORT"  # R21
    SHORT_PRICE = "SHORT_PRICE"  # R21
    SESSION = "SESSION"  # A13
    QUARANTINE = "QUARANTINE"  # P2


class Nearest(msgspec.Struct, frozen=True):
    """Of the limits that are fractions of equity the one that an order came nearest to, the order included.

    Of a shortfall `value` is the bound where that decided, which is above the shortfall or equal to it.
    """

    reason: Reason  # by which it would have been denied
    value: Decimal  # of equity
    limit: Decimal


class OverrideProposed(Event, frozen=True, tag=True):
    """A supervisor wants one parent let in, once, although one check would deny it; it waits for another supervisor."""

    override_id: str
    by: str
    strategy: str
    symbol: str
    side: Side
    order_qty: Decimal  # at most
    reason: Reason  # by which it would be denied
    expires: int  # ns; from then on it is over, granted or not
    text: str  # why


class OverrideGranted(Event, frozen=True, tag=True):
    """Another supervisor agrees: the next parent that fits uses it up."""

    override_id: str
    by: str


class OverrideUsed(Event, frozen=True, tag=True):
    """The gate lets a parent in that one check denies and no other, because two people want that."""

    override_id: str
    parent_id: str
    reason: Reason
    proposed_by: str
    granted_by: str


class Finding(Event, frozen=True):
    """What a check said against a parent or a child, with its numbers; part of what a verdict says.

    `value` is what the check measures, this order included, and `value - limit` by how much that is too much (of
    SESSION it is the time left, `limit - value` by how much too little); both are zero, and `unit` empty, where nothing
    is measured. `max_qty` is the largest quantity that would have passed this check, None where no quantity would.
    """

    parent_id: str
    cl_ord_id: str  # empty: the parent itself
    strategy: str
    symbol: str
    side: Side
    order_qty: Decimal  # that was asked for
    reason: Reason
    value: Decimal
    limit: Decimal
    unit: str
    max_qty: Decimal | None
    limits_version: str
    text: str


class OrderDenied(Finding, frozen=True, tag=True):
    """The gate refused a parent or a child, with its numbers. The order never left the house."""

    checks: int = 0  # that were made, the last one denied
    duration_ns: int = 0  # of the verdict; 0 in a simulation, where time stands meanwhile
    reducing: bool = False  # as of an approval
    met: tuple[str, ...] = ()  # of SELF_MATCH: the first of the orders of ours in its way, those that can be taken back
    amends: bool = False  # of an amendment: its parent lives, and stays as it is


class ParentAccepted(Event, frozen=True, tag=True):
    """The gate let a parent in, with the market at that moment: the arrival."""

    parent: ParentOrder
    order_qty: Decimal  # after resizing; at most the parent's own
    bid: Decimal | None
    ask: Decimal | None
    arrival_px: Decimal  # mid
    limits_version: str
    nearest: Nearest | None = None
    checks: int = 0  # that were made
    duration_ns: int = 0  # as of a denial
    override_id: str = ""  # of the override that it used up
    waives: Reason | None = None  # what it and its children are not denied for, by that override

    @property
    def parent_id(self) -> str:
        """The parent's id."""
        return self.parent.parent_id


class ParentAmended(Event, frozen=True, tag=True):
    """The gate let a live parent be changed: what it became. Lasts until the next one."""

    amendment: ParentAmendment
    order_qty: Decimal  # from now on
    more_qty: Decimal  # by so much it is larger: the gate has judged it like a parent; zero: it is not
    limits_version: str
    nearest: Nearest | None = None
    checks: int = 0  # that were made
    duration_ns: int = 0  # as of a denial

    @property
    def parent_id(self) -> str:
        """The parent's id."""
        return self.amendment.parent_id


class NewOrderSingle(Event, frozen=True, tag=True):
    """A child that the slicer wants sent; not yet seen by the gate."""

    cl_ord_id: str  # 11
    parent_id: str
    strategy: str
    account: str
    venue: str
    symbol: str
    side: Side  # 54
    order_qty: Decimal  # 38
    ord_type: OrdType  # 40
    price: Decimal | None  # 44
    time_in_force: TimeInForce  # 59


class OrderApproved(Event, frozen=True, tag=True):
    """The gate let a child go: the only thing a gateway accepts. Constructed in `risk.gate` alone.

    Its price must still lie within `collar_low` and `collar_high`, and its write begin before `not_after`.
    """

    order: NewOrderSingle
    not_after: int
    collar_low: Decimal
    collar_high: Decimal
    bid: Decimal | None  # the quote that the decision used
    ask: Decimal | None
    limits_version: str
    reducing: bool = False  # whatever fills first, it can only shrink the position
    flatten: bool = False  # of an operator's flatten, which leaves while trading is halted
    nearest: Nearest | None = None
    checks: int = 0  # that were made
    duration_ns: int = 0  # as of a denial

    @property
    def parent_id(self) -> str:
        """The parent's id."""
        return self.order.parent_id

    @property
    def cl_ord_id(self) -> str:
        """The child's id."""
        return self.order.cl_ord_id


class ShadowVerdict(Finding, frozen=True, tag=True):
    """The shadow limits would have let another quantity pass than those in force. Nothing follows from it.

    It comes behind the verdict in force. What was found is that of the set that lets less pass: why it denies, or makes
    a parent smaller.
    """

    in_force_qty: Decimal  # let pass by the limits in force; zero: denied
    shadow_qty: Decimal  # by the shadow limits, likewise
    shadow_version: str

    @property
    def outcome(self) -> str:
        """The shadow limits are `tighter` here, or `wider`, than those in force."""
        return "tighter" if self.shadow_qty < self.in_force_qty else "wider"


# The slicer -----------------------------------------------------------------------------------------------------------


class ParentScheduled(Event, frozen=True, tag=True):
    """A parent's curve: from `times[i]` on, `targets[i]` should be done in all. Replaces an earlier one."""

    parent_id: str
    times: tuple[int, ...]
    targets: tuple[Decimal, ...]
    end: int
    start: int = 0  # of its window, of which the first curve may begin later


class ParentPaced(Event, frozen=True, tag=True):
    """A parent may be another part of the market's volume from now on, and why."""

    parent_id: str
    participation: float
    reasons: tuple[str, ...]


class VenueCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is expected to cost at a venue, bps, the sum and its parts; `text`: why it cannot go there now."""

    venue: str
    cost_bps: Decimal
    fee_bps: Decimal
    spread_bps: Decimal
    latency_bps: Decimal
    reject_bps: Decimal
    text: str = ""


class VenueChosen(Event, frozen=True, tag=True):
    """The children of a parent go to this venue from now on, and why; `alternatives`: what they could cost."""

    parent_id: str
    strategy: str
    symbol: str
    side: Side
    venue: str
    was: str  # empty: it had none yet
    reason: str
    alternatives: tuple[VenueCost, ...]


class OrderCancelRequest(Event, frozen=True, tag=True):
    """A working child is wanted back: by the slicer, or by the oms where it has outlived its session."""

    cl_ord_id: str
    parent_id: str
    venue: str
    symbol: str
    text: str


class EndReason(StrEnum):
    """Why a parent ended; what is left is stated beside it (A10)."""

    FILLED = "FILLED"
    WINDOW = "WINDOW"  # its time is over
    LIMIT_PRICE = "LIMIT_PRICE"  # its time is over and the market was beyond its limit
    DENIED = "DENIED"  # its time is over and the gate kept refusing its children
    DUST = "DUST"  # what is left is under the least that its venue takes
    INFEASIBLE = "INFEASIBLE"  # no schedule exists; the end's text says why
    HALTED = "HALTED"  # its time was over while trading was halted
    HELD = "HELD"  # its time was over while somebody had paused it
    TAKEN_BACK = "TAKEN_BACK"  # an operator or a signal ended it
    UNRESOLVED = "UNRESOLVED"  # a child's outcome could not be learnt; its quantity stays reserved


class ParentEnded(Event, frozen=True, tag=True):
    """A parent is over, with what was done and what was not."""

    parent_id: str
    strategy: str
    symbol: str
    side: Side
    order_qty: Decimal
    cum_qty: Decimal
    avg_px: Decimal | None
    leaves_qty: Decimal  # not executed
    reason: EndReason
    text: str = ""
    flatten_id: str = ""  # the flatten that stopped it while children of it worked, and closes what they leave held


# The oms --------------------------------------------------------------------------------------------------------------


class OrderUpdated(Event, frozen=True, tag=True):
    """Where a child stands. `leaves_qty` may still execute; zero once terminal."""

    cl_ord_id: str
    parent_id: str
    strategy: str
    venue: str
    symbol: str
    side: Side
    order_id: str
    ord_status: OrdStatus
    order_qty: Decimal
    cum_qty: Decimal
    leaves_qty: Decimal
    terminal: bool
    avg_px: Decimal | None = None  # 6
    text: str = ""


class FillBooked(Event, frozen=True, tag=True):
    """One execution, booked once. `late`: after a terminal report that did not state it."""

    exec_id: str
    cl_ord_id: str
    parent_id: str
    strategy: str
    venue: str
    symbol: str
    side: Side
    last_qty: Decimal
    last_px: Decimal
    fee: Decimal
    multiplier: Decimal = Decimal(1)
    late: bool = False


class FillBusted(Event, frozen=True, tag=True):
    """The venue took an execution back."""

    exec_id: str
    cl_ord_id: str
    parent_id: str
    strategy: str
    venue: str
    symbol: str
    side: Side
    last_qty: Decimal
    last_px: Decimal
    fee: Decimal
    multiplier: Decimal = Decimal(1)


class PositionUpdated(Event, frozen=True, tag=True):
    """A strategy's position in a symbol after a fill, and the account's cash."""

    strategy: str
    symbol: str
    qty: Decimal
    avg_px: Decimal
    realized_pnl: Decimal  # of the strategy in the symbol, before fees
    fees: Decimal
    cash: Decimal


class OrderQueried(Event, frozen=True, tag=True):
    """The oms wants the venue's word on an order: its acknowledgement is overdue or its outcome unknown."""

    cl_ord_id: str
    parent_id: str
    venue: str
    symbol: str
    attempt: int


class OrderUnresolved(Event, frozen=True, tag=True):
    """An unknown order grew too old. Its quantity stays reserved until an operator releases it."""

    cl_ord_id: str
    parent_id: str
    venue: str
    symbol: str
    leaves_qty: Decimal


class Anomaly(Event, frozen=True, tag=True):
    """A venue said what the table of orders does not allow, or keeps what its session should have ended: alerted."""

    venue: str
    cl_ord_id: str
    text: str


# Cost analysis --------------------------------------------------------------------------------------------------------


class CostEstimated(Event, frozen=True, tag=True):
    """What a parent is expected to cost, before its first child: bps of the arrival mid, positive when it hurts.

    It falls between `low_bps` and `high_bps` in 95 of 100 cases. `spread_bps` and `impact_bps` are its parts,
    `risk_bps` is the standard deviation of the market meanwhile. All are None where there is no estimate, and `text`
    says why. To be compared with the average price against the arrival.
    """

    parent_id: str
    strategy: str
    symbol: str
    model: str
    cost_bps: Decimal | None = None
    low_bps: Decimal | None = None
    high_bps: Decimal | None = None
    spread_bps: Decimal | None = None
    impact_bps: Decimal | None = None
    risk_bps: Decimal | None = None
    text: str = ""


class VwapDeviated(Event, frozen=True, tag=True):
    """A live VWAP parent's average price is far from the market's VWAP; said again only once it was near in between.

    Both are of its window so far. `deviation_bps` is of the market's VWAP, positive when it hurts.
    """

    parent_id: str
    strategy: str
    symbol: str
    side: Side
    cum_qty: Decimal
    avg_px: Decimal
    market_vwap: Decimal
    market_volume: Decimal
    deviation_bps: Decimal
    limit_bps: Decimal


class CostReport(Event, frozen=True, tag=True):
    """What a parent cost. Costs are positive when they hurt; money in the account's currency, the rest in bps.

    `delay + spread + impact + timing + opportunity + fees = shortfall`, all money, each computed on its own rule
    (Perold 1988, Wagner's expansion). Benchmarks are None where the tape cannot answer, and `flags` say why.
    """

    parent_id: str
    strategy: str
    symbol: str
    side: Side
    algo: Algo
    order_qty: Decimal
    cum_qty: Decimal
    avg_px: Decimal | None
    start: int
    decision_px: Decimal
    arrival_px: Decimal
    end_px: Decimal
    market_vwap: Decimal | None
    market_twap: Decimal | None
    market_volume: Decimal
    delay: Decimal
    spread: Decimal
    impact: Decimal
    timing: Decimal
    opportunity: Decimal
    fees: Decimal
    shortfall: Decimal
    currency: str
    reason: EndReason
    vwap_filter: str
    multiplier: Decimal = Decimal(1)
    flags: tuple[str, ...] = ()

    def slippage_bps(self, benchmark: Decimal | None) -> Decimal | None:
        """Average price against a benchmark, bps, positive when it hurts; None without fills or benchmark."""
        if self.avg_px is None or not benchmark:
            return None
        return bps_of(self.side.sign * (self.avg_px - benchmark), benchmark)

    @property
    def shortfall_bps(self) -> Decimal:
        """Implementation shortfall in bps of the order's value at the decision."""
        return bps_of(self.shortfall, self.order_qty * self.decision_px * self.multiplier)


AnyEvent = (
    DaemonStarted
    | AccountOpened
    | SignalReceived
    | SignalDead
    | SignalGap
    | MarketData
    | TimeAdvanced
    | ExecutionReport
    | AccountReported
    | VenueAway
    | SubmitResult
    | TradingHalted
    | HaltReport
    | TradingResumed
    | DayRolled
    | HighWaterMarkReset
    | CashMoved
    | PositionAdjusted
    | RiskModelSet
    | RegimeSet
    | LimitsSet
    | ShadowSet
    | StrategyStopped
    | StrategyResumed
    | FlattenRequested
    | CommandGiven
    | BreakFound
    | SymbolReleased
    | SignalAccepted
    | SignalIgnored
    | SignalRefused
    | StopSet
    | StopTriggered
    | StopSuspended
    | StopRearmed
    | StopEnded
    | ExitRequested
    | ParentOrder
    | OverrideProposed
    | OverrideGranted
    | OverrideUsed
    | ParentRouted
    | ParentAmendment
    | OrderDenied
    | ParentAccepted
    | ParentAmended
    | NewOrderSingle
    | OrderApproved
    | ShadowVerdict
    | ParentScheduled
    | ParentPaced
    | VenueChosen
    | OrderCancelRequest
    | ParentEnded
    | OrderUpdated
    | FillBooked
    | FillBusted
    | PositionUpdated
    | OrderQueried
    | OrderUnresolved
    | Anomaly
    | CostEstimated
    | VwapDeviated
    | CostReport
)

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """The event as one line of JSON, its fields in declaration order: the bytes that the journal hashes."""
    return _ENCODER.encode(event)


def decode(payload: bytes | str) -> AnyEvent:
    """The event that `encode` wrote; raises msgspec.ValidationError for anything else."""
    return _DECODER.decode(payload)
