"""A signal on the stream acts once and is never lost, whatever becomes of either side: against a real server."""

import asyncio
import os
import signal as process_signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from redis.exceptions import RedisError, ResponseError

from adapters.redis_link import client
from adapters.signals.redis_stream import BATCH, BLOCK_MS, DELIVERIES_MAX, RedisStreamSource
from adapters.signals.source import SignalEvent
from adapters.valkey import PrivateValkey
from core.events import SignalDead, SignalReceived
from core.signals import MAX_SIGNAL_BYTES
from daemon.supervise import end
from tests.adapters.signals.lines import line
from tests.clocks import ManualClock
from tests.fakes.intake import RecordingIntake
from tests.servers.valkey import other_hand, running

STREAM, GROUP = "execd:signals", "execd"


def source(server: PrivateValkey) -> RedisStreamSource:
    link = client(server.settings, lambda: "", wait_s=BLOCK_MS / 1_000)
    return RedisStreamSource(link, stream=STREAM, group=GROUP, clock=ManualClock(7))


@asynccontextmanager
async def reading(server: PrivateValkey, intake: RecordingIntake | None = None) -> AsyncIterator[RecordingIntake]:
    """A source at work; what it raises is raised at the end."""
    intake = intake or RecordingIntake()
    task = asyncio.create_task(source(server).run(intake))
    try:
        async with asyncio.timeout(20):
            yield intake
    finally:
        await end([task])
    if not task.cancelled():
        raise task.exception() or AssertionError("a source never ends")


def pending(hand: redis.Redis) -> int:
    info: Any = hand.xpending(STREAM, GROUP)
    return int(info["pending"])


async def until_acknowledged(hand: redis.Redis, number: int = 0) -> None:
    while pending(hand) != number:
        await asyncio.sleep(0.005)


def ids(intake: RecordingIntake) -> list[str]:
    return [event.signal.signal_id for event in intake.published if isinstance(event, SignalReceived)]


def dead(intake: RecordingIntake) -> list[SignalDead]:
    return [event for event in intake.published if isinstance(event, SignalDead)]


class Doomed(RecordingIntake):
    """A daemon that does not survive one signal: from there on nothing becomes durable."""

    def __init__(self, signal_id: str) -> None:
        super().__init__()
        self._signal_id = signal_id
        self.ended = asyncio.Event()

    def publish(self, event: SignalReceived | SignalDead) -> None:
        super().publish(event)
        if isinstance(event, SignalReceived) and event.signal.signal_id == self._signal_id:
            self.hold()
            self.ended.set()


async def test_signals_come_in_order_and_are_acknowledged(valkey: PrivateValkey, hand: redis.Redis) -> None:
    for number in range(5):
        hand.xadd(STREAM, {"signal": line(str(number))})
    async with reading(valkey) as intake:
        await intake.until(5)
        hand.xadd(STREAM, {"signal": line("5")})
        await intake.until(6)
        await until_acknowledged(hand)
    assert ids(intake) == ["0", "1", "2", "3", "4", "5"]
    assert intake.published[0] == SignalReceived(
        ts=7,
        source="stream:execd:signals",
        signal=msgspec.json.decode(line("0"), type=type(intake.published[0].signal)),  # type: ignore[union-attr]
    )


async def test_nothing_is_acknowledged_before_what_it_caused_is_durable(
    valkey: PrivateValkey, hand: redis.Redis
) -> None:
    intake = RecordingIntake()
    intake.hold()
    hand.xadd(STREAM, {"signal": line("1")})
    async with reading(valkey, intake):
        await intake.until(1)
        while not intake.commits:
            await asyncio.sleep(0.005)
        assert pending(hand) == 1
        intake.release()
        await until_acknowledged(hand)


async def test_what_a_crash_left_unacknowledged_comes_again(valkey: PrivateValkey, hand: redis.Redis) -> None:
    crashed = RecordingIntake()
    crashed.hold()
    for name in ("1", "2"):
        hand.xadd(STREAM, {"signal": line(name)})
    async with reading(valkey, crashed):
        await crashed.until(2)
    assert pending(hand) == 2
    hand.xadd(STREAM, {"signal": line("3")})
    async with reading(valkey) as intake:
        await intake.until(3)
        await until_acknowledged(hand)
    assert ids(intake) == ["1", "2", "3"]


