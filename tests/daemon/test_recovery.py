"""Start is recovery: what was folded comes back exactly, and what a venue says otherwise is booked or quarantined."""

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from copy import deepcopy
from decimal import Decimal
from difflib import ndiff
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update
from structlog.testing import capture_logs

from adapters.gateway import Gateway
from adapters.store import snapshots
from adapters.store.snapshots import SCHEMA_VERSION
from adapters.store.tables import journal as journal_table
from adapters.store.tables import snapshots as snapshot_table
from adapters.store.writer import JournalError
from core.causes import TradingState
from core.events import (
    AccountReported,
    Anomaly,
    BreakFound,
    Event,
    ExecutionReport,
    FillBooked,
    OrderApproved,
    OrderCancelRequest,
    OrderUpdated,
    PositionUpdated,
    TimeAdvanced,
    TradingHalted,
    TradingResumed,
)
from core.orders import ExecType, OrdStatus, Side
from core.reconcile import ExecutionView, OrderView, Picture
from core.units import NS_PER_S
from daemon import recovery
from daemon.bus import Bus
from daemon.clock import SimulatedClock
from daemon.config import Config, build
from daemon.markets import open_market
from daemon.oms import Oms, OmsSettings
from daemon.run import Run
from daemon.simulate import Simulated, simulate
from risk.limits import Limits
from tests.builders import DAY, INSTRUMENTS, NOW, approved, child, limits_set, opened, session
from tests.daemon import shapes
from tests.daemon.crashing import paper
from tests.fakes.gateway import ScriptedGateway, picture

D = Decimal

# Folding --------------------------------------------------------------------------------------------------------------

OPEN = session().open
SIGNALS: list[dict[str, Any]] = [
    {
        "kind": "order",
        "symbol": "AAA",
        "side": "BUY",
        "qty": 900,
        "how": {"algo": "TWAP", "slices": 9, "duration_s": 3_000},
    },
    {"kind": "order", "symbol": "BBB", "side": "SELL", "qty": 500, "how": {"algo": "VWAP"}},
    {"kind": "strength", "symbol": "AAA", "strength": 0.5, "how": {"algo": "MARKET", "ord_type": "MARKET"}},
    {
        "kind": "order",
        "symbol": "AAA",
        "side": "SELL",
        "qty": 100,
        "how": {"algo": "LIMIT", "price": 103, "duration_s": 7_200},
    },
    {"kind": "order", "symbol": "NONE", "side": "SELL", "qty": 100},
    {"kind": "order", "symbol": "AAA", "side": "SELL", "qty": 100_000},
    {"kind": "order", "symbol": "BBB", "side": "SELL", "qty": 300, "how": {"algo": "AUTO"}},
]


def config(folder: Path, *, placement: str = "inline") -> Config:
    folder.mkdir(exist_ok=True)
    signals = folder / "signals.jsonl"
    lines = [
        {"signal_id": str(number), "ts": OPEN + (60 + number) * NS_PER_S, "strategy": "s"} | signal
        for number, signal in enumerate(SIGNALS)
    ]
    signals.write_text("\n".join(map(json.dumps, lines)) + "\n")
    raw = {
        "daemon": {"world": "simulation", "data_dir": str(folder), "placement": placement},
        "store": {"snapshot_every": 100},
        "market": {"date": DAY.isoformat(), "step_s": 60.0, "settings": {"start_prices": {"AAA": 100, "BBB": 50}}},
        "limits": {
            "position_max": 0.5,
            "quote_age_s_max": 120,
            "symbols_default": {"order_qty_max": 10_000, "order_notional_max": 10_000_000},
        },
        "paper": {"fee_per_share": 0.01},
        "instruments": {name: {"adv": 1_000_000, "volatility": 0.02, "shortable": True} for name in ("AAA", "BBB")},
        "signals": {"files": [str(signals)]},
    }
    return build(raw, {}, where="test")


def states(run: Run) -> dict[str, Any]:
    """Every actor's state, as a snapshot would have it."""
    dumps = {name: actor.dump() for name, actor in recovery.stateful(run.actors).items()}
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dumps))
    return found


