"""Signals over HTTP: POST to a Unix socket of their own, answered once what they caused is durable.

`curl --unix-socket signals.sock -d '{"kind": "order", ...}' http://execd/signals`. Who may open the socket may send
signals, and nothing else.
"""

import asyncio
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from adapters.clock import Clock
from adapters.signals.source import Intake, events_of, hand_in
from adapters.unix_socket import serve
from core.events import SignalDead
from core.signals import MAX_SIGNAL_BYTES

PAUSE_S = 1.0  # how long a request waits for a pause to end before it is told to come again
RETRY_AFTER_S = 5


class HttpSource:
    """Serves one socket; `group` may open it besides the daemon's own user."""

    def __init__(self, path: Path, *, group: str, clock: Clock) -> None:
        self.name = f"http:{path.name}"
        self._path = path
        self._group = group
        self._clock = clock

    async def run(self, intake: Intake) -> None:
        """Serve for ever; raises OSError where the socket cannot be made."""
        application = web.Application(client_max_size=MAX_SIGNAL_BYTES)

        async def post(request: web.Request) -> web.Response:
            return await self._post(request, intake)

        application.router.add_post("/signals", post)
        await serve(application, self._path, group=self._group)

    async def _post(self, request: web.Request, intake: Intake) -> web.Response:
        body = await request.read()
        try:
            async with asyncio.timeout(PAUSE_S):
                await intake.admitted()
        except TimeoutError:
            return web.json_response(
                {"error": "trading is paused: nothing was taken, send it again"},
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        events = events_of(body, source=self.name, now=self._clock.now())
        await hand_in(intake, events)
        await intake.committed()
        dead = [event.reason for event in events if isinstance(event, SignalDead)]
        answer = {"received": len(events) - len(dead), "dead": dead}
        return web.json_response(
            answer, status=HTTPStatus.BAD_REQUEST if dead and not answer["received"] else HTTPStatus.OK
        )
