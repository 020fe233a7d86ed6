"""The recordings that are replayed, what they start with, and which differences are accepted, each with its reason."""

import re
from dataclasses import dataclass
from enum import Enum, auto


class How(Enum):
    """How an exchange that differs is treated."""

    # Sent; the answer must be the given one instead of the recorded one.
    INSTEAD = auto()
    # Sent; only the first line of the text must be the recorded one.
    FIRST_LINE = auto()
    # Sent; only the status and headers must be the recorded ones.
    STATUS = auto()
    # Not sent: it speaks of an object that does not exist here.
    SKIP = auto()


class On(Enum):
    """On which stacks a difference is expected."""

    ALL = auto()
    # Those that can show all that they know: /db, /internal/state.
    WITH_RECORDS = auto()
    WITHOUT_RECORDS = auto()


@dataclass(frozen=True, slots=True)
class Difference:
    """An accepted difference.

    Attributes:
        command: Pattern in the command line.
        request: Pattern in "METHOD PATH".
        how: How it is treated.
        reason: Why we differ.
        status: The status instead.
        text: Pattern of the whole body instead.
        nth: Which match, from 1; 0 = all.
        on: Where it is expected.
    """

    command: str
    request: str
    how: How
    reason: str
    status: int = 0
    text: str = ""
    nth: int = 0
    on: On = On.ALL

    def matches(self, line: str, request: str) -> bool:
        return re.search(self.command, line) is not None and re.search(self.request, request) is not None


@dataclass(frozen=True, slots=True)
class Setup:
    """What exists before a command: one cluster with nodes and devices; node N is in zone N modulo zones, plus 1."""

    nodes: int
    zones: int
    devices: int
    before_command: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One recording.

    Attributes:
        name: File without its last two extensions.
        setup: What exists at its start.
        placed: Whether volumes are placed, so that which device holds what is a matter of choice.
        signers: Issuer and role of the key per command, instead of the admin: "wrong" is a key of nobody.
        reset_before: Number of the command before which the server is sent SIGUSR2; 0 = never.
        differences: What is accepted.
    """

    name: str
    setup: Setup | None = None
    placed: bool = False
    signers: tuple[tuple[str, str], ...] = ()
    reset_before: int = 0
    differences: tuple[Difference, ...] = ()


# Facts of real nodes that Heketi's mock executor leaves out.
UNRECORDED_KEYS = frozenset({"paths", "pv_uuid"})

_NO_RECORDS = "use cases in memory have no records to show; the path is unknown without them"
_UNKNOWN = r"Invalid path or request"

_NO_MOVES = "neither mock can move bricks, and each fails with a text of its own"

SCENARIOS = (
    Scenario("01-cluster"),
    Scenario("02-cluster-setflags"),
    Scenario("03-node"),
    Scenario(
        "04-device",
        Setup(nodes=2, zones=2, devices=0),
        differences=(
            Difference(
                r"device add --name=/dev/sdb",
                r"POST /devices",
                How.INSTEAD,
                "a disk can not be a device twice; Heketi's mock lets it, only a real pvcreate refuses",
                status=409,
                text=r"Initializing device /dev/sdb failed \(already initialized or contains data\?\): .+",
                nth=2,
            ),
            Difference(
                r"device add --name=/dev/sdb", r"GET /queue/", How.SKIP, "the second /dev/sdb is refused at once", nth=2
            ),
            Difference(r"node info", r"GET /nodes/", How.STATUS, "the second /dev/sdb is not there"),
            Difference(r"--force-forget", r"DELETE /devices/", How.SKIP, "the second /dev/sdb is not there"),
        ),
    ),
    Scenario("05-volume-create", Setup(nodes=6, zones=3, devices=2), placed=True),
    Scenario(
        "07-volume-errors",
        Setup(nodes=3, zones=2, devices=1, before_command=1),
        placed=True,
        differences=(
            Difference(
                r"--size=(100000|600)\b|--size=10 --durability=disperse( --json)?$",
                r"POST /volumes",
                How.FIRST_LINE,
                "Heketi's text comes first; further lines explain why there is no space",
            ),
        ),
    ),
    Scenario("09-volume-clone-endpoint", Setup(nodes=3, zones=2, devices=2), placed=True),
    Scenario(
        "10-blockvolume",
        Setup(nodes=4, zones=2, devices=2),
        placed=True,
        differences=(
            Difference(
                r"topology info",
                r"GET /(nodes|volumes)/",
                How.STATUS,
                "how a second hosting volume is split on nearly full disks is a choice of placement",
            ),
        ),
    ),
    Scenario("12-topology", placed=True),
    Scenario(
        "13-device-state",
        Setup(nodes=4, zones=2, devices=2),
        placed=True,
        differences=(
            Difference(
                r"device remove",
                r"GET /queue/",
                How.INSTEAD,
                _NO_MOVES,
                status=500,
                text=r".+",
                nth=2,
            ),
            Difference(
                r"--expert-option-disable-heal-check",
                r"GET /queue/",
                How.INSTEAD,
                _NO_MOVES,
                status=500,
                text=r".+",
            ),
            Difference(
                r"brick evict",
                r"GET /queue/",
                How.INSTEAD,
                _NO_MOVES,
                status=500,
                text=r".+",
            ),
        ),
    ),
    Scenario("15-tags", Setup(nodes=2, zones=2, devices=1)),
    Scenario(
        "16-server",
        Setup(nodes=3, zones=2, devices=1),
        reset_before=16,
        placed=True,
        differences=(
            Difference(
                r"loglevel get",
                r" /internal/logging",
                How.INSTEAD,
                "the recorded server was started with the level warning",
                status=200,
                text=r'\{"loglevel":\{"glusterfs":"[a-z]+"\}\}',
                nth=1,
            ),
            Difference(
                r"examine",
                r"GET /internal/state/",
                How.INSTEAD,
                _NO_RECORDS,
                status=404,
                text=_UNKNOWN,
                on=On.WITHOUT_RECORDS,
            ),
            Difference(
                r"examine",
                r"GET /internal/state/",
                How.INSTEAD,
                "Heketi's mock executor sees nothing on its nodes; simulated nodes have what was made",
                status=200,
                text=r'\{\n    "heketidb": \{\n.*\n    "report": \[\n.*\n    "clusters": \[\n.*',
                on=On.WITH_RECORDS,
            ),
        ),
    ),
    Scenario(
        "17-db",
        Setup(nodes=3, zones=2, devices=1, before_command=2),
        placed=True,
        differences=(
            Difference(r"db (dump|check)", r"GET /db/", How.INSTEAD, _NO_RECORDS, 404, _UNKNOWN, on=On.WITHOUT_RECORDS),
            Difference(
                r"blockvolume create",
                r"POST /blockvolumes",
                How.FIRST_LINE,
                "Heketi's text comes first; further lines explain why there is no space",
            ),
        ),
    ),
    Scenario(
        "18-auth",
        signers=(
            ("admin", "wrong"),
            ("nobody", "admin"),
            ("", "none"),
            ("admin", "none"),
            *[("user", "user")] * 8,
            ("user", "admin"),
        ),
    ),
)
