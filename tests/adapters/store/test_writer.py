"""Both writers keep one promise: in order, in whole batches, and nothing after the first failure."""

import asyncio
from collections.abc import Callable
from threading import Event as Gate

import pytest

from adapters.store.writer import (
    MAX_BATCH,
    MAX_QUEUED,
    Entry,
    JournalError,
    JournalFullError,
    Synchronous,
    Threaded,
    WriteBatch,
    Writer,
)
from core.events import TimeAdvanced

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
