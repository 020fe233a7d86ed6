"""The flags of the operation engine, and the settings that they make."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gateway.operations.settings import EngineSettings, NodePatience

_Command = TypeVar("_Command", bound=Callable[..., Any])
# Often enough that an operation does not wait long, and no more often than a lease can run out.
_LONGEST_CLAIM_INTERVAL_S = 5.0
_POSITIVE = click.FloatRange(0, min_open=True)
_OPTIONS = (
    click.option(
        "--lease-seconds",
        type=click.FloatRange(1, 600),
        default=15.0,
        show_default=True,
        help="How long an operation waits for a dead gateway before another takes it over.",
    ),
    click.option(
        "--claim-seconds",
        type=_POSITIVE,
        default=None,
        help="How often operations of dead gateways are looked for. Default: half a lease, at most 5.",
    ),
    click.option(
        "--retry-seconds",
        type=_POSITIVE,
        default=10.0,
        show_default=True,
        help="Pause between attempts to take an operation back on a node that does not answer.",
    ),
    click.option(
        "--max-inflight-operations",
        type=click.IntRange(0),
        default=8,
        show_default=True,
        help="Volume operations at the same time over all gateways; more get 429. 0 = no limit.",
    ),
    click.option(
        "--create-retries",
        type=click.IntRange(0),
        default=4,
        show_default=True,
        help="How often a volume that could not be made is placed anew, without the node or device that failed.",
    ),
    click.option(
        "--node-timeout-seconds",
        type=_POSITIVE,
        default=600.0,
        show_default=True,
        help="Longest wait for one change on a node.",
    ),
    click.option(
        "--node-patience-seconds",
        type=click.FloatRange(0),
        default=10.0,
        show_default=True,
        help="How long a node that does not answer is asked again before the operation is taken back.",
    ),
)


def engine_options(command: _Command) -> _Command:
    """The flags of the engine; `engine_settings` turns them into EngineSettings."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def engine_settings(
    owner: str,
    *,
    lease_seconds: float,
    claim_seconds: float | None,
    retry_seconds: float,
    max_inflight_operations: int,
    create_retries: int,
    node_timeout_seconds: float,
    node_patience_seconds: float,
) -> EngineSettings:
    """The settings of the engine from its flags.

    Args:
        owner: Unique name of this gateway.
        lease_seconds: See EngineSettings, as the others.
        claim_seconds: None = half a lease, at most 5 s.
        retry_seconds: Above 0.
        max_inflight_operations: 0 = no limit.
        create_retries: 0 or more.
        node_timeout_seconds: Above 0.
        node_patience_seconds: 0 or more.
    """
    return EngineSettings(
        owner=owner,
        lease_s=lease_seconds,
        claim_interval_s=claim_seconds or min(_LONGEST_CLAIM_INTERVAL_S, lease_seconds / 2),
        retry_interval_s=retry_seconds,
        max_in_flight=max_inflight_operations,
        create_retries=create_retries,
        patience=NodePatience(change_s=node_timeout_seconds, silence_s=node_patience_seconds),
    )
