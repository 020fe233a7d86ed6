"""Who belongs to Brickyard: tokens to join with, certificates, and which of them do not count any more."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "join_token",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("node_name", sa.String(length=255), nullable=False),
        sa.Column("hosts", sa.JSON(), nullable=False),
        sa.Column("create_time_us", sa.BigInteger(), nullable=False),
        sa.Column("expire_time_us", sa.BigInteger(), nullable=False),
        sa.Column("key_digest", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_join_token")),
    )
    op.create_index("ix_join_token_node_name", "join_token", ["node_name"])
    op.create_table(
        "certificate",
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("hosts", sa.JSON(), nullable=False),
        sa.Column("issue_time_us", sa.BigInteger(), nullable=False),
        sa.Column("expire_time_us", sa.BigInteger(), nullable=False),
        sa.Column("authority_pin", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificate")),
    )
    op.create_index("ix_certificate_role_name", "certificate", ["role", "name"])
    op.create_table(
        "revocation",
        sa.Column("subject", sa.String(length=512), nullable=False),
        sa.Column("before_s", sa.BigInteger(), nullable=False),
        sa.Column("revoke_time_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_by", sa.String(length=512), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_revocation")),
    )
    op.create_table(
        "authority",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bundle", sa.LargeBinary(), nullable=False),
        sa.Column("signer", sa.String(length=80), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_authority_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authority")),
    )


def downgrade() -> None:
    for table in ("authority", "revocation", "certificate", "join_token"):
        op.drop_table(table)
