"""One run of the daemon: build the actors, recover, open, work until the inputs end or somebody asks it to stop.

Live, paper and simulation differ in clock, loop and adapters alone, all of them made here; nothing below can tell.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters.brokers.paper import PaperGateway
from adapters.gateway import Gateway
from adapters.halt import HaltWatch
from adapters.latch import Latch
from adapters.store import faults, queries, snapshots
from adapters.store.engine import WriterLock, open_engine, prepare
from adapters.store.journal import Journal
from adapters.store.tape import TapeWriter
from adapters.store.writer import JournalError
from algos.router import Router
from algos.slicer import Slicer
from algos.venues import Venues
from core.causes import BACKLOG, FEED, JOURNAL, KILL, REDIS
from core.events import AccountOpened, BreakFound, DaemonStarted
from core.instruments import Instruments
from core.market import Update
from core.reconcile import Break
from core.trading import halted
from core.units import NS_PER_S
from daemon import edges, gateways, profiles, recovery
from daemon.bus import Bus, TaskBus
from daemon.clock import Clock
from daemon.config import Config, hash_of
from daemon.credentials import DATABASE, credential
from daemon.drain import Drain, drain
from daemon.feed import Feed
from daemon.halts import RETRY_S, Halts, Heard
from daemon.intake import Intake
from daemon.metrics import Histogram, Stages, Tally
from daemon.modelling import Modeller
from daemon.oms import Oms
from daemon.recorder import Recorder
from daemon.reload import Reloader, Source, limits_set, shadow_set
from daemon.rows import Rows
from daemon.sender import Ledger, Sender
from daemon.sequences import Sequences
from daemon.standing import Standing
from daemon.supervise import end
from daemon.timers import Timer
from daemon.version import VERSION
from daemon.watches import AccountWatch
from daemon.wiring import Actors, wire
from risk.exposure import Exposure
from risk.gate import Gate
from risk.guard import Guard
from risk.limits import LimitsInForce
from risk.overrides import Overrides
from risk.sizing import Sizer
from risk.tail import TailRisk
from risk.triggers import Triggers
from tca.analyst import Analyst

FLUSH_S = 1.0  # how long a market event may wait in the tape's buffer
FIRST_LOOK_S = 2.0  # how long a start waits for the first look at the halt key, before it pauses for it
LATELY_NS = 3_600 * NS_PER_S  # how far comparisons while trading look back at executions: the cost is of that alone
RECORD_S = 5.0  # for one look into the database while trading
TEXT_MAX = 300  # characters of a failure that the next start repeats
WIND_UP_NS = 30 * NS_PER_S  # how long after the last parent's end a run whose market has ended waits for reports

_log = structlog.get_logger()


class Market(msgspec.Struct, frozen=True):
    """Where a run's market data comes from: updates by time, and by symbol which prints count as volume."""

    updates: Iterable[Update]
    filters: dict[str, str]


