"""Stopping, letting go, and pauses that end by themselves: in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from core.causes import (
    BACKLOG,
    CAUSES,
    DAILY_LOSS,
    JOURNAL,
    KILL,
    REDIS,
    REJECTS,
    STARTUP,
    Release,
    TradingState,
    WorkingOrders,
)
from core.events import Event, TimeAdvanced, TradingHalted, TradingResumed, encode
from core.trading import halted
from core.units import NS_PER_S
from daemon.bus import Bus
from daemon.clock import SimulatedClock, simulated_loop
from daemon.halts import RETRY_S, Halts, HaltSettings, Heard, Refused
from daemon.standing import Standing

AFTER_S = 30.0
RECALL = TimeAdvanced(ts=0)  # stands for the request to cancel everything


class Memory(Standing):
    """What would be on disk."""

    def __init__(self) -> None:
        self.stands: TradingHalted | None = None
        self.full = False

    async def put(self, halt: TradingHalted) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.stands = halt

    def clear(self) -> None:
        if self.full:
            raise OSError(30, "Read-only file system")
        self.stands = None


class Desk:
    """Halts on a bus of their own; `problems` are what reconciliations raise, one after the other."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.bus = Bus()
        self.trace: list[Event] = []
        self.problems: list[Exception] = []
        self.reconciled_s: list[float] = []
        self.obstacle = ""
        self.meanwhile: Awaitable[object] | None = None  # what happens during the next reconciliation
        self.standing = Memory()
        self.on_record = asyncio.Event()
        self.on_record.set()
        self.halts = Halts(
            HaltSettings(release_after_s=AFTER_S),
            clock=clock,
            bus=self.bus,
            recall=lambda: self.trace.append(RECALL),
            reconcile=self.reconcile,
            durable=self.durable,
            obstacles=[lambda: self.obstacle],
            standing=self.standing,
        )
        self.bus.fold(TradingHalted, self.halts.halt)
        self.bus.fold(TradingResumed, self.halts.resume)
        self.bus.tap(lambda _, event: self.trace.append(event))

    async def durable(self) -> None:
        await self.on_record.wait()

    async def resume_while(
        self, meanwhile: Awaitable[object], said: str = "halted or resumed trading this moment"
    ) -> None:
        """Ask to resume; what happens while the venues are asked must have it refused."""
        self.meanwhile = meanwhile
        with pytest.raises(Refused, match=said):
            await self.halts.resume_trading("ann")

    async def reconcile(self) -> None:
        self.reconciled_s.append(self.clock.now() / NS_PER_S)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await asyncio.sleep(1)
            await meanwhile
        if self.problems:
            raise self.problems.pop(0)

    def said(self) -> list[str]:
        """What happened, each with its second."""
        return [
            f"{event.ts / NS_PER_S:g} {'halted' if isinstance(event, TradingHalted) else 'resumed'} {event.cause}"
            for event in self.trace
            if isinstance(event, TradingHalted | TradingResumed)
        ]

    @property
    def admits(self) -> bool:
        return self.halts._admitted.is_set()


def run(scene: Callable[[Desk], Awaitable[None]]) -> Desk:
    clock = SimulatedClock(0)
    loop = simulated_loop(clock)

    async def act() -> Desk:
        desk = Desk(clock)
        await scene(desk)
        desk.halts.close()
        await asyncio.sleep(0)
        return desk

    try:
        return loop.run_until_complete(act())
    finally:
        loop.close()


# Kills ----------------------------------------------------------------------------------------------------------------


def test_a_kill_takes_everything_back_and_says_who_and_why() -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("enough", by="ann (1000)")

    assert run(scene).trace == [
        RECALL,  # before all else
        TradingHalted(
            ts=0,
            cause=KILL,
            state=TradingState.HALTED,
            working=WorkingOrders.CANCEL_ALL,
            by="ann (1000)",
            text="enough",
        ),
    ]


def test_a_kill_never_ends_by_itself_and_keeps_no_signal_waiting() -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("enough")
        assert desk.admits  # what comes is denied and on record; it must not act when somebody resumes
        await asyncio.sleep(86_400)

    assert run(scene).said() == ["0 halted kill"]


