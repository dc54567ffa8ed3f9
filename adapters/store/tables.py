"""What the database holds: the journal, and the tables that are drawn from it.

The journal is the truth; every other table but `snapshots` is a projection, written in the journal's transaction and
never read back by a decision. Only types that SQLite and PostgreSQL share: text, integers, booleans, bytes.
"""

from decimal import Decimal

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from typing_extensions import override


class Exact(TypeDecorator[Decimal]):
    """A Decimal as text, digit for digit, because NUMERIC passes through floats on SQLite.

    SQL compares and orders such columns as text: compute with them in Python.
    """

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    @override
    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


# SQLite makes a key of this type the row's own number, which saves an index; PostgreSQL needs the width stated.
Counter = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"})


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _seq() -> Column[int]:
    return Column("seq", Counter, primary_key=True, autoincrement=False)


def _word(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _time(name: str) -> Column[int]:
    """Column of ns since the epoch, UTC."""
    return Column(name, BigInteger, nullable=False)


def _exact(name: str) -> Column[Decimal]:
    return Column(name, Exact, nullable=False)


journal = Table(
    "journal",
    metadata,
    _seq(),
    _time("ts"),
    _word("type"),
    Column("parent_id", Text),
    Column("cl_ord_id", Text),
    _word("payload"),
    Column("hash", LargeBinary(32), nullable=False),
)
# What is asked of the journal is the story of one order; most other events name none and stay out of the indexes.
for _name in ("parent_id", "cl_ord_id"):
    _named = text(f"{_name} IS NOT NULL")
    Index(None, journal.c[_name], sqlite_where=_named, postgresql_where=_named)

signals = Table(
    "signals",
    metadata,
    _key("strategy"),
    _key("signal_id"),
    _word("state"),  # received, accepted, ignored, refused; an accepted one stays accepted
    _word("reason"),
    _time("ts"),
    Column("payload", Text),  # None where only the verdict is known
)

dead_letters = Table(
    "dead_letters",
    metadata,
    _seq(),
    _time("ts"),
    _word("source"),  # empty for a signal that was well-formed and refused
    _word("strategy"),  # empty for what was no signal
    _word("signal_id"),
    _word("reason"),
    _word("text"),
)

parents = Table(
    "parents",
    metadata,
    _key("parent_id"),
    Column("signal_id", Text),
    _word("strategy"),
    Column("account", Text),
    Column("venue", Text),
    _word("symbol"),
    _word("side"),
    Column("algo", Text),
    _exact("order_qty"),
    Column("accepted_qty", Exact),
    Column("cum_qty", Exact),  # as it ended; before that, and for what came late, sum the executions
    Column("avg_px", Exact),
    _word("state"),  # asked, live, ended, denied
    _word("reason"),
    Column("arrival_px", Exact),
    Column("started", BigInteger),
    Column("ended", BigInteger),
    Column("override_id", Text),  # by which it was let in, in spite of a denial; empty: by none
)

routes = Table(
    "routes",
    metadata,
    _key("parent_id"),  # of one whose signal left its algorithm open
    _time("ts"),
    _word("strategy"),
    _word("symbol"),
    _word("policy"),
    _word("algo"),
    _word("reason"),
    _word("model"),
    _word("alternatives"),  # each algorithm with its estimate, as JSON
)

venue_choices = Table(
    "venue_choices",
    metadata,
    _seq(),
    _time("ts"),
    _word("parent_id"),
    _word("strategy"),
    _word("symbol"),
    _word("side"),
    _word("venue"),  # that the parent's children go to from here on
    _word("was"),  # empty: it had none yet
    _word("reason"),
    _word("alternatives"),  # each venue with what a child is expected to cost there, as JSON
)

orders = Table(
    "orders",
    metadata,
    _key("cl_ord_id"),
    Column("parent_id", Text, nullable=False, index=True),
    _word("order_id"),
    _word("strategy"),
    _word("venue"),
    _word("symbol"),
    _word("side"),
    Column("ord_type", Text),  # None for an order that was adopted, not approved
    Column("price", Exact),
    _exact("order_qty"),
    _exact("cum_qty"),
    _exact("leaves_qty"),
    _word("ord_status"),
    _word("text"),
    Column("approved", BigInteger),
    _time("updated"),
)

executions = Table(
    "executions",
    metadata,
    _key("venue"),
    _key("exec_id"),
    Column("cl_ord_id", Text, nullable=False, index=True),
    Column("parent_id", Text, nullable=False, index=True),
    _word("strategy"),
    _word("symbol"),
    _word("side"),
    _exact("last_qty"),
    _exact("last_px"),
    _exact("fee"),
    _time("ts"),
    Column("busted", Boolean, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    _key("strategy"),
    _key("symbol"),
    _exact("qty"),
    _exact("avg_px"),
    _exact("realized_pnl"),
    _exact("fees"),
    _time("updated"),
)

risk_decisions = Table(
    "risk_decisions",
    metadata,
    _seq(),
    _time("ts"),
    _word("parent_id"),
    _word("cl_ord_id"),  # empty: the parent itself
    _word("verdict"),  # accepted (a parent), approved (a child), denied
    _word("strategy"),
    _word("symbol"),
    _word("side"),
    _exact("order_qty"),  # as it was let through, or as it was asked for
    Column("price", Exact),
    _word("reason"),
    Column("value", Exact),
    Column("limit", Exact),
    _word("unit"),
    Column("max_qty", Exact),
    _word("limits_version"),
    _word("text"),
    Column("nearest", Text),  # what let through: the limit, a fraction of equity, that `value` and `limit` are of
    Column("headroom", Exact),  # `limit` less `value`; below zero by how much it was too much
    Column("checks", BigInteger),  # that were made; where denied, the last one denied
    Column("duration_ns", BigInteger),  # of the verdict; 0 in a simulation
)

limits = Table(
    "limits",
    metadata,
    _key("version"),  # as on every decision
    _time("ts"),  # when they were first in force
    _word("text"),  # all of them, as JSON
)

shadow_limits = Table(
    "shadow_limits",
    metadata,
    _seq(),
    _time("ts"),  # from when on they judged beside the limits in force
    _word("version"),  # empty: from then on none did
    _word("by"),
    _word("text"),  # all of them, as JSON
)

shadow_verdicts = Table(
    "shadow_verdicts",
    metadata,
    _seq(),
    _time("ts"),
    _word("parent_id"),
    _word("cl_ord_id"),  # empty: the parent itself
    _word("outcome"),  # tighter, wider: the shadow limits let less or more pass
    _word("in_force"),  # passed or denied by the limits in force
    _word("strategy"),
    _word("symbol"),
    _word("side"),
    _exact("order_qty"),  # that was asked for
    _exact("in_force_qty"),  # that passes; zero: denied
    _exact("shadow_qty"),  # likewise
    _word("reason"),  # and its numbers: of the limits that let less pass
    Column("value", Exact),
    Column("limit", Exact),
    _word("unit"),
    Column("max_qty", Exact),
    _word("limits_version"),
    _word("shadow_version"),
    _word("text"),
)

cost_estimates = Table(
    "cost_estimates",
    metadata,
    _key("parent_id"),
    _time("ts"),
    _word("strategy"),
    _word("symbol"),
    _word("model"),
    Column("cost_bps", Exact),  # to compare with `arrival_bps` of the cost report; None: `text` says why
    Column("low_bps", Exact),
    Column("high_bps", Exact),
    Column("spread_bps", Exact),
    Column("impact_bps", Exact),
    Column("risk_bps", Exact),
    _word("text"),
)

cost_reports = Table(
    "cost_reports",
    metadata,
    _key("parent_id"),
    _time("ts"),
    _word("strategy"),
    _word("symbol"),
    _word("side"),
    _word("algo"),
    _exact("order_qty"),
    _exact("cum_qty"),
    Column("avg_px", Exact),
    _exact("arrival_px"),
    Column("market_vwap", Exact),
    _exact("fees"),
    _exact("shortfall"),
    _word("currency"),
    _word("reason"),
    _word("payload"),
    Column("arrival_bps", Exact),  # average price against the arrival, positive when it hurts; None without fills
)

cash_moves = Table(
    "cash_moves",
    metadata,
    _seq(),
    _time("ts"),
    _exact("amount"),  # negative: out of the account
    _exact("cash"),  # after it
    _word("by"),
    _word("reason"),
)

adjustments = Table(
    "adjustments",
    metadata,
    _seq(),
    _time("ts"),
    _word("symbol"),
    Column("numerator", BigInteger, nullable=False),  # so many shares
    Column("denominator", BigInteger, nullable=False),  # from so many
    _word("by"),
    _word("reason"),
)

halts = Table(
    "halts",
    metadata,
    _seq(),
    _time("ts"),
    _word("cause"),
    _word("state"),  # REDUCING, HALTED, RESUMED; STOPPED: a strategy; WORKING, QUIET: how far a halt has come; FLATTEN
    _word("by"),
    _word("text"),
)

commands = Table(
    "commands",
    metadata,
    _seq(),
    _time("ts"),
    _word("by"),  # user and number of who gave it
    _word("role"),
    _word("command"),
    Column("done", Boolean, nullable=False),  # False: refused
    _word("text"),
)

overrides = Table(
    "overrides",
    metadata,
    _seq(),
    _time("ts"),
    _word("override_id"),
    _word("state"),  # proposed, granted, used
    _word("by"),  # user and number of who did it; used: by both
    _word("reason"),  # which denial it is about; of a grant empty, as what follows
    _word("strategy"),
    _word("symbol"),
    _word("side"),
    Column("order_qty", Exact),  # at most
    Column("expires", BigInteger),
    _word("parent_id"),  # that used it
    _word("text"),
)

STOP_STATES = ("held", "suspended", "fired", "exit", "ended")

stops = Table(
    "stops",
    metadata,
    _key("strategy"),
    _key("stop_id"),  # of its signal, and of the parents of its exit
    _word("symbol"),
    Column("side", Text),  # of its exit
    Column("stop_px", Exact),  # one of the three is given
    Column("trail", Exact),
    Column("trail_fraction", Exact),
    Column("limit_offset", Exact),
    Column("price", Exact),  # of the market when it was set
    Column("valid_until", BigInteger),
    _word("state"),  # one of STOP_STATES
    Column("reason", Text),  # of its newest state
    Column("started", BigInteger),
    _time("updated"),
)

alerts = Table(
    "alerts",
    metadata,
    _seq(),
    _time("ts"),
    _word("kind"),  # the event's name
    _word("venue"),
    _word("symbol"),
    _word("cl_ord_id"),
    _word("text"),
)

snapshots = Table(
    "snapshots",
    metadata,
    _seq(),
    _time("ts"),
    Column("chain_hash", LargeBinary(32), nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

meta = Table("meta", metadata, _key("key"), _word("value"))

CHANGED = frozenset({signals, parents, orders, executions, positions, cost_reports, stops, meta})
"""Tables whose rows take a newer state. The others only grow; old snapshots are forgotten."""


def _rights(table: Table) -> tuple[str, ...]:
    if table is snapshots:
        return "SELECT", "INSERT", "DELETE"
    return ("SELECT", "INSERT", "UPDATE") if table in CHANGED else ("SELECT", "INSERT")


RIGHTS = {table.name: _rights(table) for table in metadata.sorted_tables}
"""What the daemon does to each table, and all that its role is granted (deploy/postgres/roles.sql)."""
