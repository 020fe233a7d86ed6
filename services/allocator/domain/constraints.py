"""Which devices may be looked at at all: states, health, tag rules and arbiter classes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from services.allocator.domain.model import BrickRole, DeviceState, NodeState
from services.allocator.domain.refusal import PlacementRefused, Reason, Refusal, RefusalKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.allocator.domain.model import InventoryDevice, InventoryNode

ARBITER_TAG = "arbiter"

# Heketi wrote `.-_`, a range that admits / : ; < = > ? @ [ \ ] ^ too; rules using them exist, so they stay. The hyphen
# was meant and left out by that slip; it is accepted here.
_NAME = r"[a-zA-Z0-9.-_\-]+"
_TAG_RULE = re.compile(rf"({_NAME})(!?=)({_NAME})")

_NODE_REASONS = {NodeState.OFFLINE: Reason.NODE_OFFLINE, NodeState.FAILED: Reason.NODE_FAILED}
_DEVICE_REASONS = {
    DeviceState.OFFLINE: Reason.DEVICE_OFFLINE,
    DeviceState.FAILED: Reason.DEVICE_FAILED,
    DeviceState.EXCLUDED: Reason.EXCLUDED,
}


@dataclass(frozen=True, slots=True)
class TagRule:
    """`key=value` or `key!=value`, over the tags of node and device together; a missing tag reads as empty."""

    key: str
    value: str
    equal: bool

    @classmethod
    def parse(cls, text: str) -> TagRule:
        """Read a rule; the last operator that leaves a value divides key and value. Raises ValueError if it is none."""
        match = _TAG_RULE.fullmatch(text)
        if match is None:
            raise ValueError(f"invalid tag rule: {text}")
        return cls(key=match[1], value=match[3], equal=match[2] == "=")

    def accepts(self, tags: Mapping[str, str]) -> bool:
        """Whether merged tags satisfy the rule."""
        return (tags.get(self.key, "") == self.value) is self.equal


def parsed_tag_rule(text: str) -> TagRule | None:
    """The rule of a request; None for an empty text. Raises PlacementRefused (INVALID_TAG_RULE)."""
    try:
        return TagRule.parse(text) if text else None
    except ValueError as error:
        raise PlacementRefused(Refusal(RefusalKind.INVALID_TAG_RULE, str(error))) from error


class ArbiterClass(Enum):
    """What the tag `arbiter` lets a device hold when a volume has arbiter bricks."""

    REQUIRED = "required"
    DISABLED = "disabled"
    SUPPORTED = "supported"

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> ArbiterClass:
        """Class by merged tags; a missing or unknown value means both kinds are welcome."""
        value = tags.get(ARBITER_TAG, "")
        return cls(value) if value in {cls.REQUIRED.value, cls.DISABLED.value} else cls.SUPPORTED

    def allows(self, role: BrickRole) -> bool:
        """Whether a brick of this role may go there."""
        if self is ArbiterClass.SUPPORTED:
            return True
        return (role is BrickRole.ARBITER) is (self is ArbiterClass.REQUIRED)


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """What a brick asks of tags: a rule, and a class for its role; `arbiter_role` None = no arbiter in the volume."""

    tag_rule: TagRule | None = None
    arbiter_role: BrickRole | None = None


def merged_tags(node: InventoryNode, device: InventoryDevice) -> Mapping[str, str]:
    """Tags of both; the device's win."""
    if not node.tags:
        return device.tags
    return {**node.tags, **device.tags} if device.tags else node.tags


def state_reason(node: InventoryNode, device: InventoryDevice) -> Reason | None:
    """Why state or health keep a device out; None if they do not."""
    if node.state is not NodeState.ONLINE:
        return _NODE_REASONS[node.state]
    if node.outage:
        return Reason.NODE_DOWN
    if device.state is not DeviceState.ONLINE:
        return _DEVICE_REASONS[device.state]
    return None


def filter_reason(wanted: DeviceFilter, node: InventoryNode, device: InventoryDevice) -> Reason | None:
    """Why tags keep a device out; None if they do not."""
    if wanted.tag_rule is None and wanted.arbiter_role is None:
        return None
    tags = merged_tags(node, device)
    if wanted.tag_rule is not None and not wanted.tag_rule.accepts(tags):
        return Reason.TAG_MISMATCH
    if wanted.arbiter_role is not None and not ArbiterClass.of(tags).allows(wanted.arbiter_role):
        return Reason.ARBITER_CLASS
    return None