def test_somebody_resumes_after_the_venues_were_asked() -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("enough")
        await asyncio.sleep(5)
        await desk.halts.resume_trading("ann")

    desk = run(scene)
    assert desk.said() == ["0 halted kill", "5 resumed kill"]
    assert desk.reconciled_s == [5]
    assert desk.trace[-1] == TradingResumed(ts=5 * NS_PER_S, cause=KILL, by="ann")


@pytest.mark.parametrize(
    "spoil,said",
    [
        (lambda desk: setattr(desk, "obstacle", "the key is still set"), "the key is still set"),
        (
            lambda desk: desk.problems.append(OSError("no route")),
            "not everybody can be asked how things stand: no route",
        ),
    ],
)
def test_resume_is_refused_while_something_is_in_the_way(spoil: Callable[[Desk], object], said: str) -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("enough")
        spoil(desk)
        with pytest.raises(Refused, match=said):
            await desk.halts.resume_trading("ann")

    assert run(scene).said() == ["0 halted kill"]


def test_resume_is_refused_where_nobody_halted_and_says_what_holds_trading_back() -> None:
    async def scene(desk: Desk) -> None:
        with pytest.raises(Refused, match="what holds it back: nothing"):
            await desk.halts.resume_trading("ann")
        desk.halts.away(REDIS, "gone")
        with pytest.raises(Refused, match="what holds it back: redis"):
            await desk.halts.resume_trading("ann")

    run(scene)


def test_resume_ends_whatever_is_an_operators_to_end_and_nothing_else() -> None:
    async def scene(desk: Desk) -> None:
        desk.bus.publish(halted(REJECTS, desk.clock.now(), text="3 of them"))
        desk.bus.publish(halted(DAILY_LOSS, desk.clock.now(), text="too much"))
        await desk.halts.resume_trading("ann")

    assert run(scene).said() == ["0 halted rejects", "0 halted daily_loss", "0 resumed rejects"]


def test_what_trips_while_the_venues_are_asked_is_not_undone_by_the_answer() -> None:
    async def scene(desk: Desk) -> None:
        async def trip() -> None:
            desk.bus.publish(halted(REJECTS, desk.clock.now(), text="3 of them"))

        await desk.halts.kill("enough")
        desk.meanwhile = trip()
        await desk.halts.resume_trading("ann")

    assert run(scene).said() == ["0 halted kill", "1 halted rejects", "1 resumed kill"]


def test_a_halt_that_comes_while_the_venues_are_asked_is_not_undone_by_the_answer() -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("first")
        await desk.resume_while(desk.halts.kill("second"))
        assert desk.halts.live[KILL].text == "second"
        await desk.halts.resume_trading("ann")

    assert run(scene).said() == ["0 halted kill", "0 halted kill", "1 resumed kill"]


def test_a_halt_that_is_not_even_folded_is_not_undone() -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("first")

        async def at_the_last_moment() -> None:
            desk.halts.kill("second")  # nobody has waited for it yet

        await desk.resume_while(at_the_last_moment())
        await asyncio.sleep(0.1)
        assert desk.halts.live[KILL].text == "second"

    run(scene)


def test_an_obstacle_that_appears_while_the_venues_are_asked_is_one() -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("first")

        async def set_key() -> None:
            desk.obstacle = "the key is set"

        await desk.resume_while(set_key(), said="the key is set")

    assert run(scene).said() == ["0 halted kill"]


# Over a restart -------------------------------------------------------------------------------------------------------


def test_a_kill_is_on_disk_until_its_end_is_on_record() -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("enough", by="ann (1000)")
        assert desk.standing.stands == kill("enough", by="ann (1000)")
        desk.on_record.clear()
        await desk.halts.resume_trading("ann")
        await asyncio.sleep(1)
        assert desk.standing.stands is not None
        desk.on_record.set()
        await desk.halts.resumed()
        assert desk.standing.stands is None

    run(scene)


