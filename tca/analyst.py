"""The analyst says what a parent will cost, before its first child, and what it did cost, at the moment it ends.

The estimate is a model's (`core.impact`), from the market at the arrival and the curve that the parent got; the report
is made of sums that the analyst kept while the parent lived.

It folds the tape and the parent's fills, so that a report costs the same after ten fills as after ten thousand. The
tape is not in the journal: after a restart the sums of live parents continue from the tape's files, and where those are
torn the report says so.

A VWAP parent is compared with the market's VWAP of its window so far at each of its fills. One that is far from it, for
better or for worse, does not do what it was told to, or a price is wrong: it is said once, and again only once it has
been within half of the bound in between.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from heapq import heapify, heappop, heappush

import msgspec

from core.calendar import CALENDARS
from core.events import (
    CostEstimated,
    CostReport,
    Event,
    FillBooked,
    FillBusted,
    MarketData,
    ParentAccepted,
    ParentAmended,
    ParentEnded,
    ParentScheduled,
    TimeAdvanced,
    VwapDeviated,
)
from core.impact import DEFAULT_MODEL, MODELS, Estimate, NoEstimateError, prospect, recorded
from core.instruments import Instruments
from core.signals import Action, Algo
from core.units import NS_PER_S, bps_of, nearest
from tca.benchmarks import Reading, Sums, Tally, twap, vwap
from tca.shortfall import Fills, parts

SKEW_NS_MAX = 1 * NS_PER_S  # a decision older than this at its arrival is priced at its receipt, and flagged
QUOTE_AGE_NS_MAX = 10 * NS_PER_S  # an arrival mid older than this is flagged
VWAP_ALERT_BPS = Decimal(100)
_BPS_STEP = Decimal("0.01")
TAPE_GAP = "the tape has a gap in its interval"
AMENDED = "amended while it was live: all of what it was at its end is measured from its first arrival"


class Case:
    """What is known of one live parent."""

    __slots__ = ("accepted", "begins", "begun", "estimated", "fills", "flags", "mids", "start", "strayed")

    def __init__(self, accepted: ParentAccepted, start: Reading) -> None:
        self.accepted = accepted
        self.start = start
        self.estimated = False  # once: a curve that replaces another one comes after the first child
        self.fills = Fills()
        self.mids: dict[str, Decimal] = {}  # by execution, as booked: a busted one is taken out at the same
        self.flags: dict[str, None] = {}
        self.begins: int | None = None  # of a VWAP: when its window does, ns; None before its first curve
        self.begun: Reading | None = None  # and the sums of its symbol by then
        self.strayed = False  # far from the market's VWAP, as was said


class Analyst:
    """Keeps a tally per symbol and a case per live parent."""

    __slots__ = (
        "_cases",
        "_filters",
        "_instruments",
        "_last_quote",
        "_model",
        "_tallies",
        "_to_begin",
        "_vwap_alert_bps",
    )

    def __init__(
        self,
        instruments: Instruments,
        filters: Mapping[str, str],
        model: str = DEFAULT_MODEL,
        vwap_alert_bps: Decimal = VWAP_ALERT_BPS,
    ) -> None:
        """`model`, of `core.impact.MODELS`, makes the estimates; a VWAP so far from the market's is told of."""
        self._instruments = instruments
        self._filters = filters
        self._model = model
        self._vwap_alert_bps = vwap_alert_bps
        self._to_begin: list[tuple[int, str]] = []  # a heap: windows that begin later
        self._tallies: dict[str, Tally] = {}
        self._last_quote: dict[str, int] = {}
        self._cases: dict[str, Case] = {}

    # folds

    def quote(self, event: MarketData) -> None:
        """Add one event of the tape."""
        tally = self._tallies.get(event.symbol)
        if tally is None:
            tally = self._tallies[event.symbol] = Tally()
        tally.add(event)
        self._last_quote[event.symbol] = event.ts

    def open(self, event: ParentAccepted) -> None:
        """A parent arrives: read the sums."""
        symbol = event.parent.symbol
        case = Case(event, self._tallies.setdefault(symbol, Tally()).read(event.ts))
        self._cases[event.parent_id] = case
        if event.ts - event.parent.signal_ts > SKEW_NS_MAX:
            age_s = (event.ts - event.parent.signal_ts) / NS_PER_S
            case.flags[f"decision priced at its receipt, {age_s:.1f} s later"] = None
        if event.ts - self._last_quote.get(symbol, 0) > QUOTE_AGE_NS_MAX:
            case.flags["stale quote at arrival"] = None

    def amend(self, event: ParentAmended) -> None:
        """A parent is another one now; a pause alone makes it no other."""
        case = self._cases.get(event.parent_id)
        if case is not None and event.amendment.change.action is Action.AMEND:
            case.flags[AMENDED] = None

    def schedule(self, event: ParentScheduled) -> None:
        """A VWAP gets its first curve: from when on its market counts is known."""
        case = self._cases.get(event.parent_id)
        if case is None or case.begins is not None or case.accepted.parent.how.algo is not Algo.VWAP:
            return
        case.begins = event.start
        if event.start > event.ts:
            heappush(self._to_begin, (event.start, event.parent_id))
        else:
            case.begun = case.start

    def advance(self, event: TimeAdvanced) -> None:
        """Read the sums for windows that begin now."""
        while self._to_begin and self._to_begin[0][0] <= event.ts:
            _, parent_id = heappop(self._to_begin)
            case = self._cases.get(parent_id)
            if case is not None:
                case.begun = self._tallies[case.accepted.parent.symbol].read(event.ts)

    def stray(self, event: VwapDeviated) -> None:
        """It is on record that a parent is far from the market's VWAP."""
        case = self._cases.get(event.parent_id)
        if case is not None:
            case.strayed = True

    def expect(self, event: CostEstimated) -> None:
        """An estimate is on record."""
        case = self._cases.get(event.parent_id)
        if case is not None:
            case.estimated = True

    def fill(self, event: FillBooked) -> None:
        """Count an execution."""
        case = self._cases.get(event.parent_id)
        if case is not None:
            mid = self._tallies[event.symbol].mid
            case.mids[event.exec_id] = event.last_px if mid is None else mid
            _count(case, event, 1)
            if case.strayed:
                away = self.deviation_bps(event.parent_id)
                case.strayed = away is None or abs(away) > self._vwap_alert_bps / 2

    def bust(self, event: FillBusted) -> None:
        """Uncount an execution."""
        case = self._cases.get(event.parent_id)
        if case is not None and event.exec_id in case.mids:
            _count(case, event, -1)
            del case.mids[event.exec_id]

    def close(self, event: CostReport) -> None:
        """The case is closed."""
        self._cases.pop(event.parent_id, None)

    def tear(self) -> None:
        """The tape was interrupted: the benchmarks of parents that live now are of what was seen."""
        for case in self._cases.values():
            case.flags[TAPE_GAP] = None

    # questions

    def deviation_bps(self, parent_id: str) -> Decimal | None:
        """By how much a live VWAP's average price is worse than the market's VWAP of its window so far, bps.

        Negative: better. None for any other parent, and where either is not known.
        """
        case = self._cases.get(parent_id)
        market = None if case is None else self._market_vwap(case)
        if case is None or market is None or not case.fills.qty:
            return None
        away = case.accepted.parent.side.sign * (case.fills.notional / case.fills.qty - market)
        return nearest(bps_of(away, market), _BPS_STEP)

    def farthest_bps(self) -> Decimal | None:
        """Of all live VWAPs the deviation that is farthest from zero; None where none is known."""
        found = (self.deviation_bps(parent_id) for parent_id in self._cases)
        return max((each for each in found if each is not None), key=abs, default=None)

    def _market_vwap(self, case: Case) -> Decimal | None:
        if case.begun is None:
            return None
        return vwap(case.begun, self._read(case.accepted.parent.symbol))

    def _read(self, symbol: str) -> Reading:
        """The sums as of its newest quote."""
        return self._tallies[symbol].read(self._last_quote.get(symbol, 0))

    # decisions

    def on_filled(self, event: FillBooked) -> Iterable[Event]:
        """Say where a VWAP is far from the market's."""
        case, away = self._cases.get(event.parent_id), self.deviation_bps(event.parent_id)
        if case is None or case.strayed or away is None or abs(away) < self._vwap_alert_bps:
            return
        market = self._market_vwap(case)
        assert case.begun is not None
        assert market is not None  # as there is a deviation from it
        yield VwapDeviated(
            ts=event.ts,
            parent_id=event.parent_id,
            strategy=event.strategy,
            symbol=event.symbol,
            side=event.side,
            cum_qty=case.fills.qty,
            avg_px=case.fills.notional / case.fills.qty,
            market_vwap=market,
            market_volume=self._read(event.symbol).volume - case.begun.volume,
            deviation_bps=away,
            limit_bps=self._vwap_alert_bps,
        )

    def on_scheduled(self, event: ParentScheduled) -> Iterable[Event]:
        """Estimate what a parent will cost, once it has its first curve."""
        case = self._cases.get(event.parent_id)
        if case is not None and not case.estimated:
            yield self._estimate(event, case.accepted)

    def _estimate(self, event: ParentScheduled, accepted: ParentAccepted) -> CostEstimated:
        """What crosses with everything is done at once; anything else is worked until its end."""
        order, is_market = accepted.parent, accepted.parent.how.algo is Algo.MARKET
        instrument, begin = self._instruments[order.symbol], event.times[0]
        about = CostEstimated(
            ts=event.ts, parent_id=event.parent_id, strategy=order.strategy, symbol=order.symbol, model=self._model
        )
        session = CALENDARS[instrument.calendar].session_at(begin)
        if session is None:
            return msgspec.structs.replace(about, text="no estimate: its curve begins outside of a session")
        lasting = 0 if is_market else event.end - begin
        asked = prospect(instrument, accepted.order_qty, accepted.bid, accepted.ask, session, lasting, market=is_market)
        try:
            return _told(about, MODELS[self._model](asked))
        except NoEstimateError as error:
            return msgspec.structs.replace(about, text=str(error))

    def on_ended(self, event: ParentEnded) -> Iterable[Event]:
        """Report what the parent cost."""
        case = self._cases.get(event.parent_id)
        if case is not None:
            yield self._report(event, case)

    def _report(self, event: ParentEnded, case: Case) -> CostReport:
        parent = case.accepted.parent
        tally = self._tallies[event.symbol]
        end = tally.read(event.ts)
        decision = parent.decision_px if parent.decision_px is not None else case.accepted.arrival_px
        end_px = tally.mid if tally.mid is not None else case.accepted.arrival_px
        instrument = self._instruments[event.symbol]
        costs = parts(
            case.fills,
            side=event.side,
            order_qty=event.order_qty,
            decision=decision,
            arrival=case.accepted.arrival_px,
            end=end_px,
            instrument=instrument,
        )
        return CostReport(
            ts=event.ts,
            parent_id=event.parent_id,
            strategy=event.strategy,
            symbol=event.symbol,
            side=event.side,
            algo=parent.how.algo,
            order_qty=event.order_qty,
            cum_qty=event.cum_qty,
            avg_px=event.avg_px,
            start=case.accepted.ts,
            decision_px=decision,
            arrival_px=case.accepted.arrival_px,
            end_px=end_px,
            market_vwap=vwap(case.start, end),
            market_twap=twap(case.start, end),
            market_volume=end.volume - case.start.volume,
            delay=costs.delay,
            spread=costs.spread,
            impact=costs.impact,
            timing=costs.timing,
            opportunity=costs.opportunity,
            fees=costs.fees,
            shortfall=costs.shortfall,
            currency=instrument.currency,
            reason=event.reason,
            vwap_filter=self._filters.get(event.symbol, ""),
            multiplier=instrument.multiplier,
            flags=tuple(case.flags),
        )

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {
            "tallies": {symbol: tally.dump() for symbol, tally in self._tallies.items()},
            "last_quote": dict(self._last_quote),
            "cases": [
                [
                    msgspec.to_builtins(case.accepted),
                    msgspec.to_builtins(case.start),
                    case.fills.dump(),
                    {exec_id: str(mid) for exec_id, mid in case.mids.items()},
                    list(case.flags),
                    case.estimated,
                    case.begins,
                    msgspec.to_builtins(case.begun),
                    case.strayed,
                ]
                for case in self._cases.values()
            ],
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot, into an empty analyst."""
        state = msgspec.convert(dumped, _Dump)
        for symbol, sums in state.tallies.items():
            self._tallies[symbol] = Tally.of(sums)
        self._last_quote = state.last_quote
        for accepted, start, fills, mids, flags, estimated, begins, begun, strayed in state.cases:
            case = self._cases[accepted.parent_id] = Case(accepted, start)
            case.estimated = estimated
            case.begins, case.begun, case.strayed = begins, begun, strayed
            if begins is not None and begun is None:
                self._to_begin.append((begins, accepted.parent_id))
            case.fills.load(fills)
            case.mids = mids
            case.flags = dict.fromkeys(flags)
        heapify(self._to_begin)


_Case = tuple[
    ParentAccepted,
    Reading,
    list[Decimal],
    dict[str, Decimal],
    list[str],
    bool,
    int | None,
    Reading | None,
    bool,
]


class _Dump(msgspec.Struct):
    tallies: dict[str, Sums]
    last_quote: dict[str, int]
    cases: list[_Case]


def _told(about: CostEstimated, found: Estimate) -> CostEstimated:
    return msgspec.structs.replace(
        about,
        cost_bps=recorded(found.cost_bps),
        low_bps=recorded(found.low_bps),
        high_bps=recorded(found.high_bps),
        spread_bps=recorded(found.spread_bps),
        impact_bps=recorded(found.impact_bps),
        risk_bps=recorded(found.risk_bps),
    )


def _count(case: Case, event: FillBooked | FillBusted, sign: int) -> None:
    case.fills.add(
        side=event.side,
        qty=sign * event.last_qty,
        price=event.last_px,
        mid=case.mids[event.exec_id],
        arrival=case.accepted.arrival_px,
        fee=sign * event.fee,
    )
