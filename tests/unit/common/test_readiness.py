import socket
from pathlib import Path

import pytest

from services.common.readiness import announce_ready


def test_the_ready_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    announce_ready("brickyard-x", "127.0.0.1:1 unix:/x")
    assert capsys.readouterr().out == "brickyard-x ready on 127.0.0.1:1 unix:/x\n"


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@brickyard-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name[1:]}" if abstract else name)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        announce_ready("brickyard-x", "127.0.0.1:1")
        assert listening.recv(100) == b"READY=1"
