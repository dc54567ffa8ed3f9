"""The timer wakes at the earliest due time, publishes only what is due, and never more than once."""

import heapq

from hypothesis import given
from hypothesis import strategies as st

from core.events import TimeAdvanced
from daemon.timers import Timer


class Clock:
    """A clock whose callbacks wait in the open, so that a test can count them."""

    def __init__(self) -> None:
        self.ts = 0
        self.waiting: list[tuple[int, int, object]] = []
        self.asked = 0

    def now(self) -> int:
        return self.ts

    async def sleep_until(self, ts: int) -> None:
        raise NotImplementedError

    def not_before(self, ts: int) -> None:
        raise NotImplementedError

    def call_at(self, ts: int, callback: object) -> None:
        self.asked += 1
        heapq.heappush(self.waiting, (ts, self.asked, callback))

    def advance(self, ts: int) -> None:
        while self.waiting and self.waiting[0][0] <= ts:
            due, _, callback = heapq.heappop(self.waiting)
            self.ts = max(self.ts, due)
            callback()  # type: ignore[operator]
        self.ts = max(self.ts, ts)


class Actor:
    """Wants to be woken at given times; a wake takes all that are due."""

    def __init__(self, *dues: int) -> None:
        self.dues = sorted(dues)

    def next_due(self) -> int | None:
        return self.dues[0] if self.dues else None

    def want(self, ts: int) -> None:
        self.dues = sorted([*self.dues, ts])

    def on_due(self, event: TimeAdvanced) -> None:
        self.dues = [due for due in self.dues if due > event.ts]


class Bench:
    """A timer over actors, with a bus that tells everybody and then comes to rest."""

    def __init__(self, *actors: Actor) -> None:
        self.clock = Clock()
        self.published: list[int] = []
        self.actors = actors
        self.timer = Timer(self.clock, self.publish, *(actor.next_due for actor in actors))

    def publish(self, event: TimeAdvanced) -> None:
        self.published.append(event.ts)
        for actor in self.actors:
            actor.on_due(event)
        self.timer.arm()


def test_it_wakes_at_the_earliest_due_time_of_all_actors() -> None:
    bench = Bench(Actor(30, 70), Actor(20), Actor())
    bench.timer.arm()
    bench.clock.advance(100)
    assert bench.published == [20, 30, 70]
    assert not bench.clock.waiting


def test_nobody_waits_so_nothing_is_asked_of_the_clock() -> None:
    bench = Bench(Actor())
    bench.timer.arm()
    assert bench.clock.asked == 0


def test_arming_again_and_again_asks_the_clock_once() -> None:
    bench = Bench(Actor(30))
    for _ in range(100):
        bench.timer.arm()
    assert bench.clock.asked == 1


def test_a_wake_that_was_overtaken_does_nothing_and_leaves_nothing_behind() -> None:
    actor = Actor(1_000)
    bench = Bench(actor)
    bench.timer.arm()
    for due in range(900, 0, -100):  # each one is earlier than what is armed
        actor.want(due)
        bench.timer.arm()
    bench.clock.advance(1_000)
    assert bench.published == list(range(100, 1_001, 100))
    assert not bench.clock.waiting
    actor.want(2_000)
    bench.timer.arm()
    assert len(bench.clock.waiting) == 1


def test_a_due_time_that_is_gone_when_its_wake_comes_publishes_nothing() -> None:
    actor = Actor(10)
    bench = Bench(actor)
    bench.timer.arm()
    actor.dues = [40]
    bench.clock.advance(20)
    assert bench.published == []
    bench.clock.advance(50)
    assert bench.published == [40]


def test_a_bus_that_answers_later_is_told_once_and_not_again_and_again() -> None:
    actor, clock = Actor(10), Clock()
    published: list[TimeAdvanced] = []
    timer = Timer(clock, published.append, actor.next_due)
    timer.arm()
    clock.advance(10)
    clock.advance(10)
    assert published == [TimeAdvanced(ts=10)]
    actor.on_due(published[0])
    actor.want(30)
    timer.arm()  # the bus has come to rest
    clock.advance(30)
    assert published == [TimeAdvanced(ts=10), TimeAdvanced(ts=30)]


def test_a_time_that_has_passed_is_published_at_once() -> None:
    bench = Bench(Actor(5))
    bench.clock.ts = 60
    bench.timer.arm()
    bench.clock.advance(60)
    assert bench.published == [60]


def test_a_closed_timer_publishes_nothing() -> None:
    bench = Bench(Actor(10))
    bench.timer.arm()
    bench.timer.close()
    bench.clock.advance(100)
    assert bench.published == []
    assert not bench.clock.waiting


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 30)), max_size=40))
def test_every_due_time_is_met_exactly_and_the_clock_is_asked_no_more_than_needed(steps: list[tuple[int, int]]) -> None:
    actor = Actor()
    bench = Bench(actor)
    met: list[int] = []
    for pause, ahead in steps:
        bench.clock.advance(bench.clock.ts + pause)
        actor.want(bench.clock.ts + ahead)
        met.append(bench.clock.ts + ahead)
        bench.timer.arm()
    bench.clock.advance(1_000)
    assert set(bench.published) == set(met)
    assert bench.published == sorted(bench.published)
    assert not bench.clock.waiting
    assert bench.clock.asked <= 2 * len(steps)
