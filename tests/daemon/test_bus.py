"""The bus: who hears of an event in which order, what a cascade may see of itself, and how it stops."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.events import Event
from daemon import bus as bus_module
from daemon.bus import MAX_DEPTH, Bus, BusFailed, TaskBus, actor_of

Trace = list[tuple[int, Event]]


class Red(Event, frozen=True, tag=True):
    n: int


class Green(Event, frozen=True, tag=True):
    n: int


class Blue(Event, frozen=True, tag=True):
    n: int


def red(n: int = 0) -> Red:
    return Red(ts=1, n=n)


def green(n: int = 0) -> Green:
    return Green(ts=1, n=n)


def blue(n: int = 0) -> Blue:
    return Blue(ts=1, n=n)


def trace_of(bus: Bus) -> Trace:
    trace: Trace = []
    bus.tap(lambda seq, event: trace.append((seq, event)))
    return trace


async def run_in_tasks(build: Callable[[TaskBus], None], outside: Iterable[Event]) -> Trace:
    bus = TaskBus()
    build(bus)
    trace = trace_of(bus)
    sequencer = asyncio.create_task(bus.run())
    for event in outside:
        bus.publish(event)
        while not bus.at_rest:
            await bus.settled()
    sequencer.cancel()
    await asyncio.gather(sequencer, return_exceptions=True)
    return trace


def test_an_event_is_folded_then_tapped_then_handed_over_then_decided_on() -> None:
    calls: list[str] = []
    bus = Bus()

    def decide(name: str) -> Callable[[Event], Iterable[Event]]:
        def decision(event: Event) -> Iterable[Event]:
            calls.append(name)
            return ()

        return decision

    bus.on(Red, decide("decision 1"), decide("decision 2"))
    bus.hand(Red, lambda seq, event: calls.append(f"hand {seq}"))
    bus.tap(lambda seq, event: calls.append(f"tap {seq}"))
    bus.fold(Red, lambda event: calls.append("fold 1"))
    bus.fold(Red, lambda event: calls.append("fold 2"))
    bus.after(lambda: calls.append("rest"))
    bus.publish(red())
    assert calls == ["fold 1", "fold 2", "tap 1", "hand 1", "decision 1", "decision 2", "rest"]


def test_effects_of_one_event_come_before_the_effects_of_the_next() -> None:
    bus = Bus()
    trace = trace_of(bus)
    bus.on(Red, lambda event: [green(1), green(2)])
    bus.on(Green, lambda event: [blue(event.n * 10), blue(event.n * 10 + 1)])
    bus.publish(red())
    assert [event for _, event in trace] == [red(), green(1), green(2), blue(10), blue(11), blue(20), blue(21)]
    assert [seq for seq, _ in trace] == list(range(1, 8))


class Purse:
    """Spends what it holds, and must see what it has spent although its decision is still running."""

    def __init__(self, held: int) -> None:
        self.held = held

    def spend(self, event: Green) -> None:
        self.held -= event.n

    def on_red(self, event: Red) -> Iterable[Event]:
        while self.held >= event.n:
            yield green(event.n)


class Witness:
    """Another actor, which looks at a purse when it decides."""

    def __init__(self, purse: Purse) -> None:
        self.purse = purse
        self.seen: list[int] = []

    def watch(self, event: Green) -> None:
        self.seen.append(self.purse.held)


@pytest.mark.parametrize("placement", ["inline", "tasks"])
async def test_a_decision_that_yields_twice_sees_its_first_effect_folded(placement: str) -> None:
    purse = Purse(7)
    witness = Witness(purse)

    def build(bus: Bus) -> None:
        bus.fold(Green, purse.spend, witness.watch)
        bus.on(Red, purse.on_red)

    if placement == "tasks":
        trace = await run_in_tasks(build, [red(3), red(3)])
    else:
        bus = Bus()
        build(bus)
        trace = trace_of(bus)
        bus.publish(red(3))
        bus.publish(red(3))
    assert [event for _, event in trace] == [red(3), green(3), green(3), red(3)]
    assert purse.held == 1
    assert witness.seen == [4, 1]


def test_the_next_decision_on_the_same_event_sees_what_the_first_one_emitted() -> None:
    purse = Purse(5)
    bus = Bus()
    bus.fold(Green, purse.spend)
    bus.on(Red, purse.on_red, purse.on_red)
    trace = trace_of(bus)
    bus.publish(red(3))
    assert [event for _, event in trace] == [red(3), green(3)]


def test_a_listener_that_publishes_only_enqueues() -> None:
    bus = Bus()
    trace = trace_of(bus)
    bus.hand(Red, lambda seq, event: bus.publish(blue()))
    bus.on(Red, lambda event: [green()])
    bus.on(Green, lambda event: [green(event.n + 1)] if event.n < 2 else [])
    bus.publish(red())
    assert [event for _, event in trace] == [red(), green(0), green(1), green(2), blue()]


def test_rest_comes_once_after_everything_that_listeners_published() -> None:
    bus = Bus()
    seen: list[int] = []
    bus.hand(Red, lambda seq, event: bus.publish(blue()))
    bus.after(lambda: seen.append(bus.seq))
    bus.publish(red())
    assert seen == [2]


def chain(bus: Bus, length: int) -> None:
    bus.on(Red, lambda event: [red(event.n + 1)] if event.n < length else [])


def test_a_cascade_may_be_as_deep_as_the_bound() -> None:
    bus = Bus()
    chain(bus, MAX_DEPTH - 1)
    bus.publish(red())
    assert bus.seq == MAX_DEPTH


@pytest.mark.parametrize("length", [MAX_DEPTH, 10 * MAX_DEPTH])
def test_two_actors_that_answer_each_other_stop_the_bus(length: int) -> None:
    bus = Bus()
    chain(bus, length)
    with pytest.raises(BusFailed, match=f"RecursionError: effects are {MAX_DEPTH} causes deep"):
        bus.publish(red())
    assert bus.seq == MAX_DEPTH + 1


def test_a_wide_cascade_is_not_a_deep_one() -> None:
    bus = Bus()
    bus.on(Red, lambda event: [green(n) for n in range(1_000)])
    bus.on(Green, lambda event: [blue()])
    bus.publish(red())
    assert bus.seq == 2_001


def boom(*_: object) -> Any:  # noqa: ANN401 - stands for any listener
    raise ZeroDivisionError("boom")


def plant(bus: Bus, where: str) -> None:
    """Let a Green, caused by the Red, be what breaks."""
    bus.on(Red, lambda event: [green(7)])
    if where == "fold":
        bus.fold(Green, boom)
    elif where == "tap":
        bus.tap(lambda seq, event: boom() if type(event) is Green else None)
    elif where == "hand":
        bus.hand(Green, boom)
    elif where == "decision":
        bus.on(Green, boom)
    else:
        bus.on(Green, lambda event: (boom() for _ in range(1)))


PLACES = ["fold", "tap", "hand", "decision", "half a decision"]


@pytest.mark.parametrize("where", PLACES)
def test_a_listener_that_raises_stops_the_bus_and_names_the_event(where: str) -> None:
    failures: list[BusFailed] = []
    bus = Bus(failures.append)
    plant(bus, where)
    with pytest.raises(BusFailed, match=r"^event 2, Green\(n=7, ts=1\): ZeroDivisionError: boom$") as raised:
        bus.publish(red())
    assert failures == [raised.value]
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    with pytest.raises(BusFailed, match="event 2, Green"):
        bus.publish(blue())
    assert bus.seq == 2
    assert len(failures) == 1


def test_a_decision_that_fails_late_is_named_by_its_own_event_and_not_by_its_effects() -> None:
    def decide(event: Green) -> Iterable[Event]:
        yield blue()
        if event.n == 2:
            boom()

    bus = Bus()
    bus.on(Red, lambda event: [green(1), green(2), green(3)])
    bus.on(Green, decide)
    with pytest.raises(BusFailed, match=r"^event 3, Green\(n=2, ts=1\): "):
        bus.publish(red())
    assert bus.seq == 6


@pytest.mark.parametrize("where", PLACES)
async def test_a_failure_in_a_task_reaches_on_failure_and_nobody_waits_for_ever(where: str) -> None:
    failures: list[BusFailed] = []
    bus = TaskBus(failures.append)
    plant(bus, where)
    sequencer = asyncio.create_task(bus.run())
    bus.publish(red())
    async with asyncio.timeout(5):
        with pytest.raises(BusFailed, match=r"event 2, Green.*ZeroDivisionError: boom"):
            await bus.settled()
        with pytest.raises(BusFailed):
            await sequencer
    assert [str(failure) for failure in failures] == ["event 2, Green(n=7, ts=1): ZeroDivisionError: boom"]
    with pytest.raises(BusFailed):
        bus.publish(blue())
    with pytest.raises(BusFailed):
        await bus.settled()


async def test_what_is_published_later_keeps_nobody_waiting() -> None:
    """A bus that is never at rest settles all the same what was published before."""
    bus = TaskBus()
    bus.on(Blue, lambda event: [])
    bus.after(lambda: None)
    bus.hand(Blue, lambda seq, event: bus.publish(blue(seq)))  # for ever
    sequencer = asyncio.create_task(bus.run())
    bus.publish(blue())
    async with asyncio.timeout(5):
        for _ in range(3):
            await bus.settled()
    assert not bus.at_rest
    sequencer.cancel()
    await asyncio.gather(sequencer, return_exceptions=True)


async def test_a_fold_that_runs_out_of_an_iterator_does_not_hang_its_task() -> None:
    bus = TaskBus()
    bus.fold(Red, lambda event: next(iter(())))
    sequencer = asyncio.create_task(bus.run())
    bus.publish(red())
    async with asyncio.timeout(5):
        with pytest.raises(BusFailed, match=r"event 1, Red.*StopIteration"):
            await sequencer


@pytest.mark.parametrize("placement", [Bus, TaskBus])
async def test_what_is_called_at_rest_may_not_fail_unnoticed(placement: type[Bus]) -> None:
    failures: list[BusFailed] = []
    bus = placement(failures.append)
    bus.after(boom)
    if isinstance(bus, TaskBus):
        bus.publish(red())
        with pytest.raises(BusFailed, match=r"event 1, Red.*boom"):
            await bus.run()
    else:
        with pytest.raises(BusFailed, match=r"event 1, Red.*boom"):
            bus.publish(red())
    assert len(failures) == 1
    with pytest.raises(BusFailed):
        bus.publish(red())


def test_more_outside_events_than_may_wait_stop_the_bus_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "MAX_INBOX", 3)
    failures: list[BusFailed] = []
    bus = Bus(failures.append)

    def flood(seq: int, event: Event) -> None:
        for n in range(4):
            bus.publish(blue(n))

    bus.hand(Red, flood)
    with pytest.raises(BusFailed, match=r"event 1, Red.*OverflowError: 3 outside events wait"):
        bus.publish(red())
    assert len(failures) == 1


def test_replay_folds_and_does_nothing_else() -> None:
    bus = Bus()
    folded: list[Event] = []
    bus.fold(Red, folded.append)
    bus.on(Red, boom)
    bus.hand(Red, boom)
    bus.tap(boom)
    bus.after(boom)
    bus.replay(4, red(1))
    bus.replay(9, red(2))
    bus.replay(10, blue())
    assert folded == [red(1), red(2)]
    assert bus.seq == 10


def test_replay_refuses_an_event_that_was_folded_already() -> None:
    bus = Bus()
    bus.replay(4, red())
    with pytest.raises(AssertionError, match="event 4 was folded already, the bus is at 4"):
        bus.replay(4, red())


def test_sequence_goes_on_behind_what_was_replayed() -> None:
    bus = Bus()
    bus.replay(41, red())
    trace = trace_of(bus)
    bus.publish(blue())
    assert trace == [(42, blue())]


def test_handled_counts_each_event_once_for_each_actor_that_hears_it() -> None:
    purse = Purse(1)
    witness = Witness(purse)
    bus = Bus()
    bus.fold(Green, purse.spend, witness.watch)
    bus.on(Red, purse.on_red, purse.on_red)
    bus.publish(red(1))
    bus.publish(blue())
    assert {name: seen.number for name, seen in bus.handled().items()} == {"purse": 2, "witness": 1}
    assert actor_of(purse.spend) == "purse"


async def test_settled_returns_at_once_where_nothing_was_published() -> None:
    await Bus().settled()
    await TaskBus().settled()


async def test_settled_waits_for_everything_and_for_what_listeners_published() -> None:
    bus = TaskBus()
    bus.hand(Green, lambda seq, event: bus.publish(blue()))
    bus.on(Red, lambda event: [green()])
    trace = trace_of(bus)
    sequencer = asyncio.create_task(bus.run())
    bus.publish(red())
    assert trace == []
    await bus.settled()
    assert [event for _, event in trace] == [red(), green(), blue()]
    sequencer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sequencer


async def test_an_outside_event_waits_until_all_mailboxes_are_empty() -> None:
    bus = TaskBus()
    bus.on(Red, lambda event: [green(event.n)])
    bus.on(Green, lambda event: [blue(event.n)])
    trace = trace_of(bus)
    sequencer = asyncio.create_task(bus.run())
    bus.publish(red(1))
    while not trace:
        await asyncio.sleep(0)
    bus.publish(red(2))  # in the midst of the first cascade
    await bus.settled()
    assert [event for _, event in trace] == [red(1), green(1), blue(1), red(2), green(2), blue(2)]
    sequencer.cancel()
    await asyncio.gather(sequencer, return_exceptions=True)


# Any graph of actors -------------------------------------------------------------------------------------------------

KINDS: list[type[Red | Green | Blue]] = [Red, Green, Blue]
RULE = st.tuples(st.integers(0, 2), st.booleans())  # an effect's kind, and whether it depends on what was folded
NODE = st.tuples(
    st.sets(st.integers(0, 2)),  # kinds that it folds
    st.dictionaries(st.integers(0, 2), st.lists(RULE, max_size=2), max_size=2),  # kind decided on -> effects
    st.sets(st.integers(0, 2), max_size=1),  # kinds at which it publishes by itself
)
Node = tuple[set[int], dict[int, list[tuple[int, bool]]], set[int]]


class Actor:
    """Counts what it folds; what it answers depends on the count at the moment of each effect."""

    def __init__(self, bus: Bus, spec: Node) -> None:
        self.count = 0
        self.bus = bus
        folds, self.rules, publishes = spec
        for kind in folds:
            bus.fold(KINDS[kind], self.fold)
        for kind in self.rules:
            bus.on(KINDS[kind], self.decide)
        for kind in publishes:
            bus.hand(KINDS[kind], self.publish)

    def fold(self, event: Red | Green | Blue) -> None:
        self.count += event.n

    def decide(self, event: Red | Green | Blue) -> Iterable[Event]:
        if event.n:
            for kind, depends in self.rules[KINDS.index(type(event))]:
                if not depends or self.count % 2:
                    yield KINDS[kind](ts=self.count, n=event.n - 1)

    def publish(self, seq: int, event: Red | Green | Blue) -> None:
        if event.n > 1:
            self.bus.publish(Blue(ts=seq, n=event.n - 2))


def graph(nodes: list[Node]) -> Callable[[Bus], None]:
    def build(bus: Bus) -> None:
        for number, spec in enumerate(nodes):
            type(f"Actor{number}", (Actor,), {})(bus, spec)

    return build


def run_inline(build: Callable[[Bus], None], outside: Iterable[Event]) -> Trace:
    bus = Bus()
    build(bus)
    trace = trace_of(bus)
    for event in outside:
        bus.publish(event)
    return trace


@settings(max_examples=60)
@given(st.lists(NODE, min_size=1, max_size=4), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=4))
def test_both_placements_give_the_same_sequence(nodes: list[Node], inputs: list[tuple[int, int]]) -> None:
    outside = [KINDS[kind](ts=0, n=n) for kind, n in inputs]
    inline = run_inline(graph(nodes), outside)
    assert asyncio.run(run_in_tasks(graph(nodes), outside)) == inline
    assert [seq for seq, _ in inline] == list(range(1, len(inline) + 1))


@settings(max_examples=60)
@given(st.lists(NODE, min_size=1, max_size=4), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=4))
def test_replaying_a_trace_gives_the_state_that_made_it(nodes: list[Node], inputs: list[tuple[int, int]]) -> None:
    def build(bus: Bus) -> list[Actor]:
        return [type(f"Actor{number}", (Actor,), {})(bus, spec) for number, spec in enumerate(nodes)]

    live, recovered = Bus(), Bus()
    actors, again = build(live), build(recovered)
    trace = trace_of(live)
    for kind, n in inputs:
        live.publish(KINDS[kind](ts=0, n=n))
    for seq, event in trace:
        recovered.replay(seq, event)
    assert [actor.count for actor in again] == [actor.count for actor in actors]
    assert recovered.seq == live.seq
