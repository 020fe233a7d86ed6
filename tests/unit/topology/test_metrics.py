"""What the topology counts."""

from brickyard.topology.v1 import operation_pb2
from services.common.metrics import REGISTRY
from services.topology.metrics import count_takeovers


def test_takeovers_are_counted_by_kind() -> None:
    def counted(kind: str) -> float:
        return REGISTRY.get_sample_value("brickyard_lease_takeovers_total", {"kind": kind}) or 0.0

    kinds = (operation_pb2.OPERATION_KIND_CREATE_VOLUME, operation_pb2.OPERATION_KIND_EVICT_BRICK)
    before = counted("create_volume"), counted("evict_brick")
    count_takeovers(operation_pb2.Operation(kind=kind) for kind in (kinds[0], kinds[1], kinds[0]))
    assert (counted("create_volume") - before[0], counted("evict_brick") - before[1]) == (2, 1)
