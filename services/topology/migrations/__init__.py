"""The schema's history. `upgrade` brings a database to the newest revision; it is cheap when there is nothing to do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.config import Config

# The newest revision; kept here so that an up-to-date database is recognised without loading Alembic.
HEAD = "0010"
_LOCK_KEY = 0x627269636B  # "brick", for PostgreSQL's advisory lock


def current(connection: sa.Connection) -> str | None:
    """The revision that the database has; None for an empty one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return revision


def config(connection: sa.Connection) -> "Config":
    """Alembic's configuration for this database; nothing comes from an ini file."""
    from alembic.config import Config  # noqa: PLC0415 - loading Alembic takes longer than most starts need

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def known(connection: sa.Connection) -> set[str]:
    """All revisions that this program knows."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    return {each.revision for each in ScriptDirectory.from_config(config(connection)).walk_revisions()}


def upgrade(connection: sa.Connection, target: str = HEAD) -> None:
    """Brings the database to `target` within the caller's transaction; servers that start together take turns."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    if current(connection) == target:
        return
    _command().upgrade(config(connection), target)


def downgrade(connection: sa.Connection, target: str) -> None:
    """Takes the database back to `target`; "base" empties it."""
    _command().downgrade(config(connection), target)


def _command() -> Any:
    from alembic import command  # noqa: PLC0415 - as above

    return command
