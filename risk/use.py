"""How much of each limit is used, for people and machines: what is nearest to its limit is the account's risk score.

Positions are measured as the gate measures them, of the equity that it judges by, with all that may still execute, by
their worse side. Shortfalls are those of what is held: what is on its way to hedge it would count as if it added to it.
Rates are full where nothing more may open; what shrinks a position has a part of its own beyond.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

import msgspec

from core.units import ZERO
from risk.exposure import Exposure, Rate
from risk.guard import Guard
from risk.limits import Limits, for_opening

FULL = 100  # of a score
OF_EQUITY = "of equity"


class Use(msgspec.Struct, frozen=True):
    """The nearest use of one limit, 1 in `ratio` where it is full.

    `value` and `most` are in `unit`: fractions "of equity", "money" of buying power and where no equity is left, or a
    count of what the limit's name says. `of` names what is nearest, where the limit is one for each of several.
    """

    limit: str
    value: float
    most: float
    ratio: float
    unit: str = ""
    of: str = ""


def uses(exposure: Exposure, guard: Guard, limits: Limits, now: int) -> list[Use]:
    """The use of every limit that is one of the account; without equity whatever is held fills its limits."""
    equity, reach = max(exposure.base(now), ZERO), exposure.reach(of_parents=True)
    symbol, widest = max(((key, span.worst) for key, span in reach.spans.items()), key=_value, default=("", ZERO))
    sector, largest = max(reach.sectors.items(), key=_value, default=("", ZERO))
    found = [
        _of(equity, "position", widest, limits.position_max, symbol),
        _of(equity, "sector", largest, limits.sector_max, sector),
        *_clusters(exposure, equity, limits),
        _of(equity, "gross", reach.gross, limits.gross_max),
        _of(equity, "net", max(reach.longest, -reach.shortest), limits.net_max),
        *_heats(exposure, equity, limits),
    ]
    tail = exposure.tail
    for view, part in tail.views(now) if tail is not None else ():
        most = limits.es_max * Decimal(str(part))
        found.append(_of(equity, f"shortfall_{view.kind}", Decimal(repr(view.held)), most))
    return [
        *found,
        _count("positions", len(reach.spans), limits.positions_max),
        _fraction("daily_loss", guard.day_loss, limits.daily_loss_max),
        _fraction("drawdown", guard.drawdown, limits.drawdown_max),
        *_by_the_broker(exposure, limits),
        _count("parents_per_day", exposure.parents_on(now), limits.parents_per_day),
        _rate("orders_per_s", exposure.rates, limits.orders_per_s_at, now),
        _rate("messages_per_s", exposure.messages, limits.messages_per_s_at, now),
        *_strategies(exposure, equity, limits, now),
    ]


def _by_the_broker(exposure: Exposure, limits: Limits) -> Iterator[Use]:
    """What the broker's last reports bound: how far its equity may be from ours, and its buying power."""
    broker, ours = exposure.broker, max(exposure.marked, ZERO)
    if broker.gaps:
        yield _of(ours, "disagreement", broker.apart, limits.disagreement_max)
    power, reserved = broker.buying_power, exposure.reserved(of_parents=True)
    if power is not None:
        yield Use("buying_power", float(reserved), float(power), float(reserved / power) if power else 1.0, "money")


def _clusters(exposure: Exposure, equity: Decimal, limits: Limits) -> list[Use]:
    """The largest cluster of what is at stake, on either side."""
    tail, reach = exposure.tail, exposure.reach(of_parents=True)
    if tail is None:
        return []
    widest, of = ZERO, ""
    for symbol, own in reach.spans.items():
        for direction in (1, -1):
            reached = own.towards(direction) + reach.ahead(tail.cluster(symbol), direction)
            if reached > widest:
                widest, of = reached, symbol
    return [_of(equity, "cluster", widest, limits.cluster_max, of)]


def _heats(exposure: Exposure, equity: Decimal, limits: Limits) -> Iterator[Use]:
    """What positions lose until their stops fire, as far as that is limited: the hottest, and all."""
    if limits.position_heat_max is not None:
        of_one = exposure.heat(of_parents=True).symbols.items()
        symbol, hottest = max(of_one, key=_value, default=("", ZERO))
        yield _of(equity, "position_heat", hottest, limits.position_heat_max, symbol)
    if limits.heat_max is not None:
        yield _of(equity, "heat", exposure.heat(of_parents=True).total, limits.heat_max)


def _strategies(exposure: Exposure, equity: Decimal, limits: Limits, now: int) -> Iterator[Use]:
    """Of what binds strategies besides the account's limits, the fullest of each kind."""
    own = limits.strategies
    positions = [
        _of(equity, "strategy_position", value, most, f"{name} {symbol}")
        for name, symbol, value in exposure.own_reach()
        if name in own and (most := own[name].position_max) is not None
    ]
    parents = [
        _count("strategy_parents_per_day", exposure.own_parents_on(name, now), each.parents_per_day, name)
        for name, each in own.items()
        if each.parents_per_day is not None
    ]
    for found in (positions, parents):
        if found:
            yield max(found, key=lambda use: use.ratio)


def _rate(limit: str, rates: Mapping[str, Rate], most_at: Callable[[str], int], now: int) -> Use:
    """Of the fullest venue."""
    part, venue = max(((rate.use(now, most_at(venue)), venue) for venue, rate in rates.items()), default=(0.0, ""))
    return _count(limit, round(part * most_at(venue)), for_opening(most_at(venue)), venue)


def score(found: list[Use]) -> tuple[int, str]:
    """The risk score (R23), 0 to 100: the fullest limit and its name."""
    fullest = max(found, key=lambda use: use.ratio)
    return min(FULL, round(FULL * fullest.ratio)), fullest.limit


def _of(equity: Decimal, limit: str, value: Decimal, most: Decimal, of: str = "") -> Use:
    if not equity:
        return Use(limit, float(value), 0.0, float(value > 0), "money", of)
    return Use(limit, float(value / equity), float(most), max(float(value / equity / most), 0.0), OF_EQUITY, of)


def _fraction(limit: str, value: Decimal, most: Decimal) -> Use:
    return Use(limit, float(value), float(most), max(float(value / most), 0.0), OF_EQUITY)


def _count(limit: str, value: int, most: int, of: str = "") -> Use:
    return Use(limit, value, most, value / most, of=of)


def _value(item: tuple[str, Decimal]) -> Decimal:
    return item[1]
