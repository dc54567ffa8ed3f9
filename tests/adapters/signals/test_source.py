"""One message becomes one event for each signal, and a dead letter for each part that is none."""

from decimal import Decimal

import msgspec

from adapters.signals.source import events_of
from core.events import SignalDead, SignalReceived
from core.signals import MAX_BATCH, TargetSignal

NOW = 1_000


def signal(signal_id: str) -> TargetSignal:
    return TargetSignal(signal_id=signal_id, ts=5, strategy="s", symbol="X", qty=Decimal(5))


def received(signal_id: str) -> SignalReceived:
    return SignalReceived(ts=NOW, source="here", signal=signal(signal_id))


def test_a_signal_is_received_when_it_came_and_keeps_its_own_time() -> None:
    assert events_of(msgspec.json.encode(signal("1")), source="here", now=NOW) == [received("1")]


def test_a_batch_is_received_signal_by_signal_in_its_order() -> None:
    batch = msgspec.json.encode([signal("2"), signal("1"), signal("3")])
    assert events_of(batch, source="here", now=NOW) == [received("2"), received("1"), received("3")]


def test_what_is_wrong_in_a_batch_is_a_dead_letter_of_its_own() -> None:
    batch = b"[" + msgspec.json.encode(signal("1")) + b',{"kind":"target"},' + msgspec.json.encode(signal("2")) + b"]"
    first, dead, second = events_of(batch, source="here", now=NOW)
    assert (first, second) == (received("1"), received("2"))
    reason = "Object missing required field `symbol`"
    assert dead == SignalDead(ts=NOW, source="here", reason=reason, text='{"kind":"target"}')


def test_a_message_that_is_no_json_is_one_dead_letter() -> None:
    (dead,) = events_of(b"\xff{", source="here", now=NOW)
    assert isinstance(dead, SignalDead)
    assert (dead.ts, dead.source, dead.text) == (NOW, "here", "\ufffd{")
    assert dead.reason


def test_a_batch_that_is_too_large_is_one_dead_letter() -> None:
    (dead,) = events_of(msgspec.json.encode([0] * (MAX_BATCH + 1)), source="here", now=NOW)
    assert isinstance(dead, SignalDead)
    assert dead.reason == "1,001 signals in one batch is more than 1,000: split it"


def test_an_empty_batch_is_nothing() -> None:
    assert events_of(b"[]", source="here", now=NOW) == []
