"""The mirror in Redis shows what is live, at most a moment late, and nothing that is over: a real server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError, RedisError

from adapters.redis_link import RedisSettings, client
from adapters.valkey import PrivateValkey
from algos.slicer import Slicer
from core.events import (
    Event,
    FillBooked,
    MarketData,
    NewOrderSingle,
    OrderApproved,
    OrderUpdated,
    ParentAccepted,
    ParentEnded,
    ParentScheduled,
    PositionUpdated,
)
from core.orders import OrdStatus
from core.units import ZERO
from daemon.bus import Bus
from daemon.mirror import BATCH, Mirror
from daemon.oms import Oms, OmsSettings
from daemon.rows import Rows
from daemon.supervise import end
from tca.analyst import Analyst
from tests.builders import (
    INSTRUMENTS,
    MINUTE,
    NOW,
    accepted,
    approved,
    child,
    ended,
    filled,
    opened,
    parent,
    quote,
    silent,
    updated,
)
from tests.servers.valkey import PATIENCE_S, other_hand, running


class Desk:
    """The actors that a mirror shows, on a bus, and the mirror."""

    def __init__(self, server: PrivateValkey, settings: RedisSettings | None = None) -> None:
        oms, slicer, exposure = Oms(INSTRUMENTS, OmsSettings()), Slicer(INSTRUMENTS), silent()
        exposure.account(opened())
        rows = Rows(oms=oms, slicer=slicer, exposure=exposure, analyst=Analyst(INSTRUMENTS, {}))
        self.mirror = Mirror(client(settings or server.settings, str, wait_s=PATIENCE_S), "execd", rows)
        self.bus = bus = Bus()
        bus.fold(MarketData, exposure.quote, slicer.quote)
        bus.fold(ParentAccepted, exposure.accept, slicer.open)
        bus.fold(ParentScheduled, slicer.schedule)
        bus.fold(NewOrderSingle, slicer.send)
        bus.fold(OrderApproved, exposure.approve, oms.open)
        bus.fold(FillBooked, oms.fill, exposure.fill, slicer.fill)
        bus.fold(OrderUpdated, oms.update, exposure.update, slicer.update)
        bus.fold(ParentEnded, exposure.end, slicer.end)
        bus.tap(self.mirror.put)

    def say(self, *events: Event) -> None:
        for event in events:
            self.bus.publish(event)


@asynccontextmanager
async def mirroring(desk: Desk) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(desk.mirror.run())
    try:
        async with asyncio.timeout(20):
            yield task
    finally:
        await end([task])


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


def row(hand: redis.Redis, name: str, field: str) -> dict[str, object]:
    raw = hand.hget(f"execd:{name}", field)
    return json.loads(raw) if raw else {}


ORDER = child(qty="100")
POSITION = PositionUpdated(
    ts=NOW,
    strategy="alpha",
    symbol="AAPL",
    qty=Decimal(40),
    avg_px=Decimal(100),
    realized_pnl=ZERO,
    fees=ZERO,
    cash=ZERO,
)
SCHEDULE = ParentScheduled(ts=NOW, parent_id="P1", times=(NOW,), targets=(Decimal(100),), end=NOW + MINUTE)
WORKING = (quote(), accepted(parent()), SCHEDULE, ORDER, approved(ORDER), updated(ORDER, OrdStatus.NEW))


async def test_what_is_live_is_shown_and_what_is_over_is_gone(valkey: PrivateValkey, hand: redis.Redis) -> None:
    desk = Desk(valkey)
    async with mirroring(desk):
        desk.say(*WORKING)
        await until(lambda: row(hand, "orders", "P1C1A1").get("ord_status") == "NEW")
        assert row(hand, "parents", "P1")["order_qty"] == "100"
        assert row(hand, "prices", "AAPL")["bid"] == "99.99"
        desk.say(filled(ORDER, "40"), POSITION, updated(ORDER, OrdStatus.PARTIALLY_FILLED, Decimal(40)))
        await until(lambda: row(hand, "positions", "alpha:AAPL").get("qty") == "40")
        await until(lambda: row(hand, "parents", "P1").get("cum_qty") == "40")
        desk.say(updated(ORDER, OrdStatus.CANCELED, Decimal(40)), ended(parent(), Decimal(40)))
        await until(lambda: not hand.exists("execd:orders") and not hand.exists("execd:parents"))


async def test_what_an_earlier_run_left_is_removed(valkey: PrivateValkey, hand: redis.Redis) -> None:
    hand.hset("execd:orders", "OLD", "{}")
    hand.set("execd:parents", "of another type")
    desk = Desk(valkey)
    desk.say(*WORKING)
    async with mirroring(desk):
        await until(lambda: row(hand, "orders", "P1C1A1"))
        assert hand.hkeys("execd:orders") == [b"P1C1A1"]
        await until(lambda: row(hand, "parents", "P1"))


async def test_after_the_server_was_away_everything_is_there_again(tmp_path: Path) -> None:
    with running(tmp_path / "valkey", "--appendonly", "no") as server:
        desk = Desk(server)
        desk.say(*WORKING)
        async with mirroring(desk) as task:
            server.kill()
            desk.say(quote(bid="99.97"))
            with pytest.raises((RedisError, OSError)):
                await task
        server.start()
        async with mirroring(desk):
            with other_hand(server) as hand:
                await until(lambda: row(hand, "prices", "AAPL").get("bid") == "99.97")
                await until(lambda: row(hand, "orders", "P1C1A1"))


async def test_what_may_not_be_written_is_not_kept(valkey: PrivateValkey, hand: redis.Redis) -> None:
    rules = ["reset", "on", "nopass", "+@all", "~*"]
    hand.execute_command("ACL", "SETUSER", "execd", *rules, "-del")  # type: ignore[no-untyped-call]  # half typed
    desk = Desk(valkey, RedisSettings(url=valkey.settings.url, username="execd"))
    for _ in range(3):  # each time that the edge is begun again
        async with mirroring(desk) as task:
            with pytest.raises(NoPermissionError):
                await task
        desk.say(*(quote(f"S{number}") for number in range(50)), *WORKING)
        assert desk.mirror.depth == 0
    hand.execute_command("ACL", "SETUSER", "execd", *rules)  # type: ignore[no-untyped-call]  # as above
    async with mirroring(desk):
        await until(lambda: row(hand, "orders", "P1C1A1"))
        await until(lambda: hand.hlen("execd:prices") == 51)
    assert desk.mirror.depth == 0
    hand.acl_deluser("execd")


async def test_a_market_that_runs_wild_does_not_hold_the_facts_up(valkey: PrivateValkey, hand: redis.Redis) -> None:
    desk = Desk(valkey)
    desk.say(*(quote(f"S{number}") for number in range(5 * BATCH)))
    async with mirroring(desk):
        await until(lambda: hand.exists("execd:prices"))
        desk.say(*WORKING)
        await until(lambda: row(hand, "orders", "P1C1A1"))
        assert hand.hlen("execd:prices") < 5 * BATCH  # prices still come, the order is there already
        await until(lambda: hand.hlen("execd:prices") == 5 * BATCH + 1)
