"""Start is recovery: fold what was decided, ask the venues what became of it, and only then trade.

There is no other way to start. A fresh daemon folds an empty journal; one that was killed loads its newest snapshot and
folds the events behind it, or all of the journal where no snapshot can be read. Folding changes state and decides
nothing, so new code, other limits or another machine cannot think again about orders that were already sent.

Then the venues are asked. An order that we approved and never heard of is in doubt, not dead: it keeps its quantity
until the venue has said otherwise. What a venue's reports explain is booked through the oms like any other report; what
nothing explains is a break: its symbol is quarantined, and no fill is invented to make the books agree. All of this
happens HALTED; the last event of recovery is the end of that cause.

While trading the books are compared again and again (`compare`), and with a venue that was away before it counts as
back: a report that was lost leaves no trace of its own.

Prior art: TigerBeetle's replicas, nautilus_trader's reconciliation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from heapq import merge
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import structlog
from sqlalchemy import Engine

from adapters.gateway import Gateway
from adapters.store import journal, snapshots
from adapters.store.snapshots import Snapshot
from adapters.store.tape import TapeError, read_tape
from core.causes import STARTUP
from core.events import AccountReported, BreakFound, Event, ExecutionReport, TradingResumed
from core.reconcile import EXPLAINED, IN_DOUBT, Break, BreakKind, Picture, diff
from core.trading import halted
from daemon.bus import Bus
from daemon.oms import Oms
from daemon.wiring import Actors

Raw = TypeVar("Raw", ExecutionReport, AccountReported)

_log = structlog.get_logger()


class Stateful(Protocol):
    """An actor whose state goes into snapshots."""

    def dump(self) -> dict[str, object]:
        """The state, as builtins."""
        ...

    def load(self, dumped: dict[str, object]) -> None:
        """Take the state over, into a new actor."""
        ...


class Recovered(msgspec.Struct, frozen=True):
    """What was found: 0 and 0 for a new account."""

    snapshot_seq: int
    events: int  # folded behind the snapshot
    last_ts: int  # of the newest event


def stateful(actors: Actors) -> dict[str, Stateful]:
    """The actors whose state is a fold of the past."""
    return {
        "limits": actors.limits,
        "exposure": actors.exposure,
        "overrides": actors.overrides,
        "guard": actors.guard,
        "sizer": actors.sizer,
        "triggers": actors.triggers,
        "venues": actors.venues,
        "slicer": actors.slicer,
        "oms": actors.oms,
        "analyst": actors.analyst,
        "ledger": actors.ledger,
        "sender": actors.sender,
        "sequences": actors.sequences,
        "halts": actors.halts,
    }


def fold(bus: Bus, actors: Actors, engine: Engine, tape_dir: Path, fresh: Callable[[], Actors]) -> Recovered:
    """Bring every actor to where it was; raises JournalError for a journal that does not verify.

    A snapshot is first tried on `fresh` actors: one that they cannot read has changed none of ours.
    """
    snapshot = _readable(engine, fresh)
    last_ts = 0
    if snapshot is not None:
        _load(snapshot, actors)
        bus.seq, last_ts = snapshot.seq, snapshot.ts
    start, count = bus.seq, 0
    for seq, event in _behind(engine, tape_dir, start):
        bus.replay(seq, event)
        count += 1
        last_ts = max(last_ts, event.ts)
    actors.analyst.tear()
    return Recovered(start, count, last_ts)


def _readable(engine: Engine, fresh: Callable[[], Actors]) -> Snapshot | None:
    """The newest snapshot that can be trusted and that every actor can read; None: the whole journal is folded."""
    before: int | None = None
    while True:
        snapshot, notes = snapshots.load_latest(engine, before)
        for note in notes:
            _log.warning("snapshot skipped", reason=note)
        if snapshot is None:
            if notes or before is not None:
                _log.warning("the whole journal is folded", reason="no snapshot is left")
            return None
        try:
            _load(snapshot, fresh())
        except Exception as error:  # noqa: BLE001 - whatever it was, the journal has all that the snapshot has
            said = f"its state cannot be read ({type(error).__name__}: {error})"
            _log.warning("snapshot skipped", reason=f"snapshot at seq {snapshot.seq} is passed over: {said}")
            before = snapshot.seq
        else:
            return snapshot


def _load(snapshot: Snapshot, actors: Actors) -> None:
    for name, actor in stateful(actors).items():
        actor.load(msgspec.convert(snapshot.state[name], dict[str, object]))


def _behind(engine: Engine, tape_dir: Path, seq: int) -> Iterator[tuple[int, Event]]:
    entries: Iterable[tuple[int, Event]] = journal.read(engine, seq + 1)
    return merge(entries, _market(tape_dir, seq + 1), key=lambda item: item[0])


def _market(tape_dir: Path, from_seq: int) -> Iterator[tuple[int, Event]]:
    """The tape as far as it can be read: marks and benchmarks come from it, the books do not."""
    try:
        yield from read_tape(tape_dir, from_seq)
    except TapeError as error:
        _log.error("tape not read further", reason=str(error))


OnRecord = Callable[[str, Collection[str]], Awaitable[set[str]]]
"""Those of a venue's execution ids that the database has: the oms remembers only what is recent."""

