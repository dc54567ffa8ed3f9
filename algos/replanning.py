"""What a parent makes of the market on its way, or of an amendment: another curve, or another pace.

Pure functions of where it stands.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec
import numpy as np

from algos import shortfall, vwap
from algos.conditions import Watch
from algos.parent import Parent
from algos.participation import HARD_MAX, MOVED, Conditions, Move, adapt, rate_of
from algos.planning import ALGOS, Task, Window, cut, haste_of, least_slice, seed_of
from algos.profile import Profile
from algos.trajectory import MAX_POINTS, Trajectory
from core.calendar import CALENDARS, Session
from core.events import MarketData
from core.instruments import Instrument
from core.orders import Side
from core.signals import Algo

BPS = 1e4
PACES_MAX = 3  # times its base that a pace may become
MATERIAL = Decimal("0.1")  # of the largest step of a curve: a smaller change of what is to be done now is none


class View(msgspec.Struct, frozen=True):
    """A parent, and what it can see."""

    parent: Parent
    instrument: Instrument
    profile: Profile
    watch: Watch
    market: MarketData | None
    room: Decimal | None  # shares that all who share the symbol's volume leave
    now: int

    @property
    def session(self) -> Session:
        """That of its window."""
        found = CALENDARS[self.instrument.calendar].session_at(self.parent.start)
        assert found is not None  # its window lies inside one
        return found

    @property
    def seen(self) -> float:
        """What has traded since it began, in shares."""
        return self.watch.volume - self.parent.pace.begun if self.parent.pace is not None else 0.0

    @property
    def seen_since(self) -> float:
        """What has traded since its curves are planned from, in shares."""
        since = self.parent.since_volume
        return self.seen if since is None else self.watch.volume - since

    @property
    def quoted(self) -> tuple[Decimal | None, Decimal | None]:
        """Bid and ask."""
        return (self.market.bid, self.market.ask) if self.market is not None else (None, None)


Again = Callable[[View], Trajectory | None]


def by_volume(view: View) -> Trajectory | None:
    """VWAP: the rest as the day so far makes it."""
    parent = view.parent
    return vwap.again(
        start=parent.since,
        end=parent.end,
        now=view.now,
        seen=view.seen_since,
        qty=parent.order_qty,
        lot=view.instrument.lot,
        slices=parent.how.slices,
        session=(view.session.open, view.session.close),
        profile=view.profile,
        done=parent.base,
    )


def by_haste(view: View) -> Trajectory | None:
    """Implementation shortfall: the optimum for what is not done yet."""
    parent = view.parent
    left = parent.order_qty - parent.cum_qty
    if left <= 0:
        return None
    slices = parent.how.slices if parent.how.slices is not None else shortfall.DEFAULT_SLICES
    least = max(least_slice(view.instrument, parent.arrival_px), view.instrument.lot)  # there is always one to send now
    planned = max(parent.order_qty - parent.base, left)  # less than is left where executions were taken back
    rest = Window(view.now, parent.end, view.session)
    haste = haste_of(parent.how, view.instrument, rest, price=parent.arrival_px, quoted=view.quoted)
    if parent.how.risk_aversion is None:
        haste *= (parent.end - view.now) / (parent.end - parent.since)
    return shortfall.plan(
        start=view.now,
        end=parent.end,
        qty=parent.order_qty,
        lot=view.instrument.lot,
        slices=cut(round(slices * left / planned), left, least),
        haste=haste,
        done=parent.cum_qty,
    )


AGAIN: dict[Algo, Again] = {Algo.VWAP: by_volume, Algo.CLOSE: by_volume, Algo.IS: by_haste}


def curve_again(view: View) -> Trajectory | None:
    """Another curve at the point that was just reached, where what is to be done now is another; None where not."""
    parent, again = view.parent, AGAIN.get(view.parent.how.algo)
    if again is None or parent.curve is None or not parent.is_new_point:
        return None
    found = again(view)
    if found is None:
        return None
    moved = abs(found.target(view.now) - parent.curve.target(view.now))
    return found if moved >= max(MATERIAL * parent.curve.largest_step, view.instrument.lot) else None


def curve_amended(view: View) -> Trajectory:
    """The curve of a parent that was amended: what is not done, as its algorithm plans it for the time that is left."""
    parent, how, instrument = view.parent, view.parent.how, view.instrument
    window = Window(parent.since, parent.end, view.session)
    slices = None if how.slices is None else min(how.slices, MAX_POINTS - 1)  # one is added below
    task = Task(
        qty=parent.order_qty - parent.base,
        lot=instrument.lot,
        window=window,
        slices=slices,
        seed=seed_of(parent.parent_id),
        least=least_slice(instrument, parent.arrival_px),
        haste=haste_of(
            how,
            instrument,
            window,
            price=parent.arrival_px,
            quoted=view.quoted,
        ),
        profile=view.profile,
    )
    rest = ALGOS[how.algo](task)
    times, targets = rest.times, tuple(parent.base + target for target in rest.targets)
    if times[0] > window.start:  # what is done stays done until its first point
        times, targets = (window.start, *times), (parent.base, *targets)
    return Trajectory.of(times, targets, instrument.lot)


def pace_again(view: View) -> Move | None:
    """Another pace of a parent that adapts; None where the market gives no reason."""
    parent = view.parent
    if parent.how.algo is not Algo.ADAPTIVE or parent.pace is None:
        return None
    base = rate_of(parent.how) or HARD_MAX
    move = adapt(base, min(PACES_MAX * base, HARD_MAX), parent.how.urgency, _conditions(view))
    return move if abs(move.rate - parent.pace.rate) > MOVED * parent.pace.rate else None


def _conditions(view: View) -> Conditions:
    parent, watch = view.parent, view.watch
    session = (view.session.open, view.session.close)
    began, now, end = view.profile.done(session, np.array([parent.start, view.now, parent.end])).tolist()
    day = view.profile.volume or float(view.instrument.adv or 0)
    expected, seen = day * (now - began), view.seen
    left = float(parent.order_qty - parent.cum_qty)
    ahead = (day if not seen or now <= began else view.profile.day(seen, now - began)) * (end - now)
    return Conditions(
        spread=watch.spread,
        volatility=watch.volatility,
        volume=seen / expected if expected > 0.0 else 1.0,
        cost_bps=_cost_bps(parent),
        liquidity=_liquidity(view),
        needed=left / (left + ahead) if parent.how.must_complete and left > 0.0 else 0.0,
    )


def _cost_bps(parent: Parent) -> float:
    if not parent.cum_qty:
        return 0.0
    paid = float(parent.notional / parent.cum_qty) - parent.arrival_px
    return parent.side.sign * paid / parent.arrival_px * BPS


def _liquidity(view: View) -> float:
    """What is displayed on the side that a child would take, as a multiple of the child; 1 without either."""
    child, market = view.parent.to_send(view.now, view.room), view.market
    if market is None or child <= 0:
        return 1.0
    return float((market.ask_size if view.parent.side is Side.BUY else market.bid_size) / child)
