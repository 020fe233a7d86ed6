"""`heketi-cli topology`."""

import json
from pathlib import Path
from typing import Any

from gateway.cli.heketi_cli import blocks
from gateway.cli.heketi_cli.arguments import Command, Flag, UsageFault
from gateway.cli.heketi_cli.call import Call, go_json, write
from gateway.cli.heketi_cli.client import Client, ServerFault
from gateway.cli.heketi_cli.templates import TemplateFault, render
from gateway.cli.topology_file import parse_topology
from gateway.cli.topology_load import failures_of, load_topology
from services.common.errors import InvalidArgumentError


def read_topology(client: Client) -> list[dict[str, Any]]:
    """Everything there is, cluster by cluster, as Heketi's client puts it together.

    Raises:
        ServerFault: One of the reads was refused.
    """
    return [_read_cluster(client, cluster_id) for cluster_id in client.get("/clusters")["clusters"]]


def _read_cluster(client: Client, cluster_id: str) -> dict[str, Any]:
    found = client.get(f"/clusters/{cluster_id}")
    return {
        "volumes": [client.get(f"/volumes/{volume_id}") for volume_id in found["volumes"]],
        "nodes": [client.get(f"/nodes/{node_id}") for node_id in found["nodes"]],
        "id": found["id"],
        "block": found["block"],
        "file": found["file"],
    }


def _info(call: Call) -> None:
    clusters = read_topology(call.client)
    template = call.flags["template"]
    if call.wants_json:
        write(go_json({"clusters": clusters}))
    elif template:
        try:
            write(render(template, {"clusters": clusters}))
        except TemplateFault as fault:
            raise UsageFault(str(fault)) from fault
    else:
        write(blocks.topology(clusters))


def _load(call: Call) -> None:
    path = call.needs("json", "Missing configuration file")
    try:
        content = json.loads(Path(path).read_text())
    except OSError as error:
        raise UsageFault("Unable to open config file") from error
    except (ValueError, RecursionError) as error:
        raise UsageFault("Unable to parse config file") from error
    try:
        clusters = parse_topology(Path(path), content)
    except InvalidArgumentError as error:
        raise UsageFault(f"Unable to parse config file: {error.message}") from error
    items = load_topology(call.client, clusters, lambda line: write(f"{line}\n"), refusal=ServerFault)
    failures = failures_of(items)
    if failures:
        raise ServerFault(f"{failures} of the items could not be added; mend the cause and load again")


TOPOLOGY = Command(
    "topology",
    "Heketi Topology Management",
    commands=(
        Command(
            "info",
            "Retrieves information about the current Topology",
            flags=(Flag("template", "string", "\n\tA Go template for the output", short="T"),),
            run=_info,
            example="  $ heketi-cli topology info",
        ),
        Command(
            "load",
            "Add devices to Heketi from a configuration file",
            flags=(
                Flag(
                    "json",
                    "string",
                    "\n\tConfiguration containing devices, nodes, and clusters, in JSON format",
                    short="j",
                ),
            ),
            run=_load,
            example="  $ heketi-cli topology load --json=topology.json",
        ),
    ),
)
