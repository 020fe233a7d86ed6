"""Where the state is kept: engine, transactions, and all that differs between SQLite and PostgreSQL. Effects: SQL.

One call of a use case is one transaction, run by `Store.read` or `Store.write`. A writer of SQLite holds the database
(BEGIN IMMEDIATE); writers on PostgreSQL run at READ COMMITTED and lock rows in one order: server, cluster, operation.
Readers see one snapshot on both.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from services.common.errors import InvalidArgumentError, UnavailableError
from services.common.logs import get_logger
from services.common.reasons import Reason

T = TypeVar("T")
_log = get_logger()
_ATTEMPTS = 4
_BUSY_TIMEOUT_S = 15.0
_MIN_SQLITE = (3, 35, 0)
# serialization_failure, deadlock_detected: PostgreSQL asks to run the transaction again.
_REPEATABLE = frozenset({"40001", "40P01"})
_WRITES = "brickyard_writes"
_DURABLE = "brickyard_durable"
_MICROSECONDS = 1_000_000
_TAKE_TURNS = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


class Transaction:
    """The one transaction of a call. Rows that it gives have the columns as attributes and can not be changed."""

    def __init__(self, connection: sa.Connection, clock: Callable[[], int] | None) -> None:
        self._connection = connection
        self._clock = clock

    @cached_property
    def now_us(self) -> int:
        """Microseconds since 1970 on the clock that leases are measured with; the same all through the transaction."""
        if self._clock is not None:
            return self._clock()
        # Several servers share this database: its clock is the only one that they share too.
        seconds = self._connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
        return int(seconds * _MICROSECONDS)

    def take_turns(self, key: str) -> None:
        """Lets calls about the same `key` run one after the other, until this transaction ends."""
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(_TAKE_TURNS, {"key": key})

    @property
    def is_alone(self) -> bool:
        """Whether a writer's rows stay as it has read them, without a lock, until its transaction ends."""
        return self._connection.dialect.name == "sqlite"

    @property
    def connection(self) -> sa.Connection:
        """For statements that give no rows of a table."""
        return self._connection

    def all(self, kind: type[T], statement: sa.Executable, values: Mapping[str, Any] | None = None) -> Sequence[T]:
        """All rows of a statement that selects columns of `kind`'s table."""
        del kind  # it tells the type checker what the rows are
        return cast("Sequence[T]", self._connection.execute(statement, values).all())

    def first(self, kind: type[T], statement: sa.Executable, values: Mapping[str, Any] | None = None) -> T | None:
        """The first row of a statement that selects columns of `kind`'s table; None when there is none."""
        del kind  # it tells the type checker what the rows are
        return cast("T | None", self._connection.execute(statement, values).first())

    def scalar(self, statement: sa.Executable, values: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row; None when there is none."""
        return self._connection.execute(statement, values).scalar()

    def run(
        self, statement: sa.Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> int:
        """Runs a change, once or for each set of values, and returns the number of changed rows."""
        if isinstance(values, Sequence) and not values:
            return 0
        return self._connection.execute(statement, values).rowcount


class Store:
    """The database of one topology process."""

    def __init__(self, url: str, *, clock: Callable[[], int] | None = None, connections: int = 32) -> None:
        """Prepares the engine; connects on first use.

        Args:
            url: "sqlite:///FILE", "sqlite://" (memory, for trials) or "postgresql://USER:PASSWORD@HOST/NAME".
            clock: Microseconds since 1970; None = this machine's for SQLite, the database's for PostgreSQL.
            connections: At most so many at a time; as many as there are server threads.

        Raises:
            InvalidArgumentError: Not a URL of one of the two engines.
        """
        parsed = _checked_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.shown_url = parsed.render_as_string(hide_password=True)
        self._lock: AbstractContextManager[Any] = nullcontext()
        self._read_lock: AbstractContextManager[Any] = nullcontext()
        if self.is_sqlite:
            # Waiting for a lock is fair and wakes at once; SQLite's own waiting sleeps.
            self._lock = threading.Lock()
            self._clock: Callable[[], int] | None = clock or _local_clock
            self.engine = self._sqlite_engine(parsed, connections)
        else:
            self._clock = clock
            self.engine = sa.create_engine(
                parsed, pool_size=connections, max_overflow=0, pool_pre_ping=True, isolation_level="READ COMMITTED"
            )
        self._reader = self.engine.execution_options()
        if not self.is_sqlite:
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._writers = {
            durable: self.engine.execution_options(**{_WRITES: True, _DURABLE: durable}) for durable in (False, True)
        }

    def _sqlite_engine(self, url: sa.URL, connections: int) -> sa.Engine:
        in_memory = url.database in {None, "", ":memory:"}
        arguments = {"check_same_thread": False, "timeout": _BUSY_TIMEOUT_S}
        if in_memory:
            # One connection for all threads, so one transaction at a time.
            self._read_lock = self._lock
            engine = sa.create_engine(url, poolclass=StaticPool, connect_args=arguments)
        else:
            engine = sa.create_engine(url, pool_size=connections, max_overflow=0, connect_args=arguments)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Runs `work` on one snapshot of the state.

        Raises:
            UnavailableError: The database does not answer.
        """
        with self._read_lock:
            return self._run(self._reader, work)

    def write(self, work: Callable[[Transaction], T], *, durable: bool = True) -> T:
        """Runs `work` in one transaction; whatever it raises takes everything back. It may run more than once.

        Args:
            work: The change.
            durable: Whether the change must survive a power cut the moment this returns; progress need not.

        Raises:
            UnavailableError: The database does not answer.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._lock:
                    return self._run(self._writers[durable], lambda tx: self._prepared(tx, work, durable=durable))
            except (IntegrityError, _RepeatError) as error:
                # Another writer was faster: the second time, the checks see what it did.
                _log.info("store.repeated", attempt=attempt, error=str(error.orig or error))
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _prepared(self, tx: Transaction, work: Callable[[Transaction], T], *, durable: bool) -> T:
        if not durable and not self.is_sqlite:
            tx.connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        return work(tx)

    def _run(self, engine: sa.Engine, work: Callable[[Transaction], T]) -> T:
        try:
            with engine.begin() as connection:
                return work(Transaction(connection, self._clock))
        except IntegrityError:
            raise
        except (OperationalError, InterfaceError, sa.exc.TimeoutError) as error:
            if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _REPEATABLE:
                raise _RepeatError(error.statement, error.params, cast("BaseException", error.orig)) from error
            cause = getattr(error, "orig", None) or error
            raise UnavailableError(
                Reason.UNAVAILABLE,
                f"the database {engine.url.render_as_string(hide_password=True)} does not answer: {cause}",
            ) from error

    def check_ready(self) -> None:
        """Raises UnavailableError unless the database answers."""
        self.read(lambda tx: tx.scalar(sa.text("SELECT 1")))

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


class _RepeatError(OperationalError):
    """PostgreSQL gave this transaction up in favour of another."""


def _checked_url(url: str) -> sa.URL:
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise _bad_url(f"cannot be read: {error}") from error
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise _bad_url(f"{backend} is not supported; use sqlite:///FILE or postgresql://...")
    if sqlite3.sqlite_version_info < _MIN_SQLITE:
        raise _bad_url(f"SQLite {sqlite3.sqlite_version} is too old")
    return parsed.set(drivername="sqlite+pysqlite")


def _bad_url(problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.INVALID_ARGUMENT, f"database: {problem}", field="database")


def _local_clock() -> int:
    return time.time_ns() // 1000


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver shall not begin transactions by itself; `_begin_sqlite` does.
    connection.isolation_level = None
    _use_write_ahead_log(connection)
    for pragma in ("foreign_keys = ON", "synchronous = NORMAL", "cache_size = -16384"):
        connection.execute(f"PRAGMA {pragma}").close()


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    give_up_at = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
        else:
            return
        # This statement alone does not wait for another process that uses a new database; beginning to write does.
        connection.execute("BEGIN IMMEDIATE").close()
        connection.execute("ROLLBACK").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(_WRITES):
        connection.exec_driver_sql("BEGIN")
        return
    # NORMAL keeps the database intact in a power cut, FULL also keeps the last transactions.
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    driver.execute(f"PRAGMA synchronous = {'FULL' if options.get(_DURABLE) else 'NORMAL'}").close()
    connection.exec_driver_sql("BEGIN IMMEDIATE")
