"""What followed from one outside event is on record as a whole or not at all."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adapters.store.engine import WriterLock, open_engine, upgrade
from adapters.store.journal import Journal
from adapters.store.tape import TapeWriter, read_tape
from core.events import Anomaly, Event, TimeAdvanced
from daemon.bus import Bus
from daemon.recorder import Recorder
from tests.builders import quote

EFFECTS = 300  # more than a batch of the journal


@pytest.fixture
def engine(tmp_path: Path) -> Iterable[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'j.db'}", sync="normal")
    upgrade(engine)
    yield engine
    engine.dispose()


class Chatty:
    """Answers every due time with many events, and looks at the journal while it does."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.seen: set[int] = set()

    def on_due(self, event: TimeAdvanced) -> Iterable[Event]:
        """Speak."""
        for number in range(EFFECTS):
            yield Anomaly(ts=event.ts, venue="paper", cl_ord_id=str(number), text="")
            self.seen.add(self.journal.last_seq)


def test_nothing_of_a_cascade_reaches_the_journal_before_its_end(engine: Engine, tmp_path: Path) -> None:
    journal = Journal(WriterLock(engine), threaded=False)
    recorder, chatty, bus = Recorder(journal, TapeWriter(tmp_path)), Chatty(journal), Bus()
    bus.on(TimeAdvanced, chatty.on_due)
    bus.tap(recorder.record)
    bus.after(recorder.seal)
    bus.publish(TimeAdvanced(ts=1))
    assert chatty.seen == {0}
    assert journal.last_seq == EFFECTS + 1
    journal.close()
    assert len(list(journal.read())) == EFFECTS + 1


async def test_durability_waits_for_the_end_of_the_cascade(engine: Engine, tmp_path: Path) -> None:
    journal = Journal(WriterLock(engine), threaded=False)
    recorder = Recorder(journal, TapeWriter(tmp_path))
    recorder.record(1, TimeAdvanced(ts=1))
    waiting = asyncio.create_task(recorder.durable(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    recorder.seal()
    await waiting
    assert journal.durable_seq == 1
    await recorder.durable(1)  # long ago: at once
    journal.close()


def test_market_data_goes_to_the_tape_at_once(engine: Engine, tmp_path: Path) -> None:
    tape = TapeWriter(tmp_path)
    recorder = Recorder(Journal(WriterLock(engine), threaded=False), tape)
    recorder.record(1, quote(ts=1))
    tape.flush()
    assert list(read_tape(tmp_path)) == [(1, quote(ts=1))]
    tape.close()
