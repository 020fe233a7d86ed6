"""The capacity books of devices: total = used + reserved + free. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from services.common.errors import AbortedError, FailedPreconditionError, InvalidArgumentError
from services.common.reasons import Reason
from services.topology.domain.model import DeviceState, NewBrick, NodeState


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBooks:
    """The space of one device, in bytes.

    Attributes:
        total_bytes: Usable size.
        used_bytes: What the thin pools of finished bricks take, and `unattributed_bytes`.
        reserved_bytes: What bricks of running operations will take.
        unattributed_bytes: The part of `used_bytes` that no brick accounts for: found in the volume group when the
            device was measured, or left there when a brick's thin pool was not removed.
    """

    total_bytes: int
    used_bytes: int = 0
    reserved_bytes: int = 0
    unattributed_bytes: int = 0

    def __post_init__(self) -> None:
        if min(self.used_bytes - self.unattributed_bytes, self.reserved_bytes, self.unattributed_bytes) < 0:
            raise ValueError(f"negative sizes in {self}")
        if self.free_bytes < 0:
            raise ValueError(f"more taken than there is in {self}")

    @property
    def free_bytes(self) -> int:
        """What is neither used nor reserved."""
        return self.total_bytes - self.used_bytes - self.reserved_bytes

    def fits(self, needed_bytes: int) -> bool:
        """Whether a brick may be placed: more must be free than it needs (Heketi's rule, strict)."""
        return self.free_bytes > needed_bytes

    def reserve(self, size_bytes: int) -> "DeviceBooks":
        """A running operation sets space aside."""
        return replace(self, reserved_bytes=self.reserved_bytes + size_bytes)

    def release(self, size_bytes: int) -> "DeviceBooks":
        """An operation was undone; what it had reserved is free again."""
        return replace(self, reserved_bytes=self.reserved_bytes - size_bytes)

    def settle(self, size_bytes: int) -> "DeviceBooks":
        """An operation succeeded; what it had reserved is used."""
        return replace(self, reserved_bytes=self.reserved_bytes - size_bytes, used_bytes=self.used_bytes + size_bytes)

    @property
    def pool_bytes(self) -> int:
        """What the thin pools of finished bricks take."""
        return self.used_bytes - self.unattributed_bytes

    def remove(self, *, reclaimed_bytes: int, kept_bytes: int) -> "DeviceBooks":
        """Bricks are gone: reclaimed space is free, kept space stays used without a brick that accounts for it."""
        return replace(
            self,
            used_bytes=self.used_bytes - reclaimed_bytes,
            unattributed_bytes=self.unattributed_bytes + kept_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDevice:
    """A device that a plan wants to use, as it is now."""

    node_id: str
    state: DeviceState
    node_state: NodeState
    extent_size_bytes: int
    books: DeviceBooks


def _outdated(message: str, **metadata: object) -> AbortedError:
    return AbortedError(Reason.PLAN_OUTDATED, message, **metadata)


def reserve_bricks(devices: Mapping[str, PlannedDevice], bricks: Iterable[NewBrick]) -> dict[str, DeviceBooks]:
    """The books of the devices after all bricks have reserved their space, one after the other.

    Args:
        devices: The devices of the cluster that the plan names, by id; one that is missing is gone.
        bricks: The planned bricks.

    Raises:
        AbortedError: PLAN_OUTDATED: a device is gone, not online or too full now; plan again.
        InvalidArgumentError: A brick names another node than its device's, or is not in whole extents.
    """
    books = {device_id: device.books for device_id, device in devices.items()}
    for brick in bricks:
        device = devices.get(brick.device_id)
        if device is None:
            raise _outdated(f"device {brick.device_id} is gone", device_id=brick.device_id)
        _check_brick_fits_device(brick, device)
        now = books[brick.device_id]
        if not now.fits(brick.needed_bytes):
            raise _outdated(
                f"device {brick.device_id} has {now.free_bytes} bytes free, {brick.needed_bytes} are needed",
                device_id=brick.device_id,
                needed_bytes=brick.needed_bytes,
                free_bytes=now.free_bytes,
            )
        books[brick.device_id] = now.reserve(brick.needed_bytes)
    return books


def _check_brick_fits_device(brick: NewBrick, device: PlannedDevice) -> None:
    if brick.node_id != device.node_id:
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT,
            f"brick {brick.id}: device {brick.device_id} belongs to node {device.node_id}, not {brick.node_id}",
            field="brick.node_id",
            value=brick.node_id,
        )
    if device.state is not DeviceState.ONLINE:
        raise _outdated(
            f"device {brick.device_id} is {device.state.value}", device_id=brick.device_id, state=device.state.value
        )
    if device.node_state is not NodeState.ONLINE:
        raise _outdated(
            f"node {device.node_id} is {device.node_state.value}",
            device_id=brick.device_id,
            node_id=device.node_id,
            state=device.node_state.value,
        )
    if (
        brick.thin_pool_size_bytes % device.extent_size_bytes
        or brick.pool_metadata_size_bytes % device.extent_size_bytes
    ):
        raise InvalidArgumentError(
            Reason.INVALID_ARGUMENT,
            f"brick {brick.id}: pool and metadata must be multiples of the extent, {device.extent_size_bytes} bytes",
            field="brick.thin_pool_size_bytes",
            value=brick.thin_pool_size_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a node says of the space of a device, in bytes, and how far the books can be compared with it.

    Attributes:
        total_bytes: Usable size.
        free_bytes: What is not allocated, 0 to `total_bytes`.
        leaving_bytes: Thin pools of the books that a running operation removes: they may be gone already.
        still: Whether no operation began or ended on the device while it was measured.
    """

    total_bytes: int
    free_bytes: int
    leaving_bytes: int
    still: bool


def remeasured(device_id: str, books: DeviceBooks, measured: Measurement) -> DeviceBooks:
    """The books of a device after it was measured again. Pools and reservations stay as they are.

    What is used beyond the pools is what the volume group holds beyond them, as when the device was added. While
    operations run, the node may or may not have their pools already, so this is known between two bounds only: then the
    books keep what they had unless it lies outside. It follows that a running operation can not falsify the books.

    Raises:
        FailedPreconditionError: NO_SPACE_ON_DEVICE: the device is smaller than its pools and reservations.
    """
    room_bytes = measured.total_bytes - books.pool_bytes - books.reserved_bytes
    if room_bytes < 0:
        raise FailedPreconditionError(
            Reason.NO_SPACE_ON_DEVICE,
            f"device {device_id} has {measured.total_bytes} bytes now; its bricks take {books.pool_bytes}, "
            f"and {books.reserved_bytes} are reserved",
            device_id=device_id,
            total_bytes=measured.total_bytes,
            brick_bytes=books.pool_bytes,
            reserved_bytes=books.reserved_bytes,
        )
    unattributed_bytes = books.unattributed_bytes
    if measured.still:
        beyond_bytes = measured.total_bytes - measured.free_bytes - books.pool_bytes
        at_least = max(0, beyond_bytes - books.reserved_bytes)
        at_most = max(0, beyond_bytes + measured.leaving_bytes)
        unattributed_bytes = min(max(unattributed_bytes, at_least), at_most)
    unattributed_bytes = min(unattributed_bytes, room_bytes)
    return replace(
        books,
        total_bytes=measured.total_bytes,
        used_bytes=books.pool_bytes + unattributed_bytes,
        unattributed_bytes=unattributed_bytes,
    )
