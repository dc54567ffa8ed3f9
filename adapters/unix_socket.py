"""HTTP on a Unix socket: who may open the file may ask, and the kernel says who that is."""

import grp
import os
import pwd
import shutil
import socket
import struct
from pathlib import Path

import msgspec
from aiohttp import web

from adapters import connections

MODE = 0o660  # its owner and its group
PATH_MAX = 100  # characters; the kernel takes 107
CONNECTIONS_MAX = 64  # at a time, of one user; more are hung up on
IDLE_S = 60.0  # how long a request may take to come, and its answer to be taken; and how long one is kept for the next
BACKLOG = 128  # connections that wait to be accepted


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end of a socket, as the kernel says."""

    uid: int
    gid: int
    pid: int

    @property
    def user(self) -> str:
        """The user's name, or his number where he has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    @property
    def groups(self) -> list[str]:
        """The names of the user's groups."""
        try:
            numbers = os.getgrouplist(self.user, self.gid)
        except KeyError:
            numbers = [self.gid]
        return [name for number in numbers if (name := _group_name(number))]


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return ""


def peer_of(request: web.Request) -> Peer:
    """The process behind a request (SO_PEERCRED); raises PermissionError where the kernel does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        raise PermissionError("this system does not say who asks")
    if request.transport is None:
        raise web.HTTPBadRequest(reason="whoever asked has gone")
    return _peer(request.transport.get_extra_info("socket"))


def _peer(connection: socket.socket) -> Peer:
    pid, uid, gid = struct.unpack(
        "3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    )
    return Peer(uid=uid, gid=gid, pid=pid)


def _uid(connection: socket.socket) -> int:
    """The user at the other end; where the system does not say it, all are one."""
    return _peer(connection).uid if hasattr(socket, "SO_PEERCRED") else -1


async def serve(application: web.Application, path: Path, *, group: str = "") -> None:
    """Serve at `path` until cancelled. The socket exists with its final rights or not at all."""
    if len(str(path)) > PATH_MAX:
        raise ValueError(f"{path}: a socket's path has at most {PATH_MAX} characters: name a shorter one")
    made, file = _bound(path, group)
    try:
        await connections.serve(application, made, _uid, most=CONNECTIONS_MAX, idle_s=IDLE_S)
    finally:
        _unlink(path, file)
        made.close()


def _bound(path: Path, group: str) -> tuple[socket.socket, os.stat_result]:
    """A socket at `path` that listens, in place of one that an earlier run may have left there; and its file."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        made.bind(str(new))
        new.chmod(MODE)
        if group:
            _give_to(new, group)
        made.listen(BACKLOG)
        file = new.stat()
        new.rename(path)
    except BaseException:
        made.close()
        raise
    return made, file


def _unlink(path: Path, file: os.stat_result) -> None:
    """Remove what we made, and not what somebody else has put in its place."""
    try:
        if os.path.samestat(path.lstat(), file):
            path.unlink()
    except FileNotFoundError:
        pass


def _give_to(path: Path, group: str) -> None:
    try:
        shutil.chown(path, group=group)
    except LookupError as error:
        raise ValueError(f"group {group}: there is no such group on this machine") from error
    except PermissionError as error:
        raise ValueError(f"group {group}: the daemon's user must be a member of it to give it {path}") from error
