"""Block volumes, and whether hosting volumes take new ones."""

from brickyard.topology.v1 import volume_pb2
from gateway.heketi import render, schemas, validation
from gateway.heketi.context import Context
from gateway.heketi.http import Answer, Request, accepted, json_answer
from gateway.heketi.router import Route
from gateway.heketi.routes.ids import known_form
from gateway.heketi.texts import refusals
from gateway.heketi.texts.errors import Action
from gateway.usecases import NewBlockVolume
from services.common.ids import is_id
from services.common.units import GIB

_RESTRICTIONS = {
    "": volume_pb2.BLOCK_RESTRICTION_UNSPECIFIED,
    "locked": volume_pb2.BLOCK_RESTRICTION_LOCKED,
}


async def create(request: Request, context: Context) -> Answer:
    """POST /blockvolumes."""
    asked = schemas.block_volume_body(await request.body())
    validation.check_block_volume(asked)
    for cluster_id in asked.clusters:
        # What can not be an id is no cluster's; the use case would call it a malformed request.
        if not is_id(cluster_id):
            raise (
                refusals.cluster_not_in_request(cluster_id)
                if await context.use_cases.list_clusters()
                else (refusals.no_clusters())
            )
    operation = await context.use_cases.create_block_volume(
        NewBlockVolume(
            size_bytes=asked.size * GIB,
            name=asked.name,
            cluster_ids=asked.clusters,
            ha_count=asked.hacount,
            auth=asked.auth,
        ),
        request_id=request.idempotency_key,
    )
    return accepted(operation.id)


async def list_all(_request: Request, context: Context) -> Answer:
    """GET /blockvolumes."""
    return json_answer(render.block_volume_list(await context.use_cases.list_block_volumes()))


async def info(request: Request, context: Context) -> Answer:
    """GET /blockvolumes/{id}."""
    return json_answer(render.block_volume(await context.use_cases.get_block_volume(known_form(request))))


async def expand(request: Request, context: Context) -> Answer:
    """POST /blockvolumes/{id}/expand; the size is the new one in all."""
    new_size = schemas.new_size(await request.body())
    validation.check_new_size(new_size)
    operation = await context.use_cases.expand_block_volume(
        known_form(request), new_size * GIB, request_id=request.idempotency_key
    )
    return accepted(operation.id)


async def delete(request: Request, context: Context) -> Answer:
    """DELETE /blockvolumes/{id}."""
    operation = await context.use_cases.delete_block_volume(known_form(request), request_id=request.idempotency_key)
    return accepted(operation.id)


async def restrict(request: Request, context: Context) -> Answer:
    """POST /volumes/{id}/block-restriction."""
    restriction = schemas.restriction(await request.body())
    validation.check_restriction(restriction)
    operation = await context.use_cases.set_block_restriction(
        known_form(request), _RESTRICTIONS[restriction], request_id=request.idempotency_key
    )
    return accepted(operation.id)


ROUTES = (
    Route("POST", "/blockvolumes", create, Action.CREATE_BLOCK_VOLUME),
    Route("GET", "/blockvolumes", list_all),
    Route("GET", "/blockvolumes/{id}", info),
    Route("DELETE", "/blockvolumes/{id}", delete, Action.DELETE_BLOCK_VOLUME),
    Route("POST", "/blockvolumes/{id}/expand", expand, Action.EXPAND_BLOCK_VOLUME),
    Route("POST", "/volumes/{id}/block-restriction", restrict, Action.SET_BLOCK_RESTRICTION),
)
