"""What is not certainly "no halt" stops trading at once, and what cannot be seen pauses it: against a real server."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import redis

from adapters.halt import Folded, HaltWatch
from adapters.latch import Latch
from adapters.redis_link import Link
from adapters.valkey import PrivateValkey
from tests.servers.valkey import other_hand, running

KEY = "execd:halt"


class Ear:
    """Hears what a watch tells, and opens the latch at once unless it is told to keep it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.keep = False
        self.folded: list[Folded] = []
        self._changed = asyncio.Event()

    def stop(self, text: str, heard_ns: int, folded: Folded) -> None:
        assert 0 < heard_ns <= time.monotonic_ns()
        self._hear(f"stop: {text}", folded)

    def away(self, text: str, folded: Folded) -> None:
        self._hear(f"away: {text}", folded)

    def back(self) -> None:
        self.told.append("back")
        self._changed.set()

    def _hear(self, text: str, folded: Folded) -> None:
        self.told.append(text)
        self.folded.append(folded)
        if not self.keep:
            folded()
        self._changed.set()

    async def until(self, holds: Callable[[list[str]], bool]) -> None:
        """Return once what was told is so."""
        async with asyncio.timeout(10):
            while not holds(self.told):
                self._changed.clear()
                await self._changed.wait()


class Scene:
    """A watch, its latch and its ear."""

    def __init__(self, watch: HaltWatch, latch: Latch, ear: Ear, file: Path) -> None:
        self.watch, self.latch, self.ear, self.file = watch, latch, ear, file

    @property
    def stops(self) -> list[str]:
        return [text.removeprefix("stop: ") for text in self.ear.told if text.startswith("stop")]

    async def stopped(self, times: int = 1) -> None:
        await self.ear.until(lambda told: sum(text.startswith("stop") for text in told) >= times)

    async def looked_again(self) -> None:
        """Return once the watch has looked, begun after now."""
        before = self.watch.beat
        while self.watch.beat <= before:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def watching(
    tmp_path: Path,
    server: PrivateValkey | None,
    *,
    wait: bool = True,
    password: Callable[[], str] = str,
    link: type[Link] = Link,
) -> AsyncIterator[Scene]:
    latch, ear, file = Latch(), Ear(), tmp_path / "HALT"
    watch = HaltWatch(
        key=KEY,
        file=file,
        connect=None if server is None else partial(link, server.settings, password),
        latch=latch,
        listener=ear,
        soon=asyncio.get_running_loop().call_soon_threadsafe,
    )
    watch.start()
    try:
        if wait:
            await ear.until(lambda told: "back" in told)
        yield Scene(watch, latch, ear, file)
    finally:
        await asyncio.to_thread(watch.close)


# The key --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1", "", "0", "false", "no", b"\x00\xff"])
async def test_any_value_halts(tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis, value: str | bytes) -> None:
    async with watching(tmp_path, valkey) as scene:
        hand.set(KEY, value)
        await scene.stopped()
    assert scene.stops == [f"the key {KEY} was set"]


@pytest.mark.parametrize(
    "make",
    [
        lambda hand: hand.mset({KEY: "1", "other": "2"}),
        lambda hand: (hand.set("elsewhere", "1"), hand.rename("elsewhere", KEY)),
        lambda hand: (hand.set("elsewhere", "1"), hand.copy("elsewhere", KEY)),
        lambda hand: hand.eval("return redis.call('SET', KEYS[1], 'x')", 1, KEY),
        lambda hand: hand.append(KEY, "x"),
        lambda hand: hand.hset(KEY, "field", "value"),
        lambda hand: hand.rpush(KEY, "x"),
        lambda hand: hand.xadd(KEY, {"a": "b"}),
        lambda hand: hand.pipeline(transaction=True).set(KEY, "1").execute(),
    ],
    ids=["mset", "rename", "copy", "script", "append", "a hash", "a list", "a stream", "a transaction"],
)
async def test_however_the_key_comes_to_be_it_halts(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis, make: Callable[[redis.Redis], object]
) -> None:
    async with watching(tmp_path, valkey) as scene:
        make(hand)
        await scene.stopped()
        await scene.looked_again()
        assert scene.watch.obstacle() == f"the key {KEY} is still set: delete it first"
    assert len(scene.stops) == 1


async def test_a_key_that_is_there_at_the_start_halts(tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis) -> None:
    hand.set(KEY, "since yesterday")
    async with watching(tmp_path, valkey) as scene:
        assert scene.ear.told == [f"stop: the key {KEY} is set", "back"]  # the halt comes before trading may go on


