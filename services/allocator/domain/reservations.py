"""Room that running operations keep away: it comes back if they fail, so a refusal should tell of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.allocator.domain.refusal import Reason
from services.allocator.domain.sizing import fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.allocator.domain.refusal import DeviceVerdict, Refusal

# The sentence names so many operations; the verdicts name all.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Reservation:
    """Space of a device that an operation has set aside."""

    device_id: str
    operation_id: str
    size_bytes: int


def by_device(reservations: Iterable[Reservation]) -> dict[str, tuple[Reservation, ...]]:
    """The reservations of each device."""
    found: dict[str, list[Reservation]] = {}
    for each in reservations:
        found.setdefault(each.device_id, []).append(each)
    return {device_id: tuple(kept) for device_id, kept in found.items()}


def with_reservations(
    verdicts: Sequence[DeviceVerdict], reservations: Mapping[str, Sequence[Reservation]]
) -> tuple[DeviceVerdict, ...]:
    """The verdicts, where `TOO_SMALL` becomes `RESERVED` on devices that would have room without the reservations."""
    return tuple(_judged(verdict, reservations.get(verdict.device_id, ())) for verdict in verdicts)


def refusal_with_reservations(refusal: Refusal, reservations: Mapping[str, Sequence[Reservation]]) -> Refusal:
    """The refusal with those verdicts, and a second sentence if there are any."""
    verdicts = with_reservations(refusal.devices, reservations)
    reserved = [verdict for verdict in verdicts if verdict.reason is Reason.RESERVED]
    if not reserved:
        return refusal
    operations = sorted({operation for verdict in reserved for operation in verdict.operation_ids})
    named = ", ".join(operations[:_NAMED]) + (f" and {len(operations) - _NAMED} more" if operations[_NAMED:] else "")
    count = len(reserved)
    sentence = (
        f"{count} of {len(verdicts)} devices would have room but for what running "
        f"operation{'' if len(operations) == 1 else 's'} {named} reserved."
    )
    return replace(refusal, devices=verdicts, summary=f"{refusal.summary} {sentence}")


def _judged(verdict: DeviceVerdict, reservations: Sequence[Reservation]) -> DeviceVerdict:
    reserved = sum(each.size_bytes for each in reservations)
    if verdict.reason is not Reason.TOO_SMALL or not fits(verdict.free_bytes + reserved, verdict.needed_bytes):
        return verdict
    operations = tuple(sorted({each.operation_id for each in reservations}))
    return replace(verdict, reason=Reason.RESERVED, operation_ids=operations)
