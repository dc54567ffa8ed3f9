"""Old marks: moments by a table, and a slow second opinion that asks every mark for its age after every event."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calendar import CALENDARS
from core.causes import DAILY_LOSS, DRAWDOWN
from core.events import Event, FillBooked, MarketData, SignalAccepted, SignalIgnored, TimeAdvanced, TradingHalted
from core.orders import Side
from core.signals import RebalanceSignal, Signal, StrengthSignal, TargetSignal
from core.units import NS_PER_S, ZERO
from risk.exposure import Exposure
from risk.guard import Guard
from risk.limits import Limits, LimitsInForce
from risk.marks import OldMark
from tests.builders import INSTRUMENTS, NOW, abilities, clock, fold, held, limits, opened, quote, received
from tests.risk.test_sizing import order, sizer, words

D = Decimal
BOUNDS = limits(mark_age_s_max=60.0, mark_haircut=D("0.02"), mark_age_s_block=600.0)
LATE = clock(15, 59, 30)  # half a minute before the close
NIGHT = clock(20)


def at(seconds: float, since: int = NOW) -> TimeAdvanced:
    return TimeAdvanced(ts=since + int(seconds * NS_PER_S))


def bought(symbol: str, qty: int, ts: int = NOW) -> FillBooked:
    return msgspec.structs.replace(held(symbol, qty), ts=ts)


def account(*events: Event, bounds: Limits = BOUNDS) -> Exposure:
    exposure = Exposure(INSTRUMENTS, LimitsInForce(bounds), abilities())
    return fold(exposure, opened(), *events)


LONG = (quote("AAPL", "100", "100"), bought("AAPL", 100))  # of 100,000: 10,000
SHORT = (quote("SHRT", "100", "100"), bought("SHRT", -50))
COIN = (quote("FRAC", "100", "100"), bought("FRAC", 20))  # its market never closes


@pytest.mark.parametrize(
    "events,haircut",
    [
        (LONG, 0),
        ((*LONG, at(60)), 0),  # older than that
        ((*LONG, at(60.1)), 200),
        ((*LONG, *SHORT, at(61)), 300),  # a short is dearer to buy back
        ((*LONG, *SHORT, at(30), quote("AAPL", "100", "100", ts=at(30).ts), at(61)), 100),
        ((*LONG, quote("AAPL", "120", "120", ts=at(70).ts)), 0),
        ((*LONG, quote("AAPL", "120", "120", ts=at(70).ts), at(140)), 240),
        ((*LONG, quote("AAPL", None, "120", ts=at(70).ts)), 200),  # which is no mark, but time
        ((quote("AAPL", "100", "100"), at(61), bought("AAPL", 100, at(61).ts)), 200),  # bought at an old one
        ((*LONG, at(61), bought("AAPL", -60, at(61).ts)), 80),
        ((*LONG, at(61), bought("AAPL", -100, at(61).ts)), 0),
        ((*LONG, at(61), at(-100)), 200),  # time does not go back
        ((quote("AAPL", "100", "100", ts=LATE), bought("AAPL", 100, LATE), at(0, NIGHT)), 0),
        ((*LONG, at(0, clock(9, 31) + 24 * 3_600 * NS_PER_S)), 0),  # the open's first minute
        ((*LONG, at(1, clock(9, 31) + 24 * 3_600 * NS_PER_S)), 200),
        ((*LONG, *COIN, at(0, NIGHT)), 40),
    ],
)
def test_what_is_held_at_an_old_mark_of_an_open_market_is_worth_less(events: tuple[Event, ...], haircut: int) -> None:
    exposure = account(*events)
    assert exposure.at_marks - exposure.equity == haircut


def test_an_old_mark_has_an_age_within_its_session_and_a_name() -> None:
    exposure = account(*LONG, *SHORT, quote("SHRT", "100", "100", ts=at(50).ts), at(100))
    assert list(exposure.marks.old()) == [OldMark("AAPL", 100.0)]
    tomorrow = clock(9, 35) + 24 * 3_600 * NS_PER_S
    fold(exposure, at(0, tomorrow))
    assert list(exposure.marks.old()) == [OldMark("AAPL", 300.0), OldMark("SHRT", 300.0)]


def test_a_limit_that_changes_holds_from_the_next_event_on() -> None:
    in_force = LimitsInForce(BOUNDS)
    exposure = fold(Exposure(INSTRUMENTS, in_force, abilities()), opened(), *LONG, at(61))
    for age_s, haircut in ((120.0, 0), (10.0, 200)):
        in_force.current = msgspec.structs.replace(BOUNDS, mark_age_s_max=age_s)
        fold(exposure, at(62))
        assert exposure.at_marks - exposure.equity == haircut


# Sizing ---------------------------------------------------------------------------------------------------------------


def target(qty: str, symbol: str = "SHRT") -> TargetSignal:
    return TargetSignal(signal_id="s1", ts=NOW, strategy="alpha", symbol=symbol, qty=D(qty))


@pytest.mark.parametrize(
    "signal,said",
    [
        (StrengthSignal(signal_id="s1", ts=NOW, strategy="alpha", symbol="LOTS", strength=1.0), ["OLD_MARK"]),
        (StrengthSignal(signal_id="s1", ts=NOW, strategy="alpha", symbol="AAPL", strength=-1.0), ["SELL 100 AAPL"]),
        (target("-80"), ["OLD_MARK"]),
        (target("-20"), ["BUY 30 SHRT"]),
        (target("20"), ["BUY 50 SHRT"]),  # as far as it closes
        (RebalanceSignal(signal_id="s1", ts=NOW, strategy="alpha", weights={"LOTS": 0.5}), ["SELL", "OLD", "BUY"]),
        (order("SHRT", Side.SELL), ["SELL 10 SHRT"]),  # somebody has said how much
    ],
)
def test_while_a_mark_is_too_old_strengths_and_targets_open_nothing(signal: Signal, said: list[str]) -> None:
    fresh = [quote(symbol, "100", "100", ts=at(601).ts) for symbol in ("SHRT", "LOTS")]
    exposure = account(*LONG, *SHORT, *fresh)
    signal = msgspec.structs.replace(signal, ts=at(601).ts)
    first, *rest = sizer(exposure, BOUNDS).on_signal(received(signal, at(601).ts))
    assert isinstance(first, SignalAccepted)
    assert len(rest) == len(said)
    assert all(word.startswith(part) for word, part in zip(words(rest), said, strict=True))
    for event in rest:
        if isinstance(event, SignalIgnored):
            assert event.text == f"{event.text[:4]}: nothing opens while the mark of AAPL is 601 s old"


def test_a_mark_that_nothing_is_held_at_keeps_nobody_back() -> None:
    fresh = [quote(symbol, "100", "100", ts=at(601).ts) for symbol in ("SHRT", "LOTS")]
    exposure = account(quote("AAPL", "100", "100"), *SHORT, *fresh)
    assert exposure.marks.too_old() is None


# Losses ---------------------------------------------------------------------------------------------------------------


def test_a_haircut_trips_no_loss_however_long_it_lasts() -> None:
    bounds = limits(
        mark_age_s_max=60.0, mark_haircut=D("0.5"), daily_loss_max=D("0.01"), drawdown_max=D("0.01"), position_max=D(1)
    )
    exposure = account(*LONG, *SHORT, bounds=bounds)
    guard = Guard(exposure, LimitsInForce(bounds))
    guard.account(opened())
    said: list[Event] = []
    for second in range(300):  # AAPL is quoted no more
        event = quote("SHRT", "100", "100", ts=at(second).ts)
        fold(exposure, event)
        guard.look(event)
        said += guard.on_market(event)
    assert exposure.equity == D(95_000)
    assert not said
    assert (guard.day_loss, guard.drawdown, guard.mark) == (ZERO, ZERO, D(100_000))
    for second in range(300, 400):
        event = quote("SHRT", "140", "140", ts=at(second).ts)  # a loss that somebody quotes
        fold(exposure, event)
        guard.look(event)
        said += guard.on_market(event)
    assert {event.cause for event in said if isinstance(event, TradingHalted)} == {DAILY_LOSS, DRAWDOWN}


# The law --------------------------------------------------------------------------------------------------------------

SYMBOLS = ("AAPL", "SHRT", "FRAC")
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 29.0, 60.0, 61.0, 300.0, 601.0, 20_000.0, 60_000.0]),
        st.sampled_from(SYMBOLS),
        st.sampled_from(["quote", "one side", "time", "buy", "sell", "restart"]),
        st.integers(50, 150),
    ),
    max_size=40,
)


class Slow:
    """What is held at which mark of when, and the age of each by its definition."""

    def __init__(self) -> None:
        self.marks: dict[str, tuple[Decimal, int]] = {}
        self.held: dict[str, int] = {}

    def hear(self, event: Event) -> None:
        if isinstance(event, MarketData) and event.mid is not None:
            self.marks[event.symbol] = (event.mid, event.ts)
        if isinstance(event, FillBooked):
            self.marks.setdefault(event.symbol, (event.last_px, event.ts))
            self.held[event.symbol] = self.held.get(event.symbol, 0) + event.side.sign * int(event.last_qty)

    def old(self, bound_s: float, now: int) -> dict[str, float]:
        found = {}
        for symbol, qty in self.held.items():
            session = CALENDARS[INSTRUMENTS[symbol].calendar].session_at(now)
            if qty and session is not None:
                age_s = (now - max(self.marks[symbol][1], session.open)) / NS_PER_S
                if age_s > bound_s:
                    found[symbol] = age_s
        return found

    def haircut(self, now: int) -> Decimal:
        old = self.old(60, now)
        return sum((abs(self.held[symbol]) * self.marks[symbol][0] * D("0.02") for symbol in old), ZERO)


@given(STEPS)
def test_after_every_event_the_old_marks_are_those_whose_age_says_so(
    steps: list[tuple[float, str, str, int]],
) -> None:
    exposure, slow, now = account(), Slow(), NOW
    for after_s, symbol, kind, number in steps:
        now += int(after_s * NS_PER_S)
        if kind == "restart":
            dumped = msgspec.json.decode(msgspec.json.encode(exposure.dump()))
            exposure = account()
            exposure.load(dumped)
        event: Event = TimeAdvanced(ts=now)
        if kind in {"quote", "one side"}:
            event = quote(symbol, str(number), str(number) if kind == "quote" else None, ts=now)
        fold(exposure, TimeAdvanced(ts=now), event)
        slow.hear(event)
        if kind in {"buy", "sell"}:
            event = bought(symbol, number if kind == "buy" else -number, now)
            fold(exposure, event)
            slow.hear(event)
        assert exposure.at_marks - exposure.equity == slow.haircut(now)
        assert {mark.symbol: mark.age_s for mark in exposure.marks.old()} == slow.old(60, now)
        too_old, oldest = exposure.marks.too_old(), slow.old(600, now)
        assert (too_old is None) == (not oldest)
        assert too_old is None or oldest[too_old.symbol] == too_old.age_s == max(oldest.values())