async def test_a_key_of_another_type_at_the_start_halts(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    hand.rpush(KEY, "x")
    async with watching(tmp_path, valkey) as scene:
        assert scene.stops == [f"the key {KEY} is set"]


async def test_a_key_that_was_set_and_deleted_at_once_halts(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    async with watching(tmp_path, valkey) as scene:
        with hand.pipeline(transaction=True) as pipe:
            pipe.set(KEY, "1")
            pipe.delete(KEY)
            pipe.execute()
        await scene.stopped()
        await scene.looked_again()
        assert scene.watch.obstacle() == ""


async def test_a_key_that_expired_has_halted(tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis) -> None:
    async with watching(tmp_path, valkey) as scene:
        hand.set(KEY, "1", px=1)
        await scene.stopped()
        while hand.exists(KEY):
            await asyncio.sleep(0.001)
        await scene.looked_again()
    assert scene.stops == [f"the key {KEY} was set"]


@pytest.mark.parametrize("flush", [redis.Redis.flushall, redis.Redis.flushdb])
async def test_a_flush_halts(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis, flush: Callable[[redis.Redis], object]
) -> None:
    async with watching(tmp_path, valkey) as scene:
        flush(hand)
        await scene.stopped()
    assert scene.stops == ["Redis was flushed, and the halt key may have been there"]


async def test_a_swapped_database_halts_although_nobody_says_so(tmp_path: Path, valkey: PrivateValkey) -> None:
    with other_hand(valkey, db=1) as other:
        other.set(KEY, "1")
        async with watching(tmp_path, valkey) as scene:
            other.swapdb(0, 1)
            await scene.stopped()
    assert scene.stops == [f"the key {KEY} is set"]


async def test_a_halt_is_heard_although_the_push_channel_is_cut(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    async with watching(tmp_path, valkey, link=DeafLink) as scene:
        hand.set(KEY, "1")
        await scene.stopped()
    assert scene.stops == [f"the key {KEY} is set"]  # by the next read, not by a push


class DeafLink(Link):
    """A link whose pushes are cut: the server forgets to track for it."""

    def ask(self, *command: object) -> object:
        answer = super().ask(*command)
        if command[:2] == ("CLIENT", "TRACKING"):
            super().ask("CLIENT", "TRACKING", "OFF")
        return answer


@pytest.mark.parametrize("name", [f"{KEY}:drill", "execd:hal", "execd:signals"])
async def test_other_keys_do_not_halt(tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis, name: str) -> None:
    async with watching(tmp_path, valkey) as scene:
        hand.set(name, "1")
        hand.delete(name)
        await scene.looked_again()
        await scene.looked_again()
    assert scene.stops == []


async def test_deleting_the_key_tells_nothing_and_removes_the_obstacle(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    async with watching(tmp_path, valkey) as scene:
        hand.set(KEY, "1")
        await scene.stopped()
        hand.delete(KEY)
        while scene.watch.obstacle():
            await asyncio.sleep(0.001)
    assert len(scene.stops) == 1


async def test_a_key_that_is_set_again_halts_again(tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis) -> None:
    async with watching(tmp_path, valkey) as scene:
        for times in (1, 2, 3):
            hand.set(KEY, str(times))
            await scene.stopped(times)
            await scene.looked_again()
    assert len(scene.stops) == 3


async def test_whatever_goes_wrong_is_a_server_that_is_away_and_the_watch_goes_on(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    surprises = [TypeError("an argument"), UnicodeError("a host"), TypeError("an argument")]

    class Surprising(Link):
        def open(self, pushed: Callable[[list[Any]], None] | None = None) -> None:
            if surprises:
                raise surprises.pop()
            super().open(pushed)

    async with watching(tmp_path, valkey, link=Surprising) as scene:
        assert not surprises
        hand.set(KEY, "1")
        await scene.stopped()


# The file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda file: file.symlink_to("nowhere")])
async def test_a_file_halts_with_and_without_redis(
    tmp_path: Path, valkey: PrivateValkey, make: Callable[[Path], object]
) -> None:
    for server in (None, valkey):
        folder = tmp_path / str(server is None)
        folder.mkdir()
        async with watching(folder, server) as scene:
            make(scene.file)
            await scene.stopped()
            assert scene.watch.obstacle() == f"the file {scene.file} is still there: remove it first"
        assert scene.stops == [f"the file {scene.file} is there"]


async def test_a_file_that_cannot_be_looked_at_halts(tmp_path: Path) -> None:
    (tmp_path / "HALT").touch()
    folder = tmp_path / "HALT"  # a file where a folder should be: looking inside fails, and not with "not found"
    async with watching(folder, None) as scene:
        assert scene.stops == [f"the file {folder / 'HALT'} is there"]


async def test_the_file_is_looked_at_while_redis_is_away(tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        server.stop()
        async with watching(tmp_path, server, wait=False) as scene:
            await scene.ear.until(bool)
            scene.file.touch()
            await scene.stopped()


# Away and back --------------------------------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_is_away_and_comes_back(tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        server.stop()
        async with watching(tmp_path, server, wait=False) as scene:
            await scene.ear.until(bool)
            assert scene.ear.told[0].startswith("away: Redis cannot be asked for the halt key: ")
            assert scene.watch.obstacle() == f"the key {KEY} cannot be read now"
            server.start()
            await scene.ear.until(lambda told: told[-1] == "back")
            assert scene.watch.obstacle() == ""


async def test_a_frozen_server_is_away_within_its_deadline_and_comes_back(tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        async with watching(tmp_path, server) as scene:
            os.kill(server.pid, signal.SIGSTOP)
            await scene.ear.until(lambda told: told[-1].startswith("away"))
            os.kill(server.pid, signal.SIGCONT)
            await scene.ear.until(lambda told: told[-1] == "back")
            assert scene.stops == []


async def test_a_halt_of_the_time_in_which_it_was_away_is_heard(tmp_path: Path) -> None:
    with running(tmp_path / "valkey") as server:
        async with watching(tmp_path, server) as scene:
            server.kill()
            await scene.ear.until(lambda told: told[-1].startswith("away"))
            server.start()
            with other_hand(server) as hand:
                hand.set(KEY, "1")
            await scene.stopped()


async def test_a_killed_connection_is_away_at_once_and_a_new_one_looks(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    async with watching(tmp_path, valkey) as scene:
        hand.client_kill_filter(_type="normal", skipme=True)
        await scene.ear.until(lambda told: told[-1] == "back" and len(told) > 1)
        assert [text.partition(":")[0] for text in scene.ear.told] == ["back", "away", "back"]


@pytest.mark.parametrize("given,said", [("", "already authenticated"), ("wrong", "invalid username-password pair")])
async def test_a_refused_password_is_away_until_the_right_one_is_there(tmp_path: Path, given: str, said: str) -> None:
    password = [given]
    with running(tmp_path / "valkey", "--requirepass", "right") as server:
        async with watching(tmp_path, server, wait=False, password=lambda: password[0]) as scene:
            await scene.ear.until(bool)
            assert scene.ear.told[0].startswith("away: Redis cannot be asked for the halt key: ")
            assert said.lower() in scene.ear.told[0].lower()
            password[0] = "right"  # rotated: read anew with each connect
            await scene.ear.until(lambda told: told[-1] == "back")
    assert "right" not in "".join(scene.ear.told)


# The latch ------------------------------------------------------------------------------------------------------------


async def test_the_latch_is_closed_before_the_loop_has_heard_and_until_it_has_folded(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    async with watching(tmp_path, valkey) as scene:
        scene.ear.keep = True
        hand.set(KEY, "1")
        deadline = time.monotonic() + 10
        while not scene.latch.is_closed and time.monotonic() < deadline:
            pass  # the loop has no turn here, and the latch closes all the same
        assert scene.latch.is_closed
        assert scene.stops == []
        await scene.stopped()
        assert scene.latch.is_closed
        for folded in scene.ear.folded:
            folded()
        assert not scene.latch.is_closed


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_a_latch_that_was_tripped_again_opens_with_the_last_answer_in_whatever_order(order: tuple[int, ...]) -> None:
    latch = Latch()
    tripped = [latch.trip() for _ in order]
    for number in order:
        assert latch.is_closed  # a halt that is not folded keeps it shut, whatever came behind it
        latch.hear(tripped[number])
    assert not latch.is_closed
    latch.hear(tripped[0])  # repeated
    assert not latch.is_closed
    latch.trip()
    assert latch.is_closed


async def test_the_latch_sees_a_push_that_came_with_the_one_that_is_read(
    valkey: PrivateValkey, hand: redis.Redis
) -> None:
    pushes = Link(valkey.settings, str)
    pushes.open(lambda _: None)
    pushes.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", KEY)
    latch = Latch()
    latch.peek = pushes.peek()
    hand.set(KEY, "1")
    hand.delete(KEY)
    raw: socket.socket = pushes._connection._sock
    async with asyncio.timeout(10):
        while raw.recv(1_000, socket.MSG_PEEK).count(KEY.encode()) < 2:
            await asyncio.sleep(0.001)
    for _ in range(2):
        assert latch.is_closed
        assert pushes.wait(0)
        pushes.read_push()
    assert not latch.is_closed
    assert not pushes.wait(0)
    pushes.close()


async def test_the_latch_sees_a_push_that_nobody_has_read(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    async with watching(tmp_path, valkey) as scene:
        pushes = Link(valkey.settings, str)
        pushes.open(lambda _: None)
        pushes.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", KEY)
        scene.watch.close()  # the thread is gone: nobody reads any more
        latch = Latch()
        latch.peek = pushes.peek()
        assert not latch.is_closed
        hand.set(KEY, "1")
        while not latch.is_closed:
            await asyncio.sleep(0.001)
        pushes.read_push()
        assert not latch.is_closed
        pushes.close()


async def test_a_push_about_another_key_closes_the_latch_for_a_moment_only(
    tmp_path: Path, valkey: PrivateValkey, hand: redis.Redis
) -> None:
    async with watching(tmp_path, valkey) as scene:
        hand.set(f"{KEY}:drill", "1")
        await scene.looked_again()
        while scene.latch.is_closed:
            await asyncio.sleep(0.001)
        assert scene.latch._tripped == scene.latch._heard == 1
        assert scene.stops == []
