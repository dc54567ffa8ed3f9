"""Causes that hold trading back: the strictest decides, and each ends by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.causes import TradingState
from core.events import TradingHalted, TradingResumed, decode, encode
from core.trading import Causes

STRICTNESS = ["ACTIVE", "REDUCING", "HALTED"]
STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["REDUCING", "HALTED", None])))


def run(steps: list[tuple[str, str | None]]) -> Causes:
    causes = Causes()
    for cause, state in steps:
        if state is None:
            causes.resume(TradingResumed(ts=1, cause=cause))
        else:
            causes.halt(TradingHalted(ts=1, cause=cause, state=TradingState(state)))
    return causes


@given(STEPS)
def test_the_state_is_the_strictest_of_the_live_causes(steps: list[tuple[str, str | None]]) -> None:
    live = {cause: state for cause, state in dict(steps).items() if state is not None}  # the last word on each
    causes = run(steps)
    assert causes.state == max(live.values(), key=STRICTNESS.index, default="ACTIVE")
    assert causes.names() == sorted(live)


@given(STEPS)
def test_a_snapshot_brings_the_causes_back(steps: list[tuple[str, str | None]]) -> None:
    causes, again = run(steps), Causes()
    again.halt(TradingHalted(ts=1, cause="gone after load", state=TradingState.HALTED))
    again.load(causes.dump())
    assert (again.state, again.names(), again.dump()) == (causes.state, causes.names(), causes.dump())


@pytest.mark.parametrize(
    "steps,state",
    [
        ([], TradingState.ACTIVE),
        ([("kill", "HALTED")], TradingState.HALTED),
        ([("kill", "HALTED"), ("loss", "REDUCING")], TradingState.HALTED),
        ([("kill", "HALTED"), ("loss", "REDUCING"), ("kill", None)], TradingState.REDUCING),
        ([("kill", "HALTED"), ("loss", None)], TradingState.HALTED),  # resuming another cause frees nothing
        ([("loss", "HALTED"), ("loss", "REDUCING")], TradingState.REDUCING),  # a cause may become milder
        ([("loss", "REDUCING"), ("loss", None), ("loss", None)], TradingState.ACTIVE),
    ],
)
def test_causes_come_and_go(steps: list[tuple[str, str | None]], state: TradingState) -> None:
    assert run(steps).state is state


def test_a_state_that_is_none_is_refused_and_frees_nothing() -> None:
    causes = run([("kill", "HALTED")])
    with pytest.raises(ValueError, match="PAUSED"):
        decode(encode(TradingHalted(ts=1, cause="kill", state=TradingState.HALTED)).replace(b'HALTED"', b'PAUSED"'))
    assert causes.state is TradingState.HALTED
