"""One run of the daemon: build the actors, recover, open, work until the inputs end or somebody asks it to stop.

Live, paper and simulation differ in clock, loop and adapters alone, all of them made here; nothing below can tell.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from adapters.brokers.paper import PaperGateway
from adapters.gateway import Gateway
from adapters.signals.file import FileSource
from adapters.store import queries, snapshots
from adapters.store.engine import WriterLock, open_engine, upgrade
from adapters.store.journal import Journal
from adapters.store.tape import TapeWriter
from adapters.store.writer import JournalError
from algos.slicer import Slicer
from core.events import AccountOpened, DaemonStarted
from core.instruments import Instruments
from core.market import Update
from core.units import NS_PER_S
from daemon import recovery
from daemon.bus import Bus, BusFailed, TaskBus
from daemon.clock import Clock
from daemon.config import Config, hash_of
from daemon.feed import Feed
from daemon.oms import Oms
from daemon.recorder import Recorder
from daemon.sender import Ledger, Sender
from daemon.supervise import supervise
from daemon.timers import Timer
from daemon.version import VERSION
from daemon.wiring import Actors, wire
from risk.exposure import Exposure
from risk.gate import Gate
from risk.sizing import Sizer
from tca.analyst import Analyst

FLUSH_S = 1.0  # how long a market event may wait in the tape's buffer
DRAIN_NS = NS_PER_S // 4  # between two looks at what still works at a venue, when trading has failed
DRAIN_TRIES = 40  # looks, then a person has to take over
WIND_UP_NS = 30 * NS_PER_S  # how long after the last parent's end a run whose market has ended waits for reports

_log = structlog.get_logger()


class Market(msgspec.Struct, frozen=True):
    """Where a run's market data comes from: updates by time, and by symbol which prints count as volume."""

    updates: Iterable[Update]
    filters: dict[str, str]


