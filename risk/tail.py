"""The portfolio's expected shortfall as the gate asks for it (R5): what is held, and the worst of what may execute.

For an order in symbol i, with w what is held and r_i what is reserved on the order's side, the measure is

    ES(w + (r_i + order) e_i)  +  sum over j != i of max(ES_j(buys of j), ES_j(sales of j), 0)

The first term holds for every order of fills of symbol i: ES is convex in the position, so it is largest at one end of
what the position may reach, and the other end was there before the order. The sum bounds what orders in other symbols
may add, in any order of their fills, because ES is subadditive. None of them counts as a hedge before it has executed.

Prices and fills move w with every event, and a sum over the scenarios each time would be dear. So what moved since the
last sum, d, waits beside it and enters a bound, which costs the same for any number of positions and of scenarios:

    ES(w + d + x e_i)  <=  ES(w) + sum of ES_j(d_j) + ES_i(x)

An order that this bound lets pass is decided. For any other w is summed up to now, and the order evaluated exactly.

Each of two views has its own limit: plain scenarios, whose limit the regime of the market scales, and filtered ones,
which know of it. Values are money, positive where it is lost; an approval holds both views to fractions of the equity.
"""

import datetime as dt
import math
from collections.abc import Mapping
from enum import StrEnum

import msgspec
import numpy as np

from core.events import RegimeSet, RiskModelSet
from core.returns import Returns
from core.units import NS_PER_DAY, NS_PER_S
from risk.regime import Regime, RegimeState, fold, read
from risk.scenarios import Jump, ScenarioModel, build, sound
from risk.shortfall import RESUM_EVERY, PortfolioShortfall, Vector

CORRELATION = 0.75  # above it symbols are of one cluster
LOOSE_MAX = 0.01  # of ES, by which the bound may be loose before the tail is found anew
_NEWTON_MAX = 50  # steps; each ends on a corner of a convex line that has few between two quantities of interest


class Kind(StrEnum):
    """The two views."""

    FILTERED = "filtered"
    PLAIN = "plain"


class Stake(msgspec.Struct, frozen=True, gc=False):
    """What one symbol has at stake, in money: signed what is held, and what may execute of each side, zero or more."""

    held: float = 0.0
    buys: float = 0.0  # of children
    sales: float = 0.0
    committed_buys: float = 0.0  # of parents
    committed_sales: float = 0.0


NOTHING = Stake()


Cluster = Mapping[str, int]
"""The other symbols that move with one, and whether with it, 1, or against it, -1."""
ALONE: Cluster = {}


class Prepared(msgspec.Struct, frozen=True):
    """A model and what is dear to make from it; made beside the event loop, good for one `TailRisk`."""

    model: ScenarioModel
    regime: RegimeState
    portfolios: dict[Kind, PortfolioShortfall]
    clusters: dict[str, Cluster]


def prepare(
    returns: Returns,
    *,
    window: int,
    decay: float,
    sectors: dict[str, str],
    allowed: frozenset[Jump] = frozenset(),
    correlation: float = CORRELATION,
) -> Prepared:
    """The model of a history, the market's regime by it, and what moves together; raises ScenarioError."""
    model = build(returns, window=window, decay=decay, sectors=sectors, allowed=allowed)
    filled, _ = sound(returns, sectors=sectors, allowed=allowed)
    portfolios = {
        Kind.FILTERED: PortfolioShortfall(model.filtered),
        Kind.PLAIN: PortfolioShortfall(model.plain),
    }
    return Prepared(model, fold(read(filled)), portfolios, clusters(model, correlation))


def clusters(model: ScenarioModel, correlation: float = CORRELATION) -> dict[str, Cluster]:
    """For each symbol the others whose correlation with it is above a bound, with either sign (R4)."""
    together = np.abs(model.correlation) > correlation
    np.fill_diagonal(together, val=False)
    return {
        symbol: {
            model.symbols[other]: 1 if model.correlation[row, other] > 0 else -1
            for other in np.flatnonzero(together[row]).tolist()
        }
        for row, symbol in enumerate(model.symbols)
    }


