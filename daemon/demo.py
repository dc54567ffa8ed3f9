"""The demonstration: a day of a synthetic market, traded by a daemon of its own that hears its signals over Redis.

The conductor starts a private Valkey and the daemon, each a process, and publishes the basket as the market's clock
reaches each signal, as a model's process would. Whatever is killed, `resume` goes on: the daemon from its journal, the
conductor from what stands on the stream. Without a Valkey the daemon reads the basket from a file.
"""

import datetime as dt
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from adapters.processes import ends_with_parent
from adapters.redis_link import LINK_ERRORS, Link, RedisSettings
from adapters.valkey import PrivateValkey
from core.units import NS_PER_S
from daemon.asking import NoAnswerError, ask
from daemon.config import Config, load

ACCOUNT = "demo"  # as in demo.toml
NEW_YORK = ZoneInfo("America/New_York")
DAY = dt.date(2026, 6, 15)
STREAM = "execd:signals"
LOOK_S = 0.05  # between two questions to a daemon that does not answer yet
PAST_DAYS = 600
TAILS = 5  # degrees of freedom of Student's t
JUMP_MAX = 0.3  # a larger one would look like a split
LOOK_S_MAX = 0.5  # the longest sleep between two looks at the market's clock


def write_day(folder: Path, redis: RedisSettings | None) -> Path:
    """Write execd.toml and signals.jsonl into `folder`; the configuration's path."""
    folder.mkdir(parents=True, exist_ok=True)
    signals, config = folder / "signals.jsonl", folder / "execd.toml"
    text = files("daemon").joinpath("demo.toml").read_text().replace("@DIR@", folder.as_posix())
    text = text.replace("@REDIS@", redis.url if redis is not None else "")
    config.write_text(text.replace("@FILES@", "[]" if redis is not None else f'["{signals.as_posix()}"]'))
    signals.write_text("".join(f"{line}\n" for line in basket()))
    (folder / "returns.csv").write_text("".join(f"{line}\n" for line in past(load(config, {}))))
    return config


def past(config: Config) -> Iterator[str]:
    """Daily returns of the instruments up to the day: CSV, as volatile as each is, and half of one mind."""
    noise, instruments = np.random.default_rng(config.market.seed), config.instruments.values()
    volatility = [each.volatility for each in instruments]
    alone, together = (noise.standard_t(TAILS, size=(PAST_DAYS, n)) for n in (len(volatility), 1))
    values = (alone + together) / np.sqrt(2 * TAILS / (TAILS - 2)) * volatility
    yield ",".join(["date", *(each.symbol for each in instruments)])
    dates = np.busday_offset(np.datetime64(DAY), np.arange(-PAST_DAYS, 0), roll="forward")
    for date, row in zip(dates, values.clip(-JUMP_MAX, JUMP_MAX), strict=True):
        yield ",".join([str(date), *(f"{value:.6f}" for value in row)])


class Conductor:
    """Publishes the basket to a daemon of its own. `trade` is the day; its result is the daemon's exit code."""

    def __init__(self, folder: Path, server: PrivateValkey) -> None:
        self._folder = folder
        self._server = server
        self._daemon: subprocess.Popen[bytes] | None = None
        self.stopped = False  # by somebody, before the day was over

    def trade(self) -> int:
        """Run the day to its end, or until somebody stops it."""
        config = write_day(self._folder, self._server.settings)
        command = [sys.executable, "-m", "daemon", "run", "--config", str(config)]
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        self._daemon = subprocess.Popen(  # noqa: S603 - our own program
            command,
            preexec_fn=ends_with_parent,  # noqa: PLW1509 - no threads yet
        )
        try:
            for line in self._unpublished():
                if not self._await_time(json.loads(line)["ts"] if line.endswith("}") else 0):
                    break
                self._publish(line)
            return self._daemon.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _frame: object) -> None:
        """Pass it on; the daemon may have heard it from the terminal already."""
        self.stopped = True
        if self._daemon is not None:
            self._daemon.send_signal(number)

    def _unpublished(self) -> Iterator[str]:
        """The basket without what stands on the stream since before."""
        with closing(Link(self._server.settings, str)) as link:
            link.open()
            there = Counter(
                dict(_pairs(fields))[b"signal"].decode() for _, fields in link.ask("XRANGE", STREAM, "-", "+")
            )
        for line in basket():
            if there[line]:
                there[line] -= 1
            elif not line.startswith("#"):
                yield line

    def _await_time(self, ts: int) -> bool:
        """Return once the market's clock is there; False where the daemon has ended before."""
        while self._is_trading():
            wait_s = LOOK_S
            with suppress(NoAnswerError):
                status = ask(str(self._folder / "control.sock"), "GET", "status")
                if status["ready"] and status["now"] >= ts:
                    return True
                if status["ready"]:
                    wait_s = (ts - status["now"]) / NS_PER_S / status["scale"]
            time.sleep(min(wait_s, LOOK_S_MAX))
        return False

    def _publish(self, line: str) -> None:
        """Add to the stream, once the server takes it."""
        while self._is_trading():
            with closing(Link(self._server.settings, str)) as link, suppress(*LINK_ERRORS):
                link.open()
                link.ask("XADD", STREAM, "*", "signal", line)
                return
            time.sleep(LOOK_S)

    def _is_trading(self) -> bool:
        return self._daemon is not None and self._daemon.poll() is None


def _pairs(flat: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


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
    yield _line(
        "strength", "s-3", "09:50", "momentum", symbol="DELT", strength=0.6, confidence=0.9, how={"algo": "AUTO"}
    )
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
