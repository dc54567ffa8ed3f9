"""The table of algorithms, and the window in which a parent may be worked.

To add an algorithm: write its curve in a module of its own, add a function and a line to `ALGOS`; the properties in the
tests (exact total, never past the end, same seed same curve) run over the table.
"""

import hashlib
from collections.abc import Callable
from decimal import Decimal

import msgspec

from algos import shortfall, twap, vwap
from algos.profile import DEFAULT, Profile
from algos.trajectory import ENOUGH, MAX_LOTS, Trajectory
from core.calendar import CALENDARS, Session
from core.events import ParentAccepted
from core.instruments import Instrument
from core.signals import Algo, Instruction, Urgency
from core.units import NS_PER_S, ZERO

CLOSE_MARGIN_NS = 10 * NS_PER_S  # a parent is over that long before the close: its last cancels need time
CLOSE_S = 900  # how long before the end of its window CLOSE begins
MAX_AHEAD_NS = 7 * 86_400 * NS_PER_S  # a start farther in the future is refused


class Window(msgspec.Struct, frozen=True):
    """When a parent may trade, start <= time < end, ns, inside one session."""

    start: int
    end: int
    session: Session


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a curve is made from."""

    qty: Decimal
    lot: Decimal
    window: Window
    slices: int | None
    seed: int
    least: Decimal = ZERO  # shares of a slice, where its venue takes no less
    haste: float = shortfall.HASTE[Urgency.NORMAL]
    profile: Profile = DEFAULT


def cut(slices: int, qty: Decimal, least: Decimal) -> int:
    """So many slices of a quantity, or as many as are no less than `least`, which zero bounds not at all."""
    return slices if not least else max(min(slices, int(qty / least)), 1)


Plan = Callable[[Task], Trajectory]


def at_once(task: Task) -> Trajectory:
    """Everything from the start on: market and limit orders, and what waits for volume or shows a part at a time."""
    return Trajectory.of((task.window.start,), (task.qty,), task.lot)


def by_time(task: Task) -> Trajectory:
    """TWAP."""
    window, slices = task.window, task.slices if task.slices is not None else twap.DEFAULT_SLICES
    slices = cut(slices, task.qty, task.least)
    return twap.plan(start=window.start, end=window.end, qty=task.qty, lot=task.lot, slices=slices, seed=task.seed)


def by_volume(task: Task) -> Trajectory:
    """VWAP on the profile, and the last minutes of the session."""
    session = task.window.session
    return vwap.plan(
        start=task.window.start,
        end=task.window.end,
        qty=task.qty,
        lot=task.lot,
        slices=task.slices,
        session=(session.open, session.close),
        profile=task.profile,
    )


def by_haste(task: Task) -> Trajectory:
    """Implementation shortfall."""
    window, slices = task.window, task.slices if task.slices is not None else shortfall.DEFAULT_SLICES
    slices = cut(slices, task.qty, task.least)
    return shortfall.plan(
        start=window.start, end=window.end, qty=task.qty, lot=task.lot, slices=slices, haste=task.haste
    )


ALGOS: dict[Algo, Plan] = {
    Algo.MARKET: at_once,
    Algo.LIMIT: at_once,
    Algo.TWAP: by_time,
    Algo.VWAP: by_volume,
    Algo.POV: at_once,
    Algo.IS: by_haste,
    Algo.ADAPTIVE: at_once,
    Algo.ICEBERG: at_once,
    Algo.CLOSE: by_volume,
}


def fault_of(accepted: ParentAccepted, instrument: Instrument) -> str | None:
    """Why no curve of this quantity can be followed, whatever the window; or None."""
    how, least = accepted.parent.how, instrument.least_qty(accepted.arrival_px)
    for name, most in (("max_slice", how.max_slice), ("display_qty", how.display_qty)):
        if most is not None and most < instrument.lot:
            return f"its {name} of {most:f} is under one lot of {instrument.lot:f}: raise it"
        if most is not None and most < least:
            return f"its {name} of {most:f} is worth under {instrument.min_notional:f}, its venue's least: raise it"
    if accepted.order_qty / instrument.lot > MAX_LOTS:
        return too_many_lots(instrument)
    if how.algo is Algo.IS and how.risk_aversion is not None and None in (instrument.adv, instrument.volatility):
        return f"its risk_aversion needs adv and volatility of {instrument.symbol}: set them, or give an urgency"
    return None


def too_many_lots(instrument: Instrument) -> str:
    """Why a quantity is too large for any curve."""
    return f"it has more than {MAX_LOTS:,} lots of {instrument.lot:f}: split it"


def window_of(accepted: ParentAccepted, instrument: Instrument) -> Window | str:
    """The window a parent asks for, cut to the session of its start and to its validity; or why there is none."""
    how = accepted.parent.how
    calendar = CALENDARS[instrument.calendar]
    start = max(accepted.ts, how.start or accepted.ts)
    if start - accepted.ts > MAX_AHEAD_NS:
        return "its start is more than 7 days ahead: send it later"
    session = calendar.session_on(calendar.date_of(start))
    if session is None:
        return f"{instrument.calendar} does not trade on {calendar.date_of(start)}: give a start on another day"
    start = max(start, session.open)
    over = session.close - CLOSE_MARGIN_NS
    ends = (
        (over, f"the session of {session.date} has passed, or all but: give a start in a later one"),
        (accepted.parent.valid_until, "its validity has passed by its start: give a later valid_until"),
        (_end_asked(accepted, start), "its end has passed by its start, or by the open: give a later one"),
    )
    end, fault = min((end, fault) for end, fault in ends if end is not None)
    if accepted.parent.how.algo is Algo.CLOSE:
        start = max(start, end - (accepted.parent.how.duration_s or CLOSE_S) * NS_PER_S)
    return Window(start, end, session) if start < end else fault


_OF_AN_HOUR = frozenset({Algo.TWAP, Algo.IS})  # unless they are told otherwise


def _end_asked(accepted: ParentAccepted, start: int) -> int | None:
    how = accepted.parent.how
    lasting = None if how.duration_s is None or how.algo is Algo.CLOSE else start + how.duration_s * NS_PER_S
    if lasting is None and how.algo in _OF_AN_HOUR and how.end is None:
        lasting = start + twap.DEFAULT_DURATION_S * NS_PER_S
    return how.end if lasting is None else min(lasting, how.end or lasting)


def plan(accepted: ParentAccepted, instrument: Instrument, window: Window, profile: Profile = DEFAULT) -> Trajectory:
    """The curve of an accepted parent, a pure function of its event and the profile: the seed is its id."""
    how = accepted.parent.how
    task = Task(
        qty=accepted.order_qty,
        lot=instrument.lot,
        window=window,
        slices=how.slices,
        seed=seed_of(accepted.parent_id),
        least=least_slice(instrument, float(accepted.arrival_px)),
        haste=haste_of(
            how,
            instrument,
            window,
            price=float(accepted.arrival_px),
            quoted=(accepted.bid, accepted.ask),
        ),
        profile=profile,
    )
    return ALGOS[how.algo](task)


def least_slice(instrument: Instrument, price: float) -> Decimal:
    """Shares that a slice should have to be taken by its venue at about that price; zero where it takes any lot."""
    return instrument.least_qty(Decimal(repr(price))) * ENOUGH


def seed_of(parent_id: str) -> int:
    """What is random of a parent's curves."""
    return int.from_bytes(hashlib.sha256(parent_id.encode()).digest()[:8], "big")


def end_of(wanted: int, instrument: Instrument, *, start: int, valid_until: int | None) -> int:
    """The end of a parent that began at `start` and is to have another one: cut to its session and its validity."""
    session = CALENDARS[instrument.calendar].session_at(start)
    assert session is not None  # its window lies inside one
    limits = (wanted, session.close - CLOSE_MARGIN_NS, valid_until)
    return min(limit for limit in limits if limit is not None)


def haste_of(
    how: Instruction,
    instrument: Instrument,
    window: Window,
    *,
    price: float,
    quoted: tuple[Decimal | None, Decimal | None],
) -> float:
    """How much faster than evenly in a window: by its risk aversion, or else by its urgency."""
    if how.risk_aversion is None or instrument.adv is None or instrument.volatility is None:
        return shortfall.HASTE[how.urgency]
    bid, ask = quoted
    spread = ask - bid if bid is not None and ask is not None else ZERO
    return shortfall.haste_of(
        risk_aversion=how.risk_aversion,
        days=(window.end - window.start) / (window.session.close - window.session.open),
        adv=float(instrument.adv),
        volatility=instrument.volatility * price * float(instrument.multiplier),
        spread=float(max(spread, instrument.tick) * instrument.multiplier),
    )
