"""`brickyard import`, and `brickyard db dump` and `backup`, against a topology in this process."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from brickyard.topology.v1 import records_pb2
from gateway.cli.brickyard import main
from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason
from tests.unit.gateway_cli.fakes import FakeTopology
from tests.unit.gateway_heketi_dump.dumps import in_order, large, number, prepared_from

PLAIN = "--insecure-plaintext"


@pytest.fixture
def dump(tmp_path: Path) -> str:
    path = tmp_path / "heketi.json.dump"
    path.write_text(in_order(large()))
    return str(path)


def test_a_dump_is_imported(runner: CliRunner, topology: FakeTopology, dump: str) -> None:
    result = runner.invoke(main, ["import", dump, PLAIN])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "imported 1 clusters, 3 nodes, 3 devices, 5 volumes, 16 bricks, 2 block volumes, 0 pending operations",
        "next: `brickyard adopt` compares it with the nodes, and gives their agents what Heketi had",
    ]
    ((records, validate_only),) = topology.imports
    assert not validate_only
    assert records == prepared_from(large()).records


def test_a_check_asks_the_topology_too(runner: CliRunner, topology: FakeTopology, dump: str) -> None:
    result = runner.invoke(main, ["import", "--check", dump, PLAIN])
    assert (result.exit_code, result.stdout.split(":")[0]) == (0, "it can be imported")
    assert topology.imports[-1][1]
    topology.refusals = ["node a is of the unknown cluster b", "another"]
    result = runner.invoke(main, ["import", "--check", dump, PLAIN])
    assert (result.exit_code, result.stdout.splitlines()) == (1, topology.refusals)
    assert "for 2 reasons; nothing was changed" in result.stderr


def test_every_reason_is_printed_and_the_topology_is_not_even_asked(
    runner: CliRunner, topology: FakeTopology, tmp_path: Path
) -> None:
    broken = large()
    broken["nodeentries"][number("e", 1)]["State"] = "broken"
    broken["nodeentries"][number("e", 2)]["Info"]["zone"] = 0
    file = tmp_path / "broken"
    file.write_text(json.dumps(broken))
    result = runner.invoke(main, ["import", str(file), PLAIN])
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    told = json.loads(runner.invoke(main, ["import", "--json", str(file), PLAIN]).stdout)
    assert (told["imported"], told["reasons"]) == (False, result.stdout.splitlines())
    file.write_text("{")
    assert "it is no JSON" in runner.invoke(main, ["import", str(file), PLAIN]).stdout
    assert topology.imports == []


def test_notes_are_shortened(runner: CliRunner, topology: FakeTopology, tmp_path: Path) -> None:
    old = large()
    for index in range(20):
        old["pendingoperations"][number("9", index)] = {
            "Id": number("9", index), "Timestamp": 1, "Type": 6, "Actions": None, "Status": "",
        }  # fmt: skip
    file = tmp_path / "old"
    file.write_text(json.dumps(old))
    lines = runner.invoke(main, ["import", str(file), PLAIN]).stdout.splitlines()
    assert sum(line.startswith("note: ") for line in lines) == 11
    assert "note: 10 more, see --verbose" in lines
    lines = runner.invoke(main, ["import", "-v", str(file), PLAIN]).stdout.splitlines()
    assert sum(line.startswith("note: ") for line in lines) == 20
    assert len(topology.imports) == 2


def test_a_topology_that_is_not_empty(runner: CliRunner, topology: FakeTopology, dump: str) -> None:
    topology.failure = FailedPreconditionError(Reason.TOPOLOGY_NOT_EMPTY, "the topology has clusters")
    result = runner.invoke(main, ["import", dump, PLAIN])
    assert result.exit_code == 1
    assert "the topology has clusters" in result.stderr


def test_the_records_are_printed_as_heketis_dump(runner: CliRunner, topology: FakeTopology) -> None:
    whole = prepared_from(large()).records
    first, second = records_pb2.Records(), records_pb2.Records()
    first.CopyFrom(whole)
    del first.bricks[5:]
    second.bricks.extend(whole.bricks[5:])
    topology.parts = [first, second]
    assert runner.invoke(main, ["db", "dump", PLAIN]).stdout == in_order(large())


def test_a_backup_is_a_file_for_its_owner_and_replaces_none(
    runner: CliRunner, topology: FakeTopology, tmp_path: Path
) -> None:
    topology.chunks = [b"one", b"two"]
    file = tmp_path / "backup"
    result = runner.invoke(main, ["db", "backup", str(file), PLAIN])
    assert (result.exit_code, result.stdout) == (0, f"{file}: 6 bytes\n")
    assert file.read_bytes() == b"onetwo"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    topology.chunks = [b"three"]
    refused = runner.invoke(main, ["db", "backup", str(file), PLAIN])
    assert (refused.exit_code, file.read_bytes()) == (1, b"onetwo")
    assert "--force" in refused.stderr
    assert runner.invoke(main, ["db", "backup", "--force", str(file), PLAIN]).exit_code == 0
    assert [each.name for each in tmp_path.iterdir()] == ["backup"]
    assert file.read_bytes() == b"three"
    lost = runner.invoke(main, ["db", "backup", str(tmp_path / "none" / "backup"), PLAIN])
    assert lost.exit_code == 1
    assert "No such file or directory" in lost.stderr
