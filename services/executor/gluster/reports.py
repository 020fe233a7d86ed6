"""What the gluster CLI answers. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.common.errors import InternalError
from services.common.reasons import Reason
from services.executor.reading import reads

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_VERSION = re.compile(r"glusterfs (\S+)")
# The words of a command of a script that succeeded: changes of volumes, of snapshots, and a description of one volume.
_SUCCESS = re.compile(
    r"^volume [a-z-]+(?: [a-z]+)?: (?:\S+: )?success"
    r"|^snapshot (?:create|clone): success"
    r"|^Snapshot (?:de)?activate: \S+: Snap (?:de)?activated successfully"
    r"|^snapshot delete: \S+: snap removed successfully",
    re.MULTILINE,
)
_LOCK_TROUBLE = (
    "another transaction is in progress",
    "another transaction could be in progress",
    "locking failed",
    "failed to acquire lock",
    "unable to acquire lock",
    "cluster lock not held",
)
_NOT_CONNECTED = re.compile(r"\bhost \S+ (?:is )?not connected\b", re.IGNORECASE)
# Told by the CLI when nobody listens at glusterd's socket.
_NO_DAEMON = "connection failed. please check if gluster daemon is operational"
_XML_HEAD = "<?xml "
# The state of a peer that is a full member of the pool.
PEER_IN_CLUSTER = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of every XML answer.

    Attributes:
        result: 0 for success.
        error: Text of the failure; some commands say it in `output` instead.
        output: Further text.
    """

    result: int
    error: str
    output: str

    @property
    def complaint(self) -> str:
        """Why it failed."""
        return self.error or self.output or f"gluster answered {self.result}"


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer in the pool; `state` is PEER_IN_CLUSTER once it can hold bricks, 0 when not told."""

    uuid: str
    hostname: str
    connected: bool
    state: int


@dataclass(frozen=True, slots=True)
class GlusterVolume:
    """A volume as glusterd describes it.

    Attributes:
        name: Its name.
        uuid: Gluster's own id of it.
        started: Whether its brick processes should run.
        bricks: "host:/path" in gluster's order.
        options: What was set.
        hosts: UUID of the peer that has each brick.
        never_started: Whether nobody can have used it yet.
        dispersed: Whether it is erasure coded.
    """

    name: str
    uuid: str
    started: bool
    bricks: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    never_started: bool = False
    dispersed: bool = False


_reads = reads(Reason.GLUSTER_FAILED, "gluster's answer")


def _root(text: str) -> "Element":
    # Imported where it is used: the agent starts without XML, and a start is slow on a small node.
    from defusedxml import DefusedXmlException  # noqa: PLC0415
    from defusedxml.ElementTree import ParseError, fromstring  # noqa: PLC0415

    try:
        root: Element = fromstring(text)
    except (ParseError, DefusedXmlException) as error:
        raise InternalError(
            Reason.GLUSTER_FAILED, f"gluster's answer cannot be read: {error}: {text[:200]!r}", answer=text[:200]
        ) from error
    return root


def _answer(root: "Element") -> Answer:
    return Answer(
        int(root.findtext("opRet") or 0), (root.findtext("opErrstr") or "").strip(), root.findtext("output") or ""
    )


@_reads
def parse_answer(text: str) -> Answer:
    """The head of an XML answer. Raises InternalError (GLUSTER_FAILED) for what is none."""
    return _answer(_root(text))


@_reads
def read_answer(text: str) -> "tuple[Answer, Element]":
    """An XML answer: its head, and all of it. Raises InternalError (GLUSTER_FAILED) for what is none."""
    root = _root(text)
    return _answer(root), root


def split_answers(text: str, count: int) -> list[str]:
    """The XML answers to the commands of one script.

    Raises:
        InternalError: GLUSTER_FAILED, there are not so many.
    """
    answers = [_XML_HEAD + part for part in text.split(_XML_HEAD)[1:]]
    if len(answers) != count:
        raise InternalError(
            Reason.GLUSTER_FAILED,
            f"gluster gave {len(answers)} answers, not {count}: {text[:200]!r}",
            answer=text[:200],
        )
    return answers


@_reads
def parse_pool(text: str) -> tuple[str, tuple[Peer, ...]]:
    """The UUID of this node and the other peers, from `pool list`. Raises InternalError (GLUSTER_FAILED)."""
    own = ""
    peers = []
    for element in _root(text).iterfind("peerStatus/peer"):
        peer = Peer(
            uuid=element.findtext("uuid") or "",
            hostname=element.findtext("hostname") or "",
            connected=element.findtext("connected") == "1",
            state=int(element.findtext("state") or 0),
        )
        if peer.hostname == "localhost":
            own = peer.uuid
        else:
            peers.append(peer)
    return own, tuple(peers)


@_reads
def parse_volume(text: str, name: str) -> GlusterVolume | None:
    """A volume from `volume info NAME`; None when gluster says that it does not exist.

    Raises:
        InternalError: GLUSTER_FAILED, any other answer than the volume or its absence.
    """
    root = _root(text)
    answer = _answer(root)
    if answer.result != 0:
        if says_absent(answer.complaint):
            return None
        raise InternalError(
            Reason.GLUSTER_FAILED, f"Unable to get info for {name}: {answer.complaint}", volume=name, why=answer.error
        )
    for element in root.iterfind("volInfo/volumes/volume"):
        if element.findtext("name") == name:
            return _volume(element)
    return None


@_reads
def parse_volumes(text: str) -> tuple[GlusterVolume, ...]:
    """All volumes, from `volume info`.

    Raises:
        InternalError: GLUSTER_FAILED, any other answer than a list.
    """
    root = _root(text)
    answer = _answer(root)
    if answer.result != 0 or root.find("volInfo/volumes") is None:
        raise InternalError(Reason.GLUSTER_FAILED, f"Unable to get info of all volumes: {answer.complaint}")
    return tuple(_volume(element) for element in root.iterfind("volInfo/volumes/volume"))


def _volume(element: "Element") -> GlusterVolume:
    bricks = list(element.iterfind("bricks/brick"))
    # 0 is created, 1 is started, 2 is stopped.
    status = element.findtext("status")
    return GlusterVolume(
        name=element.findtext("name") or "",
        uuid=element.findtext("id") or "",
        started=status == "1",
        bricks=tuple(brick.findtext("name") or "" for brick in bricks),
        options={
            option.findtext("name") or "": option.findtext("value") or ""
            for option in element.iterfind("options/option")
        },
        hosts=tuple(brick.findtext("hostUuid") or "" for brick in bricks),
        never_started=status == "0",
        dispersed="Disperse" in (element.findtext("typeStr") or ""),
    )


def parse_version(text: str) -> str:
    """The version from `gluster --version`; empty when the text has none."""
    match = _VERSION.search(text)
    return match[1] if match else ""


def count_successes(stdout: str) -> int:
    """How many changes of a script, on volumes or snapshots, succeeded."""
    return len(_SUCCESS.findall(stdout))


def says_no_heal_daemon(text: str) -> bool:
    """Whether a heal could not be started because a node's daemon is down, as it is for moments while bricks change."""
    return "Self-heal daemon is not running" in text


