"""When the input is bad: a test for each row of the table in docs/algorithms.md, by whole runs in the slicer's world.

What is asserted is what a person can read of it: the reason and the text of the end, or of what was refused.
"""

import datetime as dt
import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from algos.planning import CLOSE_MARGIN_NS
from algos.profile import Profile, ProfileError
from core.events import (
    EndReason,
    FillBooked,
    MarketData,
    NewOrderSingle,
    OrderDenied,
    ParentOrder,
    ParentScheduled,
    Reason,
    SignalIgnored,
)
from core.orders import Side
from core.signals import Algo, BadSignal, OrderSignal, parse
from core.units import NS_PER_S
from daemon import profiles
from tests.algos.test_slicer import PATIENT, children, end_of, of_kind, order, start, trading
from tests.builders import INSTRUMENTS, MINUTE, NOW, clock, limits, quote, received
from tests.pure_bus import PureBus, Reply, scripted

D = Decimal
HOUR = 60 * MINUTE
FRESH = limits(quote_age_s_max=10.0)
HALF_DAY, HOLIDAY = dt.date(2025, 11, 28), dt.date(2025, 12, 25)
CLOCKS_CHANGE = dt.date(2025, 3, 9)


def read(world: PureBus) -> tuple[EndReason, str]:
    """Why a parent ended, as it is on record."""
    world.run()
    over = end_of(world)
    return over.reason, over.text


def at(ts: int, wanted: ParentOrder) -> ParentOrder:
    return msgspec.structs.replace(wanted, ts=ts, signal_ts=ts)


def quoted(world: PureBus, second: int, *, symbol: str = "AAPL", **market: Any) -> MarketData:  # noqa: ANN401 - of a quote
    """The market says something."""
    said = quote(symbol, **market, ts=NOW + second * NS_PER_S)
    world.at(said.ts, said)
    return said


