"""Dumps for tests: the recorded one of a real Heketi, and a larger one that is made here."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from gateway.heketi.dump.importing import Prepared, prepared
from gateway.heketi.dump.model import Dump
from gateway.heketi.dump.parsing import parse_dump

_GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden" / "cli"
_MASKED_ID = re.compile("<ID([0-9]+)>")
GENERATION = "9" * 32
GIB_KIB = 1024 * 1024
METADATA_KIB = 8192
Json = dict[str, Any]


def recorded(name: str, command: str) -> list[str]:
    """What heketi-cli printed for a command in a recording, in its order; ids that were masked are some ids again."""
    text = _MASKED_ID.sub(lambda match: number("0", int(match[1])), (_GOLDEN / f"{name}.txt").read_text())
    found = []
    for part in text.split("$ heketi-cli ")[1:]:
        line, _, rest = part.partition("\n")
        if line.removesuffix(" --json") == command:
            found.append(rest.split("--- stdout\n", 1)[1].split("\n---", 1)[0] + "\n")
    return found


def number(letter: str, value: int) -> str:
    """An id that is easily told apart."""
    return letter + f"{value:031x}"


def brick_entry(value: int, *, volume: int, node: int, size_kib: int = GIB_KIB, **fields: Any) -> Json:
    """A brick on the one device of a node; `fields` replace those of the entry."""
    brick_id, device_id = number("b", value), number("d", node)
    return {
        "Info": {
            "id": brick_id,
            "path": f"/var/lib/heketi/mounts/vg_{device_id}/brick_{brick_id}/brick",
            "device": device_id,
            "node": number("e", node),
            "volume": number("a", volume),
            "size": size_kib,
        },
        "TpSize": size_kib,
        "PoolMetadataSize": METADATA_KIB,
        "Pending": {"Id": ""},
        "LvmThinPool": f"tp_{number('c', value)}",
        "LvmLv": "",
        "SubType": 1,
        **fields,
    }


def volume_entry(value: int, bricks: list[Json], *, size: int = 1, replica: int = 3, **info: Any) -> Json:
    """A volume of these bricks; `info` replaces fields of Info."""
    kind: Json = {"type": "replicate" if replica else "none", "replicate": {}, "disperse": {}}
    if replica:
        kind["replicate"] = {"replica": replica}
    name = info.get("name", f"vol{value}")
    return {
        "Info": {
            "size": size,
            **({"clusters": info["clusters"]} if "clusters" in info else {}),
            "name": name,
            "durability": kind,
            **({"gid": info["gid"]} if "gid" in info else {}),
            **({"block": info["block"]} if "block" in info else {}),
            "snapshot": {"enable": False, "factor": 1},
            "id": number("a", value),
            "cluster": number("f", 1),
            "mount": {
                "glusterfs": {
                    "hosts": ["s2", "s1", "s3"],
                    "device": f"s2:{name}",
                    "options": {"backup-volfile-servers": "s1,s3"},
                }
            },
            "blockinfo": {},
            **info,
        },
        "Bricks": sorted(brick["Info"]["id"] for brick in bricks),
        "GlusterVolumeOptions": ["", ""],
        "Pending": {"Id": ""},
    }


def block_entry(value: int, *, hosting: int, size: int, **info: Any) -> Json:
    """A block volume."""
    return {
        "Info": {
            "size": size,
            "name": f"block{value}",
            "hacount": 2,
            "auth": True,
            "id": number("8", value),
            "blockvolume": {
                "hosts": ["s1", "s2"],
                "iqn": f"iqn.2016-12.org.gluster-block:{value}",
                "lun": 0,
                "username": "u",
                "password": "p",
            },
            "cluster": number("f", 1),
            "blockhostingvolume": number("a", hosting),
            "usablesize": size,
            **info,
        },
        "Pending": {"Id": ""},
    }


def assembled(volumes: list[Json], bricks: list[Json], blocks: list[Json] | None = None, *, nodes: int = 3) -> Json:
    """A dump whose links and books fit to what is in it; thin pools that are shared count once."""
    blocks = blocks or []
    dump: Json = {
        "clusterentries": {},
        "volumeentries": {each["Info"]["id"]: each for each in sorted(volumes, key=_id)},
        "brickentries": {each["Info"]["id"]: each for each in sorted(bricks, key=_id)},
        "nodeentries": {},
        "deviceentries": {},
        "blockvolumeentries": {each["Info"]["id"]: each for each in sorted(blocks, key=_id)},
        "dbattributeentries": {
            key: {"Key": key, "Value": value}
            for key, value in (
                ("DB_BRICK_HAS_SUBTYPE_FIELD", "yes"),
                ("DB_CLUSTER_HAS_FILE_BLOCK_FLAG", "yes"),
                ("DB_DEVICE_HAS_ID_META", "yes"),
                ("DB_GENERATION_ID", GENERATION),
                ("DB_HAS_PENDING_OPS_BUCKET", "yes"),
            )
        },
        "pendingoperations": {},
    }
    for node in range(1, nodes + 1):
        _add_node(dump, node)
    dump["clusterentries"][number("f", 1)] = {
        "Info": {
            "id": number("f", 1),
            "nodes": sorted(dump["nodeentries"]),
            "volumes": sorted(dump["volumeentries"]),
            "block": True,
            "file": True,
            "blockvolumes": sorted(dump["blockvolumeentries"]),
        }
    }
    return dump


def _id(entry: Json) -> str:
    found: str = entry["Info"]["id"]
    return found


def _add_node(dump: Json, node: int) -> None:
    device_id, total = number("d", node), 1000 * GIB_KIB
    mine = [each for each in dump["brickentries"].values() if each["Info"]["device"] == device_id]
    pools = {each["LvmThinPool"] or each["Info"]["id"]: each["TpSize"] + each["PoolMetadataSize"] for each in mine}
    used = sum(pools.values())
    dump["nodeentries"][number("e", node)] = {
        "State": "online",
        "Info": {
            "zone": node,
            "hostnames": {"manage": [f"m{node}"], "storage": [f"s{node}"]},
            "cluster": number("f", 1),
            "tags": {"rack": str(node)},
            "id": number("e", node),
        },
        "Devices": [device_id],
    }
    dump["deviceentries"][device_id] = {
        "State": "online",
        "Info": {
            "name": "/dev/sdb",
            "storage": {"total": total, "free": total - used, "used": used},
            "id": device_id,
            "paths": ["/dev/disk/by-id/x", "/dev/sdb"],
            "pv_uuid": f"uuid-{node}",
        },
        "Bricks": sorted(each["Info"]["id"] for each in mine),
        "NodeId": number("e", node),
        "ExtentSize": 4096,
    }


def large() -> Json:
    """Two brick sets, an arbiter volume, a copy, a hosting volume with block volumes, a plain volume."""
    two_sets = [
        *(brick_entry(node, volume=1, node=node) for node in (1, 2, 3)),
        *(brick_entry(10 + node, volume=1, node=node, size_kib=2 * GIB_KIB) for node in (1, 2, 3)),
    ]
    arbiter = [
        brick_entry(21, volume=2, node=1),
        brick_entry(22, volume=2, node=2),
        brick_entry(23, volume=2, node=3, size_kib=16384, SubType=2),
    ]
    plain = [brick_entry(31, volume=3, node=2)]
    copied = [
        brick_entry(
            100 + node, volume=4, node=node, LvmThinPool=two_sets[node - 1]["LvmThinPool"], LvmLv=f"{'7' * 32}_0"
        )
        for node in (1, 2, 3)
    ]
    for brick in copied:
        brick["Info"]["path"] = f"/run/gluster/snaps/{'7' * 32}/brick{brick['Info']['node'][-1]}/brick"
    hosting = [brick_entry(50 + node, volume=5, node=node, size_kib=10 * GIB_KIB) for node in (1, 2, 3)]
    with_arbiter = volume_entry(2, arbiter, gid=2000, clusters=[number("f", 1)])
    with_arbiter["GlusterVolumeOptions"] = ["", "user.heketi.arbiter true", ""]
    held = {"freesize": 4, "reservedsize": 1, "blockvolume": [number("8", 1), number("8", 2)], "restriction": "locked"}
    return assembled(
        [
            volume_entry(1, two_sets, size=3),
            with_arbiter,
            volume_entry(3, plain, replica=0),
            volume_entry(4, copied, name="copy"),
            volume_entry(5, hosting, size=10, block=True, blockinfo=held, snapshot={"enable": True, "factor": 1.1}),
        ],
        [*two_sets, *arbiter, *plain, *copied, *hosting],
        [block_entry(1, hosting=5, size=3), block_entry(2, hosting=5, size=2, usablesize=1)],
    )


def in_order(dump: Json) -> str:
    """The JSON as Heketi writes it, for dumps whose keys are in its order."""
    return json.dumps(dump, indent=4, ensure_ascii=False) + "\n"


def read(dump: Json) -> Dump:
    return parse_dump(json.dumps(dump).encode())


def prepared_from(dump: Json) -> Prepared:
    return prepared(read(dump), new_generation_id="1" * 32)


def changed(dump: Json, section: str, key: str, *path: str, value: Any) -> Json:
    """A copy with one value replaced."""
    made = deepcopy(dump)
    place = made[section][key]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return made