def play(settings: Config, *, until: int | None = None, then: Limits | None = None) -> tuple[Run, Simulated]:
    """A day of the whole daemon, or the part of it before a moment; with other limits from a quarter of an hour on."""
    runs: list[Run] = []

    def watch(run: Run) -> None:
        runs.append(run)
        if until is not None:
            run.clock.call_at(until, run.stop)
        if then is not None:
            run.clock.call_at(QUARTER, lambda: run.bus.publish(limits_set(then, QUARTER)))

    done = simulate(settings, open_market(settings), watch=watch)
    return runs[0], done


@contextmanager
def reopened(settings: Config) -> Iterator[Run]:
    """A daemon over the same directory that has not begun."""
    run = Run(settings, open_market(settings).market, SimulatedClock(OPEN), threaded=False)
    try:
        yield run
    finally:
        run.journal.close()
        run._lock.release()
        run.engine.dispose()


def folded(run: Run) -> recovery.Recovered:
    return recovery.fold(run.bus, run.actors, run.engine, run._tape_dir, run._fresh)


QUARTER, MIDDAY = OPEN + 900 * NS_PER_S, OPEN + 1_800 * NS_PER_S


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Run]:
    """Half an hour of trading: parents live, children working, limits changed meanwhile, snapshots behind it."""
    settings = config(tmp_path_factory.mktemp("recovery") / "day")
    shadow = msgspec.structs.replace(settings.limits, position_max=D("0.01"))
    settings = msgspec.structs.replace(settings, shadow=shadow)
    other = msgspec.structs.replace(settings.limits, orders_per_s=2, drawdown_max=D("0.05"), signal_horizon_s=600)
    run, _ = play(settings, until=MIDDAY, then=other)
    assert run.actors.limits.current == other
    assert run.actors.limits.shadow == shadow
    assert run.actors.slicer.parents
    assert run.actors.oms.live("paper")
    run.actors.analyst.tear()  # which is what recovery does, as nobody knows what the tape has missed
    return settings, run


def seqs(run: Run) -> list[int]:
    with run.engine.connect() as connection:
        return list(connection.execute(select(snapshot_table.c.seq).order_by(snapshot_table.c.seq)).scalars())


def forget(run: Run, keep: Callable[[int], bool]) -> None:
    with run.engine.begin() as connection:
        for seq in seqs(run):
            if not keep(seq):
                connection.execute(delete(snapshot_table).where(snapshot_table.c.seq == seq))


@pytest.mark.parametrize("way", ["newest snapshot", "older snapshot and tail", "full fold"])
def test_every_actor_comes_back_as_it_was(way: str, stopped: tuple[Config, Run], tmp_path: Path) -> None:
    settings, live = stopped
    with reopened(copied(settings, tmp_path / "copy")) as run:
        older, newest = seqs(run)
        wanted = {"newest snapshot": newest, "older snapshot and tail": older, "full fold": 0}[way]
        forget(run, lambda seq: seq <= wanted)
        recovered = folded(run)
        assert recovered.snapshot_seq == wanted
        assert (recovered.events > 0) == (wanted < newest)
        assert run.bus.seq == live.bus.seq
        assert states(run) == states(live)
        assert run.actors.sender.state == live.actors.sender.state


def test_a_daemon_that_was_down_over_the_close_asks_each_day_order_back_once(
    stopped: tuple[Config, Run], tmp_path: Path
) -> None:
    """The slicer, whose parents are over, and the oms find them at the same moment."""
    with reopened(copied(stopped[0], tmp_path / "copy")) as run:
        folded(run)
        oms, slicer, trace = run.actors.oms, run.actors.slicer, list[Event]()
        working = sorted(oms.live("paper"))
        bus = Bus()
        bus.fold(TimeAdvanced, slicer.advance, oms.advance)
        bus.fold(OrderCancelRequest, slicer.cancel, oms.cancel)
        bus.fold(OrderUpdated, oms.update, slicer.update)
        bus.on(TimeAdvanced, slicer.on_due, oms.on_due)
        bus.on(OrderCancelRequest, oms.on_cancel_request)
        bus.tap(lambda seq, event: trace.append(event))
        bus.publish(TimeAdvanced(ts=session().close + 3_600 * NS_PER_S))
        assert working
        assert sorted(event.cl_ord_id for event in trace if isinstance(event, OrderCancelRequest)) == working
        assert sorted(event.cl_ord_id for event in trace if isinstance(event, Anomaly)) == working


