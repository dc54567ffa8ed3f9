"""Two paper venues under one daemon: children go to the better one, leave it while it is down, and are sold at home."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from adapters.brokers.chaos import PROFILES, Faults
from adapters.brokers.paper import PaperGateway
from adapters.store import queries
from adapters.store.engine import open_readonly
from core.causes import KILL, TradingState
from core.events import TradingHalted
from core.orders import Side
from core.units import NS_PER_S, ZERO
from daemon import desk
from daemon.commands import Commands
from daemon.config import Config, VenueConfig, build
from daemon.control import Order
from daemon.gateways import GATEWAYS
from daemon.place import remember
from daemon.run import Run
from tests.builders import held
from tests.daemon.crashing import OPEN
from tests.daemon.test_account import facts
from tests.daemon.test_reload import Desk
from tests.daemon.test_run import live

D = Decimal
MINUTE = 60 * NS_PER_S
VENUES = ("paper", "fast")
SIGNALS = (
    (2, {"kind": "order", "side": "BUY", "qty": 600, "how": {"algo": "TWAP", "slices": 30, "duration_s": 7200}}),
    (200, {"kind": "target", "qty": 0, "how": {"algo": "TWAP", "slices": 10, "duration_s": 3600}}),
)


def settings(folder: Path, *, paper: dict[str, Any] | None = None, fast: dict[str, Any] | None = None) -> Config:
    """A day in one symbol: the cheaper venue is listed second."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"signal_id": f"s{minute}", "ts": OPEN + minute * MINUTE, "strategy": "crash", "symbol": "AAA", **signal}
        for minute, signal in SIGNALS
    ]
    (folder / "signals.jsonl").write_text("\n".join(map(json.dumps, lines)))
    trips = {"rejects_max": 10_000, "failures_max": 10_000, "slips_max": 10_000, "disagreement_max": 0.5}
    sizes = {"order_qty_max": 10_000, "order_notional_max": 10_000_000}
    raw: dict[str, Any] = {
        "daemon": {"world": "simulation", "data_dir": str(folder)},
        "account": {"ask_s": 30},
        "market": {"date": "2026-06-15", "step_s": 20.0},
        "limits": {"quote_age_s_max": 120, "symbols_default": sizes, **trips},
        "paper": {"depth_share": 0.6, "fee_bps": 3, "seed": 1, **(paper or {})},
        "venues": {
            "fast": {"depth_share": 0.4, "fee_bps": 1, "latency_ms": 1, "cash": 400_000, "seed": 2, **(fast or {})}
        },
        "instruments": {"AAA": {"adv": 1_000_000, "volatility": 0.02, "venues": list(VENUES)}},
        "signals": {"files": [str(folder / "signals.jsonl")]},
    }
    return build(raw, {}, where="the day of two venues")


class Cut(Faults):
    """A line that is cut between two moments, and otherwise as it was."""

    __slots__ = ("begin", "end")

    def __init__(self, begin: int, end: int) -> None:
        super().__init__(PROFILES["none"], 0)
        self.begin, self.end = begin, end

    def is_down(self, now: int) -> bool:
        return self.begin <= now < self.end


def gateway(run: Run, name: str) -> PaperGateway:
    found = run.gateways[name]
    assert isinstance(found, PaperGateway)
    return found


def cut(begin_min: int, end_min: int) -> Callable[[Run], None]:
    """`fast` is down for so long."""

    def watch(run: Run) -> None:
        gateway(run, "fast")._faults = Cut(OPEN + begin_min * MINUTE, OPEN + end_min * MINUTE)

    return watch


def books_agree(run: Run) -> None:
    """What each venue has is what we have there, and nothing is short anywhere."""
    for name in VENUES:
        theirs = {symbol: qty for symbol, qty in gateway(run, name)._exchange.positions.items() if qty}
        assert run.actors.oms.positions(name) == theirs
    cash = sum((gateway(run, name)._exchange.cash for name in VENUES), ZERO)
    assert run.actors.exposure.book.cash == cash


def never_short(folder: Path) -> None:
    held = dict.fromkeys(VENUES, ZERO)
    for fill in facts(folder, "FillBooked"):
        held[fill["venue"]] += D(fill["last_qty"]) * (1 if fill["side"] == "BUY" else -1)
        assert min(held.values()) >= 0


