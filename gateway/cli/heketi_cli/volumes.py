"""`heketi-cli volume` and `blockvolume`."""

import json
from pathlib import Path
from typing import Any

from gateway.cli.heketi_cli import blocks
from gateway.cli.heketi_cli.arguments import Command, Flag, UsageFault
from gateway.cli.heketi_cli.call import Call, note, write

_NO_VOLUME = "Volume id missing"


def _list_of(text: str) -> list[str]:
    return text.split(",") if text else []


def creation(size: int, flags: Any) -> dict[str, Any]:
    """The body that asks for a volume, in the order of Heketi's client.

    Args:
        size: GiB.
        flags: Values of the flags of `volume create`.
    """
    factor = flags["snapshot-factor"]
    clusters, options = _list_of(flags["clusters"]), _list_of(flags["gluster-volume-options"])
    snapshot = {"enable": True, "factor": _number(factor)} if factor > 1 else {"enable": False, "factor": 0}
    return {
        "size": size,
        **({"clusters": clusters} if clusters else {}),
        "name": flags["name"],
        "durability": {
            "type": flags["durability"],
            "replicate": {"replica": flags["replica"]} if flags["replica"] else {},
            "disperse": {
                key: value
                for key, value in (("data", flags["disperse-data"]), ("redundancy", flags["redundancy"]))
                if value
            },
        },
        **({"gid": flags["gid"]} if flags["gid"] else {}),
        **({"glustervolumeoptions": options} if options else {}),
        **({"block": True} if flags["block"] else {}),
        "snapshot": snapshot,
    }


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _create(call: Call) -> None:
    size = call.needs("size", "Missing volume size")
    endpoint = call.flags["persistent-volume-endpoint"]
    if call.flags["persistent-volume"] and not endpoint:
        note("--persistent-volume-endpoint must be provided when using --persistent-volume")
        raise UsageFault("Missing endpoint")
    made = call.client.change("POST", "/volumes", creation(size, call.flags))
    as_file = call.flags["persistent-volume-file"]
    if not call.flags["persistent-volume"] and not as_file:
        call.show(made, blocks.volume(made))
        return
    text = json.dumps(_persistent_volume(made, endpoint), indent=2) + "\n"
    if as_file:
        Path(as_file).write_text(text)
    else:
        write(text)


def _persistent_volume(made: Any, endpoint: str) -> dict[str, Any]:
    return {
        "kind": "PersistentVolume",
        "apiVersion": "v1",
        "metadata": {
            "name": f"glusterfs-{made['id'][:8]}",
            "creationTimestamp": None,
            "annotations": {"pv.beta.kubernetes.io/gid": str(made.get("gid", 0))},
        },
        "spec": {
            "capacity": {"storage": f"{made['size']}Gi"},
            "glusterfs": {"endpoints": endpoint or "TYPE ENDPOINT HERE", "path": made["name"]},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
        },
        "status": {},
    }


def _delete(call: Call) -> None:
    volume_id = call.first(_NO_VOLUME)
    call.client.change("DELETE", f"/volumes/{volume_id}")
    write(f"Volume {volume_id} deleted\n")


def _expand(call: Call) -> None:
    volume_id = call.arguments[0] if call.arguments else call.flags["volume"]
    if not volume_id:
        raise UsageFault("Missing volume id")
    size = call.needs("expand-size", "Missing volume amount to expand")
    grown = call.client.change("POST", f"/volumes/{volume_id}/expand", {"expand_size": size})
    call.show(grown, blocks.volume(grown))


def _info(call: Call) -> None:
    found = call.client.get(f"/volumes/{call.first(_NO_VOLUME)}")
    call.show(found, blocks.volume(found))


def _list(call: Call) -> None:
    found = call.client.get("/volumes")
    if call.wants_json:
        call.show(found, "")
        return
    for volume_id in found["volumes"]:
        write(blocks.volume_line(call.client.get(f"/volumes/{volume_id}")))


def _clone(call: Call) -> None:
    volume_id = call.first(_NO_VOLUME)
    body = {"name": call.flags["name"]} if call.flags["name"] else {}
    made = call.client.change("POST", f"/volumes/{volume_id}/clone", body)
    call.show(made, blocks.volume(made))


def _restrict(call: Call) -> None:
    if len(call.arguments) < 2:
        raise UsageFault(_NO_VOLUME)
    wanted, volume_id = call.arguments[:2]
    if wanted not in ("locked", "unlocked"):
        raise UsageFault(f"unknown restriction: {wanted}; it is locked or unlocked")
    body = {"restriction": "locked" if wanted == "locked" else ""}
    found = call.client.change("POST", f"/volumes/{volume_id}/block-restriction", body)
    call.show(found, blocks.volume(found))


def _patch_endpoint(call: Call) -> None:
    write(blocks.endpoint_patch(call.client.get(f"/volumes/{call.first(_NO_VOLUME)}")))


