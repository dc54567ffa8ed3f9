"""A small day that dies at the k-th effect: run as a program, it forks one child per k, then one that goes on.

An effect boundary is a moment right before or right after something that outlives the process: a commit of the journal,
an order or a cancel handed to the venue, a snapshot; and the arrival of an outside event. The
children die by `os._exit`, which runs no cleanup, as SIGKILL would.
"""

import datetime as dt
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from adapters.brokers.matching import Exchange
from adapters.brokers.paper import PaperGateway
from adapters.store.journal import Journal
from core.events import MarketData
from core.units import NS_PER_S
from daemon.bus import Bus
from daemon.config import Config, build
from daemon.markets import open_market
from daemon.run import Run
from daemon.simulate import simulate

DIED = 77  # exit code of a child that reached its k-th boundary
OPEN = int(dt.datetime(2026, 6, 15, 13, 30, tzinfo=dt.UTC).timestamp()) * NS_PER_S
SIGNALS: tuple[dict[str, Any], ...] = (
    {"kind": "order", "symbol": "AAA", "side": "BUY", "qty": 300, "how": {"algo": "TWAP", "slices": 3}},
    {"kind": "order", "symbol": "BBB", "side": "SELL", "qty": 200, "how": {"algo": "MARKET", "ord_type": "MARKET"}},
    {"kind": "target", "symbol": "BBB", "qty": 100, "how": {"algo": "VWAP", "slices": 3, "duration_s": 3600}},
    {
        "kind": "order",
        "symbol": "AAA",
        "side": "BUY",
        "qty": 50,
        "how": {"algo": "LIMIT", "price": 1, "duration_s": 900},
    },
)


def config(folder: Path, account: str = "paper") -> Config:
    """The day: two instruments, four signals, a snapshot every 150 events."""
    instrument = {"adv": 1_000_000, "volatility": 0.02, "shortable": True}
    limits = {"quote_age_s_max": 120, "symbols_default": {"order_qty_max": 10_000, "order_notional_max": 10_000_000}}
    raw = {
        "daemon": {"world": "simulation", "data_dir": str(folder), "account": account},
        "account": {"ask_s": 3_600, "reconcile_s": 3_600},
        "store": {"snapshot_every": 150},
        "market": {"date": "2026-06-15", "step_s": 60.0},
        "limits": limits,
        "instruments": {"AAA": dict(instrument), "BBB": dict(instrument)},
        "signals": {"files": [str(folder / "signals.jsonl")]},
    }
    return build(raw, {}, where="the crashing day")


def write_signals(folder: Path) -> None:
    """One signal every ten minutes."""
    folder.mkdir(parents=True)
    lines = (
        json.dumps({"signal_id": f"s{i}", "ts": OPEN + (600 * i + 90) * NS_PER_S, "strategy": "crash", **signal})
        for i, signal in enumerate(SIGNALS)
    )
    (folder / "signals.jsonl").write_text("\n".join(lines))


def paper(run: Run) -> PaperGateway:
    """The run's only venue."""
    venue = run.gateways["paper"]
    assert isinstance(venue, PaperGateway)
    return venue


class Fuse:
    """Counts boundaries and dies at the k-th."""

    def __init__(self, k: int) -> None:
        self._k = k
        self.passed = 0

    def burn(self) -> None:
        """One boundary."""
        self.passed += 1
        if self.passed == self._k:
            os._exit(DIED)

    def around(self, owner: type, name: str) -> None:
        """Make every call of `owner.name` two boundaries, in this process."""
        call = getattr(owner, name)

        def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if type(args[-1]) is MarketData:
                return call(*args, **kwargs)  # market data leaves nothing behind but the tape
            self.burn()
            result = call(*args, **kwargs)
            self.burn()
            return result

        setattr(owner, name, guarded)


BOUNDARIES: tuple[tuple[type, str], ...] = (
    (Journal, "_write"),  # one commit
    (Exchange, "enter"),  # the venue takes an order
    (Exchange, "cancel"),
    (Bus, "publish"),  # a report, a signal, a due time arrives, and all that follows from it
    (Run, "snapshot"),
)


def live(folder: Path, k: int) -> None:
    """Run the day in `folder`, from wherever it stands, until boundary k; 0: to its end. k > 0: only in a child."""
    if k:
        fuse = Fuse(k)
        for owner, name in BOUNDARIES:
            fuse.around(owner, name)
    settings = config(folder)
    simulate(settings, open_market(settings))


def in_child(work: Callable[[], object]) -> int:
    """The exit code of a forked child that does `work`."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the parent has to hear of it
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def crash_at_every(folder: Path, *, part: int, parts: int) -> Iterator[tuple[int, list[int]]]:
    """For k = part, part + parts, ... until the day ends first: (k, exit codes of the first and the second life)."""
    for k in count(part + 1, parts):
        here = folder / f"k{k}"
        write_signals(here)
        first = in_child(partial(live, here, k))
        second = in_child(partial(live, here, 0)) if first == DIED else 0
        yield k, [first, second]
        if first != DIED:
            return


def crash_in_recovery(folder: Path, *, first: int, most: int) -> Iterator[tuple[int, list[int]]]:
    """Die at boundary `first`, then at the j-th boundary of the second life, then go on; j = 1 .. most."""
    for j in range(1, most + 1):
        here = folder / f"j{j}"
        write_signals(here)
        lives = [in_child(partial(live, here, k)) for k in (first, j, 0)]
        yield j, lives


def main() -> None:
    """`FOLDER every PART PARTS` or `FOLDER recovery FIRST MOST`: prints what came of each as a line of JSON."""
    folder, what, a, b = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    each = crash_at_every(folder, part=a, parts=b) if what == "every" else crash_in_recovery(folder, first=a, most=b)
    for k, codes in each:
        print(msgspec.json.encode((k, codes)).decode(), flush=True)


if __name__ == "__main__":
    main()
