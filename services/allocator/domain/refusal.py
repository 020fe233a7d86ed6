"""Why a placement was refused, as data: kinds, one verdict per device, and the exception that carries them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class RefusalKind(Enum):
    """What stands in the way; the kinds that Heketi told apart. The values are names of `services.common.reasons`."""

    NO_SPACE = "NO_SPACE"
    NO_NODES = "NO_NODES"
    NO_ONLINE_DEVICES = "NO_ONLINE_DEVICES"
    MAX_BRICKS = "MAX_BRICKS_REACHED"
    MIN_BRICK_SIZE = "MIN_BRICK_SIZE_REACHED"
    INVALID_TAG_RULE = "INVALID_TAG_RULE"
    AVERAGE_FILE_SIZE = "AVERAGE_FILE_SIZE_TOO_LARGE"
    NO_REPLACEMENT = "REPLACEMENT_NOT_FOUND"


class Reason(Enum):
    """Why one device does not complete the set. Stable names, part of the API.

    `FITS` and `FITS_ARBITER` say that the device would have held a brick: others are missing. `NO_ARBITER` says that it
    has room, but that only the arbiter is missing and its class forbids that. `CHOSEN` has a brick of the plan.
    `RESERVED` would not be too small without what running operations have set aside. `EXCLUDED` was to be left out, and
    `CURRENT_DEVICE` has the brick that is to be moved away.
    """

    CHOSEN = "CHOSEN"
    CURRENT_DEVICE = "CURRENT_DEVICE"
    EXCLUDED = "EXCLUDED"

    NODE_OFFLINE = "NODE_OFFLINE"
    NODE_FAILED = "NODE_FAILED"
    NODE_DOWN = "NODE_DOWN"
    DEVICE_OFFLINE = "DEVICE_OFFLINE"
    DEVICE_FAILED = "DEVICE_FAILED"
    TAG_MISMATCH = "TAG_MISMATCH"
    ARBITER_CLASS = "ARBITER_CLASS"
    TOO_SMALL = "TOO_SMALL"
    RESERVED = "RESERVED"
    NODE_TAKEN = "NODE_TAKEN"
    ZONE_TAKEN = "ZONE_TAKEN"
    NO_ARBITER = "NO_ARBITER"
    FITS = "FITS"
    FITS_ARBITER = "FITS_ARBITER"


@dataclass(frozen=True, slots=True)
class DeviceVerdict:
    """The one reason of one device.

    `free_bytes` is what was left when the set was tried, earlier sets of the same volume taken off. `missing_bytes` is
    the smallest whole number of extents that would make a `TOO_SMALL` or `RESERVED` device fit; 0 for every other
    reason. `operation_ids` are the operations that keep the room of a `RESERVED` one.
    """

    device_id: str
    node_id: str
    reason: Reason
    free_bytes: int
    needed_bytes: int
    missing_bytes: int
    operation_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """The whole answer to a request that cannot be placed.

    `kind` is the honest one: NO_SPACE as soon as one way to split was really tried. `stopped_by` is the limit that
    ended the search for a split (MAX_BRICKS or MIN_BRICK_SIZE), which is all that Heketi reported on expand; None if no
    limit did. `set_count`, `brick_size_bytes` and `needed_bytes` (of a data brick) describe the explained attempt, the
    first one tried; 0 if none was. `tried_set_counts` lists all. `largest_size_bytes` is the largest whole-GiB size
    that can be placed; 0 if none.
    """

    kind: RefusalKind
    summary: str
    stopped_by: RefusalKind | None = None
    set_count: int = 0
    brick_size_bytes: int = 0
    needed_bytes: int = 0
    tried_set_counts: tuple[int, ...] = ()
    largest_size_bytes: int = 0
    devices: tuple[DeviceVerdict, ...] = ()


class PlacementRefused(Exception):  # noqa: N818 - it is an answer, not a fault of the planner
    """No placement satisfies the request; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.summary)
        self.refusal = refusal
