"""Calls about nodes, devices and bricks over gRPC or REST. Effects: network, and the progress of changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import cluster_pb2, device_pb2, node_pb2, topology_service_pb2
from gateway.cli.changes import call_rpc, change_over_rest, list_all, run_operation
from gateway.cli.connection import Connection, asking
from gateway.cli.ids import is_id
from gateway.cli.rest_connection import RestConnection

Access = Connection | RestConnection
Kind = Literal["node", "device"]
State = Literal["online", "offline", "failed"]
TagChange = Literal["set", "update", "delete"]

_ADDING = "adding the {}"


@dataclass(frozen=True, slots=True)
class Member:
    """A node or a device.

    Attributes:
        id: Its id.
        name: Management host name of a node, HOST:PATH of a device; the id when only that is known.
    """

    id: str
    name: str

    def __str__(self) -> str:
        return self.id if self.name == self.id else f"{self.name} ({self.id})"


# --- finding ----------------------------------------------------------------------------------------------------------


def find_member(access: Access, kind: Kind, name_or_id: str) -> Member:
    """What is meant by a name or an id.

    Args:
        access: Where the gateway is.
        kind: What it is.
        name_or_id: The management host name of a node, HOST:PATH of a device, or an id.

    Raises:
        click.ClickException: There is nothing of that name.
    """
    if is_id(name_or_id):
        return Member(name_or_id, name_or_id)
    if kind == "node":
        return _find_node(access, name_or_id)
    host, colon, path = name_or_id.partition(":/")
    if not colon:
        raise click.UsageError(f"{name_or_id!r} is neither an id nor HOST:PATH of a device, as node1:/dev/sdb")
    return _find_device(access, _find_node(access, host), f"/{path}")


def _find_node(access: Access, hostname: str) -> Member:
    for node_id, hostnames in _nodes(access):
        if hostname in hostnames:
            return Member(node_id, hostname)
    raise click.ClickException(f"no node has the name or id {hostname!r}; see: brickyard node list")


def _nodes(access: Access) -> list[tuple[str, Sequence[str]]]:
    if isinstance(access, RestConnection):
        with asking(), access.client() as client:
            clusters = [client.get(f"/clusters/{each}") for each in client.get("/clusters")["clusters"]]
            found = [client.get(f"/nodes/{each}") for cluster in clusters for each in cluster["nodes"]]
        return [(each["id"], each["hostnames"]["manage"]) for each in found]
    nodes = list_all(access, "ListNodes", pb.ListNodesRequest(), "nodes")
    return [(each.id, each.manage_hostnames) for each in nodes]


def _find_device(access: Access, node: Member, path: str) -> Member:
    if isinstance(access, RestConnection):
        with asking(), access.client() as client:
            devices = {each["name"]: each["id"] for each in client.get(f"/nodes/{node.id}")["devices"]}
    else:
        answer = call_rpc(access, "GetNode", pb.GetNodeRequest(node_id=node.id))
        devices = {each.path: each.id for each in answer.devices}
    if path not in devices:
        known = ", ".join(sorted(devices)) or "none"
        raise click.ClickException(f"node {node.name} has no device {path!r}; it has: {known}")
    return Member(devices[path], f"{node.name}:{path}")


# --- clusters ---------------------------------------------------------------------------------------------------------


def create_cluster(access: Access, *, file: bool, block: bool) -> str:
    """Makes an empty cluster; its id."""
    if isinstance(access, RestConnection):
        body = {"file": file, "block": block}
        return str(change_over_rest(access, "POST", "/clusters", body, text="making the cluster")["id"])
    request = pb.CreateClusterRequest(file_enabled=file, block_enabled=block)
    return str(call_rpc(access, "CreateCluster", request).cluster.id)


def list_clusters(access: Access) -> Sequence[cluster_pb2.Cluster]:
    """All clusters."""
    from gateway.cli import rest_messages  # noqa: PLC0415 - slow to load

    if isinstance(access, RestConnection):
        with asking(), access.client() as client:
            ids = client.get("/clusters")["clusters"]
            return [rest_messages.cluster(client.get(f"/clusters/{each}")) for each in ids]
    listed = list_all(access, "ListClusters", pb.ListClustersRequest(), "clusters")
    # A list does not tell what is in them.
    return [call_rpc(access, "GetCluster", pb.GetClusterRequest(cluster_id=each.id)).cluster for each in listed]


def delete_cluster(access: Access, cluster_id: str) -> None:
    """Deletes an empty cluster."""
    if isinstance(access, RestConnection):
        change_over_rest(access, "DELETE", f"/clusters/{cluster_id}", text="deleting the cluster")
    else:
        call_rpc(access, "DeleteCluster", pb.DeleteClusterRequest(cluster_id=cluster_id))


# --- nodes and devices ------------------------------------------------------------------------------------------------


def add_node(
    access: Access, *, cluster_id: str, zone: int, manage: str, storage: Sequence[str], tags: Mapping[str, str]
) -> str:
    """Takes a node into a cluster; its id."""
    if isinstance(access, RestConnection):
        hostnames = {"manage": [manage], "storage": list(storage)}
        body = {"zone": zone, "hostnames": hostnames, "cluster": cluster_id, "tags": dict(tags)}
        return str(change_over_rest(access, "POST", "/nodes", body, text=_ADDING.format("node"))["id"])
    request = pb.AddNodeRequest(
        cluster_id=cluster_id, zone=zone, manage_hostnames=[manage], storage_hostnames=storage, tags=tags
    )
    return run_operation(access, "AddNode", request)


def add_device(access: Access, node: Member, path: str, *, tags: Mapping[str, str], destroy_data: bool) -> str:
    """Takes a disk of a node in; its id."""
    if isinstance(access, RestConnection):
        body = {"name": path, "node": node.id, "tags": dict(tags), "destroydata": destroy_data}
        change_over_rest(access, "POST", "/devices", body, text=_ADDING.format("device"))
        return _find_device(access, node, path).id
    request = pb.AddDeviceRequest(node_id=node.id, path=path, tags=tags, destroy_data=destroy_data)
    return run_operation(access, "AddDevice", request)


def evict(access: Access, kind: Kind, member: Member, *, skip_heal_check: bool = False) -> None:
    """Keeps new bricks off a node or device, moves all that it has away, and marks it as failed when they are."""
    if _get(access, kind, member)["state"] == "online":
        set_state(access, kind, member, "offline")
    set_state(access, kind, member, "failed", skip_heal_check=skip_heal_check)


def set_state(access: Access, kind: Kind, member: Member, state: State, *, skip_heal_check: bool = False) -> None:
    """Sets a state; "failed" moves all bricks away first, and is only for what is offline."""
    if isinstance(access, RestConnection):
        body = {"state": state, "healcheck": "disable" if skip_heal_check else ""}
        text = "moving the bricks away" if state == "failed" else "setting the state"
        change_over_rest(access, "POST", f"/{kind}s/{member.id}/state", body, text=text)
        return
    if kind == "node":
        wanted: Any = pb.SetNodeStateRequest(
            node_id=member.id,
            state=node_pb2.NodeState.Value(f"NODE_STATE_{state.upper()}"),
            skip_heal_check=skip_heal_check,
        )
        run_operation(access, "SetNodeState", wanted)
        return
    wanted = pb.SetDeviceStateRequest(
        device_id=member.id,
        state=device_pb2.DeviceState.Value(f"DEVICE_STATE_{state.upper()}"),
        skip_heal_check=skip_heal_check,
    )
    run_operation(access, "SetDeviceState", wanted)


def remove_member(access: Access, kind: Kind, member: Member, *, force_forget: bool = False) -> None:
    """Takes out a node without devices, or a device without bricks."""
    if isinstance(access, RestConnection):
        body = {"forceforget": force_forget} if kind == "device" else None
        change_over_rest(access, "DELETE", f"/{kind}s/{member.id}", body, text=f"removing the {kind}")
    elif kind == "node":
        run_operation(access, "DeleteNode", pb.DeleteNodeRequest(node_id=member.id))
    else:
        run_operation(access, "DeleteDevice", pb.DeleteDeviceRequest(device_id=member.id, force_forget=force_forget))


def resync_device(access: Access, member: Member) -> None:
    """Measures a device again."""
    if isinstance(access, RestConnection):
        change_over_rest(access, "GET", f"/devices/{member.id}/resync", text="measuring the device")
    else:
        run_operation(access, "ResyncDevice", pb.ResyncDeviceRequest(device_id=member.id))


def change_tags(access: Access, kind: Kind, member: Member, change: TagChange, tags: Mapping[str, str]) -> None:
    """Replaces all tags, sets some, or takes those of these names away."""
    if isinstance(access, RestConnection):
        body = {"tags": dict(tags), "change_type": change}
        change_over_rest(access, "POST", f"/{kind}s/{member.id}/tags", body, text="changing the tags")
        return
    how = topology_service_pb2.TagChange.Value(f"TAG_CHANGE_{change.upper()}")
    if kind == "node":
        call_rpc(access, "UpdateNodeTags", pb.UpdateNodeTagsRequest(node_id=member.id, change=how, tags=tags))
    else:
        call_rpc(access, "UpdateDeviceTags", pb.UpdateDeviceTagsRequest(device_id=member.id, change=how, tags=tags))


def get_tags(access: Access, kind: Kind, member: Member) -> dict[str, str]:
    """The tags that something has."""
    return dict(_get(access, kind, member).get("tags") or {})


def _get(access: Access, kind: Kind, member: Member) -> Mapping[str, Any]:
    """State and tags of a node or device, by REST's names."""
    if isinstance(access, RestConnection):
        with asking(), access.client() as client:
            found: Mapping[str, Any] = client.get(f"/{kind}s/{member.id}")
            return found
    if kind == "node":
        node = call_rpc(access, "GetNode", pb.GetNodeRequest(node_id=member.id)).node
        state = node_pb2.NodeState.Name(node.state).removeprefix("NODE_STATE_")
        return {"state": state.lower(), "tags": node.tags}
    device = call_rpc(access, "GetDevice", pb.GetDeviceRequest(device_id=member.id)).device
    state = device_pb2.DeviceState.Name(device.state).removeprefix("DEVICE_STATE_")
    return {"state": state.lower(), "tags": device.tags}


def evict_brick(access: Access, brick_id: str, *, skip_heal_check: bool) -> None:
    """Moves a brick to another device."""
    if isinstance(access, RestConnection):
        body = {"healcheck": "disable" if skip_heal_check else ""}
        change_over_rest(access, "POST", f"/bricks/to-evict/{brick_id}", body, text="moving the brick")
    else:
        run_operation(access, "EvictBrick", pb.EvictBrickRequest(brick_id=brick_id, skip_heal_check=skip_heal_check))
