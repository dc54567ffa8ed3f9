"""The benchmarks run: they time nothing here."""

import asyncio
from pathlib import Path

import pytest

from tests import bench


def test_orders_go_round_in_the_closed_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "SUSTAINED_S", 0.5)
    asyncio.run(bench.sustained(tmp_path, parents=2, children=3, title="a loop"))
    said = capsys.readouterr().out
    assert said.startswith("a loop: ")
    assert not said.startswith("a loop: 0 orders/s")
