"""What a signal may say: the contract between a model that wants a position and the daemon that trades it.

Six kinds. An `order` names its quantity; a `strength` leaves the size to the daemon; a `target` states the position
that should be held and is idempotent by construction; a `rebalance` states the whole book, and names that it leaves
out go to zero; a `stop` closes what is held once its price has moved against it; an `amend` changes what an earlier
signal made, as long as it is worked. A JSON array of signals is a batch. The JSON Schema in the docs is generated from
these types.
"""

from decimal import Decimal
from enum import StrEnum
from inspect import cleandoc
from typing import Any

import msgspec

from core.orders import OrdType, Side, TimeInForce

MAX_SIGNAL_BYTES = 65_536  # one message; a larger one is refused unread
MAX_LEGS = 1_000  # of one rebalance
MAX_TEXT = 64  # characters of an id, strategy, account or symbol
MAX_BATCH = 1_000  # signals in one array
MAX_AMOUNT = Decimal(10**15)  # shares or money, exclusive: what is counted in lots or ticks must not overflow
MAX_DIGITS = 28  # of a quantity, price or amount of money, and of its decimals: what exact arithmetic keeps
MAX_WEIGHT = 4.0  # of equity in one name, what brokers lend within a day; more is meant as percent
MAX_SLICES = 100_000  # of one parent
MAX_DURATION_S = 86_400  # one day
MAX_PARTICIPATION = 0.5  # of a market's volume: as much as all others
MAX_TOLERANCE_BPS = 1_000  # beyond the touch; more than that is no bound
MAX_INT = 2**63 - 1  # what the databases keep: times in ns until the year 2262, counters


class Algo(StrEnum):
    """How a parent is worked; the table `algos.ALGOS` has one curve for each but AUTO, which the router replaces."""

    AUTO = "AUTO"
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    TWAP = "TWAP"
    VWAP = "VWAP"
    POV = "POV"  # a part of the market's volume
    IS = "IS"  # implementation shortfall: fast at first, as far as risk is worth it
    ADAPTIVE = "ADAPTIVE"  # a part of the volume that moves with the market
    ICEBERG = "ICEBERG"  # at its limit price, a part shown at a time
    CLOSE = "CLOSE"  # in the last minutes of the session


AT_A_PRICE = frozenset({Algo.LIMIT, Algo.ICEBERG})  # they rest at their limit price, and never cross


class Urgency(StrEnum):
    """How much price may be given up for time."""

    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"
    IMMEDIATE = "IMMEDIATE"


