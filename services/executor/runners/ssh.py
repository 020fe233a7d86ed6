"""A node without an agent, reached over SSH. Effects: commands on the node.

Files are read and written by programs that every storage node has (POSIX sh, coreutils, findutils, util-linux, bash for
one connection test); nothing has to be installed. File operations are scripts of this module: a caller's words only
ever reach them as positional arguments.
"""

import errno
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePosixPath

from services.common.errors import TimeLimitError, UnavailableError
from services.common.logs import get_logger
from services.common.reasons import Reason
from services.common.ssh import SshLostError, SshSession
from services.common.ssh_shell import SshResult
from services.executor.filesystem.mounts import find_mount, parse_mountinfo
from services.executor.reading import reads
from services.executor.runners import processes
from services.executor.runners.base import (
    CURRENT_SCOPE,
    NO_DISKS,
    TOOL_ENVIRONMENT,
    BlockDevice,
    CommandFailedError,
    CommandResult,
    Mount,
    NodeLostError,
)
from services.executor.runners.measured import measured

_log = get_logger()
_FILE_TIMEOUT_S = 60.0
_SECTOR_BYTES = 512
_ABSENT = 44
_WRITE = """
target=$(readlink -f -- "$1") || target=$1
directory=$(dirname -- "$target"); new=$directory/.$(basename -- "$target").new
set -e
mkdir -p -- "$directory"
if [ -e "$target" ]; then cp -p -- "$target" "$new"; fi
cat >"$new"; sync -- "$new"; mv -f -- "$new" "$target"; sync -- "$directory"
"""
_READ = f'[ -e "$1" ] || exit {_ABSENT}; exec cat -- "$1"'
_DISKS = """
cd /sys/block || exit 1
number() { read -r n 2>/dev/null <"$1" || n=0; }
for name in *; do
  [ -e "$name/size" ] || continue
  number "$name/size"; size=$n; number "$name/ro"; ro=$n
  parts=; for p in "$name"/*/partition; do [ -e "$p" ] && { p=${p%/partition}; parts="$parts ${p##*/}"; }; done
  held=; for h in "$name"/holders/*; do [ -e "$h" ] && held="$held ${h##*/}"; done
  printf '%s|%s|%s|%s|%s\\n' "$name" "$size" "$ro" "$parts" "$held"
done
"""
# A process for each brick process only: names are compared by the shell itself.
_BRICK_PROCESSES = f"""
for p in /proc/[0-9]*; do
  read -r name 2>/dev/null <"$p/comm" || continue
  [ "$name" = {processes.PROGRAM} ] || continue
  printf 'P%s\\n' "${{p##*/}}"; tr '\\0\\n' '\\n ' 2>/dev/null <"$p/cmdline"; echo
done
for d in {" ".join(processes.PID_DIRECTORIES)}; do
  for f in "$d"/*/*.pid "$d"/*/*/*.pid; do
    read -r n 2>/dev/null <"$f" && printf 'F%s %s\\n' "$n" "${{f##*/}}"
  done
done
true
"""
_HEALS = f"""
cd "$1/{processes.HEAL_INDEX}" 2>/dev/null || {{ echo -1; exit; }}
find . -mindepth 1 -maxdepth 1 ! -name '{processes.OWN_ENTRY}*' -printf . | head -c {processes.MOST_HEALS} | wc -c
"""
_LISTENS = """
grep -qE ' (/var)?/run/(gluster/)?glusterd\\.socket$' /proc/net/unix && exit 0
exec timeout 5 bash -c ': <>/dev/tcp/127.0.0.1/24007' 2>/dev/null
"""
_ANSWERS = 'exec timeout 3 bash -c \': <>"/dev/tcp/$1/24007"\' bash "$1" 2>/dev/null'


