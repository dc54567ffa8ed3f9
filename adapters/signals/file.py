"""Signals from a file or standard input, one JSON value a line: for demos, replays and tests.

A signal is handed over when the clock reaches its own `ts`, in the order of the file; one whose time has passed, or is
too far ahead to be meant, is handed over at once. Empty lines and lines that begin with # are skipped. Of a line
that is too long only the beginning is kept, as a dead letter.
"""

import sys
from collections.abc import AsyncIterator
from functools import partial
from io import BufferedReader, FileIO
from pathlib import Path

import msgspec

from adapters.aside import aside
from adapters.clock import Clock
from adapters.signals.source import Intake, events_of
from core.events import SignalReceived
from core.signals import MAX_SIGNAL_BYTES
from core.units import NS_PER_S

_LINE_BYTES = MAX_SIGNAL_BYTES + 2  # with the two bytes that may end a line
AHEAD_NS_MAX = 7 * 86_400 * NS_PER_S  # a signal of a later time would hold up all behind it: its receiver refuses it


class FileSource:
    """Reads `path`; "-" is standard input. A file that cannot be read raises OSError naming it."""

    def __init__(self, path: str, clock: Clock) -> None:
        self.name = f"file:{Path(path).name}"
        self._path = path
        self._clock = clock

    async def run(self, intake: Intake) -> None:
        """Hand in every line at its time."""
        async for line in self._lines():
            text = line.strip()
            if not text or text.startswith(b"#"):
                continue
            for event in events_of(text, source=self.name, now=self._clock.now()):
                if isinstance(event, SignalReceived) and event.signal.ts - self._clock.now() <= AHEAD_NS_MAX:
                    await self._clock.sleep_until(event.signal.ts)
                await intake.admitted()
                intake.publish(
                    msgspec.structs.replace(event, ts=self._clock.now())
                )  # others of its line may have waited

    async def _lines(self) -> AsyncIterator[bytes]:
        if self._path != "-":
            with Path(self._path).open("rb") as file:  # noqa: ASYNC230 - a local file, read line by line, does not wait
                while line := _line(file):
                    yield line
            return
        # unbuffered: a thread that still reads when the interpreter ends must not hold the lock of a buffer
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:  # noqa: ASYNC230 - no path
            while line := await aside(partial(_line, stdin), "stdin"):
                yield line


def _line(file: BufferedReader | FileIO) -> bytes:
    """The next line, cut where it is certainly too long; what was cut off is no line of its own."""
    line = rest = file.readline(_LINE_BYTES)
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(_LINE_BYTES)
    return line
