"""Every event survives the journal: what is decoded is what was encoded, to the last digit."""

import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any, get_args

import msgspec
import msgspec.inspect as mi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import events
from core.events import (
    AnyEvent,
    CostReport,
    Event,
    FillBooked,
    Finding,
    OrderDenied,
    Reason,
    ShadowVerdict,
    decode,
    encode,
)
from core.orders import Side

EVENTS: tuple[type[Event], ...] = get_args(AnyEvent)

SCALARS: dict[type[mi.Type], st.SearchStrategy[Any]] = {
    mi.BoolType: st.booleans(),
    mi.IntType: st.integers(-(2**63), 2**63 - 1),
    mi.FloatType: st.floats(allow_nan=False, allow_infinity=False),
    mi.StrType: st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    mi.DecimalType: st.decimals(allow_nan=False, allow_infinity=False),
    mi.NoneType: st.none(),
    mi.AnyType: st.none() | st.booleans() | st.integers(-9, 9) | st.lists(st.text("ab"), max_size=2),  # as JSON has it
}


def values(of: mi.Type) -> st.SearchStrategy[Any]:
    """Give values of a type as msgspec sees it."""
    if isinstance(of, mi.StructType):
        return st.builds(of.cls, **{field.name: values(field.type) for field in of.fields})
    if isinstance(of, mi.UnionType):
        return st.one_of([values(each) for each in of.types])
    if isinstance(of, mi.EnumType):
        return st.sampled_from(of.cls)
    if isinstance(of, mi.VarTupleType):
        return st.lists(values(of.item_type), max_size=3).map(tuple)
    if isinstance(of, mi.DictType):
        return st.dictionaries(values(of.key_type), values(of.value_type), max_size=3)
    return SCALARS[type(of)]


STRATEGIES = {event: values(mi.type_info(event)) for event in EVENTS}


@pytest.mark.parametrize("kind", EVENTS)
@settings(max_examples=25)
@given(data=st.data())
def test_an_event_comes_back_as_it_went(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(STRATEGIES[kind])
    payload = encode(event)
    again = decode(payload)
    assert type(again) is kind
    assert again == event
    assert encode(again) == payload  # 1.0 equals 1.00: only the bytes tell them apart
    assert b"\n" not in payload


def test_the_decoder_knows_every_event_that_is_defined() -> None:
    defined = [
        each
        for _, each in inspect.getmembers(events, inspect.isclass)
        if issubclass(each, Event) and each not in {Event, Finding}  # which others are made of
    ]
    assert set(EVENTS) == set(defined)
    assert len(EVENTS) == len(defined)


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_is_frozen(kind: type[Event]) -> None:
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("text", ["0.1", "0.10", "1E+3", "-0", "1234567890.123456789012345678", "1E-30"])
def test_a_decimal_keeps_every_digit_and_its_exponent(text: str) -> None:
    price = Decimal(text)
    again = decode(encode(booked(price)))
    assert isinstance(again, FillBooked)
    assert again.last_px.as_tuple() == price.as_tuple()


def booked(price: Decimal) -> FillBooked:
    return FillBooked(
        ts=1_700_000_000_000_000_000,
        exec_id="e1",
        cl_ord_id="c1",
        parent_id="p1",
        strategy="s",
        venue="paper",
        symbol="AAPL",
        side=Side.SELL,
        last_qty=Decimal(100),
        last_px=price,
        fee=Decimal("-0.20"),
    )


def test_the_bytes_stay_what_they_are_over_releases() -> None:
    assert encode(booked(Decimal("10.10"))) == (
        b'{"type":"FillBooked","exec_id":"e1","cl_ord_id":"c1","parent_id":"p1",'
        b'"strategy":"s","venue":"paper","symbol":"AAPL","side":"SELL","last_qty":"100","last_px":"10.10",'
        b'"fee":"-0.20","multiplier":"1","late":false,"ts":1700000000000000000}'
    )


FOUND = Finding(
    ts=7,
    parent_id="P1",
    cl_ord_id="P1C1A1",
    strategy="s",
    symbol="AAPL",
    side=Side.BUY,
    order_qty=Decimal(9),
    reason=Reason.GROSS,
    value=Decimal("0.30"),
    limit=Decimal("0.2"),
    unit="of equity",
    max_qty=None,
    limits_version="v1",
    text="t",
)


@pytest.mark.parametrize(
    "payload,kind,more",
    [
        (
            (
                b'{"type":"OrderDenied","parent_id":"P1","cl_ord_id":"P1C1A1","strategy":"s","symbol":"AAPL","side":"BUY",'
                b'"order_qty":"9","reason":"GROSS","value":"0.30","limit":"0.2","unit":"of equity","max_qty":null,'
                b'"limits_version":"v1","text":"t","checks":3,"duration_ns":0,"reducing":false,"met":[],"amends":false,'
                b'"ts":7}'
            ),
            OrderDenied,
            {"checks": 3},
        ),
        (
            (
                b'{"type":"ShadowVerdict","parent_id":"P1","cl_ord_id":"P1C1A1","strategy":"s","symbol":"AAPL",'
                b'"side":"BUY","order_qty":"9","in_force_qty":"0","shadow_qty":"9","reason":"GROSS","value":"0.30",'
                b'"limit":"0.2","unit":"of equity","max_qty":null,"limits_version":"v1","shadow_version":"v2",'
                b'"text":"t","ts":7}'
            ),
            ShadowVerdict,
            {"in_force_qty": Decimal(0), "shadow_qty": Decimal(9), "shadow_version": "v2"},
        ),
    ],
)
def test_what_verdicts_found_is_read_as_it_was_written(
    payload: bytes, kind: type[Finding], more: dict[str, Any]
) -> None:
    """Before the two kinds shared a struct, that is; the order of names in an object says nothing."""
    assert decode(payload) == kind(**msgspec.structs.asdict(FOUND), **more)
    assert msgspec.json.decode(encode(decode(payload))) == msgspec.json.decode(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"Nonsense","ts":1}',
        b'{"type":"Event","ts":1}',
        b'{"ts":1}',
        b'{"type":"TimeAdvanced"}',
        b'{"type":"TimeAdvanced","ts":"1"}',
        b'{"type":"TimeAdvanced","ts":1.5}',
        b'{"type":"AccountOpened","ts":1,"account":"a","cash":"ten","currency":"USD"}',
        b"[]",
        b"null",
    ],
)
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(payload)


