"""Whether a cluster can take a certain volume at all. Pure; the texts are Heketi's."""

from dataclasses import dataclass
from typing import Protocol

from services.common.errors import AlreadyExistsError, BrickyardError, FailedPreconditionError, ResourceExhaustedError
from services.common.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOffer:
    """What a cluster offers to a new volume.

    Attributes:
        cluster_id: Its id.
        file_enabled: Whether it takes file volumes.
        block_enabled: Whether it takes block-hosting volumes.
        volume_count: Its volumes, those of running operations included.
        name_in_use: Whether one of them has the wanted name.
    """

    cluster_id: str
    file_enabled: bool
    block_enabled: bool
    volume_count: int
    name_in_use: bool


def name_in_use(cluster_id: str, name: str) -> AlreadyExistsError:
    """The error for a name that another volume of the cluster has."""
    return AlreadyExistsError(
        Reason.VOLUME_NAME_IN_USE, f"Volume name '{name}' already in use", cluster_id=cluster_id, name=name
    )


class BlockFlags(Protocol):
    """What counts of a stored cluster here."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def file_enabled(self) -> bool:
        """Whether it takes file volumes."""

    @property
    def block_enabled(self) -> bool:
        """Whether it takes block volumes, and volumes that host them."""


def block_refusal(cluster: BlockFlags) -> BrickyardError | None:
    """Why the cluster takes no block volumes, as the error to raise; None when it takes them."""
    offer = ClusterOffer(
        cluster_id=cluster.id,
        file_enabled=cluster.file_enabled,
        block_enabled=cluster.block_enabled,
        volume_count=0,
        name_in_use=False,
    )
    return refusal(offer, name="", block=True, max_volumes=0)


def refusal(offer: ClusterOffer, *, name: str, block: bool, max_volumes: int) -> BrickyardError | None:
    """Why the cluster can not take the volume, as the error to raise; None when it can.

    Args:
        offer: The cluster.
        name: Name of the volume, for the text.
        block: Whether it is to host block volumes.
        max_volumes: Volumes that the cluster may hold, the new one included; 0 = no limit.
    """
    if not offer.file_enabled and not offer.block_enabled:
        return FailedPreconditionError(
            Reason.CLUSTER_HAS_NO_VOLUME_TYPE, "Cluster has disabled all volume types", cluster_id=offer.cluster_id
        )
    if not (offer.block_enabled if block else offer.file_enabled):
        return FailedPreconditionError(
            Reason.CLUSTER_LACKS_VOLUME_TYPE,
            "Cluster does not support requested volume type",
            cluster_id=offer.cluster_id,
        )
    if offer.name_in_use:
        return name_in_use(offer.cluster_id, name)
    if max_volumes and offer.volume_count >= max_volumes:
        return ResourceExhaustedError(
            Reason.TOO_MANY_VOLUMES,
            f"Cluster has {offer.volume_count} volumes and limit is {max_volumes}",
            cluster_id=offer.cluster_id,
            volume_count=offer.volume_count,
            limit=max_volumes,
        )
    return None
