"""The paper gateway: its latency, its order of messages, and a book that outlives the process."""

import asyncio
import datetime as dt
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.brokers.facts import Fact
from adapters.brokers.paper import PaperGateway, PaperSettings
from adapters.gateway import Accepted, Gateway, Lapsed, NotSent, Rejected, Unknown
from core.calendar import CALENDARS
from core.events import AccountReported, ExecutionReport, NewOrderSingle, OrderApproved
from core.instruments import Instrument, Instruments
from core.market import Quote, Trade
from core.orders import ExecType, OrdStatus, OrdType, Side, TimeInForce
from core.reconcile import ExecutionView, OrderView, Picture
from core.units import NS_PER_MS, NS_PER_S
from tests.clocks import ManualClock, settle

ROOT = Path(__file__).resolve().parents[3]
D = Decimal
MS = NS_PER_MS
SESSION = CALENDARS["XNYS"].session_on(dt.date(2025, 3, 3))
assert SESSION is not None
T0, CLOSE = SESSION.open + 3_600 * NS_PER_S, SESSION.close
INSTRUMENTS = Instruments([Instrument(symbol="X")])
EXACT = PaperSettings(latency_ms=5, jitter_ms=0, fee_per_share=D("0.01"))


def let_go(approved: OrderApproved) -> None:
    """A last check that passes."""


