"""AllocatorService: reads the inventory, asks the placement core, answers. Keeps no truth."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from brickyard.allocator.v1 import allocator_service_pb2 as pb
from brickyard.allocator.v1.allocator_service_pb2_grpc import AllocatorServiceServicer
from brickyard.topology.v1.inventory_pb2 import CandidateCluster
from brickyard.topology.v1.topology_service_pb2 import (
    ListCandidateClustersRequest,
    ListCandidateClustersResponse,
    ListReservationsRequest,
    ListReservationsResponse,
)
from services.allocator import convert, convert_moves
from services.allocator.domain.index import PlacementIndex
from services.allocator.domain.model import VolumeRequest
from services.allocator.domain.planner import explain_volume, max_volume_size, plan_volume
from services.allocator.domain.rebalance import plan_rebalance
from services.allocator.domain.refusal import PlacementRefused
from services.allocator.domain.replacement import plan_replacement
from services.allocator.domain.reservations import Reservation, by_device, refusal_with_reservations
from services.allocator.domain.strategies import SpreadWeights, all_strategies, strategy_by_name
from services.allocator.domain.strategies.base import Strategy
from services.allocator.inventory import InventoryCache
from services.allocator.metrics import count_refusal
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
        SERVICE,
        dict.fromkeys(
            ("PlanVolume", "GetMaxVolumeSize", "ExplainVolume", "PlanReplacement", "PlanRebalance"),
            (Role.GATEWAY, Role.OPERATOR),
        ),
    )
)
_log = get_logger()
# For a rebalance, when the request leaves them open.
_MOVES, _MOST_MOVES, _TARGET_DEVIATION = 100, 10_000, 0.02
ListReservations = Callable[[ListReservationsRequest], ListReservationsResponse]
ListCandidates = Callable[[ListCandidateClustersRequest], ListCandidateClustersResponse]
# These end the search at once: another cluster would refuse for the same cause.
_FATAL = {Reason.INVALID_TAG_RULE, Reason.AVERAGE_FILE_SIZE_TOO_LARGE}


class AllocatorServicer(AllocatorServiceServicer):
    """See the contract, brickyard/allocator/v1/allocator_service.proto."""

    def __init__(
        self,
        inventory: InventoryCache,
        list_candidates: ListCandidates,
        list_reservations: ListReservations,
        weights: SpreadWeights | None = None,
    ) -> None:
        """`list_candidates` and `list_reservations` are topology's RPCs of those names."""
        self._inventory = inventory
        self._strategies = all_strategies(weights or SpreadWeights())
        self._list_candidates = list_candidates
        self._list_reservations = list_reservations

    def PlanVolume(self, request: pb.PlanVolumeRequest, context: Any) -> pb.PlanVolumeResponse:
        wanted = _wanted(request)
        if request.existing_brick_count:
            return self._plan_expansion(request, wanted)
        candidates = self._candidates(request)
        if not candidates:
            raise FailedPreconditionError(Reason.NO_CLUSTERS, "there is no cluster yet; create one first")
        refusals: dict[str, BrickyardError] = {}
        eligible = False
        for candidate in candidates:
            if candidate.refusal_reason:
                refusals[candidate.cluster_id] = _ineligible(request, candidate)
                continue
            eligible = True
            answer = self._plan_in(candidate.cluster_id, request, wanted)
            if isinstance(answer, pb.PlanVolumeResponse):
                return answer
            refusals[candidate.cluster_id] = answer
        raise _all_refused(refusals, eligible=eligible)

    def _plan_expansion(self, request: pb.PlanVolumeRequest, wanted: VolumeRequest) -> pb.PlanVolumeResponse:
        answer = self._plan_in(_only_cluster(request), request, wanted)
        if isinstance(answer, BrickyardError):
            raise answer
        return answer

    def _strategy(self, rules: pb.PlacementRules) -> Strategy:
        try:
            return strategy_by_name(rules.strategy, self._strategies)
        except ValueError as error:
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT, f"strategy: {error}", field="strategy", value=rules.strategy
            ) from error

    def _candidates(self, request: pb.PlanVolumeRequest) -> Sequence[CandidateCluster]:
        """The clusters to try in order; an existing volume is in one that nobody asks about."""
        if request.existing_brick_count:
            return [CandidateCluster(cluster_id=_only_cluster(request))]
        return self._list_candidates(
            ListCandidateClustersRequest(
                cluster_ids=request.cluster_ids,
                volume_name=request.volume_name,
                block=request.block,
                max_volumes_per_cluster=request.max_volumes_per_cluster,
            )
        ).clusters

    def _reservations(self, cluster_id: str) -> dict[str, tuple[Reservation, ...]]:
        answer = self._list_reservations(ListReservationsRequest(cluster_id=cluster_id))
        return by_device(
            Reservation(each.device_id, each.operation_id, each.size_bytes) for each in answer.reservations
        )

    def _plan_in(
        self, cluster_id: str, request: pb.PlanVolumeRequest, wanted: VolumeRequest
    ) -> pb.PlanVolumeResponse | BrickyardError:
        index = _as_asked(self._inventory.current(cluster_id), request)
        try:
            placement = plan_volume(index, wanted, self._strategy(request.rules))
        except PlacementRefused as refused:
            refusal = refusal_with_reservations(refused.refusal, self._reservations(cluster_id))
            count_refusal(refusal)
            error = convert.refusal_error(cluster_id, wanted, refusal)
            _log.info("placement.refused", cluster_id=cluster_id, reason=error.reason.value, message=error.message)
            if error.reason in _FATAL:
                raise error from refused
            return error
        return pb.PlanVolumeResponse(
            cluster_id=cluster_id,
            bricks=convert.placed_bricks(placement),
            inventory_revision=placement.revision,
        )

    def GetMaxVolumeSize(self, request: pb.GetMaxVolumeSizeRequest, context: Any) -> pb.GetMaxVolumeSizeResponse:
        # The size of the request is not looked at; the smallest one is as good as any.
        wanted = convert.volume_request(KIB, request.rules, seed=request.rules.seed or new_id())
        try:
            index = self._inventory.current(request.cluster_id).without((), request.excluded_node_ids)
            size_bytes = max_volume_size(index, wanted, self._strategy(request.rules))
        except PlacementRefused as refused:
            raise convert.refusal_error(request.cluster_id, wanted, refused.refusal) from refused
        return pb.GetMaxVolumeSizeResponse(size_bytes=size_bytes)

    def ExplainVolume(self, request: pb.ExplainVolumeRequest, context: Any) -> pb.ExplainVolumeResponse:
        wanted = _wanted(request.volume)
        return pb.ExplainVolumeResponse(
            clusters=[self._explained(each, request.volume, wanted) for each in self._candidates(request.volume)]
        )

    def _explained(
        self, candidate: CandidateCluster, request: pb.PlanVolumeRequest, wanted: VolumeRequest
    ) -> pb.ClusterExplanation:
        cluster_id = candidate.cluster_id
        if candidate.refusal_reason:
            error = _ineligible(request, candidate)
            return pb.ClusterExplanation(
                cluster_id=cluster_id, refusal_reason=error.reason.value, summary=error.message
            )
        index = _as_asked(self._inventory.current(cluster_id), request)
        try:
            found = explain_volume(index, wanted, self._strategy(request.rules))
        except PlacementRefused as refused:
            raise convert.refusal_error(cluster_id, wanted, refused.refusal) from refused
        summary, devices = found.summary, found.devices
        if found.refusal is not None:
            refusal = refusal_with_reservations(found.refusal, self._reservations(cluster_id))
            summary, devices = refusal.summary, refusal.devices
        return pb.ClusterExplanation(
            cluster_id=cluster_id,
            refusal_reason=found.refusal.kind.value if found.refusal is not None else "",
            summary=summary,
            largest_size_bytes=found.largest_size_bytes,
            bricks=convert.placed_bricks(found.placement) if found.placement is not None else (),
            devices=convert.device_explanations(index, devices, wanted.tag_rule),
            inventory_revision=index.revision,
        )

    def PlanReplacement(self, request: pb.PlanReplacementRequest, context: Any) -> pb.PlanReplacementResponse:
        brick = convert_moves.moving_brick(request)
        wanted = convert_moves.replacement_request(
            brick,
            request.bricks,
            request.rules,
            seed=request.rules.seed or new_id(),
            excluded_devices=request.excluded_device_ids,
            excluded_nodes=request.excluded_node_ids,
        )
        index = self._inventory.current(request.cluster_id)
        try:
            placed = plan_replacement(index, wanted, strategy=self._strategy(request.rules))
        except PlacementRefused as refused:
            refusal = refusal_with_reservations(refused.refusal, self._reservations(request.cluster_id))
            count_refusal(refusal)
            error = convert_moves.replacement_error(request.cluster_id, brick.id, request.rules, refusal)
            _log.info("replacement.refused", cluster_id=request.cluster_id, brick_id=brick.id, message=error.message)
            raise error from refused
        return pb.PlanReplacementResponse(brick=convert.placed_brick(placed), inventory_revision=index.revision)

    def PlanRebalance(self, request: pb.PlanRebalanceRequest, context: Any) -> pb.PlanRebalanceResponse:
        if not 0 <= request.max_moves <= _MOST_MOVES:
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT,
                f"max_moves: {request.max_moves} is not in 0..{_MOST_MOVES}",
                field="max_moves",
                value=request.max_moves,
            )
        if not 0 <= request.target_deviation <= 1:
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT,
                f"target_deviation: {request.target_deviation} is not in 0..1",
                field="target_deviation",
                value=request.target_deviation,
            )
        bricks = convert_moves.movable_bricks(request.volumes, seed=new_id())
        index = self._inventory.current(request.cluster_id)
        try:
            plan = plan_rebalance(
                index,
                bricks,
                target_deviation=request.target_deviation or _TARGET_DEVIATION,
                max_moves=request.max_moves or _MOVES,
            )
        except PlacementRefused as refused:
            raise InvalidArgumentError(Reason.INVALID_TAG_RULE, refused.refusal.summary) from refused
        return convert_moves.rebalance_response(plan, index.revision)


