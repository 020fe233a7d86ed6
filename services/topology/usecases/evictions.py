"""Giving nodes that have been silent for too long to one gateway, which empties them. Effects: SQL."""

from sqlalchemy import bindparam, select, update

from brickyard.topology.v1 import health_pb2
from services.topology.convert import node_message, timestamp
from services.topology.domain.eviction import EvictionRules, candidates, reason
from services.topology.domain.health import STALE_AFTER_US
from services.topology.store import Store, Transaction
from services.topology.tables import NODE, NODE_OBSERVATION, NodeRow
from services.topology.usecases.health import node_views

_NODE = select(NODE).where(NODE.c.id == bindparam("id"))
_TAKE = (
    update(NODE_OBSERVATION)
    .where(NODE_OBSERVATION.c.node_id == bindparam("key"))
    .values(eviction_time_us=bindparam("turn_time"))
)


def take_turns(store: Store, rules: EvictionRules) -> list[health_pb2.EvictionTurn]:
    """The nodes that are to be emptied now; each is given to one caller, and again only after a while."""
    if not rules.after_us:
        return []

    def work(tx: Transaction) -> list[health_pb2.EvictionTurn]:
        tx.take_turns("evictions")
        found = candidates(rules, node_views(tx), tx.now_us, fresh_us=tx.now_us - STALE_AFTER_US)
        turns = []
        for node in (each.node for each in found if each.due):
            row = tx.first(NodeRow, _NODE, {"id": node.id})
            if row is None:
                continue
            tx.run(_TAKE, {"key": node.id, "turn_time": tx.now_us})
            turns.append(
                health_pb2.EvictionTurn(
                    node=node_message(row, ()), turn_time=timestamp(tx.now_us), reason=reason(node, rules)
                )
            )
        return turns

    return store.write(work)