def denials(world: PureBus) -> list[tuple[Reason, int]]:
    """Of children: why, and in which second."""
    return [(event.reason, (event.ts - NOW) // NS_PER_S) for event in of_kind(world, OrderDenied) if event.cl_ord_id]


# Times ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted, text",
    [
        (order(end=NOW - MINUTE), "its end has passed by its start, or by the open: give a later one"),
        (at(clock(8), order(end=clock(9))), "its end has passed by its start, or by the open: give a later one"),
        (order(start=clock(11), end=clock(11)), "its end has passed by its start, or by the open: give a later one"),
        (
            msgspec.structs.replace(order(start=clock(14)), valid_until=clock(13)),
            "its validity has passed by its start: give a later valid_until",
        ),
        (
            at(clock(16, 1), order()),
            "the session of 2025-03-05 has passed, or all but: give a start in a later one",
        ),
        (
            at(clock(15, 59, 55), order()),
            "the session of 2025-03-05 has passed, or all but: give a start in a later one",
        ),
        (
            at(clock(13, day=HALF_DAY), order()),
            "the session of 2025-11-28 has passed, or all but: give a start in a later one",
        ),
        (
            at(clock(12, day=HOLIDAY), order()),
            "XNYS does not trade on 2025-12-25: give a start on another day",
        ),
        (order(start=NOW + 8 * 24 * HOUR), "its start is more than 7 days ahead: send it later"),
    ],
)
def test_a_schedule_whose_window_has_passed_or_never_comes_is_not_begun(wanted: ParentOrder, text: str) -> None:
    world = start(bounds=PATIENT)
    world.at(wanted.ts, quote(ts=wanted.ts), wanted)
    assert read(world) == (EndReason.INFEASIBLE, text)
    assert children(world) == []


@pytest.mark.parametrize("algo", [Algo.VWAP, Algo.TWAP, Algo.POV, Algo.CLOSE])
@pytest.mark.parametrize("day, close", [(dt.date(2025, 3, 5), (16, 0)), (HALF_DAY, (13, 0))])
def test_an_end_after_the_close_is_ten_seconds_before_it_half_days_too(
    algo: Algo, day: dt.date, close: tuple[int, int]
) -> None:
    begin = clock(10, 30, day=day)
    world = start(bounds=PATIENT)
    world.at(begin, quote(ts=begin), at(begin, order(algo, end=clock(20, day=day))))
    read(world)
    curve, *_ = of_kind(world, ParentScheduled)
    assert curve.end == clock(*close, day=day) - CLOSE_MARGIN_NS
    assert all(event.ts < curve.end for event in of_kind(world, NewOrderSingle))


def test_a_change_of_clocks_moves_nothing_of_a_parent_of_24_hours() -> None:
    midnight = int(dt.datetime.combine(CLOCKS_CHANGE, dt.time(), dt.UTC).timestamp()) * NS_PER_S
    wanted = at(midnight, order(Algo.VWAP, "2400", "FRAC", end=midnight + 24 * HOUR, slices=24))
    world = start(bounds=PATIENT)
    world.slicer._profiles = {"FRAC": Profile((1.0,) * 24)}
    world.at(midnight, quote("FRAC", ts=midnight), wanted)
    assert read(world) == (EndReason.FILLED, "")
    curve, *_ = of_kind(world, ParentScheduled)
    assert (curve.times[0], curve.end) == (midnight, midnight + 24 * HOUR - CLOSE_MARGIN_NS)
    steps = [later - earlier for earlier, later in pairwise(curve.times)]
    assert len(steps) == 23  # one each hour: none is left out, none comes twice
    assert all(abs(step - HOUR) < NS_PER_S for step in steps)
    assert all(abs(target - 100 * (n + 1)) < 1 for n, target in enumerate(curve.targets))


# Volume ---------------------------------------------------------------------------------------------------------------

WAITS = "it may be {} of the volume, and {} shares traded while it worked: give it more time, or LIMIT or MARKET"


@pytest.mark.parametrize("algo", [Algo.POV, Algo.ADAPTIVE])
def test_who_follows_a_volume_of_zero_waits_to_its_end_and_says_for_what(algo: Algo) -> None:
    world = start(order(algo, duration_s=60))
    for second in range(5, 60, 5):
        quoted(world, second)
    reason, text = read(world)
    assert reason is EndReason.WINDOW
    assert text == WAITS.format("5.00%" if algo is Algo.ADAPTIVE else "10.00%", 0)
    assert children(world) == []


@pytest.mark.parametrize("algo", [Algo.TWAP, Algo.VWAP, Algo.IS, Algo.CLOSE])
def test_where_a_feed_tells_no_volume_all_day_a_curve_is_followed_by_the_clock(algo: Algo) -> None:
    world = start(order(algo, end=clock(11)))
    assert read(world) == (EndReason.FILLED, "")


def test_where_the_volume_runs_dry_a_curve_ends_with_what_it_lets_be_and_says_so() -> None:
    world = trading(start(order(qty="1000", duration_s=600)), until_s=60, volume=7)
    assert read(world) == (EndReason.WINDOW, WAITS.format("30.00%", 84))  # of 12 times 7
    assert end_of(world).cum_qty == 36  # 3/7 of it


# Profiles -------------------------------------------------------------------------------------------------------------


def vwap_on(profile: Profile, *, volume: int = 0, slices: int = 10) -> PureBus:
    """A VWAP of 1,000 from 10:30 for an hour, while `volume` trades each minute."""
    world = start(order(Algo.VWAP, "1000", duration_s=3_600, slices=slices))
    world.slicer._profiles = {"AAPL": profile}
    if volume:
        trading(world, until_s=3_600, every_s=60, volume=volume)
    return world


def at_minutes(profile: Profile, *, volume: int = 0) -> list[int]:
    """What is done after each tenth of the hour."""
    world = vwap_on(profile, volume=volume)
    world.run()
    fills = of_kind(world, FillBooked)
    return [int(sum(fill.last_qty for fill in fills if fill.ts < NOW + 6 * n * MINUTE)) for n in range(1, 11)]


def by_minute(*spans: tuple[int, int], of: float = 1.0) -> Profile:
    """A profile in which only the minutes of these spans of the session trade."""
    parts = np.zeros(390)
    for begin, end in spans:
        parts[begin:end] = of
    return Profile(parts.tolist(), 390_000.0)


def test_where_a_profile_expects_no_volume_nothing_is_planned() -> None:
    done = at_minutes(by_minute((60, 72), (108, 120)))  # the first and the last 12 minutes of the hour
    assert done == [250, 500, 500, 500, 500, 500, 500, 500, 750, 1_000]


@pytest.mark.parametrize("volume", [0, 1_000])
def test_where_a_profile_expects_none_of_the_whole_window_it_is_worked_evenly(volume: int) -> None:
    done = at_minutes(by_minute((0, 10)), volume=volume)
    assert done == [100 * n for n in range(1, 11)]


def test_of_next_to_nothing_that_was_expected_nothing_is_concluded() -> None:
    """A thousand shares where 1e-308 of a day was to be expected are no sign of a day of infinitely many."""
    begin = clock(9, 30)
    parts = np.ones(390)
    parts[:5] = 1e-306
    world = start(bounds=PATIENT)
    world.slicer._profiles = {"AAPL": Profile(parts.tolist())}
    for minute in range(60):
        world.at(begin + minute * MINUTE, quote(volume=1_000, ts=begin + minute * MINUTE))
    world.at(begin, at(begin, order(Algo.VWAP, "1000", duration_s=3_600, slices=60)))
    assert read(world) == (EndReason.FILLED, "")


def test_a_symbol_without_a_profile_follows_the_usual_u() -> None:
    without = start(order(Algo.VWAP, "1000", duration_s=3_600))
    without.slicer._profiles = {"SHRT": Profile((1.0, 0.0))}
    plain = start(order(Algo.VWAP, "1000", duration_s=3_600))
    for world in (without, plain):
        world.run()
    assert of_kind(without, ParentScheduled) == of_kind(plain, ParentScheduled)


@pytest.mark.parametrize("parts", [1, 7, 390, 1_440])
def test_any_number_of_parts_divides_the_session_evenly(parts: int) -> None:
    assert at_minutes(Profile((2.0,) * parts)) == [100 * n for n in range(1, 11)]


@pytest.mark.parametrize(
    "parts, said",
    [
        ("[]", "AAPL: 0 parts: 1 to 1,440 belong here"),
        (json.dumps([1.0] * 1_441), "AAPL: 1,441 parts: 1 to 1,440 belong here"),
        ("[0.0, 0.0]", "AAPL: parts must be zero or more, finite in sum, and not all zero"),
        ("[1.0, -0.5]", "AAPL: parts must be zero or more, finite in sum, and not all zero"),
        ("[1e308, 1e308]", "AAPL: parts must be zero or more, finite in sum, and not all zero"),
        ("[1e999]", "AAPL: Number out of range"),
        ("[1.0, null]", r"AAPL: Expected `float`, got `null` - at `\$.parts\[1\]`"),
        ("[1.0, NaN]", r"no file of profiles.* \(byte \d+\)"),
        ("garbage", r"no file of profiles.* \(byte \d+\)"),
    ],
)
def test_a_profile_with_holes_that_cannot_be_followed_is_refused_at_the_start(
    tmp_path: Path, parts: str, said: str
) -> None:
    head = '"calendar": "XNYS", "days": 20, "first": "2025-03-03", "last": "2025-03-03", "volume": 5.0'
    (tmp_path / "profiles.json").write_text(f'{{"AAPL": {{{head}, "parts": {parts}}}}}')
    with pytest.raises(ProfileError, match=rf"^profiles\.json.*{said}") as refused:
        profiles.of(str(tmp_path / "profiles.json"), INSTRUMENTS)
    assert "`execd profile build`" in str(refused.value)


def test_a_profile_of_another_calendar_is_refused_with_what_to_do(tmp_path: Path) -> None:
    head = '"calendar": "24x7", "days": 20, "first": "2025-03-03", "last": "2025-03-03", "volume": 5.0'
    (tmp_path / "profiles.json").write_text(f'{{"AAPL": {{{head}, "parts": [1.0]}}}}')
    words = r"AAPL: .* of 24x7, .* of XNYS: build it again with `execd profile build --calendar XNYS`"
    with pytest.raises(ProfileError, match=words):
        profiles.of(str(tmp_path / "profiles.json"), INSTRUMENTS)


# Quotes ---------------------------------------------------------------------------------------------------------------

RESTS = scripted([Reply("touch")])


def test_nothing_is_sent_by_a_quote_that_is_old_and_the_end_says_so() -> None:
    world = start(order(duration_s=600, slices=10), reply=RESTS, bounds=FRESH)
    for second in range(0, 180, 5):
        quoted(world, second)
    assert read(world) == (EndReason.DENIED, "STALE_PRICE")
    late = [event.ts for event in of_kind(world, NewOrderSingle) if event.ts > NOW + 190 * NS_PER_S]
    assert {reason for reason, _ in denials(world)} == {Reason.STALE_PRICE}
    assert late == [event.ts for event in of_kind(world, OrderDenied) if event.ts > NOW + 190 * NS_PER_S]
    (asked, *pauses) = [later - earlier for earlier, later in pairwise(late)]
    assert asked == NS_PER_S  # and ever later, up to a minute
    assert max(pauses) == 60 * NS_PER_S


def test_once_it_is_quoted_again_it_goes_on_within_a_minute() -> None:
    world = start(order(duration_s=1_200, slices=10), bounds=FRESH)
    for second in (*range(0, 300, 5), *range(600, 1_200, 5)):
        quoted(world, second)
    assert read(world) == (EndReason.FILLED, "")
    fills = [(event.ts - NOW) // NS_PER_S for event in of_kind(world, FillBooked)]
    assert not [second for second in fills if 310 <= second < 600]
    assert any(600 <= second <= 660 for second in fills)


def test_by_a_crossed_book_nothing_is_sent_and_the_end_says_so() -> None:
    world = start(order(duration_s=60, slices=2), bounds=FRESH)
    for second in range(0, 60, 5):
        quoted(world, second, bid="100.05", ask="99.95")
    assert read(world) == (EndReason.DENIED, "NO_PRICE")
    (said,) = {event.text for event in of_kind(world, OrderDenied)}
    assert said == "AAPL is crossed: bid 100.05 above ask 99.95"
    assert of_kind(world, FillBooked) == []


@pytest.mark.parametrize("side, bid, ask", [(Side.BUY, "99.99", None), (Side.SELL, None, "100.01")])
def test_who_must_cross_to_a_side_that_nobody_quotes_waits_and_says_so(
    side: Side, bid: str | None, ask: str | None
) -> None:
    world = start(order(Algo.MARKET, "100", "SHRT", side, duration_s=60))
    world.at(NOW - 1, quote("SHRT", bid, ask, last="100", ts=NOW - 1))
    assert read(world) == (EndReason.WINDOW, "SHRT was not quoted on the side that it needs: look at its feed")
    assert children(world) == []


# Quantities -----------------------------------------------------------------------------------------------------------


def test_an_order_of_less_than_a_lot_is_ignored() -> None:
    world = start()
    signal = OrderSignal(signal_id="s1", ts=NOW, strategy="alpha", symbol="LOTS", side=Side.BUY, qty=D(99))
    world.at(NOW, received(signal))
    world.run()
    (said,) = of_kind(world, SignalIgnored)
    assert (said.reason, said.text) == ("NO_TRADE", "LOTS: 99 is under one lot of 100")


@pytest.mark.parametrize(
    "how, text",
    [
        ({"max_slice": D(99)}, "its max_slice of 99 is under one lot of 100: raise it"),
        (
            {"algo": Algo.ICEBERG, "price": D(100), "display_qty": D(99)},
            "its display_qty of 99 is under one lot of 100: raise it",
        ),
    ],
)
def test_a_part_under_one_lot_is_not_begun(how: dict[str, Any], text: str) -> None:
    world = start(order(qty="200", symbol="LOTS", **how))
    assert read(world) == (EndReason.INFEASIBLE, text)


def said_of(how: str = "{}", qty: str = '"100"') -> str:
    """Why a signal of this quantity, to be worked so, is a dead letter."""
    head = f'"kind": "order", "signal_id": "s", "ts": {NOW}, "strategy": "a", "symbol": "AAPL", "side": "BUY"'
    (found,) = parse(f'{{{head}, "qty": {qty}, "how": {how}}}'.encode())
    assert isinstance(found, BadSignal)
    return found.reason


POSITIVE = "is not a positive number below 1,000,000,000,000,000 of at most 28 digits"
PART = "is not a fraction of the market's volume above 0 and up to 0.5 (percent?)"


@pytest.mark.parametrize("qty", ["0", "-1", "NaN", "sNaN", "Infinity", "-Infinity", "1E15", "1E-29"])
def test_a_quantity_that_is_none_is_a_dead_letter(qty: str) -> None:
    assert said_of(qty=f'"{qty}"') == f"qty {D(qty)} {POSITIVE}"
    for name in ("price", "max_slice", "min_slice", "display_qty"):
        assert said_of(f'{{"{name}": "{qty}"}}') == f"{name} {D(qty)} {POSITIVE}"


@pytest.mark.parametrize(
    "how, said",
    [
        ({"start": NOW + 1, "end": NOW}, "end is not after start"),
        ({"start": NOW, "end": NOW}, "end is not after start"),
        ({"end": NOW, "duration_s": 60}, "give end or duration_s, not both"),
        ({"duration_s": 0}, "duration_s 0 is not between 1 and 86,400"),
        ({"slices": 0}, "slices 0 is not between 1 and 100,000"),
        ({"participation": 0}, f"participation 0.0 {PART}"),
        ({"participation": -0.1}, f"participation -0.1 {PART}"),
        ({"participation": 0.51}, f"participation 0.51 {PART}"),
        ({"participation": 30}, f"participation 30.0 {PART}"),
        ({"min_slice": "20", "max_slice": "10"}, "min_slice is above max_slice"),
        ({"min_slice": "20", "display_qty": "10"}, "min_slice is above display_qty"),
    ],
)
def test_a_how_that_cannot_be_is_a_dead_letter_that_says_which_part_of_it(how: dict[str, object], said: str) -> None:
    assert said_of(json.dumps(how)) == said


@pytest.mark.parametrize("algo", [Algo.POV, Algo.TWAP])
def test_a_participation_above_the_hard_bound_is_held_to_it(algo: Algo) -> None:
    found: list[Decimal] = []
    for part in (0.3, 0.4, 0.5):
        world = trading(start(order(algo, "100000", duration_s=60, participation=part)), until_s=60, volume=70)
        reason, text = read(world)
        assert (reason, text) == (EndReason.WINDOW, WAITS.format("30.00%", 840))
        found.append(end_of(world).cum_qty)
    assert len(set(found)) == 1


# The table ------------------------------------------------------------------------------------------------------------

ROWS = {
    "a window that has passed, or never comes": [
        test_a_schedule_whose_window_has_passed_or_never_comes_is_not_begun,
    ],
    "an end after the close, a half day": [test_an_end_after_the_close_is_ten_seconds_before_it_half_days_too],
    "a change of clocks": [test_a_change_of_clocks_moves_nothing_of_a_parent_of_24_hours],
    "a volume of zero so far": [test_who_follows_a_volume_of_zero_waits_to_its_end_and_says_for_what],
    "a feed that tells no volume": [test_where_a_feed_tells_no_volume_all_day_a_curve_is_followed_by_the_clock],
    "a volume that runs dry": [test_where_the_volume_runs_dry_a_curve_ends_with_what_it_lets_be_and_says_so],
    "spans without volume in a profile": [
        test_where_a_profile_expects_no_volume_nothing_is_planned,
        test_where_a_profile_expects_none_of_the_whole_window_it_is_worked_evenly,
        test_of_next_to_nothing_that_was_expected_nothing_is_concluded,
    ],
    "a symbol without a profile": [test_a_symbol_without_a_profile_follows_the_usual_u],
    "another number of parts in a profile": [test_any_number_of_parts_divides_the_session_evenly],
    "a profile that is none: NaN, negative, all zero, infinite, garbage, of another calendar": [
        test_a_profile_with_holes_that_cannot_be_followed_is_refused_at_the_start,
        test_a_profile_of_another_calendar_is_refused_with_what_to_do,
    ],
    "a symbol that stops quoting": [
        test_nothing_is_sent_by_a_quote_that_is_old_and_the_end_says_so,
        test_once_it_is_quoted_again_it_goes_on_within_a_minute,
    ],
    "a crossed book": [test_by_a_crossed_book_nothing_is_sent_and_the_end_says_so],
    "nobody quotes the side that it needs": [
        test_who_must_cross_to_a_side_that_nobody_quotes_waits_and_says_so,
    ],
    "less than one lot": [test_an_order_of_less_than_a_lot_is_ignored, test_a_part_under_one_lot_is_not_begun],
    "a quantity or price of zero, NaN, infinity": [test_a_quantity_that_is_none_is_a_dead_letter],
    "a `how` that contradicts itself, as by an end before its start": [
        test_a_how_that_cannot_be_is_a_dead_letter_that_says_which_part_of_it,
    ],
    "a `participation` of 0, or above 0.5": [test_a_how_that_cannot_be_is_a_dead_letter_that_says_which_part_of_it],
    "a `participation` of 0.3 to 0.5": [test_a_participation_above_the_hard_bound_is_held_to_it],
}


def test_the_rows_of_the_docs_are_those_that_are_tested() -> None:
    page = (Path(__file__).parents[2] / "docs/algorithms.md").read_text()
    table = page.partition("## When the input is bad")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert rows[2:] == list(ROWS)
