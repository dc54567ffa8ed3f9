"""Signals from a Redis Stream, read by a consumer group: the way in that loses nothing.

An entry has one field, `signal`, with what a line of a file would hold. It is acknowledged when what it caused is
durable, so a crash at any moment delivers it again, and the sizer ignores the repeat. On each connect everything that
was delivered and not acknowledged, to whomever, is claimed, one by one: a group belongs to one daemon. A group that is
gone, as after a restart of an empty server, is made again and reads the stream from its beginning.
"""

from collections.abc import Iterator
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from adapters.clock import Clock
from adapters.signals.source import Intake, SignalEvent, dead, events_of, hand_in

FIELD = b"signal"
CONSUMER = "execd"  # always the same: what an earlier run left unacknowledged is its own
BATCH = 128  # entries of one read: what is lost with a crash is only time; large enough to share a commit
DELIVERIES_MAX = 4  # of one entry; each start of a daemon that it ends is one more
BLOCK_MS = 1_000  # how long the server waits for an entry before it answers "none"

Entry = tuple[bytes, dict[bytes, bytes] | None]
"""An id and its fields; None where the entry was trimmed off the stream after it was delivered."""


class RedisStreamSource:
    """Reads `stream` as `group`. The client's deadline must exceed `BLOCK_MS`."""

    def __init__(self, client: Redis, *, stream: str, group: str, clock: Clock) -> None:
        self.name = f"stream:{stream}"
        self._client = client
        self._stream = stream
        self._group = group
        self._clock = clock

    async def run(self, intake: Intake) -> None:
        """Claim what is pending, then read for ever; raises what the client raises."""
        async with self._client:
            await self._make_group()
            await self._reclaim(intake)
            while True:
                await intake.admitted()
                await self._take(intake, await self._read())

    async def _make_group(self) -> None:
        try:
            await self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):  # it is there already
                raise

    async def _reclaim(self, intake: Intake) -> None:
        cursor = b"0-0"
        while True:
            await intake.admitted()
            cursor, entries, trimmed = await self._client.xautoclaim(
                self._stream, self._group, CONSUMER, 0, cursor, count=1
            )
            gone: list[Entry] = [(entry_id, None) for entry_id in trimmed]
            for entry in [*gone, *entries]:
                await self._take_alone(intake, entry)
            if cursor == b"0-0":
                return

    async def _take_alone(self, intake: Intake, entry: Entry) -> None:
        """One that was delivered before: had it ended the daemon, the others must not go with it."""
        entry_id = entry[0]
        pending: Any = await self._client.xpending_range(self._stream, self._group, entry_id, entry_id, 1)
        if pending and pending[0]["times_delivered"] > DELIVERIES_MAX:
            number, now = pending[0]["times_delivered"] - 1, self._clock.now()
            reason = f"delivered {number} times and never acknowledged: what it causes may end the daemon"
            await hand_in(intake, [dead(self.name, reason, repr(entry).encode(), now=now)])
            await intake.committed()
            await self._client.xack(self._stream, self._group, entry_id)
        else:
            await self._take(intake, [entry])

    async def _read(self) -> list[Entry]:
        answer: Any = await self._client.xreadgroup(
            self._group, CONSUMER, {self._stream: ">"}, count=BATCH, block=BLOCK_MS
        )
        entries: list[Entry] = next(iter(answer.values()), [])
        return entries

    async def _take(self, intake: Intake, entries: list[Entry]) -> None:
        """Hand entries in, and acknowledge them once everything that they caused is durable."""
        if not entries:
            return
        for entry in entries:
            await hand_in(intake, self._events(entry))
        await intake.committed()
        await self._client.xack(self._stream, self._group, *(entry_id for entry_id, _ in entries))

    def _events(self, entry: Entry) -> Iterator[SignalEvent]:
        entry_id, fields = entry
        now, name = self._clock.now(), entry_id.decode()
        if fields is None:
            reason = (
                "trimmed off the stream after it was delivered: it may have acted before a restart, see its signal_id"
            )
            yield dead(self.name, reason, entry_id, now=now)
        elif FIELD not in fields:
            found = ", ".join(sorted(key.decode("utf-8", "replace") for key in fields))
            yield dead(self.name, f"entry {name} has no field `signal`, it has {found}", repr(fields).encode(), now=now)
        else:
            yield from events_of(fields[FIELD], source=self.name, now=now)
