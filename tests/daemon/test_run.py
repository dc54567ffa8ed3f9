"""A run that fails, or is stopped at a bad moment, leaves nothing working that nobody knows of, and loses nothing."""

import asyncio
import json
import math
import sqlite3
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import pytest

from adapters.brokers.paper import PaperGateway
from adapters.gateway import Gateway
from core.causes import KILL, REDIS, STARTUP
from core.events import (
    DaemonStarted,
    Event,
    NewOrderSingle,
    OrderUpdated,
    SignalAccepted,
    SignalGap,
    TradingHalted,
    TradingResumed,
)
from core.orders import OrdStatus
from core.reconcile import Picture
from daemon import recovery
from daemon.asking import RefusedError, ask
from daemon.bus import Bus, BusFailed
from daemon.clock import ScaledClock, SimulatedClock, simulated_loop
from daemon.config import Config, build
from daemon.markets import open_market
from daemon.run import Run
from tests.daemon.crashing import config, paper, write_signals
from tests.daemon.service import BASE, merged


def live(settings: Config, watch: Callable[[Run], object] = lambda _: None) -> Run:
    """Run a day in virtual time; `watch` sees the run before it begins."""
    opened = open_market(settings)
    clock = SimulatedClock(opened.start)
    loop = simulated_loop(clock)

    async def build() -> Run:
        return Run(settings, opened.market, clock, threaded=False)

    try:
        asyncio.set_event_loop(loop)
        run = loop.run_until_complete(build())
        watch(run)
        loop.run_until_complete(run.execute())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return run


def placed(folder: Path, placement: str) -> Config:
    """The small day in one of the placements."""
    settings = config(folder)
    return msgspec.structs.replace(settings, daemon=msgspec.structs.replace(settings.daemon, placement=placement))


def facts(folder: Path, name: str) -> list[dict[str, object]]:
    """Events of one type on record."""
    with closing(sqlite3.connect(folder / "execd.db")) as database:
        rows = database.execute("select payload from journal where type = ? order by seq", (name,)).fetchall()
    return [json.loads(payload) for (payload,) in rows]


class Trap:
    """Raises once an order works at the venue."""

    def on_updated(self, event: OrderUpdated) -> Iterable[Event]:
        """Fail."""
        if event.ord_status is OrdStatus.NEW and event.symbol == "AAA":
            raise ZeroDivisionError("a bug")
        return ()


def test_when_a_decision_fails_nothing_is_left_working_at_the_venue(tmp_path: Path) -> None:
    write_signals(tmp_path / "day")
    seen: list[Run] = []

    def watch(run: Run) -> None:
        seen.append(run)
        run.bus.on(OrderUpdated, Trap().on_updated)

    with pytest.raises(BusFailed, match="ZeroDivisionError: a bug"):
        live(config(tmp_path / "day"), watch)
    assert list(paper(seen[0])._exchange.working()) == []
    ends = [json.loads(line) for line in (tmp_path / "day" / "venue.jsonl").read_text().splitlines()]
    assert [fact["type"] for fact in ends] == ["Moved", "Entered", "Ended"]


def test_after_a_failure_the_day_goes_on_from_what_is_on_record(tmp_path: Path) -> None:
    write_signals(tmp_path / "day")
    with pytest.raises(BusFailed):
        live(config(tmp_path / "day"), lambda run: run.bus.on(OrderUpdated, Trap().on_updated))
    live(config(tmp_path / "day"))
    ended = facts(tmp_path / "day", "ParentEnded")
    assert len(ended) == 4
    assert sum(1 for each in ended if each["reason"] == "FILLED") == 3


@pytest.mark.parametrize("placement", ["inline", "tasks"])
@pytest.mark.parametrize("moment", [SignalAccepted, NewOrderSingle])
def test_a_stop_in_the_middle_of_a_cascade_loses_nothing(placement: str, moment: type[Event], tmp_path: Path) -> None:
    write_signals(tmp_path / "day")

    def watch(run: Run) -> None:
        def tap(_seq: int, event: Event) -> None:
            if type(event) is moment:
                asyncio.get_running_loop().call_soon(run.stop)

        run.bus.tap(tap)

    for _ in range(3):
        live(placed(tmp_path / "day", placement), watch)
    live(placed(tmp_path / "day", placement))
    accepted, parents = facts(tmp_path / "day", "SignalAccepted"), facts(tmp_path / "day", "ParentAccepted")
    assert len(accepted) == len(parents) == len(facts(tmp_path / "day", "ParentEnded")) == 4
    verdicts = {each["cl_ord_id"] for each in facts(tmp_path / "day", "OrderDenied")}
    verdicts |= {each["order"]["cl_ord_id"] for each in facts(tmp_path / "day", "OrderApproved")}  # type: ignore[index]
    assert {each["cl_ord_id"] for each in facts(tmp_path / "day", "NewOrderSingle")} <= verdicts


