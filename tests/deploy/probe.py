"""What a process behind the unit's walls can do: run by the unit in the daemon's place, it tries and writes down."""

import concurrent.futures
import ctypes
import errno
import importlib
import json
import mmap
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_PTRACE_TRACEME, _CLONE_NEWUSER, _ADDR_NO_RANDOMIZE = 0, 0x10000000, 0x0040000
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def _write(path: str) -> None:
    Path(path).write_text("x")


def _say(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", (address, 9))


def _give_to_group() -> None:
    path = Path(os.environ["RUNTIME_DIRECTORY"], "given")
    path.touch()
    os.chown(path, -1, next(group for group in os.getgroups() if group != os.getgid()))


def _set_user_id_bit() -> None:
    path = Path(os.environ["STATE_DIRECTORY"], "program")
    path.touch()
    path.chmod(0o4755)


def _load_everything() -> None:
    """What might want memory that is writable and executable, or a call that is filtered."""
    for name in ("psycopg", "aiomqtt", "aiohttp", "uvloop", "plotly.graph_objects", "daemon.cli"):
        importlib.import_module(name)
    ssl.create_default_context()
    matrix = np.eye(300) + np.arange(90_000).reshape(300, 300) % 7
    np.linalg.svd(matrix)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(abs, range(8)))


TRIES: dict[str, Callable[[], Any]] = {
    "load every library, encrypt, compute": _load_everything,
    "write its state": lambda: _write(f"{os.environ['STATE_DIRECTORY']}/x"),
    "write beside its sockets": lambda: _write(f"{os.environ['RUNTIME_DIRECTORY']}/x"),
    "write a temporary file of its own": lambda: _write("/tmp/execd-probe"),  # noqa: S108 - whose it is, is the question
    "give a file to its second group": _give_to_group,
    "speak to this machine": lambda: _say("127.0.0.1"),
    "read the time of the last boot": lambda: Path("/proc/stat").read_text(),
    "write its configuration": lambda: _write("/etc/execd/paper-1.toml"),
    "write its program": lambda: _write("/opt/execd/current/x"),
    "write a halt file": lambda: _write("/var/lib/execd-halt/x"),
    "write elsewhere": lambda: _write("/var/lib/x"),
    "write a setting of the kernel": lambda: _write("/proc/sys/kernel/core_pattern"),
    "read the credentials of others": lambda: list(Path("/etc/credstore").iterdir()),
    "read the passwords of Valkey": lambda: list(Path("/etc/valkey/passwords").iterdir()),
    "read homes": lambda: list(Path("/root").iterdir()),
    "see other processes": lambda: Path("/proc/1").stat(),
    "open a disk": lambda: Path("/dev/vda").stat(),
    "listen to raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "speak to the kernel over netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "make memory writable and executable": lambda: mmap.mmap(-1, 4096, prot=7),
    "trace processes": lambda: _call("ptrace", _PTRACE_TRACEME, 0, 0, 0),
    "make a namespace": lambda: _call("unshare", _CLONE_NEWUSER),
    "mount": lambda: _call("mount", b"none", b"/tmp", b"tmpfs", 0, 0),
    "change its personality": lambda: _call("personality", _ADDR_NO_RANDOMIZE),
    "become root": lambda: os.setuid(0),
    "make a program that becomes somebody else": _set_user_id_bit,
    "take a processor for itself": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "rename the machine": lambda: socket.sethostname("x"),
    "speak to a broker": lambda: _say("192.0.2.10"),
    "speak to another machine": lambda: _say("192.0.2.11"),
}


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def main(to: str) -> None:
    """Try everything, and write what came of it."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    facts: dict[str, Any] = {name: _outcome(attempt) for name, attempt in TRIES.items()}
    facts["capabilities"] = [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")]
    facts["no new privileges"], facts["filtered"] = status["NoNewPrivs"], status["Seccomp"]
    facts["umask"] = status["Umask"]
    facts["files"], facts["core"] = resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE)
    credentials = Path(os.environ["CREDENTIALS_DIRECTORY"])
    facts["credentials"] = {file.name: file.read_text() for file in credentials.iterdir()}
    Path(to).write_text(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1])