class Reserved:
    """The sum over symbols of the worse side's own ES; a running sum that is made anew now and then."""

    __slots__ = ("_changes", "_of", "_total")

    def __init__(self) -> None:
        self._of: dict[int, float] = {}
        self._total = 0.0
        self._changes = 0

    def put(self, row: int, worst: float) -> None:
        """A symbol's part is this from now on."""
        if not worst and row not in self._of:
            return
        self._total += worst - self._of.get(row, 0.0)
        if worst:
            self._of[row] = worst
        else:
            self._of.pop(row, None)
        self._changes += 1
        if self._changes >= RESUM_EVERY or not self._of:
            self._total, self._changes = math.fsum(self._of.values()), 0

    @property
    def total(self) -> float:
        """Of all symbols."""
        return self._total

    def without(self, row: int) -> float:
        """Of all symbols but one."""
        return self._total - self._of.get(row, 0.0)


class View:
    """ES over one set of scenarios, with what waits beside the sum. Sizes are signed money in one symbol's row."""

    __slots__ = ("_loose", "_off", "_portfolio", "_reserved", "_slack", "_sure", "evaluated", "kind")

    def __init__(self, kind: Kind, portfolio: PortfolioShortfall) -> None:
        self.kind = kind
        self.evaluated = 0  # how often the bound did not do
        self._portfolio = portfolio
        self._off: dict[int, float] = {}  # what is held less what is in the sum
        self._slack = 0.0  # the ES of each of them alone, added up
        self._sure = portfolio.expected_shortfall  # of the sum, when it was last computed
        self._loose = 0.0  # what went into the sum since then, likewise
        self._reserved = (Reserved(), Reserved())  # of children, of parents

    @property
    def held(self) -> float:
        """ES of what is held."""
        self._settle()
        self._sure, self._loose = self._portfolio.expected_shortfall, 0.0
        return self._sure

    def at_worst(self, *, of_parents: bool) -> float:
        """No less than ES after any fills of what may execute."""
        return self.held + self._reserved[of_parents].total

    def put(self, row: int, stake: Stake) -> None:
        """A symbol's stake is this from now on."""
        before, alone = self._off.pop(row, 0.0), self._portfolio.alone
        off = stake.held - self._portfolio.weight(row)
        if off:
            self._off[row] = off
        self._slack = self._slack - alone(row, before) + alone(row, off) if self._off else 0.0
        of_children, of_parents = self._reserved
        of_children.put(row, self._worse(row, stake.buys, stake.sales))
        of_parents.put(row, self._worse(row, stake.committed_buys, stake.committed_sales))

    def bound(self, row: int, size: float, *, of_parents: bool) -> float:
        """No less than `measure`, in the time of a few additions."""
        if abs(self._loose) > LOOSE_MAX * self._sure:
            self._sure, self._loose = self._portfolio.expected_shortfall, 0.0
        moved = self._loose + self._slack
        return self._sure + moved + self._portfolio.alone(row, size) + self._reserved[of_parents].without(row)

    def measure(self, row: int, size: float, *, of_parents: bool) -> float:
        """ES of what is held and so much more of one symbol, and what other symbols' orders may add, exactly."""
        self._settle()
        self.evaluated += 1
        return self._portfolio.evaluate(row, size) + self._reserved[of_parents].without(row)

    def most(self, row: int, size: float, allowed: float, *, of_parents: bool) -> float | None:
        """About the size nearest to `size` and smaller at which the measure comes down to `allowed`; None without one.

        By Newton's method: the measure is above `allowed` at `size` and convex, so no step goes too far, and where it
        does not fall on the way back it never comes down.
        """
        others, direction = self._reserved[of_parents].without(row), math.copysign(1.0, size)
        for _ in range(_NEWTON_MAX):
            value, slope = self._portfolio.tangent(row, size)
            too_much = value + others - allowed
            if too_much <= 0.0:
                return size
            if slope * direction <= 0.0:
                return None
            size -= too_much / slope
        return size

    def scenarios(self) -> Vector:
        """What each scenario makes of what is held (S,)."""
        self._settle()
        return self._portfolio.scenarios

    def components(self) -> list[float]:
        """What each row adds to `held`; they add up to it."""
        self._settle()
        rows = range(len(self._portfolio.weights))
        return [self._portfolio.weight(row) * self._portfolio.marginal(row) for row in rows]

    def _worse(self, row: int, buys: float, sales: float) -> float:
        if not buys and not sales:
            return 0.0
        return max(self._portfolio.alone(row, buys), self._portfolio.alone(row, -sales), 0.0)

    def _settle(self) -> None:
        for row, off in self._off.items():
            self._portfolio.hold(row, off)
        self._off.clear()
        self._loose += self._slack
        self._slack = 0.0


