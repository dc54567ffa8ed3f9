"""The demonstration's day: a configuration and a basket of signals of every kind, written to a folder."""

import datetime as dt
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

from core.units import NS_PER_S

ACCOUNT = "demo"  # as in demo.toml
NEW_YORK = ZoneInfo("America/New_York")
DAY = dt.date(2026, 6, 15)


def write_day(folder: Path) -> Path:
    """Write execd.toml and signals.jsonl into `folder`; the configuration's path."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "execd.toml"
    config.write_text(files("daemon").joinpath("demo.toml").read_text().replace("@DIR@", folder.as_posix()))
    (folder / "signals.jsonl").write_text("".join(f"{line}\n" for line in basket()))
    return config


def basket() -> Iterator[str]:
    """Orders, strengths, a target, a rebalance; and what must not trade: dead, weak, repeated, denied, expired."""
    yield "# One signal a line. Each is handed over when the market's clock reaches its ts."
    first = _order("open-1", "09:31", "BUY 1800 ALFA", {"algo": "VWAP"})
    yield first
    yield _order("open-2", "09:35", "SELL 2500 BRAV", {"algo": "TWAP", "duration_s": 10_800, "slices": 18})
    yield _order("open-3", "09:40", "BUY 1500 GOLF", {"algo": "VWAP", "duration_s": 14_400})
    yield '{"kind": "order", "signal_id": "broken", "symbol": "ALFA", "side": "BUY", "qty": 100'
    yield _line("strength", "s-1", "09:45", "momentum", symbol="CHAR", strength=0.85, how={"algo": "TWAP"})
    yield _line("strength", "s-2", "09:46", "momentum", symbol="ECHO", strength=0.04)
    yield _line("strength", "s-3", "09:50", "momentum", symbol="DELT", strength=0.6, confidence=0.9)
    yield _order("fat-finger", "10:00", "BUY 60_000 INDI", {"algo": "MARKET"})
    yield first
    yield _order("now", "10:15", "BUY 300 HOTL", {"algo": "MARKET", "ord_type": "MARKET"})
    yield _order("patient", "10:20", "BUY 2000 JULI", {"algo": "LIMIT", "price": "39.80"})
    yield _line("target", "t-1", "10:30", "carry", symbol="FOXT", weight=0.05, how={"algo": "TWAP", "duration_s": 7200})
    weights = {"CHAR": 0.04, "DELT": 0.04, "ECHO": 0.04, "INDI": 0.05}
    yield _line("rebalance", "r-1", "12:00", "book", weights=weights, how={"algo": "VWAP", "duration_s": 9000})
    yield _line("rebalance", "r-2", "14:45", "book", weights={"CHAR": 0.05, "INDI": 0.02}, how={"algo": "TWAP"})
    yield _order("late", "15:00", "SELL 700 GOLF", {"algo": "TWAP", "duration_s": 3000, "slices": 12})
    yield _line("target", "t-2", "15:05", "carry", symbol="FOXT", weight=0.02, valid_until=_at("15:00"))


def _order(signal_id: str, time: str, what: str, how: dict[str, object]) -> str:
    side, qty, symbol = what.split()
    return _line("order", signal_id, time, "desk", symbol=symbol, side=side, qty=int(qty), how=how)


def _line(kind: str, signal_id: str, time: str, strategy: str, **facts: object) -> str:
    return json.dumps({"kind": kind, "signal_id": signal_id, "ts": _at(time), "strategy": strategy, **facts})


def _at(time: str) -> int:
    moment = dt.datetime.combine(DAY, dt.time.fromisoformat(time), NEW_YORK)
    return int(moment.timestamp()) * NS_PER_S
