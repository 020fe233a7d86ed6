"""Whether the state of a volume's heal lets one of its bricks go. Pure; the texts are Heketi's."""

from collections.abc import Iterable, Mapping

from brickyard.executor.v1.facts_pb2 import BrickHealFacts
from brickyard.topology.v1.volume_pb2 import DURABILITY_TYPE_DISPERSE, DURABILITY_TYPE_REPLICATE, Durability, Volume
from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason

# What gluster says of a brick that it can not tell anything of.
_UNKNOWN_BRICK = "information not available"
_DEFAULT_COPIES = 2


def quorum(durability: Durability) -> int:
    """How many other bricks of a set must be online for one of them to be replaced (Heketi's rule)."""
    if durability.type == DURABILITY_TYPE_DISPERSE:
        return durability.data_count
    copies = durability.replica_count or _DEFAULT_COPIES
    if durability.type == DURABILITY_TYPE_REPLICATE and copies > _DEFAULT_COPIES:
        return copies // 2 + 1
    return 1


def check_heal(brick_id: str, volume: Volume, names: Mapping[str, str], statuses: Iterable[BrickHealFacts]) -> None:
    """Whether a brick may be replaced now.

    Args:
        brick_id: The brick.
        volume: Its volume, with all bricks.
        names: Ids of the volume's bricks by gluster's name of them.
        statuses: What gluster says of the heal; nothing for a volume that has no copies.

    Raises:
        FailedPreconditionError: BRICK_HEAL_UNKNOWN, BRICK_IS_HEAL_SOURCE or BRICK_QUORUM_NOT_MET.
    """
    sets = {brick.id: brick.set_index for brick in volume.bricks}
    online: set[str] = set()
    for status in statuses:
        if status.name == _UNKNOWN_BRICK:
            continue
        found = names.get(status.name)
        if found is None:
            raise FailedPreconditionError(
                Reason.BRICK_HEAL_UNKNOWN,
                f"Unable to determine heal status of brick\n{status.name} is not recorded for volume {volume.name}",
                brick=status.name,
                volume_id=volume.id,
            )
        if found == brick_id:
            if status.pending_count > 0:
                raise FailedPreconditionError(
                    Reason.BRICK_IS_HEAL_SOURCE,
                    f"Cannot replace brick {brick_id} as it is source brick for data to be healed",
                    brick_id=brick_id,
                    pending_count=status.pending_count,
                )
        elif sets[found] == sets[brick_id] and status.connected:
            online.add(found)
    needed = quorum(volume.durability)
    if len(online) < needed:
        raise FailedPreconditionError(
            Reason.BRICK_QUORUM_NOT_MET,
            f"Cannot replace brick {brick_id} as only {len(online)} of {needed} required peer bricks are online",
            brick_id=brick_id,
            online_count=len(online),
            needed_count=needed,
        )
