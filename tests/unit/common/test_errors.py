from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from services.common.errors import (
    DOMAIN,
    BrickyardError,
    InternalError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
    from_rpc_error,
    to_status,
)
from services.common.reasons import Reason


class FakeRpcError(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str, trailers: Any) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailers


def round_trip(error: BrickyardError) -> BrickyardError:
    status = to_status(error)
    return from_rpc_error(FakeRpcError(status.code, status.details, status.trailing_metadata))


def test_an_error_survives_the_wire_with_class_reason_text_and_variables() -> None:
    error = ResourceExhaustedError(Reason.NO_SPACE, "no room for 10 GiB", needed_bytes=10, device="d1")
    back = round_trip(error)
    assert type(back) is ResourceExhaustedError
    assert (back.reason, back.message) == (Reason.NO_SPACE, "no room for 10 GiB")
    assert back.metadata == {"needed_bytes": "10", "device": "d1"}


def test_a_status_carries_exactly_one_error_info_of_our_domain() -> None:
    status = to_status(NotFoundError(Reason.NODE_NOT_FOUND, "node x does not exist", node_id="x"))
    trailers = dict(status.trailing_metadata or ())
    details = trailers["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    rich = status_pb2.Status.FromString(details)
    assert len(rich.details) == 1
    info = error_details_pb2.ErrorInfo()
    assert rich.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("NODE_NOT_FOUND", DOMAIN)


def test_long_texts_stay_below_the_header_limit() -> None:
    status = to_status(InternalError(Reason.LVM_FAILED, "x" * 50_000, stderr="y" * 50_000, devices="z" * 50_000))
    trailers = dict(status.trailing_metadata or ())
    assert len(trailers["grpc-status-details-bin"]) < 8000
    assert "50000 characters" in status.details


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, UnavailableError, Reason.UNAVAILABLE),
        (grpc.StatusCode.UNKNOWN, InternalError, Reason.INTERNAL),
        (grpc.StatusCode.CANCELLED, InternalError, Reason.CANCELLED),
    ],
)
def test_a_plain_status_keeps_its_code_and_text(code: grpc.StatusCode, kind: type, reason: Reason) -> None:
    back = from_rpc_error(FakeRpcError(code, "connection refused", ()))
    assert type(back) is kind
    assert (back.reason, back.message) == (reason, "connection refused")


def test_every_reason_is_its_own_name() -> None:
    assert all(reason.name == reason.value for reason in Reason)
