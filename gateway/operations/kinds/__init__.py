"""What each kind of operation does, step by step, and how it is taken back."""

from collections.abc import Mapping

from brickyard.topology.v1 import operation_pb2
from gateway.operations.kinds.block_volumes import (
    CreateBlockVolume,
    DeleteBlockVolume,
    ExpandBlockVolume,
    SetBlockRestriction,
)
from gateway.operations.kinds.bricks import EvictBrick
from gateway.operations.kinds.create import CleanUp, CreateVolume
from gateway.operations.kinds.devices import AddDevice, DeleteDevice, ResyncDevice
from gateway.operations.kinds.nodes import AddNode, DeleteNode
from gateway.operations.kinds.removal import SetDeviceState, SetNodeState
from gateway.operations.kinds.volumes import CloneVolume, DeleteVolume, ExpandVolume
from gateway.operations.work import Kind

KINDS: Mapping[operation_pb2.OperationKind.ValueType, Kind] = {
    operation_pb2.OPERATION_KIND_CREATE_VOLUME: CreateVolume(),
    operation_pb2.OPERATION_KIND_DELETE_VOLUME: DeleteVolume(),
    operation_pb2.OPERATION_KIND_ADD_NODE: AddNode(),
    operation_pb2.OPERATION_KIND_DELETE_NODE: DeleteNode(),
    operation_pb2.OPERATION_KIND_ADD_DEVICE: AddDevice(),
    operation_pb2.OPERATION_KIND_DELETE_DEVICE: DeleteDevice(),
    operation_pb2.OPERATION_KIND_SET_NODE_STATE: SetNodeState(),
    operation_pb2.OPERATION_KIND_SET_DEVICE_STATE: SetDeviceState(),
    operation_pb2.OPERATION_KIND_EXPAND_VOLUME: ExpandVolume(),
    operation_pb2.OPERATION_KIND_CLONE_VOLUME: CloneVolume(),
    operation_pb2.OPERATION_KIND_RESYNC_DEVICE: ResyncDevice(),
    operation_pb2.OPERATION_KIND_EVICT_BRICK: EvictBrick(),
    operation_pb2.OPERATION_KIND_CREATE_BLOCK_VOLUME: CreateBlockVolume(),
    operation_pb2.OPERATION_KIND_DELETE_BLOCK_VOLUME: DeleteBlockVolume(),
    operation_pb2.OPERATION_KIND_EXPAND_BLOCK_VOLUME: ExpandBlockVolume(),
    operation_pb2.OPERATION_KIND_SET_BLOCK_RESTRICTION: SetBlockRestriction(),
    operation_pb2.OPERATION_KIND_CLEAN_UP: CleanUp(),
}
