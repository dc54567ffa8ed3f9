"""What a frozen Redis does to a running day: `python -m tests.trials.frozen` freezes one for 30 s and tells.

A daemon, a process of its own, works parents and trades a stream of signals while its server is stopped where it stands
(SIGSTOP: connections stand, nothing answers) and goes on later. The publisher knows nothing of it: it sends each signal
again until the server has answered, as one does who must not lose any, so what it sent into the silence arrives many
times over. The venue's own book says what was sent when. Ends with 1 where a bound is broken.
"""

import itertools
import json
import math
import os
import signal
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import redis

from adapters.brokers.paper import FACTOR_MAX, PaperSettings
from adapters.halt import POLL_S
from adapters.redis_link import DEADLINE_S
from adapters.valkey import PrivateValkey
from core.causes import REDIS
from core.units import NS_PER_MS
from tests.daemon.service import STREAM, Service, acknowledged, order
from tests.servers.valkey import other_hand, running

FREEZE_S, RELEASE_S = 30.0, 30.0
PAUSE_MS_MAX = (
    1_000 * (POLL_S + DEADLINE_S) + 50
)  # a look each POLL_S, an answer within DEADLINE_S, and the loop's turn
LATE_S_MAX = 2.0  # to see that the server is back, besides the wait itself: a poll, two deadlines, and the venue's word
PARENTS = 6  # that work throughout: each wants a child every second
BLUNT: dict[str, Any] = {"protocol": 2, "driver_info": None}  # a client that says nothing before its command
EVERY_S = 0.05  # between two signals
# How long an order is on its way to the paper venue, which dates it at its arrival.
FLIGHT_NS = int((PaperSettings().latency_ms + FACTOR_MAX * PaperSettings().jitter_ms) * NS_PER_MS)
AROUND_S = 3.0  # of signals before the freeze and behind the pause


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    freeze_s: float
    release_s: float  # the setting: how long contact must have been back
    pause_ms: float  # from SIGSTOP to the pause
    back_s: float  # from SIGCONT to the end of the pause
    published: int  # signals that the server took, each as often as it was sent
    unanswered: int  # attempts to publish that nobody answered
    entries: int  # in the stream
    once: int  # signals that acted once
    twice: int
    never: int
    unknowing: int  # orders sent between SIGSTOP and the pause: nobody could know
    paused: int  # orders sent during the pause
    resumed: int  # and behind it
    parents: int  # that work at the end


def broken(figures: Figures) -> list[str]:
    """The bounds that do not hold."""
    least, most = figures.release_s, figures.release_s + LATE_S_MAX
    bounds = {
        f"the pause came within {PAUSE_MS_MAX:.0f} ms": 0 < figures.pause_ms <= PAUSE_MS_MAX,
        f"the pause ended {least:.1f} to {most:.1f} s after the server was back": least <= figures.back_s <= most,
    }
    return [text for text, holds in (bounds | _facts(figures)).items() if not holds]


def _facts(figures: Figures) -> dict[str, bool]:
    """The bounds that hold however slow a machine is."""
    return {
        "the server was frozen while somebody published": figures.unanswered > 0,
        "every signal acted": figures.never == 0,
        "no signal acted twice": figures.twice == 0,
        "what was published acted": figures.once == figures.published,
        "no order was sent during the pause": figures.paused == 0,
        "trading went on": figures.resumed > 0,
        "the parents work on": figures.parents == PARENTS,
    }


def shown(figures: Figures) -> str:
    """A table for people."""
    sent_again = figures.entries - figures.published - PARENTS
    lines = {
        "frozen for": f"{figures.freeze_s:.0f} s",
        "freeze to pause": f"{figures.pause_ms:.0f} ms (at most {PAUSE_MS_MAX:.0f})",
        "thaw to release": f"{figures.back_s:.2f} s ({figures.release_s:.1f} to {figures.release_s + LATE_S_MAX:.1f})",
        "signals published": f"{figures.published} ({figures.unanswered} attempts unanswered, {sent_again} repeats)",
        "acted on once": f"{figures.once}",
        "acted on twice": f"{figures.twice}",
        "never acted on": f"{figures.never}",
        "orders before the pause": f"{figures.unknowing} since the freeze",
        "orders while paused": f"{figures.paused}",
        "orders after the release": f"{figures.resumed}",
        "parents that work on": f"{figures.parents} of {PARENTS}",
    }
    return "\n".join(f"{name:<26} {value}" for name, value in lines.items())


