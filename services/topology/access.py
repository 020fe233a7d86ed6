"""Which role may call which RPC of the topology; whatever is not listed is refused. Pure."""

from services.common.identity import AccessPolicy, Role, policy_for

TOPOLOGY_SERVICE = "brickyard.topology.v1.TopologyService"
OPERATION_SERVICE = "brickyard.topology.v1.OperationService"
HEALTH_SERVICE = "brickyard.topology.v1.HealthService"
IDENTITY_SERVICE = "brickyard.topology.v1.IdentityService"
JOIN_SERVICE = "brickyard.topology.v1.JoinService"
_GATEWAY = (Role.GATEWAY,)
_OPERATOR = (Role.OPERATOR,)
_READERS = (Role.GATEWAY, Role.OPERATOR)
_OPERATOR = (Role.OPERATOR,)
_SERVERS = (Role.TOPOLOGY, Role.ALLOCATOR, Role.GATEWAY, Role.AGENT)
_PLANNING = (Role.GATEWAY, Role.ALLOCATOR, Role.OPERATOR)

POLICY = AccessPolicy(
    {
        **policy_for(
            TOPOLOGY_SERVICE,
            {
                "CreateCluster": _GATEWAY,
                "GetCluster": _PLANNING,
                "ListClusters": _PLANNING,
                "SetClusterFlags": _GATEWAY,
                "DeleteCluster": _GATEWAY,
                "GetNode": _READERS,
                "ListNodes": _PLANNING,
                "UpdateNodeTags": _GATEWAY,
                "CheckNewNode": _GATEWAY,
                "GetDevice": _READERS,
                "UpdateDeviceTags": _GATEWAY,
                "GetVolume": _READERS,
                "ListVolumes": _READERS,
                "GetBlockVolume": _READERS,
                "ListBlockVolumes": _READERS,
                "FindHostingVolumes": _READERS,
                "GetBrick": _READERS,
                "GetInventory": _PLANNING,
                "ListCandidateClusters": _PLANNING,
                "ListReservations": _PLANNING,
                "CheckConsistency": _READERS,
                "GetBooks": _READERS,
                "DropGhosts": _GATEWAY,
                "ExportRecords": _READERS,
                "ImportRecords": _OPERATOR,
                "SetBrickOrder": _GATEWAY,
                # It holds the passwords of block volumes, as ExportRecords does.
                "BackUp": _READERS,
            },
        ),
        **policy_for(
            OPERATION_SERVICE,
            {
                "BeginOperation": _GATEWAY,
                "UpdateOperation": _GATEWAY,
                "CommitOperation": _GATEWAY,
                "AbortOperation": _GATEWAY,
                "ReplanOperation": _GATEWAY,
                "CheckSlot": _GATEWAY,
                "WakeOperations": _GATEWAY,
                "RenewLeases": _GATEWAY,
                "ClaimOperations": _GATEWAY,
                "GetOperation": _READERS,
                "ListOperations": _READERS,
                "WatchOperation": _READERS,
            },
        ),
        **policy_for(
            HEALTH_SERVICE,
            {
                "TakeFactTurns": _GATEWAY,
                "RecordNodeFacts": _GATEWAY,
                "TakeEvictionTurns": _GATEWAY,
                "ListNodeFacts": _READERS,
                "GetHealth": _READERS,
            },
        ),
        **policy_for(
            IDENTITY_SERVICE,
            {
                "CreateJoinToken": _OPERATOR,
                "RevokeCertificates": _OPERATOR,
                "ListCertificates": _OPERATOR,
                "RenewCertificate": _SERVERS,
                "GetTrust": _SERVERS,
            },
        ),
    }
)
# On a port of its own, where nobody is asked for a certificate: neither health nor anything else is served there.
JOIN_POLICY = AccessPolicy(
    policy_for(JOIN_SERVICE, dict.fromkeys(("GetAuthorities", "Join"), (Role.STRANGER,))), open_to_all=()
)
