"""Calls and changes over gRPC or REST, followed to their end. Effects: network, and their progress on the terminal."""

import asyncio
from typing import Any

import click

from gateway.cli import operation_calls, operation_texts, operation_views
from gateway.cli.connection import Connection, call_operator, told_to_user
from gateway.cli.rest_connection import RestConnection
from gateway.cli.waiting import sign_of_life

# A change is recorded within it; it then runs as an operation.
_TIMEOUT_S = 60.0
_PAGE = 10_000


def change_over_rest(access: RestConnection, method: str, path: str, body: Any = None, *, text: str) -> Any:
    """A change, followed to its end; the JSON of its result, None when it has none.

    Args:
        access: Where the gateway is.
        method: POST, DELETE, or GET for a resync.
        path: Of the request.
        body: JSON.
        text: What is being done, for who waits longer than a moment.

    Raises:
        click.ClickException: It was refused or it failed.
    """
    with told_to_user(), access.client() as client, sign_of_life(text):
        return client.change(method, path, body)


def run_operation(access: Connection, method: str, request: Any) -> str:
    """Begins an operation and shows its progress to its end; the id of what it is about.

    Raises:
        click.ClickException: It was refused or it failed; tells what to do next.
    """
    begun = call_rpc(access, method, request).operation
    with told_to_user(access), operation_views.transient_display() as display:
        (ended,) = asyncio.run(operation_calls.watch(access, begun.id, display.update))
    if operation_texts.has_failed(ended):
        advice = operation_texts.next_step(ended, 0)
        raise click.ClickException(
            f"{ended.error.message}\nNext: {advice}\nAll about it: brickyard operations show {ended.id}"
        )
    return str(ended.target_id)


def call_rpc(access: Connection, method: str, request: Any) -> Any:
    """One call of OperatorService with a request of its own.

    Raises:
        click.ClickException: It was refused.
    """
    fields = {field.name: value for field, value in request.ListFields()}
    return call_operator(access, method, timeout_s=_TIMEOUT_S, **fields)


def list_all(access: Connection, method: str, request: Any, field: str) -> list[Any]:
    """All of what a method of OperatorService lists, page by page.

    Args:
        access: Where the gateway is.
        method: One with pages.
        request: What is asked for; its pages are set here.
        field: The list in its answers.

    Raises:
        click.ClickException: It was refused.
    """
    found: list[Any] = []
    request.page_size = _PAGE
    while True:
        answer = call_rpc(access, method, request)
        found += getattr(answer, field)
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token
