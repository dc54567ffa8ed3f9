"""The risk model of a run: made of a file, again when the file changes, and what happens where it cannot be used."""

import asyncio
import datetime as dt
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event as Flag
from typing import Any

import msgspec
import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs

from adapters.market.columns import TapeError
from adapters.market.returns import read_returns
from core.events import Event, RiskModelSet
from core.instruments import Instrument, Instruments
from core.returns import Returns
from daemon import modelling
from daemon.config import RiskConfig
from daemon.modelling import Modeller, Stamp, UnsettledError, stamp_of
from risk.shortfall import ScenarioError
from risk.tail import TailRisk
from tests.clocks import ManualClock
from tests.returns import LAST, history, write_returns

NOW = int(dt.datetime.combine(LAST, dt.time(12), dt.UTC).timestamp()) * 1_000_000_000
DAY = 86_400 * 1_000_000_000
INSTRUMENTS = Instruments([Instrument(symbol=symbol, sector="all") for symbol in "ABCDZ"])


def write(path: Path, *, seed: int = 1, cell: str | None = None) -> Path:
    """Returns of A to D, in a file; `cell`: what stands for A on the eighth day."""
    return write_returns(path, history(seed=seed), {} if cell is None else {(7, "A"): cell})


class Bench:
    """A modeller into a list, whose events are folded at once."""

    def __init__(self, path: Path, *, threaded: bool = True, now: int = NOW, **settings: object) -> None:
        self.published: list[RiskModelSet] = []
        self.tail = TailRisk()
        chosen = RiskConfig(returns=str(path), window=250, check_s=0.01, **settings)  # type: ignore[arg-type]
        self.modeller = Modeller(chosen, INSTRUMENTS, self.tail, self.publish, ManualClock(now), threaded=threaded)

    def publish(self, event: Event) -> None:
        assert isinstance(event, RiskModelSet)
        self.published.append(event)
        self.tail.take(event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The modeller looks at the file meanwhile."""
        task = asyncio.create_task(self.modeller.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()

    async def models(self, number: int) -> None:
        """Return once so many were set."""
        await until(lambda: len(self.published) >= number)

    async def says(self, text: str) -> None:
        """Return once it says so."""
        await until(lambda: text in self.modeller.error)


async def until(condition: Callable[[], object]) -> None:
    """Return once it is true."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


class Reads:
    """Stands in for the reading of files: counts, and lets a test come between."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.between: Callable[[], object] = lambda: None  # behind the reading, in the thread
        monkeypatch.setattr(modelling, "read_returns", self.read)

    def read(self, path: Path) -> Returns:
        self.count += 1
        returns = read_returns(path)
        self.between()
        return returns


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


class Looks:
    """Stands in for the stamps of files: counts them; each is new while the file is `moving`, none is there `away`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.moving = self.away = False
        monkeypatch.setattr(modelling, "stamp_of", self.look)

    def look(self, path: Path) -> Stamp:
        self.count += 1
        if self.away:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return msgspec.structs.replace(stamp_of(path), size=self.count) if self.moving else stamp_of(path)

    async def more(self) -> None:
        """Return once the file was looked at a few times more."""
        enough = self.count + 5
        await until(lambda: self.count >= enough)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long does so after a moment."""
    monkeypatch.setattr(modelling, "PATIENCE_S", 0.05)


def fails(error: Exception) -> Callable[..., Any]:
    """A function that raises."""

    def function(*_: object, **__: object) -> None:
        raise error

    return function


@pytest.mark.parametrize("threaded", [True, False])
async def test_the_first_model_is_set_and_says_what_it_is(tmp_path: Path, *, threaded: bool) -> None:
    bench = Bench(write(tmp_path / "r.csv"), threaded=threaded)
    with capture_logs() as logs:
        await bench.modeller.begin()
    (event,) = bench.published
    assert bench.tail.model is not None
    assert (event.ts, event.version, event.symbols, event.scenarios) == (NOW, bench.tail.model.version, 4, 250)
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


async def test_a_file_that_changes_makes_another_model(tmp_path: Path, looks: Looks) -> None:
    path = write(tmp_path / "r.csv")
    bench = Bench(path)
    await bench.modeller.begin()
    async with bench.running():
        await looks.more()
        assert len(bench.published) == 1
        write(path, seed=2)
        await bench.models(2)
    assert bench.published[0].version != bench.published[1].version


async def test_a_file_that_cannot_be_used_leaves_the_model_before_it_and_is_said_and_read_once(
    tmp_path: Path, reads: Reads, looks: Looks
) -> None:
    path = write(tmp_path / "r.csv")
    bench = Bench(path)
    await bench.modeller.begin()
    with capture_logs() as logs:
        write(path, cell="-0.5")
        async with bench.running():
            await bench.says("split")
            await looks.more()
    assert bench.modeller.error.startswith(f"{path}: A on 2024-01-08: -50.0% looks like a split or an error")
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("warning", "the returns are not used"),  # yet: they have just changed
        ("error", "the returns are not used"),
    ]
    assert (len(bench.published), reads.count) == (1, 2)
    write(path, seed=3)
    async with bench.running():
        await bench.models(2)
        await until(lambda: not bench.modeller.error)


SURPRISES = [MemoryError("no room"), ValueError("odd"), np.linalg.LinAlgError("singular"), KeyError("A")]


@pytest.mark.parametrize("surprise", SURPRISES, ids=repr)
async def test_whatever_is_raised_over_a_model_is_said_once_and_the_daemon_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: Looks, surprise: Exception
) -> None:
    path = write(tmp_path / "r.csv")
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(modelling, "prepare", fails(surprise))
        bench = Bench(path)
        await bench.modeller.begin()
        async with bench.running():
            await looks.more()
        with pytest.raises(type(surprise)):
            await Bench(path, threaded=False).modeller.begin()
    said = f"{path}: {type(surprise).__name__}: {surprise}"
    assert bench.modeller.error == said
    assert logs == [{"log_level": "error", "event": "the returns are not used", "error": said}]
    async with bench.running():
        write(path, seed=2)
        await bench.models(1)


async def test_a_file_that_cannot_be_reached_is_tried_at_each_look_and_need_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: Looks
) -> None:
    bench = Bench(write(tmp_path / "r.csv"))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(modelling, "read_returns", fails(OSError(5, "Input/output error")))
        await bench.modeller.begin()
        async with bench.running():
            await looks.more()
    assert [log["error"] for log in logs] == [f"{tmp_path / 'r.csv'}: Input/output error"]
    async with bench.running():
        await bench.models(1)
    assert bench.modeller.error == ""


async def test_a_file_that_was_away_and_is_the_one_in_use_is_not_read_again(
    tmp_path: Path, reads: Reads, looks: Looks
) -> None:
    bench = Bench(write(tmp_path / "r.csv"))
    await bench.modeller.begin()
    async with bench.running():
        looks.away = True
        await bench.says("No such file or directory")
        looks.away = False
        await until(lambda: not bench.modeller.error)
        await looks.more()
    assert (len(bench.published), reads.count) == (1, 1)


async def test_a_refused_file_is_refused_without_reading_when_it_comes_back(tmp_path: Path, reads: Reads) -> None:
    good, bad, link = write(tmp_path / "good.csv"), write(tmp_path / "bad.csv", cell="-0.5"), tmp_path / "r.csv"

    def point_at(path: Path) -> None:
        new = tmp_path / "new"
        new.symlink_to(path)
        new.replace(link)

    point_at(good)
    bench = Bench(link)
    await bench.modeller.begin()
    async with bench.running():
        for _ in range(2):
            point_at(bad)
            await bench.says("split")
            point_at(good)
            await until(lambda: not bench.modeller.error)
    assert (len(bench.published), reads.count) == (1, 2)


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


# When a file is read --------------------------------------------------------------------------------------------------


def test_whatever_happens_to_a_file_changes_its_stamp(tmp_path: Path) -> None:
    path, other = tmp_path / "r.csv", tmp_path / "other.csv"
    path.write_text("one")
    before, stat = stamp_of(path), path.stat()
    assert before == stamp_of(path)
    while stamp_of(path).ctime_ns == before.ctime_ns:  # the file system's clock ticks a few hundred times a second
        path.write_text("two")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (stamp_of(path).size, stamp_of(path).mtime_ns) == (before.size, before.mtime_ns)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert stamp_of(path).mtime_ns != before.mtime_ns
    other.write_text("two")
    other.replace(path)
    assert stamp_of(path).ino != before.ino
    path.write_text("more")
    assert stamp_of(path).size != before.size


async def test_a_file_that_is_written_is_not_read_until_it_stands_still(
    tmp_path: Path, reads: Reads, looks: Looks
) -> None:
    path = write(tmp_path / "r.csv")
    bench = Bench(path)
    await bench.modeller.begin()
    async with bench.running():
        looks.moving = True
        write(path, seed=2)
        await looks.more()
        assert bench.modeller.error == f"{path}: r.csv has just changed: it is read once it stands still"
        assert (len(bench.published), reads.count) == (1, 1)
        looks.moving = False
        await bench.models(2)
    assert reads.count == 2


async def test_a_file_that_comes_late_is_read_once_it_stands_still(tmp_path: Path, reads: Reads, looks: Looks) -> None:
    bench = Bench(tmp_path / "r.csv")
    await bench.modeller.begin()
    assert bench.modeller.error == f"{tmp_path / 'r.csv'}: No such file or directory"
    async with bench.running():
        looks.moving = True
        write(tmp_path / "r.csv")
        await bench.says("stands still")
        await looks.more()
        assert reads.count == 0
        looks.moving = False
        await bench.models(1)


@pytest.mark.parametrize("cell", [None, "-0.5"], ids=["sound", "refused"])
async def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path, reads: Reads, cell: str | None) -> None:
    path = write(tmp_path / "r.csv", cell=cell)
    reads.between = lambda: write(path, seed=2) if reads.count == 1 else None
    bench = Bench(path)
    await bench.modeller.begin()
    assert (bench.published, reads.count) == ([], 1)
    assert bench.modeller.error.endswith("it is read once it stands still")
    async with bench.running():
        await bench.models(1)
    assert reads.count == 2
    expected = Bench(path)
    await expected.modeller.begin()
    assert bench.published == expected.published


async def test_a_simulation_does_not_start_on_a_file_that_is_written(tmp_path: Path, reads: Reads) -> None:
    path = write(tmp_path / "r.csv")
    reads.between = lambda: write(path, seed=2)
    with pytest.raises(UnsettledError, match=r"r\.csv has just changed"):
        await Bench(path, threaded=False).modeller.begin()


async def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    os.mkfifo(path)
    said = "r.csv is no regular file: write the returns to one, and name it in risk.returns"
    bench = Bench(path)
    await bench.modeller.begin()
    assert bench.modeller.error == f"{path}: {said}"
    with pytest.raises(TapeError, match=said):
        await Bench(path, threaded=False).modeller.begin()
    path.unlink()
    async with bench.running():
        write(path)
        await bench.models(1)


# What takes long ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("hangs", ["read_returns", "stamp_of"])
async def test_a_start_does_not_wait_for_ever_and_the_model_is_used_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    answers, really = Flag(), getattr(modelling, hangs)

    def hang(path: Path) -> object:
        assert answers.wait(10)
        return really(path)

    monkeypatch.setattr(modelling, hangs, hang)
    path = write(tmp_path / "r.csv")
    bench = Bench(path)
    said = f"{path}: it takes more than 0.05 s to read, and is used when that is done"
    with capture_logs() as logs:
        async with asyncio.timeout(5):
            await bench.modeller.begin()
        async with bench.running():
            await asyncio.sleep(0.2)
            assert (bench.published, bench.modeller.error) == ([], said)
            assert logs == [{"log_level": "error", "event": "the returns are not used", "error": said}]
            answers.set()
            await bench.models(1)
    assert bench.modeller.error == ""


@pytest.mark.usefixtures("hurried")
async def test_a_simulation_waits_for_its_model(tmp_path: Path, reads: Reads) -> None:
    reads.between = lambda: Flag().wait(0.2)
    bench = Bench(write(tmp_path / "r.csv"), threaded=False)
    await bench.modeller.begin()
    assert len(bench.published) == 1


# Dates ----------------------------------------------------------------------------------------------------------------


async def test_days_in_the_future_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv")
    bench = Bench(path, now=NOW - 2 * DAY)
    await bench.modeller.begin()
    said = "2024-09-16 lies in the future of 2024-09-14: correct the dates, or the clock"
    assert (bench.published, bench.modeller.error) == ([], f"{path}: {said}")
    with pytest.raises(ScenarioError, match=said):
        await Bench(path, threaded=False, now=NOW - 2 * DAY).modeller.begin()
    tomorrow = Bench(path, now=NOW - DAY)
    await tomorrow.modeller.begin()
    assert len(tomorrow.published) == 1


async def test_days_that_end_earlier_than_before_are_used_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv")
    bench = Bench(path)
    await bench.modeller.begin()
    whole = history(seed=2)
    with capture_logs() as logs:
        async with bench.running():
            write_returns(path, Returns(whole.dates[:-1], whole.symbols, whole.values[:-1]))
            await bench.models(2)
    assert bench.published[-1].date == "2024-09-15"
    said = {"event": "the returns end earlier than before", "date": "2024-09-15", "before": "2024-09-16"}
    assert said | {"log_level": "warning"} in logs


# Settings -------------------------------------------------------------------------------------------------------------


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