async def test_what_somebody_else_took_and_never_acknowledged_is_claimed(
    valkey: PrivateValkey, hand: redis.Redis
) -> None:
    hand.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    hand.xadd(STREAM, {"signal": line("1")})
    hand.xreadgroup(GROUP, "a curious colleague", {STREAM: ">"})
    async with reading(valkey) as intake:
        await intake.until(1)
        await until_acknowledged(hand)
    assert ids(intake) == ["1"]


async def test_what_ends_the_daemon_again_and_again_becomes_a_dead_letter_and_the_others_act(
    valkey: PrivateValkey, hand: redis.Redis
) -> None:
    for name in ("1", "poison", "3"):
        hand.xadd(STREAM, {"signal": line(name)})
    for life in range(DELIVERIES_MAX):
        doomed = Doomed("poison")
        async with reading(valkey, doomed):
            await doomed.ended.wait()
        assert pending(hand) == (3 if life == 0 else 2)
    async with reading(valkey) as intake:
        await intake.until(2)
        await until_acknowledged(hand)
    (letter,) = dead(intake)
    assert letter.reason == "delivered 4 times and never acknowledged: what it causes may end the daemon"
    assert "poison" in letter.text
    assert ids(intake) == ["3"]


async def test_more_pending_than_one_batch_is_claimed_whole(valkey: PrivateValkey, hand: redis.Redis) -> None:
    number = 2 * BATCH + 3
    hand.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    with hand.pipeline(transaction=False) as pipe:
        for name in range(number):
            pipe.xadd(STREAM, {"signal": line(str(name))})
        pipe.execute()
    hand.xreadgroup(GROUP, "gone", {STREAM: ">"})
    async with reading(valkey) as intake:
        await intake.until(number)
        await until_acknowledged(hand)
    assert ids(intake) == [str(name) for name in range(number)]


async def test_a_pending_entry_that_was_trimmed_is_a_dead_letter(valkey: PrivateValkey, hand: redis.Redis) -> None:
    hand.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    entry = hand.xadd(STREAM, {"signal": line("1")})
    hand.xreadgroup(GROUP, "gone", {STREAM: ">"})
    hand.xtrim(STREAM, maxlen=0)
    async with reading(valkey) as intake:
        await intake.until(1)
        await until_acknowledged(hand)
    (letter,) = dead(intake)
    assert letter.text == entry.decode()  # type: ignore[union-attr]
    assert letter.reason.startswith("trimmed off the stream after it was delivered")


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields,reason",
    [
        ({"signal": "nonsense"}, "malformed"),
        ({"signal": ""}, "truncated"),
        ({"signal": b"\xff\xfe"}, "malformed"),
        ({"sgnal": line("1"), "a": "b"}, "has no field `signal`, it has a, sgnal"),
        ({b"\xff": "x"}, "has no field `signal`, it has \ufffd"),
        ({"signal": b"[" * 40_000}, "recursion"),
    ],
)
async def test_what_is_no_signal_is_a_dead_letter_and_the_next_one_acts(
    valkey: PrivateValkey, hand: redis.Redis, fields: dict[Any, Any], reason: str
) -> None:
    hand.xadd(STREAM, fields)
    hand.xadd(STREAM, {"signal": line("next")})
    async with reading(valkey) as intake:
        await intake.until(2)
        await until_acknowledged(hand)
    (letter,) = dead(intake)
    assert reason in letter.reason
    assert ids(intake) == ["next"]


async def test_a_message_of_10_mb_is_a_dead_letter_of_which_the_beginning_is_kept(
    valkey: PrivateValkey, hand: redis.Redis
) -> None:
    hand.xadd(STREAM, {"signal": line("1") + b" " * 10_000_000})
    hand.xadd(STREAM, {"signal": line("2")})
    async with reading(valkey) as intake:
        await intake.until(2)
    (letter,) = dead(intake)
    assert f"is more than {MAX_SIGNAL_BYTES:,}" in letter.reason
    assert len(letter.text) < 3_000
    assert ids(intake) == ["2"]


async def test_an_array_is_a_batch_in_one_entry(valkey: PrivateValkey, hand: redis.Redis) -> None:
    hand.xadd(STREAM, {"signal": b"[" + line("1") + b",{}," + line("2") + b"]"})
    async with reading(valkey) as intake:
        await intake.until(3)
        await until_acknowledged(hand)
    assert (ids(intake), len(dead(intake)), intake.commits[0]) == (["1", "2"], 1, 3)