def test_states_of_another_shape_are_of_another_schema_version() -> None:
    pinned, now = shapes.PINNED.read_text(), shapes.described()
    changed = "\n".join(line for line in ndiff(pinned.split("\n"), now.split("\n")) if line[:1] in "+-")
    assert pinned == now, (
        f"snapshots have another shape than {shapes.PINNED.name} says:\n{changed}\n"
        f"SCHEMA_VERSION is {SCHEMA_VERSION}: {shapes.RAISE_IT}; `python -m tests.daemon.shapes` writes the file anew"
    )


def copied(settings: Config, folder: Path) -> Config:
    """The same day in another directory."""
    source = settings.data_dir
    folder.mkdir()
    for path in source.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(source)
            target.parent.mkdir(exist_ok=True, parents=True)
            target.write_bytes(path.read_bytes())
    return msgspec.structs.replace(settings, daemon=msgspec.structs.replace(settings.daemon, data_dir=str(folder)))


def test_a_halt_before_the_snapshot_still_holds_the_way_out(stopped: tuple[Config, Run], tmp_path: Path) -> None:
    settings = copied(stopped[0], tmp_path / "copy")
    with reopened(settings) as run:
        folded(run)
        run.bus.publish(TradingHalted(ts=MIDDAY, cause="kill", state=TradingState.HALTED))
        run.snapshot()
        halted = run.actors.sender.state
    with reopened(settings) as run:
        folded(run)
        assert run.actors.sender.state == halted
        recovery.hold(run.bus, MIDDAY)
        recovery.release(run.bus, MIDDAY)
        assert run.actors.sender.state == halted


def state_at(run: Run, seq: int) -> dict[str, Any]:
    with run.engine.connect() as connection:
        payload = connection.execute(select(snapshot_table.c.payload).where(snapshot_table.c.seq == seq)).scalar_one()
    found: dict[str, Any] = msgspec.msgpack.decode(payload)
    return found


def put(run: Run, seq: int, state: Any) -> None:  # noqa: ANN401 - whatever somebody writes there
    """Another state in the place of a snapshot's, with a digest that fits."""
    with run.engine.connect() as connection:
        row = connection.execute(select(snapshot_table).where(snapshot_table.c.seq == seq)).one()
    snapshots.save(run.engine, snapshots.Snapshot(row.seq, row.ts, row.chain_hash, state))


def damage(run: Run, seq: int) -> None:
    with run.engine.begin() as connection:
        connection.execute(update(snapshot_table).where(snapshot_table.c.seq == seq).values(payload=b"?"))


def write_text(run: Run, seq: int) -> None:
    with run.engine.begin() as connection:
        connection.execute(text("UPDATE snapshots SET payload = '{}' WHERE seq = :seq"), {"seq": seq})


def change(*path: str, to: Any) -> Callable[[Run, int], None]:  # noqa: ANN401 - whatever somebody writes there
    """Write something else at one place of a snapshot's state."""

    def edit(run: Run, seq: int) -> None:
        state = node = state_at(run, seq)
        for name in path[:-1]:
            node = node[name]
        node[path[-1]] = to
        put(run, seq, state)

    return edit


UNREADABLE: dict[str, tuple[Callable[[Run, int], None], str]] = {
    "damaged": (damage, "it is damaged"),
    "text where bytes belong": (write_text, "it is damaged"),
    "no state at all": (lambda run, seq: put(run, seq, [1]), "Expected `object`, got `array`"),
    "an actor is missing": (lambda run, seq: put(run, seq, {"limits": state_at(run, seq)["limits"]}), "KeyError"),
    "a state of nothing": (change("halts", to={}), "KeyError: 'live'"),
    "another type, far down": (change("oms", "orders", to=[{"cl_ord_id": "A"}]), "missing required field"),
    "parts that do not fit": (change("exposure", "marks", to={}), "KeyError: 'AAA'"),
}


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("which", ["the newest", "all"])
def test_a_snapshot_that_cannot_be_read_is_passed_over_and_said(
    which: str, case: str, stopped: tuple[Config, Run], tmp_path: Path
) -> None:
    settings, live = stopped
    edit, why = UNREADABLE[case]
    with reopened(copied(settings, tmp_path / "copy")) as run, capture_logs() as logs:
        older, newest = seqs(run)
        broken, left = ([newest], older) if which == "the newest" else ([newest, older], 0)
        for seq in broken:
            edit(run, seq)
        assert folded(run).snapshot_seq == left
        assert states(run) == states(live)
    said = [line["reason"] for line in logs if line["event"] == "snapshot skipped"]
    assert [reason.partition(" is passed over: ")[0] for reason in said] == [f"snapshot at seq {n}" for n in broken]
    assert all(why in reason for reason in said)
    assert ("the whole journal is folded" in [line["event"] for line in logs]) == (left == 0)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - a tree of builtins
    """The way to every node under this one."""
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child_node in below:
        yield (*path, key)
        yield from places(child_node, (*path, key))


