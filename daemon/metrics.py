"""Metrics: plain integers where it is hot, a collector that reads them and the actors when somebody scrapes.

A scrape computes; nothing is computed for scrapes in between. Every label has a bounded set of values: those of our own
tables, of the configuration, or the largest `SYMBOLS_MAX` symbols and `other`. Names and units follow Prometheus'
conventions: base units, `_total` for counters. A counter is there from the start, at zero, for every value of a label
that is known: Prometheus sees no increase in a series that begins at one. All counts begin anew with the process.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from algos.planning import ALGOS
from core.calendar import CALENDARS
from core.causes import CAUSES, KILL, TradingState
from core.events import (
    AnyEvent,
    CostReport,
    EndReason,
    Event,
    ExecutionReport,
    FillBooked,
    MarketData,
    OrderApproved,
    OrderDenied,
    Outcome,
    ParentAccepted,
    ParentEnded,
    Reason,
    ShadowVerdict,
    SignalAccepted,
    SignalDead,
    SignalIgnored,
    SignalReceived,
    SignalRefused,
    SubmitResult,
    TimeAdvanced,
    TradingHalted,
)
from core.units import BPS, NS_PER_S, ZERO
from daemon.config import hash_of
from daemon.version import VERSION
from risk.use import score, uses

if TYPE_CHECKING:
    from daemon.run import Run

SYMBOLS_MAX = 50  # of one metric: the largest; the rest is summed up as "other"
BUCKETS_S = (25e-6, 50e-6, 1e-4, 25e-5, 5e-4, 1e-3, 25e-4, 5e-3, 1e-2, 25e-3, 5e-2, 0.1, 0.25, 1.0, 5.0)
DECIDE, DURABLE, SEND, VENUE = "decide", "durable", "send", "venue"
COST_PARTS = ("delay", "spread", "impact", "timing", "opportunity", "fees")  # of a `CostReport`: its shortfall
_CASCADES: dict[type[Event], str] = {
    SignalReceived: DECIDE,
    TimeAdvanced: "timer",
    ExecutionReport: "report",
    SubmitResult: "report",
    MarketData: "market",
}


class Histogram:
    """Durations in buckets; observing costs a search and two additions."""

    __slots__ = ("_bounds_ns", "counts", "sum_ns")

    def __init__(self) -> None:
        self._bounds_ns = [int(bound * 1e9) for bound in BUCKETS_S]
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_ns = 0

    def observe(self, ns: int) -> None:
        """Count one duration."""
        self.counts[bisect_left(self._bounds_ns, ns)] += 1
        self.sum_ns += ns

    def buckets(self) -> list[tuple[str, float]]:
        """Bounds and cumulated counts, as Prometheus wants them."""
        total, found = 0, []
        for bound, count in zip((*BUCKETS_S, "+Inf"), self.counts, strict=True):
            total += count
            found.append((str(bound), float(total)))
        return found


class Stages:
    """How long the stages of an order take: its decision, its commit, its turn in the lane, the venue's answer."""

    __slots__ = ("by_name",)

    def __init__(self) -> None:
        self.by_name = {name: Histogram() for name in (*dict.fromkeys(_CASCADES.values()), DURABLE, SEND, VENUE)}

    def cascade(self, event: Event, ns: int) -> None:
        """An outside event and all its effects took so long."""
        name = _CASCADES.get(type(event))
        if name is not None:
            self.by_name[name].observe(ns)

    def observe(self, name: str, ns: int) -> None:
        """A stage took so long."""
        self.by_name[name].observe(ns)


