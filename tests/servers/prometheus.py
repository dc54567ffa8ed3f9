"""A real Prometheus for tests, where the machine has one: a Debian package that CI installs, with promtool in it."""

import http.client
import json
import shutil
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from adapters.processes import ends_with_parent

PATH = "/usr/bin:/usr/local/bin"
PROGRAM, PROMTOOL, AMTOOL = (shutil.which(name, path=PATH) for name in ("prometheus", "promtool", "amtool"))
needs_prometheus = pytest.mark.skipif(PROGRAM is None, reason="Prometheus is not installed (Debian package prometheus)")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian package prometheus)")
needs_amtool = pytest.mark.skipif(
    AMTOOL is None, reason="amtool is not installed (Debian package prometheus-alertmanager)"
)
READY_S = 10.0
ANSWER_S = 5.0

Series = dict[str, Any]


class Prometheus:
    """A server on the loopback interface that scrapes one daemon, several times a second, and evaluates its rules."""

    def __init__(self, folder: Path, *, port: int, instance: str, rules: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:  # a port that is free now; the server binds it in a moment
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        targets = {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": instance}}
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "execd", "static_configs": [targets]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = folder / "prometheus.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return once it answers queries."""
        assert PROGRAM is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    PROGRAM,
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
                preexec_fn=ends_with_parent,  # noqa: PLW1509 - no threads yet
            )
        deadline = time.monotonic() + READY_S
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._is_ready():
                return
            time.sleep(0.01)
        self.stop()
        raise RuntimeError(f"Prometheus does not start: {self._log.read_text()}")

    def stop(self) -> None:
        """Stop in good order. Harmless when repeated."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def query(self, expression: str) -> list[Series]:
        """The series that an expression finds now."""
        found: list[Series] = self._data("/api/v1/query", query=expression)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """The alert rules and how their last evaluation went."""
        return [rule for group in self._data("/api/v1/rules")["groups"] for rule in group["rules"]]

    def alerts(self) -> list[dict[str, Any]]:
        """What is pending or firing."""
        found: list[dict[str, Any]] = self._data("/api/v1/alerts")["alerts"]
        return found

    def _data(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 - whatever it answers
        status, body = self._get(f"{path}?{urlencode(parameters)}")
        answer = json.loads(body)
        assert (status, answer["status"]) == (http.client.OK, "success"), f"{parameters}: {answer.get('error')}"
        return answer["data"]

    def _get(self, path: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)) as link:
            link.request("GET", path)
            response = link.getresponse()
            return response.status, response.read()

    def _is_ready(self) -> bool:
        try:
            return self._get("/-/ready")[0] == http.client.OK
        except OSError:
            return False
