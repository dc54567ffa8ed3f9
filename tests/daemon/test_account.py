"""The account by the venue's books and by ours, over days of the whole daemon before a paper venue."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from core.events import AccountReported, Event
from core.units import NS_PER_S
from daemon.config import Config
from daemon.markets import open_market
from daemon.run import Run
from daemon.simulate import simulate
from tests.daemon.crashing import OPEN, config, paper, write_signals

D = Decimal
HOUR = 3_600 * NS_PER_S


def day(folder: Path, act: Callable[[Run], None], **account: Any) -> Config:  # noqa: ANN401 - settings
    """A small day, with something that happens before it begins."""
    write_signals(folder)
    settings = config(folder)
    settings = msgspec.structs.replace(settings, account=msgspec.structs.replace(settings.account, **account))
    simulate(settings, open_market(settings), watch=act)
    return settings


def facts(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Events of one type on record."""
    with closing(sqlite3.connect(folder / "execd.db")) as database:
        rows = database.execute("select payload from journal where type = ? order by seq", (kind,)).fetchall()
    return [json.loads(payload) for (payload,) in rows]


def test_the_venue_and_we_keep_the_same_account(tmp_path: Path) -> None:
    apart: list[Decimal] = []

    def watch(run: Run) -> None:
        def compare(_: int, event: Event) -> None:
            if isinstance(event, AccountReported) and event.equity is not None:
                apart.append(abs(event.equity - run.actors.exposure.marked))

        run.bus.tap(compare)

    day(tmp_path / "day", watch, ask_s=30.0)
    reports = facts(tmp_path / "day", "AccountReported")
    assert len(reports) == len(apart) > 700  # the venue always knew what was held was worth
    assert len({report["equity"] for report in reports}) > 50  # and that moved
    assert max(apart) < 5  # of a million: what the market did while the answer was under way
    assert facts(tmp_path / "day", "TradingHalted")[1:] == []  # but for the start


def test_cash_that_is_gone_at_the_venue_lets_only_go_what_reduces(tmp_path: Path) -> None:
    def watch(run: Run) -> None:
        def take(amount: int) -> None:
            paper(run)._happened(paper(run)._exchange.move(D(amount), run.clock.now()))

        run.clock.call_at(OPEN + HOUR, lambda: take(-15_000))  # 1.5 %
        run.clock.call_at(OPEN + 2 * HOUR, lambda: take(15_000))

    day(tmp_path / "day", watch, ask_s=60.0)
    halts = [event for event in facts(tmp_path / "day", "TradingHalted") if event["cause"] == "account"]
    ends = [event for event in facts(tmp_path / "day", "TradingResumed") if event["cause"] == "account"]
    minutes = [round((event["ts"] - OPEN) / NS_PER_S / 60, 1) for event in (*halts, *ends)]
    assert minutes == [61.0, 121.0]  # with the second report that shows it, each time
    assert halts[0]["state"] == "REDUCING"


def test_what_the_venue_lends_no_more_for_is_denied(tmp_path: Path) -> None:
    write_signals(tmp_path / "day")
    settings = config(tmp_path / "day")
    settings = msgspec.structs.replace(settings, paper=msgspec.structs.replace(settings.paper, leverage=D("0.005")))
    simulate(settings, open_market(settings))
    denials = [each for each in facts(tmp_path / "day", "OrderDenied") if each["reason"] == "BUYING_POWER"]
    first = denials[0]
    assert (first["symbol"], first["cl_ord_id"], first["limit"]) == ("AAA", "", "5000.000")
    assert D(first["value"]) > D(first["limit"])
