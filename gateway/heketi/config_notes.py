"""What is told at the start of keys and variables of Heketi that do nothing here, and what replaced them. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Where brickyard-ssh-bridge listens unless it is told otherwise.
DEFAULT_SSH_BRIDGE = "127.0.0.1:7411"
MOCK_SIZE = "HEKETI_MOCK_DEVICE_SIZE_GB"
_AGENT = "the agents do it on their nodes"
_REPLACED = {
    "use_auth": "tokens are always asked for; --disable-auth turns that off, as Heketi's flag of that name did",
    "backup_db_to_kube_secret": "back the topology's database up instead: brickyard db backup",
    "profiling": "there are no profiles over HTTP",
    "glusterfs.db": "state is in the database of brickyard-topology (--database)",
    "glusterfs.db_read_only": "POST /admin with read-only does it",
    "glusterfs.allocator": "--strategy spread or ring",
    "glusterfs.disable_monitor_gluster_nodes": "agents tell how their node is",
    "glusterfs.refresh_time_monitor_gluster_nodes": "agents tell how their node is",
    "glusterfs.start_time_monitor_gluster_nodes": "agents tell how their node is",
    "glusterfs.disable_background_cleaner": "every operation is brought to its end; nothing is left to be cleaned up",
    "glusterfs.refresh_time_background_cleaner": "every operation is brought to its end; see --retry-seconds",
    "glusterfs.start_time_background_cleaner": "every operation is brought to its end; see --claim-seconds",
    "sshexec": f"no central SSH keys are needed: {_AGENT}",
    "kubeexec": f"no access to pods is needed: {_AGENT}",
    "injectexec": "the simulated nodes of `brickyard serve` can be told to fail",
}
# Keys of the section of an executor that is used, by what they would change; the bridge tells of its own.
_FIXED = "the agents make bricks as Heketi does by default, and can not be told otherwise"
_REPLACED_IN_SECTION = {
    "gluster_cli_timeout": "--node-timeout-seconds",
    "rebalance_on_expansion": "Heketi takes no notice of it either; see --no-rebalance-on-expansion",
    **dict.fromkeys(
        (
            "mountopts",
            "pv_data_alignment",
            "vg_physicalextentsize",
            "lv_chunksize",
            "xfs_sw",
            "xfs_su",
            "snapshot_limit",
        ),
        _FIXED,
    ),
    "lvm_wrapper": "the agents run lvm themselves, on their nodes",
}
# Unset, and what Heketi takes for it.
_AS_BY_DEFAULT = frozenset({"", "256K", "4M", "rw,inode64,noatime,nouuid"})
# The bridge reads them.
_BRIDGED_VARIABLES = frozenset(
    {"HEKETI_FSTAB", "HEKETI_SSH_KEYFILE", "HEKETI_SSH_USER", "HEKETI_SSH_PORT", "SSH_KNOWN_HOSTS"}
)
_REPLACED_VARIABLES = {
    "HEKETI_DB_PATH": _REPLACED["glusterfs.db"],
    "HEKETI_BACKUP_DB_TO_KUBE_SECRET": _REPLACED["backup_db_to_kube_secret"],
    "HEKETI_KUBE_DB_SECRET_NAME": _REPLACED["backup_db_to_kube_secret"],
    "HEKETI_PROFILING": _REPLACED["profiling"],
    "HEKETI_DISABLE_HEALTH_MONITOR": _REPLACED["glusterfs.disable_monitor_gluster_nodes"],
    "HEKETI_DISABLE_BACKGROUND_CLEANER": _REPLACED["glusterfs.disable_background_cleaner"],
    "HEKETI_IGNORE_STALE_OPERATIONS": _REPLACED["glusterfs.disable_background_cleaner"],
    "HEKETI_TOPOLOGY_FILE": "brickyard topology load reads such a file",
    "HEKETI_GLUSTER_CLI_TIMEOUT": "--node-timeout-seconds",
    MOCK_SIZE: "the executor is not mock",
    **dict.fromkeys(
        (
            *("HEKETI_FSTAB", "HEKETI_MOUNT_OPTS", "HEKETI_SNAPSHOT_LIMIT", "HEKETI_DEBUG_UMOUNT_FAILURES"),
            *("HEKETI_LVM_WRAPPER", "HEKETI_SSH_KEYFILE", "HEKETI_SSH_USER", "HEKETI_SSH_PORT", "SSH_KNOWN_HOSTS"),
            *("HEKETI_KUBE_NAMESPACE", "HEKETI_KUBE_GLUSTER_DAEMONSET", "HEKETI_KUBE_USE_POD_NAMES"),
        ),
        _AGENT,
    ),
}
# Of Heketi's client, and what Kubernetes sets in each pod for a service that is called heketi.
_FOREIGN_VARIABLES = ("HEKETI_CLI_", "HEKETI_PORT", "HEKETI_SERVICE_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a configuration says, and how it is understood.

    Attributes:
        content: The file.
        environment: Variables of the process.
        executor: "mock", "ssh" or "kubernetes".
        section: Where the settings of the executor stand.
        bridged: Whether brickyard-ssh-bridge reads them.
        read: Keys that mean something here, by path, with what tells whether a value means anything.
        read_variables: Variables that mean something here.
    """

    content: Mapping[str, Any]
    environment: Mapping[str, str]
    executor: str
    section: str
    bridged: bool
    read: Mapping[str, Callable[[Any], Any]]
    read_variables: Collection[str]


