"""What commands print for programs: JSON whose keys are the field names of the API. Effects: stdout."""

import json
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.progress import say

if TYPE_CHECKING:
    from google.protobuf.message import Message

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON with the field names of the API (protos/brickyard)."
)


def as_fields(message: "Message") -> dict[str, Any]:
    """The message with the field names of the API; fields without a value are there too, so that keys are stable."""
    from google.protobuf import json_format  # noqa: PLC0415 - slow to load, and --help needs none of it

    fields: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return fields


def say_result(*lines: str, as_json: bool, **fields: Any) -> None:
    """What a change came to: lines for people, or the fields as JSON."""
    if as_json:
        say_json(fields)
        return
    for line in lines:
        say(line)


def to_stderr(line: str) -> None:
    """A line for whoever watches, where stdout is for a program."""
    click.echo(line, err=True)


def say_json(shown: "Message | dict[str, Any]") -> None:
    """A message or fields as JSON on one line."""
    say(json.dumps(shown if isinstance(shown, dict) else as_fields(shown)))
