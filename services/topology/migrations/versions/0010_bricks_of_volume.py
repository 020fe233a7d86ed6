"""An index by which the bricks of a volume are found; those that hold their places leave out some rows."""

from alembic import op

revision = "0010"
down_revision = "0009"
_INDEX = "ix_brick_volume_id_set_index_position"


def upgrade() -> None:
    op.create_index(_INDEX, "brick", ["volume_id", "set_index", "position"])


def downgrade() -> None:
    op.drop_index(_INDEX, "brick")
