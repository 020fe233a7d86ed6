"""Which way the gateway goes to a node: to its agent, or to the SSH bridge."""

import asyncio
from typing import Any

import pytest

from gateway.clients import Addresses, Agents
from services.common.errors import BrickyardError, FailedPreconditionError, UnavailableError
from services.common.reasons import Reason

BRIDGE, AGENT = "127.0.0.1:7411", "node1:7410"
HAS_AGENT = FailedPreconditionError(Reason.NODE_HAS_AGENT, "node node1 has an agent")
NO_KEY = FailedPreconditionError(Reason.HOST_KEY_UNKNOWN, "the host key of node1 is not known")


class ScriptedAgents(Agents):
    """Answers by address; what is an error is raised."""

    def __init__(self, answers: dict[str, Any], *, bridge: str = BRIDGE) -> None:
        super().__init__(Addresses("t", "a", "", 7410, None, bridge))
        self.answers = answers
        self.asked: list[str] = []

    async def _ask(self, hostname: str, method: str, request: Any, *, target: str, timeout_s: float, epoch: int) -> Any:
        self.asked.append(target)
        answer = self.answers[target]
        if isinstance(answer, BrickyardError):
            raise answer
        return answer

    def ask(self) -> Any:
        return asyncio.run(self.call("node1", "GetGlusterd", None))


def test_without_a_bridge_every_node_has_an_agent() -> None:
    agents = ScriptedAgents({AGENT: "agent"}, bridge="")
    assert (agents.ask(), agents.asked) == ("agent", [AGENT])


def test_a_node_without_an_agent_is_reached_through_the_bridge() -> None:
    agents = ScriptedAgents({BRIDGE: "bridge"})
    assert (agents.ask(), agents.asked) == ("bridge", [BRIDGE])


def test_a_node_that_got_an_agent_is_remembered() -> None:
    agents = ScriptedAgents({BRIDGE: HAS_AGENT, AGENT: "agent"})
    assert [agents.ask(), agents.ask()] == ["agent", "agent"]
    assert agents.asked == [BRIDGE, AGENT, AGENT]


def test_a_node_without_a_pinned_key_is_asked_for_each_time() -> None:
    agents = ScriptedAgents({BRIDGE: NO_KEY, AGENT: "agent"})
    assert [agents.ask(), agents.ask()] == ["agent", "agent"]
    assert agents.asked == [BRIDGE, AGENT, BRIDGE, AGENT]


def test_a_node_that_nobody_reaches_says_why_on_both_ways() -> None:
    silent = UnavailableError(Reason.AGENT_UNREACHABLE, "the agent of node node1 does not answer", hostname="node1")
    agents = ScriptedAgents({BRIDGE: NO_KEY, AGENT: silent})
    with pytest.raises(UnavailableError, match="does not answer; and over SSH: the host key of node1 is not") as caught:
        agents.ask()
    assert (caught.value.reason, caught.value.metadata["hostname"]) == (Reason.AGENT_UNREACHABLE, "node1")


def test_a_bridge_that_fails_is_not_gone_around() -> None:
    # It may be in the midst of a change, which the agent would know nothing of.
    agents = ScriptedAgents({BRIDGE: UnavailableError(Reason.AGENT_UNREACHABLE, "cannot reach node1"), AGENT: "agent"})
    with pytest.raises(UnavailableError):
        agents.ask()
    assert agents.asked == [BRIDGE]
