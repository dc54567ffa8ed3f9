"""What parents are expected to cost, how their algorithms were chosen, and what they cost against the arrival."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and the column; reports that were made before have nothing in it."""
    op.create_table(
        "routes",
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("strategy", "symbol", "policy", "algo")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("reason", "model", "alternatives")),
        sa.PrimaryKeyConstraint("parent_id", name="pk_routes"),
    )
    op.create_table(
        "cost_estimates",
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("strategy", "symbol", "model")),
        *(sa.Column(f"{name}_bps", sa.Text(), nullable=True) for name in ("cost", "low", "high")),
        *(sa.Column(f"{name}_bps", sa.Text(), nullable=True) for name in ("spread", "impact", "risk")),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("parent_id", name="pk_cost_estimates"),
    )
    op.add_column("cost_reports", sa.Column("arrival_bps", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("cost_reports") as table:
        table.drop_column("arrival_bps")
    op.drop_table("cost_estimates")
    op.drop_table("routes")
