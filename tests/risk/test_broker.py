"""An account that lies at several brokers: sums of their newest reports, and each one's own buying power."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import AccountReported
from core.orders import OrdStatus
from core.units import ZERO
from risk.broker import BrokerView
from tests.builders import NOW, child, moved, reported, updated

D = Decimal
VENUES = ("fast", "paper")


def heard(venue: str, equity: str | None, power: str | None = None, ts: int = NOW) -> AccountReported:
    return msgspec.structs.replace(reported(equity, buying_power=power, ts=ts), venue=venue)


def view(*reports: AccountReported, ours: str = "100") -> BrokerView:
    seen = BrokerView(VENUES)
    for each in reports:
        seen.hear(each, D(ours))
    return seen


CASES: dict[str, tuple[list[AccountReported], list[str]]] = {
    "one of two is no verdict": ([heard("paper", "60")], []),
    "two of them are one": ([heard("paper", "60"), heard("fast", "30")], ["-10"]),
    "one that speaks twice is heard by its newer word": (
        [heard("paper", "1"), heard("paper", "60"), heard("fast", "30")],
        ["-10"],
    ),
    "the next sum needs both again": (
        [heard("paper", "60"), heard("fast", "30"), heard("paper", "9"), heard("paper", "70")],
        ["-10"],
    ),
    "two sums confirm": (
        [heard("paper", "60"), heard("fast", "30"), heard("fast", "25"), heard("paper", "60")],
        ["-10", "-15"],
    ),
    "one that states no equity leaves the sum without": ([heard("paper", None), heard("fast", "30")], []),
}


@pytest.mark.parametrize("case", CASES)
def test_our_books_are_held_against_a_sum_of_one_report_of_each(case: str) -> None:
    reports, gaps = CASES[case]
    assert [str(gap) for gap in view(*reports).gaps] == gaps


@given(st.lists(st.tuples(st.sampled_from(VENUES), st.integers(0, 100)), max_size=12))
def test_the_sums_are_those_of_whoever_goes_through_all_reports_again(said: list[tuple[str, int]]) -> None:
    seen = BrokerView(VENUES)
    for venue, equity in said:
        seen.hear(heard(venue, str(equity)), D(100))
    sums: list[int] = []
    since: list[tuple[str, int]] = []
    for each in said:
        since.append(each)
        if {venue for venue, _ in since} == set(VENUES):
            sums.append(sum(dict(since).values()) - 100)
            since = []
    assert [int(gap) for gap in seen.gaps] == sums[-2:]
    again = BrokerView(VENUES)
    again.load(msgspec.json.decode(msgspec.json.encode(seen.dump()), type=dict[str, object]))
    for venue in VENUES:
        for each_view in (seen, again):
            each_view.hear(heard(venue, "7"), D(100))
    assert (again.gaps, again.short, again.report) == (seen.gaps, seen.short, seen.report)


def test_a_report_that_was_asked_for_before_cash_moved_makes_the_sum_as_old() -> None:
    seen = view(heard("paper", "60", ts=NOW - 1))
    seen.move(moved("5"))
    seen.hear(heard("fast", "30"), D(105))
    assert seen.gaps == ()


def test_a_child_has_the_buying_power_of_its_venue_and_a_parent_that_of_all() -> None:
    seen = view(heard("paper", "60", "100"))
    assert seen.buying_power is None  # what the other lends is not known yet
    seen.hear(heard("fast", "30", "40"), D(90))
    seen.power_at("fast").reserve("C", D(2), D(10))
    assert [seen.buying_power, seen.reserved] == [D(140), D(20)]
    assert (seen.power_at("fast").stated, seen.power_at("fast").reserved) == (D(40), D(20))
    assert seen.power_at("paper").stated == D(100)
    assert seen.power_at("paper").reserved == ZERO
    again = BrokerView(VENUES)
    again.load(msgspec.json.decode(msgspec.json.encode(seen.dump()), type=dict[str, object]))
    for each in (seen, again):
        each.power_at("fast").update(updated(child(qty="10", cl_ord_id="C"), OrdStatus.CANCELED))
        assert each.reserved == ZERO
