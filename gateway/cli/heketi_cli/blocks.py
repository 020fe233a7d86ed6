"""What is printed for clusters, nodes, devices, volumes and operations: Heketi's blocks to the blank. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_KIB_PER_GIB = 1024 * 1024
_RESTRICTIONS = {"": "(none)", "locked": "locked", "locked-by-update": "locked-by-update"}

Json = Mapping[str, Any]


def _gib(kib: int) -> int:
    return kib // _KIB_PER_GIB


def state(value: str) -> str:
    """A state as it is shown: what failed was removed."""
    return "removed" if value == "failed" else value


def cluster(found: Json) -> str:
    """`cluster info`."""
    lines = [f"Cluster id: {found['id']}", "Nodes:", "\n".join(found["nodes"]), "Volumes:", "\n".join(found["volumes"])]
    flags = [f"{name}: {str(found.get(name.lower(), False)).lower()}\n" for name in ("Block", "File")]
    return "\n".join([*lines, "\n".join(flags)])


def cluster_line(found: Json) -> str:
    """A line of `cluster list`."""
    flags = "".join(f"[{name}]" for name in ("file", "block") if found.get(name))
    return f"Id:{found['id']} {flags or '[]'}\n"


def node(found: Json, *, with_devices: bool) -> str:
    """`node info`, and without devices `node add`."""
    lines = [
        f"Node Id: {found['id']}",
        f"State: {state(found['state'])}",
        f"Cluster Id: {found['cluster']}",
        f"Zone: {found['zone']}",
        f"Management Hostname: {found['hostnames']['manage'][0]}",
        f"Storage Hostname: {found['hostnames']['storage'][0]}",
    ]
    if with_devices:
        lines += [*_tags(found), "Devices:", *map(_device_line, found["devices"])]
    return "\n".join(lines) + "\n"


def _tags(found: Json) -> Iterator[str]:
    tags = found.get("tags") or {}
    if tags:
        yield "Tags:"
        for key in sorted(tags):
            yield f"  {key}: {tags[key]}"


def _device_line(found: Json) -> str:
    sizes = [_gib(found["storage"][name]) for name in ("total", "used", "free")]
    return (
        f"Id:{found['id']:<35}Name:{found['name']:<20}State:{state(found['state']):<10}Size (GiB):{sizes[0]:<8}"
        f"Used (GiB):{sizes[1]:<8}Free (GiB):{sizes[2]:<8}Bricks:{len(found['bricks']):<8}"
    )


def device(found: Json) -> str:
    """`device info`."""
    sizes = [_gib(found["storage"][name]) for name in ("total", "used", "free")]
    lines = [
        f"Device Id: {found['id']}",
        f"State: {state(found['state'])}",
        f"Size (GiB): {sizes[0]}",
        f"Used (GiB): {sizes[1]}",
        f"Free (GiB): {sizes[2]}",
        f"Create Path: {found['name']}",
        f"Physical Volume UUID: {found.get('pv_uuid', '')}",
        f"Known Paths: {' '.join(found.get('paths') or [])}",
        *_tags(found),
        "Bricks:",
        *(f"Id:{each['id']:<35}Size (GiB):{_gib(each['size']):<8}Path: {each['path']}" for each in found["bricks"]),
    ]
    return "\n".join(lines) + "\n"


def set_size(found: Json) -> int:
    """Bricks of one set of a volume; a replica count that is missing counts as 1 (Heketi's client divides by zero)."""
    durability = found["durability"]
    if durability["type"] == "replicate":
        return max(1, int(durability.get("replicate", {}).get("replica", 0)))
    if durability["type"] == "disperse":
        disperse = durability.get("disperse", {})
        return max(1, int(disperse.get("data", 0)) + int(disperse.get("redundancy", 0)))
    return 1


def volume(found: Json) -> str:
    """`volume info`, and what create, clone and expand print."""
    glusterfs, block = found["mount"]["glusterfs"], found.get("blockinfo") or {}
    restriction = _RESTRICTIONS.get(block.get("restriction", ""), "unknown")
    lines = [
        f"Name: {found['name']}",
        f"Size: {found['size']}",
        f"Volume Id: {found['id']}",
        f"Cluster Id: {found['cluster']}",
        f"Mount: {glusterfs['device']}",
        f"Mount Options: {mount_options(found)}",
        f"Block: {str(found.get('block', False)).lower()}",
        f"Free Size: {block.get('freesize', 0)}",
        f"Reserved Size: {block.get('reservedsize', 0)}",
        f"Block Hosting Restriction: {restriction}",
        f"Block Volumes: {_go_list(block.get('blockvolume') or [])}",
        f"Durability Type: {found['durability']['type']}",
        f"Distribute Count: {len(found['bricks']) // set_size(found)}",
        *_durability(found["durability"]),
    ]
    if found["snapshot"]["enable"]:
        lines += [f"Snapshot Factor: {found['snapshot']['factor']:.2f}", ""]
    return "\n".join(lines) + "\n"


def _durability(durability: Json) -> Iterator[str]:
    if durability["type"] == "replicate":
        yield f"Replica Count: {durability.get('replicate', {}).get('replica', 0)}"
    elif durability["type"] == "disperse":
        disperse = durability.get("disperse", {})
        yield f"Disperse Data Count: {disperse.get('data', 0)}"
        yield f"Disperse Redundancy Count: {disperse.get('redundancy', 0)}"


def mount_options(found: Json) -> str:
    """The mount options of a volume."""
    options = found["mount"]["glusterfs"].get("options") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(options.items()))


