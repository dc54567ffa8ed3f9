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
from daemon.cli import ExitCode
from daemon.config import Config
from daemon.markets import open_market
from daemon.run import Run
from daemon.simulate import simulate
from tests.daemon.crashing import OPEN, config, paper, write_signals
from tests.daemon.service import Execd, Make, Service

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
    minutes = [(event["ts"] - OPEN) / NS_PER_S / 60 for event in (*halts, *ends)]
    assert [int(minute) for minute in minutes] == [61, 121]  # with the second report that shows it, each time
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


# Shares that become others --------------------------------------------------------------------------------------------


def test_a_split_is_booked_here_and_at_the_paper_venue_and_stays_over_a_restart(make: Make, execd: Execd) -> None:
    service = make("service", account={"cash": 1_000_000, "ask_s": 0.2}, signals={"socket": "signals.sock"}).start()
    there = ("--dir", str(service.folder))
    wanted: dict[str, Any] = {"kind": "order", "strategy": "alpha", "symbol": "ALFA", "side": "BUY", "qty": 101}
    wanted["how"] = {"algo": "MARKET", "ord_type": "MARKET"}
    assert execd("signal", "send", json.dumps(wanted), *there)[0] == ExitCode.OK
    service.until(lambda: service.rows("select 1 from positions where qty = '101'"), "the position")
    service.until(lambda: service.status()["parents"] == 0, "the end of its parent")
    for symbol, ratio, said in (
        ("ALFA", "1:2", "alpha holds 101 ALFA, which would be 50.5 and no multiple of the lot 1: trade"),
        ("BRAV", "2:1", "nothing is held in BRAV: there is nothing to adjust"),
        ("NONE", "2:1", "NONE is not among the instruments"),
        *(
            ("ALFA", bad, f"{bad}: new shares and old ones belong here")
            for bad in ("2", "0:1", "3:3", "-1:2", "9999:1")
        ),
    ):
        code, _, errors = execd("adjust", "split", "--reason", "a test", *there, "--", symbol, ratio)
        assert (code, errors.startswith(f"execd: {said}")) == (ExitCode.REFUSED, True), errors
    (paid,) = service.rows("select avg_px from positions where symbol = 'ALFA'")[0]
    code, out, errors = execd("adjust", "split", "ALFA", "4:1", "--reason", "4 for 1 of June", *there)
    assert (code, errors) == (ExitCode.OK, "")
    assert out.startswith(f"alpha holds 404 ALFA at {D(paid) / 4}\nALFA 4:1: equity ")
    assert service.rows("select symbol, numerator, denominator, reason from adjustments") == [
        ("ALFA", 4, 1, "4 for 1 of June")
    ]
    service.until(lambda: service.rows("select 1 from positions where qty = '404'"), "the position in SQL")
    assert [(fact["symbol"], fact["numerator"]) for fact in service.venue("Adjusted")] == [("ALFA", 4)]
    resting = wanted | {"symbol": "BRAV", "how": {"algo": "LIMIT", "price": 48.5, "duration_s": 900}}
    assert execd("signal", "send", json.dumps(resting), *there)[0] == ExitCode.OK
    service.until(lambda: service.status()["orders"] == 1, "an order that works")
    (order,) = service.ask("GET", "live")["orders"]
    refusal = f"execd: orders work in BRAV, wait for their end: {order['cl_ord_id']}\n"
    assert execd("adjust", "split", "BRAV", "2:1", "--reason", "again", *there)[2] == refusal
    service.kill()
    status = service.start().status()
    assert (status["quarantined"], status["causes"]) == ({}, [])
    assert service.rows("select qty from positions where symbol = 'ALFA'") == [("404",)]


# What is paid in and out ----------------------------------------------------------------------------------------------


