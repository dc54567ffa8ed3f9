"""Random events of every type, databases of both kinds, and a whole database as a value."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import StrEnum
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, ParamSpec, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select

from adapters.store.engine import WriterLock, open_engine, open_readonly, upgrade
from adapters.store.journal import Journal
from adapters.store.tables import metadata
from core.events import AnyEvent, Event, MarketData
from tests.servers.postgres import Server

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
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    Any: st.none()
    | st.floats(0, 1)
    | st.text(max_size=6)
    | st.lists(st.text(max_size=6), max_size=2),  # as JSON has it
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


class Databases:
    """Databases with tables and without rows; those of a server are emptied and used again, for making one is slow."""

    def __init__(self) -> None:
        self.server: Server | None = None  # None: SQLite, in memory
        self._used: list[Engine] = []
        self._spare: list[Engine] = []
        self._locks: dict[Engine, WriterLock] = {}

    def open(self) -> Engine:
        """A database without rows."""
        if self.server is None:
            engine = open_engine("sqlite://")
            metadata.create_all(engine)
        elif self._spare:
            engine = self._spare.pop()
            with engine.begin() as connection:
                connection.exec_driver_sql("; ".join(str(delete(table)) for table in metadata.sorted_tables))
        else:
            engine = open_engine(self.server.url(self.server.migrated()))
        self._used.append(engine)
        return engine

    def lock(self, engine: Engine) -> WriterLock:
        """The writer's lock. Whoever held it before is gone, as if its process had ended."""
        if engine in self._locks:
            self._locks[engine].release()
        self._locks[engine] = WriterLock(engine)
        return self._locks[engine]

    def close(self) -> None:
        """Take back what was opened, and let go of all locks."""
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()
        for engine in self._used:
            if self.server is None:
                engine.dispose()
            else:
                self._spare.append(engine)
        self._used.clear()


DATABASES = Databases()

P = ParamSpec("P")


def isolated(test: Callable[P, None]) -> Callable[P, None]:
    """Take back each example's databases at its end, where one test has many examples."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            test(*args, **kwargs)
        finally:
            DATABASES.close()

    return run


def database() -> Engine:
    """A database without rows, until the test or its example ends."""
    return DATABASES.open()


def journal_on(engine: Engine, *, threaded: bool = False) -> Journal:
    """The database's writer, in place of an earlier one."""
    return Journal(DATABASES.lock(engine), threaded=threaded)


def journaled(entries: Iterable[tuple[int, Event]], *, threaded: bool = False) -> Engine:
    """A new database into which the entries were put."""
    engine = database()
    journal = journal_on(engine, threaded=threaded)
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


class Trading:
    """A database of a server that trades, set up by the book: roles, then tables by their owner, then roles again."""

    SCRIPT = Path(__file__).resolve().parents[3] / "deploy" / "postgres" / "roles.sql"
    PASSWORDS: ClassVar = {"execd_owner": "of the owner", "execd": "of the daemon", "execd_reader": "of the reader"}

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self._open: list[Engine] = []

    def engine(self, role: str) -> Engine:
        """The database as a role sees it."""
        opening = open_readonly if role == "execd_reader" else open_engine
        self._open.append(opening(self.server.url(self.name, role), password=self.PASSWORDS[role]))
        return self._open[-1]

    def set_up(self) -> None:
        """What the administrator does, then the owner, then the administrator once more."""
        self.grant()
        for role, password in self.PASSWORDS.items():
            self.server.sql(f"ALTER ROLE {role} PASSWORD '{password}'")
        owner = self.engine("execd_owner")
        with WriterLock(owner):
            upgrade(owner)
        self.grant()

    def grant(self) -> None:
        """Run the script of the roles again."""
        self.server.script(self.SCRIPT, self.name)

    def close(self) -> None:
        """End the sessions of all roles."""
        for engine in self._open:
            engine.dispose()
