"""Losses trip trading once they are confirmed: moments by a table, and a slow second opinion on any path of prices."""

import datetime as dt
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.causes import DAILY_LOSS, DRAWDOWN, TradingState
from core.events import DayRolled, Event, HighWaterMarkReset, MarketData, TimeAdvanced, TradingHalted, TradingResumed
from core.units import NS_PER_DAY, NS_PER_S
from daemon.bus import Bus
from risk.exposure import Exposure
from risk.guard import CONFIRM_NS, LATEST_NS, LOOKS, Guard
from risk.limits import Limits, LimitsInForce
from tests.builders import NOW, held, limits, opened, quote, silent

D = Decimal
BOUNDS = limits(daily_loss_max=D("0.02"), drawdown_max=D("0.1"))


class Scene:
    """An account with 100,000, of which 50,000 are in 500 shares at 100."""

    def __init__(self, bounds: Limits = BOUNDS) -> None:
        self.bus, self.exposure = Bus(), silent()
        self.guard = Guard(self.exposure, LimitsInForce(bounds))
        self.trace: list[Event] = []
        self.now = NOW
        self.connect(self.exposure, self.guard)
        self.bus.publish(opened())
        self.bus.publish(held("AAPL", 500))
        self.price("100")
        self.trace.clear()

    def connect(self, exposure: Exposure, guard: Guard) -> None:
        bus = self.bus
        bus.fold(type(opened()), exposure.account, guard.account)
        bus.fold(type(held("AAPL", 1)), exposure.fill)
        bus.fold(MarketData, exposure.quote, guard.look)
        bus.fold(TradingHalted, exposure.halt)
        bus.fold(TradingResumed, exposure.resume)
        bus.fold(DayRolled, guard.roll)
        bus.fold(HighWaterMarkReset, guard.reset)
        bus.on(MarketData, guard.on_market)
        bus.on(TimeAdvanced, guard.on_due)
        bus.on(HighWaterMarkReset, guard.on_reset)
        bus.tap(lambda _, event: self.trace.append(event))

    def price(self, price: str | Decimal, *, after_s: float = 1, symbol: str = "AAPL") -> None:
        self.now += int(after_s * NS_PER_S)
        self.bus.publish(quote(symbol, str(price), str(price), ts=self.now))

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
