"""A real MQTT broker for tests, where the machine has one: mosquitto, a Debian package that CI installs."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
needs_mosquitto = pytest.mark.skipif(PROGRAM is None, reason="mosquitto is not installed (Debian package mosquitto)")
READY_S = 10.0


class Mosquitto:
    """A broker on the loopback interface that keeps sessions over restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:  # a port that is free now; the broker binds it in a moment
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
            f"log_dest file {folder}/mosquitto.log\nuser {_user(folder)}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return once it takes connections."""
        assert PROGRAM is not None
        self._process = subprocess.Popen([PROGRAM, "-c", str(self._folder / "mosquitto.conf")])
        deadline = time.monotonic() + READY_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise RuntimeError(f"mosquitto does not start: {(self._folder / 'mosquitto.log').read_text()}")

    def stop(self) -> None:
        """Stop in good order: what is to be kept is on disk. Harmless when repeated."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


def _user(folder: Path) -> str:
    return folder.owner()