def test_whatever_is_written_into_a_snapshot_no_actor_is_half_loaded(
    stopped: tuple[Config, Run], tmp_path: Path
) -> None:
    settings, live = stopped
    copy = copied(settings, tmp_path / "copy")
    with reopened(copy) as run:
        newest = seqs(run)[-1]
        sound = state_at(run, newest)
    everywhere = list(places(sound))
    passed_over = 0

    @given(where=st.sampled_from(everywhere), to=st.sampled_from([None, "?", -1, 0.5, True, [], {}, [["?"]], {"?": 1}]))
    @hypothesis.settings(max_examples=25)
    def fold_with(where: tuple[Any, ...], to: Any) -> None:  # noqa: ANN401 - whatever somebody writes there
        nonlocal passed_over
        state = node = deepcopy(sound)
        for key in where[:-1]:
            node = node[key]
        node[where[-1]] = to
        with reopened(copy) as run:
            put(run, newest, state)
            if folded(run).snapshot_seq == newest:
                return  # what is sound by itself is believed: nothing else vouches for it
            assert states(run) == states(live)
            passed_over += 1

    fold_with()
    assert passed_over


def test_a_journal_that_was_changed_is_not_folded(stopped: tuple[Config, Run], tmp_path: Path) -> None:
    with reopened(copied(stopped[0], tmp_path / "copy")) as run:
        forget(run, lambda seq: False)
        with run.engine.begin() as connection:
            connection.execute(update(journal_table).where(journal_table.c.seq == 2).values(payload="{}"))
        with pytest.raises(JournalError, match="broken at seq 2"):
            folded(run)


def test_a_new_account_folds_nothing(tmp_path: Path) -> None:
    with reopened(config(tmp_path / "day")) as run:
        assert folded(run) == recovery.Recovered(0, 0, 0)


def test_a_stopped_day_that_goes_on_ends_with_every_parent_ended_and_no_break(
    stopped: tuple[Config, Run], tmp_path: Path
) -> None:
    settings = copied(stopped[0], tmp_path / "copy")
    run, _ = play(settings)
    assert run.recovered.last_ts >= MIDDAY
    assert run.actors.slicer.parents == {}
    assert run.actors.oms.live("paper") == {}
    assert run.actors.exposure.quarantined == {}
    assert run.actors.oms.positions("paper") == {s: q for s, q in paper(run)._exchange.positions.items() if q}


# Both placements, and the same day twice -----------------------------------------------------------------------------


def test_the_whole_day_is_the_same_in_both_placements_and_whenever_it_is_played(tmp_path: Path) -> None:
    days = {
        name: play(config(tmp_path / name, placement=placement))
        for name, placement in (("one", "inline"), ("again", "inline"), ("tasks", "tasks"))
    }
    results = [done for _, done in days.values()]
    assert results[0] == results[1] == results[2]
    assert results[0].events > 1_000
    assert states(days["one"][0]) == states(days["tasks"][0])


# Asking the venue -----------------------------------------------------------------------------------------------------