class Venue:
    """A paper gateway with its clock, and the reports that it sent."""

    def __init__(
        self,
        log: Path | None = None,
        settings: PaperSettings = EXACT,
        clock: ManualClock | None = None,
        cash: str = "0",
        instruments: Instruments = INSTRUMENTS,
    ) -> None:
        self.clock = clock or ManualClock(T0)
        self.reports: list[ExecutionReport] = []
        self.gateway = PaperGateway(
            name="paper",
            instruments=instruments,
            clock=self.clock,
            report=self.reports.append,
            settings=settings,
            log=log,
            cash=D(cash),
        )

    def quote(self, bid: str, bid_size: int, ask: str, ask_size: int) -> None:
        self.gateway.on_update(Quote(self.clock.now(), "X", D(bid), D(bid_size), D(ask), D(ask_size)))

    def trade(self, price: str, size: int) -> None:
        self.gateway.on_update(Trade(self.clock.now(), "X", D(price), D(size)))

    def submit(self, approved: OrderApproved) -> "asyncio.Task[object]":
        return asyncio.ensure_future(self.gateway.submit(approved, let_go))

    def told(self) -> list[tuple[int, str, str, Decimal | None]]:
        """(ms since T0, order, what, cum_qty) of every report."""
        return [((r.ts - T0) // MS, r.cl_ord_id, r.exec_type.value, r.cum_qty) for r in self.reports]


def approve(
    cl_ord_id: str,
    qty: int = 100,
    price: str | None = None,
    side: Side = Side.BUY,
    time_in_force: TimeInForce = TimeInForce.DAY,
) -> OrderApproved:
    order = NewOrderSingle(
        ts=T0,
        cl_ord_id=cl_ord_id,
        parent_id="P",
        strategy="s",
        account="a",
        venue="paper",
        symbol="X",
        side=side,
        order_qty=D(qty),
        ord_type=OrdType.MARKET if price is None else OrdType.LIMIT,
        price=None if price is None else D(price),
        time_in_force=time_in_force,
    )
    return OrderApproved(
        ts=T0, order=order, not_after=T0, collar_low=D(0), collar_high=D(99), bid=None, ask=None, limits_version="1"
    )


async def test_where_two_venues_have_half_of_the_market_half_an_order_at_each_costs_what_all_of_it_does_at_one() -> (
    None
):
    known = Instruments([Instrument(symbol="X", adv=D(1_000_000), volatility=0.02)])
    paid = []
    for share, qty in (("1", 10_000), ("0.5", 5_000)):
        venue = Venue(settings=msgspec.structs.replace(EXACT, depth_share=D(share)), instruments=known)
        venue.quote("9.99", 300, "10.00", 0)
        venue.submit(approve("A", qty))
        await venue.clock.advance(T0 + 10 * MS)
        paid += [(report.last_qty, report.last_px) for report in venue.reports]
    assert paid == [(D(10_000), D("10.02")), (D(5_000), D("10.02"))]


# On the way ---------------------------------------------------------------------------------------------------------


async def test_an_order_travels_and_its_answer_and_fill_travel_back() -> None:
    venue = Venue()
    venue.quote("10.00", 300, "10.02", 60)
    answer = venue.submit(approve("A"))
    await venue.clock.advance(T0 + 4 * MS)
    venue.quote("10.00", 300, "10.03", 60)  # while the order is under way
    await venue.clock.advance(T0 + 10 * MS - 1)
    assert (answer.done(), venue.reports) == (False, [])
    await venue.clock.advance(T0 + 10 * MS)
    assert answer.result() == Accepted("paper-1")
    assert venue.reports == [
        ExecutionReport(
            ts=T0 + 10 * MS,
            venue="paper",
            exec_type=ExecType.TRADE,
            cl_ord_id="A",
            order_id="paper-1",
            exec_id="paper-1-1",
            ord_status=OrdStatus.PARTIALLY_FILLED,
            last_qty=D(60),
            last_px=D("10.03"),
            cum_qty=D(60),
            fee=D("0.6"),
        )
    ]
    await venue.clock.advance(T0 + 20 * MS)
    venue.quote("10.00", 300, "10.04", 60)
    await venue.clock.advance(T0 + 25 * MS)
    assert venue.told()[1:] == [(25, "A", "TRADE", D(100))]
    assert venue.reports[1].ord_status is OrdStatus.FILLED


async def test_a_refusal_is_the_answer_and_nothing_more() -> None:
    venue = Venue()
    answer = await venue.clock.run(venue.gateway.submit(approve("A"), let_go))
    assert answer == Rejected("a MARKET order for X, which was never quoted")
    assert venue.clock.now() == T0 + 10 * MS
    assert venue.reports == []


async def test_a_lapsed_order_never_leaves() -> None:
    venue = Venue()
    answer = await venue.clock.run(venue.gateway.submit(approve("A"), lambda _: "too old"))
    assert answer == Lapsed("too old")
    assert venue.clock._timers == []


async def test_no_loop_turn_passes_between_the_last_check_and_the_hand_over() -> None:
    turned: list[str] = []

    class Watching(ManualClock):
        def call_at(self, ts: int, callback: Callable[[], None]) -> None:
            turned.append("handed over")
            super().call_at(ts, callback)

    def check(approved: OrderApproved) -> None:
        turned.append("checked")
        asyncio.get_running_loop().call_soon(turned.append, "loop turned")

    venue = Venue(clock=Watching(T0))
    await venue.clock.run(venue.gateway.submit(approve("A", price="10"), check))
    assert turned[:3] == ["checked", "handed over", "loop turned"]


async def test_a_cancel_travels_and_is_answered_by_a_report() -> None:
    venue = Venue()
    venue.submit(approve("A", price="10"))
    await settle()
    await venue.gateway.cancel("A")  # right behind the order
    await venue.gateway.cancel("A")
    await venue.gateway.cancel("Z")
    await venue.clock.advance(T0 + 10 * MS)
    assert venue.told() == [
        (10, "A", "CANCELED", D(0)),
        (10, "A", "CANCEL_REJECTED", D(0)),
        (10, "Z", "CANCEL_REJECTED", None),
    ]
    assert [r.text for r in venue.reports] == ["", "too late: the order is CANCELED", "unknown order"]


async def test_a_query_finds_an_order_that_is_still_under_way() -> None:
    venue = Venue()
    venue.quote("10.00", 300, "10.02", 60)
    venue.submit(approve("A"))
    trade, status = await venue.clock.run(venue.gateway.query("A"))
    assert (trade.exec_type, trade.exec_id, trade.last_qty, trade.ts) == (
        ExecType.TRADE,
        "paper-1-1",
        D(60),
        T0 + 10 * MS,
    )
    assert (status.exec_type, status.ord_status, status.cum_qty) == (
        ExecType.STATUS,
        OrdStatus.PARTIALLY_FILLED,
        D(60),
    )


async def test_a_query_for_what_never_arrived_proves_it() -> None:
    venue = Venue()
    expected = [ExecutionReport(ts=T0 + 10 * MS, venue="paper", exec_type=ExecType.NOT_FOUND, cl_ord_id="Z")]
    assert await venue.clock.run(venue.gateway.query("Z")) == expected


async def test_a_day_order_expires_at_the_close_and_says_so() -> None:
    venue = Venue()
    await venue.gateway.connect()
    for cl_ord_id, tif in (("A", TimeInForce.DAY), ("B", TimeInForce.DAY), ("C", TimeInForce.GTC)):
        await venue.clock.run(venue.gateway.submit(approve(cl_ord_id, price="10", time_in_force=tif), let_go))
    await venue.clock.advance(CLOSE + 5 * MS)
    assert [(r.ts, r.cl_ord_id, r.exec_type) for r in venue.reports] == [
        (CLOSE + 5 * MS, "A", ExecType.EXPIRED),
        (CLOSE + 5 * MS, "B", ExecType.EXPIRED),
    ]
    assert list((await venue.clock.run(venue.gateway.picture())).orders) == ["C"]
    assert venue.gateway._closings == set()


async def test_a_picture_shows_live_orders_all_executions_and_positions() -> None:
    venue = Venue()
    venue.quote("10.00", 300, "10.02", 60)
    venue.submit(approve("A"))
    venue.submit(approve("B", 40, "10.00", Side.SELL))
    picture = await venue.clock.run(venue.gateway.picture())
    b = OrderView(
        cl_ord_id="A",
        order_id="paper-1",
        symbol="X",
        side=Side.BUY,
        order_qty=D(100),
        cum_qty=D(60),
        ord_status=OrdStatus.PARTIALLY_FILLED,
    )

    def execution(order: str, number: int, side: Side, qty: int, px: str) -> ExecutionView:
        return ExecutionView(
            exec_id=f"paper-{number}-1",
            cl_ord_id=order,
            symbol="X",
            side=side,
            last_qty=D(qty),
            last_px=D(px),
            fee=D(qty) / 100,
            ts=T0 + 5 * MS,
        )

    assert picture == Picture(
        orders={"A": b},
        executions={
            "paper-1-1": execution("A", 1, Side.BUY, 60, "10.02"),
            "paper-2-1": execution("B", 2, Side.SELL, 40, "10.00"),
        },
        positions={"X": D(20)},
    )
    assert {r.exec_id for r in venue.reports} == set(picture.executions)


async def test_a_picture_shows_executions_since_when_it_is_asked_for() -> None:
    venue = Venue()
    venue.quote("10.00", 300, "10.02", 60)
    venue.submit(approve("A"))
    venue.submit(approve("B", 40, "10.00", Side.SELL))
    shown = await venue.clock.run(venue.gateway.picture())
    first, last = (each.ts for each in shown.executions.values())
    for since, names in ((0, set(shown.executions)), (max(first, last) + 1, set())):
        later = await venue.clock.run(venue.gateway.picture(since))
        assert set(later.executions) == names
        assert (later.orders, later.positions) == (shown.orders, shown.positions)
    begun = await venue.clock.run(venue.gateway.picture(max(first, last)))
    assert {key for key, each in shown.executions.items() if each.ts >= max(first, last)} == set(begun.executions)


async def test_a_picture_shows_the_slowest_order_that_was_sent_before_it() -> None:
    venue = Venue(settings=PaperSettings(latency_ms=1, jitter_ms=50))
    for number in range(30):
        venue.submit(approve(f"o{number}", price="10"))
    picture = await venue.clock.run(venue.gateway.picture())
    assert len(picture.orders) == 30


async def test_a_picture_leaves_out_what_was_bought_and_sold_again() -> None:
    venue = Venue()
    venue.quote("10.00", 300, "10.02", 60)
    for approved in (approve("A", 60), approve("B", 60, side=Side.SELL)):
        await venue.clock.run(venue.gateway.submit(approved, let_go))
    picture = await look(venue)
    assert (picture.positions, len(picture.executions)) == ({}, 2)


@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["buy", "sell", "cancel", "up", "down"])), max_size=25),
)
@settings(max_examples=60, deadline=None)
def test_reports_of_one_order_never_overtake_each_other(seed: int, steps: list[tuple[int, str]]) -> None:
    asyncio.run(_play_with_jitter(seed, steps))


