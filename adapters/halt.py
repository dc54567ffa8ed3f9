"""The watch over the emergency halt: a key in Redis and a file, seen from a thread of its own.

Whoever sets the key, to any value, stops trading. The server pushes every change of it (RESP3, `CLIENT TRACKING` in
broadcast mode), and the key is read at each connect, behind each push and every `POLL_S` besides, because a push can be
lost and `SWAPDB` sends none. What is not certainly "no halt" is one:

- any value, a value of another type, a key that appeared and was gone before it could be read;
- a flush of the whole database, which may have taken the key with it;
- the file exists, or cannot be looked at.

A server that is silent, gone, or refuses us is *away*: the key cannot be seen, trading pauses until it can. Deleting
key or file never resumes anything; it is only the condition of an operator's `resume`.

The thread needs neither the event loop nor the database. It closes the latch on the way out itself, however busy the
loop is, and only then lets the loop know; and before it has even woken, the latch peeks at its connection.

Prior art: the kill functionality of RTS 6, article 12; Redis' client-side caching protocol.
"""

import time
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from redis.exceptions import ResponseError

from adapters.latch import Latch, nothing_new
from adapters.redis_link import DEADLINE_S, Link

POLL_S = 0.2  # between two reads of the key without a push, and between two looks at the file
ECHO_S = 0.02  # for the push about a change that is seen already
STALE_S = 2 * (POLL_S + DEADLINE_S)  # a view that is older than this says nothing


Folded = Callable[[], None]
"""Called once the bus has folded what was told: then the latch may open."""


class Listener(Protocol):
    """Whom the watch tells; called in the event loop's thread."""

    def stop(self, text: str, heard_ns: int, folded: Folded) -> None:
        """Somebody wants trading stopped; heard at `heard_ns` of the machine's monotonic clock."""
        ...

    def away(self, text: str, folded: Folded) -> None:
        """The key cannot be seen."""
        ...

    def back(self) -> None:
        """Key and file can be seen, and neither asks for a halt that was not told."""
        ...


class HaltWatch:
    """Watches from `start` to `close`. `connect` makes a new connection; None: there is only the file."""

    def __init__(
        self,
        *,
        key: str,
        file: Path,
        connect: Callable[[], Link] | None,
        latch: Latch,
        listener: Listener,
        soon: Callable[..., object],
    ) -> None:
        self._key = key.encode()
        self._file = file
        self._connect = connect
        self._latch = latch
        self._listener = listener
        self._soon = soon  # the loop's `call_soon_threadsafe`
        self._closing = Event()
        self._thread = Thread(target=self._run, name="halt", daemon=True)
        self._links: tuple[Link, ...] = ()  # one for pushes, one for questions
        self._news = ""  # in the push that is read just now
        self._echo = False  # the push that is read just now tells what was seen
        self._key_is_there = self._file_is_there = False
        self._was_away = True  # until the first look
        self._seen = 0.0  # when key and file were last seen, monotonic
        self.beat = inf  # the thread's last sign of life, monotonic; infinite before it begins
        self.looked = Event()  # the first look is over, whatever it saw

    def start(self) -> None:
        """Begin to watch."""
        self.beat = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closing.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join()

    def obstacle(self) -> str:
        """Why trading must not be resumed; empty where neither key nor file was there at the last look."""
        if self._key_is_there:
            return f"the key {self._key.decode()} is still set: delete it first"
        if self._file_is_there:
            return f"the file {self._file} is still there: remove it first"
        if time.monotonic() - self._seen > STALE_S:
            return f"the key {self._key.decode()} cannot be read now"
        return ""

    # The thread -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                if self._connect is None:
                    self._look()
                else:
                    self._watch(self._connect(), self._connect())
            except Exception as error:  # noqa: BLE001 - whatever it is, the key cannot be read
                self._lost(error)
                self._look_at_file()
            self._hang_up()  # behind `_lost`: the way is shut before the latch stops peeking
            self._closing.wait(POLL_S)

    def _watch(self, pushes: Link, questions: Link) -> None:
        """Look until a connection fails, which raises, or the watch is closed.

        Nothing is asked on the connection of the pushes, so whatever can be read there is one: the latch peeks at it.
        """
        self._links = (pushes, questions)
        pushes.open(self._pushed)
        pushes.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._key)
        self._latch.peek = pushes.peek()
        questions.open()
        while not self._closing.is_set():
            self._look()
            if pushes.wait(POLL_S):
                self._hear(pushes)

    def _hang_up(self) -> None:
        self._latch.peek = nothing_new
        for link in self._links:
            link.close()
        self._links = ()

    def _hear(self, pushes: Link, *, echo: bool = False) -> None:
        """Close the way out, then read what came; it may be about another key, or an echo of what was seen already."""
        number, heard_ns = self._latch.trip(), time.monotonic_ns()
        self._news, self._echo = "", echo
        try:
            pushes.read_push()
        finally:
            opened = partial(self._latch.hear, number)
            if self._news:
                self._tell(self._listener.stop, self._news, heard_ns, opened)
            else:
                self._tell(opened)

    def _pushed(self, message: list[Any]) -> None:
        """The server says that keys changed; without names, that all are gone. The key is read behind each push."""
        keys = message[1]
        if keys is None:
            self._news = "Redis was flushed, and the halt key may have been there"
        elif self._key in keys and not self._echo:
            if not self._key_is_there:  # a halt before it is read: it may be gone by then
                self._news = f"the key {self._key.decode()} was set"
            self._key_is_there = not self._key_is_there  # what was told is not told again, what was set anew is

    def _look(self) -> None:
        """Read key and file; tell what is new."""
        if self._links:
            self._look_at_key(self._links[-1])
        self._look_at_file()
        self._seen = self.beat = time.monotonic()
        if self._was_away:
            self._was_away = False
            self._tell(self._listener.back)
        self.looked.set()

    def _look_at_key(self, link: Link) -> None:
        try:
            there = link.ask("GET", self._key) is not None
        except ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            there = True
        was_there, self._key_is_there = self._key_is_there, there
        if there and not was_there:
            self._stop(f"the key {self._key.decode()} is set")
        if there != was_there and self._links[0].wait(ECHO_S):
            self._hear(self._links[0], echo=True)

    def _look_at_file(self) -> None:
        self.beat = time.monotonic()
        try:
            self._file.lstat()
            there = True
        except FileNotFoundError:
            there = False
        except OSError:  # not to be seen is not to be absent
            there = True
        was_there, self._file_is_there = self._file_is_there, there
        if there and not was_there:
            self._stop(f"the file {self._file} is there")

    def _lost(self, error: Exception) -> None:
        self._was_away = True
        text = f"Redis cannot be asked for the halt key: {error}"
        self._tell(self._listener.away, text, partial(self._latch.hear, self._latch.trip()))
        self.looked.set()

    def _stop(self, text: str) -> None:
        """Close the way out, then let the loop know."""
        number, heard_ns = self._latch.trip(), time.monotonic_ns()
        self._tell(self._listener.stop, text, heard_ns, partial(self._latch.hear, number))

    def _tell(self, act: Callable[..., None], *arguments: object) -> None:
        try:
            self._soon(act, *arguments)
        except RuntimeError:  # the loop is closed: nobody trades any more
            self._closing.set()
