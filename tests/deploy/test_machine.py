"""The deployment on a machine of its own: real systemd, the unit as it is, the desk's Valkey, people with groups."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.valkey import binary
from daemon.cli import ExitCode
from tests.daemon.service import order
from tests.servers.machine import PROGRAM, ROOT, Machine, needs_machine

pytestmark = needs_machine

DEPLOY = ROOT / "deploy"
UNIT, BOOKS, HALT_FILE = "execd@paper-1.service", "/var/lib/execd/paper-1", "/var/lib/execd-halt/paper-1"
SOCKETS = "/run/execd/paper-1"
EXECD, PYTHON = f"{PROGRAM}/bin/execd", f"{PROGRAM}/bin/python"
WAIT_S = 40.0  # RestartSec and the watchdog's interval among it

# What a desk has and a test has not: the unit of Debian's package, a journal.
VALKEY_UNIT = """[Service]
Type=exec
User=valkey
StateDirectory=valkey
ExecStart={binary} /etc/valkey/valkey.conf
"""
LOG = "[Service]\nStandardOutput=append:/var/log/execd.log\nStandardError=append:/var/log/execd.log\n"
PEOPLE = {
    "alice": "execd,execd-operators",
    "sue": "execd,execd-supervisors",
    "bob": "execd",
    "model": "execd-signals",
    "carol": "users",
}


def install(machine: Machine) -> None:
    """The steps of deploy/README.md."""
    machine.install_program()
    machine.run("install", "-D", "-m", "644", "-t", "/etc/systemd/system", f"{DEPLOY}/systemd/execd@.service")
    machine.run("install", "-D", "-m", "644", f"{DEPLOY}/systemd/execd.sysusers.conf", "/etc/sysusers.d/execd.conf")
    machine.run("install", "-D", "-m", "644", f"{DEPLOY}/systemd/execd.tmpfiles.conf", "/etc/tmpfiles.d/execd.conf")
    machine.run("systemd-sysusers", "/etc/sysusers.d/execd.conf")
    machine.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/execd.conf")
    machine.run("useradd", "--system", "valkey")
    machine.run("install", "-d", "-o", "valkey", "-g", "valkey", "-m", "750", "/etc/valkey")
    machine.run("install", "-m", "640", "-g", "valkey", f"{DEPLOY}/redis/valkey.conf", "/etc/valkey/valkey.conf")
    passwords = f"{DEPLOY}/redis/passwords.sh"
    machine.run("sh", passwords, f"{DEPLOY}/redis/users.acl", "/etc/valkey/users.acl", "/etc/valkey/passwords")
    machine.run("chgrp", "valkey", "/etc/valkey/users.acl")
    credential = "/etc/credstore/execd-paper-1.redis_password"
    machine.run("install", "-m", "600", "/etc/valkey/passwords/execd", credential)
    machine.run("install", "-g", "execd", "-m", "640", f"{DEPLOY}/execd.service.toml", "/etc/execd/paper-1.toml")
    for name, groups in PEOPLE.items():
        machine.run("useradd", "--no-create-home", "--groups", groups, name)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One with everything installed and Valkey up."""
    made = Machine(tmp_path_factory.mktemp("machine"))
    try:
        made.start()
        install(made)
        made.write("/etc/systemd/system/valkey-server.service", VALKEY_UNIT.format(binary=binary()))
        made.write("/etc/systemd/system/execd@.service.d/log.conf", LOG)
        made.run("systemctl", "daemon-reload")
        made.run("systemctl", "start", "valkey-server")
        yield made
    finally:
        made.stop()


@pytest.fixture
def daemon(machine: Machine) -> Iterator[Machine]:
    """The daemon of one test, with books of its own."""
    machine.run("systemctl", "start", UNIT)
    yield machine
    machine.run("systemctl", "stop", UNIT)
    machine.run("rm", "-rf", BOOKS, HALT_FILE, "/var/log/execd.log")


