"""What people and signals may ask of a live parent, and what it comes to; or in words why it cannot be worked so."""

from decimal import Decimal

import msgspec

from algos import pricing
from algos.parent import Parent
from algos.planning import end_of, too_many_lots
from algos.trajectory import MAX_LOTS
from core.events import ParentAmendment
from core.instruments import Instrument
from core.signals import Action, Algo, Change
from core.units import is_multiple


def amendment(parent: Parent, instrument: Instrument, change: Change, *, by: str, now: int) -> ParentAmendment | str:
    """What a change of a parent that has its curve comes to, for the gate to judge; or why it cannot be worked so."""
    if parent.is_over(now):
        return f"{parent.parent_id} is ending: its last children are on their way back"
    if change.end is not None:
        end = end_of(change.end, instrument, start=parent.start, valid_until=parent.valid_until)
        change = msgspec.structs.replace(change, end=end)
    fault = _fault_of_change(change, parent, instrument, now)
    if fault is not None:
        return f"{parent.parent_id} {fault}"
    return ParentAmendment(
        ts=now,
        parent_id=parent.parent_id,
        strategy=parent.strategy,
        venue=parent.venue,
        symbol=parent.symbol,
        side=parent.side,
        by=by,
        change=change,
        price=change.price or parent.how.price,
        held=change.action is Action.PAUSE or (parent.held and change.action is not Action.RESUME),
    )


def _fault_of_change(change: Change, parent: Parent, instrument: Instrument, now: int) -> str | None:
    """Why a parent that is worked cannot be changed so, or None."""
    if change.action is Action.CANCEL:
        return None
    if parent.flatten:
        return "closes a position by an operator's will: cancel it, or flatten again"
    if change.action in {Action.PAUSE, Action.RESUME}:
        is_so = parent.held is (change.action is Action.PAUSE)
        return f"is {'paused already' if parent.held else 'not paused'}" if is_so else None
    if change.price is not None and pricing.within(parent.side, change.price, change.price, instrument.tick) is None:
        return f"cannot have a limit of {change.price:f}: it is under one tick of {instrument.tick:f}"
    if change.qty is not None and (fault := _fault_of_qty(change.qty, parent, instrument)):
        return fault
    if change.end is not None and change.end <= max(now, parent.start):
        return "would end before it begins, or in the past; its session and validity are kept: cancel it instead"
    if change.urgency is not None and parent.how.algo not in {Algo.IS, Algo.ADAPTIVE}:
        return f"is a {parent.how.algo}, which knows no urgency: IS and ADAPTIVE do"
    return None


def _fault_of_qty(qty: Decimal, parent: Parent, instrument: Instrument) -> str | None:
    least = parent.taken_qty
    if not is_multiple(qty, instrument.lot):
        return f"cannot be of {qty:f}: no multiple of the lot {instrument.lot:f}"
    if qty / instrument.lot > MAX_LOTS:
        return f"cannot be so large: {too_many_lots(instrument)}"
    if qty < least:
        return f"has {least:f} done or working: ask for no less, or pause it first, which takes back what works"
    return None
