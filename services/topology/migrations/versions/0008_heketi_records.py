"""What a dump in Heketi's format needs: an id of the database, and what Heketi recorded of volumes."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
_VOLUME_COLUMNS = ("requested_cluster_ids", "mount_hosts", "brick_order_known")


def upgrade() -> None:
    op.add_column("server", sa.Column("generation_id", sa.String(32), nullable=False, server_default=""))
    server = sa.table("server", sa.column("generation_id", sa.String(32)))
    op.execute(server.update().values(generation_id=uuid.uuid4().hex))
    op.add_column("volume", sa.Column("requested_cluster_ids", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("volume", sa.Column("mount_hosts", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("volume", sa.Column("brick_order_known", sa.Boolean(), nullable=False, server_default=sa.true()))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # It alters no table while a deferred check of references to its rows waits.
        op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for column in _VOLUME_COLUMNS:
        op.drop_column("volume", column)
    op.drop_column("server", "generation_id")
