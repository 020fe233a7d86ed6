"""The queue: how a client learns what became of a change. An entry is an operation, its id the operation's."""

from brickyard.topology.v1 import operation_pb2
from gateway.heketi.context import Context
from gateway.heketi.http import Answer, Request, see_other
from gateway.heketi.router import Route
from gateway.heketi.routes.ids import known_form
from gateway.heketi.texts import failures, refusals

# Where clients find what an operation made; after all others there is nothing to look at.
_RESULTS = {
    operation_pb2.OPERATION_KIND_CREATE_VOLUME: "/volumes/",
    operation_pb2.OPERATION_KIND_EXPAND_VOLUME: "/volumes/",
    operation_pb2.OPERATION_KIND_CLONE_VOLUME: "/volumes/",
    operation_pb2.OPERATION_KIND_ADD_NODE: "/nodes/",
    operation_pb2.OPERATION_KIND_CREATE_BLOCK_VOLUME: "/blockvolumes/",
    operation_pb2.OPERATION_KIND_EXPAND_BLOCK_VOLUME: "/blockvolumes/",
    operation_pb2.OPERATION_KIND_SET_BLOCK_RESTRICTION: "/volumes/",
}
# The entry of every change that was over when it was answered: a client has to find one, and there is no operation.
DONE_ENTRY = "0" * 32
_PENDING = Answer(200, headers=((b"x-pending", b"true"),))


async def poll(request: Request, context: Context) -> Answer:
    """GET /queue/{id}; answers within a moment, and the same again for as long as the operation is kept."""
    if request.target_id == DONE_ENTRY:
        return Answer(204)
    operation = await context.use_cases.poll_operation(known_form(request))
    if operation is None:
        return _PENDING
    if operation.state == operation_pb2.OPERATION_STATE_SUCCEEDED:
        result = _RESULTS.get(operation.kind)
        return Answer(204) if result is None else see_other(result + operation.target_id)
    # A stalled operation has failed for good; it only waits for a node to clean up, which may take days.
    raise refusals.Refused(500, failures.failure_text(operation))


ROUTES = (Route("GET", "/queue/{id}", poll),)
