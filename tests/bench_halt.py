"""How long a halt takes, end to end: from SET in one process to the last byte of an order at a venue in that process.

The daemon is a process of its own, over a real Valkey and before a venue on a real socket. `python -m tests.bench_halt`
measures idle, under load, and under load with the server's push cut; nothing is asserted.

Load: 1,000 live parents that each want a child every two seconds, a third of which rest.
"""

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from adapters.gateway import Gateway
from adapters.redis_link import Link, RedisSettings
from adapters.valkey import PrivateValkey
from core.market import Quote
from core.units import NS_PER_S
from daemon.asking import ask
from daemon.clock import SystemClock
from daemon.config import build
from daemon.run import Market, Run
from tests.fakes.wire import WireGateway, WireVenue

PARENTS = 1_000
SYMBOLS = 50
ROUNDS = 200
QUIET_S = 0.3  # after a halt: an order that came later would be seen
HALT, STREAM = "execd:halt", "execd:signals"


# The daemon -----------------------------------------------------------------------------------------------------------


def configuration(folder: Path, redis: str) -> dict[str, Any]:
    """Wide limits, many instruments."""
    instrument = {"calendar": "24x7", "shortable": True, "adv": 10_000_000, "volatility": 0.02}
    return {
        "daemon": {"data_dir": str(folder)},
        "account": {"cash": 1_000_000_000},
        "limits": {
            "orders_per_s": 100_000,
            "messages_per_s": 100_000,
            "duplicate_window_s": 0,
            "parents_per_day": 10_000_000,
            "position_max": 1,
            "sector_max": 4,
            "gross_max": 4,
            "net_max": 4,
            "positions_max": SYMBOLS,
            "daily_loss_max": 1,
            "drawdown_max": 1,
            "quote_age_s_max": 60,
            "approval_ttl_ms": 5_000,
            "symbols_default": {"order_qty_max": 1_000_000, "order_notional_max": 100_000_000},
        },
        "instruments": {f"S{i}": dict(instrument) for i in range(SYMBOLS)},
        "market": {"date": "2026-06-15"},
        "redis": {"url": redis},
        "halt": {"release_after_s": 0.2},
    }


class WireRun(Run):
    """A run whose venue is another process."""

    def make_gateways(self) -> dict[str, Gateway]:
        """The one venue."""
        path = self.config.data_dir.parent / "venue.sock"
        return {"paper": WireGateway(path, self.bus.publish, self.clock.now)}


class DeafLink(Link):
    """A link whose pushes are cut: the server forgets to track for it."""

    def ask(self, *command: object) -> Any:  # noqa: ANN401 - whatever the server answers
        """The answer; where tracking was switched on, it is switched off again."""
        answer = super().ask(*command)
        if command[:2] == ("CLIENT", "TRACKING"):
            super().ask("CLIENT", "TRACKING", "OFF")
        return answer


def quotes() -> Iterator[Quote]:
    """A quote of every symbol each 200 ms, for ever."""
    ts = time.time_ns()
    while True:
        for i in range(SYMBOLS):
            yield Quote(ts, f"S{i}", Decimal("99.99"), Decimal(1_000_000), Decimal("100.01"), Decimal(1_000_000))
        ts += NS_PER_S // 5


def serve(folder: Path, redis: str, *, deaf: bool) -> None:
    """Be the daemon, until ended."""
    if deaf:
        from daemon import edges  # noqa: PLC0415 - in this process alone

        vars(edges)["Link"] = DeafLink
    config = build(configuration(folder, redis), {}, where="bench")

    async def work() -> None:
        await WireRun(config, Market(quotes(), {}), SystemClock(), threaded=True).execute()

    import uvloop  # noqa: PLC0415 - as the command line does

    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(work())


# The operator, and the venue ------------------------------------------------------------------------------------------


