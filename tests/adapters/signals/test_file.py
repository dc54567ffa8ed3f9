"""Signals from a file: each line at its time, whatever is wrong with the line before it."""

import asyncio
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from adapters.signals.file import AHEAD_NS_MAX, FileSource
from core.events import SignalDead, SignalReceived
from core.signals import MAX_SIGNAL_BYTES, TargetSignal
from tests.clocks import ManualClock, settle
from tests.fakes.intake import RecordingIntake

NOW = 1_000
Published = SignalReceived | SignalDead


def signal(signal_id: str, ts: int = 5) -> TargetSignal:
    return TargetSignal(signal_id=signal_id, ts=ts, strategy="s", symbol="X", qty=Decimal(5))


def line(signal_id: str, ts: int = 5) -> bytes:
    return msgspec.json.encode(signal(signal_id, ts))


async def read(path: Path, content: bytes) -> list[Published]:
    path.write_bytes(content)  # noqa: ASYNC240 - nobody waits for it
    clock = ManualClock(NOW)
    intake = RecordingIntake()
    await clock.run(FileSource(str(path), clock).run(intake))
    return intake.published


def received(signal_id: str, ts: int = 5, at: int = NOW) -> SignalReceived:
    return SignalReceived(ts=at, source="file:signals.jsonl", signal=signal(signal_id, ts))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "signals.jsonl"


async def test_every_line_is_a_signal(path: Path) -> None:
    assert await read(path, line("1") + b"\n" + line("2") + b"\n") == [received("1"), received("2")]


async def test_the_last_line_needs_no_end(path: Path) -> None:
    assert await read(path, line("1") + b"\r\n" + line("2")) == [received("1"), received("2")]


async def test_an_empty_file_is_no_signal(path: Path) -> None:
    assert await read(path, b"") == []


async def test_empty_lines_and_comments_are_skipped(path: Path) -> None:
    assert await read(path, b"# a day\n\n  \n" + line("1") + b"\n  # the end\n") == [received("1")]


async def test_a_line_that_is_no_signal_becomes_a_dead_letter_and_the_rest_goes_on(path: Path) -> None:
    one, dead, two = await read(path, line("1") + b"\nnonsense\n" + line("2") + b"\n")
    assert (one, two) == (received("1"), received("2"))
    assert isinstance(dead, SignalDead)
    assert (dead.ts, dead.source, dead.text) == (NOW, "file:signals.jsonl", "nonsense")


async def test_a_line_may_be_a_batch(path: Path) -> None:
    assert await read(path, b"[" + line("1") + b"," + line("2") + b"]\n") == [received("1"), received("2")]


async def test_signals_are_handed_over_at_their_own_time_and_in_the_order_of_the_file(path: Path) -> None:
    content = b"\n".join([line("1", NOW + 50), line("2", NOW - 1), line("3", NOW + 70), line("4", NOW + 60)])
    assert await read(path, content) == [
        received("1", NOW + 50, at=NOW + 50),
        received("2", NOW - 1, at=NOW + 50),
        received("3", NOW + 70, at=NOW + 70),
        received("4", NOW + 60, at=NOW + 70),
    ]


async def test_the_signals_of_a_batch_have_each_their_own_time(path: Path) -> None:
    batch = b"[" + line("1", NOW + 5) + b"," + line("2", NOW + 9) + b"]"
    assert await read(path, batch) == [received("1", NOW + 5, at=NOW + 5), received("2", NOW + 9, at=NOW + 9)]


async def test_a_time_that_cannot_be_meant_does_not_hold_up_the_lines_behind_it(path: Path) -> None:
    far, last = NOW + AHEAD_NS_MAX + 1, NOW + AHEAD_NS_MAX
    content = b"\n".join([line("far", far), line("1", NOW + 5), line("last", last), line("2", last + 1)])
    assert await read(path, content) == [
        received("far", far, at=NOW),
        received("1", NOW + 5, at=NOW + 5),
        received("last", last, at=last),
        received("2", last + 1, at=last + 1),
    ]


async def test_what_is_late_in_a_batch_carries_the_time_of_its_receipt(path: Path) -> None:
    batch = b"[" + line("1", NOW + 50) + b"," + line("2", NOW - 1) + b',"?"]'
    times = [event.ts for event in await read(path, batch)]
    assert times == [NOW + 50, NOW + 50, NOW + 50]


@pytest.mark.parametrize("padding", [MAX_SIGNAL_BYTES, 3 * MAX_SIGNAL_BYTES])
async def test_a_line_that_is_too_long_is_one_dead_letter_and_its_rest_is_no_signal(path: Path, padding: int) -> None:
    # the end of the long line looks like a signal of its own, wherever it may be cut
    long = b'{"pad":"' + b"x" * padding + b"\r" + b" " * MAX_SIGNAL_BYTES + line("evil")
    dead, after = await read(path, long + b"\n" + line("1") + b"\n")
    assert isinstance(dead, SignalDead)
    assert "more than 65,536" in dead.reason
    assert dead.text.startswith('{"pad":"xxx')
    assert len(dead.text) <= 2_000
    assert after == received("1")


async def test_a_line_of_the_largest_size_is_read(path: Path) -> None:
    whole = line("1")
    filled = whole[:1] + b" " * (MAX_SIGNAL_BYTES - len(whole)) + whole[1:]
    assert len(filled) == MAX_SIGNAL_BYTES
    assert await read(path, filled + b"\r\n" + line("2")) == [received("1"), received("2")]


async def test_a_file_that_is_not_there_raises_and_names_it(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"signals\.jsonl"):
        await FileSource(str(path), ManualClock(NOW)).run(RecordingIntake())


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard input as a pipe; the test writes and closes its other end."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as file:
        monkeypatch.setattr(sys, "stdin", file)
        yield writing


async def test_standard_input_is_read_like_a_file(stdin: int) -> None:
    os.write(stdin, line("1") + b"\nnonsense\n# a comment\n" + line("2"))
    os.close(stdin)
    intake = RecordingIntake()
    async with asyncio.timeout(10):
        await FileSource("-", ManualClock(NOW)).run(intake)
    published = intake.published
    assert [type(event) for event in published] == [SignalReceived, SignalDead, SignalReceived]
    assert {event.source for event in published} == {"file:-"}


def test_a_source_that_waits_for_standard_input_does_not_hold_up_the_end_of_the_program(stdin: int) -> None:
    async def give_up() -> None:
        task = asyncio.create_task(FileSource("-", ManualClock(NOW)).run(RecordingIntake()))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())  # which waits for asyncio's own threads
    os.close(stdin)