def _wanted(request: pb.PlanVolumeRequest) -> VolumeRequest:
    return convert.volume_request(
        request.size_bytes,
        request.rules,
        seed=request.rules.seed or new_id(),
        existing_bricks=request.existing_brick_count,
    )


def _only_cluster(request: pb.PlanVolumeRequest) -> str:
    if len(request.cluster_ids) != 1:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT,
            f"cluster_ids: {len(request.cluster_ids)} given; an existing volume is in exactly one cluster",
            field="cluster_ids",
            value=len(request.cluster_ids),
        )
    return request.cluster_ids[0]


def _as_asked(index: PlacementIndex, request: pb.PlanVolumeRequest) -> PlacementIndex:
    """The inventory without what is to be left out, and with the room that is to be had."""
    freed: Counter[str] = Counter()
    for brick in request.freed_bricks:
        freed[brick.device_id] += brick.thin_pool_size_bytes + brick.pool_metadata_size_bytes
    return index.with_freed(freed).without(request.excluded_device_ids, request.excluded_node_ids)


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
    clusters = json.dumps(rows, separators=(",", ":"))
    return ResourceExhaustedError(
        Reason.NO_ELIGIBLE_CLUSTER,
        f"no cluster can take the volume: {sentence}",
        stage="placement" if eligible else "eligibility",
        clusters=clusters,
        devices=convert.merged_details((error.metadata.get("devices", "[]") for error in refusals.values()), clusters),
        down_device_count=sum(int(error.metadata.get("down_device_count", 0)) for error in refusals.values()),
    )


def _kept(metadata: Mapping[str, str]) -> dict[str, str]:
    kept = {"name", "volume_count", "limit", "largest_size_bytes"}
    return {key: value for key, value in metadata.items() if key in kept and value}
