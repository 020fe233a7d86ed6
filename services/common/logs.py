"""Structured logs: one JSON object a line on stderr, with the request id of whatever runs. Effects: stderr."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from services.common.context import request_id

LogFormat = Literal["json", "text"]
LOG_LEVELS = ("debug", "info", "warning", "error")
_level = "info"


def _add_request_id(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    current = request_id()
    if current:
        event.setdefault("request_id", current)
    return event


def configure_logs(*, process: str, level: str = "info", log_format: LogFormat = "json") -> None:
    """Sets up the logs of this process.

    Args:
        process: Name that every line carries, e.g. "brickyard-agent".
        level: One of LOG_LEVELS.
        log_format: "json" for machines, "text" for a terminal.
    """
    renderer: Any = structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_request_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        # Loggers are made at import, before this runs; a cached one would keep what it was made with.
        cache_logger_on_first_use=False,
    )
    set_level_of_logs(level)
    structlog.contextvars.bind_contextvars(process=process)


def level_of_logs() -> str:
    """Least severity that this process logs now: one of LOG_LEVELS, or "critical"."""
    return _level


def set_level_of_logs(level: str) -> None:
    """Changes the least severity that this process logs.

    Args:
        level: One of LOG_LEVELS, or "critical", which is more than anything that we log: silence.
    """
    global _level  # noqa: PLW0603 - structlog's set-up is one for the process, and does not tell its level
    _level = level
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())))


def get_logger() -> Any:
    """A logger; events are named noun.verb, everything else is key and value."""
    return structlog.get_logger()


def audit(event: str, **fields: object) -> None:
    """Writes a line about a change and who asked for it, whatever the least severity of the logs is.

    Args:
        event: What happened, as noun.verb.
        fields: Who, to what, in which operation.
    """
    structlog.wrap_logger(structlog.PrintLogger(sys.stderr), wrapper_class=structlog.BoundLogger).info(
        event, audit=True, **fields
    )
