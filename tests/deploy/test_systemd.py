"""The unit: what systemd says of it, what it must share with the code, and what the daemon tells its manager."""

import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.valkey import PrivateValkey
from daemon import credentials
from daemon.cli import ExitCode
from daemon.config import Config, load
from daemon.notifier import ALIVE_S
from tests.daemon.service import ROOT, Service

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd/execd@.service"
PROGRAM = "/opt/execd/current/bin/execd"
SCORE_MAX = 1.5
WAIT_S = 20.0
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def settings(path: Path = UNIT) -> dict[str, list[str]]:
    """A unit's settings, each with all of its lines."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if match := re.match(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2].replace("%i", "paper-1"))
    return found


def setting(name: str) -> str:
    (value,) = settings()[name]
    return value


# What systemd says ----------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit where its program exists: systemd looks whether it does, and on this machine another must do."""
    there = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert text.count(f"\nExecStart={PROGRAM} ") == 1
    there.write_text(text.replace(PROGRAM, "/bin/true"))
    return there


def analyze(*words: str) -> str:
    assert ANALYZE is not None
    said = subprocess.run([ANALYZE, "--no-pager", *words], capture_output=True, text=True, check=False)
    return said.stdout + said.stderr


def verify(unit: Path) -> list[str]:
    """What is wrong with the unit itself; what it refers to is the machine's."""
    return [line for line in analyze("verify", "--recursive-errors=no", str(unit)).splitlines() if "execd" in line]


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(installed: Path) -> None:
    assert verify(installed) == []


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_example_for_the_network(installed: Path) -> None:
    dropin = installed.with_name(f"{installed.name}.d") / "network.conf"
    dropin.parent.mkdir()
    shutil.copy(DEPLOY / "systemd/execd@.service.d/network.conf.example", dropin)
    assert verify(installed) == []
    dropin.write_text(dropin.read_text().replace("IPAddressAllow=192", "IPAddressesAllow=192"))
    assert len(verify(installed)) == 1, "it reads the drop-in"


@needs_systemd
def test_systemd_would_find_what_is_wrong(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("NoNewPrivileges", "NoNewPriviledges"))
    (line,) = verify(installed)
    assert "'NoNewPriviledges'" in line


@needs_systemd
def test_the_units_exposure_is_small(installed: Path) -> None:
    said = analyze("security", "--offline=yes", str(installed))
    lost = [line for line in said.splitlines() if line.startswith(("✗", "- "))]
    score = re.search(r"Overall exposure level for .*: ([\d.]+)", said)
    assert score, said
    print(*lost, score[0], sep="\n")  # noqa: T201 - `pytest -s` shows where the points go
    assert float(score[1]) <= SCORE_MAX, said


# What it shares with the code -----------------------------------------------------------------------------------------


def test_the_unit_loads_every_credential_that_the_code_reads_and_no_other() -> None:
    read = {name.removeprefix("EXECD_").lower() for name in credentials.VARIABLES}
    used = {
        getattr(credentials, name)
        for path in (ROOT / "daemon").glob("*.py")
        for name in re.findall(r"credentials\.credential\(credentials\.(\w+)\)", path.read_text())
    }
    loaded = dict(line.split(":") for line in settings()["LoadCredential"])
    assert used <= read
    assert loaded == {name: f"execd-paper-1.{name}" for name in read}


def test_credentials_are_looked_up_by_name_so_that_one_that_is_missing_is_no_error() -> None:
    assert [line for line in settings()["LoadCredential"] if "/" in line] == []


def test_exit_codes_that_are_for_a_person_and_no_others_prevent_another_start() -> None:
    of_commands = {ExitCode.NO_DAEMON, ExitCode.REFUSED}  # `execd run` never ends with these
    begins_again = {ExitCode.OK, ExitCode.FAILED}
    prevented = {int(code) for code in setting("RestartPreventExitStatus").split()}
    assert prevented == set(ExitCode) - of_commands - begins_again
    assert setting("Restart") == "always"


def test_intervals_leave_room_for_what_they_wait_for() -> None:
    config = service_config()
    watchdog_s = float(setting("WatchdogSec"))
    assert watchdog_s / 3 + 2 * ALIVE_S < watchdog_s, "one look that takes its time is not yet a hang"
    assert float(setting("TimeoutStopSec")) > 2 * config.halt.drain_s


def service_config() -> Config:
    return load(DEPLOY / "execd.service.toml", {})


def test_the_configuration_of_the_service_writes_where_the_unit_lets_it() -> None:
    config, books = service_config(), f"/var/lib/{setting('StateDirectory')}"
    sockets = f"/run/{setting('RuntimeDirectory')}"
    assert str(config.data_dir) == setting("WorkingDirectory") == books
    assert (str(config.control_socket), config.signals.socket) == (f"{sockets}/control.sock", f"{sockets}/signals.sock")
    assert (config.control.group, config.signals.socket_group) == (setting("Group"), setting("SupplementaryGroups"))
    assert setting("ExecStart") == f"{PROGRAM} run --config /etc/execd/{config.daemon.account}.toml"


