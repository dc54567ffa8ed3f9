"""The picture in the terminal: what it shows, that it survives a daemon that does not answer, and that it can halt."""

from typing import Any

import pytest
from textual.widgets import DataTable, Static
from textual.worker import WorkerCancelled

from daemon.asking import NoAnswerError
from daemon.top import Confirm, Top

STATUS: dict[str, Any] = {
    "account": "desk",
    "world": "paper",
    "up_s": 12.0,
    "ready": True,
    "now": 1_781_533_800_000_000_000,
    "state": "HALTED",
    "causes": [{"cause": "kill", "state": "HALTED", "since": 1, "by": "ann (1000)", "text": "enough"}],
    "quarantined": {"ALFA": "ours 1, theirs 2"},
    "stopped": {"alpha": "20 parents to BUY ALFA"},
    "equity": "1000000.50",
    "parents": 1,
    "orders": 2,
    "in_doubt": 0,
    "journal": {"depth": 3, "trouble": ""},
    "actors": [{"name": "gate", "placement": "inline", "depth": 0, "handled": 7, "age_s": 0.5, "error": ""}],
}
LIVE: dict[str, Any] = {
    "parents": [
        {
            "parent_id": "P1",
            "strategy": "alpha",
            "symbol": "ALFA",
            "side": "BUY",
            "algo": "TWAP",
            "order_qty": "100",
            "cum_qty": "25",
            "avg_px": None,
            "children": 1,
        }
    ],
    "orders": [],
    "positions": [{"strategy": "alpha", "symbol": "ALFA", "qty": "25", "avg_px": "10"}],
}


class Daemon:
    """What a control socket would answer."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, dict[str, Any] | None]] = []
        self.away = False

    def ask(self, method: str, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        if self.away:
            raise NoAnswerError("no daemon answers here")
        if method == "POST":
            self.commands.append((name, body))
            return {}
        return STATUS if name == "status" else LIVE


async def looked(app: Top, pilot: Any) -> None:  # noqa: ANN401 - textual's own
    """Once nothing is asked; on a slow machine the next look may take the place of one before."""
    while True:
        try:
            await app.workers.wait_for_complete()
        except WorkerCancelled:
            continue
        await pilot.pause()
        return


async def shown(app: Top, pilot: Any) -> str:  # noqa: ANN401 - textual's own
    """The head, once it is drawn."""
    await looked(app, pilot)
    return str(app.query_one("#head", Static).render())


async def test_the_picture_has_the_state_its_causes_and_the_tables() -> None:
    app = Top(Daemon().ask)
    async with app.run_test(size=(140, 40)) as pilot:
        head = await shown(app, pilot)
        assert "HALTED" in head
        assert "kill: enough ann (1000)" in head
        assert "ALFA is in quarantine: ours 1, theirs 2" in head
        tables = {table.id: table.row_count for table in app.query(DataTable)}
        assert tables == {"parents": 1, "orders": 0, "positions": 1, "actors": 1}
        row = [str(value) for value in app.query_one("#parents", DataTable).get_row_at(0)]
        assert row == ["ALFA", "BUY", "TWAP", "alpha", "25", "100", "25%", "-", "-", "P1"]


async def test_a_daemon_that_does_not_answer_is_said_and_looked_for_again() -> None:
    daemon = Daemon()
    daemon.away = True
    app = Top(daemon.ask)
    async with app.run_test(size=(140, 40)) as pilot:
        assert "no daemon answers here" in await shown(app, pilot)
        daemon.away = False
        app._look()
        assert "HALTED" in await shown(app, pilot)


@pytest.mark.parametrize("key,commands", [("y", [("halt", {"text": "execd top"})]), ("n", []), ("escape", [])])
async def test_a_halt_is_asked_for_twice(key: str, commands: list[tuple[str, dict[str, str]]]) -> None:
    daemon = Daemon()
    app = Top(daemon.ask)
    async with app.run_test(size=(140, 40)) as pilot:
        await pilot.press("H")
        assert isinstance(app.screen, Confirm)
        assert daemon.commands == []
        await pilot.press(key)
        await looked(app, pilot)
        assert not isinstance(app.screen, Confirm)
    assert daemon.commands == commands
