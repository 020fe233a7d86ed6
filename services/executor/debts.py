"""What an agent still owes after its answer. Effects: one file, or memory; a thread for each payment, or none."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from services.common.context import enter_request
from services.common.files import replace_file, sync_directory


class DebtKind(StrEnum):
    """What has yet to be done."""

    MOVE_DATA = "move data"
    REMOVE_SNAPSHOT = "remove snapshot"
    HEAL = "heal"


@dataclass(frozen=True, slots=True)
class Debt:
    """One thing that has yet to be done.

    Attributes:
        kind: What.
        name: To which volume or snapshot.
        volume_id: Id of the volume; empty for a snapshot.
        brick: "host:/path" of the brick that is to be healed; empty for the other kinds.
    """

    kind: DebtKind
    name: str
    volume_id: str = ""
    brick: str = ""


def at_once(work: Callable[[], None]) -> None:
    """Does the work before the answer is given, as simulated nodes do."""
    work()


def in_background(work: Callable[[], None]) -> None:
    """Does the work in a thread that ends with the process: what is not done by then is still owed."""
    threading.Thread(target=_without_caller, args=(work,), name="debt", daemon=True).start()


def _without_caller(work: Callable[[], None]) -> None:
    enter_request(None)
    work()


class Debts:
    """What is owed, in the order in which it was noted.

    Args:
        path: JSON file, so that a restarted agent knows of them; None keeps them in memory.
        begin: Does a piece of work now or later.
    """

    def __init__(self, path: Path | None = None, begin: Callable[[Callable[[], None]], None] = at_once) -> None:
        self._path = path
        self.begin = begin
        self._lock = threading.Lock()
        self._claimed: set[Debt] = set()
        known = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else []
        self._owed = dict.fromkeys(Debt(DebtKind(each.pop("kind")), **each) for each in known)

    def note(self, debt: Debt) -> None:
        """Remembers one, on the disk when it returns."""
        with self._lock:
            if debt not in self._owed:
                self._owed[debt] = None
                self._write()

    def clear(self, debt: Debt) -> None:
        """Forgets one."""
        with self._lock:
            if debt in self._owed:
                del self._owed[debt]
                self._write()

    def owed(self) -> tuple[Debt, ...]:
        """All of them."""
        with self._lock:
            return tuple(self._owed)

    @contextmanager
    def claim(self, debt: Debt) -> Iterator[bool]:
        """Keeps others from paying one at the same time; False when another does so already."""
        with self._lock:
            mine = debt in self._owed and debt not in self._claimed
            if mine:
                self._claimed.add(debt)
        try:
            yield mine
        finally:
            if mine:
                with self._lock:
                    self._claimed.discard(debt)

    def _write(self) -> None:
        if self._path is None:
            return
        replace_file(self._path, json.dumps([asdict(debt) for debt in self._owed]).encode())
        sync_directory(self._path.parent)
