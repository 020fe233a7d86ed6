"""A topology on each engine: SQLite in a file, and PostgreSQL where BRICKYARD_TEST_POSTGRES names a server.

The variable holds the URL of a database whose user may create others, e.g. postgresql://postgres@/postgres?host=/tmp/pg.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from services.common.ids import new_id
from services.topology import migrations
from services.topology.store import Store
from tests.unit.topology.builders import Clock, World

VARIABLE = "BRICKYARD_TEST_POSTGRES"


def _migrated(url: str) -> None:
    with closing(Store(url)) as store:
        store.write(lambda tx: migrations.upgrade(tx.connection))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "topology.db"
    _migrated(f"sqlite:///{path}")
    return path


class PostgresServer:
    """Makes and removes databases on the server of the environment."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self._engine = sa.create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def url_of(self, name: str) -> str:
        return self._url.set(database=name).render_as_string(hide_password=False)

    def create(self, name: str, template: str = "template0") -> str:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url_of(name)

    def drop(self, name: str) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def away(self, name: str) -> Iterator[None]:
        """A database that takes no connections for the length of a block, and has ended those that there were."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            ending = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
            connection.execute(ending, {"name": name})
            try:
                yield
            finally:
                connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.skip(f"NOT RUN ON POSTGRESQL: {VARIABLE} names no server")
    return PostgresServer(url)


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> Iterator[str]:
    name = f"brickyard_template_{new_id()}"
    _migrated(postgres.create(name))
    yield name
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without a schema."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"brickyard_test_{new_id()}"
    yield server.create(name)
    server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database with the newest schema and nothing in it."""
    if request.param == "sqlite":
        path = tmp_path / "topology.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    template: str = request.getfixturevalue("postgres_template")
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"brickyard_test_{new_id()}"
    yield server.create(name, template)
    server.drop(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: str, clock: Clock) -> Iterator[Store]:
    with closing(Store(database, clock=clock)) as opened:
        yield opened


@pytest.fixture
def world(store: Store, clock: Clock) -> World:
    return World(store, clock)


@pytest.fixture
def corrupt(store: Store) -> Callable[..., None]:
    """Runs statements with checks and references out of force, as a damaged or hand-edited database has it."""

    def run(*statements: str) -> None:
        with store.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            if store.is_sqlite:
                for statement in ("PRAGMA foreign_keys = OFF", "PRAGMA ignore_check_constraints = ON", *statements):
                    driver.execute(statement)
                driver.execute("PRAGMA ignore_check_constraints = OFF")
                driver.execute("PRAGMA foreign_keys = ON")
                return
            names = sa.text(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype IN ('c', 'f') "
                "AND connamespace = 'public'::regnamespace ORDER BY contype DESC"
            )
            for table, name in connection.execute(names).all():
                connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            for statement in statements:
                connection.exec_driver_sql(statement)
            connection.commit()

    return run
