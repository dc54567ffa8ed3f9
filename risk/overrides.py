"""Overrides (R24): one order is let in although one check denies it, where two supervisors want that.

One proposes: strategy, symbol, side, a largest quantity, the reason of the denial, why, and for how long. Another one
grants. The gate uses it up with the first parent that it fits and that is denied for this reason alone; all other
checks hold, for the parent and for its children. Who did what is on record. What nobody uses ends by itself.
"""

import msgspec

from core.events import OverrideGranted, OverrideProposed, OverrideUsed, ParentOrder, Reason

SOFT = (
    frozenset(  # what may be overridden: limits that are a matter of judgement, and none that keeps the books straight
        {
            Reason.ORDER_SIZE,
            Reason.ORDER_NOTIONAL,
            Reason.POSITION,
            Reason.POSITIONS,
            Reason.SECTOR,
            Reason.CLUSTER,
            Reason.PARTICIPATION,
            Reason.DUPLICATE,
            Reason.PARENTS_PER_DAY,
        }
    )
)
OPEN_MAX = 20  # proposed and granted at a time
EXPIRES_S = 300  # unless somebody says otherwise
EXPIRES_S_MAX = 3_600


class Override(msgspec.Struct):
    """What is proposed, and who has granted it; nobody yet where that is empty."""

    proposed: OverrideProposed
    granted_by: str = ""

    def fits(self, order: ParentOrder, reason: Reason) -> bool:
        """Whether this order, which is denied for this reason, is the one that was meant."""
        wanted = self.proposed
        is_his = (order.strategy, order.symbol, order.side) == (wanted.strategy, wanted.symbol, wanted.side)
        is_meant = is_his and order.order_qty <= wanted.order_qty and reason is wanted.reason
        return is_meant and bool(self.granted_by) and reason in SOFT


class Overrides:
    """Those that are neither used up nor over."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, Override] = {}

    # questions

    def open(self, now: int) -> list[Override]:
        """All of them, oldest first."""
        return [each for each in self._found.values() if now < each.proposed.expires]

    def why_not_proposed(self, reason: Reason, expires_s: int, why: str, now: int) -> str:
        """Why an override of this reason may not be proposed now; empty where it may."""
        if reason not in SOFT:
            return f"{reason} is overridden by nobody; what may be: {', '.join(sorted(SOFT))}"
        if not 0 < expires_s <= EXPIRES_S_MAX:
            return f"an override ends after 1 to {EXPIRES_S_MAX:,} s"
        if not why.strip():
            return "say why: it stays on record"
        return f"{OPEN_MAX} are open already: wait until they end" if len(self.open(now)) >= OPEN_MAX else ""

    def why_not_granted(self, override_id: str, by: str, now: int) -> str:
        """Why somebody may not grant this one; empty where he may."""
        found = self._found.get(override_id)
        if found is None or found not in self.open(now):
            return f"{override_id} is not open: it was used, or is over; `execd risk show` lists those that are"
        if found.granted_by:
            return f"{override_id} was granted by {found.granted_by}"
        return f"{by} has proposed it: it takes another supervisor" if found.proposed.by == by else ""

    # folds

    def propose(self, event: OverrideProposed) -> None:
        """One more waits for a second person; those that are over are forgotten."""
        self._found = {each.proposed.override_id: each for each in self.open(event.ts)}
        self._found[event.override_id] = Override(event)

    def grant(self, event: OverrideGranted) -> None:
        """The second person agrees."""
        found = self._found.get(event.override_id)
        if found is not None:
            found.granted_by = found.granted_by or event.by

    def use(self, event: OverrideUsed) -> None:
        """It was for one order."""
        self._found.pop(event.override_id, None)

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {"open": [msgspec.to_builtins(each) for each in self._found.values()]}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        found = msgspec.convert(dumped["open"], list[Override])
        self._found = {each.proposed.override_id: each for each in found}
