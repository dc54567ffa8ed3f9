"""The desk's Valkey, with the files of deploy/redis: everybody may do his work and nothing else, over a whole day."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError

from adapters.redis_link import lets_anyone_in
from adapters.signals.redis_stream import CONSUMER
from adapters.valkey import PrivateValkey
from daemon.asking import ask
from daemon.cli import ExitCode
from tests.daemon.service import ROOT, Service, order
from tests.servers.valkey import DEPLOYED, Desk, desk, entries, other_hand

STREAM, CHANNEL, HALT, ANSWERS, DEAD = (
    "execd:signals",
    "execd:signals:pubsub",
    "execd:halt",
    "execd:events",
    "execd:signals:dead",
)
HASHES = ("execd:orders", "execd:parents", "execd:positions", "execd:prices")
USERS = ("execd", "execd-publisher", "execd-operator", "execd-viewer", "execd-exporter", "execd-admin")
READS = [f"XRANGE {name} - +" for name in (STREAM, ANSWERS, DEAD)] + [f"HGETALL {name}" for name in HASHES]


@pytest.fixture(scope="module")
def desk_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server for tests that leave nothing behind."""
    with desk(tmp_path_factory.mktemp("desk") / "valkey") as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Desk]:
    """A server of one test."""
    with desk(tmp_path / "valkey") as made:
        yield made


@pytest.fixture
def service(own: Desk, tmp_path: Path) -> Iterator[Service]:
    """A daemon with its user, that listens wherever it can."""
    signals = {"channel": CHANNEL, "socket": "signals.sock"}
    made = Service(tmp_path / "service", own.settings("execd"), signals=signals)
    made.start(EXECD_REDIS_PASSWORD=own.passwords["execd"])
    yield made
    made.kill()


def do(hand: redis.Redis, command: str) -> Any:  # noqa: ANN401 - whatever the server answers
    """The answer to a command as a person types it."""
    return hand.execute_command(*command.split())  # type: ignore[no-untyped-call]  # ships half typed


def may(hand: redis.Redis, command: str) -> bool:
    """Whether the server lets somebody do it; what it would have done does not matter."""
    try:
        do(hand, command)
    except NoPermissionError:
        return False
    except redis.ResponseError:  # allowed, and wrong
        return True
    return True


# The files ------------------------------------------------------------------------------------------------------------


def test_the_acl_file_holds_no_password_and_lets_nobody_in_as_it_is() -> None:
    lines = (DEPLOYED / "users.acl").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["default", *USERS]
    for line in lines:
        assert line.split()[2] == ("off" if line.split()[1] == "default" else "on")
        assert " resetpass resetkeys resetchannels -@all" in line
        assert not re.search(r"nopass| [#>]|[+]@|allkeys|~\*|allchannels|&\*", line), line


def test_every_line_of_the_acl_file_is_explained() -> None:
    page = (DEPLOYED / "README.md").read_text()
    assert re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE) == ["default", *USERS]


def test_passwords_are_made_once_and_kept_and_are_for_their_owner_alone(tmp_path: Path) -> None:
    users, passwords = tmp_path / "users.acl", tmp_path / "passwords"
    script = ["env", "PATH=/usr/bin:/bin", "sh", str(DEPLOYED / "passwords.sh")]
    make = [*script, str(DEPLOYED / "users.acl"), str(users), str(passwords)]
    subprocess.run(make, check=True)
    first = users.read_text()
    assert {file.name for file in passwords.iterdir()} == set(USERS)
    assert {file.stat().st_mode & 0o777 for file in passwords.iterdir()} == {0o600}
    assert (passwords.stat().st_mode & 0o777, users.stat().st_mode & 0o777) == (0o700, 0o640)
    assert all(re.fullmatch("[0-9a-f]{64}", file.read_text()) for file in passwords.iterdir())
    assert len({file.read_text() for file in passwords.iterdir()}) == len(USERS)
    assert re.sub(" #[0-9a-f]{64}", "", first) == (DEPLOYED / "users.acl").read_text()
    subprocess.run(make, check=True)
    assert users.read_text() == first
    (passwords / "execd").unlink()
    subprocess.run(make, check=True)
    changed = [a.split()[1] for a, b in zip(first.splitlines(), users.read_text().splitlines(), strict=True) if a != b]
    assert changed == ["execd"]
    assert subprocess.run([*script, "one"], capture_output=True, check=False).returncode == 2


