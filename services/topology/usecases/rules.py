"""What the kinds of operations have in common: how each begins, succeeds and is taken back."""

from collections.abc import Callable
from dataclasses import dataclass

from brickyard.topology.v1 import operation_pb2, operation_service_pb2
from services.topology.store import Transaction
from services.topology.tables import OperationRow


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an operation takes place; its cluster is locked.

    Attributes:
        cluster_id: The cluster.
        target_id: The object that the operation makes, changes or removes.
    """

    cluster_id: str
    target_id: str


@dataclass(frozen=True, slots=True)
class KindRules:
    """The rules of one kind of operation; each runs in the transaction of its call, with the cluster locked.

    Attributes:
        locate: Checks the request by itself, finds the scene and locks it.
        begin: Checks the rest, records and reserves; gives the spec to keep. Gets the operation's id.
        commit: Makes the outcome durable.
        abort: Takes back what `begin` recorded.
        keep: Makes durable what was done although the operation failed; None for kinds that undo all or nothing.
        explain: Adds what the records know to the reason of a failure; None for kinds whose reasons say it all.
    """

    locate: Callable[[Transaction, operation_pb2.OperationSpec], Scene]
    begin: Callable[[Transaction, operation_pb2.OperationSpec, str], operation_pb2.OperationSpec]
    commit: Callable[
        [
            Transaction,
            OperationRow,
            operation_pb2.OperationSpec,
            operation_service_pb2.CommitOperationRequest,
        ],
        None,
    ]
    abort: Callable[[Transaction, OperationRow], None]
    keep: Callable[[Transaction, OperationRow, operation_service_pb2.AbortOperationRequest], None] | None = None
    explain: (
        Callable[[Transaction, operation_pb2.OperationSpec, operation_pb2.OperationError], operation_pb2.OperationError]
        | None
    ) = None
