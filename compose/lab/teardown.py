"""Removes a lab, whatever state it is in, and proves that it is gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from compose.lab import kernel, network, processes, settings
from compose.lab.errors import LabError
from compose.lab.waiting import wait_until

GONE_SECONDS = 20.0


def mounts_below(directory: str) -> list[str]:
    """Mount points in and below a directory, innermost first."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split()[4] for line in lines]
    return sorted((p for p in points if p == directory or p.startswith(directory + "/")), reverse=True)


def lab_processes(name: str, directory: str) -> list[int]:
    """Every process of a lab: its kernels by their command line, and whoever is in its network.

    The command lines find kernels even when the namespace's name is gone already.
    """
    kernels = processes.pids_with_argument(f"uml_dir={directory}/uml", kernel.PROGRAM)
    found = {*kernels, *processes.pids_in_network(network.namespace_path(name))}
    return sorted(found - _self_and_ancestors())


def _self_and_ancestors() -> set[int]:
    """The caller and those above it, which are spared when somebody runs `lab down` inside the lab's network."""
    found = set()
    pid = os.getpid()
    while pid > 1:
        found.add(pid)
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        pid = int(fields[1])
    return found


def remove_lab(name: str, directory: str) -> bool:
    """Remove processes, network, mounts and files of a lab; returns whether there was anything.

    Raises:
        LabError: something is still there after 20 seconds, or the directory is not a lab's.
    """
    home = Path(directory)
    state_file = home / settings.STATE_FILE
    made_netns_mount = False
    if state_file.exists():
        try:
            state = settings.load_state(state_file.read_text(encoding="utf-8"))
        except LabError:
            state = None  # damaged: everything else is found without it
        if state is not None and state.config.name != name:
            raise LabError(f"the lab in {home} is called {state.config.name}, not {name}; give --name")
        made_netns_mount = state is not None and state.made_netns_mount
    elif settings.is_foreign(home):
        raise LabError(f"{home} has files that are not a lab's; nothing is removed")

    there = home.exists() or network.namespace_path(name).exists()
    if left := lab_processes(name, directory):
        there = True
        processes.kill_all(lambda: lab_processes(name, directory), what=f"{len(left)} processes of lab {name}")
    network.remove(name)
    for point in mounts_below(directory):
        processes.run_tool(["umount", point])
    if made_netns_mount and not any(network.NETNS_DIRECTORY.iterdir()):
        processes.run_tool(["umount", str(network.NETNS_DIRECTORY)])
    if home.exists():
        shutil.rmtree(home)
    wait_until(
        lambda: not home.exists() and not network.namespace_path(name).exists() and not lab_processes(name, directory),
        seconds=GONE_SECONDS,
        what=f"the last traces of lab {name}",
    )
    return there