class Run:
    """A daemon over one data directory. `execute` is its life; attributes are for those who watch.

    `threaded`: a live run, with all its edges. Otherwise a simulation: nothing but sources, market and venue.
    `source` is the file that its limits are read from again; None: there is none.
    """

    def __init__(
        self,
        config: Config,
        market: Market,
        clock: Clock,
        *,
        threaded: bool,
        source: Source | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self._threaded = threaded
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._snapshot_seq = 0
        self._saving: asyncio.Task[None] | None = None  # a snapshot on its way
        self.ready = asyncio.Event()  # recovered and open; before that a snapshot would be worse than the last one
        self.instruments = Instruments(config.instruments.values())
        self._profiles = profiles.of(config.algos.profiles, self.instruments)  # before anything is made on the disk
        data_dir = config.data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        self.engine, self._lock = _open_store(config)
        self.stages, self.tally, self.late = Stages(), Tally(), Histogram()
        self.began = time.monotonic()
        timed = self.stages.cascade if threaded else None
        kind = TaskBus if config.daemon.placement == "tasks" else Bus
        self.bus = kind(self._on_failure, timed)
        self.journal = Journal(self._lock, threaded=threaded)
        self._tape_dir = data_dir / "tape"
        self.tape = TapeWriter(self._tape_dir)
        self.gateways = self.make_gateways()
        self._latch = Latch()
        self._standing = Standing(data_dir / "halted.json") if threaded else None
        self._tail = TailRisk() if config.risk.returns else None
        self.modeller = self._modeller(self._tail, threaded=threaded) if self._tail is not None else None
        self._filters = market.filters
        self.actors = self._actors(self._tail)
        self.rows = Rows(
            oms=self.actors.oms,
            slicer=self.actors.slicer,
            exposure=self.actors.exposure,
            analyst=self.actors.analyst,
        )
        trading_on_it = [gateway.on_update for gateway in self.gateways.values() if isinstance(gateway, PaperGateway)]
        self.feed = Feed(market.updates, clock=clock, publish=self.bus.publish, listeners=trading_on_it)
        self.intake = Intake(self.bus, self.actors.recorder, self.actors.halts.admitted)
        self.accounts = AccountWatch(
            self.gateways, self.bus.publish, clock=clock, every_s=config.account.ask_s, compare=self.compare
        )
        self.reloader = Reloader(self, source)
        self.watch = self._halt_watch() if threaded else None
        self.edges, outlets = edges.of(self) if threaded else (edges.of_simulation(self), ())
        wire(self.bus, self.actors, outlets)
        self._timer = Timer(
            clock, self.bus.publish, self.actors.slicer.next_due, self.actors.oms.next_due, self.actors.guard.next_due
        )
        self.recovered = recovery.Recovered(0, 0, 0)

    def make_gateways(self) -> dict[str, Gateway]:
        """The venues by name; called once."""
        return gateways.made(self)

    def _fresh(self) -> Actors:
        """Actors without a past that nobody listens to, for a snapshot to be tried on."""
        return self._actors(None if self._tail is None else TailRisk())

    def _actors(self, tail: TailRisk | None) -> Actors:
        config, publish = self.config, self.bus.publish
        recorder = Recorder(self.journal, self.tape)
        limits = LimitsInForce(config.limits)
        abilities = {name: gateway.capabilities for name, gateway in self.gateways.items()}
        exposure = Exposure(self.instruments, limits, abilities, tail=tail, brokers=self.gateways)
        overrides, ledger = Overrides(), Ledger()
        oms = Oms(self.instruments, config.oms)
        sender = Sender(
            self.gateways,
            ledger,
            self._latch,
            clock=self.clock,
            journal=recorder,
            publish=publish,
            fail=self._on_failure,
            stages=self.stages,
        )
        halts = Halts(
            config.halt,
            clock=self.clock,
            bus=self.bus,
            recall=sender.recall,
            reconcile=self.reconcile,
            durable=self._committed,
            standing=self._standing,
            obstacles=[lambda: self.watch.obstacle() if self.watch is not None else ""],
        )
        venues = Venues(self.instruments, exposure, config.venue_router)
        slicer = Slicer(self.instruments, self._profiles, exposure.may_open, abilities, venues.place)
        router = Router(self.instruments, config.router, config.costs.model)
        triggers = Triggers(exposure, limits, config.stops)
        return Actors(
            sequences=Sequences(),
            limits=limits,
            sizer=Sizer(
                exposure,
                limits,
                router.route,
                slicer.amendment,
                triggers,
                tag=config.daemon.tag,
                account=config.daemon.account,
            ),
            triggers=triggers,
            exposure=exposure,
            overrides=overrides,
            guard=Guard(exposure, limits),
            gate=Gate(exposure, limits, time.perf_counter_ns if self._threaded else lambda: 0, overrides=overrides),
            venues=venues,
            slicer=slicer,
            oms=oms,
            analyst=Analyst(self.instruments, self._filters, config.costs.model, config.costs.vwap_alert_bps),
            ledger=ledger,
            sender=sender,
            halts=halts,
            drain=Drain(
                self.gateways,
                halts=halts,
                sender=sender,
                oms=oms,
                clock=self.clock,
                publish=publish,
                within_s=config.halt.drain_s,
                spares=slicer.is_flattening,
            ),
            recorder=recorder,
        )

    def _modeller(self, tail: TailRisk, *, threaded: bool) -> Modeller:
        return Modeller(self.config.risk, self.instruments, tail, self.bus.publish, self.clock, threaded=threaded)

    def _halt_watch(self) -> HaltWatch:
        return HaltWatch(
            key=self.config.halt.key,
            file=self.config.halt_file,
            connect=edges.halt_link(self.config),
            latch=self._latch,
            listener=Heard(self.actors.halts, self.bus),
            soon=asyncio.get_running_loop().call_soon_threadsafe,
        )

    async def execute(self) -> None:
        """Recover, trade, and close in good order. Raises what made the run fail, after cancelling what works."""
        asyncio.get_running_loop().set_exception_handler(self._on_stray)
        sequencer = asyncio.create_task(self.bus.run()) if isinstance(self.bus, TaskBus) else None
        early = [asyncio.create_task(edge.supervise(), name=edge.name) for edge in self.edges if edge.early]
        try:
            if await self._start():
                await self._work(early)
        except Exception as error:  # noqa: BLE001 - it is raised again once nothing works any more
            self._on_failure(error)
        finally:
            self._timer.close()
            self.actors.halts.close()
            self.actors.drain.close()
            await self.actors.sender.close()
            await end(early)
            while self._failure is None and not self.bus.at_rest:
                await self.bus.settled()  # a snapshot of half a cascade would lose the other half
            if self._failure is not None:
                await self._cancel_everything()
            if sequencer is not None:
                sequencer.cancel()
                await asyncio.gather(sequencer, return_exceptions=True)  # what it raised is `_failure` already
            try:
                await self._close()
            except Exception as error:  # noqa: BLE001 - what came first is raised
                self._failure = self._failure or error
        if self._failure is not None:
            raise self._failure

    @property
    def stopped(self) -> bool:
        """Whether the run was asked to stop, or failed, before its inputs ended."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the run in good order; what works at a venue goes on working there."""
        self._stop.set()

    async def reconcile(self) -> None:
        """Ask the venues how they stand; raises OSError where one cannot be asked."""
        actors = self.actors
        found = await recovery.reconcile(
            self.bus,
            actors.oms,
            self.gateways,
            keeps=actors.sender.keeps,
            now=self.clock.now,
            on_record=self._on_record,
        )
        _log_breaks(found)

    async def compare_lately(self, venue: str) -> None:
        """Compare our books with a venue's, of executions those of the last hour; raises OSError likewise."""
        await self.compare(venue, self.clock.now() - LATELY_NS)

    async def compare(self, venue: str, since: int = 0) -> None:
        """Compare our books with a venue's while trading; raises OSError where somebody cannot be asked."""
        actors = self.actors
        found = await recovery.compare(
            self.bus,
            actors.oms,
            self.gateways[venue],
            keeps=actors.sender.keeps,
            now=self.clock.now,
            on_record=self._on_record,
            quarantined=actors.exposure.quarantined,
            since=since,
        )
        _log_breaks(found)

    async def differences(self, venue: str, symbol: str) -> list[Break]:
        """What differs in a symbol from a venue's books at this moment; raises OSError."""
        actors = self.actors
        keeps, gateway = actors.sender.keeps, self.gateways[venue]
        return await recovery.differences(actors.oms, gateway, symbol, keeps=keeps, on_record=self._on_record)

    async def _committed(self) -> None:
        await self.intake.committed()

    async def _on_record(self, venue: str, exec_ids: Collection[str]) -> set[str]:
        """Those that are booked; off the loop, which must not wait for a database that hangs. Raises OSError."""
        if not exec_ids:
            return set()
        look = partial(queries.recorded_executions, self.engine, venue, exec_ids)
        try:
            if not self._threaded:
                return look()
            async with asyncio.timeout(RECORD_S):
                return await asyncio.to_thread(look)
        except SQLAlchemyError as error:
            raise ConnectionError(f"the database is away: {faults.describe(error)}") from error

    async def _start(self) -> bool:
        """Recover, and ask the venues; False where the run was stopped meanwhile."""
        self.recovered = recovery.fold(self.bus, self.actors, self.engine, self._tape_dir, self._fresh)
        self._snapshot_seq = self.recovered.snapshot_seq
        self.bus.seq = max(self.bus.seq, self.tape.last_seq)  # the tape may reach behind what could be read of it
        self.clock.not_before(self.recovered.last_ts)
        now = self.clock.now
        for gateway in self.gateways.values():
            await self._keep_at(gateway.connect)
        self._publish_start(now())
        if self.modeller is not None:
            await self.modeller.begin()
        await self.bus.settled()
        await self._first_look()
        await self._keep_at(self.reconcile)
        return not self._stop.is_set()

    async def _release(self) -> None:
        """Trade."""
        recovery.release(self.bus, self.clock.now())
        self.ready.set()
        await self.bus.settled()
        self.bus.after(self._timer.arm, self._snapshot_when_due)
        self._timer.arm()

    async def _keep_at(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask until there is an answer, or the run is stopped: who is away must not end the daemon."""
        while not self._stop.is_set():
            try:
                await ask()
                return
            except OSError as error:
                if not self._threaded:
                    raise
                _log.error("the start waits: not everybody can be asked", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._stop.wait()

    async def _first_look(self) -> None:
        """Nothing is released before the halt was looked for; a halt of an earlier run is followed to its end."""
        halts = self.actors.halts
        watched = {JOURNAL, BACKLOG, FEED} if self._threaded else set()
        if self.watch is not None:
            watched.add(REDIS)
            self.watch.start()
            if not await asyncio.to_thread(self.watch.looked.wait, FIRST_LOOK_S):
                halts.away(REDIS, "the halt key was not read yet")  # until it is
            await asyncio.sleep(0)  # what it saw has its turn
        stands = self._standing.get(self.clock.now()) if self._standing is not None else None
        if stands is not None and KILL not in halts.live:  # the journal did not take it before the last run ended
            self.bus.publish(stands)
        halts.release_unwatched(watched)
        await self.bus.settled()
        if KILL in halts.live:
            halts.heard_ns = halts.heard_ns or time.monotonic_ns()  # an earlier run heard it on a clock of its own
            self.actors.drain.follow(KILL)

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
        limits = self.actors.limits
        if not limits.on_record or limits.version != config.limits_version:
            self.bus.publish(limits_set(config, now, by="start"))
        if limits.shadow_version != config.shadow_version:
            self.bus.publish(shadow_set(config, now, by="start"))
        recovery.hold(self.bus, now)

    async def _work(self, early: list[asyncio.Task[None]]) -> None:
        later = [edge for edge in self.edges if not edge.early]
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(edge.supervise(), name=edge.name) for edge in later]
        if self._threaded:  # a simulation's tape waits for nobody
            tasks.append(asyncio.create_task(self._flush_tape()))
        try:
            await asyncio.sleep(0)  # their first step: a socket for signals is there before we say that we are ready
            await self._release()
            feed = asyncio.create_task(self.feed.run())
            stopped = asyncio.create_task(self._stop.wait())
            tasks += [feed, stopped]
            await _either(feed, stopped, *early, *tasks)
            if not self._stop.is_set():
                await self._wind_up()
        finally:
            await end(tasks)

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
            self._stand_halted(f"the daemon failed: {error}")

    def _stand_halted(self, text: str) -> None:
        """Who failed while he traded comes back halted, for a person to look first."""
        if self._standing is None or not self.ready.is_set():
            return
        try:
            self._standing.write(halted(KILL, self.clock.now(), text=text[:TEXT_MAX], by="execd"))
        except OSError as error:
            _log.error("the next start will not be halted", error=str(error))

    def _on_stray(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised: nobody else will hear of it."""
        del loop
        self._on_failure(context.get("exception") or RuntimeError(context["message"]))

    async def _cancel_everything(self) -> None:
        """The bus is dead: take back what works, past everybody."""
        for name, gateway in self.gateways.items():
            found = await drain(gateway, within_s=self.config.halt.drain_s)
            _log.error("stopped trading", venue=name, still_working=found.left)

    async def _close(self) -> None:
        """Every step, whatever the others raise; the last one written here is the first one taken."""
        async with AsyncExitStack() as steps:
            steps.callback(self.engine.dispose)
            steps.callback(self._lock.release)
            steps.callback(self.journal.close)
            steps.callback(self._last_snapshot)
            steps.callback(self.tape.close)
            if self._saving is not None:
                steps.push_async_callback(end, [self._saving])  # it may wait for a database that is away
            for gateway in self.gateways.values():
                steps.push_async_callback(gateway.close)
            if self.watch is not None:
                steps.push_async_callback(asyncio.to_thread, self.watch.close)

    def _last_snapshot(self) -> None:
        if self._failure is None and self.ready.is_set():
            self.snapshot()


def _log_breaks(found: Iterable[BreakFound]) -> None:
    for event in found:
        _log.error("books disagree", venue=event.venue, symbol=event.symbol, text=event.text)


def _open_store(config: Config) -> tuple[Engine, WriterLock]:
    """The database, and the right to write to it; raises what `open_engine`, `WriterLock` and `prepare` raise."""
    engine = open_engine(config.store_url, sync=config.sync, password=credential(DATABASE)() or None)
    lock = WriterLock(engine, config.data_dir)
    try:
        prepare(engine)
    except BaseException:
        lock.release()
        engine.dispose()
        raise
    return engine, lock


async def _either(feed: asyncio.Task[None], stopped: asyncio.Task[Any], *edges: asyncio.Task[None]) -> None:
    """Return when the feed or the wait for a stop ends; raise what any of the tasks raises."""
    pending: set[asyncio.Task[Any]] = {feed, stopped, *edges}
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if feed in done or stopped in done:
            return
