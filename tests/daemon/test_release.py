"""What an operator may release of a quarantine, before venues that show what a test wants them to."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.gateway import Capabilities
from core.events import (
    BreakFound,
    ExecutionKey,
    FillBooked,
    OrderApproved,
    OrderUnresolved,
    OrderUpdated,
    SymbolReleased,
)
from core.orders import ExecType, OrdStatus
from core.reconcile import Break, Picture
from daemon import recovery
from daemon.bus import Bus
from daemon.commands import Commands
from daemon.control import Order
from daemon.halts import Refused
from daemon.oms import Oms, OmsSettings
from risk.exposure import Exposure
from risk.limits import LimitsInForce
from tests.builders import INSTRUMENTS, NOW, abilities, approved, child, given_up, limits, opened
from tests.daemon.test_recovery import execution, report, standing, trade
from tests.fakes.gateway import ScriptedGateway, picture

D = Decimal
WHY = Order(symbol="AAPL", text="looked at")
FOUND = BreakFound(ts=NOW, venue="paper", kind="POSITION", symbol="AAPL", text="POSITION: ours 0, theirs 5")


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "LOOK_S", 0.001)


class House:
    """Oms and exposure with AAPL in quarantine; venues show their pictures one after the other, the last one again."""

    def __init__(self, *facts: Any, **venues: list[Picture]) -> None:  # noqa: ANN401 - events
        self.oms = Oms(INSTRUMENTS, OmsSettings())
        self.exposure = Exposure(INSTRUMENTS, LimitsInForce(limits()), abilities(INSTRUMENTS))
        self.gateways: dict[str, Any] = {}
        for name, shown in venues.items():
            self.gateways[name] = ScriptedGateway()
            self.gateways[name].name, self.gateways[name].pictures = name, shown
            self.gateways[name].capabilities = Capabilities(settle_s=0)
        self.bus = Bus()
        self.bus.fold(OrderApproved, self.oms.open)
        self.bus.fold(OrderUpdated, self.oms.update)
        self.bus.fold(OrderUnresolved, self.oms.give_up)
        self.bus.fold(FillBooked, self.oms.fill)
        self.bus.fold(BreakFound, self.exposure.quarantine)
        self.bus.fold(SymbolReleased, self.exposure.release, self.oms.release)
        self.bus.on(type(report(ExecType.NEW)), self.oms.on_execution_report)
        self.released: list[SymbolReleased] = []
        self.bus.hand(SymbolReleased, lambda _, event: self.released.append(event))
        self.oms.account(opened())
        for fact in facts:
            self.bus.publish(fact)
        self.bus.publish(FOUND)
        actors = SimpleNamespace(exposure=self.exposure, oms=self.oms, triggers=())
        run = SimpleNamespace(
            actors=actors,
            bus=self.bus,
            clock=SimpleNamespace(now=lambda: NOW),
            gateways=self.gateways,
            compare=self.compare,
            differences=self.differences,
            intake=SimpleNamespace(committed=nothing),
            ready=SimpleNamespace(is_set=lambda: True),
        )
        self.commands = Commands(cast("Any", run))

    async def compare(self, venue: str) -> None:
        quarantined, gateway = self.exposure.quarantined, self.gateways[venue]
        await recovery.compare(
            self.bus,
            self.oms,
            gateway,
            keeps=lambda _: False,
            now=lambda: NOW,
            on_record=none_of,
            quarantined=quarantined,
        )

    async def differences(self, venue: str, symbol: str) -> list[Break]:
        gateway = self.gateways[venue]
        return await recovery.differences(self.oms, gateway, symbol, keeps=lambda _: False, on_record=none_of)

    async def refusal(self) -> str:
        with pytest.raises(Refused) as refused:
            await self.commands.resume(WHY, "ann")
        return str(refused.value)


async def nothing() -> None:
    pass


async def none_of(venue: str, exec_ids: Any) -> set[str]:  # noqa: ANN401 - as the database
    del venue, exec_ids
    return set()


def holding(qty: int) -> Picture:
    return picture(positions={"AAPL": D(qty)})


async def test_where_positions_agree_it_is_released() -> None:
    house = House(paper=[picture()])
    assert await house.commands.resume(WHY, "ann") == {"symbol": "AAPL", "executions": 0, "stops": 0}
    assert house.released == [SymbolReleased(ts=NOW, symbol="AAPL", by="ann", reason="looked at")]
    assert house.exposure.quarantined == {}
    house.bus.publish(FOUND)  # another one
    assert list(house.exposure.quarantined) == ["AAPL"]


async def test_a_position_that_moves_from_look_to_look_does_not_agree() -> None:
    house = House(paper=[holding(qty) for qty in range(90, 10, -10)])
    assert "AAPL still differs: POSITION at paper, ours 0, theirs " in await house.refusal()
    assert list(house.exposure.quarantined) == ["AAPL"]


async def test_of_several_venues_each_has_to_agree() -> None:
    house = House(paper=[picture()], other=[holding(5)])
    assert "POSITION at other, ours 0, theirs 5" in await house.refusal()


def again(house: House) -> None:
    house.bus.publish(FOUND)


def gone(house: House) -> None:
    house.bus.publish(SymbolReleased(ts=NOW, symbol="AAPL", by="bob", reason="first"))


@pytest.mark.parametrize("what", [again, gone])
async def test_what_happens_to_it_while_the_venues_are_asked_has_the_release_refused(
    what: Callable[[House], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, pictures = House(paper=[picture()]), 0

    async def looked_at(since: int = 0) -> Picture:
        del since
        nonlocal pictures
        pictures += 1
        if pictures == 2:  # after the one of the comparison
            what(house)
        await asyncio.sleep(0)
        return picture()

    monkeypatch.setattr(house.gateways["paper"], "picture", looked_at)
    assert await house.refusal() == "something was found to differ, or was released, this moment: ask again"


async def test_what_one_side_alone_has_executed_is_let_pass_and_only_that() -> None:
    facts = (approved(child(qty="4", cl_ord_id="A")), report(ExecType.NEW), trade("E1", "4"))
    shown = picture(executions=execution("E9", "4", "Z"), positions={"AAPL": D(4)})
    house = House(*facts, paper=[shown])
    assert (await house.commands.resume(WHY, "ann"))["executions"] == 2
    assert house.released[0].executions == (ExecutionKey("paper", "E9"), ExecutionKey("paper", "E1"))
    await house.compare("paper")
    assert house.exposure.quarantined == {}
    house.gateways["paper"].pictures = [
        picture(executions=execution("E9", "4", "Z") | execution("E8", "1", "Y"), positions={"AAPL": D(4)})
    ]
    await house.compare("paper")
    assert list(house.exposure.quarantined) == ["AAPL"]


async def test_an_execution_of_an_order_that_works_is_nothing_past() -> None:
    facts = (approved(child(qty="10", cl_ord_id="A")), report(ExecType.NEW), trade("E1", "5"))
    shown = picture(orders=standing(OrdStatus.NEW), executions=execution("E9", "5", "Z"), positions={"AAPL": D(5)})
    house = House(*facts, paper=[shown])
    assert "PHANTOM_EXECUTION at paper, A: ours -, theirs -" in await house.refusal()


async def test_an_order_that_was_given_up_keeps_its_quantity_and_bars_nothing() -> None:
    order = child(qty="10", cl_ord_id="A")
    house = House(approved(order), paper=[picture()])
    assert "GONE at paper, A: ours " in await house.refusal()
    house.bus.publish(given_up(order))
    await house.commands.resume(WHY, "ann")
    assert house.exposure.quarantined == {}
    assert [order.leaves_qty for order in house.oms.orders.values()] == [10]
