"""What of an answer must be the same whatever ids were made and wherever bricks were placed."""

import json
import re
from collections.abc import Iterator
from typing import Any

# Names on disk have ids after an underscore, so that a word boundary does not do.
ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_BRICK_PATH = "/var/lib/heketi/mounts/vg_{device}/brick_{id}/brick"


def compact(value: Any) -> str:
    """JSON as Go writes it, in the order of its keys."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def indented(value: Any) -> str:
    """The same on many lines, as Heketi shows its database."""
    return json.dumps(value, indent=4, ensure_ascii=False)


def canonical(value: Any, *, device_names: bool, sizes: bool, keys: frozenset[str]) -> Any:
    """The value with what may differ taken out: ids, order and choice of hosts, order of lists of objects.

    Args:
        value: A parsed body.
        device_names: Whether the names of devices must be the same (not when placement chose them).
        sizes: Whether sizes of devices must be the same (not on devices of another size than the recorded ones).
        keys: Keys that Heketi's mock executor never filled, left out.
    """
    if isinstance(value, list):
        items = [canonical(item, device_names=device_names, sizes=sizes, keys=keys) for item in value]
        return sorted(items, key=compact)
    if isinstance(value, str):
        return ID.sub("<id>", value)
    if not isinstance(value, dict):
        return value
    if value and all(map(ID.fullmatch, value)):
        # A table by id: which ids there are is nothing to compare.
        return canonical(list(value.values()), device_names=device_names, sizes=sizes, keys=keys)
    shown = {
        key: canonical(item, device_names=device_names, sizes=sizes, keys=keys)
        for key, item in value.items()
        if key not in keys
    }
    if isinstance(shown.get("glusterfs"), dict):
        shown["glusterfs"] = _mount(value["glusterfs"])
    if "iqn" in shown:
        shown |= _access(value)
    if "storage" in shown and isinstance(shown["storage"], dict):
        if not device_names:
            shown["name"] = "<device>"
        if not sizes:
            shown["storage"] = dict.fromkeys(shown["storage"], "<KiB>")
    return shown


def _access(block: dict[str, Any]) -> dict[str, Any]:
    """Which hosts export a block volume is a choice; names and secrets only are there, or are not."""
    told = {key: f"<{key}>" if block[key] else "" for key in ("iqn", "username", "password")}
    return {**told, "hosts": f"{len(set(block['hosts']))} hosts"}


def _mount(mount: dict[str, Any]) -> dict[str, Any]:
    """Which host comes first is a matter of ids; that the parts agree is not."""
    hosts = mount["hosts"]
    host, _, name = mount["device"].partition(":")
    backups = mount["options"]["backup-volfile-servers"]
    agrees = host == hosts[0] and backups == ",".join(hosts[1:])
    return {"hosts": sorted(hosts), "name": ID.sub("<id>", name), "options": list(mount["options"]), "agrees": agrees}


def faults(value: Any) -> Iterator[str]:
    """What is wrong in an answer taken by itself."""
    if isinstance(value, list):
        for item in value:
            yield from faults(item)
        ids = [
            item["id"] if isinstance(item, dict) else item
            for item in value
            if not isinstance(item, str) or ID.fullmatch(item)
        ]
        if ids != sorted(ids):
            yield f"not in the order of ids: {ids}"
    if isinstance(value, dict):
        for item in value.values():
            yield from faults(item)
        if "path" in value and value["path"] != _BRICK_PATH.format(**value):
            yield f"path of a brick: {value['path']}"
        if "free" in value and value["total"] != value["free"] + value["used"]:
            yield f"sizes do not add up: {value}"


def pairs(recorded: Any, live: Any) -> Iterator[tuple[str, str]]:
    """Ids that stand at the same place of two bodies: recorded, live. Lists are paired where that makes sense."""
    if isinstance(recorded, dict) and isinstance(live, dict):
        for key, item in recorded.items():
            if key in live:
                yield from pairs(item, live[key])
    elif isinstance(recorded, list) and isinstance(live, list):
        yield from _list_pairs(recorded, live)
    elif isinstance(recorded, str) and isinstance(live, str) and ID.fullmatch(recorded) and ID.fullmatch(live):
        yield recorded, live


def _list_pairs(recorded: list[Any], live: list[Any]) -> Iterator[tuple[str, str]]:
    """Bricks by their order, devices by their names; plain ids are in an order that means nothing."""
    names = {item["name"] for item in recorded if isinstance(item, dict) and "name" in item}
    if names:
        for name in sorted(names):
            same = [[item for item in items if item["name"] == name] for items in (recorded, live)]
            for one, other in zip(*same, strict=False):
                yield one["id"], other["id"]
        return
    for one, other in zip(recorded, live, strict=False):
        if isinstance(one, dict):
            yield from pairs(one, other)
