"""The process itself: its administrative mode and its log level."""

from gateway.heketi import schemas, validation
from gateway.heketi.admin import Mode
from gateway.heketi.context import Context
from gateway.heketi.go_json import write
from gateway.heketi.http import Answer, Request, json_answer
from gateway.heketi.log_levels import current_level, set_level
from gateway.heketi.router import Route


async def get_mode(_request: Request, context: Context) -> Answer:
    """GET /admin."""
    return json_answer(write({"state": context.admin.mode.value}))


async def set_mode(request: Request, context: Context) -> Answer:
    """POST /admin."""
    wanted = schemas.admin_state(await request.body())
    validation.check_admin_state(wanted)
    context.admin.mode = Mode(wanted)
    return Answer(204)


async def get_log_level(_request: Request, _context: Context) -> Answer:
    """GET /internal/logging."""
    return json_answer(write({"loglevel": {"glusterfs": current_level()}}))


async def set_log_level(request: Request, context: Context) -> Answer:
    """POST /internal/logging; other loggers than Heketi's only one are passed over, an empty level changes nothing."""
    levels = schemas.log_levels(await request.body())
    wanted = validation.checked_log_level(levels)
    if wanted:
        set_level(wanted)
    return await get_log_level(request, context)


ROUTES = (
    Route("GET", "/admin", get_mode),
    Route("POST", "/admin", set_mode),
    Route("GET", "/internal/logging", get_log_level),
    Route("POST", "/internal/logging", set_log_level),
)
