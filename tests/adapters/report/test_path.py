"""A sampled path says what a walk over all events says."""

from decimal import Decimal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from adapters.report.path import POINTS_MAX, Columns, read_columns
from adapters.store.tape import TapeWriter
from core.events import MarketData
from tests.adapters.report.story import market


def event(ts: int, mid: int | None, volume: int) -> MarketData:
    price = None if mid is None else Decimal(mid)
    zero = Decimal(0)
    return MarketData(
        ts=ts,
        symbol="S",
        bid=price,
        bid_size=zero,
        ask=price,
        ask_size=zero,
        last=None,
        high=None,
        low=None,
        volume=Decimal(volume),
        notional=zero,
        trades=0,
    )


STEPS = st.tuples(st.integers(0, 500), st.none() | st.integers(1, 9), st.integers(0, 9))
TAPES = st.lists(STEPS, min_size=1, max_size=30).map(
    lambda steps: [event(sum(s[0] for s in steps[: i + 1]), mid, vol) for i, (_, mid, vol) in enumerate(steps)]
)


def columns(tape: list[MarketData]) -> Columns:
    filled = Columns()
    for seq, one in enumerate(tape):
        filled.add(seq * 2, one)  # odd seqs are the journal's
    return filled


def standing(events: list[MarketData]) -> float | None:
    return next((float(e.mid) for e in reversed(events) if e.mid is not None), None)


@given(TAPES, st.integers(-100, 4_000), st.integers(1, 20_000))
def test_a_sample_is_the_last_mid_and_the_volume_of_its_step(tape: list[MarketData], start: int, length: int) -> None:
    path = columns(tape).sample(start, start + length)
    assert len(path.mid) == len(path.volume) <= POINTS_MAX
    for i, (mid, volume) in enumerate(zip(path.mid, path.volume, strict=True)):
        begins = path.start + i * path.step
        assert mid == standing([e for e in tape if e.ts <= begins])
        assert volume == sum(e.volume for e in tape if begins < e.ts <= begins + path.step)


@given(TAPES, st.integers(-100, 4_000), st.integers(1, 20_000))
def test_a_path_reaches_its_end_or_the_tapes(tape: list[MarketData], start: int, length: int) -> None:
    path = columns(tape).sample(start, start + length)
    reaches = path.start + len(path.mid) * path.step
    end = max(start + 1, min(start + length, tape[-1].ts))
    assert end <= reaches < end + path.step


@given(TAPES, st.integers(0, 70))
def test_the_mid_at_a_seq_is_of_the_events_before_it(tape: list[MarketData], seq: int) -> None:
    assert columns(tape).mid_at(seq) == standing([e for i, e in enumerate(tape) if i * 2 < seq])


def test_the_tape_is_read_by_symbol_and_marked_with_its_last_mid(tmp_path: Path) -> None:
    writer = TapeWriter(tmp_path)
    writer.put(1, market(1, "A", "10.00", "10.02"))
    writer.put(2, market(2, "B", "20", "21"))
    writer.put(3, market(3, "A", "10.01", "10.02"))
    writer.close()
    by_symbol, notes = read_columns(tmp_path)
    assert {name: of_symbol.mark for name, of_symbol in by_symbol.items()} == {
        "A": Decimal("10.015"),
        "B": Decimal("20.5"),
    }
    assert notes == []


def test_a_torn_tape_is_read_as_far_as_it_goes_and_said_to_be_torn(tmp_path: Path) -> None:
    writer = TapeWriter(tmp_path)
    writer.put(1, market(1, "A", "10.00", "10.02"))
    writer.close()
    (segment,) = tmp_path.iterdir()
    segment.write_bytes(segment.read_bytes() + b'2\t{"type"')
    by_symbol, (note,) = read_columns(tmp_path)
    assert list(by_symbol) == ["A"]
    assert "torn" in note


def test_a_record_that_cannot_be_read_ends_the_path_and_is_said(tmp_path: Path) -> None:
    writer = TapeWriter(tmp_path)
    writer.put(1, market(1, "A", "10.00", "10.02"))
    writer.close()
    (segment,) = tmp_path.iterdir()
    segment.write_bytes(segment.read_bytes() + b"2\tnonsense\n")
    by_symbol, (note,) = read_columns(tmp_path)
    assert list(by_symbol) == ["A"]
    assert "unreadable record" in note
