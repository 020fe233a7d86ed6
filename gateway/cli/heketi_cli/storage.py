"""`heketi-cli setup-openshift-heketi-storage`: a volume for Heketi's own files, and the Kubernetes objects for it."""

import base64
import json
from pathlib import Path
from typing import Any

from gateway.cli.heketi_cli.arguments import Command, Flag, UsageFault
from gateway.cli.heketi_cli.call import Call, note, write
from gateway.cli.heketi_cli.client import ServerFault
from gateway.cli.heketi_cli.topology import read_topology
from gateway.cli.heketi_cli.volumes import creation

_NAME = "heketidbstorage"
_SIZE_GIB = 2
_LEVEL = "user.heketi.dbstoragelevel"
_ENDPOINTS = "heketi-storage-endpoints"
_SECRET = "heketi-storage-secret"  # noqa: S105 - a name, no secret
# Options for a volume that holds a database file (Heketi's own list).
_OPTIONS = (
    "performance.stat-prefetch off",
    "performance.write-behind off",
    "performance.open-behind off",
    "performance.quick-read off",
    "performance.strict-o-direct on",
    "performance.read-ahead off",
    "performance.io-cache off",
    "performance.readdir-ahead off",
    f"{_LEVEL} 1",
)


def _set_up(call: Call) -> None:
    if call.flags["durability"] not in ("replicate", "none"):
        raise UsageFault(f"Durability {call.flags['durability']} is not supported for heketi database storage")
    try:
        clusters = read_topology(call.client)
    except ServerFault as fault:
        raise ServerFault(f"Unable to get topology information: {fault}") from fault
    if any(volume["name"] == _NAME for cluster in clusters for volume in cluster["volumes"]):
        raise UsageFault(f"Volume {_NAME} already exists")
    made = call.client.change("POST", "/volumes", creation(_SIZE_GIB, _creation_flags(call)))
    try:
        _save(call, made)
    except BaseException:
        note("Cleaning up")
        call.client.change("DELETE", f"/volumes/{made['id']}")
        raise


def _creation_flags(call: Call) -> dict[str, Any]:
    chosen, more = call.flags["gluster-volume-options"], call.flags["append-volume-options"]
    options = [chosen, f"{_LEVEL} custom"] if chosen else list(_OPTIONS)
    return {
        "name": _NAME,
        "durability": call.flags["durability"],
        "replica": call.flags["replica"],
        "disperse-data": 0,
        "redundancy": 0,
        "gid": 0,
        "snapshot-factor": 1.0,
        "clusters": "",
        "gluster-volume-options": ",".join([*options, *([more] if more else [])]),
        "block": False,
    }


def _save(call: Call, made: Any) -> None:
    backup = call.client.get_bytes("/backup/db")
    hosts = made["mount"]["glusterfs"]["hosts"]
    items = [_secret(backup), _endpoints(hosts), _service(), _job(call.flags["image"], call.flags["node-selector"])]
    write(f"Saving {call.flags['listfile']}\n")
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    try:
        Path(call.flags["listfile"]).write_text(json.dumps(listed, indent=2) + "\n")
    except OSError as error:
        raise UsageFault(f"open {error.filename}: {(error.strerror or str(error)).lower()}") from error


def _metadata(name: str, **labels: str) -> dict[str, Any]:
    return {"name": name, "creationTimestamp": None, "labels": {"deploy-heketi": "support", **labels}}


def _secret(backup: bytes) -> dict[str, Any]:
    data = {"heketi.db": base64.b64encode(backup).decode()}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": _metadata(_SECRET), "data": data}


def _endpoints(hosts: list[str]) -> dict[str, Any]:
    subsets = [{"addresses": [{"ip": host}], "ports": [{"port": 1}]} for host in hosts]
    return {"kind": "Endpoints", "apiVersion": "v1", "metadata": {"name": _ENDPOINTS}, "subsets": subsets}


def _service() -> dict[str, Any]:
    ports = {"ports": [{"port": 1, "targetPort": 0}]}
    return {"kind": "Service", "apiVersion": "v1", "metadata": {"name": _ENDPOINTS}, "spec": ports}


def _job(image: str, selector: str) -> dict[str, Any]:
    key, _, value = selector.partition("=")
    spec = {
        "volumes": [
            {"name": "heketi-storage", "glusterfs": {"endpoints": _ENDPOINTS, "path": _NAME}},
            {"name": _SECRET, "secret": {"secretName": _SECRET}},
        ],
        "containers": [
            {
                "name": "heketi",
                "image": image,
                "command": ["cp", "/db/heketi.db", "/heketi"],
                "volumeMounts": [
                    {"name": "heketi-storage", "mountPath": "/heketi"},
                    {"name": _SECRET, "mountPath": "/db"},
                ],
            }
        ],
        "restartPolicy": "Never",
        **({"nodeSelector": {key: value}} if selector else {}),
    }
    template = {"metadata": _metadata("heketi-storage-copy-job"), "spec": spec}
    return {
        "kind": "Job",
        "apiVersion": "batch/v1",
        "metadata": _metadata("heketi-storage-copy-job"),
        "spec": {"parallelism": 1, "completions": 1, "template": template},
    }


STORAGE = Command(
    "setup-openshift-heketi-storage",
    "Setup OpenShift/Kubernetes persistent storage for Heketi",
    flags=(
        Flag("listfile", "string", "Filename to contain list of objects", default="heketi-storage.json"),
        Flag("image", "string", "Container image to run this job", default="heketi/heketi:dev"),
        Flag("durability", "string", "Durability type: none or replicate", default="replicate"),
        Flag("replica", "int", "Replica value for durability type 'replicate'", default=3),
        Flag("gluster-volume-options", "string", "Comma separated options in place of the usual ones"),
        Flag("append-volume-options", "string", "Comma separated options to add"),
        Flag("node-selector", "string", "Node that runs the job, as key=value"),
    ),
    run=_set_up,
    aliases=("setup-heketi-db-storage", "setup-kubernetes-heketi-storage"),
    example="  $ heketi-cli setup-kubernetes-heketi-storage --image=registry.example/heketi:10",
)