class Tally:
    """Counts what happened by what it was; a tap of the bus."""

    def __init__(self) -> None:
        self.verdicts: Counter[tuple[str, str]] = Counter()  # verdict, reason
        self.shadow: Counter[str] = Counter()  # by how the shadow limits differ
        self.signals: Counter[tuple[str, str]] = Counter()  # what became of it, reason
        self.submits: Counter[str] = Counter()
        self.halts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.fills: Counter[str] = Counter()  # by venue
        self.traded = ZERO
        self.costs = dict.fromkeys(COST_PARTS, ZERO)

    def put(self, seq: int, event: Event) -> None:
        """Count one event."""
        del seq
        count = _COUNTED.get(type(event))
        if count is not None:
            count(self, event)

    def denied(self, event: OrderDenied) -> None:
        """Count a denial."""
        self.verdicts["denied", event.reason] += 1

    def approved(self, event: OrderApproved) -> None:
        """Count a child."""
        del event
        self.verdicts["approved", ""] += 1

    def accepted(self, event: ParentAccepted) -> None:
        """Count a parent."""
        del event
        self.verdicts["accepted", ""] += 1

    def differed(self, event: ShadowVerdict) -> None:
        """Count a verdict of the shadow limits that is another than that in force."""
        self.shadow[event.outcome] += 1

    def acted(self, event: SignalAccepted) -> None:
        """Count a signal that acts."""
        del event
        self.signals["accepted", ""] += 1

    def ignored(self, event: SignalIgnored) -> None:
        """Count a signal that asks for nothing."""
        self.signals["ignored", event.reason] += 1

    def refused(self, event: SignalRefused) -> None:
        """Count a signal that cannot be acted on."""
        self.signals["refused", event.reason] += 1

    def dead(self, event: SignalDead) -> None:
        """Count input that is no signal."""
        del event
        self.signals["dead", ""] += 1

    def submitted(self, event: SubmitResult) -> None:
        """Count an attempt to send."""
        self.submits[event.outcome] += 1

    def halted(self, event: TradingHalted) -> None:
        """Count a halt or pause."""
        self.halts[event.cause] += 1

    def ended(self, event: ParentEnded) -> None:
        """Count the end of a parent."""
        self.ends[event.reason] += 1

    def filled(self, event: FillBooked) -> None:
        """Count an execution and its value."""
        self.fills[event.venue] += 1
        self.traded += event.last_qty * event.last_px * event.multiplier

    def cost(self, event: CostReport) -> None:
        """Add a parent's costs."""
        for part in COST_PARTS:
            self.costs[part] += getattr(event, part)


_COUNTED: dict[type[Event], Callable[[Tally, Any], None]] = {
    OrderDenied: Tally.denied,
    OrderApproved: Tally.approved,
    ParentAccepted: Tally.accepted,
    ShadowVerdict: Tally.differed,
    SignalAccepted: Tally.acted,
    SignalIgnored: Tally.ignored,
    SignalRefused: Tally.refused,
    SignalDead: Tally.dead,
    SubmitResult: Tally.submitted,
    TradingHalted: Tally.halted,
    ParentEnded: Tally.ended,
    FillBooked: Tally.filled,
    CostReport: Tally.cost,
}

# Values of labels that are known beforehand.
_EVENTS = [kind.__name__ for kind in get_args(AnyEvent)]
_SIGNALS = [("accepted", ""), ("dead", "")]
_VERDICTS = [("accepted", ""), ("approved", ""), *(("denied", reason) for reason in Reason)]


