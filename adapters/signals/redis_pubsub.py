"""Signals from a Redis channel: fast, and lossy by nature.

Nobody keeps what was published while nobody listened: during a restart of either side, a pause of the daemon, or a
burst beyond the server's output buffer. Publishers that number their signals (`seq`) make losses visible
(`daemon.sequences`); what must not be lost belongs on the stream.
"""

from redis.asyncio import Redis

from adapters.clock import Clock
from adapters.signals.source import Intake, events_of, hand_in

CHECK_S = 1.0  # between two proofs that a silent server is still there


class RedisPubSubSource:
    """Listens to one channel."""

    def __init__(self, client: Redis, *, channel: str, clock: Clock) -> None:
        self.name = f"pubsub:{channel}"
        self._client = client
        self._channel = channel
        self._clock = clock

    async def run(self, intake: Intake) -> None:
        """Listen for ever; raises what the client raises, a silent server's deadline among it."""
        async with self._client, self._client.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            quiet = False
            while True:
                await intake.admitted()
                message = await subscription.get_message(timeout=CHECK_S)
                if message is None:
                    if quiet:  # not even the pong came
                        raise TimeoutError(f"{self.name}: Redis does not answer")
                    await subscription.ping()
                    quiet = True
                    continue
                quiet = False
                if message["type"] == "message":
                    now = self._clock.now()
                    await hand_in(intake, events_of(message["data"], source=self.name, now=now))
