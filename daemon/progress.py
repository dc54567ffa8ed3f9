"""What a person sees of a run while it works: the market's time and a line per live parent."""

import asyncio
import datetime as dt
import sys
from zoneinfo import ZoneInfo

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adapters import notify
from algos.parent import Parent
from core.units import NS_PER_S
from daemon.run import Run

REFRESH_S = 0.25  # on a terminal
LINE_S = 4.0  # elsewhere
PARENTS_SHOWN = 20
_ZONE = ZoneInfo("America/New_York")


async def show(run: Run) -> None:
    """Show progress until cancelled: a live table on a terminal, a line now and then elsewhere.

    A service manager is told the state as it is (`daemon.notifier`): its log is for what happens.
    """
    console = Console(file=sys.stderr)
    await run.ready.wait()
    folded = run.recovered
    console.print(f"ready: {folded.events:,} events folded behind {folded.snapshot_seq:,}", highlight=False)
    if notify.is_heard():
        return
    if not console.is_terminal:
        while True:
            await asyncio.sleep(LINE_S)
            console.print(headline(run), highlight=False, soft_wrap=True)
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        while True:
            live.update(Group(Text(headline(run)), _table(run)))
            await asyncio.sleep(REFRESH_S)


def headline(run: Run) -> str:
    """One line: market time, parents, orders, events."""
    parents = run.actors.slicer.parents
    children = sum(len(parent.children) for parent in parents.values())
    equity = run.actors.exposure.equity
    return (
        f"{moment(run.clock.now())}   {len(parents)} live parents   {children} working orders   "
        f"{run.bus.seq:,} events   equity {equity:,.0f}"
    )


def moment(ts: int) -> str:
    """A time in ns UTC, as New York would read it."""
    return f"{dt.datetime.fromtimestamp(ts // NS_PER_S, _ZONE):%Y-%m-%d %H:%M:%S} New York"


def _table(run: Run) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("parent", "algorithm"):
        table.add_column(name)
    for name in ("done", "of", "progress", "average"):
        table.add_column(name, justify="right")
    parents = list(run.actors.slicer.parents.values())
    for parent in parents[:PARENTS_SHOWN]:
        table.add_row(*_row(parent))
    if len(parents) > PARENTS_SHOWN:
        table.add_row(f"and {len(parents) - PARENTS_SHOWN} more")
    return table


def _row(parent: Parent) -> tuple[str | ProgressBar, ...]:
    average = parent.notional / parent.cum_qty if parent.cum_qty else None
    return (
        f"{parent.side} {parent.symbol}",
        parent.how.algo,
        f"{parent.cum_qty:,}",
        f"{parent.order_qty:,}",
        ProgressBar(total=float(parent.order_qty), completed=float(parent.cum_qty), width=30),
        "-" if average is None else f"{average:.4f}",
    )