class SshRunner:
    """Runs commands and touches files of a node over SSH.

    Args:
        session: The connection to it.
        environment: Replaces the tools' whole environment.
    """

    def __init__(self, session: SshSession, *, environment: Mapping[str, str] | None = None) -> None:
        self._session = session
        self._environment = dict(environment if environment is not None else TOOL_ENVIRONMENT)
        self._hostname = ""

    def hostname(self) -> str:
        """Host name of the node; asked for once."""
        if not self._hostname:
            self._hostname = self._text("exec uname -n").strip()
        return self._hostname

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - the name that subprocess has for it
        timeout_s: float,
        allowed_exit_codes: Collection[int] | None = (0,),
    ) -> CommandResult:
        """See Runner.run.

        Raises:
            NodeLostError: The connection broke in the midst of the command.
        """
        with measured(argv, input) as outcome:
            result = outcome.of(self._run(argv, (input or "").encode(), timeout_s))
        _log.info(
            "command.run",
            host=self._session.target.host,
            argv=list(argv),
            exit_code=result.exit_code,
            duration_s=round(result.duration_s, 4),
        )
        if allowed_exit_codes is not None and result.exit_code not in allowed_exit_codes:
            raise CommandFailedError(result)
        return result

    def _run(self, argv: Sequence[str], stdin: bytes, timeout_s: float) -> CommandResult:
        scope = CURRENT_SCOPE.get()
        kills: list[Callable[[], None]] = []

        def started(kill: Callable[[], None]) -> None:
            if scope is not None:
                kills.append(kill)
                scope.enter(kill)

        try:
            found = self._session.run(
                argv, environment=self._environment, stdin=stdin, timeout_s=timeout_s, started=started
            )
        except SshLostError as error:
            raise NodeLostError(str(error)) from error
        finally:
            if scope is not None and kills:
                scope.leave(kills[0])
        self._check(argv, found, timeout_s)
        return _command_result(tuple(argv), found)

    def _check(self, argv: Sequence[str], found: SshResult, timeout_s: float) -> None:
        if found.missing:
            host = self._session.target.host
            raise UnavailableError(Reason.UNAVAILABLE, f"{argv[0]} is not installed on {host}", program=argv[0])
        if found.timed_out:
            _log.warning("command.timed_out", argv=list(argv), limit_s=timeout_s)
            raise TimeLimitError(
                Reason.COMMAND_TIMED_OUT,
                f"{' '.join(argv[:2])} did not end within {timeout_s:g} s: "
                f"{found.stderr.decode(errors='replace').strip()}",
                program=argv[0],
                limit_s=timeout_s,
            )

    # --- files --------------------------------------------------------------------------------------------------------

    def _script(self, script: str, *arguments: str) -> CommandResult:
        try:
            found = self._session.ask(script, arguments, environment=self._environment, timeout_s=_FILE_TIMEOUT_S)
        except SshLostError as error:
            raise NodeLostError(str(error)) from error
        return _command_result(("sh", *arguments), found)

    def _text(self, script: str, *arguments: str) -> str:
        """What a script of this module writes; its failure is an OSError."""
        result = self._script(script, *arguments)
        if result.exit_code != 0:
            raise _os_error(result, arguments[0] if arguments else "")
        return result.stdout

    def _holds(self, script: str, *arguments: str) -> bool:
        return self._script(script, *arguments).exit_code == 0

    def exists(self, path: str) -> bool:
        """See Runner.exists."""
        return self._holds('[ -e "$1" ] || [ -L "$1" ]', path)

    def glusterd_answers(self, hostname: str) -> bool:
        """See Runner.glusterd_answers."""
        return self._holds(_ANSWERS, hostname)

    def glusterd_listens(self) -> bool:
        """See Runner.glusterd_listens."""
        return self._holds(_LISTENS)

    def resolve(self, path: str) -> str:
        """See Runner.resolve."""
        return self._text('exec readlink -m -- "$1"', path).removesuffix("\n")

    def is_block_device(self, path: str) -> bool:
        """See Runner.is_block_device."""
        return self._holds('[ -b "$1" ]', path)

    def block_devices(self) -> tuple[BlockDevice, ...]:
        """See Runner.block_devices; read from /sys/block."""
        return parse_disks(self._text(_DISKS))

    def device_links(self, path: str) -> tuple[str, ...]:
        """See Runner.device_links."""
        script = '[ -d /dev/disk ] || exit 0; exec find -L /dev/disk -mindepth 2 -maxdepth 2 -samefile "$1"'
        return tuple(sorted(link for link in self._text(script, path).splitlines() if link.startswith("/dev/disk/by-")))

    def read_text(self, path: str) -> str | None:
        """See Runner.read_text."""
        result = self._script(_READ, path)
        if result.exit_code == _ABSENT:
            return None
        if result.exit_code != 0:
            raise _os_error(result, path)
        return result.stdout

    def write_text_atomically(self, path: str, text: str) -> None:
        """See Runner.write_text_atomically; an existing file keeps its owner and mode, a link its target."""
        result = self._run(["sh", "-c", _WRITE, "sh", path], text.encode(), _FILE_TIMEOUT_S)
        if result.exit_code != 0:
            raise _os_error(result, path)

    def list_directory(self, path: str) -> tuple[str, ...]:
        """See Runner.list_directory."""
        script = '[ -d "$1" ] || exit 0; exec find "$1/" -mindepth 1 -maxdepth 1 -type d -printf "%f\\n"'
        return tuple(sorted(self._text(script, path).splitlines()))

    def make_directory(self, path: str) -> None:
        """See Runner.make_directory."""
        self._text('exec mkdir -p -- "$1"', path)

    def remove_directory(self, path: str) -> None:
        """See Runner.remove_directory."""
        self._text('[ -e "$1" ] || exit 0; exec rmdir -- "$1"', path)

    def sync_directory(self, path: str) -> None:
        """See Runner.sync_directory."""
        self._text('exec sync -- "$1"', path)

    def set_group(self, path: str, gid: int) -> None:
        """See Runner.set_group."""
        self._text('exec chgrp -- "$2" "$1"', path, str(gid))

    def set_mode(self, path: str, mode: int) -> None:
        """See Runner.set_mode."""
        self._text('exec chmod -- "$2" "$1"', path, f"{mode:o}")

    def mounts(self) -> tuple[Mount, ...]:
        """See Runner.mounts."""
        return parse_mountinfo(self._text("exec cat /proc/self/mountinfo"))

    def mounted_at(self, mount_point: str) -> Mount | None:
        """See Runner.mounted_at."""
        return find_mount(self._text("exec cat /proc/self/mountinfo"), mount_point)

    def served_bricks(self, paths: Collection[str]) -> frozenset[str]:
        """See Runner.served_bricks."""
        return processes.choose_served(set(paths), *self._brick_processes()) if paths else frozenset()

    def end_brick_process(self, brick_path: str) -> int:
        """See Runner.end_brick_process."""
        alone = processes.choose_alone(brick_path, *self._brick_processes())
        for pid in alone:
            # One that ended by itself is as good.
            self._holds('kill -TERM "$1"', str(pid))
        return len(alone)

    def _brick_processes(self) -> tuple[dict[int, str], list[tuple[str, int]]]:
        return parse_brick_processes(self._text(_BRICK_PROCESSES))

    def count_heals(self, brick_path: str) -> int:
        """See Runner.count_heals."""
        return int(self._text(_HEALS, brick_path))

    def mount(self, entry: Mount) -> None:
        """See Runner.mount."""
        argv = ["mount", "-t", entry.filesystem, "-o", entry.options, "--", entry.source, entry.mount_point]
        self._mounting(argv, entry.mount_point)

    def unmount(self, mount_point: str) -> None:
        """See Runner.unmount."""
        self._mounting(["umount", "--", mount_point], mount_point)

    def _mounting(self, argv: Sequence[str], mount_point: str) -> None:
        result = self.run(argv, timeout_s=_FILE_TIMEOUT_S, allowed_exit_codes=None)
        if result.exit_code != 0:
            raise _os_error(result, mount_point)


