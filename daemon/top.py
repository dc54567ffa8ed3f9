"""`execd top`: a daemon as it works, in a terminal. It looks over the control socket, and can halt.

Needs the extra `top` (textual). Nothing here is imported by the daemon.
"""

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Label, Static, TabbedContent, TabPane

from core.units import NS_PER_S
from daemon.asking import NoAnswerError, RefusedError

REFRESH_S = 0.5

Ask = Callable[..., dict[str, Any]]
"""`ask(method, name, body)` of one control socket."""

_COLOURS = {"ACTIVE": "bold green", "REDUCING": "bold yellow", "HALTED": "bold white on red"}
_TABLES: dict[str, tuple[str, ...]] = {
    "parents": (
        "symbol",
        "side",
        "algo",
        "strategy",
        "cum_qty",
        "order_qty",
        "done",
        "avg_px",
        "vwap_bps",
        "parent_id",
    ),
    "orders": ("symbol", "side", "order_qty", "cum_qty", "ord_status", "order_id", "cl_ord_id"),
    "positions": ("strategy", "symbol", "qty", "avg_px", "mark", "unrealized_pnl", "realized_pnl"),
    "actors": ("name", "placement", "depth", "handled", "age_s", "error"),
}
_PRICES = frozenset({"avg_px", "mark", "unrealized_pnl", "realized_pnl"})
_NUMBERS = frozenset(
    {"cum_qty", "order_qty", "done", "avg_px", "vwap_bps", "qty", "mark", "unrealized_pnl", "realized_pnl"}
    | {"depth", "handled", "age_s"}
)


class Confirm(ModalScreen[bool]):
    """Asks whether trading is really to be stopped."""

    CSS = "Confirm { align: center middle; } Label { background: $error; color: $text; padding: 1 3; }"
    BINDINGS: ClassVar[list[BindingType]] = [("y", "answer(True)", "Yes"), ("escape,n", "answer(False)", "No")]

    def compose(self) -> ComposeResult:
        """The question."""
        yield Label("Halt all trading and take everything back?   y = yes   n = no")

    def action_answer(self, answer: bool) -> None:  # noqa: FBT001 - textual calls it so
        """Close with the answer."""
        self.dismiss(answer)


class Top(App[None]):
    """The picture of one daemon, made anew every half second."""

    TITLE = "execd"
    CSS = "#head { height: auto; padding: 0 1; } DataTable { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "Quit"), ("H", "halt", "Halt (shift h)")]

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask

    def compose(self) -> ComposeResult:
        """A head, a table a tab, the keys."""
        with Vertical():
            yield Static(id="head")
            with TabbedContent():
                for name, columns in _TABLES.items():
                    with TabPane(name, id=f"tab-{name}"):
                        table: DataTable[Text] = DataTable(id=name, cursor_type="row", zebra_stripes=True)
                        table.add_columns(*columns)
                        yield table
        yield Footer()

    def on_mount(self) -> None:
        """Look at once, and then again and again."""
        self.set_interval(REFRESH_S, self._look)
        self._look()

    def _look(self) -> None:
        self.run_worker(self._fetch, thread=True, exclusive=True)

    def _fetch(self) -> None:
        """In a thread: the socket may keep us waiting."""
        try:
            status, live = self._ask("GET", "status"), self._ask("GET", "live")
        except (NoAnswerError, RefusedError) as error:
            self.call_from_thread(self._show_head, Text(str(error), style="bold red"))
            return
        self.call_from_thread(self._show, status, live)

    def _show(self, status: dict[str, Any], live: dict[str, Any]) -> None:
        self._show_head(head(status))
        for name, rows in {**live, "actors": status.get("actors", [])}.items():
            for table in self.query(f"#{name}").results(DataTable):  # none: the app ends, and this look was on its way
                table.clear()
                for row in rows:
                    table.add_row(*(cell(column, row) for column in _TABLES[name]))

    def _show_head(self, text: Text) -> None:
        for place in self.query("#head").results(Static):
            place.update(text)

    def action_halt(self) -> None:
        """Ask, and halt."""
        self.push_screen(Confirm(), self._halt)

    def _halt(self, sure: bool | None) -> None:  # noqa: FBT001 - textual calls it so
        if sure:
            self.run_worker(partial(self._do_halt), thread=True)

    def _do_halt(self) -> None:
        try:
            self._ask("POST", "halt", {"text": "execd top"})
        except (NoAnswerError, RefusedError) as error:
            self.call_from_thread(self.notify, str(error), severity="error")


def head(status: dict[str, Any]) -> Text:
    """Who it is, how trading stands and why, and the account."""
    who = f"{status['account']}  {status['world']}  up {status['up_s']:,.0f} s\n"
    if not status["ready"]:
        return Text.assemble((who, "bold"), "starting")
    now = dt.datetime.fromtimestamp(status["now"] // NS_PER_S, dt.UTC)
    journal = status["journal"]
    lines = Text.assemble(
        (who, "bold"),
        (f" {status['state']} ", _COLOURS[status["state"]]),
        f"  {now:%Y-%m-%d %H:%M:%S} UTC   equity {status['equity']}   {status['parents']} parents   "
        f"{status['orders']} orders   {status['in_doubt']} in doubt   journal {journal['depth']} waiting",
        (f" {journal['trouble']}", "bold red"),
    )
    for cause in status["causes"]:
        lines.append(f"\n{cause['cause']}: {cause['text']} {cause['by']}".rstrip(), style="yellow")
    for symbol, text in status["quarantined"].items():
        lines.append(f"\n{symbol} is in quarantine: {text}", style="yellow")
    for strategy, text in status["stopped"].items():
        lines.append(f"\n{strategy} is stopped: {text}", style="yellow")
    return lines


def cell(column: str, row: dict[str, Any]) -> Text:
    """One value as a person reads it; numbers to the right."""
    value: object = row.get(column)
    if column == "done":
        value = f"{float(row['cum_qty']) / float(row['order_qty']):.0%}"
    elif column in _PRICES and value is not None:
        value = f"{float(str(value)):,.4f}"
    shown = "-" if value is None or value == "" else str(value)
    return Text(shown, justify="right" if column in _NUMBERS else "left")