class Bench:
    """An oms with order A for 10 as recovery found it, before a scripted venue."""

    def __init__(self, *facts: Event) -> None:
        self.gateway = ScriptedGateway()
        self.oms = Oms(INSTRUMENTS, OmsSettings())
        self.bus = Bus()
        self.bus.fold(OrderApproved, self.oms.open)
        self.bus.fold(OrderUpdated, self.oms.update)
        self.bus.fold(FillBooked, self.oms.fill)
        self.bus.on(ExecutionReport, self.oms.on_execution_report)
        self.oms.account(opened())
        self.oms.open(approved(child(qty="10", cl_ord_id="A")))
        for fact in facts:
            self.bus.publish(fact)
        self.kept: set[str] = set()  # client ids that wait in the sender's lanes
        self.on_record: set[str] = set()  # execution ids in the database
        self.trace: list[Event] = []
        self.bus.tap(lambda seq, event: self.trace.append(event))

    async def reconcile(self) -> list[BreakFound]:
        gateways: dict[str, Gateway] = {self.gateway.name: self.gateway}
        return await recovery.reconcile(
            self.bus,
            self.oms,
            gateways,
            keeps=self.kept.__contains__,
            now=lambda: NOW + 9,
            on_record=self.recorded,
        )

    async def compare(self, *quarantined: str) -> list[BreakFound]:
        return await recovery.compare(
            self.bus,
            self.oms,
            self.gateway,
            keeps=self.kept.__contains__,
            now=lambda: NOW + 9,
            on_record=self.recorded,
            quarantined=quarantined,
        )

    async def recorded(self, venue: str, exec_ids: Collection[str]) -> set[str]:
        del venue
        return self.on_record & set(exec_ids)

    @property
    def facts(self) -> list[Event]:
        """What was said, beside the raw words."""
        return [event for event in self.trace if not isinstance(event, ExecutionReport | AccountReported)]


def standing(status: OrdStatus, cum: str = "0", cl_ord_id: str = "A") -> dict[str, OrderView]:
    view = OrderView(
        cl_ord_id=cl_ord_id,
        order_id="V",
        symbol="AAPL",
        side=Side.BUY,
        order_qty=D(10),
        cum_qty=D(cum),
        ord_status=status,
    )
    return {cl_ord_id: view}


def execution(exec_id: str, qty: str, cl_ord_id: str = "A") -> dict[str, ExecutionView]:
    view = ExecutionView(
        exec_id=exec_id,
        cl_ord_id=cl_ord_id,
        symbol="AAPL",
        side=Side.BUY,
        last_qty=D(qty),
        last_px=D(100),
        fee=D(0),
        ts=NOW,
    )
    return {exec_id: view}


def report(kind: ExecType, **facts: Any) -> ExecutionReport:  # noqa: ANN401 - any field of a report
    plain = ExecutionReport(ts=NOW - 5, venue="paper", exec_type=kind, cl_ord_id="A", order_id="V")
    return msgspec.structs.replace(plain, **facts)


def trade(exec_id: str, qty: str) -> ExecutionReport:
    return report(ExecType.TRADE, exec_id=exec_id, last_qty=D(qty), last_px=D(100))


def status(stated: OrdStatus, cum: str) -> ExecutionReport:
    return report(ExecType.STATUS, ord_status=stated, cum_qty=D(cum))


def found(kind: str, text: str) -> BreakFound:
    return BreakFound(ts=NOW + 9, venue="paper", kind=kind, symbol="AAPL", text=f"{kind}{text}")


async def test_an_execution_that_was_missed_is_booked_like_any_other() -> None:
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [
        picture(
            orders=standing(OrdStatus.PARTIALLY_FILLED, "4"), executions=execution("E1", "4"), positions={"AAPL": D(4)}
        )
    ]
    bench.gateway.reports["A"] = [trade("E1", "4"), status(OrdStatus.PARTIALLY_FILLED, "4")]
    assert await bench.reconcile() == []
    assert [type(fact) for fact in bench.facts] == [FillBooked, PositionUpdated, OrderUpdated, OrderUpdated]
    assert {fact.ts for fact in bench.trace} == {NOW + 9}
    assert bench.oms.positions("paper") == {"AAPL": D(4)}
    assert bench.gateway.log == ["picture", "query A", "picture"]
    assert [type(event) for event in bench.trace][-1] is AccountReported  # once our books hold what it may speak of


async def test_an_order_that_is_gone_ends_with_what_the_venue_says_of_it() -> None:
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [picture()]
    bench.gateway.reports["A"] = [status(OrdStatus.CANCELED, "0")]
    assert await bench.reconcile() == []
    assert [(fact.ord_status, fact.terminal) for fact in bench.facts if isinstance(fact, OrderUpdated)] == [
        (OrdStatus.CANCELED, True)
    ]


async def test_an_intent_without_a_word_that_the_venue_never_saw_is_dead_by_proof_alone() -> None:
    bench = Bench()
    bench.gateway.pictures = [picture()]
    bench.gateway.reports["A"] = [report(ExecType.NOT_FOUND)]
    assert await bench.reconcile() == []
    assert bench.oms.orders["A"].ord_status is OrdStatus.NOT_SENT


