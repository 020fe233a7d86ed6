"""The gRPC face of operations: translates requests and answers, decides nothing."""

import threading
from collections.abc import Iterator

import grpc

from brickyard.topology.v1 import operation_service_pb2, operation_service_pb2_grpc
from services.common.errors import UnavailableError
from services.common.pagination import page_size
from services.common.reasons import Reason
from services.topology.metrics import count_takeovers
from services.topology.store import Store
from services.topology.usecases import leases, nodes, operations, replanning, watching
from services.topology.usecases.clean_up_operations import clean_up_id
from services.topology.usecases.feed import ChangeFeed

_PAGE = {"default": 100, "maximum": 1000}
_NANOSECONDS = 1_000_000_000


class OperationServicer(operation_service_pb2_grpc.OperationServiceServicer):
    """OperationService on a store. Domain errors go to the interceptor."""

    def __init__(self, store: Store, feed: ChangeFeed, *, max_watchers: int) -> None:
        """Args: the store, the feed of changes, and how many threads watchers may hold at a time."""
        self._store = store
        self._feed = feed
        self._watchers = threading.BoundedSemaphore(max_watchers)

    def BeginOperation(
        self, request: operation_service_pb2.BeginOperationRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.BeginOperationResponse:
        """Records an operation."""
        del context
        asked = operations.NewOperation(
            request_id=request.request_id,
            spec=request.spec,
            owner=request.owner,
            lease_s=request.lease_duration.seconds + request.lease_duration.nanos / _NANOSECONDS,
            max_in_flight=request.max_in_flight,
            fingerprint=request.fingerprint,
        )
        operation, replayed = operations.begin(self._store, asked)
        answer = operation_service_pb2.BeginOperationResponse(operation=operation, replayed=replayed)
        new_bricks = operation.spec.create_volume.volume.bricks
        if new_bricks and not replayed:
            # They cannot go while the operation has bricks on them.
            answer.nodes.extend(nodes.with_ids(self._store, {brick.node_id for brick in new_bricks}))
        return answer

    def UpdateOperation(
        self, request: operation_service_pb2.UpdateOperationRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.UpdateOperationResponse:
        """Stores how far an operation is."""
        del context
        operation = operations.update_progress(self._store, self._feed, request)
        return operation_service_pb2.UpdateOperationResponse(operation=operation)

    def CommitOperation(
        self, request: operation_service_pb2.CommitOperationRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.CommitOperationResponse:
        """Makes the outcome of an operation durable."""
        del context
        operation = operations.commit(self._store, self._feed, request)
        left = watching.get(self._store, clean_up_id(operation)) if request.left_brick_ids else None
        return operation_service_pb2.CommitOperationResponse(operation=operation, clean_up=left)

    def AbortOperation(
        self, request: operation_service_pb2.AbortOperationRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.AbortOperationResponse:
        """Takes an operation back."""
        del context
        operation = operations.abort(self._store, self._feed, request)
        left = watching.get(self._store, clean_up_id(operation)) if request.left_brick_ids else None
        return operation_service_pb2.AbortOperationResponse(operation=operation, clean_up=left)

    def ReplanOperation(
        self, request: operation_service_pb2.ReplanOperationRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.ReplanOperationResponse:
        """Gives a volume that is being made other bricks."""
        del context
        operation = replanning.replan(self._store, self._feed, request)
        left = watching.get(self._store, clean_up_id(operation, before=1)) if request.left_brick_ids else None
        return operation_service_pb2.ReplanOperationResponse(operation=operation, clean_up=left)

    def CheckSlot(
        self, request: operation_service_pb2.CheckSlotRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.CheckSlotResponse:
        """Whether an operation could begin now."""
        del context
        operations.check_free_slot(self._store, request.max_in_flight)
        return operation_service_pb2.CheckSlotResponse()

    def WakeOperations(
        self, request: operation_service_pb2.WakeOperationsRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.WakeOperationsResponse:
        """Wants stalled operations retried now."""
        del context
        return operation_service_pb2.WakeOperationsResponse(woken_count=leases.wake(self._store, request.operation_ids))

    def RenewLeases(
        self, request: operation_service_pb2.RenewLeasesRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.RenewLeasesResponse:
        """Prolongs leases."""
        del context
        renewal = leases.renew(
            self._store,
            owner=request.owner,
            operation_ids=request.operation_ids,
            lease_s=request.lease_duration.seconds + request.lease_duration.nanos / _NANOSECONDS,
        )
        return operation_service_pb2.RenewLeasesResponse(
            lost_operation_ids=renewal.lost, woken_operation_ids=renewal.woken
        )

    def ClaimOperations(
        self, request: operation_service_pb2.ClaimOperationsRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.ClaimOperationsResponse:
        """Takes over operations whose lease has run out."""
        del context
        claimed = leases.claim(
            self._store,
            self._feed,
            owner=request.owner,
            lease_s=request.lease_duration.seconds + request.lease_duration.nanos / _NANOSECONDS,
            limit=request.limit,
        )
        count_takeovers(claimed)
        return operation_service_pb2.ClaimOperationsResponse(operations=claimed)

    def GetOperation(
        self, request: operation_service_pb2.GetOperationRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.GetOperationResponse:
        """One operation."""
        del context
        if request.request_id:
            operation = watching.get_by_request(self._store, request.request_id)
        else:
            operation = watching.get(self._store, request.operation_id)
        return operation_service_pb2.GetOperationResponse(operation=operation)

    def ListOperations(
        self, request: operation_service_pb2.ListOperationsRequest, context: grpc.ServicerContext
    ) -> operation_service_pb2.ListOperationsResponse:
        """A page of operations."""
        del context
        page, token = watching.list_page(
            self._store,
            page_token=request.page_token,
            count=page_size(request.page_size, **_PAGE),
            unfinished_only=request.unfinished_only,
        )
        return operation_service_pb2.ListOperationsResponse(operations=page, next_page_token=token)

    def WatchOperation(
        self, request: operation_service_pb2.WatchOperationRequest, context: grpc.ServicerContext
    ) -> Iterator[operation_service_pb2.WatchOperationResponse]:
        """The operation now and after each change."""
        if not self._watchers.acquire(blocking=False):
            # Each watcher holds a thread; the other calls need some too.
            raise UnavailableError(Reason.UNAVAILABLE, "too many watchers; use GetOperation for now")
        try:
            for operation in watching.watch(
                self._store,
                self._feed,
                request.operation_id,
                on_leave=context.add_callback,
                is_active=context.is_active,
            ):
                yield operation_service_pb2.WatchOperationResponse(operation=operation)
        finally:
            self._watchers.release()
