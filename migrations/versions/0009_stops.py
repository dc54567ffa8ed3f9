"""Stops that the daemon holds, and what became of them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "stops",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("strategy", "stop_id", "symbol")),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("side", "stop_px", "trail", "trail_fraction")),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("limit_offset", "price")),
        sa.Column("valid_until", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("started", sa.BigInteger(), nullable=True),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("strategy", "stop_id", name="pk_stops"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("stops")
