"""Overrides: two persons, one order, one check, and an end; by moments and by a law over whatever is tried."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.causes import TradingState
from core.events import (
    Event,
    OrderApproved,
    OrderDenied,
    OverrideGranted,
    OverrideProposed,
    OverrideUsed,
    ParentAccepted,
    ParentOrder,
    Reason,
    ShadowVerdict,
    TradingHalted,
)
from core.orders import Side
from core.units import NS_PER_S
from risk.exposure import Exposure
from risk.gate import Gate
from risk.limits import Limits, LimitsInForce, StrategyLimits, SymbolLimits
from risk.overrides import EXPIRES_S, EXPIRES_S_MAX, OPEN_MAX, SOFT, Overrides
from tests.builders import (
    NOW,
    accepted,
    book,
    child,
    fold,
    held,
    limits,
    limits_set,
    modelled,
    parent,
    shadow_set,
    working,
)

BUY, SELL = Side.BUY, Side.SELL
ANN, BOB = "ann (1)", "bob (2)"
END = NOW + EXPIRES_S * NS_PER_S
SMALL = SymbolLimits(order_qty_max=Decimal(30), order_notional_max=Decimal(1_000_000))
TENTH = limits(override=True, position_max=Decimal("0.1"))  # 100 shares of 100,000


def proposed(reason: Reason = Reason.POSITION, qty: str = "150", number: int = 1, ts: int = NOW) -> OverrideProposed:
    """By Ann, for a purchase of AAPL by alpha."""
    return OverrideProposed(
        ts=ts,
        override_id=f"o{number}",
        by=ANN,
        strategy="alpha",
        symbol="AAPL",
        side=BUY,
        order_qty=Decimal(qty),
        reason=reason,
        expires=ts + EXPIRES_S * NS_PER_S,
        text="a basket",
    )


def granted(number: int = 1) -> OverrideGranted:
    """By Bob."""
    return OverrideGranted(ts=NOW, override_id=f"o{number}", by=BOB)


class Desk:
    """A gate, and whoever hears it."""

    def __init__(self, *events: Event, bounds: Limits = TENTH) -> None:
        self.exposure: Exposure = book(*(each for each in events if not isinstance(each, OverrideProposed)))
        self.overrides = Overrides()
        self.in_force = LimitsInForce(bounds)
        self.gate = Gate(self.exposure, self.in_force, overrides=self.overrides)
        for each in events:
            if isinstance(each, OverrideProposed):
                self.overrides.propose(each)
                self.overrides.grant(granted(int(each.override_id[1:])))

    def ask(self, order: ParentOrder) -> list[Event]:
        """What the gate says, each folded before the next is decided."""
        said = []
        for event in self.gate.on_parent_order(order):
            said.append(event)
            if isinstance(event, OverrideUsed):
                self.overrides.use(event)
            elif isinstance(event, ParentAccepted):
                fold(self.exposure, event)
        return said

    def reason(self, order: ParentOrder) -> Reason | None:
        """Why an order is denied; None: it is accepted."""
        verdict = self.ask(order)[-1]
        return verdict.reason if isinstance(verdict, OrderDenied) else None


def test_an_order_that_two_people_want_passes_once_and_says_by_which_override() -> None:
    desk = Desk(proposed())
    used, verdict = desk.ask(parent(qty="150"))
    assert used == OverrideUsed(
        ts=NOW, override_id="o1", parent_id="P1", reason=Reason.POSITION, proposed_by=ANN, granted_by=BOB
    )
    assert isinstance(verdict, ParentAccepted)
    assert (verdict.order_qty, verdict.override_id, verdict.waives) == (Decimal(150), "o1", Reason.POSITION)
    assert desk.reason(parent(qty="150", parent_id="P2")) is Reason.POSITION


def test_its_children_are_not_denied_for_it_and_for_everything_else() -> None:
    desk = Desk(proposed())
    desk.ask(parent(qty="150"))
    (approved,) = desk.gate.on_new_order(child(qty="150"))
    assert isinstance(approved, OrderApproved)
    (far,) = desk.gate.on_new_order(child(qty="150", price=Decimal(110)))
    assert isinstance(far, OrderDenied)
    assert far.reason is Reason.COLLAR
    (more,) = desk.gate.on_new_order(child(qty="151"))
    assert isinstance(more, OrderDenied)
    assert more.reason is Reason.OVER_PARENT


def test_an_order_that_may_be_made_smaller_is_not_where_two_people_want_all_of_it() -> None:
    verdict = Desk(proposed()).ask(parent(qty="150", resizable=True))[-1]
    assert isinstance(verdict, ParentAccepted)
    assert verdict.order_qty == 150
    desk = Desk(proposed(qty="149"))
    (verdict,) = desk.ask(parent(qty="150", resizable=True))
    assert isinstance(verdict, ParentAccepted)
    assert (verdict.order_qty, verdict.override_id) == (Decimal(100), "")
    assert len(desk.overrides.open(NOW)) == 1


@pytest.mark.parametrize(
    "order",
    [
        parent(qty="151"),
        parent("SHRT", qty="150"),
        parent("SHRT", SELL, "150"),
        parent(qty="150", strategy="beta"),
    ],
)
def test_it_is_for_what_was_named_and_no_more(order: ParentOrder) -> None:
    desk = Desk(proposed())
    assert desk.reason(order) is Reason.POSITION
    assert len(desk.overrides.open(NOW)) == 1


@pytest.mark.parametrize("ts,denial", [(END - 1, None), (END, Reason.POSITION)])
def test_it_ends(ts: int, denial: Reason | None) -> None:
    desk = Desk(proposed(), bounds=msgspec.structs.replace(TENTH, quote_age_s_max=1_000.0))
    assert desk.reason(parent(qty="150", ts=ts)) is denial


def test_one_person_is_not_enough() -> None:
    desk = Desk()
    desk.overrides.propose(proposed())
    assert desk.reason(parent(qty="150")) is Reason.POSITION


def test_while_overrides_are_off_none_is_used_and_its_children_are_judged_as_others() -> None:
    off = msgspec.structs.replace(TENTH, override=False)
    assert desk_under(off).reason(parent(qty="150")) is Reason.POSITION
    desk = desk_under(TENTH)
    desk.ask(parent(qty="150"))
    desk.in_force.take(limits_set(off))
    (verdict,) = desk.gate.on_new_order(child(qty="150"))
    assert isinstance(verdict, OrderDenied)
    assert verdict.reason is Reason.POSITION
    assert not Limits().override


def desk_under(bounds: Limits) -> Desk:
    return Desk(proposed(), bounds=bounds)


def test_an_order_that_another_check_denies_too_is_denied_and_uses_nothing_up() -> None:
    desk = Desk(proposed(), bounds=msgspec.structs.replace(TENTH, gross_max=Decimal("0.12")))
    (verdict,) = desk.ask(parent(qty="150"))
    assert isinstance(verdict, OrderDenied)
    assert verdict.reason is Reason.POSITION
    assert len(desk.overrides.open(NOW)) == 1


# For each reason that may be overridden, limits and a past under which a purchase of 100 is denied for it alone.
FEW = SymbolLimits(order_qty_max=Decimal(99), order_notional_max=Decimal(1_000_000))
CHEAP = SymbolLimits(order_qty_max=Decimal(1_000), order_notional_max=Decimal(9_999))
DENIED: dict[Reason, tuple[Limits, tuple[Event, ...]]] = {
    Reason.ORDER_SIZE: (limits(symbols_default=FEW), ()),
    Reason.ORDER_NOTIONAL: (limits(symbols_default=CHEAP), ()),
    Reason.POSITION: (limits(position_max=Decimal("0.05")), ()),
    Reason.POSITIONS: (limits(positions_max=1), (held("LOTS", 100),)),
    Reason.SECTOR: (limits(sector_max=Decimal("0.05")), ()),
    Reason.CLUSTER: (limits(cluster_max=Decimal("0.05")), (modelled(),)),
    Reason.PARTICIPATION: (limits(participation_max=Decimal("0.001")), ()),
    Reason.DUPLICATE: (limits(duplicate_window_s=1.0), (accepted(parent(parent_id="P0")),)),
    Reason.PARENTS_PER_DAY: (limits(parents_per_day=1), (accepted(parent(parent_id="P0", qty="1")),)),
}


def test_every_reason_that_may_be_overridden_has_its_order() -> None:
    assert set(DENIED) == SOFT


@pytest.mark.parametrize("reason", sorted(SOFT))
def test_it_waives_its_reason_for_parent_and_children(reason: Reason) -> None:
    bounds, events = DENIED[reason]
    bounds = msgspec.structs.replace(bounds, override=True)
    assert Desk(*events, bounds=bounds).reason(parent()) is reason
    desk = Desk(*events, proposed(reason), bounds=bounds)
    assert desk.reason(parent()) is None
    (verdict,) = desk.gate.on_new_order(child())
    assert isinstance(verdict, OrderApproved)


def test_of_a_size_that_is_waived_the_money_still_counts() -> None:
    both = SymbolLimits(order_qty_max=Decimal(99), order_notional_max=Decimal(9_999))
    desk = Desk(proposed(Reason.ORDER_SIZE), bounds=limits(symbols_default=both, override=True))
    assert desk.reason(parent()) is Reason.ORDER_SIZE
    assert len(desk.overrides.open(NOW)) == 1


HALTED = TradingHalted(ts=NOW, cause="drill", state=TradingState.HALTED)
HARD: list[tuple[Reason, Limits, tuple[Event, ...], ParentOrder]] = [
    (Reason.STATE, limits(), (HALTED,), parent()),
    (Reason.RESTRICTED, limits(restricted=("AAPL",)), (), parent()),
    (Reason.PERMISSION, limits(strategies={"beta": StrategyLimits()}), (), parent()),
    (Reason.GROSS, limits(gross_max=Decimal("0.05")), (), parent()),
    (Reason.NO_LIMIT, limits(symbols_default=SymbolLimits()), (), parent()),
    (Reason.SHORT, limits(), (), parent(side=SELL)),
]


@pytest.mark.parametrize("reason,bounds,events,order", HARD)
def test_what_is_not_a_matter_of_judgement_is_waived_for_nobody(
    reason: Reason, bounds: Limits, events: tuple[Event, ...], order: ParentOrder
) -> None:
    """Whoever put it into the journal."""
    wanted = msgspec.structs.replace(proposed(reason), side=order.side)
    assert Desk(*events, wanted, bounds=msgspec.structs.replace(bounds, override=True)).reason(order) is reason


# Who may ask for what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason,expires_s,why,said",
    [
        (Reason.POSITION, 1, "a basket", ""),
        (Reason.POSITION, EXPIRES_S_MAX, "a basket", ""),
        (Reason.STATE, 1, "a basket", "STATE is overridden by nobody; what may be: CLUSTER, DUPLICATE, "),
        (Reason.POSITION, 0, "a basket", "an override ends after 1 to 3,600 s"),
        (Reason.POSITION, EXPIRES_S_MAX + 1, "a basket", "an override ends after 1 to 3,600 s"),
        (Reason.POSITION, 1, " ", "say why: it stays on record"),
    ],
)
def test_what_may_not_be_proposed_is_refused_with_words(reason: Reason, expires_s: int, why: str, said: str) -> None:
    assert Overrides().why_not_proposed(reason, expires_s, why, NOW).startswith(said)
    assert bool(said) == bool(Overrides().why_not_proposed(reason, expires_s, why, NOW))


def test_so_many_are_open_at_a_time_and_those_that_are_over_are_forgotten() -> None:
    overrides = Overrides()
    for number in range(OPEN_MAX):
        assert not overrides.why_not_proposed(Reason.POSITION, 1, "why", NOW)
        overrides.propose(proposed(number=number))
    assert overrides.why_not_proposed(Reason.POSITION, 1, "why", NOW) == "20 are open already: wait until they end"
    assert not overrides.why_not_proposed(Reason.POSITION, 1, "why", END)
    overrides.propose(proposed(number=99, ts=END))
    assert [each.proposed.override_id for each in overrides.open(0)] == ["o99"]


def test_who_proposed_it_does_not_grant_it_and_nobody_does_twice() -> None:
    overrides = Overrides()
    assert overrides.why_not_granted("o1", BOB, NOW).startswith("o1 is not open: ")
    overrides.propose(proposed())
    assert overrides.why_not_granted("o1", ANN, NOW) == f"{ANN} has proposed it: it takes another supervisor"
    assert not overrides.why_not_granted("o1", BOB, NOW)
    assert overrides.why_not_granted("o1", BOB, END).startswith("o1 is not open: ")
    overrides.grant(granted())
    assert overrides.why_not_granted("o1", "eve (3)", NOW) == f"o1 was granted by {BOB}"


STEPS = st.one_of(
    st.tuples(st.just("propose"), st.sampled_from([Reason.POSITION, Reason.STATE]), st.sampled_from([100, 150])),
    st.tuples(st.just("grant"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("ask"), st.sampled_from([90, 100, 140, 160]), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.sampled_from([1, 200]), st.just(0)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
)


@given(st.lists(STEPS, max_size=25))
def test_an_order_passes_over_a_limit_exactly_where_a_grant_that_is_neither_used_nor_over_covers_it(
    steps: list[tuple[str, int | Reason, int]],
) -> None:
    """What is accepted is ended at once, so that 100 shares are the limit each time."""
    bounds = msgspec.structs.replace(TENTH, quote_age_s_max=86_400.0)
    desk, now = Desk(bounds=bounds), NOW
    open_now: dict[int, tuple[OverrideProposed, bool]] = {}
    for number, (what, of, size) in enumerate(steps):
        if what == "propose":
            assert isinstance(of, Reason)
            event = proposed(of, str(size), number, now)
            desk.overrides.propose(event)
            open_now[number] = event, False
        elif what == "grant" and open_now:
            chosen = sorted(open_now)[int(of) % len(open_now)]
            desk.overrides.grant(granted(chosen))
            open_now[chosen] = open_now[chosen][0], True
        elif what == "wait":
            now += int(of) * NS_PER_S
        elif what == "restart":
            again = Overrides()
            again.load(msgspec.json.decode(msgspec.json.encode(desk.overrides.dump())))
            desk.overrides, desk.gate = again, Gate(desk.exposure, desk.in_force, overrides=again)
        elif what == "ask":
            desk.exposure = book()
            desk.gate = Gate(desk.exposure, desk.in_force, overrides=desk.overrides)
            order = parent(qty=str(of), parent_id=f"P{number}", ts=now)
            covering = [
                key
                for key, (event, is_granted) in open_now.items()
                if is_granted
                and event.reason is Reason.POSITION
                and now < event.expires
                and order.order_qty <= event.order_qty
            ]
            said = desk.ask(order)
            needs_one = order.order_qty > 100
            assert isinstance(said[-1], ParentAccepted) == (not needs_one or bool(covering))
            if needs_one and covering:
                assert isinstance(said[0], OverrideUsed)
                assert said[0].override_id == f"o{covering[0]}"
                del open_now[covering[0]]
            else:
                assert len(said) == 1


@pytest.mark.parametrize(
    "shadow,shadow_qty",
    [
        (TENTH, []),  # by the same limits what two people want passes likewise
        (limits(position_max=Decimal("0.01")), []),  # and by any limit of what they want it not to be denied for
        (limits(symbols_default=SMALL), [Decimal(30)]),  # others still cut it
    ],
)
def test_shadow_limits_waive_what_is_waived_as_they_do_for_its_children(
    shadow: Limits, shadow_qty: list[Decimal]
) -> None:
    desk = Desk(proposed(), *working("AAPL", BUY, 20))
    desk.in_force.shade(shadow_set(shadow))
    used, verdict, *said = desk.ask(parent(qty="150", resizable=True))
    assert isinstance(used, OverrideUsed)
    assert isinstance(verdict, ParentAccepted)
    assert [each.shadow_qty for each in said if isinstance(each, ShadowVerdict)] == shadow_qty


def test_others_work_as_before_beside_an_override() -> None:
    desk = Desk(proposed(), *working("AAPL", BUY, 40))
    assert desk.reason(parent(qty="150")) is None
    assert desk.reason(parent(qty="1", parent_id="P2")) is Reason.POSITION  # what it holds reserved counts for all