class Instruction(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """How to work what a signal asks for. Times are ns since the epoch, UTC; absent ones follow from the algorithm."""

    algo: Algo = Algo.TWAP
    ord_type: OrdType = OrdType.LIMIT  # 40
    price: Decimal | None = None  # 44, the limit that no child may trade beyond
    time_in_force: TimeInForce = TimeInForce.DAY  # 59
    urgency: Urgency = Urgency.NORMAL
    start: int | None = None
    end: int | None = None
    duration_s: int | None = None  # instead of `end`
    slices: int | None = None  # of the curve; else 10 of a TWAP, 20 of an IS, one each 5 min of a VWAP
    max_slice: Decimal | None = None  # shares per child
    min_slice: Decimal | None = None  # shares per child; what is left at the end may be less
    display_qty: Decimal | None = None  # 1138, shares that may be seen at a time
    participation: float | None = None  # of the market's volume: the pace of POV and ADAPTIVE, a bound for all others
    risk_aversion: float | None = None  # of IS, 1 / money; instead of urgency
    tolerance_bps: int = 20  # how far beyond the touch a child that crosses may execute
    must_complete: bool = False  # rather pay than leave a rest, within every bound


class Action(StrEnum):
    """What is to become of a live parent."""

    AMEND = "AMEND"
    PAUSE = "PAUSE"  # nothing is sent and what works is taken back; its end does not move
    RESUME = "RESUME"
    CANCEL = "CANCEL"


class Change(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A change of a live parent; of AMEND at least one of the others is given, and what is absent stays as it is."""

    action: Action = Action.AMEND
    qty: Decimal | None = None  # 38, in all, with what is done
    price: Decimal | None = None  # 44
    end: int | None = None  # ns since the epoch, UTC; cut to the session and to the validity of the parent's signal
    urgency: Urgency | None = None  # of IS, instead of its risk_aversion, and of ADAPTIVE

    @property
    def is_planned(self) -> bool:
        """Whether another curve follows from it."""
        return self.qty is not None or self.end is not None or self.urgency is not None


class _Signal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    signal_id: str
    ts: int  # ns since the epoch, UTC: when the model decided
    strategy: str
    account: str = ""  # empty: the daemon's own account
    confidence: float = 1.0  # 0..1, multiplies a strength
    valid_until: int | None = None  # ns; later than this the signal is refused
    seq: int | None = None  # the publisher's counter, for gap alarms
    how: Instruction = Instruction()


class OrderSignal(_Signal, frozen=True, tag="order"):
    """Buy or sell a quantity, or a money value (`notional`) of a symbol. Exactly one of the two is given."""

    symbol: str
    side: Side  # 54
    qty: Decimal | None = None  # 38
    notional: Decimal | None = None


class StrengthSignal(_Signal, frozen=True, tag="strength"):
    """A wish between -1 and 1 that the daemon turns into a quantity."""

    symbol: str
    strength: float


class TargetSignal(_Signal, frozen=True, tag="target"):
    """The position that the strategy wants to hold.

    A signed quantity, or a signed weight as a fraction of equity. Exactly one is given.
    """

    symbol: str
    qty: Decimal | None = None
    weight: float | None = None


class RebalanceSignal(_Signal, frozen=True, tag="rebalance"):
    """The strategy's whole book as symbol to signed weight (fraction of equity); names that are absent go to zero."""

    weights: dict[str, float]


class StopSignal(_Signal, frozen=True, kw_only=True, tag="stop"):
    """Close what the strategy holds of a symbol once its price has moved so far against it.

    At a price, or a trail behind the best price since: at most one of `stop_px`, `trail` and `trail_fraction` is given.
    It takes the place of the strategy's earlier stop in the symbol; one with none of them cancels that. It closes and
    never opens, follows what the strategy holds, and lasts until `valid_until`.
    """

    symbol: str
    stop_px: Decimal | None = None  # 99
    trail: Decimal | None = None  # money a share, behind the best price
    trail_fraction: Decimal | None = None  # of the best price, behind it
    limit_offset: Decimal | None = None  # money a share: the exit's limit, so far beyond the stop; none: no limit
    how: Instruction = Instruction(algo=Algo.MARKET)  # of the exit; where it is given without an algo that is TWAP


class AmendSignal(_Signal, frozen=True, tag="amend"):
    """A change of the parent that the same strategy's signal `amends` made in a symbol, as long as it is worked."""

    symbol: str
    amends: str  # a signal_id
    change: Change


Signal = OrderSignal | StrengthSignal | TargetSignal | RebalanceSignal | StopSignal | AmendSignal


class BadSignal(msgspec.Struct, frozen=True):
    """Input that is no signal: why, and the beginning of what came, for the dead letters."""

    reason: str
    text: str


_ONE = msgspec.json.Decoder(Signal)
_MANY = msgspec.json.Decoder(list[msgspec.Raw])
KEPT = 2_000  # characters of a refused message, and of the reason, that are kept


def parse(message: bytes) -> list[Signal | BadSignal]:
    """The signals of one message. Never raises: what cannot be read comes back as `BadSignal` with its reason."""
    if len(message) > MAX_SIGNAL_BYTES:
        return [_bad(f"{len(message):,} bytes is more than {MAX_SIGNAL_BYTES:,}: send smaller batches", message)]
    if not message.lstrip().startswith(b"["):
        return [_parse_one(message)]
    try:
        parts = _MANY.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [_bad(str(error), message)]
    if len(parts) > MAX_BATCH:
        return [_bad(f"{len(parts):,} signals in one batch is more than {MAX_BATCH:,}: split it", message)]
    return [_parse_one(bytes(part)) for part in parts]


def _parse_one(message: bytes) -> Signal | BadSignal:
    try:
        signal = _ONE.decode(message)
        fault = _fault(signal)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, ArithmeticError) as error:
        return _bad(str(error), message)
    return signal if fault is None else _bad(fault, message)


def _bad(reason: str, message: bytes) -> BadSignal:
    return BadSignal(reason=reason[:KEPT], text=message[:KEPT].decode("utf-8", "replace"))


def _fault(signal: Signal) -> str | None:
    """What is wrong with the numbers of a signal that decodes, or None."""
    return (
        _fault_of_head(signal)
        or _fault_of_times({"ts": signal.ts, "valid_until": signal.valid_until})
        or _fault_of_size(signal)  # before how: what a stop's may not have is no lack of it
        or _fault_of_how(signal.how)
    )


def _fault_of_head(signal: Signal) -> str | None:
    for name in ("signal_id", "strategy", "account", "symbol", "amends"):
        value = getattr(signal, name, "-")
        if not value and name != "account":
            return f"{name} is empty"
        if len(value) > MAX_TEXT:
            return f"{name} has {len(value)} characters, the most is {MAX_TEXT}"
        if not value.isprintable():
            return f"{name} has characters that cannot be printed"
    if not 0 <= signal.confidence <= 1:
        return f"confidence {signal.confidence} is not between 0 and 1"
    if signal.seq is not None and not 0 <= signal.seq <= MAX_INT:
        return f"seq {signal.seq} is not a counter between 0 and {MAX_INT}"
    return None


def _fault_of_times(given: dict[str, int | None]) -> str | None:
    return _each(given, lambda ts: 0 < ts <= MAX_INT, "is not a time in ns since the epoch")


def _fault_of_how(how: Instruction) -> str | None:
    if fault := (
        _each(_amounts_of(how), _is_positive, _POSITIVE_FAULT)
        or _fault_of_times({"start": how.start, "end": how.end})
        or _each({"slices": how.slices}, lambda n: 1 <= n <= MAX_SLICES, f"is not between 1 and {MAX_SLICES:,}")
        or _each(
            {"duration_s": how.duration_s},
            lambda s: 1 <= s <= MAX_DURATION_S,
            f"is not between 1 and {MAX_DURATION_S:,}",
        )
        or _each(
            {"participation": how.participation},
            lambda part: 0 < part <= MAX_PARTICIPATION,
            f"is not a fraction of the market's volume above 0 and up to {MAX_PARTICIPATION} (percent?)",
        )
        or _each(
            {"tolerance_bps": how.tolerance_bps},
            lambda bps: 0 <= bps <= MAX_TOLERANCE_BPS,
            f"is not between 0 and {MAX_TOLERANCE_BPS:,} bps",
        )
        or _each({"risk_aversion": how.risk_aversion}, lambda a: 0 <= a <= 1, "is not between 0 and 1 per money")
    ):
        return fault
    if how.duration_s is not None and how.end is not None:
        return "give end or duration_s, not both"
    if how.start is not None and how.end is not None and how.end <= how.start:
        return "end is not after start"
    if how.algo in AT_A_PRICE and how.price is None:
        return f"algo {how.algo} needs a price"
    if how.algo is Algo.ICEBERG and how.display_qty is None:
        return "algo ICEBERG needs a display_qty"
    if how.min_slice is not None and how.max_slice is not None and how.min_slice > how.max_slice:
        return "min_slice is above max_slice"
    if how.min_slice is not None and how.display_qty is not None and how.min_slice > how.display_qty:
        return "min_slice is above display_qty"
    return None


def _amounts_of(how: Instruction) -> dict[str, Decimal | None]:
    return {name: getattr(how, name) for name in ("price", "max_slice", "min_slice", "display_qty")}


def _fault_of_size(signal: Signal) -> str | None:
    if isinstance(signal, OrderSignal):
        given = {"qty": signal.qty, "notional": signal.notional}
        return _exactly_one(given) or _each(given, _is_positive, _POSITIVE_FAULT)
    if isinstance(signal, AmendSignal):
        return fault_of_change(signal.change)
    if isinstance(signal, StrengthSignal):
        return None if -1 <= signal.strength <= 1 else f"strength {signal.strength} is not between -1 and 1"
    if isinstance(signal, TargetSignal):
        return (
            _exactly_one({"qty": signal.qty, "weight": signal.weight})
            or _each({"qty": signal.qty}, is_amount, f"is not a number {AMOUNT_BOUNDS}")
            or _each({"weight": signal.weight}, _is_weight, _WEIGHT_FAULT)
        )
    if isinstance(signal, StopSignal):
        return _fault_of_stop(signal)
    if len(signal.weights) > MAX_LEGS:
        return f"{len(signal.weights):,} legs is more than {MAX_LEGS:,}: split the book over accounts"
    bad = next((s for s in signal.weights if not 1 <= len(s) <= MAX_TEXT or not s.isprintable()), None)
    if bad is not None:
        return f"symbol {bad[:MAX_TEXT]!r} is not 1 to {MAX_TEXT} characters that can be printed"
    return _each(signal.weights, _is_weight, _WEIGHT_FAULT)


def _fault_of_stop(signal: StopSignal) -> str | None:
    levels = {"stop_px": signal.stop_px, "trail": signal.trail, "trail_fraction": signal.trail_fraction}
    if sum(level is not None for level in levels.values()) > 1:
        return f"give one of {', '.join(levels)}, or none to cancel"
    how = signal.how
    if how.price is not None:
        return "how.price is no limit of a stop's exit: give limit_offset"
    if how.algo in AT_A_PRICE:
        return f"a stop's exit has no price for algo {how.algo} to rest at: give limit_offset, and algo MARKET"
    if how.start is not None or how.end is not None:
        return "a stop's exit begins when it fires, not by how.start or how.end: give duration_s"
    return _each(levels | {"limit_offset": signal.limit_offset}, _is_positive, _POSITIVE_FAULT) or _each(
        {"trail_fraction": signal.trail_fraction}, lambda part: part < 1, "is not between 0 and 1 (percent?)"
    )


def fault_of_change(change: Change) -> str | None:
    """What is wrong with the numbers of a change, or None."""
    given = change.is_planned or change.price is not None
    if given is not (change.action is Action.AMEND):
        return "give qty, price, end or urgency to AMEND" if not given else f"{change.action} takes no other fields"
    return _each({"qty": change.qty, "price": change.price}, _is_positive, _POSITIVE_FAULT) or _fault_of_times(
        {"end": change.end}
    )


AMOUNT_BOUNDS = f"below {MAX_AMOUNT:,} of at most {MAX_DIGITS} digits"
_POSITIVE_FAULT = f"is not a positive number {AMOUNT_BOUNDS}"
_WEIGHT_FAULT = f"is not a fraction of equity between -{MAX_WEIGHT:g} and {MAX_WEIGHT:g} (percent?)"


def is_amount(value: Decimal) -> bool:
    """Whether it is a number of shares, a price or money that exact arithmetic keeps; of any sign."""
    if not value.is_finite() or value.copy_abs() >= MAX_AMOUNT:  # abs() rounds, which overflows at 1e999999999
        return False
    _, digits, exponent = value.as_tuple()
    return len(digits) <= MAX_DIGITS and int(exponent) >= -MAX_DIGITS


def _is_positive(value: Decimal) -> bool:
    return is_amount(value) and value > 0


def _is_weight(value: float) -> bool:
    return abs(value) <= MAX_WEIGHT


def _exactly_one(given: dict[str, Any]) -> str | None:
    count = sum(value is not None for value in given.values())
    return None if count == 1 else f"give exactly one of {' and '.join(given)}, {count} are given"


def _each(given: dict[str, Any], holds: Any, fault: str) -> str | None:  # noqa: ANN401 - a predicate over the values
    return next(
        (f"{name} {value} {fault}" for name, value in given.items() if value is not None and not holds(value)), None
    )


def schema() -> dict[str, Any]:
    """JSON Schema of the contract, for publishers and for the docs."""
    made: dict[str, Any] = _dedented(msgspec.json.schema(Signal))
    return made


def _dedented(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Descriptions are docstrings, which Python 3.13 stores without their indentation and earlier ones with it."""
    if isinstance(value, dict):
        return {key: cleandoc(item) if key == "description" else _dedented(item) for key, item in value.items()}
    return [_dedented(item) for item in value] if isinstance(value, list) else value
