"""A simulated day is a pure function of its inputs: of no placement, no process and no hash seed."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from daemon.config import Config
from daemon.markets import open_market
from daemon.simulate import Simulated, simulate
from tests.daemon.crashing import config, write_signals

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
