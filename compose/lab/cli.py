"""The command line of the lab."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from compose.lab import preflight, settings
from compose.lab.errors import CannotRunHereError, Interrupted, LabError
from compose.lab.locking import locked
from compose.lab.manager import Lab
from compose.lab.settings import LabConfig
from compose.lab.status import status_json, status_table
from compose.lab.teardown import remove_lab
from compose.lab.waiting import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DESCRIPTION = """\
A lab of real storage nodes on one machine: User-mode Linux kernels with LVM, XFS and glusterd, on a network of
their own. Debian 12, x86_64, root; no KVM and no device-mapper of the host are needed.

Exit codes: 0 done, 1 an error, 2 wrong usage, 3 this machine cannot run the lab, 125 the exec channel failed;
`exec` and `exec-host` return the command's own."""


def _size(text: str) -> int:
    try:
        return settings.parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: write KEY=VALUE")
    return key, value


def build_parser() -> argparse.ArgumentParser:
    """The parser of all sub commands; each has an example in its help."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=settings.DEFAULT_NAME, help="the lab's name (default: %(default)s)")
    common.add_argument("--dir", default="", help="the lab's directory (default: /tmp/NAME)")
    common.add_argument("--quiet", action="store_true", help="no progress lines")
    parser = argparse.ArgumentParser(
        prog="lab", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, summary: str, *examples: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            parents=[common],
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog="\n".join(["examples:" if len(examples) > 1 else "example:", *(f"  {e}" for e in examples)]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    add("install", "install the Debian packages that are missing", "lab install")
    _add_up(add("up", "make a lab and wait until every node answers", "lab up", "lab up --nodes 4 --disks 2"))
    add("down", "remove everything of a lab, also after a crash; no error if there is none", "lab down --name other")
    status = add("status", "show the nodes", "lab status", "lab status --json")
    status.add_argument("--json", action="store_true", help="as JSON")
    _add_exec(
        add(
            "exec",
            "run a command in a node, with stdin, stdout, stderr and exit code; Ctrl-C ends it there too",
            "lab exec node1 gluster peer status",
            "echo hello | lab exec node2 cat",
            "lab exec --detach --log agent node1 /opt/agent --listen 0.0.0.0:9000",
        )
    )
    host = add(
        "exec-host",
        "run a command on the host, in the lab's network; mounts made so are seen by later ones only",
        "lab exec-host mount -t glusterfs node1:/vol /mnt",
        "lab exec-host ls /mnt",
    )
    host.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD...", help="program and arguments")
    for name, summary in (
        ("kill", "cut the power of nodes"),
        ("partition", "cut the data network of nodes; exec still works"),
        ("heal", "put the data network of nodes back"),
    ):
        add(name, summary, f"lab {name} node2").add_argument("nodes", nargs="+", metavar="NODE")
    boot = add(
        "boot",
        "power nodes on again, with the disks they had",
        "lab boot node2",
        "lab boot node2 --disks 2,1   # swaps their kernel names; `--disks 2` would pull disk 1",
    )
    boot.add_argument("nodes", nargs="+", metavar="NODE")
    boot.add_argument("--disks", metavar="ORDER", help="data disks in the new order of their kernel names")
    grow = add("grow", "make a data disk larger, seen at the next boot", "lab grow node1 2 12G")
    grow.add_argument("node", metavar="NODE")
    grow.add_argument("disk", type=int, metavar="DISK", help="1 is the first data disk")
    grow.add_argument("size", type=_size, metavar="SIZE", help="the new size, like 12G")
    return parser


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--nodes", type=int, default=3, help="how many (default: %(default)s)")
    up.add_argument("--disks", type=int, default=1, help="data disks of each node (default: %(default)s)")
    up.add_argument("--disk-size", type=_size, default=settings.DEFAULT_DISK_BYTES, metavar="SIZE", help="default: 8G")
    up.add_argument("--memory", type=_size, default=0, metavar="SIZE", help="of a node (default: 768M, less if scarce)")
    up.add_argument("--share", action="append", default=[], metavar="PATH", help="nodes see it read-only, same path")
    up.add_argument("--boot-script", action="append", default=[], metavar="FILE", help="run before glusterd, each boot")
    up.add_argument("--service-script", action="append", default=[], metavar="FILE", help="run beside it, after it")
    up.add_argument("--env", action="append", type=_pair, default=[], metavar="KEY=VALUE", help="in the nodes")
    up.add_argument("--timeout", type=float, default=90.0, metavar="SECONDS", help="for a boot (default: %(default)s)")
    up.add_argument("--install", action="store_true", help="install missing packages first")


def _add_exec(run: argparse.ArgumentParser) -> None:
    run.add_argument("--detach", action="store_true", help="run on in the background; prints its process number")
    run.add_argument("--log", default="detached", help="with --detach: output goes to /var/log/lab/LOG.log")
    run.add_argument("--no-stdin", "-n", action="store_true", help="do not read standard input")
    run.add_argument("--env", action="append", type=_pair, default=[], metavar="KEY=VALUE")
    run.add_argument("--cwd", default="/", help="working directory in the node (default: %(default)s)")
    run.add_argument("node", metavar="NODE")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD...", help="program and arguments, no shell")


def config_from(arguments: argparse.Namespace) -> LabConfig:
    """What `lab up` was asked for.

    Raises:
        LabError: a value is out of range.
    """
    return LabConfig(
        name=arguments.name,
        directory=_directory(arguments),
        nodes=arguments.nodes,
        disks=arguments.disks,
        disk_bytes=arguments.disk_size,
        memory_bytes=arguments.memory,
        shares=tuple(str(Path(path).resolve()) for path in arguments.share),
        boot_scripts=tuple(str(Path(path).resolve()) for path in arguments.boot_script),
        service_scripts=tuple(str(Path(path).resolve()) for path in arguments.service_script),
        env=dict(arguments.env),
        seconds=arguments.timeout,
    )


def command_argv(argv: Sequence[str]) -> list[str]:
    """The command of `exec` and `exec-host`, without the -- that may stand before it.

    Raises:
        LabError: there is none.
    """
    command = list(argv[1:] if argv[:1] == ["--"] else argv)
    if not command:
        raise LabError("no command given")
    return command


def _directory(arguments: argparse.Namespace) -> str:
    return str(Path(arguments.dir).resolve()) if arguments.dir else ""


def _open(arguments: argparse.Namespace, progress: Progress) -> Lab:
    preflight.check_root()
    return Lab.open(arguments.name, _directory(arguments), progress)


def _install(_arguments: argparse.Namespace, progress: Progress) -> int:
    installed = preflight.install(progress)
    progress.say(f"installed {' '.join(installed)}" if installed else "every package is there")
    return 0


def _up(arguments: argparse.Namespace, progress: Progress) -> int:
    wanted = config_from(arguments)
    if arguments.install:
        preflight.install(progress)
    lab = Lab.up(wanted, progress)
    progress.say(f"lab {lab.name} is up: {', '.join(f'{node.name} {node.address}' for node in lab.nodes)}")
    return 0


def _down(arguments: argparse.Namespace, progress: Progress) -> int:
    preflight.check_root()
    wanted = LabConfig(name=arguments.name, directory=_directory(arguments))
    with locked(wanted.name):
        removed = remove_lab(wanted.name, wanted.directory)
    progress.say(f"lab {wanted.name} is removed" if removed else f"there is no lab {wanted.name}")
    return 0


def _status(arguments: argparse.Namespace, progress: Progress) -> int:
    rows = _open(arguments, progress).status()
    print(status_json(rows) if arguments.json else status_table(rows))
    return 0


def _exec(arguments: argparse.Namespace, progress: Progress) -> int:
    argv = command_argv(arguments.argv)
    node = _open(arguments, progress).node(arguments.node)
    env = dict(arguments.env)
    if arguments.detach:
        print(node.start(argv, log=arguments.log, env=env, cwd=arguments.cwd))
        return 0
    stdin = None if arguments.no_stdin else sys.stdin.fileno()
    return node.attach(argv, stdin=stdin, env=env, cwd=arguments.cwd)


def _exec_host(arguments: argparse.Namespace, progress: Progress) -> int:
    argv = _open(arguments, progress).host_argv(command_argv(arguments.argv))
    os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point: signals and streams are the command's own


def _kill(arguments: argparse.Namespace, progress: Progress) -> int:
    _open(arguments, progress).kill(*arguments.nodes)
    return 0


def _boot(arguments: argparse.Namespace, progress: Progress) -> int:
    lab = _open(arguments, progress)
    order = None if arguments.disks is None else settings.parse_disk_order(arguments.disks, lab.config.disks)
    lab.boot(*arguments.nodes, disks=order)
    return 0


def _partition(arguments: argparse.Namespace, progress: Progress) -> int:
    _open(arguments, progress).partition(*arguments.nodes)
    return 0


def _heal(arguments: argparse.Namespace, progress: Progress) -> int:
    _open(arguments, progress).heal(*arguments.nodes)
    return 0


def _grow(arguments: argparse.Namespace, progress: Progress) -> int:
    _open(arguments, progress).grow(arguments.node, arguments.disk, arguments.size)
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace, Progress], int]] = {
    "install": _install,
    "up": _up,
    "down": _down,
    "status": _status,
    "exec": _exec,
    "exec-host": _exec_host,
    "kill": _kill,
    "boot": _boot,
    "partition": _partition,
    "heal": _heal,
    "grow": _grow,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = build_parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command](arguments, Progress(quiet=arguments.quiet))
    except LabError as error:
        cannot = "cannot run here: " if isinstance(error, CannotRunHereError) else ""
        print(f"lab: {cannot}{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stopped:
        return 128 + (stopped.signum if isinstance(stopped, Interrupted) else signal.SIGINT)
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
