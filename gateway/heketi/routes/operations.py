"""Pending operations. They end without anybody's help; the cleanup only spares them their pause."""

import time

from gateway.heketi import pending, schemas, validation
from gateway.heketi.context import Context
from gateway.heketi.go_json import write
from gateway.heketi.http import Answer, Request, accepted, json_answer
from gateway.heketi.router import Route
from gateway.heketi.routes.queue import DONE_ENTRY
from gateway.heketi.texts import refusals


async def info(_request: Request, context: Context) -> Answer:
    """GET /operations."""
    operations = await context.use_cases.list_operations(unfinished_only=True)
    return json_answer(write(pending.counts(operations, time.time())))


async def list_all(_request: Request, context: Context) -> Answer:
    """GET /operations/pending."""
    operations = pending.known_here(await context.use_cases.list_operations(unfinished_only=True))
    now_s = time.time()
    return json_answer(write({"pendingoperations": [pending.summary(each, now_s) for each in operations]}))


async def details(request: Request, context: Context) -> Answer:
    """GET /operations/pending/{id}; an operation that has ended is not pending any more."""
    known = pending.known_here(await context.use_cases.list_operations(unfinished_only=True))
    for operation in known:
        if operation.id == request.target_id:
            return json_answer(write(pending.details(operation, time.time(), known)))
    raise refusals.no_pending_operation(request.target_id)


async def clean_up(request: Request, context: Context) -> Answer:
    """POST /operations/pending/cleanup; what there is to do is done when it is answered."""
    operation_ids = schemas.cleanup_ids(await request.body())
    validation.check_cleanup(operation_ids)
    await context.use_cases.cleanup_operations(operation_ids)
    return accepted(DONE_ENTRY)


ROUTES = (
    Route("GET", "/operations", info),
    Route("GET", "/operations/pending", list_all),
    Route("GET", "/operations/pending/{id}", details),
    Route("POST", "/operations/pending/cleanup", clean_up),
)
