"""Block volumes, and the space of the volumes that host them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# What 0002 does not know.
_KINDS = "('create_block_volume', 'delete_block_volume', 'expand_block_volume', 'set_block_restriction')"
_GIB = 1 << 30
# Heketi's split: of each whole GiB count, 98 % rounded down are for block volumes.
_FREE = f"(size_bytes / {_GIB}) * 98 / 100 * {_GIB}"


def upgrade() -> None:
    op.create_table(
        "block_hosting",
        sa.Column("volume_id", sa.String(length=32), nullable=False),
        sa.Column("free_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reserved_bytes", sa.BigInteger(), nullable=False),
        sa.Column("restriction", sa.String(length=16), nullable=False),
        sa.CheckConstraint("free_bytes >= 0 AND reserved_bytes >= 0", name=op.f("ck_block_hosting_sizes")),
        sa.CheckConstraint(
            "restriction IN ('', 'locked', 'locked-by-update')", name=op.f("ck_block_hosting_restriction")
        ),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"], name=op.f("fk_block_hosting_volume_id")),
        sa.PrimaryKeyConstraint("volume_id", name=op.f("pk_block_hosting")),
    )
    hosting = f"SELECT id, {_FREE}, size_bytes - {_FREE}, '' FROM volume WHERE block"  # noqa: S608 - constants only
    op.execute(f"INSERT INTO block_hosting (volume_id, free_bytes, reserved_bytes, restriction) {hosting}")
    _create_block_volume()
    op.create_index("ix_block_volume_cluster_id_state_id", "block_volume", ["cluster_id", "state", "id"], unique=False)
    op.create_index(
        "ix_block_volume_operation_id",
        "block_volume",
        ["operation_id"],
        unique=False,
        sqlite_where=sa.text("operation_id IS NOT NULL"),
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )


def _create_block_volume() -> None:
    op.create_table(
        "block_volume",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("cluster_id", sa.String(length=32), nullable=False),
        sa.Column("hosting_volume_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("usable_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("growing_bytes", sa.BigInteger(), nullable=False),
        sa.Column("ha_count", sa.Integer(), nullable=False),
        sa.Column("auth", sa.Boolean(), nullable=False),
        sa.Column("hosts", sa.JSON(), nullable=False),
        sa.Column("iqn", sa.Text(), nullable=False),
        sa.Column("lun", sa.Integer(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("operation_id", sa.String(length=32), nullable=True),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("size_bytes > 0 AND growing_bytes >= 0", name=op.f("ck_block_volume_size")),
        sa.CheckConstraint(
            "usable_size_bytes > 0 AND usable_size_bytes <= size_bytes", name=op.f("ck_block_volume_usable_size")
        ),
        sa.CheckConstraint("ha_count >= 1", name=op.f("ck_block_volume_ha_count")),
        sa.CheckConstraint("state IN ('creating', 'active', 'deleting')", name=op.f("ck_block_volume_state")),
        sa.CheckConstraint(
            "(state = 'active' AND growing_bytes = 0) OR operation_id IS NOT NULL", name=op.f("ck_block_volume_held")
        ),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name=op.f("fk_block_volume_cluster_id")),
        sa.ForeignKeyConstraint(
            ["hosting_volume_id"], ["block_hosting.volume_id"], name=op.f("fk_block_volume_hosting_volume_id")
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operation.id"],
            name=op.f("fk_block_volume_operation_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_block_volume")),
        sa.UniqueConstraint("hosting_volume_id", "name", name=op.f("uq_block_volume_hosting_volume_id_name")),
    )


def downgrade() -> None:
    connection = op.get_bind()
    unfinished = sa.text(f"SELECT count(*) FROM operation WHERE end_time_us IS NULL AND kind IN {_KINDS}")  # noqa: S608 - constants only
    count = connection.scalar(unfinished)
    if count:
        raise RuntimeError(
            f"{count} operations that revision 0002 does not know are not finished; downgrade when they are"
        )
    kept = connection.scalar(sa.text("SELECT count(*) FROM block_volume"))
    if kept:
        raise RuntimeError(f"{kept} block volumes exist, and revision 0002 can not keep them; delete them first")
    op.execute(f"DELETE FROM operation WHERE kind IN {_KINDS}")  # noqa: S608 - constants only
    if connection.dialect.name == "postgresql":
        # It alters and drops no table while a deferred check of references to those rows waits.
        op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    op.drop_table("block_volume")
    op.drop_table("block_hosting")