class Collector:
    """Reads a run for a scrape (implements `prometheus_client`'s collector)."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        config = run.config
        self._who = {
            "account": config.daemon.account,
            "world": config.daemon.world,
            "version": VERSION,
            "configuration": hash_of(config),
        }

    def collect(self) -> Iterable[Metric]:
        """All metrics as of now; before recovery is done only that we are there."""
        run = self._run
        about = self._who | {"limits": run.actors.limits.version}
        who = GaugeMetricFamily("execd_info", "Who this daemon is; the value is always 1.", labels=list(about))
        who.add_metric(list(about.values()), 1.0)
        yield who
        yield _gauge("execd_ready", "Whether the daemon has recovered and takes signals.", float(run.ready.is_set()))
        yield from self._stages()
        yield from self._edges()
        if run.ready.is_set():
            yield from self._trading()
            yield from self._flow()
            yield from self._orders()
            yield from self._account()
            yield from self._model()
            yield from self._journal()
            yield from self._market()

    def _trading(self) -> Iterator[Metric]:
        run = self._run
        state = GaugeMetricFamily(
            "execd_trading_state", "1 for the state of trading, 0 for the others.", labels=["state"]
        )
        for each in TradingState:
            state.add_metric([each], float(run.actors.exposure.causes.state is each))
        yield state
        causes = GaugeMetricFamily("execd_halt_cause", "1 for each cause that holds trading back.", labels=["cause"])
        for cause in sorted({*CAUSES, *run.actors.halts.live}):
            causes.add_metric([cause], float(cause in run.actors.halts.live))
        yield causes
        yield _counted("execd_halts", "Halts and pauses, by cause.", ["cause"], run.tally.halts, CAUSES)
        yield _gauge(
            "execd_stopped_strategies",
            "Strategies that did the same too often, until a person lets them go on.",
            len(run.actors.exposure.stopped),
        )
        yield from self._last_halt()

    def _last_halt(self) -> Iterator[Metric]:
        """How far the last kill has come; of one that an earlier run heard no times are known."""
        halts, report = self._run.actors.halts, self._run.actors.drain.last
        is_quiet = report is not None and report.heard_ns == halts.heard_ns and bool(report.quiet_ns)
        yield _gauge(
            "execd_halt_quiet",
            "0 from a kill until the venues show no working order and none is in doubt, else 1.",
            float(is_quiet or KILL not in halts.live),
        )
        if report is None:
            return
        yield _gauge("execd_last_halt_left", "Orders that still worked at the last look after a kill.", report.left)
        took = GaugeMetricFamily("execd_last_halt_seconds", "From hearing of the last kill to this.", labels=["until"])
        if report.heard_ns:
            took.add_metric(["last_order"], _since_s(report.last_order_ns, report.heard_ns))
            took.add_metric(["last_cancel"], _since_s(report.last_cancel_ns, report.heard_ns))
        if report.heard_ns and report.quiet_ns:
            took.add_metric(["quiet"], _since_s(report.quiet_ns, report.heard_ns))
        yield took

    def _flow(self) -> Iterator[Metric]:
        run, tally = self._run, self._run.tally
        yield _counted("execd_events", "Events in the total order.", ["event"], run.bus.counts(), _EVENTS)
        received = {source: seen.number for source, seen in run.intake.counts.items()}
        yield _counted("execd_signals_received", "Signals and dead letters, by source.", ["source"], received)
        yield _counted("execd_signals", "What became of signals.", ["outcome", "reason"], tally.signals, _SIGNALS)
        yield _counted("execd_risk_verdicts", "Verdicts of the gate.", ["verdict", "reason"], tally.verdicts, _VERDICTS)
        yield _counted(
            "execd_shadow_verdicts",
            "Verdicts of the shadow limits that let less or more pass than those in force.",
            ["outcome"],
            tally.shadow,
            ("tighter", "wider"),
        )
        yield _counted("execd_submits", "Attempts to send, by how they ended.", ["outcome"], tally.submits, Outcome)
        yield _counted("execd_fills", "Executions booked.", ["venue"], tally.fills, run.gateways)
        yield _counted("execd_parents_ended", "Parents that are over.", ["reason"], tally.ends, EndReason)
        yield _count("execd_traded_notional", "Money value of all executions, account currency.", tally.traded)
        costs = GaugeMetricFamily(
            "execd_shortfall",
            "What ended parents cost, by part; positive hurts; account currency, since the process began.",
            labels=["part"],
        )
        for part, cost in tally.costs.items():
            costs.add_metric([part], float(cost))
        yield costs

    def _orders(self) -> Iterator[Metric]:
        run, now = self._run, self._run.clock.now()
        progress: dict[str, list[float]] = {algo: [] for algo in ALGOS}
        for parent in run.actors.slicer.parents.values():
            progress[parent.how.algo].append(float(parent.cum_qty / parent.order_qty))
        parents = GaugeMetricFamily("execd_live_parents", "Parents that are worked.", labels=["algo"])
        done = GaugeMetricFamily("execd_parent_progress_ratio", "Mean filled part of live parents.", labels=["algo"])
        for algo, ratios in progress.items():
            parents.add_metric([algo], len(ratios))
            if ratios:
                done.add_metric([algo], sum(ratios) / len(ratios))
        yield parents
        yield done
        deviation = GaugeMetricFamily(
            "execd_vwap_deviation_ratio",
            "Average price of the live VWAP that is farthest from the market's VWAP, of that; positive hurts.",
        )
        farthest_bps = run.actors.analyst.farthest_bps()
        if farthest_bps is not None:
            deviation.add_metric([], float(farthest_bps / BPS))
        yield deviation
        yield from self._venues()
        oms = run.actors.oms
        yield _gauge("execd_working_orders", "Children that may execute.", len(run.actors.exposure.children))
        doubtful = [oms.orders[key] for venue in run.gateways for key in oms.in_doubt(venue)]
        yield _gauge("execd_orders_in_doubt", "Children whose outcome is not known.", len(doubtful))
        oldest = max((now - order.last_change for order in doubtful), default=0)
        yield _gauge("execd_oldest_doubt_seconds", "Age of the oldest of them.", oldest / NS_PER_S)

    def _venues(self) -> Iterator[Metric]:
        label = ["venue"]
        away = GaugeMetricFamily(
            "execd_venue_away", "Whether it cannot be asked, or an order to it was lost just now.", labels=label
        )
        latency = GaugeMetricFamily(
            "execd_venue_latency_seconds", "From an order's approval to its venue's first word, of late.", labels=label
        )
        rejects = GaugeMetricFamily("execd_venue_reject_ratio", "Of its orders, those not taken of late.", labels=label)
        for row in self._run.actors.venues.standing(self._run.clock.now()):
            away.add_metric([row.venue], float(bool(row.away)))
            latency.add_metric([row.venue], row.latency_ms / 1_000)
            rejects.add_metric([row.venue], row.rejects)
        yield from (away, latency, rejects)

    def _account(self) -> Iterator[Metric]:
        run, exposure, limits = self._run, self._run.actors.exposure, self._run.actors.limits.current
        yield _gauge("execd_equity", "Cash and positions at their marks, account currency.", exposure.equity)
        yield _gauge("execd_cash", "Cash, account currency.", exposure.book.cash)
        yield _gauge("execd_quarantined_symbols", "Symbols that take no order.", len(exposure.quarantined))
        values = exposure.values()
        yield _largest("execd_position_value", "Signed value of a position, account currency.", values)
        equity = max(exposure.equity, ZERO)
        gross = sum((abs(value) for value in values.values()), ZERO)
        if equity:
            yield _gauge("execd_gross_exposure_ratio", "Sum of positions' values, of equity.", gross / equity)
        use = GaugeMetricFamily("execd_limit_use_ratio", "The nearest use of each limit: 1 is full.", labels=["limit"])
        found = uses(exposure, run.actors.guard, limits, run.clock.now())
        for each in found:
            use.add_metric([each.limit], each.ratio)
        yield use
        yield _gauge("execd_risk_score", "The fullest limit, 0 to 100.", score(found)[0])

    def _model(self) -> Iterator[Metric]:
        """Where there is a risk model to be."""
        run, tail = self._run, self._run.actors.exposure.tail
        if tail is None or run.modeller is None:
            return
        now = run.clock.now()
        yield _gauge("execd_market_regime", "0 normal, 1 volatile, 2 crisis.", tail.regime_at(now))
        yield _gauge("execd_risk_model_away", "Whether the newest returns cannot be used.", bool(run.modeller.error))
        if tail.model is None:
            return
        yield _gauge("execd_risk_model_age_days", "Calendar days since its newest scenario.", tail.age_days(now))
        shortfall = GaugeMetricFamily(
            "execd_expected_shortfall", "Of one day at 97.5 %, account currency, of what is held.", labels=["view"]
        )
        for view, _ in tail.views(now):
            shortfall.add_metric([view.kind], view.held)
        yield shortfall

    def _journal(self) -> Iterator[Metric]:
        run, journal = self._run, self._run.journal
        yield _gauge("execd_journal_depth", "Events that wait for their commit.", journal.depth)
        yield _gauge("execd_journal_age_seconds", "How long the oldest of them has waited.", journal.age_s)
        yield _gauge("execd_journal_away", "Whether the database takes nothing.", float(bool(journal.trouble)))
        yield _count("execd_journal_seq", "The last event that is committed.", journal.durable_seq)
        beats = GaugeMetricFamily(
            "execd_beat_age_seconds", "Since a thread last showed a sign of life.", labels=["thread"]
        )
        now_s = time.monotonic()
        beats.add_metric(["journal"], max(now_s - journal.beat, 0.0))
        if run.watch is not None:
            beats.add_metric(["halt watch"], max(now_s - run.watch.beat, 0.0))
        yield beats

    def _market(self) -> Iterator[Metric]:
        run, now, market = self._run, self._run.clock.now(), self._run.actors.exposure.market
        newest = max((data.ts for data in market.values()), default=0)
        age_s = (now - newest) / NS_PER_S if newest else 0.0
        yield _gauge("execd_market_age_seconds", "Age of the newest market data, in market time.", max(age_s, 0.0))
        is_open = {name: calendar.session_at(now) is not None for name, calendar in CALENDARS.items()}
        oldest = now - run.actors.limits.current.quote_age_ns_max
        stale = sum(
            is_open[each.calendar] and (each.symbol not in market or market[each.symbol].ts < oldest)
            for each in run.instruments
        )
        yield _gauge("execd_stale_symbols", "Symbols in session without a quote that is fresh enough to trade.", stale)

    def _stages(self) -> Iterator[Metric]:
        family = HistogramMetricFamily("execd_stage_seconds", "How long stages of an order take.", labels=["stage"])
        for name, histogram in self._run.stages.by_name.items():
            family.add_metric([name], histogram.buckets(), histogram.sum_ns / 1e9)
        yield family
        late = self._run.late
        yield HistogramMetricFamily(
            "execd_loop_lag_seconds",
            "How late the event loop gives a turn that was due.",
            buckets=late.buckets(),
            sum_value=late.sum_ns / 1e9,
        )

    def _edges(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("execd_edge_up", "Whether an edge works.", labels=["edge"])
        depth = GaugeMetricFamily("execd_mailbox_depth", "What waits in an actor's mailbox.", labels=["actor"])
        failures = CounterMetricFamily(
            "execd_edge_failures", "Times that an edge had to be started again.", labels=["edge"]
        )
        for edge in self._run.edges:
            up.add_metric([edge.name], float(not edge.error))
            depth.add_metric([edge.name], edge.depth())
            failures.add_metric([edge.name], edge.failures)
        depth.add_metric(["sequencer"], self._run.bus.depth)
        depth.add_metric(["sender"], self._run.actors.sender.depth)
        yield from (up, depth, failures)


def _gauge(name: str, text: str, value: float | Decimal) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _count(name: str, text: str, value: float | Decimal) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def _since_s(ns: int, before_ns: int) -> float:
    return max(ns - before_ns, 0) / NS_PER_S


def _counted(name: str, text: str, labels: list[str], counts: Mapping[Any, int], known: Iterable[Any] = ()) -> Metric:
    """A counter by label; `known` keys are there, at zero, before anything is counted."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in sorted((dict.fromkeys(known, 0) | dict(counts)).items()):
        family.add_metric([key] if len(labels) == 1 else list(key), count)
    return family


def _largest(name: str, text: str, by_symbol: Mapping[str, Decimal]) -> Metric:
    """The largest symbols one by one, the rest as one."""
    family = GaugeMetricFamily(name, text, labels=["symbol"])
    ranked = sorted(by_symbol.items(), key=lambda item: (-abs(item[1]), item[0]))
    for symbol, value in ranked[:SYMBOLS_MAX]:
        family.add_metric([symbol], float(value))
    if rest := ranked[SYMBOLS_MAX:]:
        family.add_metric(["other"], float(sum((value for _, value in rest), ZERO)))
    return family
