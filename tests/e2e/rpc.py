"""gRPC calls with a certificate of choice, or none; run inside the lab's network, answers with a line of JSON each.

    python -m tests.e2e.rpc 10.77.0.1:7401 brickyard.topology.v1.TopologyService/CheckConsistency \
        --tls DIRECTORY --server-name topology.brickyard.internal
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory

from brickyard.executor.v1 import executor_service_pb2
from brickyard.topology.v1 import operation_service_pb2, topology_service_pb2
from services.common.credentials import TlsFiles

_SERVICES = (executor_service_pb2, operation_service_pb2, topology_service_pb2)
_TIMEOUT_S = 10.0


def call(channel: grpc.Channel, method: str, request: str) -> dict[str, object]:
    """Calls `method`, "package.Service/Method", with a request in JSON; its answer, or its status."""
    service, _, name = method.partition("/")
    pool = descriptor_pool.Default()
    described = pool.FindServiceByName(service).FindMethodByName(name)
    question = message_factory.GetMessageClass(described.input_type)()
    answer_class = message_factory.GetMessageClass(described.output_type)
    stub: Any = channel.unary_unary(
        f"/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer_class.FromString,
    )
    try:
        answer = stub(json_format.Parse(request, question), timeout=_TIMEOUT_S)
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}
    return {"code": "OK", "answer": json_format.MessageToDict(answer, preserving_proto_field_name=True)}


def open_channel(target: str, tls: Path | None, server: Path | None, server_name: str) -> grpc.Channel:
    """With a certificate; with only the authority's, when `tls` is None; in plain text, when both are."""
    if tls is None and server is None:
        return grpc.insecure_channel(target)
    options = [("grpc.ssl_target_name_override", server_name)] if server_name else []
    if tls is None:
        assert server is not None
        credentials = grpc.ssl_channel_credentials(server.read_bytes())
    else:
        trusted, certificate, key = TlsFiles.in_directory(tls).read()
        credentials = grpc.ssl_channel_credentials(trusted, key, certificate)
    return grpc.secure_channel(target, credentials, options=options)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("calls", nargs="+", help="SERVICE/METHOD or SERVICE/METHOD=JSON")
    parser.add_argument("--tls", type=Path, help="directory with the caller's certificate")
    parser.add_argument("--authority", type=Path, help="certificate of the authority, for a caller without its own")
    parser.add_argument("--server-name", default="")
    arguments = parser.parse_args()
    with open_channel(arguments.target, arguments.tls, arguments.authority, arguments.server_name) as channel:
        for wanted in arguments.calls:
            method, _, request = wanted.partition("=")
            print(json.dumps(call(channel, method, request or "{}")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
