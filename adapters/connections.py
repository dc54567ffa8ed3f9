"""HTTP for whoever comes, within bounds: few connections at a time of anybody, and none that dawdles.

Each holds a file, and trading needs some: whoever asks slowly, reads slowly or says nothing keeps nobody else out. A
connection is cut off where no request has come in whole, or no answer was taken, for `idle_s` since it began or since
the last answer was made; how long that takes is our business. Whatever goes wrong is answered in JSON,
`{"error": "..."}`, and in words.
"""

import asyncio
import errno
import logging
import socket
import traceback
from collections.abc import Callable, Hashable
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

CLOSE_S = 1.0  # how long requests under way may take when the server ends
FULL_S = 0.1  # between two attempts where this process may open no more files
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = structlog.get_logger()
_no_log = logging.getLogger(__name__)  # aiohttp's: a trace for each message that is no HTTP, as many as somebody likes
_no_log.disabled = True


async def serve(
    application: web.Application,
    listener: socket.socket,
    peer: Callable[[socket.socket], Hashable],
    *,
    most: int,
    idle_s: float,
) -> None:
    """Serve until cancelled; of one peer, as `peer` tells them apart, at most so many connections at a time."""
    connections = _Connections(peer, most, idle_s)
    application.middlewares.extend([_in_words, connections.patient])
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_no_log,
        shutdown_timeout=CLOSE_S,
        keepalive_timeout=idle_s,
        handle_signals=False,
    )
    listener.setblocking(False)  # noqa: FBT003 - its name says what
    await runner.setup()
    try:
        assert runner.server is not None
        await connections.accept(listener, runner.server)
    finally:
        await runner.cleanup()


def said(status: HTTPStatus, text: str) -> web.Response:
    """An answer in words about what was not done."""
    return web.json_response({"error": text}, status=status)


@web.middleware
async def _in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is raised becomes an answer; the trace of what nobody expected is for the log alone."""
    try:
        return await handler(request)
    except web.HTTPError as error:
        return said(HTTPStatus(error.status), error.reason)
    except Exception as error:  # noqa: BLE001 - whoever asked is told, and the run goes on
        text = f"{type(error).__name__}: {error}"
        _log.error("request failed", path=request.path, error=text, trace="".join(traceback.format_exception(error)))
        return said(HTTPStatus.INTERNAL_SERVER_ERROR, text)


class _Connections:
    """Those of one server."""

    def __init__(self, peer: Callable[[socket.socket], Hashable], most: int, idle_s: float) -> None:
        self._peer = peer
        self._most = most
        self._idle_s = idle_s
        self._peers: dict[asyncio.BaseTransport, Hashable] = {}
        self._ends: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}

    async def accept(self, listener: socket.socket, server: web.Server) -> None:
        """Serve whoever comes, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            connection = await _next(listener)
            self._forget_closed()
            who = self._peer(connection)
            if sum(each == who for each in self._peers.values()) >= self._most:
                connection.close()
                await asyncio.sleep(0)  # whoever comes again and again does not keep the loop
                continue
            transport, _ = await loop.connect_accepted_socket(server, connection)
            self._peers[transport] = who
            self._watch(transport)

    @web.middleware
    async def patient(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Read the request while the time for that lasts; then nobody is cut off until there is an answer."""
        transport = request.transport
        try:
            await request.read()
        except (ConnectionError, web.RequestPayloadError) as error:
            raise web.HTTPBadRequest(reason="the request broke off") from error
        if transport is not None and (end := self._ends.pop(transport, None)) is not None:
            end.cancel()
        try:
            return await handler(request)
        finally:
            if transport in self._peers:
                self._watch(transport)

    def _watch(self, transport: asyncio.Transport) -> None:
        self._ends[transport] = asyncio.get_running_loop().call_later(self._idle_s, transport.abort)

    def _forget_closed(self) -> None:
        for transport in [each for each in self._peers if each.is_closing()]:
            del self._peers[transport]
            if (end := self._ends.pop(transport, None)) is not None:
                end.cancel()


async def _next(listener: socket.socket) -> socket.socket:
    """The next connection; there may be none for a while."""
    while True:
        try:
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        except ConnectionError:  # it has gone again
            continue
        except OSError as error:
            if error.errno not in _FULL:
                raise
            await asyncio.sleep(FULL_S)
        else:
            return connection
