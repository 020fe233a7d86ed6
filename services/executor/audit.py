"""A line for each change of the node: who asked for it, in which operation, and how it ended. Effects: the log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from services.common.context import caller
from services.common.errors import BrickyardError
from services.common.logs import audit, get_logger
from services.executor.journal import operation_of
from services.executor.node import Node

_log = get_logger()
# Of an id that nobody has checked yet.
_MOST_SHOWN = 128


@contextmanager
def audited(method: str, request_id: str, node: Node) -> Iterator[None]:
    """Writes a line about a change: who asked for it, in which operation, and how it ended."""
    identity = caller()
    started = time.monotonic()
    outcome = "CRASHED"
    try:
        yield
        outcome = "OK"
    except BrickyardError as error:
        outcome = error.reason.value
        raise
    finally:
        write = audit if node.always_audited else partial(_log.info, audit=True)
        write(
            "node.changed",
            method=method,
            caller=identity.uri if identity is not None else "",
            operation_id=operation_of(request_id)[:_MOST_SHOWN],
            journal_id=request_id[:_MOST_SHOWN],
            node=node.hostname(),
            outcome=outcome,
            duration_s=round(time.monotonic() - started, 4),
        )
