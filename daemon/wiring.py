"""The wiring: who hears what. This page is the architecture; the docs' diagram is drawn from it."""

import msgspec

from algos.slicer import Slicer
from algos.venues import Venues
from core import events as e
from daemon.bus import Bus, Sink
from daemon.drain import Drain
from daemon.halts import Halts
from daemon.oms import Oms
from daemon.recorder import Recorder
from daemon.sender import Ledger, Sender
from daemon.sequences import Sequences
from risk.exposure import Exposure
from risk.gate import Gate
from risk.guard import Guard
from risk.limits import LimitsInForce
from risk.overrides import Overrides
from risk.sizing import Sizer
from risk.triggers import Triggers
from tca.analyst import Analyst


class Actors(msgspec.Struct, frozen=True, kw_only=True):
    """Everyone who listens to the bus."""

    sequences: Sequences
    limits: LimitsInForce
    sizer: Sizer
    triggers: Triggers
    exposure: Exposure
    overrides: Overrides
    guard: Guard
    gate: Gate
    venues: Venues
    slicer: Slicer
    oms: Oms
    analyst: Analyst
    ledger: Ledger
    sender: Sender
    halts: Halts
    drain: Drain
    recorder: Recorder


def wire(bus: Bus, a: Actors, outlets: tuple[Sink, ...] = ()) -> None:  # noqa: PLR0915 - all of it on one page
    """Connect the actors; `outlets` tell the world outside what happened, where somebody is to be told."""
    # folds: what happened changes state. Run first for each event, live and in recovery.
    bus.fold(e.DaemonStarted, a.guard.start)
    bus.fold(e.AccountOpened, a.exposure.account, a.oms.account, a.guard.account)
    bus.fold(e.AccountReported, a.exposure.hear, a.venues.hear)
    bus.fold(e.VenueAway, a.venues.lose)
    bus.fold(e.CashMoved, a.exposure.move, a.oms.move, a.guard.move)
    bus.fold(e.PositionAdjusted, a.exposure.adjust, a.oms.adjust, a.slicer.adjust)
    bus.fold(e.MarketData, a.exposure.quote, a.guard.look, a.slicer.quote, a.analyst.quote, a.triggers.look)
    bus.fold(e.TimeAdvanced, a.exposure.advance, a.guard.advance, a.slicer.advance, a.oms.advance, a.analyst.advance)
    bus.fold(e.SignalReceived, a.exposure.advance, a.sequences.count)
    bus.fold(e.SignalAccepted, a.sizer.take)
    bus.fold(e.StopSet, a.triggers.take)
    bus.fold(e.StopTriggered, a.triggers.trigger, a.slicer.take_back)
    bus.fold(e.StopSuspended, a.triggers.suspend)
    bus.fold(e.StopEnded, a.triggers.end)
    bus.fold(e.ExitRequested, a.triggers.ask)
    bus.fold(e.StopRearmed, a.triggers.rearm)
    bus.fold(e.ParentAccepted, a.exposure.accept, a.guard.accept, a.ledger.open, a.analyst.open, a.slicer.open)
    bus.fold(e.ParentAccepted, a.triggers.accept)
    bus.fold(e.ParentAmended, a.exposure.amend, a.ledger.amend, a.analyst.amend, a.slicer.amend)
    bus.fold(e.ParentScheduled, a.slicer.schedule, a.analyst.schedule)
    bus.fold(e.ParentPaced, a.slicer.pace)
    bus.fold(e.VenueChosen, a.venues.choose)
    bus.fold(e.NewOrderSingle, a.slicer.send)
    bus.fold(e.OrderDenied, a.slicer.deny, a.triggers.deny)
    bus.fold(e.OrderApproved, a.exposure.approve, a.ledger.count, a.oms.open, a.venues.approve, a.slicer.approve)
    bus.fold(e.OrderCancelRequest, a.exposure.cancel, a.slicer.cancel, a.oms.cancel)
    bus.fold(e.OrderQueried, a.oms.ask)
    bus.fold(e.FillBooked, a.oms.fill, a.guard.fill, a.exposure.fill, a.slicer.fill, a.analyst.fill)
    bus.fold(e.FillBusted, a.oms.bust, a.exposure.bust, a.slicer.bust, a.analyst.bust)
    bus.fold(e.OrderUpdated, a.oms.update, a.guard.update, a.exposure.update, a.ledger.settle, a.venues.update)
    bus.fold(e.OrderUpdated, a.slicer.update)
    bus.fold(e.OrderUnresolved, a.oms.give_up, a.guard.give_up, a.exposure.give_up, a.slicer.give_up)
    bus.fold(e.ParentEnded, a.exposure.end, a.ledger.close, a.venues.end, a.slicer.end, a.triggers.close)
    bus.fold(e.CostEstimated, a.analyst.expect)
    bus.fold(e.VwapDeviated, a.analyst.stray)
    bus.fold(e.CostReport, a.analyst.close)
    bus.fold(e.TradingHalted, a.exposure.halt, a.slicer.halt, a.sender.halt, a.halts.halt)
    bus.fold(e.TradingResumed, a.exposure.resume, a.guard.resume, a.slicer.resume, a.sender.resume, a.halts.resume)
    bus.fold(e.DayRolled, a.guard.roll)
    bus.fold(e.HighWaterMarkReset, a.guard.reset)
    bus.fold(e.RiskModelSet, a.exposure.model, a.slicer.reconsider)
    bus.fold(e.RegimeSet, a.exposure.regime, a.slicer.reconsider)
    bus.fold(e.LimitsSet, a.limits.take, a.slicer.reconsider)
    bus.fold(e.ShadowSet, a.limits.shade)
    bus.fold(e.StrategyStopped, a.exposure.stop)
    bus.fold(e.StrategyResumed, a.exposure.let_go_on, a.guard.let_go_on)
    bus.fold(e.FlattenRequested, a.exposure.flatten, a.slicer.flatten)
    bus.fold(e.OverrideProposed, a.overrides.propose)
    bus.fold(e.OverrideGranted, a.overrides.grant)
    bus.fold(e.OverrideUsed, a.overrides.use)
    bus.fold(e.BreakFound, a.exposure.quarantine)
    bus.fold(e.SymbolReleased, a.exposure.release, a.oms.release)

    # decisions: what follows from it. Never run in recovery.
    bus.on(e.SignalReceived, a.sequences.on_signal, a.sizer.on_signal)
    bus.on(e.ParentOrder, a.gate.on_parent_order)
    bus.on(e.ParentAmendment, a.gate.on_amendment)
    bus.on(e.ParentAccepted, a.guard.on_accepted, a.slicer.on_accepted)
    bus.on(e.ParentAmended, a.slicer.on_amended)
    bus.on(e.ParentScheduled, a.analyst.on_scheduled, a.slicer.on_scheduled)  # estimated before anything is sent
    bus.on(e.OrderDenied, a.slicer.on_denied)
    bus.on(e.NewOrderSingle, a.gate.on_new_order)
    bus.on(e.TimeAdvanced, a.slicer.on_due, a.oms.on_due, a.guard.on_due)
    bus.on(e.MarketData, a.guard.on_market, a.triggers.on_market)  # what the guard halts fires no stop
    bus.on(e.AccountReported, a.guard.on_reported)
    bus.on(e.HighWaterMarkReset, a.guard.on_reset)
    bus.on(e.PositionAdjusted, a.oms.on_adjusted, a.triggers.on_adjusted)
    bus.on(e.SubmitResult, a.oms.on_submit_result)  # only the oms reads raw reports: it de-duplicates
    bus.on(e.ExecutionReport, a.oms.on_execution_report)
    bus.on(e.OrderCancelRequest, a.oms.on_cancel_request)
    bus.on(e.OrderUpdated, a.guard.on_updated, a.slicer.on_updated)  # nothing is sent again before the guard has looked
    bus.on(e.OrderUnresolved, a.guard.on_unresolved, a.slicer.on_unresolved)
    bus.on(e.FillBooked, a.guard.on_filled, a.triggers.on_moved, a.analyst.on_filled)
    bus.on(e.FillBusted, a.triggers.on_moved)
    bus.on(e.TradingHalted, a.slicer.on_halted, a.triggers.on_halted)
    bus.on(e.FlattenRequested, a.slicer.on_flatten, a.sizer.on_flatten)  # what works ends before anything is sized
    bus.on(e.StopTriggered, a.slicer.on_triggered, a.triggers.on_triggered)  # likewise
    bus.on(e.ExitRequested, a.sizer.on_exit)
    bus.on(e.BreakFound, a.triggers.on_break)
    bus.on(e.ParentEnded, a.analyst.on_ended, a.triggers.on_moved, a.sizer.on_ended)

    # edges: hand over to a task.
    bus.hand(e.OrderApproved, a.sender.send)
    bus.hand(e.OrderCancelRequest, a.sender.cancel)
    bus.hand(e.OrderQueried, a.sender.query)
    bus.hand(e.TradingHalted, a.drain.begin)
    bus.hand(e.TradingResumed, a.drain.end)
    bus.tap(a.recorder.record, *outlets)
    # at rest: what followed from one outside event becomes durable together, and the next verdict finds all measured.
    bus.after(a.recorder.seal, a.exposure.measure)