def test_a_kill_that_comes_before_the_end_of_the_last_one_is_on_record_stays_on_disk() -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("first")
        desk.on_record.clear()
        await desk.halts.resume_trading("ann")
        await desk.halts.kill("second")
        desk.on_record.set()
        await asyncio.sleep(1)
        assert desk.standing.stands == kill("second")

    run(scene)


def test_a_disk_that_takes_nothing_neither_fails_a_halt_nor_its_end() -> None:
    async def scene(desk: Desk) -> None:
        desk.standing.full = True
        await desk.halts.kill("enough")
        assert KILL in desk.halts.live
        await desk.halts.resume_trading("ann")
        await desk.halts.resumed()

    assert run(scene).said() == ["0 halted kill", "0 resumed kill"]


def kill(text: str, by: str = "") -> TradingHalted:
    return halted(KILL, 0, text=text, by=by)


async def test_several_may_halt_at_once(tmp_path: Path) -> None:
    standing = Standing(tmp_path / "halted.json")
    await asyncio.gather(*(standing.put(kill(str(number))) for number in range(50)))
    assert standing.get(0) in [kill(str(number)) for number in range(50)]


async def test_what_stands_is_read_back_also_where_it_cannot_be_read(tmp_path: Path) -> None:
    standing = Standing(tmp_path / "halted.json")
    assert standing.get(7) is None
    await standing.put(kill("enough", by="ann"))
    assert standing.get(7) == halted(KILL, 7, text="enough", by="ann")
    for content, said in ((b"", " cannot be read: "), (encode(TimeAdvanced(ts=1)), " holds no halt")):
        (tmp_path / "halted.json").write_bytes(content)
        torn = standing.get(7)
        assert torn is not None
        assert (torn.cause, torn.text.startswith(f"{tmp_path / 'halted.json'}{said}")) == (KILL, True)
    standing.clear()
    standing.clear()
    assert standing.get(7) is None


# Pauses ---------------------------------------------------------------------------------------------------------------


def test_a_pause_ends_by_itself_a_while_after_contact_and_after_a_look_at_the_venues() -> None:
    async def scene(desk: Desk) -> None:
        desk.halts.away(REDIS, "silent")
        assert not desk.admits
        await asyncio.sleep(10)
        desk.halts.back(REDIS)
        await asyncio.sleep(AFTER_S - 1)
        assert not desk.admits
        await asyncio.sleep(2)
        assert desk.admits

    desk = run(scene)
    assert desk.said() == ["0 halted redis", "40 resumed redis"]
    assert desk.reconciled_s == [40]


def test_losing_contact_again_begins_the_wait_anew() -> None:
    async def scene(desk: Desk) -> None:
        for _ in range(3):
            desk.halts.away(REDIS, "silent")
            await asyncio.sleep(1)
            desk.halts.back(REDIS)
            await asyncio.sleep(AFTER_S - 1)
        await asyncio.sleep(100)

    assert run(scene).said() == ["0 halted redis", f"{2 * 30 + 1 + 30} resumed redis"]


def test_a_watch_that_repeats_itself_is_heard_once() -> None:
    async def scene(desk: Desk) -> None:
        for second in range(5):
            desk.halts.away(JOURNAL, f"for {second} s")
            await asyncio.sleep(1)
        for _ in range(5):
            desk.halts.back(JOURNAL)
            await asyncio.sleep(1)
        await asyncio.sleep(100)

    assert run(scene).said() == ["0 halted journal", "35 resumed journal"]


def test_contact_that_was_never_lost_is_no_news() -> None:
    async def scene(desk: Desk) -> None:
        desk.halts.back(REDIS)
        await asyncio.sleep(100)

    desk = run(scene)
    assert (desk.said(), desk.reconciled_s) == ([], [])


def test_a_backlog_ends_as_soon_as_it_is_worked_off() -> None:
    async def scene(desk: Desk) -> None:
        desk.halts.away(BACKLOG, "slow")
        await asyncio.sleep(3)
        desk.halts.back(BACKLOG)
        assert desk.admits
        desk.halts.back(BACKLOG)
        await asyncio.sleep(100)

    desk = run(scene)
    assert desk.said() == ["0 halted backlog", "3 resumed backlog"]
    assert desk.reconciled_s == []  # nothing was out of sight
    assert [event.working for event in desk.trace if isinstance(event, TradingHalted)] == [WorkingOrders.STAND]


