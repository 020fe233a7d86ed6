"""How long commands take, for Prometheus. Effects: counters."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import Histogram

from services.common.errors import TimeLimitError
from services.common.metrics import REGISTRY, SECONDS_BUCKETS
from services.executor.runners.base import CommandResult

_WORD = re.compile(r"[a-z][a-z0-9._-]*")
# Programs whose first words tell what they do, and how many of them.
_WORDS = {"lvm": 1, "gluster": 2, "gluster-block": 1}
_COMMANDS = Histogram(
    "brickyard_command_seconds",
    "Time of a command on the node, by command and outcome: ok, failed or timed_out",
    ("command", "outcome"),
    buckets=SECONDS_BUCKETS,
    registry=REGISTRY,
)


class Outcome:
    """What became of a command; failed until it is told."""

    def __init__(self) -> None:
        self._name = "failed"

    @property
    def name(self) -> str:
        """`ok`, `failed` or `timed_out`."""
        return self._name

    def of(self, result: CommandResult) -> CommandResult:
        """Takes the outcome from a result, and passes that on."""
        self._name = "ok" if result.exit_code == 0 else "failed"
        return result

    def timed_out(self) -> None:
        """It ran into its limit."""
        self._name = "timed_out"


def label_of(argv: Sequence[str], script: str | None) -> str:
    """The command without what differs from call to call, e.g. "lvm lvcreate" or "gluster volume start".

    Of a script on stdin the first line counts. Names and paths are left out, so that the labels are few.
    """
    program = argv[0].rpartition("/")[2]
    given = script.split("\n", 1)[0].split() if script and program == "gluster" else argv[1:]
    words = [word for word in given if not word.startswith("-")][: _WORDS.get(program, 0)]
    return " ".join([program, *(word for word in words if _WORD.fullmatch(word))])


@contextmanager
def measured(argv: Sequence[str], script: str | None) -> Iterator[Outcome]:
    """Measures the command that the block runs."""
    outcome = Outcome()
    began = perf_counter()
    try:
        yield outcome
    except TimeLimitError:
        outcome.timed_out()
        raise
    finally:
        _COMMANDS.labels(label_of(argv, script), outcome.name).observe(perf_counter() - began)
