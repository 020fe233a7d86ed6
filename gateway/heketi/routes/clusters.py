"""Clusters; everything about them is answered at once."""

from gateway.heketi import render, schemas
from gateway.heketi.context import Context
from gateway.heketi.http import JSON_TYPE, Answer, Request, json_answer
from gateway.heketi.router import Route
from gateway.heketi.routes.ids import known_form


async def create(request: Request, context: Context) -> Answer:
    """POST /clusters."""
    asked = schemas.cluster_body(await request.body())
    cluster = await context.use_cases.create_cluster(
        file_enabled=asked.file, block_enabled=asked.block, request_id=request.idempotency_key
    )
    return json_answer(render.cluster(cluster), 201)


async def list_all(_request: Request, context: Context) -> Answer:
    """GET /clusters."""
    return json_answer(render.cluster_list(await context.use_cases.list_clusters()))


async def info(request: Request, context: Context) -> Answer:
    """GET /clusters/{id}."""
    return json_answer(render.cluster(await context.use_cases.get_cluster(known_form(request))))


async def set_flags(request: Request, context: Context) -> Answer:
    """POST /clusters/{id}/flags; the answer has a JSON type and no body, as Heketi's."""
    asked = schemas.cluster_body(await request.body())
    await context.use_cases.set_cluster_flags(known_form(request), file_enabled=asked.file, block_enabled=asked.block)
    return Answer(200, headers=(JSON_TYPE,))


async def delete(request: Request, context: Context) -> Answer:
    """DELETE /clusters/{id}."""
    await context.use_cases.delete_cluster(known_form(request))
    return Answer(200)


ROUTES = (
    Route("POST", "/clusters", create),
    Route("GET", "/clusters", list_all),
    Route("GET", "/clusters/{id}", info),
    Route("POST", "/clusters/{id}/flags", set_flags),
    Route("DELETE", "/clusters/{id}", delete),
)
