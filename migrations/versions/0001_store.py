"""The tables of the first version.

A revision never changes once it is released, so it spells its tables out instead of importing today's. Quantities,
prices and money are text, digit for digit.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (
    "journal",
    "meta",
    "snapshots",
    "signals",
    "dead_letters",
    "parents",
    "risk_decisions",
    "orders",
    "executions",
    "positions",
    "cost_reports",
    "halts",
    "alerts",
)


def upgrade() -> None:
    """Create all tables."""
    _create_journal()
    _create_signals()
    _create_parents()
    _create_orders()
    _create_reports()


def downgrade() -> None:
    """Drop all tables."""
    for name in _TABLES:
        op.drop_table(name)


def _create_journal() -> None:
    op.create_table(
        "journal",
        sa.Column("seq", _COUNTER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("cl_ord_id", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_journal"),
    )
    op.create_index(
        "ix_journal_cl_ord_id",
        "journal",
        ["cl_ord_id"],
        sqlite_where=sa.text("cl_ord_id IS NOT NULL"),
        postgresql_where=sa.text("cl_ord_id IS NOT NULL"),
    )
    op.create_index(
        "ix_journal_parent_id",
        "journal",
        ["parent_id"],
        sqlite_where=sa.text("parent_id IS NOT NULL"),
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "snapshots",
        sa.Column("seq", _COUNTER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("chain_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_snapshots"),
    )


def _create_signals() -> None:
    op.create_table(
        "signals",
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("signal_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("strategy", "signal_id", name="pk_signals"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("seq", _COUNTER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("signal_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_dead_letters"),
    )


def _create_parents() -> None:
    op.create_table(
        "parents",
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.Column("signal_id", sa.Text(), nullable=True),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("venue", sa.Text(), nullable=True),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("algo", sa.Text(), nullable=True),
        sa.Column("order_qty", sa.Text(), nullable=False),
        sa.Column("accepted_qty", sa.Text(), nullable=True),
        sa.Column("cum_qty", sa.Text(), nullable=True),
        sa.Column("avg_px", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("arrival_px", sa.Text(), nullable=True),
        sa.Column("started", sa.BigInteger(), nullable=True),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("parent_id", name="pk_parents"),
    )
    op.create_table(
        "risk_decisions",
        sa.Column("seq", _COUNTER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.Column("cl_ord_id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("order_qty", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("limit", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("max_qty", sa.Text(), nullable=True),
        sa.Column("limits_version", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_risk_decisions"),
    )


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("cl_ord_id", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("ord_type", sa.Text(), nullable=True),
        sa.Column("price", sa.Text(), nullable=True),
        sa.Column("order_qty", sa.Text(), nullable=False),
        sa.Column("cum_qty", sa.Text(), nullable=False),
        sa.Column("leaves_qty", sa.Text(), nullable=False),
        sa.Column("ord_status", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("approved", sa.BigInteger(), nullable=True),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cl_ord_id", name="pk_orders"),
    )
    op.create_index("ix_orders_parent_id", "orders", ["parent_id"])
    op.create_table(
        "executions",
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("exec_id", sa.Text(), nullable=False),
        sa.Column("cl_ord_id", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("last_qty", sa.Text(), nullable=False),
        sa.Column("last_px", sa.Text(), nullable=False),
        sa.Column("fee", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("busted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("venue", "exec_id", name="pk_executions"),
    )
    op.create_index("ix_executions_cl_ord_id", "executions", ["cl_ord_id"])
    op.create_index("ix_executions_parent_id", "executions", ["parent_id"])
    op.create_table(
        "positions",
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("avg_px", sa.Text(), nullable=False),
        sa.Column("realized_pnl", sa.Text(), nullable=False),
        sa.Column("fees", sa.Text(), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("strategy", "symbol", name="pk_positions"),
    )


def _create_reports() -> None:
    op.create_table(
        "cost_reports",
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("algo", sa.Text(), nullable=False),
        sa.Column("order_qty", sa.Text(), nullable=False),
        sa.Column("cum_qty", sa.Text(), nullable=False),
        sa.Column("avg_px", sa.Text(), nullable=True),
        sa.Column("arrival_px", sa.Text(), nullable=False),
        sa.Column("market_vwap", sa.Text(), nullable=True),
        sa.Column("fees", sa.Text(), nullable=False),
        sa.Column("shortfall", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("parent_id", name="pk_cost_reports"),
    )
    op.create_table(
        "halts",
        sa.Column("seq", _COUNTER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_halts"),
    )
    op.create_table(
        "alerts",
        sa.Column("seq", _COUNTER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("cl_ord_id", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_alerts"),
    )