def says_locked(text: str) -> bool:
    """Whether a command failed because another one holds gluster's locks; repeating helps."""
    lowered = text.lower()
    return any(phrase in lowered for phrase in _LOCK_TROUBLE)


def says_not_connected(text: str) -> bool:
    """Whether a change failed, before anything was changed, because a peer is not connected."""
    return _NOT_CONNECTED.search(text) is not None


def says_absent(text: str) -> bool:
    """Whether a command failed because the volume does not exist."""
    return "does not exist" in text.lower()


def says_has_snapshots(text: str) -> bool:
    """Whether a volume could not be deleted because there are snapshots of it."""
    lowered = text.lower()
    return "cannot delete volume" in lowered and "snapshots" in lowered


def says_taken(text: str) -> bool:
    """Whether a volume could not be created because its name is taken."""
    return "already exists" in text.lower()


def says_brick_taken(text: str) -> bool:
    """Whether bricks could not be added because one is in a volume already."""
    lowered = text.lower()
    return "may be containing or be contained by" in lowered or "already part of a volume" in lowered


def says_no_peer(text: str) -> bool:
    """Whether a host could not be detached because it is no peer."""
    return "is not part of cluster" in text.lower()


@dataclass(frozen=True, slots=True)
class BrickHeal:
    """What a brick has to heal on the others of its set.

    Attributes:
        name: "host:/path", or what gluster says instead.
        connected: Whether the brick answers.
        pending_count: Files that others have to take over from it; -1 when it is not known.
    """

    name: str
    connected: bool
    pending_count: int


