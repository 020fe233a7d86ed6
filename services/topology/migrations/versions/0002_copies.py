"""Copies of volumes: a thin pool may hold bricks of several volumes, and its space counts once."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# What 0001 does not know.
_KINDS = "('expand_volume', 'clone_volume', 'resync_device')"


def upgrade() -> None:
    op.add_column("volume", sa.Column("origin_volume_id", sa.String(length=32), nullable=True))
    op.create_index("ix_brick_device_id_thin_pool_name", "brick", ["device_id", "thin_pool_name"], unique=False)
    # What `downgrade` took out of the rows of shared pools: each of them names the size again.
    for column in ("thin_pool_size_bytes", "pool_metadata_size_bytes"):
        op.execute(
            f"UPDATE brick SET {column} = (SELECT max(other.{column}) FROM brick AS other"  # noqa: S608 - constants only
            " WHERE other.device_id = brick.device_id AND other.thin_pool_name = brick.thin_pool_name)"
            f" WHERE {column} = 0"
        )


def downgrade() -> None:
    connection = op.get_bind()
    unfinished = sa.text(f"SELECT count(*) FROM operation WHERE end_time_us IS NULL AND kind IN {_KINDS}")  # noqa: S608 - constants only
    count = connection.scalar(unfinished)
    if count:
        raise RuntimeError(
            f"{count} operations that revision 0001 does not know are not finished; downgrade when they are"
        )
    op.execute(f"DELETE FROM operation WHERE kind IN {_KINDS}")  # noqa: S608 - constants only
    if connection.dialect.name == "postgresql":
        # It alters and drops no table while a deferred check of references to those rows waits.
        op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    # 0001 adds the pools of all bricks up: the first brick of a shared pool keeps its size, the others have none.
    op.execute(
        "UPDATE brick SET thin_pool_size_bytes = 0, pool_metadata_size_bytes = 0 WHERE EXISTS ("
        "SELECT 1 FROM brick AS first WHERE first.device_id = brick.device_id"
        " AND first.thin_pool_name = brick.thin_pool_name AND first.id < brick.id)"
    )
    op.drop_index("ix_brick_device_id_thin_pool_name", table_name="brick")
    op.drop_column("volume", "origin_volume_id")
