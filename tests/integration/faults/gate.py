"""The gate through which every step of the rig goes: it records, and lets one step fail or hang. Effects: waits."""

import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from services.executor.runners.simulated import Fault, FaultPlan

SAID = "the tool said: no"
# "fail" is an error of the step, "lose" an answer that never arrives, "hold" a step that hangs until it is let go.
Action = Literal["fail", "lose", "hold"]
_WAIT_S = 60.0
_PROGRAM_WORDS = {"lvm": 2, "gluster": 3, "gluster-block": 2}
_READING = re.compile(
    r"^(lvm (\w+s|fullreport)|gluster (pool|volume|snapshot) (list|info|status|get)|gluster-block (list|info)|blkid)$"
)


def label_of(command: str) -> str | None:
    """What kind of step a command is; None for one that changes nothing.

    "gluster volume set NAME KEY VALUE" is "gluster volume set", "mount DEVICE DIRECTORY" is "mount"; calls of services
    ("call CreateBrick", and "call CreateBrick done" before their answer is sent) are what they are.
    """
    if command.startswith("call "):
        return command
    words = [word for word in command.split() if not word.startswith("-")]
    if not words or words[0] == "verb":
        return None
    label = " ".join(words[: _PROGRAM_WORDS.get(words[0], 1)])
    return None if label == "gluster" or _READING.match(label) else label


@dataclass(slots=True)
class Armed:
    """What happens to the `nth` step with this label, from 1."""

    label: str
    nth: int
    action: Action
    struck: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class Gate(FaultPlan):
    """The faults of a rig's nodes and services."""

    def __init__(self) -> None:
        super().__init__()
        self._gate = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._trace: list[str] = []
        self._arms: list[Armed] = []

    def begin(self, *arms: Armed) -> None:
        """Forgets all, and arms."""
        with self._gate:
            before, self._arms = self._arms, list(arms)
            self._counts.clear()
            self._trace.clear()
        for each in before:
            each.released.set()

    def trace(self) -> list[str]:
        """The labels of all steps since `begin`, in order."""
        with self._gate:
            return list(self._trace)

    def counts(self) -> Counter[str]:
        """How often each step was there since `begin`."""
        with self._gate:
            return Counter(self._counts)

    def strike(self, node: str, command: str, timeout_s: float) -> Fault | None:
        """See FaultPlan.strike."""
        del node, timeout_s
        label = label_of(command)
        if label is None:
            return None
        with self._gate:
            self._trace.append(label)
            self._counts[label] += 1
            nth = self._counts[label]
            armed = next((each for each in self._arms if (each.label, each.nth) == (label, nth)), None)
        if armed is None:
            return None
        armed.struck.set()
        if armed.action == "hold":
            armed.released.wait(_WAIT_S)
            return None
        return Fault(command, "fail", stderr=SAID, name=armed.action)
