"""The bus: one total order of events, what each one changes, and what follows from it.

Every event of the daemon gets its place, `seq`, here and nowhere else. Four kinds of listeners, in this order:

- **Folds** change an actor's state from what happened and say nothing. They run at the moment an event is emitted,
  before the next one is decided: an approval has reserved its risk before another order of the same cascade is looked
  at. Recovery runs folds alone.
- **Taps** see every event with its seq: the journal, the tape, metrics.
- **Hands** give an event to an edge, which works in its own task: a gateway's lane.
- **Decisions** look at state and yield what follows. They change nothing but by what they yield, and never run in
  recovery: new code or other limits must not think again about orders that were already sent.

A published event and all its consequences run to quiescence before the next outside event, breadth first: the effects
of one event come before the effects of the next. A listener that publishes only enqueues. Whatever a decision or fold
raises stops the bus for good: half an answer about an order is worse than none.

Placement is one word: `inline` calls actors in sequence; `tasks` gives every actor a task and a mailbox of its own and
keeps them in lockstep. Both give the same trace. Inline is the default because an await inside a check is a place where
a halt or a fill slips in, and because switching tasks costs ten times what a call costs (decision record 1).

Lineage: LMAX's single sequenced writer; TigerBeetle; aioquic's sans-IO core.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from math import inf
from textwrap import shorten
from time import perf_counter_ns
from typing import Any, Literal, NamedTuple

from core.events import Event

MAX_DEPTH = 64  # causes between an outside event and its farthest effect; more is a loop between actors
MAX_INBOX = 100_000  # outside events that may wait while the bus is busy

SHOWN = 300  # characters of the event that is named in a failure

Fold = Callable[[Any], None]
Decision = Callable[[Any], Iterable[Event]]
Sink = Callable[[int, Any], None]
Placement = Literal["inline", "tasks"]
Timed = Callable[[Event, int], None]
"""Told of each outside event how long it and all its effects took, ns."""


class BusFailed(RuntimeError):  # noqa: N818 - it reads as what happened
    """A listener raised: the bus has stopped, the event that did it is named."""


class Handled(NamedTuple):
    """What an actor has seen."""

    number: int
    last: int  # ts of the newest event


class Route:
    """Who listens to one type of event."""

    __slots__ = ("decisions", "folds", "handled", "hands", "last")

    def __init__(self) -> None:
        self.folds: tuple[Fold, ...] = ()
        self.decisions: tuple[Decision, ...] = ()
        self.hands: tuple[Sink, ...] = ()
        self.handled = 0
        self.last = 0  # ts of the newest one


class Bus:
    """The inline placement; `TaskBus` is the other."""

    def __init__(self, on_failure: Callable[[BusFailed], None] | None = None, timed: Timed | None = None) -> None:
        self.seq = 0
        self._timed = timed
        self.failure: BusFailed | None = None
        self._on_failure = on_failure
        self._routes: dict[type[Event], Route] = {}
        self._taps: tuple[Sink, ...] = ()
        self._after: tuple[Callable[[], None], ...] = ()
        self._inbox: deque[Event] = deque()
        self._to_decide: deque[tuple[int, int, Event, Route]] = deque()
        self._emitting: Event | None = None  # the event that is shown to its folds, taps and hands
        self._busy = False

    # wiring

    def fold(self, kind: type[Event], *folds: Fold) -> None:
        """Change state on every event of `kind`, live and in recovery."""
        self._route(kind).folds += folds

    def on(self, kind: type[Event], *decisions: Decision) -> None:
        """Decide on every event of `kind`, live only."""
        self._route(kind).decisions += decisions

    def hand(self, kind: type[Event], *sinks: Sink) -> None:
        """Give (seq, event) to an edge, live only."""
        self._route(kind).hands += sinks

    def tap(self, *sinks: Sink) -> None:
        """Show (seq, event) of every event, live only."""
        self._taps += sinks

    def after(self, *callbacks: Callable[[], None]) -> None:
        """Call whenever the bus has come to rest."""
        self._after += callbacks

    def routes(self) -> dict[type[Event], Route]:
        """Who listens to what, for the docs and the status page."""
        return self._routes

    def handled(self) -> dict[str, Handled]:
        """Events seen so far, by actor, and when the newest was."""
        found: dict[str, Handled] = {}
        for route in self._routes.values():
            listeners: tuple[Callable[..., Any], ...] = (*route.folds, *route.decisions, *route.hands)
            for actor in {actor_of(listener) for listener in listeners}:
                before = found.get(actor, Handled(0, 0))
                found[actor] = Handled(before.number + route.handled, max(before.last, route.last))
        return found

    def counts(self) -> dict[str, int]:
        """Events seen so far, by name."""
        return {kind.__name__: route.handled for kind, route in self._routes.items()}

    @property
    def depth(self) -> int:
        """Outside events that wait."""
        return len(self._inbox)

    # running

    def publish(self, event: Event) -> None:
        """Sequence `event` and everything it causes, to quiescence. Raises BusFailed once a listener has raised."""
        if self._busy or self.failure is not None:
            self._enqueue(event)
            return
        began = perf_counter_ns() if self._timed is not None else 0
        self._busy = True
        try:
            self._cascade(event)
            while self._inbox:
                self._cascade(self._inbox.popleft())
        finally:
            self._busy = False
        if self._after:
            self._rest(event)
        if self._timed is not None:
            self._timed(event, perf_counter_ns() - began)

    @property
    def at_rest(self) -> bool:
        """Whether nothing that was published is under way."""
        return not (self._busy or self._inbox)

    async def settled(self) -> None:
        """Return once everything published so far has run its course; inline that is always so."""

    def replay(self, seq: int, event: Event) -> None:
        """Fold an event that was sequenced before: nobody decides, nobody is handed anything."""
        assert seq > self.seq, f"event {seq} was folded already, the bus is at {self.seq}"
        self.seq = seq
        for fold in self._route(type(event)).folds:
            fold(event)

    def _enqueue(self, event: Event) -> None:
        """Let an event wait for its turn."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)  # of the first time: each raise would add to it
        if len(self._inbox) >= MAX_INBOX:
            self._fail(self.seq, event, OverflowError(f"{MAX_INBOX:,} outside events wait"))
        self._inbox.append(event)

    def _cascade(self, event: Event) -> None:
        seq = self.seq + 1
        try:
            self._emit(0, event)
            while self._to_decide:
                depth, seq, event, route = self._to_decide.popleft()
                for decide in route.decisions:
                    for effect in decide(event):
                        self._emit(depth, effect)
        except Exception as error:  # noqa: BLE001 - whatever it was, trading ends here
            self._fail(seq, event, error)

    def _emit(self, depth: int, event: Event) -> None:
        route = self._routes.get(type(event)) or self._route(type(event))
        self.seq = seq = self.seq + 1
        self._emitting = event
        route.handled += 1
        route.last = event.ts
        for fold in route.folds:
            fold(event)
        for tap in self._taps:
            tap(seq, event)
        for hand in route.hands:
            hand(seq, event)
        if route.decisions:
            self._defer(depth, event, route)
        self._emitting = None

    def _defer(self, depth: int, event: Event, route: Route) -> None:
        if depth >= MAX_DEPTH:
            raise RecursionError(f"effects are {MAX_DEPTH} causes deep: two actors answer each other")
        self._to_decide.append((depth + 1, self.seq, event, route))

    def _rest(self, event: Event) -> None:
        """Call those who wait for rest; `event` is the last one from outside."""
        try:
            for callback in self._after:
                callback()
        except Exception as error:  # noqa: BLE001 - a timer or snapshot that fails must not go unnoticed either
            self._fail(self.seq, event, error)

    def _fail(self, seq: int, event: Event, error: Exception) -> None:
        """Stop at the event that was being emitted, else at the one that was being decided on."""
        self._to_decide.clear()
        if self.failure is not None:  # a listener that published too much, or in vain: the first failure counts
            raise self.failure
        if self._emitting is not None:
            seq, event = self.seq, self._emitting
        named = shorten(str(event), SHOWN, placeholder=" ...")
        self.failure = BusFailed(f"event {seq}, {named}: {type(error).__name__}: {error}")
        self.failure.__cause__ = error
        if self._on_failure is not None:
            self._on_failure(self.failure)
        raise self.failure from error

    def _route(self, kind: type[Event]) -> Route:
        return self._routes.setdefault(kind, Route())