def _go_list(items: Sequence[str]) -> str:
    return f"[{' '.join(items)}]"


def volume_line(found: Json) -> str:
    """A line of `volume list` and `blockvolume list`."""
    mark = " [block]" if found.get("block") else ""
    return f"Id:{found['id']:<35} Cluster:{found['cluster']:<35} Name:{found['name']}{mark}\n"


def block_volume(found: Json) -> str:
    """`blockvolume info`, and what create and expand print."""
    access = found["blockvolume"]
    fields = {
        "Name": found["name"],
        "Size": found["size"],
        "UsableSize": found.get("usablesize", found["size"]),
        "Volume Id": found["id"],
        "Cluster Id": found["cluster"],
        "Hosts": _go_list(access.get("hosts") or []),
        "IQN": access.get("iqn", ""),
        "LUN": access.get("lun", 0),
        "Hacount": found.get("hacount", 0),
        "Username": access.get("username", ""),
        "Password": access.get("password", ""),
        "Block Hosting Volume": found.get("blockhostingvolume", ""),
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def operation_counts(found: Json) -> str:
    """`server operations info`."""
    names = {"Total": "total", "In-Flight": "in_flight", "New": "new", "Failed": "failed", "Stale": "stale"}
    return "Operation Counts:\n" + "".join(f"  {shown}: {found[key]}\n" for shown, key in names.items())


def operation_line(found: Json) -> str:
    """A line of `server operations list`."""
    return f"Id:{found['id']}  Type:{found['type_name']}  Status:{_status(found)}\n"


def operation(found: Json) -> str:
    """`server operations info ID`."""
    changes = "".join(f"    {each['description']}: {each['id']}\n" for each in found.get("changes") or [])
    return f"\nId: {found['id']}\nType: {found['type_name']}\nStatus: {_status(found)}\nChanges:\n{changes}"


def _status(found: Json) -> str:
    return f"{found.get('status') or 'New'} {found.get('sub_status', '')}"


def endpoint_patch(found: Json) -> str:
    """`volume endpoint patch`: addresses for the Kubernetes endpoints of a volume."""
    subsets = (
        f'{{"addresses":[{{"ip":"{host}"}}],"ports":[{{"port":1}}]}}' for host in found["mount"]["glusterfs"]["hosts"]
    )
    return f'{{"subsets": [{",".join(subsets)}]}}'


# --- topology info ----------------------------------------------------------------------------------------------------


def topology(clusters: Sequence[Json]) -> str:
    """`topology info`."""
    return "\n" + "".join(_topology_cluster(each) for each in clusters)


def _topology_cluster(found: Json) -> str:
    flags = [
        f"    {name:<6} {str(found.get(key, False)).lower()}\n"
        for name, key in (("File:", "file"), ("Block:", "block"))
    ]
    volumes = "".join(f"{_topology_volume(each)}\n" for each in found["volumes"])
    nodes = "".join(f"{_topology_node(each)}\n" for each in found["nodes"])
    head = f"Cluster Id: {found['id']}\n\n{''.join(flags)}\n"
    return f"{head}    Volumes:\n\n{volumes}\n    Nodes:\n\n{nodes}"


def _topology_volume(found: Json) -> str:
    durability = found["durability"]
    disperse = durability.get("disperse", {})
    own = {
        "replicate": [f"Replica: {durability.get('replicate', {}).get('replica', 0)}"],
        "disperse": [
            f"Disperse Data: {disperse.get('data', 0)}",
            f"Disperse Redundancy: {disperse.get('redundancy', 0)}",
        ],
    }
    snapshot = found["snapshot"]
    lines = [
        f"Name: {found['name']}",
        f"Size: {found['size']}",
        f"Id: {found['id']}",
        f"Cluster Id: {found['cluster']}",
        f"Mount: {found['mount']['glusterfs']['device']}",
        f"Mount Options: {mount_options(found)}",
        f"Durability Type: {durability['type']}",
        *own.get(durability["type"], []),
        *(
            ["Snapshot: Enabled", f"Snapshot Factor: {snapshot['factor']:.2f}"]
            if snapshot["enable"]
            else ["Snapshot: Disabled"]
        ),
    ]
    bricks = "".join(
        f"\t\t\tId: {each['id']}\n\t\t\tPath: {each['path']}\n\t\t\tSize (GiB): {_gib(each['size'])}\n"
        f"\t\t\tNode: {each['node']}\n\t\t\tDevice: {each['device']}\n\n"
        for each in found["bricks"]
    )
    return "".join(f"\t{line}\n" for line in lines) + f"\n\t\tBricks:\n{bricks}"


def _topology_node(found: Json) -> str:
    lines = [
        f"Node Id: {found['id']}",
        f"State: {found['state']}",
        f"Cluster Id: {found['cluster']}",
        f"Zone: {found['zone']}",
        f"Management Hostnames: {', '.join(found['hostnames']['manage'])}",
        f"Storage Hostnames: {', '.join(found['hostnames']['storage'])}",
    ]
    head = "".join(f"\t{line}\n" for line in lines) + _inline_tags(found, "\t")
    return f"{head}\tDevices:\n{''.join(_topology_device(each) for each in found['devices'])}"


def _topology_device(found: Json) -> str:
    sizes = [_gib(found["storage"][name]) for name in ("total", "used", "free")]
    head = (
        f"\t\tId:{found['id']:<35}State:{found['state']:<10}Size (GiB):{sizes[0]:<8}"
        f"Used (GiB):{sizes[1]:<8}Free (GiB):{sizes[2]:<8}\n"
    )
    bricks = "".join(
        f"\t\t\t\tId:{each['id']:<35}Size (GiB):{_gib(each['size']):<8}Path: {each['path']}\n"
        for each in found["bricks"]
    )
    paths = " ".join(found.get("paths") or [found["name"]])
    return f"{head}{_inline_tags(found, chr(9) * 3)}\t\t\tKnown Paths: {paths}\n\n\t\t\tBricks:\n{bricks}"


def _inline_tags(found: Json, indent: str) -> str:
    tags = found.get("tags") or {}
    return f"{indent}Tags: {' '.join(f'{key}:{tags[key]}' for key in sorted(tags))}\n\n" if tags else ""
