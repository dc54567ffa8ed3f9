"""Services of a test, which end with it; and the command line in this process."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.cli import main
from tests.daemon.service import Execd, Make, Service


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Services that end with the test."""
    made: list[Service] = []

    def build(name: str = "service", *arguments: Any, **changes: Any) -> Service:  # noqa: ANN401 - tables
        made.append(Service(tmp_path / name, *arguments, **changes))
        return made[-1]

    yield build
    for service in made:
        service.kill()


@pytest.fixture
def execd(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Execd:
    """Run a command in this process: exit code, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["execd", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