async def test_an_order_that_waits_in_our_own_lanes_is_not_asked_about_and_no_break() -> None:
    bench = Bench()
    bench.kept = {"A"}
    bench.gateway.pictures = [picture()]
    bench.gateway.reports["A"] = [report(ExecType.NOT_FOUND)]
    assert await bench.reconcile() == []
    assert bench.gateway.log == ["picture", "picture"]
    assert bench.facts == []
    assert bench.oms.orders["A"].leaves_qty == 10
    bench.kept.clear()  # its write has begun
    assert await bench.reconcile() == []
    assert bench.gateway.log[2:] == ["picture", "query A", "picture"]
    assert bench.oms.orders["A"].ord_status is OrdStatus.NOT_SENT


async def test_what_waits_in_our_lanes_hides_no_break_of_others() -> None:
    bench = Bench()
    bench.kept = {"A"}
    bench.gateway.pictures = [picture(orders=standing(OrdStatus.NEW, cl_ord_id="Z"), positions={"AAPL": D(1)})]
    assert await bench.reconcile() == [
        found("FOREIGN_ORDER", " Z: ours -, theirs NEW"),
        found("POSITION", ": ours 0, theirs 1"),
    ]


async def test_an_intent_that_the_venue_cannot_account_for_stays_in_doubt_and_is_a_break() -> None:
    bench = Bench()
    bench.gateway.pictures = [picture()]
    assert await bench.reconcile() == [found("GONE", " A: ours PENDING_SUBMIT, theirs -")]
    assert bench.oms.orders["A"].leaves_qty == 10


async def test_an_intent_that_arrived_is_alive() -> None:
    bench = Bench()
    bench.gateway.pictures = [picture(orders=standing(OrdStatus.NEW))]
    bench.gateway.reports["A"] = [status(OrdStatus.NEW, "0")]
    assert await bench.reconcile() == []
    assert bench.oms.orders["A"].ord_status is OrdStatus.NEW


ALIVE = standing(OrdStatus.NEW)
UNEXPLAINED = {
    "an order that is not ours": (
        picture(orders=ALIVE | standing(OrdStatus.NEW, cl_ord_id="Z")),
        found("FOREIGN_ORDER", " Z: ours -, theirs NEW"),
    ),
    "an execution that is not ours": (
        picture(orders=ALIVE, executions=execution("E9", "3", "Z")),
        found("FOREIGN_EXECUTION", " Z: ours -, theirs -"),
    ),
    "a position that differs by one share": (
        picture(orders=ALIVE, positions={"AAPL": D(1)}),
        found("POSITION", ": ours 0, theirs 1"),
    ),
}


@pytest.mark.parametrize("case", UNEXPLAINED)
async def test_what_nothing_explains_is_a_break_and_no_fill_is_invented(case: str) -> None:
    shown, expected = UNEXPLAINED[case]
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [shown]
    assert await bench.reconcile() == [expected]
    assert bench.facts == [expected]
    assert bench.oms.positions("paper") == {}


async def test_an_execution_that_the_venue_does_not_know_is_a_break() -> None:
    bench = Bench(report(ExecType.NEW), trade("E1", "4"))
    bench.gateway.pictures = [picture(orders=standing(OrdStatus.NEW), positions={"AAPL": D(4)})]
    assert await bench.reconcile() == [found("PHANTOM_EXECUTION", " A: ours -, theirs -")]
    assert bench.oms.positions("paper") == {"AAPL": D(4)}


async def test_an_execution_that_only_the_database_remembers_is_not_booked_again() -> None:
    bench = Bench(report(ExecType.NEW), trade("E2", "6"))
    bench.on_record = {"E1"}
    bench.gateway.pictures = [
        picture(
            orders=standing(OrdStatus.NEW),
            executions=execution("E1", "4") | execution("E2", "6"),
            positions={"AAPL": D(6)},
        )
    ]
    assert await bench.reconcile() == []
    assert bench.facts == []


async def test_one_order_is_asked_about_once_however_much_of_it_was_missed() -> None:
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [
        picture(executions=execution("E1", "4") | execution("E2", "6"), positions={"AAPL": D(10)})
    ]
    bench.gateway.reports["A"] = [trade("E1", "4"), trade("E2", "6"), status(OrdStatus.FILLED, "10")]
    assert await bench.reconcile() == []
    assert bench.gateway.log == ["picture", "query A", "picture"]
    assert not [fact for fact in bench.trace if isinstance(fact, Anomaly)]