@_reads
def parse_heal(text: str, name: str) -> tuple[BrickHeal, ...]:
    """What the bricks of a volume have to heal, from `volume heal NAME info`.

    Raises:
        InternalError: GLUSTER_FAILED, with Heketi's words first; also for a volume that has no copies to heal.
    """
    answer, root = read_answer(text)
    if answer.result != 0:
        raise InternalError(
            Reason.GLUSTER_FAILED, f"Unable to get heal info of volume : {name} : {answer.complaint}", volume=name
        )
    return tuple(
        BrickHeal(
            name=element.findtext("name") or "",
            connected=element.findtext("status") == "Connected",
            pending_count=_heal_count(element.findtext("numberOfEntries") or ""),
        )
        for element in root.iterfind("healInfo/bricks/brick")
    )


def _heal_count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1


@dataclass(frozen=True, slots=True)
class Removal:
    """How far the removal of bricks is.

    Attributes:
        completed: Whether all nodes moved all that they had.
        running: Whether a node still moves data.
        failures: Files that could not be moved.
    """

    completed: bool
    running: bool
    failures: int


@_reads
def parse_removal(text: str) -> Removal | None:
    """How far a removal is, from `volume remove-brick ... status`; None when none of these bricks is being removed.

    Raises:
        InternalError: GLUSTER_FAILED, it is no answer.
    """
    answer, root = read_answer(text)
    nodes = list(root.iterfind("volRemoveBrick/node"))
    if answer.result != 0 or not nodes:
        return None
    states = {node.findtext("status") for node in nodes}
    return Removal(
        # 0 is not started, 1 in progress, 2 stopped, 3 completed, 4 failed.
        completed=states == {"3"},
        running=bool(states & {"0", "1"}) and "4" not in states,
        failures=sum(int(node.findtext(key) or 0) for node in nodes for key in ("failures", "skipped")),
    )


def says_rebalancing(text: str) -> bool:
    """Whether a command failed because a volume's data is being moved."""
    lowered = text.lower()
    return "rebalance is in progress" in lowered or "rebalance process is running" in lowered


def says_removing(text: str) -> bool:
    """Whether a removal of bricks could not be started because there is one."""
    return "earlier remove-brick task exists" in text.lower()


def says_not_running(text: str) -> bool:
    """Whether nobody answers at glusterd's socket."""
    return _NO_DAEMON in text.lower()


def option_pairs(options: Sequence[str]) -> list[tuple[str, str]]:
    """Options as keys and values, from texts of one or several "key value"; empty texts are skipped.

    Raises:
        ValueError: A key without a value.
    """
    pairs = []
    for text in options:
        words = text.split()
        if len(words) % 2:
            raise ValueError(f"option {text!r} is not of the form 'key value'")
        pairs += list(zip(words[::2], words[1::2], strict=True))
    return pairs
