"""The control socket: who may do what, what is on record of it, and what is refused with words."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from adapters.unix_socket import Peer
from core.events import CommandGiven
from daemon import control
from daemon.control import BODY_MAX, NOT_HIS_MAX, TEXT_MAX, UNTIL, Control, ControlSettings, Order, Role, role_of
from daemon.halts import Refused

ME = f"{Peer(os.getuid(), os.getgid(), 1).user} ({os.getuid()})"


class Desk:
    """A control socket, what was done and what is on record."""

    def __init__(self, path: Path) -> None:
        self.done: list[tuple[str, Order, str]] = []
        self.record: list[CommandGiven] = []
        self.path = path
        self.control = Control(
            path,
            ControlSettings(),
            views={"status": lambda _: {"state": "ACTIVE"}, "live": self.fail, "check": self.echo},
            commands={
                "halt": (Role.OPERATOR, self.halt),
                "flatten": (Role.SUPERVISOR, self.refuse),
                "resume": (Role.OPERATOR, self.break_down),
            },
            publish=self.record.append,
            now=lambda: 7,
        )

    async def halt(self, order: Order, by: str) -> dict[str, Any]:
        self.done.append(("halt", order, by))
        return {"state": "HALTED"}

    async def refuse(self, order: Order, by: str) -> dict[str, Any]:
        raise Refused("not now: halt first")

    def echo(self, query: Mapping[str, str]) -> dict[str, str]:
        if "qty" not in query:
            raise ValueError("no order: qty is missing")
        return dict(query)

    def fail(self, query: Mapping[str, str]) -> None:
        del query
        raise LookupError("no such row")

    async def break_down(self, order: Order, by: str) -> dict[str, Any]:
        raise LookupError("no such venue")

    async def ask(self, method: str, name: str, body: bytes | None = None, until: str = "") -> tuple[int, Any]:
        connector = aiohttp.UnixConnector(str(self.path))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://execd/{name}", data=body, headers={UNTIL: until}) as response,
        ):
            text = await response.text()
            return response.status, json.loads(text) if text.startswith("{") else text


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path / "control.sock")
    task = asyncio.create_task(desk.control.run())
    while not desk.path.is_socket():
        await asyncio.sleep(0.005)
    try:
        yield desk
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_everybody_may_look(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        assert await desk.ask("GET", "status") == (200, {"state": "ACTIVE"})
        assert desk.record == []


async def test_a_command_is_done_in_the_name_of_who_asked_and_on_record(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        assert await desk.ask("POST", "halt", b'{"text": "enough"}') == (200, {"state": "HALTED"})
    assert desk.done == [("halt", Order(text="enough"), ME)]
    assert desk.record == [CommandGiven(ts=7, by=ME, role="supervisor", command="halt", done=True, text="enough")]


async def test_what_the_daemon_refuses_is_a_conflict_with_words_and_on_record(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        assert await desk.ask("POST", "flatten", b'{"symbol": "ALFA"}') == (409, {"error": "not now: halt first"})
    assert desk.record == [
        CommandGiven(ts=7, by=ME, role="supervisor", command="flatten ALFA", done=False, text="not now: halt first")
    ]


LATE = "whoever asked has given up: ask again"


@pytest.mark.parametrize(
    "name,until,expected",
    [
        ("flatten", "1", (409, {"error": LATE})),
        ("flatten", str(2**63), (409, {"error": "not now: halt first"})),
        ("flatten", "", (409, {"error": "not now: halt first"})),
        ("flatten", "soon", (409, {"error": "not now: halt first"})),
        ("halt", "1", (200, {"state": "HALTED"})),
    ],
)
async def test_what_comes_too_late_is_not_done_but_for_a_halt(
    tmp_path: Path, name: str, until: str, expected: tuple[int, Any]
) -> None:
    async with serving(tmp_path) as desk:
        assert await desk.ask("POST", name, until=until) == expected
    (record,) = desk.record
    assert (record.done, record.text == LATE) == (name == "halt", expected[1] == {"error": LATE})


async def test_who_may_not_is_told_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "role_of", lambda peer, settings: Role.VIEWER)
    async with serving(tmp_path) as desk:
        status, answer = await desk.ask("POST", "halt")
    assert status == 403
    assert answer["error"].endswith("is viewer here, and halt takes operator")
    assert (desk.done, desk.record[0].done) == ([], False)


async def test_commands_of_who_may_not_are_on_record_a_few_at_a_time_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "role_of", lambda peer, settings: Role.VIEWER)
    async with serving(tmp_path) as desk:
        with capture_logs() as logged:
            for _ in range(NOT_HIS_MAX + 5):
                assert (await desk.ask("POST", "halt"))[0] == 403
        assert len(desk.record) == len(logged) == NOT_HIS_MAX
        monkeypatch.setattr(control, "NOT_HIS_S", 0.0)  # the minute is over
        assert (await desk.ask("POST", "halt"))[0] == 403
        assert (await desk.ask("POST", "halt"))[0] == 403
        monkeypatch.undo()
        for _ in range(NOT_HIS_MAX + 5):  # those of who may are on record always
            assert (await desk.ask("POST", "flatten"))[0] == 409
    first, second, *others = [record.text for record in desk.record[NOT_HIS_MAX:]]
    assert first.endswith("is viewer here, and halt takes operator; 5 more commands of his are not on record")
    assert second.endswith("is viewer here, and halt takes operator")
    assert others == ["not now: halt first"] * (NOT_HIS_MAX + 5)


async def test_a_command_that_breaks_down_is_answered_in_words_and_on_record(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        assert await desk.ask("POST", "resume") == (500, {"error": "LookupError: no such venue"})
    (record,) = desk.record
    assert (record.command, record.done, record.text) == ("resume", False, "LookupError: no such venue")


@pytest.mark.parametrize(
    "asked,body,status,said",
    [
        ("GET nothing", None, 404, "there is check, live, status"),
        ("GET live", None, 500, "LookupError: no such row"),
        ("GET check?symbol=X", None, 400, "no order: qty is missing"),
        ("POST nothing", None, 404, "there is flatten, halt"),
        ("POST halt", b'{"text": "\xff"}', 400, "utf-8"),
        ("PUT halt", b"", 405, "Method Not Allowed"),
        ("POST halt", b"nonsense", 400, "malformed"),
        ("POST halt", b'{"txt": "x"}', 400, "unknown field `txt`"),
        ("POST halt", b"[]", 400, "Expected `object`"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_words(
    tmp_path: Path, asked: str, body: bytes | None, status: int, said: str
) -> None:
    async with serving(tmp_path) as desk:
        method, name = asked.split()
        code, answer = await desk.ask(method, name, body)
    assert code == status
    assert said in answer["error"]
    assert desk.done == []


async def test_a_body_that_is_too_large_is_refused_and_a_long_text_is_cut(tmp_path: Path) -> None:
    async with serving(tmp_path) as desk:
        assert (await desk.ask("POST", "halt", b"x" * (BODY_MAX + 1)))[0] == 413
        await desk.ask("POST", "halt", b'{"text": "%s"}' % (b"x" * 1_000))
    assert [len(each.text) for each in desk.record] == [TEXT_MAX]


@pytest.mark.parametrize(
    "uid,settings,role",
    [
        (0, {}, Role.SUPERVISOR),
        (os.getuid(), {}, Role.SUPERVISOR),
        (4_242, {}, Role.VIEWER),
        (4_242, {"operators": ("4242",)}, Role.OPERATOR),
        (4_242, {"supervisors": ("4242",)}, Role.SUPERVISOR),
        (4_242, {"operators": ("4242",), "supervisors": ("4242",)}, Role.SUPERVISOR),
        (4_242, {"operators": ("@daemon",)}, Role.OPERATOR),
        (4_242, {"operators": ("@staff",)}, Role.VIEWER),
    ],
)
def test_roles_come_from_users_and_groups(uid: int, settings: dict[str, tuple[str, ...]], role: Role) -> None:
    daemon_group = 1  # a group of this number is called daemon on Debian, Alpine and macOS
    assert role_of(Peer(uid=uid, gid=daemon_group, pid=1), msgspec.convert(settings, ControlSettings)) is role
