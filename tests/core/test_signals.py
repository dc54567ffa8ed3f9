"""The contract of signals: what is taken, what is refused and why, and that no bytes can make it raise."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.orders import OrdType, Side, TimeInForce
from core.signals import (
    KEPT,
    MAX_BATCH,
    MAX_LEGS,
    MAX_SIGNAL_BYTES,
    Action,
    Algo,
    AmendSignal,
    BadSignal,
    Change,
    Instruction,
    OrderSignal,
    RebalanceSignal,
    Signal,
    StopSignal,
    StrengthSignal,
    TargetSignal,
    Urgency,
    parse,
    schema,
)
from core.units import nearest

TS = 1_700_000_000_000_000_000
LOT = Decimal("0.00000001")  # the finest that is traded
HEAD: dict[str, Any] = {"signal_id": "s1", "ts": TS, "strategy": "momentum"}
ORDER = HEAD | {"kind": "order", "symbol": "AAPL", "side": "BUY", "qty": "100"}
STRENGTH = HEAD | {"kind": "strength", "symbol": "AAPL", "strength": 0.5}
TARGET = HEAD | {"kind": "target", "symbol": "AAPL", "weight": 0.05}
REBALANCE = HEAD | {"kind": "rebalance", "weights": {"AAPL": 0.05, "MSFT": -0.02}}
STOP = HEAD | {"kind": "stop", "symbol": "AAPL", "stop_px": "95"}
AMEND = HEAD | {"kind": "amend", "symbol": "AAPL", "amends": "s0", "change": {"qty": "50"}}
GOOD = [ORDER, STRENGTH, TARGET, REBALANCE, STOP, AMEND]


def without(message: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in names}


def how(**fields: object) -> dict[str, Any]:
    return ORDER | {"how": fields}


def change(**fields: object) -> dict[str, Any]:
    return AMEND | {"change": fields}


def amend(**fields: Any) -> AmendSignal:  # noqa: ANN401 - one field, whichever
    return AmendSignal(signal_id="s1", ts=TS, strategy="momentum", symbol="AAPL", amends="s0", change=Change(**fields))


def one(message: object) -> Signal | BadSignal:
    (result,) = parse(message if isinstance(message, bytes) else json.dumps(message).encode())
    return result


# Good -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message,signal",
    [
        (
            ORDER,
            OrderSignal(signal_id="s1", ts=TS, strategy="momentum", symbol="AAPL", side=Side.BUY, qty=Decimal(100)),
        ),
        (
            without(ORDER, "qty") | {"notional": 2500.5, "side": "SELL"},
            OrderSignal(
                signal_id="s1",
                ts=TS,
                strategy="momentum",
                symbol="AAPL",
                side=Side.SELL,
                notional=Decimal("2500.5"),
            ),
        ),
        (
            STRENGTH | {"confidence": 0.8, "seq": 7, "account": "main", "valid_until": TS + 1},
            StrengthSignal(
                signal_id="s1",
                ts=TS,
                strategy="momentum",
                symbol="AAPL",
                strength=0.5,
                confidence=0.8,
                seq=7,
                account="main",
                valid_until=TS + 1,
            ),
        ),
        (TARGET, TargetSignal(signal_id="s1", ts=TS, strategy="momentum", symbol="AAPL", weight=0.05)),
        (
            without(TARGET, "weight") | {"qty": "-0.00000001"},
            TargetSignal(signal_id="s1", ts=TS, strategy="momentum", symbol="AAPL", qty=Decimal("-1e-8")),
        ),
        (
            REBALANCE,
            RebalanceSignal(signal_id="s1", ts=TS, strategy="momentum", weights={"AAPL": 0.05, "MSFT": -0.02}),
        ),
        (
            STOP | {"limit_offset": 0.5},
            StopSignal(
                signal_id="s1",
                ts=TS,
                strategy="momentum",
                symbol="AAPL",
                stop_px=Decimal(95),
                limit_offset=Decimal("0.5"),
                how=Instruction(algo=Algo.MARKET),
            ),
        ),
        (change(qty=50), amend(qty=Decimal(50))),
        (
            change(action="AMEND", price="10.1", end=TS + 1, urgency="HIGH"),
            amend(price=Decimal("10.1"), end=TS + 1, urgency=Urgency.HIGH),
        ),
        *((change(action=action), amend(action=action)) for action in Action if action is not Action.AMEND),
    ],
)
def test_a_good_message_is_its_signal(message: dict[str, Any], signal: Signal) -> None:
    assert one(message) == signal


def test_how_to_work_it_is_read_in_full() -> None:
    fields = {
        "algo": "VWAP",
        "ord_type": "MARKET",
        "price": 10.1,
        "time_in_force": "IOC",
        "urgency": "HIGH",
        "start": TS,
        "duration_s": 3_600,
        "slices": 10,
        "max_slice": "50",
    }
    signal = one(how(**fields))
    assert isinstance(signal, OrderSignal)
    assert signal.how == Instruction(
        algo=Algo.VWAP,
        ord_type=OrdType.MARKET,
        price=Decimal("10.1"),
        time_in_force=TimeInForce.IOC,
        urgency=Urgency.HIGH,
        start=TS,
        duration_s=3_600,
        slices=10,
        max_slice=Decimal(50),
    )


EDGES = [
    STRENGTH | {"strength": -1},
    STRENGTH | {"strength": 1, "confidence": 0, "seq": 0},
    TARGET | {"weight": 0},
    TARGET | {"weight": -1.5},
    without(TARGET, "weight") | {"qty": 0},
    REBALANCE | {"weights": {}},  # all names are absent: the whole book goes to zero
    REBALANCE | {"weights": {f"S{n}": 0.001 for n in range(MAX_LEGS)}},
    ORDER | {"signal_id": "x" * 64, "symbol": "BRK.B", "strategy": "mürbe"},
    ORDER | {"ts": 2**63 - 1},
    ORDER | {"qty": "999999999999999"},
    ORDER | {"qty": "0.0000000000000000000000000001"},
    without(STOP, "stop_px"),  # cancels
    without(STOP, "stop_px") | {"trail": "0.01"},
    without(STOP, "stop_px") | {"trail_fraction": "0.999"},
    how(slices=1, duration_s=1),
    how(slices=100_000, duration_s=86_400),
    how(algo="LIMIT", price="0.0001"),
]


@pytest.mark.parametrize("message", EDGES)
def test_the_last_that_is_allowed_is_taken(message: dict[str, Any]) -> None:
    assert not isinstance(one(message), BadSignal)


@pytest.mark.parametrize("number", ["0.1", "0.30000000000000004", "123456789.123456789", "1e2"])
def test_a_number_in_json_is_taken_digit_by_digit(number: str) -> None:
    signal = one(json.dumps(ORDER).replace('"100"', number).encode())
    assert isinstance(signal, OrderSignal)
    assert signal.qty == Decimal(number)


# Bad ------------------------------------------------------------------------------------------------------------------

NUMBERS = [
    ("qty", ORDER),
    ("notional", without(ORDER, "qty") | {"notional": "1"}),
    ("qty", without(TARGET, "weight") | {"qty": "1"}),
    ("weight", TARGET),
    *((name, without(STOP, "stop_px")) for name in ("stop_px", "trail", "trail_fraction")),
    ("limit_offset", STOP),
    ("strength", STRENGTH),
    ("confidence", STRENGTH),
    ("ts", ORDER),
    ("valid_until", ORDER),
    ("seq", ORDER),
]
HOW_NUMBERS = [
    *("price", "max_slice", "min_slice", "display_qty", "participation", "risk_aversion"),
    "tolerance_bps",
    *("start", "end", "duration_s", "slices"),
]
NO_NUMBERS = [
    '"NaN"',
    "NaN",
    '"sNaN"',
    '"Infinity"',
    "-Infinity",
    '"-inf"',
    '""',
    '"ten"',
    "true",
    "[]",
    "{}",
    "1e999999",
    '"1e999999"',
]


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("field,message", NUMBERS)
def test_what_is_no_number_is_refused_in_every_field(field: str, message: dict[str, Any], text: str) -> None:
    raw = json.dumps(message | {field: "HERE"}).replace('"HERE"', text)
    assert isinstance(one(raw.encode()), BadSignal)


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("field", HOW_NUMBERS)
def test_what_is_no_number_is_refused_in_every_instruction(field: str, text: str) -> None:
    raw = json.dumps(how(**{field: "HERE"})).replace('"HERE"', text)
    assert isinstance(one(raw.encode()), BadSignal)


BAD: list[tuple[object, str]] = [
    # no JSON, or not a signal
    (b"", "truncated"),
    (b"{", "truncated"),
    (b"hello", "malformed"),
    (b'{"kind":"order",}', "malformed"),
    (b"\xff\xfe", "malformed"),
    (json.dumps(ORDER).encode() + b"x", "malformed"),
    (json.dumps(ORDER).encode().replace(b"AAPL", b"\xc3\x28"), ""),
    (json.dumps(ORDER).encode().replace(b"AAPL", b"\\ud800"), "surrogate"),
    (b"null", "Expected `object`"),
    (b"17", "Expected `object`"),
    (b'"order"', "Expected `object`"),
    (b'{"a":' * 13_000, "recursion"),
    (b"[" * 20_000, "recursion"),
    (b'{"kind":"order","how":' + b"[" * 20_000, ""),
    # the wrong shape
    ({}, "missing required field `kind`"),
    (without(ORDER, "kind"), "kind"),
    (ORDER | {"kind": "option"}, "Invalid value 'option'"),
    (ORDER | {"kind": None}, "kind"),
    (ORDER | {"kind": "strength"}, "unknown field"),
    (ORDER | {"leverage": 3}, "unknown field `leverage`"),
    (how(alog="TWAP"), "unknown field `alog`"),
    (without(ORDER, "signal_id"), "signal_id"),
    (without(ORDER, "ts"), "ts"),
    (without(STRENGTH, "strength"), "strength"),
    (without(REBALANCE, "weights"), "weights"),
    (ORDER | {"side": "buy"}, "Invalid enum value 'buy'"),
    (ORDER | {"side": 1}, "Expected `str`"),
    (how(algo="SNIPER"), "Invalid enum value 'SNIPER'"),
    (ORDER | {"how": None}, "Expected `object`"),
    (REBALANCE | {"weights": {"AAPL": "0.05"}}, "Expected `float`"),
    (REBALANCE | {"weights": [["AAPL", 0.05]]}, "Expected `object`"),
    # sizes
    (ORDER | {"qty": 0}, "qty 0 is not a positive number"),
    (ORDER | {"qty": "-5"}, "qty -5 is not a positive number"),
    (ORDER | {"notional": "100"}, "exactly one of qty and notional, 2 are given"),
    (without(ORDER, "qty"), "exactly one of qty and notional, 0 are given"),
    (without(ORDER, "qty") | {"notional": -1}, "notional -1 is not a positive number"),
    (TARGET | {"qty": 5}, "exactly one of qty and weight, 2 are given"),
    (without(TARGET, "weight"), "exactly one of qty and weight, 0 are given"),
    (STRENGTH | {"strength": 1.0001}, "not between -1 and 1"),
    (STRENGTH | {"strength": -80}, "not between -1 and 1"),
    (STRENGTH | {"confidence": 1.5}, "confidence 1.5 is not between 0 and 1"),
    (STRENGTH | {"confidence": -0.1}, "not between 0 and 1"),
    (TARGET | {"weight": 5}, "percent?"),
    (TARGET | {"weight": -8}, "percent?"),
    (REBALANCE | {"weights": {"AAPL": 0.05, "MSFT": 5}}, "MSFT 5.0 is not a fraction of equity"),
    # numbers that no quantity has and no arithmetic survives
    (ORDER | {"qty": "1e999999"}, "qty"),
    (ORDER | {"qty": "1e-999999"}, "qty"),
    (ORDER | {"qty": "1e999999999"}, "qty 1E+999999999 is not a positive number"),  # abs() of it overflows
    (ORDER | {"qty": "-1e999999999"}, "qty"),
    (ORDER | {"qty": "1e-999999999"}, "qty"),
    (without(TARGET, "weight") | {"qty": "-1e999999999"}, "qty"),
    (how(price="1e999999999"), "price"),
    (ORDER | {"qty": "1e15"}, "qty"),
    (ORDER | {"qty": "0.00000000000000000000000000001"}, "qty"),
    (ORDER | {"qty": "12345.678901234567890123456789"}, "at most 28 digits"),
    (without(TARGET, "weight") | {"qty": "-1e999999"}, "qty"),
    (without(TARGET, "weight") | {"qty": "0e-999999"}, "qty"),
    (without(ORDER, "qty") | {"notional": "9" * 60}, "notional"),
    (how(price="1e-400"), "price"),
    (how(max_slice="1e400"), "max_slice"),
    # texts
    (ORDER | {"signal_id": ""}, "signal_id is empty"),
    (ORDER | {"strategy": ""}, "strategy is empty"),
    (ORDER | {"symbol": ""}, "symbol is empty"),
    (ORDER | {"signal_id": "x" * 65}, "signal_id has 65 characters"),
    (ORDER | {"account": "x" * 65}, "account has 65 characters"),
    (ORDER | {"strategy": "a\nb"}, "strategy has characters that cannot be printed"),
    (ORDER | {"signal_id": "a\x1fb"}, "signal_id has characters that cannot be printed"),
    (ORDER | {"symbol": "AAPL\x00"}, "symbol has characters that cannot be printed"),
    (ORDER | {"account": "\u202eniam"}, "account has characters that cannot be printed"),
    (REBALANCE | {"weights": {"": 0.1}}, "symbol '' is not 1 to 64 characters"),
    (REBALANCE | {"weights": {"x" * 65: 0.1}}, "is not 1 to 64 characters"),
    (REBALANCE | {"weights": {"A\x00": 0.1}}, "is not 1 to 64 characters that can be printed"),
    (REBALANCE | {"weights": {f"S{n}": 0.0 for n in range(MAX_LEGS + 1)}}, "1,001 legs is more than 1,000"),
    # times and counts
    (ORDER | {"ts": 0}, "ts 0 is not a time"),
    (ORDER | {"ts": -TS}, "is not a time"),
    (ORDER | {"ts": 2**63}, "is not a time"),
    (json.dumps(ORDER).encode().replace(str(TS).encode(), b"9" * 5_000), "out of range"),
    (ORDER | {"valid_until": 0}, "valid_until 0 is not a time"),
    (ORDER | {"valid_until": 2**70}, "is not a time"),
    (ORDER | {"seq": -1}, "seq"),
    (ORDER | {"seq": 2**63}, "seq"),
    (how(start=-1), "start -1 is not a time"),
    (how(end=2**63), "is not a time"),
    (how(start=TS, end=TS), "end is not after start"),
    (STOP | {"trail": 1}, "give one of stop_px, trail, trail_fraction, or none to cancel"),
    (STOP | {"stop_px": 0}, "stop_px 0 is not a positive number"),
    (STOP | {"limit_offset": -1}, "limit_offset -1 is not a positive number"),
    (without(STOP, "stop_px") | {"trail_fraction": 1}, "trail_fraction 1 is not between 0 and 1 (percent?)"),
    (without(STOP, "stop_px") | {"trail": -1}, "trail -1 is not a positive number"),
    (STOP | {"how": {"algo": "MARKET", "price": 94}}, "how.price is no limit of a stop's exit: give limit_offset"),
    (STOP | {"how": {"algo": "LIMIT"}}, "no price for algo LIMIT to rest at: give limit_offset, and algo MARKET"),
    (STOP | {"how": {"algo": "ICEBERG", "display_qty": 1}}, "algo ICEBERG to rest at: give limit_offset"),
    (STOP | {"how": {"start": 1}}, "begins when it fires, not by how.start or how.end: give duration_s"),
    (STOP | {"how": {"end": 2}}, "begins when it fires, not by how.start or how.end: give duration_s"),
    (how(slices=0), "slices 0 is not between"),
    (how(slices=100_001), "slices 100001 is not between"),
    (how(duration_s=0), "duration_s 0 is not between"),
    (how(duration_s=86_401), "duration_s 86401 is not between"),
    (how(end=TS, duration_s=60), "give end or duration_s, not both"),
    (how(price="-1"), "price -1 is not a positive number"),
    (how(max_slice=0), "max_slice 0 is not a positive number"),
    (how(algo="LIMIT"), "algo LIMIT needs a price"),
    (how(algo="ICEBERG", display_qty=5), "algo ICEBERG needs a price"),
    (how(algo="ICEBERG", price=5), "algo ICEBERG needs a display_qty"),
    (how(display_qty=0), "display_qty 0 is not a positive number"),
    (how(min_slice=-1), "min_slice -1 is not a positive number"),
    (how(min_slice=9, max_slice=8), "min_slice is above max_slice"),
    (how(participation=0), "participation 0.0 is not a fraction"),
    (how(participation=10), "participation 10.0 is not a fraction of the market's volume above 0 and up to 0.5"),
    (how(tolerance_bps=-1), "tolerance_bps -1 is not between 0 and 1,000 bps"),
    (how(tolerance_bps=1_001), "tolerance_bps 1001 is not between 0 and 1,000 bps"),
    (how(risk_aversion=-0.1), "risk_aversion -0.1 is not between 0 and 1"),
    (how(must_complete="perhaps"), "Expected `bool`"),
    (change(), "give qty, price, end or urgency to AMEND"),
    (change(action="PAUSE", qty=5), "PAUSE takes no other fields"),
    (change(action="CANCEL", end=TS), "CANCEL takes no other fields"),
    (change(qty=0), "qty 0 is not a positive number"),
    (change(price="1e400"), "price"),
    (change(end=-1), "end -1 is not a time"),
    (AMEND | {"amends": ""}, "amends is empty"),
    (without(AMEND, "symbol"), "missing required field `symbol`"),
]


def repr_of(value: object) -> str:
    return ascii(value)[:60]


@pytest.mark.parametrize("message,reason", BAD, ids=repr_of)
def test_a_bad_message_is_refused_with_its_reason(message: object, reason: str) -> None:
    result = one(message)
    assert isinstance(result, BadSignal)
    assert reason in result.reason


# Size and batches -----------------------------------------------------------------------------------------------------


def test_a_message_of_the_largest_size_is_read_and_one_byte_more_is_not() -> None:
    raw = json.dumps(ORDER).encode()
    largest = raw + b" " * (MAX_SIGNAL_BYTES - len(raw))
    assert not isinstance(one(largest), BadSignal)
    refused = one(largest + b" ")
    assert isinstance(refused, BadSignal)
    assert refused.reason == "65,537 bytes is more than 65,536: send smaller batches"


def test_what_is_kept_of_a_refused_message_is_bounded() -> None:
    refused = one({"kind": "order", "x" * 60_000: 1})
    assert isinstance(refused, BadSignal)
    assert refused.text == f'{{"kind": "order", "{"x" * 60_000}'[:KEPT]
    assert len(refused.reason) <= KEPT


def test_a_batch_is_its_members_in_order_and_a_bad_one_spoils_only_itself() -> None:
    first, bad, third = parse(json.dumps([ORDER, ORDER | {"qty": -1}, STRENGTH]).encode())
    assert first == one(ORDER)
    assert isinstance(bad, BadSignal)
    assert bad.reason.startswith("qty -1 is not a positive number")
    assert bad.text == json.dumps(ORDER | {"qty": -1})
    assert third == one(STRENGTH)


def test_a_batch_in_a_batch_is_refused() -> None:
    (result,) = parse(json.dumps([[ORDER]]).encode())
    assert isinstance(result, BadSignal)


def test_an_empty_batch_asks_for_nothing() -> None:
    assert parse(b" [ ]") == []


def test_a_batch_that_is_torn_is_refused_as_a_whole() -> None:
    (result,) = parse(json.dumps([ORDER, ORDER]).encode()[:-1])
    assert isinstance(result, BadSignal)


def test_a_batch_holds_a_thousand_and_no_more() -> None:
    assert len(parse(b"[" + b",".join([b"{}"] * MAX_BATCH) + b"]")) == MAX_BATCH
    (refused,) = parse(b"[" + b",".join([b"{}"] * (MAX_BATCH + 1)) + b"]")
    assert isinstance(refused, BadSignal)
    assert refused.reason == "1,001 signals in one batch is more than 1,000: split it"


# Laws -----------------------------------------------------------------------------------------------------------------


def assert_sound(raw: bytes) -> None:
    """Whatever comes in: no exception, bounded dead letters, and signals that can be journaled and computed with."""
    for result in parse(raw):
        if isinstance(result, BadSignal):
            assert len(result.text) <= KEPT
            assert result.reason
            continue
        payload = msgspec.json.encode(result)
        assert msgspec.json.decode(payload, type=Signal) == result
        numbers = [getattr(result, name, None) for name in ("qty", "notional")]
        changed = [result.change.qty, result.change.price] if isinstance(result, AmendSignal) else []
        for number in [*numbers, *changed, result.how.price, result.how.max_slice]:
            assert number is None or +number == number  # no digit is lost in arithmetic
            assert number is None or abs(nearest(number, LOT) - number) < LOT  # and it can be counted in lots
        assert 0 < result.ts < 2**63


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    assert_sound(raw)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.decimals().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FIELDS = sorted(
    {name for message in GOOD for name in message} | {"how", "seq", "valid_until", "confidence", "notional"}
)
INSTRUCTIONS = [field.name for field in msgspec.structs.fields(Instruction)]


@given(
    st.sampled_from(GOOD),
    st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, max_size=2),
    st.dictionaries(st.sampled_from(INSTRUCTIONS), JSON_VALUES, max_size=2),
)
def test_no_field_of_a_good_message_can_make_it_raise(
    message: dict[str, Any], fields: dict[str, Any], instructions: dict[str, Any]
) -> None:
    assert_sound(json.dumps({**message, "how": instructions, **fields}).encode())


@given(st.sampled_from(GOOD), st.data())
def test_no_byte_of_a_good_message_can_make_it_raise(message: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(json.dumps([message]).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        raw = raw or bytearray(b" ")
    assert_sound(bytes(raw))


def test_the_schema_names_every_kind_and_field() -> None:
    made = schema()
    json.dumps(made)
    assert set(made["discriminator"]["mapping"]) == {"order", "strength", "target", "rebalance", "stop", "amend"}
    for kind in (OrderSignal, StrengthSignal, TargetSignal, RebalanceSignal, StopSignal, AmendSignal):
        properties = made["$defs"][kind.__name__]["properties"]
        assert properties.keys() == {"kind"} | {field.name for field in msgspec.structs.fields(kind)}