LOOKS_MAX = 5  # at one venue: a break counts once two pictures in a row show the same
LOOK_S = 0.25  # between two of them, where the venue does not need longer to settle


async def reconcile(
    bus: Bus,
    oms: Oms,
    gateways: dict[str, Gateway],
    *,
    keeps: Callable[[str], bool],
    now: Callable[[], int],
    on_record: OnRecord,
) -> list[BreakFound]:
    """Ask every venue, book what its reports explain, quarantine what they do not, hear how the account stands.

    Orders that the sender `keeps` in its lanes are not asked about: no venue can know them yet. Raises OSError.
    """
    found: list[BreakFound] = []
    for name, gateway in gateways.items():
        theirs = await _theirs(oms, gateway, on_record)
        await _ask(bus, gateway, diff(_ours(oms, name, keeps), theirs, known=oms.known()), now)
        found += [_found(name, each, now()) for each in await _confirmed(oms, gateway, keeps, on_record)]
        bus.publish(_stamped(await gateway.account(), now()))
    found += [_left_behind(*each, now()) for each in oms.left_behind(gateways)]
    for event in found:
        bus.publish(event)
    return found


async def compare(
    bus: Bus,
    oms: Oms,
    gateway: Gateway,
    *,
    keeps: Callable[[str], bool],
    now: Callable[[], int],
    on_record: OnRecord,
    quarantined: Collection[str],
    since: int = 0,
) -> list[BreakFound]:
    """Compare our books with one venue's while trading: one picture and no event where they agree. Raises OSError.

    Of their executions those from `since` on (ns) are looked at, in positions all.

    Nothing is asked before two pictures show it. An order in doubt is no break: the oms goes on to ask, and gives it up
    in the end. Nor is what differs in a symbol that is `quarantined`: that was said.
    """
    confirmed = await _confirmed(oms, gateway, keeps, on_record, since)
    shown = [each for each in confirmed if each.kind in EXPLAINED or each.symbol not in quarantined]
    if not shown:
        return []
    await _ask(bus, gateway, shown, now)
    left = [each for each in await _confirmed(oms, gateway, keeps, on_record, since) if each in shown]
    breaks = [each for each in left if each.symbol not in quarantined and each.ours not in IN_DOUBT]
    found = [_found(gateway.name, each, now()) for each in breaks]
    for event in found:
        bus.publish(event)
    return found


