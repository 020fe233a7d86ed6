"""A Heketi that died in the midst of everything: pending operations of each kind, in its dump and on its nodes."""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from services.common.ids import new_id
from tests.integration.clients import Rest
from tests.integration.world import Cluster

Json = dict[str, Any]
BLOCK_GIB, GROWN_GIB = 3, 5


@dataclass(slots=True)
class Leavings:
    """What was under way.

    Attributes:
        before: The dump before the changes that were not finished.
        dump: The dump after them; Heketi's after `die`.
        ids: Ids of volumes and block volumes by name.
        added: Bricks that they made, by the name of the volume.
    """

    before: Json
    dump: Json
    ids: dict[str, str] = field(default_factory=dict)
    added: dict[str, list[str]] = field(default_factory=dict)

    def pend(self, kind: int, *actions: tuple[int, str, int | None], marked: tuple[str, ...]) -> None:
        """Records a pending operation, and marks objects with it."""
        key = new_id()
        for section in ("volumeentries", "brickentries", "blockvolumeentries"):
            for each in set(marked) & set(self.dump[section]):
                self.dump[section][each]["Pending"]["Id"] = key
        self.dump["pendingoperations"][key] = {
            "Id": key,
            "Timestamp": 1_700_000_000,
            "Type": kind,
            "Actions": [{"Change": change, "Id": each, "Delta": delta} for change, each, delta in actions],
            "Status": "stale",
        }


def begin(rest: Rest, cluster: Cluster) -> Leavings:
    """Does over REST what Heketi was doing."""
    ids = {}
    for name, kind in (("half", "none"), ("wide", "replicate"), ("origin", "none"), ("moved", "replicate")):
        ids[name] = rest.made("/volumes", cluster.volume_body(size=2, name=name, kind=kind))["id"]
    for name in ("begun", "going", "growing"):
        ids[name] = rest.made("/blockvolumes", {"size": BLOCK_GIB, "name": name, "auth": True})["id"]
    before = rest.json("/db/dump")
    rest.change("POST", f"/volumes/{ids['wide']}/expand", {"expand_size": 2})
    rest.change("POST", f"/volumes/{ids['origin']}/clone", {"name": "twin"})
    rest.change("POST", f"/bricks/to-evict/{before['volumeentries'][ids['moved']]['Bricks'][0]}")
    rest.change("POST", f"/blockvolumes/{ids['growing']}/expand", {"new_size": GROWN_GIB})
    dump = rest.json("/db/dump")
    ids["twin"] = next(key for key, each in dump["volumeentries"].items() if each["Info"]["name"] == "twin")
    added = {
        name: sorted(
            set(dump["volumeentries"][ids[name]]["Bricks"]) - set(before["volumeentries"][ids[name]]["Bricks"])
        )
        for name in ("wide", "moved")
    }
    return Leavings(before, dump, ids, added)


def die(left: Leavings) -> Json:
    """Takes the ends of the changes out of the dump; gives the dump that ours is after the import."""
    dump, ids = left.dump, left.ids
    volumes, bricks, blocks = dump["volumeentries"], dump["brickentries"], dump["blockvolumeentries"]

    half = volumes[ids["half"]]["Bricks"]
    left.pend(1, *((1, each, None) for each in half), (2, ids["half"], None), marked=(*half, ids["half"]))

    wide = volumes[ids["wide"]]
    added = wide["Info"]["size"] - left.before["volumeentries"][ids["wide"]]["Info"]["size"]
    wide["Info"]["size"] -= added
    new = left.added["wide"]
    left.pend(3, *((1, each, None) for each in new), (5, ids["wide"], added), marked=tuple(new))

    twin = volumes[ids["twin"]]["Bricks"]
    for each in twin:
        # Gluster had not told yet.
        bricks[each]["LvmLv"], bricks[each]["Info"]["path"] = "", bricks[half[0]]["Info"]["path"]
    actions = [(9, ids["origin"], None), (11, ids["twin"], None), *((1, each, None) for each in twin)]
    left.pend(7, *actions, marked=(ids["origin"], ids["twin"], *twin))

    _move_back(left)

    access = {"hosts": None, "iqn": "", "lun": 0, "username": "", "password": ""}
    blocks[ids["begun"]]["Info"]["blockvolume"] = access
    left.pend(4, (6, ids["begun"], None), marked=(ids["begun"],))
    left.pend(5, (7, ids["going"], None), marked=(ids["going"],))
    blocks[ids["growing"]]["Info"] |= {"size": BLOCK_GIB, "usablesize": BLOCK_GIB}
    left.pend(9, (14, ids["growing"], GROWN_GIB), marked=())

    expected: Json = deepcopy(dump)
    expected["volumeentries"][ids["origin"]]["Pending"]["Id"] = ""
    expected["volumeentries"][ids["moved"]]["Bricks"] = sorted(
        [*expected["volumeentries"][ids["moved"]]["Bricks"], *left.added["moved"]]
    )
    return expected


def _move_back(left: Leavings) -> None:
    """Gluster has the new brick; Heketi's records have both, and list the old one with the volume."""
    volume = left.ids["moved"]
    mine = left.before["volumeentries"][volume]["Bricks"]
    (old,) = set(mine) - set(left.dump["volumeentries"][volume]["Bricks"])
    entry = deepcopy(left.before["brickentries"][old])
    left.dump["brickentries"] = dict(sorted({**left.dump["brickentries"], old: entry}.items()))
    left.dump["volumeentries"][volume]["Bricks"] = mine
    device = left.dump["deviceentries"][entry["Info"]["device"]]
    device["Bricks"] = sorted([*device["Bricks"], old])
    taken = entry["TpSize"] + entry["PoolMetadataSize"]
    device["Info"]["storage"]["used"] += taken
    device["Info"]["storage"]["free"] -= taken
    (new,) = left.added["moved"]
    left.pend(8, (3, old, None), (1, new, None), marked=(old, new))


def written(dump: Json) -> str:
    """A dump as Heketi writes it."""
    dump["pendingoperations"] = dict(sorted(dump["pendingoperations"].items()))
    return json.dumps(dump, indent=4) + "\n"