class Run:
    """A daemon over one data directory. `execute` is its life; attributes are for those who watch."""

    def __init__(self, config: Config, market: Market, clock: Clock, *, threaded: bool) -> None:
        self.config = config
        self.clock = clock
        self._threaded = threaded
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._snapshot_seq = 0
        self._saving: asyncio.Task[None] | None = None  # a snapshot on its way
        self.ready = asyncio.Event()  # recovered and open; before that a snapshot would be worse than the last one
        data_dir = config.data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        self.engine = open_engine(config.store_url, sync=config.sync)
        self._lock = WriterLock(self.engine)
        upgrade(self.engine)
        self.instruments = Instruments(config.instruments.values())
        self.bus = TaskBus(self._on_failure) if config.daemon.placement == "tasks" else Bus(self._on_failure)
        self.journal = Journal(self.engine, threaded=threaded)
        self._tape_dir = data_dir / "tape"
        self.tape = TapeWriter(self._tape_dir)
        self.venue = PaperGateway(
            name="paper",
            instruments=self.instruments,
            clock=clock,
            report=self.bus.publish,
            settings=config.paper,
            log=data_dir / "venue.jsonl",
        )
        self.gateways: dict[str, Gateway] = {"paper": self.venue}
        self.actors = self._actors(market)
        wire(self.bus, self.actors)
        self.feed = Feed(market.updates, clock=clock, publish=self.bus.publish, listeners=(self.venue.on_update,))
        self._timer = Timer(clock, self.bus.publish, self.actors.slicer.next_due, self.actors.oms.next_due)
        self.recovered = recovery.Recovered(0, 0, 0)

    def _actors(self, market: Market) -> Actors:
        config = self.config
        recorder = Recorder(self.journal, self.tape)
        exposure = Exposure(
            self.instruments,
            config.limits.orders_per_s,
            {name: gateway.capabilities for name, gateway in self.gateways.items()},
        )
        ledger = Ledger()
        return Actors(
            sizer=Sizer(exposure, config.limits, tag=config.daemon.tag, account=config.daemon.account),
            exposure=exposure,
            gate=Gate(exposure, config.limits),
            slicer=Slicer(self.instruments),
            oms=Oms(self.instruments, config.oms),
            analyst=Analyst(self.instruments, market.filters),
            ledger=ledger,
            sender=Sender(
                self.gateways,
                ledger,
                clock=self.clock,
                journal=recorder,
                publish=self.bus.publish,
                fail=self._on_failure,
            ),
            recorder=recorder,
        )

    async def execute(self) -> None:
        """Recover, trade, and close in good order. Raises what made the run fail, after cancelling what works."""
        asyncio.get_running_loop().set_exception_handler(self._on_stray)
        sequencer = asyncio.create_task(self.bus.run()) if isinstance(self.bus, TaskBus) else None
        try:
            await self._start()
            await self._work()
        except Exception as error:  # noqa: BLE001 - it is raised again once nothing works any more
            self._on_failure(error)
        finally:
            self._timer.close()
            await self.actors.sender.close()
            if self._failure is None:
                await self.bus.settled()  # a snapshot of half a cascade would lose the other half
            else:
                await self._cancel_everything()
            if sequencer is not None:
                sequencer.cancel()
                await asyncio.gather(sequencer, return_exceptions=True)  # what it raised is `_failure` already
            await self._close()
        if self._failure is not None:
            raise self._failure

    @property
    def stopped(self) -> bool:
        """Whether the run was asked to stop, or failed, before its inputs ended."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the run in good order; what works at a venue goes on working there."""
        self._stop.set()

    async def _start(self) -> None:
        self.recovered = recovery.fold(self.bus, self.actors, self.engine, self._tape_dir)
        self._snapshot_seq = self.recovered.snapshot_seq
        self.bus.seq = max(self.bus.seq, self.tape.last_seq)  # the tape may reach behind what could be read of it
        self.clock.not_before(self.recovered.last_ts)
        now = self.clock.now
        for gateway in self.gateways.values():
            await gateway.connect()
        self._publish_start(now())
        await self.bus.settled()
        on_record = partial(queries.recorded_executions, self.engine)
        found = await recovery.reconcile(self.bus, self.actors.oms, self.gateways, now=now, on_record=on_record)
        for event in found:
            _log.error("books disagree", venue=event.venue, symbol=event.symbol, text=event.text)
        recovery.release(self.bus, now())
        self.ready.set()
        await self.bus.settled()
        self.bus.after(self._timer.arm, self._snapshot_when_due)
        self._timer.arm()

    def _publish_start(self, now: int) -> None:
        config = self.config
        if not self.bus.seq:  # the first event of all: either it is on record or nothing is
            self.bus.publish(
                AccountOpened(
                    ts=now, account=config.daemon.account, cash=config.account.cash, currency=config.account.currency
                )
            )
        self.bus.publish(
            DaemonStarted(
                ts=now,
                version=VERSION,
                config_hash=hash_of(config),
                world=config.daemon.world,
                account=config.daemon.account,
            )
        )
        recovery.hold(self.bus, now)

    async def _work(self) -> None:
        sources = [FileSource(path, self.clock) for path in self.config.signals.files]
        fatal = (OSError, BusFailed)
        edges = [
            asyncio.create_task(supervise(source.name, partial(source.run, self.bus.publish), fatal=fatal))
            for source in sources
        ]
        if self._threaded:  # a simulation's tape waits for nobody
            edges.append(asyncio.create_task(self._flush_tape()))
        feed = asyncio.create_task(self.feed.run())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await _either(feed, stopped, *edges)
            if not self._stop.is_set():
                await self._wind_up()
        finally:
            for task in (feed, stopped, *edges):
                task.cancel()
            await asyncio.gather(feed, stopped, *edges, return_exceptions=True)

    async def _wind_up(self) -> None:
        """The market has ended: let its parents end, each at its own end at the latest, and their last reports in."""
        await self.bus.settled()
        parents = self.actors.slicer.parents
        deadline = max([self.clock.now(), *(parent.end for parent in parents.values())]) + WIND_UP_NS
        while parents and self.clock.now() < deadline and not self._stop.is_set():
            await self.clock.sleep_until(self.clock.now() + NS_PER_S)

    async def _flush_tape(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self.tape.flush()

    def _snapshot_when_due(self) -> None:
        if self.bus.seq - self._snapshot_seq < self.config.store.snapshot_every:
            return
        if not self._threaded:
            self.snapshot()
        elif self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_when_durable(self._frozen()))

    def _frozen(self) -> snapshots.Snapshot:
        """Every actor's state as of the last event."""
        state = {name: actor.dump() for name, actor in recovery.stateful(self.actors).items()}
        self._snapshot_seq = self.bus.seq
        return snapshots.Snapshot(self.bus.seq, self.clock.now(), self.journal.tail_hash, state)

    def snapshot(self) -> None:
        """Write every actor's state as of the last event."""
        self.journal.flush()
        snapshots.save(self.engine, self._frozen())

    async def _save_when_durable(self, frozen: snapshots.Snapshot) -> None:
        """Write a state once the events that made it are durable, off the loop: nobody waits for it."""
        try:
            await self.journal.durable(frozen.seq)
            await asyncio.to_thread(snapshots.save, self.engine, frozen)
        except (SQLAlchemyError, JournalError) as error:  # the next start folds a longer tail
            _log.error("snapshot not written", seq=frozen.seq, error=str(error))

    def _on_failure(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
            self.actors.sender.stop()
            self._stop.set()

    def _on_stray(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: nobody else will hear of it."""
        del loop
        self._on_failure(context.get("exception") or RuntimeError(context["message"]))

    async def _cancel_everything(self) -> None:
        """The bus is dead: take back what works, past everybody, until the venue shows nothing twice in a row."""
        for name, gateway in self.gateways.items():
            shown: list[str] = []
            empty = 0
            for _ in range(DRAIN_TRIES):
                shown = await self._cancel_shown(gateway)
                empty = 0 if shown else empty + 1
                if empty == 2:  # noqa: PLR2004 - the second look is for what was travelling during the first
                    break
                await self.clock.sleep_until(self.clock.now() + DRAIN_NS)
            _log.error("stopped trading", venue=name, still_working=shown)

    async def _cancel_shown(self, gateway: Gateway) -> list[str]:
        """Cancel what the venue shows; its ids, or why it could not be asked."""
        try:
            working = sorted((await gateway.picture()).orders)
            for cl_ord_id in working:
                await gateway.cancel(cl_ord_id)
        except OSError as error:
            return [f"unknown: {error}"]
        return working

    async def _close(self) -> None:
        for gateway in self.gateways.values():
            await gateway.close()
        if self._saving is not None:
            await self._saving
        self.tape.close()
        try:
            if self._failure is None and self.ready.is_set():
                self.snapshot()
            self.journal.close()
        finally:
            self._lock.release()
            self.engine.dispose()


async def _either(feed: asyncio.Task[None], stopped: asyncio.Task[Any], *edges: asyncio.Task[None]) -> None:
    """Return when the feed or the wait for a stop ends; raise what any of the tasks raises."""
    pending: set[asyncio.Task[Any]] = {feed, stopped, *edges}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if feed in done or stopped in done:
            return
