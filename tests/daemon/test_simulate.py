"""A simulated day is a pure function of its inputs: of no placement, no process and no hash seed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from core.units import NS_PER_S
from daemon.config import Config
from daemon.markets import open_market
from daemon.simulate import Simulated, simulate
from tests.daemon.crashing import OPEN, config, write_signals
from tests.daemon.test_run import facts

ROOT = Path(__file__).parents[2]
DAY = """
import sys
from pathlib import Path
from daemon.markets import open_market
from daemon.simulate import simulate
from tests.daemon.crashing import config
settings = config(Path(sys.argv[1]))
print(simulate(settings, open_market(settings)).trace_hash)
"""


def day(folder: Path, **daemon: object) -> Simulated:
    write_signals(folder)
    settings: Config = config(folder)
    settings = msgspec.structs.replace(settings, daemon=msgspec.structs.replace(settings.daemon, **daemon))
    return simulate(settings, open_market(settings))


def test_inline_and_task_placement_give_the_same_trace(tmp_path: Path) -> None:
    inline = day(tmp_path / "inline", placement="inline")
    tasks = day(tmp_path / "tasks", placement="tasks")
    assert inline == tasks
    assert inline.events > inline.market_events > 500


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> str:
    return day(tmp_path_factory.mktemp("here") / "day").trace_hash


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_with_another_hash_seed_gives_the_same_trace(hash_seed: str, here: str, tmp_path: Path) -> None:
    write_signals(tmp_path / "day")
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", DAY, str(tmp_path / "day")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True)
    assert done.stdout.strip() == here


def test_another_seed_gives_another_trace(here: str, tmp_path: Path) -> None:
    write_signals(tmp_path / "day")
    settings = config(tmp_path / "day")
    settings = msgspec.structs.replace(settings, market=msgspec.structs.replace(settings.market, seed=2))
    assert simulate(settings, open_market(settings)).trace_hash != here


def test_a_way_out_takes_another_strategys_orders_back_and_both_complete(tmp_path: Path) -> None:
    """On the paper venue: one strategy has bought, and leaves while a bid of another rests."""
    orders = [
        ("out", 60, {"side": "BUY", "qty": 300, "how": {"algo": "MARKET"}}),
        ("in", 100, {"side": "BUY", "qty": 360, "how": {"algo": "TWAP", "slices": 9, "duration_s": 3000}}),
        ("out", 490, {"side": "SELL", "qty": 300, "how": {"algo": "MARKET"}}),
    ]
    (tmp_path / "day").mkdir()
    lines = (
        {
            "kind": "order",
            "signal_id": str(second),
            "ts": OPEN + second * NS_PER_S,
            "strategy": strategy,
            "symbol": "AAA",
        }
        | wanted
        for strategy, second, wanted in orders
    )
    (tmp_path / "day" / "signals.jsonl").write_text("\n".join(map(json.dumps, lines)))
    settings = config(tmp_path / "day")
    simulate(settings, open_market(settings))
    taken = [e for e in facts(tmp_path / "day", "OrderCancelRequest") if str(e["text"]).startswith("in the way of ")]
    assert len(taken) == 1
    ends = facts(tmp_path / "day", "ParentEnded")
    assert [(end["strategy"], end["reason"]) for end in ends] == [
        ("out", "FILLED"),
        ("out", "FILLED"),
        ("in", "FILLED"),
    ]
