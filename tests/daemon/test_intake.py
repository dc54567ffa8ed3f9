"""Where sources hand in: held back by a pause, counted, and acknowledged once all that followed is durable."""

import asyncio
from collections.abc import Iterable

import pytest

from adapters.store.writer import JournalError
from core.events import Event, SignalDead, SignalIgnored, SignalReceived
from daemon.bus import Bus, Handled
from daemon.intake import Intake
from daemon.recorder import Recorder
from tests.adapters.signals.lines import signal
from tests.clocks import settle


class Journal:
    """In the place of the database: what is durable is what a test says."""

    def __init__(self) -> None:
        self.put_: list[int] = []
        self.failure: JournalError | None = None
        self._committed = asyncio.Event()

    def put(self, *entries: tuple[int, Event]) -> None:
        self.put_ += [seq for seq, _ in entries]

    def commit(self) -> None:
        self._committed.set()

    def fail(self) -> None:
        self.failure = JournalError("away")
        self._committed.set()

    async def durable(self, seq: int) -> None:
        assert seq <= max(self.put_)
        await self._committed.wait()
        if self.failure is not None:
            raise self.failure


class Scene:
    """An intake on a bus where every signal is ignored, on record."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.journal = Journal()
        self.bus = Bus()
        recorder = Recorder(self.journal, None)  # type: ignore[arg-type]  # neither file nor tape
        self.bus.tap(recorder.record)
        self.bus.after(recorder.seal)
        self.bus.on(SignalReceived, self._ignore)
        self.intake = Intake(self.bus, recorder, self.open.wait)  # type: ignore[arg-type]  # it answers True

    def _ignore(self, event: SignalReceived) -> Iterable[Event]:
        yield SignalIgnored(ts=event.ts, signal_id=event.signal.signal_id, strategy="s", reason="DUPLICATE", text="")

    def receive(self, signal_id: str, ts: int, source: str = "a") -> None:
        self.intake.publish(SignalReceived(ts=ts, source=source, signal=signal(signal_id)))


async def test_during_a_pause_nobody_is_admitted() -> None:
    scene = Scene()
    waiting = asyncio.create_task(scene.intake.admitted())
    await settle()
    assert not waiting.done()
    scene.open.set()
    await waiting


async def test_each_source_is_counted_with_its_last_event_dead_letters_too() -> None:
    scene = Scene()
    scene.receive("1", ts=5)
    scene.receive("2", ts=6, source="b")
    scene.intake.publish(SignalDead(ts=7, source="a", reason="nonsense", text="?"))
    assert scene.intake.counts == {"a": Handled(2, 7), "b": Handled(1, 6)}


async def test_committed_waits_for_what_a_signal_caused() -> None:
    scene = Scene()
    scene.receive("1", ts=5)
    waiting = asyncio.create_task(scene.intake.committed())
    await settle()
    assert scene.journal.put_ == [1, 2]  # the signal, and what became of it
    assert not waiting.done()
    scene.journal.commit()
    await waiting


async def test_a_journal_that_failed_is_told_to_whoever_wants_to_acknowledge() -> None:
    scene = Scene()
    scene.receive("1", ts=5)
    scene.journal.fail()
    with pytest.raises(JournalError, match="away"):
        await scene.intake.committed()
