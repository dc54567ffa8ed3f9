"""The benchmarks run: they time nothing here."""

import asyncio
import re
from pathlib import Path

import pytest

from tests import bench, bench_children, bench_verdict


def test_orders_go_round_in_the_closed_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "SUSTAINED_S", 0.5)
    asyncio.run(bench.sustained(tmp_path, parents=2, children=3, title="a loop"))
    said = capsys.readouterr().out
    assert said.startswith("a loop: ")
    assert not said.startswith("a loop: 0 orders/s")


def test_a_burst_is_read_off_the_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(bench.bench_stream(tmp_path, 1_000))
    assert re.fullmatch(r"stream: [1-9][\d,]* signals/s read, decoded, checked\n", capsys.readouterr().out)


def test_one_more_order_is_held_against_two_floors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "ROUNDS", 1)
    bench.bench_expected_shortfall()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 16
    assert {line.partition(":")[0] for line in said} == {f"ES 1,000 x {n:,}" for n in (250, 500, 1_000, 5_000)}


def test_one_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["strem"]) == 2
    assert "there is no strem here: bus, " in capsys.readouterr().err


def test_journals_are_written_on_both_databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "ROUNDS", 1)
    bench.bench_journal(tmp_path)
    bench.bench_journal_on_postgresql()
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["journal"] * 2 + ["journal on PostgreSQL"] * 2


def test_verdicts_near_the_limit_are_decided_in_each_of_three_ways(capsys: pytest.CaptureFixture[str]) -> None:
    bench_verdict.main(100)
    said = capsys.readouterr().out
    parts = [int(part) for part in re.findall(r"(?:bound|passed|denied) +(\d+)%", said)]
    assert len(parts) == 6
    assert min(parts) > 5


def test_children_quotes_and_halts_are_held_against_few_parents(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_children, "CHILDREN", 5)
    bench_children.main((2, 10), rounds=2)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    compared = [line for line in lines if " live " in line]
    assert len(compared) == 2 * 2 * 2 * (2 + len(bench_children.CASCADES))
    assert all(line.endswith(" 1.00") for line in compared[::2])
    assert len(lines) == len(compared) + 2
    assert "round 2 of 2" in said.err
