"""The OpenAPI document of the routes that exist: an addition of ours, readable without a token. Pure."""

from typing import Any

from gateway.heketi.go_json import write

_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[A-Fa-f0-9]+$"}}
_ERRORS = {
    "default": {"description": "An error, as plain text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
_STRING = {"type": "string"}
_STRINGS = {"type": "array", "items": _STRING}
_INTEGER = {"type": "integer"}
_BOOLEAN = {"type": "boolean"}
_TAGS = {"type": "object", "additionalProperties": _STRING, "maxProperties": 32}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {**schema, "required": list(required)} if required else schema


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


_DURABILITY = _object(
    type={"type": "string", "enum": ["none", "replicate", "disperse"], "default": "none"},
    replicate=_object(replica={"type": "integer", "minimum": 0, "maximum": 3}),
    disperse=_object(data=_INTEGER, redundancy=_INTEGER),
)
_SNAPSHOT = _object(enable=_BOOLEAN, factor={"type": "number", "minimum": 1, "maximum": 100})
_HOSTNAMES = _object(("manage", "storage"), manage=_STRINGS, storage=_STRINGS)
_KIB = {"type": "integer", "minimum": 0, "description": "KiB"}
_SILENT = {"type": "array", "items": _object(node=_STRING, hostname=_STRING, error=_STRING)}
_SIZE_GIB = {"type": "integer", "minimum": 1, "description": "GiB"}

_PENDING: dict[str, Any] = {
    "id": _STRING,
    "type_name": _STRING,
    "status": {"type": "string", "enum": ["", "stale", "failed"]},
    "sub_status": {"type": "string", "enum": ["", "in-flight"]},
}

_ENTRIES = {"type": "object", "additionalProperties": {"type": "object"}}
_CHECKED = _object(
    total=_INTEGER,
    pending=_INTEGER,
    ok=_INTEGER,
    notok=_INTEGER,
    inconsistencies={"type": ["array", "null"], "items": _STRING},
)

_SCHEMAS: dict[str, Any] = {
    "Dump": _object(
        clusterentries=_ENTRIES,
        volumeentries=_ENTRIES,
        brickentries=_ENTRIES,
        nodeentries=_ENTRIES,
        deviceentries=_ENTRIES,
        blockvolumeentries=_ENTRIES,
        dbattributeentries=_ENTRIES,
        pendingoperations=_ENTRIES,
    ),
    "DatabaseCheck": _object(
        clusters=_CHECKED,
        volumes=_CHECKED,
        bricks=_CHECKED,
        nodes=_CHECKED,
        devices=_CHECKED,
        blockvolumes=_CHECKED,
        dbattributes=_CHECKED,
        pendingoperations=_CHECKED,
        totalinconsistencies=_INTEGER,
    ),
    "Examination": _object(
        heketidb=_ref("Dump"), report=_STRINGS, clusters={"type": "array", "items": {"type": "object"}}
    ),
    "ClusterFlags": _object(file=_BOOLEAN, block=_BOOLEAN),
    "Cluster": _object(
        id=_STRING, nodes=_STRINGS, volumes=_STRINGS, block=_BOOLEAN, file=_BOOLEAN, blockvolumes=_STRINGS
    ),
    "AdminMode": _object(state={"type": "string", "enum": ["normal", "read-only", "local-client"]}),
    "LogLevel": _object(loglevel={"type": "object", "additionalProperties": _STRING}),
    "ClusterList": _object(clusters=_STRINGS),
    "DiskStatus": _object(
        disks={
            "type": "array",
            "items": _object(
                id=_STRING,
                node=_STRING,
                hostname=_STRING,
                name=_STRING,
                size=_KIB,
                used=_KIB,
                free=_KIB,
                percent={"type": "number"},
                bricks=_INTEGER,
                state=_STRING,
                health={"type": "string", "enum": ["ok", "warning", "critical", "unknown"]},
            ),
        },
        unreachable=_SILENT,
    ),
    "MaxVolumeSize": _object(
        MaxAllowCreateVolSize={"type": "integer", "minimum": 0, "description": "GiB"},
        AvaildDiskCnt=_INTEGER,
        AvaildNodeCnt=_INTEGER,
        unreachable=_SILENT,
    ),
    "FreeDevices": _object(
        nodes={
            "type": "array",
            "items": _object(
                node=_STRING,
                hostname=_STRING,
                devices={"type": "array", "items": _object(name=_STRING, size=_KIB)},
                error=_STRING,
            ),
        }
    ),
    "NodeAdd": _object(
        ("zone", "hostnames", "cluster"),
        zone={"type": "integer", "minimum": 1},
        hostnames=_HOSTNAMES,
        cluster=_STRING,
        tags=_TAGS,
    ),
    "Node": _object(
        zone=_INTEGER,
        hostnames=_HOSTNAMES,
        cluster=_STRING,
        tags=_TAGS,
        id=_STRING,
        state=_STRING,
        devices=_list_of("Device"),
    ),
    "DeviceAdd": _object(("name", "node"), name=_STRING, node=_STRING, tags=_TAGS, destroydata=_BOOLEAN),
    "DeviceDelete": _object(forceforget=_BOOLEAN),
    "Device": _object(
        name=_STRING,
        tags=_TAGS,
        storage=_object(total=_INTEGER, free=_INTEGER, used=_INTEGER),
        id=_STRING,
        paths=_STRINGS,
        pv_uuid=_STRING,
        state=_STRING,
        bricks=_list_of("Brick"),
    ),
    "Brick": _object(id=_STRING, path=_STRING, device=_STRING, node=_STRING, volume=_STRING, size=_INTEGER),
    "State": _object(
        ("state",),
        state={"type": "string", "enum": ["online", "offline", "failed"]},
        healcheck={"type": "string", "enum": ["", "enable", "disable"]},
    ),
    "Tags": _TAGS,
    "TagsChange": _object(
        ("change_type",), tags=_TAGS, change_type={"type": "string", "enum": ["set", "update", "delete"]}
    ),
    "VolumeCreate": _object(
        ("size",),
        size=_SIZE_GIB,
        name={"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"},
        clusters=_STRINGS,
        durability=_DURABILITY,
        gid={"type": "integer", "minimum": 0, "maximum": 2147483646},
        glustervolumeoptions=_STRINGS,
        block=_BOOLEAN,
        snapshot=_SNAPSHOT,
    ),
    "Volume": _object(
        size=_SIZE_GIB,
        name=_STRING,
        durability=_DURABILITY,
        gid=_INTEGER,
        glustervolumeoptions=_STRINGS,
        block=_BOOLEAN,
        snapshot=_SNAPSHOT,
        id=_STRING,
        cluster=_STRING,
        mount=_object(glusterfs=_object(hosts=_STRINGS, device=_STRING, options=_TAGS)),
        blockinfo=_object(
            freesize=_INTEGER,
            reservedsize=_INTEGER,
            blockvolume=_STRINGS,
            restriction={"type": "string", "enum": ["locked", "locked-by-update"]},
        ),
        bricks=_list_of("Brick"),
    ),
    "VolumeList": _object(volumes=_STRINGS),
    "BlockVolumeCreate": _object(
        ("size",),
        size=_SIZE_GIB,
        name={"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"},
        clusters=_STRINGS,
        hacount={"type": "integer", "minimum": 0},
        auth=_BOOLEAN,
    ),
    "BlockVolume": _object(
        size=_SIZE_GIB,
        name=_STRING,
        hacount=_INTEGER,
        id=_STRING,
        blockvolume=_object(hosts=_STRINGS, iqn=_STRING, lun=_INTEGER, username=_STRING, password=_STRING),
        cluster=_STRING,
        blockhostingvolume=_STRING,
        usablesize=_SIZE_GIB,
    ),
    "BlockVolumeList": _object(blockvolumes=_STRINGS),
    "BlockVolumeExpand": _object(("new_size",), new_size=_SIZE_GIB),
    "BlockRestriction": _object(restriction={"type": "string", "enum": ["", "locked"]}),
    "OperationCounts": _object(total=_INTEGER, in_flight=_INTEGER, stale=_INTEGER, failed=_INTEGER, new=_INTEGER),
    "PendingOperation": _object(**_PENDING),
    "PendingOperationList": _object(pendingoperations=_list_of("PendingOperation")),
    "PendingOperationDetails": _object(
        **_PENDING, changes={"type": "array", "items": _object(id=_STRING, description=_STRING)}
    ),
    "OperationsCleanup": _object(operations={"type": "array", "items": _STRING, "maxItems": 32}),
    "BrickEvict": _object(healcheck={"type": "string", "enum": ["", "enable", "disable"]}),
    "VolumeExpand": _object(("expand_size",), expand_size=_SIZE_GIB),
    "VolumeClone": _object(name={"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"}),
}


def _json(name: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": _ref(name)}}}


def _operation(
    summary: str, *, answers: dict[str, Any], body: str = "", body_required: bool = True, has_id: bool = False
) -> dict[str, Any]:
    described: dict[str, Any] = {"summary": summary, "responses": {**answers, **_ERRORS}}
    if has_id:
        described["parameters"] = [_ID]
    if body:
        described["requestBody"] = {"required": body_required, **_json(body)}
    return described


def _shows(name: str, status: str = "200") -> dict[str, Any]:
    return {status: {"description": "The object.", **_json(name)}}


_QUEUED = {
    "202": {
        "description": "Recorded; poll the Location.",
        "headers": {"Location": {"description": "/queue/ and the operation's id", "schema": _STRING}},
    }
}
_EMPTY = {"200": {"description": "Done."}}
_ARCHIVE = {
    "200": {
        "description": "An archive for `brickyard db restore`.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_POLLED = {
    "200": {"description": "Not done yet; the header X-Pending is true."},
    "204": {"description": "Done; there is nothing to look at."},
    "303": {"description": "Done; Location is what was made."},
}

_PATHS: dict[str, Any] = {
    "/clusters": {
        "post": _operation("Make a cluster", answers=_shows("Cluster", "201"), body="ClusterFlags"),
        "get": _operation("List clusters", answers=_shows("ClusterList")),
    },
    "/clusters/{id}": {
        "get": _operation("Show a cluster", answers=_shows("Cluster"), has_id=True),
        "delete": _operation("Remove an empty cluster", answers=_EMPTY, has_id=True),
    },
    "/clusters/{id}/flags": {
        "post": _operation("Set which volumes a cluster takes", answers=_EMPTY, body="ClusterFlags", has_id=True),
    },
    "/clusters/{id}/diskstatus": {
        "get": _operation("Show all disks of a cluster", answers=_shows("DiskStatus"), has_id=True),
    },
    "/clusters/{id}/volmaxsize": {
        "get": {
            **_operation("Tell the largest volume that fits", answers=_shows("MaxVolumeSize"), has_id=True),
            "parameters": [
                _ID,
                *(
                    {"name": name, "in": "query", "required": False, "schema": schema}
                    for name, schema in {
                        "durability": {"type": "string", "enum": ["none", "replicate", "disperse"]},
                        "replica": _INTEGER,
                        "disperse-data": _INTEGER,
                        "redundancy": _INTEGER,
                        "snapshot-factor": {"type": "number", "minimum": 1, "maximum": 100},
                        "gluster-volume-options": {"type": "string", "description": "comma separated"},
                    }.items()
                ),
            ],
        },
    },
    "/clusters/{id}/freedevices": {
        "get": _operation("Ask the nodes for disks that could be added", answers=_shows("FreeDevices"), has_id=True),
    },
    "/nodes": {"post": _operation("Add a node", answers=_QUEUED, body="NodeAdd")},
    "/nodes/{id}": {
        "get": _operation("Show a node", answers=_shows("Node"), has_id=True),
        "delete": _operation("Remove a node without devices", answers=_QUEUED, has_id=True),
    },
    "/nodes/{id}/state": {"post": _operation("Set a node's state", answers=_QUEUED, body="State", has_id=True)},
    "/nodes/{id}/tags": {
        "post": _operation("Change a node's tags", answers=_shows("Tags"), body="TagsChange", has_id=True)
    },
    "/devices": {"post": _operation("Add a device", answers=_QUEUED, body="DeviceAdd")},
    "/devices/{id}": {
        "get": _operation("Show a device", answers=_shows("Device"), has_id=True),
        "delete": _operation(
            "Give up a failed device without bricks",
            answers=_QUEUED,
            body="DeviceDelete",
            body_required=False,
            has_id=True,
        ),
    },
    "/devices/{id}/state": {"post": _operation("Set a device's state", answers=_QUEUED, body="State", has_id=True)},
    "/devices/{id}/tags": {
        "post": _operation("Change a device's tags", answers=_shows("Tags"), body="TagsChange", has_id=True)
    },
    "/devices/{id}/resync": {"get": _operation("Measure a device again", answers=_QUEUED, has_id=True)},
    "/volumes": {
        "post": _operation("Make a volume", answers=_QUEUED, body="VolumeCreate"),
        "get": _operation("List volumes", answers=_shows("VolumeList")),
    },
    "/volumes/{id}": {
        "get": _operation("Show a volume", answers=_shows("Volume"), has_id=True),
        "delete": _operation("Remove a volume", answers=_QUEUED, has_id=True),
    },
    "/volumes/{id}/expand": {
        "post": _operation("Make a volume larger", answers=_QUEUED, body="VolumeExpand", has_id=True)
    },
    "/volumes/{id}/clone": {"post": _operation("Copy a volume", answers=_QUEUED, body="VolumeClone", has_id=True)},
    "/bricks/to-evict/{id}": {
        "post": _operation(
            "Move a brick to another device", answers=_QUEUED, body="BrickEvict", body_required=False, has_id=True
        )
    },
    "/volumes/{id}/block-restriction": {
        "post": _operation(
            "Say whether a volume takes new block volumes", answers=_QUEUED, body="BlockRestriction", has_id=True
        )
    },
    "/blockvolumes": {
        "post": _operation("Make a block volume", answers=_QUEUED, body="BlockVolumeCreate"),
        "get": _operation("List block volumes", answers=_shows("BlockVolumeList")),
    },
    "/blockvolumes/{id}": {
        "get": _operation("Show a block volume", answers=_shows("BlockVolume"), has_id=True),
        "delete": _operation("Remove a block volume", answers=_QUEUED, has_id=True),
    },
    "/blockvolumes/{id}/expand": {
        "post": _operation("Make a block volume larger", answers=_QUEUED, body="BlockVolumeExpand", has_id=True)
    },
    "/operations": {"get": _operation("Count unfinished operations", answers=_shows("OperationCounts"))},
    "/operations/pending": {
        "get": _operation("List unfinished operations", answers=_shows("PendingOperationList")),
    },
    "/operations/pending/{id}": {
        "get": _operation("Show an unfinished operation", answers=_shows("PendingOperationDetails"), has_id=True)
    },
    "/operations/pending/cleanup": {
        "post": _operation("Retry waiting operations now", answers=_QUEUED, body="OperationsCleanup")
    },
    "/admin": {
        "get": _operation("Show the administrative mode", answers=_shows("AdminMode")),
        "post": _operation("Set the administrative mode", answers=_EMPTY, body="AdminMode"),
    },
    "/internal/logging": {
        "get": _operation("Show the log level", answers=_shows("LogLevel")),
        "post": _operation("Set the log level", answers=_shows("LogLevel"), body="LogLevel"),
    },
    "/db/dump": {"get": _operation("Show the whole database in Heketi's format", answers=_shows("Dump"))},
    "/db/check": {"get": _operation("Check the database", answers=_shows("DatabaseCheck"))},
    "/backup/db": {"get": _operation("Back up the database", answers=_ARCHIVE)},
    "/internal/state/examine/gluster": {
        "get": _operation("Show the database, and what all nodes say", answers=_shows("Examination"))
    },
    "/queue/{id}": {"get": _operation("Ask what became of a change", answers=_POLLED, has_id=True)},
}

DOCUMENT: bytes = write(
    {
        "openapi": "3.1.0",
        "info": {
            "title": "Brickyard, Heketi dialect",
            "version": "1",
            "description": "Tokens are JWTs with the claims iss, exp and qsh (SHA-256 of method, & and path).",
        },
        "security": [{"token": []}],
        "paths": _PATHS,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
)
