"""A new node is there when every other one is connected to it."""

from dataclasses import replace
from typing import Any

import pytest

from brickyard.topology.v1 import node_pb2
from gateway.operations.kinds import nodes
from tests.unit.gateway_operations.fakes import FakeAgents, run
from tests.unit.gateway_operations.test_kinds import kind_of, work_of

NEWCOMER = "node9"


class Acquaintances(FakeAgents):
    """Agents of a pool in which everybody learns of the newcomer one by one, each time when all were asked."""

    async def call(self, hostname: str, method: str, request: Any, **named: Any) -> Any:
        answer = await super().call(hostname, method, request, **named)
        if method == "GetGlusterd":
            rounds = len([each for each in self.calls("GetGlusterd") if each[0] == hostname])
            answer.glusterd.peer_uuid = hostname
            # The newcomer is the last to be asked; node1 has probed it.
            knows = {"node1": 1, "node2": 2, "node3": 3}.get(hostname, 1)
            others = {"node1", "node2", "node3", NEWCOMER} - {hostname}
            for each in sorted(others):
                answer.glusterd.peers.add(uuid=each, connected=each != NEWCOMER or rounds >= knows)
        return answer


class Strangers(FakeAgents):
    """Agents of glusterds that run and know each other, and of which none is connected to any other."""

    knowing = True

    async def call(self, hostname: str, method: str, request: Any, **named: Any) -> Any:
        answer = await super().call(hostname, method, request, **named)
        if method == "GetGlusterd":
            answer.glusterd.peer_uuid = hostname
            for each in sorted({"node1", "node2", "node3", NEWCOMER} - {hostname}) if self.knowing else ():
                answer.glusterd.peers.add(uuid=each, connected=False)
        return answer


def test_a_new_node_is_there_when_all_others_are_connected_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_ACQUAINTANCE_PAUSE_S", 0.001)
    agents = Acquaintances([])
    run(kind_of(work_of("add_node", agents)).run(work_of("add_node", agents)))
    assert len(agents.calls("GetGlusterd")) == 3 * 4


def test_a_node_that_is_down_does_not_keep_a_new_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_ACQUAINTANCE_PAUSE_S", 0.001)
    agents = Acquaintances([], down={"node2"}, without_glusterd={"node3"})
    run(kind_of(work_of("add_node", agents)).run(work_of("add_node", agents)))
    assert len(agents.calls("GetGlusterd")) == 4


def test_glusterds_that_never_connect_do_not_keep_a_new_node_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_ACQUAINTANCE_PAUSE_S", 0.001)
    monkeypatch.setattr(nodes, "ACQUAINTED_WITHIN_S", 0.01)
    agents = Strangers([])
    run(kind_of(work_of("add_node", agents)).run(work_of("add_node", agents)))
    assert len(agents.calls("GetGlusterd")) > 4


def test_a_glusterd_that_nobody_knows_is_not_waited_for() -> None:
    agents = Strangers([])
    agents.knowing = False
    run(kind_of(work_of("add_node", agents)).run(work_of("add_node", agents)))
    assert len(agents.calls("GetGlusterd")) == 4


class ManyMembers(FakeAgents):
    """Agents of a large pool; the newcomer meets the last of the members, who is asked or not, in its third round."""

    def __init__(self, members: list[str]) -> None:
        super().__init__([])
        self.members = members

    async def call(self, hostname: str, method: str, request: Any, **named: Any) -> Any:
        answer = await super().call(hostname, method, request, **named)
        if method == "GetGlusterd":
            rounds = len([each for each in self.calls("GetGlusterd") if each[0] == NEWCOMER])
            answer.glusterd.peer_uuid = hostname
            for each in {*self.members, NEWCOMER} - {hostname}:
                met = hostname != NEWCOMER or each != self.members[-1] or rounds >= 3
                answer.glusterd.peers.add(uuid=each, connected=met)
        return answer


@pytest.mark.parametrize("last", ["node4", "node49"])
def test_the_cost_of_a_new_node_does_not_grow_with_the_cluster(monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    monkeypatch.setattr(nodes, "_ACQUAINTANCE_PAUSE_S", 0.001)
    names = [f"node{each}" for each in range(1, 50)]
    names.append(names.pop(names.index(last)))
    agents = ManyMembers(names)
    work = work_of("add_node", agents)

    async def list_nodes(_cluster_id: str) -> list[node_pb2.Node]:
        return [node_pb2.Node(id=each, manage_hostnames=[each], storage_hostnames=[each]) for each in names]

    work = replace(work, list_nodes=list_nodes)
    work.operation.spec.add_node.probing_node_id = "node1"
    run(kind_of(work).run(work))
    # Three rounds: the one that probed, six witnesses and the newcomer, whoever it is that is met late.
    assert len(agents.calls("GetGlusterd")) == 3 * 8