def until(holds: Callable[[], object], machine: Machine, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"{what} never came: {log(machine)[-3000:]}"
        time.sleep(0.05)


def log(machine: Machine) -> str:
    return machine.run("cat", "/var/log/execd.log", check=False)


def execd(machine: Machine, *words: str, user: str = "", redis: str = "") -> tuple[int, str]:
    """Exit code and words of a command, as somebody of the machine, with the password of somebody at Redis."""
    command = [EXECD, *words, "--dir", BOOKS]
    if redis:
        password = machine.run("cat", f"/etc/valkey/passwords/{redis}")
        command = ["env", f"EXECD_REDIS_PASSWORD={password}", *command, "--as", redis]
    done = machine.process(*command, user=user)
    return done.returncode, done.stdout + done.stderr


def asked(machine: Machine, user: str, socket: str, request: str) -> str:
    """What a socket answers somebody."""
    code = f"from daemon.asking import ask; print(ask({f'{SOCKETS}/{socket}'!r}, {request}))"
    done = machine.process(PYTHON, "-c", code, user=user)
    return (done.stdout or done.stderr.strip().rpartition("\n")[2]).strip()


def fills(machine: Machine) -> Any:  # noqa: ANN401 - rows
    """The executions, as a viewer sees them."""
    code, said = execd(machine, "fills", "--json", user="bob")
    assert code == ExitCode.OK, said
    return json.loads(said)


def state(machine: Machine) -> str:
    """What `systemctl status` shows in its line of status."""
    return machine.show(UNIT, "StatusText")["StatusText"]


def pid(machine: Machine) -> str:
    return machine.show(UNIT, "MainPID")["MainPID"]


def is_trading(machine: Machine) -> bool:
    return state(machine).startswith("ACTIVE")


# A desk at work -------------------------------------------------------------------------------------------------------


def test_the_unit_starts_trades_and_stops_in_good_order(daemon: Machine) -> None:
    until(lambda: is_trading(daemon), daemon, "trading")
    signal = (
        '{"signal_id": "one", "kind": "order", "symbol": "ALFA", "side": "BUY", "qty": 100, "how": {"algo": "MARKET"}}'
    )
    assert execd(daemon, "signal", "send", signal, redis="execd-publisher") == (ExitCode.OK, "sent one by stream\n")
    until(lambda: sum(int(fill["last_qty"]) for fill in fills(daemon)) == 100, daemon, "its fills")  # of one or several
    assert {(fill["symbol"], fill["side"]) for fill in fills(daemon)} == {("ALFA", "BUY")}
    health = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/healthz').read().decode())"
    assert json.loads(daemon.run(PYTHON, "-c", health)) == {"healthy": True, "hanging": []}
    daemon.run("systemctl", "stop", UNIT)
    shown = daemon.show(UNIT, "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert daemon.run("ls", "-A", "/run/execd", check=False) == ""
    assert "New York" not in log(daemon), "a line of progress every 4 s is nothing for a log"


def test_files_and_sockets_have_the_rights_that_they_are_said_to_have(daemon: Machine) -> None:
    names = [SOCKETS, f"{SOCKETS}/control.sock", f"{SOCKETS}/signals.sock", BOOKS, f"{BOOKS}/execd.db"]
    names += ["/etc/execd", "/etc/execd/paper-1.toml", "/etc/credstore", "/var/lib/execd-halt"]
    assert daemon.run("stat", "--format", "%A %U:%G %n", *names).splitlines() == [
        f"drwxr-xr-x execd:execd {SOCKETS}",
        f"srw-rw---- execd:execd {SOCKETS}/control.sock",
        f"srw-rw---- execd:execd-signals {SOCKETS}/signals.sock",
        f"drwxr-x--- execd:execd {BOOKS}",
        f"-rw-r----- execd:execd {BOOKS}/execd.db",
        "drwxr-x--- root:execd /etc/execd",
        "-rw-r----- root:execd /etc/execd/paper-1.toml",
        "drwx------ root:root /etc/credstore",
        "drwxrwxr-x root:execd-operators /var/lib/execd-halt",
    ]


def test_everybody_may_do_what_his_groups_say(daemon: Machine) -> None:
    until(lambda: is_trading(daemon), daemon, "trading")
    assert execd(daemon, "halt", user="bob") == (
        ExitCode.REFUSED,
        "execd: bob is viewer here, and halt takes operator\n",
    )
    assert execd(daemon, "halt", user="alice") == (ExitCode.OK, "halted: trading is HALTED by kill\n")
    assert execd(daemon, "flatten", "all", user="alice") == (
        ExitCode.REFUSED,
        "execd: alice is operator here, and flatten takes supervisor\n",
    )
    assert execd(daemon, "flatten", "all", user="sue")[0] == ExitCode.OK
    assert execd(daemon, "resume", user="alice") == (ExitCode.OK, "resumed: trading is ACTIVE\n")
    send = f"'POST', 'signals', {order('socket').decode()}"
    assert asked(daemon, "model", "signals.sock", send) == "{'received': 1, 'dead': []}"
    outside = "daemon.asking.NoAnswerError: you may not open {}: its group may, or sudo"
    assert asked(daemon, "bob", "signals.sock", send) == outside.format(f"{SOCKETS}/signals.sock")
    for somebody in ("model", "carol"):
        said = asked(daemon, somebody, "control.sock", "'GET', 'status'")
        assert said == outside.format(f"{SOCKETS}/control.sock")
    assert daemon.process("ls", BOOKS, user="carol").returncode != 0


def test_operators_halt_a_daemon_that_does_not_run_and_nobody_else_does(daemon: Machine) -> None:
    daemon.run("systemctl", "stop", UNIT)
    code, said = execd(daemon, "halt", user="bob")
    assert code == ExitCode.REFUSED
    assert said.startswith("execd: NOT halted: no daemon answers at /run/execd/paper-1/control.sock")
    code, said = execd(daemon, "halt", user="alice")
    assert code == ExitCode.OK
    assert f"halted by the file {HALT_FILE}: remove it before `execd resume`\n" in said
    daemon.run("systemctl", "start", UNIT)
    assert state(daemon).startswith("HALTED by kill")
    daemon.run("rm", HALT_FILE, user="alice")
    until(lambda: execd(daemon, "resume", user="alice")[0] == ExitCode.OK, daemon, "the resume")


# How it ends and begins -----------------------------------------------------------------------------------------------


def began_again(machine: Machine, times: int) -> bool:
    shown = machine.show(UNIT, "NRestarts", "ActiveState", "SubState")
    return shown == {"NRestarts": str(times), "ActiveState": "active", "SubState": "running"}


def test_a_process_that_is_killed_and_a_day_that_ends_begin_again(daemon: Machine) -> None:
    daemon.run("kill", "-KILL", pid(daemon))
    until(lambda: began_again(daemon, 1), daemon, "another start")
    daemon.run("kill", "-TERM", pid(daemon))  # ends with 0, as a day does
    until(lambda: began_again(daemon, 2), daemon, "a third start")
    daemon.run("systemctl", "reset-failed", UNIT)


def test_a_process_that_hangs_is_ended_with_its_stacks_in_the_log_and_begins_again(daemon: Machine) -> None:
    dropin = "/run/systemd/system/execd@paper-1.service.d/watchdog.conf"
    daemon.write(dropin, "[Service]\nWatchdogSec=2\n")
    daemon.run("systemctl", "daemon-reload")
    daemon.run("systemctl", "restart", UNIT)
    hanging = pid(daemon)
    daemon.run("kill", "-STOP", hanging)
    until(lambda: began_again(daemon, 1), daemon, "another start")
    assert pid(daemon) != hanging
    assert "Fatal Python error: Aborted" in log(daemon)
    daemon.run("rm", dropin)
    daemon.run("systemctl", "daemon-reload")


def test_what_is_for_a_person_is_not_tried_again(daemon: Machine) -> None:
    daemon.run("systemctl", "stop", UNIT)
    daemon.run("sed", "-i", "s/^tag = .*/tag = 5/", "/etc/execd/paper-1.toml")
    assert daemon.process("systemctl", "start", UNIT).returncode != 0
    shown = daemon.show(UNIT, "ActiveState", "Result", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "2", "NRestarts": "0"}
    assert "execd: /etc/execd/paper-1.toml:7: daemon.tag" in log(daemon)
    daemon.run("sed", "-i", 's/^tag = .*/tag = "P1"/', "/etc/execd/paper-1.toml")
    daemon.run("systemctl", "reset-failed", UNIT)


def test_without_its_server_and_without_its_credential_it_starts_and_waits(daemon: Machine) -> None:
    credential = "/etc/credstore/execd-paper-1.redis_password"
    daemon.run("systemctl", "stop", UNIT, "valkey-server")
    daemon.run("sed", "-i", "s/^\\[halt\\].*/&\\nrelease_after_s = 1/", "/etc/execd/paper-1.toml")
    daemon.run("mv", credential, "/root/kept")
    daemon.run("systemctl", "start", UNIT)
    assert state(daemon).startswith("HALTED by redis")
    assert "Connection refused" in log(daemon)
    daemon.run("systemctl", "start", "valkey-server")
    until(lambda: "invalid username-password pair" in log(daemon), daemon, "a refusal")
    assert state(daemon).startswith("HALTED by redis")
    daemon.run("mv", "/root/kept", credential)
    daemon.run("systemctl", "restart", UNIT)  # the manager reads credentials when it starts a unit, and then only
    until(lambda: is_trading(daemon), daemon, "trading")
    daemon.run("sed", "-i", "/^release_after_s/d", "/etc/execd/paper-1.toml")


def test_tables_go_back_with_the_newer_program_and_forth_with_a_start(daemon: Machine) -> None:
    revision = (
        "sqlite3.connect('file:execd.db?mode=ro', uri=True).execute('select version_num from alembic_version')",
    )
    look = ("env", f"--chdir={BOOKS}", PYTHON, "-c", f"import sqlite3; print(*{revision[0]}.fetchone())")
    newest = daemon.run(*look, user="execd")
    daemon.run("systemctl", "stop", UNIT)
    daemon.run(EXECD, "db", "downgrade", "--config", "/etc/execd/paper-1.toml", "0001", user="execd")
    assert daemon.run(*look, user="execd") == "0001\n"
    daemon.run("systemctl", "start", UNIT)
    assert daemon.run(*look, user="execd") == newest != "0001\n"


def test_a_drill_is_measured_and_leaves_trading_halted(daemon: Machine) -> None:
    until(lambda: is_trading(daemon), daemon, "trading")
    code, said = execd(daemon, "halt", "--drill", redis="execd-operator", user="alice")
    assert code == ExitCode.OK, said
    assert said.endswith("0 orders left\ntrading stays halted: `execd resume` lets it go on\n")
    until(lambda: execd(daemon, "resume", user="alice")[0] == ExitCode.OK, daemon, "the resume")


# The walls ------------------------------------------------------------------------------------------------------------

INSIDE = {
    "load every library, encrypt, compute": "done",
    "write its state": "done",
    "write beside its sockets": "done",
    "write a temporary file of its own": "done",
    "give a file to its second group": "done",
    "speak to this machine": "done",
    "read the time of the last boot": "done",
    "write its configuration": "EROFS",
    "write its program": "EROFS",
    "write a halt file": "EROFS",
    "write elsewhere": "EROFS",
    "write a setting of the kernel": "EROFS",
    "read the credentials of others": "EACCES",
    "read the passwords of Valkey": "EACCES",
    "read homes": "EACCES",
    "see other processes": "ENOENT",
    "open a disk": "ENOENT",
    "listen to raw packets": "EAFNOSUPPORT",
    "speak to the kernel over netlink": "EAFNOSUPPORT",
    "make memory writable and executable": "EPERM",
    "trace processes": "EPERM",
    "make a namespace": "EPERM",
    "mount": "EPERM",
    "change its personality": "EPERM",
    "become root": "EPERM",
    "make a program that becomes somebody else": "EPERM",
    "take a processor for itself": "EPERM",
    "rename the machine": "EPERM",
    "speak to a broker": "EPERM",
    "speak to another machine": "EPERM",
    "capabilities": [0, 0, 0, 0],
    "no new privileges": "1",
    "filtered": "2",
    "umask": "0027",
    "files": [4096, 4096],
    "core": [0, 0],
    "credentials": {},
}
PROBE = f"""[Service]
Type=oneshot
Restart=no
ExecStart=
ExecStart={PYTHON} {Path(__file__).with_name("probe.py")} /var/lib/execd/probe/found.json
"""


def probed(machine: Machine) -> dict[str, Any]:
    """What a process in the daemon's place can do."""
    machine.write("/etc/systemd/system/execd@probe.service.d/probe.conf", PROBE)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "execd@probe.service")
    found: dict[str, Any] = json.loads(machine.run("cat", "/var/lib/execd/probe/found.json"))
    return found


@pytest.fixture
def elsewhere(machine: Machine) -> Iterator[None]:
    """Addresses of other machines, which this one has for the moment: only a filter keeps anybody from them."""
    for address in ("192.0.2.10", "192.0.2.11"):
        machine.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    yield
    for address in ("192.0.2.10", "192.0.2.11"):
        machine.run("ip", "address", "del", f"{address}/32", "dev", "lo")


def test_behind_the_walls_nothing_works_but_what_the_daemon_needs(machine: Machine, elsewhere: None) -> None:
    assert probed(machine) == INSIDE


def test_the_example_for_the_network_opens_what_it_names_and_no_more(machine: Machine, elsewhere: None) -> None:
    dropin = "/etc/systemd/system/execd@probe.service.d/network.conf"
    machine.write(dropin, (DEPLOY / "systemd/execd@.service.d/network.conf.example").read_text())
    assert probed(machine) == INSIDE | {"speak to a broker": "done"}
    machine.run("rm", dropin)


def test_credentials_are_those_of_the_instance(machine: Machine) -> None:
    for account in ("probe", "other"):
        machine.write(f"/etc/credstore/execd-{account}.database_password", f"of {account}")
    assert probed(machine)["credentials"] == {"database_password": "of probe"}
    machine.run("rm", "/etc/credstore/execd-probe.database_password", "/etc/credstore/execd-other.database_password")
