"""The first schema: clusters, nodes, devices, volumes, bricks and operations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "cluster",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("file_enabled", sa.Boolean(), nullable=False),
        sa.Column("block_enabled", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("forgotten_revision", sa.BigInteger(), nullable=False),
        sa.Column("volume_count", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "forgotten_revision >= 0 AND forgotten_revision <= revision", name=op.f("ck_cluster_revision")
        ),
        sa.CheckConstraint("volume_count >= 0", name=op.f("ck_cluster_volume_count")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cluster")),
        sa.UniqueConstraint("request_id", name=op.f("uq_cluster_request_id")),
    )
    op.create_table(
        "operation",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("target_id", sa.String(length=32), nullable=False),
        sa.Column("cluster_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("lease_expire_time_us", sa.BigInteger(), nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("completed_step_count", sa.Integer(), nullable=False),
        sa.Column("total_step_count", sa.Integer(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("node_hostname", sa.Text(), nullable=False),
        sa.Column("error", sa.LargeBinary(), nullable=True),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.Column("update_time_us", sa.BigInteger(), nullable=False),
        sa.Column("end_time_us", sa.BigInteger(), nullable=True),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("stalled", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(end_time_us IS NOT NULL) = (state IN ('succeeded', 'failed'))", name=op.f("ck_operation_ended")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'undoing', 'succeeded', 'failed')", name=op.f("ck_operation_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operation")),
        sa.UniqueConstraint("request_id", name=op.f("uq_operation_request_id")),
    )
    op.create_index("ix_operation_create_time_us_id", "operation", ["create_time_us", "id"], unique=False)
    op.create_index(
        "ix_operation_end_time_us",
        "operation",
        ["end_time_us"],
        unique=False,
        sqlite_where=sa.text("end_time_us IS NOT NULL"),
        postgresql_where=sa.text("end_time_us IS NOT NULL"),
    )
    op.create_index(
        "ix_operation_unfinished",
        "operation",
        ["create_time_us", "id"],
        unique=False,
        sqlite_where=sa.text("end_time_us IS NULL"),
        postgresql_where=sa.text("end_time_us IS NULL"),
    )
    op.create_table(
        "server",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_server_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server")),
    )
    op.execute("INSERT INTO server (id) VALUES (1)")
    op.create_table(
        "node",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("cluster_id", sa.String(length=32), nullable=False),
        sa.Column("zone", sa.Integer(), nullable=False),
        sa.Column("manage_hostnames", sa.JSON(), nullable=False),
        sa.Column("storage_hostnames", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("presence", sa.String(length=16), nullable=False),
        sa.Column("operation_id", sa.String(length=32), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("presence = 'present' OR operation_id IS NOT NULL", name=op.f("ck_node_held")),
        sa.CheckConstraint("presence IN ('adding', 'present', 'removing')", name=op.f("ck_node_presence")),
        sa.CheckConstraint("state IN ('online', 'offline', 'failed')", name=op.f("ck_node_state")),
        sa.CheckConstraint("zone >= 1", name=op.f("ck_node_zone")),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name=op.f("fk_node_cluster_id")),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operation.id"], name=op.f("fk_node_operation_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node")),
        sa.UniqueConstraint("id", "cluster_id", name=op.f("uq_node_id_cluster_id")),
    )
    op.create_index("ix_node_cluster_id_id", "node", ["cluster_id", "id"], unique=False)
    op.create_index("ix_node_cluster_id_revision", "node", ["cluster_id", "revision"], unique=False)
    op.create_index(
        "ix_node_operation_id",
        "node",
        ["operation_id"],
        unique=False,
        sqlite_where=sa.text("operation_id IS NOT NULL"),
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )
    op.create_table(
        "tombstone",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("cluster_id", sa.String(length=32), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('node', 'device')", name=op.f("ck_tombstone_kind")),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name=op.f("fk_tombstone_cluster_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstone")),
    )
    op.create_index("ix_tombstone_cluster_id_revision", "tombstone", ["cluster_id", "revision"], unique=False)
    op.create_index("ix_tombstone_create_time_us", "tombstone", ["create_time_us"], unique=False)
    op.create_table(
        "volume",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("cluster_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("durability_type", sa.String(length=16), nullable=False),
        sa.Column("replica_count", sa.Integer(), nullable=False),
        sa.Column("data_count", sa.Integer(), nullable=False),
        sa.Column("redundancy_count", sa.Integer(), nullable=False),
        sa.Column("gid", sa.BigInteger(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("block", sa.Boolean(), nullable=False),
        sa.Column("snapshot_enabled", sa.Boolean(), nullable=False),
        sa.Column("snapshot_factor", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("operation_id", sa.String(length=32), nullable=True),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("durability_type IN ('none', 'replicate', 'disperse')", name=op.f("ck_volume_durability")),
        sa.CheckConstraint("state = 'active' OR operation_id IS NOT NULL", name=op.f("ck_volume_held")),
        sa.CheckConstraint("state IN ('creating', 'active', 'deleting')", name=op.f("ck_volume_state")),
        sa.CheckConstraint("size_bytes > 0", name=op.f("ck_volume_size")),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name=op.f("fk_volume_cluster_id")),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operation.id"],
            name=op.f("fk_volume_operation_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volume")),
        sa.UniqueConstraint("cluster_id", "name", name=op.f("uq_volume_cluster_id_name")),
    )
    op.create_index("ix_volume_cluster_id_state_id", "volume", ["cluster_id", "state", "id"], unique=False)
    op.create_index(
        "ix_volume_operation_id",
        "volume",
        ["operation_id"],
        unique=False,
        sqlite_where=sa.text("operation_id IS NOT NULL"),
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )
    op.create_table(
        "device",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("node_id", sa.String(length=32), nullable=False),
        sa.Column("cluster_id", sa.String(length=32), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("presence", sa.String(length=16), nullable=False),
        sa.Column("operation_id", sa.String(length=32), nullable=True),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("reserved_bytes", sa.BigInteger(), nullable=False),
        sa.Column("unattributed_bytes", sa.BigInteger(), nullable=False),
        sa.Column("extent_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("pv_uuid", sa.String(length=64), nullable=True),
        sa.Column("known_paths", sa.JSON(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("presence = 'adding' OR extent_size_bytes > 0", name=op.f("ck_device_extent_size")),
        sa.CheckConstraint("presence = 'present' OR operation_id IS NOT NULL", name=op.f("ck_device_held")),
        sa.CheckConstraint("presence IN ('adding', 'present', 'removing')", name=op.f("ck_device_presence")),
        sa.CheckConstraint("state IN ('online', 'offline', 'failed')", name=op.f("ck_device_state")),
        sa.CheckConstraint("reserved_bytes >= 0", name=op.f("ck_device_reserved")),
        sa.CheckConstraint("unattributed_bytes >= 0 AND used_bytes >= unattributed_bytes", name=op.f("ck_device_used")),
        sa.CheckConstraint("used_bytes + reserved_bytes <= total_bytes", name=op.f("ck_device_books")),
        sa.ForeignKeyConstraint(
            ["node_id", "cluster_id"], ["node.id", "node.cluster_id"], name=op.f("fk_device_node_id_cluster_id")
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operation.id"],
            name=op.f("fk_device_operation_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("id", "node_id", name=op.f("uq_device_id_node_id")),
        sa.UniqueConstraint("node_id", "path", name=op.f("uq_device_node_id_path")),
        sa.UniqueConstraint("node_id", "pv_uuid", name=op.f("uq_device_node_id_pv_uuid")),
    )
    op.create_index("ix_device_cluster_id_revision", "device", ["cluster_id", "revision"], unique=False)
    op.create_index(
        "ix_device_operation_id",
        "device",
        ["operation_id"],
        unique=False,
        sqlite_where=sa.text("operation_id IS NOT NULL"),
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )
    op.create_table(
        "hostname",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("node_id", sa.String(length=32), nullable=False),
        sa.CheckConstraint("kind IN ('manage', 'storage')", name=op.f("ck_hostname_kind")),
        sa.ForeignKeyConstraint(["node_id"], ["node.id"], name=op.f("fk_hostname_node_id")),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_hostname")),
    )
    op.create_index("ix_hostname_node_id", "hostname", ["node_id"], unique=False)
    op.create_table(
        "brick",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("volume_id", sa.String(length=32), nullable=False),
        sa.Column("device_id", sa.String(length=32), nullable=False),
        sa.Column("node_id", sa.String(length=32), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("thin_pool_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("pool_metadata_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("thin_pool_name", sa.Text(), nullable=False),
        sa.Column("lv_name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("set_index", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("operation_id", sa.String(length=32), nullable=True),
        sa.CheckConstraint("(state = 'active') = (operation_id IS NULL)", name=op.f("ck_brick_held")),
        sa.CheckConstraint("role IN ('data', 'arbiter')", name=op.f("ck_brick_role")),
        sa.CheckConstraint("state IN ('creating', 'active', 'deleting')", name=op.f("ck_brick_state")),
        sa.CheckConstraint("set_index >= 0 AND position >= 0", name=op.f("ck_brick_place")),
        sa.CheckConstraint(
            "size_bytes > 0 AND thin_pool_size_bytes >= 0 AND pool_metadata_size_bytes >= 0",
            name=op.f("ck_brick_sizes"),
        ),
        sa.ForeignKeyConstraint(
            ["device_id", "node_id"], ["device.id", "device.node_id"], name=op.f("fk_brick_device_id_node_id")
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operation.id"],
            name=op.f("fk_brick_operation_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"], name=op.f("fk_brick_volume_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_brick")),
        sa.UniqueConstraint("volume_id", "set_index", "node_id", name=op.f("uq_brick_volume_id_set_index_node_id")),
        sa.UniqueConstraint("volume_id", "set_index", "position", name=op.f("uq_brick_volume_id_set_index_position")),
    )
    op.create_index("ix_brick_device_id_id", "brick", ["device_id", "id"], unique=False)
    op.create_index(
        "ix_brick_operation_id",
        "brick",
        ["operation_id"],
        unique=False,
        sqlite_where=sa.text("operation_id IS NOT NULL"),
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_brick_operation_id",
        table_name="brick",
        sqlite_where=sa.text("operation_id IS NOT NULL"),
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )
    op.drop_index("ix_brick_device_id_id", table_name="brick")
    op.drop_table("brick")
    op.drop_index("ix_hostname_node_id", table_name="hostname")
    op.drop_table("hostname")
    op.drop_index(
        "ix_device_operation_id",
        table_name="device",
        sqlite_where=sa.text("operation_id IS NOT NULL"),
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )
    op.drop_index("ix_device_cluster_id_revision", table_name="device")
    op.drop_table("device")
    op.drop_index(
        "ix_volume_operation_id",
        table_name="volume",
        sqlite_where=sa.text("operation_id IS NOT NULL"),
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )
    op.drop_index("ix_volume_cluster_id_state_id", table_name="volume")
    op.drop_table("volume")
    op.drop_index("ix_tombstone_create_time_us", table_name="tombstone")
    op.drop_index("ix_tombstone_cluster_id_revision", table_name="tombstone")
    op.drop_table("tombstone")
    op.drop_index(
        "ix_node_operation_id",
        table_name="node",
        sqlite_where=sa.text("operation_id IS NOT NULL"),
        postgresql_where=sa.text("operation_id IS NOT NULL"),
    )
    op.drop_index("ix_node_cluster_id_revision", table_name="node")
    op.drop_index("ix_node_cluster_id_id", table_name="node")
    op.drop_table("node")
    op.drop_table("server")
    op.drop_index(
        "ix_operation_unfinished",
        table_name="operation",
        sqlite_where=sa.text("end_time_us IS NULL"),
        postgresql_where=sa.text("end_time_us IS NULL"),
    )
    op.drop_index(
        "ix_operation_end_time_us",
        table_name="operation",
        sqlite_where=sa.text("end_time_us IS NOT NULL"),
        postgresql_where=sa.text("end_time_us IS NOT NULL"),
    )
    op.drop_index("ix_operation_create_time_us_id", table_name="operation")
    op.drop_table("operation")
    op.drop_table("cluster")