# A live run -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def trading(folder: Path, *, watch: Callable[[Run], object] = lambda _: None) -> AsyncIterator[Run]:
    """A live run that has recovered; it ends, or has failed, with the block."""
    tables = merged(BASE, {"daemon": {"data_dir": str(folder)}})
    settings = build(tables, {}, where="test")
    opened = open_market(settings)
    run = Run(settings, opened.market, ScaledClock(opened.start, 1), threaded=True)
    watch(run)
    life = asyncio.create_task(run.execute())
    try:
        await run.ready.wait()
        yield run
    finally:
        run.stop()
        await life


class NeverLooked:
    """A watch over the halt key that does not get to its first look."""

    def __init__(self) -> None:
        self.looked = threading.Event()
        self.beat = math.inf

    def start(self) -> None:
        """It would."""

    def close(self) -> None:
        """It has."""

    def obstacle(self) -> str:
        return ""


async def test_nothing_leaves_before_the_halt_key_was_read_however_long_that_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.run.FIRST_LOOK_S", 0.01)
    async with trading(tmp_path, watch=lambda run: setattr(run, "watch", NeverLooked())) as run:
        assert run.actors.exposure.causes.names() == [REDIS]
        assert run.actors.halts.live[REDIS].text == "the halt key was not read yet"


async def test_who_failed_while_he_traded_comes_back_halted(tmp_path: Path) -> None:
    def spoil(run: Run) -> None:
        run.bus.on(SignalGap, lambda event: [1 / 0])  # type: ignore[list-item]

    async def fail() -> None:
        async with trading(tmp_path, watch=spoil) as run:
            run.bus.publish(SignalGap(ts=run.clock.now(), source="s", strategy="a", missing=1, before=2))

    with pytest.raises(BusFailed, match="ZeroDivisionError"):
        await fail()
    async with trading(tmp_path) as run:
        halt = run.actors.halts.live[KILL]
        assert (halt.by, "ZeroDivisionError" in halt.text) == ("execd", True)
        await run.actors.halts.resume_trading("ann")
        await run.actors.halts.resumed()
        assert not (tmp_path / "halted.json").exists()
    async with trading(tmp_path) as run:
        assert KILL not in run.actors.halts.live


async def test_a_venue_that_is_away_at_the_start_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.run.RETRY_S", 0.01)
    failures = [OSError("no route"), OSError("no route")]
    connect = PaperGateway.connect

    async def fail_first(gateway: PaperGateway) -> None:
        if failures:
            raise failures.pop()
        await connect(gateway)

    monkeypatch.setattr(PaperGateway, "connect", fail_first)
    async with trading(tmp_path) as run:
        assert not failures
        assert KILL not in run.actors.halts.live


async def test_a_start_that_waits_for_a_venue_can_be_halted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.run.RETRY_S", 0.01)
    settings = build(merged(BASE, {"daemon": {"data_dir": str(tmp_path)}}), {}, where="test")
    opened = open_market(settings)
    run = Run(settings, opened.market, ScaledClock(opened.start, 1), threaded=True)
    connect, away = PaperGateway.connect, asyncio.Event()
    away.set()

    async def wait(gateway: PaperGateway) -> None:
        if away.is_set():
            raise OSError("no route")
        await connect(gateway)

    monkeypatch.setattr(PaperGateway, "connect", wait)
    life = asyncio.create_task(run.execute())
    socket = tmp_path / "control.sock"
    while not socket.exists():
        await asyncio.sleep(0.01)
    with pytest.raises(RefusedError, match="the daemon is starting"):
        await asyncio.to_thread(ask, str(socket), "POST", "resume", {})
    answer = await asyncio.to_thread(ask, str(socket), "POST", "halt", {})
    assert answer["file"] == str(tmp_path / "HALT")
    away.clear()
    await run.ready.wait()
    assert KILL in run.actors.halts.live
    run.stop()
    await life


