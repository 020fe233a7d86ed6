"""Which state of a node or device may follow which. Pure; the texts are Heketi's, clients show them."""

from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason
from services.topology.domain.model import DeviceState, NodeState


def check_node_transition(node_id: str, current: NodeState, wanted: NodeState) -> None:
    """Whether a node may go from one state to another; staying is always allowed.

    Raises:
        FailedPreconditionError: NODE_STATE_CONFLICT: failed before offline, or back from failed.
    """
    if current is wanted:
        return
    if current is NodeState.FAILED:
        message = f"Cannot move a failed/removed node to {wanted.value} state"
    elif current is NodeState.ONLINE and wanted is NodeState.FAILED:
        message = f"Node must be offline before remove operation is performed, node:{node_id}"
    else:
        return
    raise FailedPreconditionError(
        Reason.NODE_STATE_CONFLICT, message, node_id=node_id, state=current.value, wanted=wanted.value
    )


def check_device_transition(device_id: str, current: DeviceState, wanted: DeviceState) -> None:
    """Whether a device may go from one state to another; failed may go back to offline (Heketi's rule).

    Raises:
        FailedPreconditionError: DEVICE_STATE_CONFLICT: failed before offline, or from failed straight to online.
    """
    if current is DeviceState.FAILED and wanted is DeviceState.ONLINE:
        message = "Cannot move a failed/removed device to online state"
    elif current is DeviceState.ONLINE and wanted is DeviceState.FAILED:
        message = f"Device must be offline before remove operation is performed, device:{device_id}"
    else:
        return
    raise FailedPreconditionError(
        Reason.DEVICE_STATE_CONFLICT, message, device_id=device_id, state=current.value, wanted=wanted.value
    )
