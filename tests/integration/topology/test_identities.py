"""Tokens, certificates and revocations in the database, on each engine."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from services.common.authority import create_authority, issue_certificate, new_request
from services.common.certificates import Certificate, read_certificate
from services.common.errors import (
    BrickyardError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
)
from services.common.identity import Identity, Role
from services.common.reasons import Reason
from services.topology.store import Store
from services.topology.tables import JOIN_TOKEN
from services.topology.usecases import node_operations, nodes
from services.topology.usecases.identities import TOKEN_LIFETIME, Identities
from tests.unit.topology.builders import Clock, World, delete_node_spec

NODE = "node1.example.com"
LIFETIME = timedelta(hours=24)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    create_authority(tmp_path / "ca")
    return tmp_path / "ca"


@pytest.fixture
def identities(store: Store, authority: Path) -> Identities:
    return Identities(store, authority, LIFETIME)


def token_for(identities: Identities, node: str = NODE) -> str:
    return identities.create_token(node, ["10.0.0.1"], TOKEN_LIFETIME).text


def joined(identities: Identities, token: str, request: bytes | None = None, node: str = NODE) -> Certificate:
    return read_certificate(identities.join(token, node, request or new_request()[1]))


def refused(call: Callable[[], object]) -> BrickyardError:
    with pytest.raises(PermissionDeniedError) as caught:
        call()
    assert caught.value.reason is Reason.JOIN_TOKEN_REFUSED
    assert "brickyard agent token" in caught.value.message
    return caught.value


def test_a_token_gives_the_certificate_of_its_node(identities: Identities) -> None:
    certificate = joined(identities, token_for(identities))
    assert certificate.identity == Identity(Role.AGENT, NODE)
    assert certificate.hosts == (NODE, "10.0.0.1")
    assert certificate.lifetime == LIFETIME
    (listed,) = identities.page("", 10)
    assert (listed.row.serial, listed.row.role, listed.row.name) == (certificate.serial, "agent", NODE)
    assert not listed.revoked


def test_a_token_is_kept_as_a_digest_only(identities: Identities, store: Store) -> None:
    token = token_for(identities)
    row = store.read(lambda tx: tx.connection.execute(JOIN_TOKEN.select()).one())
    assert token not in repr(row)
    assert len(token) >= 43  # 256 bits


def test_a_token_is_used_once_but_its_key_may_ask_again(identities: Identities) -> None:
    token, (_, request) = token_for(identities), new_request()
    first = joined(identities, token, request)
    assert "was used" in refused(lambda: joined(identities, token)).message
    assert joined(identities, token, request).serial != first.serial


def test_of_many_that_come_at_once_one_joins(identities: Identities) -> None:
    token = token_for(identities)

    def attempt(_number: int) -> bool:
        try:
            joined(identities, token)
        except PermissionDeniedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(attempt, range(8), timeout=60)).count(True) == 1


def test_a_token_ends(identities: Identities, clock: Clock) -> None:
    token = token_for(identities)
    clock.forward(15 * 60 - 1)
    joined(identities, token)
    token = token_for(identities)
    clock.forward(15 * 60)
    assert "has ended" in refused(lambda: joined(identities, token)).message


def test_a_token_is_for_its_node_and_stays_good_for_it(identities: Identities) -> None:
    token = token_for(identities)
    assert NODE in refused(lambda: joined(identities, token, node="node2")).message
    joined(identities, token)


def test_a_newer_token_takes_the_place_of_an_unused_one(identities: Identities) -> None:
    older, other = token_for(identities), token_for(identities, "node2")
    newer = token_for(identities)
    refused(lambda: joined(identities, older))
    joined(identities, newer)
    joined(identities, other, node="node2")


def test_no_such_token(identities: Identities) -> None:
    for token in ("", "x", "x" * 5000):
        refused(lambda token=token: joined(identities, token))  # type: ignore[misc]


def weak_request() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def forged_request() -> bytes:
    """With a key that its sender does not have: the signature is of another one."""
    good = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    mine, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    der = good.sign(mine, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    changed = der.replace(mine.public_key().public_bytes(*form), theirs.public_key().public_bytes(*form))
    return x509.load_der_x509_csr(changed).public_bytes(serialization.Encoding.PEM)


def test_a_bad_request_does_not_use_the_token_up(identities: Identities) -> None:
    token = token_for(identities)
    for request in (b"\n", b"-----BEGIN", weak_request(), forged_request()):
        with pytest.raises(InvalidArgumentError, match="certificate_request"):
            joined(identities, token, request)
    joined(identities, token)


def test_what_no_token_is_for(identities: Identities) -> None:
    for name in ("", "-x", "a/b", "a b", "a\n", "ä", "x" * 300):
        with pytest.raises(InvalidArgumentError, match="node_name"):
            identities.create_token(name, [], TOKEN_LIFETIME)
        with pytest.raises(InvalidArgumentError, match="hosts"):
            identities.create_token(NODE, [name], TOKEN_LIFETIME)
    for seconds in (0, -1, 24 * 3600 + 1):
        with pytest.raises(InvalidArgumentError, match="lifetime"):
            identities.create_token(NODE, [], timedelta(seconds=seconds))


def test_a_renewed_certificate_is_as_the_one_before(identities: Identities) -> None:
    before = joined(identities, token_for(identities))
    after = read_certificate(identities.renew(before, new_request()[1]))
    assert (after.identity, after.hosts, after.lifetime) == (before.identity, before.hosts, before.lifetime)
    assert after.serial != before.serial


def test_a_revoked_owner_joins_again_with_a_new_token(identities: Identities, clock: Clock) -> None:
    before = joined(identities, token_for(identities))
    # Certificates tell the real time.
    clock.now_us = int(before.issued.timestamp() * 1_000_000)
    identities.revoke_owner(Role.AGENT, NODE, "brickyard://role/operator/anna")
    trust = identities.trust()
    assert {each.uri for each in trust.revocations} == {f"brickyard://role/agent/{NODE}"} == trust.barred
    with pytest.raises(PermissionDeniedError) as caught:
        identities.renew(before, new_request()[1])
    assert caught.value.reason is Reason.CERTIFICATE_REVOKED
    assert [each.revoked for each in identities.page("", 10)] == [True]
    after = joined(identities, token_for(identities))
    assert identities.trust().barred == frozenset()
    assert identities.trust().version != trust.version
    assert {each.row.serial: each.revoked for each in identities.page("", 10)} == {
        before.serial: True,
        after.serial: False,
    }
    read_certificate(identities.renew(after, new_request()[1]))


def test_one_serial_number(identities: Identities) -> None:
    certificate = joined(identities, token_for(identities))
    identities.revoke_serial(certificate.serial, "x")
    identities.revoke_serial(certificate.serial, "y")
    assert [each.serial for each in identities.trust().revocations] == [certificate.serial]
    with pytest.raises(PermissionDeniedError):
        identities.renew(certificate, new_request()[1])
    for serial in ("", "0x1", "G", "a" * 65):
        with pytest.raises(InvalidArgumentError, match="serial"):
            identities.revoke_serial(serial, "x")


def test_a_certificate_that_was_issued_by_hand_is_remembered(
    identities: Identities, authority: Path, tmp_path: Path
) -> None:
    identities.publish_authorities()
    files = issue_certificate(authority, tmp_path / "g", role=Role.GATEWAY, name="g", hosts=["10.0.0.9"])
    for _ in range(2):
        identities.remember(files.certificate.read_bytes())
    (listed,) = identities.page("", 10)
    assert (listed.row.role, listed.row.name, listed.row.hosts) == ("gateway", "g", ["10.0.0.9"])
    assert listed.row.authority_pin == identities.authority().pin


def test_servers_without_the_directory_tell_the_same_and_sign_nothing(
    store: Store, identities: Identities, authority: Path
) -> None:
    other = Identities(store, None, LIFETIME)
    assert other.trust().bundle == b""
    identities.publish_authorities()
    other.publish_authorities()
    assert other.trust() == identities.trust()
    assert other.trust().bundle == (authority / "ca.pem").read_bytes()
    with pytest.raises(FailedPreconditionError) as caught:
        other.create_token(NODE, [], TOKEN_LIFETIME)
    assert caught.value.reason is Reason.NO_AUTHORITY


def test_what_ended_long_ago_is_forgotten(identities: Identities, clock: Clock, store: Store) -> None:
    certificate = joined(identities, token_for(identities))
    clock.now_us = int(certificate.expires.timestamp() * 1_000_000)
    assert identities.page("", 10) == []
    clock.forward(7 * 24 * 3600 + 60)
    identities.prune()
    assert store.read(lambda tx: tx.connection.execute(JOIN_TOKEN.select()).all()) == []


def revoked(identities: Identities) -> set[str]:
    """Names whose certificates do not count, of those that have not ended."""
    return {listed.row.name for listed in identities.page("", 10) if listed.revoked}


def test_a_removed_node_takes_its_agents_identity_along(world: World, identities: Identities, clock: Clock) -> None:
    node = world.node(world.cluster().id, manage_hostnames=[NODE, "10.0.0.1"])
    certificate, other = (
        joined(identities, token_for(identities)),
        joined(identities, token_for(identities, "n2"), node="n2"),
    )
    # Certificates tell the real time.
    clock.now_us = int(certificate.issued.timestamp() * 1_000_000)
    unused = token_for(identities)
    operation = world.begin(delete_node_spec(node.id))
    assert revoked(identities) == set()
    for _ in range(2):
        world.commit(operation)
    assert revoked(identities) == {NODE}
    assert [each.uri for each in identities.trust().revocations] == [f"brickyard://role/agent/{NODE}"]
    assert identities.trust().barred == {f"brickyard://role/agent/{NODE}"}
    with pytest.raises(PermissionDeniedError) as caught:
        identities.renew(certificate, new_request()[1])
    assert caught.value.reason is Reason.CERTIFICATE_REVOKED
    refused(lambda: joined(identities, unused))
    identities.renew(other, new_request()[1])
    # The name may come back, with a token that is made afterwards.
    identities.renew(joined(identities, token_for(identities)), new_request()[1])
    assert identities.trust().barred == set()


def test_a_removal_that_is_taken_back_or_fails_revokes_nothing(
    world: World, identities: Identities, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = world.node(world.cluster().id, manage_hostnames=[NODE])
    certificate = joined(identities, token_for(identities))
    clock.now_us = int(certificate.issued.timestamp() * 1_000_000)
    unused = token_for(identities)
    world.abort(world.begin(delete_node_spec(node.id)))
    operation = world.begin(delete_node_spec(node.id))
    with monkeypatch.context() as patch:
        # The last step of the transaction, as when the process ends there.
        patch.setattr(node_operations, "bury", _die)
        with pytest.raises(KeyboardInterrupt):
            world.commit(operation)
    assert revoked(identities) == set()
    assert nodes.get(world.store, node.id)[0].id == node.id
    later = joined(identities, unused)
    clock.now_us = int(later.issued.timestamp() * 1_000_000)
    world.commit(operation)
    assert identities.trust().barred == {f"brickyard://role/agent/{NODE}"}


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_the_name_of_an_agent_that_never_called_is_not_barred(world: World, identities: Identities) -> None:
    node = world.node(world.cluster().id, manage_hostnames=["by-hand"])
    world.commit(world.begin(delete_node_spec(node.id)))
    assert identities.trust().revocations == ()