def went(folder: Path) -> list[tuple[str, int, str]]:
    """The venue, the minute and the side of every child that was let go."""
    orders = [event["order"] for event in facts(folder, "OrderApproved")]
    return [(order["venue"], (order["ts"] - OPEN) // MINUTE, order["side"]) for order in orders]


def bought_between(folder: Path, begin: int, end: int) -> set[str]:
    return {venue for venue, minute, side in went(folder) if side == "BUY" and begin <= minute < end}


@pytest.mark.parametrize(
    "paper, fast, best",
    [
        ({}, {}, "fast"),
        ({"fee_bps": 1}, {"fee_bps": 3}, "paper"),
        ({"fee_bps": 1}, {"reject_probability": 0.9}, "paper"),
        ({"fee_bps": 1, "latency_ms": 1_000}, {}, "fast"),
    ],
    ids=["the lower fee", "the lower fee, listed first", "who takes orders", "who answers soon"],
)
def test_children_go_to_the_better_one(paper: dict[str, Any], fast: dict[str, Any], best: str, tmp_path: Path) -> None:
    run = live(settings(tmp_path, paper=paper, fast=fast))
    assert bought_between(tmp_path, 60, 125) == {best}
    books_agree(run)
    never_short(tmp_path)
    assert run.actors.exposure.held("AAA") == 0


def test_they_move_when_it_goes_down_and_come_back_and_are_sold_where_they_lie(tmp_path: Path) -> None:
    run = live(settings(tmp_path), cut(30, 70))
    assert bought_between(tmp_path, 0, 30) == {"fast"}
    assert bought_between(tmp_path, 32, 70) == {"paper"}
    assert bought_between(tmp_path, 73, 125) == {"fast"}
    assert {venue for venue, _, side in went(tmp_path) if side == "SELL"} == set(VENUES)
    books_agree(run)
    never_short(tmp_path)
    assert run.actors.exposure.held("AAA") == 0
    chosen = facts(tmp_path, "VenueChosen")
    first = [event for event in chosen if event["side"] == "BUY"]
    assert [(event["was"], event["venue"]) for event in first] == [("", "fast"), ("fast", "paper"), ("paper", "fast")]
    assert [event["venue"] for event in facts(tmp_path, "VenueAway")] == ["fast"]
    assert facts(tmp_path, "BreakFound") == []
    engine = open_readonly(f"sqlite:///{tmp_path / 'execd.db'}")
    told = [row["type"] for row in queries.explain(engine, first[0]["parent_id"])]
    engine.dispose()
    assert told.count("VenueChosen") == 3
    assert {event["cause"] for event in facts(tmp_path, "TradingHalted")} == {"startup"}


class Mute(Cut):
    """A line on which reports are lost between two moments; whoever asks is answered. `now` is the run's clock."""

    __slots__ = ("now",)

    def __init__(self, begin: int, end: int, now: Callable[[], int]) -> None:
        super().__init__(begin, end)
        self.now = now

    def is_down(self, now: int) -> bool:
        return False

    def report(self) -> list[int]:
        return [] if self.begin <= self.now() < self.end else [0]


@pytest.mark.parametrize(
    "line, reconcile_s, last", [("cut", 0, 97), ("cut", 60, 97), ("mute", 60, 88), ("mute", 0, 129)]
)
def test_what_executed_without_our_hearing_of_it_is_booked_soon(
    line: str, reconcile_s: float, last: int, tmp_path: Path
) -> None:
    """A child rests at `fast` from minute 80 on, and executes in minute 87, while no report comes through.

    Venues are asked every 30 s how the account stands, and the line is back in minute 97. `last` is the last minute at
    whose begin the books are apart; 129, where nobody looks any more.
    """
    day = settings(tmp_path)
    resting = {"kind": "order", "side": "BUY", "qty": 200, "how": {"algo": "LIMIT", "price": 115.8}}
    lines = [{"signal_id": "s80", "ts": OPEN + 80 * MINUTE, "strategy": "crash", "symbol": "AAA", **resting}]
    (tmp_path / "signals.jsonl").write_text("\n".join(map(json.dumps, lines)))
    day = msgspec.structs.replace(day, account=msgspec.structs.replace(day.account, reconcile_s=reconcile_s))
    apart: dict[int, bool] = {}

    def watch(run: Run) -> None:
        begin, end = OPEN + 85 * MINUTE, OPEN + 97 * MINUTE
        fast = gateway(run, "fast")
        fast._faults = Mute(begin, end, run.clock.now) if line == "mute" else Cut(begin, end)

        def look(minute: int) -> None:
            ours, theirs = run.actors.oms.positions("fast"), fast._exchange.positions
            apart[minute] = ours.get("AAA", ZERO) != theirs.get("AAA", ZERO)

        for minute in range(80, 130):
            run.clock.call_at(OPEN + minute * MINUTE, partial(look, minute))

    live(day, watch)
    assert [minute for minute, is_apart in apart.items() if is_apart] == list(range(88, last + 1))
    assert facts(tmp_path, "BreakFound") == []


def test_a_restart_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    day = settings(tmp_path)
    stopped = live(day, lambda run: run.clock.call_at(OPEN + 20 * MINUTE, run.stop))
    before, kept = stopped.actors.venues.dump(), list[dict[str, object]]()
    assert before["chosen"]

    def again(run: Run) -> None:
        cut(30, 70)(run)
        run.clock.call_at(OPEN + 20 * MINUTE + NS_PER_S, lambda: kept.append(run.actors.venues.dump()))

    run = live(day, again)
    assert kept == [before]
    moves = [(each["was"], each["venue"]) for each in facts(tmp_path, "VenueChosen") if each["side"] == "BUY"]
    assert moves == [("", "fast"), ("fast", "paper"), ("paper", "fast")]  # the restart made none
    books_agree(run)
    never_short(tmp_path)
    assert run.actors.exposure.held("AAA") == 0
    assert facts(tmp_path, "BreakFound") == []


@pytest.mark.parametrize("chaos", ["flaky", "storm"])
def test_on_bad_lines_each_book_is_right_and_no_venue_is_sold_short(chaos: str, tmp_path: Path) -> None:
    run = live(settings(tmp_path, paper={"chaos": chaos}, fast={"chaos": chaos}))
    never_short(tmp_path)
    assert len(facts(tmp_path, "FillBooked")) > 20
    if not run.actors.oms.in_doubt("paper") and not run.actors.oms.in_doubt("fast"):
        books_agree(run)


def test_cash_lies_where_the_configuration_says_and_the_sum_is_what_our_books_say(tmp_path: Path) -> None:
    run = live(settings(tmp_path))
    reports = facts(tmp_path, "AccountReported")
    first = {event["venue"]: D(event["cash"]) for event in reversed(reports)}
    assert first == {"paper": D(600_000), "fast": D(400_000)}
    assert run.actors.exposure.broker.report is not None
    assert run.actors.exposure.broker.report.venue == "fast, paper"
    assert run.actors.exposure.broker.short > -1  # of a million: nothing is missing
    shown = [gateway(run, name)._exchange._books["AAA"].half(Side.BUY).size for name in VENUES]
    assert shown[0] / shown[1] == D("1.5")  # each shows its part of the tape: 0.6 and 0.4


def test_every_kind_of_venue_has_its_gateway() -> None:
    assert set(GATEWAYS) == set(get_args(get_type_hints(VenueConfig)["kind"]))


def test_the_same_day_gives_the_same_choices(tmp_path: Path) -> None:
    one, other = settings(tmp_path / "one"), settings(tmp_path / "other")
    live(one, cut(30, 70))
    live(msgspec.structs.replace(other, daemon=msgspec.structs.replace(other.daemon, placement="tasks")), cut(30, 70))
    assert facts(tmp_path / "one", "VenueChosen") == facts(tmp_path / "other", "VenueChosen")


def test_cash_moves_at_the_default_venue_and_a_split_is_at_all_of_them(tmp_path: Path) -> None:
    said: list[asyncio.Task[Any]] = []

    def watch(run: Run) -> None:
        cut(30, 70)(run)  # so that both hold something
        commands = Commands(run)

        def act() -> None:
            split = commands.split(Order(symbol="AAA", ratio="2:1", text="a split"), "ann")
            deposit = commands.deposit(Order(amount=D(1000), text="more"), "ann")
            said.extend(asyncio.ensure_future(each) for each in (split, deposit))

        run.clock.call_at(OPEN + 160 * MINUTE, act)

    run = live(settings(tmp_path), watch)
    for task in said:
        task.result()
    bought: dict[str, Decimal] = dict.fromkeys(VENUES, ZERO)
    sold = dict(bought)
    for fill in facts(tmp_path, "FillBooked"):
        (bought if fill["side"] == "BUY" else sold)[fill["venue"]] += D(fill["last_qty"])
    assert all(bought.values())
    assert sold == {venue: 2 * qty for venue, qty in bought.items()}
    books_agree(run)


@pytest.mark.parametrize("short, stays", [(-100, "100 of alpha, -100 of beta"), (-40, "100 of alpha, -40 of beta")])
async def test_a_flatten_names_what_is_long_at_one_venue_and_short_at_another(
    short: int, stays: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Desk(tmp_path)
    made.run.ready.set()
    bus = made.run.bus
    for symbol, qty, venue, strategy in (
        ("ALFA", 100, "paper", "alpha"),
        ("ALFA", short, "fast", "beta"),
        ("BRAV", 7, "fast", "beta"),
    ):
        about = {"symbol": symbol, "venue": venue, "strategy": strategy, "exec_id": f"{venue}{symbol}"}
        bus.publish(msgspec.structs.replace(held("AAPL", qty), **about))
    bus.publish(TradingHalted(ts=OPEN, cause=KILL, state=TradingState.HALTED))
    answer = await Commands(made.run).flatten(Order(symbol="ALFA"), "ann")
    made.close()
    monkeypatch.setattr(desk, "ask", lambda *_: json.loads(msgspec.json.encode(answer)))
    remember(made.run.config)
    desk.flatten("ALFA", made.run.config.data_dir)
    said = capsys.readouterr().out
    assert f"ALFA lies on both sides, 100 at paper, {short} at fast ({stays}): a flatten closes only the sum\n" in said
    assert "BRAV" not in said
    assert "nothing to close" not in said
