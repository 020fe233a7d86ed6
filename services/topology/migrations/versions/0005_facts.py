"""What was seen on nodes last. It is no state: whatever is lost here comes back with the next look at the nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "node_observation",
        sa.Column("node_id", sa.String(length=32), nullable=False),
        sa.Column("turn_time_us", sa.BigInteger(), nullable=False),
        sa.Column("observe_time_us", sa.BigInteger(), nullable=True),
        sa.Column("facts", sa.LargeBinary(), nullable=True),
        sa.Column("unreachable_since_us", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.CheckConstraint("(facts IS NULL) = (observe_time_us IS NULL)", name=op.f("ck_node_observation_observed")),
        sa.ForeignKeyConstraint(["node_id"], ["node.id"], name=op.f("fk_node_observation_node_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("node_id", name=op.f("pk_node_observation")),
    )


def downgrade() -> None:
    op.drop_table("node_observation")
