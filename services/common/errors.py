"""The one family of errors, and its one mapping to and from gRPC.

Code raises a subclass by what its caller can do about it; the interceptor turns it into a status with exactly one
google.rpc.ErrorInfo; a client gets the same class back from `from_rpc_error`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.common.reasons import Reason

DOMAIN = "brickyard"
# A peer refuses headers above 8 KiB, and the details travel in a header.
MAX_METADATA_CHARACTERS = 3000


class BrickyardError(Exception):
    """A failure with a stable reason, a text for people and every variable of that text.

    Attributes:
        reason: Stable name of the failure.
        message: Text for people.
        metadata: The variables of the text, as strings.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL

    def __init__(self, reason: Reason, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items()}


class InvalidArgumentError(BrickyardError):
    """The request itself is wrong, whatever the state. Repeating it is useless."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFoundError(BrickyardError):
    """The named object does not exist."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExistsError(BrickyardError):
    """A name or address is taken."""

    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPreconditionError(BrickyardError):
    """The state has to change first, by somebody else's action."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class ResourceExhaustedError(BrickyardError):
    """No room: disk space, operations in flight, volumes of a cluster."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class AbortedError(BrickyardError):
    """Lost against a concurrent change; plan again and repeat."""

    code = grpc.StatusCode.ABORTED


class UnavailableError(BrickyardError):
    """A service or node does not answer now; repeating may help."""

    code = grpc.StatusCode.UNAVAILABLE


class TimeLimitError(BrickyardError):
    """It took longer than the caller, or the command's limit, allows."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class PermissionDeniedError(BrickyardError):
    """The caller's role may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class UnauthenticatedError(BrickyardError):
    """The caller did not show who it is."""

    code = grpc.StatusCode.UNAUTHENTICATED


class UnimplementedError(BrickyardError):
    """Known, and not offered by this version."""

    code = grpc.StatusCode.UNIMPLEMENTED


class InternalError(BrickyardError):
    """Not the caller's fault: a command failed, or an assumption did not hold."""

    code = grpc.StatusCode.INTERNAL


_BY_CODE: Mapping[grpc.StatusCode, type[BrickyardError]] = {
    error.code: error
    for error in (
        InvalidArgumentError,
        NotFoundError,
        AlreadyExistsError,
        FailedPreconditionError,
        ResourceExhaustedError,
        AbortedError,
        UnavailableError,
        TimeLimitError,
        PermissionDeniedError,
        UnauthenticatedError,
        UnimplementedError,
        InternalError,
    )
}
_REASON_BY_CODE: Mapping[grpc.StatusCode, Reason] = {
    grpc.StatusCode.UNAVAILABLE: Reason.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED: Reason.CANCELLED,
    grpc.StatusCode.UNAUTHENTICATED: Reason.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Reason.ROLE_NOT_ALLOWED,
    grpc.StatusCode.INVALID_ARGUMENT: Reason.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED: Reason.NOT_SUPPORTED_YET,
}


def _shortened(text: str) -> str:
    if len(text) <= MAX_METADATA_CHARACTERS:
        return text
    return f"{text[:MAX_METADATA_CHARACTERS]}... ({len(text)} characters)"


def to_status(error: BrickyardError) -> grpc.Status:
    """The gRPC status of an error: its code, its text and one ErrorInfo. Very long texts are shortened."""
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN)
    budget = MAX_METADATA_CHARACTERS
    for key, value in error.metadata.items():
        info.metadata[key] = value if len(value) <= budget else f"{value[:budget]}..."
        budget = max(0, budget - len(value))
    detail = any_pb2.Any()
    detail.Pack(info)
    number: int = error.code.value[0]
    status = status_pb2.Status(code=number, message=_shortened(error.message), details=[detail])
    converted: grpc.Status = rpc_status.to_status(status)
    return converted


def from_rpc_error(error: grpc.RpcError | grpc.aio.AioRpcError) -> BrickyardError:
    """The error that a server raised, as its own class; other failures of a call keep their code and text."""
    code: grpc.StatusCode = error.code()
    kind = _BY_CODE.get(code, InternalError)
    status = _status_of(error)
    if status is not None:
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                known = info.reason in Reason.__members__
                reason = Reason[info.reason] if known else Reason.INTERNAL
                return kind(reason, status.message, **dict(info.metadata))
    return kind(_REASON_BY_CODE.get(code, Reason.INTERNAL), error.details() or code.name)


def _status_of(error: grpc.RpcError | grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """The rich status in the trailers; None when there is none or it contradicts the plain one."""
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return None
