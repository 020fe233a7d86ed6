"""`brickyard db check` against a topology in this process."""

import json

from click.testing import CliRunner

from gateway.cli.brickyard import main
from services.common.errors import UnavailableError
from services.common.reasons import Reason
from tests.unit.gateway_cli.fakes import FakeTopology

CHECK = ["db", "check", "--insecure-plaintext"]


def test_a_sound_database(runner: CliRunner, topology: FakeTopology) -> None:
    result = runner.invoke(main, CHECK)
    assert (result.exit_code, result.stdout) == (0, "no violation in 42 objects\n")
    assert topology.connections[-1].address == "127.0.0.1:7401"
    assert topology.timeouts_s == [600.0]


def test_each_violation_is_printed_and_the_exit_code_tells(runner: CliRunner, topology: FakeTopology) -> None:
    topology.violations = ["device a: used + free is not total", "brick b has no volume"]
    result = runner.invoke(main, CHECK)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == topology.violations
    assert "2 violations in 42 objects" in result.stderr


def test_violations_as_json(runner: CliRunner, topology: FakeTopology) -> None:
    topology.violations = ["brick b has no volume"]
    result = runner.invoke(main, [*CHECK, "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["checked_count"], told["violations"]) == (42, topology.violations)
    assert [each["violations"] for each in told["invariants"]] == [topology.violations, []]


def test_every_invariant_is_named(runner: CliRunner, topology: FakeTopology) -> None:
    assert runner.invoke(main, [*CHECK, "--verbose"]).stdout.splitlines() == [
        "holds     BRICKS: bricks are there",
        "holds     SPACE: sizes add up",
        "no violation in 42 objects",
    ]
    topology.violations = ["brick b has no volume"]
    assert runner.invoke(main, [*CHECK, "-v"]).stdout.splitlines()[0] == "VIOLATED  BRICKS: bricks are there"


def test_a_topology_that_does_not_answer(runner: CliRunner, topology: FakeTopology) -> None:
    topology.failure = UnavailableError(Reason.UNAVAILABLE, "connection refused")
    result = runner.invoke(main, ["db", "check", "--topology", "unix:/run/t.sock"])
    assert result.exit_code == 1
    assert "No answer from --topology unix:/run/t.sock" in result.stderr


def test_the_environment_stands_for_the_address(runner: CliRunner, topology: FakeTopology) -> None:
    assert runner.invoke(main, CHECK, env={"BRICKYARD_TOPOLOGY": "10.0.0.2:7401"}).exit_code == 0
    assert topology.connections[-1].address == "10.0.0.2:7401"
