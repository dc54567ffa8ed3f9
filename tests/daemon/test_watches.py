"""A journal that is away or slow, and a market that is silent, pause trading and let it go: in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from adapters.gateway import Gateway
from core.causes import BACKLOG, FEED, JOURNAL
from core.events import AccountReported, VenueAway
from core.instruments import Instrument, Instruments
from core.units import NS_PER_S
from daemon.clock import SimulatedClock, simulated_loop
from daemon.metrics import BUCKETS_S, Histogram
from daemon.watches import CALM_S, LOOP_LOOK_S, SLOW_S, AccountWatch, BooksWatch, FeedWatch, JournalWatch, LoopWatch
from tests.builders import clock as new_york
from tests.fakes.gateway import ScriptedGateway


class Told:
    """In the place of `daemon.halts.Halts`."""

    def __init__(self) -> None:
        self.acts: list[tuple[str, ...]] = []

    def away(self, cause: str, text: str) -> None:
        self.acts.append(("away", cause, text))

    def back(self, cause: str) -> None:
        self.acts.append(("back", cause))


class Store:
    """In the place of the journal."""

    age_s = 0.0
    trouble = ""


WAITED = ("away", BACKLOG, "an event has waited 260 ms for the database")


@pytest.mark.parametrize(
    "look,told",
    [
        ((0.0, ""), [("back", JOURNAL), ("back", BACKLOG)]),
        ((SLOW_S, ""), [("back", JOURNAL)]),  # neither calm nor too slow
        ((CALM_S, ""), [("back", JOURNAL)]),
        ((SLOW_S + 0.01, ""), [("back", JOURNAL), WAITED]),
        ((0.0, "the server is gone"), [("away", JOURNAL, "the server is gone"), ("back", BACKLOG)]),
        ((SLOW_S + 0.01, "the server is gone"), [("away", JOURNAL, "the server is gone"), WAITED]),
    ],
)
def test_the_journal(look: tuple[float, str], told: list[tuple[str, ...]]) -> None:
    store, halts = Store(), Told()
    store.age_s, store.trouble = look
    JournalWatch(store, halts).look()  # type: ignore[arg-type]
    assert halts.acts == told


def watch_feed(start: int, act: Callable[[list[int]], Awaitable[None]], calendar: str = "XNYS") -> list[str]:
    """What the watch tells while `act` plays market data (appends to the list)."""
    clock, halts, played = SimulatedClock(start), Told(), [0]
    loop = simulated_loop(clock)

    async def scene() -> None:
        watch = FeedWatch(
            Instruments([Instrument(symbol="A", calendar=calendar)]),
            halts,  # type: ignore[arg-type]
            age_s_max=60.0,
            now=clock.now,
            played=lambda: len(played),
        )
        task = asyncio.create_task(watch.run())
        await act(played)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()
    return [" ".join([act[0], *act[2:]]) for act in halts.acts if act[1] == FEED]


def test_a_feed_that_speaks_is_never_away() -> None:
    async def act(played: list[int]) -> None:
        for _ in range(10):
            await asyncio.sleep(30)
            played.append(0)

    assert set(watch_feed(new_york(10), act)) == {"back"}


def test_a_silent_feed_is_away_in_session_until_it_speaks() -> None:
    async def act(played: list[int]) -> None:
        await asyncio.sleep(65)
        played.append(0)
        await asyncio.sleep(2)

    told = watch_feed(new_york(10), act)
    assert told[0] == "away no market data for 61 s"
    assert told[-1] == "back"


def test_a_silent_feed_outside_the_session_is_as_it_should_be() -> None:
    async def act(_: list[int]) -> None:
        await asyncio.sleep(3_600)

    assert set(watch_feed(new_york(3), act)) == {"back"}


def test_the_wait_begins_with_the_session() -> None:
    async def act(_: list[int]) -> None:
        await asyncio.sleep(600 + 59)

    assert set(watch_feed(new_york(9, 30) - 600 * NS_PER_S, act)) == {"back"}


def test_the_account_is_asked_for_at_each_venue_again_and_again_and_who_is_away_says_so() -> None:
    clock, heard = SimulatedClock(0), list[tuple[int, str]]()
    loop = simulated_loop(clock)
    gateways: dict[str, Gateway] = {"one": ScriptedGateway("one"), "two": (two := ScriptedGateway("two"))}
    said: list[AccountReported | VenueAway] = []

    def hear(event: AccountReported | VenueAway) -> None:
        heard.append((clock.now() // NS_PER_S, event.venue))
        said.append(event)

    async def compare(venue: str) -> None:
        raise AssertionError(f"{venue} was never away")

    watch = AccountWatch(gateways, hear, clock=clock, every_s=30.0, compare=compare)

    async def scene() -> None:
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(70)
        two.unreachable = ConnectionError("gone")
        with pytest.raises(ConnectionError, match="gone"):
            await task

    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()
    assert heard == [(30, "one"), (30, "two"), (60, "one"), (60, "two"), (90, "one"), (90, "two")]
    assert [type(event).__name__ for event in said[-2:]] == ["AccountReported", "VenueAway"]


async def test_who_was_away_is_compared_with_before_it_counts_as_back() -> None:
    said: list[str] = []
    gateway = ScriptedGateway("one")
    comparing: list[Exception | None] = [ConnectionError("no picture"), None]

    async def compare(venue: str) -> None:
        said.append(f"compare {venue}")
        if (error := comparing.pop(0)) is not None:
            raise error

    watch = AccountWatch(
        {"one": gateway},
        lambda event: said.append(type(event).__name__),
        clock=SimulatedClock(0),
        every_s=30.0,
        compare=compare,
    )
    gateway.unreachable = ConnectionError("gone")
    with pytest.raises(ConnectionError, match="gone"):
        await watch.look()
    assert (said, watch.away) == (["VenueAway"], {"one"})
    said.clear()
    gateway.unreachable = None
    with pytest.raises(ConnectionError, match="no picture"):  # nothing is heard from there before that
        await watch.look()
    assert (said, watch.away) == (["compare one"], {"one"})
    await watch.look()
    await watch.look()
    assert (said[1:], watch.away) == (["compare one", "AccountReported", "AccountReported"], set())


def test_books_are_compared_again_and_again_but_not_with_who_is_away() -> None:
    clock, compared, away = SimulatedClock(0), list[tuple[int, str]](), set[str]()
    loop = simulated_loop(clock)

    async def compare(venue: str) -> None:
        compared.append((clock.now() // NS_PER_S, venue))
        if clock.now() > 120 * NS_PER_S and venue == "one":
            raise ConnectionError("gone")

    watch = BooksWatch(("one", "two"), compare, clock=clock, every_s=60.0, away=away)

    async def scene() -> None:
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(70)
        away.add("one")
        await asyncio.sleep(60)
        away.clear()
        with pytest.raises(ConnectionError, match="gone"):
            await task

    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()
    assert compared == [(60, "one"), (60, "two"), (120, "two"), (180, "one"), (180, "two")]


def test_the_loop_is_late_by_what_kept_it_from_giving_a_turn() -> None:
    clock, late = SimulatedClock(0), Histogram()
    loop = simulated_loop(clock)
    kept_ns = [0, 30_000_000, 0, 2_000_000_000]  # of each turn
    stolen_ns = 0

    def now_ns() -> int:
        return clock.now() + stolen_ns

    async def scene() -> None:
        nonlocal stolen_ns
        task = asyncio.create_task(LoopWatch(late, now_ns).run())
        for each in kept_ns:
            await asyncio.sleep(LOOP_LOOK_S / 2)
            stolen_ns += each
            await asyncio.sleep(LOOP_LOOK_S / 2)
        await asyncio.sleep(LOOP_LOOK_S / 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()
    found = dict(zip((*BUCKETS_S, float("inf")), late.counts, strict=True))
    assert {bound: count for bound, count in found.items() if count} == {BUCKETS_S[0]: 2, 0.05: 1, 5.0: 1}
    assert late.sum_ns == sum(kept_ns)
