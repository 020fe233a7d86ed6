"""Bricks; no route shows them, their ids come from volumes and devices."""

from gateway.heketi import schemas, validation
from gateway.heketi.context import Context
from gateway.heketi.http import Answer, Request, accepted
from gateway.heketi.router import Route
from gateway.heketi.routes.ids import known_form
from gateway.heketi.texts.errors import Action


async def evict(request: Request, context: Context) -> Answer:
    """POST /bricks/to-evict/{id}; a body is looked at only when its length was announced (Heketi's rule)."""
    healcheck = schemas.healcheck(await request.body()) if request.declared_length else ""
    validation.check_healcheck(healcheck)
    operation = await context.use_cases.evict_brick(
        known_form(request), skip_heal_check=healcheck == "disable", request_id=request.idempotency_key
    )
    return accepted(operation.id)


ROUTES = (Route("POST", "/bricks/to-evict/{id}", evict, Action.EVICT_BRICK),)
