"""The newest snapshot that can be trusted is taken, and what was passed over is said."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select, update

from adapters.store.journal import GENESIS, tail
from adapters.store.snapshots import SCHEMA_VERSION, Snapshot, load_latest, save
from adapters.store.tables import journal, snapshots
from core.positions import Book
from tests.adapters.store import examples
from tests.adapters.store.support import database, journaled

pytestmark = pytest.mark.usefixtures("both")


def snapshot(engine: Engine, seq: int) -> Snapshot:
    """State after `seq`, as the journal stands there."""
    return Snapshot(seq=seq, ts=seq, chain_hash=tail(engine, before=seq + 1)[1], state={"counter": {"n": seq}})


def saved(*seqs: int) -> Engine:
    engine = journaled(examples.ENTRIES)
    for seq in seqs:
        save(engine, snapshot(engine, seq))
    return engine


def kept(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(select(snapshots.c.seq).order_by(snapshots.c.seq)).scalars())


def test_without_a_snapshot_there_is_none_and_nothing_to_say() -> None:
    assert load_latest(database()) == (None, [])


def test_the_newest_is_loaded_as_it_was_saved() -> None:
    engine = saved(5, 10)
    assert load_latest(engine) == (snapshot(engine, 10), [])


def test_two_are_kept_and_one_of_the_same_seq_is_replaced() -> None:
    engine = saved(5, 10, 15, 15)
    assert kept(engine) == [10, 15]


def test_a_seq_between_two_entries_is_as_good_as_one_of_an_entry() -> None:
    engine = saved(15)
    later = Snapshot(seq=40, ts=40, chain_hash=tail(engine)[1], state={})  # market data came behind entry 15
    save(engine, later)
    assert load_latest(engine) == (later, [])


def test_before_the_first_entry_the_hash_is_the_genesis() -> None:
    engine = database()
    first = Snapshot(seq=0, ts=1, chain_hash=GENESIS, state={})
    save(engine, first)
    assert load_latest(engine) == (first, [])


@pytest.mark.parametrize(
    "values,note",
    [
        ({"payload": b"\x80"}, "it is damaged"),
        ({"sha256": bytes(32)}, "it is damaged"),
        ({"schema_version": 99}, f"it has schema 99, this version reads {SCHEMA_VERSION}"),
        ({"chain_hash": bytes(32)}, "the journal has another hash there"),
        ({"ts": 11}, "it is damaged"),
    ],
)
def test_one_that_cannot_be_trusted_falls_back_to_the_previous(values: dict[str, Any], note: str) -> None:
    engine = saved(5, 10)
    with engine.begin() as connection:
        connection.execute(update(snapshots).where(snapshots.c.seq == 10).values(values))
    assert load_latest(engine) == (snapshot(engine, 5), [f"snapshot at seq 10 is passed over: {note}"])


def test_one_that_was_moved_is_passed_over() -> None:
    engine = saved(5, 15)  # between entries the journal's hash is the same
    with engine.begin() as connection:
        connection.execute(update(snapshots).where(snapshots.c.seq == 15).values(seq=16))
    found, notes = load_latest(engine)
    assert (found, notes) == (snapshot(engine, 5), ["snapshot at seq 16 is passed over: it is damaged"])


def test_what_is_no_state_is_passed_over() -> None:
    engine = saved(5)
    save(engine, msgspec.structs.replace(snapshot(engine, 10), state=["?"]))
    found, notes = load_latest(engine)
    assert (found, len(notes)) == (snapshot(engine, 5), 1)


def test_whatever_becomes_of_its_bytes_it_is_passed_over() -> None:
    engine = saved(5, 10)
    with engine.connect() as connection:
        payload = connection.execute(select(snapshots.c.payload).where(snapshots.c.seq == 10)).scalar_one()

    @given(st.binary(max_size=40) | st.integers(0, len(payload) - 1).map(lambda kept: payload[:kept]))
    def look(changed: bytes) -> None:
        assume(changed != payload)
        with engine.begin() as connection:
            connection.execute(update(snapshots).where(snapshots.c.seq == 10).values(payload=changed))
        assert load_latest(engine)[0] == snapshot(engine, 5)

    look()


def test_the_one_before_another_is_loaded() -> None:
    engine = saved(5, 10)
    assert load_latest(engine, before=10) == (snapshot(engine, 5), [])
    assert load_latest(engine, before=5) == (None, [])


def test_one_that_is_ahead_of_its_journal_is_passed_over() -> None:
    engine = saved(5, 15)
    with engine.begin() as connection:
        connection.execute(delete(journal).where(journal.c.seq > 12))
    found, notes = load_latest(engine)
    assert (found, len(notes)) == (snapshot(engine, 5), 1)


def test_without_any_that_can_be_trusted_there_is_none() -> None:
    engine = saved(5, 10)
    with engine.begin() as connection:
        connection.execute(update(snapshots).values(payload=b""))
    found, notes = load_latest(engine)
    assert found is None
    assert [note.partition(" is")[0] for note in notes] == ["snapshot at seq 10", "snapshot at seq 5"]


def test_a_book_survives_to_the_digit() -> None:
    book, restored = Book(), Book()
    book.fill(examples.filled(1, "P1C1A1", "e1"))
    engine = journaled(examples.ENTRIES)
    save(engine, Snapshot(seq=15, ts=21, chain_hash=tail(engine)[1], state={"book": book.dump()}))
    found, _ = load_latest(engine)
    assert found is not None
    restored.load(found.state["book"])
    assert restored.dump() == book.dump()
    assert msgspec.json.encode(restored.dump()) == msgspec.json.encode(book.dump())
    assert restored.cash == -Decimal("10123.35")
