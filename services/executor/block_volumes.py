"""Block volumes, through gluster-block. Effects: through the runner.

Passwords are in answers only: neither in a command line, nor in the log, nor in an error, nor in the journal.
"""

from dataclasses import dataclass

from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
)
from services.common.reasons import Reason
from services.common.units import GIB
from services.executor.block import commands, reports
from services.executor.policy import check_hostname, check_volume_id, check_volume_name
from services.executor.runners.base import TOOL_ENVIRONMENT, CommandResult, Runner
from services.executor.tools import Tools

_UNPARSABLE = "Unparsable error during block volume {}: {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """A block volume to make.

    Attributes:
        block_volume_id: Its id, never used again.
        hosting: Name of the hosting volume.
        name: Its name.
        size_bytes: A multiple of 1 GiB.
        hosts: Storage host names of the nodes that export it.
        auth: Whether initiators must log in.
        prealloc: "full" or "no".

    Raises:
        InvalidArgumentError: A value is malformed.
    """

    block_volume_id: str
    hosting: str
    name: str
    size_bytes: int
    hosts: tuple[str, ...]
    auth: bool
    prealloc: str = commands.FULL

    def __post_init__(self) -> None:
        check_volume_id(self.block_volume_id)
        check_names(self.hosting, self.name)
        check_size(self.size_bytes)
        for host in self.hosts:
            check_hostname(host)
        if not self.hosts or len(set(self.hosts)) != len(self.hosts):
            raise _invalid("hosts", self.hosts, "must name one host or more, none twice")
        if self.prealloc not in commands.PREALLOCATIONS:
            raise _invalid("prealloc", self.prealloc, "is none of full, no")


def check_names(hosting: str, name: str) -> None:
    """Raises InvalidArgumentError unless both are names that gluster allows."""
    check_volume_name(hosting)
    check_volume_name(name)


def check_size(size_bytes: int) -> None:
    """Raises InvalidArgumentError unless it is a positive multiple of 1 GiB."""
    if size_bytes <= 0 or size_bytes % GIB:
        raise _invalid("size_bytes", size_bytes, "must be a positive multiple of 1 GiB")


def _invalid(field: str, value: object, problem: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.INVALID_ARGUMENT, f"{field}: {value!r} {problem}", field=field, value=value)


def is_installed(runner: Runner) -> bool:
    """Whether gluster-block is there; costs no process."""
    return any(runner.exists(f"{place}/{commands.PROGRAM}") for place in TOOL_ENVIRONMENT["PATH"].split(":"))


def _require(tools: Tools) -> None:
    if not is_installed(tools.runner):
        hostname = tools.runner.hostname()
        raise FailedPreconditionError(
            Reason.GLUSTER_BLOCK_NOT_INSTALLED, f"gluster-block is not installed on {hostname}", hostname=hostname
        )


def create(tools: Tools, spec: BlockSpec) -> reports.Access:
    """Makes a block volume, or finds the one that an interrupted call made.

    Raises:
        FailedPreconditionError: GLUSTER_BLOCK_NOT_INSTALLED, GLUSTERD_NOT_RUNNING, or OPERATION_ENDED: it was removed
            already, and this request comes too late.
        InternalError: GLUSTER_BLOCK_FAILED, also when another one has its name.
    """
    _require(tools)
    with tools.locks.group(_lock_name(spec.hosting)):
        if tools.locks.is_gone(_mark(spec.block_volume_id)):
            raise FailedPreconditionError(
                Reason.OPERATION_ENDED,
                f"block volume {spec.name} was removed; a request to make it comes too late",
                block_volume_id=spec.block_volume_id,
            )
        argv = commands.create(
            spec.hosting,
            spec.name,
            hosts=spec.hosts,
            auth=spec.auth,
            prealloc=spec.prealloc,
            size_bytes=spec.size_bytes,
        )
        result = tools.runner.run(argv, timeout_s=commands.TIMEOUT_S, allowed_exit_codes=None)
        reply = _reply(result, "create")
        if reply.failed and reports.says_exists(reply.message):
            return _found(tools, spec, reply.message).access
        if reply.failed or result.exit_code != 0:
            raise _failure(f"Failed to create block volume: {_why(reply, result)}")
        try:
            return reports.parse_access(reply)
        except ValueError as error:
            raise _failure(_UNPARSABLE.format("create", _shown(result))) from error


def _found(tools: Tools, spec: BlockSpec, complaint: str) -> reports.BlockVolume:
    """The block volume that an interrupted call made; one of another shape is somebody else's."""
    found = _find(tools, spec.hosting, spec.name)
    # Only what a size's text shows of it can be compared.
    same_size = found is not None and abs(found.size_bytes - spec.size_bytes) * 10 < max(spec.size_bytes, GIB)
    mine = found is not None and same_size and bool(found.password) == spec.auth
    if found is None or not mine or set(found.hosts) != set(spec.hosts):
        raise _failure(f"Failed to create block volume: {complaint}", hosting=spec.hosting, name=spec.name)
    return found


def delete(tools: Tools, hosting: str, name: str, block_volume_id: str) -> None:
    """Removes a block volume; absent is fine. A request to make it that comes later is refused.

    Raises:
        FailedPreconditionError: GLUSTER_BLOCK_NOT_INSTALLED, GLUSTERD_NOT_RUNNING.
        InternalError: GLUSTER_BLOCK_FAILED.
    """
    check_names(hosting, name)
    _require(tools)
    with tools.locks.group(_lock_name(hosting)):
        tools.locks.mark_gone(_mark(check_volume_id(block_volume_id)))
        result = tools.runner.run(commands.delete(hosting, name), timeout_s=commands.TIMEOUT_S, allowed_exit_codes=None)
        reply = _reply(result, "delete")
        if (reply.failed or result.exit_code != 0) and not reports.says_absent(_why(reply, result), hosting, name):
            raise _failure(_why(reply, result), hosting=hosting, name=name)


