"""What things cost here: `make bench`, or one of `BENCHES` with `make bench ARGS=stream`.

Ratios come from interleaved runs (A, B, A, B), medians of several; absolute figures drift by a factor of two on a
shared machine and are for orientation. Nothing here is asserted.
"""

import asyncio
import gc
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
import redis

from adapters.redis_link import client
from adapters.signals.redis_stream import BLOCK_MS, RedisStreamSource
from adapters.store.engine import WriterLock, open_engine, upgrade
from adapters.store.journal import Journal
from adapters.store.writer import MAX_BATCH
from adapters.valkey import PrivateValkey
from algos.planning import ALGOS, Plan, Task, Window
from core.events import FillBooked, MarketData, OrderDenied, SignalDead, SignalReceived, TimeAdvanced, decode, encode
from core.market import Quote
from core.orders import OrdStatus, Side
from core.positions import Position
from core.signals import Algo, Instruction, OrderSignal, parse
from core.units import NS_PER_S
from daemon.bus import Bus
from daemon.clock import SystemClock
from daemon.config import build
from daemon.run import Market, Run
from risk.checks import Ask, Case, judge
from risk.shortfall import ALPHA, Matrix, PortfolioShortfall, Vector
from tests import bench_children, bench_halt, bench_verdict
from tests.adapters.store import examples
from tests.builders import session
from tests.servers.postgres import Server

ROUNDS = 7
SUSTAINED_S = 5
SYMBOLS = bench_halt.SYMBOLS
Orders = list[tuple[int, float]]  # symbol and weight
BURST = '{"kind":"order","signal_id":"b-%d","ts":1,"strategy":"s","symbol":"S0","side":"BUY","qty":"10"}'


def timed(work: Callable[[], object], times: int) -> float:
    """Microseconds per call of `work`, which repeats it `times`."""
    start = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - start) / times / 1_000


def compare(title: str, ours: Callable[[], object], floor: Callable[[], object], times: int) -> None:
    """Two ways to do the same, in turns; medians and their ratio."""
    pairs = [(timed(ours, times), timed(floor, times)) for _ in range(ROUNDS)]
    a, b = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
    ratio = median(pair[0] / pair[1] for pair in pairs)
    print(f"{title:<58} {a:9.2f} us {b:9.2f} us   x {ratio:5.2f}", flush=True)


def single(title: str, work: Callable[[], object], times: int) -> None:
    """One way; the median."""
    print(f"{title:<58} {median(timed(work, times) for _ in range(ROUNDS)):9.2f} us", flush=True)


class Counter:
    """A listener that does next to nothing."""

    def __init__(self) -> None:
        self.seen = 0

    def hear(self, event: TimeAdvanced) -> None:
        """Count."""
        self.seen += event.ts


def bench_bus() -> None:
    """A publish with one subscriber against a call of it."""
    bus, counter, event, times = Bus(), Counter(), TimeAdvanced(ts=1), 20_000
    bus.fold(TimeAdvanced, counter.hear)

    def published() -> None:
        for _ in range(times):
            bus.publish(event)

    def called() -> None:
        for _ in range(times):
            counter.hear(event)

    compare("bus: publish, one subscriber | direct call", published, called, times)


def market_run(folder: Path, updates: Iterator[Quote]) -> Run:
    """A run on the system clock with instruments that trade around the clock."""
    raw = bench_halt.configuration(folder, redis="") | {"paper": {"latency_ms": 1.0}}
    config = build(raw, {}, where="bench")
    return Run(config, Market(updates, {}), SystemClock(), threaded=True)


def quotes(seconds: float) -> Iterator[Quote]:
    """A quote of every symbol each 100 ms from now on."""
    start = time.time_ns()
    for step in range(int(seconds * 10)):
        for i in range(SYMBOLS):
            ts = start + step * NS_PER_S // 10
            yield Quote(ts, f"S{i}", Decimal("99.99"), Decimal(1_000_000), Decimal("100.01"), Decimal(1_000_000))


def order(number: int, now: int, qty: int = 10) -> SignalReceived:
    """A parent that crosses at once, ten shares a child, in one of the symbols."""
    side = Side.BUY if number % 2 else Side.SELL
    signal = OrderSignal(
        signal_id=f"b{number}",
        ts=now,
        strategy="bench",
        symbol=f"S{number % SYMBOLS}",
        side=side,
        qty=Decimal(qty),
        how=Instruction(algo=Algo.MARKET, max_slice=Decimal(10)),
    )
    return SignalReceived(ts=now, source="bench", signal=signal)