async def _play_with_jitter(seed: int, steps: list[tuple[int, str]]) -> None:
    venue = Venue(settings=PaperSettings(latency_ms=2, jitter_ms=9, seed=seed))
    answers = []
    for number, (wait_ms, what) in enumerate(steps):
        if what in {"up", "down"}:
            mid = D(10) + (D("0.01") if what == "up" else D("-0.01"))
            venue.quote(str(mid), 30 + number, str(mid + D("0.01")), 30 + number)
        elif what == "cancel":
            await venue.gateway.cancel(f"{number - 2}")
        else:
            answers.append(venue.submit(approve(f"{number}", 50, "10.00", Side(what.upper()))))
        await venue.clock.advance(venue.clock.now() + wait_ms * MS)
    await venue.clock.advance(venue.clock.now() + 100 * MS)
    picture = await venue.clock.run(venue.gateway.picture())
    cum: dict[str, Decimal] = {}
    ended: set[str] = set()
    for report in venue.reports:
        if report.exec_type is ExecType.CANCEL_REJECTED:
            continue
        assert report.cl_ord_id not in ended
        cum[report.cl_ord_id] = cum.get(report.cl_ord_id, D(0)) + report.last_qty
        assert report.cum_qty == cum[report.cl_ord_id]
        if report.ord_status in {OrdStatus.FILLED, OrdStatus.CANCELED}:
            ended.add(report.cl_ord_id)
    accepted = {task.result() for task in answers if isinstance(task.result(), Accepted)}
    assert len(accepted) == len(ended) + len(picture.orders)
    assert not ended & set(picture.orders)
    assert sorted(r.exec_id for r in venue.reports if r.exec_id) == sorted(picture.executions)


