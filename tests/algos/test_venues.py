"""Where a child goes: row by row, by laws, and against a second router that is slow and obvious."""

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos import venues as module
from algos.venues import (
    HALF_LIFE_NS,
    LATENCY_S,
    PAUSE_NS,
    REJECTS,
    TRY_NS,
    WEIGHT,
    Access,
    Average,
    Venues,
    VenueSettings,
)
from core.events import (
    Event,
    MarketData,
    NewOrderSingle,
    OrderApproved,
    OrderUpdated,
    VenueAway,
    VenueChosen,
)
from core.instruments import Instrument, Instruments, VenueAbility
from core.orders import OrdStatus, OrdType, Side
from core.units import NS_PER_MS, NS_PER_S, ZERO
from tests.builders import NOW, approved, child, ended, parent, quote, reported, session, updated

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
NAMES = ("paper", "fast", "far")
INSTRUMENTS = Instruments(
    [
        Instrument(symbol="AAPL", venues=NAMES, volatility=0.02),
        Instrument(symbol="LOTS", venues=NAMES, lot=D(100)),
        Instrument(symbol="LEAST", venues=NAMES, min_notional=D(500)),
        Instrument(symbol="SHRT"),
    ]
)


class Desk(msgspec.Struct):
    """What the account has and may do; implements `algos.venues.Access`."""

    abilities: dict[str, VenueAbility]
    held: dict[str, Decimal] = {}
    barred: set[str] = set()

    def admits(self, parent_id: str, strategy: str, venue: str) -> bool:
        del parent_id, strategy
        return venue not in self.barred

    def closable(self, venue: str, symbol: str, side: Side) -> Decimal:
        del symbol
        return max(-side.sign * self.held.get(venue, ZERO), ZERO)


def desk(*, held: dict[str, str] | None = None, barred: Iterable[str] = (), **fees: str) -> Desk:
    """All venues alike, but for what is said."""
    abilities = {name: VenueAbility(fee_bps=D(fees.get(name, "0"))) for name in NAMES}
    return Desk(abilities, {venue: D(qty) for venue, qty in (held or {}).items()}, set(barred))


def router(access: Access, *events: Event, **settings: Any) -> Venues:  # noqa: ANN401
    return told(Venues(INSTRUMENTS, access, VenueSettings(**settings)), *events)


def told(venues: Venues, *events: Event) -> Venues:
    folds: dict[type[Event], Any] = {
        OrderApproved: venues.approve,
        OrderUpdated: venues.update,
        VenueAway: venues.lose,
        VenueChosen: venues.choose,
        type(reported("1")): venues.hear,
        type(ended(parent())): venues.end,
    }
    for event in events:
        folds[type(event)](event)
    return venues


def at(venue: str, event: Any) -> Any:  # noqa: ANN401 - of any event that names a venue
    return msgspec.structs.replace(event, venue=venue)


def sent(venue: str, status: OrdStatus, *, ms: int = 50, ts: int = NOW, number: int = 1) -> list[Event]:
    """An order that a venue says something of after so long."""
    order = child("AAPL", venue=venue, cl_ord_id=f"X{number}", parent_id="X", ts=ts)
    return [approved(order), updated(order, status, ts=ts + ms * NS_PER_MS)]


def placed(
    venues: Venues, order: NewOrderSingle | None = None, market: MarketData | None = None
) -> tuple[VenueChosen | None, NewOrderSingle | None]:
    """The choice, where there is one, and the child as it goes."""
    found = list(venues.place(order or child("AAPL"), market or quote("AAPL")))
    choice = found[0] if found and isinstance(found[0], VenueChosen) else None
    last = found[-1] if found and isinstance(found[-1], NewOrderSingle) else None
    assert len(found) == (choice is not None) + (last is not None)
    assert choice is None or (last is not None and choice.venue == last.venue)
    return choice, last


def away(venue: str, ts: int = NOW) -> VenueAway:
    return VenueAway(ts=ts, venue=venue, text="no line")


def times(events: list[Event], count: int) -> list[Event]:
    return events * count


