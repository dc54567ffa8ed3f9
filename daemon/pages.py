"""Pages for machines, on the loopback interface and read only: /metrics, /healthz, /readyz, /status.

`/healthz` says whether the process is well: every part that must move has moved lately. `/readyz` says whether it has
recovered and takes signals. A halted daemon is healthy and ready: whether it trades is in `/status`.

A connection is for one answer and has an end, and there are few at a time: whoever asks slowly, reads slowly or says
nothing holds no file that trading may need.
"""

import socket
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from adapters.connections import serve
from daemon.metrics import Collector
from daemon.notifier import Notifier
from daemon.status import status

if TYPE_CHECKING:
    from daemon.run import Run

HOST = "127.0.0.1"
CONNECTIONS_MAX = 32  # at a time; more are hung up on
CUT_OFF_S = 10.0  # how long a request may take to come, and its answer to be taken


class Pages:
    """Serves one port."""

    name = "pages"

    def __init__(self, run: "Run", notifier: Notifier, port: int) -> None:
        self._run = run
        self._notifier = notifier
        self._port = port
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Collector(run))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    async def run(self) -> None:
        """Serve for ever; raises OSError where the port is taken."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._health),
                web.get("/readyz", self._ready),
                web.get("/status", self._status),
            ]
        )
        application.on_response_prepare.append(_last)
        with socket.create_server((HOST, self._port), backlog=CONNECTIONS_MAX) as listener:
            await serve(application, listener, lambda _: HOST, most=CONNECTIONS_MAX, idle_s=CUT_OFF_S)

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _health(self, request: web.Request) -> web.Response:
        del request
        hanging = self._notifier.hanging()
        code = HTTPStatus.SERVICE_UNAVAILABLE if hanging else HTTPStatus.OK
        return web.json_response({"healthy": not hanging, "hanging": hanging}, status=code)

    async def _ready(self, request: web.Request) -> web.Response:
        del request
        ready = self._run.ready.is_set()
        code = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return web.json_response({"ready": ready}, status=code)

    async def _status(self, request: web.Request) -> web.Response:
        del request
        return web.Response(body=msgspec.json.encode(status(self._run)), content_type="application/json")


async def _last(request: web.Request, response: web.StreamResponse) -> None:
    """The connection ends behind this answer."""
    del request
    response.force_close()
