"""A Unix socket before those who hog it, dawdle, talk nonsense, or put a file of their own in its place."""

import asyncio
import grp
import json
import os
import pwd
import select
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from adapters import unix_socket
from adapters.unix_socket import serve

LARGE = "x" * 10_000_000  # more than any buffer on the way holds


class Door:
    """A socket, and handlers that take their time, answer at length, or fail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting = 0
        self.connections: set[object] = set()
        self.release = asyncio.Event()

    def application(self) -> web.Application:
        made = web.Application(client_max_size=1_000)
        made.add_routes(
            [
                web.get("/quick", self._quick),
                web.get("/slow", self._slow),
                web.get("/large", self._large),
                web.post("/broken", self._broken),
            ]
        )
        return made

    async def _quick(self, request: web.Request) -> web.Response:
        self.connections.add(request.transport)
        return web.json_response({"path": request.path})

    async def _slow(self, request: web.Request) -> web.Response:
        self.waiting += 1
        await self.release.wait()
        return await self._quick(request)

    async def _large(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text=LARGE)

    async def _broken(self, request: web.Request) -> web.Response:
        raise LookupError(f"{request.path} is broken")

    def connect(self, words: bytes = b"") -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(20)
        made.connect(str(self.path))
        made.sendall(words)
        return made

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, object]:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.path))) as session,
            session.request(method, f"http://execd{path}", data=body) as response,
        ):
            return response.status, await response.json()


@asynccontextmanager
async def opened(path: Path, group: str = "") -> AsyncIterator[Door]:
    door = Door(path)
    task = asyncio.create_task(serve(door.application(), path, group=group))
    while not path.is_socket():  # noqa: ASYNC240 - one local file
        await asyncio.sleep(0.005)
        assert not task.done(), task
    try:
        async with asyncio.timeout(30):
            yield door
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_cut_off(connection: socket.socket) -> bool:
    """Whether the other end hangs up, after whatever it had to say; raises TimeoutError where it does not."""
    try:
        while connection.recv(1_000):
            pass
    except ConnectionError:
        pass
    return True


async def test_who_hogs_is_hung_up_on_and_has_room_again_once_he_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_socket, "CONNECTIONS_MAX", 4)
    async with opened(tmp_path / "s") as door:
        with ExitStack() as stack:
            held = [stack.enter_context(door.connect()) for _ in range(12)]
            assert all([await asyncio.to_thread(is_cut_off, each) for each in held[4:]])
            held[0].sendall(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await asyncio.to_thread(held[0].recv, 1_000)).startswith(b"HTTP/1.1 200")
        while True:
            try:
                assert await door.ask("GET", "/quick") == (200, {"path": "/quick"})
                break
            except aiohttp.ClientError:  # it has not heard yet that they are gone
                await asyncio.sleep(0.005)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def somebody_else(user: pwd.struct_passwd) -> Iterator[None]:
    """This process is somebody else, for the kernel."""
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else besides")
async def test_one_user_who_hogs_does_not_keep_another_one_out(public: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid).gr_name
    async with opened(public / "s", group) as door:
        with ExitStack() as stack:
            with somebody_else(nobody):
                held = [stack.enter_context(door.connect()) for _ in range(unix_socket.BACKLOG)]
            for refused in held[unix_socket.CONNECTIONS_MAX :]:
                assert await asyncio.to_thread(is_cut_off, refused)
            assert await door.ask("GET", "/quick") == (200, {"path": "/quick"})
            assert _is_open(held[unix_socket.CONNECTIONS_MAX - 1])


DAWDLING = {
    "says nothing": b"",
    "half a request": b"GET /quick HT",
    "half of its headers": b"GET /quick HTTP/1.1\r\nHost: x\r\n",
    "half of its body": b"POST /broken HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
    "one answer, and nothing more": b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n",
    "never read": b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("words", DAWDLING.values(), ids=DAWDLING)
async def test_who_dawdles_is_cut_off_and_who_waits_for_us_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: bytes
) -> None:
    monkeypatch.setattr(unix_socket, "IDLE_S", 0.2)
    async with opened(tmp_path / "s") as door:
        waiting = asyncio.create_task(door.ask("GET", "/slow"))
        while not door.waiting:
            await asyncio.sleep(0.005)
        with door.connect(words) as dawdling:  # it began later, and so it would be cut off later
            while _is_open(dawdling):
                await asyncio.sleep(0.005)
        door.release.set()
        assert await waiting == (200, {"path": "/slow"})


def _is_open(connection: socket.socket) -> bool:
    """Whether the other end is there still; nothing is read or written for it."""
    poller = select.poll()
    poller.register(connection, 0)
    return not poller.poll(0)


async def test_a_connection_is_good_for_many_requests(tmp_path: Path) -> None:
    async with (
        opened(tmp_path / "s") as door,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(door.path), limit=1)) as session,
    ):
        for _ in range(50):
            async with session.get("http://execd/quick") as response:
                assert response.status == 200
        assert len(door.connections) == 1


@pytest.mark.parametrize(
    "asked,body,expected",
    [
        ("GET /nothing", b"", (404, {"error": "Not Found"})),
        ("POST /quick", b"", (405, {"error": "Method Not Allowed"})),
        ("POST /broken", b"x" * 1_001, (413, {"error": "Request Entity Too Large"})),
        ("POST /broken", b"", (500, {"error": "LookupError: /broken is broken"})),
    ],
)
async def test_what_goes_wrong_is_said_in_words_and_its_trace_is_for_the_log(
    tmp_path: Path, asked: str, body: bytes, expected: tuple[int, object]
) -> None:
    async with opened(tmp_path / "s") as door:
        method, path = asked.split()
        with capture_logs() as logged:
            assert await door.ask(method, path, body) == expected
    assert ["Traceback" in each["trace"] for each in logged] == [True] * (expected[0] == 500)


NONSENSE = [
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /broken HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    b"POST /broken HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /broken HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
]


async def test_whoever_talks_nonsense_or_breaks_off_fills_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path / "s") as door:
        with capture_logs() as logged:
            for words in NONSENSE:
                with door.connect(words) as connection:
                    connection.shutdown(socket.SHUT_WR)
                    assert await asyncio.to_thread(is_cut_off, connection)
        assert await door.ask("GET", "/quick") == (200, {"path": "/quick"})
    assert (logged, caplog.records) == ([], [])


async def test_what_somebody_else_put_in_its_place_stays_there(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with opened(path), opened(tmp_path / "t") as other:
        other.path.rename(path)
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            assert json.loads(await (await session.get("http://execd/quick")).text()) == {"path": "/quick"}
    assert path.is_socket()
