"""Command lines of the gluster CLI, and the scripts that it reads on stdin. Pure.

A CLI process costs about half a second of CPU on a small node, so changes go to one process as a script. Observed of
glusterfs 10.3: without --xml the CLI stops at the first command that fails and exits with its code; with --xml it goes
on, and exits with 0 whatever happened. It reads a line into a buffer of 1024 bytes and takes the rest for the next
command, so that a longer line must never be sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_CLI = ("gluster", "--mode=script", "--timeout=600")
# One more minute than the CLI's own limit, as Heketi.
TIMEOUT_S = 660.0
READ_TIMEOUT_S = 60.0
ID_OPTION = "user.heketi.id"
_LINE_LIMIT = 1000
_MOST_BRICKS_PER_LINE = 15


@dataclass(frozen=True, slots=True)
class VolumeLayout:
    """How gluster is told of a volume's redundancy.

    Attributes:
        words: What stands between the volume's name and its bricks, e.g. ("replica", "3").
        set_size: Bricks that belong together and cannot be added apart, 1 or more.
    """

    words: tuple[str, ...]
    set_size: int


def replicated(copies: int, *, arbiter: bool) -> VolumeLayout:
    """Full copies, the last of three an arbiter if asked for."""
    return VolumeLayout(("replica", str(copies), *(("arbiter", "1") if arbiter else ())), copies)


def dispersed(data: int, redundancy: int) -> VolumeLayout:
    """Erasure coded."""
    return VolumeLayout(("disperse-data", str(data), "redundancy", str(redundancy)), data + redundancy)


DISTRIBUTED = VolumeLayout((), 1)


def script_argv() -> list[str]:
    """The CLI reading commands from stdin; it stops at the first that fails."""
    return list(_CLI)


def questions_argv() -> list[str]:
    """The CLI reading questions from stdin; it gives an XML answer to each of them, whatever the others got."""
    return [*_CLI, "--xml"]


def command_argv(words: Sequence[str], *, xml: bool) -> list[str]:
    """One command in a process of its own."""
    return [*_CLI, *(("--xml",) if xml else ()), *words]


def fits_line(words: Sequence[str]) -> bool:
    """Whether a command may be sent in a script."""
    return len(" ".join(words)) <= _LINE_LIMIT


def script(commands: Sequence[Sequence[str]]) -> str:
    """The commands as the CLI's stdin."""
    return "".join(f"{' '.join(words)}\n" for words in commands)


def create_volume(name: str, layout: VolumeLayout, bricks: Sequence[str]) -> list[list[str]]:
    """Commands that make a volume of "host:/path" bricks, in few lines that the CLI can read.

    A line has whole brick sets only. The first line has one at least, even when it is too long for a script.
    """
    return _in_lines(["volume", "create", name, *layout.words], name, layout, bricks)


def add_bricks(name: str, layout: VolumeLayout, bricks: Sequence[str]) -> list[list[str]]:
    """Commands that add brick sets, in few lines that the CLI can read.

    The redundancy is left out: gluster takes it for a change of it, and knows which bricks of a new set are arbiters.
    """
    return _in_lines(["volume", "add-brick", name], name, layout, bricks)


def _in_lines(first: list[str], name: str, layout: VolumeLayout, bricks: Sequence[str]) -> list[list[str]]:
    commands: list[list[str]] = []
    for start in range(0, len(bricks), layout.set_size):
        brick_set = list(bricks[start : start + layout.set_size])
        if not commands:
            commands.append([*first, *brick_set])
        elif fits_line([*commands[-1], *brick_set]) and _bricks_in(commands[-1]) < _MOST_BRICKS_PER_LINE:
            commands[-1] += brick_set
        else:
            commands.append(["volume", "add-brick", name, *brick_set])
    return commands


def _bricks_in(words: Sequence[str]) -> int:
    return sum(":/" in word for word in words)


def set_options(name: str, options: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Commands that set options: one for all, and one for each option group, which gluster wants alone."""
    commands = []
    line: list[str] = []
    for key, value in options:
        if key == "group":
            commands.append(["volume", "set", name, key, value])
            continue
        if line and not fits_line([*line, key, value]):
            commands.append(line)
            line = []
        line = [*(line or ["volume", "set", name]), key, value]
    return [*commands, *([line] if line else [])]


def leaves_no_trace_when_refused(words: Sequence[str]) -> bool:
    """Whether a change of a volume that was refused by a node can simply be given again.

    Where bricks come in, the nodes that agreed have marked theirs, and refuse them the next time as part of a volume.
    """
    return words[0] == "volume" and words[1] in ("set", "start", "stop", "delete")


def start_volume(name: str, *, force: bool = False) -> list[str]:
    """Starts a volume's brick processes; with `force` those that a started volume lacks."""
    return ["volume", "start", name, *(("force",) if force else ())]


def stop_volume(name: str) -> list[str]:
    """Stops a volume, clients or not."""
    return ["volume", "stop", name, "force"]


def delete_volume(name: str) -> list[str]:
    """Deletes a stopped volume; its bricks keep their data."""
    return ["volume", "delete", name]


def volume_info(name: str) -> list[str]:
    """Describes a volume."""
    return command_argv(["volume", "info", name], xml=True)


def start_rebalance(name: str) -> list[str]:
    """Starts moving data onto bricks that have less than their share; gluster takes ten seconds to answer."""
    return ["volume", "rebalance", name, "start"]


def stop_rebalance(name: str) -> list[str]:
    """Stops moving data; what was moved stays where it is."""
    return ["volume", "rebalance", name, "stop"]


def remove_bricks(name: str, bricks: Sequence[str], verb: str) -> list[str]:
    """One stage of taking bricks out, all in one command: gluster knows one such task per volume.

    Args:
        name: The volume.
        bricks: "host:/path", whole sets.
        verb: "start" moves their data to the others, "status" tells how far that is, "commit" takes out bricks whose
            data was moved, "stop" leaves them in.
    """
    return ["volume", "remove-brick", name, *bricks, verb]


def replace_brick(name: str, old: str, new: str) -> list[str]:
    """Puts a brick in the place of another, whose data the heal takes from the rest of its set; glusterd starts it."""
    return ["volume", "replace-brick", name, old, new, "commit", "force"]


def start_heal(name: str, *, everything: bool) -> list[str]:
    """Lets the heal look at the files that gluster knows to be behind, or at all files; it goes on by itself."""
    return ["volume", "heal", name, *(("full",) if everything else ())]


def heal_info(name: str) -> list[str]:
    """Tells what the bricks of a volume have to heal; with an XML answer it exits with some code above 0 on failure."""
    return command_argv(["volume", "heal", name, "info"], xml=True)


def pool_list() -> list[str]:
    """Lists the peers, this node included as "localhost"."""
    return command_argv(["pool", "list"], xml=True)


def probe_peer(hostname: str) -> list[str]:
    """Takes a host into the pool."""
    return command_argv(["peer", "probe", hostname], xml=True)


def detach_peer(hostname: str, *, force: bool = False) -> list[str]:
    """Takes a host out of the pool; by force also while other peers do not answer. It must have no bricks."""
    return command_argv(["peer", "detach", hostname, *(("force",) if force else ())], xml=True)


def version() -> list[str]:
    """Tells the version without asking glusterd."""
    return ["gluster", "--version"]
