"""The lab as an object: `Lab.up`, `Lab.open`, and what can be done to it and its nodes."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from compose.lab import kernel, network, plan, preflight, processes, settings
from compose.lab.errors import LabError, TimeLimitError
from compose.lab.locking import locked
from compose.lab.node import Node
from compose.lab.settings import LabConfig, LabState, NodeState
from compose.lab.status import NodeStatus, status_of
from compose.lab.teardown import remove_lab
from compose.lab.waiting import Interrupts, Progress, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOLDER_SCRIPT = 'mount --bind "$0" /etc/hosts && exec sleep infinity'


class Lab:
    """A lab that is up; made by `up` or `open`.

    Attributes:
        state: what the state file says.
        progress: where it tells what it does.
    """

    def __init__(self, state: LabState, progress: Progress | None = None) -> None:
        self.state = state
        self.progress = progress or Progress(quiet=True)

    @property
    def config(self) -> LabConfig:
        """What the lab was made from."""
        return self.state.config

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.config.name

    @classmethod
    def open(cls, name: str = settings.DEFAULT_NAME, directory: str = "", progress: Progress | None = None) -> Self:
        """The lab that `up` made earlier.

        Raises:
            LabError: there is none.
        """
        path = Path(directory or settings.default_directory(name)) / settings.STATE_FILE
        if not path.exists():
            raise LabError(f"lab {name} is not up ({path} is not there); run `lab up`")
        state = settings.load_state(path.read_text(encoding="utf-8"))
        if state.config.name != name:
            raise LabError(f"the lab in {path.parent} is called {state.config.name}, not {name}; give --name")
        return cls(state, progress)

    @classmethod
    def up(cls, wanted: LabConfig, progress: Progress | None = None) -> Self:
        """Make a lab and wait until every node answers; on any failure or signal everything is removed again.

        Raises:
            CannotRunHereError: this machine cannot run it.
            LabError: it is up already, or a node did not come up.
            Interrupted: SIGINT, SIGTERM or SIGHUP came; everything is removed.
        """
        progress = progress or Progress(quiet=True)
        preflight.check_machine()
        if not wanted.memory_bytes:
            memory = settings.default_memory_bytes(wanted.nodes, preflight.available_memory_bytes())
            wanted = replace(wanted, memory_bytes=memory)
        shares = settings.all_shares(wanted)
        directory = Path(wanted.directory)
        with locked(wanted.name, progress), Interrupts() as interrupts:
            _refuse_or_clear(wanted, progress)
            try:
                directory.mkdir(mode=0o755)
            except OSError as error:
                raise LabError(f"cannot make {directory}: {error.strerror}") from error
            try:
                state = LabState(config=wanted, made_netns_mount=not network.has_named_namespaces_mount())
                settings.write_state(state)
                preflight.check_space(directory)
                lab = cls(state, progress)
                lab._make(shares, interrupts)
            except BaseException as error:
                progress.say(f"removing everything again: {str(error).partition(chr(10))[0]}")
                remove_lab(wanted.name, wanted.directory)
                raise
        return lab

    def _make(self, shares: Sequence[str], interrupts: Interrupts) -> None:
        kept = plan.keep_scripts(self.config)
        order = tuple(range(1, kept.disks + 1))
        nodes = tuple(NodeState(index=index, disk_order=order) for index in range(1, kept.nodes + 1))
        self._save(replace(self.state, config=replace(kept, shares=tuple(shares)), nodes=nodes))
        kernel.build_shim(self.config)
        Path("/lib/modules").mkdir(exist_ok=True)  # the nodes bind their modules there; the host's stays empty
        network.create(self.name, [node.index for node in nodes])
        interrupts.check()
        hosts = Path(self.config.directory) / "hosts"
        hosts.write_text(plan.hosts_file(nodes), encoding="utf-8")
        holder = processes.start(
            [
                "unshare",
                "--mount",
                "--propagation",
                "slave",
                *network.enter_argv(self.name),
                "sh",
                "-c",
                HOLDER_SCRIPT,
                str(hosts),
            ],
            output=Path(self.config.directory) / "holder.log",
            env=os.environ,
        )
        self._save(replace(self.state, holder=holder))
        for node in nodes:
            kernel.create_files(self.config, node.index)
            interrupts.check()
        self._power_on([node.name for node in nodes], interrupts)
        wait_until(lambda: _program(holder.pid) == "sleep", seconds=10, what="the holder of host mounts")
        self._save(replace(self.state, ready=True))
        interrupts.check()

    def _save(self, state: LabState) -> None:
        settings.write_state(state)
        self.state = state

    def _reload(self) -> None:
        path = Path(self.config.directory) / settings.STATE_FILE
        if not path.exists():
            raise LabError(f"lab {self.name} was removed")
        self.state = settings.load_state(path.read_text(encoding="utf-8"))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with locked(self.name, self.progress):
            self._reload()
            yield

    def _power_on(self, names: Sequence[str], interrupts: Interrupts) -> None:
        where = preflight.memory_directory(self.config)
        for name in names:
            node = self.state.node(name)
            text = json.dumps(plan.init_config(self.state, node, self.config.shares))
            kernel.init_config_path(self.config, node.index).write_text(text, encoding="utf-8")
            process = kernel.start_kernel(self.config, node, where)
            self._save(self.state.with_node(replace(node, process=process)))
            interrupts.check()
        waiting = [self.node(name) for name in names]
        try:
            wait_until(
                lambda: self._all_answer(waiting),
                seconds=self.config.seconds,
                what=lambda: ", ".join(node.name for node in waiting),
                interrupts=interrupts,
                progress=self.progress,
            )
        except TimeLimitError as error:
            tail = kernel.console_tail(waiting[0].console())
            raise TimeLimitError(f"{error}; the end of {waiting[0].name}'s console:\n{tail}") from error

    def _all_answer(self, waiting: list[Node]) -> bool:
        for node in list(waiting):
            if node.is_ready():
                waiting.remove(node)
                self.progress.say(f"{node.name} answers")
        return not waiting

    def node(self, name: str) -> Node:
        """A node by its name, to run commands in.

        Raises:
            LabError: there is none of that name.
        """
        return Node(self.config, self.state.node(name))

    @property
    def nodes(self) -> list[Node]:
        """All nodes, in order."""
        return [Node(self.config, state) for state in self.state.nodes]

    def kill(self, *names: str) -> None:
        """Cut the power of nodes: what their kernels had not written is lost, as on a real machine.

        Raises:
            LabError: no such node, or a process of it does not end.
        """
        with self._changing():
            for name in names:
                node = self.state.node(name)
                if node.process is not None:
                    processes.kill_group(node.process)
                self._save(self.state.with_node(replace(node, process=None)))

    def boot(self, *names: str, disks: Sequence[int] | None = None) -> None:
        """Power nodes on again, with the disks and everything else they had, and wait until they answer.

        Args:
            names: nodes that are down.
            disks: a new order of the data disks, so that their kernel names change; one left out is pulled.

        Raises:
            LabError: no such node or disk, one is up, or one did not come up (it is then down).
            Interrupted: SIGINT, SIGTERM or SIGHUP came; the nodes are down.
        """
        with self._changing(), Interrupts() as interrupts:
            for name in names:
                node = self.state.node(name)
                if processes.is_alive(node.process):
                    raise LabError(f"{name} is up; `lab kill {name}` first")
                if disks is not None:
                    settings.check_disk_order(disks, self.config.disks)
                    self._save(self.state.with_node(replace(node, disk_order=tuple(disks))))
            try:
                self._power_on(names, interrupts)
            except BaseException:
                for name in names:
                    started = self.state.node(name)
                    if started.process is not None:
                        processes.kill_group(started.process)
                    self._save(self.state.with_node(replace(started, process=None)))
                raise

    def partition(self, *names: str) -> None:
        """Cut the data network of nodes; the exec channel stays. It outlives a reboot of the node.

        Raises:
            LabError: no such node.
        """
        self._set_partitioned(names, partitioned=True)

    def heal(self, *names: str) -> None:
        """Put the data network of nodes back.

        Raises:
            LabError: no such node.
        """
        self._set_partitioned(names, partitioned=False)

    def _set_partitioned(self, names: Sequence[str], *, partitioned: bool) -> None:
        with self._changing():
            for name in names:
                node = self.state.node(name)
                commands = network.partition_commands if partitioned else network.heal_commands
                network.configure(self.name, commands(node.index))
                self._save(self.state.with_node(replace(node, partitioned=partitioned)))

    def grow(self, name: str, disk: int, size_bytes: int) -> None:
        """Make a data disk larger; the node sees it at its next boot.

        Raises:
            LabError: no such node or disk, or the size is not larger.
        """
        with self._changing():
            settings.check_disk_order([disk], self.config.disks)
            path = kernel.disk_path(self.config, self.state.node(name).index, disk)
            old = path.stat().st_size
            if size_bytes <= old or size_bytes % settings.MIB:
                raise LabError(f"disk {disk} of {name} has {settings.format_size(old)}; give more, in whole MiB")
            os.truncate(path, size_bytes)

    def status(self) -> list[NodeStatus]:
        """How every node is now."""
        self._reload()
        return [status_of(node) for node in self.nodes]

    def host_argv(self, argv: Sequence[str], cwd: str = "") -> list[str]:
        """What to run on the host so that a program is in the lab's network.

        All such programs share one mount namespace: a volume mounted by one is seen by the next, and by nothing
        else on the host. In it, the nodes have names.

        Raises:
            LabError: the process that holds that namespace is gone.
        """
        holder = self.state.holder
        if holder is None or not processes.is_alive(holder):
            raise LabError("the lab's namespace holder is gone; run `lab down` and `lab up`")
        return ["nsenter", f"--target={holder.pid}", "--net", "--mount", f"--wdns={cwd or Path.cwd()}", "--", *argv]

    def host_run(
        self, argv: Sequence[str], *, stdin: str = "", seconds: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the host, in the lab's network.

        Raises:
            LabError: it failed and `check` is set.
            subprocess.TimeoutExpired: it took too long and was killed.
        """
        done = subprocess.run(
            self.host_argv(argv), input=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )
        if check and done.returncode != 0:
            raise LabError(f"{' '.join(argv)} failed with {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done

    def down(self) -> None:
        """Remove everything of the lab.

        Raises:
            LabError: something cannot be removed.
        """
        with locked(self.name, self.progress):
            remove_lab(self.name, self.config.directory)


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise LabError("the process that holds the host's mounts ended; root needs CAP_SYS_ADMIN") from error


def _refuse_or_clear(wanted: LabConfig, progress: Progress) -> None:
    """Make way for a new lab: refuse one that is up or foreign files, clear what a crash left."""
    directory = Path(wanted.directory)
    if not directory.exists():
        if network.namespace_path(wanted.name).exists():
            raise LabError(f"there is a network namespace {wanted.name}; run `lab down --name {wanted.name}`")
        return
    state_file = directory / settings.STATE_FILE
    if settings.is_foreign(directory):
        raise LabError(f"{directory} has files that are not a lab's; give another --dir")
    if state_file.exists():
        state = settings.load_state(state_file.read_text(encoding="utf-8"))
        if state.ready:
            raise LabError(f"lab {state.config.name} in {directory} is up already; run `lab down` first")
    progress.say(f"removing what an interrupted `lab up` left in {directory}")
    remove_lab(wanted.name, wanted.directory)
