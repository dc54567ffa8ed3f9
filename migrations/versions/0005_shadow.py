"""Shadow limits, and where they would have let another quantity pass than those in force."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "shadow_limits",
        sa.Column("seq", _COUNTER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_shadow_limits"),
    )
    op.create_table(
        "shadow_verdicts",
        sa.Column("seq", _COUNTER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("parent_id", "cl_ord_id", "outcome", "in_force")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("strategy", "symbol", "side")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("order_qty", "in_force_qty", "shadow_qty", "reason")),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("limit", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("max_qty", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("limits_version", "shadow_version", "text")),
        sa.PrimaryKeyConstraint("seq", name="pk_shadow_verdicts"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("shadow_verdicts")
    op.drop_table("shadow_limits")