def _command_result(argv: tuple[str, ...], found: SshResult) -> CommandResult:
    return CommandResult(
        argv,
        found.exit_code,
        found.stdout.decode(errors="replace"),
        found.stderr.decode(errors="replace"),
        found.duration_s,
    )


# The words that the tools have for what callers ask about, in the C locale.
_ERRORS = (
    ("busy", errno.EBUSY),
    ("not mounted", errno.EINVAL),
    ("No such file", errno.ENOENT),
    ("does not exist", errno.ENOENT),
    ("not empty", errno.ENOTEMPTY),
    ("No space left", errno.ENOSPC),
    ("Read-only file system", errno.EROFS),
    ("denied", errno.EACCES),
    ("not permitted", errno.EPERM),
)


def _os_error(result: CommandResult, path: str) -> OSError:
    number = next((number for words, number in _ERRORS if words in result.stderr), errno.EIO)
    return OSError(number, result.complaint, path)


@reads(Reason.FILESYSTEM_FAILED, "the listing of /sys/block")
def parse_disks(text: str) -> tuple[BlockDevice, ...]:
    """The whole disks in the listing of /sys/block. Pure.

    Raises:
        InternalError: FILESYSTEM_FAILED, a line is not of its form.
    """
    found = []
    for line in text.splitlines():
        name, sectors, read_only, partitions, holders = line.split("|")
        if not name.startswith(NO_DISKS):
            found.append(
                BlockDevice(
                    path=str(PurePosixPath("/dev") / name.replace("!", "/")),
                    size_bytes=int(sectors) * _SECTOR_BYTES,
                    partitions=tuple(sorted(partitions.split())),
                    holders=tuple(sorted(holders.split())),
                    read_only=read_only == "1",
                )
            )
    return tuple(sorted(found, key=lambda disk: disk.path))


def parse_brick_processes(text: str) -> tuple[dict[int, str], list[tuple[str, int]]]:
    """First bricks of brick processes by number, and glusterd's files with numbers, from the listing. Pure."""
    running: dict[int, str] = {}
    files: list[tuple[str, int]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("P") and line[1:].isdecimal():
            words: list[str] = []
            for word in lines:
                if not word:
                    break
                words.append(word)
            # One that ended while it was looked at has no words.
            if words and (brick := processes.first_brick(words)):
                running[int(line[1:])] = brick
        elif line.startswith("F"):
            number, _, name = line[1:].partition(" ")
            if number.isdecimal():
                files.append((name, int(number)))
    return running, files