async def test_another_type_under_the_streams_key_is_an_error_that_names_it(
    valkey: PrivateValkey, hand: redis.Redis
) -> None:
    hand.set(STREAM, "not a stream")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await source(valkey).run(RecordingIntake())


# Servers that go ------------------------------------------------------------------------------------------------------


async def test_a_burst_of_100000_signals_is_taken_whole_and_never_heaped_up(
    valkey: PrivateValkey, hand: redis.Redis
) -> None:
    number = 100_000
    with hand.pipeline(transaction=False) as pipe:
        for name in range(number):
            pipe.xadd(STREAM, {"signal": line(str(name))})
        pipe.execute()
    async with reading(valkey) as intake:
        await intake.until(number)
        await until_acknowledged(hand)
    assert ids(intake) == [str(name) for name in range(number)]
    steps = [b - a for a, b in zip([0, *intake.commits], intake.commits, strict=False)]
    assert max(steps) <= BATCH  # never more under way than one read


async def test_a_server_that_is_not_there_raises_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        server.stop()
        with pytest.raises((RedisError, OSError)):
            await source(server).run(RecordingIntake())


async def test_a_frozen_server_raises_within_its_deadline(tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        intake = RecordingIntake()
        task = asyncio.create_task(source(server).run(intake))
        with other_hand(server) as hand:
            hand.xadd(STREAM, {"signal": line("1")})
            await intake.until(1)
        os.kill(server.pid, process_signal.SIGSTOP)
        with pytest.raises((RedisError, OSError)):
            await asyncio.wait_for(task, BLOCK_MS / 1_000 + 5)


async def test_a_server_that_restarts_empty_gets_its_group_again(tmp_path: Path) -> None:
    with running(tmp_path / "valkey", "--appendonly", "no") as server:
        intake = RecordingIntake()
        task = asyncio.create_task(source(server).run(intake))
        with other_hand(server) as hand:
            hand.xadd(STREAM, {"signal": line("1")})
            await intake.until(1)
        server.kill()
        with pytest.raises((RedisError, OSError)):
            await task
        server.start()
        with other_hand(server) as hand:
            hand.xadd(STREAM, {"signal": line("2")})  # before the group is there
            async with reading(server) as again:
                await again.until(1)
                await until_acknowledged(hand)
    assert ids(again) == ["2"]


async def test_a_group_that_is_destroyed_under_a_reader_raises_and_is_made_again(
    valkey: PrivateValkey, hand: redis.Redis
) -> None:
    intake = RecordingIntake()
    task = asyncio.create_task(source(valkey).run(intake))
    hand.xadd(STREAM, {"signal": line("1")})
    await intake.until(1)
    await until_acknowledged(hand)
    hand.xgroup_destroy(STREAM, GROUP)
    with pytest.raises(ResponseError, match="NOGROUP"):
        await task
    async with reading(valkey) as again:
        await again.until(1)
    assert ids(again) == ["1"]  # from the beginning: the sizer knows repeats


# Pauses ---------------------------------------------------------------------------------------------------------------


async def test_a_pause_leaves_signals_where_they_are(valkey: PrivateValkey, hand: redis.Redis) -> None:
    intake = RecordingIntake()
    async with reading(valkey, intake):
        hand.xadd(STREAM, {"signal": line("1")})
        await intake.until(1)
        intake.pause()
        hand.xadd(STREAM, {"signal": line("2")})
        await asyncio.sleep(0.1)  # nothing can be waited for: it must not come
        assert ids(intake) == ["1"]
        intake.admit()
        await intake.until(2)
        await until_acknowledged(hand)
    assert ids(intake) == ["1", "2"]


async def test_a_pause_that_begins_within_a_batch_holds_the_rest_of_it(
    valkey: PrivateValkey, hand: redis.Redis
) -> None:
    class Pausing(RecordingIntake):
        def publish(self, event: SignalEvent) -> None:
            super().publish(event)
            if len(self.published) == 2:
                self.pause()

    for name in "12345":
        hand.xadd(STREAM, {"signal": line(name)})
    intake = Pausing()
    async with reading(valkey, intake):
        await intake.until(2)
        await asyncio.sleep(0.1)  # nothing can be waited for: it must not come
        assert ids(intake) == ["1", "2"]
        assert pending(hand) == 5
        intake.admit()
        await intake.until(5)
        await until_acknowledged(hand)
    assert ids(intake) == ["1", "2", "3", "4", "5"]
