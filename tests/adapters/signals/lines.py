"""Signals as their publishers write them."""

from decimal import Decimal

import msgspec

from core.signals import TargetSignal


def signal(signal_id: str, ts: int = 5, *, seq: int | None = None) -> TargetSignal:
    """A target of five X."""
    return TargetSignal(signal_id=signal_id, ts=ts, strategy="s", symbol="X", qty=Decimal(5), seq=seq)


def line(signal_id: str, ts: int = 5) -> bytes:
    """The same as JSON."""
    return msgspec.json.encode(signal(signal_id, ts))
