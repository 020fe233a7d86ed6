"""AllocatorService: reads the inventory, asks the placement core, answers. Keeps no truth."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.allocator.v1.allocator_service_pb2_grpc import AllocatorServiceServicer
from brickyard.topology.v1.topology_service_pb2 import ListCandidateClustersRequest, ListCandidateClustersResponse
from services.allocator import convert
from services.allocator.domain.model import VolumeRequest
from services.allocator.domain.planner import max_volume_size, plan_volume
from services.allocator.domain.refusal import PlacementRefused
from services.allocator.inventory import InventoryCache
from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
)
from services.common.identity import AccessPolicy, Role, policy_for
from services.common.ids import new_id
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.common.units import KIB

SERVICE = "brickyard.allocator.v1.AllocatorService"
ACCESS = AccessPolicy(
    policy_for(
        SERVICE, {"PlanVolume": (Role.GATEWAY, Role.OPERATOR), "GetMaxVolumeSize": (Role.GATEWAY, Role.OPERATOR)}
    )
)
_log = get_logger()
ListCandidates = Callable[[ListCandidateClustersRequest], ListCandidateClustersResponse]
# These end the search at once: another cluster would refuse for the same cause.
_FATAL = {Reason.INVALID_TAG_RULE, Reason.AVERAGE_FILE_SIZE_TOO_LARGE}


class AllocatorServicer(AllocatorServiceServicer):
    """See the contract, brickyard/allocator/v1/allocator_service.proto."""

    def __init__(self, inventory: InventoryCache, list_candidates: ListCandidates) -> None:
        """`list_candidates` is topology's ListCandidateClusters."""
        self._inventory = inventory
        self._list_candidates = list_candidates

    def PlanVolume(self, request: pb.PlanVolumeRequest, context: Any) -> pb.PlanVolumeResponse:
        wanted = convert.volume_request(
            request.size_bytes,
            request.rules,
            seed=request.rules.seed or new_id(),
            existing_bricks=request.existing_brick_count,
        )
        if request.existing_brick_count:
            return self._plan_expansion(request, wanted)
        candidates = self._list_candidates(
            ListCandidateClustersRequest(
                cluster_ids=request.cluster_ids,
                volume_name=request.volume_name,
                block=request.block,
                max_volumes_per_cluster=request.max_volumes_per_cluster,
            )
        ).clusters
        if not candidates:
            raise FailedPreconditionError(Reason.NO_CLUSTERS, "there is no cluster yet; create one first")
        refusals: dict[str, BrickyardError] = {}
        eligible = False
        for candidate in candidates:
            if candidate.refusal_reason:
                refusals[candidate.cluster_id] = _ineligible(request, candidate)
                continue
            eligible = True
            answer = self._plan_in(candidate.cluster_id, wanted)
            if isinstance(answer, pb.PlanVolumeResponse):
                return answer
            refusals[candidate.cluster_id] = answer
        raise _all_refused(refusals, eligible=eligible)

    def _plan_expansion(self, request: pb.PlanVolumeRequest, wanted: VolumeRequest) -> pb.PlanVolumeResponse:
        if len(request.cluster_ids) != 1:
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT,
                f"cluster_ids: {len(request.cluster_ids)} given; an existing volume is in exactly one cluster",
                field="cluster_ids",
                value=len(request.cluster_ids),
            )
        answer = self._plan_in(request.cluster_ids[0], wanted)
        if isinstance(answer, BrickyardError):
            raise answer
        return answer

    def _plan_in(self, cluster_id: str, wanted: VolumeRequest) -> pb.PlanVolumeResponse | BrickyardError:
        index = self._inventory.current(cluster_id)
        try:
            placement = plan_volume(index, wanted)
        except PlacementRefused as refused:
            error = convert.refusal_error(cluster_id, wanted, refused.refusal)
            _log.info("placement.refused", cluster_id=cluster_id, reason=error.reason.value, message=error.message)
            if error.reason in _FATAL:
                raise error from refused
            return error
        except ValueError as error:
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT, f"strategy: {error}", field="strategy", value=wanted.strategy
            ) from error
        return pb.PlanVolumeResponse(
            cluster_id=cluster_id,
            bricks=convert.placed_bricks(placement),
            inventory_revision=placement.revision,
        )

    def GetMaxVolumeSize(self, request: pb.GetMaxVolumeSizeRequest, context: Any) -> pb.GetMaxVolumeSizeResponse:
        # The size of the request is not looked at; the smallest one is as good as any.
        wanted = convert.volume_request(KIB, request.rules, seed=request.rules.seed or new_id())
        try:
            size_bytes = max_volume_size(self._inventory.current(request.cluster_id), wanted)
        except PlacementRefused as refused:
            raise convert.refusal_error(request.cluster_id, wanted, refused.refusal) from refused
        except ValueError as error:
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT, f"strategy: {error}", field="strategy", value=wanted.strategy
            ) from error
        return pb.GetMaxVolumeSizeResponse(size_bytes=size_bytes)


def _ineligible(request: pb.PlanVolumeRequest, candidate: Any) -> BrickyardError:
    reason = Reason(candidate.refusal_reason)
    texts = {
        Reason.CLUSTER_HAS_NO_VOLUME_TYPE: "the cluster takes neither file nor block volumes",
        Reason.CLUSTER_LACKS_VOLUME_TYPE: f"the cluster takes no {'block' if request.block else 'file'} volumes",
        Reason.VOLUME_NAME_IN_USE: f"a volume named {request.volume_name!r} exists in the cluster",
        Reason.TOO_MANY_VOLUMES: (
            f"the cluster has {candidate.volume_count} volumes and the limit is {request.max_volumes_per_cluster}"
        ),
    }
    return FailedPreconditionError(
        reason,
        texts[reason],
        cluster_id=candidate.cluster_id,
        name=request.volume_name,
        volume_count=candidate.volume_count,
        limit=request.max_volumes_per_cluster,
    )


def _all_refused(refusals: Mapping[str, BrickyardError], *, eligible: bool) -> BrickyardError:
    """The one refusal as it is; several as one error that carries each with its reason and text."""
    if len(refusals) == 1:
        return next(iter(refusals.values()))
    rows = {
        cluster_id: {"reason": error.reason.value, "message": error.message, **_kept(error.metadata)}
        for cluster_id, error in refusals.items()
    }
    sentence = "; ".join(f"cluster {cluster_id}: {error.message}" for cluster_id, error in refusals.items())
    return ResourceExhaustedError(
        Reason.NO_ELIGIBLE_CLUSTER,
        f"no cluster can take the volume: {sentence}",
        stage="placement" if eligible else "eligibility",
        clusters=json.dumps(rows, separators=(",", ":")),
    )


def _kept(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key in {"name", "volume_count", "limit"} and value}
