"""What makes certificates and tokens count for nothing, within the transaction of whoever decides it. Effects: SQL."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import bindparam, delete, exists, select, update

from services.common.authority import Subject
from services.common.certificates import Certificate
from services.common.identity import Role, role_uri
from services.topology.store import Transaction
from services.topology.tables import CERTIFICATE, JOIN_TOKEN, REVOCATION, RevocationRow

_US = 1_000_000
_MAX_BY_LENGTH = 512
_REVOCATION = select(REVOCATION).where(REVOCATION.c.subject == bindparam("key"))
_MOVE_REVOCATION = (
    update(REVOCATION)
    .where(REVOCATION.c.subject == bindparam("key"))
    .values(before_s=bindparam("before"), revoke_time_us=bindparam("now"), revoked_by=bindparam("who"))
)
_VOID_TOKENS = delete(JOIN_TOKEN).where(JOIN_TOKEN.c.node_name == bindparam("name"), JOIN_TOKEN.c.key_digest.is_(None))
_HAS_CERTIFICATE = select(
    exists().where(
        CERTIFICATE.c.role == Role.AGENT.value,
        CERTIFICATE.c.name == bindparam("of_name"),
        CERTIFICATE.c.expire_time_us > bindparam("now"),
    )
)


def void_tokens(tx: Transaction, node_name: str) -> None:
    """Makes the unused tokens of a node count for nothing."""
    tx.run(_VOID_TOKENS, {"name": node_name})


def revoke_certificate(tx: Transaction, serial: str, by: str) -> None:
    """Makes one certificate count for nothing; `by` says who wants it."""
    _revoke(tx, serial, 0, by)


def revoke_owner(tx: Transaction, role: Role, name: str, by: str) -> None:
    """Makes all certificates that an owner has now count for nothing; those made later count."""
    # Certificates count in whole seconds; those of this second are meant too.
    _revoke(tx, role_uri(role, name), tx.now_us // _US + 1, by)


def revoke_removed_agents(tx: Transaction, node_names: Iterable[str], by: str) -> list[str]:
    """Takes the identity of a node that is removed: its agent's certificates, and tokens that would give it new ones.

    An agent that never showed a certificate here is left alone: nothing would tell when it has a newer one, and its
    name would stay barred for a node that is added again.

    Args:
        tx: The transaction that removes the node.
        node_names: Its management host names, which agents' certificates are made for.
        by: Who wants it.

    Returns:
        The names whose certificates do not count any more.
    """
    revoked = []
    for name in dict.fromkeys(node_names):
        void_tokens(tx, name)
        if tx.scalar(_HAS_CERTIFICATE, {"of_name": name, "now": tx.now_us}):
            revoke_owner(tx, Role.AGENT, name, by)
            revoked.append(name)
    return revoked


def _revoke(tx: Transaction, subject: str, before_s: int, by: str) -> None:
    who = by[:_MAX_BY_LENGTH]
    values = {"before": before_s, "now": tx.now_us, "who": who}
    if not tx.run(_MOVE_REVOCATION, {"key": subject, **values}):
        row = {"subject": subject, "before_s": before_s, "revoke_time_us": tx.now_us, "revoked_by": who}
        tx.run(REVOCATION.insert(), row)


def is_revoked(tx: Transaction, certificate: Certificate) -> bool:
    """Whether a certificate counts for nothing, by itself or with all of its owner."""
    owner = certificate.identity.uri if certificate.identity else ""
    if tx.first(RevocationRow, _REVOCATION, {"key": certificate.serial}) is not None:
        return True
    row = tx.first(RevocationRow, _REVOCATION, {"key": owner})
    return row is not None and certificate.issued.timestamp() < row.before_s


def not_before(tx: Transaction, subject: Subject) -> datetime | None:
    """The first moment whose certificates count; a revocation is up to a second ahead."""
    row = tx.first(RevocationRow, _REVOCATION, {"key": role_uri(subject.role, subject.name)})
    return datetime.fromtimestamp(row.before_s, UTC) if row is not None else None
