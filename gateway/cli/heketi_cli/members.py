"""`heketi-cli node`, `device` and `brick`."""

import time

from gateway.cli.heketi_cli import blocks
from gateway.cli.heketi_cli.arguments import Command, Flag, UsageFault
from gateway.cli.heketi_cli.call import Call, write
from gateway.cli.heketi_cli.client import ServerFault

_NO_NODE, _NO_DEVICE = "Node id missing", "Device id missing"
_WARNED_S = 10
_SKIP_CHECK = Flag(
    "expert-option-disable-heal-check",
    "bool",
    "\n\tDo not look whether data waits to be healed. Dangerous: it may lose data",
    default=False,
)


# --- what nodes and devices share -------------------------------------------------------------------------------------


def _set_tags(call: Call, kind: str) -> None:
    target = call.first("id required")
    if len(call.arguments) < 2:
        raise UsageFault("at least one tag:value pair expected")
    tags = {}
    for text in call.arguments[1:]:
        key, colon, value = text.partition(":")
        if not colon:
            raise UsageFault(f"expected colon (:) between tag name and value, got: {text}")
        tags[key] = value
    change = "set" if call.flags["exact"] else "update"
    call.client.change("POST", f"/{kind}s/{target}/tags", {"tags": dict(sorted(tags.items())), "change_type": change})


def _remove_tags(call: Call, kind: str) -> None:
    target = call.first("id required")
    names = call.arguments[1:]
    if call.flags["all"] and names:
        raise UsageFault("--all may not be combined with named tags")
    if not call.flags["all"] and not names:
        raise UsageFault("at least one tag expected")
    body = {"tags": dict.fromkeys(sorted(names), ""), "change_type": "set" if call.flags["all"] else "delete"}
    call.client.change("POST", f"/{kind}s/{target}/tags", body)


def _tag_commands(kind: str) -> tuple[Command, ...]:
    return (
        Command(
            "settags",
            f"Sets tags on a {kind}",
            flags=(Flag("exact", "bool", "Make these the only tags", default=False, short="e"),),
            run=lambda call: _set_tags(call, kind),
            arguments="ID TAG:VALUE...",
            example=f"  $ heketi-cli {kind} settags ID rack:a1",
        ),
        Command(
            "rmtags",
            f"Removes tags from a {kind}",
            flags=(Flag("all", "bool", "Remove all tags", default=False),),
            run=lambda call: _remove_tags(call, kind),
            aliases=("deltags", "removetags"),
            arguments="ID TAG...",
            example=f"  $ heketi-cli {kind} rmtags ID rack",
        ),
    )


def _set_state(call: Call, kind: str, missing: str, state: str) -> None:
    target = call.first(missing)
    healcheck = ""
    if state == "failed" and call.flags.get(_SKIP_CHECK.name):
        _warn()
        healcheck = "disable"
    call.client.change("POST", f"/{kind}s/{target}/state", {"state": state, "healcheck": healcheck})
    write(f"{kind.capitalize()} {target} is now {blocks.state(state)}\n")


def _warn() -> None:
    write("Skipping the heal check may be dangerous and increase the risk of data loss.\n")
    write(f" Press CTRL-C within {_WARNED_S} seconds to cancel this action.\n")
    # The pause is for the person, as the text says.
    time.sleep(_WARNED_S)


def _state_commands(kind: str, missing: str, missing_switch: str) -> tuple[Command, ...]:
    return (
        Command(
            "enable",
            f"Allows the {kind} to be used",
            run=lambda call: _set_state(call, kind, missing_switch, "online"),
            arguments="ID",
        ),
        Command(
            "disable",
            f"Keeps new bricks off the {kind}",
            run=lambda call: _set_state(call, kind, missing_switch, "offline"),
            arguments="ID",
        ),
        Command(
            "remove",
            f"Moves all bricks off the {kind}",
            flags=(_SKIP_CHECK,) if kind == "device" else (),
            run=lambda call: _set_state(call, kind, missing, "failed"),
            arguments="ID",
            example=f"  $ heketi-cli {kind} disable ID && heketi-cli {kind} remove ID",
        ),
    )


# --- nodes ------------------------------------------------------------------------------------------------------------


def _add_node(call: Call) -> None:
    body = {
        "zone": call.needs("zone", "Missing zone"),
        "hostnames": {
            "manage": [call.needs("management-host-name", "Missing management hostname")],
            "storage": [call.needs("storage-host-name", "Missing storage hostname")],
        },
        "cluster": call.needs("cluster", "Missing cluster id"),
    }
    made = call.client.change("POST", "/nodes", body)
    call.show(made, "Node information:\n" + blocks.node(made, with_devices=False))


def _node_info(call: Call) -> None:
    found = call.client.get(f"/nodes/{call.first(_NO_NODE)}")
    call.show(found, blocks.node(found, with_devices=True))


def _list_nodes(call: Call) -> None:
    for cluster_id in call.client.get("/clusters")["clusters"]:
        for node_id in call.client.get(f"/clusters/{cluster_id}")["nodes"]:
            write(f"Id:{node_id}\tCluster:{cluster_id}\n")


