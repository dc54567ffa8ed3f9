"""`execd simulate --compare`: the same days and parents under each algorithm, a process each, and what comes of it.

Configuration, tapes, seeds and signals are the same in every run but for `how.algo`. What else `how` says stays as it
is, for each algorithm to use or not; stops and amendments stay whole, as what they do is no work of the algorithm's. A
run that fails is named, and the others are compared without it.
"""

import os
import shlex
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from adapters.market.columns import TapeError
from adapters.processes import ends_with_parent
from adapters.store import engine as store
from adapters.store import queries
from core.calendar import CALENDARS
from core.events import CostReport
from core.signals import Algo, AmendSignal, BadSignal, Signal, StopSignal, parse
from core.units import NS_PER_S, bps_of
from daemon import logs
from daemon.config import Config, ConfigError
from daemon.markets import open_market
from daemon.progress import LINE_S, REFRESH_S, moment
from daemon.run import Run
from daemon.simulate import simulate
from tca.compare import Costs, Outcome

PARENTS_MAX = 100_000  # of one run
TICK_NS = 600 * NS_PER_S  # of market time, between two words of a run on how far it is
PATIENCE_S = 5.0  # for a child to end, before it is killed
LOG = "log.jsonl"  # of a run, in its folder


class Span(msgspec.Struct, frozen=True):
    """What a run says first: its market's time, ns UTC, and what is odd about its data."""

    start: int
    end: int
    notes: tuple[str, ...]


class Ran(msgspec.Struct, frozen=True):
    """What a run says last: its parents by the time of their start, their ids on record, and why others are none."""

    outcomes: list[Outcome]
    ids: dict[str, str]
    turned_away: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True):
    """Why a run gave nothing; `expected`: its inputs are at fault, and the text says what to do."""

    text: str
    expected: bool = False


Word = Span | int | Ran | Failed
"""What a run tells its parent process; a number is its market's time."""


def algos_of(said: str) -> list[Algo]:
    """The algorithms of `twap,vwap,pov`; raises ConfigError."""
    names = [name.strip().upper() for name in said.split(",")]
    known = {algo.value: algo for algo in Algo}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"--compare {said}: {unknown[0] or 'nothing'} is not one of {', '.join(known).lower()}")
    if len(set(names)) < len(names) or len(names) < 2:  # noqa: PLR2004 - a pair
        raise ConfigError(f"--compare {said}: name two algorithms or more, each of them once")
    return [known[name] for name in names]


def signals_under(algo: Algo, signals: Path) -> bytes:
    """A file's signals, one a line, each to be worked by `algo`; raises ConfigError for one that it cannot work.

    A stop keeps its exit: one that took hours would be another stop.
    """
    lines: list[bytes] = []
    with signals.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.strip()
            if text and not text.startswith(b"#"):
                lines += (_under(algo, found, f"{signals}:{number}") for found in parse(text))
    return b"".join(line + b"\n" for line in lines)


def _under(algo: Algo, found: Signal | BadSignal, where: str) -> bytes:
    if isinstance(found, BadSignal):
        raise ConfigError(f"{where}: {found.reason}: mend it, a comparison needs every parent")
    if isinstance(found, StopSignal | AmendSignal):
        return msgspec.json.encode(found)
    how = msgspec.structs.replace(found.how, algo=algo)
    line = msgspec.json.encode(msgspec.structs.replace(found, how=how))
    (again,) = parse(line)
    if isinstance(again, BadSignal):
        raise ConfigError(f"{where}: {again.reason}: add it, or compare other algorithms")
    return line


# The runs -------------------------------------------------------------------------------------------------------------


def run(configs: Mapping[str, Config]) -> dict[str, Ran | Failed]:
    """Run each algorithm's simulation, as many at a time as there are cores; none outlives this call."""
    board = _Board(list(configs))
    ended: dict[str, Ran | Failed] = {}
    waiting = list(configs)
    working: dict[Connection, tuple[str, BaseProcess]] = {}
    try:
        with board:
            while waiting or working:
                while waiting and len(working) < (os.cpu_count() or 1):
                    algo = waiting.pop(0)
                    ear, process = _start(configs[algo])
                    working[ear] = algo, process
                    board.say(algo, "reads its tapes")
                wait(list(working), timeout=REFRESH_S)
                for ear in [ear for ear in working if ear.poll()]:
                    algo, process = working[ear]
                    word = _hear(ear, process)
                    if isinstance(word, Ran | Failed):
                        ended[algo] = word
                        del working[ear]
                        _end(ear, process)
                    board.take(algo, word)
                board.show()
    finally:
        for ear, (_, process) in working.items():
            process.terminate()
            _end(ear, process)
    return {algo: ended[algo] for algo in configs}


def _start(config: Config) -> tuple[Connection, BaseProcess]:
    context = get_context("spawn")
    ear, mouth = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(config, mouth), daemon=True)
    process.start()
    mouth.close()  # the child alone holds it: its end is heard
    return ear, process


def _hear(ear: Connection, process: BaseProcess) -> Word:
    try:
        word: Word = ear.recv()
    except EOFError:
        process.join(PATIENCE_S)
        return Failed(f"its process ended with {process.exitcode}")
    return word


