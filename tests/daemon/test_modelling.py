"""The risk model of a run: made of a file, again when the file changes, and what happens where it cannot be used."""

import asyncio
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from core.events import Event, RiskModelSet
from core.instruments import Instrument, Instruments
from daemon.config import RiskConfig
from daemon.modelling import Modeller
from risk.shortfall import ScenarioError
from risk.tail import TailRisk
from tests.clocks import ManualClock
from tests.returns import history, write_returns

INSTRUMENTS = Instruments([Instrument(symbol=symbol, sector="all") for symbol in "ABCDZ"])


def write(path: Path, *, seed: int = 1, cell: str | None = None) -> Path:
    """Returns of A to D, in a file; `cell`: what stands for A on the eighth day."""
    return write_returns(path, history(seed=seed), {} if cell is None else {(7, "A"): cell})


class Bench:
    """A modeller into a list, whose events are folded at once."""

    def __init__(self, path: Path, *, threaded: bool = True, **settings: object) -> None:
        self.published: list[RiskModelSet] = []
        self.tail = TailRisk()
        chosen = RiskConfig(returns=str(path), window=250, check_s=0.01, **settings)  # type: ignore[arg-type]
        self.modeller = Modeller(chosen, INSTRUMENTS, self.tail, self.publish, ManualClock(5), threaded=threaded)

    def publish(self, event: Event) -> None:
        assert isinstance(event, RiskModelSet)
        self.published.append(event)
        self.tail.take(event)

    async def until(self, number: int) -> None:
        """Return once so many models were set."""
        async with asyncio.timeout(10):
            while len(self.published) < number:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("threaded", [True, False])
async def test_the_first_model_is_set_and_says_what_it_is(tmp_path: Path, *, threaded: bool) -> None:
    bench = Bench(write(tmp_path / "r.csv"), threaded=threaded)
    with capture_logs() as logs:
        await bench.modeller.begin()
    (event,) = bench.published
    assert bench.tail.model is not None
    assert (event.ts, event.version, event.symbols, event.scenarios) == (5, bench.tail.model.version, 4, 250)
    assert (event.date, event.proxies) == (history().dates[-1].isoformat(), ())
    assert len(event.recent) == 10
    assert logs == [
        {
            "log_level": "warning",
            "event": "instruments without scenarios take no order that opens",
            "symbols": ["Z"],
        }
    ]


async def test_days_that_are_missing_are_filled_by_the_sector_and_said(tmp_path: Path) -> None:
    bench = Bench(write(tmp_path / "r.csv", cell=""))
    with capture_logs() as logs:
        await bench.modeller.begin()
    assert bench.published[0].proxies == ("A",)
    assert {"log_level": "warning", "event": "days were filled by the sector", "symbol": "A", "days": 1} | {
        "sector": "all"
    } in logs


async def test_a_file_that_changes_makes_another_model(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv")
    bench = Bench(path)
    await bench.modeller.begin()
    task = asyncio.create_task(bench.modeller.run())
    await asyncio.sleep(0.05)
    assert len(bench.published) == 1
    write(path, seed=2)
    await bench.until(2)
    assert bench.published[0].version != bench.published[1].version
    task.cancel()


async def test_a_file_that_cannot_be_used_leaves_the_model_before_it_and_is_said_once(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv")
    bench = Bench(path)
    await bench.modeller.begin()
    with capture_logs() as logs:
        task = asyncio.create_task(bench.modeller.run())
        write(path, cell="-0.5")
        async with asyncio.timeout(10):
            while not bench.modeller.error:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
    assert bench.modeller.error.startswith(f"{path}: A on 2024-01-08: -50.0% looks like a split or an error")
    assert [log["event"] for log in logs] == ["the returns cannot be used"]
    assert len(bench.published) == 1
    write(path, seed=3)
    task = asyncio.create_task(bench.modeller.run())
    await bench.until(2)
    assert bench.modeller.error == ""
    task.cancel()


async def test_a_jump_that_happened_is_allowed_by_name(tmp_path: Path) -> None:
    bench = Bench(write(tmp_path / "r.csv", cell="-0.5"), allowed=("A@2024-01-08",))
    await bench.modeller.begin()
    assert len(bench.published) == 1


async def test_a_live_run_starts_without_a_model_and_a_simulation_does_not_start(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", cell="-0.5")
    bench = Bench(path)
    await bench.modeller.begin()
    assert bench.modeller.error
    assert bench.published == []
    with pytest.raises(ScenarioError, match="looks like a split"):
        await Bench(path, threaded=False).modeller.begin()
    with pytest.raises(FileNotFoundError):
        await Bench(tmp_path / "none.csv", threaded=False).modeller.begin()


@pytest.mark.parametrize(
    "settings,said",
    [
        ({"window": 249}, "window = 249: 250 days or more belong here"),
        ({"decay": 1.0}, "decay = 1.0: a number between 0 and 1 belongs here"),
        ({"check_s": float("nan")}, "check_s = nan: a positive number of seconds belongs here"),
        ({"allowed": ("A",)}, "A: say SYMBOL@DATE, like ABC@2008-07-03"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", "\\(")):
        RiskConfig(**settings)  # type: ignore[arg-type]


structlog.configure()  # logs of this module are captured, however others configured them
