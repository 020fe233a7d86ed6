"""What a node is told at each boot, and the copies of scripts that a lab keeps for it."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compose.lab import kernel, settings
from compose.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.lab.settings import LabConfig, LabState, NodeState


def hosts_file(nodes: Sequence[NodeState]) -> str:
    """Text of /etc/hosts in the nodes and for `exec-host`."""
    rows = ["127.0.0.1 localhost", f"{settings.HOST_ADDRESS} lab-host", *(f"{n.address} {n.name}" for n in nodes)]
    return "\n".join(rows) + "\n"


def node_environment(lab: LabConfig, node: NodeState) -> dict[str, str]:
    """Environment of everything that runs in a node."""
    devices = [settings.device_name(position) for position in range(len(node.disk_order))]
    return {
        "PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "DM_DISABLE_UDEV": "1",  # nothing makes device nodes but libdm itself
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAB_NAME": lab.name,
        "LAB_NODE": node.name,
        "LAB_NODE_INDEX": str(node.index),
        "LAB_ADDRESS": node.address,
        "LAB_HOST_ADDRESS": settings.HOST_ADDRESS,
        "LAB_DISKS": " ".join(devices),
        "LAB_CHECKOUT": str(settings.CHECKOUT),
        **lab.env,
    }


def init_config(state: LabState, node: NodeState, shares: Sequence[str]) -> dict[str, object]:
    """What init of a node has to know."""
    lab = state.config
    return {
        "name": node.name,
        "address": node.address,
        "control_address": node.control_address,
        "exec_port": settings.EXEC_PORT,
        "machine_id": uuid.uuid5(uuid.NAMESPACE_URL, f"{lab.name}/{node.name}").hex,
        "hosts": hosts_file(state.nodes),
        "env": node_environment(lab, node),
        "shares": list(shares),
        "scripts_directory": str(scripts_directory(lab)),
        "log_directory": str(kernel.log_directory(lab, node.index)),
        "boot_scripts": list(lab.boot_scripts),
        "service_scripts": list(lab.service_scripts),
    }


def scripts_directory(lab: LabConfig) -> Path:
    """Where the lab keeps its copies of boot and service scripts."""
    return Path(lab.directory) / "scripts"


def keep_scripts(lab: LabConfig) -> LabConfig:
    """Copy the scripts into the lab, so that later boots do not depend on the originals.

    Raises:
        LabError: one is not an executable file.
    """
    directory = scripts_directory(lab)
    directory.mkdir()
    kept: dict[str, list[str]] = {"boot": [], "service": []}
    for kind, scripts in (("boot", lab.boot_scripts), ("service", lab.service_scripts)):
        for number, script in enumerate(scripts, start=1):
            if not Path(script).is_file() or not os.access(script, os.X_OK):
                raise LabError(f"--{kind}-script {script}: not an executable file")
            kept[kind].append(str(shutil.copy(script, directory / f"{kind}{number}-{Path(script).name}")))
    return replace(lab, boot_scripts=tuple(kept["boot"]), service_scripts=tuple(kept["service"]))
