"""The Runner of a simulated node. Memory only, but for the waiting that a fault asks for."""

import errno
import os
import posixpath
import time
from collections.abc import Callable, Collection, Sequence

from services.common.errors import UnavailableError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.executor.block import commands
from services.executor.runners.base import BlockDevice, CommandFailedError, CommandResult, Mount, NodeLostError
from services.executor.runners.measured import measured
from services.executor.runners.simulated.blocks import PROGRAM_PATH, GlusterBlockCli
from services.executor.runners.simulated.faults import FaultPlan
from services.executor.runners.simulated.gluster import GlusterCli, Outcome
from services.executor.runners.simulated.lvm import SimulatedLvm
from services.executor.runners.simulated.machine import Directory, Machine
from services.executor.runners.simulated.pools import Glusterd, Network
from services.executor.runners.simulated.written import has_snapshot_directory, written_text

_log = get_logger()
_SYSTEM_CALL_LIMIT_S = 600.0


class SimulatedRunner:
    """Commands and files of a simulated node.

    Args:
        machine: Its state.
        daemon: Its glusterd.
        network: The glusterds that it reaches.
        faults: What goes wrong.
    """

    def __init__(self, machine: Machine, daemon: Glusterd, network: Network, faults: FaultPlan) -> None:
        self._machine = machine
        self._faults = faults
        self._lvm = SimulatedLvm(machine)
        self._daemon = daemon
        self._network = network
        self._gluster = GlusterCli(daemon, network, self._before_line)
        self._blocks = GlusterBlockCli(daemon, network)
        self._timeout_s = _SYSTEM_CALL_LIMIT_S

    def hostname(self) -> str:
        """See Runner.hostname."""
        return self._machine.name

    def _before_line(self, line: str) -> Outcome | None:
        fault = self._faults.strike(self._machine.name, line, _SYSTEM_CALL_LIMIT_S)
        if fault is None:
            return None
        if fault.action == "crash-after":
            # The rest of a script runs on without the agent; losing it before the next line is close enough.
            raise NodeLostError(f"node {self._machine.name} was lost in: {line}")
        return fault.exit_code, "", f"{' '.join(line.split()[1:3])}: failed: {fault.stderr}\n"

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - see Runner.run
        timeout_s: float,
        allowed_exit_codes: Collection[int] | None = (0,),
    ) -> CommandResult:
        """See Runner.run."""
        with measured(argv, input) as outcome:
            result = outcome.of(self._run(argv, input, timeout_s))
        _log.debug("command.run", node=self._machine.name, argv=list(argv), exit_code=result.exit_code)
        if allowed_exit_codes is not None and result.exit_code not in allowed_exit_codes:
            raise CommandFailedError(result)
        return result

    def _run(self, argv: Sequence[str], text: str | None, timeout_s: float) -> CommandResult:
        started = time.monotonic()
        fault = self._faults.strike(self._machine.name, " ".join(argv), timeout_s)
        if fault is not None and fault.action == "fail":
            said: Outcome = (fault.exit_code, "", f"{fault.stderr}\n")
        elif fault is not None and fault.action == "answer":
            said = (0, fault.stdout, "")
        else:
            said = self._dispatch(argv, text)
        if fault is not None and fault.action == "crash-after":
            raise NodeLostError(f"node {self._machine.name} was lost after: {' '.join(argv)}")
        return CommandResult(tuple(argv), *said, time.monotonic() - started)

    def _dispatch(self, argv: Sequence[str], text: str | None) -> Outcome:
        program = argv[0]
        if program == "lvm":
            return self._lvm.run(argv)
        if program == "gluster":
            return self._gluster.run(argv, text)
        if program == commands.PROGRAM and self._machine.has_gluster_block:
            return self._blocks.run(list(argv))
        others: dict[str, Callable[[Sequence[str]], Outcome]] = {
            "mkfs.xfs": self._lvm.make_xfs,
            "blkid": self._lvm.probe,
            "wipefs": self._lvm.wipe,
        }
        if program in others:
            return others[program](argv)
        raise UnavailableError(Reason.UNAVAILABLE, f"{program} is not installed on {self.hostname()}", program=program)

    def glusterd_answers(self, hostname: str) -> bool:
        """See Runner.glusterd_answers."""
        return self._network.reachable(hostname) is not None

    def glusterd_listens(self) -> bool:
        """See Runner.glusterd_listens."""
        return self._daemon.running

    def exists(self, path: str) -> bool:
        """See Runner.exists."""
        return (
            path in self._machine.disks
            or self._machine.volume_at(path) is not None
            or self._machine.directory(path) is not None
            or has_snapshot_directory(self._daemon, path)
            or (path == PROGRAM_PATH and self._machine.has_gluster_block)
            or self.read_text(path) is not None
        )

    def resolve(self, path: str) -> str:
        """See Runner.resolve; there are no links here."""
        return path

    def is_block_device(self, path: str) -> bool:
        """See Runner.is_block_device."""
        return path in self._machine.disks or self._machine.volume_at(path) is not None

    def block_devices(self) -> tuple[BlockDevice, ...]:
        """See Runner.block_devices."""
        with self._machine.lock:
            return tuple(
                BlockDevice(
                    disk.path,
                    disk.size_bytes,
                    disk.partitions,
                    tuple(f"dm-{index}" for index, _ in enumerate(self._machine.groups[disk.vg].volumes))
                    if disk.vg
                    else (),
                    disk.read_only,
                )
                for disk in self._machine.disks.values()
            )

    def device_links(self, path: str) -> tuple[str, ...]:
        """See Runner.device_links; there are no links here."""
        del path
        return ()

    def read_text(self, path: str) -> str | None:
        """See Runner.read_text."""
        written = written_text(self._daemon, path)
        if written is not None:
            return written
        with self._machine.lock:
            tree, inner = self._machine.place(path)
            return tree.files.get(inner)

    def write_text_atomically(self, path: str, text: str) -> None:
        """See Runner.write_text_atomically."""
        self._strike_call(f"write {path}")
        with self._machine.lock:
            self.make_directory(posixpath.dirname(path))
            tree, inner = self._machine.place(path)
            tree.files[inner] = text

    def list_directory(self, path: str) -> tuple[str, ...]:
        """See Runner.list_directory."""
        with self._machine.lock:
            tree, inner = self._machine.place(path)
            below = [name for name in tree.directories if posixpath.dirname(name) == inner != name]
            return tuple(sorted(map(posixpath.basename, below)))

    def make_directory(self, path: str) -> None:
        """See Runner.make_directory."""
        with self._machine.lock:
            parent = posixpath.dirname(path)
            if self._machine.directory(path) is not None:
                return
            if parent != path:
                self.make_directory(parent)
            tree, inner = self._machine.place(path)
            tree.directories[inner] = Directory()

    def remove_directory(self, path: str) -> None:
        """See Runner.remove_directory."""
        with self._machine.lock:
            if self._machine.mounts.at(path):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
            tree, inner = self._machine.place(path)
            if any(name.startswith(f"{inner}/") for name in (*tree.directories, *tree.files)):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
            tree.directories.pop(inner, None)

    def sync_directory(self, path: str) -> None:
        """See Runner.sync_directory."""
        after = self._strike_call(f"fsync {path}")
        if not self._machine.sync(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if after:
            raise NodeLostError(f"node {self._machine.name} was lost after writing {path} to disk")

    def set_group(self, path: str, gid: int) -> None:
        """See Runner.set_group."""
        self._directory(path).gid = gid

    def set_mode(self, path: str, mode: int) -> None:
        """See Runner.set_mode."""
        self._directory(path).mode = mode

    def _directory(self, path: str) -> Directory:
        found = self._machine.directory(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def mounts(self) -> tuple[Mount, ...]:
        """See Runner.mounts."""
        with self._machine.lock:
            return tuple(self._machine.mounts)

    def mounted_at(self, mount_point: str) -> Mount | None:
        """See Runner.mounted_at."""
        with self._machine.lock:
            found = self._machine.mounts.at(mount_point)
        return found[-1] if found else None

    def served_bricks(self, paths: Collection[str]) -> frozenset[str]:
        """See Runner.served_bricks; a brick process keeps its file system busy."""
        with self._machine.lock:
            return frozenset(path for path in paths if posixpath.dirname(path) in self._machine.busy)

    def end_brick_process(self, brick_path: str) -> int:
        """See Runner.end_brick_process."""
        with self._machine.lock:
            point = posixpath.dirname(brick_path)
            count = int(point in self._machine.orphans)
            self._machine.orphans.discard(point)
            return count

    def count_heals(self, brick_path: str) -> int:
        """See Runner.count_heals."""
        for brick in (f"{hostname}:{brick_path}" for hostname in list(self._daemon.hostnames)):
            volume = self._daemon.pool.volume_with(brick)
            if volume is not None:
                return volume.heal_entries.get(brick, 0) if volume.set_size > 1 else -1
        return -1

    def mount(self, entry: Mount) -> None:
        """See Runner.mount."""
        after = self._strike_call(f"mount {entry.source} {entry.mount_point}")
        with self._machine.lock:
            found = self._machine.volume_at(entry.source)
            if found is None or self._machine.directory(entry.mount_point) is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), entry.source)
            if found[1].filesystem is None:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), entry.source)
            if entry in self._machine.mounts.at(entry.mount_point):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), entry.mount_point)
            self._machine.mounts.append(entry)
        if after:
            raise NodeLostError(f"node {self._machine.name} was lost after mounting {entry.mount_point}")

    def unmount(self, mount_point: str) -> None:
        """See Runner.unmount."""
        after = self._strike_call(f"umount {mount_point}")
        with self._machine.lock:
            if not self._machine.mounts.at(mount_point):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), mount_point)
            if mount_point in self._machine.busy | self._machine.orphans:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), mount_point)
            self._machine.mounts.unmount(mount_point)
        if after:
            raise NodeLostError(f"node {self._machine.name} was lost after unmounting {mount_point}")

    def _strike_call(self, command: str) -> bool:
        """Lets a fault strike a system call; True when the node has to be lost after it."""
        fault = self._faults.strike(self._machine.name, command, _SYSTEM_CALL_LIMIT_S)
        if fault is None:
            return False
        if fault.action == "fail":
            raise OSError(fault.exit_code, os.strerror(fault.exit_code), command)
        return True
