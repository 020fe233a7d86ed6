"""Changes of tags, which nodes and devices have in common."""

from collections.abc import Awaitable, Callable, Mapping

from brickyard.topology.v1 import topology_service_pb2
from gateway.heketi import render, schemas, validation
from gateway.heketi.http import Answer, Request, json_answer
from gateway.heketi.routes.ids import known_form

_CHANGES = {
    "set": topology_service_pb2.TAG_CHANGE_SET,
    "update": topology_service_pb2.TAG_CHANGE_UPDATE,
    "delete": topology_service_pb2.TAG_CHANGE_DELETE,
}
_Update = Callable[[str, topology_service_pb2.TagChange.ValueType, Mapping[str, str]], Awaitable[Mapping[str, str]]]


async def change_tags(request: Request, update: _Update) -> Answer:
    """Carries out the change in the body with `update`, and answers with all tags."""
    asked = schemas.tags_body(await request.body())
    validation.check_tags(asked)
    changed = await update(known_form(request), _CHANGES[asked.change_type], asked.tags)
    return json_answer(render.tags(changed))