async def differences(
    oms: Oms, gateway: Gateway, symbol: str, *, keeps: Callable[[str], bool], on_record: OnRecord
) -> list[Break]:
    """What one picture of a venue shows to differ in a symbol, under way or not. Raises OSError."""
    theirs = await _theirs(oms, gateway, on_record)
    shown = diff(_ours(oms, gateway.name, keeps), theirs, known=oms.known())
    return [each for each in shown if each.symbol == symbol]


async def _ask(bus: Bus, gateway: Gateway, breaks: list[Break], now: Callable[[], int]) -> None:
    """Book what the venue's answers explain; each order is asked about once."""
    for cl_ord_id in dict.fromkeys(each.cl_ord_id for each in breaks if each.kind in EXPLAINED):
        for report in await gateway.query(cl_ord_id):
            bus.publish(_stamped(report, now()))
    await bus.settled()


async def _confirmed(
    oms: Oms, gateway: Gateway, keeps: Callable[[str], bool], on_record: OnRecord, since: int = 0
) -> list[Break]:
    """Breaks that two pictures in a row show, a settle time apart.

    A picture takes its time to arrive, and our books go on meanwhile: one alone may show what a report explains that
    was under way.
    """
    before: set[Break] = set()
    confirmed: list[Break] = []
    for _ in range(LOOKS_MAX):
        theirs = await _theirs(oms, gateway, on_record, since)
        shown = diff(_ours(oms, gateway.name, keeps), theirs, known=oms.known(), whole=not since)
        confirmed = [each for each in shown if each in before]
        if len(confirmed) == len(shown):
            break
        before = set(shown)
        await asyncio.sleep(max(gateway.capabilities.settle_s, LOOK_S))
    return confirmed


async def _theirs(oms: Oms, gateway: Gateway, on_record: OnRecord, since: int = 0) -> Picture:
    """The venue's picture without executions that were booked too long ago for the oms, or that were let pass."""
    theirs = await gateway.picture(since)
    forgotten = await on_record(gateway.name, theirs.executions.keys() - oms.executions(gateway.name).keys())
    forgotten |= oms.let_pass(gateway.name)
    kept = {exec_id: each for exec_id, each in theirs.executions.items() if exec_id not in forgotten}
    return msgspec.structs.replace(theirs, executions=kept)


def _found(venue: str, unexplained: Break, now: int) -> BreakFound:
    about = unexplained.cl_ord_id or unexplained.exec_id
    sides = f"ours {unexplained.ours or '-'}, theirs {unexplained.theirs or '-'}"
    return BreakFound(
        ts=now,
        venue=venue,
        kind=unexplained.kind,
        symbol=unexplained.symbol,
        text=f"{unexplained.kind} {about}: {sides}" if about else f"{unexplained.kind}: {sides}",
    )


def _left_behind(venue: str, symbol: str, what: str, now: int) -> BreakFound:
    """The configuration no longer names the venue, or not for the symbol: what is there cannot be closed."""
    text = f"{what} at {venue}, which is not among the venues of {symbol}: name it again, and close there what is held"
    return BreakFound(ts=now, venue=venue, kind=BreakKind.POSITION, symbol=symbol, text=text)


def _ours(oms: Oms, venue: str, keeps: Callable[[str], bool]) -> Picture:
    orders = {key: order for key, order in oms.live(venue).items() if not keeps(key)}
    let_pass = oms.let_pass(venue)
    executions = {exec_id: each for exec_id, each in oms.executions(venue).items() if exec_id not in let_pass}
    return Picture(orders=orders, executions=executions, positions=oms.positions(venue))


def _stamped(report: Raw, now: int) -> Raw:
    return msgspec.structs.replace(report, ts=now)


def hold(bus: Bus, now: int) -> None:
    """Nothing is sent until recovery is done; what works at a venue goes on working."""
    bus.publish(halted(STARTUP, now, text="recovering"))


def release(bus: Bus, now: int) -> None:
    """Recovery is done."""
    bus.publish(TradingResumed(ts=now, cause=STARTUP, by="recovery"))
