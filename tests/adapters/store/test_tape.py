"""The tape gives back what was put, skips what a crash tore off, and refuses what is wrong inside."""

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.store.tape import TapeError, TapeWriter, last_seq, read_tape
from core.events import MarketData, TimeAdvanced, encode
from tests.adapters.store.support import MARKET_DATA

RUNS = st.lists(st.lists(st.tuples(st.integers(1, 3), MARKET_DATA), max_size=5), max_size=4)


def market(ts: int) -> MarketData:
    zero, px = Decimal(0), Decimal("10.50")
    return MarketData(
        ts=ts,
        symbol="AAPL",
        bid=px,
        bid_size=zero,
        ask=px,
        ask_size=zero,
        last=None,
        high=None,
        low=None,
        volume=zero,
        notional=zero,
        trades=0,
    )


def written(directory: Path, *runs: range) -> list[Path]:
    """Each run writes a segment of its own."""
    for run in runs:
        writer = TapeWriter(directory)
        for seq in run:
            writer.put(seq, market(seq))
        writer.close()
    return sorted(directory.iterdir())


def seqs(directory: Path, from_seq: int = 0) -> tuple[list[int], list[str]]:
    """What is read, and what is said to be torn."""
    notes: list[str] = []
    return [seq for seq, _ in read_tape(directory, from_seq, torn=notes.append)], notes


@settings(max_examples=40)
@given(RUNS, st.integers(0, 40))
def test_what_was_put_over_many_runs_is_read_from_any_seq_on(
    runs: list[list[tuple[int, MarketData]]], start: int
) -> None:
    with TemporaryDirectory() as name:
        put: list[tuple[int, MarketData]] = []
        for run in runs:
            writer = TapeWriter(Path(name))
            assert writer.last_seq == (put[-1][0] if put else 0)
            for step, event in run:
                put.append((writer.last_seq + step, event))
                writer.put(*put[-1])
            writer.close()
        assert list(read_tape(Path(name), start)) == [(seq, event) for seq, event in put if seq >= start]


def test_a_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    line = len(b"10\t%b\n" % encode(market(10)))
    writer = TapeWriter(tmp_path, segment_bytes=3 * line)
    for seq in range(10, 18):
        writer.put(seq, market(seq))
    writer.close()
    files = sorted(tmp_path.iterdir())
    assert [file.stat().st_size for file in files] == [3 * line, 3 * line, 2 * line]
    for start in range(9, 19):
        assert seqs(tmp_path, start) == (list(range(max(start, 10), 18)), [])
    assert last_seq(tmp_path) == 17


def test_what_is_flushed_survives_the_writer(tmp_path: Path) -> None:
    writer = TapeWriter(tmp_path)
    writer.put(1, market(1))
    writer.flush()
    assert seqs(tmp_path) == ([1], [])
    writer.put(2, market(2))
    assert seqs(tmp_path) == ([1], [])
    writer.close()
    assert seqs(tmp_path) == ([1, 2], [])


def test_a_torn_record_ends_its_segment_and_is_reported(tmp_path: Path) -> None:
    first, _ = written(tmp_path, range(1, 4), range(4, 6))
    whole = first.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[-1])):
        first.write_bytes(whole[:-cut])
        read, notes = seqs(tmp_path)
        assert read == [1, 2, 4, 5]
        assert len(notes) == 1
        assert notes[0].startswith(f"{first}:3: the last record is torn")


def test_a_segment_that_ends_in_zeros_after_a_loss_of_power_is_torn(tmp_path: Path) -> None:
    (file,) = written(tmp_path, range(1, 4))
    file.write_bytes(file.read_bytes() + bytes(4096))
    assert seqs(tmp_path)[0] == [1, 2, 3]
    assert last_seq(tmp_path) == 3


def test_a_run_after_a_tear_begins_behind_what_is_left(tmp_path: Path) -> None:
    first, second = written(tmp_path, range(1, 4), range(4, 5))
    second.write_bytes(b"4\t{")
    assert last_seq(tmp_path) == 3
    first.write_bytes(first.read_bytes()[:-1])
    assert last_seq(tmp_path) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"2\t{}\n",
        b"two\t%b\n" % encode(market(2)),
        b"2 %b\n" % encode(market(2)),
        b"2\t%b\n" % encode(TimeAdvanced(ts=2)),
        b"\n",
        b"\xff\xfe\n",
    ],
)
def test_a_corrupt_record_inside_names_its_file_and_row(tmp_path: Path, line: bytes) -> None:
    (file,) = written(tmp_path, range(1, 4))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], line, lines[2]]))
    with pytest.raises(TapeError) as caught:
        seqs(tmp_path)
    assert str(caught.value).startswith(f"{file}:2: unreadable record")


def test_segments_that_end_before_the_start_are_not_opened(tmp_path: Path) -> None:
    first, _ = written(tmp_path, range(1, 4), range(4, 6))
    first.write_bytes(b"rubbish\n")
    assert seqs(tmp_path, 4) == ([4, 5], [])
    with pytest.raises(TapeError):
        seqs(tmp_path, 3)


def test_a_tape_of_two_writers_is_refused(tmp_path: Path) -> None:
    one, two = TapeWriter(tmp_path), TapeWriter(tmp_path)
    for seq in (1, 3):
        one.put(seq, market(seq))
    two.put(2, market(2))
    one.close()
    two.close()
    with pytest.raises(TapeError, match="seq 2 comes after 3"):
        seqs(tmp_path)


def test_a_seq_that_does_not_rise_is_our_own_fault(tmp_path: Path) -> None:
    written(tmp_path, range(1, 4))
    with pytest.raises(AssertionError, match="seq 3 comes after 3"):
        TapeWriter(tmp_path).put(3, market(3))


def test_where_nothing_was_written_nothing_is_read(tmp_path: Path) -> None:
    TapeWriter(tmp_path / "new" / "tape").close()
    assert seqs(tmp_path / "new" / "tape") == ([], [])
    assert seqs(tmp_path / "absent") == ([], [])
