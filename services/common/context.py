"""What belongs to one request and travels with it: its id, and who called. Carried in context variables."""

from contextvars import ContextVar

from services.common.identity import Identity
from services.common.ids import is_id, new_id

REQUEST_ID_KEY = "x-request-id"

_request_id: ContextVar[str] = ContextVar("brickyard_request_id", default="")
_caller: ContextVar[Identity | None] = ContextVar("brickyard_caller", default=None)


def request_id() -> str:
    """Id of the current request; empty outside of one."""
    return _request_id.get()


def enter_request(given: str | None) -> str:
    """Makes `given` the current request's id, or a fresh one when it is missing or no id, and returns it."""
    chosen = given if given is not None and is_id(given) else new_id()
    _request_id.set(chosen)
    return chosen


def caller() -> Identity | None:
    """Who calls; None outside of a call."""
    return _caller.get()


def enter_caller(identity: Identity) -> None:
    """Notes who calls."""
    _caller.set(identity)