async def sustained(folder: Path, *, parents: int, children: int, title: str) -> None:
    """Parents one after the other as the last ones end, through signal, gate, journal, paper venue, fill, cost report.

    The loop is nearly closed: a child is sent when its sister is filled, and one more a second for a parent that waits;
    a parent when another has ended. What piles up is shown as the depth of the journal: every send waits for it.
    """
    run = market_run(folder, quotes(SUSTAINED_S + 4))
    life = asyncio.create_task(run.execute())
    await run.ready.wait()
    await asyncio.sleep(0.5)
    gc.freeze()
    cpu, start, sent, deepest = time.process_time(), time.perf_counter(), 0, 0
    while time.perf_counter() - start < SUSTAINED_S:
        while len(run.actors.slicer.parents) < parents:
            await run.intake.admitted()
            run.bus.publish(order(sent, run.clock.now(), 10 * children))
            sent += 1
        deepest = max(deepest, run.journal.depth)
        await asyncio.sleep(0.002)
    done, denied = run.bus.routes()[FillBooked].handled, run.bus.routes()[OrderDenied].handled
    assert not denied, f"{denied:,} orders were denied: what is measured is something else"
    elapsed, left = time.perf_counter() - start, run.journal.depth
    used = (time.process_time() - cpu) / done * 1e6
    print(
        f"{title}: {done / elapsed:,.0f} orders/s over {elapsed:.0f} s, {used:.0f} us CPU an order, "
        f"journal depth at most {deepest:,}, {left:,} at the end",
        flush=True,
    )
    run.stop()
    await life


async def bench_gate(folder: Path) -> None:
    """The verdict on a child, all checks, approved; and the stages around it."""
    run = market_run(folder, quotes(1))
    life = asyncio.create_task(run.execute())
    await asyncio.sleep(0.5)
    now = run.clock.now()
    run.bus.publish(order(0, now))
    exposure, limits = run.actors.exposure, run.actors.limits.current
    parent_id = next(iter(exposure.parents))
    ask = Ask(
        ts=now,
        parent_id=parent_id,
        cl_ord_id="",
        strategy="bench",
        venue="paper",
        symbol="S0",
        side=Side.BUY,
        qty=Decimal(10),
        ord_type=Instruction().ord_type,
        price=Decimal("100.01"),
        time_in_force=None,
    )
    times = 2_000
    single(
        "gate: all checks of a parent, approved",
        lambda: [judge(Case(ask, exposure), limits) for _ in range(times)],
        times,
    )
    message = b'{"kind":"order","signal_id":"x","ts":1,"strategy":"s","symbol":"S0","side":"BUY","qty":"10"}'
    single("signal: parse and check one message", lambda: [parse(message) for _ in range(times)], times)
    event = order(1, now)
    payload = encode(event)
    single("event: encode", lambda: [encode(event) for _ in range(times)], times)
    single("event: decode", lambda: [decode(payload) for _ in range(times)], times)
    run.stop()
    await life


