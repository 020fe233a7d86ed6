from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from services.common.authority import (
    Authority,
    Subject,
    activate_successor,
    add_successor,
    create_authority,
    drop_predecessors,
    issue_certificate,
    new_request,
    pin_of,
    requested_key,
)
from services.common.certificates import read_certificate
from services.common.credentials import LiveFiles, TlsFiles
from services.common.errors import FailedPreconditionError
from services.common.identity import Role


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    create_authority(tmp_path / "ca")
    return tmp_path / "ca"


def test_the_change_of_an_authority_goes_in_three_steps(directory: Path) -> None:
    first = Authority(directory).pin
    with pytest.raises(FailedPreconditionError, match="no successor"):
        activate_successor(directory)
    with pytest.raises(FailedPreconditionError, match="the order is"):
        drop_predecessors(directory)
    both = add_successor(directory)
    assert (both.pin, len(both.trusted)) == (first, 2)
    with pytest.raises(FailedPreconditionError, match="the order is"):
        drop_predecessors(directory)
    second = activate_successor(directory)
    assert second.pin != first
    assert {pin_of(each) for each in second.trusted} == {first, second.pin}
    with pytest.raises(FailedPreconditionError, match="under way"):
        add_successor(directory)
    last = drop_predecessors(directory)
    assert [pin_of(each) for each in last.trusted] == [second.pin]
    assert sorted(path.name for path in directory.iterdir()) == ["ca-key.pem", "ca.pem"]
    add_successor(directory)


def test_keys_of_the_authority_are_for_their_owner_only(directory: Path) -> None:
    add_successor(directory)
    assert {(directory / name).stat().st_mode & 0o777 for name in ("ca-key.pem", "next-key.pem")} == {0o600}


def test_files_of_two_authorities_do_not_go_together(directory: Path, tmp_path: Path) -> None:
    create_authority(tmp_path / "other")
    (directory / "ca.pem").write_bytes((tmp_path / "other" / "ca.pem").read_bytes())
    with pytest.raises(FailedPreconditionError, match="no certificate of the key"):
        Authority(directory)


def test_who_signed_can_be_told(directory: Path, tmp_path: Path) -> None:
    files = issue_certificate(directory, tmp_path / "x", role=Role.GATEWAY, name="g", lifetime=timedelta(hours=1))
    leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    leaf.verify_directly_issued_by(Authority(directory).certificate)
    certificate = read_certificate(files.certificate.read_bytes())
    assert certificate.lifetime == timedelta(hours=1)
    assert certificate.renewal - certificate.issued == timedelta(minutes=40)


def renewed(directory: Path) -> tuple[bytes, bytes]:
    """A key and its certificate, as a renewal gives them."""
    key, request = new_request()
    signed = Authority(directory).sign(Subject(Role.GATEWAY, "g"), requested_key(request), timedelta(hours=1))
    return key, signed.public_bytes(Encoding.PEM)


def test_a_renewal_that_breaks_off_anywhere_leaves_a_pair(directory: Path, tmp_path: Path) -> None:
    files = issue_certificate(directory, tmp_path / "x", role=Role.GATEWAY, name="g")
    before = files.read()
    key, certificate = renewed(directory)
    files.keep_next_key(key)
    assert files.read() == before
    files.certificate.write_bytes(certificate)
    assert files.read() == (before[0], certificate, key)
    # The next renewal begins by ending this one.
    second_key, second = renewed(directory)
    files.keep_next_key(second_key)
    assert files.read() == (before[0], certificate, key)
    files.store_certificate(second)
    assert files.read() == (before[0], second, second_key)
    assert not files.next_key.exists()


def test_files_are_read_again_when_they_change_and_kept_while_they_are_broken(directory: Path, tmp_path: Path) -> None:
    files = issue_certificate(directory, tmp_path / "x", role=Role.GATEWAY, name="g")
    live = LiveFiles(files)
    before = live.contents
    assert not live.refresh()
    files.certificate.write_text("half a certi")
    assert not live.refresh()
    assert live.contents == before
    issue_certificate(directory, tmp_path / "x", role=Role.GATEWAY, name="g")
    assert live.refresh()
    assert live.contents == files.read() != before
    assert TlsFiles.in_directory(tmp_path / "x") == files
