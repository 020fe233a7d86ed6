"""`brickyard node`, `device` and `brick`: what adds, changes and removes them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.output import json_option, say_result
from gateway.cli.rest_connection import access_options

if TYPE_CHECKING:
    from gateway.cli.member_calls import Access, Kind, State

# How a node or a device is named on the command line.
_METAVARS: Mapping["Kind", str] = {"node": "NODE", "device": "DEVICE"}
_SAMPLES: Mapping["Kind", str] = {"node": "10.0.0.11", "device": "10.0.0.11:/dev/sdb"}
_MEANS: Mapping["Kind", str] = {
    "node": "NODE is the management host name or the id.",
    "device": "DEVICE is HOST:PATH, with the node's management host name, or the id.",
}
_skip_heal_check = click.option(
    "--skip-heal-check", is_flag=True, help="Also while clients' data waits to be healed from it. May lose data."
)


def _tags(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    tags = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE")
        tags[key] = value
    return tags


_tag_option = click.option(
    "--tag", "tags", multiple=True, callback=_tags, metavar="KEY=VALUE", help="A tag. May be repeated."
)


@click.command(
    "add",
    epilog="""\b
Examples:
  brickyard node add 10.0.0.11 --cluster 67e267ea403dfcdf80731165b300d1ca --zone 1
  brickyard node add node1.example --storage-host 10.1.0.11 --cluster 67e267ea... --zone 2 --tag rack=a1
""",
)
@click.argument("host")
@click.option("--cluster", "cluster_id", required=True, metavar="ID", help="Its cluster; see: brickyard cluster list.")
@click.option(
    "--zone",
    type=click.IntRange(1),
    required=True,
    help="Failure domain: copies of the same data go to different zones where they can.",
)
@click.option(
    "--storage-host",
    "storage",
    multiple=True,
    metavar="HOST",
    help="Name or address that gluster and its clients use. May be repeated. Default: HOST.",
)
@_tag_option
@json_option
@access_options
def add_node(
    *,
    connection: "Access",
    host: str,
    cluster_id: str,
    zone: int,
    storage: tuple[str, ...],
    tags: Mapping[str, str],
    as_json: bool,
) -> None:
    """Takes a node into a cluster. HOST is the name that its agent has in its certificate; glusterd must run there."""
    from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

    node_id = member_calls.add_node(
        connection, cluster_id=cluster_id, zone=zone, manage=host, storage=storage or (host,), tags=tags
    )
    say_result(
        f"node {host} ({node_id}) is added; now its disks: brickyard device add {host} PATH",
        as_json=as_json,
        node_id=node_id,
    )


@click.command(
    "add",
    epilog="""\b
Examples:
  brickyard device add 10.0.0.11 /dev/sdb
  brickyard device add 10.0.0.11 /dev/sdc --tag speed=fast --destroy-data
