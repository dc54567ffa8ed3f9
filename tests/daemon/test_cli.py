"""The command line as a person meets it: what it prints, one line per error, and exit codes that say what to do."""

import datetime as dt
import errno
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from adapters.store.engine import WriterLock, open_engine
from adapters.store.tables import STOP_STATES
from daemon import cli
from daemon.cli import ExitCode
from risk.gate import Gate
from tests.builders import MINUTE, session
from tests.daemon.crashing import write_signals
from tests.daemon.service import Execd

CONFIG = """
[daemon]
data_dir = "{folder}/data"
[market]
date = "2026-06-15"
step_s = 60.0
[limits]
quote_age_s_max = 120
[limits.symbols_default]
order_qty_max = 10_000
order_notional_max = 10_000_000
[instruments.AAA]
adv = 1_000_000
[instruments.BBB]
adv = 1_000_000
shortable = true
"""


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A folder with a configuration and signals."""
    write_signals(tmp_path / "in")
    (tmp_path / "in" / "execd.toml").write_text(CONFIG.format(folder=tmp_path))
    return tmp_path


def simulate(execd: Execd, day: Path, *more: object) -> tuple[int, str, str]:
    inputs = ("--config", day / "in" / "execd.toml", "--signals", day / "in" / "signals.jsonl")
    return execd("simulate", *inputs, "--out", day / "out", *more)


def test_a_simulated_day_can_be_read_back_by_every_command(execd: Execd, day: Path) -> None:
    code, out, _ = simulate(execd, day)
    assert code == ExitCode.OK
    assert "BUY 300 AAA TWAP" in out
    assert (day / "out" / "report" / "index.html").is_file()
    for command in ("parents", "orders", "fills", "positions"):
        code, out, _ = execd(command, "--dir", day / "out", "--json")
        rows: list[dict[str, Any]] = json.loads(out)
        assert (code, len(rows) > 0) == (0, True), command
        assert {row["symbol"] for row in rows} <= {"AAA", "BBB"}
        assert execd(command, "--dir", day / "out")[1].splitlines()[0].split()[0] == next(iter(rows[0]))
    parents = json.loads(execd("parents", "--dir", day / "out", "--json")[1])
    code, out, _ = execd("explain", parents[0]["parent_id"], "--dir", day / "out", "--json")
    assert code == ExitCode.OK
    assert json.loads(out.splitlines()[0])["type"] == "ParentOrder"
    told = execd("explain", parents[0]["parent_id"], "--dir", day / "out")[1].splitlines()
    assert len(told) == len(out.splitlines())
    assert " ParentOrder " in told[0]
    assert "orders" in execd("status", "--dir", day / "out")[1]
    assert execd("verify", "--dir", day / "out")[1].startswith("intact up to event ")
    report = json.loads(execd("report", "--dir", day / "out", "--json")[1])
    assert len(report["parents"]) == len(parents)


def test_a_stop_that_fires_in_a_simulated_day_leaves_nothing_held(execd: Execd, day: Path) -> None:
    head = {"strategy": "alpha", "symbol": "AAA"}
    ts = session(dt.date(2026, 6, 15)).open + MINUTE
    entry = head | {"kind": "order", "signal_id": "in", "ts": ts, "side": "BUY", "qty": 300, "how": {"algo": "MARKET"}}
    tight = head | {"kind": "stop", "signal_id": "out", "ts": ts + MINUTE, "trail": "0.02"}
    loose = tight | {"signal_id": "wide", "ts": ts + 2, "trail": None, "trail_fraction": "0.9"}
    signals = day / "in" / "signals.jsonl"
    signals.write_text("".join(json.dumps(each) + "\n" for each in (entry, loose, tight)))
    assert simulate(execd, day)[0] == ExitCode.OK
    rows = json.loads(execd("stops", "--dir", day / "out", "--json")[1])
    assert {row["stop_id"]: (row["state"], row["reason"]) for row in rows} == {
        "out": ("ended", "FLAT"),
        "wide": ("ended", "REPLACED"),
    }
    found = {
        state: json.loads(execd("stops", "--dir", day / "out", "--state", state, "--json")[1]) for state in STOP_STATES
    }
    assert {state: len(rows) for state, rows in found.items() if rows} == {"ended": 2}
    assert execd("stops", "--dir", day / "out", "--state", "bogus") == (
        ExitCode.USAGE,
        "",
        "execd: bogus is no state of a stop: give one of held, suspended, fired, exit, ended\n",
    )
    (position,) = json.loads(execd("positions", "--dir", day / "out", "--json")[1])
    assert Decimal(position["qty"]) == 0
    parents = json.loads(execd("parents", "--dir", day / "out", "--json")[1])
    assert [(parent["signal_id"], parent["side"]) for parent in parents] == [("out", "SELL"), ("in", "BUY")]


def test_json_output_is_json_alone(execd: Execd, day: Path) -> None:
    code, out, _ = simulate(execd, day, "--json")
    assert code == ExitCode.OK
    assert len(json.loads(out)["parents"]) == 4


def test_a_folder_with_something_in_it_is_not_written_over(execd: Execd, day: Path) -> None:
    (day / "out").mkdir()
    (day / "out" / "mine").touch()
    code, _, err = simulate(execd, day)
    assert (code, err) == (ExitCode.USAGE, f"execd: {day / 'out'} is not empty: name a new folder\n")


@pytest.mark.parametrize("below", ["", "more"])
def test_a_file_is_no_folder(execd: Execd, day: Path, below: str) -> None:
    (day / "out").touch()
    inputs = ("--config", day / "in" / "execd.toml", "--signals", day / "in" / "signals.jsonl")
    code, _, err = execd("simulate", *inputs, "--out", day / "out" / below)
    assert (code, err) == (ExitCode.USAGE, f"execd: {day / 'out' / below} is or lies below a file: name a folder\n")


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("status", "--dir", "nowhere"), "execd: nowhere: no run is there; name its data directory with --dir\n"),
        (
            ("risk", "show", "--dir", "."),
            "execd: .: no daemon ran there; a simulation leaves none to ask\n",
        ),
        (
            ("config", "check", "missing.toml"),
            "execd: missing.toml: No such file or directory: give the path of a configuration file\n",
        ),
    ],
)
def test_what_is_not_there_is_named_in_one_line(execd: Execd, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = execd(*arguments)
    assert (code, err) == (ExitCode.USAGE, message)


def test_an_order_that_is_not_on_record_has_its_own_exit_code(execd: Execd, day: Path) -> None:
    simulate(execd, day)
    code, _, err = execd("explain", "X1NOBODY", "--dir", day / "out")
    assert code == ExitCode.NOT_FOUND
    assert err == (
        "X1NOBODY: no such order is on record; `execd parents` and `execd orders` list those that are, and "
        "`execd stops` says what became of a stop\n"
    )


def test_a_configuration_is_checked_without_starting_anything(execd: Execd, day: Path) -> None:
    code, out, _ = execd("config", "check", day / "in" / "execd.toml")
    assert code == ExitCode.OK
    assert "sound. account paper" in out
    assert not (day / "data").exists()


@pytest.mark.parametrize(
    "text,words",
    [
        (None, "execd: algos.profiles: {file}: No such file or directory: make it with `execd profile build`\n"),
        (
            '{"AAA": 1}',
            "execd: profiles.json, AAA: Expected `object`, got `int`: build it again with `execd profile build`\n",
        ),
    ],
)
def test_profiles_that_are_none_stop_a_start_before_it_writes_anything(
    execd: Execd, day: Path, text: str | None, words: str
) -> None:
    config, file = day / "in" / "execd.toml", day / "in" / "profiles.json"
    config.write_text(f'{config.read_text()}[algos]\nprofiles = "{file}"\n')
    if text is not None:
        file.write_text(text)
    refused = (ExitCode.USAGE, "", words.format(file=file))
    assert execd("config", "check", config) == refused
    assert simulate(execd, day) == refused
    assert simulate(execd, day, "--compare", "twap,vwap") == refused
    assert execd("run", "--config", config)[0] == ExitCode.USAGE
    assert [path.name for path in day.iterdir()] == ["in"]


def test_a_percent_where_a_fraction_belongs_is_refused_with_its_line(execd: Execd, day: Path) -> None:
    config = day / "in" / "execd.toml"
    config.write_text(config.read_text().replace("quote_age_s_max = 120", "position_max = 8"))
    code, _, err = execd("config", "check", config)
    assert code == ExitCode.USAGE
    assert err.count("\n") == 1
    assert f"{config}:" in err
    assert "percent?" in err


def test_a_journal_that_was_tampered_with_is_found_out(execd: Execd, day: Path) -> None:
    simulate(execd, day)
    with closing(sqlite3.connect(day / "out" / "execd.db")) as database:
        database.execute("update journal set payload = replace(payload, 'BUY', 'SELL') where type = 'FillBooked'")
        database.commit()
    code, _, err = execd("verify", "--dir", day / "out")
    assert code == ExitCode.STORE
    assert err.count("\n") == 1


def test_a_database_from_the_future_is_refused(execd: Execd, day: Path) -> None:
    simulate(execd, day)
    with closing(sqlite3.connect(day / "out" / "execd.db")) as database:
        database.execute("update alembic_version set version_num = '9999'")
        database.commit()
    code, _, err = execd("status", "--dir", day / "out")
    assert code == ExitCode.STORE
    assert "9999" in err
    assert "newer execd" in err


@pytest.mark.parametrize("rest", [b"", b"SQLite format 3\0" + b"\xff" * 8_192])
def test_a_damaged_database_ends_in_one_line(execd: Execd, day: Path, rest: bytes) -> None:
    simulate(execd, day)
    (day / "out" / "execd.db").write_bytes(rest or b"this is no database " * 500)
    for command in ("status", "verify", "report"):
        code, _, err = execd(command, "--dir", day / "out")
        assert (code, err.count("\n")) == (ExitCode.STORE, 1), err
        assert err.startswith("execd: the database cannot be used: ")
        assert err.endswith(": restore a backup, and keep this one as evidence\n")


def test_a_full_disk_ends_in_one_line(execd: Execd, day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Path, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "data")

    monkeypatch.setattr(Path, "mkdir", full)
    code, _, err = execd("db", "upgrade", "--config", day / "in" / "execd.toml")
    assert code == ExitCode.STORE
    assert err == "execd: [Errno 28] No space left on device: 'data': make room on the disk and start again\n"


def test_a_database_that_ran_out_of_disk_asks_for_room(
    execd: Execd, day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_config: object) -> None:
        raise OperationalError("INSERT\nINTO journal", {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr(cli, "open_market", full)
    code, _, err = simulate(execd, day)
    assert code == ExitCode.STORE
    assert err == (
        "execd: the database cannot be used: database or disk is full: make room on the disk and start again\n"
    )


@pytest.mark.parametrize("name", ["none.jsonl", "."])
def test_signals_that_are_not_there_are_refused_before_anything_starts(execd: Execd, day: Path, name: str) -> None:
    config = day / "in" / "execd.toml"
    config.write_text(f"{config.read_text()}[signals]\nfiles = ['-', '{name}']\n")
    code, _, err = execd("run", "--config", config)
    assert (code, err) == (ExitCode.USAGE, f"execd: signals.files: {name}: there is no such file of signals\n")
    assert not (day / "data").exists()


def test_a_day_that_is_over_is_refused_on_the_system_clock(execd: Execd, day: Path) -> None:
    config = day / "in" / "execd.toml"
    config.write_text(config.read_text().replace("2026-06-15", "2020-06-15"))
    code, _, err = execd("run", "--config", config)
    assert code == ExitCode.USAGE
    assert err == (
        'execd: market.date = 2020-06-15: that session is over: remove market.date, or set clock.kind = "scaled"\n'
    )
    assert not (day / "data").exists()


def test_a_simulation_needs_a_day(execd: Execd, day: Path) -> None:
    config = day / "in" / "execd.toml"
    config.write_text(config.read_text().replace("2026-06-15", ""))
    code, _, err = simulate(execd, day)
    assert code == ExitCode.USAGE
    assert err.startswith("execd: market.date is empty: give the trading day as YYYY-MM-DD")


def test_a_second_daemon_on_the_same_database_is_turned_away(execd: Execd, day: Path) -> None:
    config = day / "in" / "execd.toml"
    config.write_text(f'{config.read_text()}[clock]\nkind = "scaled"\n')
    assert execd("db", "upgrade", "--config", day / "in" / "execd.toml")[0] == ExitCode.OK
    engine = open_engine(f"sqlite:///{day / 'data' / 'execd.db'}")
    with WriterLock(engine):
        code, _, err = execd("run", "--config", day / "in" / "execd.toml")
    engine.dispose()
    assert code == ExitCode.BUSY
    assert err.count("\n") == 1


def test_the_schema_goes_down_to_nothing_and_up_again(execd: Execd, day: Path) -> None:
    config = day / "in" / "execd.toml"
    steps: list[tuple[object, ...]] = [("upgrade",), ("downgrade",), ("upgrade",)]
    for step in steps:
        more = ("base",) if step == ("downgrade",) else ()
        assert execd("db", *step, "--config", config, *more)[0] == ExitCode.OK


def test_a_corrupt_row_of_a_recorded_day_is_named_with_file_and_row(execd: Execd, day: Path) -> None:
    tape = day / "tape.csv"
    open_ns = 1_781_530_200_000_000_000
    tape.write_text(f"ts,bid,bid_size,ask,ask_size\n{open_ns},10,100,10.1,100\n{open_ns + 1},NaN,100,10.1,100\n")
    code, _, err = simulate(execd, day, "--tape", f"AAA={tape}")
    assert code == ExitCode.USAGE
    assert "tape.csv" in err
    assert "row 2" in err


def test_a_decision_that_raises_stops_trading_and_names_the_event(
    execd: Execd, day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Gate, _order: object) -> object:
        raise ZeroDivisionError("a limit of nothing")

    monkeypatch.setattr(Gate, "on_new_order", broken)
    code, _, err = simulate(execd, day)
    assert code == ExitCode.FAILED
    last = err.splitlines()[-1]
    assert last.startswith("execd: event ")
    assert "NewOrderSingle" in last
    assert last.endswith("ZeroDivisionError: a limit of nothing")


@pytest.mark.timeout(60)
def test_an_interrupted_demonstration_ends_in_good_order_and_can_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "daemon", "demo"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stderr is not None
        assert "account demo" in first.stderr.readline()  # it works from here on
        first.send_signal(signal.SIGINT)
        out, _ = first.communicate(timeout=30)
    assert first.returncode == ExitCode.OK
    assert "goes on from here" in out
    (tmp_path / "run" / "execd.toml").write_text(
        (tmp_path / "run" / "execd.toml").read_text().replace("scale = 900", "scale = 9_000")
    )
    second = subprocess.run([*command, "--resume", str(tmp_path / "run")], capture_output=True, text=True, check=False)
    assert second.returncode == ExitCode.OK, second.stderr
    assert "parents, traded" in second.stdout
    with closing(sqlite3.connect(tmp_path / "run" / "execd.db")) as database:
        assert database.execute("select count(*) from journal where type = 'DaemonStarted'").fetchone() == (2,)
