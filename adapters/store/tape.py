"""The tape: conflated market data as the deciders saw it, in append-only files, one line for each event.

It shares the journal's sequence, so that replay can merge the two. Recovery does without it: it is not synced to disk,
and what a crash tears off is said, not guessed. A new segment begins at each start and whenever one is large.
"""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from core.events import MarketData, encode

SEGMENT_BYTES = 64 * 1024 * 1024  # some 250,000 events: a few seconds to read
BUFFER_BYTES = 1024 * 1024  # some 4,000 events between two writes, if nobody flushes
_TAIL_BYTES = 64 * 1024  # many times the longest line

_DECODER = msgspec.json.Decoder(MarketData)


class TapeError(Exception):
    """A record of the tape cannot be read, or stands in the wrong place."""


class TapeWriter:
    """Appends market data to a directory. Its owner calls `flush` on a timer, and `close` at the end.

    Start the sequence behind `last_seq(directory)` as well as behind the journal: the tape may have kept events whose
    effects the journal lost in a crash.
    """

    __slots__ = ("_directory", "_file", "_left", "_segment_bytes", "last_seq")

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._file: BinaryIO | None = None
        self._segment_bytes = segment_bytes
        self._left = 0
        self.last_seq = last_seq(directory)

    def put(self, seq: int, event: MarketData) -> None:
        """Append an event; seqs rise, and may leave gaps."""
        assert seq > self.last_seq, f"seq {seq} comes after {self.last_seq}"
        line = b"%d\t%b\n" % (seq, encode(event))
        if self._file is None or self._left < len(line):
            self._file = self._next_segment(seq)
        self._file.write(line)
        self._left -= len(line)
        self.last_seq = seq

    def flush(self) -> None:
        """Hand what waits to the operating system: from here on it survives the end of this process."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Flush, and begin a new segment if more comes."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next_segment(self, seq: int) -> BinaryIO:
        self.close()
        self._left = self._segment_bytes
        # a killed process may have left this name without one whole record, else the sequence would be behind it
        return (self._directory / f"tape-{seq:020d}.jsonl").open("wb", buffering=BUFFER_BYTES)


def _say(text: str) -> None:
    logging.getLogger(__name__).warning(text)


def read_tape(
    directory: Path, from_seq: int = 0, *, torn: Callable[[str], None] = _say
) -> Iterator[tuple[int, MarketData]]:
    """The events from a seq on. A record torn at the end of a segment is skipped, and `torn` is told which.

    Raises TapeError, naming file and row, for any other record that cannot be read or is out of sequence.
    """
    seen = -1
    for segment in _from(_segments(directory), from_seq):
        with segment.open("rb") as file:
            for row, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    torn(f"{segment}:{row}: the last record is torn: what came behind it is not on the tape")
                    break
                seq, event = _record(line, segment, row)
                if seq <= seen:
                    raise TapeError(f"{segment}:{row}: seq {seq} comes after {seen}: two daemons wrote this tape")
                seen = seq
                if seq >= from_seq:
                    yield seq, event


def last_seq(directory: Path) -> int:
    """The last seq on the tape, 0 on an empty one."""
    for segment in reversed(_segments(directory)):
        with segment.open("rb") as file:
            file.seek(max(0, segment.stat().st_size - _TAIL_BYTES), os.SEEK_SET)
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            return _record(whole.rpartition(b"\n")[2], segment, None)[0]
    return 0


def _segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("tape-*.jsonl"))


def _from(segments: list[Path], seq: int) -> list[Path]:
    """The segments that may hold `seq` and later ones; a segment's name is its first seq."""
    begins = [segment for segment in segments if int(segment.stem.partition("-")[2]) <= seq]
    return segments[max(0, len(begins) - 1) :]


def _record(line: bytes, segment: Path, row: int | None) -> tuple[int, MarketData]:
    head, _, payload = line.partition(b"\t")
    try:
        return int(head), _DECODER.decode(payload)
    except (ValueError, msgspec.MsgspecError) as error:
        raise TapeError(f"{segment}:{row or 'last'}: unreadable record ({error}): move the file away") from error
