"""How health reads for people: words, counts, and lines with fields between tabs. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from brickyard.topology.v1 import device_pb2, health_pb2, node_pb2, operation_pb2
from gateway.cli import operation_texts
from gateway.cli.output import as_fields
from services.common.units import GIB

_FULL_PERCENT = 80.0
_SIZES = ((GIB * 1024, "TiB"), (GIB, "GiB"), (GIB // 1024, "MiB"))


def word(kind: object, number: int) -> str:
    """An enum value as a word, e.g. HEALTH_OK as "ok"."""
    name: str = kind.Name(number)  # type: ignore[attr-defined]  # every enum wrapper has it
    return name.partition("_")[2].removeprefix("STATE_").lower()


def health(number: int) -> str:
    """A health as a word."""
    return word(health_pb2.Health, number)


def size(size_bytes: int) -> str:
    """A size with its unit, e.g. "12.5 GiB"."""
    for unit, name in _SIZES:
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size_bytes} B"


def age(time: Timestamp, now_s: float) -> str:
    """How long ago, e.g. "3 min"; empty when the time is not set."""
    if not time.seconds:
        return ""
    seconds = max(0, int(now_s - time.seconds))
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def is_wrong(report: health_pb2.HealthReport) -> bool:
    """Whether anything is to be looked at; notices are not."""
    return any(problem.severity > health_pb2.SEVERITY_NOTICE for problem in report.problems)


def verdict(report: health_pb2.HealthReport) -> str:
    """The state of everything as one sentence."""
    counts = Counter(problem.severity for problem in report.problems)
    critical, warnings = counts[health_pb2.SEVERITY_CRITICAL], counts[health_pb2.SEVERITY_WARNING]
    parts = [f"{critical} critical"] if critical else []
    parts += [f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []
    if parts:
        return f"{' and '.join(parts)}: see below"
    unknown = sum(node.health == health_pb2.HEALTH_UNKNOWN for node in report.nodes)
    return f"nothing is known yet of {unknown} nodes" if unknown else "all is well"


def summary(report: health_pb2.HealthReport) -> Iterator[tuple[str, str]]:
    """What there is and how it is: name and text for each kind of object."""
    for name, objects in (("nodes", report.nodes), ("disks", report.devices), ("volumes", report.volumes)):
        yield name, _counted(each.health for each in objects)
    total = sum(device.total_bytes for device in report.devices)
    taken = sum(device.used_bytes + device.reserved_bytes for device in report.devices)
    if total:
        yield "space", f"{size(taken)} of {size(total)} taken ({100 * taken / total:.0f} %)"


def _counted(values: Iterable[int]) -> str:
    counts = Counter(values)
    total = sum(counts.values())
    if not total:
        return "none"
    words = [f"{count} {health(value)}" for value, count in sorted(counts.items())]
    return f"{total}: {', '.join(words)}"


def percent(device: health_pb2.DeviceHealth) -> float:
    """How much of a device is taken, 0 to 100."""
    taken = device.used_bytes + device.reserved_bytes
    return 100 * taken / device.total_bytes if device.total_bytes else 0.0


def full_disks(report: health_pb2.HealthReport) -> Sequence[health_pb2.DeviceHealth]:
    """Disks with 80 % or more taken, the fullest first."""
    return sorted((each for each in report.devices if percent(each) >= _FULL_PERCENT), key=percent, reverse=True)


def full_volumes(report: health_pb2.HealthReport) -> Sequence[health_pb2.VolumeHealth]:
    """Volumes with a brick that is filled to 80 % or more, the fullest first."""

    def fill(volume: health_pb2.VolumeHealth) -> float:
        return max(volume.pool_data_percent, volume.pool_metadata_percent)

    return sorted((each for each in report.volumes if fill(each) >= _FULL_PERCENT), key=fill, reverse=True)


def problem_fields(problem: health_pb2.Problem, now_s: float) -> tuple[str, str, str, str]:
    """Severity, message, age and advice."""
    return (
        word(health_pb2.Severity, problem.severity),
        problem.message,
        age(problem.since_time, now_s),
        problem.advice,
    )


def node_fields(node: health_pb2.NodeHealth, now_s: float) -> tuple[str, ...]:
    """Host name, health, state, version of glusterd, age of what is known."""
    return (
        node.hostname,
        health(node.health),
        word(node_pb2.NodeState, node.state).removeprefix("state_"),
        node.glusterd_version or "-",
        age(node.observe_time, now_s) or "-",
    )


def disk_fields(device: health_pb2.DeviceHealth) -> tuple[str, ...]:
    """Node, path, health, state, size, used, free, percent, bricks."""
    taken = device.used_bytes + device.reserved_bytes
    return (
        device.hostname,
        device.path,
        health(device.health),
        word(device_pb2.DeviceState, device.state).removeprefix("state_"),
        size(device.total_bytes),
        size(taken),
        size(device.total_bytes - taken),
        f"{percent(device):.1f} %",
        str(device.brick_count),
    )


def volume_fields(volume: health_pb2.VolumeHealth) -> tuple[str, ...]:
    """Name, health, size, serving bricks, fill, files to heal."""
    fill = max(volume.pool_data_percent, volume.pool_metadata_percent)
    return (
        volume.name,
        health(volume.health),
        size(volume.size_bytes),
        f"{volume.serving_brick_count}/{volume.brick_count}",
        f"{fill:.0f} %",
        str(volume.heal_count),
    )


def lines(report: health_pb2.HealthReport, running: Iterable[operation_pb2.Operation], now_s: float) -> Iterator[str]:
    """Everything as lines of fields between tabs; the first field tells the kind."""
    yield f"status\t{verdict(report)}"
    for problem in report.problems:
        severity, message, since, advice = problem_fields(problem, now_s)
        yield "\t".join(("problem", severity, problem.kind, message.replace("\t", " "), since or "-", advice or "-"))
    for name, text in summary(report):
        yield f"{name}\t{text}"
    for node in report.nodes:
        yield "\t".join(("node", *node_fields(node, now_s)))
    for device in report.devices:
        yield "\t".join(("disk", *disk_fields(device)))
    for volume in report.volumes:
        yield "\t".join(("volume", *volume_fields(volume)))
    for operation in running:
        yield f"operation\t{operation_texts.line(operation)}"


def as_json(report: health_pb2.HealthReport, running: Iterable[operation_pb2.Operation]) -> dict[str, object]:
    """All fields with the names of the contract, and the unfinished operations."""
    return {**as_fields(report), "operations": [operation_texts.as_json(each) for each in running]}
