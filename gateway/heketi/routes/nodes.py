"""Nodes."""

from brickyard.topology.v1 import node_pb2
from gateway.heketi import render, schemas, validation
from gateway.heketi.context import Context
from gateway.heketi.http import Answer, Request, accepted, json_answer
from gateway.heketi.router import Route
from gateway.heketi.routes.ids import known_form
from gateway.heketi.routes.tagging import change_tags
from gateway.heketi.texts.errors import Action
from gateway.usecases import NewNode
from services.common.errors import NotFoundError
from services.common.ids import is_id
from services.common.reasons import Reason

_STATES = {
    "online": node_pb2.NODE_STATE_ONLINE,
    "offline": node_pb2.NODE_STATE_OFFLINE,
    "failed": node_pb2.NODE_STATE_FAILED,
}


async def add(request: Request, context: Context) -> Answer:
    """POST /nodes."""
    asked = schemas.node_body(await request.body())
    validation.check_node(asked)
    if not is_id(asked.cluster):
        raise NotFoundError(Reason.CLUSTER_NOT_FOUND, "no cluster has such an id", cluster_id=asked.cluster)
    operation = await context.use_cases.add_node(
        NewNode(
            cluster_id=asked.cluster,
            zone=asked.zone,
            manage_hostnames=asked.manage,
            storage_hostnames=asked.storage,
            tags=asked.tags,
        ),
        request_id=request.idempotency_key,
    )
    return accepted(operation.id)


async def info(request: Request, context: Context) -> Answer:
    """GET /nodes/{id}."""
    node, devices = await context.use_cases.get_node(known_form(request))
    return json_answer(render.node(node, devices))


async def delete(request: Request, context: Context) -> Answer:
    """DELETE /nodes/{id}."""
    operation = await context.use_cases.delete_node(known_form(request), request_id=request.idempotency_key)
    return accepted(operation.id)


async def set_state(request: Request, context: Context) -> Answer:
    """POST /nodes/{id}/state."""
    asked = schemas.state_body(await request.body())
    validation.check_state(asked)
    operation = await context.use_cases.set_node_state(
        known_form(request),
        _STATES[asked.state],
        skip_heal_check=asked.healcheck == "disable",
        request_id=request.idempotency_key,
    )
    return accepted(operation.id)


async def set_tags(request: Request, context: Context) -> Answer:
    """POST /nodes/{id}/tags."""
    return await change_tags(request, context.use_cases.update_node_tags)


ROUTES = (
    Route("POST", "/nodes", add, Action.ADD_NODE),
    Route("GET", "/nodes/{id}", info),
    Route("DELETE", "/nodes/{id}", delete, Action.DELETE_NODE),
    Route("POST", "/nodes/{id}/state", set_state),
    Route("POST", "/nodes/{id}/tags", set_tags),
)
