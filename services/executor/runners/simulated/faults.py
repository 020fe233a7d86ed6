"""Faults on demand: which command of which node fails, stalls or takes the node away. Effects: reads a file, waits."""

import fnmatch
import json
import re
import threading
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from services.common.errors import FailedPreconditionError, TimeLimitError
from services.common.reasons import Reason
from services.executor.runners.base import NodeLostError

Action = Literal["fail", "answer", "stall", "crash", "crash-after"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule.

    Attributes:
        command: Regular expression, searched for in the command as one line. A command of a gluster script counts by
            itself, as "gluster volume start NAME"; mounting is "mount SOURCE DIRECTORY" and "umount DIRECTORY"; the
            start of a change is "verb CreateBrick" and the like.
        action: "fail" ends the command with `exit_code` and `stderr` without doing anything, "answer" ends it with
            success and `stdout` without doing anything, "stall" delays it,
            "crash" loses the node before the command did anything, "crash-after" after it.
        node: Shell pattern for the node's name.
        after: Matching commands that are let pass first.
        times: Matching commands that are then struck; 0 = all.
        exit_code: Of a failed command.
        stderr: Of a failed command.
        stdout: Of an answered command.
        stall_s: Seconds of delay; 0 = until `FaultPlan.release`.
        name: For `FaultPlan.release` and `FaultPlan.hits`; the command by default.
    """

    command: str
    action: Action = "fail"
    node: str = "*"
    after: int = 0
    times: int = 1
    exit_code: int = 5
    stderr: str = "simulated failure"
    stdout: str = ""
    stall_s: float = 0.0
    name: str = ""

    @property
    def label(self) -> str:
        """The fault's name."""
        return self.name or self.command


@dataclass(slots=True)
class _Armed:
    fault: Fault
    pattern: "re.Pattern[str]"
    seen: int = 0
    hits: int = 0
    struck: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class FaultPlan:
    """The faults of a fleet; they can be changed while it runs.

    Args:
        faults: Rules from the start; the first that matches strikes.
        file: TOML or JSON file with further rules under "fault" (a list of tables with Fault's fields); it is read
            again whenever it changed, which starts its counts anew.
    """

    def __init__(self, faults: Iterable[Fault] = (), *, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._armed = [_arm(fault) for fault in faults]
        self._file = file
        self._file_state: tuple[int, int] | None = None
        self._from_file: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Arms a further fault."""
        with self._lock:
            self._armed.append(_arm(fault))

    def clear(self) -> None:
        """Disarms all faults that are not from the file, and lets go what they stalled."""
        with self._lock:
            armed, self._armed = self._armed, []
        for each in armed:
            each.released.set()

    def release(self, name: str) -> None:
        """Lets go the commands that a fault stalls, now and later."""
        for each in self._named(name):
            each.released.set()

    def hits(self, name: str) -> int:
        """How often a fault struck."""
        return sum(each.hits for each in self._named(name))

    def wait_struck(self, name: str, timeout_s: float) -> bool:
        """Waits until a fault struck for the first time; False when it did not within the time."""
        return all(each.struck.wait(timeout_s) for each in self._named(name))

    def _named(self, name: str) -> list[_Armed]:
        with self._lock:
            return [each for each in (*self._armed, *self._from_file) if each.fault.label == name]

    def strike(self, node: str, command: str, timeout_s: float) -> Fault | None:
        """Lets a fault strike a command that is about to run.

        Returns:
            The fault, if the command has to fail or the node has to be lost after it.

        Raises:
            NodeLostError: The node is lost before the command.
            TimeLimitError: The command stalled longer than its limit.
        """
        with self._lock:
            self._read_file()
            if not self._armed and not self._from_file:
                return None
            armed = next((each for each in (*self._armed, *self._from_file) if _matches(each, node, command)), None)
            if armed is None:
                return None
            armed.hits += 1
        armed.struck.set()
        fault = armed.fault
        if fault.action == "crash":
            raise NodeLostError(f"node {node} was lost before: {command}")
        if fault.action != "stall":
            return fault
        limit_s = min(fault.stall_s or timeout_s, timeout_s)
        if not armed.released.wait(limit_s) and limit_s >= timeout_s:
            raise TimeLimitError(
                Reason.COMMAND_TIMED_OUT, f"{command} did not end within {timeout_s:g} s", limit_s=timeout_s
            )
        return None

    def _read_file(self) -> None:
        if self._file is None:
            return
        try:
            status = self._file.stat()
        except FileNotFoundError:
            self._from_file, self._file_state = [], None
            return
        state = (status.st_mtime_ns, status.st_size)
        if state != self._file_state:
            self._from_file = [_arm(fault) for fault in read_faults(self._file)]
            self._file_state = state


def _arm(fault: Fault) -> _Armed:
    return _Armed(fault, re.compile(fault.command))


def _matches(armed: _Armed, node: str, command: str) -> bool:
    fault = armed.fault
    if not fnmatch.fnmatchcase(node, fault.node) or not armed.pattern.search(command):
        return False
    armed.seen += 1
    return armed.seen > fault.after and (fault.times == 0 or armed.seen <= fault.after + fault.times)


def read_faults(path: Path) -> list[Fault]:
    """The faults in a TOML or JSON file.

    Raises:
        FailedPreconditionError: INVALID_ARGUMENT, the file cannot be read or has an unknown field or action.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        if not isinstance(content, dict):
            raise TypeError(f'it is no table with a list "fault", but {type(content).__name__}')  # noqa: TRY301 - told below
        tables: list[Mapping[str, Any]] = content.get("fault", [])
        faults = [Fault(**table) for table in tables]
        for fault in faults:
            re.compile(fault.command)
    except (OSError, ValueError, TypeError, AttributeError, re.error) as error:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT, f"faults: {path}: {error}", field="faults", path=path
        ) from error
    wrong = [fault.action for fault in faults if fault.action not in get_args(Action)]
    if wrong:
        raise FailedPreconditionError(
            Reason.INVALID_ARGUMENT, f"faults: {path}: unknown action {wrong[0]!r}", field="faults", path=path
        )
    return faults
