"""The systemd units: what they promise, and what systemd itself says of them, which needs no running systemd."""

import configparser
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "compose" / "systemd").glob("*.service"))
AGENT = "brickyard-agent.service"
# Each of these gives a unit a mount namespace of its own: bricks would be mounted for the agent alone.
_OWN_MOUNTS = {
    "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts", "ProtectKernelModules",
    "ProtectKernelLogs", "ProtectKernelTunables", "ProtectControlGroups", "ProtectProc", "ProcSubset", "PrivateIPC",
    "ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "RootDirectory", "PrivateUsers", "DynamicUser",
    "TemporaryFileSystem", "BindPaths", "MountFlags",
}  # fmt: skip
# Of ten, as systemd-analyze counts: the agent mounts for the host as root, the others need nothing.
MOST_EXPOSED = {AGENT: 5.0}
_ELSE_EXPOSED = 1.5


def read(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    return unit


def test_there_is_one_for_each_process() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    processes = {name for name in scripts if name.startswith("brickyard-")}
    assert {path.name.removesuffix(".service") for path in UNITS} == processes
    for path in UNITS:
        assert Path(read(path)["Service"]["ExecStart"].split()[0]).name in scripts


def test_the_agent_mounts_for_the_host_before_glusterd() -> None:
    unit = read(ROOT / "compose" / "systemd" / AGENT)
    assert unit["Unit"]["Before"] == "glusterd.service"
    # Otherwise Before= would count from the start of the process, not from the last mount.
    assert unit["Service"]["Type"] == "notify"
    assert _OWN_MOUNTS & set(unit["Service"]) == set()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_what_systemd_says(path: Path) -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told.stdout)
    assert level is not None, told.stdout
    assert float(level[1]) <= MOST_EXPOSED.get(path.name, _ELSE_EXPOSED)
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    # The programs are not installed here; nothing else may be wrong.
    complaints = [
        line for line in verified.stderr.splitlines() if path.name in line and "is not executable" not in line
    ]
    assert complaints == []
