"""Random events of every type, and the whole database as a value."""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from adapters.store.engine import open_engine
from adapters.store.journal import Journal
from adapters.store.tables import metadata
from core.events import AnyEvent, Event, MarketData

# Few names, so that events meet on the same keys.
_NAMES: dict[str, list[str]] = {
    "parent_id": ["P1", "P2"],
    "cl_ord_id": ["P1C1A1", "P1C2A1", "P2C1A1", ""],
    "signal_id": ["1", "2"],
    "strategy": ["s", "t"],
    "symbol": ["AAPL", "MSFT"],
    "venue": ["paper", "dark"],
    "exec_id": ["e1", "e2", "e3"],
}
_DECIMALS = st.decimals(-(10**9), 10**9, places=4) | st.sampled_from(
    [Decimal(0), Decimal("-0.0"), Decimal("1E+3"), Decimal("1E-30"), Decimal("123456789012345678901234567890.12")]
)
_PLAIN: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(0, 2**63 - 1),
    str: st.text(max_size=6),
    bool: st.booleans(),
    float: st.floats(0, 1),
    Decimal: _DECIMALS,
    NoneType: st.none(),
}


def _of(kind: Any, name: str = "") -> st.SearchStrategy[Any]:  # noqa: ANN401 - any annotation
    args, origin = get_args(kind), get_origin(kind)
    if kind is str and name in _NAMES:
        return st.sampled_from(_NAMES[name])
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin in {Union, UnionType}:
        return st.one_of(*(_of(arg, name) for arg in args))
    if origin is tuple:
        return st.lists(_of(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(_of(args[0]), _of(args[1]), max_size=3)
    if issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    assert issubclass(kind, msgspec.Struct), kind
    return st.builds(kind, **{field.name: _of(field.type, field.name) for field in msgspec.structs.fields(kind)})


TYPES: tuple[type[Event], ...] = get_args(AnyEvent)
MARKET_DATA: st.SearchStrategy[MarketData] = _of(MarketData)
EVENTS: st.SearchStrategy[Event] = st.one_of(*(_of(kind) for kind in TYPES if kind is not MarketData))
SEQUENCES = st.lists(st.tuples(st.integers(1, 3), EVENTS), min_size=1, max_size=12).map(
    lambda steps: [(sum(step for step, _ in steps[: i + 1]), event) for i, (_, event) in enumerate(steps)]
)
"""Events with rising seqs, gaps among them."""


_OPEN: list[Engine] = []


def database() -> Engine:
    """A new database in memory, open until the test ends."""
    engine = open_engine("sqlite://")
    metadata.create_all(engine)
    _OPEN.append(engine)
    return engine


def close_databases() -> None:
    """Dispose of what `database` opened."""
    while _OPEN:
        _OPEN.pop().dispose()


def journaled(entries: Iterable[tuple[int, Event]], *, threaded: bool = False) -> Engine:
    """A new database into which the entries were put."""
    engine = database()
    journal = Journal(engine, threaded=threaded)
    for seq, event in entries:
        journal.put((seq, event))
    journal.close()
    return engine


def contents(engine: Engine, *, without: str = "") -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables (but one), Decimals to the digit."""
    with engine.connect() as connection:
        return {
            table.name: [
                {name: str(value) if isinstance(value, Decimal) else value for name, value in row.items()}
                for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in metadata.sorted_tables
            if table.name != without
        }
