"""How the operation engine behaves. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NodePatience:
    """How long nodes are waited for.

    Attributes:
        change_s: For the answer to one change: under load (mkfs, a gluster transaction) it may take minutes; Heketi
            allows ten.
        silence_s: For an agent that does not answer any more, before the step counts as failed; an agent that is
            restarted needs a second or two.
    """

    change_s: float = 600.0
    silence_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How the engine behaves.

    Attributes:
        owner: Name of this gateway process; unique among all.
        lease_s: How long an operation is safe from being claimed without a sign of life of its driver.
        claim_interval_s: How often operations without a living driver are looked for.
        progress_interval_s: How often the progress of a running operation is stored, at most.
        retry_interval_s: Pause between attempts to take back an operation on a node that does not answer.
        max_in_flight: Volume operations at the same time over all gateways; 0 = no limit.
        create_retries: How often a volume that could not be made is placed anew; Heketi's default is 4.
        patience: How long nodes are waited for.
    """

    owner: str
    lease_s: float = 15.0
    claim_interval_s: float = 5.0
    progress_interval_s: float = 0.5
    retry_interval_s: float = 10.0
    max_in_flight: int = 8
    create_retries: int = 4
    patience: NodePatience = field(default_factory=NodePatience)
