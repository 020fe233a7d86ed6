"""Bricks that are to take the place of others: two rows share one place until the exchange is done."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_PLACES = (("volume_id", "set_index", "position"), ("volume_id", "set_index", "node_id"))
_HAS_PLACE = "replaces_brick_id IS NULL"
_REPLACES = "replaces_brick_id IS NULL OR state = 'creating'"
_COLUMNS = (
    "id, volume_id, device_id, node_id, path, size_bytes, thin_pool_size_bytes, pool_metadata_size_bytes,"
    " thin_pool_name, lv_name, role, set_index, position, state, operation_id"
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # It can not take back a constraint in place.
        _rebuild(sa.Column("replaces_brick_id", sa.String(length=32), nullable=True), _replaces_check())
    else:
        op.add_column("brick", sa.Column("replaces_brick_id", sa.String(length=32), nullable=True))
        op.create_check_constraint(op.f("ck_brick_replaces"), "brick", _REPLACES)
        for place in _PLACES:
            op.drop_constraint(_name(place), "brick", type_="unique")
    for place in _PLACES:
        where = sa.text(_HAS_PLACE)
        op.create_index(_name(place), "brick", list(place), unique=True, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    connection = op.get_bind()
    count = connection.scalar(
        sa.text("SELECT count(*) FROM operation WHERE end_time_us IS NULL AND kind = 'evict_brick'")
    )
    if count:
        raise RuntimeError(
            f"{count} operations that revision {down_revision} does not know are not finished; downgrade when they are"
        )
    op.execute("DELETE FROM operation WHERE kind = 'evict_brick'")
    if connection.dialect.name == "postgresql":
        # It alters no table while a deferred check of references to its rows waits.
        op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for place in _PLACES:
        op.drop_index(_name(place), table_name="brick")
    if connection.dialect.name == "sqlite":
        _rebuild(*(sa.UniqueConstraint(*place, name=op.f(_name(place))) for place in _PLACES))
        return
    for place in _PLACES:
        op.create_unique_constraint(op.f(_name(place)), "brick", list(place))
    op.drop_constraint(op.f("ck_brick_replaces"), "brick", type_="check")
    op.drop_column("brick", "replaces_brick_id")


def _name(place: tuple[str, ...]) -> str:
    return f"uq_brick_{'_'.join(place)}"


def _replaces_check() -> sa.CheckConstraint:
    return sa.CheckConstraint(_REPLACES, name=op.f("ck_brick_replaces"))


def _rebuild(*parts: sa.schema.SchemaItem) -> None:
    """Makes the table anew with `parts` besides what both revisions have, and takes its rows over."""
    op.rename_table("brick", "brick_before")
    for index in ("ix_brick_device_id_id", "ix_brick_operation_id", "ix_brick_device_id_thin_pool_name"):
        op.drop_index(index, table_name="brick_before")
    op.create_table(
        "brick",
        *(
            sa.Column(name, sa.String(length=32), nullable=False)
            for name in ("id", "volume_id", "device_id", "node_id")
        ),
        sa.Column("path", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("size_bytes", "thin_pool_size_bytes", "pool_metadata_size_bytes")
        ),
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
        *parts,
    )
    op.execute(f"INSERT INTO brick ({_COLUMNS}) SELECT {_COLUMNS} FROM brick_before")  # noqa: S608 - constants only
    op.drop_table("brick_before")
    op.create_index("ix_brick_device_id_id", "brick", ["device_id", "id"], unique=False)
    op.create_index("ix_brick_device_id_thin_pool_name", "brick", ["device_id", "thin_pool_name"], unique=False)
    op.create_index(
        "ix_brick_operation_id",
        "brick",
        ["operation_id"],
        unique=False,
        sqlite_where=sa.text("operation_id IS NOT NULL"),
    )
