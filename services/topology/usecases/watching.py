"""Reading operations, once, as a list, and as they change. Effects: SQL, waiting."""

from collections.abc import Callable, Iterator

from sqlalchemy import bindparam, select, tuple_

from brickyard.topology.v1 import operation_pb2
from services.common.errors import InvalidArgumentError, NotFoundError, UnavailableError
from services.common.pagination import decode_page_token, encode_page_token
from services.common.reasons import Reason
from services.topology.convert_operations import operation_message
from services.topology.domain.checks import MAX_REQUEST_ID_LENGTH, check_id, check_text
from services.topology.domain.lifecycle import ENDED
from services.topology.store import Store, Transaction
from services.topology.tables import OPERATION, OperationRow
from services.topology.usecases.feed import ChangeFeed
from services.topology.usecases.operations import BY_REQUEST, get_row

# Changes by other servers of the same database are found by looking; clients notice no delay below this.
LOOK_INTERVAL_S = 0.5
_REVISION = select(OPERATION.c.revision).where(OPERATION.c.id == bindparam("id"))
_PAGE = select(OPERATION).order_by(OPERATION.c.create_time_us.desc(), OPERATION.c.id.desc()).limit(bindparam("count"))
_NEXT_PAGE = _PAGE.where(
    tuple_(OPERATION.c.create_time_us, OPERATION.c.id) < tuple_(bindparam("time_us"), bindparam("id"))
)


def get(store: Store, operation_id: str) -> operation_pb2.Operation:
    """An operation. Raises NotFoundError (OPERATION_NOT_FOUND)."""
    check_id("operation_id", operation_id)
    return operation_message(store.read(lambda tx: get_row(tx, operation_id)))


def get_by_request(store: Store, request_id: str) -> operation_pb2.Operation:
    """The operation that a request began. Raises NotFoundError (OPERATION_NOT_FOUND)."""
    check_text("request_id", request_id, MAX_REQUEST_ID_LENGTH)
    row = store.read(lambda tx: tx.first(OperationRow, BY_REQUEST, {"request_id": request_id}))
    if row is None:
        raise NotFoundError(
            Reason.OPERATION_NOT_FOUND, f"no operation has the request id {request_id!r}", request_id=request_id
        )
    return operation_message(row)


def list_page(
    store: Store, *, page_token: str, count: int, unfinished_only: bool
) -> tuple[list[operation_pb2.Operation], str]:
    """At most `count` operations, newest first, and the token of the next page, empty on the last.

    Raises:
        InvalidArgumentError: INVALID_PAGE_TOKEN.
    """
    statement = _PAGE
    values: dict[str, int | str] = {"count": count + 1}
    if page_token:
        time_us, operation_id = _position(page_token)
        statement, values = _NEXT_PAGE, {**values, "time_us": time_us, "id": operation_id}
    if unfinished_only:
        statement = statement.where(OPERATION.c.end_time_us.is_(None))
    rows = store.read(lambda tx: tx.all(OperationRow, statement, values))
    shown = rows[:count]
    more = len(rows) > count
    token = encode_page_token(f"{shown[-1].create_time_us} {shown[-1].id}") if more else ""
    return [operation_message(row) for row in shown], token


def _position(page_token: str) -> tuple[int, str]:
    time_us, _, operation_id = decode_page_token(page_token).partition(" ")
    if not time_us.isdecimal() or not operation_id:
        raise InvalidArgumentError(
            Reason.INVALID_PAGE_TOKEN, f"page_token: {page_token!r} is not a token of this list", field="page_token"
        )
    return int(time_us), operation_id


def watch(
    store: Store,
    feed: ChangeFeed,
    operation_id: str,
    *,
    on_leave: Callable[[Callable[[], None]], bool],
    is_active: Callable[[], bool],
) -> Iterator[operation_pb2.Operation]:
    """The operation now and after each change, until it has ended or the caller has gone.

    Args:
        store: The state.
        feed: Tells of changes in this process.
        operation_id: Which operation.
        on_leave: Registers what to call when the caller goes; False when it has gone already.
        is_active: Whether the caller is there.

    Raises:
        NotFoundError: OPERATION_NOT_FOUND, also when it is forgotten while it is watched.
        UnavailableError: This server stops; watch another.
    """
    check_id("operation_id", operation_id)
    seen = -1
    with feed.subscription(operation_id) as wake:
        if not on_leave(wake.set):
            return
        while is_active():
            wake.clear()
            row = store.read(lambda tx, seen=seen: _newer(tx, operation_id, seen))  # type: ignore[misc]
            if row is not None:
                seen = row.revision
                yield operation_message(row)
                if row.state in ENDED:
                    return
            if feed.closed:
                raise UnavailableError(Reason.UNAVAILABLE, "the server stops; watch again")
            wake.wait(LOOK_INTERVAL_S)


def _newer(tx: Transaction, operation_id: str, seen: int) -> OperationRow | None:
    if tx.scalar(_REVISION, {"id": operation_id}) == seen:
        return None
    return get_row(tx, operation_id)