def _end(ear: Connection, process: BaseProcess) -> None:
    process.join(PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()
    ear.close()


def _work(config: Config, mouth: Connection) -> None:
    """A run, in a process of its own. The terminal's Ctrl-C is its parent's to hear, who ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if ends_with_parent is not None:
        ends_with_parent()
    log = os.open(config.data_dir / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(log, standard)
    logs.to_stderr()
    try:
        opened = open_market(config)
        mouth.send(Span(opened.start, opened.end, opened.notes))
        simulate(config, opened, watch=partial(_tell, mouth))
        mouth.send(gather(config))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and the other runs go on
        traceback.print_exc()
        expected = isinstance(error, ConfigError | TapeError | ValueError | OSError)
        mouth.send(Failed(f"{type(error).__name__}: {error}" if not expected else str(error), expected))


def _tell(mouth: Connection, running: Run) -> None:
    def say() -> None:
        mouth.send(running.clock.now())
        running.clock.call_at(running.clock.now() + TICK_NS, say)

    running.clock.call_at(running.clock.now() + 1, say)


def gather(config: Config) -> Ran:
    """What became of a run's parents, from its database."""
    engine = store.open_readonly(config.store_url)
    try:
        parents = {row["parent_id"]: row["signal_id"] for row in queries.parents(engine, limit=PARENTS_MAX)}
        rows = queries.cost_reports(engine, limit=PARENTS_MAX + 1)
        others = queries.turned_away(engine)
    finally:
        engine.dispose()
    if len(rows) > PARENTS_MAX:
        raise ConfigError(f"more than {PARENTS_MAX:,} parents: compare fewer days at a time")
    reports = [msgspec.json.decode(row["payload"], type=CostReport) for row in rows]
    reports.sort(key=lambda report: (report.start, report.parent_id))
    names = _names(reports, parents)
    outcomes = [_outcome(report, names[report.parent_id], config) for report in reports]
    away = tuple(f"{row['count']:,} {row['reason']}" + f" ({row['text']})" * bool(row["text"]) for row in others)
    return Ran(outcomes, {name: parent_id for parent_id, name in names.items()}, away)


def _names(reports: Sequence[CostReport], signals: Mapping[str, str]) -> dict[str, str]:
    """What parents are called under every algorithm: their signal, and their leg of it; later ones have a number.

    A stop's exit may take several parents, in parts or one after the other. Quotes keep names with spaces apart.
    """
    names: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for report in reports:
        name = shlex.join((report.strategy, signals[report.parent_id], report.symbol))
        seen[name] += 1
        names[report.parent_id] = name if seen[name] == 1 else f"{name} {seen[name]}"
    return names


def _outcome(report: CostReport, name: str, config: Config) -> Outcome:
    calendar = CALENDARS[config.instruments[report.symbol].calendar]
    traded = report.cum_qty * report.arrival_px * report.multiplier
    return Outcome(
        parent=name,
        day=calendar.date_of(report.start).isoformat(),
        order_qty=report.order_qty,
        cum_qty=report.cum_qty,
        reason=report.reason,
        costs=Costs(
            arrival=_float(report.slippage_bps(report.arrival_px)),
            vwap=_float(report.slippage_bps(report.market_vwap)),
            shortfall=float(report.shortfall_bps),
            spread=float(bps_of(report.spread, traded)) if traded else None,
            fees=float(bps_of(report.fees, traded)) if traded else None,
        ),
    )


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


# Progress -------------------------------------------------------------------------------------------------------------


class _Board:
    """How far each run is: bars on a terminal, a line now and then elsewhere."""

    def __init__(self, algos: Sequence[str]) -> None:
        self._console = Console(file=sys.stderr)
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[at]}")
        self._progress = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
        self._tasks: dict[str, TaskID] = {algo: self._progress.add_task(algo, total=None, at="waits") for algo in algos}
        self._spans: dict[str, Span] = {}
        self._said: dict[str, str] = {}
        self._notes: set[str] = set()
        self._last = time.monotonic()

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def take(self, algo: str, word: Word) -> None:
        """Remember what a run said."""
        task = self._tasks[algo]
        if isinstance(word, Span):
            self._spans[algo] = word
            self._progress.update(task, total=word.end - word.start)
            for note in word.notes:
                if note not in self._notes:  # the same tapes in every run
                    self._notes.add(note)
                    self._console.print(note, highlight=False, soft_wrap=True)
            at = moment(word.start)
        elif isinstance(word, int):
            span = self._spans[algo]
            self._progress.update(task, completed=min(word, span.end) - span.start)
            at = moment(word)
        elif isinstance(word, Ran):
            at = "done"
        else:
            at = "failed"
        self.say(algo, at)

    def say(self, algo: str, at: str) -> None:
        """Where a run is, in words."""
        self._said[algo] = at
        self._progress.update(self._tasks[algo], at=at)

    def show(self) -> None:
        """Draw, or say, how far they are, if it is time to."""
        if self._console.is_terminal:
            self._progress.refresh()
            return
        now = time.monotonic()
        if now - self._last >= LINE_S:
            self._last = now
            line = "   ".join(f"{algo} {self._said.get(algo, 'waits')}" for algo in self._tasks)
            self._console.print(line, highlight=False, soft_wrap=True)
