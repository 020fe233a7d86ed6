"""The gRPC face of facts and health: translates requests and answers, decides nothing."""

import grpc

from brickyard.topology.v1 import health_service_pb2, health_service_pb2_grpc
from services.common.pagination import decode_page_token, encode_page_token, page_size
from services.topology.domain.checks import check_id, invalid
from services.topology.domain.eviction import EvictionRules
from services.topology.store import Store
from services.topology.usecases import evictions, facts, health

_PAGE = {"default": 1000, "maximum": 10_000}


class HealthServicer(health_service_pb2_grpc.HealthServiceServicer):
    """HealthService on a store. Domain errors go to the interceptor."""

    def __init__(self, store: Store, rules: EvictionRules = health.NEVER) -> None:
        """`rules` tell which nodes are emptied by themselves."""
        self._store = store
        self._rules = rules

    def TakeFactTurns(
        self, request: health_service_pb2.TakeFactTurnsRequest, context: grpc.ServicerContext
    ) -> health_service_pb2.TakeFactTurnsResponse:
        """The nodes to look at now."""
        del context
        turns = facts.take_turns(
            self._store,
            cluster_id=request.cluster_id,
            interval_us=request.interval.ToMicroseconds(),
            count=page_size(request.max_count, **_PAGE),
        )
        return health_service_pb2.TakeFactTurnsResponse(turns=turns)

    def RecordNodeFacts(
        self, request: health_service_pb2.RecordNodeFactsRequest, context: grpc.ServicerContext
    ) -> health_service_pb2.RecordNodeFactsResponse:
        """Stores what came of a look at a node."""
        del context
        check_id("node_id", request.node_id)
        outcome = request.WhichOneof("outcome")
        if outcome is None:
            raise invalid("outcome", "", "must be facts or error")
        facts.record(
            self._store,
            node_id=request.node_id,
            turn_time_us=request.turn_time.ToMicroseconds(),
            seen=request.facts if outcome == "facts" else None,
            error=request.error,
        )
        return health_service_pb2.RecordNodeFactsResponse()

    def TakeEvictionTurns(
        self, request: health_service_pb2.TakeEvictionTurnsRequest, context: grpc.ServicerContext
    ) -> health_service_pb2.TakeEvictionTurnsResponse:
        """The nodes to empty now."""
        del request, context
        return health_service_pb2.TakeEvictionTurnsResponse(turns=evictions.take_turns(self._store, self._rules))

    def ListNodeFacts(
        self, request: health_service_pb2.ListNodeFactsRequest, context: grpc.ServicerContext
    ) -> health_service_pb2.ListNodeFactsResponse:
        """The latest facts."""
        del context
        count = page_size(request.page_size, **_PAGE)
        page = facts.list_page(
            self._store, cluster_id=request.cluster_id, after=decode_page_token(request.page_token), count=count
        )
        token = encode_page_token(page[-1].node_id) if len(page) == count else ""
        return health_service_pb2.ListNodeFactsResponse(observations=page, next_page_token=token)

    def GetHealth(
        self, request: health_service_pb2.GetHealthRequest, context: grpc.ServicerContext
    ) -> health_service_pb2.GetHealthResponse:
        """How everything is."""
        del context
        return health_service_pb2.GetHealthResponse(report=health.report(self._store, request.cluster_id, self._rules))