@pytest.mark.parametrize("payload", [b"", b"{", b'{"type":"TimeAdvanced","ts":1}x', b"\xff"])
def test_a_torn_line_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(payload)


def test_text_from_a_database_decodes_like_bytes() -> None:
    event = booked(Decimal(10))
    assert decode(encode(event).decode()) == event


@pytest.fixture
def report() -> Callable[..., CostReport]:
    def make(**changes: object) -> CostReport:
        fields = {field.name: None for field in msgspec.structs.fields(CostReport) if field.required}
        numbers = {"order_qty": Decimal(100), "decision_px": Decimal(50), "shortfall": Decimal(10)}
        return CostReport(**{**fields, **numbers, "side": Side.BUY, **changes})  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(
    "side,avg_px,benchmark,bps",
    [
        (Side.BUY, "10.01", "10", "10"),  # bought above the benchmark: it hurts
        (Side.SELL, "10.01", "10", "-10"),
        (Side.SELL, "9.99", "10", "10"),
        (Side.BUY, None, "10", None),
        (Side.BUY, "10", None, None),
        (Side.BUY, "10", "0", None),
    ],
)
def test_slippage_is_positive_when_it_hurts(
    report: Callable[..., CostReport], side: Side, avg_px: str | None, benchmark: str | None, bps: str | None
) -> None:
    made = report(side=side, avg_px=None if avg_px is None else Decimal(avg_px))
    slippage = made.slippage_bps(None if benchmark is None else Decimal(benchmark))
    assert slippage == (None if bps is None else Decimal(bps))


def test_shortfall_is_stated_against_the_value_at_the_decision(report: Callable[..., CostReport]) -> None:
    assert report().shortfall_bps == Decimal(20)
    assert report(multiplier=Decimal(50)).shortfall_bps == Decimal("0.4")
    assert report(order_qty=Decimal(0)).shortfall_bps == 0
