"""What a verdict on a device means, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.allocator.domain.explanation import gib
from services.allocator.domain.refusal import Reason

if TYPE_CHECKING:
    from services.allocator.domain.refusal import DeviceVerdict

_TEXTS = {
    Reason.CHOSEN: "chosen",
    Reason.CURRENT_DEVICE: "has the brick that is to be moved",
    Reason.EXCLUDED: "left out on request",
    Reason.NODE_OFFLINE: "the node is set offline",
    Reason.NODE_FAILED: "the node is set failed",
    Reason.DEVICE_OFFLINE: "the device is set offline",
    Reason.DEVICE_FAILED: "the device is set failed",
    Reason.ARBITER_CLASS: "its arbiter tag forbids such a brick",
    Reason.NODE_TAKEN: "another brick of the set is on its node",
    Reason.ZONE_TAKEN: "another brick of the set is in its zone, and zones are strict",
    Reason.NO_ARBITER: "only the arbiter is missing, which its tag forbids",
    Reason.FITS: "has room",
    Reason.FITS_ARBITER: "has room for an arbiter brick",
}


def device_text(verdict: DeviceVerdict, tag_rule: str, outage: str) -> str:
    """The verdict in words; `tag_rule` is that of the request, `outage` that of the device's node."""
    if verdict.reason is Reason.NODE_DOWN:
        return f"the node {outage}"
    if verdict.reason is Reason.TAG_MISMATCH:
        return f"its tags do not match {tag_rule}"
    if verdict.reason in {Reason.TOO_SMALL, Reason.RESERVED}:
        room = f"{gib(max(verdict.free_bytes, 0))} free of {gib(verdict.needed_bytes, up=True)} needed"
        short = f"too small by {gib(verdict.missing_bytes, up=True)} ({room})"
        if verdict.reason is Reason.TOO_SMALL:
            return short
        return f"{short}; room is reserved by operation {', '.join(verdict.operation_ids)}"
    return _TEXTS[verdict.reason]
