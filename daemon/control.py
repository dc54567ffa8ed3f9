"""The control socket: status for whoever may open it, halt, resume and flatten for those who may command.

HTTP on a Unix socket; the kernel says who asks (`SO_PEERCRED`), the configuration what he may:

| role       | may                                                         |
| viewer     | see: everybody who can open the socket                      |
| operator   | halt and resume, a strategy or a symbol too; amend, pause, resume and cancel a parent |
| supervisor | flatten, move cash, adjust positions, change what limits orders |

Root and the daemon's own user are supervisors.

Every command is on record with its author, a refused one too; of those who may not command, a few a minute and how many
more there were. A halt does not wait for the database and never comes too late; anything else that is found after its
author has given up (the daemon hung, or was stopped) is refused.
"""

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web

from adapters.connections import said
from adapters.unix_socket import Peer, peer_of, serve
from core.events import CommandGiven, Reason
from core.orders import Side
from core.signals import Change
from daemon.halts import Refused
from risk.overrides import EXPIRES_S

BODY_MAX = 4_096  # bytes of a command
UNTIL = "Execd-Until"  # header: for how long somebody waits, ns of the machine's monotonic clock
NEVER_LATE = frozenset({"halt", "record"})
NOT_HIS_MAX = 10  # commands of one user who may not give them that are on record
NOT_HIS_S = 60.0  # within so long
TEXT_MAX = 200  # characters of what a person adds to it

_log = structlog.get_logger()


class Role(IntEnum):
    """What somebody may do; each may what the ones before may."""

    VIEWER = 0
    OPERATOR = 1
    SUPERVISOR = 2


class ControlSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[control] - the socket for status and commands. Users by name, groups as @name."""

    socket: str = ""  # empty: control.sock in the data directory
    group: str = ""  # may open the socket, besides the daemon's own user
    operators: tuple[str, ...] = ()
    supervisors: tuple[str, ...] = ()


class Proposal(msgspec.Struct, forbid_unknown_fields=True):
    """The order that somebody wants let in by an override, at most so large, and by which reason it would be denied."""

    strategy: str
    symbol: str
    side: Side
    qty: Decimal
    reason: Reason
    expires_s: int = EXPIRES_S


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a command."""

    symbol: str = ""
    strategy: str = ""
    text: str = ""
    override: Proposal | None = None
    override_id: str = ""
    amount: Decimal | None = None  # money
    parent_id: str = ""
    change: Change | None = None  # of that parent
    ratio: str = ""  # 4:1 is four shares from one


Command = Callable[[Order, str], Awaitable[dict[str, Any]]]
"""Does what is asked in somebody's name; raises Refused. The answer is for people."""


View = Callable[[Mapping[str, str]], Any]
"""Facts for whoever may open the socket, by what the query says; raises ValueError."""


def in_words(change: Change) -> str:
    """What is to become of a parent, on one line; amounts as they were given, times in ns."""
    given = {name: getattr(change, name) for name in ("qty", "price", "end", "urgency")}
    said = (f"{name} {value}" for name, value in given.items() if value is not None)
    return " ".join((change.action.lower(), *said))


def role_of(peer: Peer, settings: ControlSettings) -> Role:
    """What the process at the other end may do."""
    if peer.uid in {0, os.getuid()}:
        return Role.SUPERVISOR
    names = {peer.user, *(f"@{group}" for group in peer.groups)}
    for role, listed in ((Role.SUPERVISOR, settings.supervisors), (Role.OPERATOR, settings.operators)):
        if names & set(listed):
            return role
    return Role.VIEWER


class Control:
    """Serves the socket. `views` are read, `commands` are done, each by those of its role."""

    name = "control"

    def __init__(
        self,
        path: Path,
        settings: ControlSettings,
        *,
        views: dict[str, View],
        commands: dict[str, tuple[Role, Command]],
        publish: Callable[[CommandGiven], None],
        now: Callable[[], int],
    ) -> None:
        self._path = path
        self._settings = settings
        self._views = views
        self._commands = commands
        self._publish = publish
        self._now = now
        self._not_his: dict[int, _NotHis] = {}  # by user id

    async def run(self) -> None:
        """Serve for ever; raises OSError where the socket cannot be made."""
        application = web.Application(client_max_size=BODY_MAX)
        application.router.add_get("/{view}", self._view)
        application.router.add_post("/{command}", self._command)
        await serve(application, self._path, group=self._settings.group)

    async def _view(self, request: web.Request) -> web.Response:
        view = self._views.get(request.match_info["view"])
        if view is None:
            return said(HTTPStatus.NOT_FOUND, f"there is {', '.join(sorted(self._views))}")
        try:
            shown = view(request.query)
        except ValueError as error:
            return said(HTTPStatus.BAD_REQUEST, str(error))
        return web.Response(body=msgspec.json.encode(shown), content_type="application/json")

    async def _command(self, request: web.Request) -> web.Response:
        name = request.match_info["command"]
        if name not in self._commands:
            return said(HTTPStatus.NOT_FOUND, f"there is {', '.join(sorted(self._commands))}")
        needed, command = self._commands[name]
        try:
            order = msgspec.json.decode(await request.read() or b"{}", type=Order)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return said(HTTPStatus.BAD_REQUEST, str(error))
        peer = peer_of(request)
        by, role = f"{peer.user} ({peer.uid})", role_of(peer, self._settings)
        if role < needed:
            refusal = f"{peer.user} is {role.name.lower()} here, and {name} takes {needed.name.lower()}"
            if (untold := self._not_his.setdefault(peer.uid, _NotHis()).next()) is not None:
                text = f"{refusal}; {untold:,} more commands of his are not on record" if untold else refusal
                self._record(by, role, name, order, done=False, text=text)
            return said(HTTPStatus.FORBIDDEN, refusal)
        try:
            _check_in_time(request, name)
            answer = await command(order, by)
        except Refused as refused:
            self._record(by, role, name, order, done=False, text=str(refused))
            return said(HTTPStatus.CONFLICT, str(refused))
        except Exception as error:
            self._record(by, role, name, order, done=False, text=f"{type(error).__name__}: {error}")
            raise
        self._record(by, role, name, order, done=True, text=order.text)
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

    def _record(self, by: str, role: Role, name: str, order: Order, *, done: bool, text: str) -> None:
        about = (
            order.symbol,
            order.strategy,
            order.override_id,
            "" if order.amount is None else f"{order.amount}",
            order.ratio,
            order.parent_id,
            "" if order.change is None else in_words(order.change),
        )
        command, text = " ".join(filter(None, (name, *about)))[:TEXT_MAX], text[:TEXT_MAX]
        _log.warning("command", by=by, command=command, done=done, text=text)
        self._publish(
            CommandGiven(ts=self._now(), by=by, role=role.name.lower(), command=command, done=done, text=text)
        )


class _NotHis:
    """The commands of one user that he may not give."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._recorded = 0  # since then
        self._untold = 0

    def next(self) -> int | None:
        """For one more of them: how many are not on record, if this one is to be; else None."""
        if time.monotonic() - self._began >= NOT_HIS_S:
            self._began, self._recorded = time.monotonic(), 0
        if self._recorded >= NOT_HIS_MAX:
            self._untold += 1
            return None
        self._recorded += 1
        untold, self._untold = self._untold, 0
        return untold


def _check_in_time(request: web.Request, name: str) -> None:
    """Raise Refused where nobody waits for the answer any more, and something else may have been decided since."""
    until = request.headers.get(UNTIL, "")
    if name not in NEVER_LATE and until.isdecimal() and time.monotonic_ns() > int(until):
        raise Refused("whoever asked has given up: ask again")
