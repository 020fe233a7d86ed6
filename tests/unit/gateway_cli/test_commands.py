"""The command line as a whole: help, certificates, tokens, and real channels."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import click
import grpc
import jwt
import pytest
from click.testing import CliRunner

from brickyard.gateway.v1 import operator_service_pb2 as pb
from brickyard.gateway.v1.operator_service_pb2_grpc import (
    OperatorServiceServicer,
    add_OperatorServiceServicer_to_server,
)
from gateway.cli import connection
from gateway.cli.brickyard import main
from gateway.cli.tokens import make_token
from services.common.channels import call_aio
from tests.unit.gateway_cli.fakes import operation


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(main))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_explains_itself(runner: CliRunner, path: tuple[str, ...]) -> None:
    result = runner.invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert (ALL[path].help or "").strip().endswith((".", "disk but a database."))
    if not isinstance(ALL[path], click.Group):
        assert f"brickyard {' '.join(path)}" in result.output.split("Example")[1]
        described = [each for each in ALL[path].params if isinstance(each, click.Option)]
        assert all(each.help for each in described)


def test_certificates_and_what_to_do_next(runner: CliRunner, tmp_path: Path) -> None:
    authority, out = tmp_path / "ca", tmp_path / "operator"
    made = runner.invoke(main, ["ca", "init", "--dir", str(authority)])
    assert made.exit_code == 0, made.output
    assert "brickyard ca issue" in made.stdout
    again = runner.invoke(main, ["ca", "init", "--dir", str(authority)])
    assert again.exit_code == 1
    assert "holds a certificate authority already" in again.stderr
    issue = ["ca", "issue", "--dir", str(authority), "--role", "operator", "--name", "me", "--out", str(out)]
    assert runner.invoke(main, issue).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]


def test_a_token_is_for_one_request(runner: CliRunner, tmp_path: Path) -> None:
    key = "a secret that is long enough for HS256"
    (tmp_path / "key").write_text(f"{key}\n")
    result = runner.invoke(main, ["token", "--key-file", str(tmp_path / "key"), "GET", "/clusters"])
    claims = jwt.decode(result.stdout.strip(), key, algorithms=["HS256"])
    assert claims["iss"] == "admin"
    assert claims["exp"] - claims["iat"] == 300


@pytest.mark.parametrize("key", ["", "short", "a key that is long enough for HS256"])
def test_tokens_are_signed_with_keys_of_any_length(key: str) -> None:
    token = make_token(key, user="", method="post", path="/volumes?x=1")
    signed, _, signature = token.rpartition(".")
    made = base64.urlsafe_b64encode(hmac.digest(key.encode(), signed.encode(), "sha256")).rstrip(b"=").decode()
    assert signature == made
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["qsh"] == hashlib.sha256(b"POST&/volumes").hexdigest()
    assert "iss" not in claims


def test_a_topology_file_that_is_none(runner: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "topology.json"
    path.write_text(json.dumps({"nodes": []}))
    result = runner.invoke(main, ["topology", "load", str(path)])
    assert result.exit_code == 1
    assert 'has no list "clusters"' in result.stderr


class Servicer(OperatorServiceServicer):
    async def GetOperation(self, request: pb.GetOperationRequest, context: object) -> pb.GetOperationResponse:  # noqa: N802 - the contract's name
        return pb.GetOperationResponse(operation=operation(int(request.operation_id, 16)))


def test_a_real_channel_over_a_socket(tmp_path: Path) -> None:
    made = connection.Connection(f"unix:{tmp_path}/s", None, insecure_plaintext=False, flag="--address")

    async def scenario() -> pb.GetOperationResponse:
        server = grpc.aio.server()
        add_OperatorServiceServicer_to_server(Servicer(), server)  # type: ignore[abstract]  # one method is enough
        server.add_insecure_port(made.address)
        await server.start()
        async with connection.operator_stub(made) as stub:
            answer: pb.GetOperationResponse = await call_aio(
                stub.GetOperation, pb.GetOperationRequest(operation_id="2a")
            )
        await server.stop(None)
        return answer

    assert asyncio.run(scenario()).operation.id.endswith("2a")


def test_a_directory_without_certificates_is_named(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(main, ["operations", "list", "--tls-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert f"cannot read TLS file {tmp_path}/ca.pem" in result.stderr
    assert "brickyard ca issue" in result.stderr


def test_nobody_listens(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(main, ["db", "check", "--topology", f"unix:{tmp_path}/nobody"])
    assert result.exit_code == 1
    assert f"No answer from --topology unix:{tmp_path}/nobody" in result.stderr