""",
)
@click.argument("node")
@click.argument("path")
@_tag_option
@click.option("--destroy-data", is_flag=True, help="Wipe the disk first; the agent must allow it (--allow-destroy).")
@json_option
@access_options
def add_device(
    *, connection: "Access", node: str, path: str, tags: Mapping[str, str], destroy_data: bool, as_json: bool
) -> None:
    """Takes the disk PATH of NODE in; it must be a whole, empty disk. NODE is a management host name or an id."""
    from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

    owner = member_calls.find_member(connection, "node", node)
    device_id = member_calls.add_device(connection, owner, path, tags=tags, destroy_data=destroy_data)
    say_result(f"device {owner.name}:{path} ({device_id}) is added", as_json=as_json, device_id=device_id)


def _named(kind: "Kind", name: str, help_text: str, sample: str = "") -> Callable[[Callable[..., Any]], click.Command]:
    """A command about one node or device, which its function gets as `member`; it returns what it has to tell."""

    def decorate(function: Callable[..., Mapping[str, Any]]) -> click.Command:
        def command(*, connection: "Access", member: str, as_json: bool, **given: Any) -> None:
            from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

            found = member_calls.find_member(connection, kind, member)
            told = dict(function(connection, found, **given))
            text = told.pop("text")
            say_result(f"{kind} {found} {text}", as_json=as_json, **{f"{kind}_id": found.id}, **told)

        # What the function takes itself comes behind the name of what it is about.
        command.__click_params__ = list(getattr(function, "__click_params__", []))  # type: ignore[attr-defined]
        decorated = click.argument("member", metavar=_METAVARS[kind])(json_option(access_options(command)))
        return click.command(
            name,
            help=f"{help_text}\n\n{_MEANS[kind]}",
            epilog=f"\b\nExample:\n  brickyard {kind} {name} {sample or _SAMPLES[kind]}",
        )(decorated)

    return decorate


def _state_command(kind: "Kind", name: str, state: "State", help_text: str, text: str) -> click.Command:
    def change(connection: "Access", member: Any) -> Mapping[str, Any]:
        from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

        member_calls.set_state(connection, kind, member, state)
        return {"text": text, "state": state}

    return _named(kind, name, help_text)(change)


def _evict_command(kind: "Kind", text: str) -> click.Command:
    def change(connection: "Access", member: Any, *, skip_heal_check: bool) -> Mapping[str, Any]:
        from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

        member_calls.evict(connection, kind, member, skip_heal_check=skip_heal_check)
        return {"text": text, "state": "failed"}

    help_text = (
        f"Moves all bricks of the {kind} to others, and waits for it. It takes no new bricks from now on. Clients go "
        "on all the time. A brick that has no other place, or that others heal from, stays and is named; repeat the "
        "command then. Interrupted, the work goes on."
    )
    return _named(kind, "evict", help_text)(_skip_heal_check(change))


def _remove_command(kind: "Kind", help_text: str) -> click.Command:
    def remove(connection: "Access", member: Any, *, force_forget: bool = False) -> Mapping[str, Any]:
        from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

        member_calls.remove_member(connection, kind, member, force_forget=force_forget)
        return {"text": "is removed"}

    forget = click.option(
        "--force-forget", is_flag=True, help="Also when its node does not answer, for a disk that is dead."
    )
    return _named(kind, "remove", help_text)(forget(remove) if kind == "device" else remove)


def _tag_command(kind: "Kind") -> click.Command:
    def tag(
        connection: "Access", member: Any, *, tags: Mapping[str, str], removed: tuple[str, ...], exact: bool
    ) -> Mapping[str, Any]:
        from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

        if not (tags or removed or exact):
            raise click.UsageError("give KEY=VALUE, --remove KEY, or --exact alone to take all away")
        if exact and removed:
            raise click.UsageError("--exact takes all other tags away; --remove is not for it")
        if tags or exact:
            member_calls.change_tags(connection, kind, member, "set" if exact else "update", tags)
        if removed:
            member_calls.change_tags(connection, kind, member, "delete", dict.fromkeys(removed, ""))
        now = member_calls.get_tags(connection, kind, member)
        shown = " ".join(f"{key}={value}" for key, value in sorted(now.items()))
        return {"text": f"has the tags {shown}" if now else "has no tags", "tags": now}

    for option in (
        click.option("--exact", is_flag=True, help="Take all other tags away."),
        click.option("--remove", "removed", multiple=True, metavar="KEY", help="Take this tag away. May be repeated."),
        click.argument("tags", nargs=-1, callback=_tags, metavar="[KEY=VALUE]..."),
    ):
        tag = option(tag)
    help_text = f"Sets or takes away tags of the {kind}; rules of placement may ask for them."
    return _named(kind, "tag", help_text, f"{_SAMPLES[kind]} rack=a1 --remove speed")(tag)


def _resync(connection: "Access", member: Any) -> Mapping[str, Any]:
    from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

    member_calls.resync_device(connection, member)
    return {"text": "was measured again"}


NODE_COMMANDS = (
    add_node,
    _state_command("node", "enable", "online", "Lets the node take new bricks.", "is online"),
    _state_command(
        "node", "disable", "offline", "Keeps new bricks off the node; those it has stay.", "takes no new bricks"
    ),
    _evict_command("node", "has no bricks any more; to take it out: remove its devices, then: brickyard node remove"),
    _remove_command("node", "Takes the node out of its cluster; remove its devices before."),
    _tag_command("node"),
)
DEVICE_COMMANDS = (
    add_device,
    _state_command("device", "enable", "online", "Lets the device take new bricks.", "is online"),
    _state_command(
        "device", "disable", "offline", "Keeps new bricks off the device; those it has stay.", "takes no new bricks"
    ),
    _evict_command("device", "has no bricks any more; to take it out: brickyard device remove"),
    _remove_command("device", "Takes the device out and wipes what Brickyard made on it; move its bricks away before."),
    _named("device", "resync", "Measures the device again, and takes up what it has grown.")(_resync),
    _tag_command("device"),
)


@click.group()
def brick() -> None:
    """Bricks of volumes; `brickyard volume show` lists them."""


@brick.command(
    epilog="""\b
Example:
  brickyard brick evict 7f19b27e5a4f38a044754a2a6fd03c03
"""
)
@click.argument("brick_id", metavar="ID")
@_skip_heal_check
@json_option
@access_options
def evict(*, connection: "Access", brick_id: str, skip_heal_check: bool, as_json: bool) -> None:
    """Moves the brick ID to another device, while clients go on, and waits for it."""
    from gateway.cli import member_calls  # noqa: PLC0415 - slow to load

    member_calls.evict_brick(connection, brick_id, skip_heal_check=skip_heal_check)
    say_result(f"brick {brick_id} is moved", as_json=as_json, brick_id=brick_id)
