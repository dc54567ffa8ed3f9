"""The journal gives back what was put, says where it was tampered with, and agrees with its tables after any crash."""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, insert, select, update

from adapters.store.journal import GENESIS, PAGE, read, tail, verify
from adapters.store.projections import project
from adapters.store.tables import alerts, journal
from adapters.store.upserts import apply
from adapters.store.writer import MAX_BATCH, JournalError
from core.events import Anomaly, DaemonStarted, Event, TimeAdvanced, encode
from tests.adapters.store import examples
from tests.adapters.store.support import MARKET_DATA, SEQUENCES, contents, database, isolated, journal_on, journaled

pytestmark = pytest.mark.usefixtures("both")

Entries = list[tuple[int, Event]]


def rebuilt(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Tables drawn anew from another database's journal."""
    other = database()
    with other.begin() as connection:
        apply(connection, [write for seq, event in read(engine) for write in project(seq, event)])
    return contents(other, without="journal")


# Reading --------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(SEQUENCES, st.integers(0, 40))
@isolated
def test_what_was_put_is_read_from_any_seq_on(entries: Entries, start: int) -> None:
    engine = journaled(entries)
    assert list(read(engine)) == entries
    assert list(read(engine, start)) == [(seq, event) for seq, event in entries if seq >= start]


@settings(max_examples=40)
@given(SEQUENCES)
@isolated
def test_the_last_hash_is_the_one_of_the_definition(entries: Entries) -> None:
    digest = GENESIS
    for _, event in entries:
        digest = sha256(digest + encode(event)).digest()
    assert verify(journaled(entries)) == (entries[-1][0], digest)


@settings(max_examples=40)
@given(SEQUENCES)
@isolated
def test_the_tables_can_be_drawn_anew_from_the_journal(entries: Entries) -> None:
    engine = journaled(entries)
    assert contents(engine, without="journal") == rebuilt(engine)


@settings(max_examples=15)
@given(SEQUENCES)
@isolated
def test_a_thread_writes_the_same_rows(entries: Entries) -> None:
    assert contents(journaled(entries, threaded=True)) == contents(journaled(entries))


def test_an_empty_journal_ends_at_the_genesis() -> None:
    engine = database()
    assert list(read(engine)) == []
    assert verify(engine) == tail(engine) == (0, GENESIS)


def test_reading_crosses_pages_without_losing_or_doubling_an_entry() -> None:
    engine = journaled((seq, TimeAdvanced(ts=seq)) for seq in range(1, 2 * PAGE + 1))
    assert [seq for seq, _ in read(engine)] == list(range(1, 2 * PAGE + 1))


@pytest.mark.parametrize("threaded", [False, True])
def test_a_new_run_continues_the_chain(*, threaded: bool) -> None:
    engine = journaled(examples.ENTRIES[:5])
    second = journal_on(engine, threaded=threaded)
    assert second.last_seq == second.durable_seq == 5
    for seq, event in examples.ENTRIES[5:]:
        second.put((seq, event))
    second.close()
    assert list(second.read()) == examples.ENTRIES
    assert verify(engine) == (second.last_seq, second.tail_hash)


# Tampering ------------------------------------------------------------------------------------------------------------


def breaks_at(engine: Engine, from_seq: int = 0) -> int:
    """The seq that reading names."""
    with pytest.raises(JournalError, match=r"broken at seq \d+") as caught:
        list(read(engine, from_seq))
    return int(str(caught.value).partition("seq ")[2].partition(":")[0])


def change(engine: Engine, at: int, /, **values: object) -> None:
    with engine.begin() as connection:
        assert connection.execute(update(journal).where(journal.c.seq == at).values(values)).rowcount == 1


def payload(engine: Engine, seq: int) -> str:
    with engine.connect() as connection:
        return str(connection.execute(select(journal.c.payload).where(journal.c.seq == seq)).scalar_one())


@settings(max_examples=40)
@given(SEQUENCES, st.data())
@isolated
def test_one_changed_byte_of_a_payload_is_found_at_its_entry(entries: Entries, data: st.DataObject) -> None:
    engine = journaled(entries)
    seq, event = data.draw(st.sampled_from(entries))
    text = encode(event).decode()
    at = data.draw(st.integers(0, len(text) - 1))
    change(engine, seq, payload=text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :])
    assert breaks_at(engine) == seq


@settings(max_examples=30)
@given(SEQUENCES.filter(lambda entries: len(entries) > 1), st.data())
@isolated
def test_a_removed_entry_is_found_at_the_next_one(entries: Entries, data: st.DataObject) -> None:
    engine = journaled(entries)
    at = data.draw(st.integers(0, len(entries) - 2))
    with engine.begin() as connection:
        connection.execute(delete(journal).where(journal.c.seq == entries[at][0]))
    assert breaks_at(engine) == entries[at + 1][0]


@pytest.mark.parametrize("first,second", [(1, 2), (3, 15), (14, 15)])
def test_exchanged_entries_are_found_at_the_first_of_them(first: int, second: int) -> None:
    engine = journaled(examples.ENTRIES)
    change(engine, second, seq=99)
    change(engine, first, seq=second)
    change(engine, 99, seq=first)
    assert breaks_at(engine) == first


