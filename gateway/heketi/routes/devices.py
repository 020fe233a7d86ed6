"""Devices."""

from brickyard.topology.v1 import device_pb2
from gateway.heketi import render, schemas, validation
from gateway.heketi.context import Context
from gateway.heketi.http import Answer, Request, accepted, accepted_page, json_answer
from gateway.heketi.router import Route
from gateway.heketi.routes.ids import known_form
from gateway.heketi.routes.tagging import change_tags
from gateway.heketi.texts.errors import Action
from gateway.usecases import NewDevice
from services.common.errors import NotFoundError
from services.common.ids import is_id
from services.common.reasons import Reason

_STATES = {
    "online": device_pb2.DEVICE_STATE_ONLINE,
    "offline": device_pb2.DEVICE_STATE_OFFLINE,
    "failed": device_pb2.DEVICE_STATE_FAILED,
}


async def add(request: Request, context: Context) -> Answer:
    """POST /devices; the new device is found through its node."""
    asked = schemas.device_body(await request.body())
    validation.check_device(asked)
    if not is_id(asked.node):
        raise NotFoundError(Reason.NODE_NOT_FOUND, "no node has such an id", node_id=asked.node)
    operation = await context.use_cases.add_device(
        NewDevice(node_id=asked.node, path=asked.name, tags=asked.tags, destroy_data=asked.destroydata),
        request_id=request.idempotency_key,
    )
    return accepted(operation.id)


async def info(request: Request, context: Context) -> Answer:
    """GET /devices/{id}."""
    return json_answer(render.device(await context.use_cases.get_device(known_form(request))))


async def delete(request: Request, context: Context) -> Answer:
    """DELETE /devices/{id}; a body is looked at only when its length was announced (Heketi's rule)."""
    force_forget = schemas.force_forget(await request.body()) if request.declared_length else False
    operation = await context.use_cases.delete_device(
        known_form(request), force_forget=force_forget, request_id=request.idempotency_key
    )
    return accepted(operation.id)


async def set_state(request: Request, context: Context) -> Answer:
    """POST /devices/{id}/state."""
    asked = schemas.state_body(await request.body())
    validation.check_state(asked)
    operation = await context.use_cases.set_device_state(
        known_form(request),
        _STATES[asked.state],
        skip_heal_check=asked.healcheck == "disable",
        request_id=request.idempotency_key,
    )
    return accepted(operation.id)


async def resync(request: Request, context: Context) -> Answer:
    """GET /devices/{id}/resync; it changes something although it is a GET (Heketi's rule)."""
    operation = await context.use_cases.resync_device(known_form(request), request_id=request.idempotency_key)
    return accepted_page(operation.id)


async def set_tags(request: Request, context: Context) -> Answer:
    """POST /devices/{id}/tags."""
    return await change_tags(request, context.use_cases.update_device_tags)


ROUTES = (
    Route("POST", "/devices", add, Action.ADD_DEVICE),
    Route("GET", "/devices/{id}", info),
    Route("DELETE", "/devices/{id}", delete),
    Route("POST", "/devices/{id}/state", set_state),
    Route("POST", "/devices/{id}/tags", set_tags),
    Route("GET", "/devices/{id}/resync", resync, Action.RESYNC_DEVICE),
)
