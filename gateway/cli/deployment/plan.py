"""What an agent consists of on its node: paths, files and their contents. Pure but for reading the wheels."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.deployment.paths import DEFAULT_FSTAB, DEFAULT_PREFIX, DEFAULT_STATE, TLS_DIRECTORY
from services.common.addresses import parse_host_port
from services.common.errors import InvalidArgumentError
from services.common.reasons import Reason

OLDEST_PYTHON = (3, 11)
_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9_.]+)-(?P<version>[^-]+)(-[^-]+){3,4}\.whl")
_DIGEST_LETTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPlan:
    """One node's agent.

    Attributes:
        host: Host name that the cluster manages the node under; the agent's certificate carries it.
        topology: Where the node finds the topology, HOST:PORT, which renews the certificate.
        listen: Address that it serves, HOST:PORT.
        prefix: Its software is below.
        state_directory: Its journal.
        fstab: Mount table file of its bricks.
        device_allow: Patterns of disks that it may use; empty = the agent's own.
        allow_destroy: Whether it may wipe disks when a request asks for it.
    """

    host: str
    topology: str
    listen: str = "0.0.0.0:7410"
    prefix: str = DEFAULT_PREFIX
    state_directory: str = DEFAULT_STATE
    fstab: str = DEFAULT_FSTAB
    device_allow: tuple[str, ...] = ()
    allow_destroy: bool = False

    @property
    def current(self) -> str:
        """The link to the software in use."""
        return f"{self.prefix}/agent"

    @property
    def program(self) -> str:
        """The agent."""
        return f"{self.current}/bin/brickyard-agent"

    @property
    def port(self) -> int:
        """Where it listens."""
        return parse_host_port(self.listen, field="listen").port

    def config(self) -> str:
        """Its settings, as brickyard-agent --config reads them."""
        values: dict[str, object] = {
            "listen": [self.listen],
            "node_name": [self.host],
            "tls_dir": TLS_DIRECTORY,
            "topology": self.topology,
            "state_dir": self.state_directory,
            "fstab": self.fstab,
        }
        if self.device_allow:
            values["device_allow"] = list(self.device_allow)
        if self.allow_destroy:
            values["allow_destroy"] = True
        # Strings, lists of them and true are the same in JSON and in TOML.
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """The wheels of brickyard[agent], of all that it needs, and of pip.

    Attributes:
        wheels: Their files.
        digest: Names the release on the node; another one for other contents.
        version: Of brickyard.
        pip: The wheel of pip, which installs the others.
    """

    wheels: tuple[Path, ...]
    digest: str
    version: str
    pip: Path

    @property
    def size_bytes(self) -> int:
        """Of all wheels."""
        return sum(path.stat().st_size for path in self.wheels)


def read_wheelhouse(directory: Path) -> Wheelhouse:
    """The wheels in a directory.

    Raises:
        InvalidArgumentError: brickyard's or pip's wheel is missing, or there is more than one of a kind.
    """
    wheels = tuple(sorted(directory.glob("*.whl")))
    named: dict[str, list[tuple[str, Path]]] = {}
    for path in wheels:
        found = _WHEEL.fullmatch(path.name)
        if found is not None:
            named.setdefault(found["name"].lower(), []).append((found["version"], path))
    for name in ("brickyard", "pip"):
        if len(named.get(name, [])) != 1:
            raise InvalidArgumentError(
                Reason.INVALID_ARGUMENT,
                f"--wheelhouse {directory}: {len(named.get(name, []))} wheels of {name}, where there must be one; make "
                f"it in a checkout of Brickyard, with the Python version of the nodes: rm -rf {directory} && "
                f"pip wheel --wheel-dir {directory} '.[agent]' pip",
                field="wheelhouse",
            )
    digest = hashlib.sha256()
    for path in wheels:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return Wheelhouse(wheels, digest.hexdigest()[:_DIGEST_LETTERS], named["brickyard"][0][0], named["pip"][0][1])