CREATE_FLAGS = (
    Flag("size", "int", "\n\tSize of volume in GiB", default=0),
    Flag("name", "string", "\n\tOptional: Name of volume. Only set if really necessary"),
    Flag("durability", "string", "\n\tOptional: Durability type: none, replicate or disperse", default="replicate"),
    Flag("replica", "int", "\n\tReplica value for durability type 'replicate'", default=3),
    Flag("disperse-data", "int", "\n\tOptional: Dispersion value for durability type 'disperse'", default=4),
    Flag("redundancy", "int", "\n\tOptional: Redundancy value for durability type 'disperse'", default=2),
    Flag("gid", "int", "\n\tOptional: Group id that owns the root of the volume", default=0),
    Flag("snapshot-factor", "float", "\n\tOptional: Room for snapshots; above 1 it enables them", default=1.0),
    Flag("clusters", "string", "\n\tOptional: Comma separated list of the clusters that may be used"),
    Flag("gluster-volume-options", "string", "\n\tOptional: Comma separated list of volume options"),
    Flag("block", "bool", "\n\tOptional: Make a volume that hosts block volumes", default=False),
    Flag("persistent-volume", "bool", "\n\tOptional: Print a Kubernetes persistent volume", default=False),
    Flag("persistent-volume-endpoint", "string", "\n\tOptional: Its endpoint"),
    Flag("persistent-volume-file", "string", "\n\tOptional: Write it to this file"),
)

VOLUME = Command(
    "volume",
    "Heketi volume management",
    about="Heketi Volume Management",
    commands=(
        Command(
            "clone",
            "Creates a clone",
            flags=(Flag("name", "string", "\n\tOptional: Name"),),
            run=_clone,
            arguments="ID",
        ),
        Command(
            "create",
            "Create a GlusterFS volume",
            flags=CREATE_FLAGS,
            run=_create,
            example="  $ heketi-cli volume create --size=100 --replica=3",
        ),
        Command("delete", "Deletes the volume", run=_delete, arguments="ID"),
        Command(
            "endpoint",
            "utilities for working on volume endpoint",
            commands=(
                Command("patch", "Prints addresses for the endpoints of a volume", run=_patch_endpoint, arguments="ID"),
            ),
        ),
        Command(
            "expand",
            "Expand a volume",
            flags=(
                Flag("volume", "string", "\n\tId of volume to expand"),
                Flag("expand-size", "int", "\n\tAmount in GiB to add to the volume", default=0),
            ),
            run=_expand,
            arguments="[ID]",
            example="  $ heketi-cli volume expand ID --expand-size=10",
        ),
        Command("info", "Retrieves information about the volume", run=_info, arguments="ID"),
        Command("list", "Lists the volumes managed by Heketi", run=_list),
        Command(
            "set-block-hosting-restriction",
            "set volume's block hosting restriction",
            run=_restrict,
            arguments="locked|unlocked ID",
        ),
    ),
)


# --- block volumes ----------------------------------------------------------------------------------------------------


def _create_block(call: Call) -> None:
    size = call.needs("size", "Missing volume size")
    if call.flags["ha"] < 0:
        raise UsageFault("Invalid HA count")
    clusters = _list_of(call.flags["clusters"])
    body = {
        "size": size,
        **({"clusters": clusters} if clusters else {}),
        "name": call.flags["name"],
        **({"hacount": call.flags["ha"]} if call.flags["ha"] else {}),
        **({"auth": True} if call.flags["auth"] else {}),
    }
    made = call.client.change("POST", "/blockvolumes", body)
    call.show(made, blocks.block_volume(made))


def _delete_block(call: Call) -> None:
    volume_id = call.first(_NO_VOLUME)
    call.client.change("DELETE", f"/blockvolumes/{volume_id}")
    write(f"Volume {volume_id} deleted\n")


def _block_info(call: Call) -> None:
    found = call.client.get(f"/blockvolumes/{call.first(_NO_VOLUME)}")
    call.show(found, blocks.block_volume(found))


def _list_blocks(call: Call) -> None:
    found = call.client.get("/blockvolumes")
    if call.wants_json:
        call.show(found, "")
        return
    for volume_id in found["blockvolumes"]:
        write(blocks.volume_line(call.client.get(f"/blockvolumes/{volume_id}")))


def _expand_block(call: Call) -> None:
    volume_id = call.arguments[0] if call.arguments else call.flags["blockvolume"]
    if not volume_id:
        raise UsageFault("Missing block volume id")
    size = call.needs("new-size", "Missing block volume net new size")
    grown = call.client.change("POST", f"/blockvolumes/{volume_id}/expand", {"new_size": size})
    call.show(grown, blocks.block_volume(grown))


BLOCK_VOLUME = Command(
    "blockvolume",
    "Heketi volume management",
    about="Heketi Block Volume Management",
    commands=(
        Command(
            "create",
            "Create a GlusterFS block volume",
            flags=(
                Flag("size", "int", "\n\tSize of volume in GiB", default=0),
                Flag("name", "string", "\n\tOptional: Name of volume"),
                Flag("ha", "int", "\n\tOptional: How many hosts serve it; 0 = all", default=0),
                Flag("auth", "bool", "\n\tOptional: Whether initiators have to authenticate", default=False),
                Flag("clusters", "string", "\n\tOptional: Comma separated list of the clusters that may be used"),
            ),
            run=_create_block,
            example="  $ heketi-cli blockvolume create --size=100 --ha=3",
        ),
        Command("delete", "Deletes the volume", run=_delete_block, arguments="ID"),
        Command(
            "expand",
            "Expand a block volume",
            flags=(
                Flag("blockvolume", "string", "\n\tId of block volume to expand"),
                Flag("new-size", "int", "\n\tIts new size in GiB", default=0),
            ),
            run=_expand_block,
            arguments="[ID]",
        ),
        Command("info", "Retrieves information about the volume", run=_block_info, arguments="ID"),
        Command("list", "Lists the volumes managed by Heketi", run=_list_blocks),
    ),
)
