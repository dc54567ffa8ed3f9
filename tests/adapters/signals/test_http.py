"""Signals over HTTP on a Unix socket: answered when durable, told to come again during a pause, bounded."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.signals import http
from adapters.signals.http import HttpSource
from adapters.unix_socket import PATH_MAX
from core.events import SignalDead, SignalReceived
from core.signals import MAX_SIGNAL_BYTES
from daemon.supervise import end
from tests.adapters.signals.lines import line, signal
from tests.clocks import ManualClock
from tests.fakes.intake import RecordingIntake


class Desk:
    """A source at work and somebody who posts to it."""

    def __init__(self, path: Path, session: aiohttp.ClientSession, intake: RecordingIntake) -> None:
        self.path, self.intake = path, intake
        self._session = session

    async def post(self, body: bytes) -> tuple[int, Any]:
        async with self._session.post("http://execd/signals", data=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith("{") else text


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Desk]:
    path, intake = tmp_path / "signals.sock", RecordingIntake()
    task = asyncio.create_task(HttpSource(path, group="", clock=ManualClock(7)).run(intake))
    while not path.is_socket():
        await asyncio.sleep(0.005)
        assert not task.done(), task
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            yield Desk(path, session, intake)
    finally:
        await end([task])


async def test_a_signal_is_answered_once_it_is_durable(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        desk.intake.hold()
        answer = asyncio.create_task(desk.post(line("1")))
        await desk.intake.until(1)
        await asyncio.sleep(0.05)  # nothing can be waited for: no answer must come
        assert not answer.done()
        desk.intake.release()
        assert await answer == (200, {"received": 1, "dead": []})
    assert desk.intake.published == [SignalReceived(ts=7, source="http:signals.sock", signal=signal("1"))]


async def test_a_batch_says_what_of_it_is_no_signal(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        status, answer = await desk.post(b"[" + line("1") + b', {"kind": "nonsense"}]')
    assert (status, answer["received"], len(answer["dead"])) == (200, 1, 1)
    assert "nonsense" in answer["dead"][0]
    assert [type(event) for event in desk.intake.published] == [SignalReceived, SignalDead]


async def test_what_holds_no_signal_at_all_is_a_bad_request_and_a_dead_letter(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        status, answer = await desk.post(b"nonsense")
    assert (status, answer["received"]) == (400, 0)
    assert [type(event) for event in desk.intake.published] == [SignalDead]


async def test_a_message_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        status, _ = await desk.post(b"x" * (MAX_SIGNAL_BYTES + 1))
    assert status == 413
    assert desk.intake.published == []


async def test_during_a_pause_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAUSE_S", 0.05)
    async with serving(tmp_path) as desk:
        desk.intake.pause()
        status, answer = await desk.post(line("1"))
        assert (status, answer) == (503, {"error": "trading is paused: nothing was taken, send it again"})
        desk.intake.admit()
        assert (await desk.post(line("1")))[0] == 200
    assert len(desk.intake.published) == 1


async def test_nobody_else_may_open_the_socket_and_it_goes_with_the_source(tmp_path: Path) -> None:
    (tmp_path / "signals.sock").touch()  # left by an earlier run
    async with serving(tmp_path) as desk:
        mode = desk.path.stat().st_mode
        assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o660)
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - as above


@pytest.mark.parametrize(
    "name,group,said",
    [
        ("s.sock", "no-such-group", "there is no such group"),
        ("x" * PATH_MAX, "", f"at most {PATH_MAX} characters"),
    ],
)
async def test_a_socket_that_cannot_be_made_says_why(tmp_path: Path, name: str, group: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        await HttpSource(tmp_path / name, group=group, clock=ManualClock(7)).run(RecordingIntake())
