"""What the service manager hears: ready, and alive only while everything that must move moves."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters import notify
from daemon import credentials
from daemon.bus import Bus, TaskBus
from daemon.notifier import JOURNAL_ALIVE_S, Beat, Notifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """In the place of systemd: a socket that hears."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield heard


def words(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(1_000).decode())
        except BlockingIOError:
            return found


async def run_for(notifier: Notifier, seconds: float) -> None:
    task = asyncio.create_task(notifier.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def state() -> str:
    return "ACTIVE, 2 live parents"


STATUS, END = "STATUS=ACTIVE, 2 live parents", "STOPPING=1\nSTATUS=stopping"


async def test_a_daemon_that_is_ready_says_so_and_its_state_and_its_end_and_no_more_where_nobody_wants_signs_of_life(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    await run_for(Notifier(Bus(), {}, state), 0.05)
    assert words(manager) == ["READY=1", STATUS, END]


async def test_a_daemon_that_is_well_feeds_the_watchdog(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "90000")
    beats = {"journal": Beat(time.monotonic), "halt watch": Beat(time.monotonic)}
    await run_for(Notifier(Bus(), beats, state), 0.1)
    said = words(manager)
    assert (said[0], said[-1]) == ("READY=1", END)
    assert set(said[1:-1]) == {f"WATCHDOG=1\n{STATUS}"}
    assert len(said[1:-1]) >= 2


@pytest.mark.parametrize("hanging", ["journal", "halt watch"])
async def test_a_part_that_hangs_starves_the_watchdog(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "90000")
    beats = {"journal": Beat(time.monotonic, JOURNAL_ALIVE_S), "halt watch": Beat(time.monotonic)}
    beats[hanging] = beats[hanging]._replace(last=lambda: time.monotonic() - beats[hanging].alive_s - 1)
    notifier = Notifier(Bus(), beats, state)
    with capture_logs() as logged:
        await run_for(notifier, 0.1)
    assert set(words(manager)) == {"READY=1", f"{STATUS}, no sign of life: {hanging}", END}
    assert {(each["event"], *each["parts"]) for each in logged} == {("no sign of life", hanging)}
    with capture_logs() as logged:
        assert notifier.hanging() == [hanging]
    assert logged == []  # whoever asks is answered, and writes no log


async def test_a_sequencer_that_hangs_starves_the_watchdog(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "90000")
    monkeypatch.setattr("daemon.notifier.ALIVE_S", 0.02)
    from tests.builders import quote  # noqa: PLC0415

    bus = TaskBus()
    bus.publish(quote())  # and nobody runs it
    await run_for(Notifier(bus, {}, state), 0.1)
    assert set(words(manager)) == {"READY=1", f"{STATUS}, no sign of life: sequencer", END}


async def test_nobody_listens_outside_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.is_heard()
    assert not notify.tell("READY=1")
    await Notifier(Bus(), {}, state).run()
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    assert not notify.tell("READY=1")


def test_a_manager_that_does_not_read_holds_nobody_up(manager: socket.socket) -> None:
    told = 0
    while notify.tell("WATCHDOG=1"):
        told += 1
        assert told < 100_000, "its queue has an end"
    assert words(manager) == ["WATCHDOG=1"] * told


@pytest.mark.parametrize(
    "usec,pid,expected",
    [
        ("5000000", "", 5.0),
        ("5000000", "mine", 5.0),
        ("5000000", "1", None),
        ("", "", None),
        ("0", "", None),
        ("x", "", None),
    ],
)
def test_the_watchdogs_interval(monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, expected: float | None) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "mine" else pid)
    assert notify.watchdog_s() == expected


# Credentials ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_the_managers_file_before_the_variable_and_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = credentials.credential(credentials.REDIS)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("EXECD_REDIS_PASSWORD", raising=False)
    assert read() == ""
    monkeypatch.setenv("EXECD_REDIS_PASSWORD", "from the environment")
    assert read() == "from the environment"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read() == "from the environment"
    (tmp_path / "redis_password").write_text("from the manager\n")
    assert read() == "from the manager"
    (tmp_path / "redis_password").write_text("rotated")
    assert read() == "rotated"
