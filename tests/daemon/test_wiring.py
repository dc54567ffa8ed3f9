"""The page of wiring: every event has its listeners or is named here, and no handler is without a wire."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest

from core import events as e
from core.events import Event
from daemon.bus import Bus, Decision, Fold, Sink
from daemon.recovery import stateful
from daemon.wiring import Actors, wire
from tests.builders import INSTRUMENTS
from tests.inside import actors

# Facts for the books and for people: the journal and its tables are their only readers.
NOBODY_LISTENS = {
    e.SignalDead,
    e.SignalIgnored,
    e.SignalRefused,
    e.PositionUpdated,
    e.Anomaly,
    e.SignalGap,
    e.ParentRouted,
    e.HaltReport,
    e.CommandGiven,
    e.ShadowVerdict,
}


class Page(Bus):
    """A bus that remembers the page line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, type[Event] | None, Callable[..., Any]]] = []
        self.afterwards: list[Callable[[], None]] = []

    def fold(self, kind: type[Event], *folds: Fold) -> None:
        self.lines += [("fold", kind, listener) for listener in folds]
        super().fold(kind, *folds)

    def on(self, kind: type[Event], *decisions: Decision) -> None:
        self.lines += [("on", kind, listener) for listener in decisions]
        super().on(kind, *decisions)

    def hand(self, kind: type[Event], *sinks: Sink) -> None:
        self.lines += [("hand", kind, listener) for listener in sinks]
        super().hand(kind, *sinks)

    def tap(self, *sinks: Sink) -> None:
        self.lines += [("tap", None, listener) for listener in sinks]
        super().tap(*sinks)

    def after(self, *callbacks: Callable[[], None]) -> None:
        self.afterwards += callbacks
        super().after(*callbacks)


@pytest.fixture(scope="module")
def page() -> Page:
    bus = Page()
    wire(bus, actors(INSTRUMENTS))
    return bus


def name_of(listener: Callable[..., Any]) -> str:
    return f"{type(listener.__self__).__name__}.{listener.__name__}"  # type: ignore[attr-defined]


ASKED = {"Venues.place"}  # by the slicer, of a child that nobody has said yet


def handlers() -> Iterator[tuple[str, list[type[Event]]]]:
    """Every public method of an actor that takes an event, and the kinds that it takes."""
    for kind in get_type_hints(Actors).values():
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_"):
                hints = [hint for key, hint in get_type_hints(method).items() if key != "return"]
                events = [
                    each for hint in hints for each in (get_args(hint) if isinstance(hint, UnionType) else (hint,))
                ]
                taken = [each for each in events if isinstance(each, type) and issubclass(each, Event)]
                if taken and f"{kind.__name__}.{name}" not in ASKED:
                    yield f"{kind.__name__}.{name}", taken


def test_every_event_has_a_listener_or_is_named_as_one_that_has_none(page: Page) -> None:
    heard = {kind for _, kind, _ in page.lines if kind is not None}
    assert set(get_args(e.AnyEvent)) - heard == NOBODY_LISTENS


def test_every_handler_is_wired_once_for_each_kind_of_event_that_it_takes(page: Page) -> None:
    wired = Counter((name_of(listener), kind or Event) for _, kind, listener in page.lines)
    expected = Counter((name, kind) for name, kinds in handlers() for kind in kinds)
    assert wired == expected
    assert set(wired.values()) == {1}


def test_the_page_tells_folds_first_then_decisions_then_edges(page: Page) -> None:
    ways = [way for way, _, _ in page.lines]
    assert ways == sorted(ways, key=["fold", "on", "hand", "tap"].index)


def test_decisions_are_called_on_something_and_folds_are_not(page: Page) -> None:
    for way, _, listener in page.lines:
        assert listener.__name__.startswith("on_") == (way == "on"), name_of(listener)


def test_only_the_oms_hears_raw_words_of_a_venue(page: Page) -> None:
    raw = {kind: name_of(listener) for _, kind, listener in page.lines if kind in {e.ExecutionReport, e.SubmitResult}}
    assert raw == {e.ExecutionReport: "Oms.on_execution_report", e.SubmitResult: "Oms.on_submit_result"}


def test_only_the_gate_decides_about_parents_and_children_that_nobody_has_checked(page: Page) -> None:
    unchecked = {
        kind: name_of(each)
        for way, kind, each in page.lines
        if way == "on" and kind in {e.ParentOrder, e.NewOrderSingle}
    }
    assert unchecked == {e.ParentOrder: "Gate.on_parent_order", e.NewOrderSingle: "Gate.on_new_order"}


def test_only_approved_orders_are_sent(page: Page) -> None:
    assert [kind for way, kind, each in page.lines if each.__name__ == "send" and way == "hand"] == [e.OrderApproved]


def test_a_parent_is_estimated_before_anything_of_it_is_sent(page: Page) -> None:
    heard = [name_of(each) for way, kind, each in page.lines if way == "on" and kind is e.ParentScheduled]
    assert heard == ["Analyst.on_scheduled", "Slicer.on_scheduled"]


def test_everything_that_holds_trading_back_reaches_the_gate_the_slicer_and_the_way_out(page: Page) -> None:
    for kind in (e.TradingHalted, e.TradingResumed):
        folds = {name_of(each).partition(".")[0] for way, k, each in page.lines if way == "fold" and k is kind}
        assert folds >= {"Exposure", "Slicer", "Sender", "Halts"}


def test_at_rest_the_books_are_sealed_and_what_moved_is_measured(page: Page) -> None:
    assert [name_of(each) for each in page.afterwards] == ["Recorder.seal", "Exposure.measure"]


def test_every_actor_that_folds_is_part_of_snapshots() -> None:
    everyone, bus = actors(INSTRUMENTS), Page()
    wire(bus, everyone)
    folding = {id(each.__self__) for way, _, each in bus.lines if way == "fold"}  # type: ignore[attr-defined]
    assert {id(actor) for actor in stateful(everyone).values()} == folding
