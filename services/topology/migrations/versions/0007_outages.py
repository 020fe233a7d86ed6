"""Since when a node is seen without glusterd, and when it was last given away to be emptied."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("node_observation", sa.Column("glusterd_down_since_us", sa.BigInteger(), nullable=True))
    op.add_column("node_observation", sa.Column("eviction_time_us", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for column in ("eviction_time_us", "glusterd_down_since_us"):
        op.drop_column("node_observation", column)
