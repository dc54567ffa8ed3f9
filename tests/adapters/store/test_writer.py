"""Both writers keep one promise: in order, in whole batches, and nothing after the first failure."""

import asyncio
from collections.abc import Callable
from math import inf
from queue import SimpleQueue
from threading import Event as Gate

import pytest

from adapters.store import writer as module
from adapters.store.writer import (
    CROWDED_S,
    HUNG_S,
    MAX_BATCH,
    MAX_QUEUED,
    WAY_S,
    AwayError,
    Entry,
    JournalError,
    JournalFullError,
    Synchronous,
    Threaded,
    WriteBatch,
    Writer,
)
from core.events import TimeAdvanced
from tests.servers.postgres import wait_until

KINDS: list[Callable[[WriteBatch, int], Writer]] = [Synchronous, Threaded]


def entry(seq: int) -> Entry:
    return seq, TimeAdvanced(ts=seq), b"", b""


class Database:
    """Keeps batches, and breaks down when it meets `poison`."""

    def __init__(self, poison: int = 0) -> None:
        self.batches: list[list[int]] = []
        self._poison = poison

    def write(self, batch: list[Entry]) -> None:
        seqs = [seq for seq, *_ in batch]
        if self._poison in seqs:
            raise OSError("disk is full")
        self.batches.append(seqs)