def bench_journal(folder: Path) -> None:
    """Journal rows of an event without projections, against the same rows by a bare executemany."""
    engine = open_engine(f"sqlite:///{folder / 'journal.db'}", sync="normal")
    upgrade(engine)
    times = 4_096
    event = TimeAdvanced(ts=1_781_530_200_000_000_000)
    raw = sqlite3.connect(folder / "raw.db", isolation_level=None)
    raw.execute("pragma journal_mode = wal")
    raw.execute("pragma synchronous = normal")
    raw.execute("create table j (seq integer primary key, ts, type, parent_id, cl_ord_id, payload, hash)")
    keys, payload = count(1), encode(event).decode()

    def floor() -> None:
        for _ in range(times // 128):
            raw.execute("begin")
            rows = [(next(keys), event.ts, "TimeAdvanced", None, None, payload, b"0" * 32) for _ in range(128)]
            raw.executemany("insert into j values (?, ?, ?, ?, ?, ?, ?)", rows)
            raw.execute("commit")

    with WriterLock(engine) as lock:
        journal = Journal(lock, threaded=False)
        compare("journal: encode, hash, row, commit | bare executemany", ticks(journal, times), floor, times)
        single("journal: the same with projections, events of orders", orders(journal, times), times)
    engine.dispose()
    raw.close()


def bench_journal_on_postgresql() -> None:
    """Journal rows by COPY, against a bare COPY of the same rows; on a server that syncs every commit to its disk."""
    server, times = Server(fsync="on", full_page_writes="on", shared_buffers="128MB", max_wal_size="1GB"), 4_096
    server.start()
    try:
        name = server.migrated()
        engine = open_engine(server.url(name), sync="full")
        event = TimeAdvanced(ts=1_781_530_200_000_000_000)
        payload = encode(event).decode()
        with WriterLock(engine) as lock, server.connect(name) as raw:
            raw.execute("CREATE TABLE j (LIKE journal INCLUDING ALL)")
            keys = count(1)

            def floor() -> None:
                for _ in range(times // MAX_BATCH):
                    with raw.cursor().copy("COPY j FROM STDIN (FORMAT BINARY)") as copy:
                        copy.set_types(["int8", "int8", "text", "text", "text", "text", "bytea"])
                        for _ in range(MAX_BATCH):
                            copy.write_row((next(keys), event.ts, "TimeAdvanced", None, None, payload, b"0" * 32))

            journal = Journal(lock, threaded=False)
            compare("journal on PostgreSQL: ... COPY, commit | bare COPY", ticks(journal, times), floor, times)
            single("journal on PostgreSQL: the same with projections", orders(journal, times), times)
        engine.dispose()
    finally:
        server.remove()


def ticks(journal: Journal, times: int) -> Callable[[], None]:
    """Writes so many events that are in the journal alone."""
    event = TimeAdvanced(ts=1_781_530_200_000_000_000)

    def write() -> None:
        for _ in range(times):
            journal.put((journal.last_seq + 1, event))
        journal.flush()

    return write


def orders(journal: Journal, times: int) -> Callable[[], None]:
    """Writes so many events of orders that are approved, acknowledged and filled: six rows of tables for four."""

    def write() -> None:
        for _ in range(times // 4):
            seq = journal.last_seq
            events = (
                examples.approved(seq, f"C{seq}"),
                examples.updated(seq, f"C{seq}", OrdStatus.FILLED, examples.QTY),
                examples.filled(seq, f"C{seq}", f"e{seq}"),
                examples.position(seq),
            )
            journal.put(*enumerate(events, start=seq + 1))
        journal.flush()

    return write


def bench_expected_shortfall() -> None:
    """One more order in a book of thirty positions: against the least that plain numpy needs, and against all anew."""
    for scenarios, times in ((250, 500), (500, 500), (1_000, 500), (5_000, 100)):
        book, returns, held = portfolio(1_000, scenarios)
        orders = [(number * 37 % 1_000, (-1) ** number * (0.002 + 0.001 * (number % 40))) for number in range(times)]
        running, buffer, weights = held @ returns, np.empty(scenarios), held.copy()
        tail = int(scenarios * ALPHA)
        size = f"1,000 x {scenarios:,}"

        def floor(
            running: Vector = running,
            returns: Matrix = returns,
            out: Vector = buffer,
            m: int = tail,
            asked: Orders = orders,
        ) -> None:
            for symbol, weight in asked:
                np.multiply(returns[symbol], weight, out=out)
                np.add(out, running, out=out)
                out.partition(m)
                out[:m].sum()

        def anew(returns: Matrix = returns, weights: Vector = weights, m: int = tail, asked: Orders = orders) -> None:
            for symbol, weight in asked[:50]:
                weights[symbol] += weight
                after = weights @ returns
                weights[symbol] -= weight
                after.partition(m)
                after[:m].sum()

        def evaluated(book: PortfolioShortfall = book, asked: Orders = orders) -> None:
            for symbol, weight in asked:
                book.evaluate(symbol, weight)

        def bracketed(book: PortfolioShortfall = book, asked: Orders = orders) -> None:
            for symbol, weight in asked:
                book.bracket(symbol, weight)

        def traded(book: PortfolioShortfall = book, asked: Orders = orders) -> None:
            for symbol, weight in asked:
                book.hold(symbol, weight)
                book.bracket(symbol, weight)
                book.hold(symbol, -weight)

        compare(f"ES {size}: exact, of one order | axpy, partition", evaluated, floor, times)
        compare(f"ES {size}: everything anew | of one order", anew, partial(evaluated, asked=orders[:50]), 50)
        single(f"ES {size}: bracket", bracketed, times)
        single(f"ES {size}: two changes of the book and a bracket", traded, times)


def portfolio(symbols: int, scenarios: int) -> tuple[PortfolioShortfall, Matrix, Vector]:
    """A book of thirty positions among so many symbols, which move with a market."""
    rng = np.random.Generator(np.random.PCG64(1))
    market = rng.standard_t(4, size=scenarios) * 0.008
    returns = market + rng.standard_t(4, size=(symbols, scenarios)) * 0.012
    held = np.zeros(symbols)
    held[rng.choice(symbols, 30, replace=False)] = 1 / 30
    return PortfolioShortfall(returns, held), returns, held


SCALE = 100_000_000


def bench_numbers() -> None:
    """Decimal against integers scaled by 1e8: what a fill costs in the books, and what an event costs on the wire."""
    times = 5_000
    fills = [(Decimal(10 + i % 7), Decimal("99.95") + Decimal(i % 11) / 100) for i in range(times)]
    scaled = [(int(q * SCALE), int(p * SCALE)) for q, p in fills]

    def decimals() -> None:
        position, cash = Position(Decimal(1)), Decimal(0)
        for qty, price in fills:
            position.trade(qty, price)
            cash -= qty * price
            assert qty * price <= 10_000_000

    def integers() -> None:
        held, notional, cash, limit = 0, 0, 0, 10_000_000 * SCALE
        for qty, price in scaled:
            value = qty * price // SCALE
            held += qty
            notional += value
            _average = notional * SCALE // held
            cash -= value
            assert value <= limit

    compare("numbers: book a fill, Decimal | scaled integers", decimals, integers, times)
    quote = MarketData(
        ts=1,
        symbol="S0",
        bid=Decimal("99.99"),
        bid_size=Decimal(100),
        ask=Decimal("100.01"),
        ask_size=Decimal(200),
        last=Decimal("100.00"),
        high=None,
        low=None,
        volume=Decimal(300),
        notional=Decimal("30000.00"),
        trades=2,
    )
    payload = encode(quote)
    single("numbers: encode a market event (7 Decimals)", lambda: [encode(quote) for _ in range(times)], times)
    single("numbers: decode it", lambda: [decode(payload) for _ in range(times)], times)
    single("numbers: mid of a quote", lambda: [quote.mid for _ in range(times)], times)


def bench_planning() -> None:
    """A parent's curve, in a thousand slices over a session."""
    day, times = session(), 200
    window = Window(day.open, day.close, day)
    task = Task(qty=Decimal(1_000_000), lot=Decimal(1), window=window, slices=1_000, seed=1)
    for algo in (Algo.TWAP, Algo.VWAP, Algo.IS):
        single(f"planning: {algo}, 1,000 slices", partial(_planned, ALGOS[algo], task, times), times)


def _planned(plan: Plan, task: Task, times: int) -> None:
    for _ in range(times):
        plan(task)


class Counted:
    """An intake that counts what it is handed."""

    def __init__(self, enough: int) -> None:
        self._left = enough
        self.full = asyncio.Event()

    async def admitted(self) -> None:
        """At once."""

    def publish(self, event: SignalReceived | SignalDead) -> None:
        """Count it."""
        self._left -= isinstance(event, SignalReceived)
        if not self._left:
            self.full.set()

    async def committed(self) -> None:
        """At once."""


async def bench_stream(folder: Path, signals: int = 100_000) -> None:
    """A burst on the stream, read, decoded, checked and acknowledged; what the daemon makes of it is not in it."""
    server = PrivateValkey(folder / "valkey")
    server.start()
    try:
        hand = redis.Redis.from_url(server.settings.url)
        with closing(hand), hand.pipeline(transaction=False) as pipe:
            for number in range(signals):
                pipe.xadd("signals", {"signal": BURST % number})
            pipe.execute()
        intake, clock = Counted(signals), SystemClock()
        source = RedisStreamSource(
            client(server.settings, str, wait_s=BLOCK_MS / 1_000), stream="signals", group="bench", clock=clock
        )
        start = time.perf_counter()
        life = asyncio.create_task(source.run(intake))
        await intake.full.wait()
        print(f"stream: {signals / (time.perf_counter() - start):,.0f} signals/s read, decoded, checked", flush=True)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
    finally:
        server.stop()


def bench_sustained(folder: Path) -> None:
    """Orders through the whole daemon, the journal's thread among it."""
    asyncio.run(sustained(folder / "many", parents=100, children=50, title="sustained, 50 children a parent"))
    asyncio.run(sustained(folder / "one", parents=100, children=1, title="sustained, a signal and a parent each"))


BENCHES: dict[str, Callable[[Path], object]] = {
    "bus": lambda _: bench_bus(),
    "gate": lambda folder: asyncio.run(bench_gate(folder)),
    "journal": bench_journal,
    "postgresql": lambda _: bench_journal_on_postgresql(),
    "shortfall": lambda _: bench_expected_shortfall(),
    "verdict": lambda _: bench_verdict.main(),
    "numbers": lambda _: bench_numbers(),
    "planning": lambda _: bench_planning(),
    "stream": lambda folder: asyncio.run(bench_stream(folder)),
    "sustained": bench_sustained,
    "halt": lambda _: bench_halt.main(),  # some ten minutes
    "children": lambda _: bench_children.main(),  # likewise
}
LONG = frozenset({"halt", "children"})


def main(names: list[str]) -> int:
    """Those that are named, else all but the long ones."""
    if unknown := set(names) - set(BENCHES):
        print(f"there is no {', '.join(sorted(unknown))} here: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    print(f"Python {sys.version.split()[0]}, numpy {np.__version__}; medians of {ROUNDS}", flush=True)
    for name in names or [name for name in BENCHES if name not in LONG]:
        with tempfile.TemporaryDirectory() as folder:
            BENCHES[name](Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
