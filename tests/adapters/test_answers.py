"""Publishers hear each thing once, in order, when it is durable, whatever becomes of either side: a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
from redis.exceptions import RedisError

from adapters import answers as module
from adapters.answers import Answers, AnswersSettings
from adapters.redis_link import client
from adapters.valkey import PrivateValkey
from core.events import (
    Event,
    MarketData,
    SignalAccepted,
    SignalDead,
    SignalRefused,
    TimeAdvanced,
    encode,
)
from core.orders import OrdStatus
from core.units import NS_PER_MS
from daemon.supervise import end
from tests.builders import NOW, accepted, approved, child, ended, filled, parent, quote, updated
from tests.servers.valkey import PATIENCE_S, entries, other_hand, running

STREAM, DEAD = "execd:events", "execd:signals:dead"
MS = NOW // NS_PER_MS


class Journal:
    """In the place of the journal: entries, and how far they are durable."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, Event]] = []
        self.durable_seq = 0

    def read(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        return (entry for entry in list(self.entries) if from_seq <= entry[0] <= self.durable_seq)


class Desk:
    """Answers at work, and the journal before them."""

    def __init__(self, server: PrivateValkey, journal: Journal | None = None, **settings: str | int) -> None:
        self.journal = journal or Journal()
        self.answers = Answers(
            client(server.settings, str, wait_s=PATIENCE_S),
            AnswersSettings(**settings),  # type: ignore[arg-type]
            journal=self.journal,
            seq=self.journal.durable_seq,
            signal_of=lambda parent_id: (f"signal of {parent_id}", "alpha"),
        )
        self.seq = self.journal.durable_seq

    def say(self, *events: Event, durable: bool = True) -> None:
        for event in events:
            self.seq += 1
            if not isinstance(event, MarketData):
                self.journal.entries.append((self.seq, event))
            self.answers.put(self.seq, event)
        if durable:
            self.journal.durable_seq = self.seq


@asynccontextmanager
async def telling(desk: Desk) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(desk.answers.run())
    try:
        async with asyncio.timeout(20):
            yield task
    finally:
        await end([task])
    if task.cancelled() or isinstance(raised := task.exception(), RedisError):
        return
    raise raised or AssertionError("answers never end")


async def told(hand: redis.Redis, number: int, stream: str = STREAM) -> list[tuple[str, dict[str, str]]]:
    """The entries of a stream, once there are so many."""
    while hand.xlen(stream) < number:
        await asyncio.sleep(0.005)
    return entries(hand, stream)


def kinds(told: list[tuple[str, dict[str, str]]]) -> list[str]:
    return [fields["type"] for _, fields in told]


ACCEPTED = SignalAccepted(ts=NOW, signal_id="s1", strategy="alpha", digest="d")
ORDER = child()
STORY = (
    ACCEPTED,
    parent(),
    accepted(parent()),
    ORDER,
    approved(ORDER),
    filled(ORDER, "100"),
    updated(ORDER, OrdStatus.FILLED),
    ended(parent()),
)
TOLD = ["SignalAccepted", "ParentAccepted", "OrderApproved", "FillBooked", "OrderUpdated", "ParentEnded"]


async def test_a_signal_hears_what_becomes_of_it(valkey: PrivateValkey, hand: redis.Redis) -> None:
    desk = Desk(valkey)
    async with telling(desk):
        desk.say(quote(), TimeAdvanced(ts=NOW), *STORY)
        found = await told(hand, len(TOLD))
    assert kinds(found) == TOLD
    assert {(fields["signal_id"], fields["strategy"]) for _, fields in found} == {("s1", "alpha")}
    assert found[0] == (
        f"{MS}-3",
        {"signal_id": "s1", "strategy": "alpha", "type": "SignalAccepted", "event": encode(ACCEPTED).decode()},
    )


async def test_nothing_is_told_before_it_is_durable(valkey: PrivateValkey, hand: redis.Redis) -> None:
    desk = Desk(valkey)
    async with telling(desk):
        desk.say(*STORY, durable=False)
        await asyncio.sleep(0.1)  # nothing can be waited for: it must not come
        assert hand.xlen(STREAM) == 0
        desk.journal.durable_seq = 3
        assert kinds(await told(hand, 2)) == TOLD[:2]
        desk.journal.durable_seq = desk.seq
        assert kinds(await told(hand, len(TOLD))) == TOLD


async def test_dead_letters_have_a_stream_of_their_own(valkey: PrivateValkey, hand: redis.Redis) -> None:
    dead = SignalDead(ts=NOW, source="stream", reason="not JSON", text="nonsense")
    refused = SignalRefused(ts=NOW, signal_id="s2", strategy="alpha", reason="EXPIRED", text="too late")
    desk = Desk(valkey)
    async with telling(desk):
        desk.say(dead, refused)
        letters = await told(hand, 2, DEAD)
        assert kinds(await told(hand, 1)) == ["SignalRefused"]
    assert [(fields["type"], fields["reason"], fields["text"]) for _, fields in letters] == [
        ("SignalDead", "not JSON", "nonsense"),
        ("SignalRefused", "EXPIRED", "too late"),
    ]
    assert json.loads(letters[0][1]["event"])["source"] == "stream"


async def test_the_streams_are_bounded(valkey: PrivateValkey, hand: redis.Redis) -> None:
    desk = Desk(valkey, stream_max=100)
    async with telling(desk):
        desk.say(*[ACCEPTED] * 5_000)
        while not hand.xlen(STREAM) or desk.answers.depth:
            await asyncio.sleep(0.005)
    assert 100 <= hand.xlen(STREAM) < 400  # trimmed by whole nodes


async def test_a_restart_goes_on_where_the_stream_ends(valkey: PrivateValkey, hand: redis.Redis) -> None:
    journal = Journal()
    first = Desk(valkey, journal)
    async with telling(first):
        first.say(*STORY[:4])
        await told(hand, 2)
    first.say(*STORY[4:])  # durable, and the process ends before it is told
    second = Desk(valkey, journal)
    async with telling(second):
        found = await told(hand, len(TOLD))
        second.say(ACCEPTED)
        found = await told(hand, len(TOLD) + 1)
    assert kinds(found) == [*TOLD, "SignalAccepted"]
    assert found[3][1]["signal_id"] == "signal of P1"  # the parent began in another run


async def test_a_first_start_does_not_tell_the_past_to_a_new_stream(valkey: PrivateValkey, hand: redis.Redis) -> None:
    journal = Journal()
    journal.entries, journal.durable_seq = [(1, ACCEPTED)], 1
    desk = Desk(valkey, journal)
    async with telling(desk):
        desk.say(ended(parent()))
        assert kinds(await told(hand, 1)) == ["ParentEnded"]


async def test_a_stream_of_another_journal_is_gone_on_with(valkey: PrivateValkey, hand: redis.Redis) -> None:
    hand.xadd(STREAM, {"type": "of another life"}, id=f"{MS + 5}-900")
    desk = Desk(valkey)
    async with telling(desk):
        desk.say(ACCEPTED)
        found = await told(hand, 2)
    assert found[-1][0] == f"{MS + 6}-1"


async def test_what_happens_while_the_server_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        desk = Desk(server)
        async with telling(desk) as task:
            desk.say(*STORY[:4])
            with other_hand(server) as hand:
                await told(hand, 2)
            server.stop()
            desk.say(*STORY[4:])
            with pytest.raises((RedisError, OSError)):
                await task
        server.start()
        async with telling(desk):
            with other_hand(server) as hand:
                assert kinds(await told(hand, len(TOLD))) == TOLD


async def test_more_than_memory_may_hold_is_read_from_the_journal(
    valkey: PrivateValkey, hand: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 10)
    desk = Desk(valkey)
    for number in range(100):  # nobody tells yet
        desk.say(SignalAccepted(ts=NOW, signal_id=str(number), strategy="alpha", digest="d"))
    assert desk.answers.depth <= 10
    async with telling(desk):
        found = await told(hand, 100)
        desk.say(ACCEPTED)
        found = await told(hand, 101)
    assert [fields["signal_id"] for _, fields in found] == [*map(str, range(100)), "s1"]


async def test_a_server_that_lost_what_it_had_gets_the_newest_again(tmp_path: Path) -> None:
    with running(tmp_path / "valkey", "--appendonly", "no", "--save", "") as server:
        desk = Desk(server)
        with other_hand(server) as hand:
            async with telling(desk):
                desk.say(*STORY[:4])
                saved = await told(hand, 2)
                hand.save()
                desk.say(*STORY[4:])
                await told(hand, len(TOLD))
        server.kill()
        server.start()  # from what was saved
        with other_hand(server) as hand:
            async with telling(desk):
                found = await told(hand, len(TOLD))
    assert kinds(found) == TOLD
    assert found[:2] == saved


async def test_entries_that_somebody_deleted_are_not_told_again(valkey: PrivateValkey, hand: redis.Redis) -> None:
    desk = Desk(valkey)
    async with telling(desk):
        desk.say(*STORY)
        found = await told(hand, len(TOLD))
    for entry_id, _ in found[-2:]:
        hand.xdel(STREAM, entry_id)
    async with telling(desk):
        desk.say(ACCEPTED)
        assert kinds(await told(hand, len(TOLD) - 1)) == [*TOLD[:-2], "SignalAccepted"]
