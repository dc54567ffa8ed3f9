"""The demonstration's day: what it is made of, and that it replaces nothing but an earlier demonstration."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from adapters.store.engine import WriterLock, open_engine
from core.signals import BadSignal, OrderSignal, RebalanceSignal, StrengthSignal, TargetSignal, parse
from daemon.asking import NoAnswerError, ask
from daemon.cli import ExitCode, main
from daemon.config import load
from daemon.demo import ACCOUNT, basket, write_day
from daemon.markets import open_market
from daemon.simulate import simulate
from tests.daemon.crashing import config, write_signals

Answer = TypeVar("Answer")

ROOT = Path(__file__).resolve().parents[2]


def demo(monkeypatch: pytest.MonkeyPatch, folder: Path) -> int:
    """The exit code of `execd demo --out FOLDER`."""
    monkeypatch.setattr(sys, "argv", ["execd", "demo", "--out", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def books(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, the lock apart."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {path.name: path.read_bytes() for path in found if not path.name.endswith(("-shm", "-wal"))}


def test_the_day_is_sound_and_its_basket_has_every_kind_and_one_line_that_is_none(tmp_path: Path) -> None:
    settings = load(write_day(tmp_path, None), {})
    assert settings.daemon.account == ACCOUNT
    assert len(settings.instruments) == 10
    signals = [signal for line in basket() if not line.startswith("#") for signal in parse(line.encode())]
    assert {type(signal) for signal in signals} == {
        BadSignal,
        OrderSignal,
        RebalanceSignal,
        StrengthSignal,
        TargetSignal,
    }
    assert sum(isinstance(signal, BadSignal) for signal in signals) == 1


def test_the_books_of_another_account_are_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_signals(tmp_path / "day")
    settings = config(tmp_path / "day")
    simulate(settings, open_market(settings))
    before = books(tmp_path / "day")
    assert demo(monkeypatch, tmp_path / "day") == ExitCode.USAGE
    assert "holds the books of account 'paper'" in capfd.readouterr().err
    assert books(tmp_path / "day") == before


def test_the_books_of_a_running_demonstration_are_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "day"
    write_signals(folder)
    settings = config(folder, account=ACCOUNT)
    simulate(settings, open_market(settings))
    before = books(folder)
    engine = open_engine(f"sqlite:///{folder / 'execd.db'}")
    with WriterLock(engine):
        assert demo(monkeypatch, folder) == ExitCode.BUSY
    engine.dispose()
    capfd.readouterr()
    assert books(folder) == before


# A day with processes of its own --------------------------------------------------------------------------------------


def start(folder: Path) -> "subprocess.Popen[str]":
    """The demonstration as a person starts it; it goes on with what is in the folder, if anything is."""
    what = "--resume" if (folder / "execd.db").exists() else "--out"
    return subprocess.Popen(
        [sys.executable, "-m", "daemon", "demo", what, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def until(look: Callable[[], Answer], conductor: "subprocess.Popen[str]") -> Answer:
    """The first answer that is not nothing: a moment later it may be nothing again."""
    deadline = time.monotonic() + 60
    while not (answer := look()):
        assert conductor.poll() is None, conductor.stdout.read() if conductor.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def daemon_of(folder: Path) -> int:
    """The process of the daemon, once it trades; 0 before."""
    try:
        facts = ask(str(folder / "control.sock"), "GET", "status")
    except NoAnswerError:
        return 0
    pid: int = json.loads((folder / "run.json").read_text())["pid"]
    return pid if facts["ready"] and facts["orders"] else 0


def test_a_daemon_that_is_killed_in_the_middle_is_resumed_and_the_day_ends_as_if_nothing_had_been(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "day"
    conductor = start(folder)
    os.kill(until(lambda: daemon_of(folder), conductor), signal.SIGKILL)
    said, _ = conductor.communicate(timeout=60)
    assert conductor.returncode == ExitCode.FAILED
    assert f"the daemon was ended by signal 9; `execd demo --resume {folder}` goes on from here" in said
    again = start(folder)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert "17 parents, traded" in said
    assert re.search(r"\b[12] unreadable", said)  # twice, where the kill came before it was acknowledged
    venue = [json.loads(line) for line in (folder / "venue.jsonl").read_text().splitlines()]
    sent = Counter(fact["order"]["cl_ord_id"] for fact in venue if fact["type"] == "Entered")
    assert max(sent.values()) == 1
    with closing(sqlite3.connect(folder / "execd.db")) as database:
        booked = dict(database.execute("select exec_id, last_qty from executions").fetchall())
        sources = database.execute("select distinct payload ->> 'source' from journal where type = 'SignalReceived'")
        assert sources.fetchall() == [("stream:execd:signals",)]
    executed = {fact["exec_id"]: fact["last_qty"] for fact in venue if fact["type"] == "Executed"}
    assert booked == executed


def test_a_demonstration_that_is_stopped_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "day"
    conductor = start(folder)
    until(lambda: daemon_of(folder), conductor)
    conductor.send_signal(signal.SIGINT)
    said, _ = conductor.communicate(timeout=60)
    assert conductor.returncode == 0, said
    assert f"stopped in good order; `execd demo --resume {folder}` goes on from here" in said


def test_without_a_server_signals_come_from_the_file_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("adapters.valkey.binary", lambda: None)
    monkeypatch.setattr("daemon.cli._execute", lambda config: bool(config.signals.files) and not config.redis.url)
    monkeypatch.setattr("daemon.cli._conclude", lambda folder, *, as_json: None)
    monkeypatch.setattr(sys, "argv", ["execd", "demo", "--out", str(tmp_path / "day")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    said = capfd.readouterr().out
    assert "There is no Valkey here" in said
    assert "goes on from here" not in said
