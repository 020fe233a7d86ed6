"""What the gluster CLI answers. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.common.errors import InternalError
from services.common.reasons import Reason

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_VERSION = re.compile(r"glusterfs (\S+)")
_SUCCESS = re.compile(r"^volume [a-z-]+: (?:\S+: )?success", re.MULTILINE)
_LOCK_TROUBLE = (
    "another transaction is in progress",
    "another transaction could be in progress",
    "locking failed",
    "failed to acquire lock",
    "unable to acquire lock",
    "cluster lock not held",
)
# Told by the CLI when nobody listens at glusterd's socket.
_NO_DAEMON = "connection failed. please check if gluster daemon is operational"
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
    """A volume as glusterd describes it; bricks as "host:/path" in gluster's order."""

    name: str
    uuid: str
    started: bool
    bricks: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


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


def parse_answer(text: str) -> Answer:
    """The head of an XML answer."""
    return _answer(_root(text))


def parse_pool(text: str) -> tuple[str, tuple[Peer, ...]]:
    """The UUID of this node and the other peers, from `pool list`."""
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
            return GlusterVolume(
                name=name,
                uuid=element.findtext("id") or "",
                # 0 is created, 2 is stopped.
                started=element.findtext("status") == "1",
                bricks=tuple(brick.findtext("name") or "" for brick in element.iterfind("bricks/brick")),
                options={
                    option.findtext("name") or "": option.findtext("value") or ""
                    for option in element.iterfind("options/option")
                },
            )
    return None


def parse_version(text: str) -> str:
    """The version from `gluster --version`; empty when the text has none."""
    match = _VERSION.search(text)
    return match[1] if match else ""


def count_successes(stdout: str) -> int:
    """How many commands of a script on volumes succeeded."""
    return len(_SUCCESS.findall(stdout))


def says_locked(text: str) -> bool:
    """Whether a command failed because another one holds gluster's locks; repeating helps."""
    lowered = text.lower()
    return any(phrase in lowered for phrase in _LOCK_TROUBLE)


def says_absent(text: str) -> bool:
    """Whether a command failed because the volume does not exist."""
    return "does not exist" in text.lower()


def says_taken(text: str) -> bool:
    """Whether a volume could not be created because its name is taken."""
    return "already exists" in text.lower()


def says_no_peer(text: str) -> bool:
    """Whether a host could not be detached because it is no peer."""
    return "is not part of cluster" in text.lower()


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
