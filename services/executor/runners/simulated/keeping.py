"""A fleet's nodes in a file, so that they outlive its process as real ones outlive a power cut. Effects: that file."""

import pickle
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.common.errors import FailedPreconditionError
from services.common.reasons import Reason
from services.executor.runners.simulated.machine import Machine
from services.executor.runners.simulated.pools import Glusterd


@dataclass(frozen=True, slots=True)
class KeptFleet:
    """What is kept.

    Attributes:
        nodes: Machine and glusterd of each node, by name.
        by_storage: Glusterds by storage host name, those of strangers too.
    """

    nodes: Mapping[str, tuple[Machine, Glusterd]]
    by_storage: Mapping[str, Glusterd]


class FleetFile:
    """The file.

    Args:
        path: Where it is; its directory has to be there, and nobody else may write to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def load(self) -> KeptFleet | None:
        """What was kept last; None when there is no file yet.

        Raises:
            FailedPreconditionError: It is damaged, or of another version.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            found = pickle.loads(content)  # noqa: S301 - our own file; whoever may write to it may replace the fleet too
        except Exception as error:
            raise FailedPreconditionError(
                Reason.INVALID_ARGUMENT,
                f"{self._path} cannot be read: {error}; remove it to begin with blank nodes",
                path=self._path,
            ) from error
        assert isinstance(found, KeptFleet)  # noqa: S101 - nothing else is written
        return found

    def save(self, fleet: KeptFleet) -> None:
        """Replaces the file."""
        with self._lock:
            written = self._path.with_name(f".{self._path.name}.new")
            written.write_bytes(_pickled(fleet))
            written.replace(self._path)


def _pickled(fleet: KeptFleet) -> bytes:
    """The bytes; what another thread changes in the midst of it is kept once that one is done."""
    while True:
        try:
            return pickle.dumps(fleet)
        except RuntimeError as error:
            if "changed size during iteration" not in str(error):
                raise
