"""What is on record, as lines: times that people read, no more digits than say something, nothing said twice."""

from decimal import Decimal

import msgspec
import pytest

from core.events import encode
from core.orders import Side
from daemon.printed import cell, columns, story
from tests.builders import NOW, accepted, approved, child, parent

AT = "2025-03-05T15:30:00.000"


@pytest.mark.parametrize(
    "value,shown",
    [
        (None, "-"),
        ("", "-"),
        ("AAPL", "AAPL"),
        (0, "0"),
        (True, "True"),
        (NOW, AT),
        (10**17 - 1, "99999999999999999"),
        (Decimal("0.10"), "0.10"),
        (Decimal("184.8346296296296296296296296"), "184.83462963"),
        (Decimal(100) / 3 * 3, "100"),
        (Decimal("1E+3"), "1E+3"),
    ],
)
def test_a_value_is_written_for_people(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_rows_stand_under_their_names() -> None:
    assert columns([{"symbol": "A", "ts": NOW}, {"symbol": "LONGER", "ts": None}]).splitlines() == [
        "symbol  ts",
        f"A       {AT}",
        "LONGER  -",
    ]
    assert columns([]) == "none"


def test_a_story_says_what_each_entry_adds() -> None:
    order = child(side=Side.SELL, qty="10")
    told = (accepted(parent(qty="30")), order, approved(order))
    entries = [
        {"seq": seq, "ts": event.ts, "type": type(event).__name__, "payload": encode(event).decode()}
        for seq, event in enumerate(told, start=7)
    ]
    first, second, third = story("P1", entries)
    assert first.startswith(f"{AT}          7  ParentAccepted      order_qty=30 ")
    assert second == (
        f"{AT}          8  NewOrderSingle      cl_ord_id={order.cl_ord_id} strategy=alpha account=main venue=paper "
        "symbol=AAPL side=SELL order_qty=10 ord_type=LIMIT price=100 time_in_force=DAY"
    )
    assert third.startswith(f"{AT}          9  OrderApproved       cl_ord_id={order.cl_ord_id} ")
    assert "P1 " not in first  # whose story it is
    assert " side=" not in third  # as the order before it has said


@pytest.mark.parametrize(
    "facts,shown",
    [
        ({"text": "behind its curve"}, 'text="behind its curve"'),
        ({"end": NOW, "late": False, "met": [], "why": None}, f"end={AT}"),
        ({"targets": ["1", "2", "3", "4"]}, "targets=1,2,3,4"),
        ({"targets": ["1", "2", "3", "4", "5"]}, "targets=1,2,3,...,5"),
        ({"nearest": {"reason": "GROSS", "value": "0.123456789012"}}, "nearest.reason=GROSS nearest.value=0.12345679"),
        ({"limits_version": "123456789e12"}, "limits_version=123456789e12"),
    ],
)
def test_facts_are_names_and_values(facts: dict[str, object], shown: str) -> None:
    payload = msgspec.json.encode({"type": "X", "ts": 1} | facts).decode()
    (line,) = story("P1", [{"seq": 1, "ts": NOW, "type": "X", "payload": payload}])
    assert line == f"{AT}          1  X                   {shown}"
