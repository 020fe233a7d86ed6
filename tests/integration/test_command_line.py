"""`brickyard` against real processes, over gRPC with certificates and over REST with tokens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.brickyard import main
from services.common.identity import Role
from services.common.units import GIB
from tests.integration.clients import KEYS
from tests.integration.stack import Stack

Run = Callable[..., Result]


@pytest.fixture
def run(empty_stack: Stack, tmp_path: Path) -> Run:
    """Runs commands in the contexts "grpc" and "rest"."""
    key = tmp_path / "key"
    key.write_text(KEYS["admin"])
    runner = CliRunner(env={"XDG_CONFIG_HOME": str(tmp_path / "config"), "COLUMNS": "120"})

    def command(*arguments: str, context: str = "grpc", succeeds: bool = True) -> Result:
        result = runner.invoke(main, ["--context", context, *arguments] if arguments[0] != "context" else arguments)
        assert (result.exit_code == 0) is succeeds, (arguments, result.output, result.exception)
        return result

    tls = empty_stack.credentials.directory / Role.OPERATOR.value
    rest, operator = empty_stack.gateway.addresses[:2]
    command("context", "add", "grpc", "--address", operator, "--tls-dir", str(tls))
    command("context", "add", "rest", "--server", rest, "--key-file", str(key))
    topology = {
        "clusters": [
            {
                "nodes": [
                    {
                        "node": {"hostnames": {"manage": [f"n{zone}"], "storage": [f"10.0.0.{zone}"]}, "zone": zone},
                        "devices": ["/dev/sdb", "/dev/sdc"],
                    }
                    for zone in (1, 2, 3)
                ]
            }
        ]
    }
    (tmp_path / "topology.json").write_text(json.dumps(topology))
    loaded = command("topology", "load", str(tmp_path / "topology.json"), context="rest")
    assert loaded.stdout.count("... OK") == 6
    again = command("topology", "load", str(tmp_path / "topology.json"), context="rest")
    assert again.stdout.count("Found device") == 6
    return command


def found(run: Run, *arguments: str, context: str) -> Any:
    return json.loads(run(*arguments, "--json", context=context).stdout)


def without(fields: dict[str, Any], *unknown: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in unknown}


def test_a_life_of_volumes_over_both_ways(run: Run) -> None:
    made = found(run, "volume", "create", "--size", "3", "--name", "one", context="grpc")["volume"]
    assert (made["name"], int(made["size_bytes"])) == ("one", 3 * GIB)
    assert found(run, "volume", "create", "--size", "2", "--name", "two", context="rest")["volume"]["name"] == "two"
    for context, other in (("grpc", "rest"), ("rest", "grpc")):
        listed = found(run, "volume", "list", context=context)["volumes"]
        assert [each["name"] for each in listed] == ["one", "two"]
        larger = found(run, "volume", "expand", "one", "--by", "2", context=context)["volume"]
        seen = found(run, "volume", "show", made["id"], context=other)["volume"]
        assert int(larger["size_bytes"]) == int(seen["size_bytes"])
    assert int(seen["size_bytes"]) == 7 * GIB
    for context in ("grpc", "rest"):
        text = run("volume", "show", "one", context=context).stdout
        assert "mount -t glusterfs -o backup-volfile-servers=" in text
        assert text.count("/dev/sd") == len(seen["bricks"])
    refused = run("volume", "delete", "one", succeeds=False)
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    run("volume", "delete", "one", "--yes", context="rest")
    run("volume", "delete", "two", "--yes", context="grpc")
    assert run("volume", "list").stdout == ""
    missing = run("volume", "show", "one", succeeds=False)
    assert "brickyard volume list" in missing.stderr


@pytest.mark.parametrize("context", ["grpc", "rest"])
def test_a_refusal_tells_why(run: Run, context: str) -> None:
    refused = run("volume", "create", "--size", "2000", context=context, succeeds=False)
    assert refused.exit_code == 1
    assert "No space" in refused.stderr
    assert "largest size" in refused.stderr


def test_what_there_is_reads_alike(run: Run) -> None:
    run("volume", "create", "--size", "3", "--name", "one")
    over_grpc, over_rest = (found(run, "topology", "show", context=context) for context in ("grpc", "rest"))
    for kind in ("nodes", "devices"):
        unknown = ("create_time", "pv_uuid", "current_path", "pool_data_percent", "pool_metadata_percent")
        both = ([without(each, *unknown) for each in way[kind]] for way in (over_grpc, over_rest))
        one, other = (sorted(each, key=json.dumps) for each in both)
        if kind == "devices":
            # REST tells what is taken in one.
            for each in one:
                each["used_bytes"] = str(int(each["used_bytes"]) + int(each["reserved_bytes"]))
                each["reserved_bytes"] = "0"
                each.pop("health")
            for each in other:
                each.pop("health")
            one, other = (sorted(each, key=lambda fields: str(fields["device_id"])) for each in (one, other))
        assert one == other
    cluster = over_grpc["clusters"][0]["id"]
    for command in ("getdiskstatus", "getvolmaxsize", "querydevices"):
        told = [run("cluster", command, cluster, context=context).stdout for context in ("grpc", "rest")]
        assert told[0] == told[1]
        # Nodes that take any disk have none that could be added.
        assert told[0] or command == "querydevices"
    for context in ("grpc", "rest"):
        assert len(run("device", "list", context=context).stdout.splitlines()) == 6
        assert len(run("node", "list", context=context).stdout.splitlines()) == 3
