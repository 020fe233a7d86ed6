"""Volumes."""

from brickyard.topology.v1 import volume_pb2
from gateway.heketi import render, schemas, validation
from gateway.heketi.context import Context
from gateway.heketi.http import Answer, Request, accepted, json_answer
from gateway.heketi.router import Route
from gateway.heketi.routes.ids import known_form
from gateway.heketi.schemas import VolumeBody
from gateway.heketi.texts import refusals
from gateway.heketi.texts.errors import Action
from gateway.heketi.texts.refusals import Refused
from gateway.usecases import NewVolume
from services.common.errors import NotFoundError
from services.common.ids import is_id
from services.common.units import GIB

# The volume on which Heketi kept its own database.
_DATABASE_VOLUME = "heketidbstorage"
_DURABILITIES = {
    "": volume_pb2.DURABILITY_TYPE_NONE,
    "none": volume_pb2.DURABILITY_TYPE_NONE,
    "replicate": volume_pb2.DURABILITY_TYPE_REPLICATE,
    "disperse": volume_pb2.DURABILITY_TYPE_DISPERSE,
}


async def create(request: Request, context: Context) -> Answer:
    """POST /volumes."""
    asked = schemas.volume_body(await request.body())
    validation.check_volume(asked)
    await _check_clusters_and_size(asked, context)
    operation = await context.use_cases.create_volume(_new_volume(asked), request_id=request.idempotency_key)
    return accepted(operation.id)


async def _check_clusters_and_size(asked: VolumeBody, context: Context) -> None:
    """Raises Refused for what no use case can be asked.

    Heketi looks for the clusters before it looks at the smallest size; only a volume that is refused in any case pays
    for the look.
    """
    try:
        validation.check_size(asked, context.settings.min_brick_size_bytes)
    except Refused:
        await _check_clusters(asked, context)
        raise
    if not all(map(is_id, asked.clusters)):
        await _check_clusters(asked, context)


async def _check_clusters(asked: VolumeBody, context: Context) -> None:
    known = {cluster.id for cluster in await context.use_cases.list_clusters()}
    if not known:
        raise refusals.no_clusters()
    for cluster_id in asked.clusters:
        if cluster_id not in known:
            raise refusals.cluster_not_in_request(cluster_id)


def _new_volume(asked: VolumeBody) -> NewVolume:
    return NewVolume(
        size_bytes=asked.size * GIB,
        name=asked.name,
        cluster_ids=asked.clusters,
        durability=volume_pb2.Durability(
            type=_DURABILITIES[asked.durability_type],
            replica_count=asked.replica,
            data_count=asked.disperse_data,
            redundancy_count=asked.disperse_redundancy,
        ),
        gid=asked.gid,
        options=asked.options,
        block=asked.block,
        snapshot_enabled=asked.snapshot_enable,
        # A factor without the flag is forgotten (Heketi's rule).
        snapshot_factor=asked.snapshot_factor if asked.snapshot_enable else 1.0,
    )


async def list_all(_request: Request, context: Context) -> Answer:
    """GET /volumes."""
    return json_answer(render.volume_list(await context.use_cases.list_volume_ids()))


async def info(request: Request, context: Context) -> Answer:
    """GET /volumes/{id}."""
    volume, mount_hosts = await context.use_cases.get_volume(known_form(request))
    return json_answer(render.volume(volume, mount_hosts))


async def expand(request: Request, context: Context) -> Answer:
    """POST /volumes/{id}/expand."""
    added = schemas.expand_size(await request.body())
    validation.check_expand_size(added)
    operation = await context.use_cases.expand_volume(
        known_form(request), added * GIB, request_id=request.idempotency_key
    )
    return accepted(operation.id)


async def clone(request: Request, context: Context) -> Answer:
    """POST /volumes/{id}/clone."""
    name = schemas.clone_name(await request.body())
    validation.check_clone_name(name)
    operation = await context.use_cases.clone_volume(known_form(request), name=name, request_id=request.idempotency_key)
    return accepted(operation.id)


async def delete(request: Request, context: Context) -> Answer:
    """DELETE /volumes/{id}."""
    volume_id = known_form(request)
    try:
        volume, _ = await context.use_cases.get_volume(volume_id)
    except NotFoundError:
        # Absent, or being made or removed: the use case tells these apart.
        pass
    else:
        if volume.name == _DATABASE_VOLUME:
            raise refusals.database_volume()
    operation = await context.use_cases.delete_volume(volume_id, request_id=request.idempotency_key)
    return accepted(operation.id)


ROUTES = (
    Route("POST", "/volumes", create, Action.CREATE_VOLUME),
    Route("GET", "/volumes", list_all),
    Route("GET", "/volumes/{id}", info),
    Route("DELETE", "/volumes/{id}", delete, Action.DELETE_VOLUME),
    Route("POST", "/volumes/{id}/expand", expand, Action.EXPAND_VOLUME),
    Route("POST", "/volumes/{id}/clone", clone, Action.CLONE_VOLUME),
)