def notes(told: Told) -> Iterator[str]:
    """A sentence for each key and variable that does nothing."""
    yield from _key_notes(told)
    yield from _section_notes(told)
    yield from _variable_notes(told)
    yield from _executor_notes(told)


def at(content: Mapping[str, Any], path: str) -> Any:
    """The value at a path; None when there is none."""
    value: Any = content
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _key_notes(told: Told) -> Iterator[str]:
    """What is to be said of each key that does nothing; comments begin with an underscore in Heketi's own file."""
    used = {*told.read, *(["glusterfs.sshexec"] if told.bridged else [])}
    for path in _paths(told.content):
        if path in used or any(part.startswith("_") for part in path.split(".")):
            continue
        instead = _REPLACED.get(path) or _REPLACED.get(path.removeprefix("glusterfs."))
        yield f"{path} does nothing here: {instead}" if instead else f"{path} is not known, and does nothing"

    for path, means_something in told.read.items():
        value = at(told.content, path)
        if value and not means_something(value):
            yield f"{path}: {value!r} means nothing to Heketi either; the default holds"


def _section_notes(told: Told) -> Iterator[str]:
    """What is to be said of the keys of the executor that is used."""
    for key, instead in _REPLACED_IN_SECTION.items():
        value = at(told.content, f"{told.section}.{key}")
        if value and value not in _AS_BY_DEFAULT and not told.bridged:
            yield f"{told.section}.{key} does nothing here: {instead}"


def _variable_notes(told: Told) -> Iterator[str]:
    """What is to be said of Heketi's variables that do nothing."""
    for variable, instead in _REPLACED_VARIABLES.items():
        if told.bridged and variable in _BRIDGED_VARIABLES:
            continue
        if told.environment.get(variable) and not (variable == MOCK_SIZE and told.executor == "mock"):
            yield f"{variable} does nothing here: {instead}"
    known = {*told.read_variables, *_REPLACED_VARIABLES}
    for variable in sorted(told.environment):
        ours = variable.startswith("HEKETI_") and not variable.startswith(_FOREIGN_VARIABLES)
        if ours and variable not in known:
            yield f"{variable} is not known, and does nothing"


def _executor_notes(told: Told) -> Iterator[str]:
    if told.executor == "mock":
        yield (
            "glusterfs.executor mock: nodes are simulated, and forgotten at the end with all that is on them, unless "
            "--topology, --allocator or --agents says where others are"
        )
    elif told.bridged:
        yield (
            f"glusterfs.sshexec: nodes without an agent are reached through brickyard-ssh-bridge at "
            f"{DEFAULT_SSH_BRIDGE}, which takes the same file; when every node has an agent, start with --ssh-bridge ''"
        )
    elif told.content:
        yield "glusterfs.executor: nodes are reached through the agent on each of them, at --agent-port"


def _paths(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in content.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value and not (prefix and name.endswith("exec")):
            yield from _paths(value, f"{path}.")
        else:
            yield path
