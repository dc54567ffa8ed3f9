"""A channel is fast and forgets: what comes is handed in, what nobody heard is gone, and a silent server is noticed."""

import asyncio
import os
import signal as process_signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
from redis.exceptions import RedisError

from adapters.redis_link import client
from adapters.signals.redis_pubsub import CHECK_S, RedisPubSubSource
from adapters.valkey import PrivateValkey
from core.events import SignalDead, SignalReceived
from daemon.supervise import end
from tests.adapters.signals.lines import line, signal
from tests.clocks import ManualClock
from tests.fakes.intake import RecordingIntake
from tests.servers.valkey import PATIENCE_S, other_hand, running

CHANNEL = "execd:signals:pubsub"


@asynccontextmanager
async def listening(server: PrivateValkey) -> AsyncIterator[tuple[RecordingIntake, "asyncio.Task[None]"]]:
    """A source that has subscribed."""
    intake = RecordingIntake()
    source = RedisPubSubSource(
        client(server.settings, lambda: "", wait_s=PATIENCE_S), channel=CHANNEL, clock=ManualClock(7)
    )
    task = asyncio.create_task(source.run(intake))
    try:
        async with asyncio.timeout(20):
            with other_hand(server) as hand:
                while not dict(hand.pubsub_numsub(CHANNEL))[CHANNEL.encode()]:
                    await asyncio.sleep(0.005)
            yield intake, task
    finally:
        await end([task])


async def test_what_is_published_is_handed_in(valkey: PrivateValkey, hand: redis.Redis) -> None:
    async with listening(valkey) as (intake, _):
        hand.publish(CHANNEL, line("1"))
        hand.publish(CHANNEL, b"nonsense")
        hand.publish(CHANNEL, b"[" + line("2") + b"]")
        await intake.until(3)
    source = f"pubsub:{CHANNEL}"
    assert intake.published[0] == SignalReceived(ts=7, source=source, signal=signal("1"))
    assert isinstance(intake.published[1], SignalDead)
    assert intake.published[2] == SignalReceived(ts=7, source=source, signal=signal("2"))


async def test_a_quiet_channel_is_no_failure(valkey: PrivateValkey, hand: redis.Redis) -> None:
    async with listening(valkey) as (intake, task):
        await asyncio.sleep(3 * CHECK_S)  # longer than two checks
        assert not task.done()
        hand.publish(CHANNEL, line("1"))
        await intake.until(1)


async def test_what_comes_during_a_pause_waits_for_its_end(valkey: PrivateValkey, hand: redis.Redis) -> None:
    async with listening(valkey) as (intake, _):
        intake.pause()
        hand.publish(CHANNEL, line("1"))
        hand.publish(CHANNEL, line("2"))
        await asyncio.sleep(0.2)  # nothing can be waited for: it must not come
        assert intake.published == []
        intake.admit()
        await intake.until(2)


async def test_a_frozen_server_is_noticed(tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        async with listening(server) as (_, task):
            os.kill(server.pid, process_signal.SIGSTOP)
            with pytest.raises((RedisError, OSError)):
                await task


async def test_a_server_that_goes_raises(tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        async with listening(server) as (_, task):
            server.kill()
            with pytest.raises((RedisError, OSError)):
                await task