def expand(tools: Tools, hosting: str, name: str, size_bytes: int) -> reports.BlockVolume:
    """Makes a block volume larger on every host, or on those that an earlier attempt left out.

    Raises:
        FailedPreconditionError: GLUSTER_BLOCK_NOT_INSTALLED, GLUSTERD_NOT_RUNNING.
        NotFoundError: GLUSTER_BLOCK_VOLUME_NOT_FOUND.
        InternalError: GLUSTER_BLOCK_FAILED, also when a host did not follow; `get` then tells what all have.
    """
    check_names(hosting, name)
    check_size(size_bytes)
    _require(tools)
    with tools.locks.group(_lock_name(hosting)):
        result = tools.runner.run(
            commands.resize(hosting, name, size_bytes), timeout_s=commands.TIMEOUT_S, allowed_exit_codes=None
        )
        reply = _reply(result, "expand")
        if reply.failed or result.exit_code != 0:
            why = _why(reply, result)
            if reports.says_absent(why, hosting, name):
                raise _absent(hosting, name)
            # A repeated request finds its work done.
            if not reports.says_same_size(why):
                raise _failure(
                    f"Failed to expand block volume: {why} (see logs for details, and retry the operation)",
                    hosting=hosting,
                    name=name,
                )
        return get(tools, hosting, name)


def get(tools: Tools, hosting: str, name: str) -> reports.BlockVolume:
    """A block volume as gluster-block describes it.

    Raises:
        FailedPreconditionError: GLUSTER_BLOCK_NOT_INSTALLED, GLUSTERD_NOT_RUNNING.
        NotFoundError: GLUSTER_BLOCK_VOLUME_NOT_FOUND.
        InternalError: GLUSTER_BLOCK_FAILED.
    """
    check_names(hosting, name)
    _require(tools)
    found = _find(tools, hosting, name)
    if found is None:
        raise _absent(hosting, name)
    return found


def list_names(tools: Tools, hosting: str) -> tuple[str, ...]:
    """Names of the block volumes in a hosting volume, ascending.

    Raises:
        FailedPreconditionError: GLUSTER_BLOCK_NOT_INSTALLED, GLUSTERD_NOT_RUNNING.
        InternalError: GLUSTER_BLOCK_FAILED.
    """
    check_volume_name(hosting)
    _require(tools)
    result = tools.runner.run(commands.list_names(hosting), timeout_s=commands.READ_TIMEOUT_S, allowed_exit_codes=None)
    reply = _reply(result, "list")
    if reply.failed or result.exit_code != 0:
        raise _failure(_why(reply, result), hosting=hosting)
    try:
        return reports.parse_names(reply)
    except ValueError as error:
        raise _failure(_UNPARSABLE.format("list", _shown(result))) from error


def _find(tools: Tools, hosting: str, name: str) -> reports.BlockVolume | None:
    result = tools.runner.run(commands.info(hosting, name), timeout_s=commands.READ_TIMEOUT_S, allowed_exit_codes=None)
    reply = _reply(result, "info")
    if reply.failed or result.exit_code != 0:
        why = _why(reply, result)
        if reports.says_absent(why, hosting, name):
            return None
        raise _failure(why, hosting=hosting, name=name)
    try:
        return reports.parse_info(reply)
    except ValueError as error:
        raise _failure(f"{_UNPARSABLE.format('info', _shown(result))}: {error}") from error


def _lock_name(hosting: str) -> str:
    # No volume group has such a name.
    return f"gluster-block/{hosting}"


def _mark(block_volume_id: str) -> str:
    return f"gluster-block/{block_volume_id}"


def _reply(result: CommandResult, verb: str) -> reports.Reply:
    """The answer, from stdout or else from stderr; for a removal the other way round (Heketi's rule)."""
    outputs = [result.stderr, result.stdout] if verb == "delete" else [result.stdout, result.stderr]
    for output in outputs:
        reply = reports.parse_reply(output)
        if reply is not None:
            return reply
    for output in outputs:
        if reports.says_not_running(output):
            raise FailedPreconditionError(Reason.GLUSTERD_NOT_RUNNING, output.strip())
    if result.exit_code != 0 and result.stderr.strip():
        return reports.Reply(failed=True, message=reports.redacted(result.stderr.strip()), fields={})
    raise _failure(_UNPARSABLE.format(verb, _shown(result)))


def _why(reply: reports.Reply, result: CommandResult) -> str:
    return reply.message or reports.redacted(result.stderr.strip()) or f"exit code {result.exit_code}"


def _shown(result: CommandResult) -> str:
    return reports.redacted((result.stdout.strip() or result.stderr.strip())[:500])


def _failure(text: str, **metadata: object) -> BrickyardError:
    return InternalError(Reason.GLUSTER_BLOCK_FAILED, text, **metadata)


def _absent(hosting: str, name: str) -> NotFoundError:
    return NotFoundError(
        Reason.GLUSTER_BLOCK_VOLUME_NOT_FOUND, f"block {hosting}/{name} doesn't exist", hosting=hosting, name=name
    )
