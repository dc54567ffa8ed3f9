"""The daemon as a service: a process of its own, a real clock, real servers; and what a desk sees of it from outside.

The market is a synthetic day that began when the process did, so nothing depends on the time at which a test runs.
"""

import datetime as dt
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import redis as redis_py

from adapters.redis_link import RedisSettings
from daemon.asking import NoAnswerError, ask

DAY = dt.date(2026, 6, 15)
STREAM, HALT = "execd:signals", "execd:halt"
OPEN = int(dt.datetime.combine(DAY, dt.time(), dt.UTC).timestamp()) * 1_000_000_000
WAIT_S = 30.0
ROOT = Path(__file__).resolve().parents[2]

BASE: dict[str, Any] = {
    "daemon": {"account": "service", "tag": "S1"},
    "clock": {"kind": "scaled", "scale": 1},
    "market": {"date": DAY.isoformat(), "step_s": 0.2, "settings": {"start_prices": {"ALFA": 100.0, "BRAV": 50.0}}},
    "account": {"cash": 100_000_000},
    "limits": {
        "position_max": 1,
        "parents_per_day": 100_000,
        "duplicate_window_s": 0,
        "orders_per_s": 10_000,
        "messages_per_s": 10_000,
        "repeats_max": 10_000,
        "symbols_default": {"order_qty_max": 100_000, "order_notional_max": 100_000_000},
    },
    "halt": {"release_after_s": 0.3},
    "instruments": {
        name: {"calendar": "24x7", "adv": 2_000_000, "volatility": 0.02, "shortable": True} for name in ("ALFA", "BRAV")
    },
}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Tables within tables, the changes winning."""
    found = dict(base)
    for key, value in changes.items():
        inner = found.get(key)
        found[key] = merged(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return found


def toml(table: dict[str, Any], name: str = "") -> str:
    """Tables as TOML; JSON's scalars and arrays are TOML's too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    inner = [toml(value, f"{name}.{key}".lstrip(".")) for key, value in table.items() if isinstance(value, dict)]
    return "\n".join([f"[{name}]" if name else "", *lines, *inner])


class Service:
    """One data directory, and the daemon that may run over it."""

    def __init__(self, folder: Path, redis: RedisSettings | None = None, **changes: Any) -> None:  # noqa: ANN401 - tables
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        tables = merged(BASE, changes)
        tables["daemon"] = {**tables["daemon"], "data_dir": str(folder)}
        if redis is not None:
            tables = merged(tables, {"redis": {"url": redis.url, "username": redis.username}})
        self.config = folder / "execd.toml"
        self._tables = tables
        self.write()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "stderr.log"

    def write(self, **changes: Any) -> None:  # noqa: ANN401 - tables
        """Write the configuration, with changes to what it was made with."""
        self.config.write_text(toml(merged(self._tables, changes)))

    # its life

    def start(self, *, ready: bool = True, **environment: str) -> "Service":
        """Start the process, and return once it trades, if it is to."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daemon", "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=ROOT,
                env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **environment},
            )
        if ready:
            self.until(lambda: self.status()["ready"])
        return self

    def stop(self) -> int:
        """Stop in good order; the exit code."""
        return self.end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL."""
        return self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int:
        """Send a signal that ends it, and wait; harmless where nothing runs."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(WAIT_S)
        self._process = None
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal that does not end it."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    # what a desk sees

    def ask(self, method: str, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The control socket's answer."""
        return ask(str(self.folder / "control.sock"), method, name, body)

    def status(self) -> dict[str, Any]:
        """The control socket's status; `ready` is False where nobody answers yet."""
        try:
            return self.ask("GET", "status")
        except NoAnswerError:
            return {"ready": False, "state": "", "causes": []}

    def until(
        self, holds: Callable[[], object], what: str = "what a test waits for", *, within_s: float = WAIT_S
    ) -> None:
        """Return once it holds; fails after a while, with the end of the log."""
        deadline = time.monotonic() + within_s
        while not holds():
            code = self._process.poll() if self._process is not None else None
            assert code is None, f"the daemon ended with {code}: {self.log()[-2000:]}"
            assert time.monotonic() < deadline, f"{what} never came: {self.log()[-2000:]}"
            time.sleep(0.02)

    def until_state(self, state: str) -> None:
        """Return once trading is in this state."""
        self.until(lambda: self.status()["state"] == state, f"the state {state}")

    def causes(self) -> set[str]:
        """What holds trading back."""
        return {each["cause"] for each in self.status()["causes"]}

    def rows(self, query: str) -> list[Any]:
        """Rows of its database."""
        with closing(sqlite3.connect(f"file:{self.folder / 'execd.db'}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Its events of one type on record."""
        rows = self.rows(f"select payload from journal where type = '{kind}' order by seq")  # noqa: S608 - ours
        return [json.loads(payload) for (payload,) in rows]

    def venue(self, kind: str) -> list[dict[str, Any]]:
        """The venue's own book, a witness that knows nothing of the daemon's."""
        lines = (self.folder / "venue.jsonl").read_text().splitlines()
        return [fact for fact in map(json.loads, lines) if fact["type"] == kind]

    def execd(self, *words: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        """A command of the command line about this run, as a person at the desk types it."""
        return command(*words, "--dir", str(self.folder), stdin=stdin, **environment)

    def log(self) -> str:
        """All that it said."""
        return self._log.read_text() if self._log.exists() else ""


def order(signal_id: str, symbol: str = "ALFA", side: str = "BUY", qty: int = 100, **how: object) -> bytes:
    """A signal as its publisher writes it."""
    facts = {"kind": "order", "signal_id": signal_id, "ts": OPEN + 1, "strategy": "desk"}
    return json.dumps({**facts, "symbol": symbol, "side": side, "qty": qty, "how": how or {"algo": "MARKET"}}).encode()


Execd = Callable[..., tuple[int, str, str]]
"""Runs a command in the process of the test: exit code, output, errors."""


class Make(Protocol):
    """Makes services that end with the test."""

    def __call__(self, name: str = "service", *arguments: Any, **changes: Any) -> Service: ...  # noqa: ANN401 - tables


def command(*words: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """The command line as a process."""
    return subprocess.run(
        [sys.executable, "-m", "daemon", *words],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=WAIT_S,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def resting(number: int) -> list[bytes]:
    """Orders that work and do not trade."""
    return [order(f"rest-{i}", algo="LIMIT", price="97.00", duration_s=80_000) for i in range(number)]


def working(service: Service, number: int) -> None:
    """Return once so many orders work."""

    def there() -> list[str]:
        return [each["ord_status"] for each in service.ask("GET", "live")["orders"]]

    service.until(lambda: there() == ["NEW"] * number, f"{number} working orders")


def publish(hand: redis_py.Redis, *signals: bytes) -> None:
    """Add signals to the stream."""
    for each in signals:
        hand.xadd(STREAM, {"signal": each})


def acknowledged(hand: redis_py.Redis, number: int = 0) -> bool:
    """Whether only so many entries are pending, and none waits."""
    groups: Any = hand.xinfo_groups(STREAM)
    return bool(groups) and groups[0]["pending"] == number and groups[0]["lag"] == 0
