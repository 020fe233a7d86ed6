import stat
from pathlib import Path

import pytest
from cryptography import x509

from services.common import credentials
from services.common.authority import create_authority, issue_certificate
from services.common.credentials import TlsFiles
from services.common.errors import FailedPreconditionError, InvalidArgumentError
from services.common.identity import Identity, Role, identity_from_names


def names_of(files: TlsFiles) -> tuple[list[str], list[str], list[str]]:
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        extension.get_values_for_type(x509.UniformResourceIdentifier),
        extension.get_values_for_type(x509.DNSName),
        [str(address) for address in extension.get_values_for_type(x509.IPAddress)],
    )


def test_a_certificate_names_role_and_hosts(tmp_path: Path) -> None:
    create_authority(tmp_path / "ca")
    files = issue_certificate(
        tmp_path / "ca", tmp_path / "agent", role=Role.AGENT, name="10.0.0.1", hosts=["10.0.0.1", "node1.lab"]
    )
    uris, dns, addresses = names_of(files)
    assert identity_from_names(uris) == Identity(Role.AGENT, "10.0.0.1")
    assert dns == ["agent.brickyard.internal", "node1.lab"]
    assert addresses == ["10.0.0.1"]


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    create_authority(tmp_path / "ca")
    files = issue_certificate(tmp_path / "ca", tmp_path / "x", role=Role.GATEWAY, name="g")
    for key in (files.key, tmp_path / "ca" / "ca-key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_an_authority_is_never_replaced(tmp_path: Path) -> None:
    create_authority(tmp_path)
    before = (tmp_path / "ca-key.pem").read_bytes()
    with pytest.raises(FailedPreconditionError, match="holds a certificate authority already"):
        create_authority(tmp_path)
    assert (tmp_path / "ca-key.pem").read_bytes() == before


@pytest.mark.parametrize(("role", "name"), [(Role.LOCAL, "x"), (Role.AGENT, ""), (Role.AGENT, "a/b")])
def test_no_certificate_for_what_cannot_be_named(tmp_path: Path, role: Role, name: str) -> None:
    create_authority(tmp_path / "ca")
    with pytest.raises(InvalidArgumentError, match="no certificate for role"):
        issue_certificate(tmp_path / "ca", tmp_path / "x", role=role, name=name)
    assert not (tmp_path / "x").exists()


def test_missing_files_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match=r"ca\.pem.*brickyard ca issue"):
        TlsFiles.in_directory(tmp_path).read()
    with pytest.raises(FailedPreconditionError, match=r"no certificate authority.*brickyard ca init"):
        issue_certificate(tmp_path, tmp_path / "x", role=Role.AGENT, name="a")


def test_whoever_reads_in_the_midst_of_a_renewal_gets_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_authority(tmp_path / "ca")
    files = issue_certificate(tmp_path / "ca", tmp_path / "x", role=Role.GATEWAY, name="g")
    newer = issue_certificate(tmp_path / "ca", tmp_path / "y", role=Role.GATEWAY, name="g").read()
    read = credentials._read

    def renewed_before_the_key(path: Path) -> bytes:
        if path == files.key and files.certificate.read_bytes() != newer[1]:
            files.store(*newer)
        return read(path)

    monkeypatch.setattr(credentials, "_read", renewed_before_the_key)
    assert files.read() == newer


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    create_authority(tmp_path / "ca")
    files = issue_certificate(tmp_path / "ca", tmp_path / "x", role=Role.GATEWAY, name="g")
    other = issue_certificate(tmp_path / "ca", tmp_path / "y", role=Role.GATEWAY, name="g")
    files.key.write_bytes(other.key.read_bytes())
    with pytest.raises(FailedPreconditionError, match=r"key\.pem is not the key of .*cert\.pem"):
        files.read()
