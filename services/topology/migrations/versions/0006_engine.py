"""Operations that are placed anew, that leave something behind, and that somebody wants retried now."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("operation", sa.Column("placement_count", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("operation", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.add_column("operation", sa.Column("woken", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    connection = op.get_bind()
    count = connection.scalar(sa.text("SELECT count(*) FROM operation WHERE end_time_us IS NULL AND kind = 'clean_up'"))
    if count:
        raise RuntimeError(
            f"{count} operations that revision {down_revision} does not know are not finished; downgrade when they are"
        )
    op.execute("DELETE FROM operation WHERE kind = 'clean_up'")
    if connection.dialect.name == "postgresql":
        # It alters no table while a deferred check of references to its rows waits.
        op.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for column in ("woken", "note", "placement_count"):
        op.drop_column("operation", column)
