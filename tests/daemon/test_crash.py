"""A process that dies at any effect boundary of a day comes back, and the day ends as if it had not died."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.crashing import DIED, live, write_signals

PARTS = 8  # each within the time of one test, also on a slow machine
ROOT = Path(__file__).parents[2]


def lives(folder: Path, *arguments: object) -> list[tuple[int, list[int]]]:
    """What the crashing program printed."""
    command = [sys.executable, "-m", "tests.daemon.crashing", str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return [(k, codes) for k, codes in map(json.loads, done.stdout.splitlines())]


def rows(folder: Path, query: str) -> list[Any]:
    """Rows of the database."""
    connection = sqlite3.connect(folder / "execd.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def outcome(folder: Path) -> dict[str, object]:
    """What the day came to: the same however often the process died."""
    return {
        "parents": sorted(rows(folder, "select parent_id, state, accepted_qty, cum_qty, reason from parents")),
        "signals": sorted(rows(folder, "select strategy, signal_id, state from signals")),
        "positions": sorted(rows(folder, "select strategy, symbol, qty from positions")),
    }


def venue_facts(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The venue's own book, a witness that knows nothing of the daemon's."""
    facts = [json.loads(line) for line in (folder / "venue.jsonl").read_text().splitlines()]
    return [fact for fact in facts if fact["type"] == kind]


def check(folder: Path) -> None:
    """The invariants that no crash may break, from the venue's book and the database."""
    sent = Counter(fact["order"]["cl_ord_id"] for fact in venue_facts(folder, "Entered"))
    assert all(times == 1 for times in sent.values()), f"{folder.name}: an order was sent twice"
    approved = {row[0] for row in rows(folder, "select cl_ord_id from journal where type = 'OrderApproved'")}
    assert set(sent) <= approved, f"{folder.name}: an order left before its approval was durable"
    executed = {fact["exec_id"]: Decimal(fact["last_qty"]) for fact in venue_facts(folder, "Executed")}
    booked = {exec_id: Decimal(qty) for exec_id, qty in rows(folder, "select exec_id, last_qty from executions")}
    assert executed == booked, f"{folder.name}: executions differ"
    open_orders = rows(folder, "select cl_ord_id, ord_status from orders where leaves_qty <> '0'")
    assert not open_orders, f"{folder.name}: {open_orders}"
    assert not rows(folder, "select kind, text from alerts"), f"{folder.name}: alerts"


@pytest.fixture(scope="session")
def uncrashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uncrashed") / "day"
    write_signals(folder)
    live(folder, 0)
    check(folder)
    return folder


@pytest.mark.parametrize("part", range(PARTS))
def test_a_crash_at_any_effect_boundary_leaves_the_same_day(part: int, uncrashed: Path, tmp_path: Path) -> None:
    expected = outcome(uncrashed)
    died = 0
    for k, codes in lives(tmp_path, "every", part, PARTS):
        assert codes in ([DIED, 0], [0, 0]), f"k{k}: {codes}"
        died += codes[0] == DIED
        check(tmp_path / f"k{k}")
        assert outcome(tmp_path / f"k{k}") == expected, f"k{k}"
    assert died >= 20, "the day has too few boundaries to mean anything"


@pytest.mark.parametrize("first", [25, 70])
def test_a_crash_during_recovery_leaves_the_same_day(first: int, uncrashed: Path, tmp_path: Path) -> None:
    for j, codes in lives(tmp_path, "recovery", first, 8):
        assert codes == [DIED, DIED, 0], f"j{j}: {codes}"
        check(tmp_path / f"j{j}")
        assert outcome(tmp_path / f"j{j}") == outcome(uncrashed), f"j{j}"
