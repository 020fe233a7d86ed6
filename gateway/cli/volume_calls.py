"""Calls about volumes over gRPC or REST. Effects: network, and the progress of changes on the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.topology.v1 import volume_pb2
from gateway.cli import rest_messages
from gateway.cli.changes import change_over_rest, list_all, run_operation
from gateway.cli.connection import Connection, asking, call_operator
from gateway.cli.ids import is_id
from gateway.cli.rest_connection import RestConnection
from services.common.units import GIB

_TIMEOUT_S = 60.0

Access = Connection | RestConnection


@dataclass(frozen=True, slots=True)
class Mountable:
    """A volume, and the hosts that it can be mounted from."""

    volume: volume_pb2.Volume
    hosts: Sequence[str]


def list_volumes(access: Access) -> list[volume_pb2.Volume]:
    """All volumes, by name."""
    if isinstance(access, RestConnection):
        with asking(), access.client() as client:
            ids = client.get("/volumes")["volumes"]
            found = [rest_messages.volume(client.get(f"/volumes/{each}")) for each in ids]
    else:
        found = list_all(access, "ListVolumes", pb.ListVolumesRequest(), "volumes")
    return sorted(found, key=lambda each: (each.name, each.id))


def find_id(access: Access, name_or_id: str) -> str:
    """The id of the volume that is meant.

    Raises:
        click.ClickException: No volume has that name, or several have.
    """
    if is_id(name_or_id):
        return name_or_id
    found = [each for each in list_volumes(access) if each.name == name_or_id]
    if not found:
        raise click.ClickException(f"no volume has the name or id {name_or_id!r}; see: brickyard volume list")
    if len(found) > 1:
        ids = ", ".join(f"{each.id} (cluster {each.cluster_id})" for each in found)
        raise click.ClickException(f"several volumes have the name {name_or_id!r}, give an id: {ids}")
    return found[0].id


def get_volume(access: Access, volume_id: str) -> Mountable:
    """One volume."""
    if isinstance(access, RestConnection):
        with asking(), access.client() as client:
            return _mountable(client.get(f"/volumes/{volume_id}"))
    answer = call_operator(access, "GetVolume", timeout_s=_TIMEOUT_S, volume_id=volume_id)
    return Mountable(answer.volume, answer.mount_hosts)


def create_volume(access: Access, request: pb.CreateVolumeRequest) -> Mountable:
    """Makes a volume and waits for it."""
    if isinstance(access, RestConnection):
        body = rest_messages.creation(request)
        return _mountable(change_over_rest(access, "POST", "/volumes", body, text="making the volume"))
    return get_volume(access, run_operation(access, "CreateVolume", request))


def expand_volume(access: Access, volume_id: str, added_gib: int) -> Mountable:
    """Makes a volume larger by so many GiB and waits for it."""
    if isinstance(access, RestConnection):
        body = {"expand_size": added_gib}
        path = f"/volumes/{volume_id}/expand"
        return _mountable(change_over_rest(access, "POST", path, body, text="expanding the volume"))
    request = pb.ExpandVolumeRequest(volume_id=volume_id, added_size_bytes=added_gib * GIB)
    return get_volume(access, run_operation(access, "ExpandVolume", request))


def clone_volume(access: Access, volume_id: str, name: str) -> Mountable:
    """Copies a volume under a name, or vol_ and an id when it is empty, and waits for it."""
    if isinstance(access, RestConnection):
        body = {"name": name} if name else {}
        path = f"/volumes/{volume_id}/clone"
        return _mountable(change_over_rest(access, "POST", path, body, text="copying the volume"))
    request = pb.CloneVolumeRequest(volume_id=volume_id, name=name)
    return get_volume(access, run_operation(access, "CloneVolume", request))


def delete_volume(access: Access, volume_id: str) -> None:
    """Deletes a volume and waits until it is gone."""
    if isinstance(access, RestConnection):
        change_over_rest(access, "DELETE", f"/volumes/{volume_id}", text="deleting the volume")
    else:
        run_operation(access, "DeleteVolume", pb.DeleteVolumeRequest(volume_id=volume_id))


def _mountable(found: Any) -> Mountable:
    return Mountable(rest_messages.volume(found), found["mount"]["glusterfs"]["hosts"])
