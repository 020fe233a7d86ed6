"""A fleet of storage nodes in memory, at the level of their commands. For tests, demos and development.

What is simulated behaves as the real tools were seen to behave (lvm2 2.03.16, xfsprogs 6.1, glusterfs 10.3), texts and
exit codes included. State lives in this process and ends with it.
"""

from services.executor.runners.simulated.faults import Fault, FaultPlan
from services.executor.runners.simulated.fleet import Fleet, FleetSettings

__all__ = ["Fault", "FaultPlan", "Fleet", "FleetSettings"]