class Publisher:
    """Signals at a steady pace, each sent until the server has taken it."""

    def __init__(self, server: PrivateValkey) -> None:
        self._server = server
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher")
        self.taken: list[str] = []
        self.unanswered = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Publish what is due, and stop."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._ending.is_set():
            if time.monotonic() - began < len(self.taken) * EVERY_S:
                self._ending.wait(EVERY_S / 2)
                continue
            number = len(self.taken)
            side = "SELL" if number % 2 else "BUY"
            self._send(order(f"s{number}", symbol=("ALFA", "BRAV")[number // 2 % 2], side=side, qty=1))
            self.taken.append(f"s{number}")

    def _send(self, message: bytes) -> None:
        while True:
            try:
                with other_hand(self._server, socket_timeout=DEADLINE_S, **BLUNT) as hand:
                    hand.xadd(STREAM, {"signal": message})
            except (redis.TimeoutError, redis.ConnectionError):  # taken or not: nobody knows, so once more
                self.unanswered += 1
            else:
                return


@contextmanager
def publishing(server: PrivateValkey) -> Iterator[Publisher]:
    """A publisher that ends with the block."""
    publisher = Publisher(server)
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.end()


def trial(folder: Path, *, freeze_s: float, release_s: float, around_s: float = AROUND_S) -> Figures:
    """Freeze a server under a daemon that trades, and see."""
    with running(folder / "valkey") as server, other_hand(server) as hand:
        service = Service(folder / "service", server.settings, halt={"release_after_s": release_s})
        try:
            service.start()
            return _measured(service, server, hand, freeze_s=freeze_s, release_s=release_s, around_s=around_s)
        finally:
            service.kill()


def _measured(
    service: Service, server: PrivateValkey, hand: redis.Redis, *, freeze_s: float, release_s: float, around_s: float
) -> Figures:
    for number in range(PARENTS):
        side, symbol = ("BUY", "SELL")[number % 2], ("ALFA", "BRAV")[number // 2 % 2]
        how = {"algo": "TWAP", "slices": 3_600, "duration_s": 3_600}
        hand.xadd(STREAM, {"signal": order(f"parent-{number}", symbol=symbol, side=side, qty=7_200, **how)})
    service.until(lambda: service.status()["parents"] == PARENTS, "the parents")
    with publishing(server) as publisher:
        _settle(service, around_s)
        frozen = time.time()
        os.kill(server.pid, signal.SIGSTOP)
        try:
            service.until(lambda: REDIS in service.causes(), "the pause")
            time.sleep(max(frozen + freeze_s - time.time(), 0))
        finally:
            thawed = time.time()
            os.kill(server.pid, signal.SIGCONT)
        service.until(lambda: REDIS not in service.causes(), "the release", within_s=release_s + 30)
        _settle(service, around_s)
    service.until(lambda: acknowledged(hand), "the acknowledgements")
    acted = Counter(event["signal_id"] for event in service.events("SignalAccepted"))
    pause, over = _logged(service, "paused", frozen), _logged(service, "pause over", thawed)
    ahead, during, behind = _orders(service, pause[0], over[0], int((pause[1] - frozen) * 1e9))
    return Figures(
        freeze_s=thawed - frozen,
        release_s=release_s,
        pause_ms=(pause[1] - frozen) * 1_000,
        back_s=over[1] - thawed,
        published=len(publisher.taken),
        unanswered=publisher.unanswered,
        entries=hand.xlen(STREAM),
        once=sum(acted[signal_id] == 1 for signal_id in publisher.taken),
        twice=sum(times > 1 for times in acted.values()),
        never=sum(signal_id not in acted for signal_id in publisher.taken),
        unknowing=ahead,
        paused=during,
        resumed=behind,
        parents=sum(parent["algo"] == "TWAP" for parent in service.ask("GET", "live")["parents"]),
    )


def _settle(service: Service, around_s: float) -> None:
    """Let it trade for a while: until so much of the market's time has passed."""
    begin = service.status()["now"]
    service.until(lambda: service.status()["now"] - begin >= around_s * 1e9, "a while")


def _logged(service: Service, event: str, after: float) -> tuple[int, float]:
    """When the daemon first said so of Redis after a moment of the machine's clock, and how often it had before."""
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    times = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines if _is_about(line, event)]
    return next((number, at) for number, at in enumerate(times) if at > after)


def _is_about(line: dict[str, Any], event: str) -> bool:
    return (line["event"], line.get("cause")) == (event, REDIS)


def _orders(service: Service, pause: int, release: int, unknown_ns: int) -> tuple[int, int, int]:
    """How many the venue was sent between freeze and pause, during the pause, and behind it, by the daemon's clock.

    What is on its way when the pause comes enters the venue within `FLIGHT_NS` after it, and was sent before.
    """
    halted = [event["ts"] for event in service.events("TradingHalted") if event["cause"] == REDIS][pause]
    resumed = [event["ts"] for event in service.events("TradingResumed") if event["cause"] == REDIS][release]
    entered = [fact["ts"] for fact in service.venue("Entered")]
    bounds = (halted - unknown_ns, halted + FLIGHT_NS, resumed, math.inf)
    ahead, during, behind = (sum(a < ts <= b for ts in entered) for a, b in itertools.pairwise(bounds))
    return ahead, during, behind


def main() -> int:
    """Run it, tell, and say whether a bound is broken."""
    parser = ArgumentParser(prog="python -m tests.trials.frozen", description=__doc__.splitlines()[0])
    parser.add_argument("--freeze-s", type=float, default=FREEZE_S, help="for how long the server is frozen")
    parser.add_argument("--release-s", type=float, default=RELEASE_S, help="halt.release_after_s of the daemon")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = trial(Path(folder), freeze_s=given.freeze_s, release_s=given.release_s)
    print(shown(figures))
    for text in (wrong := broken(figures)):
        print(f"BROKEN: {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