def test_a_pause_goes_on_while_a_venue_cannot_be_asked() -> None:
    async def scene(desk: Desk) -> None:
        desk.problems = [OSError("no route"), RuntimeError("whatever a venue's library raises")]
        desk.halts.away(REDIS, "silent")
        desk.halts.back(REDIS)
        await asyncio.sleep(100)

    assert run(scene).said() == ["0 halted redis", f"{AFTER_S + 2 * RETRY_S:g} resumed redis"]


def test_each_pause_ends_by_its_own_rule() -> None:
    async def scene(desk: Desk) -> None:
        desk.halts.away(REDIS, "silent")
        desk.halts.away(JOURNAL, "gone")
        desk.halts.back(REDIS)
        await asyncio.sleep(50)
        assert not desk.admits
        desk.halts.back(JOURNAL)
        await asyncio.sleep(50)
        assert desk.admits

    assert run(scene).said() == ["0 halted redis", "0 halted journal", "30 resumed redis", "80 resumed journal"]


def test_a_pause_that_an_earlier_run_left_ends_where_nobody_watches_any_more() -> None:
    async def scene(desk: Desk) -> None:
        for cause in (REDIS, JOURNAL, KILL):
            desk.bus.publish(halted(cause, 0, text="of an earlier run"))
        desk.halts.release_unwatched({JOURNAL})
        await asyncio.sleep(100)

    assert run(scene).said()[3:] == ["30 resumed redis"]


def test_nothing_is_admitted_until_the_start_is_done() -> None:
    async def scene(desk: Desk) -> None:
        desk.bus.publish(halted(STARTUP, 0, text="recovering"))
        assert not desk.admits
        desk.bus.publish(TradingResumed(ts=0, cause=STARTUP))
        assert desk.admits

    run(scene)


def test_a_snapshot_brings_the_causes_back() -> None:
    async def scene(desk: Desk) -> None:
        await desk.halts.kill("enough", by="ann")
        desk.halts.away(REDIS, "silent")
        again = Desk(desk.clock)
        again.halts.load(desk.halts.dump())
        assert again.halts.live == desk.halts.live
        assert not again.admits

    run(scene)


# The watch over the key -----------------------------------------------------------------------------------------------


def test_what_the_watch_tells_is_folded_before_the_latch_opens() -> None:
    async def scene(desk: Desk) -> None:
        heard, opened = Heard(desk.halts, desk.bus), []
        heard.stop("the key was set", 123, lambda: opened.append(sorted(desk.halts.live)))
        heard.away("silent", lambda: opened.append(sorted(desk.halts.live)))
        await asyncio.sleep(1)
        assert opened == [[KILL, REDIS], [KILL, REDIS]]
        assert desk.halts.heard_ns == 123
        heard.back()
        await asyncio.sleep(100)

    assert run(scene).said() == ["0 halted redis", "0 halted kill", "31 resumed redis"]


# The table ------------------------------------------------------------------------------------------------------------


def test_every_cause_of_the_table_has_an_owner_and_a_meaning() -> None:
    for cause in CAUSES.values():
        assert cause.state is not TradingState.ACTIVE
        assert cause.owner
        assert cause.meaning


def test_only_what_ends_by_itself_keeps_signals_waiting() -> None:
    waited_out = {name for name, cause in CAUSES.items() if cause.holds_signals}
    assert waited_out == {STARTUP, REDIS, JOURNAL, BACKLOG, "feed"}
    assert not any(CAUSES[name].release in {Release.OPERATOR, Release.MARK_RESET} for name in waited_out)


@pytest.mark.parametrize(
    "settings,said",
    [
        ({"release_after_s": 0}, "release_after_s = 0"),
        ({"drain_s": float("nan")}, "drain_s = nan"),
        ({"feed_age_s_max": 1e9}, "feed_age_s_max"),
        ({"key": ""}, "the name of a key"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        HaltSettings(**settings)  # type: ignore[arg-type]