def holding(qty: int) -> Picture:
    """The venue's picture with order A working and so many shares held."""
    return picture(orders=standing(OrdStatus.NEW), positions={"AAPL": D(qty)} if qty else {})


async def test_what_only_one_picture_shows_was_on_its_way() -> None:
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [holding(0), holding(2), holding(0)]
    assert await bench.reconcile() == []
    bench.gateway.pictures = [holding(0), holding(2), holding(3), holding(3)]
    assert await bench.reconcile() == [found("POSITION", ": ours 0, theirs 3")]


async def test_what_changes_with_each_picture_is_no_break() -> None:
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [holding(qty) for qty in range(1, 20)]
    assert await bench.reconcile() == []


async def test_a_venue_that_cannot_be_reached_keeps_the_daemon_from_starting() -> None:
    bench = Bench()
    bench.gateway.unreachable = ConnectionRefusedError("refused")
    with pytest.raises(ConnectionRefusedError):
        await bench.reconcile()


def test_start_holds_trading_and_its_end_releases_that_cause_alone() -> None:
    bus = Bus()
    trace: list[Event] = []
    bus.tap(lambda seq, event: trace.append(event))
    recovery.hold(bus, NOW)
    recovery.release(bus, NOW + 1)
    assert trace == [
        TradingHalted(ts=NOW, cause="startup", state=TradingState.HALTED, text="recovering"),
        TradingResumed(ts=NOW + 1, cause="startup", by="recovery"),
    ]


async def test_what_is_held_at_a_venue_that_is_named_no_more_is_a_break() -> None:
    bench = Bench(report(ExecType.NEW), trade("E1", "4"))
    bench.gateway.name = "other"
    bench.gateway.pictures = [picture()]
    text = "{} at paper, which is not among the venues of AAPL: name it again, and close there what is held"
    assert [event.text for event in await bench.reconcile()] == [text.format("a position"), text.format("orders")]


# Asking it again while trading ----------------------------------------------------------------------------------------


async def test_books_that_agree_are_compared_with_one_picture_and_without_an_event() -> None:
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [picture(orders=ALIVE)]
    assert await bench.compare() == []
    assert (bench.gateway.log, bench.trace) == (["picture"], [])


async def test_what_is_under_way_while_trading_is_not_asked_about() -> None:
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [picture(), picture(orders=ALIVE)]  # the order reached the venue behind the first
    assert await bench.compare() == []
    assert (bench.gateway.log, bench.trace) == (["picture", "picture"], [])


async def test_a_report_that_was_lost_is_asked_for_once_two_pictures_show_it() -> None:
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [picture(executions=execution("E1", "10"), positions={"AAPL": D(10)})]
    bench.gateway.reports["A"] = [trade("E1", "10"), status(OrdStatus.FILLED, "10")]
    assert await bench.compare("AAPL") == []  # its quarantine does not matter
    assert bench.gateway.log == ["picture", "picture", "query A", "picture"]
    assert bench.oms.positions("paper") == {"AAPL": D(10)}
    assert bench.oms.orders["A"].ord_status is OrdStatus.FILLED


@pytest.mark.parametrize("case", UNEXPLAINED)
async def test_what_nothing_explains_while_trading_is_a_break_and_said_once(case: str) -> None:
    shown, expected = UNEXPLAINED[case]
    bench = Bench(report(ExecType.NEW))
    bench.gateway.pictures = [shown]
    assert await bench.compare() == [expected]
    assert bench.trace == [expected]
    assert await bench.compare("AAPL") == []
    assert bench.trace == [expected]


@pytest.mark.parametrize(
    "shown", [picture(), picture(orders=standing(OrdStatus.PENDING_CANCEL))], ids=["gone", "there"]
)
async def test_an_order_in_doubt_is_asked_about_and_left_to_the_oms(shown: Picture) -> None:
    bench = Bench()
    bench.gateway.pictures = [shown]
    assert await bench.compare() == []
    assert "query A" in bench.gateway.log
    assert bench.trace == []


async def test_an_order_in_doubt_hides_no_break() -> None:
    bench = Bench()
    bench.gateway.pictures = [picture(positions={"AAPL": D(1)})]
    assert await bench.compare() == [found("POSITION", ": ours 0, theirs 1")]