class TaskBus(Bus):
    """Every actor in a task of its own, in lockstep: the next step begins when the last one has answered."""

    def __init__(self, on_failure: Callable[[BusFailed], None] | None = None, timed: Timed | None = None) -> None:
        super().__init__(on_failure, timed)
        self._mailboxes: dict[str, asyncio.Queue[tuple[Callable[[Any], Any], Any, asyncio.Future[Any]]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._published = self._done = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()  # for so many to be done

    def publish(self, event: Event) -> None:
        """Queue `event` for the sequencer's task; its effects come later."""
        self._enqueue(event)
        self._published += 1
        self._wake.set()

    async def settled(self) -> None:
        """Return once everything published so far has run its course; raises BusFailed where it never will."""
        if self.failure is None and self._done < self._published:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((self._published, done))
            await done
        if self.failure is not None:
            raise self.failure

    def _let_go(self, done: float) -> None:
        while self._waiting and self._waiting[0][0] <= done:
            _, waiting = self._waiting.popleft()
            if not waiting.done():  # who waited has gone
                waiting.set_result(None)

    async def run(self) -> None:
        """Sequence what is published, for ever."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._busy = True
                while self._inbox:
                    event = self._inbox.popleft()
                    began = perf_counter_ns()
                    await self._cascade_in_lockstep(event)
                    if not self._inbox:
                        self._rest(event)
                    if self._timed is not None:
                        self._timed(event, perf_counter_ns() - began)
                    self._done += 1
                    self._busy = bool(self._inbox)
                    self._let_go(self._done)
                self._busy = False
        finally:
            self._let_go(inf)
            for task in self._tasks:
                task.cancel()

    async def _cascade_in_lockstep(self, event: Event) -> None:
        seq = self.seq + 1
        try:
            await self._emit_in_lockstep(0, event)
            while self._to_decide:
                depth, seq, event, route = self._to_decide.popleft()
                for decide in route.decisions:
                    effects = await self._ask(decide, event, to=actor_of(decide))
                    steps: Iterator[Event] = iter(effects)
                    while (effect := await self._ask(_next, steps, to=actor_of(decide))) is not None:
                        await self._emit_in_lockstep(depth, effect)
        except Exception as error:  # noqa: BLE001 - as in the inline placement
            self._fail(seq, event, error)

    async def _emit_in_lockstep(self, depth: int, event: Event) -> None:
        route = self._route(type(event))
        self.seq = seq = self.seq + 1
        self._emitting = event
        route.handled += 1
        route.last = event.ts
        for fold in route.folds:
            await self._ask(fold, event, to=actor_of(fold))
        for tap in self._taps:
            tap(seq, event)
        for hand in route.hands:
            hand(seq, event)
        if route.decisions:
            self._defer(depth, event, route)
        self._emitting = None

    async def _ask(self, do: Callable[[Any], Any], what: Any, *, to: str) -> Any:  # noqa: ANN401 - whatever it returns
        if to not in self._mailboxes:
            self._mailboxes[to] = asyncio.Queue(maxsize=1)  # lockstep: one question at a time
            self._tasks.append(asyncio.create_task(self._act(to), name=to))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._mailboxes[to].put_nowait((do, what, answer))
        return await answer

    async def _act(self, name: str) -> None:
        while True:
            do, what, answer = await self._mailboxes[name].get()
            try:
                answer.set_result(do(what))
            except StopIteration as error:  # which no future can carry
                answer.set_exception(RuntimeError(f"{name} raised {error!r}"))
            except Exception as error:  # noqa: BLE001 - the sequencer raises it
                answer.set_exception(error)


def _next(effects: Iterator[Event]) -> Event | None:
    return next(effects, None)


def actor_of(listener: Callable[..., Any]) -> str:
    """The name of the actor that a listener belongs to."""
    return type(getattr(listener, "__self__", listener)).__name__.lower()