def _delete_node(call: Call) -> None:
    node_id = call.first(_NO_NODE)
    call.client.change("DELETE", f"/nodes/{node_id}")
    write(f"Node {node_id} deleted\n")


NODE = Command(
    "node",
    "Heketi Node Management",
    commands=(
        Command(
            "add",
            "Add new node to be managed by Heketi",
            flags=(
                Flag("zone", "int", "The zone in which the node should reside", default=0),
                Flag("cluster", "string", "The cluster in which the node should reside"),
                Flag("management-host-name", "string", "Management host name"),
                Flag("storage-host-name", "string", "Storage host name"),
            ),
            run=_add_node,
            example="  $ heketi-cli node add --zone=3 --cluster=ID --management-host-name=n3 --storage-host-name=n3",
        ),
        Command("delete", "Deletes a node from Heketi management", run=_delete_node, arguments="ID"),
        Command("info", "Retrieves information about the node", run=_node_info, arguments="ID"),
        Command("list", "List all nodes in all clusters", run=_list_nodes),
        *_state_commands("node", _NO_NODE, _NO_NODE),
        *_tag_commands("node"),
    ),
)


# --- devices ----------------------------------------------------------------------------------------------------------


def _add_device(call: Call) -> None:
    body = {
        "name": call.needs("name", "Missing device name"),
        "node": call.needs("node", "Missing node id"),
        "destroydata": call.flags["destroy-existing-data"],
    }
    if not body["destroydata"]:
        del body["destroydata"]
    call.client.change("POST", "/devices", body)
    write("Device added successfully\n")


def _device_info(call: Call) -> None:
    found = call.client.get(f"/devices/{call.first(_NO_DEVICE)}")
    call.show(found, blocks.device(found))


def _delete_device(call: Call) -> None:
    device_id = call.first(_NO_DEVICE)
    call.client.change("DELETE", f"/devices/{device_id}", {"forceforget": call.flags["force-forget"]})
    write(f"Device {device_id} deleted\n")


def _resync(call: Call) -> None:
    target = call.first("object/cluster id missing" if call.flags["cluster"] else _NO_DEVICE)
    if not call.flags["cluster"]:
        call.client.change("GET", f"/devices/{target}/resync")
        write(f"Device {target} updated\n")
        return
    write("Cluster-wide resync operation requested. Using object_id as cluster_id.\n")
    failures = []
    for node_id in call.client.get(f"/clusters/{target}")["nodes"]:
        for device in call.client.get(f"/nodes/{node_id}")["devices"]:
            write(f"Now resyncing device {device['id']}..\n")
            try:
                call.client.change("GET", f"/devices/{device['id']}/resync")
            except ServerFault as fault:
                failures.append(f"device {device['id']} (node {node_id}): {fault}")
            else:
                write(f"Device {device['id']} (node {node_id}) in cluster {target} updated\n")
    if failures:
        raise ServerFault("; ".join(failures))


DEVICE = Command(
    "device",
    "Heketi device management",
    about="Heketi Device Management",
    commands=(
        Command(
            "add",
            "Adds new device to node to be managed by Heketi",
            flags=(
                Flag("name", "string", "Name of device to add"),
                Flag("node", "string", "Id of the node which has this device"),
                Flag("destroy-existing-data", "bool", "Destroy any existing data on the device", default=False),
            ),
            run=_add_device,
            example="  $ heketi-cli device add --name=/dev/sdb --node=ID",
        ),
        Command(
            "delete",
            "Deletes a device from Heketi node",
            flags=(Flag("force-forget", "bool", "Forget the device even if its node does not answer", default=False),),
            run=_delete_device,
            arguments="ID",
        ),
        Command("info", "Retrieves information about the device", run=_device_info, arguments="ID"),
        Command(
            "resync",
            "Measures a device, or with --cluster all devices of a cluster, again",
            flags=(Flag("cluster", "bool", "The id is that of a cluster", default=False),),
            run=_resync,
            arguments="ID",
        ),
        *_state_commands("device", _NO_DEVICE, "device id missing"),
        *_tag_commands("device"),
    ),
)


# --- bricks -----------------------------------------------------------------------------------------------------------


def _evict(call: Call) -> None:
    brick_id = call.first("Brick id missing")
    call.refuse_more_than(1, "too many arguments")
    healcheck = ""
    if call.flags[_SKIP_CHECK.name]:
        _warn()
        healcheck = "disable"
    call.client.change("POST", f"/bricks/to-evict/{brick_id}", {"healcheck": healcheck})
    write(f"Brick {brick_id} evicted\n")


BRICK = Command(
    "brick",
    "Heketi brick management",
    about="Heketi Brick Management",
    commands=(
        Command(
            "evict",
            "Move a brick to another place",
            flags=(_SKIP_CHECK,),
            run=_evict,
            arguments="ID",
            example="  $ heketi-cli brick evict ID",
        ),
    ),
)