def test_a_reload_is_the_signal_that_the_daemon_takes_for_one_and_its_program_is_there() -> None:
    program, *words = setting("ExecReload").split()
    assert words == ["-HUP", "$MAINPID"]
    assert Path(program).is_file()


def test_users_groups_and_folders_that_are_named_are_made() -> None:
    config = service_config()
    users = re.findall(r"^([ug]) (\S+)", (DEPLOY / "systemd/execd.sysusers.conf").read_text(), re.MULTILINE)
    named = {setting("User"), setting("Group"), setting("SupplementaryGroups"), config.control.group}
    named |= {name.removeprefix("@") for name in (*config.control.operators, *config.control.supervisors)}
    assert {name for _, name in users} == named
    folders = re.findall(r"^d (\S+)", (DEPLOY / "systemd/execd.tmpfiles.conf").read_text(), re.MULTILINE)
    assert folders == ["/etc/execd", "/etc/credstore", str(config.halt_file.parent)]


def test_the_configuration_of_the_service_uses_the_desks_user_of_redis() -> None:
    config = service_config()
    (line,) = [
        line
        for line in (DEPLOY / "redis/users.acl").read_text().splitlines()
        if line.startswith(f"user {config.redis.username} ")
    ]
    keys = {config.signals.stream, config.answers.stream, config.answers.dead, config.halt.key}
    keys |= {f"{config.answers.mirror}:{name}" for name in ("orders", "parents", "positions", "prices")}
    assert set(re.findall(r"[~](\S+?)[\s)]", line)) == keys
    assert re.findall(r"&(\S+)", line) == [config.signals.channel]


# What the daemon tells its manager ------------------------------------------------------------------------------------


class Manager:
    """In the place of systemd: hears datagrams, and knows from the kernel who sent them."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"execd-test-{os.getpid()}-{time.monotonic_ns()}"
        self._socket.bind(f"\0{name}")
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.address = f"@{name}"
        self.senders: set[int] = set()

    def hear(self, within_s: float = WAIT_S) -> list[str]:
        """The words of the next datagram; none where none comes."""
        if not select.select([self._socket], [], [], within_s)[0]:
            return []
        data, (credentials_of, *_), *_ = self._socket.recvmsg(4096, socket.CMSG_SPACE(struct.calcsize("3i")))
        self.senders.add(struct.unpack("3i", credentials_of[2])[0])
        return data.decode().splitlines()

    def hear_until(self, holds: Callable[[list[str]], Any]) -> list[str]:
        """The first datagram for which it holds."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if holds(words := self.hear()):
                return words
        raise AssertionError("it was never said")

    def hear_the_rest(self) -> None:
        """What waits."""
        while self.hear(0):
            pass

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    heard = Manager()
    yield heard
    heard.close()


@pytest.fixture
def service(tmp_path: Path, valkey: PrivateValkey) -> Iterator[Service]:
    made = Service(tmp_path / "service", valkey.settings)
    yield made
    made.kill()


def test_the_manager_hears_that_it_is_ready_how_it_is_and_that_it_stops(service: Service, manager: Manager) -> None:
    service.start(ready=False, NOTIFY_SOCKET=manager.address)
    assert manager.hear() == ["READY=1"]
    assert service.status()["ready"], "recovery is over"
    assert manager.hear() == ["STATUS=ACTIVE, 0 live parents, 0 working orders"]
    assert manager.senders == {service.pid}
    service.send_signal(signal.SIGTERM)
    assert manager.hear() == ["STOPPING=1", "STATUS=stopping"]
    assert service.stop() == ExitCode.OK
    assert "New York" not in service.log(), "its state is in the manager's line, and not in the log every 4 s"


def test_signs_of_life_come_while_it_lives_and_stop_while_it_is_frozen(service: Service, manager: Manager) -> None:
    service.start(WATCHDOG_USEC="600000", NOTIFY_SOCKET=manager.address)
    for _ in range(3):
        assert manager.hear_until(lambda words: "WATCHDOG=1" in words)[1].startswith("STATUS=ACTIVE")
    service.ask("POST", "halt", {"text": "enough"})
    manager.hear_until(lambda words: words[-1] == "STATUS=HALTED by kill, 0 live parents, 0 working orders")
    service.send_signal(signal.SIGSTOP)
    manager.hear_the_rest()
    assert manager.hear(within_s=1.2) == []
    service.send_signal(signal.SIGCONT)
    manager.hear_until(lambda words: "WATCHDOG=1" in words)


def test_a_daemon_that_another_process_watches_sends_no_signs_of_life(service: Service, manager: Manager) -> None:
    service.start(WATCHDOG_USEC="300000", WATCHDOG_PID="1", NOTIFY_SOCKET=manager.address)
    assert manager.hear() == ["READY=1"]
    assert manager.hear() == ["STATUS=ACTIVE, 0 live parents, 0 working orders"]
    assert manager.hear(within_s=1.0) == []
