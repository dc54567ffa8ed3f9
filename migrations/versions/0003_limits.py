"""Limits by their version, so that a decision can be read beside the numbers by which it was made."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of limits."""
    op.create_table(
        "limits",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_limits"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("limits")