def test_the_same_seed_gives_the_same_delays_and_another_one_others() -> None:
    def delays(seed: int) -> list[int]:
        gateway = Venue(settings=PaperSettings(latency_ms=2, jitter_ms=1, seed=seed)).gateway
        return [gateway._delay_ns(f"o{number}") for number in range(50)]

    assert delays(1) == delays(1) != delays(2)
    assert all(2 * MS < delay <= 12 * MS for delay in delays(1))
    assert len(set(delays(1))) == 50


def test_delays_are_log_normal_up_to_their_bound() -> None:
    gateway = Venue(settings=PaperSettings(latency_ms=2, jitter_ms=1)).gateway
    factors = [gateway._delay_ns(f"o{number}") / MS - 2 for number in range(20_000)]
    for bound, part in ((1, 0.5), (math.e, 0.8413), (1 / math.e, 0.1587), (9.999, 0.9893)):
        assert sum(factor < bound for factor in factors) / len(factors) == pytest.approx(part, abs=0.01)
    assert max(factors) == 10
    assert gateway._slowest_ns() == 12 * MS


async def test_a_part_of_the_orders_is_rejected_by_chance_always_the_same() -> None:
    async def rejected(seed: int) -> set[int]:
        settings = PaperSettings(latency_ms=0, jitter_ms=0, reject_probability=0.1, seed=seed)
        venue, found = Venue(settings=settings), set()
        for number in range(400):
            answer = await venue.clock.run(venue.gateway.submit(approve(f"o{number}", price="10"), let_go))
            found |= {number} if isinstance(answer, Rejected) else set()
        assert len((await look(venue)).orders) == 400 - len(found)
        return found

    first = await rejected(1)
    assert first == await rejected(1) != await rejected(2)
    assert len(first) == pytest.approx(40, abs=20)