class TailRisk:
    """The views of a portfolio under the newest model, and the market's regime; a fold like the exposure it serves.

    Without a model nothing may be opened: `absent` says why.
    """

    __slots__ = (
        "_clusters",
        "_day",
        "_multiplier",
        "_offered",
        "_rows",
        "_stakes",
        "_unknown",
        "_views",
        "model",
        "regime",
    )

    def __init__(self) -> None:
        self.model: ScenarioModel | None = None
        self.regime = RegimeState()
        self._offered: dict[str, Prepared] = {}  # by version, until its event comes
        self._stakes: dict[str, Stake] = {}
        self._rows: dict[str, int] = {}
        self._views: tuple[View, ...] = ()
        self._clusters: dict[str, Cluster] = {}
        self._unknown: set[str] = set()  # at stake, and without scenarios
        self._day, self._multiplier = -1, 0.0

    def offer(self, prepared: Prepared) -> None:
        """What an event to come names: arrays do not travel in events."""
        self._offered[prepared.model.version] = prepared

    def take(self, event: RiskModelSet) -> None:
        """Judge by this model from now on; recovery learns the regime only, and a new model comes before any order."""
        recent = tuple(Regime[name] for name in event.recent)
        self.regime = RegimeState(dt.date.fromisoformat(event.date), recent, self.regime.override)
        self._day = -1
        prepared = self._offered.pop(event.version, None)
        if prepared is None:
            return
        self.model = prepared.model
        self._rows = {symbol: row for row, symbol in enumerate(prepared.model.symbols)}
        self._views = tuple(View(kind, portfolio) for kind, portfolio in prepared.portfolios.items())
        self._clusters = prepared.clusters
        self._unknown.clear()
        for symbol, stake in self._stakes.items():
            self._place(symbol, stake)

    def override(self, event: RegimeSet) -> None:
        """A person says what the regime is, or leaves it to the data again."""
        self.regime = self.regime.overridden(Regime[event.regime] if event.regime else None)
        self._day = -1

    def put(self, symbol: str, stake: Stake) -> None:
        """A symbol's stake is this from now on."""
        if stake == NOTHING:
            self._stakes.pop(symbol, None)
        else:
            self._stakes[symbol] = stake
        self._place(symbol, stake)

    def absent(self, symbol: str) -> str:
        """Why no order in this symbol can be judged; empty where one can."""
        if self.model is None:
            return "there is no risk model: see `execd risk show`"
        if symbol not in self._rows:
            return f"{symbol} has no scenarios: add its daily returns"
        return f"{min(self._unknown)} is at stake and has no scenarios: add its daily returns" if self._unknown else ""

    @property
    def version(self) -> str:
        """The model's name; empty without one."""
        return self.model.version if self.model is not None else ""

    def cluster(self, symbol: str) -> Cluster:
        """What else moves with a symbol; nothing where that is not known."""
        return self._clusters.get(symbol, ALONE)

    def row(self, symbol: str) -> int:
        """The row of a symbol that is not `absent`."""
        return self._rows[symbol]

    def views(self, ts: int) -> list[tuple[View, float]]:
        """The views, and the part of the limit that each is held to at `ts`."""
        multiplier = self.multiplier(ts)
        return [(view, multiplier if view.kind is Kind.PLAIN else 1.0) for view in self._views]

    def regime_at(self, ts: int) -> Regime:
        """The market's regime at `ts`, worse where the data is old."""
        return self.regime.on(_date(ts))

    def age_days(self, ts: int) -> int:
        """Calendar days since the newest scenario."""
        assert self.model is not None
        return (_date(ts) - self.model.date).days

    def multiplier(self, ts: int) -> float:
        """Of the limit on plain ES."""
        day = ts // NS_PER_DAY
        if day != self._day:
            self._day, self._multiplier = day, self.regime_at(ts).multiplier
        return self._multiplier

    def _place(self, symbol: str, stake: Stake) -> None:
        row = self._rows.get(symbol)
        if row is not None:
            for view in self._views:
                view.put(row, stake)
        elif stake != NOTHING:
            self._unknown.add(symbol)
        else:
            self._unknown.discard(symbol)

    def dump(self) -> dict[str, object]:
        """State for a snapshot; stakes are the exposure's to tell again, and the model comes with the next start."""
        return {"regime": msgspec.to_builtins(self.regime)}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        self.regime = msgspec.convert(dumped["regime"], RegimeState)


def _date(ts: int) -> dt.date:
    return dt.datetime.fromtimestamp(ts // NS_PER_S, dt.UTC).date()
