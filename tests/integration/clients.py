"""How tests talk to the processes: REST with tokens, gRPC with certificates, and a look at the simulated nodes."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
import httpx

from brickyard.allocator.v1.allocator_service_pb2_grpc import AllocatorServiceStub
from brickyard.executor.v1 import executor_service_pb2 as executor_pb2
from brickyard.executor.v1.executor_service_pb2_grpc import ExecutorServiceStub
from brickyard.gateway.v1.operator_service_pb2_grpc import OperatorServiceStub
from brickyard.topology.v1 import operation_pb2, operation_service_pb2, topology_service_pb2
from brickyard.topology.v1.health_service_pb2_grpc import HealthServiceStub
from brickyard.topology.v1.operation_service_pb2_grpc import OperationServiceStub
from brickyard.topology.v1.topology_service_pb2_grpc import TopologyServiceStub
from gateway.cli.tokens import make_token
from services.common.channels import open_channel
from services.common.credentials import TlsFiles
from services.common.errors import BrickyardError, from_rpc_error
from services.common.reasons import Reason

HOST = "127.0.0.1"
KEYS = {"admin": "the key of admin, long enough for HS256", "user": "the key of user, long enough for HS256"}
NODE_KEY = "brickyard-node"
CALL_WITHIN_S = 20.0
FOLLOW_WITHIN_S = 40.0
ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED)


class Rest:
    """A client of one gateway's REST face; it judges nothing."""

    def __init__(self, url: str, key: str = "", user: str = "admin", *, http: httpx.Client | None = None) -> None:
        self.url = url
        self._key = key
        self._user = user
        self._http = http or httpx.Client(base_url=url, timeout=CALL_WITHIN_S, follow_redirects=False)

    def send(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        given = dict(headers or {})
        if self._key:
            plain = path.partition("?")[0]
            given["Authorization"] = f"bearer {make_token(self._key, user=self._user, method=method, path=plain)}"
        return self._http.request(method, path, json=body, headers=given)

    def follow(self, accepted: httpx.Response, *, seconds: float = FOLLOW_WITHIN_S) -> httpx.Response:
        """The queue's final answer to a change that was accepted."""
        assert accepted.status_code == 202, (accepted.status_code, accepted.text)
        deadline = time.monotonic() + seconds
        while True:
            answer = self.send("GET", accepted.headers["location"])
            if "x-pending" not in answer.headers:
                return answer
            assert answer.status_code == 200
            assert time.monotonic() < deadline, f"{accepted.headers['location']} still runs after {seconds:g} s"
            # The queue cannot be waited for otherwise.
            time.sleep(0.02)

    def change(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A change, followed to its end when it takes one."""
        answer = self.send(method, path, body)
        return self.follow(answer) if answer.status_code == 202 else answer

    def json(self, path: str) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self.send("GET", path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.json()

    def made(self, path: str, body: Any) -> Any:
        """A POST that must make something: what it made."""
        answer = self.change("POST", path, body)
        if answer.status_code == 303:
            return self.json(answer.headers["location"])
        assert answer.status_code in {201, 204}, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None


class Stubs:
    """Clients of all services with one certificate."""

    def __init__(self, tls: TlsFiles | None, *, topology: str, allocator: str, agents: str, operator: str) -> None:
        self._channels = [open_channel(address, tls) for address in (topology, allocator, agents, operator)]
        self.topology: Any = TopologyServiceStub(self._channels[0])
        self.operations: Any = OperationServiceStub(self._channels[0])
        self.topology_health: Any = HealthServiceStub(self._channels[0])
        self.allocator: Any = AllocatorServiceStub(self._channels[1])
        self.executor: Any = ExecutorServiceStub(self._channels[2])
        self.operator: Any = OperatorServiceStub(self._channels[3])

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def operation(self, operation_id: str) -> operation_pb2.Operation:
        """An operation as the topology has it."""
        answer = self.operations.GetOperation(
            operation_service_pb2.GetOperationRequest(operation_id=operation_id), timeout=CALL_WITHIN_S
        )
        found: operation_pb2.Operation = answer.operation
        return found

    def ended(self, operation_id: str, *, seconds: float = FOLLOW_WITHIN_S) -> operation_pb2.Operation:
        """An operation after its end, which it must reach in time; also through a restart of the topology."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                operation = self.operation(operation_id)
                if operation.state in ENDED:
                    return operation
            except grpc.RpcError as error:
                if refusal(error).reason is not Reason.UNAVAILABLE:
                    raise
            assert time.monotonic() < deadline, f"operation {operation_id} has not ended after {seconds:g} s"
            time.sleep(0.02)

    def violations(self) -> list[str]:
        """What the topology finds wrong with its own books."""
        answer = self.topology.CheckConsistency(topology_service_pb2.CheckConsistencyRequest(), timeout=CALL_WITHIN_S)
        return list(answer.violations)

    def spaces(self, node_ids: Iterable[str]) -> dict[str, tuple[int, int, int]]:
        """Total, used and reserved bytes of each device of the nodes, by device id."""
        found = {}
        for node_id in node_ids:
            answer = self.topology.GetNode(topology_service_pb2.GetNodeRequest(node_id=node_id), timeout=CALL_WITHIN_S)
            for device in answer.devices:
                found[device.id] = (device.total_bytes, device.used_bytes, device.reserved_bytes)
        return found


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a simulated node holds of volumes and bricks."""

    groups: tuple[tuple[str, int], ...]
    volumes: tuple[tuple[str, str, int], ...]
    mounts: tuple[str, ...]
    fstab: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether there is no trace of a brick."""
        return not (self.volumes or self.mounts or self.fstab)


class Agents:
    """A look at the simulated nodes, by the host name that they are managed under."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def holdings(self, hostname: str) -> Holdings:
        answer = self._stub.GetNodeFacts(
            executor_pb2.GetNodeFactsRequest(), timeout=CALL_WITHIN_S, metadata=((NODE_KEY, hostname),)
        )
        facts = answer.facts
        return Holdings(
            groups=tuple(sorted((group.name, group.free_bytes) for group in facts.volume_groups)),
            volumes=tuple(sorted((each.vg_name, each.name, each.size_bytes) for each in facts.logical_volumes)),
            mounts=tuple(sorted(each.mount_point for each in facts.brick_mounts)),
            fstab=tuple(sorted(each.mount_point for each in facts.fstab_entries)),
        )

    def has_volume(self, hostname: str, name: str) -> bool:
        """Whether glusterd knows a volume of that name."""
        try:
            self._stub.GetVolume(
                executor_pb2.GetVolumeRequest(name=name), timeout=CALL_WITHIN_S, metadata=((NODE_KEY, hostname),)
            )
        except grpc.RpcError as error:
            if refusal(error).reason is Reason.GLUSTER_VOLUME_NOT_FOUND:
                return False
            raise
        return True

    def peers(self, hostname: str) -> set[str]:
        """Host names of the peers that glusterd has."""
        answer = self._stub.GetGlusterd(
            executor_pb2.GetGlusterdRequest(), timeout=CALL_WITHIN_S, metadata=((NODE_KEY, hostname),)
        )
        return {peer.hostname for peer in answer.glusterd.peers}


def refusal(error: grpc.RpcError) -> BrickyardError:
    """What a server raised, as the class that it raised."""
    return from_rpc_error(error)