async def test_the_cap_on_participation_is_a_setting() -> None:
    settings = PaperSettings(latency_ms=0, jitter_ms=0, participation_max=D("0.1"))
    venue = Venue(settings=settings)
    venue.trade("10.02", 300)
    venue.quote("10.00", 300, "10.02", 60)
    await venue.clock.run(venue.gateway.submit(approve("A"), let_go))
    await venue.clock.advance(T0 + MS)
    assert venue.told() == [(0, "A", "TRADE", D(30))]


@pytest.mark.parametrize(
    "fields,complaint",
    [
        ({"latency_ms": -1.0}, "latency_ms must lie between 0 and 60000 ms, got -1.0"),
        ({"jitter_ms": float("nan")}, "jitter_ms must lie between 0 and 60000 ms, got nan"),
        ({"fee_bps": D("NaN")}, "fee_bps must be a number, got NaN"),
        ({"leverage": D(0)}, "leverage must lie between 0 and 4, got 0"),
        ({"leverage": D(5)}, "leverage must lie between 0 and 4, got 5"),
        ({"leverage": D("NaN")}, "leverage must lie between 0 and 4, got NaN"),
        ({"participation_max": D(0)}, "participation_max must lie above 0 and at most at 1, got 0"),
        ({"participation_max": D("NaN")}, "participation_max must lie above 0 and at most at 1, got NaN"),
        ({"participation_max": D("1.1")}, "participation_max must lie above 0 and at most at 1, got 1.1"),
        ({"reject_probability": 1.1}, "reject_probability must lie between 0 and 1, got 1.1"),
        ({"reject_probability": float("nan")}, "reject_probability must lie between 0 and 1, got nan"),
    ],
)
def test_senseless_settings_are_named(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        PaperSettings(**fields)


# The account --------------------------------------------------------------------------------------------------------


async def account(venue: Venue) -> AccountReported:
    return await venue.clock.run(venue.gateway.account())


async def test_the_account_is_the_venues_own_and_travels() -> None:
    venue = Venue(cash="10000")
    await venue.gateway.connect()
    venue.quote("10.00", 300, "10.02", 60)
    venue.submit(approve("A", 100, "10.02"))  # 60 at once for 0.60, 40 work
    asked = asyncio.ensure_future(venue.gateway.account())  # behind it
    await venue.clock.advance(T0 + 5 * MS)
    venue.quote("11.00", 300, "11.02", 60)  # too late for the answer
    assert await venue.clock.run(asked) == AccountReported(
        ts=T0 + 10 * MS,
        venue="paper",
        as_of=T0,
        cash=D("9398.20"),
        equity=D("9998.80"),  # 60 at a mid of 10.01
        buying_power=D("38994.20"),  # four times that, less 100 at the mid
        currency="USD",
    )


async def test_the_account_is_not_stated_where_the_market_has_not_priced_what_is_held(tmp_path: Path) -> None:
    venue = Venue(tmp_path / "paper.jsonl", cash="10000")
    await venue.gateway.connect()
    assert (await account(venue)).equity == D(10000)
    venue.quote("10.00", 300, "10.02", 60)
    await venue.clock.run(venue.gateway.submit(approve("A", 60), let_go))
    again = Venue(tmp_path / "paper.jsonl", cash="77")  # the second start: nothing is paid in
    await again.gateway.connect()
    report = await account(again)
    assert (report.cash, report.equity, report.buying_power) == (D("9398.20"), None, None)
    again.trade("10.50", 1)
    assert (await account(again)).equity == D("10028.20")


async def test_shares_that_become_others_are_worth_what_they_were_until_the_market_says_otherwise(
    tmp_path: Path,
) -> None:
    venue = Venue(tmp_path / "paper.jsonl", cash="10000")
    await venue.gateway.connect()
    venue.quote("10.00", 300, "10.02", 60)
    await venue.clock.run(venue.gateway.submit(approve("A", 60), let_go))
    before = (await account(venue)).equity
    await venue.clock.run(venue.gateway.submit(approve("B", 60, price="9"), let_go))
    with pytest.raises(ValueError, match="X is adjusted while orders work in it"):
        venue.gateway.adjust("X", 4, 1)
    await venue.gateway.cancel("B")
    await venue.clock.advance(venue.clock.now() + 20 * MS)
    venue.gateway.adjust("X", 4, 1)
    assert (await account(venue)).equity == before
    again = Venue(tmp_path / "paper.jsonl", cash="77")
    await again.gateway.connect()
    for each in (venue, again):
        assert dict((await each.clock.run(each.gateway.picture())).positions) == {"X": D(240)}
        each.quote("2.50", 300, "2.52", 60)
        assert (await account(each)).equity == D("9398.20") + 240 * D("2.51")


async def test_what_is_lost_and_more_buys_nothing() -> None:
    venue = Venue(cash="100", settings=msgspec.structs.replace(EXACT, leverage=D(1)))
    await venue.gateway.connect()
    venue.quote("10.00", 300, "10.02", 60)
    await venue.clock.run(venue.gateway.submit(approve("A", 60), let_go))
    assert (await account(venue)).buying_power == 0


# Hanging up ---------------------------------------------------------------------------------------------------------


async def test_a_close_leaves_what_was_under_way_unknown_and_silent() -> None:
    venue = Venue()
    venue.quote("10.00", 300, "10.02", 60)
    under_way, arrived = venue.submit(approve("A")), venue.submit(approve("B", price="10"))
    await venue.clock.advance(T0 + 6 * MS)
    await venue.gateway.close()
    await venue.gateway.close()
    await settle()
    assert under_way.result() == arrived.result() == Unknown("the paper venue was closed")
    venue.quote("9.00", 300, "9.02", 60)
    await venue.clock.advance(CLOSE + 20 * MS)
    assert (venue.reports, venue.gateway._exchange.positions) == ([], {"X": D(60)})  # bought before the close
    assert await venue.gateway.submit(approve("C"), let_go) == NotSent("the paper venue was closed")
    for call in (venue.gateway.connect(), venue.gateway.cancel("A"), venue.gateway.query("A"), venue.gateway.picture()):
        with pytest.raises(ConnectionError, match="the paper venue was closed: construct a new one"):
            await call


async def test_a_caller_who_stops_waiting_does_not_stop_the_order() -> None:
    venue = Venue()
    waiting = venue.submit(approve("A", price="10"))
    await settle()
    waiting.cancel()
    await venue.clock.advance(T0 + 10 * MS)
    assert list((await venue.clock.run(venue.gateway.picture())).orders) == ["A"]
    assert venue.gateway._waiting == {}


async def test_a_caller_who_stops_waiting_does_not_stop_a_close() -> None:
    venue = Venue()
    waiting = venue.submit(approve("A", price="10"))
    await settle()
    waiting.cancel()
    await venue.gateway.close()
    await settle()
    assert waiting.cancelled()


# The log ------------------------------------------------------------------------------------------------------------


async def look(venue: Venue) -> Picture:
    return await venue.clock.run(venue.gateway.picture())


async def some_trading(log: Path) -> tuple[Venue, list[Picture]]:
    """A venue with a past, and its pictures after each fact of it."""
    venue = Venue(log)
    pictures = [await look(venue)]
    venue.quote("10.00", 300, "10.02", 60)
    for approved in (
        approve("A", 30, "10.00", Side.SELL),  # entered and filled: two facts
        approve("B", 50, "9.99"),
        approve("C", 90, "10.02", time_in_force=TimeInForce.IOC),  # entered, partly filled, cancelled: three facts
        approve("D", 10, "9.98", time_in_force=TimeInForce.GTC),
    ):
        await venue.clock.run(venue.gateway.submit(approved, let_go))
        pictures.append(await look(venue))
    venue.trade("9.97", 20)
    pictures.append(await look(venue))
    await venue.gateway.cancel("D")
    pictures.append(await look(venue))
    return venue, pictures


async def test_a_killed_venue_comes_back_as_it_was_at_every_prefix_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "paper.jsonl"
    _, pictures = await some_trading(log)
    lines = log.read_bytes().splitlines(keepends=True)
    story = "Entered Executed Entered Entered Executed Ended Entered Executed Ended"
    assert " ".join(msgspec.json.decode(line)["type"] for line in lines) == story
    seen = []
    for count in range(len(lines) + 1):
        part = tmp_path / f"{count}.jsonl"
        part.write_bytes(b"".join(lines[:count]))
        restored = Venue(part)
        seen.append(await look(restored))
        assert restored.gateway.note == ""
        await restored.gateway.close()
        assert part.read_bytes() == b"".join(lines[:count])
    live = [0, 2, 3, 6, 7, 8, 9]  # facts in the log at each of the pictures
    assert [seen[count] for count in live] == pictures
    assert len({str(picture) for picture in seen}) == len(lines) + 1


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.adapters.brokers.test_paper import Venue, approve

async def main():
    venue = Venue(Path(sys.argv[1]))
    venue.gateway._report = lambda report: os.kill(os.getpid(), signal.SIGKILL)
    venue.quote("10.00", 300, "10.02", 60)
    venue.submit(approve("A", 100, "10.02"))
    await venue.clock.run(venue.gateway.picture())

asyncio.run(main())
"""


async def test_a_process_killed_at_its_first_report_has_lost_nothing(tmp_path: Path) -> None:
    log = tmp_path / "paper.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, log], cwd=ROOT, check=False, capture_output=True)  # noqa: ASYNC221
    assert done.returncode == -signal.SIGKILL, done.stderr
    picture = await look(Venue(log))
    assert [(e.exec_id, e.last_qty) for e in picture.executions.values()] == [("paper-1-1", D(60))]
    assert picture.orders["A"].cum_qty == picture.positions["X"] == D(60)


async def test_a_restored_venue_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "paper.jsonl"
    await some_trading(log)
    venue = Venue(log)
    venue.quote("9.99", 5, "10.02", 60)
    repeat = await venue.clock.run(venue.gateway.submit(approve("C", 90, "10.02"), let_go))
    fresh = await venue.clock.run(venue.gateway.submit(approve("E", 1, "10.02"), let_go))
    venue.trade("9.99", 6)
    await venue.clock.advance(T0 + 100 * MS)
    assert (repeat, fresh) == (Accepted("paper-3"), Accepted("paper-5"))
    assert [(r.exec_id, r.last_qty) for r in venue.reports] == [("paper-5-1", D(1)), ("paper-2-2", D(1))]
    assert (await look(Venue(log))) == (await look(venue))


async def test_orders_whose_time_ran_out_while_the_venue_was_down_end_at_connect(tmp_path: Path) -> None:
    log = tmp_path / "paper.jsonl"
    _, pictures = await some_trading(log)
    assert list(pictures[-1].orders) == ["B"]
    venue = Venue(log, clock=ManualClock(CLOSE + NS_PER_S))
    await venue.gateway.connect()
    await venue.clock.advance(CLOSE + 2 * NS_PER_S)
    assert [(r.cl_ord_id, r.exec_type, r.cum_qty) for r in venue.reports] == [("B", ExecType.EXPIRED, D(20))]


async def test_a_restored_day_order_still_ends_at_its_close(tmp_path: Path) -> None:
    log = tmp_path / "paper.jsonl"
    await some_trading(log)
    venue = Venue(log)
    await venue.gateway.connect()
    await venue.clock.advance(CLOSE + 5 * MS)
    assert [(r.ts, r.cl_ord_id, r.exec_type) for r in venue.reports] == [(CLOSE + 5 * MS, "B", ExecType.EXPIRED)]


async def test_an_immediate_order_cut_off_before_its_end_is_cancelled_at_connect(tmp_path: Path) -> None:
    log = tmp_path / "paper.jsonl"
    await some_trading(log)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:5]))  # C has executed in part, its end is missing
    venue = Venue(log)
    assert list((await look(venue)).orders) == ["B", "C"]
    await venue.gateway.connect()
    await venue.clock.advance(T0 + 100 * MS)
    assert [(r.cl_ord_id, r.exec_type, r.cum_qty) for r in venue.reports] == [("C", ExecType.CANCELED, D(60))]


async def test_a_torn_last_line_is_cut_off_with_a_note(tmp_path: Path) -> None:
    log = tmp_path / "paper.jsonl"
    await some_trading(log)
    whole = log.read_bytes()
    before = await look(Venue(log))
    for torn in (b"{", b'{"type":"Ended","ts":1}'):
        log.write_bytes(whole + torn)
        venue = Venue(log)
        assert venue.gateway.note == f"cut {len(torn)} bytes of a torn last line off {log}"
        assert log.read_bytes() == whole
        assert await look(venue) == before


@pytest.mark.parametrize(
    "line,damage,complaint",
    [
        (3, b"{}\n", "Object missing required field `type`"),
        (3, b"\n", "Input data was truncated"),
        (5, b'{"type":"Elsewhere"}\n', "Invalid value 'Elsewhere'"),
        (3, b"", "order paper-3 stands where paper-2 should"),  # the line itself is gone
    ],
)
async def test_a_damaged_line_is_named(tmp_path: Path, line: int, damage: bytes, complaint: str) -> None:
    log = tmp_path / "paper.jsonl"
    await some_trading(log)
    lines = log.read_bytes().splitlines(keepends=True)
    lines[line - 1] = damage
    log.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=rf"paper\.jsonl:{line}: {complaint}.*; restore the file, or move it away"):
        Venue(log)


async def test_every_fact_is_in_the_file_before_anybody_hears_of_it(tmp_path: Path) -> None:
    log = tmp_path / "paper.jsonl"
    facts: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)

    def written() -> list[str]:
        return [getattr(facts.decode(line), "exec_id", "") for line in log.read_bytes().splitlines()]

    class Checking(Venue):
        def __init__(self) -> None:
            super().__init__(log)
            self.gateway._report = self.hear

        def hear(self, report: ExecutionReport) -> None:
            assert report.exec_id in written()
            self.reports.append(report)

    venue = Checking()
    venue.quote("10.00", 300, "10.02", 60)
    answer = venue.submit(approve("A"))
    await venue.clock.advance(T0 + 5 * MS)
    assert (len(written()), answer.done()) == (2, False)
    await venue.clock.advance(T0 + 10 * MS)
    assert len(venue.reports) == 1


async def test_a_venue_that_cannot_write_hangs_up_before_it_answers(tmp_path: Path) -> None:
    log = tmp_path / "paper.jsonl"
    venue = Venue(log)
    answer = venue.submit(approve("A", price="10"))
    await settle()
    assert venue.gateway._log is not None
    venue.gateway._log._fd = -1  # as if the disk had gone
    with pytest.raises(OSError, match="Bad file descriptor"):
        await venue.clock.advance(T0 + 10 * MS)
    await settle()
    result = answer.result()
    assert isinstance(result, Unknown)
    assert result.reason.startswith("the paper venue cannot write its log: ")
    assert log.read_bytes() == b""


def test_it_is_a_gateway() -> None:
    gateway: Gateway = Venue().gateway
    assert gateway.name == "paper"
