"""`heketi-cli cluster`."""

from gateway.cli.heketi_cli import blocks, capacity
from gateway.cli.heketi_cli.arguments import Command, Flag, UsageFault, parse_bool
from gateway.cli.heketi_cli.call import Call, write

_NO_ID = "Cluster id missing"


def _create(call: Call) -> None:
    flags = {name: call.flags[name] for name in ("block", "file")}
    made = call.client.change("POST", "/clusters", flags)
    call.show(made, f"Cluster id: {made['id']}\n")


def _set_flags(call: Call) -> None:
    cluster_id = call.first(_NO_ID)
    if not call.flags["file"] and not call.flags["block"]:
        raise UsageFault("At least one of --file or --block must be specified.")
    wanted = {}
    for name in ("block", "file"):
        if call.flags[name]:
            try:
                wanted[name] = parse_bool(call.flags[name])
            except ValueError as error:
                raise UsageFault(str(error)) from error
    present = call.client.get(f"/clusters/{cluster_id}") if len(wanted) < 2 else {}
    body = {name: wanted.get(name, present.get(name)) for name in ("block", "file")}
    call.client.change("POST", f"/clusters/{cluster_id}/flags", body)


def _delete(call: Call) -> None:
    cluster_id = call.first(_NO_ID)
    call.client.change("DELETE", f"/clusters/{cluster_id}")
    write(f"Cluster {cluster_id} deleted\n")


def _info(call: Call) -> None:
    found = call.client.get(f"/clusters/{call.first(_NO_ID)}")
    call.show(found, blocks.cluster(found))


def _list(call: Call) -> None:
    found = call.client.get("/clusters")
    if call.wants_json:
        call.show(found, "")
        return
    write("Clusters:\n")
    for cluster_id in found["clusters"]:
        write(blocks.cluster_line(call.client.get(f"/clusters/{cluster_id}")))


_BLOCK = "\n\tWhether block volumes may be made in the cluster"
_FILE = "\n\tWhether file volumes may be made in the cluster"

CLUSTER = Command(
    "cluster",
    "Heketi cluster management",
    about="Heketi Cluster Management",
    commands=(
        Command(
            "create",
            "Create a cluster",
            flags=(Flag("block", "bool", _BLOCK, default=True), Flag("file", "bool", _FILE, default=True)),
            run=_create,
            example="  $ heketi-cli cluster create --block=false",
        ),
        Command(
            "delete", "Delete the cluster", run=_delete, arguments="ID", example="  $ heketi-cli cluster delete ID"
        ),
        Command("info", "Retrieves information about cluster", run=_info, arguments="ID"),
        Command("list", "Lists the clusters managed by Heketi", run=_list),
        Command(
            "setflags",
            "Set flags on a cluster",
            flags=(Flag("block", "string", _BLOCK), Flag("file", "string", _FILE)),
            run=_set_flags,
            arguments="ID",
            example="  $ heketi-cli cluster setflags --file=false ID",
        ),
        *capacity.COMMANDS,
    ),
)
