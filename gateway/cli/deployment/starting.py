"""How a deployed agent is started: by systemd, or as a plain process where there is none. Effects: the node."""

from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from gateway.cli.deployment.paths import CONFIG, DEFAULT_PREFIX, UNIT, UNIT_PATH
from gateway.cli.deployment.plan import AgentPlan
from gateway.cli.deployment.shell import NodeShell

_START_TIMEOUT_S = 180.0
# What the unit starts; software elsewhere (--prefix) replaces it.
_USUAL_PROGRAM = f"{DEFAULT_PREFIX}/agent/bin/brickyard-agent"
_LOG = "/var/log/brickyard-agent.log"
_PID = "/run/brickyard-agent.pid"
# The number in the file may be another process's by now.
_RUNS = """
[ -s "$1" ] && read -r pid <"$1" && tr '\\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q brickyard-agent
"""
_STOP = f"""
if {_RUNS.strip()}; then
  kill -TERM "$pid"
  n=0; while kill -0 "$pid" 2>/dev/null && [ $n -lt 150 ]; do sleep 0.1; n=$((n + 1)); done
  ! kill -0 "$pid" 2>/dev/null || {{ echo "process $pid does not end" >&2; exit 1; }}
fi
"""
_START = """
setsid -f sh -c 'echo $$ >"$1"; exec "$2" --config "$3" >>"$4" 2>&1 </dev/null' sh "$1" "$2" "$3" "$4"
"""


def agent_unit() -> str:
    """Text of the agent's systemd unit: beside this module when installed, in a checkout where all units are."""
    installed = files("gateway.cli.deployment").joinpath(UNIT)
    if installed.is_file():
        return installed.read_text()
    return (Path(__file__).parents[3] / "compose" / "systemd" / UNIT).read_text()


class StartMode(StrEnum):
    """Who starts the agent."""

    AUTO = "auto"
    SYSTEMD = "systemd"
    PLAIN = "plain"
    NONE = "none"


class Starter(Protocol):
    """Starts an agent."""

    def install(self, node: NodeShell, plan: AgentPlan) -> bool:
        """Puts what starts it at each boot into place; tells whether it is another thing than before."""

    def runs(self, node: NodeShell) -> bool:
        """Whether it runs."""

    def restart(self, node: NodeShell, plan: AgentPlan) -> str:
        """Starts it, or starts it anew; returns what to tell the user."""

    def why_not(self, node: NodeShell) -> str:
        """The last words of an agent that does not get ready."""


@dataclass(frozen=True, slots=True)
class SystemdStarter:
    """By the unit."""

    unit: str

    def install(self, node: NodeShell, plan: AgentPlan) -> bool:
        """See Starter.install."""
        changed = node.write(UNIT_PATH, self.unit.replace(_USUAL_PROGRAM, plan.program).encode())
        if changed:
            node.run(["systemctl", "daemon-reload"])
        return changed

    def runs(self, node: NodeShell) -> bool:
        """See Starter.runs."""
        return node.holds('systemctl is-active --quiet "$1"', UNIT)

    def restart(self, node: NodeShell, plan: AgentPlan) -> str:
        """See Starter.restart."""
        del plan
        node.run(["systemctl", "enable", UNIT])
        node.run(["systemctl", "restart", UNIT], timeout_s=_START_TIMEOUT_S)
        return f"systemd started {UNIT}, and does so at each boot"

    def why_not(self, node: NodeShell) -> str:
        """See Starter.why_not."""
        return node.script('journalctl -u "$1" -n 5 --no-pager -o cat || true', UNIT).strip()


@dataclass(frozen=True, slots=True)
class PlainStarter:
    """As a process that nobody starts again: for a node without systemd, whose boot scripts have to do it."""

    def install(self, node: NodeShell, plan: AgentPlan) -> bool:
        """See Starter.install; there is nothing."""
        del node, plan
        return False

    def runs(self, node: NodeShell) -> bool:
        """See Starter.runs."""
        return node.holds(_RUNS, _PID)

    def restart(self, node: NodeShell, plan: AgentPlan) -> str:
        """See Starter.restart."""
        node.script(_STOP, _PID)
        node.script(_START, _PID, plan.program, CONFIG, _LOG)
        return (
            f"started without systemd, which does not run there: let a boot script run {plan.program} --config {CONFIG}"
        )

    def why_not(self, node: NodeShell) -> str:
        """See Starter.why_not."""
        return node.script('tail -n 5 "$1" || true', _LOG).strip()


def choose_starter(mode: StartMode, node: NodeShell, unit: str) -> Starter | None:
    """Who starts the agent on this node; None when nobody is to."""
    if mode is StartMode.NONE:
        return None
    if mode is StartMode.SYSTEMD or (mode is StartMode.AUTO and node.holds("[ -d /run/systemd/system ]")):
        return SystemdStarter(unit)
    return PlainStarter()