def test_cash_is_moved_in_both_books_and_stays_moved_over_a_restart(make: Make, execd: Execd) -> None:
    service = make("service", account={"cash": 1_000_000, "ask_s": 0.2}).start()
    there = ("--dir", str(service.folder))
    code, out, errors = execd("cash", "deposit", "50000", "--reason", "more of it", *there)
    assert (code, errors) == (ExitCode.OK, "")
    assert out == "deposit 50000: cash 1050000, equity 1050000, high-water mark 1050000\n"
    assert execd("cash", "withdraw", "20000.50", "--reason", "rent", *there)[0] == ExitCode.OK
    for amount, said in (
        ("1029999.50", "cash is 1,029,999.50, and losses are measured from no more than 1,029,999.50: withdraw less"),
        ("-1", "-1: an amount of money above 0, 1,000,000,000,000 at most, belongs here"),
        ("NaN", "NaN: an amount of money above 0, 1,000,000,000,000 at most, belongs here"),
    ):
        refusal = (ExitCode.REFUSED, "", f"execd: {said}\n")
        assert execd("cash", "withdraw", "--reason", "all of it", *there, "--", amount) == refusal
    assert execd("cash", "deposit", "1", "--reason", "", *there)[2] == "execd: say why, for the record\n"
    assert service.rows("select amount, cash, reason from cash_moves order by seq") == [
        ("50000", "1050000", "more of it"),
        ("-20000.50", "1029999.50", "rent"),
    ]
    assert [fact["amount"] for fact in service.venue("Moved")] == ["1000000", "50000", "-20000.50"]
    commands = service.rows("select command, done from commands order by seq")
    assert commands[:3] == [("deposit 50000", 1), ("withdraw 20000.50", 1), ("withdraw 1029999.50", 0)]
    service.kill()
    status = service.start().status()
    assert (status["cash"], status["equity"], status["causes"]) == ("1029999.50", "1029999.50", [])
    assert (status["day_loss"], status["drawdown"]) == (0, 0)
    service.until(lambda: service.status()["broker"]["equity"] == "1029999.50", "the venue's word")


# A symbol in which somebody else has traded ---------------------------------------------------------------------------


def trade_by_hand(service: Service, side: str, qty: int) -> None:
    """While nobody watches, at the venue alone."""
    entered, executed = service.venue("Entered")[0], service.venue("Executed")[0]
    number = len(service.venue("Entered")) + 1
    name, order_id = f"HAND{number}", f"paper-{number}"
    wanted = entered["order"] | {"cl_ord_id": name, "side": side, "order_qty": str(qty)}
    done = {"cl_ord_id": name, "exec_id": f"{order_id}-1", "last_qty": str(qty), "cum_qty": str(qty)}
    with (service.folder / "venue.jsonl").open("a") as book:
        book.write(json.dumps(entered | {"order": wanted, "order_id": order_id}) + "\n")
        book.write(json.dumps(executed | done) + "\n")


def test_a_symbol_in_quarantine_is_released_once_positions_agree_and_stays_so(make: Make, execd: Execd) -> None:
    service = make("service", account={"cash": 1_000_000}, signals={"socket": "signals.sock"}).start()
    there = ("--dir", str(service.folder))

    def buy(qty: int) -> None:
        wanted = {"kind": "order", "strategy": "alpha", "symbol": "ALFA", "side": "BUY", "qty": qty}
        wanted |= {"how": {"algo": "MARKET", "ord_type": "MARKET"}}
        assert execd("signal", "send", json.dumps(wanted), *there)[0] == ExitCode.OK

    def resume(*words: str) -> tuple[int, str]:
        code, out, errors = execd("resume", *words, *there)
        return code, (out + errors).removeprefix("execd: ")

    buy(101)
    service.until(lambda: service.rows("select 1 from positions where qty = '101'"), "the position")
    assert resume("--symbol", "ALFA") == (ExitCode.REFUSED, "ALFA is not in quarantine; what is: nothing\n")
    service.kill()
    trade_by_hand(service, "BUY", 50)
    assert service.start().status()["quarantined"] == {"ALFA": "POSITION: ours 101, theirs 151"}
    assert resume("--symbol", "ALFA") == (ExitCode.REFUSED, "say why, for the record\n")
    why = ("--reason", "bought by hand, and sold again")
    differs = "ALFA still differs: POSITION at paper, ours 101, theirs 151"
    assert resume("--symbol", "ALFA", *why) == (
        ExitCode.REFUSED,
        f"{differs}. Trade and cancel there until it agrees, and ask again\n",
    )
    service.kill()
    trade_by_hand(service, "SELL", 50)
    service.start()
    said = "ALFA is released: positions agree\n2 executions that one side alone has are no breaks any more\n"
    assert resume("--symbol", "ALFA", *why) == (ExitCode.OK, said)
    assert service.status()["quarantined"] == {}
    (text,) = service.rows("select text from alerts where kind = 'SymbolReleased'")[0]
    assert text.endswith(": bought by hand, and sold again; no breaks any more: paper-2-1 at paper, paper-3-1 at paper")
    for end in (service.kill, service.stop):  # from the journal, and from a snapshot
        end()
        assert service.start().status()["quarantined"] == {}
    buy(9)
    service.until(lambda: service.rows("select 1 from positions where qty = '110'"), "the next position")
