"""How one agent behaves. Pure values; the command line is in __main__."""

import math
from dataclasses import dataclass, field

from services.executor.policy import NodePolicy


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the agent insists.

    Attributes:
        gluster_lock_s: Time for which a gluster change is repeated while others hold gluster's locks.
        unmount_s: Time for which a busy file system is tried again; a stopped brick process needs a moment to end.
        peer_return_s: Time for which a gluster change is repeated while a peer is not connected; after a probe, or a
            start of glusterd, peers find each other within seconds.
        glusterd_s: Time for glusterd to come up before what is owed to it.
        peer_s: Time for a probed peer to become a full member.
        silence_s: Time for glusterd to notice that a node does not answer any more; its connections take half a minute.
        migration_s: Time for data to be moved off bricks that leave a volume; they were added a moment ago.
        heal_s: Time for which a new brick's heal is watched without a break; the next start of the agent goes on.
        heal_pause_s: Pause before the second look at a heal; its daemons try to connect every three seconds. It
            doubles, with jitter, up to `longest_heal_pause_s`.
        longest_heal_pause_s: So often the heal daemons look for work by themselves.
        first_pause_s: Pause before the first repetition; it doubles, with jitter, up to `longest_pause_s`.
        longest_pause_s: See above.
    """

    gluster_lock_s: float = 120.0
    unmount_s: float = 10.0
    peer_return_s: float = 8.0
    glusterd_s: float = 600.0
    peer_s: float = 20.0
    silence_s: float = 90.0
    migration_s: float = 600.0
    heal_s: float = math.inf
    heal_pause_s: float = 2.0
    longest_heal_pause_s: float = 600.0
    first_pause_s: float = 0.05
    longest_pause_s: float = 2.0


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What distinguishes a node's agent from others.

    Attributes:
        names: Host names under which callers know the node; empty accepts any.
        policy: What the node allows.
        patience: How long it insists.
        always_audited: Whether each change is a line in the log whatever its least severity is.
    """

    names: tuple[str, ...] = ()
    policy: NodePolicy = field(default_factory=NodePolicy)
    patience: Patience = field(default_factory=Patience)
    always_audited: bool = True
