"""A gap in a publisher's numbers is said once, repeats and new counts are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import Event, SignalGap, SignalReceived
from daemon.bus import Bus
from daemon.sequences import PUBLISHERS_MAX, Sequences
from tests.adapters.signals.lines import signal


def heard(seqs: list[int | None], source: str = "channel", bus: Bus | None = None) -> list[tuple[int, int]]:
    """Missing and before, of each gap."""
    sequences = Sequences()
    gaps: list[SignalGap] = []
    bus = Bus()
    bus.fold(SignalReceived, sequences.count)
    bus.on(SignalReceived, sequences.on_signal)
    bus.tap(lambda _, event: gaps.append(event) if isinstance(event, SignalGap) else None)
    for number, seq in enumerate(seqs):
        bus.publish(SignalReceived(ts=1, source=source, signal=signal(f"s{number}", seq=seq)))
    return [(gap.missing, gap.before) for gap in gaps]


@pytest.mark.parametrize(
    "seqs,gaps",
    [
        ([], []),
        ([None, None], []),
        ([7], []),  # where somebody begins to listen is nobody's gap
        ([7, 8, 9], []),
        ([7, 9], [(1, 9)]),
        ([7, 12, 13, 15], [(4, 12), (1, 15)]),
        ([7, 8, 7, 8, 9], []),  # repeats
        ([7, 9, 8, 10], [(1, 9)]),  # the missing one came late
        ([7, 8, 0, 1, 2], []),  # counted anew
        ([7, 8, 1, 2], []),
        ([7, 1, 3], [(1, 3)]),
        ([1, None, 2], []),
        ([0, 2**62], [(2**62 - 1, 2**62)]),
    ],
)
def test_gaps(seqs: list[int | None], gaps: list[tuple[int, int]]) -> None:
    assert heard(seqs) == gaps


@given(st.lists(st.integers(2, 30), unique=True, min_size=1).map(sorted))
def test_what_is_missing_is_what_was_left_out(seqs: list[int]) -> None:
    missing = sum(count for count, _ in heard(list(seqs)))
    assert missing == seqs[-1] - seqs[0] + 1 - len(seqs)


def test_each_strategy_on_each_source_counts_for_itself() -> None:
    sequences = Sequences()
    events: list[Event] = []
    for source, seq in (("stream", 5), ("channel", 9), ("stream", 6), ("channel", 10)):
        event = SignalReceived(ts=1, source=source, signal=signal("s", seq=seq))
        sequences.count(event)
        events += sequences.on_signal(event)
    assert events == []


def test_a_snapshot_remembers_the_numbers() -> None:
    before, after = Sequences(), Sequences()
    before.count(SignalReceived(ts=1, source="stream", signal=signal("s", seq=5)))
    after.load(before.dump())
    event = SignalReceived(ts=2, source="stream", signal=signal("t", seq=8))
    after.count(event)
    assert list(after.on_signal(event)) == [SignalGap(ts=2, source="stream", strategy="s", missing=2, before=8)]


def test_the_number_of_publishers_is_bounded() -> None:
    sequences = Sequences()
    for number in range(PUBLISHERS_MAX + 10):
        sequences.count(SignalReceived(ts=1, source=f"source {number}", signal=signal("s", seq=5)))
    assert len(sequences._last) == PUBLISHERS_MAX