class Desk:
    """Who sets the key, and sees the daemon's orders arrive."""

    def __init__(self, folder: Path, server: PrivateValkey) -> None:
        self._control = str(folder / "data" / "control.sock")
        self._settings: RedisSettings = server.settings
        self.venue = WireVenue(folder / "venue.sock", fills=lambda number: number % 3 != 0)

    def redis(self, *command: object) -> Any:  # noqa: ANN401 - whatever the server answers
        """One command over a connection of its own."""
        with closing(Link(self._settings, str, deadline_s=5)) as link:
            link.open()
            return link.ask(*command)

    def status(self) -> dict[str, Any]:
        """The daemon's."""
        return ask(self._control, "GET", "status")

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for the daemon."""
        deadline = time.monotonic() + 60
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError("the daemon does not get there")
            time.sleep(0.02)

    def load(self, parents: int) -> None:
        """Parents that each want a child of two shares every two seconds."""
        now = time.time_ns()
        with closing(Link(self._settings, str, deadline_s=5)) as link:
            link.open()
            for number in range(parents):
                how = {"algo": "TWAP", "slices": 1_800, "duration_s": 3_600}
                facts = {"kind": "order", "signal_id": f"p{number}-{now}", "ts": now, "strategy": "bench"}
                side = "BUY" if number % 2 else "SELL"
                order = {"symbol": f"S{number % SYMBOLS}", "side": side, "qty": 3_600, "how": how}
                link.ask("XADD", STREAM, "*", "signal", json.dumps(facts | order))
        self.until(lambda: self.status()["parents"] == parents)

    def halt(self) -> dict[str, float]:
        """Set the key, wait, and resume; times since the SET in ms."""
        with closing(Link(self._settings, str, deadline_s=5)) as link:
            link.open()
            began_ns, orders = time.monotonic_ns(), self.venue.orders
            link.ask("SET", HALT, "bench")
            time.sleep(QUIET_S)
            late = self.venue.orders - orders
            last_ns, cancel_ns = self.venue.last_order_ns, self.venue.last_cancel_ns
            self.until(lambda: (self.status()["last_halt"] or {}).get("heard_ns", 0) > began_ns)
            heard_ns = self.status()["last_halt"]["heard_ns"]
            assert self.venue.working == 0, "an order still works"
            link.ask("DEL", HALT)
        self.until(self._resumed)
        return {
            "heard": (heard_ns - began_ns) / 1e6,
            "last order": max(last_ns - began_ns, 0) / 1e6,
            "last cancel": max(cancel_ns - began_ns, 0) / 1e6,
            "late": late,
        }

    def _resumed(self) -> bool:
        from daemon.asking import RefusedError  # noqa: PLC0415

        try:
            ask(self._control, "POST", "resume", {})
        except RefusedError:
            return False
        return True


@contextmanager
def desk(*, deaf: bool = False) -> Iterator[Desk]:
    """A daemon at work and an operator."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = PrivateValkey(folder / "valkey", "--appendonly", "no")
        server.start()
        made = Desk(folder, server)
        command = [sys.executable, "-m", "tests.bench_halt", "daemon", name, server.settings.url, str(int(deaf))]
        with (folder / "daemon.log").open("wb") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            made.until(lambda: _ready(made))
            yield made
        finally:
            daemon.terminate()
            daemon.wait()
            made.venue.close()
            server.kill()


def _ready(made: Desk) -> bool:
    from daemon.asking import NoAnswerError  # noqa: PLC0415

    try:
        return bool(made.status()["ready"])
    except NoAnswerError:
        return False


def measure(title: str, made: Desk, rounds: int) -> dict[str, list[float]]:
    """Halt again and again, at moments that nobody chose; `late` counts orders that came after the SET."""
    dice, found, began, orders = random.Random(1), [], time.monotonic(), made.venue.orders
    for _ in range(rounds):
        time.sleep(0.3 + dice.random())
        found.append(made.halt())
    columns = {key: sorted(each[key] for each in found) for key in found[0]}
    shown = ", ".join(
        f"{key} {_at(columns[key], 0.5):.2f} / {_at(columns[key], 0.99):.2f} / {columns[key][-1]:.2f}"
        for key in columns
    )
    sent = (made.venue.orders - orders) / (time.monotonic() - began)  # with the time that trading was halted
    print(f"{title}, {sent:,.0f} orders/s all the while ({rounds} halts, p50 / p99 / most, ms): {shown}", flush=True)
    return columns


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def main(rounds: int = ROUNDS) -> None:
    """All three."""
    with desk() as made:
        measure("halt, idle", made, max(rounds // 4, 1))
        made.load(PARENTS)
        measure(f"halt, {PARENTS:,} live parents", made, rounds)
    with desk(deaf=True) as made:
        made.load(PARENTS)
        measure(f"halt, {PARENTS:,} live parents, no push", made, max(rounds // 4, 1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["daemon"]:
        serve(Path(sys.argv[2]) / "data", sys.argv[3], deaf=sys.argv[4] == "1")
    else:
        main(*map(int, sys.argv[1:]))
