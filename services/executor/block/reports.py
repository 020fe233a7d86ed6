"""What gluster-block answers, as values. Pure.

Its answers are JSON objects, on stdout as a rule; a failure has RESULT FAIL, errCode and errMsg. `info` has no RESULT
when it succeeds. Sizes are told as "5.0 GiB", so that large ones are known to a tenth of a TiB only.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.common.units import GIB, KIB, MIB, TIB
from services.executor.reading import MALFORMED

IQN_PREFIX = "iqn.2016-12.org.gluster-block:"
_UNITS: Mapping[str, int] = {"B": 1, "KIB": KIB, "MIB": MIB, "GIB": GIB, "TIB": TIB, "PIB": 1024 * TIB}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")
_SECRET = re.compile(r'("PASSWORD"\s*:\s*")[^"]*(")|(PASSWORD:\s*)\S+')


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        failed: Whether it tells of a failure.
        message: Why; empty when it does not say.
        fields: All that it says.
    """

    failed: bool
    message: str
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """How initiators reach a block volume; the password is a secret."""

    iqn: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BlockVolume:
    """A block volume as gluster-block describes it; sizes are bytes, the password is a secret.

    Attributes:
        name: Its name.
        gbid: Gluster-block's own id, which is the user name and a part of the IQN.
        size_bytes: Its size.
        usable_bytes: What every host exports: less than the size after a resize that failed on a host.
        ha_count: How many hosts it was made for.
        hosts: Hosts that export it.
        failed_hosts: Hosts on which it could not be set up or removed.
        password: What initiators log in with; empty without auth.
    """

    name: str
    gbid: str
    size_bytes: int
    usable_bytes: int
    ha_count: int
    hosts: tuple[str, ...]
    failed_hosts: tuple[str, ...] = ()
    password: str = field(default="", repr=False)

    @property
    def iqn(self) -> str:
        """Its iSCSI qualified name."""
        return f"{IQN_PREFIX}{self.gbid}"

    @property
    def access(self) -> Access:
        """How initiators reach it."""
        return Access(self.iqn, self.gbid if self.password else "", self.password)


def parse_reply(output: str) -> Reply | None:
    """An answer; None when it is none: other text around the JSON object is passed over."""
    start, end = output.find("{"), output.rfind("}")
    try:
        fields = json.loads(output[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    failed = fields.get("RESULT") == "FAIL"
    message = str(fields.get("errMsg") or "").strip()
    hosts = fields.get("FAILED ON")
    if failed and not message and hosts:
        message = f"failed on {', '.join(map(str, hosts)) if isinstance(hosts, list) else hosts}"
    return Reply(failed, message, fields)


def parse_access(reply: Reply) -> Access:
    """What `create` gives.

    Raises:
        ValueError: It has no IQN.
    """
    return Access(
        _text(reply.fields, "IQN"), str(reply.fields.get("USERNAME", "")), str(reply.fields.get("PASSWORD", ""))
    )


def parse_info(reply: Reply) -> BlockVolume:
    """What `info` gives.

    Raises:
        ValueError: Something is missing or malformed.
    """
    try:
        return _info(reply.fields)
    except MALFORMED as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _info(fields: Mapping[str, Any]) -> BlockVolume:
    size = parse_size(_text(fields, "SIZE"))
    resize_failed = fields.get("RESIZE FAILED ON") or {}
    smallest = min((parse_size(str(each)) for each in resize_failed.values()), default=size)
    # Older versions tell only of hosts that export it, under another name.
    hosts = fields.get("EXPORTED ON", fields.get("EXPORTED NODE(S)", []))
    return BlockVolume(
        name=_text(fields, "NAME"),
        gbid=_text(fields, "GBID"),
        size_bytes=size,
        usable_bytes=min(smallest, size),
        ha_count=int(fields.get("HA", len(hosts))),
        hosts=tuple(map(str, hosts)),
        failed_hosts=tuple(map(str, fields.get("ENCOUNTERED FAILURES ON", ()))),
        password=str(fields.get("PASSWORD", "")),
    )


def parse_names(reply: Reply) -> tuple[str, ...]:
    """What `list` gives, ascending.

    Raises:
        ValueError: There is no list.
    """
    blocks = reply.fields.get("blocks")
    if not isinstance(blocks, list):
        raise ValueError("no list of blocks")  # noqa: TRY004 - the text is wrong, not our types
    return tuple(sorted(map(str, blocks)))


def parse_size(text: str) -> int:
    """A size like "5.0 GiB" in bytes.

    Raises:
        ValueError: It is none.
    """
    found = _SIZE.fullmatch(text)
    unit = _UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None:
        raise ValueError(f"{text!r} is no size")
    size = float(found[1]) * unit
    if math.isinf(size):
        raise ValueError(f"{text[:40]!r}... is no size")
    return int(size)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is missing")
    return value


def says_exists(message: str) -> bool:
    """Whether a block volume of that name is there already."""
    return "already exist" in message.lower()


def says_absent(message: str, hosting: str, name: str) -> bool:
    """Whether the block volume is not there, or its hosting volume is not (Heketi's rule)."""
    return ("doesn't exist" in message and name in message) or ("does not exist" in message and hosting in message)


def says_same_size(message: str) -> bool:
    """Whether a resize had nothing to do; said only when every host has the size."""
    return "is same as current size" in message


def says_not_running(complaint: str) -> bool:
    """Whether the command found no daemon to talk to."""
    return "daemon is operational" in complaint


def redacted(output: str) -> str:
    """An answer without passwords, for errors and logs."""
    return _SECRET.sub(lambda found: f"{found[1] or found[3]}***{found[2] or ''}", output)
