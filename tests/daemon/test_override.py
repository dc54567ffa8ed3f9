"""An override from proposal to use: two people over the control socket's commands, and what SQL says later."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from adapters.valkey import PrivateValkey
from core.events import OverrideGranted, OverrideProposed, Reason
from core.orders import Side
from core.units import NS_PER_S
from daemon.cli import ExitCode
from daemon.commands import Commands
from daemon.control import Order, Proposal
from daemon.halts import Refused
from risk.overrides import EXPIRES_S
from tests.daemon.service import OPEN, Execd, Make, Service, order, publish
from tests.daemon.test_reload import Desk

ANN, BOB = "ann (1)", "bob (2)"
WANTED = Proposal(strategy="desk", symbol="ALFA", side=Side.BUY, qty=Decimal(50), reason=Reason.POSITION)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A run that takes commands, and where overrides are on."""
    made = Desk(tmp_path, limits={"override": True})
    made.run.ready.set()
    yield made
    made.close()


async def test_one_proposes_another_grants_and_both_are_on_record(desk: Desk) -> None:
    commands = Commands(desk.run)
    answer = await commands.override(Order(text="a basket", override=WANTED), ANN)
    assert answer == {"override": f"override-{OPEN}", "expires_s": EXPIRES_S}
    with pytest.raises(Refused, match="it takes another supervisor"):
        await commands.confirm(Order(override_id=answer["override"]), ANN)
    await commands.confirm(Order(override_id=answer["override"]), BOB)
    proposed, granted = desk.trace
    assert proposed == OverrideProposed(
        ts=OPEN,
        override_id=answer["override"],
        by=ANN,
        strategy="desk",
        symbol="ALFA",
        side=Side.BUY,
        order_qty=WANTED.qty,
        reason=Reason.POSITION,
        expires=OPEN + EXPIRES_S * NS_PER_S,
        text="a basket",
    )
    assert granted == OverrideGranted(ts=OPEN, override_id=answer["override"], by=BOB)


@pytest.mark.parametrize(
    "changes,why,said",
    [
        ({"symbol": "NONE"}, "why", "NONE is not among the instruments"),
        ({"qty": "0"}, "why", "qty = 0: a positive number "),
        ({"qty": "NaN"}, "why", "qty = NaN: a positive number "),
        ({"reason": "STATE"}, "why", "STATE is overridden by nobody"),
        ({"expires_s": 3_601}, "why", "an override ends after 1 to 3,600 s"),
        ({}, "", "say why: it stays on record"),
    ],
)
async def test_what_cannot_be_meant_is_refused(desk: Desk, changes: dict[str, Any], why: str, said: str) -> None:
    wanted = msgspec.convert(msgspec.to_builtins(WANTED) | changes, Proposal)
    with pytest.raises(Refused) as refused:
        await Commands(desk.run).override(Order(text=why, override=wanted), ANN)
    assert str(refused.value).startswith(said)
    assert desk.trace == []


async def test_off_unless_the_limits_say_otherwise(desk: Desk) -> None:
    desk.write(limits={"override": False})
    await desk.run.reloader.reload("ann")
    for command in (Commands(desk.run).override, Commands(desk.run).confirm):
        with pytest.raises(Refused, match="overrides are off: set "):
            await command(Order(text="why", override=WANTED, override_id="o1"), BOB)


def test_at_the_desk_it_is_proposed_and_listed_and_who_proposed_it_does_not_confirm_it(
    make: Make, valkey: PrivateValkey, hand: redis.Redis, execd: Execd, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Service = make("service", valkey.settings, limits={"override": True, "position_max": 0.000001}).start()
    monkeypatch.setenv("EXECD_DIR", str(made.folder))
    wanted = json.dumps({"strategy": "desk", "symbol": "ALFA", "side": "BUY", "qty": 5})
    code, out, errors = execd("risk", "override", "--order", wanted, "--reason-code", "POSITION", "--why", "a basket")
    assert (code, errors) == (ExitCode.OK, "")
    name = out.split()[1].rstrip(":")
    shown = execd("risk", "show")[1]
    assert f"override {name}: BUY at most 5 ALFA of desk in spite of POSITION, proposed by " in shown
    assert ": a basket; waits for another supervisor" in shown
    code, _, errors = execd("risk", "override", "confirm", name)
    assert code == ExitCode.REFUSED
    assert errors.endswith("has proposed it: it takes another supervisor\n")
    publish(hand, order("large", qty=5))
    made.until(lambda: made.events("OrderDenied"), "a denial")
    rows = made.rows("select state, reason, symbol, order_qty, text from overrides")
    assert rows == [("proposed", "POSITION", "ALFA", "5", "a basket")]
    assert execd("risk", "override", "grant", name)[0] == ExitCode.USAGE