CASES: dict[str, tuple[Desk, list[Event], str | None]] = {
    "of equals the first that the instrument names": (desk(), [], "paper"),
    "the lower fee": (desk(paper="2", fast="1", far="3"), [], "fast"),
    "a rebate": (desk(paper="0", far="-1"), [], "far"),
    "not who is slow": (desk(), times(sent("paper", OrdStatus.NEW, ms=5_000), 20), "fast"),
    "who is quick": (desk(), times(sent("far", OrdStatus.NEW, ms=1), 30), "far"),
    "not who rejects": (desk(), times(sent("paper", OrdStatus.REJECTED), 3), "fast"),
    "not who cannot be asked": (desk(fast="5", far="6"), [away("paper")], "fast"),
    "but again once it says anything": (desk(), [away("paper"), reported("1")], "paper"),
    "or takes an order": (desk(), [away("paper"), *sent("paper", OrdStatus.NEW)], "paper"),
    "not who did not get an order": (desk(far="1"), sent("paper", OrdStatus.NOT_SENT), "fast"),
    "nor who may not have": (desk(far="1"), sent("paper", OrdStatus.UNKNOWN), "fast"),
    "nowhere where all are away": (desk(), [away(name) for name in NAMES], None),
    "not where the strategy may not trade": (desk(barred=["paper"]), [], "fast"),
    "where it is held, at any cost": (desk(held={"far": "-100"}, far="90"), [], "far"),
    "the cheaper of those that hold it": (desk(held={"far": "-100", "fast": "-100"}, far="1"), [], "fast"),
    "what is held on its own side closes nothing": (desk(held={"far": "100"}, far="1"), [], "paper"),
    "nowhere else while who holds it is away": (desk(held={"far": "-100"}), [away("far")], None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_child_goes_to(case: str) -> None:
    access, events, expected = CASES[case]
    venues = router(access, *events)
    choice, order = placed(venues, child("AAPL", ts=NOW + 6 * NS_PER_S))
    assert (order.venue if order is not None else None) == expected
    assert (choice is None) == (expected is None)


def test_one_venue_is_no_choice_but_how_it_is_can_be_asked() -> None:
    venues = router(desk())
    order = child("SHRT")
    assert list(venues.place(order, None)) == [order]
    alone = Venues(Instruments([Instrument(symbol="AAPL")]), desk(), VenueSettings())
    told(alone, *sent("paper", OrdStatus.REJECTED), away("paper"))
    assert list(alone.place(order := child("AAPL"), None)) == [order]
    (found,) = alone.standing(NOW)
    assert (found.venue, found.away, found.rejects > REJECTS) == ("paper", "no line", True)


def test_a_parent_keeps_its_venue_until_another_is_cheaper_by_more_than_the_bound() -> None:
    access = desk(fast="0.25", far="9")
    venues = router(access, switch_bps=D("0.25"))
    choice, order = placed(venues)
    assert choice is not None
    told(venues, choice)
    assert placed(venues) == (None, order)
    access.abilities["paper"] = VenueAbility(fee_bps=D("0.5"))
    assert placed(venues) == (None, order)
    access.abilities["paper"] = VenueAbility(fee_bps=D("0.51"))
    moved, _ = placed(venues)
    assert moved is not None
    assert (moved.was, moved.venue) == ("paper", "fast")
    assert [each.venue for each in moved.alternatives] == list(NAMES)
    assert moved.reason.endswith("; paper: " + f"{moved.alternatives[0].cost_bps:.2f} bps")
    told(venues, moved, ended(parent()))
    assert venues.dump()["chosen"] == {}


def test_a_venue_that_did_not_get_an_order_is_tried_again_after_a_while() -> None:
    venues = router(desk(fast="5", far="6"), *sent("paper", OrdStatus.NOT_SENT, ms=0))
    last, first = NOW + PAUSE_NS - 1, NOW + PAUSE_NS
    assert [placed(venues, child("AAPL", ts=ts))[1].venue for ts in (last, first)] == ["fast", "paper"]  # type: ignore[union-attr]


def test_what_closes_is_tried_where_it_lies_a_minute_after_an_outage_and_opens_nowhere() -> None:
    venues = router(desk(held={"far": "-100"}), away("far"))
    late = NOW + TRY_NS
    assert placed(venues, child("AAPL", ts=late - 1)) == (None, None)
    choice, order = placed(venues, child("AAPL", ts=late))
    assert order is not None
    assert order.venue == "far"
    assert choice is not None
    assert choice.alternatives[2].text == "no line"  # on record
    told(venues, *sent("far", OrdStatus.NOT_SENT, ts=late, ms=0))
    assert placed(venues, child("AAPL", ts=late + TRY_NS - 1)) == (None, None)
    assert placed(venues, child("AAPL", ts=late + TRY_NS))[1] is not None
    barred = router(desk(held={"far": "-100"}, barred=["far"]), away("far"))
    assert placed(barred, child("AAPL", ts=late)) == (None, None)
    nothing_held = router(desk(), *(away(name) for name in NAMES))
    assert placed(nothing_held, child("AAPL", ts=late)) == (None, None)


def test_a_pause_makes_no_outage_shorter() -> None:
    venues = router(desk(), away("paper"), *sent("paper", OrdStatus.NOT_SENT))
    _, order = placed(venues, child("AAPL", ts=NOW + 10 * PAUSE_NS))
    assert order is not None
    assert order.venue == "fast"


def test_a_child_is_no_larger_than_what_it_closes_at_its_venue_in_whole_lots() -> None:
    access = desk(held={"fast": "250", "far": "60"})
    _, order = placed(router(access), child("LOTS", SELL, "900"), quote("LOTS"))
    assert order is not None
    assert (order.venue, order.order_qty) == ("fast", D(200))


def test_what_lies_where_is_sold_in_parts_that_its_venue_takes() -> None:
    """500 in money at 100: five shares."""
    venues = router(desk(held={"paper": "4", "fast": "73", "far": "20"}, fast="9", far="5"))

    def sold(qty: str) -> tuple[str, Decimal] | None:
        _, order = placed(venues, child("LEAST", SELL, qty, price=D(100)), quote("LEAST"))
        return None if order is None else (order.venue, order.order_qty)

    assert sold("11") == ("far", D(11))  # nothing of the four at the cheapest
    assert sold("17") == ("far", D(13))  # leaves as many as may follow
    assert sold("50") == ("far", D(20))


@pytest.mark.parametrize(
    "held, side, qty, venue",
    [
        ({"fast": "3"}, SELL, "100", "fast"),
        ({"fast": "3", "far": "2"}, SELL, "100", "fast"),
        ({"far": "-3"}, BUY, "100", "far"),
        ({}, SELL, "100", "paper"),
    ],
)
def test_where_less_lies_than_may_be_sent_alone_more_is_sent_there(
    held: dict[str, str], side: Side, qty: str, venue: str
) -> None:
    venues = router(desk(held=held, paper="0", fast="1", far="2"))
    _, order = placed(venues, child("LEAST", side, qty, price=D(100)), quote("LEAST"))
    assert order is not None
    assert (order.venue, order.order_qty) == (venue, D(qty))


@pytest.mark.parametrize("field", ["ord_types", "times_in_force"])
def test_a_venue_that_does_not_take_such_an_order_is_none(field: str) -> None:
    access = desk()
    none: frozenset[Any] = frozenset()
    access.abilities["paper"] = msgspec.structs.replace(access.abilities["paper"], **{field: none})
    choice, order = placed(router(access))
    assert choice is not None
    assert order is not None
    assert order.venue == "fast"
    assert choice.alternatives[0].text.startswith("it takes no ")


# The parts ------------------------------------------------------------------------------------------------------------

AAPL = INSTRUMENTS["AAPL"]


def crossing(qty: str, side: Side = BUY) -> NewOrderSingle:
    return child("AAPL", side, qty, ord_type=OrdType.MARKET, price=None)


PARTS: dict[str, tuple[float, float]] = {
    "fee": (module.fee_bps(VenueAbility(fee_bps=D(1)), child(), None, AAPL), 1.0),
    "money per share of the price": (
        module.fee_bps(VenueAbility(fee_per_share=D("0.01")), child(ord_type=OrdType.LIMIT, price=D(50)), None, AAPL),
        2.0,
    ),
    "or of the mid": (module.fee_bps(VenueAbility(fee_per_share=D("0.01")), child(), quote(), AAPL), 1.0),
    **{
        f"of who {what}": (
            module.fee_bps(VenueAbility(fee_bps=D(5), maker_fee_bps=D(-1)), child(price=price, **kind), market, AAPL),
            bps,
        )
        for what, kind, price, market, bps in (
            ("rests", {"ord_type": OrdType.LIMIT}, D("99.99"), quote(), -1.0),
            ("sells at rest", {"ord_type": OrdType.LIMIT, "side": SELL}, D("100.01"), quote(), -1.0),
            ("crosses", {"ord_type": OrdType.LIMIT}, D("100.01"), quote(), 5.0),
            ("has no price", {"ord_type": OrdType.MARKET}, None, quote(), 5.0),
            ("may do either", {"ord_type": OrdType.LIMIT}, D("99.99"), None, 5.0),
        )
    },
    "half the spread": (module.spread_bps(VenueAbility(), crossing("1"), quote()), 1.0),
    "nothing where it rests": (
        module.spread_bps(VenueAbility(), child(ord_type=OrdType.LIMIT, price=D(100)), quote()),
        0.0,
    ),
    "nor without a market": (module.spread_bps(VenueAbility(), crossing("1"), None), 0.0),
    "a share of what is displayed": (
        module.spread_bps(VenueAbility(depth_share=D("0.5")), crossing("100"), quote()),
        2.0,
    ),
    "a quarter of the session": (
        module.latency_bps((session().close - session().open) / NS_PER_S / 4, NOW, AAPL),
        100.0,
    ),
    "without a volatility": (module.latency_bps(1.0, NOW, INSTRUMENTS["SHRT"]), 0.0),
}


@pytest.mark.parametrize("case", PARTS)
def test_the_parts_of_a_cost(case: str) -> None:
    found, expected = PARTS[case]
    assert found == pytest.approx(expected)


def test_an_average_is_drawn_to_what_is_assumed() -> None:
    average = Average(1.0, 1.0)
    average.add(3.0, NOW)
    assert average.at(NOW) == pytest.approx(1.2)
    assert average.at(NOW + HALF_LIFE_NS) == pytest.approx(1.1)
    assert average.at(NOW + 100 * HALF_LIFE_NS) == pytest.approx(1.0)


# Laws -----------------------------------------------------------------------------------------------------------------

HEARD = st.tuples(
    st.sampled_from([OrdStatus.NEW, OrdStatus.REJECTED, OrdStatus.NOT_SENT, OrdStatus.UNKNOWN, None, "away", "word"]),
    st.sampled_from(NAMES),
    st.integers(1, 3_000),  # ms that it takes
    st.integers(0, 60),  # s since the one before
)
DESKS = st.builds(
    lambda fees, shares, held, barred: Desk(
        {
            name: VenueAbility(fee_bps=fee, depth_share=share)
            for name, fee, share in zip(NAMES, fees, shares, strict=True)
        },
        dict(zip(NAMES, held, strict=True)),
        barred,
    ),
    st.lists(st.decimals(-2, 4, places=1), min_size=3, max_size=3),
    st.lists(st.sampled_from([D("0.1"), D("0.5"), D(1)]), min_size=3, max_size=3),
    st.lists(st.sampled_from([ZERO, D(0), D(30), D(-50)]), min_size=3, max_size=3),
    st.sets(st.sampled_from(NAMES), max_size=1),
)
ORDERS = st.builds(crossing, st.sampled_from(["10", "100", "500"]), st.sampled_from(Side))


class Slow:
    """Goes through all that was ever heard, each time that it is asked."""

    def __init__(self, access: Desk, settings: VenueSettings) -> None:
        self.access = access
        self.settings = settings
        self.heard: list[tuple[Any, str, int, int]] = []  # what, venue, ms, and when it was heard
        self.has = ""

    def average(self, venue: str, assumed: float, values: dict[Any, float], now: int) -> float:
        value, ts = assumed, 0
        for what, name, ms, when in self.heard:
            if name == venue and what in values:
                value = assumed + (value - assumed) * math.pow(0.5, (when - ts) / HALF_LIFE_NS)
                value, ts = (1 - WEIGHT) * value + WEIGHT * (values[what] if values[what] >= 0 else ms / 1_000), when
        return assumed + (value - assumed) * math.pow(0.5, (now - ts) / HALF_LIFE_NS)

    def is_away(self, venue: str, now: int) -> bool:
        until: float = 0
        for what, name, _, when in self.heard:
            if name == venue:
                if what == "away":
                    until = math.inf
                elif what in {OrdStatus.NEW, OrdStatus.REJECTED, "word"}:
                    until = 0
                elif what in {OrdStatus.NOT_SENT, OrdStatus.UNKNOWN} and until <= when:
                    until = when + PAUSE_NS
        return now < until

    def was_lost(self, venue: str) -> int:
        lost = {"away", OrdStatus.NOT_SENT, OrdStatus.UNKNOWN}
        return max((when for what, name, _, when in self.heard if name == venue and what in lost), default=0)

    def cost(self, venue: str, order: NewOrderSingle) -> Decimal:
        lost = dict.fromkeys([OrdStatus.REJECTED, OrdStatus.NOT_SENT, OrdStatus.UNKNOWN], 1.0)
        latency = self.average(venue, LATENCY_S, {OrdStatus.NEW: -1.0}, order.ts)
        rejects = self.average(venue, REJECTS, {OrdStatus.NEW: 0.0, **lost}, order.ts)
        day = (session().close - session().open) / NS_PER_S
        crosses = max(1.0, float(order.order_qty / (100 * self.access.abilities[venue].depth_share)))
        parts = [0.02 * math.sqrt(latency / day) * 10_000, rejects * 10, crosses]
        return self.access.abilities[venue].fee_bps + sum((D(str(round(part, 4))) for part in parts), ZERO)

    def choose(self, order: NewOrderSingle) -> str | None:
        held = {venue: max(-order.side.sign * self.access.held[venue], ZERO) for venue in NAMES}
        fit = [
            venue
            for venue in NAMES
            if not self.is_away(venue, order.ts)
            and venue not in self.access.barred
            and (held[venue] or not any(held.values()))
        ]
        if not fit and any(held.values()):  # where else could it be closed?
            allowed = [venue for venue in NAMES if held[venue] and venue not in self.access.barred]
            fit = [venue for venue in allowed if order.ts >= self.was_lost(venue) + TRY_NS]
        if not fit:
            return None
        costs = {venue: self.cost(venue, order) for venue in fit}
        least = min(costs.values())
        if self.has in costs and costs[self.has] - least <= self.settings.switch_bps:
            return self.has
        return next(venue for venue in fit if costs[venue] == least)


@given(DESKS, st.lists(HEARD | ORDERS, max_size=40), st.integers(0, 40))
def test_it_chooses_as_whoever_goes_through_everything_again_also_over_a_restart(
    access: Desk, steps: list[Any], restart: int
) -> None:
    settings = VenueSettings()
    venues, slow, now = router(access), Slow(access, settings), NOW
    for number, step in enumerate(steps):
        if number == restart:
            again = router(access)
            again.load(msgspec.json.decode(msgspec.json.encode(venues.dump()), type=dict[str, object]))
            venues = again
        if isinstance(step, NewOrderSingle):
            order = msgspec.structs.replace(step, ts=now)
            choice, goes = placed(venues, order)
            expected = slow.choose(order)
            assert (goes.venue if goes is not None else None) == expected
            if goes is not None and expected is not None:
                free = max(-order.side.sign * access.held[goes.venue], ZERO)
                closes = any(-order.side.sign * qty > 0 for qty in access.held.values())
                assert closes or not slow.is_away(goes.venue, now)
                assert goes.order_qty == (min(order.order_qty, free) if closes else order.order_qty)
                assert (choice is None) == (goes.venue == slow.has)
                slow.has = goes.venue
            if choice is not None:
                told(venues, choice)
            continue
        what, venue, ms, later = step
        now += later * NS_PER_S
        if what is None:
            continue
        if what == "away":
            told(venues, away(venue, now))
        elif what == "word":
            told(venues, at(venue, reported("1", ts=now)))
        else:
            told(venues, *sent(venue, what, ms=ms, ts=now, number=number))
            now += ms * NS_PER_MS
        slow.heard.append((what, venue, ms, now))


@given(
    DESKS, st.lists(HEARD, max_size=20), ORDERS, st.sampled_from(NAMES), st.sampled_from(["fee", "latency", "rejects"])
)
def test_who_gets_worse_is_not_chosen_for_it(
    access: Desk, heard: list[Any], order: NewOrderSingle, venue: str, how: str
) -> None:
    """Nor does who was chosen lose it to a third venue when another gets worse."""
    events: list[Event] = []
    for number, (what, name, ms, _) in enumerate(heard):
        if isinstance(what, OrdStatus):
            events += sent(name, what, ms=ms, number=number)
    order = msgspec.structs.replace(order, ts=NOW + 60 * NS_PER_S)
    before = router(access, *events)
    _, goes = placed(before, order)
    if how == "fee":
        worse = msgspec.structs.replace(access.abilities[venue], fee_bps=access.abilities[venue].fee_bps + 1)
        after = router(Desk({**access.abilities, venue: worse}, access.held, access.barred), *events)
    elif how == "latency":
        after = router(access, *events, *sent(venue, OrdStatus.NEW, ms=3_000, number=99))
        rejects = after._records[venue].rejects  # of an order that is taken the rejects get better: not these
        rejects.value, rejects.ts = (each := before._records[venue].rejects).value, each.ts
    else:
        after = router(access, *events, *sent(venue, OrdStatus.REJECTED, number=99))
    _, then = placed(after, order)
    assert (goes is None) == (then is None)
    if goes is not None and then is not None and then.venue != goes.venue:
        assert goes.venue == venue


def test_the_settings_are_bounded() -> None:
    for name in ("reject_bps", "switch_bps"):
        for value in ("-1", "nan", "1001"):
            with pytest.raises(ValueError, match=f"{name} = .*: 0 to 1,000 bps belong here"):
                VenueSettings(**{name: D(value)})