async def test_a_start_that_waits_for_a_venue_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = build(merged(BASE, {"daemon": {"data_dir": str(tmp_path)}}), {}, where="test")
    opened = open_market(settings)
    run = Run(settings, opened.market, ScaledClock(opened.start, 1), threaded=True)
    tried = asyncio.Event()

    async def fail(gateway: PaperGateway) -> None:
        del gateway
        tried.set()
        raise OSError("no route")

    monkeypatch.setattr(PaperGateway, "connect", fail)
    life = asyncio.create_task(run.execute())
    await tried.wait()
    run.stop()
    async with asyncio.timeout(10):
        await life
    assert not run.ready.is_set()


async def test_the_socket_for_signals_is_there_before_the_run_says_that_it_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {"daemon": {"data_dir": str(tmp_path)}, "signals": {"socket": "signals.sock"}}
    settings = build(merged(BASE, tables), {}, where="test")
    opened = open_market(settings)
    run = Run(settings, opened.market, ScaledClock(opened.start, 1), threaded=True)
    seen: list[tuple[bool, bool]] = []
    release = recovery.release

    def look(bus: Bus, now: int) -> None:
        seen.append(((tmp_path / "signals.sock").exists(), run.ready.is_set()))
        release(bus, now)

    monkeypatch.setattr(recovery, "release", look)
    life = asyncio.create_task(run.execute())
    await run.ready.wait()
    run.stop()
    await life
    assert seen == [(True, False)]


# Recovery -------------------------------------------------------------------------------------------------------------


def test_every_start_is_halted_until_the_venue_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_signals(tmp_path / "day")
    heard: list[object] = []
    asked = PaperGateway.picture

    async def shown(venue: PaperGateway, since: int = 0) -> Picture:
        heard.append("picture")
        return await asked(venue, since)

    monkeypatch.setattr(PaperGateway, "picture", shown)

    def watch(run: Run) -> None:
        kept = (DaemonStarted, TradingHalted, TradingResumed)
        run.bus.tap(lambda _seq, event: heard.append(type(event)) if type(event) in kept else None)

    run = live(config(tmp_path / "day"), watch)
    assert heard[:5] == [DaemonStarted, TradingHalted, "picture", "picture", TradingResumed]
    assert set(heard[5:]) == {"picture"}  # while trading
    assert run.actors.exposure.causes.names() == []
    assert facts(tmp_path / "day", "TradingHalted")[0]["cause"] == STARTUP


def test_what_a_venue_prints_of_ours_is_no_part_of_what_others_trade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Run.make_gateways

    def printing(run: Run) -> dict[str, Gateway]:
        gateways = make(run)
        paper_ = gateways["paper"]
        paper_.capabilities = msgspec.structs.replace(paper_.capabilities, prints_ours=True)
        return gateways

    volumes = []
    for name in ("silent", "printing"):
        write_signals(tmp_path / name)
        run = live(config(tmp_path / name))
        volumes.append({symbol: watch.volume for symbol, watch in run.actors.slicer._watches.items()})
        monkeypatch.setattr(Run, "make_gateways", printing)
    ours: dict[str, float] = defaultdict(float)
    for fill in facts(tmp_path / "printing", "FillBooked"):
        ours[str(fill["symbol"])] += float(str(fill["last_qty"]))
    assert sum(ours.values()) > 0
    assert volumes[1] == {symbol: volume - ours[symbol] for symbol, volume in volumes[0].items()}


def test_time_goes_on_where_the_record_ends(tmp_path: Path) -> None:
    write_signals(tmp_path / "day")
    live(config(tmp_path / "day"))
    live(config(tmp_path / "day"))
    starts = [int(str(each["ts"])) for each in facts(tmp_path / "day", "DaemonStarted")]
    last = max(int(str(each["ts"])) for each in facts(tmp_path / "day", "ParentEnded"))
    assert starts[1] >= last > starts[0]


def test_a_tape_that_cannot_be_read_further_does_not_keep_the_daemon_from_starting(tmp_path: Path) -> None:
    write_signals(tmp_path / "day")
    settings = config(tmp_path / "day")
    live(msgspec.structs.replace(settings, store=msgspec.structs.replace(settings.store, snapshot_every=10**9)))
    with closing(sqlite3.connect(tmp_path / "day" / "execd.db")) as database:
        database.execute("delete from snapshots")
        database.commit()
    (segment,) = (tmp_path / "day" / "tape").glob("tape-*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:100], b"not a record\n", *lines[101:]]))
    run = live(settings)
    assert run.recovered.events > 100
