"""Brickyard as a REST client sees it, and what its agents log meanwhile: one side of the bench on real nodes."""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from compose.stack import Stack
from gateway.cli.rest_client import RestClient, RestError

_POLL_S = 0.1
_REPLICAS = 3


@dataclass(frozen=True, slots=True)
class Step:
    """A command on a node, in seconds after the request."""

    node: str
    name: str
    began_s: float
    ended_s: float


class Brickyard:
    """Makes, changes and removes volumes as a REST client does, asking for the result more often than clients do."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def create(self, size_gib: int) -> str:
        """Makes a volume with a copy on each node, and returns its id."""
        body = {"size": size_gib, "durability": {"type": "replicate", "replicate": {"replica": _REPLICAS}}}
        return self._change("POST", "/volumes", body).rpartition("/")[2]

    def expand(self, volume_id: str, size_gib: int) -> None:
        """Enlarges a volume."""
        self._change("POST", f"/volumes/{volume_id}/expand", {"expand_size": size_gib})

    def clone(self, volume_id: str) -> str:
        """Makes a copy of a volume, and returns its id."""
        return self._change("POST", f"/volumes/{volume_id}/clone", {}).rpartition("/")[2]

    def delete(self, volume_id: str) -> None:
        """Removes a volume."""
        self._change("DELETE", f"/volumes/{volume_id}")

    def name(self, volume_id: str) -> str:
        """Name of a volume."""
        with self._stack.rest() as client:
            return str(client.get(f"/volumes/{volume_id}")["name"])

    def _change(self, method: str, path: str, body: Any = None) -> str:
        with self._stack.rest() as client:
            return _follow(client, client.request(method, path, body))

    def steps(self, since: float) -> list[Step]:
        """What the agents' logs tell of the commands they ran since then."""
        found = []
        for node in self._stack.running_lab().nodes:
            text = (node.log_directory / "brickyard-agent.log").read_text(encoding="utf-8", errors="replace")
            found += [step for line in text.splitlines() if (step := agent_step(node.name, line, since)) is not None]
        return sorted(found, key=lambda step: step.began_s)


def _follow(client: RestClient, answer: Any) -> str:
    """Asks the queue until the operation has ended; returns where its result is, empty when there is none."""
    if answer.status_code != 202:
        raise RestError(answer.status_code, answer.text.strip())
    queue = answer.headers["Location"]
    while True:
        answer = client.request("GET", queue)
        if answer.status_code in (303, 204):
            return str(answer.headers.get("Location", ""))
        if answer.status_code != 200:
            raise RestError(answer.status_code, answer.text.strip())
        # The protocol has no long poll: that is how its clients learn of the end.
        time.sleep(_POLL_S)


def agent_step(node: str, line: str, since: float) -> Step | None:
    """A line of an agent's log as a step; None when it is no command, or an earlier one."""
    if '"command.run"' not in line:
        return None
    entry = json.loads(line)
    ended = datetime.fromisoformat(entry["timestamp"]).timestamp() - since
    began = ended - entry["duration_s"]
    words = [word for word in entry["argv"][:5] if not word.startswith("-")]
    # A node's clock may be some milliseconds off, so that a command seems to begin before the request.
    return Step(node, " ".join(words[:2]), round(began, 3), round(ended, 3)) if ended > 0 else None
