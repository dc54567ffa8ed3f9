"""What trips trading, and what stops a strategy: moments by a table, and slow second opinions on any path of events."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.causes import ACCOUNT, DAILY_LOSS, DRAWDOWN, FAILURES, REJECTS, SLIPPAGE, TradingState, WorkingOrders
from core.events import (
    AccountReported,
    CashMoved,
    DaemonStarted,
    DayRolled,
    EndReason,
    Event,
    FillBooked,
    HighWaterMarkReset,
    MarketData,
    NewOrderSingle,
    OrderApproved,
    OrderDenied,
    OrderUnresolved,
    OrderUpdated,
    ParentAccepted,
    ParentEnded,
    Reason,
    StrategyResumed,
    StrategyStopped,
    TimeAdvanced,
    TradingHalted,
    TradingResumed,
)
from core.orders import TERMINAL, OrdStatus, Side
from core.signals import Algo, Instruction
from core.units import NS_PER_DAY, NS_PER_S
from daemon.bus import Bus
from risk.exposure import Exposure
from risk.guard import LATEST_NS, LOOKS, Guard
from risk.limits import Limits, LimitsInForce
from risk.stood import CONFIRM_NS
from tests.builders import (
    NOW,
    accepted,
    approved,
    child,
    denied,
    filled,
    fold,
    given_up,
    held,
    limits,
    moved,
    opened,
    parent,
    quote,
    reported,
    silent,
    updated,
)
from tests.pure_bus import PureBus, Reply, scripted

D = Decimal
BOUNDS = limits(daily_loss_max=D("0.02"), drawdown_max=D("0.1"))


class Scene:
    """An account with 100,000, of which 50,000 are in 500 shares at 100."""

    def __init__(self, bounds: Limits = BOUNDS) -> None:
        self.bus, self.exposure = Bus(), silent()
        self.guard = Guard(self.exposure, LimitsInForce(bounds))
        self.trace: list[Event] = []
        self.now = NOW
        self.sent: set[int] = set()
        self.connect(self.exposure, self.guard)
        self.bus.publish(opened())
        self.bus.publish(held("AAPL", 500))
        self.price("100")
        self.trace.clear()

    def connect(self, exposure: Exposure, guard: Guard) -> None:
        bus = self.bus
        bus.fold(type(opened()), exposure.account, guard.account)
        bus.fold(DaemonStarted, guard.start)
        bus.fold(FillBooked, guard.fill, exposure.fill)
        bus.fold(MarketData, exposure.quote, guard.look)
        bus.fold(AccountReported, exposure.hear)
        bus.fold(CashMoved, exposure.move, guard.move)
        bus.fold(TradingHalted, exposure.halt)
        bus.fold(TradingResumed, exposure.resume, guard.resume)
        bus.fold(ParentAccepted, exposure.accept, guard.accept)
        bus.fold(StrategyStopped, exposure.stop)
        bus.fold(StrategyResumed, exposure.let_go_on, guard.let_go_on)
        bus.fold(OrderUnresolved, guard.give_up, exposure.give_up)
        bus.fold(OrderApproved, exposure.approve)
        bus.fold(OrderUpdated, guard.update, exposure.update)
        bus.fold(OrderDenied)
        bus.fold(DayRolled, guard.roll)
        bus.fold(HighWaterMarkReset, guard.reset)
        bus.on(MarketData, guard.on_market)
        bus.on(AccountReported, guard.on_reported)
        bus.on(OrderUpdated, guard.on_updated)
        bus.on(OrderUnresolved, guard.on_unresolved)
        bus.on(FillBooked, guard.on_filled)
        bus.on(ParentAccepted, guard.on_accepted)
        bus.fold(TimeAdvanced, guard.advance)
        bus.on(TimeAdvanced, guard.on_due)
        bus.on(HighWaterMarkReset, guard.on_reset)
        bus.tap(lambda _, event: self.trace.append(event))

    def price(self, price: str | Decimal, *, after_s: float = 1, symbol: str = "AAPL") -> None:
        self.now += int(after_s * NS_PER_S)
        self.bus.publish(quote(symbol, str(price), str(price), ts=self.now))

    def report(self, equity: str | None, *, after_s: float = 30) -> None:
        """The broker states an equity, beside 100,000 of ours unless the price has moved."""
        self.now += int(after_s * NS_PER_S)
        self.bus.publish(reported(equity, ts=self.now))

    def answer(self, number: int, status: OrdStatus, *, after_s: float = 1, venue: str = "paper") -> None:
        """A venue says how a child stands, which was sent when it is first heard of."""
        self.now += int(after_s * NS_PER_S)
        self.bus.publish(updated(self.order(number, venue=venue), status, ts=self.now))

    def order(self, number: int, side: Side = Side.BUY, venue: str = "paper") -> NewOrderSingle:
        """A child, which is sent when it is first heard of."""
        name = f"P{number}"
        order = child(side=side, cl_ord_id=f"C{number}", parent_id=name, venue=venue, ts=self.now)
        if number not in self.sent:
            self.sent.add(number)
            self.bus.publish(accepted(parent(side=side, parent_id=name, ts=self.now)))
            self.bus.publish(approved(order))
        return order

    def give_up(self, number: int) -> None:
        """Nobody could learn what became of a child."""
        self.now += NS_PER_S
        self.bus.publish(msgspec.structs.replace(given_up(self.order(number)), ts=self.now))

    def execute(self, number: int, px: str | Decimal, side: Side = Side.BUY, *, after_s: float = 1) -> None:
        """A venue executes one share of a child that was approved in a market of 99.99 to 100.01."""
        self.now += int(after_s * NS_PER_S)
        order = self.order(number, side)
        self.bus.publish(filled(order, "1", px, exec_id=f"E{self.now}", ts=self.now))

    def advance(self, ts: int) -> None:
        self.now = ts
        self.bus.publish(TimeAdvanced(ts=ts))

    @property
    def said(self) -> list[str]:
        """What was tripped and let go."""
        return [
            f"{'halted' if isinstance(event, TradingHalted) else 'resumed'} {event.cause}"
            for event in self.trace
            if isinstance(event, TradingHalted | TradingResumed)
        ]


def test_a_loss_of_more_than_the_day_may_lose_is_reducing_until_the_day_rolls() -> None:
    scene = Scene()
    for _ in range(4):
        scene.price("95.9")  # 2,050 of 100,000
    assert scene.said == ["halted daily_loss"]
    (halt,) = [event for event in scene.trace if isinstance(event, TradingHalted)]
    assert (halt.state, halt.text) == (TradingState.REDUCING, "the day lost 2.05% of 100,000, equity is 97,950")
    scene.price("100")  # that it came back changes nothing
    due = scene.guard.next_due()
    assert due == (NOW // NS_PER_DAY + 1) * NS_PER_DAY
    scene.advance(due - 1)
    assert scene.said == ["halted daily_loss"]
    scene.advance(due)
    assert scene.said == ["halted daily_loss", "resumed daily_loss"]
    rolled = next(event for event in scene.trace if isinstance(event, DayRolled))
    day = dt.datetime.fromtimestamp(due // NS_PER_S, dt.UTC).date()
    assert (rolled.day, rolled.equity, scene.guard.next_due()) == (day.isoformat(), D(100_000), due + NS_PER_DAY)


def test_the_next_day_loses_from_its_own_first_equity() -> None:
    scene = Scene()
    scene.price("96.5")  # 1.75 %
    due = scene.guard.next_due()
    assert due is not None
    scene.advance(due)
    for _ in range(4):
        scene.price("93")  # 3.5 % since yesterday, 1.78 % of today's 98,250
    assert scene.said == []
    for _ in range(4):
        scene.price("92.5")  # 2.04 % of it
    assert scene.said == ["halted daily_loss"]


def test_a_drawdown_is_halted_until_somebody_resets_the_mark() -> None:
    scene = Scene(limits(drawdown_max=D("0.1")))
    for price in ("110", "110", "110", "110", "89", "89", "89", "89"):  # a mark of 105,000; 94,500 are 10 %
        scene.price(price)
    assert (scene.guard.mark, scene.said) == (D(105_000), [])
    for _ in range(4):
        scene.price("88.9")
    assert scene.said == ["halted drawdown"]
    due = scene.guard.next_due()
    assert due is not None
    scene.advance(due)
    assert scene.said == ["halted drawdown"]
    scene.bus.publish(HighWaterMarkReset(ts=scene.now, equity=scene.exposure.equity, by="ann (1000)"))
    assert scene.said == ["halted drawdown", "resumed drawdown"]
    assert scene.trace[-1] == TradingResumed(ts=scene.now, cause=DRAWDOWN, by="ann (1000)")
    for _ in range(4):
        scene.price("88.9")
    assert scene.said == ["halted drawdown", "resumed drawdown"]


@pytest.mark.parametrize(
    "path",
    [
        ["80", "100", "80", "100", "80", "100"],  # never in a row
        ["80", "80"],  # too few
        ["80"] * 2 + ["100"] + ["80"] * 2,
    ],
)
def test_a_quote_that_was_wrong_trips_nothing(path: list[str]) -> None:
    scene = Scene()
    for price in path:
        scene.price(price, after_s=10)
    assert scene.said == []


def test_many_quotes_of_one_moment_confirm_nothing() -> None:
    scene = Scene()
    for _ in range(100):
        scene.price("80", after_s=0.01)
    assert scene.said == []
    scene.price("80", after_s=2.1)
    assert scene.said == ["halted daily_loss"]


def test_a_quote_that_was_wrong_sets_no_mark() -> None:
    scene = Scene()
    scene.price("1000")
    scene.price("100")
    assert scene.guard.mark == D(100_000)
    for price in ("110", "104", "130", "120"):
        scene.price(price)
    assert scene.guard.mark == D(102_000)  # the lowest of them


def test_a_request_to_reset_the_mark_while_nothing_is_halted_only_sets_it() -> None:
    scene = Scene()
    scene.bus.publish(HighWaterMarkReset(ts=scene.now, equity=D(90_000), by="ann"))
    assert (scene.guard.mark, scene.said) == (D(90_000), [])


def test_a_wrong_quote_of_one_symbol_is_not_confirmed_by_those_of_others() -> None:
    scene = Scene()
    scene.bus.publish(held("SHRT", 10))
    scene.price("80")  # wrong, and the last one of AAPL for a while
    for _ in range(20):
        scene.price("100", symbol="SHRT")
    assert scene.said == []
    scene.price("100")
    assert scene.guard.mark == D(100_000)
    scene.price("80")
    for _ in range(59):
        scene.price("100", symbol="SHRT")
    assert scene.said == []
    scene.price("100", symbol="SHRT")  # a minute: AAPL is not quoted any more, and this is what it was worth
    assert scene.said == ["halted daily_loss"]


def confirmed(shown: list[tuple[int, bool]]) -> bool:
    """Whether the newest looks in a row have all shown it, often and long enough; slowly."""
    run = []
    for ts, here in reversed(shown):
        if not here:
            break
        run.append(ts)
    age = run[0] - run[-1] if run else 0
    return age >= LATEST_NS or (len(run) >= LOOKS and age >= CONFIRM_NS)


STEPS = st.lists(st.tuples(st.integers(80, 120), st.sampled_from([0.2, 1.0, 2.0, 5.0, 61.0])), max_size=40)


@given(STEPS)
def test_a_daily_loss_is_tripped_exactly_when_it_is_confirmed_first(steps: list[tuple[int, float]]) -> None:
    scene = Scene(limits(daily_loss_max=D("0.02")))
    shown: list[tuple[int, bool]] = []
    tripped = False
    for price, after_s in steps:
        scene.price(str(price), after_s=after_s)
        loss = D(100_000) - (D(50_000) + 500 * D(price))
        shown.append((scene.now, loss / 100_000 > D("0.02")))
        tripped = tripped or confirmed(shown)
        assert (DAILY_LOSS in scene.exposure.causes) == tripped
    assert scene.said.count("halted daily_loss") == int(tripped)


@given(STEPS, st.integers(0, 40))
def test_a_snapshot_goes_on_where_it_was(steps: list[tuple[int, float]], cut: int) -> None:
    straight, first = Scene(), Scene()
    for number, (price, after_s) in enumerate(steps):
        straight.price(str(price), after_s=after_s)
        first.price(str(price), after_s=after_s)
        if number == cut:
            dumped = msgspec.json.decode(msgspec.json.encode(first.guard.dump()))
            again = Guard(first.exposure, LimitsInForce(BOUNDS))
            again.load(dumped)
            assert again.dump() == first.guard.dump()
            first.guard.load(dumped)
    assert first.guard.dump() == straight.guard.dump()
    assert first.said == straight.said


@pytest.mark.parametrize("wrong", ["1000", "10"])
def test_a_wrong_price_at_midnight_is_no_equity_of_the_day(wrong: str) -> None:
    scene = Scene()
    for _ in range(5):
        scene.price("100")
    due = scene.guard.next_due()
    assert due is not None
    scene.now = due - NS_PER_S
    scene.price(wrong, after_s=0.5)
    scene.advance(due)
    assert not any(isinstance(event, DayRolled) for event in scene.trace)
    scene.price("100")
    while scene.guard.next_due() != due + NS_PER_DAY:
        scene.advance(scene.guard.next_due() or 0)
    (rolled,) = (event for event in scene.trace if isinstance(event, DayRolled))
    assert rolled.equity == scene.exposure.at_marks
    assert due + 3 * NS_PER_S <= rolled.ts <= due + 6 * NS_PER_S


def test_a_day_whose_prices_never_stand_rolls_all_the_same() -> None:
    scene = Scene()
    due = scene.guard.next_due()
    assert due is not None
    scene.now = due - NS_PER_S
    for number in range(70):
        scene.price(str(150 - number % 2 * 50), after_s=0.5)
        scene.advance(scene.now + NS_PER_S // 2)
    (rolled,) = (event for event in scene.trace if isinstance(event, DayRolled))
    assert rolled.ts >= due + 60 * NS_PER_S


# The broker's books ---------------------------------------------------------------------------------------------------

PERCENT = limits(disagreement_max=D("0.01"))


def test_two_reports_in_a_row_that_differ_are_reducing_until_two_in_a_row_agree() -> None:
    scene = Scene(PERCENT)
    scene.report("98000")
    assert scene.said == []
    scene.report("98500")
    assert scene.said == ["halted account"]
    assert scene.trace[-1] == TradingHalted(
        ts=scene.now,
        cause=ACCOUNT,
        state=TradingState.REDUCING,
        working=WorkingOrders.CANCEL_OPENING,
        text="paper has an equity of 98,500.00, and our books 100,000.00: in two reports in a row",
    )
    scene.report("100000")
    scene.report("98000")
    scene.report("100500")
    assert scene.said == ["halted account"]
    scene.report("99500")
    assert scene.said == ["halted account", "resumed account"]


@pytest.mark.parametrize(
    "reports,said",
    [
        (["99000", "101000"], []),  # exactly as far as they may be
        (["98999", "101001"], ["halted account"]),  # in either direction
        (["101001", "101001"], ["halted account"]),
        (["98000", "100000", "98000", "100000"], []),  # never in a row
        (["98000", None, "98000"], ["halted account"]),  # None says nothing, and breaks nothing
        ([None, None, None], []),
    ],
)
def test_a_disagreement_is_confirmed_by_the_next_report(reports: list[str | None], said: list[str]) -> None:
    scene = Scene(PERCENT)
    for equity in reports:
        scene.report(equity)
    assert scene.said == said


def test_what_the_broker_has_less_of_is_a_loss_of_the_day_once_two_reports_have_shown_it() -> None:
    scene = Scene()
    scene.report("97000")
    for _ in range(4):
        scene.price("100")
    assert scene.said == []
    scene.report("97500")
    for _ in range(4):
        scene.price("100")
    assert scene.said == ["halted daily_loss"]
    assert scene.exposure.equity == D(97_500)


def test_the_difference_moves_with_our_marks_until_the_next_report() -> None:
    scene = Scene()
    for equity in ("99000", "99400"):
        scene.report(equity)
    scene.price("102")
    assert (scene.exposure.marked, scene.exposure.equity) == (D(101_000), D(100_400))
    scene.report("101500")  # more than ours is no equity
    assert scene.exposure.equity == D(101_000)


def test_nothing_left_is_reducing_until_there_is_equity_again() -> None:
    scene = Scene(limits())
    scene.bus.publish(held("AAPL", 1_000))  # 1,500 shares for a debt of 50,000
    for _ in range(4):
        scene.price("33")
    assert scene.said == ["halted daily_loss", "halted drawdown", "halted account"]
    assert scene.trace[-1] == TradingHalted(
        ts=scene.now,
        cause=ACCOUNT,
        state=TradingState.REDUCING,
        working=WorkingOrders.CANCEL_OPENING,
        text="nothing is left: equity is -500",
    )
    scene.report("-500")
    assert scene.said[3:] == []
    scene.price("34")
    scene.report(None)
    assert scene.said[3:] == []  # of two reports one states no equity
    scene.report("1000")
    assert scene.said[3:] == ["resumed account"]


@pytest.mark.parametrize("amount", ["-40000", "40000"])
def test_what_is_paid_in_or_out_is_no_disagreement_whoever_knows_of_it_first(amount: str) -> None:
    scene = Scene(PERCENT)
    for _ in range(2):
        scene.report("100000")
    in_flight = scene.now
    scene.now += NS_PER_S
    scene.bus.publish(moved(amount, scene.now))
    after = D(100_000) + D(amount)
    for _ in range(3):
        scene.bus.publish(reported("100000", ts=scene.now, as_of=in_flight))  # asked for before
    assert (scene.said, scene.exposure.equity) == ([], after)
    scene.report(str(after))
    assert scene.exposure.equity == after
    for _ in range(2):
        scene.report(str(after + D(amount)))  # once more, and nobody has told us yet
    assert scene.said == ["halted account"]
    scene.bus.publish(moved(amount, scene.now))
    assert scene.exposure.equity == scene.exposure.marked == after + D(amount)
    scene.report(str(after + D(amount)))
    assert scene.said == ["halted account", "resumed account"]


def test_a_move_explains_no_difference_that_was_there_without_it() -> None:
    scene = Scene(PERCENT)
    for _ in range(2):
        scene.report("99500")
    scene.bus.publish(moved("-40000", scene.now))
    assert scene.exposure.equity == D(59_500)


FLOWS = st.lists(
    st.tuples(st.integers(80, 130), st.sampled_from([0.2, 1.0, 5.0, 61.0]), st.sampled_from([0, 0, 500, -500, 90_000])),
    max_size=30,
)


@given(FLOWS)
def test_what_is_paid_in_or_out_is_neither_lost_nor_gained(steps: list[tuple[int, float, int]]) -> None:
    """The same money is lost, of the day and from the mark, as where nothing was paid."""
    straight, flowed = Scene(limits()), Scene(limits())
    for price, after_s, amount in steps:
        for scene in (straight, flowed):
            scene.price(str(price), after_s=after_s)
        flowed.bus.publish(moved(str(amount), flowed.now))
        for measured in ("day_equity", "mark"):
            lost = [getattr(scene.guard, measured) - scene.exposure.equity for scene in (straight, flowed)]
            assert lost[0] == lost[1]


GAPS = st.lists(st.sampled_from([None, -3_000, -1_001, -1_000, -500, 0, 900, 1_000, 1_001, 5_000]), max_size=12)


@given(GAPS, st.integers(0, 12))
def test_the_cause_is_live_from_the_second_that_differs_to_the_second_that_agrees(
    gaps: list[int | None], cut: int
) -> None:
    scene = Scene(PERCENT)
    live, row = False, list[bool]()
    for number, gap in enumerate(gaps):
        scene.report(None if gap is None else str(100_000 + gap))
        row += [] if gap is None else [abs(gap) > 1_000]
        live = row[-2:] == [True, True] or (live and row[-2:] != [False, False])
        assert (ACCOUNT in scene.exposure.causes) == live
        if number == cut:
            scene.exposure.broker.load(msgspec.json.decode(msgspec.json.encode(scene.exposure.broker.dump())))


# Rejects --------------------------------------------------------------------------------------------------------------

THREE = limits(rejects_max=3, rejects_window_s=60.0, failures_max=3, slips_max=3)
REJECTED = OrdStatus.REJECTED


def test_a_venue_that_rejects_too_many_orders_is_reducing_until_somebody_resumes() -> None:
    scene = Scene(THREE)
    for number in range(2):
        scene.answer(number, REJECTED, after_s=20)
    assert scene.said == []
    scene.answer(2, REJECTED, after_s=20)
    assert scene.said == ["halted rejects"]
    assert scene.trace[-1] == TradingHalted(
        ts=scene.now,
        cause=REJECTS,
        state=TradingState.REDUCING,
        working=WorkingOrders.CANCEL_OPENING,
        text="paper rejected 3 orders within 40.0 s, of late C0, C1, C2",
    )
    scene.answer(3, REJECTED)  # of what still goes: no news
    due = scene.guard.next_due()
    assert due is not None
    scene.advance(due)
    assert scene.said == ["halted rejects"]
    scene.bus.publish(TradingResumed(ts=scene.now, cause=REJECTS, by="ann"))
    for number in range(4, 6):
        scene.answer(number, REJECTED)
    assert scene.said == ["halted rejects", "resumed rejects"]  # it counts anew
    scene.answer(6, REJECTED)
    assert scene.said == ["halted rejects", "resumed rejects", "halted rejects"]


@pytest.mark.parametrize("after_s,said", [(29.999, ["halted rejects"]), (30, [])])
def test_a_reject_counts_for_as_long_as_the_window(after_s: float, said: list[str]) -> None:
    scene = Scene(THREE)
    for number in range(3):
        scene.answer(number, REJECTED, after_s=after_s)
    assert scene.said == said


def test_the_end_of_another_cause_forgets_no_reject() -> None:
    scene = Scene(THREE)
    for number in range(2):
        scene.answer(number, REJECTED)
    scene.bus.publish(TradingResumed(ts=scene.now, cause=DAILY_LOSS, by="execd"))
    scene.answer(2, REJECTED)
    assert scene.said == ["resumed daily_loss", "halted rejects"]


def test_each_venue_is_counted_apart_and_each_order_once() -> None:
    scene = Scene(THREE)
    for number in range(2):
        scene.answer(number, REJECTED)
        scene.answer(10 + number, REJECTED, venue="other")
        scene.answer(number, REJECTED)  # said again, as after a bust
    assert scene.said == []
    scene.answer(12, REJECTED, venue="other")
    assert scene.said == ["halted rejects"]


def test_what_a_venue_says_again_after_hours_or_after_a_resume_is_no_news() -> None:
    scene = Scene(THREE)
    for number in range(4):
        scene.answer(number, REJECTED, after_s=1_800)
    for number in range(4):
        scene.answer(number, REJECTED, after_s=0)
    assert scene.said == []
    for number in range(10, 13):
        scene.answer(number, REJECTED)
    scene.bus.publish(TradingResumed(ts=scene.now, cause=REJECTS, by="ann"))
    for number in range(10, 13):
        scene.answer(number, REJECTED)
    assert scene.said == ["halted rejects", "resumed rejects"]


def test_a_resume_that_comes_before_the_guard_has_looked_leaves_nothing_to_look_at() -> None:
    scene = Scene(limits(rejects_max=1))
    rejected = updated(child(), REJECTED, ts=scene.now)
    fold(scene.exposure, accepted(parent()), approved(child()))
    scene.guard.update(rejected)
    scene.guard.resume(TradingResumed(ts=scene.now, cause=REJECTS, by="ann"))
    assert list(scene.guard.on_updated(rejected)) == []


def test_what_the_venue_said_is_told() -> None:
    scene = Scene(limits(rejects_max=1))
    fold(scene.exposure, accepted(parent()), approved(child()))
    scene.bus.publish(msgspec.structs.replace(updated(child(), REJECTED, ts=scene.now), text="no permission"))
    (halt,) = [event for event in scene.trace if isinstance(event, TradingHalted)]
    assert halt.text == "paper rejected 1 orders within 0.0 s, of late P1C1A1: no permission"


@pytest.mark.parametrize("status", sorted(set(OrdStatus) - {REJECTED}))
def test_no_other_answer_counts(status: OrdStatus) -> None:
    scene = Scene(limits(rejects_max=1))
    scene.answer(0, status)
    assert scene.said == []


def test_what_our_own_gate_denies_does_not_count() -> None:
    scene = Scene(limits(rejects_max=1))
    scene.bus.publish(denied(child()))
    assert scene.said == []


ANSWERS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from([REJECTED, REJECTED, REJECTED, OrdStatus.NEW, OrdStatus.NOT_SENT]),
        st.sampled_from([0.0, 1.0, 19.0, 20.0, 30.0, 61.0]),
        st.sampled_from(["paper", "other"]),
        st.booleans(),
    ),
    max_size=40,
)
Answer = tuple[int, OrdStatus, float, str, bool]


def hear(scene: Scene, answers: list[Answer]) -> None:
    for number, status, after_s, venue, is_resumed in answers:
        scene.answer(number, status, after_s=after_s, venue=venue)
        if is_resumed and REJECTS in scene.exposure.causes:
            scene.bus.publish(TradingResumed(ts=scene.now, cause=REJECTS, by="ann"))


@given(ANSWERS, st.integers(1, 4))
def test_rejects_trip_exactly_where_so_many_lie_within_the_window(answers: list[Answer], most: int) -> None:
    scene = Scene(limits(rejects_max=most, rejects_window_s=60.0))
    seen, live = list[tuple[int, str]](), False
    ended = set[int]()
    for number, status, after_s, venue, is_resumed in answers:
        scene.answer(number, status, after_s=after_s, venue=venue)
        is_first = number not in ended
        ended |= {number} if status in TERMINAL else set()
        if status is REJECTED and is_first:
            seen.append((scene.now, venue))
            recent = [ts for ts, where in seen if where == venue and scene.now - ts < 60 * NS_PER_S]
            live = live or len(recent) >= most
        assert (REJECTS in scene.exposure.causes) == live
        if is_resumed and live:
            scene.bus.publish(TradingResumed(ts=scene.now, cause=REJECTS, by="ann"))
            seen, live = [], False


@given(ANSWERS, st.integers(0, 40))
def test_a_snapshot_goes_on_counting_and_folding_what_happened_counts_the_same(answers: list[Answer], cut: int) -> None:
    straight, broken, folded = Scene(THREE), Scene(THREE), Scene(THREE)
    hear(straight, answers)
    hear(broken, answers[:cut])
    before = broken.guard.dump()
    broken.guard.load(msgspec.json.decode(msgspec.json.encode(before)))
    assert broken.guard.dump() == before
    hear(broken, answers[cut:])
    assert broken.trace == straight.trace
    assert broken.guard.dump() == straight.guard.dump()
    for event in straight.trace:
        folded.bus.replay(folded.bus.seq + 1, event)
    assert folded.guard.dump() == straight.guard.dump()
    assert folded.exposure.causes.dump() == straight.exposure.causes.dump()


class Guarded(PureBus):
    """With a guard, which hears of an answer before the exposure does."""

    def _wire(self) -> None:
        guard = Guard(self.exposure, LimitsInForce(THREE))
        self.bus.fold(OrderUpdated, guard.update)
        self.bus.fold(TradingResumed, guard.resume)
        self.bus.on(OrderUpdated, guard.on_updated)
        super()._wire()


def test_a_parent_whose_children_are_rejected_tries_no_more_until_somebody_resumes() -> None:
    world = Guarded(scripted([Reply("reject")] * 3 + [Reply("fill")]), limits=limits(quote_age_s_max=3_600.0))
    world.bus.publish(quote())
    world.at(NOW, parent(how=Instruction(algo=Algo.MARKET, duration_s=600)))
    later = NOW + 300 * NS_PER_S
    world.at(later, TradingResumed(ts=later, cause=REJECTS, by="ann"))
    world.run()
    (halt,) = [event for event in world.trace if isinstance(event, TradingHalted)]
    sent = [event.ts for event in world.trace if isinstance(event, OrderApproved)]
    assert [ts < halt.ts for ts in sent] == [True, True, True, False]
    assert sent[3] >= later
    assert not world.exposure.children


# Failures -------------------------------------------------------------------------------------------------------------

Step = Callable[[Scene], None]


def answers(*statuses: OrdStatus, number: int = 0) -> Step:
    def step(scene: Scene) -> None:
        for status in statuses:
            scene.answer(number, status)

    return step


def restarts(scene: Scene) -> None:
    scene.order(0)
    scene.bus.publish(DaemonStarted(ts=scene.now, version="1", config_hash="", world="paper", account="main"))


S = OrdStatus
FAILS: list[tuple[str, int, list[Step]]] = [  # what happens to one order, and how many failures it is
    ("it did not get out", 1, [answers(S.NOT_SENT)]),
    ("nobody knows whether it did", 1, [answers(S.UNKNOWN)]),
    ("nobody knew, and then it had not", 1, [answers(S.UNKNOWN, S.NOT_SENT)]),
    ("nobody knew, and nobody learns", 1, [answers(S.UNKNOWN), lambda scene: scene.give_up(0)]),
    ("the venue never said a word", 1, [lambda scene: scene.give_up(0)]),
    ("nor ever will", 1, [lambda scene: scene.give_up(0), answers(S.UNKNOWN, S.NOT_SENT)]),
    ("it works, and is gone", 1, [answers(S.NEW, S.NOT_SENT)]),
    ("it is said again", 1, [answers(S.NOT_SENT, S.NOT_SENT)]),
    ("the venue loses sight of it again and again", 1, [answers(*[S.UNKNOWN, S.NEW] * 3)]),
    ("it ends as it should", 0, [answers(S.NEW, S.PARTIALLY_FILLED, S.FILLED)]),
    ("it was rejected", 0, [answers(S.REJECTED)]),
    ("its approval lapsed", 0, [answers(S.LAPSED)]),
    ("it expired", 0, [answers(S.NEW, S.EXPIRED)]),
    ("it was asked back", 0, [answers(S.NEW, S.PENDING_CANCEL, S.CANCELED)]),
    ("it was asked back, and is gone", 0, [answers(S.NEW, S.PENDING_CANCEL, S.NOT_SENT)]),
    ("it was asked back, and nobody knows", 0, [answers(S.NEW, S.PENDING_CANCEL, S.UNKNOWN, S.NOT_SENT)]),
    ("it ended, and an execution is missing", 0, [answers(S.SETTLING), lambda scene: scene.give_up(0)]),
    ("the run ended before it was sent", 0, [restarts, answers(S.UNKNOWN, S.NOT_SENT)]),
    ("nor is it learnt later", 0, [restarts, lambda scene: scene.give_up(0)]),
    ("another order, sent by this run", 1, [restarts, answers(S.NOT_SENT, number=1)]),
]


@pytest.mark.parametrize("case", FAILS, ids=lambda case: case[0])
def test_what_fails_is_counted_once_and_what_is_caused_at_home_is_not(case: tuple[str, int, list[Step]]) -> None:
    _, count, steps = case
    for most in (1, 2, 3):
        scene = Scene(limits(failures_max=most, failures_window_s=60.0))
        for step in steps:
            step(scene)
        assert (FAILURES in scene.exposure.causes) == (count >= most)


def test_too_many_failures_of_a_venue_are_reducing_until_somebody_resumes() -> None:
    scene = Scene(THREE)
    scene.answer(0, S.NOT_SENT, after_s=20)
    scene.answer(1, S.UNKNOWN, after_s=20)
    scene.answer(9, S.NOT_SENT, after_s=0, venue="other")
    assert scene.said == []
    scene.give_up(2)
    assert scene.trace[-1] == TradingHalted(
        ts=scene.now,
        cause=FAILURES,
        state=TradingState.REDUCING,
        working=WorkingOrders.CANCEL_OPENING,
        text="paper did not get, or may not have got, 3 orders within 21.0 s, of late C0, C1, C2",
    )
    scene.answer(3, S.NOT_SENT)  # of what still goes: no news
    scene.bus.publish(TradingResumed(ts=scene.now, cause=REJECTS, by="ann"))
    assert scene.exposure.causes.names() == [FAILURES]
    scene.bus.publish(TradingResumed(ts=scene.now, cause=FAILURES, by="ann"))
    for number in (4, 5):
        scene.answer(number, S.NOT_SENT)
    assert scene.exposure.causes.names() == []  # it counts anew
    scene.answer(6, S.NOT_SENT)
    assert scene.exposure.causes.names() == [FAILURES]


def test_what_a_venue_rejects_and_what_fails_are_counted_apart() -> None:
    scene = Scene(THREE)
    for number, status in enumerate([REJECTED, S.NOT_SENT] * 2):
        scene.answer(number, status)
    assert scene.said == []
    scene.bus.publish(TradingResumed(ts=scene.now, cause=REJECTS, by="ann"))
    scene.answer(4, REJECTED)
    scene.answer(5, S.NOT_SENT)
    assert scene.said == ["resumed rejects", "halted failures"]


# Slips ----------------------------------------------------------------------------------------------------------------

ONE_PERCENT = limits(slips_max=1, slippage_max=D("0.01"))


@pytest.mark.parametrize(
    "side,px,slips",
    [
        (Side.BUY, "101.0101", False),  # 1 % above the ask of 100.01
        (Side.BUY, "101.0102", True),
        (Side.BUY, "100.01", False),
        (Side.BUY, "50", False),  # far better
        (Side.SELL, "98.9901", False),  # 1 % below the bid of 99.99
        (Side.SELL, "98.99", True),
        (Side.SELL, "200", False),
    ],
)
def test_what_executes_too_far_beyond_the_quote_of_its_approval_slips(side: Side, px: str, *, slips: bool) -> None:
    scene = Scene(ONE_PERCENT)
    scene.execute(0, px, side)
    assert scene.said == (["halted slippage"] if slips else [])


def test_the_quote_of_the_approval_counts_not_that_of_the_execution() -> None:
    scene = Scene(ONE_PERCENT)
    scene.order(0)
    scene.price("120")
    scene.execute(0, "120")
    assert scene.said == ["halted slippage"]


@given(st.decimals("0.01", "100.01", places=2), st.decimals("99.99", "10000", places=2))
def test_what_rests_never_slips(bid: Decimal, offer: Decimal) -> None:
    """A price that does not reach beyond the other side when it is approved executes at it or better."""
    scene = Scene(limits(slips_max=1, slippage_max=D("1e-9")))
    scene.execute(0, bid)
    scene.execute(1, offer, Side.SELL)
    assert scene.said == []


@pytest.mark.parametrize("market", [{"ask": None}, {"ask": D("-1")}, {"ask": D(0)}])
def test_without_a_price_on_the_other_side_there_is_nothing_to_compare_with(market: dict[str, Decimal | None]) -> None:
    scene = Scene(ONE_PERCENT)
    order = child(cl_ord_id="C0")
    scene.bus.publish(accepted(parent()))
    scene.bus.publish(msgspec.structs.replace(approved(order), **market))
    scene.bus.publish(filled(order, "1", "500", ts=scene.now))
    assert scene.said == []


def test_what_comes_after_the_end_of_its_order_is_not_compared() -> None:
    scene = Scene(ONE_PERCENT)
    scene.answer(0, S.CANCELED)
    scene.execute(0, "500")
    assert scene.said == []


def test_too_many_slips_at_a_venue_are_reducing_until_somebody_resumes() -> None:
    scene = Scene(THREE)
    scene.execute(0, "102", after_s=0)
    for px in ("103", "104", "105"):
        scene.execute(1, px)  # one order sweeps on
    scene.execute(2, "100")
    assert scene.said == []
    scene.execute(2, "104", after_s=37)
    assert scene.trace[-1] == TradingHalted(
        ts=scene.now,
        cause=SLIPPAGE,
        state=TradingState.REDUCING,
        working=WorkingOrders.CANCEL_OPENING,
        text="paper executed 3 orders far beyond the quote within 41.0 s, of late C0, C1, C2",
    )
    scene.execute(3, "105")
    scene.bus.publish(TradingResumed(ts=scene.now, cause=SLIPPAGE, by="ann"))
    scene.execute(4, "105")
    scene.execute(5, "105")
    assert scene.said == ["halted slippage", "resumed slippage"]


@pytest.mark.parametrize("after_s,said", [(29.999, ["halted slippage"]), (30, [])])
def test_a_slip_counts_for_as_long_as_the_window(after_s: float, said: list[str]) -> None:
    scene = Scene(THREE)
    for number in range(3):
        scene.execute(number, "102", after_s=after_s)
    assert scene.said == said


# Repetitions ----------------------------------------------------------------------------------------------------------

TWICE = limits(repeats_max=2, repeats_window_s=60.0)


def accept(scene: Scene, number: int, *, after_s: float = 1, **changes: Any) -> None:  # noqa: ANN401
    scene.now += int(after_s * NS_PER_S)
    scene.bus.publish(accepted(parent(parent_id=f"P{number}", ts=scene.now, **changes)))


def stops(scene: Scene) -> list[str]:
    return [event.strategy for event in scene.trace if isinstance(event, StrategyStopped)]


def test_a_strategy_that_does_the_same_too_often_is_stopped_until_a_person_lets_it_go_on() -> None:
    scene = Scene(TWICE)
    accept(scene, 1)
    assert scene.exposure.stopped == {}
    accept(scene, 2, after_s=59.5)
    said = "2 parents to BUY AAPL within 59.5 s, of late P1, P2"
    assert scene.trace[-1] == StrategyStopped(ts=scene.now, strategy="alpha", text=said)
    assert scene.exposure.stopped == {"alpha": said}
    accept(scene, 3)  # one that was accepted all the same, as its limit was another: no news
    assert stops(scene) == ["alpha"]
    scene.bus.publish(TradingResumed(ts=scene.now, cause=REJECTS, by="ann"))
    assert scene.exposure.stopped == {"alpha": said}
    scene.bus.publish(StrategyResumed(ts=scene.now, strategy="alpha", by="ann"))
    assert scene.exposure.stopped == {}
    accept(scene, 4)
    assert scene.exposure.stopped == {}  # it counts anew
    accept(scene, 5)
    assert list(scene.exposure.stopped) == ["alpha"]
    assert scene.exposure.causes.names() == []  # nobody else is held back


@pytest.mark.parametrize(
    "other",
    [
        {"symbol": "SHRT"},
        {"side": Side.SELL},
        {"strategy": "beta"},
        {"flatten": True},
        {"protects": True},
        {"after_s": 60},
    ],
    ids="".join,
)
def test_other_things_are_not_the_same(other: dict[str, Any]) -> None:
    scene = Scene(TWICE)
    accept(scene, 1)
    accept(scene, 2, **other)
    assert scene.exposure.stopped == {}


def test_other_quantities_are_the_same() -> None:
    scene = Scene(TWICE)
    accept(scene, 1)
    accept(scene, 2, qty="7")
    assert list(scene.exposure.stopped) == ["alpha"]


def test_who_is_let_go_on_takes_nobody_along() -> None:
    scene = Scene(TWICE)
    for number, strategy in enumerate(("alpha", "beta", "gamma", "alpha", "beta")):
        accept(scene, number, after_s=0, strategy=strategy)
    assert list(scene.exposure.stopped) == ["alpha", "beta"]
    scene.bus.publish(StrategyResumed(ts=scene.now, strategy="alpha", by="ann"))
    assert list(scene.exposure.stopped) == ["beta"]
    accept(scene, 9, strategy="gamma")
    assert list(scene.exposure.stopped) == ["beta", "gamma"]


def test_a_strategy_that_is_stopped_gets_no_parent_more_and_its_children_go_on() -> None:
    world = Repeating(limits=limits(quote_age_s_max=3_600.0))
    world.bus.publish(quote())
    how = Instruction(algo=Algo.TWAP, duration_s=600)
    for number in range(4):
        ts = NOW + number * NS_PER_S
        world.at(ts, parent(parent_id=f"P{number}", how=how, ts=ts))
    ts = NOW + 10 * NS_PER_S
    world.at(ts, parent(parent_id="P4", strategy="beta", how=how, ts=ts))
    later = NOW + 20 * NS_PER_S
    world.at(later, StrategyResumed(ts=later, strategy="alpha", by="ann"))
    world.at(later, parent(parent_id="P5", how=how, ts=later))
    world.run()
    (stop,) = [event for event in world.trace if isinstance(event, StrategyStopped)]
    assert stop.ts == NOW + NS_PER_S
    denials = [(event.parent_id, event.reason) for event in world.trace if isinstance(event, OrderDenied)]
    assert denials == [("P2", Reason.REPEATS), ("P3", Reason.REPEATS)]
    ends = {event.parent_id: event.reason for event in world.trace if isinstance(event, ParentEnded)}
    assert ends == dict.fromkeys(["P0", "P1", "P4", "P5"], EndReason.FILLED)
    sent = {event.parent_id for event in world.trace if isinstance(event, OrderApproved) and event.ts > stop.ts}
    assert {"P0", "P1"} <= sent


class Repeating(PureBus):
    """With a guard that watches strategies."""

    def _wire(self) -> None:
        guard = Guard(self.exposure, LimitsInForce(TWICE))
        self.bus.fold(ParentAccepted, guard.accept)
        self.bus.fold(StrategyStopped, self.exposure.stop)
        self.bus.fold(StrategyResumed, self.exposure.let_go_on, guard.let_go_on)
        self.bus.on(ParentAccepted, guard.on_accepted)
        super()._wire()


# All of it ------------------------------------------------------------------------------------------------------------

ALL = limits(rejects_max=2, failures_max=2, slips_max=2, repeats_max=5, slippage_max=D("0.01"))
HAPPENS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from([S.REJECTED, S.UNKNOWN, S.NOT_SENT, S.NEW, "give up", "102", "100", "go on", "restart"]),
        st.sampled_from([0.0, 1.0, 30.0, 61.0]),
    ),
    max_size=40,
)
Happening = tuple[int, str, float]


def happen(scene: Scene, happenings: list[Happening]) -> None:
    for number, what, after_s in happenings:
        if isinstance(what, OrdStatus):
            scene.answer(number, what, after_s=after_s)
        elif what == "give up":
            scene.give_up(number)
        elif what == "restart":
            restarts(scene)
        elif what == "go on":
            scene.bus.publish(StrategyResumed(ts=scene.now, strategy="alpha", by="ann"))
            for cause in scene.exposure.causes.names():
                scene.bus.publish(TradingResumed(ts=scene.now, cause=cause, by="ann"))
        else:
            scene.execute(number, what, after_s=after_s)


@given(HAPPENS, st.integers(0, 40))
def test_whatever_trips_a_snapshot_goes_on_counting_and_folding_what_happened_counts_the_same(
    happenings: list[Happening], cut: int
) -> None:
    straight, broken, folded = Scene(ALL), Scene(ALL), Scene(ALL)
    happen(straight, happenings)
    happen(broken, happenings[:cut])
    before = broken.guard.dump()
    other = Scene(ALL)
    for actor, again in ((broken.guard, other.guard), (broken.exposure, silent())):
        again.load(msgspec.json.decode(msgspec.json.encode(actor.dump())))
        assert again.dump() == actor.dump()
    broken.guard.load(msgspec.json.decode(msgspec.json.encode(before)))
    happen(broken, happenings[cut:])
    assert broken.trace == straight.trace
    assert broken.guard.dump() == straight.guard.dump()
    for event in straight.trace:
        folded.bus.replay(folded.bus.seq + 1, event)
    assert folded.guard.dump() == straight.guard.dump()
    assert folded.exposure.dump() == straight.exposure.dump()
