"""Which roles may call the agent. Pure."""

from brickyard.executor.v1 import executor_service_pb2 as messages
from services.common.identity import AccessPolicy, Role, policy_for

SERVICE: str = messages.DESCRIPTOR.services_by_name["ExecutorService"].full_name
_READERS = (Role.GATEWAY, Role.OPERATOR)
_WRITERS = (Role.GATEWAY,)
_ROLES = {
    "GetNodeFacts": _READERS,
    "GetGlusterd": _READERS,
    "GetDevice": _READERS,
    "GetVolume": _READERS,
    "GetHealStatus": _READERS,
    "ReplaceBrick": _WRITERS,
    "SettleReplacement": _WRITERS,
    "ListVolumes": _READERS,
    "RestoreBrick": _WRITERS,
    "RemoveOrphanBrick": _WRITERS,
    "StartVolume": _WRITERS,
    "GetBlockVolume": _READERS,
    "ListBlockVolumes": _READERS,
    "FenceOperation": _WRITERS,
    "ProbePeer": _WRITERS,
    "DetachPeer": _WRITERS,
    "CreateDevice": _WRITERS,
    "GrowDevice": _WRITERS,
    "DeleteDevice": _WRITERS,
    "CreateBrick": _WRITERS,
    "DeleteBrick": _WRITERS,
    "SyncBricks": _WRITERS,
    "CreateVolume": _WRITERS,
    "DeleteVolume": _WRITERS,
    "AddBricks": _WRITERS,
    "RemoveBricks": _WRITERS,
    "CloneVolume": _WRITERS,
    "CreateBlockVolume": _WRITERS,
    "DeleteBlockVolume": _WRITERS,
    "ExpandBlockVolume": _WRITERS,
    "RemoveOrphanCopies": _WRITERS,
}
ACCESS = AccessPolicy(allowed=policy_for(SERVICE, _ROLES))
