"""An old installation on real storage nodes: over SSH as its heketi.json says, then node by node over to agents."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.lab.waiting import Progress
from compose.stack import HOST_ADDRESS, PORTS, REST_PORT, ROOT, Stack, StackConfig
from services.common.authority import issue_certificate
from services.common.identity import Role
from tests.e2e.system import DISK, Log

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]
NODES = 3
BRIDGE = "127.0.0.1"
# Read-only but for a few directories, so not /opt.
PREFIX = "/var/lib/brickyard/software"
WHEELS_WITHIN_S = 240


class OldInstallation:
    """Three nodes with nothing but sshd and glusterd, and a heketi.json.

    Attributes:
        stack: What runs.
        directory: Keys, and heketi.json.
    """

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        self.bridge_log = Log(stack.directory / "ssh-bridge.log", 0)

    def start(self) -> None:
        """Bridge and gateway from the same heketi.json; nothing else tells them of SSH."""
        stack = self.stack
        stack.make_identities()
        issue_certificate(
            stack.directory / "ca", stack.directory / "tls" / "ssh-bridge", role=Role.AGENT, name=BRIDGE, hosts=[BRIDGE]
        )
        stack.boot_nodes()
        keys = [f"{address} {stack.node_run(address, ['cat', '/etc/ssh/lab_key.pub'])}" for address in stack.addresses]
        (self.directory / "known_hosts").write_text("".join(keys))
        sshexec = {"keyfile": str(self.directory / "key"), "user": "root", "port": "22", "fstab": "/etc/fstab"}
        config = {"port": str(REST_PORT), "glusterfs": {"executor": "ssh", "sshexec": sshexec}}
        self.heketi_json.write_text(json.dumps(config))
        bridge = ["--config", str(self.heketi_json), "--known-hosts", str(self.directory / "known_hosts")]
        state = ["--state-dir", str(self.directory / "bridge")]
        stack.start_process("ssh-bridge", "services.executor.bridge_command", [*bridge, *state])
        stack.start_services()

    @property
    def heketi_json(self) -> Path:
        return self.directory / "heketi.json"

    def shell(self, address: str, script: str) -> str:
        return self.stack.node_run(address, ["/bin/sh", "-c", script])

    def brickyard(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The command line, in the lab's network."""
        argv = [sys.executable, "-m", "gateway.cli.brickyard", *arguments]
        return subprocess.run(
            self.stack.running_lab().host_argv(argv, cwd=str(ROOT)),
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos' / 'gen'}"},
        )

    def deploy(self, address: str, *flags: str) -> "subprocess.CompletedProcess[str]":
        """An agent for a node."""
        return self.brickyard(
            *("agent", "deploy", address, "--wheelhouse", str(self.directory / "wheelhouse")),
            *("--keyfile", str(self.directory / "key"), "--topology", f"{HOST_ADDRESS}:{PORTS['topology']}"),
            *("--tls-dir", str(self.stack.directory / "tls" / "operator")),
            *("--prefix", PREFIX, "--fstab", "/etc/fstab", *flags),
        )

    def examine(self) -> "subprocess.CompletedProcess[str]":
        """Whether books and nodes agree."""
        tls = ["--tls-dir", str(self.stack.directory / "tls" / "operator")]
        return self.brickyard("examine", "--address", f"{HOST_ADDRESS}:{PORTS['gateway']}", *tls)


@pytest.fixture
def old(lab_possible: None, tmp_path: Path) -> Iterator[OldInstallation]:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    name = f"e2e-{os.getpid()}-ssh"
    config = StackConfig(
        name=name,
        nodes=NODES,
        boot_script=ROOT / "tests" / "e2e" / "sshd-boot",
        node_environment={"LAB_SSH_KEY": (tmp_path / "key.pub").read_text().strip()},
        # On a slow machine a look at a node takes long, and a node that is down gets no bricks.
        gateway_flags=("--config", str(tmp_path / "heketi.json"), "--facts-interval-seconds", "0"),
    )
    found = OldInstallation(Stack(config, Progress(quiet=True)), tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.stack.close()


def build_wheels(directory: Path) -> None:
    """What the README says."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--wheel-dir", str(directory), f"{ROOT}[agent]", "pip"],
        check=True,
        timeout=WHEELS_WITHIN_S,
    )


def brick_entries(old: OldInstallation, address: str) -> str:
    return old.shell(address, "grep /var/lib/heketi/mounts /etc/fstab || true")


def create(client: Any, name: str) -> dict[str, Any]:
    body = {"size": 1, "name": name, "durability": {"type": "replicate", "replicate": {"replica": 3}}}
    volume: dict[str, Any] = client.change("POST", "/volumes", body)
    return volume


def test_an_old_installation_moves_node_by_node(old: OldInstallation) -> None:
    first, second, _third = old.stack.addresses
    with old.stack.rest() as client:
        cluster = client.change("POST", "/clusters", {"file": True, "block": True})["id"]
        for zone, address in enumerate(old.stack.addresses, start=1):
            hostnames = {"manage": [address], "storage": [address]}
            node = client.change("POST", "/nodes", {"zone": zone, "hostnames": hostnames, "cluster": cluster})
            client.change("POST", "/devices", {"node": node["id"], "name": DISK})
        volume = create(client, "before")
        assert "brick_" in brick_entries(old, first)
        assert old.examine().returncode == 0, old.examine().stdout

        # One node gets an agent. Its key is not known yet, and nobody is there to look at it.
        build_wheels(old.directory / "wheelhouse")
        refused = old.deploy(first)
        assert refused.returncode == 1
        fingerprint = old.shell(first, "ssh-keygen -lf /etc/ssh/lab_key.pub").split()[1]
        assert f"--host-key {fingerprint}" in refused.stderr
        wrong = old.deploy(first, "--host-key", "SHA256:AAAA")
        assert "nothing was sent to it" in wrong.stderr
        done = old.deploy(first, "--host-key", fingerprint)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "agent: answers at port 7410" in done.stdout
        # It joined, and will renew its certificate.
        where = f"{HOST_ADDRESS}:{PORTS['topology']}"
        tls = ["--tls-dir", str(old.stack.directory / "tls" / "operator")]
        assert f"agent     {first}" in old.brickyard("ca", "list", "--topology", where, *tls).stdout
        assert f'topology = "{where}"' in old.shell(first, "cat /etc/brickyard/agent.toml")
        again = old.deploy(first, "--known-hosts", str(old.directory / "known_hosts"))
        assert again.stdout.splitlines()[-1] == f"{first}: nothing was to be done"
        assert old.shell(first, "ls /root/.ssh; ls -d /tmp/brickyard-deploy* 2>/dev/null || true").split() == [
            "lab_authorized"
        ]

        # The next change on that node is its agent's, that on the others comes over SSH, and both are one volume.
        bridged = Log(old.bridge_log.path, old.bridge_log.path.stat().st_size)
        create(client, "during")
        assert "mkfs.xfs" in old.shell(first, "cat /var/log/brickyard-agent.log")
        assert bridged.has('"command.run"', "mkfs.xfs", second)
        assert not bridged.has('"command.run"', "mkfs.xfs", first)
        assert len(brick_entries(old, first).splitlines()) == 2
        assert old.examine().returncode == 0

        # The old volume lost nothing, and goes.
        client.change("DELETE", f"/volumes/{volume['id']}")
        assert len(brick_entries(old, first).splitlines()) == len(brick_entries(old, second).splitlines()) == 1
        assert old.examine().returncode == 0