@pytest.mark.parametrize("kind", KINDS)
def test_entries_are_written_once_and_in_order_in_batches_that_are_not_too_large(
    kind: Callable[[WriteBatch, int], Writer],
) -> None:
    database = Database()
    writer = kind(database.write, 0)
    seqs = list(range(1, 1001))
    for seq in seqs:
        writer.add([entry(seq)])
    writer.close()
    assert [seq for batch in database.batches for seq in batch] == seqs
    assert all(1 <= len(batch) <= MAX_BATCH for batch in database.batches)
    assert (writer.durable_seq, writer.depth) == (1000, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_durable_is_written(kind: Callable[[WriteBatch, int], Writer]) -> None:
    database = Database()
    writer = kind(database.write, 6)
    await writer.durable(6)
    assert database.batches == []
    for seq in (7, 9, 10):
        writer.add([entry(seq)])
    await writer.durable(9)
    assert writer.durable_seq >= 9
    await writer.durable(99)  # nothing of that number was added: all that was is durable
    assert writer.durable_seq == 10
    assert [seq for batch in database.batches for seq in batch] == [7, 9, 10]
    writer.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_write_is_raised_to_everybody_from_then_on(
    kind: Callable[[WriteBatch, int], Writer],
) -> None:
    writer = kind(Database(poison=2).write, 0)
    writer.add([entry(1)])
    await writer.durable(1)
    writer.add([entry(2)])
    for _ in range(2):
        with pytest.raises(JournalError, match="disk is full"):
            await writer.durable(2)
    with pytest.raises(JournalError, match="disk is full"):
        writer.add([entry(3)])
    for call in (writer.flush, writer.close):
        with pytest.raises(JournalError, match="disk is full"):
            call()
    assert writer.durable_seq == 1
    await writer.durable(1)  # what is durable stays so


@pytest.mark.parametrize("kind", KINDS)
def test_closing_twice_is_harmless(kind: Callable[[WriteBatch, int], Writer]) -> None:
    database = Database()
    writer = kind(database.write, 0)
    writer.add([entry(1)])
    writer.close()
    writer.close()
    assert database.batches == [[1]]


def test_a_synchronous_writer_writes_when_a_batch_is_full_and_not_before() -> None:
    database = Database()
    writer = Synchronous(database.write, 0)
    for seq in range(1, MAX_BATCH):
        writer.add([entry(seq)])
    assert (database.batches, writer.depth) == ([], MAX_BATCH - 1)
    writer.add([entry(MAX_BATCH)])
    assert (database.batches, writer.depth) == ([list(range(1, MAX_BATCH + 1))], 0)


class Held(Database):
    """A database that hangs until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.released = Gate(), Gate()

    def write(self, batch: list[Entry]) -> None:
        self.reached.set()
        assert self.released.wait(60)
        super().write(batch)


def test_what_gathers_during_a_commit_is_the_next_commit() -> None:
    database = Held()
    writer = Threaded(database.write, 0)
    writer.add([entry(1)])
    database.reached.wait()
    for seq in range(2, 10):
        writer.add([entry(seq)])
    assert (writer.durable_seq, writer.depth) == (0, 9)  # the one that is being written waits too
    database.released.set()
    writer.flush()
    assert database.batches == [[1], [2, 3, 4, 5, 6, 7, 8, 9]]
    writer.close()


def test_a_full_queue_is_an_error_with_a_name() -> None:
    database = Held()
    writer = Threaded(database.write, 0)
    writer.add([entry(1)])
    database.reached.wait()
    for seq in range(2, MAX_QUEUED + 1):
        writer.add([entry(seq)])
    with pytest.raises(JournalFullError, match="100,000 events wait"):
        writer.add([entry(MAX_QUEUED + 1)])
    database.released.set()
    writer.close()
    assert writer.durable_seq == MAX_QUEUED


@pytest.mark.parametrize("kind", [Synchronous, Threaded])
def test_a_group_is_never_cut_by_the_size_of_a_batch(kind: type[Synchronous | Threaded]) -> None:
    database = Database()
    writer = kind(database.write, 0)
    groups = [[entry(100 * i + k) for k in range(1, 60)] for i in range(10)]
    for group in groups:
        writer.add(group)
    writer.close()
    ends = {group[-1][0] for group in groups}
    assert all(batch[-1] in ends for batch in database.batches)
    assert [seq for batch in database.batches for seq in batch] == [e[0] for group in groups for e in group]


async def test_waiters_are_answered_by_seq_and_a_cancelled_one_is_passed_over() -> None:
    database = Held()
    writer = Threaded(database.write, 0)
    for seq in (1, 2, 3):
        writer.add([entry(seq)])
    answered: list[int] = []

    async def wait(seq: int) -> None:
        await writer.durable(seq)
        answered.append(seq)

    tasks = [asyncio.create_task(wait(seq)) for seq in (3, 1, 2)]
    await asyncio.sleep(0)  # let them begin to wait
    tasks[1].cancel()
    database.released.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert answered == [2, 3]
    writer.close()


def test_a_writer_outlives_the_loop_that_waited_for_it() -> None:
    database = Held()
    writer = Threaded(database.write, 0)
    writer.add([entry(1)])

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.durable(1), 0)
        waiting = asyncio.ensure_future(writer.durable(1))
        await asyncio.sleep(0)
        assert not waiting.done()

    asyncio.run(give_up())
    database.released.set()
    writer.close()
    assert database.batches == [[1]]


# While the database is away -------------------------------------------------------------------------------------------


class Away(Database):
    """A database that is away until it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: SimpleQueue[list[int]] = SimpleQueue()
        self.back = Gate()

    def write(self, batch: list[Entry]) -> None:
        self.asked.put([seq for seq, *_ in batch])
        if not self.back.is_set():
            raise AwayError("the server is down: start it")
        super().write(batch)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts and signs of life follow each other at once."""
    monkeypatch.setattr(module, "RETRY_S", (0.001,))
    monkeypatch.setattr(module, "BEAT_S", 0.001)


@pytest.mark.usefixtures("soon")
async def test_a_batch_is_tried_again_until_the_database_is_back_and_the_others_wait_in_line() -> None:
    database = Away()
    writer = Threaded(database.write, 0)
    writer.add([entry(1), entry(2)])
    assert [database.asked.get(), database.asked.get()] == [[1, 2], [1, 2]]
    writer.add([entry(3)])
    waiting = asyncio.create_task(writer.durable(3))
    await asyncio.sleep(0)  # let it begin to wait
    assert database.asked.get() == [1, 2]
    assert (writer.trouble, writer.durable_seq, writer.depth) == ("the server is down: start it", 0, 3)
    database.back.set()
    await waiting
    assert database.batches == [[1, 2], [3]]
    assert (writer.trouble, writer.durable_seq, writer.depth) == ("", 3, 0)
    writer.close()


@pytest.mark.usefixtures("soon")
def test_a_failure_that_does_not_pass_ends_the_trying() -> None:
    database = Away()
    writer = Threaded(database.write, 0)
    database._poison = 1
    writer.add([entry(1)])
    database.asked.get()
    database.back.set()
    with pytest.raises(JournalError, match="disk is full"):
        writer.close()
    assert database.batches == []


@pytest.mark.usefixtures("soon")
def test_the_thread_shows_that_it_lives_when_idle_and_when_the_database_is_away() -> None:
    database = Away()
    writer = Threaded(database.write, 0)
    for _ in range(2):
        before = writer.beat
        wait_until(lambda before=before: writer.beat > before)  # type: ignore[misc]
    writer.add([entry(1)])
    database.asked.get()
    for _ in range(2):
        before = writer.beat
        wait_until(lambda before=before: writer.beat > before)  # type: ignore[misc]
    database.back.set()
    writer.close()


def test_the_age_is_that_of_the_oldest_entry_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    database = Held()
    writer = Threaded(database.write, 0)
    assert writer.age_s == 0.0
    writer.add([entry(1)])
    database.reached.wait()
    now = 107.0
    writer.add([entry(2)])
    assert writer.age_s == 7.0
    database.released.set()
    writer.flush()
    assert writer.age_s == 0.0
    database.reached.clear()
    database.released.clear()
    writer.add([entry(3)])
    database.reached.wait()
    now = 109.0
    assert writer.age_s == 2.0
    assert len(writer._ages) == 1
    database.released.set()
    writer.close()


def test_who_outruns_the_writer_makes_way_and_who_waits_for_the_database_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    made_way: list[float] = []
    monkeypatch.setattr(module, "monotonic", lambda: now)
    monkeypatch.setattr(module, "sleep", made_way.append)
    database = Held()
    writer = Threaded(database.write, 0)
    writer.add([entry(1)])
    now += CROWDED_S
    writer.add([entry(2)])
    assert made_way == []
    now += 0.001
    writer.add([entry(3)])
    writer.add([entry(4)])
    assert made_way == [WAY_S] * 2
    now = 100.0 + HUNG_S
    writer.add([entry(5)])
    assert made_way == [WAY_S] * 2
    database.released.set()
    writer.close()


@pytest.mark.usefixtures("soon")
def test_a_flush_gives_the_loop_back_in_time_and_what_waits_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Away()
    writer = Threaded(database.write, 0)
    writer.add([entry(1), entry(2)])
    database.asked.get()
    said = r"2 events could not be written within 0 s \(the server is down: start it\): see to the database and start"
    wait_until(lambda: writer.trouble)
    with monkeypatch.context() as patch:
        patch.setattr(module, "FLUSH_TIMEOUT_S", 0.01)
        with pytest.raises(JournalError, match=said):
            writer.flush()
    database.back.set()
    wait_until(lambda: writer.durable_seq == 2)
    writer.close()


@pytest.mark.usefixtures("soon")
async def test_closing_gives_up_in_time_says_how_much_is_lost_and_writes_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FLUSH_TIMEOUT_S", 0.01)
    database = Away()
    writer = Threaded(database.write, 0)
    writer.add([entry(1), entry(2)])
    waiting = asyncio.create_task(writer.durable(2))
    await asyncio.sleep(0)  # let it begin to wait
    wait_until(lambda: writer.trouble)
    for _ in range(2):
        with pytest.raises(JournalError, match="2 events could not be written"):
            writer.close()
    with pytest.raises(JournalError, match="2 events could not be written"):
        await waiting
    writer._thread.join()
    database.back.set()
    assert (database.batches, writer.durable_seq) == ([], 0)


def test_a_hanging_database_is_named_when_a_flush_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Held()
    writer = Threaded(database.write, 0)
    writer.add([entry(1)])
    said = r"1 events could not be written .*the database does not answer"
    with monkeypatch.context() as patch:
        patch.setattr(module, "FLUSH_TIMEOUT_S", 0.01)
        with pytest.raises(JournalError, match=said):
            writer.flush()
    database.released.set()
    wait_until(lambda: writer.durable_seq == 1)
    writer.close()


def test_a_synchronous_writer_does_not_wait_for_a_database_that_is_away() -> None:
    writer = Synchronous(Away().write, 0)
    writer.add([entry(1)])
    with pytest.raises(JournalError, match="the server is down"):
        writer.flush()
    assert (writer.age_s, writer.trouble, writer.beat) == (0.0, "", inf)
