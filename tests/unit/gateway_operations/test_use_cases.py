"""The use cases: what is asked of the other services, in which order, and what is asked again."""

from collections import defaultdict
from typing import Any

import pytest
from google.protobuf.message import Message

from brickyard.allocator.v1 import allocator_service_pb2 as allocator_pb2
from brickyard.topology.v1 import node_pb2, operation_pb2, topology_service_pb2, volume_pb2
from gateway.settings import ProvisioningSettings
from gateway.usecases import NewDevice, NewNode, NewVolume
from gateway.usecases.volumes import GatewayUseCases
from services.common.errors import (
    AbortedError,
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from services.common.ids import is_id
from services.common.reasons import Reason
from tests.unit.gateway_operations.fakes import CLUSTER, GIB, FakeAgents, node, run

REPLICA_3 = volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE, replica_count=3)


class FakeService:
    """Any service: answers by RPC, each answer a message or an exception; the last one stays."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, list[Any]] = defaultdict(list)
        for method, answer in answers.items():
            self.answers[method] = list(answer) if isinstance(answer, list) else [answer]
        self.requests: list[tuple[str, Any]] = []

    def __getattr__(self, method: str) -> Any:
        async def call(request: Message, **_call: Any) -> Any:
            copy = type(request)()
            copy.CopyFrom(request)
            self.requests.append((method, copy))
            known = self.answers[method]
            assert known, f"nobody expected {method}"
            answer = known.pop(0) if len(known) > 1 else known[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def asked(self, method: str) -> list[Any]:
        return [request for name, request in self.requests if name == method]


class FakeEngine:
    """Records what is begun; `failures` are raised in turn."""

    def __init__(self, *failures: BrickyardError) -> None:
        self.failures = list(failures)
        self.busy = False
        self.begun: list[tuple[operation_pb2.OperationSpec, str, str]] = []

    async def begin(
        self, spec: operation_pb2.OperationSpec, *, request_id: str, fingerprint: str
    ) -> operation_pb2.Operation:
        self.begun.append((spec, request_id, fingerprint))
        if self.failures:
            raise self.failures.pop(0)
        return operation_pb2.Operation(id=f"{len(self.begun):032x}", request_id=request_id)

    async def check_slot(self) -> None:
        if self.busy:
            raise ResourceExhaustedError(Reason.TOO_MANY_OPERATIONS, "busy")


def plan(count: int = 3) -> allocator_pb2.PlanVolumeResponse:
    return allocator_pb2.PlanVolumeResponse(
        cluster_id=CLUSTER,
        bricks=[
            allocator_pb2.PlacedBrick(
                set_index=0,
                position=number,
                device_id=f"{number:x}" * 32,
                node_id=node(number + 1).id,
                size_bytes=GIB,
                thin_pool_size_bytes=2 * GIB,
                pool_metadata_size_bytes=8 << 20,
            )
            for number in range(count)
        ],
    )


def outdated() -> AbortedError:
    return AbortedError(Reason.PLAN_OUTDATED, "device 1 is full now")


class Gateway:
    """Use cases among fakes."""

    def __init__(self, *failures: BrickyardError, settings: ProvisioningSettings | None = None, **answers: Any) -> None:
        self.engine = FakeEngine(*failures)
        self.topology = FakeService(**answers)
        self.operations = FakeService(GetOperation=NotFoundError(Reason.OPERATION_NOT_FOUND, "none"))
        self.allocator = FakeService(PlanVolume=plan())
        self.agents = FakeAgents([])
        self.use_cases = GatewayUseCases(
            topology=self.topology,
            operations=self.operations,
            allocator=self.allocator,
            agents=self.agents,
            engine=self.engine,  # type: ignore[arg-type]
            settings=settings or ProvisioningSettings(),
        )


def made(changes: dict[str, Any]) -> NewVolume:
    return NewVolume(**{"size_bytes": GIB, **changes})


# --- volumes ----------------------------------------------------------------------------------------------------------


def test_create_volume_plans_names_and_begins() -> None:
    gateway = Gateway()
    wanted = NewVolume(size_bytes=GIB, durability=REPLICA_3, cluster_ids=(CLUSTER,), gid=5, options=("a b",))
    run(gateway.use_cases.create_volume(wanted))
    (request,) = gateway.allocator.asked("PlanVolume")
    assert (request.size_bytes, list(request.cluster_ids), request.rules.durability) == (GIB, [CLUSTER], REPLICA_3)
    ((spec, request_id, _),) = gateway.engine.begun
    volume = spec.create_volume.volume
    assert is_id(request_id)
    assert volume.name == f"vol_{volume.id}"
    assert (volume.cluster_id, volume.gid, list(volume.options)) == (CLUSTER, 5, ["", "a b", ""])
    assert len({brick.id for brick in volume.bricks}) == 3
    for brick in volume.bricks:
        assert brick.path == f"/var/lib/heketi/mounts/vg_{brick.device_id}/brick_{brick.id}/brick"
        assert (brick.thin_pool_name, brick.lv_name) == (f"tp_{brick.id}", f"brick_{brick.id}")
        assert (brick.volume_id, brick.thin_pool_size_bytes) == (volume.id, 2 * GIB)


def test_an_outdated_plan_is_made_anew() -> None:
    gateway = Gateway(outdated(), outdated())
    gateway.allocator.answers["PlanVolume"] = [plan(1), plan(2), plan(3)]
    run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB)))
    assert [len(spec.create_volume.volume.bricks) for spec, _, _ in gateway.engine.begun] == [1, 2, 3]
    # One request, one volume; but a brick that was planned in vain gives its id to no other.
    assert len({spec.create_volume.volume.id for spec, _, _ in gateway.engine.begun}) == 1
    bricks = [brick.id for spec, _, _ in gateway.engine.begun for brick in spec.create_volume.volume.bricks]
    assert len(bricks) == len(set(bricks)) == 6


@pytest.mark.parametrize("reason", [Reason.TOO_MANY_VOLUMES, Reason.VOLUME_NAME_IN_USE])
def test_a_cluster_that_was_taken_meanwhile_gives_way_to_another(reason: Reason) -> None:
    gateway = Gateway(ResourceExhaustedError(reason, "cluster 1 has it now"))
    gateway.allocator.answers["PlanVolume"] = [plan(1), plan(2)]
    run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB)))
    assert [len(spec.create_volume.volume.bricks) for spec, _, _ in gateway.engine.begun] == [1, 2]


def test_a_repeated_plan_keeps_a_given_request_id() -> None:
    gateway = Gateway(outdated())
    run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB), request_id="order-1"))
    assert {(request_id, digest) for _, request_id, digest in gateway.engine.begun} == {
        ("order-1", gateway.engine.begun[0][2])
    }


def test_a_cluster_that_is_too_contended_is_given_up() -> None:
    gateway = Gateway(*[outdated() for _ in range(50)])
    with pytest.raises(AbortedError) as caught:
        run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB)))
    assert caught.value.reason is Reason.PLAN_OUTDATED
    assert len(gateway.engine.begun) == len(gateway.allocator.asked("PlanVolume")) == 8


@pytest.mark.parametrize(
    "failure",
    [
        AbortedError(Reason.REQUEST_ID_REUSED, "x"),
        ResourceExhaustedError(Reason.TOO_MANY_OPERATIONS, "x"),
        FailedPreconditionError(Reason.TARGET_BUSY, "x"),
    ],
    ids=lambda error: error.reason.value,
)
def test_other_refusals_are_not_planned_around(failure: BrickyardError) -> None:
    gateway = Gateway(failure)
    with pytest.raises(type(failure)):
        run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB)))
    assert len(gateway.engine.begun) == 1


def test_a_refused_plan_begins_nothing() -> None:
    gateway = Gateway()
    gateway.allocator.answers["PlanVolume"] = [ResourceExhaustedError(Reason.NO_SPACE, "full")]
    with pytest.raises(ResourceExhaustedError):
        run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB)))
    assert gateway.engine.begun == []


def test_a_busy_server_says_so_before_it_says_that_nothing_fits() -> None:
    gateway = Gateway()
    gateway.engine.busy = True
    gateway.allocator.answers["PlanVolume"] = [ResourceExhaustedError(Reason.NO_SPACE, "full")]
    with pytest.raises(ResourceExhaustedError) as caught:
        run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB)))
    assert caught.value.reason is Reason.TOO_MANY_OPERATIONS


def test_a_volume_is_planned_again_without_what_failed() -> None:
    gateway = Gateway(settings=ProvisioningSettings(strategy="ring"))
    wanted = NewVolume(
        size_bytes=GIB, name="n", durability=REPLICA_3, options=("user.heketi.zone-checking strict",), block=True
    )
    run(gateway.use_cases.create_volume(wanted))
    recorded = operation_pb2.Operation(spec=gateway.engine.begun[0][0])
    volume = recorded.spec.create_volume.volume
    bricks = run(gateway.use_cases.plan_again(recorded, without_nodes={"b", "a"}, without_devices={"d"}))
    first, second = gateway.allocator.asked("PlanVolume")
    assert (second.size_bytes, second.rules, second.block) == (first.size_bytes, first.rules, True)
    # Its name is in use, by itself, and it counts as a volume already.
    assert (second.volume_name, second.max_volumes_per_cluster) == ("", 0)
    assert list(second.cluster_ids) == [volume.cluster_id]
    assert (list(second.excluded_node_ids), list(second.excluded_device_ids)) == (["a", "b"], ["d"])
    assert [brick.id for brick in second.freed_bricks] == [brick.id for brick in volume.bricks]
    assert not {brick.id for brick in bricks} & {brick.id for brick in volume.bricks}
    assert {brick.volume_id for brick in bricks} == {volume.id}


def test_a_repeated_create_is_answered_without_a_plan() -> None:
    gateway = Gateway()
    gateway.operations.answers["GetOperation"] = [operation_pb2.Operation()]
    run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB), request_id="order-1"))
    # The cluster may be full by now, of this very volume.
    assert gateway.allocator.requests == []
    assert [request_id for _, request_id, _ in gateway.engine.begun] == ["order-1"]
    assert gateway.operations.asked("GetOperation")[0].request_id == "order-1"


def test_the_fingerprint_tells_requests_apart() -> None:
    def digest(**changes: Any) -> str:
        gateway = Gateway()
        run(gateway.use_cases.create_volume(made(changes)))
        return gateway.engine.begun[0][2]

    others: list[dict[str, Any]] = [
        {"size_bytes": 2 * GIB},
        {"name": "n"},
        {"durability": REPLICA_3},
        {"options": ("a b",)},
        {"gid": 1},
    ]
    digests = [digest(), *(digest(**each) for each in others)]
    assert len(set(digests)) == len(digests)
    assert digest() == digests[0]
    assert max(map(len, digests)) <= 64

    async def delete(gateway: Gateway) -> None:
        await gateway.use_cases.delete_volume("a" * 32)
        await gateway.use_cases.delete_node("a" * 32)
        await gateway.use_cases.delete_device("a" * 32)

    gateway = Gateway()
    run(delete(gateway))
    assert len({digest for _, _, digest in gateway.engine.begun}) == 3


def test_options_and_settings_shape_the_placement() -> None:
    settings = ProvisioningSettings(
        zone_checking="strict",
        strategy="ring",
        pre_request_volume_options="one 1,two 2",
        post_request_volume_options="user.heketi.arbiter 1",
        max_bricks_per_volume=9,
        max_volumes_per_cluster=4,
    )
    gateway = Gateway(settings=settings)
    options = ("user.heketi.device-tag-match a=b", "user.heketi.average-file-size 128", "two 3")
    run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB, options=options, durability=REPLICA_3)))
    (request,) = gateway.allocator.asked("PlanVolume")
    rules = request.rules
    assert (rules.zone_rule, rules.strategy, rules.arbiter) == (allocator_pb2.ZONE_RULE_STRICT, "ring", True)
    assert (rules.tag_rule, rules.average_file_size_bytes) == ("a=b", 128 << 10)
    assert rules.brick_limits.max_bricks_per_volume == 9
    assert request.max_volumes_per_cluster == 4
    made = gateway.engine.begun[0][0].create_volume
    assert made.max_volumes_per_cluster == 4
    assert list(made.volume.options) == ["one 1", "two 2", *options, "user.heketi.arbiter 1"]


@pytest.mark.parametrize(
    ("value", "average_bytes"),
    [
        ("0", 64 << 10),
        ("-1", 64 << 10),
        ("1.5", 64 << 10),
        ("²", 64 << 10),
        (str(2**64), 64 << 10),
        # Heketi reads 64 bits; no brick is as large, and that is what is told.
        (str(2**64 - 1), 2**63 - 1),
    ],
)
def test_an_average_file_size_of_any_form_is_read_as_heketi_does(value: str, average_bytes: int) -> None:
    gateway = Gateway(settings=ProvisioningSettings())
    options = (f"user.heketi.average-file-size {value}",)
    run(gateway.use_cases.create_volume(NewVolume(size_bytes=GIB, options=options, durability=REPLICA_3)))
    (request,) = gateway.allocator.asked("PlanVolume")
    assert request.rules.average_file_size_bytes == average_bytes


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"size_bytes": GIB - 1}, "size_bytes"),
        ({"size_bytes": 0}, "size_bytes"),
        ({"size_bytes": (1 << 60) + GIB}, "size_bytes"),
        ({"name": "no spaces"}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"cluster_ids": ("x",)}, "cluster_ids"),
        ({"gid": -1}, "gid"),
        ({"gid": 2_147_483_647}, "gid"),
        ({"options": ("a\nb",)}, "options"),
        ({"snapshot_enabled": True, "snapshot_factor": 0.0}, "snapshot_factor"),
    ],
)
def test_a_wrong_volume_reaches_nobody(changes: dict[str, Any], field: str) -> None:
    gateway = Gateway()
    with pytest.raises(InvalidArgumentError) as caught:
        run(gateway.use_cases.create_volume(NewVolume(**{"size_bytes": GIB, **changes}), request_id="r"))
    assert caught.value.metadata["field"] == field
    assert gateway.allocator.requests == []
    assert gateway.operations.requests == []
    assert gateway.engine.begun == []


@pytest.mark.parametrize("method", ["delete_volume", "delete_node", "delete_device"])
def test_a_request_id_that_is_none_reaches_nobody(method: str) -> None:
    gateway = Gateway()
    for wrong in ("", "a b", "x" * 65, "ü"):
        with pytest.raises(InvalidArgumentError, match="request_id"):
            run(getattr(gateway.use_cases, method)("a" * 32, request_id=wrong))
    assert gateway.engine.begun == []


# --- nodes and devices ------------------------------------------------------------------------------------------------


def new_node(**changes: Any) -> NewNode:
    base: dict[str, Any] = {"cluster_id": CLUSTER, "zone": 1, "manage_hostnames": ("new",), "storage_hostnames": ("s",)}
    return NewNode(**{**base, **changes})


def with_members(*members: node_pb2.Node) -> dict[str, Any]:
    return {"CheckNewNode": topology_service_pb2.CheckNewNodeResponse(nodes=members)}


def test_the_first_node_is_asked_itself_and_nobody_probes() -> None:
    gateway = Gateway(**with_members())
    run(gateway.use_cases.add_node(new_node(tags={"a": "b"})))
    assert [call[:2] for call in gateway.agents.calls()] == [("new", "GetGlusterd")]
    spec = gateway.engine.begun[0][0].add_node
    assert (spec.probing_node_id, dict(spec.node.tags), is_id(spec.node.id)) == ("", {"a": "b"}, True)


def test_the_first_member_whose_glusterd_runs_will_probe() -> None:
    offline = node(1)
    offline.state = node_pb2.NODE_STATE_OFFLINE
    gateway = Gateway(**with_members(offline, node(2), node(3)))
    gateway.agents.down = {"node2"}
    run(gateway.use_cases.add_node(new_node()))
    assert gateway.engine.begun[0][0].add_node.probing_node_id == node(3).id
    assert "node1" not in [hostname for hostname, _, _ in gateway.agents.calls()]


@pytest.mark.parametrize(
    ("down", "text"),
    [
        ({"new"}, "New Node doesn't have glusterd running"),
        ({"node1", "node2"}, "None of the nodes in cluster has glusterd running"),
        ({"node1", "node2", "new"}, "None of the nodes in cluster has glusterd running"),
    ],
)
def test_without_glusterd_no_node_is_added(down: set[str], text: str) -> None:
    gateway = Gateway(**with_members(node(1), node(2)))
    gateway.agents.down = down
    with pytest.raises(FailedPreconditionError, match=text) as caught:
        run(gateway.use_cases.add_node(new_node()))
    assert caught.value.reason is Reason.GLUSTERD_NOT_RUNNING
    assert gateway.engine.begun == []


def test_a_repeated_add_node_is_answered_although_its_host_name_is_taken_by_itself() -> None:
    gateway = Gateway(CheckNewNode=FailedPreconditionError(Reason.HOSTNAME_IN_USE, "taken"))
    gateway.operations.answers["GetOperation"] = [operation_pb2.Operation()]
    run(gateway.use_cases.add_node(new_node(), request_id="again"))
    assert gateway.topology.requests == []
    assert len(gateway.engine.begun) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cluster_id": "x"}, "cluster_id"),
        ({"zone": 0}, "zone"),
        ({"manage_hostnames": ()}, "manage_hostnames"),
        ({"storage_hostnames": ("a b",)}, "storage_hostnames"),
        ({"manage_hostnames": ("x" * 256,)}, "manage_hostnames"),
        ({"tags": {"a b": ""}}, "tags"),
        ({"tags": {str(number): "" for number in range(33)}}, "tags"),
        ({"tags": {"a": "v" * 65}}, "tags[a]"),
    ],
)
def test_a_wrong_node_reaches_nobody(changes: dict[str, Any], field: str) -> None:
    gateway = Gateway()
    with pytest.raises(InvalidArgumentError) as caught:
        run(gateway.use_cases.add_node(new_node(**changes)))
    assert caught.value.metadata["field"] == field
    assert gateway.topology.requests == []
    assert gateway.agents.calls() == []


@pytest.mark.parametrize("name", ["node1", "node-1.example.com", "10.0.0.1", "fe80::1", "_srv.example.", "a"])
def test_usual_host_names_are_taken(name: str) -> None:
    gateway = Gateway(**with_members())
    run(gateway.use_cases.add_node(new_node(manage_hostnames=(name,))))
    assert len(gateway.engine.begun) == 1


def test_a_device_is_begun_with_a_fresh_id() -> None:
    gateway = Gateway()
    device = NewDevice(node_id="a" * 32, path="/dev/disk/by-id/wwn-0x5000:1", destroy_data=True)
    run(gateway.use_cases.add_device(device))
    spec = gateway.engine.begun[0][0].add_device
    assert is_id(spec.device.id)
    assert (spec.device.path, spec.destroy_data) == (device.path, True)


@pytest.mark.parametrize("path", ["", "sdb", "/dev/sd b", "/dev/../sdb", "/dev/sdb\n", "/dev/$(x)"])
def test_a_wrong_path_reaches_nobody(path: str) -> None:
    gateway = Gateway()
    with pytest.raises(InvalidArgumentError) as caught:
        run(gateway.use_cases.add_device(NewDevice(node_id="a" * 32, path=path)))
    assert caught.value.metadata["field"] == "path"
    assert gateway.engine.begun == []


def test_lists_are_read_to_their_last_page() -> None:
    pages = [
        topology_service_pb2.ListNodesResponse(nodes=[node(1), node(2)], next_page_token="more"),
        topology_service_pb2.ListNodesResponse(nodes=[node(3)]),
    ]
    gateway = Gateway(ListNodes=pages)
    assert [each.id for each in run(gateway.use_cases.list_nodes(CLUSTER))] == [node(number).id for number in (1, 2, 3)]
    first, second = gateway.topology.asked("ListNodes")
    assert (first.page_token, second.page_token, first.cluster_id) == ("", "more", CLUSTER)


def test_removing_tags_needs_no_valid_tags() -> None:
    gateway = Gateway(UpdateNodeTags=topology_service_pb2.UpdateNodeTagsResponse(tags={"left": "x"}))
    delete, update = topology_service_pb2.TAG_CHANGE_DELETE, topology_service_pb2.TAG_CHANGE_UPDATE
    wrong = {"old name with spaces": ""}
    assert run(gateway.use_cases.update_node_tags("a" * 32, delete, wrong)) == {"left": "x"}
    with pytest.raises(InvalidArgumentError):
        run(gateway.use_cases.update_node_tags("a" * 32, update, wrong))
