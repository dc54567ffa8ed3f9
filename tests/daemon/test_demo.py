"""The demonstration's day: what it is made of, and that it replaces nothing but an earlier demonstration."""

import sys
from pathlib import Path

import pytest

from adapters.store.engine import WriterLock, open_engine
from core.signals import BadSignal, OrderSignal, RebalanceSignal, StrengthSignal, TargetSignal, parse
from daemon.cli import ExitCode, main
from daemon.config import load
from daemon.demo import ACCOUNT, basket, write_day
from daemon.markets import open_market
from daemon.simulate import simulate
from tests.daemon.crashing import config, write_signals


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
    settings = load(write_day(tmp_path), {})
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