def test_the_server_takes_every_line_of_its_configuration(desk_: Desk) -> None:
    lines = [
        line.split(maxsplit=1) for line in (DEPLOYED / "valkey.conf").read_text().splitlines() if line[:1].isalpha()
    ]
    elsewhere = {"dir", "aclfile", "port"}  # a private server's
    with desk_.hand("execd-admin") as admin:
        for name, value in lines:
            if name in elsewhere | {"client-output-buffer-limit"}:
                continue
            (found,) = admin.config_get(name).values()
            assert (name, str(found)) == (name, _in_full(value))
        limits = admin.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
    assert limits == "normal 67108864 16777216 30 slave 268435456 67108864 60 pubsub 8388608 2097152 10"


def _in_full(value: str) -> str:
    """A value as the server shows it."""
    units = {"mb": 2**20, "gb": 2**30}
    found = re.fullmatch(r"(\d+)(mb|gb)", value)
    return str(int(found[1]) * units[found[2]]) if found else value.strip('"')


# Who gets in ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"password": "x"},
        {"username": "default", "password": ""},
        {"username": "execd", "password": "wrong"},
        {"username": "execd", "password": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("protocol", [2, 3])
def test_who_has_no_password_gets_nothing(desk_: Desk, options: dict[str, str], protocol: int) -> None:
    with other_hand(desk_.server, **options, protocol=protocol) as hand:
        for command in ("PING", f"GET {HALT}", "INFO", "COMMAND", "ACL WHOAMI", f"XADD {STREAM} * signal x"):
            with pytest.raises(AuthenticationError):
                do(hand, command)


def test_live_mode_tells_a_desks_server_from_one_that_lets_anyone_in(desk_: Desk, valkey: PrivateValkey) -> None:
    assert not lets_anyone_in(desk_.server.settings)
    assert lets_anyone_in(valkey.settings)


# Who may do what ------------------------------------------------------------------------------------------------------

WRITES_OF_THE_HALT_KEY = [
    f"SET {HALT} 1",
    f"SETEX {HALT} 1 1",
    f"SETNX {HALT} 1",
    f"MSET {HALT} 1",
    f"GETSET {HALT} 1",
    f"GETDEL {HALT}",
    f"GETEX {HALT} EX 1",
    f"APPEND {HALT} 1",
    f"SETRANGE {HALT} 0 1",
    f"INCR {HALT}",
    f"DEL {HALT}",
    f"UNLINK {HALT}",
    f"DELIFEQ {HALT} enough",
    f"EXPIRE {HALT} 1",
    f"PEXPIREAT {HALT} 1",
    f"PERSIST {HALT}",
    f"RENAME {HALT} execd:orders",
    f"RENAME execd:orders {HALT}",
    f"RENAMENX {HALT} execd:orders",
    f"COPY execd:orders {HALT} REPLACE",
    f"MOVE {HALT} 0",
    f"RESTORE {HALT} 0 x REPLACE",
    f"HSET {HALT} a b",
    f"HDEL {HALT} a",
    f"SADD {HALT} a",
    f"LPUSH {HALT} a",
    f"ZADD {HALT} 1 a",
    f"PFADD {HALT} a",
    f"SETBIT {HALT} 0 1",
    f"BITOP AND {HALT} execd:orders",
    f"XADD {HALT} * a b",
    f"XTRIM {HALT} MAXLEN 0",
    f"XGROUP CREATE {HALT} g 0 MKSTREAM",
    f"SORT execd:orders STORE {HALT}",
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB 0 0",
    f"EVAL return 0 1 {HALT}",
    f"EVALSHA {'0' * 40} 1 {HALT}",
    f"FCALL f 1 {HALT}",
    "FUNCTION LOAD x",
    "SCRIPT LOAD x",
    "CONFIG SET maxmemory 1",
    "CONFIG REWRITE",
    "ACL SETUSER execd +@all",
    "ACL LOAD",
    "SHUTDOWN NOSAVE",
    "REPLICAOF 127.0.0.1 1",
    "FAILOVER",
    "CLIENT KILL TYPE normal",
    "CLIENT PAUSE 1",
    "CLIENT NO-EVICT on",
    "MIGRATE 127.0.0.1 1 execd:halt 0 1",
    "MONITOR",
    "KEYS *",
    "SCAN 0",
    "SELECT 0",
]
OTHERS_OF_THE_DAEMON = [
    f"XADD {STREAM} * signal x",
    f"XDEL {STREAM} 0-1",
    f"XTRIM {STREAM} MAXLEN 0",
    f"DEL {STREAM}",
    f"DEL {ANSWERS}",
    f"XGROUP DESTROY {STREAM} execd",
    f"XGROUP SETID {STREAM} execd $",
    f"PUBLISH {CHANNEL} x",
    "SUBSCRIBE other",
    "PSUBSCRIBE *",
    "HSET other a b",
    "GET other",
]


@pytest.mark.parametrize("command", [*WRITES_OF_THE_HALT_KEY, *OTHERS_OF_THE_DAEMON])
def test_the_daemon_cannot_touch_the_halt_key_nor_what_is_not_its_own(desk_: Desk, command: str) -> None:
    with desk_.hand("execd") as daemon, desk_.hand("execd-operator") as operator:
        operator.set(HALT, "enough")
        assert not may(daemon, command)
        assert daemon.get(HALT) == b"enough"
        operator.delete(HALT)


def test_the_daemon_cannot_touch_the_halt_key_in_a_transaction(desk_: Desk) -> None:
    with desk_.hand("execd") as daemon:
        do(daemon, "MULTI")
        assert not may(daemon, f"SET {HALT} 1")
        with pytest.raises(redis.ResponseError, match="discarded"):
            do(daemon, "EXEC")


@pytest.mark.parametrize("user", ["execd-publisher", "execd-viewer", "execd-exporter", "execd-admin"])
@pytest.mark.parametrize(
    "command", [f"SET {HALT} 1", f"DEL {HALT}", "FLUSHALL", f"EVAL x 1 {HALT}", "CONFIG SET port 1"]
)
def test_nobody_but_the_operator_touches_the_halt_key(desk_: Desk, user: str, command: str) -> None:
    with desk_.hand(user) as hand:
        assert not may(hand, command)


@pytest.mark.parametrize("command", ["DEBUG SLEEP 0", "MODULE LOAD x"])
def test_not_even_all_rights_are_enough_to_freeze_the_server_or_load_code_into_it(desk_: Desk, command: str) -> None:
    with desk_.hand("execd-admin") as admin:
        do(admin, "ACL SETUSER all on >x +@all ~* &*")
        with (
            other_hand(desk_.server, username="all", password="x") as hand,
            pytest.raises(redis.ResponseError, match="not allowed"),
        ):
            do(hand, command)
        admin.acl_deluser("all")


def test_the_publisher_adds_and_publishes_and_can_do_nothing_else(desk_: Desk) -> None:
    allowed = [f"XADD {STREAM} * signal x", f"PUBLISH {CHANNEL} x", "PING"]
    refused = [
        *READS,
        f"GET {HALT}",
        f"XADD {ANSWERS} * a b",
        f"XADD {DEAD} * a b",
        "PUBLISH other x",
        f"XLEN {STREAM}",
    ]
    refused += [f"SUBSCRIBE {CHANNEL}", f"XREAD STREAMS {STREAM} 0", f"XDEL {STREAM} 0-1", f"DEL {STREAM}", "INFO"]
    with desk_.hand("execd-publisher") as publisher:
        assert [command for command in allowed if not may(publisher, command)] == []
        assert [command for command in refused if may(publisher, command)] == []


def test_the_operator_halts_and_looks_and_can_do_nothing_else(desk_: Desk) -> None:
    allowed = [f"SET {HALT} 1", f"SET {HALT} 1 NX", f"GET {HALT}", f"EXISTS {HALT}", f"DEL {HALT}", f"WATCH {HALT}"]
    allowed += [*READS, f"XINFO GROUPS {STREAM}"]
    refused = [
        f"WATCH {STREAM}",
        f"XADD {STREAM} * signal x",
        f"PUBLISH {CHANNEL} x",
        f"DEL {STREAM}",
        "HSET execd:orders a b",
        "INFO",
    ]
    refused += [f"SET {STREAM} 1", f"DEL {ANSWERS}", "FLUSHALL", "CONFIG GET *", f"XTRIM {STREAM} MAXLEN 0"]
    with desk_.hand("execd-operator") as operator:
        assert [command for command in allowed if not may(operator, command)] == []
        assert [command for command in refused if may(operator, command)] == []


def test_viewer_exporter_and_admin_write_no_key(desk_: Desk) -> None:
    writes = [f"SET {HALT} 1", f"DEL {STREAM}", f"XADD {STREAM} * a b", "HSET execd:orders a b", f"PUBLISH {CHANNEL} x"]
    reads = {"execd-viewer": [*READS, f"GET {HALT}"], "execd-exporter": ["INFO"], "execd-admin": ["ACL LOG", "INFO"]}
    for user, commands in reads.items():
        with desk_.hand(user) as hand:
            assert [command for command in commands if not may(hand, command)] == []
            assert [command for command in writes if may(hand, command)] == []
    with desk_.hand("execd-exporter") as exporter:
        assert [command for command in READS if may(exporter, command)] == []


def test_a_message_of_ten_megabytes_is_refused_by_the_server(desk_: Desk) -> None:
    huge = b"x" * 10_000_000
    with desk_.hand("execd-publisher") as publisher, desk_.hand("execd-operator") as operator:
        before = operator.xlen(STREAM)
        for send in (lambda: publisher.xadd(STREAM, {"signal": huge}), lambda: publisher.publish(CHANNEL, huge)):
            with pytest.raises(redis.ConnectionError):
                send()
        assert operator.xlen(STREAM) == before


# A day ----------------------------------------------------------------------------------------------------------------


def used(admin: redis.Redis) -> set[str]:
    """The commands that the server has carried out since it started."""
    facts: dict[str, dict[str, int]] = admin.info("commandstats")
    return {name.removeprefix("cmdstat_") for name, fact in facts.items() if fact["calls"] > fact["rejected_calls"]}


def granted(user: str) -> set[str]:
    """The commands that the file grants somebody."""
    (line,) = [line for line in (DEPLOYED / "users.acl").read_text().splitlines() if line.split()[1] == user]
    return set(re.findall(r"\+([\w|]+)", line))


def refusals(admin: redis.Redis) -> list[Any]:
    """What the server refused, to whomever."""
    found: list[Any] = admin.acl_log()
    return [(each["username"], each["reason"], each["object"]) for each in found if each["reason"] != "auth"]


def resting(number: int) -> bytes:
    return order(f"rest-{number}", algo="LIMIT", price="97.00", duration_s=80_000)


def test_a_daemon_with_its_user_works_a_whole_day_and_is_refused_nothing(own: Desk, service: Service) -> None:
    with (
        own.hand("execd-publisher") as publisher,
        own.hand("execd-operator") as operator,
        own.hand("execd-viewer") as viewer,
        own.hand("execd-admin") as admin,
    ):
        # every way in
        for signal in (order("stream", qty=300), b"nonsense", resting(1)):
            publisher.xadd(STREAM, {"signal": signal})
        publisher.xadd(STREAM, {"something": "else"})
        service.until(lambda: publisher.publish(CHANNEL, order("channel")), "a subscriber")
        ask(str(service.folder / "signals.sock"), "POST", "signals", json.loads(order("socket", symbol="BRAV")))
        service.until(lambda: len(service.events("ParentEnded")) == 3, "three ends")
        service.until(lambda: _acknowledged(operator), "the acknowledgements")

        # every word out
        service.until(
            lambda: "CostReport" in _answers(viewer, "stream") & _answers(viewer, "channel"), "the last answers"
        )
        assert {"SignalAccepted", "FillBooked", "ParentEnded"} <= _answers(viewer, "stream")
        assert len(entries(viewer, DEAD)) == 2
        service.until(lambda: viewer.hlen("execd:orders") == 1, "the order that rests in the mirror")
        assert set(viewer.hkeys("execd:positions")) == {b"desk:ALFA", b"desk:BRAV"}
        assert set(viewer.hkeys("execd:prices")) == {b"ALFA", b"BRAV"}
        assert viewer.hlen("execd:parents") == 1
        service.until(lambda: "ping" in used(admin), "a look whether the silent server is there")

        # a halt, and its end
        operator.set(HALT, "enough")
        service.until_state("HALTED")
        service.until(lambda: viewer.hlen("execd:orders") == 0, "nothing that works, in the mirror neither")
        operator.delete(HALT)
        service.until(lambda: _resumes(service), "the resume")

        # a crash with signals on their way, and another start over what is there
        for number in range(20):
            publisher.xadd(STREAM, {"signal": order(f"crash-{number}", qty=1)})
        service.kill()
        publisher.xadd(STREAM, {"signal": order("crash-20", qty=1)})
        with own.hand("execd") as taken:  # one at least was delivered and not acknowledged, wherever the kill came
            assert taken.xreadgroup("execd", CONSUMER, {STREAM: ">"})
        service.start(EXECD_REDIS_PASSWORD=own.passwords["execd"])
        service.until(lambda: len(service.events("SignalAccepted")) == 25, "every signal")
        service.until(lambda: _acknowledged(operator), "the acknowledgements")
        service.until(lambda: "CostReport" in _answers(viewer, "crash-20"), "the last answer")
        assert refusals(admin) == []
        assert granted("execd") - used(admin) == set(), "rights that nobody needs"

    # the server goes and comes back
    own.server.stop()
    service.until_state("HALTED")
    own.server.start()
    service.until_state("ACTIVE")
    with own.hand("execd-publisher") as publisher, own.hand("execd-admin") as admin:
        publisher.xadd(STREAM, {"signal": order("after")})
        service.until(lambda: any(each["signal_id"] == "after" for each in service.events("SignalAccepted")), "it")
        assert refusals(admin) == []
    assert service.stop() == ExitCode.OK
    assert [
        word for word in ("NOPERM", "NoPermission", "no permission", "No permission") if word in service.log()
    ] == []


def _acknowledged(hand: redis.Redis) -> bool:
    groups: Any = hand.xinfo_groups(STREAM)
    return bool(groups) and groups[0]["pending"] == groups[0]["lag"] == 0


def _answers(hand: redis.Redis, signal_id: str) -> set[str]:
    return {fields["type"] for _, fields in entries(hand, ANSWERS) if fields["signal_id"] == signal_id}


def _resumes(service: Service) -> bool:
    try:
        return bool(service.ask("POST", "resume", {})["state"] == "ACTIVE")
    except Exception as error:  # noqa: BLE001 - refused until the watch has seen that the key is gone
        assert "still set" in str(error)  # noqa: PT017 - it is asked again
        return False


# The commands of a desk -----------------------------------------------------------------------------------------------

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def execd(own: Desk, service: Service) -> Command:
    """The command line, as a person with a password of `user` types it."""

    def run(*words: str, user: str = "", password: str | None = None) -> "subprocess.CompletedProcess[str]":
        known = own.passwords.get(user, "") if password is None else password
        return subprocess.run(
            [sys.executable, "-m", "daemon", *words, "--dir", str(service.folder), *(("--as", user) if user else ())],
            env={"PATH": "/usr/bin:/bin", "EXECD_REDIS_PASSWORD": known},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_publisher_sends_and_an_operator_halts_by_hand(execd: Command, service: Service, own: Desk) -> None:
    for way in ("stream", "channel"):
        sent = execd("signal", "send", order(way).decode(), "--via", way, user="execd-publisher")
        assert (sent.returncode, sent.stdout, sent.stderr) == (ExitCode.OK, f"sent {way} by {way}\n", "")
    service.until(lambda: len(service.events("ParentEnded")) == 2, "both ends")
    halted = execd("halt", "--key", user="execd-operator")
    assert halted.returncode == ExitCode.OK
    assert halted.stdout == f"halted: the key {HALT} is set; delete it before `execd resume`\n"
    service.until_state("HALTED")
    with own.hand("execd-operator") as operator:
        assert operator.get(HALT) == b"execd halt"
        operator.delete(HALT)
    service.until(lambda: execd("resume").returncode == ExitCode.OK, "the resume")
    drilled = execd("halt", "--drill", user="execd-operator")
    assert (drilled.returncode, drilled.stderr) == (ExitCode.OK, "")
    assert re.match(r"drill: heard [\d.]+ ms, .* after the halt; 0 orders left\n", drilled.stdout)


def test_who_is_not_let_in_or_not_allowed_is_told_in_one_line(execd: Command, service: Service, own: Desk) -> None:
    at, send = f"Redis at {own.server.settings.url}", ("signal", "send", order("one").decode(), "--via", "stream")
    outside = "does not let {} in: see --as and $EXECD_REDIS_PASSWORD"
    refused = "does not allow it: User {} has no permissions to run the '{}' command"
    told = [
        (execd("halt", "--key"), outside.format("the default user")),
        (execd("halt", "--key", user="execd-operator", password="wrong"), outside.format("execd-operator")),
        (execd(*send, user="execd-publisher", password=""), outside.format("execd-publisher")),
        (execd("halt", "--key", user="execd-publisher"), refused.format("execd-publisher", "set")),
        (execd(*send, user="execd-operator"), refused.format("execd-operator", "xadd")),
        (execd(*send, "--wait", "5", user="execd-publisher"), refused.format("execd-publisher", "xrevrange")),
    ]
    for done, words in told:
        assert (done.returncode, done.stdout, done.stderr) == (ExitCode.REFUSED, "", f"execd: {at} {words}\n")
    assert service.status()["state"] == "ACTIVE"
    assert service.events("SignalReceived") == []
