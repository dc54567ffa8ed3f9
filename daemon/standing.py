"""A halt on disk, besides the journal: it stands over a restart also where the database did not take it.

The journal is where a halt is on record. But a halt is often called because something is wrong, and what is wrong may
be the database. So a kill is written to a small file as well, at once, and a start that finds the file is halted. Only
an operator's resume removes it, once it is durable itself; a crash in between leaves the file, and one more resume is
needed: that is the safe side.
"""

import asyncio
import os
from pathlib import Path
from threading import Lock

import msgspec

from core.causes import KILL
from core.events import TradingHalted, decode, encode
from core.trading import halted


class Standing:
    """The file of one run: the event of the halt, as the journal would have it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = Lock()  # two may halt at once

    async def put(self, halt: TradingHalted) -> None:
        """Write it in a thread: nobody waits for a disk while orders are taken back. Raises OSError."""
        await asyncio.to_thread(self.write, halt)

    def write(self, halt: TradingHalted) -> None:
        """Write it, through to the disk; raises OSError."""
        with self._writing:
            new = self._path.with_name(f"{self._path.name}.new")
            with new.open("wb") as file:
                file.write(encode(halt) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def get(self, now: int) -> TradingHalted | None:
        """What stands, as of `now`; None where nothing does. A file that cannot be read stands, too."""
        try:
            found = decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            return halted(KILL, now, text=f"{self._path} cannot be read: {error}")
        if not isinstance(found, TradingHalted):
            return halted(KILL, now, text=f"{self._path} holds no halt")
        return msgspec.structs.replace(found, ts=now)

    def clear(self) -> None:
        """Nothing stands any more; harmless when repeated. Raises OSError."""
        self._path.unlink(missing_ok=True)
