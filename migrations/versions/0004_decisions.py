"""Every decision with its headroom: how near what passed came to a limit, how many checks, how long."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; decisions that were made before have nothing in them."""
    op.add_column("risk_decisions", sa.Column("nearest", sa.Text(), nullable=True))
    op.add_column("risk_decisions", sa.Column("headroom", sa.Text(), nullable=True))
    op.add_column("risk_decisions", sa.Column("checks", sa.BigInteger(), nullable=True))
    op.add_column("risk_decisions", sa.Column("duration_ns", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("risk_decisions") as table:
        for name in ("duration_ns", "checks", "headroom", "nearest"):
            table.drop_column(name)