@pytest.mark.parametrize("column,value", [("ts", 1), ("type", "FillBooked"), ("parent_id", None), ("cl_ord_id", "X")])
def test_a_column_that_belies_its_payload_is_found(column: str, value: object) -> None:
    engine = journaled(examples.ENTRIES)
    change(engine, 6, **{column: value})
    assert breaks_at(engine) == 6


def test_a_reader_that_begins_behind_the_change_does_not_trip_over_it() -> None:
    engine = journaled(examples.ENTRIES)
    change(engine, 6, payload="{}")
    assert [seq for seq, _ in read(engine, 7)] == list(range(7, 16))


def test_entries_cut_off_at_the_end_show_in_the_last_hash_alone() -> None:
    engine = journaled(examples.ENTRIES)
    whole = verify(engine)
    with engine.begin() as connection:
        connection.execute(delete(journal).where(journal.c.seq > 10))
    assert verify(engine) == verify(journaled(examples.ENTRIES[:10])) != whole


def test_an_event_that_this_version_does_not_know_is_named() -> None:
    engine = journaled(examples.ENTRIES[:1])
    text = '{"type":"Tomorrow","ts":1}'
    change(engine, 1, payload=text, hash=sha256(GENESIS + text.encode()).digest())
    with pytest.raises(JournalError, match="seq 1: this version cannot read its payload"):
        list(read(engine))


# Crashes and failures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("put", [0, 1, MAX_BATCH - 1, MAX_BATCH, MAX_BATCH + 1, 2 * MAX_BATCH + 40])
def test_a_crash_between_batches_leaves_a_prefix_and_tables_that_agree_with_it(put: int) -> None:
    engine = database()
    abandoned = journal_on(engine)
    entries = [(seq, examples.STORY[seq % len(examples.STORY)]) for seq in range(1, put + 1)]
    for seq, event in entries:
        abandoned.put((seq, event))
    kept = put // MAX_BATCH * MAX_BATCH
    assert list(read(engine)) == entries[:kept]
    assert contents(engine, without="journal") == rebuilt(engine)
    assert journal_on(engine).last_seq == kept


@pytest.mark.parametrize("threaded", [False, True])
def test_a_batch_that_fails_half_way_leaves_nothing(*, threaded: bool) -> None:
    engine = journaled(examples.ENTRIES)
    before = contents(engine, without="alerts")
    alerts.drop(engine)  # the projection of an anomaly will fail, behind the journal's row
    broken = journal_on(engine, threaded=threaded)
    broken.put((16, Anomaly(ts=22, venue="paper", cl_ord_id="P1C1A1", text="?")))
    with pytest.raises(JournalError, match="alerts"):
        broken.flush()
    with pytest.raises(JournalError, match="repair the database"):
        broken.put((17, TimeAdvanced(ts=23)))
    with pytest.raises(JournalError):
        broken.close()
    alerts.create(engine)
    assert contents(engine, without="alerts") == before


def test_an_entry_that_is_there_already_ends_the_journal() -> None:
    engine = database()
    writer = journal_on(engine)
    intruder = {"seq": 1, "ts": 1, "type": "TimeAdvanced", "payload": "{}", "hash": GENESIS}
    with engine.begin() as connection:
        connection.execute(insert(journal), intruder)
    writer.put((1, TimeAdvanced(ts=1)))
    with pytest.raises(JournalError, match=r"(UNIQUE|unique) constraint .*: repair the database"):
        writer.flush()


@pytest.mark.parametrize("threaded", [False, True])
async def test_durable_means_committed(*, threaded: bool) -> None:
    engine = database()
    writer = journal_on(engine, threaded=threaded)
    for seq, event in examples.ENTRIES:
        writer.put((seq, event))
        await writer.durable(seq)
        assert writer.durable_seq == seq
        with engine.connect() as connection:
            assert connection.execute(select(func.max(journal.c.seq))).scalar_one() == seq
    assert writer.depth == 0
    writer.close()


def test_a_seq_that_does_not_rise_is_our_own_fault() -> None:
    writer = journal_on(database())
    writer.put((2, TimeAdvanced(ts=1)))
    with pytest.raises(AssertionError, match="seq 2 comes after 2"):
        writer.put((2, TimeAdvanced(ts=1)))


@settings(max_examples=3)
@given(MARKET_DATA)
@isolated
def test_market_data_is_refused(event: Event) -> None:
    with pytest.raises(AssertionError, match="tape"):
        journal_on(database()).put((1, event))


def test_text_that_no_database_can_hold_changes_nothing() -> None:
    writer = journal_on(database())
    with pytest.raises(UnicodeEncodeError):
        writer.put((1, DaemonStarted(ts=1, version="\ud800", config_hash="", world="", account="")))
    assert (writer.last_seq, writer.tail_hash, writer.depth) == (0, GENESIS, 0)
